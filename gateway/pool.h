/* SPDX-License-Identifier: MIT */
/* Which pool a request is for, and which pool's backends may have its
 * session. */
#ifndef SIDGATE_GATEWAY_POOL_H
#define SIDGATE_GATEWAY_POOL_H

#include "gateway/backend.h"
#include "gateway/head.h"

/* The pool with the most exact host and then the longest path; *is_eio: that
 * path is one of Engine.IO. False: there is none. */
bool gw_pool_find(const struct gw_config *config, const struct gw_head *head,
                  uint8_t *pool, bool *is_eio);

/* Whether the path, as it is or decoded, is one of Engine.IO in some pool. */
bool gw_pool_is_eio(const struct gw_config *config, struct eio_span path);

/* Whether the backend has sessions of this pool's clients: it is the pool's, or
 * of the one that the pool gives handshakes to, or of one that it admits. */
bool gw_pool_has(const struct gw_config *config, uint8_t pool,
                 const struct gw_backend *backend);

/* The pool that a handshake for `pool` goes to: itself or its canary. `chance`
 * is any number by chance. */
uint8_t gw_pool_target(const struct gw_config *config, uint8_t pool,
                       const struct gw_head *head, uint32_t chance);

/* Another configuration, with the pools of the one before in the same places
 * (those with no name: nobody's): where a host, a path or a canary is another
 * pool's now, that one admits the sessions which began before. */
void gw_pools_admit(struct gw_config *config,
                    const struct gw_pool_config was[GW_POOL_COUNT_MAX]);

/* Whether a request can be for either, by its host and its Engine.IO path. */
bool gw_pools_meet(const struct gw_pool_config *a,
                   const struct gw_pool_config *b);

/* The same for pools with the same name, hosts and paths in this order. */
uint64_t gw_pool_route_hash(const struct gw_pool_config *pool);

#endif
