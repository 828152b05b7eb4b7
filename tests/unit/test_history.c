/* SPDX-License-Identifier: MIT */
/* Rates, shares, quantiles and points. */
#include "history_fixture.h"

TestSuite(history, .init = setup, .fini = teardown);

#define NEAR(a, b) cr_expect_float_eq(a, b, 0.0011, "%f", (double)(a))

/* Once a second, from `from_s` up to `to_s`. */
static void steps(int from_s, int to_s)
{
    for (int s = from_s; s <= to_s; s++)
        step((int64_t)s * 1000);
}

static bool is_null(const cJSON *object, const char *name)
{
    return cJSON_IsNull(in(object, name));
}

Test(history, nothing_happened)
{
    const cJSON *figures = now();

    NEAR(number(figures, "handshakes_per_s"), 0);
    NEAR(number(figures, "bytes_in_per_s"), 0);
    NEAR(number(figures, "sessions"), 0);
    cr_expect(is_null(figures, "upgrade_success"));
    cr_expect(is_null(figures, "handshake_p50_ms"));
    cr_expect(is_null(figures, "handshake_p99_ms"));
}

Test(history, rates_are_over_five_seconds)
{
    steps(1, 10);
    gw_count_add(&worker(0)->handshakes, 10);
    gw_count_add(&worker(1)->handshakes, 5);
    gw_count_add(&worker(1)->requests, 40);
    gw_count_add(&worker(0)->bytes_from_clients, 1000);
    gw_count_add(&worker(0)->bytes_to_clients, 2000);
    gw_count_add(&worker(1)->unknown_sid, 1);
    gw_count_add(&worker(1)->routed_recovery, 2);
    gw_count_add(&row(0, 0)->b_unknown_sid, 3);
    gw_count_add(&row(1, 1)->b_unknown_sid, 2);
    gw_count_add(&row(1, 1)->b_upgrade_attempts, 5);
    step(11000);
    const cJSON *figures = now();
    NEAR(number(figures, "handshakes_per_s"), 3);
    NEAR(number(figures, "requests_per_s"), 8);
    NEAR(number(figures, "bytes_in_per_s"), 200);
    NEAR(number(figures, "bytes_out_per_s"), 400);
    NEAR(number(figures, "unknown_sid_per_s"), 0.2);
    NEAR(number(figures, "recoveries_per_s"), 0.4);
    NEAR(number(figures, "misroutes_per_s"), 1);
    NEAR(number(figures, "upgrades_per_s"), 1);
    steps(12, 15);
    NEAR(number(now(), "handshakes_per_s"), 3);
    step(16000);
    NEAR(number(now(), "handshakes_per_s"), 0);
}

/* A second is what it is by the clock. */
Test(history, late_steps)
{
    step(1000);
    step(1500);
    gw_count_add(&worker(0)->handshakes, 80);
    step(9000);
    NEAR(number(now(), "handshakes_per_s"), 10);
}

Test(history, before_five_seconds_have_gone)
{
    step(1000);
    gw_count_add(&worker(0)->handshakes, 10);
    step(2000);
    const cJSON *figures = now();
    /* The first look was a minute before. */
    cr_expect_lt(number(figures, "handshakes_per_s"), 5.1);
    cr_expect_gt(number(figures, "handshakes_per_s"), 0);
}

Test(history, upgrade_success_is_of_a_minute)
{
    step(1000);
    gw_count_add(&row(0, 0)->b_upgrade_attempts, 9);
    gw_count_add(&row(0, 0)->b_upgrade_successes, 3);
    gw_count_add(&row(1, 1)->b_upgrades_refused, 1);
    step(2000);
    NEAR(number(now(), "upgrade_success"), 0.75);
    gw_count_add(&row(0, 0)->b_upgrades_unreachable, 1);
    gw_count_add(&row(0, 0)->b_upgrades_stripped, 1);
    gw_count_add(&row(0, 1)->b_upgrades_probe, 1);
    gw_count_add(&row(1, 1)->b_upgrades_closed, 5);
    steps(3, 60);
    NEAR(number(now(), "upgrade_success"), 0.25);
    steps(61, 64);
    cr_expect(is_null(now(), "upgrade_success"));
}

static void took(unsigned bucket, unsigned count)
{
    gw_counter *buckets =
        worker(bucket % WORKERS)->request_us[GW_REQUEST_HANDSHAKE].buckets;

    gw_count_add(&buckets[bucket], count);
}

Test(history, quantiles)
{
    double low_ms = gw_histogram_bounds_us[3] / 1000.0;
    double high_ms = gw_histogram_bounds_us[4] / 1000.0;

    step(1000);
    took(4, 100);
    step(2000);
    const cJSON *figures = now();
    NEAR(number(figures, "handshake_p50_ms"), (low_ms + high_ms) / 2);
    NEAR(number(figures, "handshake_p99_ms"),
         low_ms + (high_ms - low_ms) * 0.99);
    took(0, 100);
    step(3000);
    figures = now();
    NEAR(number(figures, "handshake_p50_ms"),
         gw_histogram_bounds_us[0] / 1000.0);
    NEAR(number(figures, "handshake_p99_ms"),
         low_ms + (high_ms - low_ms) * 0.98);
}

/* What took longer than the last bound took at least that. */
Test(history, quantiles_beyond_the_bounds)
{
    step(1000);
    took(GW_HISTOGRAM_BOUNDS, 1);
    step(2000);
    NEAR(number(now(), "handshake_p99_ms"),
         gw_histogram_bounds_us[GW_HISTOGRAM_BOUNDS - 1] / 1000.0);
    took(0, 1);
    step(3000);
    NEAR(number(now(), "handshake_p50_ms"), gw_histogram_bounds_us[0] / 1000.0);
    steps(4, 65);
    cr_expect(is_null(now(), "handshake_p99_ms"));
}

/* Other requests are none of it. */
Test(history, quantiles_of_handshakes_alone)
{
    step(1000);
    gw_count(&worker(0)->request_us[GW_REQUEST_POLL].buckets[5]);
    step(2000);
    cr_expect(is_null(now(), "handshake_p50_ms"));
}

Test(history, levels)
{
    struct gw_backend *list = server.backends->list;

    atomic_store(&list[0].sessions, 7);
    atomic_store(&list[0].websockets, 3);
    atomic_store(&list[1].sessions, 2);
    atomic_store(&list[1].elsewhere, 4);
    gw_count_add(&worker(0)->connections, 5);
    gw_count_add(&worker(1)->connections, (uint64_t)-1);
    gw_count_add(&worker(1)->tunnels, (uint64_t)-1);
    const cJSON *figures = now();
    NEAR(number(figures, "sessions"), 9);
    NEAR(number(figures, "sessions_websocket"), 3);
    NEAR(number(figures, "sessions_polling"), 6);
    NEAR(number(figures, "sessions_elsewhere"), 4);
    NEAR(number(figures, "connections"), 4);
    NEAR(number(figures, "tunnels"), 0);
}

Test(history, totals_are_as_of_now)
{
    gw_count_add(&worker(0)->handshakes, 2);
    gw_count_add(&worker(1)->sessions_learned, 1);
    gw_count_add(&row(0, 0)->b_upgrades_probe, 4);
    gw_count_add(&row(1, 1)->b_upgrade_successes, 6);
    const cJSON *sums = totals();
    NEAR(number(sums, "handshakes"), 2);
    NEAR(number(sums, "sessions_begun"), 1);
    NEAR(number(sums, "sessions_ended"), 0);
    NEAR(number(sums, "upgrade_successes"), 6);
    NEAR(number(in(sums, "upgrade_failures"), "probe"), 4);
    NEAR(number(in(sums, "upgrade_failures"), "closed"), 0);
}

/* The place of a backend that has gone is cleared for another one. */
Test(history, totals_never_fall)
{
    struct gw_backend *two = &server.backends->list[1];

    steps(1, 10);
    gw_count_add(&row(0, 0)->b_upgrade_attempts, 1);
    gw_count_add(&row(0, 1)->b_upgrade_attempts, 10);
    gw_count_add(&row(1, 1)->b_upgrade_attempts, 20);
    step(11000);
    atomic_store(&two->state, GW_BACKEND_FORGOTTEN);
    step(12000);
    memset(row(0, 1), 0, sizeof(*row(0, 1)));
    memset(row(1, 1), 0, sizeof(*row(1, 1)));
    NEAR(number(totals(), "upgrade_attempts"), 31);
    atomic_store(&two->state, GW_BACKEND_LIVE);
    gw_count_add(&row(0, 1)->b_upgrade_attempts, 5);
    NEAR(number(totals(), "upgrade_attempts"), 36);
    step(13000);
    NEAR(number(now(), "upgrades_per_s"), 7.2);
}

static const cJSON *points(void)
{
    cJSON *root = fresh();

    cr_assert(gw_history_add_points(history, root));
    NEAR(number(root, "step_s"), 5);
    return in(root, "points");
}

Test(history, points)
{
    int64_t before = gw_history_last(history);

    gw_count_add(&worker(0)->handshakes, 50);
    atomic_store(&server.backends->list[0].sessions, 7);
    steps(1, 5);
    cr_expect_eq(gw_history_last(history), before + 1);
    cr_assert(gw_history_add_point(history, before + 1, fresh()));
    const cJSON *point = in(told, "point");
    NEAR(number(point, "handshakes_per_s"), 10);
    NEAR(number(point, "sessions"), 7);
    cr_expect_str_eq(text(point, "time"), "2023-11-14T22:13:25.000Z");
    steps(6, 20);
    cr_expect_eq(gw_history_last(history), before + 4);
    const cJSON *list = points();
    cr_assert_eq(cJSON_GetArraySize(list), before + 4);
    NEAR(number(cJSON_GetArrayItem(list, (int)before), "handshakes_per_s"), 10);
    NEAR(number(cJSON_GetArrayItem(list, (int)before + 1), "handshakes_per_s"),
         0);
}

Test(history, points_wrap_around)
{
    steps(1, 5 * (GW_HISTORY_POINTS + 20));
    const cJSON *list = points();
    const char *before = "";
    const cJSON *point;

    cr_expect_eq(cJSON_GetArraySize(list), GW_HISTORY_POINTS);
    cJSON_ArrayForEach(point, list)
    {
        cr_expect_lt(strcmp(before, text(point, "time")), 0);
        before = text(point, "time");
    }
    cr_expect_str_eq(before, "2023-11-14T22:30:00.000Z");
    /* Those that have gone, and those to come. */
    cr_expect(gw_history_add_point(history, 1, fresh()));
    cr_expect_null(cJSON_GetObjectItem(told, "point"));
    cr_expect(
        gw_history_add_point(history, gw_history_last(history) + 1, fresh()));
    cr_expect_null(cJSON_GetObjectItem(told, "point"));
}

/* Ten steps a second, as the control thread makes them, are one reading. */
Test(history, ticks)
{
    int64_t before = gw_history_last(history);

    for (int64_t ms = 100; ms <= 20000; ms += 100)
        step(ms);
    cr_expect_eq(gw_history_last(history), before + 4);
}
