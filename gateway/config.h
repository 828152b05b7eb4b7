/* SPDX-License-Identifier: MIT */
/*
 * The configuration: one immutable struct, made by options.c from flags,
 * environment and file, read by everything else.
 */
#ifndef SIDGATE_GATEWAY_CONFIG_H
#define SIDGATE_GATEWAY_CONFIG_H

#include "gateway/peer.h"
#include "store/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    GW_BACKEND_ID_MAX = 64, /* with its NUL; [A-Za-z0-9._:\[\]-], and
                               the '/' behind a pool's name */
    GW_ADDRESS_MAX = 128,   /* an address as the user wrote it, with NUL */
    GW_PATH_MAX = 128,      /* an Engine.IO path, with NUL */
    GW_LISTEN_COUNT_MAX = 16,
    GW_BACKEND_COUNT_MAX = 256,
    GW_PATH_COUNT_MAX = 16, /* of one pool */
    GW_POOL_COUNT_MAX = 16,
    GW_POOL_NAME_MAX = 32,  /* with its NUL; [A-Za-z0-9._-] */
    GW_HOST_COUNT_MAX = 16, /* of one pool */
    GW_HOST_MAX = 256,      /* a host name, with NUL */
    GW_FIELD_MAX = 64,      /* a name that a hash or canary looks for, or the
                               value that it must have, with NUL */
    GW_DISCOVER_COUNT_MAX = 32,
    GW_DNS_SERVER_COUNT_MAX = 4,
    GW_SOURCE_COUNT_MAX = 64,
    GW_TRUSTED_COUNT_MAX = 64,
    GW_ORIGIN_COUNT_MAX = 64,
    GW_ORIGIN_MAX = 256, /* an allowed origin, with NUL */
    GW_CERTIFICATE_COUNT_MAX = 64,
    GW_FILE_MAX = 256, /* a file's name, with NUL */
    GW_CIPHERS_MAX = 1024,
};

enum gw_balance {
    GW_BALANCE_LEAST_SESSIONS,
    GW_BALANCE_ROUND_ROBIN,
    GW_BALANCE_RANDOM_TWO,
    GW_BALANCE_HASH,
};

/* What GW_BALANCE_HASH takes of a handshake. */
enum gw_hash_source {
    GW_HASH_ADDRESS, /* the client's true address */
    GW_HASH_HEADER,
    GW_HASH_COOKIE,
    GW_HASH_QUERY, /* a parameter of the query, as it is written */
};

struct gw_hash_key {
    enum gw_hash_source source;
    char name[GW_FIELD_MAX]; /* of the header (lower case), cookie, parameter */
};

enum gw_health_check {
    GW_HEALTH_OFF,
    GW_HEALTH_TCP,  /* a connection can be made */
    GW_HEALTH_HTTP, /* and a GET is answered with a status from the range */
};

enum gw_recovery {
    GW_RECOVERY_PROBE,
    GW_RECOVERY_OFF,
};

enum gw_sid_conflict {
    GW_SID_CONFLICT_REFUSE,
    GW_SID_CONFLICT_NEWEST,
};

enum gw_store_outage {
    GW_STORE_OUTAGE_OPEN,   /* bound here, written when the store is back */
    GW_STORE_OUTAGE_CLOSED, /* refused with 503 */
};

/* The header in which trusted proxies name the client. */
enum gw_real_address {
    GW_REAL_ADDRESS_X_FORWARDED_FOR,
    GW_REAL_ADDRESS_FORWARDED,
    GW_REAL_ADDRESS_X_REAL_IP,
};

enum gw_tls_version {
    GW_TLS_1_2,
    GW_TLS_1_3,
};

/* Certificates of clients, where an authority for them is given. */
enum gw_client_verify {
    GW_CLIENT_VERIFY_REQUIRE,
    GW_CLIENT_VERIFY_OPTIONAL, /* none is let in, a wrong one is not */
};

enum gw_log_level {
    GW_LOG_ERROR,
    GW_LOG_WARNING,
    GW_LOG_INFO,
    GW_LOG_DEBUG,
};

enum gw_log_format {
    GW_LOG_TEXT,
    GW_LOG_JSON,
};

struct gw_address {
    char text[GW_ADDRESS_MAX];    /* "127.0.0.1:3001", "[::1]:80", "name:80",
                                     "unix:/run/sidgate.sock" (listeners) */
    struct sockaddr_storage addr; /* resolved */
    socklen_t addr_len;
};

struct gw_listen_config {
    struct gw_address address;
    uint32_t unix_mode;  /* of a unix socket's file; 0660 */
    bool is_tls;         /* clients speak TLS */
    bool has_proxy;      /* each connection begins with a PROXY header */
    bool redirects;      /* every request is answered with a redirect... */
    uint16_t https_port; /* ...to https on this port; 443 */
};

struct gw_backend_config {
    char id[GW_BACKEND_ID_MAX]; /* unique; the address text where none given;
                                   in all pools but the first behind the
                                   pool's name and '/' */
    struct gw_address address;
    uint32_t weight;       /* 1 to 256 */
    uint32_t max_sessions; /* 0: the pool's */
    uint8_t pool;          /* its index in gw_config.pools */
    bool is_drained;       /* the configuration wants no handshakes there */
    bool is_tls;           /* https and wss towards it */
    bool is_unverified;    /* its certificate is not looked at */
    char tls_name[256];    /* that its certificate must have, and the SNI; the
                              host of its address by default */
};

/* A name whose addresses are backends, for as long as it has them. */
struct gw_discover_config {
    char name[GW_HOST_MAX]; /* to look up */
    uint16_t port;          /* 0: SRV records say it */
    bool is_srv;            /* the target's name is the backend's id, else its
                               address */
    struct gw_backend_config backend; /* pool, weight, TLS and limits of what
                                         is found; no id, no address, and a
                                         tls_name only where one is given */
};

/* Handshakes of a pool that another pool gets. */
struct gw_canary {
    char pool[GW_POOL_NAME_MAX]; /* "": there is none */
    uint8_t index;               /* of that pool */
    uint32_t percent;            /* of all handshakes, 0 to 100 */
    char header[GW_FIELD_MAX];   /* and of those with this header, in lower
                                    case; "": none */
    char value[GW_FIELD_MAX];    /* which must have this value */
};

/* Backends of one kind, and which requests are theirs. What is not given for
 * a pool is as in the first one, which the flags are about; but for hosts,
 * prefix, backends, discover and canary. */
struct gw_pool_config {
    char name[GW_POOL_NAME_MAX]; /* "default" for the first */
    bool is_removed; /* by a reload; it is there for its last sessions */
    char hosts[GW_HOST_COUNT_MAX][GW_HOST_MAX]; /* in lower case, without
                                  port; "*." before a host: all below it */
    size_t host_count;                          /* 0: every host */
    char prefix[GW_PATH_MAX]; /* of other requests than Engine.IO's that are
                                 this pool's; "": none */
    char paths[GW_PATH_COUNT_MAX][GW_PATH_MAX]; /* each starts with '/' */
    size_t path_count;
    enum gw_balance balance;
    struct gw_hash_key hash_key;
    uint32_t hash_ring_size; /* 1024, places at least; to 65536 */
    uint32_t slow_start_ms;  /* 0: none */
    uint32_t max_sessions;   /* of one backend; 0: no limit */
    uint32_t queue_length;   /* handshakes that wait for a place, in each
                                worker */
    uint32_t queue_timeout_ms;
    enum gw_health_check health_check;
    char health_path[GW_PATH_MAX];
    uint32_t health_status_min; /* 200 */
    uint32_t health_status_max; /* 399 */
    uint32_t health_interval_ms;
    uint32_t health_timeout_ms;
    uint32_t health_rise;      /* good checks in a row until it is up */
    uint32_t health_fall;      /* bad ones until it is down */
    uint32_t eject_failures;   /* in a row; 0: never */
    uint32_t eject_time_ms;    /* the first time; then twice as long, and so on,
                                  to ten times */
    uint32_t max_ejected;      /* of the pool's backends, in percent */
    uint32_t drain_rate;       /* sessions of a drained backend closed each
                                  second, over all replicas; 0: none */
    uint32_t drain_timeout_ms; /* after which all of them are; 0: never */
    enum gw_recovery recovery;
    enum gw_sid_conflict sid_conflict; /* the old owner cannot tell */
    bool netty; /* the backends are netty-socketio servers: an empty 500 to a
                   request with a sid means that it is unknown */
    struct gw_canary canary;
    uint16_t admits; /* a bit for each pool whose sessions this one's clients
                        may have, since a reload changed what is whose */
};

struct gw_certificate_config {
    char file[GW_FILE_MAX]; /* PEM, the server's first, then the chain; "": none
                             */
    char key[GW_FILE_MAX];  /* PEM; the same file where not given */
    char ocsp[GW_FILE_MAX]; /* DER response to staple; "": none */
};

struct gw_config {
    struct gw_listen_config listen[GW_LISTEN_COUNT_MAX];
    size_t listen_count;
    struct gw_backend_config backends[GW_BACKEND_COUNT_MAX];
    size_t backend_count;
    struct gw_pool_config pools[GW_POOL_COUNT_MAX];
    size_t pool_count; /* at least 1 */
    struct gw_discover_config discover[GW_DISCOVER_COUNT_MAX];
    size_t discover_count;
    uint32_t discover_interval_ms; /* 5000 */
    struct gw_address dns_servers[GW_DNS_SERVER_COUNT_MAX];
    size_t dns_server_count;                        /* 0: the system's */
    struct gw_address sources[GW_SOURCE_COUNT_MAX]; /* port 0: addresses to
                                                connect to backends from */
    size_t source_count;
    struct gw_address admin;            /* addr_len 0: no operator listener */
    char admin_token_file[GW_FILE_MAX]; /* "": none */
    char admin_token[STORE_SECRET_MAX]; /* its content */
    char admin_read_token_file[GW_FILE_MAX]; /* "": none */
    char admin_read_token[STORE_SECRET_MAX];
    bool serve_health; /* /healthz and /readyz are answered on the listeners
                          for clients too */

    /* Who clients are. */
    struct gw_net trusted[GW_TRUSTED_COUNT_MAX]; /* proxies before us */
    size_t trusted_count;
    bool trusts_unix; /* the peers of unix sockets are such proxies too */
    enum gw_real_address real_address;
    char origins[GW_ORIGIN_COUNT_MAX][GW_ORIGIN_MAX]; /* in lower case;
                                  "*." before a host: all below it */
    size_t origin_count; /* 0: every origin is let in */

    /* TLS. */
    struct gw_certificate_config certificates[GW_CERTIFICATE_COUNT_MAX];
    size_t certificate_count;
    enum gw_tls_version tls_min_version;
    char tls_ciphers[GW_CIPHERS_MAX]; /* of TLS 1.2, as OpenSSL names them */
    char tls_client_ca[GW_FILE_MAX];  /* PEM; "": clients show none */
    enum gw_client_verify tls_client_verify;
    char backend_ca[GW_FILE_MAX]; /* PEM; "": the system's */
    struct gw_certificate_config backend_certificate; /* shown to backends */
    char store_url[1024];   /* as the user wrote it, with its password */
    struct store_url store; /* the same, parsed */
    char gateway_name[64];  /* the replica's name in records and logs */

    /* Of a store that is shared (not "memory"). */
    char store_prefix[32];         /* of all its keys, without the colon */
    char store_password_file[256]; /* "": none */
    char store_password[STORE_SECRET_MAX]; /* its content; "": the URL's */
    char store_ca[GW_FILE_MAX]; /* PEM, for TLS to it; "": the system's */
    struct gw_certificate_config store_certificate; /* shown to it */
    char store_tls_name[256]; /* SNI, and verified, in place of each node's
                                 host; "": that */
    bool store_verify;        /* its certificates are verified */
    char sentinel_user[128];
    char sentinel_password_file[256];         /* "": none */
    char sentinel_password[STORE_SECRET_MAX]; /* its content */
    uint32_t store_timeout_ms;                /* 250, for one operation */
    enum gw_store_outage store_outage;        /* handshakes while it is away */
    uint32_t republish_rate;  /* 2000, sessions written again each second after
                                 the store has lost them; 1 to 1000000 */
    bool backend_agreement;   /* a backend gets handshakes only while every live
                                 replica lists it with the same address */
    char hash_sids_file[256]; /* "": keys hold sids as they are */
    unsigned char hash_secret[STORE_SECRET_MAX]; /* its content */
    size_t hash_secret_len;

    uint32_t workers; /* 1 to 64 */
    char user[64];    /* name[:group] to run as once all is open; "": stay */
    bool seccomp;     /* give up system calls that sidgate never needs */
    uint32_t recovery_rate; /* 50, unknown sids looked up each second for one
                               client address, after a burst of ten times as
                               many; 0: no limit */
    enum gw_log_level log_level;
    enum gw_log_format log_format;
    char access_log[GW_FILE_MAX]; /* a file, "stdout", or "": none */
    enum gw_log_format access_log_format;
    uint32_t access_log_sample; /* one of so many requests */

    /* Limits of a message. */
    uint32_t max_request_line_bytes; /* 8192 */
    uint32_t max_head_bytes;         /* 16384 */
    uint32_t max_head_fields;        /* 100 */
    uint64_t max_body_bytes;         /* 0: no limit of sidgate's own */
    uint64_t max_connections;        /* client connections in all, 0: none */
    uint64_t max_sessions;           /* bound of the memory store */
    uint32_t max_requests_per_connection; /* 0: no limit */
    uint32_t max_streamed_bodies; /* 1000, request bodies over 64 KiB under way
                                     at a time; 0: no limit */
    uint32_t min_body_rate; /* 64, bytes of a request body each second, over
                               body_timeout; 0: any progress will do */

    /* For each client address (IPv6: /64). 0: no limit. */
    uint32_t max_connections_per_address;
    uint32_t max_sessions_per_address;
    uint32_t handshake_rate_per_address; /* a second, after a burst of ten
                                            times as many */

    /* Times, all in ms. */
    uint32_t head_timeout_ms;      /* 10000, from the first byte of a head */
    uint32_t keepalive_timeout_ms; /* 75000, a client connection's idle time
                                      between requests */
    uint32_t body_timeout_ms;      /* 60000, without progress of a body */
    uint32_t connect_timeout_ms;   /* 2000, to a backend */
    uint32_t response_timeout_ms;  /* 60000, from a request to the head of its
                                      response; never below a session's
                                      pingInterval + pingTimeout for a poll */
    uint32_t write_timeout_ms;     /* 60000, without progress of a reader */
    uint32_t tcp_keepalive_ms;     /* 60000, of silence before the kernel asks
                                      whether a client is there; 0: never */
    uint32_t tcp_user_timeout_ms;  /* 90000, for a peer to acknowledge what was
                                      sent; 0: the kernel's own */
    uint32_t recovery_timeout_ms;  /* 45000, how long a request may wait for an
                                      unknown sid's owner to be found */
    uint32_t shutdown_delay_ms;    /* 0, after SIGTERM, before draining */
    uint32_t shutdown_timeout_ms;  /* 30000, after which the rest is cut */
    uint32_t shutdown_rate;        /* websockets closed each second, 0: all at
                                      once; default 1000 */
    uint32_t upgrade_timeout_ms;   /* 3600000, how long the old process of an
                                      upgrade keeps what it could not hand
                                      over */
};

#endif
