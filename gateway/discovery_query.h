/* SPDX-License-Identifier: MIT */
/*
 * One lookup of a --discover name: its A and AAAA records, or its SRV records
 * and then the addresses of their targets. Search domains and the hosts file
 * count as they do for the system, the latter unless the configuration names
 * DNS servers.
 */
#ifndef SIDGATE_GATEWAY_DISCOVERY_QUERY_H
#define SIDGATE_GATEWAY_DISCOVERY_QUERY_H

#include "gateway/config.h"

#include <uv.h>

enum {
    GW_FOUND_MAX = 128,        /* of one name */
    GW_FOUND_ADDRESS_MAX = 16, /* of one target */
};

/* An address, or the target of a SRV record. */
struct gw_found {
    char target[GW_HOST_MAX]; /* in lower case, without final dot; "": none */
    uint16_t port;
    uint16_t weight;     /* of the record */
    const char *refused; /* why it cannot be a backend; NULL: it can */
    bool is_unknown;     /* the lookup of the target's addresses failed */
    unsigned count;
    struct gw_peer addresses[GW_FOUND_ADDRESS_MAX]; /* sorted */
};

enum gw_lookup_status {
    GW_LOOKUP_FOUND,
    GW_LOOKUP_EMPTY, /* the servers say that there is nothing */
    GW_LOOKUP_FAILED,
};

struct gw_lookup_result {
    enum gw_lookup_status status;
    char why[320];      /* of what failed, also where something was found; ""
                           where nothing did */
    bool is_v4_unknown; /* found, but for one family */
    bool is_v6_unknown;
    bool is_cut;     /* there were more */
    unsigned domain; /* which of the search domains had it, from 1 */
    unsigned count;
    struct gw_found list[GW_FOUND_MAX]; /* sorted */
};

/* The lookup is gone when this returns, and the result with it. */
typedef void (*gw_lookup_fn)(void *arg, const struct gw_lookup_result *result);

struct gw_lookup_setup {
    uv_loop_t *loop;
    const struct gw_config *config;
    const struct gw_discover_config *name; /* of it */
    unsigned domain; /* of the last one that found something; 0: none. A
                        failure there is one of all, or the name in the next
                        domain would be taken for it. */
    uint32_t limit_ms;
    unsigned *open; /* as in discovery_dns.h */
    gw_lookup_fn done;
    void *arg;
};

struct gw_lookup;

/* `done` is called later, and once. NULL with a reason in *why. */
struct gw_lookup *gw_lookup_start(const struct gw_lookup_setup *setup,
                                  const char **why);

/* `done` is not called. Clears *which; NULL is harmless. */
void gw_lookup_cancel(struct gw_lookup **which);

#endif
