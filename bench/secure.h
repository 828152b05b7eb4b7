/* SPDX-License-Identifier: MIT */
/* The load generator's end of TLS: as little as a client needs. Certificates
 * are not looked at, sessions are not resumed. */
#ifndef SIDGATE_BENCH_SECURE_H
#define SIDGATE_BENCH_SECURE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Shakes hands on a connected blocking socket. NULL, told on stderr, when that
 * fails. The caller owns the result. */
SSL *bench_secure_open(int fd);

/* As send and recv: bytes, 0 at the end, -1 with errno EAGAIN or EPROTO. ssl is
 * NULL for a plain socket. */
ssize_t bench_send(SSL *ssl, int fd, const char *data, size_t len);
ssize_t bench_recv(SSL *ssl, int fd, char *data, size_t len, int flags);

#endif
