/* SPDX-License-Identifier: MIT */
/* The client's end of TLS without a socket. */
#include "gateway/uv_tls.h"
#include "gateway/tls.h"

#include <limits.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

struct gw_uv_tls {
    SSL *ssl; /* has the BIOs */
    BIO *in;  /* came, not read yet */
    BIO *out; /* to be sent */
    bool is_done;
    bool is_failed;
};

struct gw_uv_tls *gw_uv_tls_new(SSL *ssl)
{
    struct gw_uv_tls *tls = calloc(1, sizeof(*tls));
    BIO *in = BIO_new(BIO_s_mem());
    BIO *out = BIO_new(BIO_s_mem());
    if (tls == NULL || in == NULL || out == NULL) {
        BIO_free(in);
        BIO_free(out);
        free(tls);
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_bio(ssl, in, out);
    tls->ssl = ssl;
    tls->in = in;
    tls->out = out;
    return tls;
}

void gw_uv_tls_free(struct gw_uv_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    free(tls);
}

bool gw_uv_tls_feed(struct gw_uv_tls *tls, const char *bytes, size_t len)
{
    return len <= INT_MAX && BIO_write(tls->in, bytes, (int)len) == (int)len;
}

int gw_uv_tls_handshake(struct gw_uv_tls *tls, char *why, size_t cap)
{
    char reason[160] = "TLS: ";
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        tls->is_done = true;
        return 1;
    }
    if (SSL_get_error(tls->ssl, result) == SSL_ERROR_WANT_READ)
        return 0;
    tls->is_failed = true;
    gw_tls_why(tls->ssl, reason + 5, sizeof(reason) - 5);
    gw_tls_store_why(tls->ssl, reason, why, cap);
    return -1;
}

ssize_t gw_uv_tls_read(struct gw_uv_tls *tls, char *bytes, size_t cap,
                       char *why, size_t why_cap)
{
    char reason[160] = "TLS: ";
    ERR_clear_error();
    int n = SSL_read(tls->ssl, bytes, cap > INT_MAX ? INT_MAX : (int)cap);
    if (n > 0)
        return n;
    int error = SSL_get_error(tls->ssl, n);
    if (error == SSL_ERROR_WANT_READ)
        return 0;
    if (error == SSL_ERROR_ZERO_RETURN) {
        snprintf(why, why_cap, "closed by the server");
        return -1;
    }
    tls->is_failed = true;
    gw_tls_why(tls->ssl, reason + 5, sizeof(reason) - 5);
    gw_tls_store_why(tls->ssl, reason, why, why_cap);
    return -1;
}

ssize_t gw_uv_tls_write(struct gw_uv_tls *tls, const char *bytes, size_t len)
{
    ERR_clear_error();
    int n = SSL_write(tls->ssl, bytes, len > INT_MAX ? INT_MAX : (int)len);
    if (n > 0)
        return n;
    ERR_clear_error();
    tls->is_failed = true;
    return -1;
}

void gw_uv_tls_shutdown(struct gw_uv_tls *tls)
{
    if (tls->is_done && !tls->is_failed && SSL_shutdown(tls->ssl) < 0)
        ERR_clear_error();
}

bool gw_uv_tls_drain(struct gw_uv_tls *tls, struct gw_buf **out)
{
    char *bytes = NULL;
    long len = BIO_get_mem_data(tls->out, &bytes);
    if (len <= 0)
        return true;
    bool is_good = gw_buf_append(out, bytes, (size_t)len);
    (void)BIO_reset(tls->out);
    return is_good;
}
