/* SPDX-License-Identifier: MIT */
/*
 * One request and its response.
 *
 *   BODY      a request body of up to 64 KiB is read whole first
 *   ROUTE     the sid's owner is being looked up
 *   QUEUED    all backends have as many sessions as they may
 *   CONNECT   a backend connection is being opened
 *   HEAD      the request is being sent; the response head is awaited
 *   RELAY     the response flows
 *   HELD      the response is whole but waits for the store's word: is the
 *             session bound, or does it live elsewhere than the cache says
 *   DONE      nothing is left to do
 *
 * The request's own body may still flow (beyond 64 KiB) in HEAD and RELAY.
 */
#ifndef SIDGATE_GATEWAY_EXCHANGE_H
#define SIDGATE_GATEWAY_EXCHANGE_H

#include "eio/payload.h"
#include "gateway/affinity.h"
#include "gateway/body.h"
#include "gateway/conn.h"
#include "gateway/exchange_report.h"
#include "gateway/route.h"
#include "gateway/upstream.h"

enum gw_exchange_state {
    GW_EXCHANGE_BODY,
    GW_EXCHANGE_ROUTE,
    GW_EXCHANGE_QUEUED,
    GW_EXCHANGE_CONNECT,
    GW_EXCHANGE_HEAD,
    GW_EXCHANGE_RELAY,
    GW_EXCHANGE_HELD,
    GW_EXCHANGE_DONE,
};

enum {
    GW_BODY_WHOLE_MAX = 65536, /* request bodies up to this are read whole */
    GW_EARLY_MAX = 65536,      /* bytes read ahead of their turn */
    GW_HELD_MAX = 32768,       /* of a response that waits to be learnt from */
    GW_QUEUE_MS = 20,          /* from one look for a free place to the next */
    GW_CLOSE_MAX = 32,         /* for "Connection: close" towards a backend */
};

struct gw_learn;

/* A polling session's way to websocket. */
enum gw_upgrade_try {
    GW_UPGRADE_NONE,
    GW_UPGRADE_TRIED,    /* the session's backend is known */
    GW_UPGRADE_ANSWERED, /* by something else than the right 101 */
};

struct gw_exchange {
    struct gw_grave grave;
    struct gw_worker *worker;
    struct gw_conn *conn;
    struct gw_backend *backend;
    struct gw_upstream *up;
    enum gw_exchange_state state;
    enum gw_route route;

    /* the request */
    struct gw_buf *request; /* its head, kept for sending it again */
    struct gw_request_places places;
    struct gw_buf *body; /* decoded and not yet sent */
    struct gw_body decoder;
    struct gw_framing framing; /* towards the backend */
    uint64_t body_bytes;
    uint64_t body_max;   /* when the request began; 0: no limit */
    uint64_t body_mark;  /* body_bytes when the watch on it began, */
    uint64_t body_least; /* and how many more there must be at its end */
    struct gw_peer peer; /* the client's true address */
    uint32_t kept;     /* of them, to send them again; in worker->kept_bytes */
    uint64_t hash;     /* of a handshake: what it is placed by, */
    uint64_t own_hash; /* and if it does not go to the canary */
    struct gw_link queued; /* in worker->queued, while all backends are full */
    int64_t queued_ms;     /* since when */
    uint8_t pool;          /* that the request is for */
    uint8_t target;        /* whose backend a handshake is given */
    struct gw_report report;
    uint8_t upgrade; /* enum gw_upgrade_try */
    uint8_t minor;
    bool is_get;
    bool is_head;
    bool is_post;
    bool is_options;
    bool is_websocket;
    bool keeps_alive_1_0;
    bool was_resent;
    bool has_client_fin;    /* the client has shut its side */
    bool is_counted;        /* in backend->handshakes */
    bool is_streaming;      /* in server->streamed_bodies */
    bool is_reserved;       /* counts as a session of its address */
    bool has_account;       /* a websocket through a proxy: counted for its
                               address until the tunnel takes that over */
    struct eio_query query; /* of a handshake: the sid that its client comes
                               back with, until it has a backend; its own once
                               it is bound */
    char ws_accept[29];     /* what a right 101 must say */

    /* routing */
    struct gw_lookup lookup;
    struct gw_session session;
    struct gw_backend_set tried;
    unsigned refusals;
    struct gw_timer timer; /* response timeout; pause before a reconnect;
                              a response that stands still */

    /* the response */
    struct gw_body response;
    struct gw_learn *learn;     /* while it may be a handshake's answer */
    struct eio_close_scan scan; /* of a poll's answer or a POST's body */
    struct gw_buf *denial;      /* the start of a 400's body */
    int status;
    int keep_alive_s;
    bool out_is_chunked;
    bool is_reusable; /* so far the backend connection may be kept */
    bool is_retiring; /* the backend will close it, after a whole response */
    bool is_denial;
    bool is_binding; /* the store has been told and has not answered */
    bool is_doubted; /* a cached owner denies: held until the store says more */
    bool was_rerouted; /* the store is asked once */
    int bind_result;   /* of a binding that ended at once */
    unsigned interims; /* 1xx heads seen */
};

static inline const struct gw_pool_config *
gw_exchange_pool(const struct gw_exchange *exchange)
{
    return &exchange->worker->config->pools[exchange->pool];
}

/* Begins with the head in worker->head; the bytes behind it are in conn->in
 * (or still in the socket). The head's bytes need live only until this
 * returns. */
void gw_exchange_begin(struct gw_conn *conn);

/* The client's stream can be read or written, or has ended. */
void gw_exchange_on_client(struct gw_exchange *exchange);

/* The client is gone (reset): the backend is told by RST. */
void gw_exchange_abort(struct gw_exchange *exchange);

/* Ends a session on polling: a held poll is answered with a close packet in
 * the session's own framing, its request to the backend is ended and the sid
 * unbound. False, and nothing done, when this is not a held poll. */
bool gw_exchange_close_session(struct gw_exchange *exchange, enum gw_end cause);

/* No progress on the client's side for as long as allowed. */
void gw_exchange_client_timeout(struct gw_exchange *exchange);

/* ---- between the files exchange*.c ---- */

/* The only function that changes the state. */
void gw_exchange_enter(struct gw_exchange *exchange,
                       enum gw_exchange_state state);

/* Ends it with an answer of sidgate's own, if no response has begun; else the
 * client sees it cut. */
void gw_exchange_fail(struct gw_exchange *exchange, int status);
void gw_exchange_fail_eio(struct gw_exchange *exchange, enum eio_error error);
/* With an answer of sidgate's own; fills in what depends on the request. */
void gw_exchange_reply(struct gw_exchange *exchange,
                       struct gw_own_reply *reply);
/* 429; the client may come again in retry_s seconds. */
void gw_exchange_fail_busy(struct gw_exchange *exchange, unsigned retry_s);

/* The response is whole and written. */
void gw_exchange_finish(struct gw_exchange *exchange);

/* Frees everything but the connection. */
void gw_exchange_drop(struct gw_exchange *exchange, bool is_reset);

/* exchange_body.c. As exchange->framing says. */
void gw_exchange_start_body(struct gw_exchange *exchange);
void gw_exchange_say_continue(struct gw_exchange *exchange);
/* Reads the body until the request can be routed. */
void gw_exchange_collect(struct gw_exchange *exchange);
/* Streams one beyond GW_BODY_WHOLE_MAX to the backend. */
void gw_exchange_send_body(struct gw_exchange *exchange);
/* The time that it had for its next bytes is over. */
void gw_exchange_on_slow_body(struct gw_exchange *exchange);
void gw_exchange_on_cut_request(struct gw_exchange *exchange);

/* exchange_send.c: from a route to a sent request. */
void gw_exchange_route(struct gw_exchange *exchange);
void gw_exchange_connect(struct gw_exchange *exchange);
/* For the backend: until the head of its response, and then for any further
 * byte of it. */
int64_t gw_exchange_response_timeout(const struct gw_exchange *exchange);
bool gw_exchange_may_repeat(const struct gw_exchange *exchange);
/* Sends exchange->body, in its framing, behind `head` (may be empty). */
void gw_exchange_write_body(struct gw_exchange *exchange, struct eio_span head);
void gw_exchange_pass_fin(struct gw_exchange *exchange);

/* exchange_choose.c: a backend for what is not a session's request. */
void gw_exchange_choose(struct gw_exchange *exchange);
void gw_exchange_take_backend(struct gw_exchange *exchange,
                              struct gw_backend *backend);
void gw_exchange_leave_backend(struct gw_exchange *exchange);
/* worker->queue_timer, while anybody waits for a place. */
void gw_exchange_on_queue(struct gw_timer *timer);

/* exchange_response.c: from the backend's bytes to the client's. */
void gw_exchange_on_backend(struct gw_upstream *up, void *arg);
void gw_exchange_pump(struct gw_exchange *exchange);

/* exchange_session.c. Looks at a decoded piece of the response before it is
 * passed on; may cork the client's stream. Returns 0, or the status with which
 * to refuse the response. */
int gw_exchange_inspect(struct gw_exchange *exchange, struct eio_span piece);

/* The response is whole: unbinds the sid if it said that the session is over
 * or not known. */
void gw_exchange_end_session(struct gw_exchange *exchange);

/* Whether the shared store may name another backend than the cache did. */
bool gw_exchange_may_reroute(const struct gw_exchange *exchange);

/* Asks it, and goes there; else does what is to be done with the answer of the
 * old owner that is held, or with its death. */
void gw_exchange_reroute(struct gw_exchange *exchange);

/* exchange_upgrade.c: counts an upgrade whose owner is known, and its end
 * without a tunnel (nothing if there was none, or a tunnel has it). */
void gw_exchange_try_upgrade(struct gw_exchange *exchange);
void gw_exchange_end_upgrade(struct gw_exchange *exchange, bool is_abort);

/* What a lookup of its sid is about. */
struct gw_lookup_about gw_exchange_about(const struct gw_exchange *exchange);

struct eio_span gw_exchange_place(const struct gw_exchange *exchange,
                                  struct gw_place place);

#endif
