/* SPDX-License-Identifier: MIT */
/* A worker's own listening socket for one configured address. */
#ifndef SIDGATE_GATEWAY_LISTENER_H
#define SIDGATE_GATEWAY_LISTENER_H

#include "gateway/config.h"
#include "gateway/peer.h"

#include <stdbool.h>
#include <stdint.h>

struct gw_worker;

struct gw_listener {
    struct gw_listener *next;
    struct gw_worker *worker;
    struct gw_listen_config config;
    int fd;
    bool is_shared; /* other workers wait on the same socket */
};

/* Registers `fd`, which listens, as a listener of `worker`; taken over. 0 or an
 * errno value. Before the worker's thread runs, or in it. */
int gw_listener_open(struct gw_worker *worker,
                     const struct gw_listen_config *config, int fd,
                     bool is_shared);

/* The configuration of this address is another one, for new connections. */
void gw_listener_configure(struct gw_worker *worker,
                           const struct gw_listen_config *config);

/* Closes the listeners of this address, once those who wait there have been
 * let in: they were promised a connection. */
void gw_listener_close(struct gw_worker *worker, const char *text);

/* Accepts what waits, a bounded number at a time; true: there may be more. */
bool gw_listener_accept(struct gw_listener *listener);

/* Lets in who waits already, then closes all. */
void gw_listeners_drain(struct gw_worker *worker);
void gw_listeners_close(struct gw_worker *worker);

/* Accepting rests, or goes on; who comes meanwhile waits in the kernel. */
void gw_listeners_pause(struct gw_worker *worker);
void gw_listeners_resume(struct gw_worker *worker);

#endif
