/* SPDX-License-Identifier: MIT */
/* Heads written anew, from what was parsed. */
#ifndef SIDGATE_GATEWAY_HEAD_WRITE_H
#define SIDGATE_GATEWAY_HEAD_WRITE_H

#include "eio/error.h"
#include "gateway/forwarded.h"
#include "gateway/head.h"

/* Where things stand in a written request, for later use. */
struct gw_place {
    uint32_t at;
    uint32_t len;
};

struct gw_request_places {
    struct gw_place path; /* without the query */
    struct gw_place host;
    struct gw_place origin;
};

/* What a backend is told other than the client said. */
struct gw_request_form {
    bool wants_identity;        /* as Accept-Encoding */
    struct eio_span request_id; /* as X-Request-Id; empty: as it came */
};

/* Writes a request head for a backend, without its body framing and without
 * the empty line: gw_framing_write adds those when the body is known. Returns
 * the length; 0 when it does not fit. */
size_t gw_request_write(const struct gw_head *head,
                        const struct gw_client *client,
                        const struct gw_request_form *form,
                        struct gw_request_places *places, struct eio_span out);

struct gw_framing {
    int64_t content_length; /* -1: none */
    bool is_chunked;
};

enum { GW_FRAMING_MAX = 64 };

/* The field that frames a body, and the empty line. */
size_t gw_framing_write(const struct gw_framing *framing,
                        char out[GW_FRAMING_MAX]);

struct gw_reply_form {
    struct gw_framing framing;
    bool closes;          /* Connection: close */
    bool keeps_alive_1_0; /* Connection: keep-alive, for an HTTP/1.0 client */
    bool is_switch;       /* 101 to websocket */
};

/* Writes a response head for a client. 0 when it does not fit. */
size_t gw_response_write(const struct gw_head *head,
                         const struct gw_reply_form *form, struct eio_span out);

/* A response of sidgate's own. */
struct gw_own_reply {
    int status;
    bool closes;
    bool keeps_alive_1_0;
    bool is_head;           /* no body, only its length */
    bool is_eio;            /* an Engine.IO error: `error` gives the body */
    bool is_upgrade;        /* in answer to a websocket request: text */
    bool is_close_packet;   /* `body` ends a session on polling */
    bool says_ok;           /* a 200 has the body "ok" */
    unsigned retry_s;       /* Retry-After; 0: none */
    uint16_t https_port;    /* a redirect to https on it, to... */
    struct eio_span host;   /* ...this authority, whose port does not count, */
    struct eio_span target; /* and this target */
    struct eio_span body;
    enum eio_error error;
    struct eio_span origin; /* for CORS; may be empty */
};

/* Writes head and body. `out` needs 1 KiB, and room for host and target. 0 when
 * it does not fit. */
size_t gw_own_reply_write(const struct gw_own_reply *reply, char *out,
                          size_t cap);

/* "<hex length>\r\n"; returns its length. */
enum { GW_CHUNK_HEAD_MAX = 20 };
size_t gw_chunk_head(size_t len, char out[GW_CHUNK_HEAD_MAX]);

#endif
