/* SPDX-License-Identifier: MIT */
/* A store client's connections on a libuv loop: how they begin and end. */
#include "gateway/tls.h"
#include "gateway/uv_loop_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TARGET_MS = 300 }; /* for one of several addresses to connect */

/* ---- the end ---- */

static void close_socket(struct store_wire *wire)
{
    struct gw_uv_socket *one = wire->socket;
    if (one == NULL)
        return;
    wire->socket = NULL;
    one->wire = NULL;
    uv_poll_stop(&one->poll);
    uv_close((uv_handle_t *)&one->poll, gw_uv_free_data);
    close(one->fd);
}

static void on_wire_closed(uv_handle_t *handle)
{
    struct store_wire *wire = handle->data;
    gw_buf_free(&wire->held);
    gw_buf_free(&wire->out);
    free(wire);
}

void gw_uv_wire_close(struct store_wire *wire)
{
    gw_uv_resolve_cancel(&wire->resolving);
    gw_uv_wire_bid_farewell(wire);
    close_socket(wire);
    gw_uv_wire_unlist(wire);
    gw_uv_tls_free(wire->tls);
    wire->tls = NULL;
    wire->user = NULL;
    uv_close((uv_handle_t *)&wire->timer, on_wire_closed);
}

void gw_uv_wire_end(struct store_wire *wire, const char *why)
{
    const struct store_wire_user *user = wire->user;
    gw_uv_wire_close(wire);
    user->on_end(wire->arg, why);
}

static void on_failure(uv_timer_t *timer)
{
    struct store_wire *wire = timer->data;
    gw_uv_wire_end(wire, wire->why);
}

void gw_uv_wire_fail(struct store_wire *wire)
{
    close_socket(wire);
    uv_timer_start(&wire->timer, on_failure, 0, 0);
}

/* ---- connecting ---- */

static void on_event(uv_poll_t *poll, int status, int events);

bool gw_uv_wire_watch(struct store_wire *wire)
{
    int events = UV_READABLE;
    if (!wire->is_connected || wire->is_waiting)
        events |= UV_WRITABLE;
    return uv_poll_start(&wire->socket->poll, events, on_event) == 0;
}

/* Takes the descriptor over. */
static bool take_socket(struct store_wire *wire, int fd)
{
    struct gw_uv_socket *one = calloc(1, sizeof(*one));
    if (one == NULL || uv_poll_init(wire->loop->uv, &one->poll, fd) != 0) {
        free(one);
        close(fd);
        return false;
    }
    one->poll.data = one;
    one->fd = fd;
    one->wire = wire;
    wire->socket = one;
    if (gw_uv_wire_watch(wire))
        return true;
    close_socket(wire);
    return false;
}

static bool try_next(struct store_wire *wire);

/* The last one has all the time that the caller gives. */
static void on_silent_target(uv_timer_t *timer)
{
    struct store_wire *wire = timer->data;
    close_socket(wire);
    snprintf(wire->why, sizeof(wire->why), "no connection in time");
    if (!try_next(wire))
        gw_uv_wire_end(wire, wire->why);
}

/* Tries the addresses that are left. False when there is none; wire->why says
 * what was wrong with the last. */
static bool try_next(struct store_wire *wire)
{
    while (wire->next_target < wire->targets.count) {
        unsigned i = wire->next_target++;
        int fd = gw_resolved_connect(&wire->targets, i);
        if (fd < 0) {
            snprintf(wire->why, sizeof(wire->why), "%s", strerror(errno));
            continue;
        }
        if (take_socket(wire, fd)) {
            if (wire->next_target < wire->targets.count)
                uv_timer_start(&wire->timer, on_silent_target, TARGET_MS, 0);
            return true;
        }
        snprintf(wire->why, sizeof(wire->why), "out of memory");
    }
    return false;
}

static void open_up(struct store_wire *wire)
{
    wire->is_open = true;
    wire->user->on_open(wire->arg);
}

void gw_uv_wire_shake(struct store_wire *wire)
{
    int result = gw_uv_tls_handshake(wire->tls, wire->why, sizeof(wire->why));
    if (result < 0) {
        gw_uv_wire_end(wire, wire->why);
        return;
    }
    if (!gw_uv_tls_drain(wire->tls, &wire->out)) {
        gw_uv_wire_end(wire, "out of memory");
        return;
    }
    gw_uv_wire_flush(wire);
    if (result > 0 && wire->socket != NULL)
        open_up(wire);
}

static void on_connect(struct store_wire *wire)
{
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(wire->socket->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    uv_timer_stop(&wire->timer);
    if (error != 0) {
        snprintf(wire->why, sizeof(wire->why), "%s", strerror(error));
        close_socket(wire);
        if (!try_next(wire))
            gw_uv_wire_end(wire, wire->why);
        return;
    }
    wire->is_connected = true;
    if (!gw_uv_wire_watch(wire))
        gw_uv_wire_end(wire, "connection lost");
    else if (wire->tls != NULL)
        gw_uv_wire_shake(wire);
    else
        open_up(wire);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct gw_uv_socket *one = poll->data;
    struct store_wire *wire = one->wire;
    if (wire == NULL)
        return;
    if (wire->is_connected)
        gw_uv_wire_event(wire, status, events);
    else
        on_connect(wire);
}

/* ---- opening ---- */

static void on_resolved(void *arg, const struct gw_resolved *found)
{
    struct store_wire *wire = arg;
    wire->resolving = NULL;
    wire->targets = *found;
    snprintf(wire->why, sizeof(wire->why), "%s", found->why);
    if (!try_next(wire))
        gw_uv_wire_end(wire, wire->why);
}

static bool reach_unix(struct store_wire *wire, const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(to.sun_path)) {
        snprintf(wire->why, sizeof(wire->why), "the path is too long");
        return false;
    }
    memcpy(to.sun_path, path, strlen(path) + 1);
    memcpy(&wire->targets.addr[0], &to, sizeof(to));
    wire->targets.len[0] = sizeof(to);
    wire->targets.count = 1;
    return try_next(wire);
}

/* Begins to connect, or to wait for an address. False when neither is
 * possible. */
static bool reach(struct store_wire *wire, const struct store_address *to)
{
    if (to->is_unix)
        return reach_unix(wire, to->host);
    if (gw_resolve_literal(to->host, to->port, &wire->targets))
        return try_next(wire);
    wire->resolving = gw_uv_resolve_start(wire->loop->uv, to->host, to->port,
                                          on_resolved, wire);
    if (wire->resolving == NULL)
        snprintf(wire->why, sizeof(wire->why), "cannot start a thread");
    return wire->resolving != NULL;
}

/* False when it cannot, which wire->why says. */
static bool prepare_tls(struct store_wire *wire, const struct store_address *to)
{
    SSL *ssl = gw_tls_store(wire->loop->tls, to);
    wire->tls = ssl != NULL ? gw_uv_tls_new(ssl) : NULL;
    if (wire->tls == NULL)
        snprintf(wire->why, sizeof(wire->why), "no TLS");
    return wire->tls != NULL;
}

struct store_wire *gw_uv_wire_open(struct store_loop *base,
                                   const struct store_address *to,
                                   const struct store_wire_user *user,
                                   void *arg)
{
    struct store_wire *wire = calloc(1, sizeof(*wire));
    if (wire == NULL)
        return NULL;
    wire->loop = (struct gw_uv_loop *)(void *)base;
    wire->user = user;
    wire->arg = arg;
    wire->is_mute = !to->is_tls && !to->is_unix;
    uv_timer_init(wire->loop->uv, &wire->timer);
    wire->timer.data = wire;
    if ((to->is_tls && !prepare_tls(wire, to)) || !reach(wire, to))
        gw_uv_wire_fail(wire);
    return wire;
}
