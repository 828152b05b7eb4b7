/* SPDX-License-Identifier: MIT */
/*
 * What an upgrade takes from one process to the next: streams, tunnels, client
 * connections. The old process packs them while its workers stand still, and
 * lets go of them once the new one says that it has them.
 */
#ifndef SIDGATE_GATEWAY_MOVE_H
#define SIDGATE_GATEWAY_MOVE_H

#include "gateway/backend.h"
#include "gateway/handover.h"
#include "gateway/stream.h"

struct gw_conn;
struct gw_peer;

/* The new process's backends, by the places that they had in the old one. */
struct gw_move_places {
    struct gw_backend *backends[GW_BACKEND_COUNT_MAX];
};

static inline struct gw_backend *gw_move_backend(struct gw_move_places *places,
                                                 uint64_t index)
{
    return index < GW_BACKEND_COUNT_MAX ? places->backends[index] : NULL;
}

void gw_move_pack_buf(struct gw_pack *pack, const struct gw_buf *buf);
void gw_move_unpack_buf(struct gw_unpack *unpack, struct gw_buf **buf);
void gw_move_pack_peer(struct gw_pack *pack, const struct gw_peer *peer);
void gw_move_unpack_peer(struct gw_unpack *unpack, struct gw_peer *peer);
void gw_move_pack_stream(struct gw_pack *pack, const struct gw_stream *stream);
/* Takes `fd` over, in any case. NULL when the message is broken or memory is
 * short. It has neither owner nor on_event yet. */
struct gw_stream *gw_move_open_stream(struct gw_worker *worker, int fd,
                                      struct gw_unpack *unpack);

/* Takes the stream off epoll and closes its descriptor here; the socket lives
 * on in the other process. */
void gw_move_release_stream(struct gw_stream **stream);

/* tunnel_move.c, conn_move.c: adds those that can go to the bundle, and marks
 * them; lets go of the marked ones. In the worker's thread. */
void gw_tunnels_pack(struct gw_worker *worker, struct gw_bundle *bundle);
void gw_tunnels_release(struct gw_worker *worker);
void gw_conns_pack(struct gw_worker *worker, struct gw_bundle *bundle);
void gw_conns_release(struct gw_worker *worker);

/* One connection that has become idle: it goes at once. False: it cannot. */
bool gw_conn_hand_over(struct gw_conn *conn);

/* In the new process: before the worker's thread runs, or in it. The message's
 * descriptors are taken in any case. False when it makes no sense or memory is
 * short. */
bool gw_tunnel_take(struct gw_worker *worker, struct gw_move_places *places,
                    struct gw_message *message);
bool gw_conn_take(struct gw_worker *worker, struct gw_message *message);

#endif
