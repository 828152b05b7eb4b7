/* SPDX-License-Identifier: MIT */
/* What is known of a backend's state. */
#include "gateway/backend.h"
#include "gateway/server.h"

#include <string.h>

/* Connects that failed in a row: who answers after that has been away, and is
 * as fresh as a new one. */
enum { REFUSALS_DOWN = 3 };

struct gw_backend *gw_backend_find(struct gw_backends *backends, const char *id)
{
    struct gw_backend *old = NULL;
    size_t used = gw_backends_used(backends);
    for (size_t i = 0; i < used; i++) {
        struct gw_backend *one = &backends->list[i];
        int state = atomic_load_explicit(&one->state, memory_order_acquire);
        if ((state != GW_BACKEND_LIVE && state != GW_BACKEND_REMOVED) ||
            strcmp(one->config->id, id) != 0)
            continue;
        if (state == GW_BACKEND_LIVE)
            return one;
        if (old == NULL || !atomic_load(&one->is_superseded))
            old = one;
    }
    return old;
}

/* Whether `one` lost the id before `other` did. */
static bool is_older(const struct gw_backend *one,
                     const struct gw_backend *other)
{
    long long one_ms = atomic_load(&one->removed_ms);
    long long other_ms = atomic_load(&other->removed_ms);
    return one_ms < other_ms || (one_ms == other_ms && one < other);
}

/* Each of a row leads to the one before it, and so to an end. */
struct gw_backend *gw_backend_former(struct gw_backends *backends,
                                     const struct gw_backend *backend)
{
    struct gw_backend *last = NULL;
    size_t used = gw_backends_used(backends);
    bool is_former = atomic_load(&backend->is_superseded);
    if (!is_former &&
        !atomic_load_explicit(&backend->has_former, memory_order_relaxed))
        return NULL;
    for (size_t i = 0; i < used; i++) {
        struct gw_backend *one = &backends->list[i];
        if (one != backend && gw_backend_is_known(one) &&
            atomic_load(&one->is_superseded) &&
            strcmp(one->config->id, backend->config->id) == 0 &&
            (!is_former || is_older(one, backend)) &&
            (last == NULL || is_older(last, one)))
            last = one;
    }
    return last;
}

void gw_backend_note_connected(struct gw_backend *backend)
{
    /* Written only on a change: the line is shared by all workers. */
    if (atomic_load_explicit(&backend->refusals, memory_order_relaxed) > 0 &&
        atomic_exchange(&backend->refusals, 0) >= REFUSALS_DOWN)
        atomic_store(&backend->fresh_since_ms, gw_now_ms());
    if (atomic_load_explicit(&backend->failed_at_ms, memory_order_relaxed))
        atomic_store_explicit(&backend->failed_at_ms, 0, memory_order_relaxed);
    if (atomic_load_explicit(&backend->unreachable_since_ms,
                             memory_order_relaxed))
        atomic_store_explicit(&backend->unreachable_since_ms, 0,
                              memory_order_relaxed);
}

void gw_backend_note_refused(struct gw_backend *backend, int64_t now_ms)
{
    atomic_fetch_add_explicit(&backend->refusals, 1, memory_order_relaxed);
    atomic_store_explicit(&backend->failed_at_ms, now_ms, memory_order_relaxed);
}

void gw_backend_note_unreachable(struct gw_backend *backend, int64_t now_ms)
{
    long long none = 0;
    gw_backend_note_refused(backend, now_ms);
    atomic_compare_exchange_strong(&backend->unreachable_since_ms, &none,
                                   now_ms);
}

void gw_backend_count_session(struct gw_backends *backends, const char *id,
                              bool is_websocket, int delta)
{
    struct gw_backend *backend = gw_backend_find(backends, id);
    if (backend == NULL)
        return;
    atomic_fetch_add_explicit(&backend->sessions, delta, memory_order_relaxed);
    if (is_websocket)
        atomic_fetch_add_explicit(&backend->websockets, delta,
                                  memory_order_relaxed);
}
