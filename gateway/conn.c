/* SPDX-License-Identifier: MIT */
/* A client connection while it speaks HTTP. */
#include "gateway/conn.h"
#include "gateway/accounts.h"
#include "gateway/denied.h"
#include "gateway/exchange.h"
#include "gateway/move.h"
#include "gateway/shared.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    LINGER_MS = 2000,
    REPLY_MAX = 20480,
    STEPS_PER_TURN = 16, /* reads and requests, before others get a turn */
};

static void after_flush(struct gw_conn *conn);
static void watch_writing(struct gw_conn *conn);

static void on_timer(struct gw_timer *timer)
{
    struct gw_conn *conn = GW_CONTAINER(timer, struct gw_conn, timer);
    struct gw_own_reply reply = {.status = 408, .closes = true};
    struct gw_metrics *metrics = &conn->worker->metrics;
    bool is_reader = conn->state == GW_CONN_IDLE ||
                     conn->state == GW_CONN_BUSY ||
                     conn->state == GW_CONN_FLUSH;
    if (is_reader && gw_stream_unsent(conn->stream) > 0 &&
        gw_stream_taken(conn->stream) != conn->taken_mark) {
        watch_writing(conn); /* slow, but it reads */
        return;
    }
    switch (conn->state) {
    case GW_CONN_PROXY:
    case GW_CONN_TLS:
        gw_count(&metrics->limited_head_timeout);
        gw_conn_close(conn, true);
        return;
    case GW_CONN_IDLE:
        if (conn->is_writing && gw_stream_unsent(conn->stream) == 0) {
            gw_conn_enter(conn, GW_CONN_IDLE); /* idle only from now on */
            return;
        }
        gw_count(conn->is_writing ? &metrics->limited_write_timeout
                                  : &metrics->limited_idle_timeout);
        gw_conn_close(conn, false);
        return;
    case GW_CONN_LINGER:
        gw_conn_close(conn, false);
        return;
    case GW_CONN_HEAD:
        gw_count(&metrics->bad_requests);
        gw_count(&metrics->limited_head_timeout);
        gw_conn_reply(conn, &reply);
        gw_conn_enter(conn, GW_CONN_FLUSH);
        return;
    case GW_CONN_BUSY:
        gw_exchange_client_timeout(conn->exchange);
        return;
    case GW_CONN_FLUSH:
        gw_count(&metrics->limited_write_timeout);
        gw_conn_close(conn, true);
        return;
    case GW_CONN_CLOSED:
        return;
    }
}

static void set_timer(struct gw_conn *conn, int64_t after_ms)
{
    conn->is_writing = false;
    gw_worker_timer(conn->worker, &conn->timer, after_ms, on_timer);
}

/* The reader has as long as this for its next byte. */
static void watch_writing(struct gw_conn *conn)
{
    set_timer(conn, conn->worker->config->write_timeout_ms);
    conn->taken_mark = gw_stream_taken(conn->stream);
    conn->is_writing = true;
}

/* The only place where a connection changes its state. */
void gw_conn_enter(struct gw_conn *conn, enum gw_conn_state state)
{
    const struct gw_config *config = conn->worker->config;
    conn->state = state;
    switch (state) {
    case GW_CONN_IDLE:
        conn->scan = (struct gw_scan){0};
        if (gw_stream_unsent(conn->stream) > 0)
            watch_writing(conn);
        else
            set_timer(conn, config->keepalive_timeout_ms);
        break;
    case GW_CONN_PROXY:
    case GW_CONN_TLS:
    case GW_CONN_HEAD:
        set_timer(conn, config->head_timeout_ms);
        break;
    case GW_CONN_BUSY:
    case GW_CONN_CLOSED:
        gw_timer_stop(&conn->worker->wheel, &conn->timer);
        break;
    case GW_CONN_FLUSH:
        gw_buf_free(&conn->in);
        watch_writing(conn);
        if (!conn->must_reset)
            gw_stream_shutdown(conn->stream);
        if (gw_stream_unsent(conn->stream) == 0)
            after_flush(conn);
        break;
    case GW_CONN_LINGER:
        /* Without reading on, the kernel would answer late bytes with RST,
         * which can take the response from the client's hands. */
        set_timer(conn, LINGER_MS);
        gw_stream_again(conn->stream);
        break;
    }
}

static void after_flush(struct gw_conn *conn)
{
    if (conn->must_reset)
        gw_conn_close(conn, true);
    else
        gw_conn_enter(conn, GW_CONN_LINGER);
}

void gw_conn_close(struct gw_conn *conn, bool is_reset)
{
    struct gw_worker *worker = conn->worker;
    if (conn->state == GW_CONN_CLOSED)
        return;
    gw_conn_enter(conn, GW_CONN_CLOSED);
    gw_stream_close(&conn->stream, is_reset);
    gw_buf_free(&conn->in);
    gw_link_remove(&conn->link);
    if (conn->has_account)
        gw_accounts_close(worker->server->accounts, &conn->peer);
    gw_count_add(&worker->metrics.connections, (uint64_t)-1);
    atomic_fetch_sub_explicit(&worker->server->open_count, 1,
                              memory_order_relaxed);
    gw_worker_bury_object(worker, &conn->grave);
}

void gw_conn_reply(struct gw_conn *conn, struct gw_own_reply *reply)
{
    char text[REPLY_MAX];
    size_t len = gw_own_reply_write(reply, text, sizeof(text));
    /* The next answer must not be taken for this one. */
    if (len == 0)
        conn->closes = true;
    gw_report_reply(conn, reply, len);
    gw_stream_write(conn->stream, text, len);
}

static void refuse(struct gw_conn *conn, int status)
{
    struct gw_own_reply reply = {.status = status, .closes = true};
    gw_count(&conn->worker->metrics.bad_requests);
    if (status == 414)
        gw_count(&conn->worker->metrics.limited_request_line);
    else if (status == 431)
        gw_count(&conn->worker->metrics.limited_head);
    gw_conn_reply(conn, &reply);
    gw_conn_enter(conn, GW_CONN_FLUSH);
}

/* What follows the head is not looked at: the connection ends. */
static void redirect(struct gw_conn *conn)
{
    const struct gw_head *head = &conn->worker->head;
    struct gw_own_reply reply = {.status = 308,
                                 .closes = true,
                                 .is_head = head->is_head,
                                 .https_port = conn->https_port,
                                 .host = head->host,
                                 .target = head->target};
    if (head->host.len == 0 || head->path.len == 0) {
        refuse(conn, 400);
        return;
    }
    if (head->target.len > REPLY_MAX / 2) {
        refuse(conn, 414);
        return;
    }
    gw_conn_reply(conn, &reply);
    gw_conn_enter(conn, GW_CONN_FLUSH);
}

/* Starts on the head in bytes[0..head_len); what follows it goes to, or
 * stays in, conn->in. */
static void take_head(struct gw_conn *conn, struct eio_span bytes,
                      size_t head_len)
{
    struct gw_worker *worker = conn->worker;
    bool is_buffered = conn->in != NULL;
    int status = gw_head_parse_request((struct eio_span){bytes.ptr, head_len},
                                       &worker->head);
    if (status != 0) {
        refuse(conn, status);
        return;
    }
    gw_count(&worker->metrics.requests);
    if (conn->redirects) {
        redirect(conn);
        return;
    }
    if (!is_buffered && bytes.len > head_len &&
        !gw_buf_append(&conn->in, bytes.ptr + head_len, bytes.len - head_len)) {
        gw_conn_close(conn, true);
        return;
    }
    /* The head's bytes stay where they are until the exchange has begun, but
     * what follows must already be what conn->in starts with. */
    if (is_buffered)
        conn->in->start += head_len;
    gw_conn_enter(conn, GW_CONN_BUSY);
    gw_exchange_begin(conn);
    if (is_buffered)
        gw_buf_take(&conn->in, 0);
}

/* Looks for a request in `bytes`, which are conn->in's or the worker's read
 * buffer. */
static void take_bytes(struct gw_conn *conn, struct eio_span bytes)
{
    size_t head_len = 0;
    size_t blank = 0;
    /* An empty line or two before a request are forgiven (RFC 9112 2.2). */
    while (conn->scan.lines == 0 && bytes.len - blank >= 2 &&
           memcmp(bytes.ptr + blank, "\r\n", 2) == 0)
        blank += 2;
    if (conn->in != NULL)
        gw_buf_take(&conn->in, blank);
    bytes.ptr += blank;
    bytes.len -= blank;
    if (bytes.len == 0)
        return;
    int status =
        gw_head_scan(&conn->scan, bytes, conn->worker->config, &head_len);
    if (status != 0) {
        refuse(conn, status);
        return;
    }
    if (head_len > 0) {
        take_head(conn, bytes, head_len);
        return;
    }
    if (conn->in == NULL && !gw_buf_append(&conn->in, bytes.ptr, bytes.len)) {
        gw_conn_close(conn, true);
        return;
    }
    if (conn->state == GW_CONN_IDLE)
        gw_conn_enter(conn, GW_CONN_HEAD);
}

/* Reads once; false when there is nothing, or the connection has ended. */
static bool read_some(struct gw_conn *conn)
{
    struct gw_worker *worker = conn->worker;
    ssize_t n =
        gw_stream_read(conn->stream, worker->read_buffer, GW_READ_BUFFER_BYTES);
    if (n == GW_READ_EMPTY)
        return false;
    if (n <= 0) {
        gw_conn_close(conn, false);
        return false;
    }
    gw_count_add(&worker->metrics.bytes_from_clients, (uint64_t)n);
    struct eio_span bytes = {worker->read_buffer, (size_t)n};
    if (conn->in != NULL) {
        if (!gw_buf_append(&conn->in, bytes.ptr, bytes.len)) {
            gw_conn_close(conn, true);
            return false;
        }
        bytes = (struct eio_span){gw_buf_ptr(conn->in), gw_buf_len(conn->in)};
    }
    take_bytes(conn, bytes);
    return true;
}

/* IDLE or HEAD: looks for the next request, first in what was read already.
 * No further one is begun, nor more read, before the last answer has gone:
 * else a client that pipelines and does not read would fill our memory. */
void gw_conn_find_request(struct gw_conn *conn)
{
    if (conn->worker->is_paused)
        return; /* gw_conns_resume comes back to it */
    for (int i = 0; i < STEPS_PER_TURN; i++) {
        if ((conn->state != GW_CONN_IDLE && conn->state != GW_CONN_HEAD) ||
            gw_stream_unsent(conn->stream) > 0)
            return;
        if (conn->in != NULL && conn->state == GW_CONN_IDLE) {
            take_bytes(conn, (struct eio_span){gw_buf_ptr(conn->in),
                                               gw_buf_len(conn->in)});
        } else if (conn->stream->is_readable) {
            if (!read_some(conn))
                return;
        } else {
            if (conn->stream->is_eof)
                gw_conn_close(conn, false);
            return;
        }
    }
    gw_stream_again(conn->stream);
}

static void linger(struct gw_conn *conn)
{
    for (int i = 0; i < STEPS_PER_TURN && conn->stream->is_readable; i++) {
        ssize_t n = gw_stream_read(conn->stream, conn->worker->read_buffer,
                                   GW_READ_BUFFER_BYTES);
        if (n == GW_READ_EMPTY)
            return;
        if (n <= 0) {
            gw_conn_close(conn, false);
            return;
        }
    }
    if (conn->stream->is_eof)
        gw_conn_close(conn, false);
    else if (conn->stream->is_readable)
        gw_stream_again(conn->stream);
}

void gw_conn_on_event(struct gw_stream *stream)
{
    struct gw_conn *conn = stream->owner;
    if (stream->is_reset) {
        if (conn->exchange != NULL)
            gw_exchange_abort(conn->exchange);
        gw_conn_close(conn, false);
        return;
    }
    switch (conn->state) {
    case GW_CONN_PROXY:
        gw_conn_read_proxy(conn);
        break;
    case GW_CONN_TLS:
        gw_conn_shake_hands(conn);
        break;
    case GW_CONN_IDLE:
    case GW_CONN_HEAD:
        gw_conn_find_request(conn);
        break;
    case GW_CONN_BUSY:
        gw_exchange_on_client(conn->exchange);
        break;
    case GW_CONN_FLUSH:
        if (gw_stream_unsent(stream) == 0)
            after_flush(conn);
        break;
    case GW_CONN_LINGER:
        linger(conn);
        break;
    case GW_CONN_CLOSED:
        break;
    }
}

void gw_conn_read(struct gw_conn *conn, size_t limit)
{
    struct gw_worker *worker = conn->worker;
    while (conn->stream->is_readable && gw_buf_len(conn->in) < limit) {
        size_t room = limit - gw_buf_len(conn->in);
        if (room > GW_READ_BUFFER_BYTES)
            room = GW_READ_BUFFER_BYTES;
        ssize_t n = gw_stream_read(conn->stream, worker->read_buffer, room);
        if (n <= 0)
            return;
        gw_count_add(&worker->metrics.bytes_from_clients, (uint64_t)n);
        if (!gw_buf_append(&conn->in, worker->read_buffer, (size_t)n)) {
            conn->stream->is_reset = true;
            gw_stream_again(conn->stream);
            return;
        }
    }
}

void gw_conn_next(struct gw_conn *conn)
{
    conn->exchange = NULL;
    if (conn->closes || gw_conn_must_end(conn)) {
        gw_conn_enter(conn, GW_CONN_FLUSH);
        return;
    }
    gw_conn_enter(conn, GW_CONN_IDLE);
    if (conn->worker->phase == GW_PHASE_HANDED && gw_conn_hand_over(conn))
        return;
    /* What came during the exchange raises no new edge, a FIN neither. */
    if (conn->in != NULL || conn->stream->is_readable || conn->stream->is_eof)
        gw_stream_again(conn->stream);
}

void gw_conn_cut(struct gw_conn *conn, bool must_reset)
{
    conn->exchange = NULL;
    conn->must_reset = must_reset;
    if (conn->stream->is_corked)
        gw_stream_discard(conn->stream); /* nobody will let it go */
    gw_conn_enter(conn, GW_CONN_FLUSH);
}

struct gw_stream *gw_conn_detach(struct gw_conn *conn, struct gw_buf **in)
{
    struct gw_stream *stream = conn->stream;
    *in = conn->in;
    conn->in = NULL;
    conn->stream = NULL;
    conn->exchange = NULL;
    gw_conn_close(conn, false);
    /* the tunnel counts as open in its place */
    atomic_fetch_add_explicit(&conn->worker->server->open_count, 1,
                              memory_order_relaxed);
    return stream;
}

void gw_conn_watch_writing(struct gw_conn *conn)
{
    if (gw_stream_unsent(conn->stream) == 0 || conn->stream->is_corked)
        gw_timer_stop(&conn->worker->wheel, &conn->timer);
    else if (!gw_timer_is_running(&conn->timer))
        watch_writing(conn);
}

void gw_conn_watch_reading(struct gw_conn *conn)
{
    set_timer(conn, conn->worker->config->body_timeout_ms);
}

bool gw_conns_use(struct gw_worker *worker, const struct gw_backend *backend)
{
    for (struct gw_link *at = worker->connections.next;
         at != &worker->connections; at = at->next) {
        const struct gw_conn *conn = GW_CONTAINER(at, struct gw_conn, link);
        if (conn->exchange != NULL && conn->exchange->backend == backend)
            return true;
    }
    return false;
}

void gw_conns_drain(struct gw_worker *worker)
{
    struct gw_link *next;
    for (struct gw_link *at = worker->connections.next;
         at != &worker->connections; at = next) {
        struct gw_conn *conn = GW_CONTAINER(at, struct gw_conn, link);
        next = at->next;
        if (conn->state != GW_CONN_IDLE)
            continue;
        /* A request may be on its way up from the kernel. */
        conn->stream->is_readable = true;
        gw_conn_on_event(conn->stream);
        if (conn->state == GW_CONN_IDLE)
            gw_conn_enter(conn, GW_CONN_FLUSH);
    }
}

void gw_conns_cut(struct gw_worker *worker)
{
    while (worker->connections.next != &worker->connections) {
        struct gw_conn *conn =
            GW_CONTAINER(worker->connections.next, struct gw_conn, link);
        /* A held poll is told that its session ends, so that the client
         * comes back at once and not after its time-out. */
        if (conn->exchange != NULL &&
            !gw_exchange_close_session(conn->exchange, GW_END_SHUTDOWN))
            gw_exchange_drop(conn->exchange, false);
        gw_conn_close(conn, false);
    }
}

/* Its client may come again before it believes that it is over. */
static bool kick(struct gw_conn *conn, const struct eio_sid *sid)
{
    gw_affinity_deny(conn->worker, sid, conn->exchange->pool, GW_KICKED_MS);
    return gw_exchange_close_session(conn->exchange, GW_END_KICKED);
}

size_t gw_conns_kick(struct gw_worker *worker, const struct eio_sid *named)
{
    size_t count = 0;
    struct gw_link *at = worker->connections.next;
    while (at != &worker->connections) {
        struct gw_conn *conn = GW_CONTAINER(at, struct gw_conn, link);
        at = at->next;
        if (conn->exchange == NULL || conn->exchange->route != GW_ROUTE_SESSION)
            continue;
        const struct eio_sid *sid = &conn->exchange->query.sid;
        if (gw_shared_is_sid(worker->config,
                             (struct eio_span){sid->bytes, sid->len}, named))
            count += kick(conn, sid);
    }
    return count;
}
