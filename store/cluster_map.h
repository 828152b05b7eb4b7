/* SPDX-License-Identifier: MIT */
/* The answer to CLUSTER SLOTS, and the addresses in redirections. What they
 * say is hostile until read here. Private to store/. */
#ifndef SIDGATE_STORE_CLUSTER_MAP_H
#define SIDGATE_STORE_CLUSTER_MAP_H

#include "store/loop.h"

struct redisReply;

enum {
    STORE_CLUSTER_RANGES_MAX = 16384, /* as many as there are slots */
    STORE_CLUSTER_NODES_MAX = 1000,
};

/* Slots first to last are those of one master. */
struct store_cluster_range {
    uint16_t first;
    uint16_t last;
    uint32_t number; /* of its node id: the same for all of one master, never
                        0; two masters share one with odds of 1 : 2^32 */
    struct store_address address; /* port 0: nobody knows where it is */
};

/* Reads range `i` of the reply, which came from the node at `from`: an answer
 * without a host means that one's. False when it makes no sense. */
bool store_cluster_range_read(const struct redisReply *reply, size_t i,
                              const struct store_address *from,
                              struct store_cluster_range *range);

/* The number of ranges, 0 in a cluster that is not set up; -1: it is no map. */
int store_cluster_ranges(const struct redisReply *reply);

/* "MOVED 3999 127.0.0.1:6381" and "ASK ..." as an error's text: the slot and
 * the address. False when it makes no sense. */
bool store_cluster_redirection(const char *text,
                               const struct store_address *from, uint16_t *slot,
                               struct store_address *to);

#endif
