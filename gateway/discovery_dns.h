/* SPDX-License-Identifier: MIT */
/*
 * c-ares on the libuv loop, for one lookup: a channel with the servers that
 * are to be asked, its sockets, its timers and a deadline. Each lookup has a
 * channel of its own, so that it can be given up alone, and so that a changed
 * resolv.conf is seen by the next one.
 */
#ifndef SIDGATE_GATEWAY_DISCOVERY_DNS_H
#define SIDGATE_GATEWAY_DISCOVERY_DNS_H

#include "gateway/config.h"

#include <ares.h>
#include <uv.h>

struct gw_dns;

/* Each time after c-ares has done something, and once soon after the opening;
 * never within c-ares, so that the channel may be closed in it. `is_late`: the
 * deadline is over. */
typedef void (*gw_dns_fn)(void *arg, bool is_late);

struct gw_dns_setup {
    uv_loop_t *loop;
    const struct gw_config *config; /* for dns_servers; needed no longer */
    uint32_t limit_ms;
    unsigned *open; /* how many handles wait for their end; the loop must run
                       until there is none, and this stay for as long */
    gw_dns_fn on_turn;
    void *arg;
};

/* NULL with a reason in *why. */
struct gw_dns *gw_dns_open(const struct gw_dns_setup *setup, const char **why);

/* To ask with. */
ares_channel gw_dns_channel(struct gw_dns *dns);

/* What is still asked for is answered with ARES_EDESTRUCTION before this
 * returns; on_turn is not called any more. Clears *which; NULL is harmless. */
void gw_dns_close(struct gw_dns **which);

/* The addresses of a name in the system's hosts file, at once. `found` is
 * called with each. */
typedef void (*gw_dns_host_fn)(void *arg, const struct gw_peer *address);
void gw_dns_hosts(const char *name, gw_dns_host_fn found, void *arg);

#endif
