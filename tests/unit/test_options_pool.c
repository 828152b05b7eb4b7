/* SPDX-License-Identifier: MIT */
/* The options of one pool that are numbers, times and choices. */
#include "tests/unit/options_fixture.h"

TestSuite(options_pool, .init = enter, .fini = leave);

static const struct gw_pool_config *const pool = &config.pools[0];

Test(options_pool, defaults_of_the_pool)
{
    check_good("");
    cr_expect_str_eq(pool->name, "default");
    cr_expect_not(pool->is_removed);
    cr_expect_eq(pool->host_count, 0);
    cr_expect_str_eq(pool->prefix, "/");
    cr_expect_eq(pool->hash_key.source, GW_HASH_ADDRESS);
    cr_expect_eq(pool->hash_ring_size, 1024);
    cr_expect_eq(pool->slow_start_ms, 0);
    cr_expect_eq(pool->max_sessions, 0);
    cr_expect_eq(pool->queue_length, 1000);
    cr_expect_eq(pool->queue_timeout_ms, 5000);
    cr_expect_eq(pool->health_check, GW_HEALTH_OFF);
    cr_expect_str_eq(pool->health_path, "/");
    cr_expect_eq(pool->health_status_min, 200);
    cr_expect_eq(pool->health_status_max, 399);
    cr_expect_eq(pool->health_interval_ms, 5000);
    cr_expect_eq(pool->health_timeout_ms, 2000);
    cr_expect_eq(pool->health_rise, 2);
    cr_expect_eq(pool->health_fall, 3);
    cr_expect_eq(pool->eject_failures, 5);
    cr_expect_eq(pool->eject_time_ms, 5000);
    cr_expect_eq(pool->max_ejected, 50);
    cr_expect_eq(pool->drain_rate, 0);
    cr_expect_eq(pool->drain_timeout_ms, 0);
    cr_expect_eq(pool->sid_conflict, GW_SID_CONFLICT_REFUSE);
    cr_expect_str_eq(pool->canary.pool, "");
}

#define FIELD(name) offsetof(struct gw_pool_config, name)

Test(options_pool, values)
{
    static const struct {
        const char *line;
        size_t offset; /* of a uint32_t in gw_pool_config */
        uint32_t want;
    } table[] = {
        {"--balance hash", FIELD(balance), GW_BALANCE_HASH},
        {"--hash-ring-size 1", FIELD(hash_ring_size), 1},
        {"--hash-ring-size 65536", FIELD(hash_ring_size), 65536},
        {"--slow-start 1h", FIELD(slow_start_ms), 3600000},
        {"--max-sessions-per-backend 100000000", FIELD(max_sessions),
         100000000},
        {"--queue-length 0", FIELD(queue_length), 0},
        {"--queue-timeout 10ms", FIELD(queue_timeout_ms), 10},
        {"--health-check tcp", FIELD(health_check), GW_HEALTH_TCP},
        {"--health-check http", FIELD(health_check), GW_HEALTH_HTTP},
        {"--health-interval 2s", FIELD(health_interval_ms), 2000},
        {"--health-timeout 5s", FIELD(health_timeout_ms), 5000},
        {"--health-rise 100", FIELD(health_rise), 100},
        {"--health-fall 1", FIELD(health_fall), 1},
        {"--eject-failures 0", FIELD(eject_failures), 0},
        {"--eject-time 100ms", FIELD(eject_time_ms), 100},
        {"--max-ejected 100", FIELD(max_ejected), 100},
        {"--drain-rate 1000000", FIELD(drain_rate), 1000000},
        {"--drain-timeout 24h", FIELD(drain_timeout_ms), 86400000},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint32_t got;

        check_good(table[i].line);
        memcpy(&got, (const char *)pool + table[i].offset, sizeof(got));
        cr_expect_eq(got, table[i].want, "%s: %u", table[i].line, got);
        expect_reads_back();
    }
}

Test(options_pool, bad_values)
{
    static const struct bad table[] = {
        {"--hash-ring-size 0",
         "--hash-ring-size: 0 is not between 1 and 65536"},
        {"--hash-ring-size 65537",
         "--hash-ring-size: 65537 is not between 1 and 65536"},
        {"--queue-length 65537",
         "--queue-length: 65537 is not between 0 and 65536"},
        {"--queue-timeout 9ms",
         "--queue-timeout: 9ms is not between 10ms and 1h"},
        {"--max-ejected 101", "--max-ejected: 101 is not between 0 and 100"},
        {"--health-rise 0", "--health-rise: 0 is not between 1 and 100"},
        {"--health-interval 99ms",
         "--health-interval: 99ms is not between 100ms and 1h"},
        {"--health-timeout 5001ms",
         "--health-timeout: 5001ms is more than --health-interval, which is "
         "5s"},
        {"--health-interval 1s",
         "--health-timeout: 2s is more than --health-interval, which is 1s"},
        {"--drain-timeout 25h",
         "--drain-timeout: 25h is not between 0 and 24h"},
        {"--health-check on", "--health-check: on is none of off|tcp|http"},
    };

    CHECK_BAD(table);
}
