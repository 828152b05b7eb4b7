/* SPDX-License-Identifier: MIT */
/* A worker's own listening socket for one configured address. */
#ifndef SIDGATE_GATEWAY_LISTENER_H
#define SIDGATE_GATEWAY_LISTENER_H

#include "gateway/config.h"
#include "gateway/peer.h"
#include "gateway/unix_socket.h"

#include <stdbool.h>
#include <stdint.h>

struct gw_worker;

struct gw_listener {
    struct gw_listener *next;
    struct gw_worker *worker;
    const struct gw_listen_config *config;
    int fd;
};

/* What keeps an address between the trial and the workers' listeners, a unix
 * socket for as long as anybody listens. */
struct gw_held {
    int fd; /* -1: nothing */
    struct gw_unix_file file;
};

/* Binds without SO_REUSEPORT for a moment, so that a second gateway on the
 * same port is noticed. With port 0 the kernel's choice is written back to the
 * address, and *held keeps it until the listeners are open. A unix socket,
 * which no two can bind, is in *held for all of them; a file that a dead
 * process has left is replaced. Returns 0 or an errno value. */
int gw_listener_try(struct gw_listen_config *config, struct gw_held *held);

/* Opens and registers a listener of `worker`; `held` is what gw_listener_try
 * gave for a unix socket. 0 or an errno value. */
int gw_listener_open(struct gw_worker *worker,
                     const struct gw_listen_config *config, int held);

/* Accepts what waits, a bounded number at a time; true: there may be more. */
bool gw_listener_accept(struct gw_listener *listener);

void gw_listeners_close(struct gw_worker *worker);

#endif
