/* SPDX-License-Identifier: MIT */
/* The choice of a backend for a handshake. */
#include "gateway/balance.h"
#include "gateway/eject.h"
#include "gateway/ring.h"
#include "gateway/worker.h"

#include <stdlib.h>
#include <string.h>

enum {
    FAILURE_MEMORY_MS = 1000,
    PAIR_TRIES = 8, /* to draw two that differ */
    RAMP_WHOLE = 65536,
};

/* Those that may be chosen, the best first: who is of a worse kind is a
 * candidate only when nobody is of a better one. */
enum kind {
    KIND_FIT,
    KIND_FRESH, /* in slow start, and not its turn */
    KIND_UNFIT, /* down, ejected, or refused just now */
    KIND_NONE,
};

struct candidates {
    enum kind kind;
    enum kind full_kind; /* the best of those who are full */
    size_t count;
    struct gw_backend *list[GW_BACKEND_COUNT_MAX];
};

/* What a worker keeps for each pool. */
struct gw_rings {
    struct {
        uint32_t turn;
        unsigned generation; /* of gw_backends, that the ring was made of */
        struct gw_ring *ring;
    } pools[GW_POOL_COUNT_MAX];
};

struct gw_rings *gw_rings_new(void)
{
    return calloc(1, sizeof(struct gw_rings));
}

void gw_rings_reset(struct gw_rings *rings)
{
    if (rings == NULL)
        return;
    for (size_t i = 0; i < GW_POOL_COUNT_MAX; i++) {
        gw_ring_free(rings->pools[i].ring);
        rings->pools[i].ring = NULL;
    }
}

void gw_rings_free(struct gw_rings *rings)
{
    gw_rings_reset(rings);
    free(rings);
}

/* Moves on with every choice. Each pool has its own: those that take turns with
 * requests would skip backends otherwise. Workers begin at different ones. */
static uint32_t take_turn(struct gw_worker *worker, uint8_t pool)
{
    if (worker->rings == NULL)
        return worker->round_robin++;
    return worker->round_robin + worker->rings->pools[pool].turn++;
}

uint32_t gw_balance_ramp(const struct gw_backend *backend,
                         uint32_t slow_start_ms, int64_t now_ms)
{
    long long since =
        atomic_load_explicit(&backend->fresh_since_ms, memory_order_relaxed);
    int64_t elapsed = now_ms - since;
    if (since == 0 || slow_start_ms == 0 || elapsed >= slow_start_ms)
        return RAMP_WHOLE;
    /* Another thread's clock may be ahead. */
    return elapsed > 0 ? (uint32_t)(elapsed * RAMP_WHOLE / slow_start_ms) : 0;
}

/* ---- who may be chosen ---- */

static bool is_open(const struct gw_backend *backend, bool is_agreed)
{
    return atomic_load_explicit(&backend->drains, memory_order_relaxed) == 0 &&
           (!is_agreed ||
            !atomic_load_explicit(&backend->is_unagreed, memory_order_relaxed));
}

static bool is_fit(struct gw_backend *backend, int64_t now_ms)
{
    long long failed =
        atomic_load_explicit(&backend->failed_at_ms, memory_order_relaxed);
    return (failed == 0 || now_ms - failed > FAILURE_MEMORY_MS) &&
           !atomic_load_explicit(&backend->is_down, memory_order_relaxed) &&
           !gw_eject_look(backend, now_ms);
}

static long long sessions_of(const struct gw_backend *backend)
{
    return atomic_load_explicit(&backend->sessions, memory_order_relaxed) +
           atomic_load_explicit(&backend->handshakes, memory_order_relaxed) +
           atomic_load_explicit(&backend->elsewhere, memory_order_relaxed);
}

static bool is_full(const struct gw_backend *backend,
                    const struct gw_pool_config *pool)
{
    uint32_t max =
        atomic_load_explicit(&backend->max_sessions, memory_order_relaxed);
    if (max == 0)
        max = pool->max_sessions;
    return max > 0 && sessions_of(backend) >= max;
}

static uint64_t id_hash(const struct gw_backend *backend, uint64_t seed)
{
    return gw_hash_bytes(seed, eio_span_of(backend->config->id));
}

/* Whether one in slow start takes part in this choice. A key's chance at a
 * backend is always the same, so that it moves there once and stays. */
static bool has_chance(struct gw_worker *worker, const struct gw_choice *choice,
                       const struct gw_backend *backend)
{
    const struct gw_pool_config *pool = &worker->config->pools[choice->pool];
    uint32_t ramp =
        gw_balance_ramp(backend, pool->slow_start_ms, worker->now_ms);
    if (ramp >= RAMP_WHOLE)
        return true;
    uint64_t chance = pool->balance == GW_BALANCE_HASH
                          ? id_hash(backend, choice->hash)
                          : gw_worker_random(worker);
    return chance % RAMP_WHOLE < ramp;
}

static enum kind kind_of(struct gw_worker *worker,
                         const struct gw_choice *choice,
                         struct gw_backend *backend)
{
    if (!is_fit(backend, worker->now_ms))
        return KIND_UNFIT;
    if (choice->is_handshake && !has_chance(worker, choice, backend))
        return KIND_FRESH;
    return KIND_FIT;
}

static void consider(struct gw_worker *worker, const struct gw_choice *choice,
                     struct gw_backend *backend, struct candidates *out)
{
    const struct gw_pool_config *pool = &worker->config->pools[choice->pool];
    enum kind kind = kind_of(worker, choice, backend);
    if (choice->is_handshake && is_full(backend, pool)) {
        if (kind < out->full_kind)
            out->full_kind = kind;
        return;
    }
    if (kind > out->kind)
        return;
    if (kind < out->kind)
        out->count = 0;
    out->kind = kind;
    out->list[out->count++] = backend;
}

/* Whether the pool has any that is open, tried already or not. */
static bool look_through(struct gw_worker *worker,
                         const struct gw_choice *choice, bool is_agreed,
                         struct candidates *out)
{
    struct gw_backends *backends = worker->server->backends;
    size_t used = gw_backends_used(backends);
    bool is_any = false;
    for (unsigned i = 0; i < used; i++) {
        struct gw_backend *one = &backends->list[i];
        if (!gw_backend_is_live(one) || one->config->pool != choice->pool ||
            !is_open(one, is_agreed))
            continue;
        is_any = true;
        if (!gw_backend_set_has(choice->tried, i))
            consider(worker, choice, one, out);
    }
    return is_any;
}

/* A place at one that is well is worth waiting for: those that are not are no
 * choice while there is such a one, though it is full. Where the replicas agree
 * on none, as when all of a pool are new, each goes by its own list. */
static void find_candidates(struct gw_worker *worker, struct gw_choice *choice,
                            struct candidates *out)
{
    out->kind = KIND_NONE;
    out->full_kind = KIND_NONE;
    out->count = 0;
    if (!look_through(worker, choice, true, out))
        look_through(worker, choice, false, out);
    if (out->kind == KIND_UNFIT && out->full_kind < KIND_UNFIT)
        out->count = 0;
    choice->is_full = out->count == 0 && out->full_kind < KIND_NONE;
}

/* ---- one of them ---- */

/* Sessions and handshakes under way, in 1/256 of a weight unit. */
static long long load_of(const struct gw_backend *backend)
{
    unsigned weight =
        atomic_load_explicit(&backend->weight, memory_order_relaxed);
    return (sessions_of(backend) + 1) * 256 / weight;
}

/* Starts at a place that moves on with every choice, so that equals take
 * turns. */
static struct gw_backend *choose_least(struct gw_backend **fit, size_t count,
                                       uint32_t start)
{
    size_t at = start % count;
    struct gw_backend *best = fit[at];
    long long least = load_of(best);
    for (size_t i = 1; i < count; i++) {
        at = at + 1 < count ? at + 1 : 0;
        long long load = load_of(fit[at]);
        if (load < least) {
            best = fit[at];
            least = load;
        }
    }
    return best;
}

/* The backend on which the `turn`-th of all weight units falls. */
static struct gw_backend *choose_weighted(struct gw_backend **fit, size_t count,
                                          uint32_t turn)
{
    uint32_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += atomic_load_explicit(&fit[i]->weight, memory_order_relaxed);
    uint32_t at = turn % total;
    for (size_t i = 0; i < count; i++) {
        uint32_t weight =
            atomic_load_explicit(&fit[i]->weight, memory_order_relaxed);
        if (at < weight)
            return fit[i];
        at -= weight;
    }
    return fit[0]; /* a weight was changed meanwhile */
}

/* The better of two candidates. */
static struct gw_backend *choose_of_two(struct gw_worker *worker,
                                        struct gw_backend **fit, size_t count)
{
    struct gw_backend *pair[2];
    if (count == 1)
        return fit[0];
    pair[0] = choose_weighted(fit, count, gw_worker_random(worker));
    pair[1] = pair[0];
    for (int i = 0; i < PAIR_TRIES && pair[1] == pair[0]; i++)
        pair[1] = choose_weighted(fit, count, gw_worker_random(worker));
    return choose_least(pair, 2, 0);
}

/* ---- by a hash ---- */

/* Of all that are LIVE, for what is drained or fails is to move nobody else. */
static struct gw_ring *make_ring(struct gw_worker *worker, uint8_t pool)
{
    struct gw_backends *backends = worker->server->backends;
    struct gw_ring_member members[GW_BACKEND_COUNT_MAX];
    size_t used = gw_backends_used(backends);
    size_t count = 0;
    for (size_t i = 0; i < used; i++) {
        const struct gw_backend *one = &backends->list[i];
        if (!gw_backend_is_live(one) || one->config->pool != pool)
            continue;
        members[count++] = (struct gw_ring_member){
            .id = eio_span_of(one->config->id),
            .weight = atomic_load(&one->weight),
            .owner = (uint8_t)i,
        };
    }
    if (count == 0)
        return NULL;
    return gw_ring_new(members, count,
                       worker->config->pools[pool].hash_ring_size);
}

static const struct gw_ring *ring_of(struct gw_worker *worker, uint8_t pool)
{
    struct gw_rings *rings = worker->rings;
    /* Before the backends are looked at: what changes then makes it anew. */
    unsigned generation = atomic_load_explicit(
        &worker->server->backends->generation, memory_order_acquire);
    if (rings == NULL)
        return NULL;
    if (rings->pools[pool].ring != NULL &&
        rings->pools[pool].generation == generation)
        return rings->pools[pool].ring;
    gw_ring_free(rings->pools[pool].ring);
    rings->pools[pool].ring = make_ring(worker, pool);
    rings->pools[pool].generation = generation;
    return rings->pools[pool].ring;
}

/* Without a ring: each has a score for the key, and the highest wins. That is
 * as stable, but heeds no weights. */
static struct gw_backend *choose_by_score(const struct candidates *fit,
                                          uint64_t hash)
{
    struct gw_backend *best = NULL;
    uint64_t highest = 0;
    for (size_t i = 0; i < fit->count; i++) {
        uint64_t score = gw_hash_mix(id_hash(fit->list[i], 0) ^ hash);
        if (best == NULL || score > highest) {
            best = fit->list[i];
            highest = score;
        }
    }
    return best;
}

static struct gw_backend *choose_by_hash(struct gw_worker *worker, uint8_t pool,
                                         const struct candidates *fit,
                                         uint64_t hash)
{
    const struct gw_ring *ring = ring_of(worker, pool);
    struct gw_backend_set set = {{0}};
    if (ring == NULL)
        return choose_by_score(fit, hash);
    for (size_t i = 0; i < fit->count; i++)
        gw_backend_set_add(&set, fit->list[i]->index);
    size_t count = gw_ring_count(ring);
    size_t at = gw_ring_find(ring, hash);
    for (size_t i = 0; i < count; i++) {
        unsigned owner = gw_ring_owner(ring, at);
        if (gw_backend_set_has(&set, owner))
            return &worker->server->backends->list[owner];
        at = at + 1 < count ? at + 1 : 0;
    }
    return choose_by_score(fit, hash); /* it came after the ring was made */
}

struct gw_backend *gw_balance_choose(struct gw_worker *worker,
                                     struct gw_choice *choice)
{
    const struct gw_backends *backends = worker->server->backends;
    struct candidates fit;
    find_candidates(worker, choice, &fit);
    if (fit.count == 0)
        return NULL;
    switch (worker->config->pools[choice->pool].balance) {
    case GW_BALANCE_LEAST_SESSIONS:
        /* What others said is a second old: if all took the least by it, all
         * would take the same. */
        if (atomic_load_explicit(&backends->replicas, memory_order_relaxed) > 0)
            return choose_of_two(worker, fit.list, fit.count);
        return choose_least(fit.list, fit.count,
                            take_turn(worker, choice->pool));
    case GW_BALANCE_ROUND_ROBIN:
        return choose_weighted(fit.list, fit.count,
                               take_turn(worker, choice->pool));
    case GW_BALANCE_RANDOM_TWO:
        return choose_of_two(worker, fit.list, fit.count);
    case GW_BALANCE_HASH:
        return choose_by_hash(worker, choice->pool, &fit, choice->hash);
    }
    return fit.list[0];
}
