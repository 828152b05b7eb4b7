/* SPDX-License-Identifier: MIT */
/* What the parts of tls.h share among themselves. */
#ifndef SIDGATE_GATEWAY_TLS_PRIVATE_H
#define SIDGATE_GATEWAY_TLS_PRIVATE_H

#include "gateway/tls.h"

#include <pthread.h>

enum {
    GW_TLS_STAPLE_MAX = 16384,
    GW_TLS_VERIFY_DEPTH = 8,
    GW_TLS_TICKET_PERIOD_S = 12 * 3600, /* for which a key makes tickets */
};

/* --- tls_files.c: what is read from files -------------------------------- */

/* Writes the line and is false. */
bool gw_tls_fail(char error[GW_TLS_ERROR_MAX], const char *form, ...)
    __attribute__((format(printf, 2, 3)));

/* Why the last call of OpenSSL failed. Empties the error queue. */
const char *gw_tls_reason(void);

struct gw_tls_staple {
    unsigned char *der; /* NULL: none */
    size_t len;
    int64_t until; /* stapled only before; INT64_MAX: it does not say */
};

/* The host names of a certificate: in lower case, sorted, each once. */
struct gw_tls_names {
    char **names;
    size_t count;
};

/* A certificate with all that belongs to it. */
struct gw_tls_pair {
    const char *file; /* the configuration's */
    X509 *cert;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    struct gw_tls_staple staple;
    struct gw_tls_names names;
    int64_t not_after;
};

/* Reads what the configuration names, and logs what it found. *pair is to be
 * freed either way. */
bool gw_tls_pair_load(const struct gw_certificate_config *config,
                      struct gw_tls_pair *pair, char error[GW_TLS_ERROR_MAX]);
void gw_tls_pair_fini(struct gw_tls_pair *pair);

/* Authorities to verify the other side with. */
struct gw_tls_authorities {
    X509_STORE *store;
    STACK_OF(X509_NAME) * subjects;
    unsigned char digest[32]; /* of the file */
};

bool gw_tls_authorities_load(const char *file, struct gw_tls_authorities *out,
                             char error[GW_TLS_ERROR_MAX]);
void gw_tls_authorities_fini(struct gw_tls_authorities *authorities);

/* Gives the context the certificate, its chain and its key. */
bool gw_tls_pair_use(const struct gw_tls_pair *pair, SSL_CTX *ctx,
                     char error[GW_TLS_ERROR_MAX]);

/* --- tls_names.c: host names and which context is theirs ----------------- */

/* False when memory is short. */
bool gw_tls_names_of(X509 *cert, struct gw_tls_names *names);
void gw_tls_names_fini(struct gw_tls_names *names);
bool gw_tls_names_equal(const struct gw_tls_names *a,
                        const struct gw_tls_names *b);

struct gw_tls_router;

struct gw_tls_router *gw_tls_router_new(void);
/* Drops its references to contexts. */
void gw_tls_router_free(struct gw_tls_router *router);
/* A name that an earlier context has stays with that one. A NULL context stands
 * for the first, which has the router. False when memory is short. */
bool gw_tls_router_add(struct gw_tls_router *router,
                       const struct gw_tls_names *names, SSL_CTX *ctx);
/* Once, after the last was added. */
void gw_tls_router_sort(struct gw_tls_router *router);
/* The exact name wins over a wildcard, which stands for one label. False when
 * no certificate has it; *ctx is then untouched. */
bool gw_tls_router_find(const struct gw_tls_router *router, const char *name,
                        SSL_CTX **ctx);

/* --- tls_tickets.c: keys of session tickets ------------------------------ */

struct gw_tls_tickets;

struct gw_tls_tickets *gw_tls_tickets_new(void);
/* After all contexts that use it, and their connections. */
void gw_tls_tickets_free(struct gw_tls_tickets *tickets);
bool gw_tls_tickets_use(struct gw_tls_tickets *tickets, SSL_CTX *ctx);
/* Makes a new key if the present one is old; now_s is CLOCK_BOOTTIME's. */
bool gw_tls_tickets_turn(struct gw_tls_tickets *tickets, int64_t now_s);

/* --- tls_server.c, tls_client.c, tls_store.c: contexts ------------------- */

/* What both sides have: versions, modes, groups. */
bool gw_tls_context_setup(SSL_CTX *ctx, const struct gw_config *config,
                          char error[GW_TLS_ERROR_MAX]);

/* *ctx is the first certificate's, and holds those of the others. *not_after
 * becomes the earliest end, if that is earlier. */
bool gw_tls_server_new(const struct gw_config *config,
                       struct gw_tls_tickets *tickets, SSL_CTX **ctx,
                       int64_t *not_after, char error[GW_TLS_ERROR_MAX]);

bool gw_tls_client_new(const struct gw_config *config, bool is_verified,
                       SSL_CTX **ctx, int64_t *not_after,
                       char error[GW_TLS_ERROR_MAX]);
/* Has it verify with the authorities of the file; "": the system's. */
bool gw_tls_client_verify(SSL_CTX *ctx, const char *ca_file,
                          char error[GW_TLS_ERROR_MAX]);
/* Has it show the certificate, if there is one. */
bool gw_tls_client_certificate(SSL_CTX *ctx,
                               const struct gw_certificate_config *config,
                               int64_t *not_after,
                               char error[GW_TLS_ERROR_MAX]);
/* Says which name or address to ask for and to verify. False: there is none to
 * verify, or memory is short. */
bool gw_tls_name_set(SSL *ssl, const char *wanted, bool is_verified);
bool gw_tls_client_name(SSL *ssl, const struct gw_backend_config *backend);
/* A connection of that context to the backend. */
SSL *gw_tls_client_open(SSL_CTX *ctx, const struct gw_backend_config *backend,
                        size_t index);

bool gw_tls_store_new(const struct gw_config *config, SSL_CTX **ctx,
                      int64_t *not_after, char error[GW_TLS_ERROR_MAX]);
/* A connection of that context, which verifies that name or address. */
SSL *gw_tls_store_open(SSL_CTX *ctx, const char *name);

/* --- tls.c --------------------------------------------------------------- */

/* What a reload replaces. */
struct gw_tls_contexts {
    SSL_CTX *accept;     /* NULL: no listener speaks TLS */
    SSL_CTX *verified;   /* NULL: no backend needs it; so is the next one */
    SSL_CTX *unverified; /* for backends whose certificate is not looked at */
    SSL_CTX *store;      /* NULL: the store speaks no TLS */
    char store_name[sizeof(((struct gw_config *)NULL)->store_tls_name)];
    int64_t not_after; /* the earliest end of a certificate of ours; 0: none */
};

struct gw_tls {
    struct gw_tls_tickets *tickets;
    pthread_mutex_t lock; /* of what is below */
    struct gw_tls_contexts now;
};

#endif
