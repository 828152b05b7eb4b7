/* SPDX-License-Identifier: MIT */
/* What an upgrade takes from one process to the next. */
#include "gateway/move.h"
#include "gateway/peer.h"
#include "gateway/worker.h"

#include <unistd.h>

enum {
    HAS_RDHUP = 1,
    IS_EOF = 2,
    IS_SHUT = 4,
    IS_FIN_SENT = 8,
};

void gw_move_pack_buf(struct gw_pack *pack, const struct gw_buf *buf)
{
    size_t len = gw_buf_len(buf);
    gw_pack_span(pack, len > 0 ? buf->data + buf->start : NULL, len);
}

void gw_move_unpack_buf(struct gw_unpack *unpack, struct gw_buf **buf)
{
    struct eio_span span = gw_unpack_span(unpack);
    if (span.len > 0 && !gw_buf_append(buf, span.ptr, span.len))
        unpack->has_failed = true;
}

void gw_move_pack_peer(struct gw_pack *pack, const struct gw_peer *peer)
{
    gw_pack_number(pack, peer->family);
    gw_pack_raw(pack, peer->addr, sizeof(peer->addr));
}

void gw_move_unpack_peer(struct gw_unpack *unpack, struct gw_peer *peer)
{
    peer->family = (uint8_t)gw_unpack_number(unpack);
    gw_unpack_raw(unpack, peer->addr, sizeof(peer->addr));
}

void gw_move_pack_stream(struct gw_pack *pack, const struct gw_stream *stream)
{
    uint64_t flags = (stream->has_rdhup ? HAS_RDHUP : 0) |
                     (stream->is_eof ? IS_EOF : 0) |
                     (stream->is_shut ? IS_SHUT : 0) |
                     (stream->is_fin_sent ? IS_FIN_SENT : 0);
    gw_pack_number(pack, flags);
    gw_move_pack_buf(pack, stream->out);
}

struct gw_stream *gw_move_open_stream(struct gw_worker *worker, int fd,
                                      struct gw_unpack *unpack)
{
    uint64_t flags = gw_unpack_number(unpack);
    struct gw_stream *stream = gw_stream_new(worker, fd, NULL, NULL);
    if (stream == NULL)
        return NULL;
    gw_move_unpack_buf(unpack, &stream->out);
    stream->has_rdhup = (flags & HAS_RDHUP) != 0;
    stream->is_eof = (flags & IS_EOF) != 0;
    stream->is_shut = (flags & IS_SHUT) != 0;
    stream->is_fin_sent = (flags & IS_FIN_SENT) != 0;
    /* There may be bytes; and what is unsent waits for epoll's word. */
    stream->is_readable = !stream->is_eof;
    stream->is_writable = stream->out == NULL;
    if (unpack->has_failed)
        gw_stream_close(&stream, false);
    return stream;
}

void gw_move_release_stream(struct gw_stream **which)
{
    struct gw_stream *stream = *which;
    *which = NULL;
    /* The socket is open in the other process: closing it here would not take
     * it off our epoll. */
    epoll_ctl(stream->worker->epoll_fd, EPOLL_CTL_DEL, stream->fd, NULL);
    close(stream->fd);
    stream->fd = -1;
    stream->on_event = NULL;
    gw_buf_free(&stream->out);
    gw_worker_bury(stream->worker, stream);
}
