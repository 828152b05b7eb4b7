/* SPDX-License-Identifier: MIT */
/*
 * Contexts for clients.
 *
 * Each certificate has a context; two with the same names and different kinds
 * of key, ECDSA and RSA, share one, and OpenSSL takes what the client is able
 * to verify. A connection begins with the first context, and the server name in
 * its first message may move it to another. Only the certificate changes then:
 * all contexts are set up alike, for some of what is asked of a client is kept
 * in the connection and some is looked up in its context.
 *
 * What a context needs hangs on it and goes with it: connections that were
 * there before a reload finish with the contexts that they began with.
 */
#include "gateway/tls_private.h"

#include "gateway/log.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* With each context. */
struct extra {
    struct gw_tls_router *router; /* the first context's; else NULL */
    struct staple {
        const X509 *cert; /* the context has it */
        struct gw_tls_staple ocsp;
        struct staple *next;
    } * staples;
};

/* While they are built. */
struct build {
    const struct gw_config *config;
    struct gw_tls_tickets *tickets;
    struct gw_tls_pair pairs[GW_CERTIFICATE_COUNT_MAX];
    SSL_CTX *contexts[GW_CERTIFICATE_COUNT_MAX]; /* NULL: an earlier one's */
    bool has_authorities;
    struct gw_tls_authorities authorities;
    unsigned char session_context[SHA256_DIGEST_LENGTH];
    char *error;
};

static pthread_once_t index_once = PTHREAD_ONCE_INIT;
static int extra_index;

static void extra_free(void *ctx, void *ptr, CRYPTO_EX_DATA *data, int index,
                       long number, void *arg)
{
    struct extra *extra = ptr;

    (void)ctx;
    (void)data;
    (void)index;
    (void)number;
    (void)arg;
    if (!extra)
        return;
    while (extra->staples) {
        struct staple *staple = extra->staples;

        extra->staples = staple->next;
        OPENSSL_free(staple->ocsp.der);
        free(staple);
    }
    gw_tls_router_free(extra->router);
    free(extra);
}

static void index_make(void)
{
    extra_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, extra_free);
}

/* --- callbacks ----------------------------------------------------------- */

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    const struct gw_tls_router *router = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *ctx = NULL;

    if (!name || !gw_tls_router_find(router, name, &ctx))
        return SSL_TLSEXT_ERR_NOACK;
    if (ctx && !SSL_set_SSL_CTX(ssl, ctx)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

static int choose_protocol(SSL *ssl, const unsigned char **out,
                           unsigned char *out_len, const unsigned char *offer,
                           unsigned offer_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1\x08http/1.0";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, offer,
                              offer_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int staple_response(SSL *ssl, void *arg)
{
    const struct extra *extra =
        SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), extra_index);
    const X509 *cert = SSL_get_certificate(ssl);
    const struct staple *staple = extra->staples;

    (void)arg;
    while (staple && staple->cert != cert)
        staple = staple->next;
    if (!staple || staple->ocsp.until <= time(NULL))
        return SSL_TLSEXT_ERR_NOACK;
    unsigned char *copy = OPENSSL_memdup(staple->ocsp.der, staple->ocsp.len);
    if (!copy)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->ocsp.len);
    return SSL_TLSEXT_ERR_OK;
}

/* --- one context --------------------------------------------------------- */

static bool extra_attach(SSL_CTX *ctx)
{
    pthread_once(&index_once, index_make);
    struct extra *extra = extra_index >= 0 ? calloc(1, sizeof(*extra)) : NULL;
    if (extra && SSL_CTX_set_ex_data(ctx, extra_index, extra) == 1)
        return true;
    free(extra);
    return false;
}

static bool verify_clients(const struct build *build, SSL_CTX *ctx)
{
    int mode = SSL_VERIFY_PEER;

    if (!build->has_authorities)
        return true;
    if (build->config->tls_client_verify == GW_CLIENT_VERIFY_REQUIRE)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, NULL);
    SSL_CTX_set_verify_depth(ctx, GW_TLS_VERIFY_DEPTH);
    STACK_OF(X509_NAME) *subjects =
        SSL_dup_CA_list(build->authorities.subjects);
    if (!subjects)
        return false;
    SSL_CTX_set_client_CA_list(ctx, subjects);
    return SSL_CTX_set1_verify_cert_store(ctx, build->authorities.store) == 1;
}

static bool context_setup(const struct build *build, SSL_CTX *ctx)
{
    const char *ciphers = build->config->tls_ciphers;

    if (!gw_tls_context_setup(ctx, build->config, build->error))
        return false;
    if (ciphers[0] && SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
        return gw_tls_fail(build->error, "tls-ciphers: %s", gw_tls_reason());
    SSL_CTX_set_dh_auto(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_tlsext_status_cb(ctx, staple_response);
    if (extra_attach(ctx) && gw_tls_tickets_use(build->tickets, ctx) &&
        SSL_CTX_set_session_id_context(ctx, build->session_context,
                                       sizeof(build->session_context)) == 1 &&
        verify_clients(build, ctx))
        return true;
    return gw_tls_fail(build->error, "TLS cannot be set up: %s",
                       gw_tls_reason());
}

/* The staple moves from the pair to the context. */
static bool pair_add(const struct build *build, struct gw_tls_pair *pair,
                     SSL_CTX *ctx)
{
    if (!gw_tls_pair_use(pair, ctx, build->error))
        return false;
    if (!pair->staple.der)
        return true;
    struct staple *staple = calloc(1, sizeof(*staple));
    if (!staple)
        return gw_tls_fail(build->error, "%s: memory is short", pair->file);
    struct extra *extra = SSL_CTX_get_ex_data(ctx, extra_index);
    *staple = (struct staple){pair->cert, pair->staple, extra->staples};
    extra->staples = staple;
    pair->staple = (struct gw_tls_staple){0};
    return true;
}

/* --- all contexts -------------------------------------------------------- */

/* OpenSSL ignores words that it does not know beside others that it does. */
static bool ciphers_check(const char *ciphers, char *error)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool is_good = ctx != NULL || gw_tls_fail(error, "memory is short");

    while (is_good && *ciphers) {
        char word[GW_CIPHERS_MAX];
        size_t len = strcspn(ciphers, ":;, ");

        memcpy(word, ciphers, len);
        word[len] = '\0';
        ciphers += len + (ciphers[len] != '\0');
        /* Words that take something away or set something may match none. */
        if (len > 0 && !strchr("!-+@", word[0]) &&
            SSL_CTX_set_cipher_list(ctx, word) != 1)
            is_good = gw_tls_fail(error,
                                  "tls-ciphers: OpenSSL knows no TLS 1.2 "
                                  "cipher %.80s",
                                  word);
    }
    SSL_CTX_free(ctx);
    return is_good;
}

/* Sessions are resumed only under the demands that they began with: tickets
 * outlive a reload, and what a client has once shown is in them. */
static void session_context_make(struct build *build)
{
    struct {
        unsigned char digest[SHA256_DIGEST_LENGTH];
        unsigned char demand;
    } demands = {.demand = 0};

    if (build->has_authorities) {
        memcpy(demands.digest, build->authorities.digest,
               sizeof(demands.digest));
        demands.demand = (unsigned char)(1 + build->config->tls_client_verify);
    }
    SHA256((const unsigned char *)&demands, sizeof(demands),
           build->session_context);
}

static bool files_load(struct build *build)
{
    const struct gw_config *config = build->config;

    for (size_t i = 0; i < config->certificate_count; i++) {
        if (!gw_tls_pair_load(&config->certificates[i], &build->pairs[i],
                              build->error))
            return false;
    }
    build->has_authorities = config->tls_client_ca[0] != '\0';
    if (build->has_authorities &&
        !gw_tls_authorities_load(config->tls_client_ca, &build->authorities,
                                 build->error))
        return false;
    session_context_make(build);
    return true;
}

/* The earlier pair that has a context of its own and the same names. */
static size_t leader_of(const struct build *build, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (build->contexts[i] &&
            gw_tls_names_equal(&build->pairs[i].names,
                               &build->pairs[index].names))
            return i;
    }
    return index;
}

static bool has_kind(SSL_CTX *ctx, EVP_PKEY *key)
{
    bool is_found = false;

    for (long more = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST);
         more == 1 && !is_found;
         more = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT)) {
        const EVP_PKEY *other = SSL_CTX_get0_privatekey(ctx);

        is_found = EVP_PKEY_get_base_id(other) == EVP_PKEY_get_base_id(key);
    }
    return is_found;
}

static bool pair_place(struct build *build, size_t index,
                       struct gw_tls_router *router)
{
    struct gw_tls_pair *pair = &build->pairs[index];
    size_t leader = leader_of(build, index);

    if (leader != index) {
        if (!has_kind(build->contexts[leader], pair->key))
            return pair_add(build, pair, build->contexts[leader]);
        gw_log(GW_LOG_WARNING, "tls_certificate_unused", "file", pair->file,
               "same_names", build->pairs[leader].file);
        return true;
    }
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    build->contexts[index] = ctx;
    if (!ctx)
        return gw_tls_fail(build->error, "%s: memory is short", pair->file);
    if (!context_setup(build, ctx) || !pair_add(build, pair, ctx))
        return false;
    /* The first must not hold itself. */
    return gw_tls_router_add(router, &pair->names, index > 0 ? ctx : NULL) ||
           gw_tls_fail(build->error, "%s: memory is short", pair->file);
}

static bool contexts_build(struct build *build)
{
    struct gw_tls_router *router = gw_tls_router_new();
    bool is_good =
        router != NULL || gw_tls_fail(build->error, "memory is short");

    for (size_t i = 0; is_good && i < build->config->certificate_count; i++)
        is_good = pair_place(build, i, router);
    if (!is_good) {
        gw_tls_router_free(router);
        return false;
    }
    gw_tls_router_sort(router);
    SSL_CTX *first = build->contexts[0];
    struct extra *extra = SSL_CTX_get_ex_data(first, extra_index);
    extra->router = router;
    SSL_CTX_set_tlsext_servername_callback(first, choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(first, router);
    return true;
}

bool gw_tls_server_new(const struct gw_config *config,
                       struct gw_tls_tickets *tickets, SSL_CTX **ctx,
                       int64_t *not_after, char error[GW_TLS_ERROR_MAX])
{
    struct build *build;

    if (config->certificate_count == 0)
        return gw_tls_fail(error, "listen: tls needs a --tls-certificate");
    if (!ciphers_check(config->tls_ciphers, error))
        return false;
    build = calloc(1, sizeof(*build));
    if (!build)
        return gw_tls_fail(error, "memory is short");
    build->config = config;
    build->tickets = tickets;
    build->error = error;
    bool is_good = files_load(build) && contexts_build(build);
    for (size_t i = 0; i < config->certificate_count; i++) {
        /* The router of the first has taken references to the others. */
        if (i > 0 || !is_good)
            SSL_CTX_free(build->contexts[i]);
        if (is_good && build->pairs[i].not_after < *not_after)
            *not_after = build->pairs[i].not_after;
        gw_tls_pair_fini(&build->pairs[i]);
    }
    gw_tls_authorities_fini(&build->authorities);
    if (is_good)
        *ctx = build->contexts[0];
    free(build);
    return is_good;
}
