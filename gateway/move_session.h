/* SPDX-License-Identifier: MIT */
/* Backends' states and sessions as messages of an upgrade. */
#ifndef SIDGATE_GATEWAY_MOVE_SESSION_H
#define SIDGATE_GATEWAY_MOVE_SESSION_H

#include "gateway/move.h"
#include "gateway/server.h"

/* All of them, each as a message, until `until_ms`. */
bool gw_move_send_backends(struct gw_server *server, int fd, int64_t until_ms);
bool gw_move_send_sessions(struct gw_server *server, int fd, int64_t until_ms);

/* False with one line in `error` when it cannot be taken. */
bool gw_move_take_backend(struct gw_server *server,
                          struct gw_move_places *places,
                          struct gw_unpack *unpack, char error[256]);
/* False: one of them cannot be read. */
bool gw_move_take_sessions(struct gw_server *server, struct gw_unpack *unpack);

/* One session: key, record, life, whether the shared store has it, and what
 * went through (NULL: nothing that the other process does not know). */
void gw_move_pack_session(struct gw_pack *pack, struct store_key key,
                          const struct store_record *record, int64_t life_ms,
                          bool is_written, const struct store_traffic *traffic);
struct gw_moved_session {
    char key[STORE_KEY_MAX];
    size_t key_len;
    struct store_record record;
    int64_t life_ms;
    bool is_written;
    struct store_traffic traffic;
};
bool gw_move_unpack_session(struct gw_unpack *unpack,
                            struct gw_moved_session *session);
void gw_move_keep_session(struct gw_server *server,
                          const struct gw_moved_session *session);

#endif
