/* SPDX-License-Identifier: MIT */
/*
 * A client connection while it speaks HTTP: it finds one request after the
 * other and has an exchange carry each out; the next is looked at only when
 * the response to the last has gone.
 *
 *   PROXY  the PROXY header is awaited, TLS the end of its handshake; then IDLE
 *
 *          bytes            head whole           response sent
 *   IDLE --------> HEAD ----------------> BUSY ----------------> IDLE
 *                    |                      |
 *                    | refused              | last response
 *                    v                      v
 *                  FLUSH  (unsent bytes) -> LINGER (our FIN is sent, input is
 *                                           dropped) -> CLOSED
 */
#ifndef SIDGATE_GATEWAY_CONN_H
#define SIDGATE_GATEWAY_CONN_H

#include "eio/query.h"
#include "gateway/head_write.h"
#include "gateway/listener.h"
#include "gateway/worker.h"

enum gw_conn_state {
    GW_CONN_PROXY,
    GW_CONN_TLS,
    GW_CONN_IDLE,
    GW_CONN_HEAD,
    GW_CONN_BUSY,
    GW_CONN_FLUSH,
    GW_CONN_LINGER,
    GW_CONN_CLOSED,
};

struct gw_exchange;

struct gw_conn {
    struct gw_grave grave;
    struct gw_link link; /* in worker->connections */
    struct gw_worker *worker;
    struct gw_stream *stream;
    struct gw_exchange *exchange; /* while BUSY */
    struct gw_buf *in; /* read and not yet used: part of a head, a body, or
                          the next request */
    struct gw_scan scan;
    struct gw_timer timer; /* what it means depends on the state */
    enum gw_conn_state state;
    uint16_t https_port; /* of redirects */
    bool is_tls;         /* what its listener says of it */
    bool redirects;
    bool is_moving;      /* to the new process of an upgrade */
    struct gw_peer peer; /* the other end, or what its PROXY header says */
    uint32_t requests;   /* so far, where their number is limited */
    uint32_t taken_mark; /* gw_stream_taken when the timer was started */
    bool is_writing;     /* the timer watches a reader's progress */
    bool must_reset;     /* FLUSH ends in RST */
    bool closes;         /* after the current response */
    bool has_account;    /* counted for its address */
    bool is_nameless;    /* its PROXY header names nobody: so does no field of
                            its requests, which may be a client's own */
};

/* Takes over an accepted socket. */
void gw_conn_open(struct gw_worker *worker, int fd, const struct gw_peer *peer,
                  const struct gw_listen_config *listen);

/* One that an earlier process had, between two requests. NULL when memory is
 * short; the stream is closed then. The caller enters its state. */
struct gw_conn *gw_conn_resume(struct gw_worker *worker,
                               struct gw_stream *stream,
                               const struct gw_peer *peer,
                               const struct gw_listen_config *listen);

/* Reads what the client sent into conn->in, at most `limit` bytes there. */
void gw_conn_read(struct gw_conn *conn, size_t limit);

/* The exchange is over and its response written; gw_conn_cut: could not be
 * finished. The connection then ends behind what was written, by FIN, which
 * shows a framed response to be cut short, or with must_reset by RST, since
 * FIN would look like the end of one that is not framed. */
void gw_conn_next(struct gw_conn *conn);
void gw_conn_cut(struct gw_conn *conn, bool must_reset);

/* Sends an answer of sidgate's own; the connection's state is not touched. */
void gw_conn_reply(struct gw_conn *conn, struct gw_own_reply *reply);

/* The exchange made a tunnel of it: takes the client's stream and what was
 * read of it (may be NULL) away; the connection is gone. */
struct gw_stream *gw_conn_detach(struct gw_conn *conn, struct gw_buf **in);

/* Starts or stops the watch on a reader that makes no progress; starts the
 * one on a body that does not arrive. gw_exchange_client_timeout is told. */
void gw_conn_watch_writing(struct gw_conn *conn);
void gw_conn_watch_reading(struct gw_conn *conn);

/* Answers a held poll of this session with a close packet. How many. */
size_t gw_conns_kick(struct gw_worker *worker, const struct eio_sid *named);

/* Answers up to `max` held polls of this backend with a close packet; counts
 * the others into *left unless that is NULL. How many it answered. */
size_t gw_conns_close_backend(struct gw_worker *worker,
                              const struct gw_backend *backend, size_t max,
                              size_t *left);

/* worker->is_paused is over: requests are looked for again. */
void gw_conns_resume(struct gw_worker *worker);

/* Whether a request is under way to this backend. */
bool gw_conns_use(struct gw_worker *worker, const struct gw_backend *backend);

/* Whether a response must say that the connection ends behind it: the process
 * ends, or is not the gateway any more and cannot give this one away. */
static inline bool gw_conn_must_end(const struct gw_conn *conn)
{
    enum gw_phase phase = conn->worker->phase;
    return phase > GW_PHASE_HANDED ||
           (phase == GW_PHASE_HANDED &&
            (conn->is_tls || atomic_load(&conn->worker->server->has_no_heir)));
}

/* Shutdown: idle connections close, busy ones after their response. */
void gw_conns_drain(struct gw_worker *worker);
void gw_conns_cut(struct gw_worker *worker);

/* ---- between the files conn*.c ---- */

/* The only function that changes the state. */
void gw_conn_enter(struct gw_conn *conn, enum gw_conn_state state);
void gw_conn_close(struct gw_conn *conn, bool is_reset);
void gw_conn_on_event(struct gw_stream *stream);
/* IDLE or HEAD: looks for the next request. */
void gw_conn_find_request(struct gw_conn *conn);

/* conn_open.c: PROXY and TLS. */
void gw_conn_read_proxy(struct gw_conn *conn);
void gw_conn_shake_hands(struct gw_conn *conn);

#endif
