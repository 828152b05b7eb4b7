/* SPDX-License-Identifier: MIT */
/* From a request to its backend: the route, the connection, the sending. */
#include "gateway/accounts.h"
#include "gateway/eject.h"
#include "gateway/exchange.h"
#include "gateway/log.h"

enum {
    REFUSAL_PAUSE_MS = 100, /* before an owner is tried a second time */
    POLL_MARGIN_MS = 5000,  /* a poll may take this much longer than its
                               session lives */
    UNREACHABLE_DEFAULT_MS = 45000,
    KEPT_BYTES_MAX = 16 * 1024 * 1024, /* of bodies, for a worker */
    UNKNOWN_POLL_MS = 3600000, /* of a session whose times are not known */
};

static void on_connected(struct gw_upstream *up, void *arg);
static void on_connect_failed(struct gw_upstream *up, void *arg,
                              enum gw_connect_failure why);

static const struct gw_upstream_user exchange_user = {
    .on_connected = on_connected,
    .on_connect_failed = on_connect_failed,
    .on_event = gw_exchange_on_backend,
};

/* ---- the route ---- */

static void on_found(struct gw_lookup *lookup, enum gw_affinity result)
{
    struct gw_exchange *exchange = lookup->arg;
    struct gw_worker *worker = exchange->worker;
    switch (result) {
    case GW_AFFINITY_FOUND:
        exchange->session = lookup->session;
        exchange->backend = lookup->session.backend;
        gw_exchange_try_upgrade(exchange);
        if (!exchange->is_websocket)
            gw_affinity_touch(worker, &exchange->query.sid, &exchange->session,
                              STORE_TRANSPORT_POLLING);
        gw_exchange_connect(exchange);
        return;
    case GW_AFFINITY_UNKNOWN:
        /* A preflight concerns no session: any server can answer it. */
        if (exchange->is_options) {
            exchange->route = GW_ROUTE_PLAIN;
            gw_exchange_route(exchange);
            return;
        }
        if (exchange->is_websocket)
            gw_count(&worker->metrics.upgrades_unknown);
        gw_exchange_fail_eio(exchange, EIO_ERROR_UNKNOWN_SID);
        return;
    case GW_AFFINITY_UNAVAILABLE:
        gw_exchange_fail(exchange, 503);
        return;
    }
}

static void on_hinted(struct gw_lookup *lookup, enum gw_affinity result)
{
    struct gw_exchange *exchange = lookup->arg;
    exchange->query.sid.len = 0;
    if (result == GW_AFFINITY_FOUND)
        gw_exchange_take_backend(exchange, lookup->session.backend);
    else
        gw_exchange_choose(exchange);
}

struct gw_lookup_about gw_exchange_about(const struct gw_exchange *exchange)
{
    return (struct gw_lookup_about){
        .sid = &exchange->query.sid,
        .path = gw_exchange_place(exchange, exchange->places.path),
        .host = gw_exchange_place(exchange, exchange->places.host),
        .peer = &exchange->peer,
        .pool = exchange->pool,
    };
}

static void find(struct gw_exchange *exchange, gw_lookup_fn done,
                 bool may_recover)
{
    struct gw_lookup_about about = gw_exchange_about(exchange);
    gw_exchange_enter(exchange, GW_EXCHANGE_ROUTE);
    exchange->lookup.done = done;
    exchange->lookup.arg = exchange;
    gw_affinity_find(exchange->worker, &exchange->lookup, &about, may_recover);
}

/* Whether this address may have one more; else it has been answered. */
static bool may_open_session(struct gw_exchange *exchange)
{
    struct gw_worker *worker = exchange->worker;
    unsigned retry_s = 0;
    switch (gw_accounts_handshake(worker->server->accounts, &exchange->peer,
                                  worker->now_ms, &retry_s)) {
    case GW_ACCOUNT_OK:
        exchange->is_reserved = true;
        return true;
    case GW_ACCOUNT_RATE:
        gw_count(&worker->metrics.limited_handshake_rate);
        break;
    case GW_ACCOUNT_SESSIONS:
        gw_count(&worker->metrics.limited_address_sessions);
        break;
    }
    gw_exchange_fail_busy(exchange, retry_s);
    return false;
}

void gw_exchange_route(struct gw_exchange *exchange)
{
    struct gw_own_reply reply = {.status = 200,
                                 .says_ok = exchange->route != GW_ROUTE_LOCAL};
    switch (exchange->route) {
    case GW_ROUTE_LOCAL:
    case GW_ROUTE_HEALTHZ:
        gw_exchange_reply(exchange, &reply);
        return;
    case GW_ROUTE_READYZ:
        if (exchange->worker->phase != GW_PHASE_RUNNING)
            reply.status = 503;
        gw_exchange_reply(exchange, &reply);
        return;
    case GW_ROUTE_BAD_SID:
        gw_exchange_fail_eio(exchange, EIO_ERROR_BAD_REQUEST);
        return;
    case GW_ROUTE_NOWHERE:
        gw_exchange_fail(exchange, 404);
        return;
    case GW_ROUTE_PLAIN:
        gw_exchange_choose(exchange);
        return;
    case GW_ROUTE_HANDSHAKE:
        /* A session that could not be bound is not even begun. */
        if (!gw_affinity_may_bind(exchange->worker)) {
            gw_exchange_fail(exchange, 503);
            return;
        }
        if (!may_open_session(exchange))
            return;
        gw_count(&exchange->worker->metrics.handshakes);
        if (exchange->query.sid.len > 0)
            find(exchange, on_hinted, false);
        else
            gw_exchange_choose(exchange);
        return;
    case GW_ROUTE_SESSION:
        find(exchange, on_found, !exchange->is_options);
        return;
    }
}

/* ---- the connection ---- */

static bool is_session_post(const struct gw_exchange *exchange)
{
    return exchange->route == GW_ROUTE_SESSION && !exchange->is_get &&
           !exchange->is_head;
}

static void send_request(struct gw_exchange *exchange);

static void on_connected(struct gw_upstream *up, void *arg)
{
    (void)up;
    send_request(arg);
}

/* The owner of a session refused twice: whoever listens there next knows
 * nothing of it, and the client should connect anew at once. */
static void owner_is_dead(struct gw_exchange *exchange)
{
    if (gw_backend_former(exchange->worker->server->backends,
                          exchange->backend) == NULL) {
        gw_report_settle(exchange);
        gw_affinity_unbind(exchange->worker, &exchange->query.sid,
                           exchange->backend, false, GW_END_UNREACHABLE);
    }
    if (gw_exchange_may_reroute(exchange))
        gw_exchange_reroute(exchange);
    else
        gw_exchange_fail_eio(exchange, EIO_ERROR_UNKNOWN_SID);
}

static void on_pause_over(struct gw_timer *timer)
{
    gw_exchange_connect(GW_CONTAINER(timer, struct gw_exchange, timer));
}

static void owner_refused(struct gw_exchange *exchange)
{
    exchange->refusals++;
    if (exchange->refusals >= 2) {
        owner_is_dead(exchange);
        return;
    }
    gw_worker_timer(exchange->worker, &exchange->timer, REFUSAL_PAUSE_MS,
                    on_pause_over);
}

/* A session outlives a broken network for as long as its server keeps it. */
static void owner_unreachable(struct gw_exchange *exchange)
{
    long long since = atomic_load(&exchange->backend->unreachable_since_ms);
    int64_t limit = (int64_t)exchange->session.ping_interval_ms +
                    exchange->session.ping_timeout_ms;
    if (limit == 0)
        limit = UNREACHABLE_DEFAULT_MS;
    if (since != 0 && exchange->worker->now_ms - since > limit) {
        owner_is_dead(exchange);
        return;
    }
    gw_worker_timer(exchange->worker, &exchange->timer, REFUSAL_PAUSE_MS,
                    on_pause_over);
}

static void on_connect_failed(struct gw_upstream *up, void *arg,
                              enum gw_connect_failure why)
{
    struct gw_exchange *exchange = arg;
    (void)up;
    exchange->up = NULL;
    if (why == GW_CONNECT_LOCAL) {
        gw_exchange_fail(exchange, 503);
        return;
    }
    if (exchange->route == GW_ROUTE_HANDSHAKE)
        gw_eject_note_connect(exchange->worker, exchange->backend);
    if (exchange->route != GW_ROUTE_SESSION)
        gw_exchange_choose(exchange);
    else if (why == GW_CONNECT_REFUSED)
        owner_refused(exchange);
    else
        owner_unreachable(exchange);
}

void gw_exchange_connect(struct gw_exchange *exchange)
{
    struct gw_worker *worker = exchange->worker;
    enum gw_connect_failure why;
    gw_exchange_enter(exchange, GW_EXCHANGE_CONNECT);
    /* What may be sent again can try an idle connection that might be about
     * to close. What may not takes one that is certain; and a session's POST
     * a fresh one: a node that stood still for longer than its keep-alive time
     * closes idle connections before it reads them, and the message with
     * them. */
    if (!exchange->was_resent && !exchange->is_websocket &&
        !is_session_post(exchange))
        exchange->up = gw_upstream_reuse(worker, exchange->backend,
                                         !gw_exchange_may_repeat(exchange),
                                         &exchange_user, exchange);
    if (exchange->up == NULL)
        exchange->up = gw_upstream_connect(worker, exchange->backend,
                                           &exchange_user, exchange, &why);
    if (exchange->up == NULL) {
        on_connect_failed(NULL, exchange, why);
        return;
    }
    /* Only the owner can answer: one that is busy is waited for. */
    if (exchange->route == GW_ROUTE_SESSION)
        exchange->up->patience_ms = gw_exchange_response_timeout(exchange);
    if (exchange->up->is_connected)
        send_request(exchange);
}

/* ---- the sending ---- */

static void on_response_timeout(struct gw_timer *timer)
{
    struct gw_exchange *exchange =
        GW_CONTAINER(timer, struct gw_exchange, timer);
    /* The backend has all that came of the request: it is the client that
     * keeps it waiting, whom the watch on its body judges. */
    if (!exchange->decoder.is_done &&
        gw_stream_unsent(exchange->up->stream) == 0) {
        gw_worker_timer(exchange->worker, timer,
                        gw_exchange_response_timeout(exchange),
                        on_response_timeout);
        return;
    }
    gw_log(GW_LOG_WARNING, "response_timeout", "backend",
           exchange->backend->config->id);
    gw_count(&exchange->worker->metrics.limited_response_timeout);
    gw_exchange_fail(exchange, 504);
}

/* A shorter time would end sessions that are well. */
static void warn_of_timeout(const struct gw_exchange *exchange,
                            int64_t session_ms)
{
    struct gw_server *server = exchange->worker->server;
    if (atomic_exchange(&server->has_warned_timeout, true))
        return;
    gw_log(GW_LOG_WARNING, "response_timeout_raised", "backend",
           exchange->backend->config->id, "configured_ms",
           gw_num(exchange->worker->config->response_timeout_ms).text,
           "polls_ms", gw_num(session_ms).text);
}

int64_t gw_exchange_response_timeout(const struct gw_exchange *exchange)
{
    int64_t limit = exchange->worker->config->response_timeout_ms;
    if (exchange->route != GW_ROUTE_SESSION)
        return limit;
    int64_t session = (int64_t)exchange->session.ping_interval_ms +
                      exchange->session.ping_timeout_ms;
    if (session == 0)
        session = UNKNOWN_POLL_MS;
    session += POLL_MARGIN_MS;
    if (limit >= session)
        return limit;
    if (limit < session - POLL_MARGIN_MS && session < UNKNOWN_POLL_MS)
        warn_of_timeout(exchange, session);
    return session;
}

bool gw_exchange_may_repeat(const struct gw_exchange *exchange)
{
    return (exchange->is_get || exchange->is_head) && !exchange->was_resent &&
           !exchange->has_client_fin && exchange->decoder.kind == GW_BODY_NONE;
}

/* A whole one is kept as long as its backend may turn out to be the wrong
 * one, if there is room. */
static void keep_body(struct gw_exchange *exchange, size_t len)
{
    struct gw_worker *worker = exchange->worker;
    if (len == 0 || exchange->kept > 0)
        return;
    if (gw_exchange_may_reroute(exchange) &&
        worker->kept_bytes + len <= KEPT_BYTES_MAX) {
        exchange->kept = (uint32_t)len;
        worker->kept_bytes += len;
    } else {
        gw_buf_free(&exchange->body);
    }
}

void gw_exchange_write_body(struct gw_exchange *exchange, struct eio_span head)
{
    static const char end[] = "\r\n0\r\n\r\n";
    struct iovec pieces[5];
    char chunk_head[GW_CHUNK_HEAD_MAX];
    size_t len = gw_buf_len(exchange->body);
    bool is_chunked = exchange->framing.is_chunked;
    int count = 0;
    if (head.len > 0)
        pieces[count++] = (struct iovec){(void *)(uintptr_t)head.ptr, head.len};
    if (is_chunked && len > 0)
        pieces[count++] =
            (struct iovec){chunk_head, gw_chunk_head(len, chunk_head)};
    if (len > 0)
        pieces[count++] = (struct iovec){gw_buf_ptr(exchange->body), len};
    if (is_chunked) {
        size_t skip = len > 0 ? 0 : 2;
        size_t until = exchange->decoder.is_done ? sizeof(end) - 1 : 2;
        pieces[count++] =
            (struct iovec){(void *)(uintptr_t)(end + skip), until - skip};
    }
    gw_stream_writev(exchange->up->stream, pieces, count);
    keep_body(exchange, len);
    /* The response is awaited from the last piece of the request on. */
    if (exchange->state == GW_EXCHANGE_HEAD)
        gw_worker_timer(exchange->worker, &exchange->timer,
                        gw_exchange_response_timeout(exchange),
                        on_response_timeout);
}

static void send_request(struct gw_exchange *exchange)
{
    struct gw_worker *worker = exchange->worker;
    static const char close[] = "Connection: close\r\n";
    _Static_assert(sizeof(close) <= GW_CLOSE_MAX, "write_request keeps room");
    /* One piece, which the kernel takes more cheaply than a vector. */
    char *head = worker->scratch;
    size_t len = gw_buf_len(exchange->request);
    gw_count(&worker->backend_metrics[exchange->backend->index].b_requests);
    gw_exchange_enter(exchange, GW_EXCHANGE_HEAD);
    memcpy(head, gw_buf_ptr(exchange->request), len);
    if (is_session_post(exchange) &&
        gw_upstream_has_enough(worker, exchange->backend)) {
        memcpy(head + len, close, sizeof(close) - 1);
        len += sizeof(close) - 1;
    }
    len += gw_framing_write(&exchange->framing, head + len);
    gw_exchange_write_body(exchange, (struct eio_span){head, len});
    if (exchange->has_client_fin)
        gw_exchange_pass_fin(exchange);
    if (!exchange->decoder.is_done)
        gw_exchange_send_body(exchange);
}

void gw_exchange_pass_fin(struct gw_exchange *exchange)
{
    exchange->has_client_fin = true;
    exchange->conn->closes = true;
    /* A websocket's early bytes go first, if there will be a tunnel. */
    if (exchange->is_websocket && exchange->conn->in != NULL)
        return;
    if (exchange->up != NULL && exchange->up->is_connected)
        gw_stream_shutdown(exchange->up->stream);
}
