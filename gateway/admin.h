/* SPDX-License-Identifier: MIT */
/*
 * The operator plane: libwebsockets on a libuv loop, on its own listener, in
 * the control thread (the one that runs main). Never shared with users'
 * traffic.
 */
#ifndef SIDGATE_GATEWAY_ADMIN_H
#define SIDGATE_GATEWAY_ADMIN_H

#include "gateway/admin_guard.h"
#include "gateway/command.h"
#include "gateway/metrics.h"

#include <stdbool.h>
#include <uv.h>

/* What a watcher has been told so far. */
struct gw_live_seen {
    bool has_begun;
    uint64_t event; /* number of the last event */
    int64_t point;  /* number of the last point of the history */
};

/* What the operator plane asks of the daemon. All called in the control
 * thread; `arg` is given back. */
struct gw_admin_hooks {
    bool (*is_ready)(void *arg); /* false while draining: /readyz gives 503 */
    char *(*metrics)(void *arg, size_t *len); /* malloc'd text or NULL */
    /* Carries an operator's command out; fills all of the outcome, or says
     * that it is pending. */
    void (*command)(void *arg, const struct gw_command *command,
                    struct gw_outcome *outcome);
    /* The next message for a page that watches: JSON, malloc'd, or NULL when
     * memory is short. `seen` is the watcher's own: all zero for the first. */
    char *(*live)(void *arg, struct gw_live_seen *seen, bool may_write);
    void *arg;
};

struct gw_admin;

/* Opens the listener on `address` with `loop` as a foreign loop and serves
 *   GET /healthz      200 "ok"      the process lives
 *   GET /readyz       200 "ready" or 503 "draining"
 *   GET / and /ui/... the live page, which says nothing of this gateway
 *   GET /metrics      Prometheus text
 *   /api/v1/live      a websocket for the page, at most 8 of them
 *   /api/...          what command.h says, in JSON
 * and 404 or 405 otherwise; one request a connection, whose body is read and
 * dropped (413 beyond 64 KiB). Where there are tokens, all but the first three
 * want one (401), and with the one that may only read nothing can be changed
 * (403); what pages of other sites ask for is refused (403). A unix socket's
 * file is its owner's alone, and goes with the listener. `inherited_fd` is a
 * socket that listens on `address` already, which is taken over in any case, or
 * -1. NULL with one clear line in `error` (256 bytes) on failure, e.g. the port
 * is taken. All is copied. */
struct gw_admin *gw_admin_open(uv_loop_t *loop,
                               const struct gw_address *address,
                               const struct gw_admin_tokens *tokens,
                               const struct gw_admin_hooks *hooks,
                               int inherited_fd, char *error);

/* The answer to a command that was pending; takes its body over. Does nothing
 * when the connection has gone. Within the loop's thread; may be called before
 * the hook has returned. */
void gw_admin_complete(struct gw_admin *admin, struct gw_ticket ticket,
                       struct gw_outcome *outcome);

/* The listening socket, for another process; it stays ours. */
int gw_admin_fd(const struct gw_admin *admin);

/* Another process accepts from now on; connections under way are finished,
 * those of watchers closed (1001), so that they turn to it, and a unix socket's
 * file is left to it. */
void gw_admin_hand_over(struct gw_admin *admin);

/* Takes that back. */
void gw_admin_resume(struct gw_admin *admin);

/* The port that is bound, also where `address` named port 0; 0 for a unix
 * socket. */
int gw_admin_port(const struct gw_admin *admin);

/* Closes the listener and its connections and frees everything; runs the loop
 * as far as that needs, so it must not be called from within the loop. No
 * other thread may open descriptors meanwhile: libwebsockets 4.1.6 closes its
 * own eventfd twice, and the second time may hit one that was just opened.
 * NULL is allowed. */
void gw_admin_close(struct gw_admin *admin);

/* From now on requests are hung up on; gw_admin_close is to follow. */
void gw_admin_stop(struct gw_admin *admin);

#endif
