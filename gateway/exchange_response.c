/* SPDX-License-Identifier: MIT */
/* From the backend's bytes to the client's. */
#include "gateway/eject.h"
#include "gateway/exchange.h"
#include "gateway/learn.h"
#include "gateway/log.h"
#include "gateway/tunnel.h"

enum {
    READS_PER_TURN = 4,
    INTERIM_MAX = 8, /* 1xx responses to one request */
};

static void bad_response(struct gw_exchange *exchange, const char *what)
{
    struct gw_backend *backend = exchange->backend;
    gw_count(
        &exchange->worker->backend_metrics[backend->index].b_bad_responses);
    gw_log(GW_LOG_WARNING, "bad_response", "backend", backend->config->id,
           "why", what);
    gw_exchange_fail(exchange, 502);
}

static bool is_blocked(const struct gw_exchange *exchange)
{
    const struct gw_stream *client = exchange->conn->stream;
    /* What is held back must never block the reading that decides on it: the
     * head and the framing come on top of GW_HELD_MAX bytes of body. */
    return gw_stream_unsent(client) >
           (client->is_corked ? GW_SCRATCH_BYTES + GW_HELD_MAX : 0);
}

/* ---- the response ---- */

static void complete(struct gw_exchange *exchange)
{
    if (!exchange->decoder.is_done)
        exchange->conn->closes = true;
    if (exchange->is_reusable && exchange->decoder.is_done &&
        gw_stream_unsent(exchange->up->stream) == 0)
        gw_upstream_release(&exchange->up, exchange->keep_alive_s);
    else if (exchange->is_retiring && exchange->decoder.is_done)
        gw_upstream_retire(&exchange->up);
    else
        gw_upstream_close(&exchange->up, false);
    if (exchange->is_doubted) {
        gw_exchange_reroute(exchange);
        return;
    }
    if (exchange->conn->stream->is_corked && exchange->is_binding) {
        gw_exchange_enter(exchange, GW_EXCHANGE_HELD);
        return;
    }
    if (exchange->conn->stream->is_corked)
        gw_stream_uncork(exchange->conn->stream);
    gw_exchange_finish(exchange);
}

/* The client can act on its answer then: its next request may end the session,
 * through another worker. */
static void before_last_write(struct gw_exchange *exchange)
{
    gw_exchange_end_session(exchange);
    if (!exchange->is_doubted)
        gw_report_settle(exchange);
}

/* Passes on `head_len` bytes of head (in the scratch) and a piece of body. */
static void write_out(struct gw_exchange *exchange, size_t head_len,
                      struct eio_span piece)
{
    static const char end[] = "\r\n0\r\n\r\n";
    struct gw_worker *worker = exchange->worker;
    struct iovec out[4];
    char chunk_head[GW_CHUNK_HEAD_MAX];
    int count = 0;
    /* A small body goes with the head in one piece, which spares the kernel
     * the walk through a vector. */
    if (head_len > 0 && !exchange->out_is_chunked &&
        piece.len < sizeof(worker->scratch) - head_len && piece.len < 4096) {
        if (piece.len > 0)
            memcpy(worker->scratch + head_len, piece.ptr, piece.len);
        head_len += piece.len;
        piece.len = 0;
    }
    if (head_len > 0)
        out[count++] = (struct iovec){worker->scratch, head_len};
    if (exchange->out_is_chunked && piece.len > 0)
        out[count++] =
            (struct iovec){chunk_head, gw_chunk_head(piece.len, chunk_head)};
    if (piece.len > 0)
        out[count++] = (struct iovec){(void *)(uintptr_t)piece.ptr, piece.len};
    if (exchange->out_is_chunked) {
        size_t skip = piece.len > 0 ? 0 : 2;
        size_t until = exchange->response.is_done ? sizeof(end) - 1 : 2;
        out[count++] =
            (struct iovec){(void *)(uintptr_t)(end + skip), until - skip};
    }
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += out[i].iov_len;
    gw_count_add(&worker->metrics.bytes_to_clients, total);
    exchange->report.out_bytes += total;
    if (exchange->response.is_done)
        before_last_write(exchange);
    gw_stream_writev(exchange->conn->stream, out, count);
}

/* False: the exchange has ended. */
static bool take_body(struct gw_exchange *exchange, size_t head_len,
                      char *bytes, size_t len)
{
    size_t consumed;
    ptrdiff_t n = gw_body_decode(&exchange->response, bytes, len, &consumed);
    if (n < 0) {
        bad_response(exchange, "broken chunks");
        return false;
    }
    if (consumed < len) { /* more than it announced */
        exchange->is_reusable = false;
        exchange->is_retiring = false;
    }
    struct eio_span piece = {bytes, (size_t)n};
    int status = gw_exchange_inspect(exchange, piece);
    if (status != 0) {
        gw_exchange_fail(exchange, status);
        return false;
    }
    gw_exchange_enter(exchange, GW_EXCHANGE_RELAY);
    write_out(exchange, head_len, piece);
    if (!exchange->response.is_done)
        return true;
    complete(exchange);
    return false;
}

static enum gw_body_kind body_kind(const struct gw_exchange *exchange,
                                   const struct gw_head *head)
{
    if (exchange->is_head || head->status == 204 || head->status == 304 ||
        head->status < 200)
        return GW_BODY_NONE;
    if (head->is_chunked)
        return GW_BODY_CHUNKED;
    return head->content_length >= 0 ? GW_BODY_LENGTH : GW_BODY_UNTIL_EOF;
}

static void frame_response(struct gw_exchange *exchange,
                           const struct gw_head *head,
                           struct gw_reply_form *form)
{
    struct gw_conn *conn = exchange->conn;
    enum gw_body_kind kind = exchange->response.kind;
    form->framing.content_length = -1;
    if (kind == GW_BODY_LENGTH || (kind == GW_BODY_NONE && head->status != 204))
        form->framing.content_length = head->content_length;
    if (kind == GW_BODY_CHUNKED || kind == GW_BODY_UNTIL_EOF) {
        if (exchange->minor > 0)
            form->framing.is_chunked = true;
        else
            conn->closes = true;
    }
    exchange->out_is_chunked = form->framing.is_chunked;
    if (exchange->is_websocket || gw_conn_must_end(conn))
        conn->closes = true;
    form->closes = conn->closes;
    form->keeps_alive_1_0 = exchange->keeps_alive_1_0 && !conn->closes;
}

/* A final response head: what follows depends on it. Writes the client's head
 * into the scratch and returns its length, 0 for a failure. */
static size_t begin_response(struct gw_exchange *exchange,
                             const struct gw_head *head)
{
    struct gw_worker *worker = exchange->worker;
    struct gw_reply_form form = {0};
    enum gw_body_kind kind = body_kind(exchange, head);
    gw_body_init(&exchange->response, kind, (uint64_t)head->content_length);
    exchange->status = head->status;
    gw_report_status(exchange, head->status, false);
    if (exchange->upgrade != GW_UPGRADE_NONE)
        exchange->upgrade = GW_UPGRADE_ANSWERED;
    exchange->keep_alive_s = head->keep_alive_s;
    exchange->is_reusable =
        kind != GW_BODY_UNTIL_EOF && !exchange->has_client_fin &&
        (head->minor > 0 ? !head->says_close : head->says_keep_alive);
    exchange->is_retiring = head->says_close && kind != GW_BODY_UNTIL_EOF;
    if (exchange->route == GW_ROUTE_HANDSHAKE)
        gw_eject_note_status(worker, exchange->backend, head->status,
                             &exchange->peer);
    bool is_plain = head->content_encoding.len == 0;
    exchange->is_denial =
        is_plain && (head->status == 400 || head->status == 500);
    if (exchange->route == GW_ROUTE_HANDSHAKE && head->status == 200 &&
        !exchange->is_websocket && kind != GW_BODY_NONE)
        exchange->learn = gw_learn_new(head->content_encoding);
    /* Whoever denies may do so since the cache is wrong. */
    if (exchange->is_denial && gw_exchange_may_reroute(exchange))
        exchange->conn->stream->is_corked = true;
    frame_response(exchange, head, &form);
    return gw_response_write(
        head, &form,
        (struct eio_span){worker->scratch, sizeof(worker->scratch)});
}

static void switch_protocols(struct gw_exchange *exchange,
                             const struct gw_head *head, struct eio_span rest)
{
    struct gw_worker *worker = exchange->worker;
    struct gw_conn *conn = exchange->conn;
    struct gw_reply_form form = {.framing = {.content_length = -1},
                                 .is_switch = true};
    if (!exchange->is_websocket || !head->upgrades_websocket ||
        head->ws_accept.len != 28 ||
        memcmp(head->ws_accept.ptr, exchange->ws_accept, 28) != 0) {
        if (exchange->upgrade != GW_UPGRADE_NONE)
            exchange->upgrade = GW_UPGRADE_ANSWERED;
        bad_response(exchange, "wrong 101");
        return;
    }
    if (exchange->route == GW_ROUTE_HANDSHAKE)
        gw_eject_note_status(worker, exchange->backend, 101, &exchange->peer);
    size_t len = gw_response_write(
        head, &form,
        (struct eio_span){worker->scratch, sizeof(worker->scratch)});
    if (len == 0) {
        bad_response(exchange, "head too long");
        return;
    }
    gw_stream_write(conn->stream, worker->scratch, len);
    gw_count_add(&worker->metrics.bytes_to_clients, len);
    gw_report_status(exchange, 101, false);
    exchange->report.out_bytes += len;
    struct gw_tunnel_about about = {
        .backend = exchange->backend,
        .session = exchange->session,
        .peer = exchange->peer,
        .has_account = conn->has_account || exchange->has_account,
        .is_handshake = exchange->route == GW_ROUTE_HANDSHAKE,
        .is_session = exchange->route == GW_ROUTE_SESSION,
        .has_client_fin = exchange->has_client_fin,
        .eio = (uint8_t)exchange->query.eio,
        .sid = &exchange->query.sid,
        .backend_bytes = rest,
    };
    /* The rest may stand in up->in, which must outlive the detaching. */
    struct gw_buf *held = exchange->up->in;
    exchange->up->in = NULL;
    about.backend_stream = gw_upstream_detach(&exchange->up);
    /* The tunnel's from here on. */
    exchange->upgrade = GW_UPGRADE_NONE;
    exchange->has_account = false;
    conn->has_account = false;
    gw_exchange_drop(exchange, false);
    about.client_stream = gw_conn_detach(conn, &about.client_bytes);
    gw_tunnel_open(worker, &about);
    gw_buf_free(&held);
}

/* 100 was never asked for; others go to clients that know them. */
static void relay_interim(struct gw_exchange *exchange,
                          const struct gw_head *head)
{
    struct gw_worker *worker = exchange->worker;
    struct gw_reply_form form = {.framing = {.content_length = -1}};
    if (head->status == 100 || exchange->minor == 0)
        return;
    size_t len = gw_response_write(
        head, &form,
        (struct eio_span){worker->scratch, sizeof(worker->scratch)});
    exchange->report.out_bytes += len;
    gw_stream_write(exchange->conn->stream, worker->scratch, len);
}

/* Looks for the head in up->in or `bytes`; goes on with what follows it.
 * False: the exchange has ended. */
static bool take_head(struct gw_exchange *exchange, char *bytes, size_t len)
{
    struct gw_upstream *up = exchange->up;
    struct gw_head *head = &exchange->worker->head;
    static const char start[] = "HTTP/1.";
    for (;;) {
        size_t head_len = 0;
        size_t seen = len < sizeof(start) - 1 ? len : sizeof(start) - 1;
        if (memcmp(bytes, start, seen) != 0 ||
            gw_head_scan(&up->scan, (struct eio_span){bytes, len},
                         exchange->worker->config, &head_len) != 0) {
            bad_response(exchange, "head");
            return false;
        }
        if (head_len == 0) {
            if (up->in == NULL && !gw_buf_append(&up->in, bytes, len)) {
                gw_exchange_fail(exchange, 503);
                return false;
            }
            return true;
        }
        if (gw_head_parse_response((struct eio_span){bytes, head_len}, head) !=
            0) {
            bad_response(exchange, "head");
            return false;
        }
        up->scan = (struct gw_scan){0};
        bytes += head_len;
        len -= head_len;
        if (up->in != NULL)
            up->in->start += head_len;
        gw_backend_note_connected(exchange->backend);
        if (head->status == 101 || head->status >= 200)
            break;
        if (++exchange->interims > INTERIM_MAX) {
            bad_response(exchange, "too many 1xx");
            return false;
        }
        relay_interim(exchange, head);
        if (len == 0) {
            gw_buf_free(&up->in);
            return true;
        }
    }
    if (head->status == 101) {
        switch_protocols(exchange, head, (struct eio_span){bytes, len});
        return false;
    }
    size_t out_len = begin_response(exchange, head);
    if (out_len == 0) {
        bad_response(exchange, "head too long");
        return false;
    }
    struct gw_buf *held = up->in; /* bytes may stand in it */
    up->in = NULL;
    bool goes_on = take_body(exchange, out_len, bytes, len);
    gw_buf_free(&held);
    return goes_on;
}

/* False: the exchange has ended. */
static bool take_bytes(struct gw_exchange *exchange, char *bytes, size_t len)
{
    struct gw_upstream *up = exchange->up;
    if (exchange->state != GW_EXCHANGE_HEAD)
        return take_body(exchange, 0, bytes, len);
    if (up->in == NULL)
        return take_head(exchange, bytes, len);
    if (!gw_buf_append(&up->in, bytes, len)) {
        gw_exchange_fail(exchange, 503);
        return false;
    }
    return take_head(exchange, gw_buf_ptr(up->in), gw_buf_len(up->in));
}

static void on_backend_end(struct gw_exchange *exchange, bool is_eof)
{
    struct gw_conn *conn = exchange->conn;
    bool has_begun = exchange->up->in != NULL || exchange->interims > 0;
    if (exchange->state == GW_EXCHANGE_RELAY) {
        if (is_eof && gw_body_end(&exchange->response)) {
            exchange->is_reusable = false;
            take_body(exchange, 0, NULL, 0);
        } else {
            bad_response(exchange, "cut short");
        }
        return;
    }
    if (!has_begun && exchange->up->is_reused &&
        gw_exchange_may_repeat(exchange)) {
        gw_upstream_close(&exchange->up, false);
        exchange->was_resent = true;
        gw_exchange_connect(exchange);
        return;
    }
    if (exchange->has_client_fin) {
        /* The client left and the backend took note: nobody to answer. */
        gw_count(&exchange->worker->metrics.client_aborts);
        exchange->report.is_aborted = true;
        gw_exchange_drop(exchange, false);
        gw_conn_next(conn);
        return;
    }
    bad_response(exchange, has_begun ? "cut short" : "no response");
}

/* The client takes all it is given, but the backend gives no more. */
static void on_stall(struct gw_timer *timer)
{
    struct gw_exchange *exchange =
        GW_CONTAINER(timer, struct gw_exchange, timer);
    gw_count(&exchange->worker->metrics.limited_response_timeout);
    bad_response(exchange, "stalled");
}

static void watch_response(struct gw_exchange *exchange)
{
    if (exchange->state != GW_EXCHANGE_RELAY)
        return;
    if (is_blocked(exchange) || !exchange->decoder.is_done)
        gw_timer_stop(&exchange->worker->wheel, &exchange->timer);
    else
        gw_worker_timer(exchange->worker, &exchange->timer,
                        gw_exchange_response_timeout(exchange), on_stall);
}

void gw_exchange_pump(struct gw_exchange *exchange)
{
    struct gw_worker *worker = exchange->worker;
    struct gw_conn *conn = exchange->conn;
    if (exchange->state != GW_EXCHANGE_HEAD &&
        exchange->state != GW_EXCHANGE_RELAY)
        return;
    for (int i = 0; i < READS_PER_TURN; i++) {
        struct gw_stream *backend = exchange->up->stream;
        if (!backend->is_readable || is_blocked(exchange))
            break;
        ssize_t n =
            gw_stream_read(backend, worker->read_buffer, GW_READ_BUFFER_BYTES);
        if (n == GW_READ_EMPTY)
            break;
        if (n <= 0) {
            on_backend_end(exchange, n == 0);
            return;
        }
        if (!take_bytes(exchange, worker->read_buffer, (size_t)n))
            return;
    }
    if (!is_blocked(exchange) && exchange->up->stream->is_readable)
        gw_stream_again(exchange->up->stream);
    watch_response(exchange);
    if (exchange->decoder.is_done)
        gw_conn_watch_writing(conn);
}

void gw_exchange_on_backend(struct gw_upstream *up, void *arg)
{
    struct gw_exchange *exchange = arg;
    if (!exchange->decoder.is_done && gw_stream_unsent(up->stream) == 0 &&
        !up->stream->is_reset)
        gw_exchange_send_body(exchange);
    if (exchange->state != GW_EXCHANGE_DONE)
        gw_exchange_pump(exchange);
}
