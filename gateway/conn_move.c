/* SPDX-License-Identifier: MIT */
/* A client connection's way from one process to another, between requests. */
#include "gateway/accounts.h"
#include "gateway/conn.h"
#include "gateway/move.h"
#include "gateway/upgrade.h"

#include <stdlib.h>

enum {
    REDIRECTS = 1,
    IS_NAMELESS = 2,
    HAS_ACCOUNT = 4,
};

static bool is_movable(const struct gw_conn *conn)
{
    return (conn->state == GW_CONN_IDLE || conn->state == GW_CONN_HEAD) &&
           conn->exchange == NULL && !conn->is_tls && !conn->closes &&
           !conn->stream->is_reset && !conn->stream->is_eof &&
           gw_stream_unsent(conn->stream) + gw_buf_len(conn->in) <
               GW_MESSAGE_MAX - 4096;
}

static void pack_conn(struct gw_conn *conn, struct gw_bundle *bundle,
                      struct gw_pack *body)
{
    struct gw_message message = {.type = GW_MESSAGE_CONNECTION,
                                 .fds = {conn->stream->fd},
                                 .fd_count = 1};
    gw_pack_number(body, (conn->redirects ? REDIRECTS : 0) |
                             (conn->is_nameless ? IS_NAMELESS : 0) |
                             (conn->has_account ? HAS_ACCOUNT : 0));
    gw_pack_number(body, conn->https_port);
    gw_pack_number(body, conn->requests);
    gw_move_pack_peer(body, &conn->peer);
    gw_move_pack_buf(body, conn->in);
    gw_move_pack_stream(body, conn->stream);
    gw_bundle_add(bundle, &message, body);
}

void gw_conns_pack(struct gw_worker *worker, struct gw_bundle *bundle)
{
    struct gw_pack body = {0};
    for (struct gw_link *at = worker->connections.next;
         at != &worker->connections; at = at->next) {
        struct gw_conn *conn = GW_CONTAINER(at, struct gw_conn, link);
        conn->is_moving = is_movable(conn);
        if (conn->is_moving)
            pack_conn(conn, bundle, &body);
    }
    gw_pack_free(&body);
}

static void release(struct gw_conn *conn)
{
    gw_move_release_stream(&conn->stream);
    gw_conn_close(conn, false);
}

void gw_conns_release(struct gw_worker *worker)
{
    struct gw_link *next;
    for (struct gw_link *at = worker->connections.next;
         at != &worker->connections; at = next) {
        struct gw_conn *conn = GW_CONTAINER(at, struct gw_conn, link);
        next = at->next;
        if (conn->is_moving)
            release(conn);
    }
}

void gw_conns_resume(struct gw_worker *worker)
{
    for (struct gw_link *at = worker->connections.next;
         at != &worker->connections; at = at->next)
        gw_stream_again(GW_CONTAINER(at, struct gw_conn, link)->stream);
}

bool gw_conn_hand_over(struct gw_conn *conn)
{
    struct gw_bundle bundle = {0};
    struct gw_pack body = {0};
    if (!is_movable(conn))
        return false;
    pack_conn(conn, &bundle, &body);
    gw_pack_free(&body);
    if (!gw_late_send(conn->worker->server, &bundle))
        return false;
    release(conn);
    return true;
}

bool gw_conn_take(struct gw_worker *worker, struct gw_message *message)
{
    struct gw_unpack unpack = {message->bytes, message->bytes + message->len,
                               message->fd_count != 1};
    struct gw_listen_config listen = {0};
    struct gw_peer peer;
    struct gw_buf *in = NULL;
    uint64_t flags = gw_unpack_number(&unpack);
    listen.https_port = (uint16_t)gw_unpack_number(&unpack);
    listen.redirects = (flags & REDIRECTS) != 0;
    uint64_t requests = gw_unpack_number(&unpack);
    gw_move_unpack_peer(&unpack, &peer);
    gw_move_unpack_buf(&unpack, &in);
    struct gw_stream *stream = NULL;
    if (!unpack.has_failed) {
        stream = gw_move_open_stream(worker, message->fds[0], &unpack);
        message->fd_count = 0;
    }
    gw_message_close_fds(message);
    struct gw_conn *conn =
        stream != NULL ? gw_conn_resume(worker, stream, &peer, &listen) : NULL;
    if (conn == NULL) {
        gw_buf_free(&in);
        return false;
    }
    conn->is_nameless = (flags & IS_NAMELESS) != 0;
    conn->requests = (uint32_t)requests;
    conn->in = in;
    if (flags & HAS_ACCOUNT)
        conn->has_account = gw_accounts_open(worker->server->accounts, &peer);
    gw_conn_enter(conn, GW_CONN_IDLE);
    gw_stream_again(stream);
    return true;
}
