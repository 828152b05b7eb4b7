/* SPDX-License-Identifier: MIT */
/*
 * netty-socketio gives a client that comes back the session id that it names
 * in a field or cookie called `io`, on whichever node the handshake arrives.
 */
#ifndef SIDGATE_GATEWAY_HINT_H
#define SIDGATE_GATEWAY_HINT_H

#include "eio/query.h"
#include "gateway/head.h"

/* The sid that a handshake will get; false when it names none. */
bool gw_hint_find(const struct gw_head *head, struct eio_sid *out);

#endif
