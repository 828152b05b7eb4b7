/* SPDX-License-Identifier: MIT */
/*
 * The operator plane: libwebsockets on a libuv loop, on its own listener, in
 * the control thread (the one that runs main). Never shared with users'
 * traffic.
 */
#ifndef SIDGATE_GATEWAY_ADMIN_H
#define SIDGATE_GATEWAY_ADMIN_H

#include "gateway/config.h"
#include "gateway/metrics.h"

#include <stdbool.h>
#include <uv.h>

/* What the operator plane asks of the daemon. All called in the control
 * thread; `arg` is given back. */
struct gw_admin_hooks {
    bool (*is_ready)(void *arg); /* false while draining: /readyz gives 503 */
    char *(*metrics)(void *arg, size_t *len); /* malloc'd text or NULL */
    void *arg;
};

struct gw_admin;

/* Opens the listener on `address` with `loop` as a foreign loop and serves
 *   GET /healthz  200 "ok"      the process lives
 *   GET /readyz   200 "ready" or 503 "draining"
 *   GET /metrics  Prometheus text
 * and 404 or 405 otherwise; one request a connection. Where `token` is not "",
 * all but the first two want it (401); what pages of other sites ask for is
 * refused (403). A unix socket's file is its owner's alone, and goes with the
 * listener. NULL with one clear line in `error` (256 bytes) on failure, e.g.
 * the port is taken. All is copied. */
struct gw_admin *gw_admin_open(uv_loop_t *loop,
                               const struct gw_address *address,
                               const char *token,
                               const struct gw_admin_hooks *hooks, char *error);

/* The port that is bound, also where `address` named port 0; 0 for a unix
 * socket. */
int gw_admin_port(const struct gw_admin *admin);

/* Closes the listener and its connections and frees everything; runs the loop
 * as far as that needs, so it must not be called from within the loop. No
 * other thread may open descriptors meanwhile: libwebsockets 4.1.6 closes its
 * own eventfd twice, and the second time may hit one that was just opened.
 * NULL is allowed. */
void gw_admin_close(struct gw_admin *admin);

#endif
