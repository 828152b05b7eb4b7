/* SPDX-License-Identifier: MIT */
/* What a request is, from its head alone. */
#include "gateway/route.h"

/* By prefix, as the servers do it. */
static bool is_eio_path(const struct gw_config *config, struct eio_span path)
{
    for (size_t i = 0; i < config->path_count; i++) {
        size_t len = strlen(config->paths[i]);
        if (path.len >= len && memcmp(path.ptr, config->paths[i], len) == 0)
            return true;
    }
    return false;
}

enum gw_route gw_route_of(const struct gw_config *config,
                          const struct gw_head *head, struct eio_query *query)
{
    memset(query, 0, sizeof(*query));
    if (head->path.len == 0)
        return GW_ROUTE_LOCAL;
    if (config->serve_health && (head->is_get || head->is_head)) {
        if (gw_span_equal(head->path, eio_span_of("/healthz")))
            return GW_ROUTE_HEALTHZ;
        if (gw_span_equal(head->path, eio_span_of("/readyz")))
            return GW_ROUTE_READYZ;
    }
    if (head->query.len == 0 || !is_eio_path(config, head->path))
        return GW_ROUTE_PLAIN;
    if (eio_query_parse(head->query, query) != EIO_QUERY_OK)
        return GW_ROUTE_BAD_SID;
    if (query->sid.len > 0)
        return GW_ROUTE_SESSION;
    if (head->is_get && (query->has_eio || query->has_transport))
        return GW_ROUTE_HANDSHAKE;
    return GW_ROUTE_PLAIN;
}
