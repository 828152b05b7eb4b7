/* SPDX-License-Identifier: MIT */
/* What an operator wants of a backend, as text: "ready", or "drain" and
 * perhaps "rate=20" and "timeout=10m" behind it, in any order. */
#ifndef SIDGATE_GATEWAY_DRAIN_WISH_H
#define SIDGATE_GATEWAY_DRAIN_WISH_H

#include "gateway/backend.h"

enum { GW_DRAIN_TEXT_MAX = 64 };

/* Reads what follows "drain " (may be ""). False when there is anything else:
 * then it is a plain drain. */
bool gw_drain_wish_read(const char *text, struct gw_drain_wish *wish);

void gw_drain_wish_write(const struct gw_drain_wish *wish,
                         char out[GW_DRAIN_TEXT_MAX]);

bool gw_drain_wish_is_same(const struct gw_drain_wish *a,
                           const struct gw_drain_wish *b);

#endif
