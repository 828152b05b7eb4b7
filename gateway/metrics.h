/* SPDX-License-Identifier: MIT */
/*
 * Counters. Each worker has its own, written by it alone and read by the
 * operator plane: relaxed atomics, so a reader sees whole values.
 */
#ifndef SIDGATE_GATEWAY_METRICS_H
#define SIDGATE_GATEWAY_METRICS_H

#include "gateway/backend_state.h"
#include "gateway/session_end.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef _Atomic uint64_t gw_counter;

/* How long things took. The buckets are not cumulative here; the last one is
 * for all that is longer than the last bound. */
enum { GW_HISTOGRAM_BOUNDS = 16 };

struct gw_histogram {
    gw_counter buckets[GW_HISTOGRAM_BOUNDS + 1];
    gw_counter sum_us;
};

extern const uint32_t gw_histogram_bounds_us[GW_HISTOGRAM_BOUNDS];

enum gw_request_kind {
    GW_REQUEST_HANDSHAKE, /* also those that begin with a websocket */
    GW_REQUEST_POLL, /* a session's GET: it waits for something to happen */
    GW_REQUEST_POST,
    GW_REQUEST_UPGRADE, /* a session's websocket, up to the 101 */
    GW_REQUEST_OTHER,   /* what is not Engine.IO */
    GW_REQUEST_KINDS,
};

extern const char *const gw_request_kind_names[GW_REQUEST_KINDS];

/* Of a shared store. */
enum gw_store_op {
    GW_STORE_PUT,
    GW_STORE_GET,
    GW_STORE_TOUCH,
    GW_STORE_REMOVE,
    GW_STORE_OPS,
};

extern const char *const gw_store_op_names[GW_STORE_OPS];

struct gw_metrics {
    struct gw_histogram request_us[GW_REQUEST_KINDS];
    struct gw_histogram store_us[GW_STORE_OPS];
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

/* Of the calling worker, likewise. */
void gw_histogram_add(struct gw_histogram *histogram, int64_t us);

struct gw_metrics_backend {
    const char *id;
    unsigned place; /* in each worker's gw_backend_metrics */
    int64_t sessions;
    int64_t websockets; /* of them */
    enum gw_condition condition;
};

/* What the kernel says of a thread or of the process; negative: it does not. */
struct gw_metrics_worker {
    const struct gw_metrics *metrics;
    const struct gw_backend_metrics *backends;
    int64_t cpu_us;
};

struct gw_metrics_process {
    int64_t start_time_s; /* wall clock */
    int64_t cpu_us;
    int64_t resident_bytes;
    int64_t open_fds;
    int64_t max_fds;
};

/* What the operator plane reads. The arrays are owned by the caller and must
 * outlive the call. */
struct gw_metrics_view {
    const struct gw_metrics_worker *workers;
    size_t worker_count;
    const struct gw_metrics_backend *backends;
    size_t backend_count;
    struct gw_metrics_process process;
    uint64_t ended[GW_END_COUNT]; /* sessions, by cause */
    uint64_t reloads_ok;
    uint64_t reloads_failed;
    uint64_t log_lines_lost;    /* of the access log */
    unsigned store_connections; /* to the shared store, that there should be */
    unsigned replicas;          /* this one included */
    int64_t not_after_s; /* of the certificate that ends first; 0: none */
    const char *version;
};

/* Renders the Prometheus text format (0.0.4) into a malloc'd, NUL-terminated
 * string that the caller frees; *len gets its length. NULL when memory is
 * short. */
char *gw_metrics_render(const struct gw_metrics_view *view, size_t *len);

#endif
