/* SPDX-License-Identifier: MIT */
/*
 * Sids that every live backend has denied a moment ago, or that an operator
 * has kicked: they are answered with code 1 without asking anybody. A table of
 * fixed size in which the newer takes the older's place; all workers share it
 * without a lock.
 */
#ifndef SIDGATE_GATEWAY_DENIED_H
#define SIDGATE_GATEWAY_DENIED_H

#include "eio/query.h"

struct gw_denied;

/* NULL when memory is short or the system has no randomness. */
struct gw_denied *gw_denied_new(void);
void gw_denied_free(struct gw_denied *denied);

enum { GW_KICKED_MS = 60000 }; /* how long a kicked one is denied */

/* For up to an hour. */
void gw_denied_add(struct gw_denied *denied, const struct eio_sid *sid,
                   int64_t now_ms, int64_t life_ms);
bool gw_denied_has(struct gw_denied *denied, const struct eio_sid *sid,
                   int64_t now_ms);
/* The sid is bound now. */
void gw_denied_erase(struct gw_denied *denied, const struct eio_sid *sid);

#endif
