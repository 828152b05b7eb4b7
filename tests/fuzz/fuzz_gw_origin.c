/* SPDX-License-Identifier: MIT */
/* Fuzzes allowed origins: the first line is one, the rest is what a request
 * says. */
#include "gateway/origin.h"

#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

/* With NUL behind it, in memory of its own. */
static char *copy_of(const uint8_t *bytes, size_t len)
{
    char *copy = malloc(len + 1);
    require(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

static void check_normal(const char *normal)
{
    char again[GW_ORIGIN_MAX];
    const char *host = strstr(normal, "://");
    size_t len = strlen(normal);

    require(len < GW_ORIGIN_MAX && host != NULL && host > normal);
    require(strlen(host) > 3 && strpbrk(host + 3, "/@?# \\,\t") == NULL);
    for (size_t i = 0; i < len; i++)
        require(normal[i] > 0x20 && normal[i] < 0x7f &&
                (normal[i] < 'A' || normal[i] > 'Z'));
    require(gw_origin_normal(normal, again) && strcmp(normal, again) == 0);
}

/* The host that a browser would have connected to ends as is allowed. */
static void check_let_in(const char *allowed, const char *origin)
{
    const char *star = strchr(allowed, '*');
    const char *scheme_end = strstr(origin, "://");
    require(scheme_end != NULL);
    size_t scheme = (size_t)(scheme_end - origin) + 3;
    require(strncasecmp(allowed, origin, scheme) == 0);
    require(strpbrk(origin + scheme, "/@?# \\,*") == NULL);
    if (star == NULL)
        return;
    size_t host = strcspn(origin + scheme, ":");
    size_t tail = strcspn(star + 1, ":");
    require(star[1] == '.' && host > tail);
    require(strncasecmp(origin + scheme + host - tail, star + 1, tail) == 0);
    require(origin[scheme] != '.');
}

static void check_pair(const char *allowed, const char *origin, size_t len)
{
    static struct gw_config config = {.origin_count = 1};
    char normal[GW_ORIGIN_MAX];

    if (!gw_origin_normal(allowed, config.origins[0]))
        return;
    check_normal(config.origins[0]);
    bool may = gw_origin_may(&config, (struct eio_span){origin, len});
    if (may && len > 0) {
        require(strlen(origin) == len);
        check_let_in(config.origins[0], origin);
    }
    /* What is written the same is let in, and without a star nothing else. */
    if (strchr(config.origins[0], '*') != NULL || len == 0)
        return;
    bool is_same = strlen(origin) == len && gw_origin_normal(origin, normal) &&
                   strcmp(normal, config.origins[0]) == 0;
    require(may == is_same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t len = end != NULL ? (size_t)(end - data) : size;
    size_t skip = end != NULL ? len + 1 : len;
    char *allowed = copy_of(data, len);
    char *origin = copy_of(data + skip, size - skip);

    check_pair(allowed, origin, size - skip);
    free(allowed);
    free(origin);
    return 0;
}
