/* SPDX-License-Identifier: MIT */
/* A request's body: read whole up to a bound, streamed beyond it. */
#include "gateway/exchange.h"

enum { PIECES_PER_TURN = 4 };

void gw_exchange_start_body(struct gw_exchange *exchange)
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
void gw_exchange_say_continue(struct gw_exchange *exchange)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct gw_conn *conn = exchange->conn;
    if (exchange->decoder.is_done || gw_buf_len(conn->in) > 0)
        return;
    exchange->report.out_bytes += sizeof(go_on) - 1;
    gw_stream_write(conn->stream, go_on, sizeof(go_on) - 1);
}

static void begin_watch(struct gw_exchange *exchange)
{
    const struct gw_config *config = exchange->worker->config;
    exchange->body_mark = exchange->body_bytes;
    exchange->body_least =
        (uint64_t)config->min_body_rate * config->body_timeout_ms / 1000;
    gw_conn_watch_reading(exchange->conn);
}

/* The time of the watch on a request's body is over. */
void gw_exchange_on_slow_body(struct gw_exchange *exchange)
{
    struct gw_metrics *metrics = &exchange->worker->metrics;
    uint64_t came = exchange->body_bytes - exchange->body_mark;
    /* It is the backend that takes no more, or is yet to be found. */
    bool is_waiting = exchange->state != GW_EXCHANGE_BODY &&
                      (exchange->up == NULL || !exchange->up->is_connected ||
                       gw_stream_unsent(exchange->up->stream) > 0);
    if (is_waiting || (came > 0 && came >= exchange->body_least)) {
        begin_watch(exchange);
        return;
    }
    gw_count(came > 0 ? &metrics->limited_body_rate
                      : &metrics->limited_body_timeout);
    gw_exchange_fail(exchange, 408);
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
    begin_watch(exchange);
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
    uint64_t max = exchange->body_max;
    if (max != 0 && exchange->body_bytes > max) {
        conn->closes = true; /* the body is still in conn->in */
        gw_exchange_fail(exchange, 413);
        return false;
    }
    struct eio_span piece = {bytes, (size_t)n};
    if (exchange->is_post && exchange->route == GW_ROUTE_SESSION)
        eio_close_scan_feed(&exchange->scan, piece);
    if (!gw_buf_append(&exchange->body, bytes, (size_t)n)) {
        conn->closes = true;
        gw_exchange_fail(exchange, 503);
        return false;
    }
    exchange->report.in_bytes += consumed;
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
void gw_exchange_on_cut_request(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    gw_count(&exchange->worker->metrics.client_aborts);
    exchange->report.is_aborted = true;
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

void gw_exchange_collect(struct gw_exchange *exchange)
{
    if (!read_body(exchange))
        return;
    if (exchange->conn->stream->is_broken) {
        gw_exchange_on_cut_request(exchange);
        return;
    }
    if (!exchange->decoder.is_done &&
        gw_buf_len(exchange->body) < GW_BODY_WHOLE_MAX) {
        if (exchange->conn->stream->is_eof)
            gw_exchange_on_cut_request(exchange);
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
                gw_exchange_on_cut_request(exchange);
            return;
        }
        gw_exchange_write_body(exchange, (struct eio_span){NULL, 0});
    }
    gw_stream_again(conn->stream);
}
