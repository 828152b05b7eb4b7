/* SPDX-License-Identifier: MIT */
/* The load generator's end of TLS. */
#include "bench/secure.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/socket.h>

static SSL_CTX *context(void)
{
    static SSL_CTX *ctx;

    if (ctx == NULL) {
        ctx = SSL_CTX_new(TLS_client_method());
        if (ctx == NULL)
            return NULL;
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_read_ahead(ctx, 1);
    }
    return ctx;
}

SSL *bench_secure_open(int fd)
{
    SSL_CTX *ctx = context();
    SSL *ssl = ctx != NULL ? SSL_new(ctx) : NULL;

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_connect(ssl) != 1) {
        ERR_print_errors_fp(stderr);
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

static ssize_t result_of(SSL *ssl, int result)
{
    int error;

    if (result > 0)
        return result;
    error = SSL_get_error(ssl, result);
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = error == SSL_ERROR_WANT_READ ? EAGAIN : EPROTO;
    return -1;
}

ssize_t bench_send(SSL *ssl, int fd, const char *data, size_t len)
{
    if (ssl == NULL)
        return send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return result_of(ssl, SSL_write(ssl, data, (int)len));
}

ssize_t bench_recv(SSL *ssl, int fd, char *data, size_t len, int flags)
{
    if (ssl == NULL)
        return recv(fd, data, len, flags);
    return result_of(ssl, SSL_read(ssl, data, (int)len));
}
