/* SPDX-License-Identifier: MIT */
/* How many descriptors the process may have, and who may have the last ones. */
#include "gateway/descriptors.h"

#include <sys/resource.h>

enum {
    OTHERS = 32, /* than those of traffic, and so many more for each worker */
    OTHERS_PER_WORKER = 8,
    MASTERS = 32, /* of a cluster: a connection for each, in each worker */
    LAST = 8,     /* of them to the control thread, and one for each worker */
    LAST_SHARE = 16, /* but no more than this part of all */
};

uint64_t gw_descriptors_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

uint64_t gw_descriptors_open_max(const struct gw_config *config, uint64_t limit)
{
    uint64_t others = OTHERS + OTHERS_PER_WORKER * (uint64_t)config->workers;
    uint64_t max = limit;
    if (config->store.kind == STORE_KIND_CLUSTER)
        others += MASTERS * (uint64_t)config->workers;
    if (limit != UINT64_MAX)
        max = limit > others + 2 ? (limit - others) / 2 : 1;
    if (config->max_connections != 0 && config->max_connections < max)
        max = config->max_connections;
    return max;
}

bool gw_descriptors_are_few(const struct gw_config *config, uint64_t limit,
                            int fd)
{
    uint64_t last = LAST + (uint64_t)config->workers;
    if (last > limit / LAST_SHARE)
        last = limit / LAST_SHARE;
    return (uint64_t)fd >= limit - last;
}
