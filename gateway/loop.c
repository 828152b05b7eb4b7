/* SPDX-License-Identifier: MIT */
/* A worker as the loop that a store client lives in. */
#include "gateway/loop.h"
#include "gateway/resolve.h"
#include "gateway/tls.h"
#include "gateway/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    READS_PER_TURN = 16,
    BUFFER_BYTES = 16384,
    TARGET_MS = 300, /* for one of several addresses to connect */
    FRESH_MS = 2000, /* how long what was resolved is used */
};

struct loop {
    struct store_loop base;
    struct gw_worker *worker;
    /* Not the worker's: what a reply sets going reads into that one. */
    char buffer[BUFFER_BYTES];
    struct name *names;
};

/* A name that is, or was just, resolved. A question that takes long outlives
 * the wire that it was asked for. */
struct name {
    struct name *next;
    struct loop *loop;
    struct gw_resolve *resolving;
    struct gw_link waiting; /* wires */
    struct gw_resolved found;
    int64_t found_at_ms;
    char host[STORE_HOST_MAX];
    uint16_t port;
};

struct store_wire {
    struct gw_grave grave;
    struct loop *loop;
    struct gw_worker *worker;
    struct gw_stream *stream;
    const struct store_wire_user *user;
    void *arg;
    struct gw_link link;   /* in name->waiting */
    struct gw_timer timer; /* until the next address is tried; or it tells,
                              later, what cannot be told at once */
    struct gw_resolved targets;
    unsigned next_target;
    SSL *ssl; /* NULL: plain; the stream's once it is secured */
    bool is_secured;
    bool is_connected;
    bool is_open; /* connected, and hands were shaken */
    bool is_mute; /* plain TCP, and no byte came yet */
    char why[160];
};

struct store_timer {
    struct gw_grave grave;
    struct gw_timer timer;
    struct gw_worker *worker;
    void (*fire)(void *arg);
    void *arg;
};

static struct gw_worker *worker_of(struct store_loop *loop)
{
    return ((struct loop *)(void *)loop)->worker;
}

static int64_t loop_now_ms(struct store_loop *loop)
{
    return worker_of(loop)->now_ms;
}

static uint32_t loop_random(struct store_loop *loop)
{
    return gw_worker_random(worker_of(loop));
}

/* ---- wires ---- */

static void wire_close(struct store_wire *wire)
{
    gw_link_remove(&wire->link);
    gw_timer_stop(&wire->worker->wheel, &wire->timer);
    gw_stream_close(&wire->stream, false);
    if (!wire->is_secured)
        SSL_free(wire->ssl);
    wire->user = NULL;
    gw_worker_bury_object(wire->worker, &wire->grave);
}

static void wire_end(struct store_wire *wire, const char *why)
{
    const struct store_wire_user *user = wire->user;
    wire_close(wire);
    user->on_end(wire->arg, why);
}

static void on_failure(struct gw_timer *timer)
{
    struct store_wire *wire = GW_CONTAINER(timer, struct store_wire, timer);
    wire_end(wire, wire->why);
}

static void on_stream(struct gw_stream *stream);

static bool try_next(struct store_wire *wire);

/* The last one has all the time that the caller gives. */
static void on_silent_target(struct gw_timer *timer)
{
    struct store_wire *wire = GW_CONTAINER(timer, struct store_wire, timer);
    gw_stream_close(&wire->stream, false);
    snprintf(wire->why, sizeof(wire->why), "no connection in time");
    if (!try_next(wire))
        wire_end(wire, wire->why);
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
        wire->stream = gw_stream_new(wire->worker, fd, on_stream, wire);
        if (wire->stream != NULL) {
            if (wire->next_target < wire->targets.count)
                gw_worker_timer(wire->worker, &wire->timer, TARGET_MS,
                                on_silent_target);
            return true;
        }
        snprintf(wire->why, sizeof(wire->why), "out of memory");
    }
    return false;
}

static void open_up(struct store_wire *wire)
{
    wire->is_open = true;
    /* What came in the same event raises no other. */
    gw_stream_again(wire->stream);
    wire->user->on_open(wire->arg);
}

static void shake(struct store_wire *wire)
{
    char reason[sizeof(wire->why)] = "TLS: ";
    switch (gw_stream_handshake(wire->stream, reason + 5, sizeof(reason) - 5)) {
    case GW_HANDSHAKE_PENDING:
        break;
    case GW_HANDSHAKE_DONE:
        open_up(wire);
        break;
    case GW_HANDSHAKE_FAILED:
        wire_end(wire, gw_tls_store_why(wire->ssl, reason, wire->why,
                                        sizeof(wire->why)));
        break;
    }
}

static void secure(struct store_wire *wire)
{
    wire->is_secured = true;
    if (gw_stream_secure(wire->stream, wire->ssl, true))
        shake(wire);
    else
        wire_end(wire, "out of memory");
}

static void on_connect(struct store_wire *wire)
{
    struct gw_stream *stream = wire->stream;
    if (stream->is_reset) {
        int error = 0;
        socklen_t len = sizeof(error);
        getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        snprintf(wire->why, sizeof(wire->why), "%s",
                 strerror(error != 0 ? error : ECONNRESET));
        gw_stream_close(&wire->stream, false);
        gw_timer_stop(&wire->worker->wheel, &wire->timer);
        if (!try_next(wire))
            wire_end(wire, wire->why);
        return;
    }
    if (!stream->is_writable)
        return;
    gw_timer_stop(&wire->worker->wheel, &wire->timer);
    wire->is_connected = true;
    if (wire->ssl != NULL)
        secure(wire);
    else
        open_up(wire);
}

/* TLS, or who speaks it, may know more of the reason. */
static void end_read(struct store_wire *wire, const char *reason)
{
    if (wire->is_secured)
        reason =
            gw_tls_store_why(wire->ssl, reason, wire->why, sizeof(wire->why));
    wire_end(wire, wire->is_mute ? GW_TLS_MISSED : reason);
}

static void read_some(struct store_wire *wire)
{
    char *buffer = wire->loop->buffer;
    for (int i = 0; i < READS_PER_TURN; i++) {
        struct gw_stream *stream = wire->stream;
        if (stream == NULL || !stream->is_readable)
            return;
        ssize_t n = gw_stream_read(stream, buffer, BUFFER_BYTES);
        if (n == GW_READ_EMPTY)
            return;
        if (n <= 0) {
            end_read(wire, n == 0 ? "closed by the server" : "connection lost");
            return;
        }
        wire->is_mute = false;
        wire->user->on_bytes(wire->arg, buffer, (size_t)n);
    }
    if (wire->stream != NULL && wire->stream->is_readable)
        gw_stream_again(wire->stream);
}

static void on_stream(struct gw_stream *stream)
{
    struct store_wire *wire = stream->owner;
    if (!wire->is_connected) {
        on_connect(wire);
        return;
    }
    if (!wire->is_open) {
        shake(wire);
        return;
    }
    if (stream->is_corked)
        gw_stream_uncork(stream);
    read_some(wire);
}

static void use_found(struct store_wire *wire, const struct name *name)
{
    wire->targets = name->found;
    snprintf(wire->why, sizeof(wire->why), "%s", wire->targets.why);
}

static void on_resolved(void *arg, const struct gw_resolved *found)
{
    struct name *name = arg;
    name->resolving = NULL;
    name->found = *found;
    name->found_at_ms = name->loop->worker->now_ms;
    while (name->waiting.next != &name->waiting) {
        struct store_wire *wire =
            GW_CONTAINER(name->waiting.next, struct store_wire, link);
        gw_link_remove(&wire->link);
        use_found(wire, name);
        if (!try_next(wire))
            wire_end(wire, wire->why);
    }
}

static bool is_stale(const struct name *name)
{
    return name->resolving == NULL &&
           name->loop->worker->now_ms - name->found_at_ms >= FRESH_MS;
}

/* Those that are of no use any more go. NULL when memory is short. */
static struct name *find_name(struct loop *loop, const struct store_address *to)
{
    for (struct name **at = &loop->names; *at != NULL;) {
        struct name *name = *at;
        if (name->port == to->port && strcmp(name->host, to->host) == 0)
            return name;
        if (is_stale(name)) {
            *at = name->next;
            free(name);
        } else {
            at = &name->next;
        }
    }
    struct name *name = calloc(1, sizeof(*name));
    if (name == NULL)
        return NULL;
    name->loop = loop;
    gw_link_init(&name->waiting);
    snprintf(name->host, sizeof(name->host), "%s", to->host);
    name->port = to->port;
    name->next = loop->names;
    loop->names = name;
    return name;
}

/* False when the wire has, or will have, no address. */
static bool resolve(struct store_wire *wire, const struct store_address *to)
{
    struct name *name = find_name(wire->loop, to);
    if (name == NULL) {
        snprintf(wire->why, sizeof(wire->why), "out of memory");
        return false;
    }
    if (name->found.count > 0 && name->resolving == NULL && !is_stale(name)) {
        use_found(wire, name);
        return try_next(wire);
    }
    if (name->resolving == NULL)
        name->resolving = gw_resolve_start(wire->worker, to->host, to->port,
                                           on_resolved, name);
    if (name->resolving == NULL) {
        snprintf(wire->why, sizeof(wire->why), "cannot start a thread");
        return false;
    }
    gw_link_add(&name->waiting, &wire->link);
    return true;
}

/* Begins to connect, or to wait for an address. False when neither is
 * possible. */
static bool reach(struct store_wire *wire, const struct store_address *to)
{
    struct gw_resolved *targets = &wire->targets;
    if (to->is_unix) {
        struct sockaddr_un path = {.sun_family = AF_UNIX};
        if (strlen(to->host) >= sizeof(path.sun_path)) {
            snprintf(wire->why, sizeof(wire->why), "the path is too long");
            return false;
        }
        memcpy(path.sun_path, to->host, strlen(to->host) + 1);
        memcpy(&targets->addr[0], &path, sizeof(path));
        targets->len[0] = sizeof(path);
        targets->count = 1;
        return try_next(wire);
    }
    if (gw_resolve_literal(to->host, to->port, targets))
        return try_next(wire);
    return resolve(wire, to);
}

static struct store_wire *loop_open(struct store_loop *base,
                                    const struct store_address *to,
                                    const struct store_wire_user *user,
                                    void *arg)
{
    struct store_wire *wire = calloc(1, sizeof(*wire));
    if (wire == NULL)
        return NULL;
    wire->loop = (struct loop *)(void *)base;
    wire->worker = wire->loop->worker;
    gw_link_init(&wire->link);
    wire->user = user;
    wire->arg = arg;
    wire->is_mute = !to->is_tls && !to->is_unix;
    if (to->is_tls)
        wire->ssl = gw_tls_store(wire->worker->server->tls, to);
    bool can_begin = !to->is_tls || wire->ssl != NULL;
    if (!can_begin)
        snprintf(wire->why, sizeof(wire->why), "no TLS");
    if (!can_begin || !reach(wire, to))
        gw_worker_timer(wire->worker, &wire->timer, 0, on_failure);
    return wire;
}

/* Held back until the stream is called again later in this turn: what one turn
 * writes is one system call. */
static void loop_write(struct store_wire *wire, const char *bytes, size_t len)
{
    if (gw_stream_unsent(wire->stream) == 0) {
        wire->stream->is_corked = true;
        gw_stream_again(wire->stream);
    }
    gw_stream_write(wire->stream, bytes, len);
}

static size_t loop_unsent(const struct store_wire *wire)
{
    return wire->stream != NULL ? gw_stream_unsent(wire->stream) : 0;
}

/* ---- timers ---- */

static void on_timer(struct gw_timer *timer)
{
    struct store_timer *one = GW_CONTAINER(timer, struct store_timer, timer);
    one->fire(one->arg);
}

static struct store_timer *loop_timer_new(struct store_loop *loop,
                                          void (*fire)(void *arg), void *arg)
{
    struct store_timer *timer = calloc(1, sizeof(*timer));
    if (timer == NULL)
        return NULL;
    timer->worker = worker_of(loop);
    timer->fire = fire;
    timer->arg = arg;
    return timer;
}

static void loop_timer_start(struct store_timer *timer, int64_t after_ms)
{
    gw_worker_timer(timer->worker, &timer->timer, after_ms, on_timer);
}

static void loop_timer_stop(struct store_timer *timer)
{
    gw_timer_stop(&timer->worker->wheel, &timer->timer);
}

static void loop_timer_free(struct store_timer *timer)
{
    if (timer == NULL)
        return;
    loop_timer_stop(timer);
    gw_worker_bury_object(timer->worker, &timer->grave);
}

static const struct store_loop_ops loop_ops = {
    .now_ms = loop_now_ms,
    .random = loop_random,
    .open = loop_open,
    .write = loop_write,
    .unsent = loop_unsent,
    .close = wire_close,
    .timer_new = loop_timer_new,
    .timer_start = loop_timer_start,
    .timer_stop = loop_timer_stop,
    .timer_free = loop_timer_free,
};

struct store_loop *gw_loop_new(struct gw_worker *worker)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return NULL;
    loop->base.ops = &loop_ops;
    loop->worker = worker;
    return &loop->base;
}

void gw_loop_free(struct store_loop *base)
{
    struct loop *loop = (struct loop *)(void *)base;
    while (loop != NULL && loop->names != NULL) {
        struct name *name = loop->names;
        loop->names = name->next;
        gw_resolve_cancel(&name->resolving);
        free(name);
    }
    free(loop);
}
