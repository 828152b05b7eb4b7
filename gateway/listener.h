/* SPDX-License-Identifier: MIT */
/* A worker's own listening socket for one configured address. */
#ifndef SIDGATE_GATEWAY_LISTENER_H
#define SIDGATE_GATEWAY_LISTENER_H

#include "gateway/config.h"

#include <stdbool.h>
#include <stdint.h>

struct gw_worker;

struct gw_listener {
    struct gw_listener *next;
    struct gw_worker *worker;
    int fd;
};

/* A client's address. */
struct gw_peer {
    uint8_t family; /* AF_INET or AF_INET6 */
    uint8_t addr[16];
};

/* Writes the address as text, with NUL; needs INET6_ADDRSTRLEN bytes. A v4
 * address mapped into v6 is written as v4. */
void gw_peer_text(const struct gw_peer *peer, char *out, size_t cap);

/* Binds without SO_REUSEPORT for a moment, so that a second gateway on the
 * same port is noticed. With port 0 the kernel's choice is written back to
 * `address`, and *held is a socket that keeps it, to be closed once the
 * listeners are open; else -1. Returns 0 or an errno value. */
int gw_listener_try(struct gw_address *address, int *held);

/* Opens and registers a listener of `worker`. 0 or an errno value. */
int gw_listener_open(struct gw_worker *worker,
                     const struct gw_address *address);

/* Accepts what waits, a bounded number at a time; true: there may be more. */
bool gw_listener_accept(struct gw_listener *listener);

void gw_listeners_close(struct gw_worker *worker);

#endif
