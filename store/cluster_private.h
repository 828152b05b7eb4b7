/* SPDX-License-Identifier: MIT */
/* What the files of a cluster share. Private to store/cluster*.c. */
#ifndef SIDGATE_STORE_CLUSTER_PRIVATE_H
#define SIDGATE_STORE_CLUSTER_PRIVATE_H

#include "store/cluster.h"
#include "store/cluster_map.h"

enum {
    STORE_CLUSTER_WHY_MAX = 200,
    STORE_CLUSTER_TARGET_MAX = STORE_HOST_MAX + 8, /* "host:port" */
};

struct store_node {
    struct store_cluster *cluster;
    struct store_address address;
    struct store_link *link; /* NULL: not in use */
    uint32_t number;         /* 0: the map does not name it */
    unsigned slot_count;
    bool is_seed;
    bool is_away;                    /* the link says so */
    char run_id[64];                 /* when it was up last */
    char why[STORE_CLUSTER_WHY_MAX]; /* it is away */
};

struct store_cluster {
    struct store_cluster_options options;
    struct store_loop *loop;

    /* Places are kept while a node is there: the map and calls name them. */
    struct store_node *nodes[STORE_CLUSTER_NODES_MAX];
    size_t node_count;          /* places in use or used once */
    int16_t owner[STORE_SLOTS]; /* the node's place; -1: nobody's */
    uint32_t told[STORE_SLOTS]; /* the number of the node that the last map
                                   named; 0: none did */
    bool has_map;

    struct store_timer *map_timer;
    struct store_call *asking; /* CLUSTER SLOTS */
    int asked;                 /* the place of the node that was asked */
    unsigned turn;             /* whose turn it is to be asked */
    int64_t asked_ms;
    bool is_urgent;         /* the map may be wrong */
    unsigned asked_in_vain; /* times in a row */

    struct store_call *waiting; /* calls */
    struct store_call **last_waiting;
    size_t waiting_count;
    struct store_timer *wait_timer;
    bool is_wait_timer_on;

    int64_t down_until_ms; /* a node said CLUSTERDOWN */
    bool is_told;          /* on_state ran once */
    bool is_told_up;
    char why[STORE_CLUSTER_WHY_MAX + STORE_CLUSTER_TARGET_MAX];

    /* As in a link: callbacks may free the cluster. */
    unsigned entered;
    bool is_freed;
};

/* ---- cluster.c: nodes, the state ---- */

void store_cluster_enter(struct store_cluster *cluster);
void store_cluster_leave(struct store_cluster *cluster);

/* The place of the node with this address, which is made if there is none; -1
 * when there are too many, or memory is short. */
int store_cluster_place(struct store_cluster *cluster,
                        const struct store_address *address);

/* Opens the node's link, if it has none. False when memory is short. */
bool store_node_open(struct store_node *node);

/* Closes the node's link, and frees the node unless it is a seed or in the map.
 */
void store_cluster_close_node(struct store_cluster *cluster, size_t place);

/* Looks whether all is well, and tells if that has changed. The callback may
 * free the cluster. */
void store_cluster_review(struct store_cluster *cluster);

int64_t store_cluster_now(const struct store_cluster *cluster);

/* ---- cluster_refresh.c: the map ---- */

/* Asks for the map soon. */
void store_cluster_refresh(struct store_cluster *cluster);

void store_cluster_on_map_timer(void *arg);

/* ---- cluster_route.c: calls ---- */

/* A link's on_stray; `arg` is the node. */
void store_cluster_on_stray(void *arg, struct store_call *call,
                            const char *text);

void store_cluster_on_wait_timer(void *arg);

/* Sends on those that wait. */
void store_cluster_wake(struct store_cluster *cluster);

/* A call waits for this very node. */
bool store_cluster_is_awaited(const struct store_cluster *cluster,
                              size_t place);

#endif
