/* SPDX-License-Identifier: MIT */
/* What the parts of the tunnel share. Not for others. */
#ifndef SIDGATE_GATEWAY_TUNNEL_PRIVATE_H
#define SIDGATE_GATEWAY_TUNNEL_PRIVATE_H

#include "eio/frame.h"
#include "gateway/tunnel.h"
#include "gateway/worker.h"

enum tunnel_state {
    TUNNEL_OPEN,
    TUNNEL_CLOSING,
    TUNNEL_ENDING,
    TUNNEL_CLOSED,
};

/* What a websocket-only session needs until it is bound. */
struct ws_binding {
    struct gw_bind bind;
    struct gw_peer peer;
};

/* Every idle client costs one of these and two streams: keep it small. */
struct tunnel {
    struct gw_grave grave;
    struct gw_link link;
    struct gw_worker *worker;
    struct gw_backend *backend;
    struct gw_stream *client;
    struct gw_stream *server;
    struct eio_frame_cursor up;   /* from the client */
    struct eio_frame_cursor down; /* from the backend */
    uint64_t in_bytes;            /* from the client, not yet told; likewise */
    uint64_t out_bytes;
    struct gw_timer timer;
    struct gw_buf *first; /* of a websocket-only session's first frame */
    struct ws_binding *binding;
    char *sid;               /* NULL: none known */
    struct gw_peer *account; /* NULL: not counted for its address */
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;
    uint32_t taken_mark;  /* bytes taken when the timer was started */
    uint32_t touch_due_s; /* of the worker's clock */
    uint16_t close_code;  /* still to be sent at a frame boundary */
    uint16_t sid_len;
    uint8_t state;
    uint8_t eio;
    uint8_t cause; /* enum gw_end, once there is one */
    bool has_cause;
    bool is_upgrade;  /* carries a polling session's sid */
    bool is_own;      /* the session lives and ends with this tunnel */
    bool is_learning; /* its first frame is awaited */
    bool was_reset;
    bool is_moving;  /* to the new process of an upgrade */
    bool is_watched; /* OPEN's timer waits for a slow client, not to touch */
};

/* Another process has it now: nothing of it is ended. */
void gw_tunnel_forget(struct tunnel *tunnel);

/* Another process had it; `account` (may be NULL) is whom it counts for. */
void gw_tunnel_resume(struct tunnel *tunnel, const struct gw_peer *account);

/* Ends the session with a close frame towards the client. */
void gw_tunnel_close(struct tunnel *tunnel, uint16_t code, enum gw_end cause);

/* Closes both ends at once. */
void gw_tunnel_cut(struct tunnel *tunnel);

/* The session is over, if it is this tunnel's. */
void gw_tunnel_unbind(struct tunnel *tunnel);

/* What ends it, unless something did before. */
static inline void gw_tunnel_blame(struct tunnel *tunnel, enum gw_end cause)
{
    if (tunnel->has_cause)
        return;
    tunnel->has_cause = true;
    tunnel->cause = (uint8_t)cause;
}

/* tunnel_account.c: has the session's record say what went through. */
void gw_tunnel_account(struct tunnel *tunnel);

/* False when memory is short. */
bool gw_tunnel_keep_sid(struct tunnel *tunnel, const struct eio_sid *sid);

/* tunnel_learn.c: a piece of what the backend says, as long as the tunnel
 * is_learning. */
void gw_tunnel_learn(struct tunnel *tunnel, struct eio_span bytes);
void gw_tunnel_free_binding(struct tunnel *tunnel);

#endif
