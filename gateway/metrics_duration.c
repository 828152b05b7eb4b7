/* SPDX-License-Identifier: MIT */
/* How long things took: counting, and the histograms of the metrics page. */
#include "gateway/metrics_private.h"

#include <inttypes.h>
#include <stddef.h>

const uint32_t gw_histogram_bounds_us[GW_HISTOGRAM_BOUNDS] = {
    500,    1000,   2500,    5000,    10000,   25000,    50000,    100000,
    250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000};

/* The same in seconds. */
static const char *const bound_texts[GW_HISTOGRAM_BOUNDS] = {
    "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
    "0.25",   "0.5",   "1",      "2.5",   "5",    "10",    "30",   "60"};

const char *const gw_request_kind_names[GW_REQUEST_KINDS] = {
    [GW_REQUEST_HANDSHAKE] = "handshake", [GW_REQUEST_POLL] = "poll",
    [GW_REQUEST_POST] = "post",           [GW_REQUEST_UPGRADE] = "upgrade",
    [GW_REQUEST_OTHER] = "other",
};

const char *const gw_store_op_names[GW_STORE_OPS] = {
    [GW_STORE_PUT] = "put",
    [GW_STORE_GET] = "get",
    [GW_STORE_TOUCH] = "touch",
    [GW_STORE_REMOVE] = "remove",
};

void gw_histogram_add(struct gw_histogram *histogram, int64_t us)
{
    size_t i = 0;

    if (us < 0)
        us = 0;
    while (i < GW_HISTOGRAM_BOUNDS && us > gw_histogram_bounds_us[i])
        i++;
    gw_count(&histogram->buckets[i]);
    gw_count_add(&histogram->sum_us, (uint64_t)us);
}

/* A family of histograms that are one array in gw_metrics. */
struct family {
    const char *name;
    const char *help;
    const char *label;
    const char *const *values;
    size_t count;
    size_t offset;
};

static const struct gw_histogram *histogram_of(const struct gw_metrics *metrics,
                                               size_t offset)
{
    const void *at = (const char *)metrics + offset;

    return at;
}

/* Prometheus' buckets hold all that is at most their bound. */
static void put_histogram(const struct gw_metrics_page *page,
                          const struct family *family, size_t index)
{
    const struct gw_metrics_view *view = page->view;
    size_t offset = family->offset + index * sizeof(struct gw_histogram);
    const char *name = family->name;
    const char *label = family->label;
    const char *value = family->values[index];
    uint64_t count = 0;
    uint64_t sum_us = 0;

    for (size_t i = 0; i <= GW_HISTOGRAM_BOUNDS; i++) {
        for (size_t worker = 0; worker < view->worker_count; worker++)
            count += gw_metrics_read(
                &histogram_of(view->workers[worker].metrics, offset)
                     ->buckets[i]);
        fprintf(page->out, "%s_bucket{%s=\"%s\",le=\"%s\"} %" PRIu64 "\n", name,
                label, value, i < GW_HISTOGRAM_BOUNDS ? bound_texts[i] : "+Inf",
                count);
    }
    for (size_t worker = 0; worker < view->worker_count; worker++)
        sum_us += gw_metrics_read(
            &histogram_of(view->workers[worker].metrics, offset)->sum_us);
    fprintf(page->out, "%s_sum{%s=\"%s\"} %" PRIu64 ".%06" PRIu64 "\n", name,
            label, value, sum_us / 1000000, sum_us % 1000000);
    fprintf(page->out, "%s_count{%s=\"%s\"} %" PRIu64 "\n", name, label, value,
            count);
}

void gw_metrics_put_durations(const struct gw_metrics_page *page)
{
    static const struct family families[] = {
        {"sidgate_request_duration_seconds",
         "From a request's head to the end of its response, by kind: upgrades "
         "to the head of the response, polls with the time that they waited.",
         "kind", gw_request_kind_names, GW_REQUEST_KINDS,
         offsetof(struct gw_metrics, request_us)},
        {"sidgate_store_duration_seconds",
         "How long the shared store took to answer, by what it was asked.",
         "op", gw_store_op_names, GW_STORE_OPS,
         offsetof(struct gw_metrics, store_us)},
    };

    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        gw_metrics_head(page->out, families[i].name, "histogram",
                        families[i].help);
        for (size_t j = 0; j < families[i].count; j++)
            put_histogram(page, &families[i], j);
    }
}
