/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the daemon by a test: names that resolve in odd ways.
 *
 *   two.test    127.0.0.77, then 127.0.0.1
 *   slow.test   127.0.0.1, after 1.5 s
 *   hang.test   not at all, after 20 s
 */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <time.h>

typedef int (*resolve_fn)(const char *, const char *, const struct addrinfo *,
                          struct addrinfo **);

static resolve_fn find_real(void)
{
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    resolve_fn real;

    memcpy(&real, &symbol, sizeof(real));
    return real;
}

static void wait_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

int getaddrinfo(const char *name, const char *service,
                const struct addrinfo *hints, struct addrinfo **result)
{
    resolve_fn real = find_real();
    const int is_literal = hints != NULL && (hints->ai_flags & AI_NUMERICHOST);

    if (name == NULL || is_literal)
        return real(name, service, hints, result);
    if (strcmp(name, "two.test") == 0) {
        int status = real("127.0.0.77", service, hints, result);
        return status != 0
                   ? status
                   : real("127.0.0.1", service, hints, &(*result)->ai_next);
    }
    if (strcmp(name, "slow.test") == 0) {
        wait_ms(1500);
        return real("127.0.0.1", service, hints, result);
    }
    if (strcmp(name, "hang.test") == 0) {
        wait_ms(20000);
        return EAI_AGAIN;
    }
    return real(name, service, hints, result);
}
