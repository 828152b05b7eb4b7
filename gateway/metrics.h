/* SPDX-License-Identifier: MIT */
/*
 * Counters. Each worker has its own, written by it alone and read by the
 * operator plane: relaxed atomics, so a reader sees whole values.
 */
#ifndef SIDGATE_GATEWAY_METRICS_H
#define SIDGATE_GATEWAY_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic uint64_t gw_counter;

struct gw_metrics {
#define GW_COUNTER(field, name, help) gw_counter field;
#define GW_GAUGE(field, name, help)   gw_counter field;
#define GW_BACKEND_COUNTER(field, name, help)
#include "gateway/metrics.def"
#undef GW_COUNTER
#undef GW_GAUGE
#undef GW_BACKEND_COUNTER
};

struct gw_backend_metrics {
#define GW_COUNTER(field, name, help)
#define GW_GAUGE(field, name, help)
#define GW_BACKEND_COUNTER(field, name, help) gw_counter field;
#include "gateway/metrics.def"
#undef GW_COUNTER
#undef GW_GAUGE
#undef GW_BACKEND_COUNTER
};

/* Adds to a counter of the calling worker: no other thread writes it, so a
 * plain load and store suffice. A gauge falls by adding (uint64_t)-1. */
static inline void gw_count_add(gw_counter *counter, uint64_t n)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

static inline void gw_count(gw_counter *counter)
{
    gw_count_add(counter, 1);
}

/* What the operator plane reads. The arrays are owned by the caller and must
 * outlive the call. */
struct gw_metrics_view {
    struct gw_metrics *const *workers;
    struct gw_backend_metrics *const *worker_backends; /* [worker][backend] */
    size_t worker_count;
    const char *const *backend_ids;
    const int64_t *backend_sessions; /* sessions bound to each now */
    size_t backend_count;
    uint64_t start_time_s; /* wall clock */
    int64_t not_after_s;   /* of the certificate that ends first; 0: none */
    const char *version;
};

/* Renders the Prometheus text format (0.0.4) into a malloc'd, NUL-terminated
 * string that the caller frees; *len gets its length. NULL when memory is
 * short. */
char *gw_metrics_render(const struct gw_metrics_view *view, size_t *len);

#endif
