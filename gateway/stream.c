/* SPDX-License-Identifier: MIT */
/* One non-blocking socket on a worker's edge-triggered epoll. */
#include "gateway/stream.h"
#include "gateway/worker.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_uint have_copies; /* GW_COPIES_... */

void gw_streams_note_copies(unsigned who, bool may_exist)
{
    if (may_exist)
        atomic_fetch_or(&have_copies, who);
    else
        atomic_fetch_and(&have_copies, ~who);
}

struct gw_stream *gw_stream_new(struct gw_worker *worker, int fd,
                                gw_stream_fn on_event, void *owner)
{
    struct gw_stream *stream = calloc(1, sizeof(*stream));
    if (stream != NULL) {
        stream->worker = worker;
        stream->on_event = on_event;
        stream->owner = owner;
        stream->fd = fd;
        struct epoll_event event = {
            .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
            .data.ptr = stream,
        };
        if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
            return stream;
        free(stream);
    }
    close(fd);
    return NULL;
}

static ssize_t receive(struct gw_stream *stream, char *bytes, size_t cap,
                       int flags)
{
    if (stream->is_broken)
        return GW_READ_BROKEN;
    if (stream->is_eof)
        return 0;
    for (;;) {
        ssize_t n = recv(stream->fd, bytes, cap, flags);
        if (n > 0) {
            /* A short read emptied the socket, and whatever comes later
             * raises a new edge; but a FIN that was announced already does
             * not, so then read on until EOF. */
            if ((size_t)n < cap && !stream->has_rdhup)
                stream->is_readable = false;
            return n;
        }
        if (n == 0 && !stream->is_aborted) {
            stream->is_eof = true;
            stream->is_readable = false;
            return 0;
        }
        if (n == 0)
            break;
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            /* After a reset nothing more will come. */
            stream->is_broken = stream->is_reset;
            stream->is_readable = false;
            return stream->is_reset ? GW_READ_BROKEN : GW_READ_EMPTY;
        }
        break;
    }
    stream->is_broken = true;
    stream->is_readable = false;
    return GW_READ_BROKEN;
}

ssize_t gw_stream_read(struct gw_stream *stream, char *bytes, size_t cap)
{
    if (stream->secure != NULL)
        return gw_secure_read(stream, bytes, cap);
    return receive(stream, bytes, cap, 0);
}

ssize_t gw_stream_peek(struct gw_stream *stream, char *bytes, size_t cap)
{
    return receive(stream, bytes, cap, MSG_PEEK);
}

bool gw_stream_skip(struct gw_stream *stream, size_t len)
{
    char bytes[4096];
    while (len > 0) {
        size_t some = len < sizeof(bytes) ? len : sizeof(bytes);
        ssize_t n = recv(stream->fd, bytes, some, 0);
        if (n <= 0)
            return false;
        len -= (size_t)n;
    }
    stream->is_readable = true; /* there may be more */
    return true;
}

void gw_stream_mark_reset(struct gw_stream *stream)
{
    stream->is_reset = true;
    stream->is_readable = true;
    /* What came since the last event may be the peer's reason. */
    if (stream->secure != NULL)
        gw_secure_notify(stream->secure);
    gw_buf_free(&stream->out);
    gw_stream_again(stream);
}

/* The peer did not end: what is read now must not look as if it had. */
static void note_gone(struct gw_stream *stream, int error)
{
    stream->is_aborted = true;
    if (error == ETIMEDOUT)
        gw_count(&stream->worker->metrics.limited_tcp_timeout);
}

/* The number of bytes the kernel took; 0 too when the stream is broken. */
static size_t send_pieces(struct gw_stream *stream, struct iovec *pieces,
                          int count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    for (;;) {
        /* send spares the kernel two copies; most writes are one piece. */
        ssize_t n = count == 1 ? send(stream->fd, pieces[0].iov_base,
                                      pieces[0].iov_len, MSG_NOSIGNAL)
                               : sendmsg(stream->fd, &message, MSG_NOSIGNAL);
        if (n >= 0) {
            stream->sent += (uint32_t)n;
            return (size_t)n;
        }
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            stream->is_writable = false;
        else {
            if (errno != EPIPE)
                note_gone(stream, errno);
            gw_stream_mark_reset(stream);
        }
        return 0;
    }
}

static void keep_rest(struct gw_stream *stream, const struct iovec *pieces,
                      int count, size_t sent)
{
    for (int i = 0; i < count; i++) {
        size_t skip = sent < pieces[i].iov_len ? sent : pieces[i].iov_len;
        sent -= skip;
        const char *rest = (const char *)pieces[i].iov_base + skip;
        if (!gw_buf_append(&stream->out, rest, pieces[i].iov_len - skip)) {
            gw_stream_mark_reset(stream);
            return;
        }
    }
}

void gw_stream_put(struct gw_stream *stream, struct iovec *pieces, int count)
{
    size_t sent = 0;
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += pieces[i].iov_len;
    if (total == 0)
        return;
    if (stream->out == NULL && stream->is_writable && !stream->is_corked)
        sent = send_pieces(stream, pieces, count);
    if (sent < total && !stream->is_reset)
        keep_rest(stream, pieces, count, sent);
    if (sent > 0 && sent < total)
        stream->is_writable = false;
}

void gw_stream_writev(struct gw_stream *stream, struct iovec *pieces, int count)
{
    if (stream->is_reset || stream->fd < 0)
        return;
    if (stream->secure != NULL)
        gw_secure_writev(stream, pieces, count);
    else
        gw_stream_put(stream, pieces, count);
}

void gw_stream_write(struct gw_stream *stream, const char *bytes, size_t len)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    gw_stream_writev(stream, &piece, 1);
}

uint32_t gw_stream_taken(const struct gw_stream *stream)
{
    int queued = 0;
    if (stream->fd < 0 || ioctl(stream->fd, SIOCOUTQ, &queued) < 0)
        return stream->sent;
    return stream->sent - (uint32_t)queued;
}

void gw_stream_flush(struct gw_stream *stream)
{
    while (stream->out != NULL && stream->is_writable && !stream->is_corked &&
           !stream->is_reset) {
        struct iovec piece = {.iov_base = gw_buf_ptr(stream->out),
                              .iov_len = gw_buf_len(stream->out)};
        size_t sent = send_pieces(stream, &piece, 1);
        if (sent > 0)
            gw_buf_take(&stream->out, sent);
    }
    if (stream->out == NULL && stream->is_shut && !stream->is_fin_sent &&
        !stream->is_corked && stream->fd >= 0) {
        stream->is_fin_sent = true;
        shutdown(stream->fd, SHUT_WR);
    }
}

void gw_stream_uncork(struct gw_stream *stream)
{
    stream->is_corked = false;
    if (stream->secure != NULL)
        gw_secure_uncork(stream);
    gw_stream_flush(stream);
}

void gw_stream_discard(struct gw_stream *stream)
{
    if (stream->secure != NULL)
        gw_secure_discard(stream->secure);
    else
        gw_buf_free(&stream->out);
    stream->is_corked = false;
    gw_stream_flush(stream);
}

void gw_stream_shutdown(struct gw_stream *stream)
{
    if (stream->is_shut)
        return;
    stream->is_shut = true;
    if (stream->secure != NULL && !stream->is_corked)
        gw_secure_shutdown(stream);
    gw_stream_flush(stream);
}

void gw_stream_again(struct gw_stream *stream)
{
    if (stream->is_ready || stream->fd < 0)
        return;
    stream->is_ready = true;
    stream->next = stream->worker->ready;
    stream->worker->ready = stream;
}

void gw_stream_close(struct gw_stream **which, bool is_reset)
{
    struct gw_stream *stream = *which;
    *which = NULL;
    if (stream == NULL)
        return;
    if (stream->secure != NULL) {
        if (!is_reset && !stream->is_reset && !stream->is_corked)
            gw_secure_shutdown(stream);
        gw_secure_free(stream);
    }
    if (is_reset) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    /* Closing ours alone would leave it on our epoll. */
    if (atomic_load_explicit(&have_copies, memory_order_relaxed) != 0)
        epoll_ctl(stream->worker->epoll_fd, EPOLL_CTL_DEL, stream->fd, NULL);
    close(stream->fd);
    stream->fd = -1;
    stream->on_event = NULL;
    gw_buf_free(&stream->out);
    gw_worker_bury(stream->worker, stream);
}

void gw_socket_watch(int fd, const struct gw_config *config)
{
    int on = 1;
    int idle_s = (int)(config->tcp_keepalive_ms / 1000);
    int probe_s = idle_s / 4;
    unsigned patience_ms = config->tcp_user_timeout_ms;
    if (config->tcp_keepalive_ms > 0) {
        idle_s = idle_s > 0 ? idle_s : 1;
        probe_s = probe_s > 0 ? probe_s : 1;
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe_s, sizeof(probe_s));
    }
    if (patience_ms > 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms,
                   sizeof(patience_ms));
}

/* The kernel may have given the peer up. Whoever asks takes the error away,
 * and what is read then looks like an end. */
static void note_error(struct gw_stream *stream)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
        error != 0)
        note_gone(stream, error);
}

void gw_stream_notify(struct gw_stream *stream, uint32_t events)
{
    if (stream->fd < 0)
        return;
    if (events & EPOLLOUT) {
        stream->is_writable = true;
        gw_stream_flush(stream);
    }
    if (stream->secure != NULL)
        gw_secure_notify(stream->secure);
    if (events & EPOLLRDHUP)
        stream->has_rdhup = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
        stream->is_readable = true;
    if (events & EPOLLERR) {
        if (stream->sent > 0) /* else who connects wants to know why not */
            note_error(stream);
        stream->is_reset = true;
        stream->is_readable = true;
        gw_buf_free(&stream->out);
    }
    stream->on_event(stream);
}
