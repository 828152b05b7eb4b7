/* SPDX-License-Identifier: MIT */
/*
 * The client's end of TLS without a socket: bytes that came go in, bytes to be
 * sent come out. So nothing here waits, whatever TLS itself wants to say.
 */
#ifndef SIDGATE_GATEWAY_UV_TLS_H
#define SIDGATE_GATEWAY_UV_TLS_H

#include "gateway/buf.h"

#include <openssl/ssl.h>
#include <sys/types.h>

struct gw_uv_tls;

/* Takes `ssl` over. NULL when memory is short. */
struct gw_uv_tls *gw_uv_tls_new(SSL *ssl);

/* NULL is harmless. */
void gw_uv_tls_free(struct gw_uv_tls *tls);

/* Bytes that came. False when memory is short. */
bool gw_uv_tls_feed(struct gw_uv_tls *tls, const char *bytes, size_t len)
    __attribute__((warn_unused_result));

/* Goes on with the handshake: 1 once it is done, 0 while bytes are missing, or
 * -1, with `why` in one line. Each may leave bytes to be sent. */
int gw_uv_tls_handshake(struct gw_uv_tls *tls, char *why, size_t cap);

/* The length of what is read, 0 when nothing whole is there; or -1 at the end,
 * with `why` in one line. Each may leave bytes to be sent. */
ssize_t gw_uv_tls_read(struct gw_uv_tls *tls, char *bytes, size_t cap,
                       char *why, size_t why_cap);

/* Enciphers; how much of it, or -1. */
ssize_t gw_uv_tls_write(struct gw_uv_tls *tls, const char *bytes, size_t len);

/* Our close_notify, once the handshake is done. */
void gw_uv_tls_shutdown(struct gw_uv_tls *tls);

/* Appends what is to be sent. False when memory is short. */
bool gw_uv_tls_drain(struct gw_uv_tls *tls, struct gw_buf **out)
    __attribute__((warn_unused_result));

#endif
