/* SPDX-License-Identifier: MIT */
/* Polls that are ended from here, to move their sessions elsewhere. */
#include "gateway/exchange.h"

/* A poll that the backend holds. */
static bool is_held(const struct gw_exchange *exchange,
                    const struct gw_backend *backend)
{
    return exchange != NULL && exchange->backend == backend &&
           exchange->state == GW_EXCHANGE_HEAD && exchange->is_get &&
           !exchange->is_websocket && exchange->route == GW_ROUTE_SESSION;
}

size_t gw_conns_close_backend(struct gw_worker *worker,
                              const struct gw_backend *backend, size_t max,
                              size_t *left)
{
    size_t count = 0;
    struct gw_link *at = worker->connections.next;
    while (at != &worker->connections && (count < max || left != NULL)) {
        struct gw_conn *conn = GW_CONTAINER(at, struct gw_conn, link);
        at = at->next;
        if (!is_held(conn->exchange, backend))
            continue;
        if (count < max)
            count += gw_exchange_close_session(conn->exchange, GW_END_DRAINED);
        else
            (*left)++;
    }
    return count;
}
