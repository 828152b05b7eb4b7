/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.1 message heads: found, parsed once and strictly, then checked as an
 * intermediary must (RFC 9110, RFC 9112). Nothing of a head is ever passed on
 * as it came: head_write.c writes it anew from struct gw_head.
 *
 * llhttp does the grammar, so that sidgate and Node agree on it; what llhttp
 * lets pass and an intermediary must not is refused here.
 */
#ifndef SIDGATE_GATEWAY_HEAD_H
#define SIDGATE_GATEWAY_HEAD_H

#include "eio/span.h"
#include "gateway/config.h"

enum { GW_FIELDS_MAX = 256 };

enum gw_field_kind {
    GW_FIELD_OTHER,
    GW_FIELD_ACCEPT_ENCODING,
    GW_FIELD_CONNECTION,
    GW_FIELD_CONTENT_ENCODING,
    GW_FIELD_CONTENT_LENGTH,
    GW_FIELD_DATE,
    GW_FIELD_EXPECT,
    GW_FIELD_HOST,
    GW_FIELD_KEEP_ALIVE,
    GW_FIELD_ORIGIN,
    GW_FIELD_TRANSFER_ENCODING,
    GW_FIELD_UPGRADE,
    GW_FIELD_WS_ACCEPT,
    GW_FIELD_WS_KEY,
    GW_FIELD_WS_VERSION,
    GW_FIELD_FORWARDING, /* X-Forwarded-*, Forwarded, X-Real-IP */
    GW_FIELD_HOP,        /* other hop-by-hop fields */
};

struct gw_field {
    struct eio_span name;
    struct eio_span value; /* without white space around it */
    enum gw_field_kind kind;
    bool is_dropped; /* named by Connection: not passed on */
};

/* All spans point into the bytes that were parsed. */
struct gw_head {
    struct gw_field fields[GW_FIELDS_MAX];
    size_t field_count;
    size_t size;            /* bytes of all of it */
    int minor;              /* HTTP/1.x */
    int64_t content_length; /* -1: there is none */
    bool is_chunked;
    bool says_close;      /* Connection: close */
    bool says_keep_alive; /* Connection: keep-alive */
    bool says_upgrade;    /* Connection: upgrade */

    /* requests */
    struct eio_span method;
    struct eio_span target; /* in origin-form, or "*" */
    struct eio_span path;   /* of the target, without the query */
    struct eio_span query;  /* behind the '?', empty where there is none */
    struct eio_span host;   /* empty only in HTTP/1.0 */
    struct eio_span origin;
    unsigned origin_count; /* of such fields; more than one is no browser's */
    struct eio_span ws_key;
    bool is_get;
    bool is_head;
    bool is_post;
    bool is_options;
    bool is_websocket; /* a valid websocket upgrade request */
    bool expects_continue;

    /* responses */
    int status;
    struct eio_span reason;
    struct eio_span ws_accept;
    struct eio_span content_encoding;
    bool upgrades_websocket; /* Upgrade: websocket, alone, and Connection
                                says so */
    bool has_date;
    int keep_alive_s; /* Keep-Alive: timeout=; -1 where not announced */
};

/* Where a search for the end of a head stands; zeroed at its start. */
struct gw_scan {
    size_t line_start;
    size_t lines;
};

/* Looks for the empty line. Returns 0 and sets *head_len (0: not there yet),
 * or the HTTP status to refuse with: 400 (bare LF, folded line), 414, 431. */
int gw_head_scan(struct gw_scan *scan, struct eio_span bytes,
                 const struct gw_config *limits, size_t *head_len);

/* Parses a whole request head. Returns 0, or the status to refuse it with:
 * 400, 405 (CONNECT, TRACE), 426 (websocket version), 501 (unknown
 * transfer coding or method), 505. *head is then undefined but for `minor`. */
int gw_head_parse_request(struct eio_span bytes, struct gw_head *head);

/* Parses a whole response head. 0, or -1 when it is not acceptable. */
int gw_head_parse_response(struct eio_span bytes, struct gw_head *head);

/* Helpers shared by the checks; ASCII case-insensitive. */
bool gw_span_is(struct eio_span span, const char *text);
bool gw_span_equal(struct eio_span a, struct eio_span b); /* to the case */
bool gw_span_equal_nocase(struct eio_span a, struct eio_span b);

/* Cuts the next element of a comma-separated list off *list. False at its
 * end; empty elements are skipped. */
bool gw_list_next(struct eio_span *list, struct eio_span *element);

/* Used by the two parsers (head_parse.c). */
int gw_head_run(struct eio_span bytes, bool is_request, struct gw_head *head);

/* Framing and Connection, alike in both directions. 0, 400 or 501. */
int gw_head_check_common(struct gw_head *head);

/* Sec-WebSocket-Accept for a key; `out` needs 29 bytes (with NUL). */
void gw_ws_accept(struct eio_span key, char out[29]);

#endif
