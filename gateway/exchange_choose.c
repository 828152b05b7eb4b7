/* SPDX-License-Identifier: MIT */
/* A backend for a request that is no session's yet, and the queue of those for
 * whom there is no place. */
#include "gateway/balance.h"
#include "gateway/exchange.h"
#include "gateway/log.h"

void gw_exchange_leave_backend(struct gw_exchange *exchange)
{
    if (exchange->queued.next != &exchange->queued)
        exchange->worker->queued_count[exchange->pool]--;
    gw_link_remove(&exchange->queued);
    if (!exchange->is_counted)
        return;
    atomic_fetch_sub_explicit(&exchange->backend->handshakes, 1,
                              memory_order_relaxed);
    exchange->is_counted = false;
}

void gw_exchange_take_backend(struct gw_exchange *exchange,
                              struct gw_backend *backend)
{
    gw_exchange_leave_backend(exchange);
    exchange->backend = backend;
    gw_backend_set_add(&exchange->tried, backend->index);
    if (exchange->route == GW_ROUTE_HANDSHAKE) {
        atomic_fetch_add_explicit(&backend->handshakes, 1,
                                  memory_order_relaxed);
        exchange->is_counted = true;
    }
    gw_exchange_connect(exchange);
}

/* Whether there was a place for it, or none is to be waited for. */
static bool try_choose(struct gw_exchange *exchange)
{
    struct gw_choice choice = {
        .pool = exchange->target,
        .is_handshake = exchange->route == GW_ROUTE_HANDSHAKE,
        .hash = exchange->hash,
        .tried = &exchange->tried,
    };
    struct gw_backend *backend = gw_balance_choose(exchange->worker, &choice);
    if (backend != NULL) {
        gw_exchange_take_backend(exchange, backend);
        return true;
    }
    /* A canary without a backend is no reason to refuse anybody. */
    if (exchange->target != exchange->pool) {
        exchange->target = exchange->pool;
        exchange->hash = exchange->own_hash;
        return try_choose(exchange);
    }
    if (choice.is_full)
        return false;
    gw_exchange_leave_backend(exchange);
    exchange->backend = NULL;
    /* A pool that is there for its last sessions is nobody else's. */
    if (gw_exchange_pool(exchange)->is_removed) {
        gw_exchange_fail(exchange, 404);
        return true;
    }
    gw_log(GW_LOG_WARNING, "no_backend", "pool",
           gw_exchange_pool(exchange)->name);
    gw_exchange_fail(exchange, 503);
    return true;
}

static void refuse_full(struct gw_exchange *exchange)
{
    struct gw_own_reply reply = {.status = 503, .retry_s = 1};
    gw_count(&exchange->worker->metrics.limited_backend_sessions);
    gw_exchange_reply(exchange, &reply);
}

void gw_exchange_choose(struct gw_exchange *exchange)
{
    struct gw_worker *worker = exchange->worker;
    unsigned *queued_count = &worker->queued_count[exchange->pool];
    /* Who has waited longer is first. */
    bool is_behind = exchange->route == GW_ROUTE_HANDSHAKE &&
                     exchange->target == exchange->pool && *queued_count > 0;
    if (!is_behind && try_choose(exchange))
        return;
    gw_exchange_leave_backend(exchange);
    if (*queued_count >= gw_exchange_pool(exchange)->queue_length) {
        refuse_full(exchange);
        return;
    }
    gw_exchange_enter(exchange, GW_EXCHANGE_QUEUED);
    exchange->queued_ms = worker->now_ms;
    (*queued_count)++;
    gw_count(&worker->metrics.handshakes_queued);
    gw_link_add(&worker->queued, &exchange->queued);
    if (!gw_timer_is_running(&worker->queue_timer))
        gw_worker_timer(worker, &worker->queue_timer, GW_QUEUE_MS,
                        gw_exchange_on_queue);
}

static void serve_one(struct gw_exchange *exchange)
{
    int64_t waited_ms = exchange->worker->now_ms - exchange->queued_ms;
    if (waited_ms >= gw_exchange_pool(exchange)->queue_timeout_ms) {
        gw_exchange_leave_backend(exchange);
        gw_exchange_enter(exchange, GW_EXCHANGE_ROUTE);
        refuse_full(exchange);
        return;
    }
    try_choose(exchange);
}

/* Places become free through any worker or replica: they are looked for now and
 * then, by the oldest first. */
void gw_exchange_on_queue(struct gw_timer *timer)
{
    struct gw_worker *worker =
        GW_CONTAINER(timer, struct gw_worker, queue_timer);
    struct gw_link *last = worker->queued.prev;
    struct gw_link *at = worker->queued.next;
    for (bool is_over = at == &worker->queued; !is_over;) {
        struct gw_exchange *exchange =
            GW_CONTAINER(at, struct gw_exchange, queued);
        is_over = at == last;
        at = at->next;
        serve_one(exchange);
    }
    if (worker->queued.next != &worker->queued)
        gw_worker_timer(worker, timer, GW_QUEUE_MS, gw_exchange_on_queue);
}
