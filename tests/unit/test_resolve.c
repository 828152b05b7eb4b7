/* SPDX-License-Identifier: MIT */
/* Host names to addresses, and questions that nobody waits for any more. */
#include "gateway/resolve.h"
#include "gateway/worker.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LIMIT_MS = 20000, PORT = 6379 };

/* ---- addresses ---- */

static const struct {
    const char *host;
    const char *address; /* NULL: it is none */
} literals[] = {
    {"127.0.0.1", "127.0.0.1"},
    {"0.0.0.0", "0.0.0.0"},
    {"203.0.113.255", "203.0.113.255"},
    {"::1", "::1"},
    {"::", "::"},
    {"2001:db8::7", "2001:db8::7"},
    {"2001:DB8:0:0:0:0:0:7", "2001:db8::7"},
    {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
    {"localhost", NULL},
    {"redis.example", NULL},
    {"", NULL},
    {"256.0.0.1", NULL},
    {"1.2.3.4.5", NULL},
    {"127.0.0.1 ", NULL},
    {"[::1]", NULL},
    {":::1", NULL},
    {"2001:db8::g", NULL},
};

static void check_address(const struct gw_resolved *found, unsigned which,
                          const char *address)
{
    char text[INET6_ADDRSTRLEN] = "";

    cr_assert_lt(which, found->count);
    const struct sockaddr_storage *addr = &found->addr[which];
    if (addr->ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, addr, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
        cr_expect_eq(ntohs(v6.sin6_port), PORT);
        cr_expect_eq(found->len[which], sizeof(v6));
    } else {
        struct sockaddr_in v4;
        memcpy(&v4, addr, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
        cr_expect_eq(ntohs(v4.sin_port), PORT);
        cr_expect_eq(found->len[which], sizeof(v4));
    }
    cr_expect_str_eq(text, address);
}

Test(resolve, addresses_need_nobody)
{
    for (size_t i = 0; i < sizeof(literals) / sizeof(literals[0]); i++) {
        struct gw_resolved found;
        memset(&found, 0xa5, sizeof(found));
        bool is_address = gw_resolve_literal(literals[i].host, PORT, &found);
        cr_expect_eq(is_address, literals[i].address != NULL, "'%s'",
                     literals[i].host);
        if (is_address) {
            cr_expect_eq(found.count, 1, "%s", literals[i].host);
            check_address(&found, 0, literals[i].address);
        }
    }
}

/* ---- names ---- */

static struct gw_worker *worker;

/* As much of a worker as mail needs. */
static void set_up(void)
{
    worker = calloc(1, sizeof(*worker));
    cr_assert_not_null(worker);
    pthread_mutex_init(&worker->mail_lock, NULL);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    cr_assert_geq(worker->wake_fd, 0);
}

static void tear_down(void)
{
    close(worker->wake_fd);
    pthread_mutex_destroy(&worker->mail_lock);
    free(worker);
}

TestSuite(resolve_name, .init = set_up, .fini = tear_down);

static bool wait_for_mail(int limit_ms)
{
    struct pollfd wake = {.fd = worker->wake_fd, .events = POLLIN};
    uint64_t count;
    return poll(&wake, 1, limit_ms) == 1 &&
           read(worker->wake_fd, &count, sizeof(count)) == sizeof(count);
}

static unsigned deliver_all(void)
{
    unsigned count = 0;
    pthread_mutex_lock(&worker->mail_lock);
    struct gw_mail *mail = worker->mail;
    worker->mail = NULL;
    pthread_mutex_unlock(&worker->mail_lock);
    while (mail != NULL) {
        struct gw_mail *next = mail->next;
        mail->deliver(worker, mail);
        mail = next;
        count++;
    }
    return count;
}

struct answer {
    unsigned calls;
    pthread_t thread;
    struct gw_resolved found;
};

static void on_answer(void *arg, const struct gw_resolved *found)
{
    struct answer *answer = arg;
    answer->calls++;
    answer->thread = pthread_self();
    answer->found = *found;
}

static struct gw_resolve *ask(const char *host, struct answer *answer)
{
    struct gw_resolve *job =
        gw_resolve_start(worker, host, PORT, on_answer, answer);
    cr_assert_not_null(job);
    return job;
}

Test(resolve_name, is_told_in_the_workers_thread)
{
    struct answer answer = {0};

    ask("localhost", &answer);
    cr_assert(wait_for_mail(LIMIT_MS));
    cr_expect_eq(answer.calls, 0, "told by the other thread");
    cr_expect_eq(deliver_all(), 1);
    cr_assert_eq(answer.calls, 1);
    cr_expect(pthread_equal(answer.thread, pthread_self()));
    cr_assert_gt(answer.found.count, 0, "%s", answer.found.why);
    bool is_v6 = answer.found.addr[0].ss_family == AF_INET6;
    check_address(&answer.found, 0, is_v6 ? "::1" : "127.0.0.1");
}

Test(resolve_name, that_is_none_says_why)
{
    struct answer answer = {0};

    ask("no name at all", &answer);
    cr_assert(wait_for_mail(LIMIT_MS));
    deliver_all();
    cr_assert_eq(answer.calls, 1);
    cr_expect_eq(answer.found.count, 0);
    cr_expect_gt(strlen(answer.found.why), strlen("does not resolve: "));
    cr_expect_lt(strlen(answer.found.why), sizeof(answer.found.why));
}

/* The longest that may be asked for, and one that is longer. */
Test(resolve_name, may_be_long)
{
    char name[600];
    struct answer answer = {0};

    for (size_t len = 250; len < sizeof(name); len += 87) {
        memset(name, 'x', len);
        name[len] = '\0';
        ask(name, &answer);
        cr_assert(wait_for_mail(LIMIT_MS));
        deliver_all();
        cr_expect_eq(answer.found.count, 0);
    }
}

Test(resolve_name, that_came_already_is_kept_from_who_left)
{
    struct answer answer = {0};

    for (int i = 0; i < 20; i++) {
        struct gw_resolve *job = ask("localhost", &answer);
        cr_assert(wait_for_mail(LIMIT_MS));
        gw_resolve_cancel(&job);
        cr_expect_null(job);
        gw_resolve_cancel(&job);
        cr_expect_eq(deliver_all(), 1);
    }
    cr_expect_eq(answer.calls, 0);
}

/* Whoever is the last frees it: the mail, or the thread. */
Test(resolve_name, that_is_still_asked_for_is_kept_from_who_left)
{
    struct answer gone = {0};
    struct answer answer = {0};

    for (int i = 0; i < 50; i++) {
        struct gw_resolve *job = ask("localhost", &gone);
        gw_resolve_cancel(&job);
        cr_expect_null(job);
    }
    while (wait_for_mail(500))
        deliver_all();
    cr_expect_eq(gone.calls, 0);
    /* and the next question is answered */
    ask("localhost", &answer);
    cr_assert(wait_for_mail(LIMIT_MS));
    deliver_all();
    cr_expect_eq(answer.calls, 1);
}

Test(resolve_name, several_at_once)
{
    enum { COUNT = 20 };
    struct answer answers[COUNT] = {0};
    struct gw_resolve *jobs[COUNT];
    unsigned delivered = 0;

    for (unsigned i = 0; i < COUNT; i++)
        jobs[i] = ask("localhost", &answers[i]);
    for (unsigned i = 0; i < COUNT; i += 2)
        gw_resolve_cancel(&jobs[i]);
    while (wait_for_mail(500))
        delivered += deliver_all();
    cr_expect_geq(delivered, COUNT / 2);
    for (unsigned i = 0; i < COUNT; i++)
        cr_expect_eq(answers[i].calls, i % 2, "%u", i);
}
