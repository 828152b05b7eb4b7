/* SPDX-License-Identifier: MIT */
/* One request and its response: its beginning, its body, its end. */
#include "gateway/exchange.h"
#include "gateway/accounts.h"
#include "gateway/balance.h"
#include "gateway/forwarded.h"
#include "gateway/hint.h"
#include "gateway/learn.h"
#include "gateway/log.h"
#include "gateway/origin.h"
#include "gateway/pool.h"

#include <stdlib.h>

struct eio_span gw_exchange_place(const struct gw_exchange *exchange,
                                  struct gw_place place)
{
    if (exchange->request == NULL || place.len == 0)
        return (struct eio_span){NULL, 0};
    return (struct eio_span){exchange->request->data + place.at, place.len};
}

void gw_exchange_enter(struct gw_exchange *exchange,
                       enum gw_exchange_state state)
{
    exchange->state = state;
    if (state != GW_EXCHANGE_HEAD)
        gw_timer_stop(&exchange->worker->wheel, &exchange->timer);
}

void gw_exchange_drop(struct gw_exchange *exchange, bool is_reset)
{
    struct gw_worker *worker = exchange->worker;
    if (exchange->state == GW_EXCHANGE_DONE)
        return;
    gw_exchange_enter(exchange, GW_EXCHANGE_DONE);
    gw_report_end(exchange);
    gw_exchange_end_upgrade(exchange, is_reset);
    gw_affinity_cancel(&exchange->lookup);
    gw_learn_free(&exchange->learn);
    gw_upstream_close(&exchange->up, is_reset);
    gw_exchange_leave_backend(exchange);
    gw_buf_free(&exchange->request);
    gw_buf_free(&exchange->body);
    worker->kept_bytes -= exchange->kept;
    gw_buf_free(&exchange->denial);
    if (exchange->is_streaming)
        atomic_fetch_sub_explicit(&worker->server->streamed_bodies, 1,
                                  memory_order_relaxed);
    if (exchange->is_reserved)
        gw_accounts_handshake_over(worker->server->accounts, &exchange->peer);
    if (exchange->has_account)
        gw_accounts_close(worker->server->accounts, &exchange->peer);
    exchange->conn->exchange = NULL;
    gw_worker_bury_object(worker, &exchange->grave);
}

void gw_exchange_abort(struct gw_exchange *exchange)
{
    gw_count(&exchange->worker->metrics.client_aborts);
    exchange->report.is_aborted = true;
    gw_exchange_drop(exchange, true);
}

void gw_exchange_reply(struct gw_exchange *exchange, struct gw_own_reply *reply)
{
    struct gw_conn *conn = exchange->conn;
    bool has_begun =
        exchange->state == GW_EXCHANGE_RELAY && !conn->stream->is_corked;
    if (has_begun) {
        bool is_unframed = !exchange->out_is_chunked &&
                           exchange->response.kind != GW_BODY_LENGTH;
        gw_exchange_drop(exchange, false);
        gw_conn_cut(conn, is_unframed);
        return;
    }
    /* A held response is thrown away: this takes its place. Nothing else can
     * be in the buffer, since a request starts only when it is empty. */
    if (conn->stream->is_corked) {
        gw_stream_discard(conn->stream);
        gw_report_again(exchange);
    }
    if (!exchange->decoder.is_done || exchange->is_websocket ||
        gw_conn_must_end(conn))
        conn->closes = true;
    reply->closes = conn->closes;
    reply->keeps_alive_1_0 = exchange->keeps_alive_1_0;
    reply->is_head = exchange->is_head;
    reply->is_upgrade = exchange->is_websocket;
    reply->origin = gw_exchange_place(exchange, exchange->places.origin);
    gw_report_status(exchange, reply->status, true);
    gw_conn_reply(conn, reply);
    gw_exchange_drop(exchange, false);
    gw_conn_next(conn);
}

void gw_exchange_fail(struct gw_exchange *exchange, int status)
{
    struct gw_own_reply reply = {.status = status};
    if (status == 400 || status == 408 || status == 413 || status == 431)
        gw_count(&exchange->worker->metrics.bad_requests);
    if (status == 413)
        gw_count(&exchange->worker->metrics.limited_body);
    gw_exchange_reply(exchange, &reply);
}

void gw_exchange_fail_busy(struct gw_exchange *exchange, unsigned retry_s)
{
    struct gw_own_reply reply = {.status = 429, .retry_s = retry_s};
    gw_exchange_reply(exchange, &reply);
}

/* A page of this origin is not to read it either. */
static void fail_forbidden(struct gw_exchange *exchange)
{
    struct gw_own_reply reply = {
        .status = 403, .is_eio = true, .error = EIO_ERROR_FORBIDDEN};
    gw_count(&exchange->worker->metrics.limited_origin);
    exchange->places.origin.len = 0;
    exchange->conn->closes = true;
    gw_exchange_reply(exchange, &reply);
}

void gw_exchange_fail_eio(struct gw_exchange *exchange, enum eio_error error)
{
    struct gw_own_reply reply = {.status = 400, .is_eio = true, .error = error};
    if (error == EIO_ERROR_UNKNOWN_SID)
        gw_count(&exchange->worker->metrics.unknown_sid);
    else
        gw_count(&exchange->worker->metrics.duplicate_sid);
    gw_exchange_reply(exchange, &reply);
}

void gw_exchange_finish(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    gw_exchange_drop(exchange, false);
    gw_conn_next(conn);
}

static enum eio_framing framing_of(const struct eio_query *query)
{
    if (query->has_jsonp)
        return query->eio == 3 ? EIO_FRAMING_JSONP_V3 : EIO_FRAMING_JSONP_V4;
    return query->eio == 3 ? EIO_FRAMING_V3_STRING : EIO_FRAMING_V4;
}

bool gw_exchange_close_session(struct gw_exchange *exchange, enum gw_end cause)
{
    char payload[EIO_CLOSE_PAYLOAD_MAX];
    if (exchange->state != GW_EXCHANGE_HEAD || !exchange->is_get ||
        exchange->is_websocket || exchange->route != GW_ROUTE_SESSION)
        return false;
    struct gw_own_reply reply = {
        .status = 200,
        .is_close_packet = true,
        .body = {payload, eio_close_payload(framing_of(&exchange->query),
                                            exchange->query.jsonp, payload)}};
    gw_report_settle(exchange);
    gw_affinity_unbind(exchange->worker, &exchange->query.sid,
                       exchange->backend, false, cause);
    gw_exchange_reply(exchange, &reply);
    return true;
}

void gw_exchange_client_timeout(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    if (gw_stream_unsent(conn->stream) > 0) {
        gw_count(&conn->worker->metrics.limited_write_timeout);
        conn->stream->is_reset = true; /* a reader that does not read */
        gw_stream_again(conn->stream);
    } else if (!exchange->decoder.is_done) {
        gw_exchange_on_slow_body(exchange);
    }
}

void gw_exchange_on_client(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    /* What watches the body runs on: else each byte would start it anew. */
    if (conn->is_writing && gw_stream_unsent(conn->stream) == 0)
        gw_timer_stop(&conn->worker->wheel, &conn->timer);
    if (exchange->state == GW_EXCHANGE_BODY) {
        gw_exchange_collect(exchange);
        return;
    }
    if (!exchange->decoder.is_done)
        gw_exchange_send_body(exchange);
    else if (conn->stream->is_readable)
        /* Ahead of its turn: to notice that the client leaves. */
        gw_conn_read(conn, GW_EARLY_MAX);
    if (exchange->state == GW_EXCHANGE_DONE)
        return;
    if (conn->stream->is_broken) {
        gw_exchange_abort(exchange);
        gw_conn_cut(conn, true);
        return;
    }
    if (conn->stream->is_eof && !exchange->has_client_fin) {
        if (!exchange->decoder.is_done) {
            gw_exchange_on_cut_request(exchange);
            return;
        }
        if (conn->in == NULL || exchange->is_websocket)
            gw_exchange_pass_fin(exchange);
    }
    gw_exchange_pump(exchange);
}

static void count_request(struct gw_conn *conn)
{
    uint32_t max = conn->worker->config->max_requests_per_connection;
    if (max == 0 || ++conn->requests < max || conn->closes)
        return;
    gw_count(&conn->worker->metrics.limited_requests);
    conn->closes = true;
}

static void note_handshake(struct gw_exchange *exchange,
                           const struct gw_head *head)
{
    struct gw_worker *worker = exchange->worker;
    if (gw_exchange_pool(exchange)->netty)
        gw_hint_find(head, &exchange->query.sid);
    exchange->target = gw_pool_target(worker->config, exchange->pool, head,
                                      gw_worker_random(worker));
}

/* By what its client is known, which is known only now. */
static void note_hash(struct gw_exchange *exchange, const struct gw_head *head)
{
    const struct gw_pool_config *target =
        &exchange->worker->config->pools[exchange->target];
    const struct gw_pool_config *own = gw_exchange_pool(exchange);
    if (exchange->route != GW_ROUTE_HANDSHAKE)
        return;
    if (own->balance == GW_BALANCE_HASH)
        exchange->own_hash = gw_balance_hash(own, head, &exchange->peer);
    exchange->hash = exchange->own_hash;
    if (target != own && target->balance == GW_BALANCE_HASH)
        exchange->hash = gw_balance_hash(target, head, &exchange->peer);
}

/* What is needed of the head later on; it is gone afterwards. */
static void note_head(struct gw_exchange *exchange, const struct gw_head *head)
{
    exchange->minor = (uint8_t)head->minor;
    exchange->is_get = head->is_get;
    exchange->is_head = head->is_head;
    exchange->is_post = head->is_post;
    exchange->is_options = head->is_options;
    exchange->is_websocket = head->is_websocket;
    exchange->framing.content_length = head->content_length;
    exchange->framing.is_chunked = head->is_chunked;
    exchange->keep_alive_s = -1;
    if (head->minor == 0 && head->says_keep_alive && !head->says_close)
        exchange->keeps_alive_1_0 = true;
    exchange->conn->closes =
        head->says_close || (head->minor == 0 && !exchange->keeps_alive_1_0);
    count_request(exchange->conn);
    if (head->is_websocket)
        gw_ws_accept(head->ws_key, exchange->ws_accept);
    exchange->target = exchange->pool;
    if (exchange->route == GW_ROUTE_HANDSHAKE)
        note_handshake(exchange, head);
}

static bool write_request(struct gw_exchange *exchange,
                          const struct gw_head *head)
{
    struct gw_worker *worker = exchange->worker;
    struct gw_conn *conn = exchange->conn;
    struct gw_client client;
    if (conn->is_nameless)
        client = (struct gw_client){.peer = conn->peer, .is_tls = conn->is_tls};
    else
        gw_forwarded_client(head, worker->config, &conn->peer, conn->is_tls,
                            &client);
    exchange->peer = client.peer;
    note_hash(exchange, head);
    const struct gw_request_form form = {
        .wants_identity = exchange->route == GW_ROUTE_HANDSHAKE,
        .request_id = gw_report_request_id(exchange),
    };
    size_t len = gw_request_write(
        head, &client, &form, &exchange->places,
        (struct eio_span){worker->scratch, sizeof(worker->scratch) -
                                               GW_CLOSE_MAX - GW_FRAMING_MAX});
    return len > 0 &&
           gw_buf_reserve(&exchange->request, len + GW_FRAMING_MAX) &&
           gw_buf_append(&exchange->request, worker->scratch, len);
}

static bool is_eio(const struct gw_exchange *exchange)
{
    return exchange->route == GW_ROUTE_HANDSHAKE ||
           exchange->route == GW_ROUTE_SESSION ||
           exchange->route == GW_ROUTE_BAD_SID;
}

/* Whether the page that asks, if it is one, may do so. */
static bool may_page(const struct gw_exchange *exchange,
                     const struct gw_head *head)
{
    const struct gw_config *config = exchange->worker->config;
    if (config->origin_count == 0 || !gw_pool_is_eio(config, head->path))
        return true;
    if (head->origin_count > 1 || !gw_origin_may(config, head->origin))
        return false;
    return head->origin.len > 0 || !is_eio(exchange) ||
           gw_origin_may_without(config, head, exchange->query.has_jsonp);
}

/* Whether the request may go on; else it has been answered. */
static bool is_admitted(struct gw_exchange *exchange,
                        const struct gw_head *head)
{
    struct gw_worker *worker = exchange->worker;
    uint64_t max = exchange->body_max;
    if (max != 0 && head->content_length > 0 &&
        (uint64_t)head->content_length > max) {
        gw_exchange_fail(exchange, 413);
        return false;
    }
    if (!may_page(exchange, head)) {
        fail_forbidden(exchange);
        return false;
    }
    /* A connection of an address is counted when it is accepted; of those
     * that a proxy brings, a websocket is its client's own. */
    if (worker->server->accounts == NULL || !exchange->is_websocket ||
        exchange->conn->has_account)
        return true;
    exchange->has_account =
        gw_accounts_open(worker->server->accounts, &exchange->peer);
    if (exchange->has_account)
        return true;
    gw_count(&worker->metrics.limited_address_connections);
    gw_exchange_fail_busy(exchange, 1);
    return false;
}

void gw_exchange_begin(struct gw_conn *conn)
{
    struct gw_worker *worker = conn->worker;
    struct gw_head *head = &worker->head;
    bool expects_continue = head->expects_continue;
    struct gw_exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL) {
        conn->closes = true;
        struct gw_own_reply reply = {.status = 503, .closes = true};
        gw_conn_reply(conn, &reply);
        gw_conn_next(conn);
        return;
    }
    exchange->worker = worker;
    exchange->conn = conn;
    exchange->body_max = worker->config->max_body_bytes;
    conn->exchange = exchange;
    exchange->route =
        gw_route_of(worker->config, head, &exchange->query, &exchange->pool);
    gw_link_init(&exchange->queued);
    note_head(exchange, head);
    gw_report_begin(exchange, head);
    gw_exchange_start_body(exchange);
    if (!write_request(exchange, head)) {
        gw_count(&worker->metrics.limited_head);
        gw_exchange_fail(exchange, 431);
    } else if (is_admitted(exchange, head)) {
        if (expects_continue)
            gw_exchange_say_continue(exchange);
        gw_exchange_collect(exchange);
    }
    /* More was read, or waits, behind this request: perhaps the client's FIN,
     * which its backend should see. */
    if (conn->exchange == exchange &&
        (conn->stream->is_eof || conn->stream->is_readable))
        gw_stream_again(conn->stream);
}
