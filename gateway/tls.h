/* SPDX-License-Identifier: MIT */
/*
 * TLS for listeners, towards backends and the store: certificates, versions,
 * names. What flows through a connection is stream_tls.c's.
 *
 * One of each for the process, shared by the workers. The certificates can be
 * read again while connections come in: those that are open keep theirs.
 */
#ifndef SIDGATE_GATEWAY_TLS_H
#define SIDGATE_GATEWAY_TLS_H

#include "gateway/config.h"

#include <openssl/ssl.h>

enum { GW_TLS_ERROR_MAX = 512 };

struct gw_tls;

/* False, with one line
 * in `error` that names the file and what is wrong with it, when something
 * cannot be read or does not fit together (a key of another certificate, an
 * expired or future certificate is only warned of, no certificate at all for a
 * TLS listener, ciphers that OpenSSL does not know). The configuration is
 * needed until this returns. */
bool gw_tls_new(const struct gw_config *config, struct gw_tls **tls,
                char error[GW_TLS_ERROR_MAX]);
/* After all connections. */
void gw_tls_free(struct gw_tls *tls);

/* Reads all files of this configuration, which may be another one, anew and
 * uses them for connections from now on. False, with a line and everything as
 * it was, when one of them is wrong. Session tickets stay valid. The control
 * thread. */
bool gw_tls_reload(struct gw_tls *tls, const struct gw_config *config,
                   char error[GW_TLS_ERROR_MAX]);

/* The server's end of a new connection, without a BIO. NULL when memory is
 * short or no listener speaks TLS. Any thread. */
SSL *gw_tls_accept(struct gw_tls *tls);

/* The client's end of a new connection to a backend, which has place `index`
 * among all: SNI and the name to verify are set, and the session to resume
 * if there is one. Any thread. */
SSL *gw_tls_connect(struct gw_tls *tls, const struct gw_backend_config *backend,
                    size_t index);

/* The client's end of a new connection to a Redis or a Sentinel: SNI and what
 * to verify are set, the host of the address or --store-tls-name. NULL when
 * memory is short, and where the store speaks no TLS or there is no `tls`. Any
 * thread. */
SSL *gw_tls_store(struct gw_tls *tls, const struct store_address *to);

/* Why such a connection ended, in one line for the log: "TLS: its certificate
 * has expired", "TLS: it refuses: certificate required"; `reason` where neither
 * a certificate nor an alert was the cause. Gives `out`. */
const char *gw_tls_store_why(const SSL *ssl, const char *reason, char *out,
                             size_t cap);

/* Likewise, where a plain connection ended before a byte came, as one does to
 * who speaks TLS. */
#define GW_TLS_MISSED "closed without a word: if it speaks TLS, use rediss://"

/* Whether connections to such a backend can be made: the configuration has one
 * like it. */
bool gw_tls_can_connect(struct gw_tls *tls,
                        const struct gw_backend_config *backend);

/* When the first of our certificates ends, in seconds since 1970; 0: there is
 * none. Any thread. */
int64_t gw_tls_not_after(struct gw_tls *tls);

/* What went wrong with a handshake, in a few words for a log: "certificate
 * verify failed: self-signed certificate", "no shared cipher", "unsupported
 * protocol", "http request"; "" when OpenSSL has nothing to say. Empties the
 * thread's error queue. */
const char *gw_tls_why(const SSL *ssl, char *out, size_t cap);

#endif
