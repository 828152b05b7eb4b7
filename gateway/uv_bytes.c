/* SPDX-License-Identifier: MIT */
/*
 * A store client's connections on a libuv loop: what goes over them.
 *
 * When sending fails the wire is kept until what came before has been read: it
 * may be the peer's reason.
 */
#include "gateway/tls.h"
#include "gateway/uv_loop_private.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
    READS_PER_TURN = 16,
    OUT_BYTES_MAX = 8 * 1024 * 1024, /* that the kernel has not taken */
};

static const char closed[] = "closed by the server";
static const char lost[] = "connection lost";
static const char no_memory[] = "out of memory";

/* ---- writing ---- */

/* The kernel tells at once that there is an end to be read. */
static void break_off(struct store_wire *wire)
{
    wire->is_broken = true;
    gw_buf_free(&wire->held);
    gw_buf_free(&wire->out);
    shutdown(wire->socket->fd, SHUT_RDWR);
}

static void send_out(struct store_wire *wire)
{
    while (wire->out != NULL) {
        ssize_t n = send(wire->socket->fd, gw_buf_ptr(wire->out),
                         gw_buf_len(wire->out), MSG_NOSIGNAL);
        if (n >= 0)
            gw_buf_take(&wire->out, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return;
        else if (errno != EINTR)
            break_off(wire);
    }
}

/* A piece of what was written. */
static void encipher(struct store_wire *wire)
{
    ssize_t n = gw_uv_tls_write(wire->tls, gw_buf_ptr(wire->held),
                                gw_buf_len(wire->held));
    if (n > 0)
        gw_buf_take(&wire->held, (size_t)n);
    if (n <= 0 || !gw_uv_tls_drain(wire->tls, &wire->out))
        break_off(wire);
}

void gw_uv_wire_flush(struct store_wire *wire)
{
    send_out(wire);
    while (wire->out == NULL && wire->held != NULL) {
        encipher(wire);
        send_out(wire);
    }
    bool was_waiting = wire->is_waiting;
    wire->is_waiting = wire->out != NULL;
    if (wire->is_waiting == was_waiting || gw_uv_wire_watch(wire))
        return;
    snprintf(wire->why, sizeof(wire->why), "%s", lost);
    gw_uv_wire_fail(wire);
}

void gw_uv_wire_bid_farewell(struct store_wire *wire)
{
    if (wire->tls == NULL || wire->socket == NULL || !wire->is_connected ||
        wire->is_broken || wire->out != NULL)
        return;
    gw_uv_tls_shutdown(wire->tls);
    if (gw_uv_tls_drain(wire->tls, &wire->out))
        send_out(wire);
}

void gw_uv_wire_unlist(struct store_wire *wire)
{
    struct store_wire **at = &wire->loop->unflushed;
    while (*at != NULL && *at != wire)
        at = &(*at)->next;
    if (*at == wire)
        *at = wire->next;
    wire->is_listed = false;
}

/* The loop is about to wait. */
static void on_flush(uv_prepare_t *flusher)
{
    struct gw_uv_loop *loop = flusher->data;
    struct store_wire *wire;
    while ((wire = loop->unflushed) != NULL) {
        gw_uv_wire_unlist(wire);
        if (wire->socket != NULL)
            gw_uv_wire_flush(wire);
    }
    uv_prepare_stop(flusher);
}

size_t gw_uv_wire_unsent(const struct store_wire *wire)
{
    return gw_buf_len(wire->held) + gw_buf_len(wire->out);
}

void gw_uv_wire_write(struct store_wire *wire, const char *bytes, size_t len)
{
    if (wire->socket == NULL || wire->is_broken || len == 0)
        return;
    struct gw_buf **to = wire->tls != NULL ? &wire->held : &wire->out;
    if (gw_uv_wire_unsent(wire) + len > OUT_BYTES_MAX ||
        !gw_buf_append(to, bytes, len)) {
        snprintf(wire->why, sizeof(wire->why), "too much is unsent");
        gw_uv_wire_fail(wire);
        return;
    }
    if (wire->is_listed || wire->is_waiting)
        return;
    wire->next = wire->loop->unflushed;
    wire->loop->unflushed = wire;
    wire->is_listed = true;
    uv_prepare_start(&wire->loop->flusher, on_flush);
}

/* ---- reading ---- */

/* What TLS itself has to answer. */
static void answer(struct store_wire *wire)
{
    if (!gw_uv_tls_drain(wire->tls, &wire->out))
        gw_uv_wire_end(wire, no_memory);
    else if (gw_buf_len(wire->out) > OUT_BYTES_MAX)
        gw_uv_wire_end(wire, "too much is unsent");
    else if (wire->out != NULL)
        gw_uv_wire_flush(wire);
}

/* All that can be read of what came. */
static void decipher(struct store_wire *wire)
{
    char *buffer = wire->loop->buffer;
    while (wire->socket != NULL) {
        ssize_t n = gw_uv_tls_read(wire->tls, buffer, GW_UV_BUFFER_BYTES,
                                   wire->why, sizeof(wire->why));
        if (n < 0) {
            gw_uv_wire_end(wire, wire->why);
            return;
        }
        if (n == 0) {
            answer(wire);
            return;
        }
        wire->user->on_bytes(wire->arg, buffer, (size_t)n);
    }
}

static void take(struct store_wire *wire, size_t len)
{
    const char *buffer = wire->loop->buffer;
    wire->is_mute = false;
    if (wire->tls == NULL) {
        wire->user->on_bytes(wire->arg, buffer, len);
        return;
    }
    if (!gw_uv_tls_feed(wire->tls, buffer, len)) {
        gw_uv_wire_end(wire, no_memory);
        return;
    }
    if (!wire->is_open)
        gw_uv_wire_shake(wire);
    if (wire->is_open)
        decipher(wire);
}

static void read_end(struct store_wire *wire, bool is_fin)
{
    if (wire->is_mute)
        gw_uv_wire_end(wire, GW_TLS_MISSED);
    else if (wire->tls != NULL && !wire->is_open)
        gw_uv_wire_end(wire, "TLS: closed by the peer");
    else
        gw_uv_wire_end(wire, is_fin && !wire->is_broken ? closed : lost);
}

static void read_some(struct store_wire *wire)
{
    for (int i = 0; i < READS_PER_TURN && wire->socket != NULL; i++) {
        ssize_t n =
            recv(wire->socket->fd, wire->loop->buffer, GW_UV_BUFFER_BYTES, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n <= 0) {
            read_end(wire, n == 0);
            return;
        }
        take(wire, (size_t)n);
    }
}

void gw_uv_wire_event(struct store_wire *wire, int status, int events)
{
    if (status >= 0 && (events & UV_WRITABLE) != 0)
        gw_uv_wire_flush(wire);
    if (status < 0 || (events & UV_READABLE) != 0)
        read_some(wire);
    if (status < 0 && wire->socket != NULL)
        gw_uv_wire_end(wire, lost);
}
