/* SPDX-License-Identifier: MIT */
/* Histograms, and how long a page of the largest size takes. */
#include "gateway/metrics.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORKERS_MAX = 64, PAGE_MS = 200 };

static struct gw_metrics metrics[2];

/* The value behind `series`, which begins a line once. */
static double value_of(const char *page, const char *series)
{
    size_t len = strlen(series);
    double value = -1;

    for (const char *at = page; *at != '\0'; at = strchr(at, '\n') + 1) {
        if (strncmp(at, series, len) != 0 || at[len] != ' ')
            continue;
        cr_expect_eq(value, -1, "%s stands there twice", series);
        value = strtod(at + len, NULL);
    }
    cr_expect_neq(value, -1, "%s is missing", series);
    return value;
}

static char *render(void)
{
    const struct gw_metrics_worker workers[2] = {{.metrics = &metrics[0]},
                                                 {.metrics = &metrics[1]}};
    const struct gw_metrics_view view = {
        .workers = workers, .worker_count = 2, .version = "1"};
    size_t len;
    char *page = gw_metrics_render(&view, &len);

    cr_assert_not_null(page);
    return page;
}

static double bucket(const char *page, const char *le)
{
    char series[128];

    snprintf(series, sizeof(series),
             "sidgate_request_duration_seconds_bucket{kind=\"post\",le=\"%s\"}",
             le);
    return value_of(page, series);
}

Test(metrics_duration, buckets_are_cumulative)
{
    struct gw_histogram *post = &metrics[0].request_us[GW_REQUEST_POST];

    gw_histogram_add(post, 0);
    gw_histogram_add(post, 500);
    gw_histogram_add(post, 501);
    gw_histogram_add(&metrics[1].request_us[GW_REQUEST_POST], 60000000);
    gw_histogram_add(post, 60000001);

    char *page = render();
    cr_expect_eq(bucket(page, "0.0005"), 2);
    cr_expect_eq(bucket(page, "0.001"), 3);
    cr_expect_eq(bucket(page, "30"), 3);
    cr_expect_eq(bucket(page, "60"), 4);
    cr_expect_eq(bucket(page, "+Inf"), 5);
    cr_expect_eq(
        value_of(page, "sidgate_request_duration_seconds_count{kind=\"post\"}"),
        5);
    cr_expect_float_eq(
        value_of(page, "sidgate_request_duration_seconds_sum{kind=\"post\"}"),
        120.001002, 1e-9);
    free(page);
}

/* A clock that was read on another core may be a little behind. */
Test(metrics_duration, negative_times_are_none)
{
    gw_histogram_add(&metrics[0].store_us[GW_STORE_GET], -5);

    char *page = render();
    cr_expect_eq(value_of(page, "sidgate_store_duration_seconds_bucket{op="
                                "\"get\",le=\"0.0005\"}"),
                 1);
    cr_expect_eq(
        value_of(page, "sidgate_store_duration_seconds_sum{op=\"get\"}"), 0);
    free(page);
}

/* The text of a bound is its number. */
Test(metrics_duration, bounds_rise_and_are_as_written)
{
    uint32_t last = 0;

    char *page = render();
    const char *at = page;
    for (size_t i = 0; i < GW_HISTOGRAM_BOUNDS; i++) {
        cr_expect_gt(gw_histogram_bounds_us[i], last);
        last = gw_histogram_bounds_us[i];
        at = strstr(at, "kind=\"handshake\",le=\"");
        cr_assert_not_null(at);
        at += strlen("kind=\"handshake\",le=\"");
        cr_expect_float_eq(strtod(at, NULL) * 1e6, last, 1e-3);
    }
    free(page);
}

Test(metrics_duration, each_kind_and_operation_is_there)
{
    static const char *const series[] = {
        "sidgate_request_duration_seconds_count{kind=\"handshake\"}",
        "sidgate_request_duration_seconds_count{kind=\"poll\"}",
        "sidgate_request_duration_seconds_count{kind=\"upgrade\"}",
        "sidgate_request_duration_seconds_count{kind=\"other\"}",
        "sidgate_store_duration_seconds_count{op=\"put\"}",
        "sidgate_store_duration_seconds_count{op=\"touch\"}",
        "sidgate_store_duration_seconds_count{op=\"remove\"}",
    };

    char *page = render();
    for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++)
        cr_expect_eq(value_of(page, series[i]), 0);
    free(page);
}

/* CPU time, which other processes take none of. */
static int64_t cpu_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Sanitizers make it several times slower; without them it is below 15 ms. */
Test(metrics_duration, the_largest_page_takes_little_time)
{
    static char ids[GW_BACKEND_COUNT_MAX][GW_BACKEND_ID_MAX];
    static struct gw_metrics_backend backends[GW_BACKEND_COUNT_MAX];
    struct gw_metrics_worker workers[WORKERS_MAX];
    struct gw_metrics *many = calloc(WORKERS_MAX, sizeof(*many));
    struct gw_backend_metrics *rows =
        calloc((size_t)WORKERS_MAX * GW_BACKEND_COUNT_MAX, sizeof(*rows));

    cr_assert(many != NULL && rows != NULL);
    for (unsigned i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        snprintf(ids[i], sizeof(ids[i]), "[2001:db8::%04x]:30%02u", i, i % 100);
        backends[i] = (struct gw_metrics_backend){.id = ids[i], .place = i};
    }
    for (unsigned i = 0; i < WORKERS_MAX; i++)
        workers[i] = (struct gw_metrics_worker){
            .metrics = &many[i],
            .backends = rows + (size_t)i * GW_BACKEND_COUNT_MAX};
    const struct gw_metrics_view view = {.workers = workers,
                                         .worker_count = WORKERS_MAX,
                                         .backends = backends,
                                         .backend_count = GW_BACKEND_COUNT_MAX,
                                         .version = "1"};
    size_t len;
    int64_t began = cpu_ms();
    char *page = gw_metrics_render(&view, &len);
    int64_t took = cpu_ms() - began;

    cr_assert_not_null(page);
    cr_expect_leq(took, PAGE_MS, "%" PRId64 " ms for %zu bytes", took, len);
    free(page);
    free(rows);
    free(many);
}
