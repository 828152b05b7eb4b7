/* SPDX-License-Identifier: MIT */
/* What the parts of the metrics page share. */
#ifndef SIDGATE_GATEWAY_METRICS_PRIVATE_H
#define SIDGATE_GATEWAY_METRICS_PRIVATE_H

#include "gateway/metrics.h"

#include <stdio.h>

/* A backend's id as the value of a label. */
enum { GW_METRICS_LABEL_MAX = 2 * GW_BACKEND_ID_MAX };

struct gw_metrics_page {
    FILE *out;
    const struct gw_metrics_view *view;
    char (*labels)[GW_METRICS_LABEL_MAX]; /* of each backend in the view */
};

static inline uint64_t gw_metrics_read(const gw_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* The two lines before a family. `name` has its prefix. */
void gw_metrics_head(FILE *out, const char *name, const char *type,
                     const char *help);

/* sidgate_request_duration_seconds, sidgate_store_duration_seconds. */
void gw_metrics_put_durations(const struct gw_metrics_page *page);

/* What backends are, apart from what is counted for them. */
void gw_metrics_put_conditions(const struct gw_metrics_page *page);

/* Each worker by itself. */
void gw_metrics_put_each_worker(const struct gw_metrics_page *page);

/* The gateway as a whole, then what any process has. */
void gw_metrics_put_process(const struct gw_metrics_page *page);

#endif
