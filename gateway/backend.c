/* SPDX-License-Identifier: MIT */
/* The backends and the choice of one for a handshake. */
#include "gateway/backend.h"
#include "gateway/worker.h"

#include <stdlib.h>
#include <string.h>

enum {
    FAILURE_MEMORY_MS = 1000,
    PAIR_TRIES = 8, /* to draw two that differ */
};

struct gw_backends *gw_backends_new(const struct gw_config *config)
{
    size_t count = config->backend_count;
    struct gw_backends *backends =
        calloc(1, sizeof(*backends) + count * sizeof(backends->list[0]));
    if (backends == NULL)
        return NULL;
    backends->config = config;
    backends->count = count;
    for (unsigned i = 0; i < count; i++) {
        backends->list[i].config = &config->backends[i];
        backends->list[i].index = i;
    }
    return backends;
}

void gw_backends_free(struct gw_backends *backends)
{
    free(backends);
}

struct gw_backend *gw_backend_find(struct gw_backends *backends, const char *id)
{
    for (size_t i = 0; i < backends->count; i++)
        if (strcmp(backends->list[i].config->id, id) == 0)
            return &backends->list[i];
    return NULL;
}

static bool is_fit(const struct gw_backend *backend, int64_t now_ms)
{
    long long failed =
        atomic_load_explicit(&backend->failed_at_ms, memory_order_relaxed);
    return failed == 0 || now_ms - failed > FAILURE_MEMORY_MS;
}

static bool is_open(const struct gw_backend *backend)
{
    return !atomic_load_explicit(&backend->is_drained, memory_order_relaxed) &&
           !atomic_load_explicit(&backend->is_unagreed, memory_order_relaxed);
}

/* Sessions and handshakes under way, in 1/256 of a weight unit. */
static long long load_of(const struct gw_backend *backend)
{
    long long n =
        atomic_load_explicit(&backend->sessions, memory_order_relaxed) +
        atomic_load_explicit(&backend->handshakes, memory_order_relaxed) +
        atomic_load_explicit(&backend->elsewhere, memory_order_relaxed);
    return (n + 1) * 256 / backend->config->weight;
}

/* Starts at a place that moves on with every choice, so that equals take
 * turns. */
static struct gw_backend *choose_least(struct gw_backend **fit, size_t count,
                                       uint32_t start)
{
    struct gw_backend *best = NULL;
    for (size_t i = 0; i < count; i++) {
        struct gw_backend *other = fit[(start + i) % count];
        if (best == NULL || load_of(other) < load_of(best))
            best = other;
    }
    return best;
}

/* The backend on which the `turn`-th of all weight units falls. */
static struct gw_backend *choose_weighted(struct gw_backend **fit, size_t count,
                                          uint32_t turn)
{
    uint32_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += fit[i]->config->weight;
    uint32_t at = turn % total;
    for (size_t i = 0; i < count; i++) {
        if (at < fit[i]->config->weight)
            return fit[i];
        at -= fit[i]->config->weight;
    }
    return fit[0];
}

/* The better of two candidates. */
static struct gw_backend *choose_of_two(struct gw_worker *worker,
                                        struct gw_backend **fit, size_t count)
{
    struct gw_backend *pair[2];
    pair[0] = choose_weighted(fit, count, gw_worker_random(worker));
    pair[1] = pair[0];
    for (int i = 0; i < PAIR_TRIES && pair[1] == pair[0]; i++)
        pair[1] = choose_weighted(fit, count, gw_worker_random(worker));
    return choose_least(pair, 2, 0);
}

struct gw_backend *gw_backend_choose(struct gw_worker *worker,
                                     const struct gw_backend_set *tried)
{
    struct gw_backends *backends = worker->server->backends;
    struct gw_backend *fit[GW_BACKEND_COUNT_MAX];
    size_t count = 0;
    for (int pass = 0; pass < 2 && count == 0; pass++)
        for (size_t i = 0; i < backends->count; i++) {
            struct gw_backend *one = &backends->list[i];
            if (!gw_backend_set_has(tried, one->index) && is_open(one) &&
                (pass == 1 || is_fit(one, worker->now_ms)))
                fit[count++] = one;
        }
    if (count == 0)
        return NULL;
    switch (backends->config->balance) {
    case GW_BALANCE_LEAST_SESSIONS:
        /* What others said is a second old: if all took the least by it, all
         * would take the same. */
        if (atomic_load_explicit(&backends->replicas, memory_order_relaxed) > 0)
            return choose_of_two(worker, fit, count);
        return choose_least(fit, count, worker->round_robin++);
    case GW_BALANCE_ROUND_ROBIN:
        return choose_weighted(fit, count, worker->round_robin++);
    case GW_BALANCE_RANDOM_TWO:
        return choose_of_two(worker, fit, count);
    }
    return fit[0];
}

void gw_backend_note_connected(struct gw_backend *backend)
{
    /* Written only on a change: the line is shared by all workers. */
    if (atomic_load_explicit(&backend->failed_at_ms, memory_order_relaxed))
        atomic_store_explicit(&backend->failed_at_ms, 0, memory_order_relaxed);
    if (atomic_load_explicit(&backend->unreachable_since_ms,
                             memory_order_relaxed))
        atomic_store_explicit(&backend->unreachable_since_ms, 0,
                              memory_order_relaxed);
}

void gw_backend_note_refused(struct gw_backend *backend, int64_t now_ms)
{
    atomic_store_explicit(&backend->failed_at_ms, now_ms, memory_order_relaxed);
}

void gw_backend_note_unreachable(struct gw_backend *backend, int64_t now_ms)
{
    long long none = 0;
    gw_backend_note_refused(backend, now_ms);
    atomic_compare_exchange_strong(&backend->unreachable_since_ms, &none,
                                   now_ms);
}

void gw_backend_count_session(void *backends, const char *id, int delta)
{
    struct gw_backend *backend = gw_backend_find(backends, id);
    if (backend != NULL)
        atomic_fetch_add_explicit(&backend->sessions, delta,
                                  memory_order_relaxed);
}
