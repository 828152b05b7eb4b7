/* SPDX-License-Identifier: MIT */
/* Certificates in a folder of the test's own, and handshakes in memory. */
#ifndef SIDGATE_TESTS_TLS_FIXTURE_H
#define SIDGATE_TESTS_TLS_FIXTURE_H

#include "gateway/tls.h"

struct tls_issued {
    X509 *cert;
    EVP_PKEY *key;
    char file[GW_FILE_MAX];     /* the certificate, PEM */
    char key_file[GW_FILE_MAX]; /* its key */
};

enum { TLS_ISSUED_MAX = 16 };

struct tls_order {
    const char *name;     /* of the files */
    const char *common;   /* the subject's common name; NULL: `name` */
    const char *alt;      /* "DNS:a.example,IP:127.0.0.1"; NULL: none */
    bool is_rsa;          /* else ECDSA */
    bool is_ca;           /* signed by itself */
    int from_day, to_day; /* from now; both 0: -1 to 30 */
    const struct tls_issued *issuer; /* NULL: itself */
};

extern char tls_folder[64];

/* Around each test. */
void tls_fixture_setup(void);
void tls_fixture_teardown(void);

/* Freed by the teardown. */
const struct tls_issued *tls_issue(const struct tls_order *order);

/* A file of the folder; the name is good until the next call but three. */
const char *tls_path(const char *name);
void tls_write(const char *name, const void *bytes, size_t len);
/* Writes the certificate and the key under the names of another pair. */
void tls_replace(const struct tls_issued *old, const struct tls_issued *fresh);
/* A DER response on the certificate, whose next update is due in so many
 * seconds. */
void tls_write_ocsp(const char *name, const struct tls_issued *about,
                    const struct tls_issued *issuer, int status, long due_s);

void tls_config_add(struct gw_config *config, const struct tls_issued *issued);
/* One TLS listener, Mozilla's ciphers, no certificate yet. */
void tls_config_setup(struct gw_config *config);

/* Two ends over memory. */
struct tls_pair {
    SSL *server, *client;
    bool is_done; /* both handshakes, and what followed them was read */
    char server_why[128], client_why[128];
};

/* Takes both; a NULL one fails the test. */
void tls_meet(struct tls_pair *pair, SSL *server, SSL *client);
void tls_part(struct tls_pair *pair);

/* The names of the certificate that the client was shown. */
const char *tls_shown(const struct tls_pair *pair);

/* Everything that is written to standard error meanwhile. */
void tls_log_begin(void);
const char *tls_log_end(void);

#endif
