/* SPDX-License-Identifier: MIT */
/*
 * A websocket after its 101: opaque bytes both ways. Two frame cursors follow
 * the frame headers without touching the bytes, so that sidgate knows whether
 * an upgrade succeeded and can end the session between two frames.
 *
 *   OPEN     bytes flow
 *   CLOSING  a close frame went, or will at the next frame boundary, to the
 *            client; the backend's further bytes are dropped, the client's
 *            answer is passed on
 *   ENDING   one end is gone; what is in flight is delivered
 *   CLOSED
 */
#ifndef SIDGATE_GATEWAY_TUNNEL_H
#define SIDGATE_GATEWAY_TUNNEL_H

#include "gateway/affinity.h"
#include "gateway/stream.h"

struct gw_tunnel_about {
    struct gw_backend *backend;
    struct gw_session session;
    struct gw_peer peer;
    bool is_handshake; /* a websocket-only session begins with it */
    bool is_session;   /* it carries the sid of a polling session */
    bool has_client_fin;
    bool has_account; /* counted for its peer: now the tunnel's */
    uint8_t eio;
    const struct eio_sid *sid; /* copied */
    struct gw_stream *client_stream;
    struct gw_stream *backend_stream;
    struct gw_buf *client_bytes;   /* came early; taken over */
    struct eio_span backend_bytes; /* came with the 101 */
};

/* Takes the streams over. */
void gw_tunnel_open(struct gw_worker *worker, struct gw_tunnel_about *about);

/* Ends the tunnels of this session with a close frame 1008. Their number. */
size_t gw_tunnels_kick(struct gw_worker *worker, const struct eio_sid *named);

/* Ends up to `max` sessions of this backend with a close frame 1001; counts
 * the others into *left unless that is NULL. How many it ended. */
size_t gw_tunnels_close_backend(struct gw_worker *worker,
                                const struct gw_backend *backend, size_t max,
                                size_t *left);

/* Has the records of some of them say what went through; called ten times a
 * second it comes to each of 100,000 within ten. */
void gw_tunnels_account(struct gw_worker *worker);

/* Whether one of them leads to this backend. */
bool gw_tunnels_use(struct gw_worker *worker, const struct gw_backend *backend);

/* Shutdown: every websocket gets a close frame 1001, at the configured
 * rate. */
void gw_tunnels_drain(struct gw_worker *worker);
void gw_tunnels_cut(struct gw_worker *worker);

#endif
