/* SPDX-License-Identifier: MIT */
/*
 * Passive ejection: a backend whose connects fail, or that answers handshakes
 * with 5xx, gets no new sessions for a while. Only handshakes are judged, and
 * nothing that a client can bring about counts: a 5xx does only if several
 * clients in a row got one and another backend of the pool has answered well
 * since the row began. It concerns handshakes alone; no session is unbound.
 */
#ifndef SIDGATE_GATEWAY_EJECT_H
#define SIDGATE_GATEWAY_EJECT_H

#include "gateway/backend.h"
#include "gateway/peer.h"

struct gw_worker;

/* A handshake's connect failed (not for want of something of our own). */
void gw_eject_note_connect(struct gw_worker *worker,
                           struct gw_backend *backend);

/* A handshake of `peer` was answered with this status. */
void gw_eject_note_status(struct gw_worker *worker, struct gw_backend *backend,
                          int status, const struct gw_peer *peer);

/* Until its time is over. */
bool gw_eject_is(const struct gw_backend *backend, int64_t now_ms);

/* The same, and the first who finds that it is over lets it in again: with
 * slow start, for it may have come up just now. */
bool gw_eject_look(struct gw_backend *backend, int64_t now_ms);

/* An active check found it well: it is let in again at once. Any thread. */
void gw_eject_clear(struct gw_backend *backend);

#endif
