/* SPDX-License-Identifier: MIT */
/*
 * The operator plane's connections, for its own files.
 *
 *   admin.c        accepts, and ends what lasts too long
 *   admin_front.c  reads a request's head
 *   admin_http.c   libwebsockets' callbacks for requests
 *   admin_live.c   and for websockets
 */
#ifndef SIDGATE_GATEWAY_ADMIN_PRIVATE_H
#define SIDGATE_GATEWAY_ADMIN_PRIVATE_H

#include "gateway/admin_answer.h"
#include "gateway/admin_listen.h"
#include "gateway/admin_request.h"

#include <libwebsockets.h>

enum {
    GW_ADMIN_CONN_MAX = 64,
    GW_ADMIN_LIVE_MAX = 8,
    GW_ADMIN_LIFE_MS = 10000,  /* of a connection for a request */
    GW_ADMIN_STALL_MS = 30000, /* that a watcher takes nothing */
    GW_ADMIN_LIVE_MS = 1000,   /* from message to message */
    GW_ADMIN_PIECE = 8192,     /* of a body, written at a time */
    GW_ADMIN_PEER_MAX = 64,
};

#define GW_ADMIN_LIVE_PROTOCOL "sidgate-live"

enum gw_admin_state {
    GW_ADMIN_FREE,
    GW_ADMIN_HEAD,  /* its head is being read */
    GW_ADMIN_HTTP,  /* libwebsockets has it */
    GW_ADMIN_WATCH, /* likewise, as a websocket */
};

struct gw_admin_front;

struct gw_admin_conn {
    struct gw_admin *admin;
    enum gw_admin_state state;
    struct gw_admin_front *front; /* in GW_ADMIN_HEAD */
    struct lws *wsi;              /* later */
    uint64_t serial;              /* no two connections have the same */
    uint64_t born_ms;
    char peer[GW_ADMIN_PEER_MAX];

    /* What the head offers besides what lws reads. */
    bool offers_live;
    char *bearer; /* malloc'd, or NULL */
    bool has_body;
    unsigned fault; /* a status: the request is not to be carried out */

    /* The answer, or the message under way. */
    char *body; /* malloc'd */
    size_t len;
    size_t sent;
    size_t sent_at_tick; /* what `sent` was at the last tick */
    bool is_answered;    /* its head is written */

    /* A request whose answer comes later. */
    bool is_head;
    bool is_asking;  /* within the hook */
    bool is_pending; /* its answer may come */
    bool has_early;  /* it came within the hook */
    struct gw_admin_answer early;
    struct gw_admin_action action;

    /* A watcher. */
    struct gw_live_seen seen;
    bool may_write;
    bool is_open;   /* its handshake is over */
    bool is_due;    /* the next message, once the last one is gone */
    bool is_ending; /* it is told that it is over */
    uint64_t moved_ms;
    size_t input; /* bytes of what it sent */
};

struct gw_admin {
    uv_loop_t *loop;
    struct gw_admin_desk desk;
    struct gw_admin_listener socket;
    struct lws_context *context; /* lws sets it to NULL when it is gone */
    struct lws_vhost *vhost;
    uv_poll_t listener; /* of the socket */
    uv_timer_t ticker;
    uv_timer_t live; /* runs while somebody watches */
    bool has_handles;
    bool is_handed_over;
    bool is_closing;
    uint64_t serial;
    uint64_t life_ms;
    uint64_t stall_ms;
    struct gw_admin_conn *adopting; /* the place of the connection under
                                       adoption */
    struct gw_admin_conn conns[GW_ADMIN_CONN_MAX];
};

/* admin.c */

/* What lws calls, for both protocols. */
int gw_admin_on_event(struct lws *wsi, enum lws_callback_reasons reason,
                      void *user, void *in, size_t len);
/* Gives the socket to lws, with what was read from it. */
void gw_admin_adopt(struct gw_admin_conn *conn, int fd, const char *head,
                    size_t len);
void gw_admin_conn_kill(struct gw_admin_conn *conn);
void gw_admin_conn_release(struct gw_admin_conn *conn);

/* admin_front.c: reads a request on `fd`, then gw_admin_adopt with its head.
 * False when memory is short; the descriptor is closed in any case. */
bool gw_admin_front_open(struct gw_admin_conn *conn, int fd);
void gw_admin_front_close(struct gw_admin_conn *conn);

/* What a head offers that lws cannot be asked for. */
struct gw_admin_offer {
    bool offers_live; /* the subprotocol */
    char *bearer;     /* malloc'd: the token of "bearer.", "" when that is none;
                         or NULL */
    int64_t body_len; /* 0: none; -1: what is said of it is no number */
};

/* Room that gw_admin_head_rewrite may need beyond the head's. */
enum { GW_ADMIN_HEAD_MORE = 128 };

/* Writes a head anew: without subprotocols but ours, which lws has little room
 * for, without upgrades to what is not served, and with a body of no bytes.
 * Returns the length. */
size_t gw_admin_head_rewrite(const char *head, size_t len, char *out,
                             struct gw_admin_offer *offer);

/* admin_http.c: what lws says of a request. Returns what the callback does. */
int gw_admin_http_event(struct gw_admin_conn *conn,
                        enum lws_callback_reasons reason);
/* Reads the request as it stands in lws. */
bool gw_admin_http_read(struct gw_admin_conn *conn, struct gw_admin_text *text,
                        struct gw_admin_request *request);
/* Answers from within the callback, which then returns -1. */
void gw_admin_http_refuse(struct gw_admin_conn *conn,
                          struct gw_admin_answer answer);
/* Reads away what came behind the request: closing a socket with unread input
 * would make the kernel drop the answer. */
void gw_admin_http_drop(const struct gw_admin_conn *conn);

/* admin_live.c: likewise of a websocket. */
int gw_admin_live_event(struct gw_admin_conn *conn,
                        enum lws_callback_reasons reason, size_t len);
/* Whether it takes nothing for too long. */
bool gw_admin_live_is_stuck(const struct gw_admin_conn *conn, uint64_t now_ms);
/* Tells all watchers that they may come again, to whoever listens then. */
void gw_admin_live_end(struct gw_admin *admin);

#endif
