/* SPDX-License-Identifier: MIT */
/* Which backend holds a sid: store, then recovery. */
#include "gateway/affinity.h"
#include "gateway/log.h"
#include "gateway/recovery.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LIFE_MIN_MS = 20000,
    LIFE_MAX_MS = 3600000,
    LIFE_DEFAULT_MS = 600000, /* where the times are not known */
    TUNNEL_LIFE_MS = 900000,
    ASK_OLD_OWNER_MS = 2000,
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

struct masked_sid {
    char text[EIO_SID_MASK_MAX];
};

static struct masked_sid masked(const struct eio_sid *sid)
{
    struct masked_sid out;
    eio_sid_mask(sid, out.text);
    return out;
}

static void on_got(struct store_request *request, enum store_status status,
                   const struct store_record *record, int64_t life_ms)
{
    struct gw_lookup *lookup = GW_CONTAINER(request, struct gw_lookup, request);
    struct gw_worker *worker = lookup->worker;
    bool may_recover = request->arg != NULL;
    if (status == STORE_OK) {
        struct gw_session *session = &lookup->session;
        session->backend =
            gw_backend_find(worker->server->backends, record->backend);
        session->life_ms = life_ms;
        session->ping_interval_ms = record->ping_interval_ms;
        session->ping_timeout_ms = record->ping_timeout_ms;
        session->transport = record->transport;
        session->eio = record->eio;
        if (session->backend != NULL) {
            gw_count(&worker->metrics.routed_store);
            lookup->done(lookup, GW_AFFINITY_FOUND);
            return;
        }
    }
    if (status == STORE_UNAVAILABLE)
        gw_count(&worker->metrics.store_errors);
    /* netty-socketio answers every PUT as an owner would. */
    if (may_recover && worker->config->recovery == GW_RECOVERY_PROBE &&
        !worker->config->netty)
        gw_recovery_find(worker, lookup);
    else
        lookup->done(lookup, status == STORE_UNAVAILABLE
                                 ? GW_AFFINITY_UNAVAILABLE
                                 : GW_AFFINITY_UNKNOWN);
}

void gw_affinity_find(struct gw_worker *worker, struct gw_lookup *lookup,
                      const struct gw_lookup_about *about, bool may_recover)
{
    lookup->worker = worker;
    lookup->about = *about;
    lookup->request.done = on_got;
    lookup->request.arg = may_recover ? lookup : NULL;
    store_get(worker->store, &lookup->request, key_of(about->sid));
}

void gw_affinity_cancel(struct gw_lookup *lookup)
{
    if (lookup->worker == NULL)
        return;
    store_cancel(lookup->worker->store, &lookup->request);
    gw_recovery_leave(lookup);
}

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

static void on_old_owner(void *arg, struct gw_backend *backend,
                         enum gw_answer answer)
{
    struct gw_bind *bind = arg;
    (void)backend;
    bind->ask = NULL;
    if (answer == GW_ANSWER_DENIES || answer == GW_ANSWER_DEAD)
        put(bind, bind->old);
    else
        refuse(bind);
}

static void ask_old_owner(struct gw_bind *bind,
                          const struct store_record *record)
{
    snprintf(bind->old, sizeof(bind->old), "%s", record->backend);
    struct gw_backend *old =
        gw_backend_find(bind->worker->server->backends, bind->old);
    if (bind->worker->config->netty) {
        refuse(bind);
        return;
    }
    if (old == NULL) {
        put(bind, bind->old); /* it is not one of ours any more */
        return;
    }
    struct gw_lookup_about about = {.sid = &bind->sid,
                                    .path = eio_span_of(bind->path),
                                    .host = eio_span_of(bind->host)};
    bind->ask = gw_ask_start(bind->worker, old, &about, ASK_OLD_OWNER_MS,
                             on_old_owner, bind);
    if (bind->ask == NULL)
        refuse(bind);
}

static void on_put(struct store_request *request, enum store_status status,
                   const struct store_record *record, int64_t life_ms)
{
    struct gw_bind *bind = GW_CONTAINER(request, struct gw_bind, request);
    (void)life_ms;
    switch (status) {
    case STORE_OK:
        gw_count(&bind->worker->metrics.sessions_learned);
        gw_log(GW_LOG_DEBUG, "session_bound", "sid", masked(&bind->sid).text,
               "backend", bind->record.backend);
        bind->done(bind, GW_BOUND);
        return;
    case STORE_CONFLICT:
        ask_old_owner(bind, record);
        return;
    case STORE_NOT_FOUND:
    case STORE_UNAVAILABLE:
    case STORE_FULL:
        break;
    }
    gw_count(&bind->worker->metrics.store_errors);
    gw_log(GW_LOG_ERROR, "bind_failed", "status", store_status_text(status));
    bind->done(bind, GW_BIND_FAILED);
}

static void copy_span(char *out, size_t cap, struct eio_span span)
{
    size_t len = span.len < cap ? span.len : cap - 1;
    if (len > 0)
        memcpy(out, span.ptr, len);
    out[len] = '\0';
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
              eio_span_of(worker->config->gateway_name));
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

void gw_affinity_bind_cancel(struct gw_bind *bind)
{
    if (bind->worker == NULL)
        return;
    store_cancel(bind->worker->store, &bind->request);
    gw_ask_cancel(&bind->ask);
}

/* Touching and unbinding are told to the store and forgotten: nobody waits
 * for their end, so their requests live on their own. */
static void on_forgotten(struct store_request *request,
                         enum store_status status,
                         const struct store_record *record, int64_t life_ms)
{
    (void)status;
    (void)record;
    (void)life_ms;
    free(request);
}

static struct store_request *forgotten(void)
{
    struct store_request *request = calloc(1, sizeof(*request));
    if (request != NULL)
        request->done = on_forgotten;
    return request;
}

void gw_affinity_touch(struct gw_worker *worker, const struct eio_sid *sid,
                       const struct gw_session *session, uint8_t transport)
{
    int64_t life_ms = gw_affinity_life_ms(session->ping_interval_ms,
                                          session->ping_timeout_ms, transport);
    if (session->transport == transport && session->life_ms > life_ms / 2)
        return;
    /* A poll that comes late does not take an upgraded session back. */
    if (session->transport == STORE_TRANSPORT_WEBSOCKET &&
        transport == STORE_TRANSPORT_POLLING)
        return;
    struct store_request *request = forgotten();
    if (request == NULL)
        return;
    struct store_record record = {.transport = transport,
                                  .seen_ms = gw_wall_ms(),
                                  .eio = session->eio,
                                  .ping_interval_ms = session->ping_interval_ms,
                                  .ping_timeout_ms = session->ping_timeout_ms};
    snprintf(record.backend, sizeof(record.backend), "%s",
             session->backend->config->id);
    store_touch(worker->store, request, key_of(sid), &record, life_ms);
}

void gw_affinity_unbind(struct gw_worker *worker, const struct eio_sid *sid,
                        const struct gw_backend *backend)
{
    struct store_request *request = forgotten();
    gw_log(GW_LOG_DEBUG, "session_unbound", "sid", masked(sid).text, "backend",
           backend->config->id);
    if (request != NULL)
        store_remove(worker->store, request, key_of(sid), backend->config->id);
}
