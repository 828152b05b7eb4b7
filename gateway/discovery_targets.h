/* SPDX-License-Identifier: MIT */
/* The targets of SRV records, and their addresses. */
#ifndef SIDGATE_GATEWAY_DISCOVERY_TARGETS_H
#define SIDGATE_GATEWAY_DISCOVERY_TARGETS_H

#include "gateway/discovery_dns.h"
#include "gateway/discovery_query.h"

/* Sorts, v4 first; gives how many there are once each is there once. */
size_t gw_peers_sort(struct gw_peer *peers, size_t count);

/* Not of nobody, of many or of one link. */
bool gw_peer_is_server(const struct gw_peer *peer);

/* Reads an answer: the records of the best priority become result->list,
 * sorted, each target and port once. A status of c-ares. */
int gw_targets_take(struct gw_lookup_result *result, const unsigned char *bytes,
                    int len);

struct gw_targets;

struct gw_targets_setup {
    struct gw_dns *dns;
    struct gw_lookup_result *result;
    bool uses_hosts;
    void (*done)(void *arg); /* all have been answered; within c-ares */
    void *arg;
};

/* NULL when memory is short. Freed after the end of `dns`. */
struct gw_targets *gw_targets_new(const struct gw_targets_setup *setup);

/* Asks for the addresses of all in result->list, a few at a time: A, and AAAA
 * of those without. Those whose lookups fail become unknown. `done` may be
 * called before it returns. */
void gw_targets_ask(struct gw_targets *targets);

/* Those that are still being asked for are unknown. False: nothing had been
 * asked. */
bool gw_targets_give_up(struct gw_targets *targets);

/* Answers are not looked at any more. NULL is harmless. */
void gw_targets_leave(struct gw_targets *targets);
void gw_targets_free(struct gw_targets *targets);

#endif
