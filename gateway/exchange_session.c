/* SPDX-License-Identifier: MIT */
/* What a response means for its session: the sid is learnt from a handshake's
 * answer before the client sees it; a session's end is recognised. */
#include "eio/error.h"
#include "gateway/accounts.h"
#include "gateway/exchange.h"
#include "gateway/learn.h"

enum { DENIAL_MAX = 512 };

/* The server that had the id of this one's before. */
static struct gw_backend *former_owner(const struct gw_exchange *exchange)
{
    return gw_backend_former(exchange->worker->server->backends,
                             exchange->backend);
}

void gw_exchange_end_session(struct gw_exchange *exchange)
{
    if (exchange->route != GW_ROUTE_SESSION ||
        !(exchange->is_get || exchange->is_post))
        return;
    struct eio_span denial = {NULL, gw_buf_len(exchange->denial)};
    if (denial.len > 0)
        denial.ptr = gw_buf_ptr(exchange->denial);
    bool is_denied = exchange->is_denial &&
                     eio_is_unknown_sid(exchange->status, denial,
                                        gw_exchange_pool(exchange)->netty);
    if (is_denied)
        gw_count(&exchange->worker->backend_metrics[exchange->backend->index]
                      .b_unknown_sid);
    exchange->is_doubted = is_denied && exchange->conn->stream->is_corked &&
                           gw_exchange_may_reroute(exchange);
    if (exchange->is_doubted && former_owner(exchange) != NULL)
        return;
    if (!is_denied && !(exchange->scan.found && exchange->status == 200))
        return;
    gw_report_settle(exchange);
    gw_affinity_unbind(exchange->worker, &exchange->query.sid,
                       exchange->backend, false,
                       is_denied           ? GW_END_DENIED
                       : exchange->is_post ? GW_END_CLIENT
                                           : GW_END_BACKEND);
}

static void release_held(struct gw_exchange *exchange)
{
    struct gw_conn *conn = exchange->conn;
    gw_learn_free(&exchange->learn);
    if (exchange->state == GW_EXCHANGE_HELD)
        gw_report_settle(exchange);
    gw_stream_uncork(conn->stream);
    if (exchange->state == GW_EXCHANGE_HELD)
        gw_exchange_finish(exchange);
    else
        gw_exchange_pump(exchange);
}

/* ---- a cached owner that does not have the session ---- */

bool gw_exchange_may_reroute(const struct gw_exchange *exchange)
{
    /* All of the request must be at hand to be sent again. */
    return exchange->route == GW_ROUTE_SESSION && exchange->decoder.is_done &&
           ((exchange->session.is_cached && !exchange->was_rerouted) ||
            former_owner(exchange) != NULL) &&
           gw_buf_len(exchange->body) == exchange->body_bytes;
}

/* As if no backend had been asked yet. */
static void forget_response(struct gw_exchange *exchange)
{
    struct gw_stream *client = exchange->conn->stream;
    if (client->is_corked)
        gw_stream_discard(client);
    gw_report_again(exchange);
    gw_buf_free(&exchange->denial);
    memset(&exchange->response, 0, sizeof(exchange->response));
    /* That of a POST has seen the request, which is still the same. */
    if (!exchange->is_post)
        memset(&exchange->scan, 0, sizeof(exchange->scan));
    exchange->status = 0;
    exchange->keep_alive_s = -1;
    exchange->refusals = 0;
    exchange->interims = 0;
    exchange->out_is_chunked = false;
    exchange->is_reusable = false;
    exchange->is_retiring = false;
    exchange->is_denial = false;
    exchange->is_doubted = false;
    exchange->was_resent = false;
}

static void go_to(struct gw_exchange *exchange, struct gw_backend *backend)
{
    bool is_upgrade = exchange->upgrade != GW_UPGRADE_NONE;
    gw_count(&exchange->worker->metrics.rerouted);
    gw_exchange_end_upgrade(exchange, false);
    exchange->backend = backend;
    if (is_upgrade)
        gw_exchange_try_upgrade(exchange);
    forget_response(exchange);
    gw_exchange_connect(exchange);
}

static void on_found_again(struct gw_lookup *lookup, enum gw_affinity result)
{
    struct gw_exchange *exchange = lookup->arg;
    if (result == GW_AFFINITY_FOUND &&
        lookup->session.backend != exchange->backend) {
        exchange->session = lookup->session;
        go_to(exchange, lookup->session.backend);
        return;
    }
    if (exchange->is_doubted)
        release_held(exchange);
    else
        gw_exchange_fail_eio(exchange, EIO_ERROR_UNKNOWN_SID);
}

void gw_exchange_reroute(struct gw_exchange *exchange)
{
    struct gw_lookup_about about = gw_exchange_about(exchange);
    struct gw_backend *former = former_owner(exchange);
    exchange->was_rerouted = true;
    if (former != NULL) {
        atomic_store_explicit(&former->former_used_ms, exchange->worker->now_ms,
                              memory_order_relaxed);
        go_to(exchange, former);
        return;
    }
    gw_exchange_enter(exchange, GW_EXCHANGE_HELD);
    exchange->lookup.done = on_found_again;
    exchange->lookup.arg = exchange;
    gw_affinity_find_again(exchange->worker, &exchange->lookup, &about);
}

/* ---- a handshake's answer ---- */

/* The session itself counts for its address now: both together would refuse the
 * next one, which may come as soon as this is answered. */
static void end_reservation(struct gw_exchange *exchange)
{
    if (exchange->is_reserved)
        gw_accounts_handshake_over(exchange->worker->server->accounts,
                                   &exchange->peer);
    exchange->is_reserved = false;
}

static void on_bound(struct gw_bind *bind, enum gw_bind_result result)
{
    struct gw_exchange *exchange = bind->arg;
    end_reservation(exchange);
    if (result == GW_BOUND)
        gw_report_bound(exchange, &bind->sid);
    /* Within gw_affinity_bind: learn_piece looks at the result. */
    if (!exchange->conn->stream->is_corked) {
        exchange->bind_result = (int)result;
        return;
    }
    switch (result) {
    case GW_BOUND:
        release_held(exchange);
        return;
    case GW_BIND_CONFLICT:
        gw_exchange_fail(exchange, 502);
        return;
    case GW_BIND_FAILED:
        gw_exchange_fail(exchange, 503);
        return;
    }
}

/* Returns 0, or the status with which to refuse the response. */
static int learn_piece(struct gw_exchange *exchange, struct eio_span piece)
{
    struct gw_stream *client = exchange->conn->stream;
    bool was_corked = client->is_corked;
    struct eio_open open;
    enum gw_learned learned = gw_learn_feed(exchange->learn, piece,
                                            exchange->response.is_done, &open);
    /* One that says nothing for so long is not held back any longer. */
    if (learned == GW_LEARN_MORE &&
        gw_stream_unsent(client) + piece.len > GW_HELD_MAX)
        learned = GW_LEARN_NONE;
    switch (learned) {
    case GW_LEARN_MORE:
        client->is_corked = true;
        return 0;
    case GW_LEARN_NONE:
        gw_learn_free(&exchange->learn);
        if (was_corked)
            gw_stream_uncork(client);
        return 0;
    case GW_LEARN_OPEN:
        break;
    }
    struct gw_binding binding = {
        .backend = exchange->backend,
        .open = &open,
        .peer = &exchange->peer,
        .path = gw_exchange_place(exchange, exchange->places.path),
        .host = gw_exchange_place(exchange, exchange->places.host),
        .transport = STORE_TRANSPORT_POLLING,
        .eio = (uint8_t)exchange->query.eio,
    };
    struct gw_bind *bind = gw_learn_bind(exchange->learn);
    bind->done = on_bound;
    bind->arg = exchange;
    client->is_corked = false;
    exchange->bind_result = -1;
    gw_affinity_bind(exchange->worker, bind, &binding);
    client->is_corked = was_corked;
    if (exchange->bind_result < 0) {
        client->is_corked = true; /* until the store has acknowledged it */
        exchange->is_binding = true;
        return 0;
    }
    gw_learn_free(&exchange->learn);
    if (exchange->bind_result == GW_BIND_CONFLICT)
        return 502;
    if (exchange->bind_result == GW_BIND_FAILED)
        return 503;
    if (was_corked)
        gw_stream_uncork(client);
    return 0;
}

int gw_exchange_inspect(struct gw_exchange *exchange, struct eio_span piece)
{
    if (exchange->learn != NULL && !exchange->is_binding)
        return learn_piece(exchange, piece);
    if (exchange->route != GW_ROUTE_SESSION)
        return 0;
    if (exchange->is_denial) {
        size_t room = DENIAL_MAX - gw_buf_len(exchange->denial);
        size_t take = piece.len < room ? piece.len : room;
        /* Too long for a denial: it is held no longer. */
        if (take < piece.len && exchange->conn->stream->is_corked)
            gw_stream_uncork(exchange->conn->stream);
        if (!gw_buf_append(&exchange->denial, piece.ptr, take))
            exchange->is_denial = false;
    } else if (exchange->is_get && exchange->status == 200) {
        eio_close_scan_feed(&exchange->scan, piece);
    }
    return 0;
}
