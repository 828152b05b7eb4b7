/* SPDX-License-Identifier: MIT */
/*
 * TLS towards Redis and its Sentinels: the context, and words for what goes
 * wrong.
 *
 * Who wants a certificate of ours and gets none says so with an alert, which
 * with TLS 1.3 comes behind our handshake: it is kept with the connection.
 */
#include "gateway/tls_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int alert_index; /* in a connection: the alert that came, and 1 */

static void index_make(void)
{
    alert_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* OpenSSL's, for each message that comes or goes. */
static void on_message(int is_written, int version, int type, const void *bytes,
                       size_t len, SSL *ssl, void *arg)
{
    const unsigned char *alert = bytes;

    (void)version;
    (void)arg;
    if (is_written || type != SSL3_RT_ALERT || len != 2 ||
        alert[1] == SSL_AD_CLOSE_NOTIFY)
        return;
    SSL_set_ex_data(ssl, alert_index, (void *)(uintptr_t)(alert[1] + 1));
}

bool gw_tls_store_new(const struct gw_config *config, SSL_CTX **out,
                      int64_t *not_after, char error[GW_TLS_ERROR_MAX])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    pthread_once(&index_once, index_make);
    if (!ctx || alert_index < 0) {
        SSL_CTX_free(ctx);
        return gw_tls_fail(error, "memory is short");
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_msg_callback(ctx, on_message);
    bool is_good = gw_tls_context_setup(ctx, config, error) &&
                   gw_tls_client_certificate(ctx, &config->store_certificate,
                                             not_after, error) &&
                   (!config->store_verify ||
                    gw_tls_client_verify(ctx, config->store_ca, error));
    if (is_good)
        *out = ctx;
    else
        SSL_CTX_free(ctx);
    return is_good;
}

SSL *gw_tls_store_open(SSL_CTX *ctx, const char *name)
{
    SSL *ssl = SSL_new(ctx);

    if (!ssl)
        return NULL;
    if (!gw_tls_name_set(ssl, name,
                         SSL_CTX_get_verify_mode(ctx) != SSL_VERIFY_NONE)) {
        ERR_clear_error();
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

/* ---- what went wrong ---- */

/* The name, or the address, that its certificate must have. */
static void write_other_name(const SSL *ssl, char *out, size_t cap)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    if (name)
        snprintf(out, cap, "TLS: its certificate is not for %s", name);
    else
        snprintf(out, cap, "TLS: its certificate is not for this address");
}

static void write_verdict(const SSL *ssl, long verdict, char *out, size_t cap)
{
    switch (verdict) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        write_other_name(ssl, out, cap);
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        snprintf(out, cap, "TLS: its certificate has expired");
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        snprintf(out, cap, "TLS: its certificate is not valid yet");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        snprintf(out, cap, "TLS: its certificate is of an unknown authority");
        break;
    default:
        snprintf(out, cap, "TLS: its certificate is refused: %s",
                 X509_verify_cert_error_string(verdict));
    }
}

/* OpenSSL has words for alerts only among its errors: "tlsv13 alert
 * certificate required". */
static void write_alert(unsigned alert, char *out, size_t cap)
{
    const char *text = ERR_reason_error_string(
        ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + alert));
    const char *words = text ? strstr(text, "alert ") : NULL;

    if (!text)
        snprintf(out, cap, "TLS: it refuses with alert %u", alert);
    else
        snprintf(out, cap, "TLS: it refuses: %s",
                 words ? words + strlen("alert ") : text);
}

const char *gw_tls_store_why(const SSL *ssl, const char *reason, char *out,
                             size_t cap)
{
    long verdict = SSL_get_verify_result(ssl);
    uintptr_t alert = (uintptr_t)SSL_get_ex_data(ssl, alert_index);

    if (SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE && verdict != X509_V_OK)
        write_verdict(ssl, verdict, out, cap);
    else if (alert != 0)
        write_alert((unsigned)alert - 1, out, cap);
    else
        snprintf(out, cap, "%s", reason);
    return out;
}
