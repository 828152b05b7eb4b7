/* SPDX-License-Identifier: MIT */
/* What a request is, from its head alone. */
#include "gateway/route.h"
#include "gateway/grammar.h"

/* Takes the next decoded byte off a path that is not empty; a broken escape
 * stands for itself. */
static char take_decoded(struct eio_span *path)
{
    const char *at = path->ptr;
    int high = path->len > 2 && at[0] == '%' ? gw_hex_digit(at[1]) : -1;
    int low = high >= 0 ? gw_hex_digit(at[2]) : -1;
    size_t taken = low >= 0 ? 3 : 1;
    path->ptr += taken;
    path->len -= taken;
    if (low < 0)
        return at[0];
    return (char)(high << 4 | low);
}

static bool begins_decoded(struct eio_span path, const char *prefix)
{
    for (; *prefix != '\0'; prefix++)
        if (path.len == 0 || take_decoded(&path) != *prefix)
            return false;
    return true;
}

/* By prefix, as the servers do it, of which some decode the path before. */
bool gw_route_is_eio(const struct gw_config *config, struct eio_span path)
{
    for (size_t i = 0; i < config->path_count; i++) {
        size_t len = strlen(config->paths[i]);
        if ((path.len >= len && memcmp(path.ptr, config->paths[i], len) == 0) ||
            begins_decoded(path, config->paths[i]))
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
    if (head->query.len == 0 || !gw_route_is_eio(config, head->path))
        return GW_ROUTE_PLAIN;
    if (eio_query_parse(head->query, query) != EIO_QUERY_OK)
        return GW_ROUTE_BAD_SID;
    if (query->sid.len > 0)
        return GW_ROUTE_SESSION;
    if (head->is_get && (query->has_eio || query->has_transport))
        return GW_ROUTE_HANDSHAKE;
    return GW_ROUTE_PLAIN;
}
