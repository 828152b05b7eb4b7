/* SPDX-License-Identifier: MIT */
/*
 * Passive ejection.
 *
 * All of its state is a few atomics of the backend, which workers change
 * without a lock: a race may count one more or less. The floor holds all the
 * same, since who ejects looks at the others only afterwards, and takes it back
 * when there are too many: of two at the same time at least one sees the other.
 */
#include "gateway/eject.h"
#include "gateway/log.h"
#include "gateway/ring.h"
#include "gateway/worker.h"

enum {
    WELL_MS = 1000,      /* well_at_ms is not written more often */
    TIMES_MAX = 10,      /* of eject_time, the longest */
    FORGIVEN_TIMES = 10, /* of it, after which ejections count no more */
    CLIENTS = sizeof(((struct gw_backend *)NULL)->failed_clients) /
              sizeof(((struct gw_backend *)NULL)->failed_clients[0]),
};

static const struct gw_pool_config *pool_of(const struct gw_worker *worker,
                                            const struct gw_backend *backend)
{
    return &worker->config->pools[backend->config->pool];
}

bool gw_eject_is(const struct gw_backend *backend, int64_t now_ms)
{
    return atomic_load_explicit(&backend->ejected_until_ms,
                                memory_order_relaxed) > now_ms;
}

bool gw_eject_look(struct gw_backend *backend, int64_t now_ms)
{
    long long until =
        atomic_load_explicit(&backend->ejected_until_ms, memory_order_relaxed);
    if (until == 0 || until > now_ms)
        return until != 0;
    if (!atomic_compare_exchange_strong(&backend->ejected_until_ms, &until, 0))
        return until > now_ms; /* another worker was here */
    atomic_store(&backend->readmitted_ms, now_ms);
    atomic_store(&backend->fresh_since_ms, now_ms);
    gw_log(GW_LOG_INFO, "backend_readmitted", "backend", backend->config->id,
           "why", "its time is over");
    return false;
}

static void forget_bad_answers(struct gw_backend *backend)
{
    atomic_store(&backend->bad_answers, 0);
    atomic_store(&backend->bad_since_ms, 0);
    for (size_t i = 0; i < CLIENTS; i++)
        atomic_store(&backend->failed_clients[i], 0);
}

void gw_eject_clear(struct gw_backend *backend)
{
    if (atomic_load(&backend->ejected_until_ms) == 0 ||
        atomic_exchange(&backend->ejected_until_ms, 0) == 0)
        return;
    int64_t now_ms = gw_now_ms();
    atomic_store(&backend->failures, 0);
    forget_bad_answers(backend);
    atomic_store(&backend->readmitted_ms, now_ms);
    atomic_store(&backend->fresh_since_ms, now_ms);
    gw_log(GW_LOG_INFO, "backend_readmitted", "backend", backend->config->id,
           "why", "a check found it well");
}

/* ---- the floor ---- */

static bool is_acceptable(const struct gw_backend *backend)
{
    return atomic_load(&backend->drains) == 0 &&
           !atomic_load(&backend->is_unagreed) &&
           !atomic_load(&backend->is_down);
}

/* Whether as many may be ejected as are. */
static bool is_allowed(struct gw_worker *worker, uint8_t pool)
{
    struct gw_backends *backends = worker->server->backends;
    size_t percent = worker->config->pools[pool].max_ejected;
    size_t used = gw_backends_used(backends);
    size_t live = 0;
    size_t ejected = 0;
    size_t acceptable = 0;
    for (size_t i = 0; i < used; i++) {
        const struct gw_backend *one = &backends->list[i];
        if (!gw_backend_is_live(one) || one->config->pool != pool)
            continue;
        live++;
        if (atomic_load(&one->ejected_until_ms) > worker->now_ms)
            ejected++;
        else if (is_acceptable(one))
            acceptable++;
    }
    size_t max = live * percent / 100;
    if (max == 0 && live > 1 && percent > 0)
        max = 1;
    return ejected <= max && acceptable > 0;
}

static int64_t time_of(uint32_t eject_time_ms, unsigned ejections)
{
    int64_t times = ejections < 4 ? 1 << ejections : TIMES_MAX;
    return times * eject_time_ms;
}

static bool eject(struct gw_worker *worker, struct gw_backend *backend,
                  const char *why)
{
    uint8_t pool = backend->config->pool;
    long long none = 0;
    int64_t for_ms = time_of(worker->config->pools[pool].eject_time_ms,
                             atomic_load(&backend->ejections));
    long long until = worker->now_ms + for_ms;
    if (!gw_backend_is_live(backend) ||
        gw_eject_look(backend, worker->now_ms) ||
        !atomic_compare_exchange_strong(&backend->ejected_until_ms, &none,
                                        until))
        return false;
    if (!is_allowed(worker, pool)) {
        atomic_compare_exchange_strong(&backend->ejected_until_ms, &until, 0);
        return false;
    }
    atomic_fetch_add(&backend->ejections, 1);
    gw_log(GW_LOG_WARNING, "backend_ejected", "backend", backend->config->id,
           "why", why, "for_ms", gw_num(for_ms).text);
    return true;
}

/* ---- what is noted ---- */

/* The count goes on while it is ejected, so that the first failure afterwards
 * is enough. */
void gw_eject_note_connect(struct gw_worker *worker, struct gw_backend *backend)
{
    uint32_t most = pool_of(worker, backend)->eject_failures;
    gw_eject_look(backend, worker->now_ms);
    if (most > 0 && atomic_fetch_add(&backend->failures, 1) + 1 >= most)
        eject(worker, backend, "connect failures");
}

/* A network that one client may have all of counts as one. */
static void note_client(struct gw_backend *backend, const struct gw_peer *peer)
{
    struct gw_peer net = gw_peer_account(peer);
    struct eio_span bytes = {(const char *)net.addr, sizeof(net.addr)};
    unsigned hash = (unsigned)gw_hash_bytes(net.family, bytes);
    if (hash == 0)
        hash = 1;
    for (size_t i = 0; i < CLIENTS; i++) {
        unsigned held = 0;
        if (atomic_compare_exchange_strong(&backend->failed_clients[i], &held,
                                           hash) ||
            held == hash)
            return;
    }
}

static size_t count_clients(struct gw_backend *backend)
{
    size_t count = 0;
    while (count < CLIENTS && atomic_load(&backend->failed_clients[count]) != 0)
        count++;
    return count;
}

/* Whether handshakes as such can be answered: another one did, since then. */
static bool is_other_well(struct gw_worker *worker,
                          const struct gw_backend *backend, int64_t since_ms)
{
    struct gw_backends *backends = worker->server->backends;
    size_t used = gw_backends_used(backends);
    for (size_t i = 0; i < used; i++) {
        const struct gw_backend *one = &backends->list[i];
        long long well_at;
        if (one == backend || !gw_backend_is_live(one) ||
            one->config->pool != backend->config->pool)
            continue;
        well_at = atomic_load(&one->well_at_ms);
        if (well_at != 0 && well_at >= since_ms)
            return true;
    }
    return false;
}

static void note_bad(struct gw_worker *worker, struct gw_backend *backend,
                     const struct gw_peer *peer)
{
    uint32_t most = pool_of(worker, backend)->eject_failures;
    size_t clients = most < CLIENTS ? most : CLIENTS;
    long long since = 0;
    if (most == 0)
        return;
    if (atomic_compare_exchange_strong(&backend->bad_since_ms, &since,
                                       worker->now_ms))
        since = worker->now_ms;
    note_client(backend, peer);
    if (atomic_fetch_add(&backend->bad_answers, 1) + 1 < most ||
        count_clients(backend) < clients ||
        !is_other_well(worker, backend, since))
        return;
    /* A new row is needed for the next time: one client alone could keep it
     * out otherwise. */
    if (eject(worker, backend, "5xx to handshakes"))
        forget_bad_answers(backend);
}

/* Nearly every handshake comes here: nothing that workers share is written
 * without need. */
static void note_well(struct gw_worker *worker, struct gw_backend *backend)
{
    int64_t now_ms = worker->now_ms;
    if (atomic_load_explicit(&backend->failures, memory_order_relaxed) != 0)
        atomic_store(&backend->failures, 0);
    if (atomic_load_explicit(&backend->bad_since_ms, memory_order_relaxed) != 0)
        forget_bad_answers(backend);
    if (atomic_load_explicit(&backend->ejections, memory_order_relaxed) != 0 &&
        atomic_load(&backend->ejected_until_ms) == 0) {
        int64_t forgiven_ms =
            (int64_t)FORGIVEN_TIMES * pool_of(worker, backend)->eject_time_ms;
        if (now_ms - atomic_load(&backend->readmitted_ms) >= forgiven_ms)
            atomic_store(&backend->ejections, 0);
    }
    long long well_at =
        atomic_load_explicit(&backend->well_at_ms, memory_order_relaxed);
    if (well_at == 0 || now_ms - well_at >= WELL_MS)
        atomic_store(&backend->well_at_ms, now_ms);
}

void gw_eject_note_status(struct gw_worker *worker, struct gw_backend *backend,
                          int status, const struct gw_peer *peer)
{
    gw_eject_look(backend, worker->now_ms);
    if (status >= 500)
        note_bad(worker, backend, peer);
    else
        note_well(worker, backend);
}
