/* SPDX-License-Identifier: MIT */
/*
 * What is told of a request when it is over: how long it took (histograms),
 * what its session has moved, its line in the access log.
 */
#ifndef SIDGATE_GATEWAY_EXCHANGE_REPORT_H
#define SIDGATE_GATEWAY_EXCHANGE_REPORT_H

#include "eio/sid.h"
#include "gateway/metrics.h"

#include <stdbool.h>

struct gw_conn;
struct gw_exchange;
struct gw_head;
struct gw_own_reply;
struct gw_report_text;
struct gw_worker;

enum { GW_REQUEST_ID_MAX = 128 };

/* Part of every exchange. */
struct gw_report {
    int64_t begin_us;   /* worker->now_us when its head was whole */
    int64_t first_us;   /* when the head of the response came; 0: none */
    uint64_t in_bytes;  /* of the request as it came, its head included */
    uint64_t out_bytes; /* given to the client's stream, TLS not counted */
    struct gw_report_text *text; /* with the access log on: what its line needs
                                    of the head; freed by gw_report_end */
    uint16_t status;             /* that the client was told; 0: none */
    uint8_t kind;                /* enum gw_request_kind */
    bool is_sampled;             /* its line will be written */
    bool is_own;                 /* the answer is sidgate's own */
    bool is_aborted;             /* by the client */
    bool is_bound;               /* a handshake whose session has begun */
    bool is_settled;             /* its session has its account */
};

/* The head is whole and has been routed; `head` lives until this returns. */
void gw_report_begin(struct gw_exchange *exchange, const struct gw_head *head);

/* The id that its backend is to be told; empty: none. */
struct eio_span gw_report_request_id(const struct gw_exchange *exchange);

/* The head of the response that the client gets is known. */
void gw_report_status(struct gw_exchange *exchange, int status, bool is_own);

/* It is thrown away: another one takes its place. */
void gw_report_again(struct gw_exchange *exchange);

/* The handshake's session is bound. */
void gw_report_bound(struct gw_exchange *exchange, const struct eio_sid *sid);

/* What the request has moved is in its session's account from now on. Called
 * before the client's next request can come, or the session ends. */
void gw_report_settle(struct gw_exchange *exchange);

/* It is over, however it ended; called once. After a 101 when the tunnel takes
 * over. */
void gw_report_end(struct gw_exchange *exchange);

/* An answer of sidgate's own, of `len` bytes. Without an exchange it is to what
 * never became one, and has its line here; the worker's head is its own only
 * where it is redirected. */
void gw_report_reply(struct gw_conn *conn, const struct gw_own_reply *reply,
                     size_t len);

/* Whether a field's value is one that W3C's trace context allows. */
bool gw_is_traceparent(struct eio_span value);

/* Whether a client's id is taken over. */
bool gw_is_request_id(struct eio_span value);

#endif
