/* SPDX-License-Identifier: MIT */
/* A client connection before its first request: limits, PROXY header, TLS. */
#include "gateway/accounts.h"
#include "gateway/conn.h"
#include "gateway/forwarded.h"
#include "gateway/log.h"
#include "gateway/proxy.h"
#include "gateway/tls.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

/* Its address is known now. Whoever has too many connections already is told
 * so where words are possible, without being waited for. */
static void admit(struct gw_conn *conn)
{
    struct gw_worker *worker = conn->worker;
    struct gw_accounts *accounts = worker->server->accounts;
    struct gw_own_reply reply = {.status = 429, .closes = true, .retry_s = 1};
    if (accounts != NULL && !gw_peer_is_trusted(worker->config, &conn->peer)) {
        conn->has_account = gw_accounts_open(accounts, &conn->peer);
        if (!conn->has_account) {
            gw_count(&worker->metrics.limited_address_connections);
            if (!conn->is_tls)
                gw_conn_reply(conn, &reply);
            gw_stream_shutdown(conn->stream);
            gw_stream_read(conn->stream, worker->read_buffer,
                           GW_READ_BUFFER_BYTES);
            gw_conn_close(conn, false);
            return;
        }
    }
    if (!conn->is_tls) {
        gw_conn_enter(conn, GW_CONN_IDLE);
        return;
    }
    SSL *ssl = gw_tls_accept(worker->server->tls);
    if (ssl == NULL || !gw_stream_secure(conn->stream, ssl, false)) {
        gw_conn_close(conn, true);
        return;
    }
    gw_conn_enter(conn, GW_CONN_TLS);
}

static struct gw_conn *conn_new(struct gw_worker *worker,
                                struct gw_stream *stream,
                                const struct gw_peer *peer,
                                const struct gw_listen_config *listen)
{
    struct gw_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        atomic_fetch_sub_explicit(&worker->server->open_count, 1,
                                  memory_order_relaxed);
        gw_count(&worker->metrics.accept_errors);
        gw_stream_close(&stream, true);
        return NULL;
    }
    stream->on_event = gw_conn_on_event;
    stream->owner = conn;
    conn->worker = worker;
    conn->stream = stream;
    conn->peer = *peer;
    conn->is_tls = listen->is_tls;
    conn->redirects = listen->redirects;
    conn->https_port = listen->https_port;
    gw_link_init(&conn->link);
    gw_link_add(&worker->connections, &conn->link);
    gw_count(&worker->metrics.connections);
    return conn;
}

struct gw_conn *gw_conn_resume(struct gw_worker *worker,
                               struct gw_stream *stream,
                               const struct gw_peer *peer,
                               const struct gw_listen_config *listen)
{
    atomic_fetch_add_explicit(&worker->server->open_count, 1,
                              memory_order_relaxed);
    return conn_new(worker, stream, peer, listen);
}

void gw_conn_open(struct gw_worker *worker, int fd, const struct gw_peer *peer,
                  const struct gw_listen_config *listen)
{
    struct gw_stream *stream =
        gw_stream_new(worker, fd, gw_conn_on_event, NULL);
    if (stream == NULL) {
        atomic_fetch_sub_explicit(&worker->server->open_count, 1,
                                  memory_order_relaxed);
        gw_count(&worker->metrics.accept_errors);
        return;
    }
    struct gw_conn *conn = conn_new(worker, stream, peer, listen);
    if (conn == NULL)
        return;
    stream->is_writable = true;
    if (!listen->has_proxy) {
        admit(conn);
    } else if (gw_peer_is_trusted(worker->config, peer)) {
        gw_conn_enter(conn, GW_CONN_PROXY);
    } else {
        /* No limit for its address holds here, so it is not waited for. */
        gw_count(&worker->metrics.proxy_failures);
        gw_conn_close(conn, false);
    }
}

/* One that has come so far while the gateway stops may send what it came for,
 * if it does so now. */
static void begin(struct gw_conn *conn)
{
    gw_conn_find_request(conn);
    if (conn->state == GW_CONN_IDLE && conn->worker->phase >= GW_PHASE_DRAINING)
        gw_conn_enter(conn, GW_CONN_FLUSH);
}

/* The header stays in the kernel until it is whole: what follows it may be
 * TLS, which is not ours to read. */
void gw_conn_read_proxy(struct gw_conn *conn)
{
    struct gw_worker *worker = conn->worker;
    struct gw_peer peer = conn->peer;
    bool has_peer = false;
    size_t len = 0;
    ssize_t n =
        gw_stream_peek(conn->stream, worker->read_buffer, GW_PROXY_HEAD_MAX);
    if (n == GW_READ_EMPTY)
        return;
    struct eio_span bytes = {worker->read_buffer, n > 0 ? (size_t)n : 0};
    enum gw_proxy_result result = GW_PROXY_BAD;
    if (n > 0)
        result = gw_proxy_parse(bytes, &peer, &has_peer, &len);
    if (result == GW_PROXY_MORE && !conn->stream->has_rdhup) {
        conn->stream->is_readable = false;
        return;
    }
    if (result != GW_PROXY_DONE || !gw_stream_skip(conn->stream, len)) {
        gw_count(&worker->metrics.proxy_failures);
        gw_conn_close(conn, true);
        return;
    }
    if (has_peer)
        conn->peer = peer;
    conn->is_nameless = !has_peer;
    admit(conn);
    if (conn->state == GW_CONN_IDLE)
        begin(conn);
    else if (conn->state == GW_CONN_TLS)
        gw_stream_again(conn->stream);
}

void gw_conn_shake_hands(struct gw_conn *conn)
{
    struct gw_worker *worker = conn->worker;
    char address[INET6_ADDRSTRLEN];
    char why[160] = "";
    if (worker->handshakes_left == 0) {
        gw_stream_again(conn->stream);
        return;
    }
    worker->handshakes_left--;
    switch (gw_stream_handshake(conn->stream, why, sizeof(why))) {
    case GW_HANDSHAKE_PENDING:
        return;
    case GW_HANDSHAKE_FAILED:
        gw_count(&worker->metrics.tls_failures);
        gw_peer_text(&conn->peer, address, sizeof(address));
        gw_log(GW_LOG_DEBUG, "tls_handshake_failed", "client", address, "why",
               why);
        gw_conn_enter(conn, GW_CONN_FLUSH);
        return;
    case GW_HANDSHAKE_DONE:
        break;
    }
    gw_count(&worker->metrics.tls_handshakes);
    if (gw_stream_was_resumed(conn->stream))
        gw_count(&worker->metrics.tls_resumed);
    gw_conn_enter(conn, GW_CONN_IDLE);
    begin(conn);
}
