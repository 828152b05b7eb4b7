/* SPDX-License-Identifier: MIT */
/*
 * A Redis Cluster: its map of slots, a link for each node in use, and commands
 * that find their way. Private to store/; see client.h for what users see.
 *
 * The map is that of CLUSTER SLOTS, asked for at any node that answers: every
 * five seconds, and soon after anything that shows that it may be wrong. MOVED
 * corrects it at once. Links are opened when a command needs them; those of
 * nodes that the map names no more are closed.
 */
#ifndef SIDGATE_STORE_CLUSTER_H
#define SIDGATE_STORE_CLUSTER_H

#include "store/call.h"
#include "store/client.h"

struct store_cluster;

struct store_cluster_options {
    struct store_client_options client; /* its url is the one below */
    const struct store_url *url;        /* must outlive the cluster */
    /* The map was read: it may be another one. May be NULL. */
    void (*on_map)(void *arg);
    void *arg; /* of on_map; the client's callbacks have their own */
};

/* Begins to connect in the loop's next turns. NULL when memory is short. */
struct store_cluster *
store_cluster_new(const struct store_cluster_options *options);

/* As store_client_free. */
void store_cluster_free(struct store_cluster *cluster);

bool store_cluster_is_up(const struct store_cluster *cluster);

/* The master of a slot; false while there is none. */
bool store_cluster_owner(const struct store_cluster *cluster, uint16_t slot,
                         struct store_address *address);

void store_cluster_shard(const struct store_cluster *cluster, uint16_t slot,
                         struct store_slots *slots);

/* See store_client_node. */
bool store_cluster_node(const struct store_cluster *cluster, uint32_t *node);

/* Sends a new call on its way: to the master of `slot`, or to the node of that
 * number. Takes the call, which may be NULL; gives NULL, and frees it without a
 * callback, when it cannot be sent now. */
struct store_call *store_cluster_send(struct store_cluster *cluster,
                                      struct store_call *call, uint16_t slot);
struct store_call *store_cluster_send_to(struct store_cluster *cluster,
                                         struct store_call *call,
                                         uint32_t node);

#endif
