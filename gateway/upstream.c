/* SPDX-License-Identifier: MIT */
/* Connections to backends and the worker's pool of idle ones. */
#include "gateway/upstream.h"
#include "gateway/descriptors.h"
#include "gateway/log.h"
#include "gateway/tls.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    UNANNOUNCED_IDLE_MS = 1000, /* where no Keep-Alive: timeout was given */
    IDLE_MARGIN_MS = 1000,      /* dropped this long before the backend would */
    IDLE_MAX_MS = 60000,
    CERTAIN_MS = 1000,
    ENOUGH_IDLE = 8,
    RETIRE_MS = 1000,
    TLS_LOG_MS = 1000,
};

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static struct gw_backend_metrics *metrics_of(const struct gw_upstream *up)
{
    return &up->worker->backend_metrics[up->backend->index];
}

static void link_to(struct gw_upstream *up, struct gw_upstream **head)
{
    up->next = *head;
    if (up->next != NULL)
        up->next->link = &up->next;
    up->link = head;
    *head = up;
    gw_count(&up->worker->metrics.idle_upstreams);
}

static void unlink_idle(struct gw_upstream *up)
{
    if (up->link == NULL)
        return;
    *up->link = up->next;
    if (up->next != NULL)
        up->next->link = up->link;
    up->next = NULL;
    up->link = NULL;
    gw_count_add(&up->worker->metrics.idle_upstreams, (uint64_t)-1);
}

void gw_upstream_close(struct gw_upstream **which, bool is_reset)
{
    struct gw_upstream *up = *which;
    *which = NULL;
    if (up == NULL)
        return;
    unlink_idle(up);
    gw_timer_stop(&up->worker->wheel, &up->timer);
    gw_stream_close(&up->stream, is_reset);
    gw_buf_free(&up->in);
    gw_worker_bury_object(up->worker, &up->grave);
}

static void connect_failed(struct gw_upstream *up, enum gw_connect_failure why)
{
    const struct gw_upstream_user *user = up->user;
    void *arg = up->arg;
    gw_count(&metrics_of(up)->b_connect_errors);
    if (why == GW_CONNECT_REFUSED)
        gw_backend_note_refused(up->backend, up->worker->now_ms);
    else if (why == GW_CONNECT_UNREACHABLE)
        gw_backend_note_unreachable(up->backend, up->worker->now_ms);
    struct gw_upstream *gone = up;
    gw_upstream_close(&gone, false);
    user->on_connect_failed(up, arg, why);
}

static void on_connect_timeout(struct gw_timer *timer)
{
    connect_failed(GW_CONTAINER(timer, struct gw_upstream, timer),
                   GW_CONNECT_UNREACHABLE);
}

static enum gw_connect_failure failure_of(int error)
{
    switch (error) {
    case ECONNREFUSED:
        return GW_CONNECT_REFUSED;
    case EADDRNOTAVAIL:
    case EAGAIN:
    case EADDRINUSE:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return GW_CONNECT_LOCAL;
    default:
        return GW_CONNECT_UNREACHABLE;
    }
}

/* False: not yet, or it has failed and is gone. To a request it is no matter
 * whether a backend cannot be reached or not be trusted. */
static bool is_secured(struct gw_upstream *up)
{
    char why[160] = "";
    switch (gw_stream_handshake(up->stream, why, sizeof(why))) {
    case GW_HANDSHAKE_DONE:
        return true;
    case GW_HANDSHAKE_PENDING:
        if (!up->is_shaking && up->patience_ms > 0)
            gw_worker_timer(up->worker, &up->timer, up->patience_ms,
                            on_connect_timeout);
        up->is_shaking = true;
        return false;
    case GW_HANDSHAKE_FAILED:
        break;
    }
    long long told_ms = atomic_load(&up->backend->tls_failed_ms);
    if (told_ms == 0 || up->worker->now_ms - told_ms > TLS_LOG_MS) {
        atomic_store(&up->backend->tls_failed_ms, up->worker->now_ms);
        gw_log(GW_LOG_WARNING, "backend_tls_failed", "backend",
               up->backend->config->id, "why", why);
    }
    connect_failed(up, GW_CONNECT_UNREACHABLE);
    return false;
}

static void on_stream_event(struct gw_stream *stream)
{
    struct gw_upstream *up = stream->owner;
    if (up->is_connected) {
        up->user->on_event(up, up->arg);
        return;
    }
    if (stream->is_reset) {
        int error = 0;
        socklen_t len = sizeof(error);
        getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        connect_failed(up, failure_of(error));
        return;
    }
    if (!stream->is_writable || (stream->secure != NULL && !is_secured(up)))
        return;
    up->is_connected = true;
    gw_timer_stop(&up->worker->wheel, &up->timer);
    gw_backend_note_connected(up->backend);
    up->user->on_connected(up, up->arg);
    /* Bytes or a FIN that came in the same event raise no other. */
    if (stream->fd >= 0 && stream->is_readable)
        gw_stream_again(stream);
}

/* Turns through the configured source addresses: one of them gives about
 * 28,000 connections to one backend. */
static int bind_source(struct gw_worker *worker, int fd)
{
    static _Thread_local uint32_t turn;
    const struct gw_config *config = worker->config;
    int on = 1;
    if (config->source_count == 0)
        return 0;
    const struct gw_address *source =
        &config->sources[turn++ % config->source_count];
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    return bind(fd, (const struct sockaddr *)&source->addr, source->addr_len);
}

/* A socket on its way to `address`; -1 with errno. */
static int start_connect(struct gw_worker *worker,
                         const struct gw_address *address, bool *is_connected)
{
    int on = 1;
    int fd = socket(address->addr.ss_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (gw_descriptors_are_few(worker->config, gw_descriptors_limit(), fd)) {
        close(fd);
        errno = EMFILE;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind_source(worker, fd) == 0) {
        *is_connected = connect(fd, (const struct sockaddr *)&address->addr,
                                address->addr_len) == 0;
        if (*is_connected || errno == EINPROGRESS)
            return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* It counts as connected only when the handshake is over. */
static bool secure(struct gw_upstream *up)
{
    SSL *ssl = gw_tls_connect(up->worker->server->tls, up->backend->config,
                              up->backend->index);
    if (ssl == NULL || !gw_stream_secure(up->stream, ssl, true))
        return false;
    up->stream->is_writable = up->is_connected;
    if (up->is_connected)
        gw_stream_again(up->stream);
    up->is_connected = false;
    return true;
}

struct gw_upstream *gw_upstream_connect(struct gw_worker *worker,
                                        struct gw_backend *backend,
                                        const struct gw_upstream_user *user,
                                        void *arg, enum gw_connect_failure *why)
{
    struct gw_backend_metrics *metrics =
        &worker->backend_metrics[backend->index];
    bool is_connected = false;
    gw_count(&metrics->b_connects);
    int fd = start_connect(worker, &backend->config->address, &is_connected);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        /* Those who wait for work make room. */
        gw_upstreams_drop_idle(worker);
        fd = start_connect(worker, &backend->config->address, &is_connected);
    }
    if (fd < 0) {
        *why = failure_of(errno);
        gw_count(*why == GW_CONNECT_LOCAL ? &worker->metrics.local_port_errors
                                          : &metrics->b_connect_errors);
        if (*why == GW_CONNECT_REFUSED)
            gw_backend_note_refused(backend, worker->now_ms);
        else if (*why == GW_CONNECT_UNREACHABLE)
            gw_backend_note_unreachable(backend, worker->now_ms);
        return NULL;
    }
    *why = GW_CONNECT_LOCAL;
    struct gw_upstream *up = calloc(1, sizeof(*up));
    if (up == NULL) {
        close(fd);
        return NULL;
    }
    up->worker = worker;
    up->backend = backend;
    up->user = user;
    up->arg = arg;
    up->is_connected = is_connected;
    up->stream = gw_stream_new(worker, fd, on_stream_event, up);
    if (up->stream == NULL) {
        free(up);
        return NULL;
    }
    if (backend->config->is_tls && !secure(up)) {
        gw_upstream_close(&up, false);
        return NULL;
    }
    if (up->is_connected) {
        up->stream->is_writable = true;
        gw_backend_note_connected(backend);
    } else {
        gw_worker_timer(worker, &up->timer, worker->config->connect_timeout_ms,
                        on_connect_timeout);
    }
    return up;
}

/* Whatever an idle connection says, it is over. */
static void on_idle_event(struct gw_upstream *up, void *arg)
{
    char byte;
    (void)arg;
    bool is_over = up->stream->is_readable || up->stream->is_reset;
    /* But TLS may have something to say to itself. */
    if (is_over && up->stream->secure != NULL && !up->stream->is_reset)
        is_over = gw_stream_read(up->stream, &byte, 1) != GW_READ_EMPTY;
    if (is_over)
        gw_upstream_close(&up, false);
}

static void on_idle_end(struct gw_timer *timer)
{
    struct gw_upstream *up = GW_CONTAINER(timer, struct gw_upstream, timer);
    gw_upstream_close(&up, false);
}

static const struct gw_upstream_user idle_user = {.on_event = on_idle_event};

void gw_upstream_release(struct gw_upstream **which, int keep_alive_s)
{
    struct gw_upstream *up = *which;
    struct gw_worker *worker = up->worker;
    int64_t life_ms = UNANNOUNCED_IDLE_MS;
    *which = NULL;
    if (keep_alive_s >= 0)
        life_ms = (int64_t)keep_alive_s * 1000 - IDLE_MARGIN_MS;
    if (life_ms > IDLE_MAX_MS)
        life_ms = IDLE_MAX_MS;
    if (life_ms <= 0 || up->stream->is_readable || up->stream->is_reset ||
        up->stream->is_shut || up->in != NULL ||
        worker->phase >= GW_PHASE_DRAINING) {
        gw_upstream_close(&up, false);
        return;
    }
    up->user = &idle_user;
    up->arg = NULL;
    up->is_reused = true;
    up->idle_since_ms = worker->now_ms;
    link_to(up, &worker->idle[up->backend->index]);
    gw_worker_timer(worker, &up->timer, life_ms, on_idle_end);
}

bool gw_upstream_has_enough(const struct gw_worker *worker,
                            const struct gw_backend *backend)
{
    int count = 0;
    const struct gw_upstream *up = worker->idle[backend->index];
    for (; up != NULL && count < ENOUGH_IDLE; up = up->next)
        count++;
    return count == ENOUGH_IDLE;
}

void gw_upstream_retire(struct gw_upstream **which)
{
    struct gw_upstream *up = *which;
    *which = NULL;
    if (up->stream->is_readable || up->stream->is_reset || up->in != NULL ||
        up->worker->phase >= GW_PHASE_DRAINING) {
        gw_upstream_close(&up, false);
        return;
    }
    up->user = &idle_user;
    up->arg = NULL;
    link_to(up, &up->worker->retired);
    gw_worker_timer(up->worker, &up->timer, RETIRE_MS, on_idle_end);
}

static bool is_quiet(const struct gw_upstream *up)
{
    char byte;
    return recv(up->stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

struct gw_upstream *gw_upstream_reuse(struct gw_worker *worker,
                                      struct gw_backend *backend,
                                      bool is_certain,
                                      const struct gw_upstream_user *user,
                                      void *arg)
{
    struct gw_upstream *up = worker->idle[backend->index];
    if (up == NULL)
        return NULL;
    if (is_certain &&
        (worker->now_ms - up->idle_since_ms > CERTAIN_MS || !is_quiet(up)))
        return NULL;
    unlink_idle(up);
    gw_timer_stop(&worker->wheel, &up->timer);
    gw_count(&worker->backend_metrics[backend->index].b_reused);
    up->user = user;
    up->arg = arg;
    up->scan = (struct gw_scan){0};
    return up;
}

struct gw_stream *gw_upstream_detach(struct gw_upstream **which)
{
    struct gw_upstream *up = *which;
    struct gw_stream *stream = up->stream;
    up->stream = NULL;
    gw_upstream_close(which, false);
    return stream;
}

static void drop_all(struct gw_upstream *const *head)
{
    while (*head != NULL) {
        struct gw_upstream *up = *head;
        gw_upstream_close(&up, false);
    }
}

void gw_upstreams_drop_idle(struct gw_worker *worker)
{
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++)
        drop_all(&worker->idle[i]);
    drop_all(&worker->retired);
}

void gw_upstreams_drop_backend(struct gw_worker *worker,
                               const struct gw_backend *backend)
{
    struct gw_upstream *next;
    drop_all(&worker->idle[backend->index]);
    for (struct gw_upstream *up = worker->retired; up != NULL; up = next) {
        next = up->next;
        if (up->backend == backend)
            gw_upstream_close(&up, false);
    }
}
