/* SPDX-License-Identifier: MIT */
/* The sessions of drained backends are closed at a set pace. */
#include "gateway/drain.h"
#include "gateway/conn.h"
#include "gateway/control.h"
#include "gateway/drain_wish.h"
#include "gateway/log.h"
#include "gateway/replica.h"
#include "gateway/tunnel.h"
#include "gateway/worker.h"

#include <string.h>

enum {
    MILLION = 1000000,
    SHARE_ALL = 65536,
    LATE_MS = 1000,   /* what a late tick makes up for, at most */
    NEWS_MS = 1200,   /* until all replicas have heard of a drain */
    REASONS_MS = 500, /* from telling the replica of them to the next time */
    COUNT_STEPS = 8,  /* of 100 ms, from one count to the next */
    CLOSE_MAX = 500,  /* in one step of a worker: others want a turn too */
};

static struct gw_replica *replica_of(const struct gw_server *server)
{
    return server->worker_count > 0 ? server->workers[0]->replica : NULL;
}

/* Nobody gets new sessions there, and those that it has may be closed. */
static bool is_leaving(const struct gw_backend *backend)
{
    return atomic_load_explicit(&backend->drains, memory_order_relaxed) != 0 ||
           !gw_backend_is_live(backend);
}

/* ---- what is wanted ---- */

static const struct gw_pool_config *pool_of(const struct gw_control *control,
                                            const struct gw_backend *backend)
{
    return &control->server->config->pools[backend->config->pool];
}

static uint32_t rate_of(const struct gw_control *control,
                        const struct gw_backend *backend)
{
    return backend->drain_wish.has_rate ? backend->drain_wish.rate
                                        : pool_of(control, backend)->drain_rate;
}

static uint32_t timeout_of(const struct gw_control *control,
                           const struct gw_backend *backend)
{
    return backend->drain_wish.has_timeout
               ? backend->drain_wish.timeout_ms
               : pool_of(control, backend)->drain_timeout_ms;
}

static void stop_closing(struct gw_backend *backend)
{
    atomic_store(&backend->closes_all, false);
    atomic_store(&backend->close_credit, 0);
    atomic_store(&backend->drain_closed, 0);
    backend->is_empty_told = false;
    backend->drain_since_ms = 0;
    backend->drain_rate = 0;
    backend->drain_deadline_ms = 0;
    backend->drain_rest = 0;
}

/* Its time begins now. */
static void start_closing(struct gw_backend *backend, int64_t now_ms)
{
    stop_closing(backend);
    backend->drain_since_ms = now_ms;
    backend->drain_paid_ms = now_ms;
}

static void set_bit(struct gw_backend *backend, bool is_drained)
{
    if (is_drained)
        atomic_fetch_or(&backend->drains, GW_DRAIN_OPERATOR);
    else
        atomic_fetch_and(&backend->drains, ~(unsigned)GW_DRAIN_OPERATOR);
}

static void log_wish(const struct gw_control *control,
                     const struct gw_backend *backend)
{
    const char *id = backend->config->id;
    if (backend->drain_wish.is_drained)
        gw_log(GW_LOG_INFO, "backend_drained", "backend", id, "rate",
               gw_num(rate_of(control, backend)).text, "timeout_ms",
               gw_num(timeout_of(control, backend)).text);
    else
        gw_log(GW_LOG_INFO, "backend_undrained", "backend", id);
}

/* The worker that heard it may have set the bit already. */
static void apply(struct gw_control *control, struct gw_backend *backend,
                  const struct gw_drain_wish *wish)
{
    bool was_drained = (atomic_load(&backend->drains) & GW_DRAIN_OPERATOR) != 0;
    bool is_same = gw_drain_wish_is_same(&backend->drain_wish, wish);
    set_bit(backend, wish->is_drained);
    if (is_same && was_drained == wish->is_drained)
        return;
    backend->drain_wish = *wish;
    if (is_leaving(backend))
        start_closing(backend, gw_now_ms());
    else
        stop_closing(backend);
    log_wish(control, backend);
}

static void take_number(int64_t value, bool *has, uint32_t *out)
{
    *has = value >= 0;
    *out = value > UINT32_MAX ? UINT32_MAX : value > 0 ? (uint32_t)value : 0;
}

void gw_drain_begin(struct gw_control *control, struct gw_backend *backend,
                    int64_t rate, int64_t timeout_ms)
{
    struct gw_drain_wish wish = {.is_drained = true};
    take_number(rate, &wish.has_rate, &wish.rate);
    take_number(timeout_ms, &wish.has_timeout, &wish.timeout_ms);
    apply(control, backend, &wish);
    gw_replica_tell_drain(control->server, backend->config->id, &wish);
}

void gw_drain_end(struct gw_control *control, struct gw_backend *backend)
{
    const struct gw_drain_wish wish = {.is_drained = false};
    apply(control, backend, &wish);
    gw_replica_tell_drain(control->server, backend->config->id, &wish);
}

/* ---- credit ---- */

/* This replica's share of the rate, in millionths of a session each second. */
static uint64_t own_rate(const struct gw_control *control,
                         const struct gw_backend *backend)
{
    uint64_t all = (uint64_t)backend->drain_rate * MILLION;
    uint64_t replicas =
        (uint64_t)atomic_load(&control->server->backends->replicas) + 1;
    uint64_t share = atomic_load(&backend->drain_share);
    if (replicas == 1 || share > SHARE_ALL)
        return all;
    return share == 0 ? all / replicas : all / SHARE_ALL * share;
}

/* Other replicas may not have heard of the drain yet: they would give the node
 * new sessions, and nobody knows each one's share. */
static bool is_news(const struct gw_control *control,
                    const struct gw_backend *backend, int64_t now_ms)
{
    return atomic_load(&control->server->backends->replicas) > 0 &&
           now_ms - backend->drain_since_ms < NEWS_MS;
}

/* What nobody used of it is kept for a second. */
static void pay(const struct gw_control *control, struct gw_backend *backend,
                int64_t now_ms)
{
    int64_t elapsed_ms = now_ms - backend->drain_paid_ms;
    uint64_t rate = own_rate(control, backend);
    long long most = (long long)(rate / MILLION) + 1;
    backend->drain_paid_ms = now_ms;
    if (elapsed_ms <= 0 || is_news(control, backend, now_ms))
        return;
    if (elapsed_ms > LATE_MS)
        elapsed_ms = LATE_MS;
    /* A thousandth of a millionth is too little to be a drift. */
    backend->drain_rest += rate * (uint64_t)elapsed_ms / 1000;
    long long credit = (long long)(backend->drain_rest / MILLION);
    long long room = most - atomic_load(&backend->close_credit);
    backend->drain_rest %= MILLION;
    if (credit > room)
        credit = room;
    if (credit > 0)
        atomic_fetch_add(&backend->close_credit, credit);
}

/* It may be taken away now, as far as sessions are concerned. */
static void tell_empty(struct gw_backend *backend)
{
    if (backend->is_empty_told || atomic_load(&backend->is_superseded) ||
        atomic_load(&backend->sessions) > 0 ||
        atomic_load(&backend->elsewhere) > 0 ||
        atomic_load(&backend->handshakes) > 0)
        return;
    backend->is_empty_told = true;
    gw_log(GW_LOG_INFO, "backend_empty", "backend", backend->config->id);
}

static void tick(struct gw_control *control, struct gw_backend *backend,
                 int64_t now_ms)
{
    if (!gw_backend_is_known(backend) || !is_leaving(backend)) {
        if (backend->drain_since_ms != 0)
            stop_closing(backend);
        return;
    }
    if (backend->drain_since_ms == 0)
        start_closing(backend, now_ms);
    uint32_t timeout_ms = timeout_of(control, backend);
    backend->drain_rate = rate_of(control, backend);
    backend->drain_deadline_ms =
        timeout_ms > 0 ? backend->drain_since_ms + timeout_ms : 0;
    atomic_store(&backend->closes_all,
                 timeout_ms > 0 && now_ms >= backend->drain_deadline_ms);
    pay(control, backend, now_ms);
    tell_empty(backend);
}

/* ---- between the replica's thread and this one ---- */

static void hear_replica(struct gw_control *control)
{
    struct gw_replica *replica = replica_of(control->server);
    struct gw_drain_wish wish;
    char id[GW_BACKEND_ID_MAX];
    while (gw_replica_next_drain(replica, id, &wish)) {
        struct gw_backend *backend =
            gw_backend_find(control->server->backends, id);
        if (backend != NULL)
            apply(control, backend, &wish);
    }
}

static void tell_replica(const struct gw_control *control, int64_t now_ms)
{
    struct gw_server *server = control->server;
    struct gw_backends *backends = server->backends;
    struct gw_replica *replica = replica_of(server);
    if (replica == NULL)
        return;
    gw_replica_note_set(server, atomic_load(&backends->generation));
    if (now_ms / REASONS_MS == (now_ms - 100) / REASONS_MS)
        return;
    size_t used = gw_backends_used(backends);
    for (unsigned i = 0; i < used; i++)
        if (gw_backend_is_known(&backends->list[i]))
            gw_replica_note_reason(replica, i, backends->list[i].health_reason);
}

void gw_drain_tick(struct gw_control *control)
{
    struct gw_backends *backends = control->server->backends;
    int64_t now_ms = gw_now_ms();
    hear_replica(control);
    size_t used = gw_backends_used(backends);
    for (size_t i = 0; i < used; i++)
        tick(control, &backends->list[i], now_ms);
    tell_replica(control, now_ms);
}

/* ---- the workers' side ---- */

static size_t take_credit(struct gw_backend *backend)
{
    long long credit = atomic_load(&backend->close_credit);
    long long take;
    if (atomic_load(&backend->closes_all))
        return CLOSE_MAX;
    do {
        if (credit <= 0)
            return 0;
        take = credit < CLOSE_MAX ? credit : CLOSE_MAX;
    } while (!atomic_compare_exchange_weak(&backend->close_credit, &credit,
                                           credit - take));
    return (size_t)take;
}

static void give_back(struct gw_backend *backend, size_t credit)
{
    if (credit > 0 && !atomic_load(&backend->closes_all))
        atomic_fetch_add(&backend->close_credit, (long long)credit);
}

static void step(struct gw_worker *worker, struct gw_backend *backend)
{
    size_t credit = take_credit(backend);
    bool is_counted = worker->now_ms / 100 % COUNT_STEPS == 0 ||
                      atomic_load(&backend->held[worker->index]) == 0;
    size_t left = 0;
    size_t *count = is_counted ? &left : NULL;
    if (credit == 0 && !is_counted)
        return;
    size_t rest = credit;
    rest -= gw_tunnels_close_backend(worker, backend, rest, count);
    rest -= gw_conns_close_backend(worker, backend, rest, count);
    give_back(backend, rest);
    if (credit > rest)
        atomic_fetch_add(&backend->drain_closed, (long long)(credit - rest));
    if (is_counted)
        atomic_store(&backend->held[worker->index], (unsigned)left + 1);
}

void gw_drain_step(struct gw_worker *worker)
{
    struct gw_backends *backends = worker->server->backends;
    size_t used = gw_backends_used(backends);
    for (size_t i = 0; i < used; i++) {
        struct gw_backend *backend = &backends->list[i];
        /* A place that is nobody's may be given to another one just now. */
        if (!gw_backend_is_known(backend))
            continue;
        if (is_leaving(backend))
            step(worker, backend);
        else if (atomic_load_explicit(&backend->held[worker->index],
                                      memory_order_relaxed) != 0)
            atomic_store(&backend->held[worker->index], 0);
    }
}
