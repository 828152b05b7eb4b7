/* SPDX-License-Identifier: MIT */
/*
 * One non-blocking socket on a worker's edge-triggered epoll.
 *
 * A stream remembers the edges it was told of: is_readable stays set until a
 * read finds the socket empty, so an owner may leave bytes in the kernel as
 * long as it likes (that is the back-pressure) and read on later without a
 * new event.
 *
 * A stream may speak TLS (gw_stream_secure); its owner then reads and writes
 * as ever, once gw_stream_handshake has said that it may. `out` holds
 * ciphertext.
 */
#ifndef SIDGATE_GATEWAY_STREAM_H
#define SIDGATE_GATEWAY_STREAM_H

#include "gateway/buf.h"

#include <stdint.h>
#include <sys/types.h>

struct gw_config;
struct gw_worker;
struct gw_stream;
struct gw_secure;
struct ssl_st;

/* Something happened: bytes or EOF to read (is_readable), the unsent bytes
 * went out or the connect ended (is_writable), or the connection broke
 * (is_reset). The owner looks at the flags. It may close this stream and any
 * other; the memory lives until the end of the worker's turn. */
typedef void (*gw_stream_fn)(struct gw_stream *stream);

/* Two of them are in every tunnel: bits, not bools. */
struct gw_stream {
    struct gw_worker *worker;
    gw_stream_fn on_event;
    void *owner;
    struct gw_buf *out;       /* unsent bytes */
    struct gw_secure *secure; /* NULL: plain */
    struct gw_stream *next;   /* in the worker's ready list or garbage list */
    int fd;                   /* -1 once closed */
    uint32_t sent;            /* bytes the kernel took; wraps around */
    bool is_readable : 1;
    bool is_writable : 1;
    bool has_rdhup : 1;  /* the peer's FIN has arrived: read up to it */
    bool is_eof : 1;     /* and has been read */
    bool is_reset : 1;   /* by the peer, or sending failed: writes are dropped,
                        what was received before can still be read */
    bool is_aborted : 1; /* a failed send was told of the reset: the kernel will
                        not tell a read of it again */
    bool is_broken : 1;  /* and reading failed too */
    bool is_corked : 1;  /* writes are held back until gw_stream_uncork */
    bool is_shut : 1;    /* our FIN follows the unsent bytes, or was sent */
    bool is_fin_sent : 1;
    bool is_ready : 1; /* stands in the worker's ready list */
};

enum {
    GW_READ_EMPTY = -1, /* nothing there now */
    GW_READ_BROKEN = -2,
};

/* Wraps `fd` (taken over, non-blocking) and registers it. NULL when memory is
 * short or epoll refuses; fd is closed then. */
struct gw_stream *gw_stream_new(struct gw_worker *worker, int fd,
                                gw_stream_fn on_event, void *owner);

/* Reads up to `cap` bytes: their number, 0 at EOF, or GW_READ_…. */
ssize_t gw_stream_read(struct gw_stream *stream, char *bytes, size_t cap);

/* Sends the pieces; what the kernel does not take is kept and sent when it
 * can be. After a failure is_reset is set and everything is dropped; the
 * owner hears of it by an event in the next turn at the latest. */
void gw_stream_writev(struct gw_stream *stream, struct iovec *pieces,
                      int count);
void gw_stream_write(struct gw_stream *stream, const char *bytes, size_t len);

/* Of a stream that speaks TLS: written while it was corked. */
size_t gw_secure_held(const struct gw_secure *secure);

static inline size_t gw_stream_unsent(const struct gw_stream *stream)
{
    size_t held = stream->secure != NULL ? gw_secure_held(stream->secure) : 0;
    return gw_buf_len(stream->out) + held;
}

/* How many bytes the peer has taken so far; wraps around. The kernel frees its
 * send buffer in lumps, so that `sent` stands still for seconds with a slow
 * reader: this asks for what was acknowledged. A system call: for timers. */
uint32_t gw_stream_taken(const struct gw_stream *stream);

/* Sends what is unsent, as far as the kernel takes it. */
void gw_stream_flush(struct gw_stream *stream);

void gw_stream_uncork(struct gw_stream *stream);

/* Throws away what was written while it was corked, and uncorks it. */
void gw_stream_discard(struct gw_stream *stream);

/* Sends FIN behind what is unsent. */
void gw_stream_shutdown(struct gw_stream *stream);

/* Has on_event called again later in this turn or in the next one. */
void gw_stream_again(struct gw_stream *stream);

/* Another process, an older or a newer one, may have copies of descriptors of
 * ours, be it for the moment in which it is started; or it cannot any more. Any
 * thread. */
enum { GW_COPIES_OLDER = 1, GW_COPIES_NEWER = 2 };
void gw_streams_note_copies(unsigned who, bool may_exist);

/* Closes at once (unsent bytes are dropped) and clears *stream. With
 * is_reset the peer sees RST. */
void gw_stream_close(struct gw_stream **stream, bool is_reset);

/* Looks at up to `cap` received bytes without taking them, or takes exactly
 * `len` that were seen so. Only before gw_stream_secure. As gw_stream_read. */
ssize_t gw_stream_peek(struct gw_stream *stream, char *bytes, size_t cap);
bool gw_stream_skip(struct gw_stream *stream, size_t len);

/* From now on it speaks TLS; takes `ssl` over. False when memory is short. */
bool gw_stream_secure(struct gw_stream *stream, struct ssl_st *ssl,
                      bool is_client);

enum gw_handshake {
    GW_HANDSHAKE_PENDING, /* call again at the next event */
    GW_HANDSHAKE_DONE,
    GW_HANDSHAKE_FAILED, /* `why` says what was wrong; an alert is in `out` */
};

/* Goes on with the TLS handshake as far as the bytes that are there allow. */
enum gw_handshake gw_stream_handshake(struct gw_stream *stream, char *why,
                                      size_t cap);

/* Whether its handshake resumed an earlier session. */
bool gw_stream_was_resumed(const struct gw_stream *stream);

/* What the worker calls with epoll's events. */
void gw_stream_notify(struct gw_stream *stream, uint32_t events);

/* Has the kernel find out when the other end of a TCP socket is gone, as the
 * configuration says. */
void gw_socket_watch(int fd, const struct gw_config *config);

/* ---- between stream.c and stream_tls.c ---- */

/* Sends bytes as they are, or keeps what the kernel does not take. */
void gw_stream_put(struct gw_stream *stream, struct iovec *pieces, int count);
void gw_stream_mark_reset(struct gw_stream *stream);

/* As their namesakes above, for a stream that speaks TLS. */
ssize_t gw_secure_read(struct gw_stream *stream, char *bytes, size_t cap);
void gw_secure_writev(struct gw_stream *stream, const struct iovec *pieces,
                      int count);
void gw_secure_uncork(struct gw_stream *stream);
void gw_secure_discard(struct gw_secure *secure);
void gw_secure_notify(struct gw_secure *secure);
/* Our close_notify, once, behind everything written. */
void gw_secure_shutdown(struct gw_stream *stream);
void gw_secure_free(struct gw_stream *stream);

#endif
