/* SPDX-License-Identifier: MIT */
/* Which backend holds a sid: memory, the shared store, recovery. */
#include "gateway/affinity.h"
#include "gateway/denied.h"
#include "gateway/errand.h"
#include "gateway/log.h"
#include "gateway/pool.h"
#include "gateway/recovery.h"
#include "gateway/shared.h"
#include "gateway/upgrade.h"
#include "store/memory.h"
#include "store/redis.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LIFE_MIN_MS = 20000,
    LIFE_MAX_MS = 3600000,
    LIFE_DEFAULT_MS = 600000, /* where the times are not known */
    TUNNEL_LIFE_MS = 900000,
    ASK_OLD_OWNER_MS = 2000,
    TAKEOVERS_MAX = 3,
};

static struct store_key key_of(const struct eio_sid *sid)
{
    return (struct store_key){sid->bytes, sid->len};
}

int64_t gw_affinity_life_ms(uint32_t ping_interval_ms, uint32_t ping_timeout_ms,
                            uint8_t transport)
{
    if (transport == STORE_TRANSPORT_WEBSOCKET)
        return TUNNEL_LIFE_MS;
    int64_t life = 2 * ((int64_t)ping_interval_ms + ping_timeout_ms);
    if (life == 0)
        return LIFE_DEFAULT_MS;
    if (life < LIFE_MIN_MS)
        return LIFE_MIN_MS;
    return life > LIFE_MAX_MS ? LIFE_MAX_MS : life;
}

/* What one pool's backends deny another's may have. */
static struct eio_sid in_pool(const struct eio_sid *sid, size_t pool)
{
    struct eio_sid out = *sid;
    if (pool > 0 && out.len < sizeof(out.bytes))
        out.bytes[out.len++] = (char)pool;
    return out;
}

void gw_affinity_deny(struct gw_worker *worker, const struct eio_sid *sid,
                      uint8_t pool, int64_t life_ms)
{
    struct eio_sid own = in_pool(sid, pool);
    gw_denied_add(worker->server->denied, &own, worker->now_ms, life_ms);
}

static bool is_denied(const struct gw_worker *worker,
                      const struct gw_lookup_about *about)
{
    struct eio_sid own = in_pool(about->sid, about->pool);
    return gw_denied_has(worker->server->denied, &own, worker->now_ms);
}

static void erase_denial(struct gw_worker *worker, const struct eio_sid *sid)
{
    for (size_t i = 0; i < worker->config->pool_count; i++) {
        struct eio_sid own = in_pool(sid, i);
        gw_denied_erase(worker->server->denied, &own);
    }
}

struct gw_backend *gw_affinity_owner(struct gw_worker *worker,
                                     const struct store_record *record,
                                     uint8_t pool)
{
    struct gw_backend *backend =
        gw_backend_find(worker->server->backends, record->backend);
    if (backend == NULL || !gw_pool_has(worker->config, pool, backend))
        return NULL;
    return backend;
}

struct masked_sid {
    char text[EIO_SID_MASK_MAX];
};

static struct masked_sid masked(const struct eio_sid *sid)
{
    struct masked_sid out;
    eio_sid_mask(sid, out.text);
    return out;
}

void gw_session_read(struct gw_session *session,
                     const struct store_record *record,
                     struct gw_backend *backend)
{
    session->backend = backend;
    session->ping_interval_ms = record->ping_interval_ms;
    session->ping_timeout_ms = record->ping_timeout_ms;
    session->transport = record->transport;
    session->eio = record->eio;
    session->is_cached = false;
    session->source = GW_OWNER_STORE;
}

bool gw_affinity_remember(struct gw_worker *worker, const struct eio_sid *sid,
                          const struct store_record *record, int64_t life_ms,
                          bool is_written)
{
    struct gw_server *server = worker->server;
    erase_denial(worker, sid);
    if (!server->is_shared)
        return true;
    if (!is_written)
        gw_shared_note_unwritten(server->shared);
    return store_memory_set(server->memory, key_of(sid), record, life_ms,
                            is_written ? gw_shared_round(server->shared) : 0);
}

/* ---- finding ---- */

const char *const gw_owner_sources[] = {
    [GW_OWNER_STORE] = "store",
    [GW_OWNER_CACHE] = "cache",
    [GW_OWNER_RECOVERY] = "recovery",
};

static bool find_in_memory(struct gw_worker *worker, struct gw_lookup *lookup)
{
    struct gw_server *server = worker->server;
    struct gw_session *session = &lookup->session;
    struct store_record record;
    if (!store_memory_find(server->memory, key_of(lookup->about.sid), &record,
                           &session->life_ms))
        return false;
    gw_session_read(session, &record,
                    gw_affinity_owner(worker, &record, lookup->about.pool));
    session->is_cached = server->is_shared;
    session->source = server->is_shared ? GW_OWNER_CACHE : GW_OWNER_STORE;
    return session->backend != NULL;
}

void gw_affinity_find(struct gw_worker *worker, struct gw_lookup *lookup,
                      const struct gw_lookup_about *about, bool may_recover)
{
    struct gw_server *server = worker->server;
    lookup->worker = worker;
    lookup->about = *about;
    lookup->may_recover = may_recover;
    if (find_in_memory(worker, lookup)) {
        gw_count(server->is_shared ? &worker->metrics.routed_cache
                                   : &worker->metrics.routed_store);
        lookup->done(lookup, GW_AFFINITY_FOUND);
    } else if (is_denied(worker, about) ||
               (!may_recover && !server->is_shared)) {
        lookup->done(lookup, GW_AFFINITY_UNKNOWN);
    } else {
        gw_recovery_find(worker, lookup);
    }
}

static void on_found_again(struct store_request *request,
                           enum store_status status,
                           const struct store_record *record, int64_t life_ms)
{
    struct gw_lookup *lookup = GW_CONTAINER(request, struct gw_lookup, request);
    struct gw_worker *worker = lookup->worker;
    struct gw_backend *backend = NULL;
    if (status == STORE_OK)
        backend = gw_affinity_owner(worker, record, lookup->about.pool);
    if (status == STORE_UNAVAILABLE) {
        lookup->may_recover = true;
        gw_recovery_find(worker, lookup);
        return;
    }
    if (backend == NULL) {
        lookup->done(lookup, GW_AFFINITY_UNKNOWN);
        return;
    }
    gw_affinity_remember(worker, lookup->about.sid, record, life_ms, true);
    gw_session_read(&lookup->session, record, backend);
    lookup->session.life_ms = life_ms;
    lookup->done(lookup, GW_AFFINITY_FOUND);
}

void gw_affinity_find_again(struct gw_worker *worker, struct gw_lookup *lookup,
                            const struct gw_lookup_about *about)
{
    lookup->worker = worker;
    lookup->about = *about;
    store_memory_drop(worker->server->memory, key_of(about->sid), NULL);
    gw_count(&worker->metrics.store_lookups);
    lookup->request.done = on_found_again;
    store_get(worker->store, &lookup->request, key_of(about->sid));
}

void gw_affinity_cancel(struct gw_lookup *lookup)
{
    if (lookup->worker == NULL)
        return;
    store_cancel(lookup->worker->store, &lookup->request);
    gw_recovery_leave(lookup);
}

/* ---- binding ---- */

static void on_put(struct store_request *request, enum store_status status,
                   const struct store_record *record, int64_t life_ms);

static void put(struct gw_bind *bind, const char *replaces)
{
    bind->request.done = on_put;
    store_put(bind->worker->store, &bind->request, key_of(&bind->sid),
              &bind->record, replaces, bind->life_ms);
}

static void refuse(struct gw_bind *bind)
{
    gw_count(&bind->worker->metrics.sid_conflicts);
    gw_log(GW_LOG_WARNING, "sid_conflict", "sid", masked(&bind->sid).text,
           "owner", bind->old, "claimed_by", bind->record.backend);
    bind->done(bind, GW_BIND_CONFLICT);
}

static void replace(struct gw_bind *bind)
{
    /* A store that names one old owner after the other is not followed. */
    if (bind->takeovers++ < TAKEOVERS_MAX)
        put(bind, bind->old);
    else
        refuse(bind);
}

static const struct gw_pool_config *pool_of(const struct gw_bind *bind)
{
    return &bind->worker->config->pools[bind->backend->config->pool];
}

/* The old owner cannot be asked, or does not say it. */
static void settle_blindly(struct gw_bind *bind)
{
    if (pool_of(bind)->sid_conflict == GW_SID_CONFLICT_NEWEST)
        replace(bind);
    else
        refuse(bind);
}

static void on_old_owner(void *arg, struct gw_backend *backend,
                         enum gw_answer answer)
{
    struct gw_bind *bind = arg;
    (void)backend;
    /* netty-socketio answers every PUT as an owner would. */
    bool is_netty = pool_of(bind)->netty;
    bind->ask = NULL;
    if (answer == GW_ANSWER_DEAD || (answer == GW_ANSWER_DENIES && !is_netty))
        replace(bind);
    else if (answer == GW_ANSWER_OWNS && !is_netty)
        refuse(bind);
    else
        settle_blindly(bind);
}

static void ask_old_owner(struct gw_bind *bind,
                          const struct store_record *record)
{
    snprintf(bind->old, sizeof(bind->old), "%s", record->backend);
    struct gw_backend *old =
        gw_backend_find(bind->worker->server->backends, bind->old);
    /* Another replica may have it in its list still. */
    if (old == NULL) {
        settle_blindly(bind);
        return;
    }
    struct gw_lookup_about about = {.sid = &bind->sid,
                                    .path = eio_span_of(bind->path),
                                    .host = eio_span_of(bind->host)};
    bind->ask = gw_ask_start(bind->worker, old, &about, ASK_OLD_OWNER_MS,
                             on_old_owner, bind);
    if (bind->ask == NULL)
        settle_blindly(bind);
}

static bool is_handed_over(const struct gw_worker *worker)
{
    return atomic_load_explicit(&worker->server->is_handed_over,
                                memory_order_relaxed);
}

static void bound(struct gw_bind *bind, bool is_written)
{
    struct gw_worker *worker = bind->worker;
    /* What is written but not remembered is found in the store. */
    if (!gw_affinity_remember(worker, &bind->sid, &bind->record, bind->life_ms,
                              is_written) &&
        !is_written) {
        bind->done(bind, GW_BIND_FAILED);
        return;
    }
    gw_count(&worker->metrics.sessions_learned);
    gw_log(GW_LOG_DEBUG, "session_bound", "sid", masked(&bind->sid).text,
           "backend", bind->record.backend);
    /* Its next request goes to the new process. */
    if (is_handed_over(worker) && gw_late_bind(worker, bind, is_written))
        return;
    bind->done(bind, GW_BOUND);
}

static void on_put(struct store_request *request, enum store_status status,
                   const struct store_record *record, int64_t life_ms)
{
    struct gw_bind *bind = GW_CONTAINER(request, struct gw_bind, request);
    struct gw_worker *worker = bind->worker;
    (void)life_ms;
    switch (status) {
    case STORE_OK:
        bound(bind, true);
        return;
    case STORE_CONFLICT:
        ask_old_owner(bind, record);
        return;
    case STORE_NOT_FOUND:
    case STORE_UNAVAILABLE:
    case STORE_FULL:
        break;
    }
    gw_count(&worker->metrics.store_errors);
    if (worker->server->is_shared &&
        worker->config->store_outage == GW_STORE_OUTAGE_OPEN) {
        gw_count(&worker->metrics.bound_unwritten);
        bound(bind, false);
        return;
    }
    /* A store that is away says so itself, once. */
    if (!worker->server->is_shared)
        gw_log(GW_LOG_ERROR, "bind_failed", "status",
               store_status_text(status));
    bind->done(bind, GW_BIND_FAILED);
}

static void copy_span(char *out, size_t cap, struct eio_span span)
{
    size_t len = span.len < cap ? span.len : cap - 1;
    if (len > 0)
        memcpy(out, span.ptr, len);
    out[len] = '\0';
}

bool gw_affinity_may_bind(const struct gw_worker *worker)
{
    return !worker->server->is_shared ||
           worker->config->store_outage == GW_STORE_OUTAGE_OPEN ||
           store_client_is_up(store_redis_client(worker->store));
}

void gw_affinity_bind(struct gw_worker *worker, struct gw_bind *bind,
                      const struct gw_binding *binding)
{
    const struct eio_open *open = binding->open;
    struct store_record *record = &bind->record;
    bind->worker = worker;
    bind->backend = binding->backend;
    bind->sid = open->sid;
    copy_span(bind->path, sizeof(bind->path), binding->path);
    copy_span(bind->host, sizeof(bind->host), binding->host);
    copy_span(record->backend, sizeof(record->backend),
              eio_span_of(binding->backend->config->id));
    copy_span(record->gateway, sizeof(record->gateway),
              eio_span_of(worker->server->gateway_id));
    gw_peer_text(binding->peer, record->client, sizeof(record->client));
    record->created_ms = gw_wall_ms();
    record->seen_ms = record->created_ms;
    record->ping_interval_ms = open->ping_interval_ms;
    record->ping_timeout_ms = open->ping_timeout_ms;
    record->eio = binding->eio;
    record->transport = binding->transport;
    bind->life_ms = gw_affinity_life_ms(
        open->ping_interval_ms, open->ping_timeout_ms, binding->transport);
    put(bind, NULL);
}

/* ---- keeping alive and ending ---- */

/* By another request that waited for the same lookup. */
static bool was_renewed(struct gw_worker *worker, const struct eio_sid *sid,
                        uint8_t transport, int64_t enough_ms)
{
    struct store_record known;
    int64_t left_ms;
    return store_memory_find(worker->server->memory, key_of(sid), &known,
                             &left_ms) &&
           known.transport == transport && left_ms > enough_ms;
}

void gw_affinity_touch(struct gw_worker *worker, const struct eio_sid *sid,
                       const struct gw_session *session, uint8_t transport)
{
    int64_t life_ms = gw_affinity_life_ms(session->ping_interval_ms,
                                          session->ping_timeout_ms, transport);
    bool is_tunnel = transport == STORE_TRANSPORT_WEBSOCKET;
    if (session->transport == transport && session->life_ms > life_ms / 2)
        return;
    /* A poll that comes late does not take an upgraded session back. */
    if (session->transport == STORE_TRANSPORT_WEBSOCKET && !is_tunnel)
        return;
    if (!session->is_cached && !is_tunnel &&
        was_renewed(worker, sid, transport, life_ms / 2))
        return;
    struct store_record record = {.transport = transport,
                                  .seen_ms = gw_wall_ms()};
    snprintf(record.backend, sizeof(record.backend), "%s",
             session->backend->config->id);
    /* The session is where its tunnel is. */
    if (is_tunnel)
        snprintf(record.gateway, sizeof(record.gateway), "%s",
                 worker->server->gateway_id);
    store_memory_renew(worker->server->memory, key_of(sid), &record, life_ms);
    if (is_handed_over(worker))
        gw_late_renew(worker, sid, &record, life_ms);
    if (worker->server->is_shared)
        gw_errand_touch(worker, sid, &record, life_ms);
}

/* What is not in memory has ended before, or elsewhere. Of a kick every replica
 * hears, and the one that has the session tells of it. */
static void end(struct gw_worker *worker, const struct eio_sid *sid,
                const char *backend, enum gw_end cause)
{
    struct gw_server *server = worker->server;
    struct store_memory_item item;
    if (!store_memory_take(server->memory, key_of(sid), backend, &item))
        return;
    if (cause != GW_END_KICKED || !server->is_shared ||
        strcmp(item.record.gateway, server->gateway_id) == 0)
        gw_session_ended(server, key_of(sid), &item.record, &item.traffic,
                         cause);
}

void gw_affinity_unbind(struct gw_worker *worker, const struct eio_sid *sid,
                        const struct gw_backend *backend, bool is_tunnel,
                        enum gw_end cause)
{
    const char *id = backend->config->id;
    gw_log(GW_LOG_DEBUG, "session_unbound", "sid", masked(sid).text, "backend",
           id, "cause", gw_end_names[cause]);
    end(worker, sid, id, cause);
    if (is_handed_over(worker))
        gw_late_unbind(worker, sid, id);
    if (worker->server->is_shared)
        gw_errand_remove(worker, sid, id, is_tunnel);
}

void gw_affinity_lose(struct gw_worker *worker, struct store_key key,
                      const char *backend)
{
    struct gw_server *server = worker->server;
    struct store_memory_item item;
    if (store_memory_take(server->memory, key, backend, &item) &&
        strcmp(item.record.gateway, server->gateway_id) == 0)
        gw_session_ended(server, key, &item.record, &item.traffic,
                         GW_END_REPLACED);
}

void gw_affinity_evict(struct gw_worker *worker, const struct eio_sid *sid,
                       enum gw_end cause)
{
    end(worker, sid, NULL, cause);
    if (worker->server->is_shared)
        gw_errand_evict(worker, sid);
}

void gw_affinity_bind_cancel(struct gw_bind *bind)
{
    if (bind->worker == NULL)
        return;
    gw_late_bind_cancel(bind);
    if (bind->request.pending != NULL) {
        store_cancel(bind->worker->store, &bind->request);
        gw_affinity_unbind(bind->worker, &bind->sid, bind->backend, false,
                           GW_END_CLIENT);
    }
    gw_ask_cancel(&bind->ask);
}
