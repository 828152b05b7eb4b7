/* SPDX-License-Identifier: MIT */
/* What the parts of discovery share. */
#ifndef SIDGATE_GATEWAY_DISCOVERY_PRIVATE_H
#define SIDGATE_GATEWAY_DISCOVERY_PRIVATE_H

#include "gateway/discovery.h"
#include "gateway/discovery_query.h"

/* A name of the configuration. */
struct gw_discovered {
    uv_timer_t timer;
    struct gw_discovery *discovery;
    struct gw_discover_config own;           /* a copy: configurations go */
    const struct gw_discover_config *config; /* of `own` */
    uint8_t index;            /* in the configuration, and of its backends */
    struct gw_lookup *lookup; /* NULL: none is under way */
    uint64_t started_ms;
    bool is_first;   /* nothing has been heard of since the start */
    bool is_settled; /* answered or failed once */
    bool is_failing;
    bool is_cut;
    unsigned empties; /* in a row */
    unsigned domain;  /* where it was found last */
    uint64_t refused; /* a hash of what was refused last */
};

struct gw_discovery {
    uv_loop_t *loop;
    struct gw_backends *backends;
    const struct gw_config *config;
    gw_discovery_fn on_change;
    void *arg;
    unsigned open; /* handles that are not closed yet */
    struct gw_discovered *names[GW_DISCOVER_COUNT_MAX];
    size_t name_count;
    bool is_stopped;
};

/* discovery_answer.c. Makes the backends of a name what an answer says, which
 * is none that failed. True when that changed anything. */
bool gw_discovered_apply(struct gw_discovered *name,
                         const struct gw_lookup_result *result);

#endif
