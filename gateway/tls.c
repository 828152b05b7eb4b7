/* SPDX-License-Identifier: MIT */
/* TLS: what the rest of the gateway sees of it. */
#include "gateway/tls.h"

#include "gateway/tls_private.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool gw_tls_context_setup(SSL_CTX *ctx, const struct gw_config *config,
                          char error[GW_TLS_ERROR_MAX])
{
    char groups[] = "X25519:P-256:P-384";
    int version =
        config->tls_min_version == GW_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_clear_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* The chain is the file's: nothing is searched for at each handshake. */
    SSL_CTX_set_mode(
        ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_early_data(ctx, 0);
    if (SSL_CTX_set_min_proto_version(ctx, version) == 1 &&
        SSL_CTX_set_max_proto_version(ctx, 0) == 1 &&
        SSL_CTX_set1_groups_list(ctx, groups) == 1)
        return true;
    return gw_tls_fail(error, "TLS cannot be set up: %s", gw_tls_reason());
}

/* --- contexts, built and replaced ---------------------------------------- */

static void contexts_fini(struct gw_tls_contexts *contexts)
{
    SSL_CTX_free(contexts->accept);
    SSL_CTX_free(contexts->verified);
    SSL_CTX_free(contexts->unverified);
    SSL_CTX_free(contexts->store);
    *contexts = (struct gw_tls_contexts){0};
}

static bool needs_server(const struct gw_config *config)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        if (config->listen[i].is_tls)
            return true;
    }
    return false;
}

static bool needs_client(const struct gw_config *config, bool is_verified)
{
    for (size_t i = 0; i < config->backend_count; i++) {
        if (config->backends[i].is_tls &&
            config->backends[i].is_unverified != is_verified)
            return true;
    }
    for (size_t i = 0; i < config->discover_count; i++) {
        if (config->discover[i].backend.is_tls &&
            config->discover[i].backend.is_unverified != is_verified)
            return true;
    }
    return false;
}

static bool needs_store(const struct gw_config *config)
{
    for (unsigned i = 0; i < config->store.host_count; i++) {
        if (config->store.hosts[i].is_tls)
            return true;
    }
    return false;
}

static bool names_check(const struct gw_config *config, char *error)
{
    for (size_t i = 0; i < config->backend_count; i++) {
        const struct gw_backend_config *backend = &config->backends[i];

        if (backend->is_tls && !backend->is_unverified && !backend->tls_name[0])
            return gw_tls_fail(error,
                               "backend %s: there is no name that its "
                               "certificate must have",
                               backend->id);
    }
    return true;
}

static bool contexts_build(const struct gw_tls *tls,
                           const struct gw_config *config,
                           struct gw_tls_contexts *contexts, char *error)
{
    int64_t not_after = INT64_MAX;

    *contexts = (struct gw_tls_contexts){0};
    bool is_good =
        names_check(config, error) &&
        (!needs_server(config) ||
         gw_tls_server_new(config, tls->tickets, &contexts->accept, &not_after,
                           error)) &&
        (!needs_client(config, true) ||
         gw_tls_client_new(config, true, &contexts->verified, &not_after,
                           error)) &&
        (!needs_client(config, false) ||
         gw_tls_client_new(config, false, &contexts->unverified, &not_after,
                           error)) &&
        (!needs_store(config) ||
         gw_tls_store_new(config, &contexts->store, &not_after, error));
    snprintf(contexts->store_name, sizeof(contexts->store_name), "%s",
             config->store_tls_name);
    contexts->not_after = not_after == INT64_MAX ? 0 : not_after;
    if (!is_good)
        contexts_fini(contexts);
    ERR_clear_error();
    return is_good;
}

bool gw_tls_new(const struct gw_config *config, struct gw_tls **out,
                char error[GW_TLS_ERROR_MAX])
{
    *out = NULL;
    struct gw_tls *tls = calloc(1, sizeof(*tls));
    if (!tls)
        return gw_tls_fail(error, "memory is short");
    pthread_mutex_init(&tls->lock, NULL);
    tls->tickets = gw_tls_tickets_new();
    if (!tls->tickets) {
        gw_tls_fail(error, "TLS cannot be set up: %s", gw_tls_reason());
    } else if (contexts_build(tls, config, &tls->now, error)) {
        *out = tls;
        return true;
    }
    gw_tls_free(tls);
    return false;
}

void gw_tls_free(struct gw_tls *tls)
{
    if (!tls)
        return;
    contexts_fini(&tls->now);
    gw_tls_tickets_free(tls->tickets);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

bool gw_tls_reload(struct gw_tls *tls, const struct gw_config *config,
                   char error[GW_TLS_ERROR_MAX])
{
    struct gw_tls_contexts contexts;

    if (!tls)
        return true;
    if (!contexts_build(tls, config, &contexts, error))
        return false;
    pthread_mutex_lock(&tls->lock);
    struct gw_tls_contexts old = tls->now;
    tls->now = contexts;
    pthread_mutex_unlock(&tls->lock);
    contexts_fini(&old);
    return true;
}

int64_t gw_tls_not_after(struct gw_tls *tls)
{
    if (!tls)
        return 0;
    pthread_mutex_lock(&tls->lock);
    int64_t not_after = tls->now.not_after;
    pthread_mutex_unlock(&tls->lock);
    return not_after;
}

/* --- connections --------------------------------------------------------- */

/* A reference of the caller's. */
static SSL_CTX *take(struct gw_tls *tls, SSL_CTX *const *which)
{
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *ctx = *which;
    if (ctx)
        SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&tls->lock);
    return ctx;
}

SSL *gw_tls_accept(struct gw_tls *tls)
{
    SSL_CTX *ctx = take(tls, &tls->now.accept);
    SSL *ssl = ctx ? SSL_new(ctx) : NULL;

    SSL_CTX_free(ctx);
    if (ssl)
        SSL_set_accept_state(ssl);
    return ssl;
}

bool gw_tls_can_connect(struct gw_tls *tls,
                        const struct gw_backend_config *backend)
{
    pthread_mutex_lock(&tls->lock);
    bool can = (backend->is_unverified ? tls->now.unverified
                                       : tls->now.verified) != NULL;
    pthread_mutex_unlock(&tls->lock);
    return can;
}

SSL *gw_tls_connect(struct gw_tls *tls, const struct gw_backend_config *backend,
                    size_t index)
{
    SSL_CTX *ctx = take(tls, backend->is_unverified ? &tls->now.unverified
                                                    : &tls->now.verified);
    SSL *ssl = ctx ? gw_tls_client_open(ctx, backend, index) : NULL;

    SSL_CTX_free(ctx);
    return ssl;
}

SSL *gw_tls_store(struct gw_tls *tls, const struct store_address *to)
{
    char name[sizeof(tls->now.store_name)];

    if (!tls)
        return NULL;
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *ctx = tls->now.store;
    if (ctx)
        SSL_CTX_up_ref(ctx);
    memcpy(name, tls->now.store_name, sizeof(name));
    pthread_mutex_unlock(&tls->lock);
    SSL *ssl = ctx ? gw_tls_store_open(ctx, name[0] ? name : to->host) : NULL;
    SSL_CTX_free(ctx);
    return ssl;
}

const char *gw_tls_why(const SSL *ssl, char *out, size_t cap)
{
    /* The first is the cause; later ones come from what called it. */
    unsigned long code = ERR_peek_error();
    long verdict = ssl ? SSL_get_verify_result(ssl) : X509_V_OK;
    const char *reason = ERR_reason_error_string(code);
    char system[80];

    if (ERR_SYSTEM_ERROR(code))
        reason = strerror_r(ERR_GET_REASON(code), system, sizeof(system));
    ERR_clear_error();
    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED &&
        verdict != X509_V_OK)
        snprintf(out, cap, "%s: %s", reason,
                 X509_verify_cert_error_string(verdict));
    else if (code != 0 && !reason)
        snprintf(out, cap, "error %lx", code);
    else
        snprintf(out, cap, "%s", reason ? reason : "");
    return out;
}
