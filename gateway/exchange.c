/* SPDX-License-Identifier: MIT */
/* One request and its response: its beginning, its body, its end. */
#include "gateway/exchange.h"
#include "gateway/accounts.h"
#include "gateway/forwarded.h"
#include "gateway/hint.h"
#include "gateway/learn.h"
#include "gateway/log.h"
#include "gateway/origin.h"

#include <stdlib.h>

enum { PIECES_PER_TURN = 4 };

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
    gw_affinity_cancel(&exchange->lookup);
    gw_learn_free(&exchange->learn);
    gw_upstream_close(&exchange->up, is_reset);
    if (exchange->is_counted)
        atomic_fetch_sub_explicit(&exchange->backend->handshakes, 1,
                                  memory_order_relaxed);
    gw_buf_free(&exchange->request);
    gw_buf_free(&exchange->body);
    worker->kept_bytes -= exchange->kept;
    gw_buf_free(&exchange->denial);
    if (exchange->is_streaming)
        atomic_fetch_sub_explicit(&worker->server->streamed_bodies, 1,
                                  memory_order_relaxed);
    if (exchange->has_account)
        gw_accounts_close(worker->server->accounts, &exchange->peer);
    exchange->conn->exchange = NULL;
    gw_worker_bury_object(worker, &exchange->grave);
}

void gw_exchange_abort(struct gw_exchange *exchange)
{
    gw_count(&exchange->worker->metrics.client_aborts);
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
    if (conn->stream->is_corked)
        gw_stream_discard(conn->stream);
    if (!exchange->decoder.is_done || exchange->is_websocket ||
        conn->worker->phase != GW_PHASE_RUNNING)
        conn->closes = true;
    reply->closes = conn->closes;
    reply->keeps_alive_1_0 = exchange->keeps_alive_1_0;
    reply->is_head = exchange->is_head;
    reply->is_upgrade = exchange->is_websocket;
    reply->origin = gw_exchange_place(exchange, exchange->places.origin);
    gw_conn_reply(conn, reply);
    gw_exchange_drop(exchange, false);
    gw_conn_next(conn);
}

void gw_exchange_fail(struct gw_exchange *exchange, int status)
{
    struct gw_own_reply reply = {.status = status};
    if (status == 413 || status == 408)
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

bool gw_exchange_close_session(struct gw_exchange *exchange)
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
    gw_affinity_unbind(exchange->worker, &exchange->query.sid,
                       exchange->backend, false);
    gw_exchange_reply(exchange, &reply);
    return true;
}

/* The time of the watch on a request's body is over. */
static void on_slow_body(struct gw_exchange *exchange)
{
    const struct gw_config *config = exchange->worker->config;
    struct gw_metrics *metrics = &exchange->worker->metrics;
    uint64_t came = exchange->body_bytes - exchange->body_mark;
    uint64_t least =
        (uint64_t)config->min_body_rate * config->body_timeout_ms / 1000;
    /* It is the backend that takes no more. */
    bool is_waiting = exchange->up != NULL && exchange->up->is_connected &&
                      gw_stream_unsent(exchange->up->stream) > 0;
    if (is_waiting || (came > 0 && came >= least)) {
        exchange->body_mark = exchange->body_bytes;
        gw_conn_watch_reading(exchange->conn);
        return;
    }
    gw_count(came > 0 ? &metrics->limited_body_rate
                      : &metrics->limited_body_timeout);
    gw_exchange_fail(exchange, 408);
}

void gw_exchange_client_timeout(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    if (gw_stream_unsent(conn->stream) > 0) {
        gw_count(&conn->worker->metrics.limited_write_timeout);
        conn->stream->is_reset = true; /* a reader that does not read */
        gw_stream_again(conn->stream);
    } else if (!exchange->decoder.is_done) {
        on_slow_body(exchange);
    }
}

static void watch_body(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    if (exchange->decoder.is_done) {
        gw_timer_stop(&conn->worker->wheel, &conn->timer);
        return;
    }
    /* With a least rate the time runs on whatever comes. */
    if (conn->worker->config->min_body_rate > 0 &&
        gw_timer_is_running(&conn->timer))
        return;
    exchange->body_mark = exchange->body_bytes;
    gw_conn_watch_reading(conn);
}

/* Decodes what is in conn->in. False: the exchange has ended. */
static bool decode(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    if (conn->in == NULL || exchange->decoder.is_done)
        return true;
    char *bytes = gw_buf_ptr(conn->in);
    size_t consumed;
    ptrdiff_t n = gw_body_decode(&exchange->decoder, bytes,
                                 gw_buf_len(conn->in), &consumed);
    if (n < 0) {
        conn->closes = true;
        gw_exchange_fail(exchange, 400);
        return false;
    }
    exchange->body_bytes += (uint64_t)n;
    uint64_t max = exchange->worker->config->max_body_bytes;
    if (max != 0 && exchange->body_bytes > max) {
        gw_exchange_fail(exchange, 413);
        return false;
    }
    struct eio_span piece = {bytes, (size_t)n};
    if (exchange->is_post && exchange->route == GW_ROUTE_SESSION)
        eio_close_scan_feed(&exchange->scan, piece);
    if (!gw_buf_append(&exchange->body, bytes, (size_t)n)) {
        gw_exchange_fail(exchange, 503);
        return false;
    }
    gw_buf_take(&conn->in, consumed);
    return true;
}

/* Reads and decodes the request's body as far as it is there, but holds no
 * more than GW_BODY_WHOLE_MAX unsent. False: the exchange has ended. */
static bool read_body(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    if (!decode(exchange))
        return false;
    while (!exchange->decoder.is_done && conn->stream->is_readable &&
           gw_buf_len(exchange->body) < GW_BODY_WHOLE_MAX) {
        size_t before = gw_buf_len(conn->in);
        gw_conn_read(conn, before + GW_READ_BUFFER_BYTES / 4);
        if (gw_buf_len(conn->in) == before)
            break;
        if (!decode(exchange))
            return false;
    }
    watch_body(exchange);
    return true;
}

/* The client's FIN before its request was whole: a backend that has begun to
 * read it shall see the same, one that has not need not know of it. */
static void on_cut_request(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    gw_count(&exchange->worker->metrics.client_aborts);
    conn->closes = true;
    gw_exchange_drop(exchange, false);
    gw_conn_cut(conn, false);
}

/* Bodies that are read whole wait here; one that is not takes a backend
 * connection for as long as its client pleases. */
static bool may_stream(struct gw_exchange *exchange)
{
    struct gw_server *server = exchange->worker->server;
    uint32_t max = exchange->worker->config->max_streamed_bodies;
    unsigned others = atomic_fetch_add_explicit(&server->streamed_bodies, 1,
                                                memory_order_relaxed);
    exchange->is_streaming = true;
    if (max == 0 || others < max)
        return true;
    gw_count(&exchange->worker->metrics.limited_streamed_bodies);
    return false;
}

static void collect(struct gw_exchange *exchange)
{
    if (!read_body(exchange))
        return;
    if (exchange->conn->stream->is_broken) {
        on_cut_request(exchange);
        return;
    }
    if (!exchange->decoder.is_done &&
        gw_buf_len(exchange->body) < GW_BODY_WHOLE_MAX) {
        if (exchange->conn->stream->is_eof)
            on_cut_request(exchange);
        return;
    }
    if (!exchange->decoder.is_done && !may_stream(exchange)) {
        gw_exchange_fail(exchange, 503);
        return;
    }
    /* Whole: a length says it better than chunks do. */
    if (exchange->decoder.is_done && exchange->framing.is_chunked) {
        exchange->framing.is_chunked = false;
        exchange->framing.content_length = (int64_t)gw_buf_len(exchange->body);
    }
    gw_exchange_route(exchange);
}

void gw_exchange_send_body(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    if (exchange->state != GW_EXCHANGE_HEAD &&
        exchange->state != GW_EXCHANGE_RELAY)
        return;
    for (int i = 0; i < PIECES_PER_TURN; i++) {
        if (exchange->decoder.is_done ||
            gw_stream_unsent(exchange->up->stream) > 0)
            return;
        if (!read_body(exchange))
            return;
        if (gw_buf_len(exchange->body) == 0 && !exchange->decoder.is_done) {
            if (conn->stream->is_eof)
                on_cut_request(exchange);
            return;
        }
        gw_exchange_write_body(exchange, (struct eio_span){NULL, 0});
    }
    gw_stream_again(conn->stream);
}

void gw_exchange_on_client(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    if (gw_stream_unsent(conn->stream) == 0)
        gw_timer_stop(&conn->worker->wheel, &conn->timer);
    if (exchange->state == GW_EXCHANGE_BODY) {
        collect(exchange);
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
            on_cut_request(exchange);
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
    if (exchange->worker->config->netty &&
        exchange->route == GW_ROUTE_HANDSHAKE)
        gw_hint_find(head, &exchange->query.sid);
}

static bool write_request(struct gw_exchange *exchange,
                          const struct gw_head *head)
{
    struct gw_worker *worker = exchange->worker;
    struct gw_conn *conn = exchange->conn;
    struct gw_client client;
    gw_forwarded_client(head, worker->config, &conn->peer, conn->listen->is_tls,
                        &client);
    exchange->peer = client.peer;
    size_t len = gw_request_write(
        head, &client, exchange->route == GW_ROUTE_HANDSHAKE, &exchange->places,
        (struct eio_span){worker->scratch, sizeof(worker->scratch)});
    return len > 0 &&
           gw_buf_reserve(&exchange->request, len + GW_FRAMING_MAX) &&
           gw_buf_append(&exchange->request, worker->scratch, len);
}

static void start_body(struct gw_exchange *exchange)
{
    enum gw_body_kind kind = GW_BODY_NONE;
    if (exchange->framing.is_chunked)
        kind = GW_BODY_CHUNKED;
    else if (exchange->framing.content_length > 0)
        kind = GW_BODY_LENGTH;
    gw_body_init(&exchange->decoder, kind,
                 (uint64_t)exchange->framing.content_length);
}

/* A client that waits for leave to send its body is given it. */
static void say_continue(const struct gw_exchange *exchange)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct gw_conn *conn = exchange->conn;
    if (!exchange->decoder.is_done && gw_buf_len(conn->in) == 0)
        gw_stream_write(conn->stream, go_on, sizeof(go_on) - 1);
}

/* Whether the request may go on; else it has been answered. */
static bool is_admitted(struct gw_exchange *exchange,
                        const struct gw_head *head)
{
    struct gw_worker *worker = exchange->worker;
    uint64_t max = worker->config->max_body_bytes;
    if (max != 0 && head->content_length > 0 &&
        (uint64_t)head->content_length > max) {
        gw_exchange_fail(exchange, 413);
        return false;
    }
    if (exchange->route != GW_ROUTE_PLAIN &&
        exchange->route != GW_ROUTE_LOCAL &&
        !gw_origin_may(worker->config, head->origin)) {
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
    conn->exchange = exchange;
    exchange->route = gw_route_of(worker->config, head, &exchange->query);
    note_head(exchange, head);
    start_body(exchange);
    if (!write_request(exchange, head)) {
        gw_exchange_fail(exchange, 431);
    } else if (is_admitted(exchange, head)) {
        if (expects_continue)
            say_continue(exchange);
        collect(exchange);
    }
    /* More was read, or waits, behind this request: perhaps the client's FIN,
     * which its backend should see. */
    if (conn->exchange == exchange &&
        (conn->stream->is_eof || conn->stream->is_readable))
        gw_stream_again(conn->stream);
}
