/* SPDX-License-Identifier: MIT */
/* Upgrades of polling sessions, as long as they are requests: counted. What
 * becomes of them behind the 101 the tunnel knows. */
#include "gateway/exchange.h"

static struct gw_backend_metrics *metrics_of(const struct gw_exchange *exchange)
{
    return &exchange->worker->backend_metrics[exchange->backend->index];
}

/* The query wants a websocket, but the header that asks for one is gone. */
static bool is_stripped(const struct gw_exchange *exchange)
{
    return exchange->is_get && !exchange->is_websocket &&
           exchange->query.transport == EIO_TRANSPORT_WEBSOCKET;
}

void gw_exchange_try_upgrade(struct gw_exchange *exchange)
{
    /* A second one of an upgraded session proves nothing. */
    if (exchange->session.transport == STORE_TRANSPORT_WEBSOCKET)
        return;
    if (is_stripped(exchange)) {
        gw_count(&metrics_of(exchange)->b_upgrade_attempts);
        gw_count(&metrics_of(exchange)->b_upgrades_stripped);
    } else if (exchange->is_websocket) {
        gw_count(&metrics_of(exchange)->b_upgrade_attempts);
        exchange->upgrade = GW_UPGRADE_TRIED;
    }
}

void gw_exchange_end_upgrade(struct gw_exchange *exchange, bool is_abort)
{
    struct gw_backend_metrics *metrics;
    if (exchange->upgrade == GW_UPGRADE_NONE)
        return;
    metrics = metrics_of(exchange);
    if (exchange->upgrade == GW_UPGRADE_ANSWERED)
        gw_count(&metrics->b_upgrades_refused);
    else if (is_abort)
        gw_count(&metrics->b_upgrades_closed);
    else
        gw_count(&metrics->b_upgrades_unreachable);
    exchange->upgrade = GW_UPGRADE_NONE;
}
