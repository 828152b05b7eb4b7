/* SPDX-License-Identifier: MIT */
/*
 * The configuration: one immutable struct, made by options.c from flags,
 * environment and file, read by everything else.
 */
#ifndef SIDGATE_GATEWAY_CONFIG_H
#define SIDGATE_GATEWAY_CONFIG_H

#include "store/url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    GW_BACKEND_ID_MAX = 64, /* with its NUL; [A-Za-z0-9._:\[\]-] */
    GW_ADDRESS_MAX = 128,   /* an address as the user wrote it, with NUL */
    GW_PATH_MAX = 128,      /* an Engine.IO path, with NUL */
    GW_LISTEN_COUNT_MAX = 16,
    GW_BACKEND_COUNT_MAX = 256,
    GW_PATH_COUNT_MAX = 16,
    GW_SOURCE_COUNT_MAX = 64,
};

enum gw_balance {
    GW_BALANCE_LEAST_SESSIONS,
    GW_BALANCE_ROUND_ROBIN,
    GW_BALANCE_RANDOM_TWO,
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
    char text[GW_ADDRESS_MAX];    /* "127.0.0.1:3001", "[::1]:80", "name:80" */
    struct sockaddr_storage addr; /* resolved */
    socklen_t addr_len;
};

struct gw_backend_config {
    char id[GW_BACKEND_ID_MAX]; /* unique; the address text where none given */
    struct gw_address address;
    uint32_t weight; /* 1 to 256 */
};

struct gw_config {
    struct gw_address listen[GW_LISTEN_COUNT_MAX];
    size_t listen_count;
    struct gw_backend_config backends[GW_BACKEND_COUNT_MAX];
    size_t backend_count;
    char paths[GW_PATH_COUNT_MAX][GW_PATH_MAX]; /* each starts with '/' */
    size_t path_count;
    struct gw_address sources[GW_SOURCE_COUNT_MAX]; /* port 0: addresses to
                                                connect to backends from */
    size_t source_count;
    struct gw_address admin; /* addr_len 0: no operator listener */
    char store_url[1024];    /* as the user wrote it, with its password */
    struct store_url store;  /* the same, parsed */
    char gateway_name[64];   /* the replica's name in records and logs */

    /* Of a store that is shared (not "memory"). */
    char store_prefix[32];         /* of all its keys, without the colon */
    char store_password_file[256]; /* "": none */
    char store_password[STORE_SECRET_MAX]; /* its content; "": the URL's */
    uint32_t store_timeout_ms;             /* 250, for one operation */
    enum gw_store_outage store_outage;     /* handshakes while it is away */
    uint32_t republish_rate;  /* 2000, sessions written again each second after
                                 the store has lost them; 1 to 1000000 */
    bool backend_agreement;   /* a backend gets handshakes only while every live
                                 replica lists it with the same address */
    char hash_sids_file[256]; /* "": keys hold sids as they are */
    unsigned char hash_secret[STORE_SECRET_MAX]; /* its content */
    size_t hash_secret_len;

    uint32_t workers; /* 1 to 64 */
    enum gw_balance balance;
    enum gw_recovery recovery;
    uint32_t recovery_rate; /* 50, unknown sids looked up each second for one
                               client address, after a burst of ten times as
                               many; 0: no limit */
    enum gw_sid_conflict sid_conflict; /* the old owner cannot tell */
    bool netty; /* the backends are netty-socketio servers: an empty 500 to a
                   request with a sid means that it is unknown */
    enum gw_log_level log_level;
    enum gw_log_format log_format;

    /* Limits of a message. */
    uint32_t max_request_line_bytes; /* 8192 */
    uint32_t max_head_bytes;         /* 16384 */
    uint32_t max_head_fields;        /* 100 */
    uint64_t max_body_bytes;         /* 0: no limit of sidgate's own */
    uint64_t max_connections;        /* client connections in all, 0: none */
    uint64_t max_sessions;           /* bound of the memory store */

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
    uint32_t recovery_timeout_ms;  /* 45000, how long a request may wait for an
                                      unknown sid's owner to be found */
    uint32_t shutdown_delay_ms;    /* 0, after SIGTERM, before draining */
    uint32_t shutdown_timeout_ms;  /* 30000, after which the rest is cut */
    uint32_t shutdown_rate;        /* websockets closed each second, 0: all at
                                      once; default 1000 */
};

#endif
