/* SPDX-License-Identifier: MIT */
/*
 * A connection to a backend: being opened, in use by one owner, or idle in
 * its worker's pool.
 */
#ifndef SIDGATE_GATEWAY_UPSTREAM_H
#define SIDGATE_GATEWAY_UPSTREAM_H

#include "gateway/backend.h"
#include "gateway/head.h"
#include "gateway/stream.h"
#include "gateway/timer.h"
#include "gateway/worker.h"

enum gw_connect_failure {
    GW_CONNECT_REFUSED,     /* nobody listens there */
    GW_CONNECT_UNREACHABLE, /* no answer in time, or no route */
    GW_CONNECT_LOCAL,       /* no port, descriptor or memory of our own: never
                               a backend's fault */
};

struct gw_upstream;

/* What its user is told; each may close or release the connection. */
struct gw_upstream_user {
    /* The connect that gw_upstream_connect began has ended well. */
    void (*on_connected)(struct gw_upstream *up, void *arg);
    /* It failed; the connection is gone when this returns. */
    void (*on_connect_failed)(struct gw_upstream *up, void *arg,
                              enum gw_connect_failure why);
    /* Readable, writable or reset: see the stream's flags. */
    void (*on_event)(struct gw_upstream *up, void *arg);
};

struct gw_upstream {
    struct gw_grave grave;
    struct gw_worker *worker;
    struct gw_stream *stream;
    struct gw_backend *backend;
    const struct gw_upstream_user *user;
    void *arg;
    struct gw_timer timer; /* connecting: the deadline; idle: the end */
    struct gw_buf *in;     /* part of a response head */
    struct gw_scan scan;
    struct gw_upstream *next; /* in the pool */
    struct gw_upstream **link;
    int64_t idle_since_ms;
    int64_t patience_ms; /* for a TLS handshake whose backend is there; 0:
                            what is left of connect_timeout */
    bool is_shaking;     /* hands, the TCP connection being open */
    bool is_connected;
    bool is_reused; /* it served another exchange before */
};

/* An idle connection to `backend`, or NULL. With is_certain only one that was
 * used within the last second and of which the kernel knows no FIN: for
 * requests that must not be sent twice. */
struct gw_upstream *gw_upstream_reuse(struct gw_worker *worker,
                                      struct gw_backend *backend,
                                      bool is_certain,
                                      const struct gw_upstream_user *user,
                                      void *arg);

/* Opens a new one. It may be connected when this returns (is_connected; then
 * on_connected is not called). NULL with *why when it cannot even be begun. */
struct gw_upstream *gw_upstream_connect(struct gw_worker *worker,
                                        struct gw_backend *backend,
                                        const struct gw_upstream_user *user,
                                        void *arg,
                                        enum gw_connect_failure *why);

/* Gives it back to the pool after an exactly framed exchange. keep_alive_s is
 * what the backend announced, -1 for nothing. Clears *up. */
void gw_upstream_release(struct gw_upstream **up, int keep_alive_s);

/* Whether the pool holds so many idle connections to `backend` that one more
 * would only wait for its end: then let the backend close it. */
bool gw_upstream_has_enough(const struct gw_worker *worker,
                            const struct gw_backend *backend);

/* After a response that announced its end: waits for the backend's FIN, so
 * that the port stays in TIME_WAIT there and not here. Clears *up. */
void gw_upstream_retire(struct gw_upstream **up);

/* Clears *up. With is_reset the backend sees RST. */
void gw_upstream_close(struct gw_upstream **up, bool is_reset);

/* Takes the stream away, for a tunnel, and frees the rest. Clears *up. */
struct gw_stream *gw_upstream_detach(struct gw_upstream **up);

void gw_upstreams_drop_idle(struct gw_worker *worker);
/* Those to this backend. */
void gw_upstreams_drop_backend(struct gw_worker *worker,
                               const struct gw_backend *backend);

#endif
