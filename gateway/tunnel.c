/* SPDX-License-Identifier: MIT */
/* A websocket after its 101. */
#include "gateway/accounts.h"
#include "gateway/move.h"
#include "gateway/tunnel_private.h"
#include "gateway/worker.h"

#include <stdlib.h>

enum {
    READS_PER_TURN = 4,
    END_MS = 5000,     /* after the last progress once one end is gone */
    CLOSE_MS = 3000,   /* for a client to answer a close frame */
    TOUCH_MS = 400000, /* less than half a tunnel's record lives */
    GOING_AWAY = 1001,
    PROTOCOL_ERROR = 1002,
};

static void on_event(struct gw_stream *stream);
static void on_timer(struct gw_timer *timer);
static void enter(struct tunnel *tunnel, enum tunnel_state state);

static struct gw_backend_metrics *metrics_of(const struct tunnel *tunnel)
{
    return &tunnel->worker->backend_metrics[tunnel->backend->index];
}

static void sid_of(const struct tunnel *tunnel, struct eio_sid *sid)
{
    sid->len = tunnel->sid != NULL ? tunnel->sid_len : 0;
    if (sid->len > 0)
        memcpy(sid->bytes, tunnel->sid, sid->len);
}

static void set_timer(struct tunnel *tunnel, int64_t after_ms)
{
    gw_worker_timer(tunnel->worker, &tunnel->timer, after_ms, on_timer);
}

void gw_tunnel_unbind(struct tunnel *tunnel)
{
    struct eio_sid sid;
    sid_of(tunnel, &sid);
    gw_tunnel_account(tunnel);
    if (tunnel->is_own && sid.len > 0)
        gw_affinity_unbind(tunnel->worker, &sid, tunnel->backend, true,
                           (enum gw_end)tunnel->cause);
}

/* Frees everything but the streams. */
static void dispose(struct tunnel *tunnel)
{
    struct gw_worker *worker = tunnel->worker;
    gw_timer_stop(&worker->wheel, &tunnel->timer);
    gw_tunnel_free_binding(tunnel);
    gw_buf_free(&tunnel->first);
    free(tunnel->sid);
    tunnel->sid = NULL;
    if (tunnel->account != NULL)
        gw_accounts_close(worker->server->accounts, tunnel->account);
    free(tunnel->account);
    tunnel->account = NULL;
    gw_link_remove(&tunnel->link);
    gw_count_add(&worker->metrics.tunnels, (uint64_t)-1);
    atomic_fetch_sub_explicit(&worker->server->open_count, 1,
                              memory_order_relaxed);
    gw_worker_bury_object(worker, &tunnel->grave);
}

static void finish(struct tunnel *tunnel)
{
    /* RST towards the client would take away what it has not read yet. */
    gw_stream_close(&tunnel->client, false);
    gw_stream_close(&tunnel->server, tunnel->was_reset);
    gw_tunnel_unbind(tunnel);
    if (tunnel->is_upgrade && !tunnel->is_own)
        gw_count(tunnel->up.data_frames > 0
                     ? &metrics_of(tunnel)->b_upgrades_probe
                     : &metrics_of(tunnel)->b_upgrades_closed);
    dispose(tunnel);
}

static uint32_t taken(const struct tunnel *tunnel)
{
    return gw_stream_taken(tunnel->client) + gw_stream_taken(tunnel->server);
}

static void touch(struct tunnel *tunnel)
{
    struct eio_sid sid;
    struct gw_session session = {.backend = tunnel->backend,
                                 .ping_interval_ms = tunnel->ping_interval_ms,
                                 .ping_timeout_ms = tunnel->ping_timeout_ms,
                                 .eio = tunnel->eio};
    sid_of(tunnel, &sid);
    if (tunnel->is_own && sid.len > 0)
        gw_affinity_touch(tunnel->worker, &sid, &session,
                          STORE_TRANSPORT_WEBSOCKET);
}

/* At its first call, with the tunnel's beginning, nothing is due. */
static void touch_if_due(struct tunnel *tunnel)
{
    int64_t now_s = tunnel->worker->now_ms / 1000;
    if (now_s < tunnel->touch_due_s)
        return;
    if (tunnel->touch_due_s != 0)
        touch(tunnel);
    /* Spread, so that ten thousand of them do not touch at once. */
    now_s +=
        (TOUCH_MS - gw_worker_random(tunnel->worker) % (TOUCH_MS / 4)) / 1000;
    tunnel->touch_due_s = (uint32_t)now_s;
}

static void wait_to_touch(struct tunnel *tunnel)
{
    int64_t now_s = tunnel->worker->now_ms / 1000;
    touch_if_due(tunnel);
    tunnel->is_watched = false;
    set_timer(tunnel, (tunnel->touch_due_s - now_s) * 1000);
}

/* A client that takes nothing of what waits for it. A backend is left alone: it
 * may stand still and have its sessions afterwards. */
static void watch_client(struct tunnel *tunnel)
{
    bool is_blocked = gw_stream_unsent(tunnel->client) > 0;
    if (tunnel->state != TUNNEL_OPEN || is_blocked == tunnel->is_watched)
        return;
    if (!is_blocked) {
        wait_to_touch(tunnel);
        return;
    }
    tunnel->is_watched = true;
    tunnel->taken_mark = gw_stream_taken(tunnel->client);
    set_timer(tunnel, tunnel->worker->config->write_timeout_ms);
}

static void on_slow_client(struct tunnel *tunnel)
{
    if (gw_stream_taken(tunnel->client) == tunnel->taken_mark) {
        gw_count(&tunnel->worker->metrics.limited_write_timeout);
        gw_tunnel_blame(tunnel, GW_END_LIMIT);
        gw_stream_close(&tunnel->client, true);
        tunnel->was_reset = true;
        enter(tunnel, TUNNEL_CLOSED);
        return;
    }
    touch_if_due(tunnel); /* it may be slow for ever */
    tunnel->is_watched = false;
    watch_client(tunnel);
    if (!tunnel->is_watched)
        wait_to_touch(tunnel);
}

/* The only place where a tunnel changes its state. */
static void enter(struct tunnel *tunnel, enum tunnel_state state)
{
    if (tunnel->state == TUNNEL_CLOSED)
        return;
    tunnel->state = (uint8_t)state;
    switch (state) {
    case TUNNEL_OPEN:
        wait_to_touch(tunnel);
        break;
    case TUNNEL_CLOSING:
        set_timer(tunnel, CLOSE_MS);
        break;
    case TUNNEL_ENDING:
        tunnel->taken_mark = taken(tunnel);
        set_timer(tunnel, END_MS);
        break;
    case TUNNEL_CLOSED:
        finish(tunnel);
        break;
    }
}

static void on_timer(struct gw_timer *timer)
{
    struct tunnel *tunnel = GW_CONTAINER(timer, struct tunnel, timer);
    if (tunnel->state == TUNNEL_OPEN && tunnel->is_watched) {
        on_slow_client(tunnel);
    } else if (tunnel->state == TUNNEL_OPEN) {
        wait_to_touch(tunnel);
    } else if (tunnel->state == TUNNEL_ENDING &&
               taken(tunnel) != tunnel->taken_mark) {
        enter(tunnel, TUNNEL_ENDING); /* there was progress */
    } else {
        enter(tunnel, TUNNEL_CLOSED);
    }
}

static void keep_account(struct tunnel *tunnel, struct gw_accounts *accounts,
                         const struct gw_peer *peer)
{
    tunnel->account = malloc(sizeof(*peer));
    if (tunnel->account != NULL)
        *tunnel->account = *peer;
    else
        gw_accounts_close(accounts, peer);
}

/* ---- bytes ---- */

static void write_close(struct tunnel *tunnel)
{
    char frame[EIO_CLOSE_FRAME_MAX];
    size_t len = eio_close_frame(tunnel->close_code, frame);
    tunnel->close_code = 0;
    gw_stream_write(tunnel->client, frame, len);
}

static void pass_down(struct tunnel *tunnel, const char *bytes, size_t len)
{
    if (tunnel->is_learning)
        gw_tunnel_learn(tunnel, (struct eio_span){bytes, len});
    if (tunnel->state == TUNNEL_CLOSING) {
        if (tunnel->close_code == 0)
            return;
        len = eio_frame_to_boundary(&tunnel->down, bytes, len);
        gw_stream_write(tunnel->client, bytes, len);
        if (eio_frame_at_boundary(&tunnel->down))
            write_close(tunnel);
        return;
    }
    eio_frame_feed(&tunnel->down, bytes, len);
    tunnel->out_bytes += len;
    if (tunnel->down.saw_close)
        gw_tunnel_blame(tunnel, GW_END_BACKEND);
    gw_count_add(&tunnel->worker->metrics.bytes_to_clients, len);
    gw_stream_write(tunnel->client, bytes, len);
}

/* The client's second data frame is "5" after "2probe": now the session is
 * this tunnel's. */
static void become_own(struct tunnel *tunnel)
{
    tunnel->is_own = true;
    gw_count(&metrics_of(tunnel)->b_upgrade_successes);
    touch(tunnel);
}

static void pass_up(struct tunnel *tunnel, const char *bytes, size_t len)
{
    eio_frame_feed(&tunnel->up, bytes, len);
    tunnel->in_bytes += len;
    if (tunnel->up.saw_close)
        gw_tunnel_blame(tunnel, GW_END_CLIENT);
    gw_count_add(&tunnel->worker->metrics.bytes_from_clients, len);
    /* Some servers end at such a frame, and all sessions with them. */
    if (tunnel->up.has_reserved) {
        gw_tunnel_close(tunnel, PROTOCOL_ERROR, GW_END_LIMIT);
        return;
    }
    gw_stream_write(tunnel->server, bytes, len);
    if (tunnel->is_upgrade && !tunnel->is_own && tunnel->up.data_frames >= 2)
        become_own(tunnel);
}

static void on_end(struct tunnel *tunnel, struct gw_stream *to, bool is_reset)
{
    if (is_reset)
        tunnel->was_reset = true;
    gw_tunnel_blame(tunnel,
                    to == tunnel->server ? GW_END_CLIENT : GW_END_BACKEND);
    gw_stream_shutdown(to);
    if (tunnel->state != TUNNEL_ENDING)
        enter(tunnel, TUNNEL_ENDING);
}

/* Moves what can be moved in one direction. */
static void pump(struct tunnel *tunnel, bool is_up)
{
    struct gw_worker *worker = tunnel->worker;
    struct gw_stream *from = is_up ? tunnel->client : tunnel->server;
    struct gw_stream *to = is_up ? tunnel->server : tunnel->client;
    for (int i = 0; i < READS_PER_TURN; i++) {
        if (!from->is_readable || from->is_eof)
            return;
        if (gw_stream_unsent(to) > 0) {
            /* One end is gone, behind bytes that the other does not take. */
            if ((from->has_rdhup || from->is_reset) &&
                tunnel->state != TUNNEL_ENDING)
                enter(tunnel, TUNNEL_ENDING);
            return;
        }
        ssize_t n =
            gw_stream_read(from, worker->read_buffer, GW_READ_BUFFER_BYTES);
        if (n == GW_READ_EMPTY)
            return;
        if (n <= 0) {
            from->is_readable = false;
            on_end(tunnel, to, n != 0);
            return;
        }
        if (is_up)
            pass_up(tunnel, worker->read_buffer, (size_t)n);
        else
            pass_down(tunnel, worker->read_buffer, (size_t)n);
        if (tunnel->state == TUNNEL_CLOSED)
            return;
    }
    if (from->is_readable)
        gw_stream_again(from);
}

static bool is_over(const struct tunnel *tunnel)
{
    const struct gw_stream *client = tunnel->client;
    const struct gw_stream *server = tunnel->server;
    if (client->is_eof && server->is_eof)
        return gw_stream_unsent(client) == 0 && gw_stream_unsent(server) == 0;
    /* One end was reset: the other has all that came before it. */
    if (client->is_broken)
        return gw_stream_unsent(server) == 0;
    return server->is_broken && gw_stream_unsent(client) == 0;
}

static void on_event(struct gw_stream *stream)
{
    struct tunnel *tunnel = stream->owner;
    pump(tunnel, stream == tunnel->client);
    if (tunnel->state == TUNNEL_CLOSED)
        return;
    /* What this stream could not take before may go on now. */
    if (gw_stream_unsent(stream) == 0)
        pump(tunnel, stream != tunnel->client);
    if (tunnel->state == TUNNEL_ENDING && is_over(tunnel))
        enter(tunnel, TUNNEL_CLOSED);
    else
        watch_client(tunnel);
}

static void own_stream(struct tunnel *tunnel, struct gw_stream *stream)
{
    stream->owner = tunnel;
    stream->on_event = on_event;
}

void gw_tunnel_open(struct gw_worker *worker, struct gw_tunnel_about *about)
{
    struct tunnel *tunnel = calloc(1, sizeof(*tunnel));
    if (tunnel == NULL ||
        (about->is_session && !gw_tunnel_keep_sid(tunnel, about->sid))) {
        free(tunnel);
        gw_stream_close(&about->client_stream, true);
        gw_stream_close(&about->backend_stream, true);
        gw_buf_free(&about->client_bytes);
        atomic_fetch_sub_explicit(&worker->server->open_count, 1,
                                  memory_order_relaxed);
        if (about->has_account)
            gw_accounts_close(worker->server->accounts, &about->peer);
        return;
    }
    if (about->has_account)
        keep_account(tunnel, worker->server->accounts, &about->peer);
    gw_socket_watch(about->backend_stream->fd, worker->config);
    tunnel->worker = worker;
    tunnel->backend = about->backend;
    tunnel->client = about->client_stream;
    tunnel->server = about->backend_stream;
    tunnel->ping_interval_ms = about->session.ping_interval_ms;
    tunnel->ping_timeout_ms = about->session.ping_timeout_ms;
    tunnel->eio = about->eio;
    /* A second tunnel of an upgraded session proves nothing. */
    tunnel->is_upgrade = about->is_session &&
                         about->session.transport != STORE_TRANSPORT_WEBSOCKET;
    if (about->is_handshake)
        tunnel->binding = calloc(1, sizeof(*tunnel->binding));
    tunnel->is_learning = tunnel->binding != NULL;
    if (tunnel->is_learning)
        tunnel->binding->peer = about->peer;
    gw_link_init(&tunnel->link);
    gw_link_add(&worker->tunnels, &tunnel->link);
    gw_count(&worker->metrics.tunnels);
    own_stream(tunnel, tunnel->client);
    own_stream(tunnel, tunnel->server);
    enter(tunnel, TUNNEL_OPEN);
    if (about->backend_bytes.len > 0)
        pass_down(tunnel, about->backend_bytes.ptr, about->backend_bytes.len);
    if (about->client_bytes != NULL)
        pass_up(tunnel, gw_buf_ptr(about->client_bytes),
                gw_buf_len(about->client_bytes));
    gw_buf_free(&about->client_bytes);
    if (worker->phase >= GW_PHASE_DRAINING)
        gw_tunnel_close(tunnel, GOING_AWAY, GW_END_SHUTDOWN);
    /* Bytes or a FIN may have come while HTTP owned the streams. */
    gw_stream_again(tunnel->client);
    gw_stream_again(tunnel->server);
    if (about->has_client_fin)
        on_end(tunnel, tunnel->server, false);
}

/* ---- from process to process ---- */

void gw_tunnel_forget(struct tunnel *tunnel)
{
    tunnel->state = TUNNEL_CLOSED;
    gw_move_release_stream(&tunnel->client);
    gw_move_release_stream(&tunnel->server);
    dispose(tunnel);
}

void gw_tunnel_resume(struct tunnel *tunnel, const struct gw_peer *account)
{
    struct gw_worker *worker = tunnel->worker;
    atomic_fetch_add_explicit(&worker->server->open_count, 1,
                              memory_order_relaxed);
    if (account != NULL && gw_accounts_open(worker->server->accounts, account))
        keep_account(tunnel, worker->server->accounts, account);
    gw_link_init(&tunnel->link);
    gw_link_add(&worker->tunnels, &tunnel->link);
    gw_count(&worker->metrics.tunnels);
    /* It ends here, so that it has to begin here too. */
    if (tunnel->is_upgrade && !tunnel->is_own)
        gw_count(&metrics_of(tunnel)->b_upgrade_attempts);
    own_stream(tunnel, tunnel->client);
    own_stream(tunnel, tunnel->server);
    enter(tunnel, TUNNEL_OPEN);
    if (worker->phase >= GW_PHASE_DRAINING)
        gw_tunnel_close(tunnel, GOING_AWAY, GW_END_SHUTDOWN);
    gw_stream_again(tunnel->client);
    gw_stream_again(tunnel->server);
}

/* ---- ending a session from here ---- */

void gw_tunnel_cut(struct tunnel *tunnel)
{
    enter(tunnel, TUNNEL_CLOSED);
}

void gw_tunnel_close(struct tunnel *tunnel, uint16_t code, enum gw_end cause)
{
    if (tunnel->state != TUNNEL_OPEN)
        return;
    gw_tunnel_blame(tunnel, cause);
    enter(tunnel, TUNNEL_CLOSING);
    tunnel->close_code = code;
    if (eio_frame_at_boundary(&tunnel->down) && !tunnel->down.is_broken)
        write_close(tunnel);
}
