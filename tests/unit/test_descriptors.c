/* SPDX-License-Identifier: MIT */
/* Who may have the last descriptors. */
#include "gateway/descriptors.h"

#include <criterion/criterion.h>
#include <sys/resource.h>

static const struct gw_config two_workers = {.workers = 2};

/* Both limits stay below the hard one that the test began with. */
Test(descriptors, limit_is_read_anew)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 200;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(gw_descriptors_limit(), 200);
    limit.rlim_cur = 256;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(gw_descriptors_limit(), 256);
}

Test(descriptors, clients_have_two_each)
{
    const struct gw_config capped = {.workers = 2, .max_connections = 50};
    const struct gw_config of_cluster = {.workers = 2,
                                         .store.kind = STORE_KIND_CLUSTER};
    cr_assert_eq(gw_descriptors_open_max(&two_workers, 256), 104);
    cr_assert_eq(gw_descriptors_open_max(&capped, 256), 50);
    cr_assert_eq(gw_descriptors_open_max(&capped, 100), 26);
    cr_assert_eq(gw_descriptors_open_max(&two_workers, 10), 1);
    cr_assert_eq(gw_descriptors_open_max(&of_cluster, 1024), 456);
    cr_assert_eq(gw_descriptors_open_max(&two_workers, UINT64_MAX), UINT64_MAX);
    cr_assert_eq(gw_descriptors_open_max(&capped, UINT64_MAX), 50);
}

Test(descriptors, the_last_are_few)
{
    const struct gw_config crowd = {.workers = 64};
    cr_assert_not(gw_descriptors_are_few(&two_workers, 256, 245));
    cr_assert(gw_descriptors_are_few(&two_workers, 256, 246));
    cr_assert(gw_descriptors_are_few(&two_workers, 256, 300));
    cr_assert_not(gw_descriptors_are_few(&crowd, 4096, 4023));
    cr_assert(gw_descriptors_are_few(&crowd, 4096, 4024));
    cr_assert_not(gw_descriptors_are_few(&crowd, UINT64_MAX, INT32_MAX));
}

/* A small limit is not eaten up by what is kept. */
Test(descriptors, few_of_few)
{
    cr_assert_not(gw_descriptors_are_few(&two_workers, 48, 44));
    cr_assert(gw_descriptors_are_few(&two_workers, 48, 45));
    cr_assert_not(gw_descriptors_are_few(&two_workers, 12, 11));
}

/* What the plan gives to traffic and to others fits in below the last ones. */
Test(descriptors, leaves_the_plan_its_room)
{
    for (unsigned workers = 1; workers <= 64; workers *= 2) {
        const struct gw_config config = {.workers = workers};
        for (uint64_t limit = 1024; limit <= 1 << 20; limit *= 2) {
            uint64_t max = gw_descriptors_open_max(&config, limit);
            uint64_t others = 16 + 7 * (uint64_t)workers;
            cr_assert_not(gw_descriptors_are_few(&config, limit,
                                                 (int)(2 * max + others)));
        }
    }
}
