/* SPDX-License-Identifier: MIT */
/* What a request is, from its head alone: a pure decision. */
#ifndef SIDGATE_GATEWAY_ROUTE_H
#define SIDGATE_GATEWAY_ROUTE_H

#include "eio/query.h"
#include "gateway/head.h"

enum gw_route {
    GW_ROUTE_LOCAL,   /* OPTIONS *: sidgate answers */
    GW_ROUTE_HEALTHZ, /* and so it does here, if the configuration says so */
    GW_ROUTE_READYZ,
    GW_ROUTE_NOWHERE,   /* no pool is for this host and path: 404 */
    GW_ROUTE_PLAIN,     /* any backend: not Engine.IO, or a preflight */
    GW_ROUTE_HANDSHAKE, /* a balanced backend; its answer brings a sid */
    GW_ROUTE_SESSION,   /* the backend that holds query->sid */
    GW_ROUTE_BAD_SID,   /* repeated, over-long or malformed: 400, code 3 */
};

/* `query` is written whole, and *pool is the one that the request is for. A
 * handshake is a GET on an Engine.IO path without a sid and with EIO= or
 * transport= in its query. */
enum gw_route gw_route_of(const struct gw_config *config,
                          const struct gw_head *head, struct eio_query *query,
                          uint8_t *pool);

#endif
