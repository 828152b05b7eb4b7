/* SPDX-License-Identifier: MIT */
/*
 * A health check by a GET, through libwebsockets' HTTP client.
 *
 * It gets numeric addresses, for it would wait for its resolver. The answer's
 * head is all that is read; the connection ends there, whatever its body is.
 *
 * libwebsockets would verify certificates by rules of its own: it cuts names
 * at 127 bytes and at the first colon, shows addresses as SNI, and takes
 * certificates of the future. So its TLS contexts are ours, as traffic has
 * them, and what belongs to a connection is set just before its handshake, in
 * the context's info callback, from what traffic has for that backend.
 */
#include "gateway/health_private.h"

#include "gateway/tls_private.h"

#include <errno.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAD_BYTES_MAX = 32768, /* of an answer's header values */
    /* A failed connection's place is free a turn of the loop later. */
    DESCRIPTORS_MAX = 3 * GW_PROBES_MAX,
    HOST_BYTES_MAX = 119,
    LIFE_S = 700, /* more than any health-timeout: that is ours to keep */
};

/* What connections that are verified, or that are not, hang on. */
struct side {
    SSL_CTX *ctx;
    struct lws_vhost *vhost; /* NULL: not made yet */
};

struct gw_health_http {
    uv_loop_t *loop;
    struct gw_probe *probes;
    const struct gw_config *config;
    struct lws_context *context; /* lws sets it to NULL when it is gone */
    struct lws_vhost *plain;
    struct side sides[2]; /* by gw_backend_config.is_unverified */
    bool is_starting;     /* a wsi's end shows in what a call returns */
};

static int socket_error(struct lws *wsi)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_ERROR, &error,
                   &len) != 0)
        return 0;
    return error;
}

/* --- TLS ------------------------------------------------------------------ */

static struct gw_probe *probe_of_ssl(const SSL *ssl)
{
    struct gw_health_http *http = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    for (size_t i = 0; i < GW_PROBES_MAX; i++) {
        struct gw_probe *probe = &http->probes[i];

        if (probe->state != GW_PROBE_FREE && probe->wsi != NULL &&
            lws_get_socket_fd(probe->wsi) == SSL_get_fd(ssl))
            return probe;
    }
    return NULL;
}

/* OpenSSL hands out what is being set up as read-only. */
static SSL *writable(const SSL *ssl)
{
    return (SSL *)(uintptr_t)ssl;
}

static void on_tls(const SSL *ssl, int where, int status)
{
    struct gw_probe *probe = probe_of_ssl(ssl);

    if (probe == NULL)
        return;
    if ((where & SSL_CB_HANDSHAKE_START) != 0) {
        /* Away with what libwebsockets set. */
        SSL_set_tlsext_host_name(writable(ssl), NULL);
        if (!gw_tls_client_name(writable(ssl), &probe->backend)) {
            snprintf(probe->why, sizeof(probe->why), "no name to verify");
            SSL_set_verify(writable(ssl), SSL_VERIFY_PEER, NULL);
            SSL_set1_host(writable(ssl), "invalid.invalid");
        }
    }
    if ((where & SSL_CB_EXIT) != 0 && status <= 0 && ERR_peek_error() != 0 &&
        probe->why[0] == '\0')
        gw_tls_why(ssl, probe->why, sizeof(probe->why));
}

static int trust(X509_STORE_CTX *store, void *arg)
{
    (void)store;
    (void)arg;
    return 1;
}

/* --- what libwebsockets tells --------------------------------------------- */

static void on_answer(struct gw_probe *probe, unsigned status)
{
    char why[GW_REASON_MAX];

    snprintf(why, sizeof(why), "status %u", status);
    gw_probe_end(probe,
                 status >= probe->status_min && status <= probe->status_max
                     ? GW_FOUND_GOOD
                     : GW_FOUND_BAD,
                 why);
}

static void on_failure(struct gw_probe *probe, struct lws *wsi,
                       const char *text, size_t len)
{
    static const char parsing[] = "problems parsing header";
    int error = socket_error(wsi);

    if (probe->why[0] != '\0')
        gw_probe_end(probe, GW_FOUND_BAD, probe->why);
    else if (error != 0)
        gw_probe_fail(probe, error);
    else if (text != NULL && len == sizeof(parsing) - 1 &&
             memcmp(text, parsing, len) == 0)
        gw_probe_end(probe, GW_FOUND_BAD, "malformed answer");
    else
        gw_probe_end(probe, GW_FOUND_BAD, "closed without an answer");
}

/* True on success. */
static bool put_agent(struct lws *wsi, unsigned char **at, size_t room)
{
    static const char agent[] = "sidgate-health";

    return lws_add_http_header_by_token(
               wsi, WSI_TOKEN_HTTP_USER_AGENT, (const unsigned char *)agent,
               (int)sizeof(agent) - 1, at, *at + room) == 0;
}

static void on_destroy(struct lws *wsi)
{
    struct gw_probe *probe = lws_get_opaque_user_data(wsi);
    struct gw_health_http *http = lws_context_user(lws_get_context(wsi));

    if (probe == NULL || probe->wsi != wsi)
        return;
    probe->wsi = NULL;
    if (http->is_starting)
        return;
    gw_probe_end(probe, GW_FOUND_BAD, "closed without an answer");
    gw_probe_left(probe);
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason,
                    void *user, void *in, size_t len)
{
    struct gw_probe *probe;

    (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return put_agent(wsi, in, len) ? 0 : -1;
    case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
        probe = lws_get_opaque_user_data(wsi);
        if (probe != NULL)
            on_answer(probe, lws_http_client_http_response(wsi));
        return -1;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
        probe = lws_get_opaque_user_data(wsi);
        if (probe != NULL)
            on_failure(probe, wsi,
                       reason == LWS_CALLBACK_CLOSED_CLIENT_HTTP ? NULL : in,
                       len);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        on_destroy(wsi);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "health", .callback = on_event},
    {.name = NULL},
};

/* --- contexts ------------------------------------------------------------- */

static struct lws_vhost *vhost_new(struct gw_health_http *http,
                                   const char *name, SSL_CTX *ctx)
{
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .vhost_name = name,
        .provided_client_ssl_ctx = ctx,
        .connect_timeout_secs = LIFE_S,
        /* Else the environment's http_proxy would be asked. */
        .http_proxy_address = "",
    };

    return lws_create_vhost(http->context, &info);
}

static bool context_open(struct gw_health_http *http)
{
    void *loops[1] = {http->loop};
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .foreign_loops = loops,
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .pcontext = &http->context,
        .user = http,
        .fd_limit_per_thread = DESCRIPTORS_MAX,
        .max_http_header_data = HEAD_BYTES_MAX,
        .max_http_header_pool = GW_PROBES_MAX,
        .timeout_secs = LIFE_S,
    };

    if (http->context == NULL) {
        lws_set_log_level(0, NULL);
        http->context = lws_create_context(&info);
    }
    if (http->context != NULL && http->plain == NULL)
        http->plain = vhost_new(http, "plain", NULL);
    return http->plain != NULL;
}

static bool side_open(struct gw_health_http *http, bool is_unverified,
                      char error[GW_TLS_ERROR_MAX])
{
    struct side *side = &http->sides[is_unverified];
    int64_t not_after = INT64_MAX;

    if (side->ctx == NULL) {
        if (!gw_tls_client_new(http->config, !is_unverified, &side->ctx,
                               &not_after, error))
            return false;
        SSL_CTX_set_app_data(side->ctx, http);
        SSL_CTX_set_info_callback(side->ctx, on_tls);
        if (is_unverified)
            SSL_CTX_set_cert_verify_callback(side->ctx, trust, NULL);
    }
    if (side->vhost == NULL)
        side->vhost = vhost_new(http, is_unverified ? "unverified" : "verified",
                                side->ctx);
    if (side->vhost == NULL)
        gw_tls_fail(error, "libwebsockets cannot start");
    return side->vhost != NULL;
}

/* The vhost that a probe's connection belongs to. */
static struct lws_vhost *vhost_for(struct gw_health_http *http,
                                   const struct gw_backend_config *backend,
                                   char error[GW_TLS_ERROR_MAX])
{
    if (!context_open(http)) {
        gw_tls_fail(error, "libwebsockets cannot start");
        return NULL;
    }
    if (!backend->is_tls)
        return http->plain;
    if (!side_open(http, backend->is_unverified, error))
        return NULL;
    return http->sides[backend->is_unverified].vhost;
}

/* --- checks --------------------------------------------------------------- */

static int port_of(const struct gw_address *address)
{
    /* sin6_port is where sin_port is. */
    return ntohs(((const struct sockaddr_in *)&address->addr)->sin_port);
}

static bool number_of(const struct gw_address *address, char out[NI_MAXHOST])
{
    return getnameinfo((const struct sockaddr *)&address->addr,
                       address->addr_len, out, NI_MAXHOST, NULL, 0,
                       NI_NUMERICHOST) == 0;
}

/* libwebsockets cuts the whole line at 127 bytes. */
static const char *host_of(const struct gw_backend_config *backend,
                           const char *number)
{
    size_t len = backend->is_tls ? strlen(backend->tls_name) : 0;

    if (len > 0 && len <= HOST_BYTES_MAX)
        return backend->tls_name;
    if (strlen(backend->address.text) <= HOST_BYTES_MAX)
        return backend->address.text;
    return number;
}

void gw_probe_get(struct gw_health_http *http, struct gw_probe *probe,
                  const struct gw_address *source)
{
    const struct gw_backend_config *backend = &probe->backend;
    char error[GW_TLS_ERROR_MAX] = "no address";
    char address[NI_MAXHOST];
    char from[NI_MAXHOST];
    struct lws_vhost *vhost = NULL;

    if (number_of(&backend->address, address) &&
        (source == NULL || number_of(source, from)))
        vhost = vhost_for(http, backend, error);
    if (vhost == NULL) {
        gw_probe_end(probe, GW_FOUND_NOTHING, error);
        gw_probe_left(probe);
        return;
    }
    const struct lws_client_connect_info info = {
        .context = http->context,
        .vhost = vhost,
        .address = address,
        .port = port_of(&backend->address),
        .ssl_connection = (backend->is_tls ? LCCSCF_USE_SSL : 0) |
                          LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK |
                          LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
        .path = probe->path,
        .host = host_of(backend, address),
        .method = "GET",
        .protocol = "health",
        .alpn = "http/1.1",
        .iface = source != NULL ? from : NULL,
        .opaque_user_data = probe,
        .pwsi = &probe->wsi,
    };
    http->is_starting = true;
    errno = 0;
    const struct lws *wsi = lws_client_connect_via_info(&info);
    int error_number = errno;
    http->is_starting = false;
    if (wsi != NULL)
        return;
    probe->wsi = NULL;
    gw_probe_fail(probe, error_number);
    gw_probe_left(probe);
}

void gw_probe_hang_up(struct gw_probe *probe)
{
    if (probe->wsi != NULL)
        lws_set_timeout(probe->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

/* --- opening and closing -------------------------------------------------- */

struct gw_health_http *gw_health_http_new(uv_loop_t *loop,
                                          struct gw_probe *probes,
                                          const struct gw_config *config)
{
    struct gw_health_http *http = calloc(1, sizeof(*http));

    if (http == NULL)
        return NULL;
    http->loop = loop;
    http->probes = probes;
    http->config = config;
    return http;
}

void gw_health_http_configure(struct gw_health_http *http,
                              const struct gw_config *config)
{
    http->config = config;
    for (size_t i = 0; i < 2; i++) {
        struct side *side = &http->sides[i];

        if (side->vhost != NULL)
            lws_vhost_destroy(side->vhost);
        SSL_CTX_free(side->ctx);
        *side = (struct side){0};
    }
}

void gw_health_http_close(struct gw_health_http *http)
{
    /* The first call starts the closing of all that lws has in the loop. Only
     * a second one, when that is over, frees the context. */
    if (http->context != NULL)
        lws_context_destroy(http->context);
}

void gw_health_http_free(struct gw_health_http *http)
{
    if (http->context != NULL)
        lws_context_destroy(http->context);
    for (size_t i = 0; i < 2; i++)
        SSL_CTX_free(http->sides[i].ctx);
    free(http);
}
