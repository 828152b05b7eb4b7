/* SPDX-License-Identifier: MIT */
/* The choice of a backend for a handshake. */
#ifndef SIDGATE_GATEWAY_BALANCE_H
#define SIDGATE_GATEWAY_BALANCE_H

#include "eio/span.h"
#include "gateway/backend.h"
#include "gateway/head.h"

struct gw_worker;
struct gw_rings;

/* The hash rings of a worker, made when they are first needed and anew when
 * backends come or go (gw_backends.generation) or the configuration changes.
 * NULL when memory is short. */
struct gw_rings *gw_rings_new(void);
void gw_rings_free(struct gw_rings *rings);

/* The configuration is another one: all rings are made anew. */
void gw_rings_reset(struct gw_rings *rings);

struct gw_choice {
    uint8_t pool;
    bool is_handshake; /* false: any request; no limits of sessions, no slow
                          start */
    uint64_t hash;     /* of the key; for GW_BALANCE_HASH */
    const struct gw_backend_set *tried;
    bool is_full; /* out, with NULL: there is one that could take it but
                     for its limit of sessions */
};

/* By the pool's balance, among its LIVE backends that are not in `tried`,
 * neither drained nor unknown to another replica (unless all are) nor full.
 * Those that are down, ejected or refused a connection within the last second
 * are taken only when there is no other. One in slow start takes part in as
 * great a share of the choices as is over of its time, unless no other is left.
 * NULL when there is none. */
struct gw_backend *gw_balance_choose(struct gw_worker *worker,
                                     struct gw_choice *choice);

/* The key of a handshake, hashed: as pool->hash_key says, or the client's
 * address where the request has none. The same in every replica and process.
 */
uint64_t gw_balance_hash(const struct gw_pool_config *pool,
                         const struct gw_head *head,
                         const struct gw_peer *peer);

/* How much of `slow_start_ms` is over, 0 to 65536. */
uint32_t gw_balance_ramp(const struct gw_backend *backend,
                         uint32_t slow_start_ms, int64_t now_ms);

#endif
