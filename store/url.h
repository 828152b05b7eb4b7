/* SPDX-License-Identifier: MIT */
/*
 * Where a store is, as the user writes it:
 *
 *   memory
 *   redis://[[user]:password@]host[:port][/db]     also redis://[::1]:6379
 *   redis+unix://[[user]:password@]/path[?db=n]
 *   redis+sentinel://[[user]:password@]host[:port],host[:port],.../master[/db]
 *   redis+cluster://[[user]:password@]host[:port],host[:port],...
 *
 * With rediss in place of redis all connections speak TLS (not those of a unix
 * socket). User and password may be percent-encoded; they are those of the
 * Redis servers, never those of Sentinels.
 */
#ifndef SIDGATE_STORE_URL_H
#define SIDGATE_STORE_URL_H

#include "store/loop.h"

enum {
    STORE_SECRET_MAX = 512,
    STORE_URL_ERROR_MAX = 240,
    STORE_URL_HOSTS_MAX = 16,
    STORE_MASTER_MAX = 128, /* a master's name for Sentinels, with NUL */
};

enum store_kind {
    STORE_KIND_MEMORY,
    STORE_KIND_SINGLE,   /* one Redis */
    STORE_KIND_SENTINEL, /* the master that Sentinels name */
    STORE_KIND_CLUSTER,
};

struct store_url {
    enum store_kind kind;
    /* The Redis; or Sentinels (port 26379 where none is given); or any nodes of
     * the cluster. Their is_tls says what the scheme says. */
    struct store_address hosts[STORE_URL_HOSTS_MAX];
    unsigned host_count; /* 0 for memory, else 1 or more */
    char user[128];      /* "" where none is given */
    char password[STORE_SECRET_MAX];
    char master[STORE_MASTER_MAX]; /* of SENTINEL: printable, without '/' */
    unsigned db;                   /* 0 to 9999; 0 for CLUSTER */
};

/* Returns 0, or -1 with one line in `error` that says what is wrong and never
 * holds the password, e.g. "redis://h:99999: the port is not between 1 and
 * 65535". */
int store_url_parse(const char *text, struct store_url *url,
                    char error[STORE_URL_ERROR_MAX])
    __attribute__((warn_unused_result));

/* A name, an IPv4 or a bare IPv6 address, as far as its characters go: what
 * else a server gives as one may not reach a log or a resolver. */
bool store_host_is_plain(const char *text, size_t len);

/* Copies the text with *** in place of the password, for logs and
 * --print-config; cut if it does not fit. */
void store_url_masked(const char *text, char *out, size_t size);

#endif
