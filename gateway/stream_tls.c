/* SPDX-License-Identifier: MIT */
/*
 * A stream that speaks TLS. OpenSSL sees the socket through a BIO of ours:
 * reading takes from the kernel and remembers when it is empty, so that no call
 * is made in vain; writing gathers the records of one call, which then go out
 * at once or wait in stream->out like any other bytes. So OpenSSL never has to
 * wait in the middle of a record, and the back-pressure is that of plain
 * streams.
 */
#include "gateway/stream.h"
#include "gateway/tls.h"
#include "gateway/worker.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    /* Answers to what a peer asks of TLS itself while it reads nothing. */
    CONTROL_MAX = 1 << 18,
    /* Received for one read beyond what it asked for, before others get a turn;
     * and since there was plaintext at all: nobody honest has more to say to
     * TLS itself. */
    SPARE_BYTES = 16384,
    SILENT_MAX = 65536,
    /* With data, before others get a turn: they may hold a byte each. */
    RECORDS_PER_TURN = 512,
    /* Messages of the handshake's kind in one second behind it, such as changes
     * of keys: each costs us as much as many records of data. */
    ASKED_MAX = 64,
};

struct gw_secure {
    SSL *ssl;
    struct gw_buf *held; /* plaintext that was written while corked */
    size_t left;         /* that may be taken from the kernel in this call */
    size_t silent;       /* taken since the last plaintext */
    uint32_t asked;      /* in that second of the worker's clock */
    uint32_t asked_s;
    uint32_t turn;         /* of the worker, of which ... */
    uint16_t records_left; /* ... these are left */
    bool is_client;
    bool is_done;     /* the handshake */
    bool is_pushy;    /* more than ASKED_MAX of them */
    bool is_dry;      /* the kernel had no more; until the next event */
    bool is_fin;      /* FIN was read */
    bool is_failed;   /* the kernel or OpenSSL: nothing more can be said */
    bool is_notified; /* our close_notify was written */
};

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *bytes, int cap)
{
    struct gw_stream *stream = BIO_get_data(bio);
    struct gw_secure *secure = stream->secure;
    BIO_clear_retry_flags(bio);
    while (!secure->is_dry && !secure->is_fin && secure->left > 0) {
        ssize_t n = recv(stream->fd, bytes, (size_t)cap, 0);
        if (n > 0) {
            /* As in gw_stream_read: a FIN that is known raises no event. */
            secure->is_dry = n < cap && !stream->has_rdhup;
            secure->left -= secure->left < (size_t)n ? secure->left : (size_t)n;
            secure->silent += (size_t)n;
            return (int)n;
        }
        if (n == 0) {
            secure->is_fin = true;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            secure->is_dry = true;
        } else if (errno != EINTR) {
            secure->is_failed = true;
            return -1;
        }
    }
    if (secure->is_fin)
        return 0;
    BIO_set_retry_read(bio);
    return -1;
}

static void send_gathered(struct gw_stream *stream)
{
    struct gw_worker *worker = stream->worker;
    struct iovec piece = {.iov_base = worker->records,
                          .iov_len = worker->records_len};
    if (worker->records_len == 0)
        return;
    worker->records_len = 0;
    if (stream->is_reset)
        return;
    /* What is corked is held as plaintext: records always go. */
    bool is_corked = stream->is_corked;
    stream->is_corked = false;
    gw_stream_put(stream, &piece, 1);
    stream->is_corked = is_corked;
}

static int bio_write(BIO *bio, const char *bytes, int len)
{
    struct gw_stream *stream = BIO_get_data(bio);
    struct gw_worker *worker = stream->worker;
    size_t left = (size_t)len;
    BIO_clear_retry_flags(bio);
    while (left > 0) {
        size_t room = sizeof(worker->records) - worker->records_len;
        size_t some = left < room ? left : room;
        memcpy(worker->records + worker->records_len, bytes, some);
        worker->records_len += some;
        bytes += some;
        left -= some;
        if (worker->records_len == sizeof(worker->records))
            send_gathered(stream);
    }
    return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *ptr)
{
    (void)bio;
    (void)number;
    (void)ptr;
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *bio_method;

static void make_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
                              "sidgate stream");
    if (bio_method == NULL)
        return;
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
    BIO_meth_set_create(bio_method, bio_create);
}

/* OpenSSL's; called for each message of the handshake's kind. */
static void on_message(const SSL *ssl, int where, int result)
{
    const struct gw_stream *stream = BIO_get_data(SSL_get_rbio(ssl));
    struct gw_secure *secure = stream->secure;
    uint32_t now_s = (uint32_t)(stream->worker->now_ms / 1000);
    (void)result;
    if (!secure->is_done || (where & SSL_CB_LOOP) == 0)
        return;
    if (secure->asked_s != now_s)
        secure->asked = 0;
    secure->asked_s = now_s;
    if (++secure->asked <= ASKED_MAX)
        return;
    secure->is_pushy = true;
    secure->left = 0;
}

bool gw_stream_secure(struct gw_stream *stream, SSL *ssl, bool is_client)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct gw_secure *secure = calloc(1, sizeof(*secure));
    pthread_once(&once, make_method);
    BIO *bio = bio_method != NULL ? BIO_new(bio_method) : NULL;
    if (secure == NULL || bio == NULL) {
        BIO_free(bio);
        free(secure);
        SSL_free(ssl);
        return false;
    }
    BIO_set_data(bio, stream);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_info_callback(ssl, on_message);
    if (is_client)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    secure->ssl = ssl;
    secure->is_client = is_client;
    secure->records_left = RECORDS_PER_TURN;
    stream->secure = secure;
    return true;
}

/* ---- the handshake ---- */

enum gw_handshake gw_stream_handshake(struct gw_stream *stream, char *why,
                                      size_t cap)
{
    struct gw_secure *secure = stream->secure;
    if (secure->is_done)
        return GW_HANDSHAKE_DONE;
    secure->left = SIZE_MAX; /* OpenSSL has limits of its own */
    int result = SSL_do_handshake(secure->ssl);
    int error = result == 1 ? 0 : SSL_get_error(secure->ssl, result);
    send_gathered(stream);
    if (result == 1) {
        secure->is_done = true;
        secure->silent = 0;
        stream->is_readable = true; /* OpenSSL may have read on */
        return GW_HANDSHAKE_DONE;
    }
    bool is_cut = secure->silent > SILENT_MAX;
    if (error == SSL_ERROR_WANT_READ && !is_cut && !stream->is_reset) {
        stream->is_readable = false;
        return GW_HANDSHAKE_PENDING;
    }
    secure->is_failed = true;
    gw_tls_why(secure->ssl, why, cap);
    ERR_clear_error();
    if (is_cut)
        snprintf(why, cap, "too long");
    else if (secure->is_fin || why[0] == '\0')
        snprintf(why, cap, "closed by the peer");
    return GW_HANDSHAKE_FAILED;
}

bool gw_stream_was_resumed(const struct gw_stream *stream)
{
    return SSL_session_reused(stream->secure->ssl) == 1;
}

/* ---- reading ---- */

static bool is_flooded(const struct gw_stream *stream)
{
    return gw_buf_len(stream->out) > CONTROL_MAX ||
           stream->secure->silent > SILENT_MAX || stream->secure->is_pushy;
}

/* Whether it is this stream's turn to have one more record read. */
static bool may_read_on(struct gw_stream *stream)
{
    struct gw_secure *secure = stream->secure;
    if (secure->turn != stream->worker->turn)
        secure->records_left = RECORDS_PER_TURN;
    secure->turn = stream->worker->turn;
    if (secure->records_left > 0) {
        secure->records_left--;
        return true;
    }
    gw_stream_again(stream);
    return false;
}

/* OpenSSL wants more bytes than there are, or than it may have now. */
static void wait_for_bytes(struct gw_stream *stream)
{
    if (stream->secure->left > 0)
        stream->is_readable = false;
    else
        gw_stream_again(stream);
}

static ssize_t ended(struct gw_stream *stream, int error)
{
    struct gw_secure *secure = stream->secure;
    ERR_clear_error();
    stream->is_readable = false;
    /* A FIN without close_notify: whoever speaks HTTP to us frames what it
     * says, so it is an end like any other. A backend's answer may end with
     * its connection, and then must not be cut by anybody. */
    if (error == SSL_ERROR_ZERO_RETURN ||
        (secure->is_fin && !secure->is_failed && !secure->is_client &&
         !stream->is_aborted)) {
        stream->is_eof = true;
        return 0;
    }
    secure->is_failed = true;
    stream->is_broken = true;
    return GW_READ_BROKEN;
}

ssize_t gw_secure_read(struct gw_stream *stream, char *bytes, size_t cap)
{
    struct gw_secure *secure = stream->secure;
    size_t total = 0;
    if (stream->is_broken)
        return GW_READ_BROKEN;
    if (stream->is_eof)
        return 0;
    secure->left = cap + SPARE_BYTES;
    while (total < cap && may_read_on(stream)) {
        size_t some = cap - total;
        int n = SSL_read(secure->ssl, bytes + total,
                         some > INT_MAX ? INT_MAX : (int)some);
        if (n > 0) {
            total += (size_t)n;
            secure->silent = 0;
            continue;
        }
        int error = SSL_get_error(secure->ssl, n);
        send_gathered(stream);
        bool is_cut = is_flooded(stream);
        if (is_cut)
            gw_stream_mark_reset(stream); /* nobody waits for it to read */
        if (error == SSL_ERROR_WANT_READ && !is_cut && !stream->is_reset) {
            wait_for_bytes(stream);
            return total > 0 ? (ssize_t)total : GW_READ_EMPTY;
        }
        /* What came before the end is given first; the end comes again. */
        if (total > 0) {
            ERR_clear_error();
            return (ssize_t)total;
        }
        return ended(stream, is_cut ? SSL_ERROR_SSL : error);
    }
    send_gathered(stream);
    return total > 0 ? (ssize_t)total : GW_READ_EMPTY;
}

/* ---- writing ---- */

static void encrypt(struct gw_stream *stream, const char *bytes, size_t len)
{
    struct gw_secure *secure = stream->secure;
    while (len > 0 && !stream->is_reset) {
        int some = len > INT_MAX ? INT_MAX : (int)len;
        int n = SSL_write(secure->ssl, bytes, some);
        if (n <= 0) {
            ERR_clear_error();
            secure->is_failed = true;
            gw_stream_mark_reset(stream);
            return;
        }
        bytes += n;
        len -= (size_t)n;
    }
}

static void hold(struct gw_stream *stream, const struct iovec *pieces,
                 int count)
{
    for (int i = 0; i < count; i++)
        if (!gw_buf_append(&stream->secure->held, pieces[i].iov_base,
                           pieces[i].iov_len)) {
            gw_stream_mark_reset(stream);
            return;
        }
}

void gw_secure_writev(struct gw_stream *stream, const struct iovec *pieces,
                      int count)
{
    struct gw_worker *worker = stream->worker;
    size_t len = 0;
    if (stream->is_corked) {
        hold(stream, pieces, count);
        return;
    }
    /* Small pieces, such as a head and its body, share a record. */
    for (int i = 0; i < count; i++) {
        size_t some = pieces[i].iov_len;
        if (len + some > sizeof(worker->record)) {
            encrypt(stream, worker->record, len);
            len = 0;
        }
        if (some > sizeof(worker->record) || count == 1) {
            encrypt(stream, pieces[i].iov_base, some);
            continue;
        }
        memcpy(worker->record + len, pieces[i].iov_base, some);
        len += some;
    }
    encrypt(stream, worker->record, len);
    send_gathered(stream);
}

void gw_secure_uncork(struct gw_stream *stream)
{
    struct gw_secure *secure = stream->secure;
    struct gw_buf *held = secure->held;
    secure->held = NULL;
    if (held != NULL && !stream->is_reset) {
        struct iovec piece = {.iov_base = gw_buf_ptr(held),
                              .iov_len = gw_buf_len(held)};
        gw_secure_writev(stream, &piece, 1);
    }
    gw_buf_free(&held);
    if (stream->is_shut)
        gw_secure_shutdown(stream);
}

void gw_secure_discard(struct gw_secure *secure)
{
    gw_buf_free(&secure->held);
}

size_t gw_secure_held(const struct gw_secure *secure)
{
    return gw_buf_len(secure->held);
}

void gw_secure_notify(struct gw_secure *secure)
{
    secure->is_dry = false;
}

void gw_secure_shutdown(struct gw_stream *stream)
{
    struct gw_secure *secure = stream->secure;
    if (!secure->is_done || secure->is_notified || secure->is_failed ||
        stream->is_reset)
        return;
    secure->is_notified = true;
    if (SSL_shutdown(secure->ssl) < 0)
        ERR_clear_error();
    send_gathered(stream);
}

void gw_secure_free(struct gw_stream *stream)
{
    struct gw_secure *secure = stream->secure;
    stream->secure = NULL;
    /* Else OpenSSL takes the session for a broken one and never resumes it. */
    SSL_set_shutdown(secure->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(secure->ssl);
    gw_buf_free(&secure->held);
    free(secure);
}
