/* SPDX-License-Identifier: MIT */
/* A tunnel's way from one process to another, with everything that it knows. */
#include "gateway/accounts.h"
#include "gateway/handover.h"
#include "gateway/move.h"
#include "gateway/tunnel_private.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    IS_UPGRADE = 1,
    IS_OWN = 2,
    IS_LEARNING = 4,
    HAS_ACCOUNT = 8,
};

/* Of a cursor. */
enum {
    SAW_CLOSE = 1,
    IS_BROKEN = 2,
    HAS_RESERVED = 4,
};

/* ---- in the old process ---- */

/* One that ends, or that waits for the store's word, stays where it is: both
 * take no more than seconds. */
static bool is_movable(const struct tunnel *tunnel)
{
    size_t waiting = gw_stream_unsent(tunnel->client) +
                     gw_stream_unsent(tunnel->server) +
                     gw_buf_len(tunnel->first);
    return tunnel->state == TUNNEL_OPEN && tunnel->client->secure == NULL &&
           tunnel->server->secure == NULL && !tunnel->client->is_reset &&
           !tunnel->server->is_reset && waiting < GW_MESSAGE_MAX - 4096 &&
           (tunnel->binding == NULL || tunnel->binding->bind.worker == NULL);
}

static void pack_cursor(struct gw_pack *pack,
                        const struct eio_frame_cursor *cursor)
{
    unsigned marks = (cursor->saw_close ? SAW_CLOSE : 0) |
                     (cursor->is_broken ? IS_BROKEN : 0) |
                     (cursor->has_reserved ? HAS_RESERVED : 0);
    const uint8_t bytes[] = {cursor->state, cursor->extra_left, cursor->flags,
                             cursor->data_frames, (uint8_t)marks};
    gw_pack_number(pack, cursor->payload_left);
    gw_pack_raw(pack, bytes, sizeof(bytes));
}

static void pack_tunnel(const struct tunnel *tunnel, struct gw_pack *pack)
{
    int64_t now_s = tunnel->worker->now_ms / 1000;
    int64_t due_s = (int64_t)tunnel->touch_due_s - now_s;
    uint64_t flags = (tunnel->is_upgrade ? IS_UPGRADE : 0) |
                     (tunnel->is_own ? IS_OWN : 0) |
                     (tunnel->is_learning ? IS_LEARNING : 0) |
                     (tunnel->account != NULL ? HAS_ACCOUNT : 0);
    struct gw_peer none = {0};
    gw_pack_number(pack, tunnel->backend->index);
    gw_pack_number(pack, flags);
    gw_pack_number(pack, tunnel->eio);
    gw_pack_number(pack, tunnel->ping_interval_ms);
    gw_pack_number(pack, tunnel->ping_timeout_ms);
    gw_pack_number(pack, due_s > 0 ? (uint64_t)due_s : 0);
    gw_pack_span(pack, tunnel->sid, tunnel->sid != NULL ? tunnel->sid_len : 0);
    pack_cursor(pack, &tunnel->up);
    pack_cursor(pack, &tunnel->down);
    gw_move_pack_peer(pack, tunnel->account ? tunnel->account : &none);
    gw_move_pack_peer(pack, tunnel->binding ? &tunnel->binding->peer : &none);
    gw_pack_number(pack, tunnel->in_bytes);
    gw_pack_number(pack, tunnel->out_bytes);
    gw_move_pack_buf(pack, tunnel->first);
    gw_move_pack_stream(pack, tunnel->client);
    gw_move_pack_stream(pack, tunnel->server);
}

void gw_tunnels_pack(struct gw_worker *worker, struct gw_bundle *bundle)
{
    struct gw_pack body = {0};
    for (struct gw_link *at = worker->tunnels.next; at != &worker->tunnels;
         at = at->next) {
        struct tunnel *tunnel = GW_CONTAINER(at, struct tunnel, link);
        tunnel->is_moving = is_movable(tunnel);
        if (!tunnel->is_moving)
            continue;
        struct gw_message message = {
            .type = GW_MESSAGE_TUNNEL,
            .fds = {tunnel->client->fd, tunnel->server->fd},
            .fd_count = 2};
        pack_tunnel(tunnel, &body);
        gw_bundle_add(bundle, &message, &body);
    }
    gw_pack_free(&body);
}

void gw_tunnels_release(struct gw_worker *worker)
{
    struct gw_link *next;
    for (struct gw_link *at = worker->tunnels.next; at != &worker->tunnels;
         at = next) {
        struct tunnel *tunnel = GW_CONTAINER(at, struct tunnel, link);
        next = at->next;
        if (tunnel->is_moving)
            gw_tunnel_forget(tunnel);
    }
}

/* ---- in the new process ---- */

static struct gw_stream *open_stream(struct gw_worker *worker, int *fd,
                                     struct gw_unpack *unpack)
{
    struct gw_stream *stream = gw_move_open_stream(worker, *fd, unpack);
    *fd = -1;
    return stream;
}

static void unpack_cursor(struct gw_unpack *unpack,
                          struct eio_frame_cursor *cursor)
{
    uint8_t bytes[5];
    cursor->payload_left = gw_unpack_number(unpack);
    gw_unpack_raw(unpack, bytes, sizeof(bytes));
    cursor->state = bytes[0];
    cursor->extra_left = bytes[1];
    cursor->flags = bytes[2];
    cursor->data_frames = bytes[3];
    cursor->saw_close = (bytes[4] & SAW_CLOSE) != 0;
    cursor->is_broken = (bytes[4] & IS_BROKEN) != 0;
    cursor->has_reserved = (bytes[4] & HAS_RESERVED) != 0;
}

static void unpack_tunnel(struct tunnel *tunnel, struct gw_unpack *unpack,
                          struct gw_peer *account, uint64_t *flags)
{
    struct eio_sid sid;
    struct gw_peer peer;
    *flags = gw_unpack_number(unpack);
    tunnel->eio = (uint8_t)gw_unpack_number(unpack);
    tunnel->ping_interval_ms = (uint32_t)gw_unpack_number(unpack);
    tunnel->ping_timeout_ms = (uint32_t)gw_unpack_number(unpack);
    tunnel->touch_due_s = (uint32_t)((uint64_t)tunnel->worker->now_ms / 1000 +
                                     gw_unpack_number(unpack));
    struct eio_span text = gw_unpack_span(unpack);
    unpack_cursor(unpack, &tunnel->up);
    unpack_cursor(unpack, &tunnel->down);
    gw_move_unpack_peer(unpack, account);
    gw_move_unpack_peer(unpack, &peer);
    tunnel->in_bytes = gw_unpack_number(unpack);
    tunnel->out_bytes = gw_unpack_number(unpack);
    gw_move_unpack_buf(unpack, &tunnel->first);
    tunnel->is_upgrade = (*flags & IS_UPGRADE) != 0;
    tunnel->is_own = (*flags & IS_OWN) != 0;
    tunnel->is_learning = (*flags & IS_LEARNING) != 0;
    if (tunnel->is_learning) {
        tunnel->binding = calloc(1, sizeof(*tunnel->binding));
        unpack->has_failed |= tunnel->binding == NULL;
    }
    if (tunnel->binding != NULL)
        tunnel->binding->peer = peer;
    if (text.len > sizeof(sid.bytes)) {
        unpack->has_failed = true;
        return;
    }
    sid.len = (uint16_t)text.len;
    memcpy(sid.bytes, text.ptr, text.len);
    if (sid.len > 0)
        unpack->has_failed |= !gw_tunnel_keep_sid(tunnel, &sid);
}

bool gw_tunnel_take(struct gw_worker *worker, struct gw_move_places *places,
                    struct gw_message *message)
{
    struct gw_unpack unpack = {message->bytes, message->bytes + message->len,
                               message->fd_count != 2};
    struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
    struct gw_peer account;
    uint64_t flags = 0;
    if (tunnel == NULL) {
        gw_message_close_fds(message);
        return false;
    }
    tunnel->worker = worker;
    tunnel->backend = gw_move_backend(places, gw_unpack_number(&unpack));
    unpack_tunnel(tunnel, &unpack, &account, &flags);
    if (!unpack.has_failed && tunnel->backend != NULL) {
        tunnel->client = open_stream(worker, &message->fds[0], &unpack);
        tunnel->server = open_stream(worker, &message->fds[1], &unpack);
    }
    if (tunnel->client != NULL && tunnel->server != NULL) {
        gw_tunnel_resume(tunnel, (flags & HAS_ACCOUNT) ? &account : NULL);
        return true;
    }
    gw_stream_close(&tunnel->client, false);
    gw_stream_close(&tunnel->server, false);
    for (size_t i = 0; i < message->fd_count; i++)
        if (message->fds[i] >= 0)
            close(message->fds[i]);
    gw_buf_free(&tunnel->first);
    free(tunnel->binding);
    free(tunnel->sid);
    free(tunnel);
    return false;
}
