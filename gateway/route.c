/* SPDX-License-Identifier: MIT */
/* What a request is, from its head alone. */
#include "gateway/route.h"
#include "gateway/pool.h"

enum gw_route gw_route_of(const struct gw_config *config,
                          const struct gw_head *head, struct eio_query *query,
                          uint8_t *pool)
{
    bool is_eio = false;
    memset(query, 0, sizeof(*query));
    *pool = 0;
    if (head->path.len == 0)
        return GW_ROUTE_LOCAL;
    if (config->serve_health && (head->is_get || head->is_head)) {
        if (gw_span_equal(head->path, eio_span_of("/healthz")))
            return GW_ROUTE_HEALTHZ;
        if (gw_span_equal(head->path, eio_span_of("/readyz")))
            return GW_ROUTE_READYZ;
    }
    if (!gw_pool_find(config, head, pool, &is_eio))
        return GW_ROUTE_NOWHERE;
    if (head->query.len == 0 || !is_eio)
        return GW_ROUTE_PLAIN;
    if (eio_query_parse(head->query, query) != EIO_QUERY_OK)
        return GW_ROUTE_BAD_SID;
    if (query->sid.len > 0)
        return GW_ROUTE_SESSION;
    if (head->is_get && (query->has_eio || query->has_transport))
        return GW_ROUTE_HANDSHAKE;
    return GW_ROUTE_PLAIN;
}
