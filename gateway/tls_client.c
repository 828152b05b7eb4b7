/* SPDX-License-Identifier: MIT */
/*
 * Contexts for backends, and the last session with each of them.
 *
 * The sessions hang on the context: those of certificates that were verified
 * with other authorities, before a reload, are never resumed.
 */
#include "gateway/tls_private.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With a backend. Its place may be another one's by now: whose certificate was
 * verified goes with it. */
struct last {
    SSL_SESSION *session; /* NULL: none yet */
    char name[256];
};

struct sessions {
    pthread_mutex_t lock;
    size_t count;
    struct last last[]; /* of each place */
};

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int sessions_index; /* in a context */
static int backend_index;  /* in a connection: the backend's index and 1 */

static void sessions_free(void *ctx, void *ptr, CRYPTO_EX_DATA *data, int index,
                          long number, void *arg)
{
    struct sessions *sessions = ptr;

    (void)ctx;
    (void)data;
    (void)index;
    (void)number;
    (void)arg;
    if (!sessions)
        return;
    for (size_t i = 0; i < sessions->count; i++)
        SSL_SESSION_free(sessions->last[i].session);
    pthread_mutex_destroy(&sessions->lock);
    free(sessions);
}

static void index_make(void)
{
    sessions_index =
        SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, sessions_free);
    backend_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static bool sessions_attach(SSL_CTX *ctx, size_t count)
{
    pthread_once(&index_once, index_make);
    if (sessions_index < 0 || backend_index < 0)
        return false;
    struct sessions *sessions =
        calloc(1, sizeof(*sessions) + count * sizeof(sessions->last[0]));
    if (!sessions)
        return false;
    sessions->count = count;
    pthread_mutex_init(&sessions->lock, NULL);
    if (SSL_CTX_set_ex_data(ctx, sessions_index, sessions) == 1)
        return true;
    sessions_free(NULL, sessions, NULL, 0, 0, NULL);
    return false;
}

/* The name, or the address, that the other end's certificate must have. */
static void name_of(SSL *ssl, char out[sizeof(((struct last *)NULL)->name)])
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    char *address = NULL;

    if (!name) {
        ERR_set_mark(); /* that there is none is no error */
        address = X509_VERIFY_PARAM_get1_ip_asc(SSL_get0_param(ssl));
        ERR_pop_to_mark();
        name = address ? address : "";
    }
    snprintf(out, sizeof(((struct last *)NULL)->name), "%s", name);
    OPENSSL_free(address);
}

/* A copy is kept, and each connection gets one: OpenSSL writes to the session
 * of a connection, and forbids to resume that of one which broke. */
static int session_keep(SSL *ssl, SSL_SESSION *session)
{
    struct sessions *sessions =
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), sessions_index);
    size_t index = (size_t)(uintptr_t)SSL_get_ex_data(ssl, backend_index);
    SSL_SESSION *old;

    if (index == 0 || !SSL_SESSION_is_resumable(session))
        return 0;
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    if (!copy)
        return 0;
    struct last *last = &sessions->last[index - 1];
    pthread_mutex_lock(&sessions->lock);
    old = last->session;
    last->session = copy;
    name_of(ssl, last->name);
    pthread_mutex_unlock(&sessions->lock);
    SSL_SESSION_free(old);
    return 0;
}

static void session_offer(SSL *ssl, SSL_CTX *ctx, size_t index)
{
    struct sessions *sessions = SSL_CTX_get_ex_data(ctx, sessions_index);
    const struct last *last = &sessions->last[index];
    SSL_SESSION *copy = NULL;
    char name[sizeof(last->name)];

    name_of(ssl, name);
    pthread_mutex_lock(&sessions->lock);
    if (last->session && strcmp(last->name, name) == 0)
        copy = SSL_SESSION_dup(last->session);
    pthread_mutex_unlock(&sessions->lock);
    /* Without one, or with one that does not fit, the handshake is a full
     * one. */
    if (copy)
        SSL_set_session(ssl, copy);
    SSL_SESSION_free(copy);
}

bool gw_tls_client_verify(SSL_CTX *ctx, const char *ca_file,
                          char error[GW_TLS_ERROR_MAX])
{
    struct gw_tls_authorities authorities;

    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_verify_depth(ctx, GW_TLS_VERIFY_DEPTH);
    if (!ca_file[0])
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ||
               gw_tls_fail(error, "the system's authorities: %s",
                           gw_tls_reason());
    bool is_good = gw_tls_authorities_load(ca_file, &authorities, error);
    if (is_good)
        SSL_CTX_set1_cert_store(ctx, authorities.store);
    gw_tls_authorities_fini(&authorities);
    return is_good;
}

bool gw_tls_client_certificate(SSL_CTX *ctx,
                               const struct gw_certificate_config *config,
                               int64_t *not_after, char error[GW_TLS_ERROR_MAX])
{
    struct gw_tls_pair pair;

    if (!config->file[0])
        return true;
    bool is_good = gw_tls_pair_load(config, &pair, error) &&
                   gw_tls_pair_use(&pair, ctx, error);
    if (is_good && pair.not_after < *not_after)
        *not_after = pair.not_after;
    gw_tls_pair_fini(&pair);
    return is_good;
}

bool gw_tls_client_new(const struct gw_config *config, bool is_verified,
                       SSL_CTX **out, int64_t *not_after,
                       char error[GW_TLS_ERROR_MAX])
{
    static const unsigned char protocols[] = "\x08http/1.1";
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx)
        return gw_tls_fail(error, "memory is short");
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT |
                                            SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, session_keep);
    bool is_good =
        (SSL_CTX_set_alpn_protos(ctx, protocols, sizeof(protocols) - 1) == 0 &&
         sessions_attach(ctx, GW_BACKEND_COUNT_MAX)) ||
        gw_tls_fail(error, "memory is short");
    is_good =
        is_good && gw_tls_context_setup(ctx, config, error) &&
        gw_tls_client_certificate(ctx, &config->backend_certificate, not_after,
                                  error) &&
        (!is_verified || gw_tls_client_verify(ctx, config->backend_ca, error));
    if (is_good)
        *out = ctx;
    else
        SSL_CTX_free(ctx);
    return is_good;
}

/* "[2001:db8::1]" is an address too. False for a name. */
static bool is_address(const char *name, char out[INET6_ADDRSTRLEN])
{
    unsigned char bytes[sizeof(struct in6_addr)];
    size_t len = strlen(name);

    if (len > 2 && name[0] == '[' && name[len - 1] == ']') {
        name++;
        len -= 2;
    }
    if (len >= INET6_ADDRSTRLEN)
        return false;
    memcpy(out, name, len);
    out[len] = '\0';
    return inet_pton(AF_INET, out, bytes) == 1 ||
           inet_pton(AF_INET6, out, bytes) == 1;
}

bool gw_tls_name_set(SSL *ssl, const char *wanted, bool is_verified)
{
    char name[256]; /* OpenSSL's macro wants it without const */
    char address[INET6_ADDRSTRLEN];

    snprintf(name, sizeof(name), "%s", wanted);
    /* With an empty name OpenSSL would take a certificate of anybody. */
    if (!name[0])
        return !is_verified;
    if (is_address(name, address))
        return !is_verified ||
               X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), address) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 &&
           (!is_verified || SSL_set1_host(ssl, name) == 1);
}

bool gw_tls_client_name(SSL *ssl, const struct gw_backend_config *backend)
{
    return gw_tls_name_set(ssl, backend->tls_name, !backend->is_unverified);
}

SSL *gw_tls_client_open(SSL_CTX *ctx, const struct gw_backend_config *backend,
                        size_t index)
{
    SSL *ssl = SSL_new(ctx);

    if (!ssl)
        return NULL;
    if (!gw_tls_client_name(ssl, backend) ||
        SSL_set_ex_data(ssl, backend_index, (void *)(uintptr_t)(index + 1)) !=
            1) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    session_offer(ssl, ctx, index);
    return ssl;
}
