/* SPDX-License-Identifier: MIT */
/* Health checks by connects: turns, counts, backends that come and go. */
#include "health_fixture.h"

#include "tls_fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

TestSuite(health, .init = health_setup, .fini = health_teardown);

Test(health, a_closed_port_is_down_and_an_open_one_up_again)
{
    int port = closed_port();
    struct gw_backend *backend = place(0, "n1", port);

    tls_log_begin();
    health_begin();
    cr_assert(goes_down(backend));
    cr_expect_str_eq(backend->health_reason, "connection refused");
    atomic_store(&backend->ejected_until_ms, INT64_MAX);
    struct server *server = server_start_on(port);
    cr_assert(goes_up(backend));
    cr_expect_str_eq(backend->health_reason, "2 good checks");
    cr_expect_eq(atomic_load(&backend->ejected_until_ms), 0);
    const char *log = tls_log_end();
    cr_expect_not_null(
        strstr(log, "backend_down backend=n1 why=\"connection refused\""), "%s",
        log);
    cr_expect_not_null(
        strstr(log, "backend_up backend=n1 why=\"2 good checks\""), "%s", log);
    server_stop(server);
}

Test(health, a_backend_is_up_until_checks_say_otherwise)
{
    struct gw_backend *backend = place(0, "n1", closed_port());

    config.pools[0].health_fall = 100;
    health_begin();
    turn_for(900);
    cr_expect(!atomic_load(&backend->is_down));
    cr_expect_str_eq(backend->health_reason, "");
}

Test(health, good_checks_are_told_of_nobody)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);

    tls_log_begin();
    health_begin();
    cr_assert(gets_hits(server, 10));
    cr_expect_str_eq(tls_log_end(), "");
    cr_expect(!atomic_load(&backend->is_down));
    cr_expect_str_eq(backend->health_reason, "");
    server_stop(server);
}

Test(health, intervals_are_a_tenth_more_or_less)
{
    enum { COUNT = 14, INTERVAL_MS = 200, SLACK_MS = 60, OFF_MS = 6 };
    struct server *server = server_start(NULL, false);
    unsigned off = 0;

    config.pools[0].health_interval_ms = INTERVAL_MS;
    place(0, "n1", server->port);
    health_begin();
    cr_assert(gets_hits(server, COUNT));
    for (size_t i = 1; i < COUNT; i++) {
        uint64_t gap = server->seen_ms[i] - server->seen_ms[i - 1];

        cr_expect_gt(gap, INTERVAL_MS * 9 / 10 - SLACK_MS);
        off += gap < INTERVAL_MS - OFF_MS || gap > INTERVAL_MS + OFF_MS;
    }
    cr_expect_geq(off, 3);
    cr_expect_lt(server->seen_ms[COUNT - 1] - server->seen_ms[0],
                 (COUNT - 1) * (INTERVAL_MS * 11 / 10 + SLACK_MS));
    server_stop(server);
}

Test(health, a_new_backend_is_checked_within_a_second)
{
    struct server *first = server_start(NULL, false);
    struct server *second = server_start(NULL, false);

    config.pools[0].health_interval_ms = 60000;
    place(0, "n1", first->port);
    health_begin();
    uint64_t start = uv_hrtime();
    cr_assert(gets_hits(first, 1));
    cr_expect_lt(uv_hrtime() - start, 1200000000);
    place(1, "n2", second->port);
    start = uv_hrtime();
    cr_assert(gets_hits(second, 1));
    cr_expect_lt(uv_hrtime() - start, 1200000000);
    cr_expect_eq(atomic_load(&first->hits), 1);
    server_stop(first);
    server_stop(second);
}

Test(health, a_removed_backend_is_not_checked_any_more)
{
    int port = closed_port();
    struct gw_backend *gone = place(0, "n1", port);
    struct server *other = server_start(NULL, false);

    place(1, "n2", other->port);
    health_begin();
    cr_assert(goes_down(gone));
    atomic_store(&gone->state, GW_BACKEND_REMOVED);
    cr_expect(goes_up(gone));
    struct server *server = server_start_on(port);
    cr_assert(gets_hits(other, 20));
    cr_expect_eq(atomic_load(&server->hits), 0);
    /* And when it is back all begins anew. */
    server_stop(server);
    atomic_store(&gone->state, GW_BACKEND_LIVE);
    cr_expect(goes_down(gone));
    server_stop(other);
}

Test(health, another_backend_in_the_place_gets_no_old_result)
{
    struct server *hung = server_start(NULL, false);
    struct server *good = server_start(NULL, false);
    struct gw_backend *backend = place(0, "old", hung->port);

    config.pools[0].health_check = GW_HEALTH_HTTP;
    config.pools[0].health_fall = 1;
    config.pools[0].health_timeout_ms = 500;
    atomic_store(&hung->mode, SERVER_HOLDS);
    health_begin();
    cr_assert(gets_hits(hung, 1));
    place(0, "new", good->port);
    cr_assert(gets_hits(good, 30));
    cr_expect(!atomic_load(&backend->is_down));
    cr_expect_str_eq(backend->health_reason, "");
    cr_expect_eq(atomic_load(&hung->hits), 1);
    server_stop(hung);
    server_stop(good);
}

Test(health, switched_off_means_up)
{
    struct gw_backend *backend = place(0, "n1", closed_port());
    struct gw_config off = config;

    health_begin();
    cr_assert(goes_down(backend));
    off.pools[0].health_check = GW_HEALTH_OFF;
    gw_health_configure(health, &off);
    cr_expect(!atomic_load(&backend->is_down));
    cr_expect_str_eq(backend->health_reason, "");
    /* Nothing wakes the process any more. */
    cr_expect_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    gw_health_configure(health, &config);
    cr_expect(goes_down(backend));
}

Test(health, a_shorter_interval_is_taken_up_at_once)
{
    struct server *server = server_start(NULL, false);
    struct gw_config quick = config;

    config.pools[0].health_interval_ms = 3600000;
    place(0, "n1", server->port);
    health_begin();
    cr_assert(gets_hits(server, 1));
    gw_health_configure(health, &quick);
    cr_expect(gets_hits(server, 5));
    server_stop(server);
}

Test(health, not_too_many_at_a_time)
{
    enum { COUNT = 100, AT_A_TIME = 32 };
    struct server *server = server_start(NULL, false);

    config.pools[0].health_check = GW_HEALTH_HTTP;
    config.pools[0].health_timeout_ms = 300;
    config.pools[0].health_fall = 1;
    atomic_store(&server->mode, SERVER_HOLDS);
    for (unsigned i = 0; i < COUNT; i++) {
        char id[16];

        snprintf(id, sizeof(id), "n%u", i);
        place(i, id, server->port);
    }
    health_begin();
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert(goes_down(&table->list[i]));
        cr_expect_str_eq(table->list[i].health_reason, "timeout after 300 ms");
    }
    cr_expect_leq(atomic_load(&server->most), AT_A_TIME);
    cr_expect_geq(atomic_load(&server->most), AT_A_TIME / 2);
    server_stop(server);
}

Test(health, a_flapping_port_leaks_nothing)
{
    enum { ROUNDS = 10 };
    int port = closed_port();
    struct gw_backend *tcp = place(0, "n1", port);
    struct gw_backend *http = place(1, "n2", port);
    unsigned before = 0;

    config.pool_count = 2;
    config.pools[1] = config.pools[0];
    config.pools[1].health_check = GW_HEALTH_HTTP;
    http->own.pool = 1;
    config.pools[0].health_interval_ms = 5;
    config.pools[1].health_interval_ms = 5;
    health_begin();
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert(goes_down(tcp) && goes_down(http));
        cr_expect_str_eq(http->health_reason, "connection refused");
        if (i == 1)
            before = count_descriptors();
        struct server *server = server_start_on(port);
        cr_assert(goes_up(tcp) && goes_up(http));
        server_stop(server);
    }
    cr_assert(goes_down(tcp) && goes_down(http));
    cr_expect_leq(count_descriptors(), before + 2);
}

Test(health, a_want_of_descriptors_is_no_fault_of_a_backend)
{
    struct server *server = server_start(NULL, false);
    struct gw_backend *tcp = place(0, "n1", server->port);
    struct gw_backend *http = place(1, "n2", server->port);
    struct rlimit limit;

    config.pool_count = 2;
    config.pools[1] = config.pools[0];
    config.pools[1].health_check = GW_HEALTH_HTTP;
    http->own.pool = 1;
    health_begin();
    cr_assert(gets_hits(server, 8));
    tls_log_begin();
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    turn_for(300);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    const char *log = tls_log_end();
    cr_expect_not_null(strstr(log, "backend_check_impossible"), "%s", log);
    cr_expect(!atomic_load(&tcp->is_down));
    cr_expect(!atomic_load(&http->is_down), "%s", http->health_reason);
    cr_expect(gets_hits(server, 8));
    server_stop(server);
}

/* As when a reload takes its time. */
static void stall(void)
{
    const struct timespec time = {.tv_nsec = 700000000};

    nanosleep(&time, NULL);
}

Test(health, a_stall_of_our_own_is_no_fault_of_a_backend)
{
    enum { ROUNDS = 4 };
    struct server *server = server_start(NULL, false);
    struct gw_backend *backend = place(0, "n1", server->port);

    config.pools[0].health_check = GW_HEALTH_HTTP;
    config.pools[0].health_timeout_ms = 500;
    config.pools[0].health_interval_ms = 5;
    config.pools[0].health_fall = 1;
    health_begin();
    cr_assert(gets_hits(server, 1));
    for (int i = 0; i < ROUNDS; i++) {
        cr_assert(begins(server));
        stall();
    }
    cr_expect_str_eq(backend->health_reason, "");
    server_stop(server);
}

Test(health, the_end_waits_for_no_check)
{
    struct server *server = server_start(NULL, false);

    config.pools[0].health_check = GW_HEALTH_HTTP;
    config.pools[0].health_timeout_ms = 600000;
    atomic_store(&server->mode, SERVER_HOLDS);
    place(0, "n1", server->port);
    health_begin();
    cr_assert(gets_hits(server, 1));
    gw_health_free(health);
    health = NULL;
    server_stop(server);
}
