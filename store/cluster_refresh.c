/* SPDX-License-Identifier: MIT */
/* The map of slots: when it is asked for, and what a new one means. */
#include "store/cluster_private.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

enum {
    CALM_MS = 5000,   /* from one question to the next */
    URGENT_MS = 200,  /* likewise, while the map may be wrong */
    NOBODY_MS = 1000, /* likewise, while no node can be asked */
    OPENED_MAX = 64,  /* links that are opened to find one who can */
};

static void start_timer(struct store_cluster *cluster, int64_t after_ms)
{
    cluster->loop->ops->timer_start(cluster->map_timer, after_ms);
}

void store_cluster_refresh(struct store_cluster *cluster)
{
    const int64_t since_ms = store_cluster_now(cluster) - cluster->asked_ms;

    cluster->is_urgent = true;
    if (cluster->asking == NULL)
        start_timer(cluster, since_ms < URGENT_MS ? URGENT_MS - since_ms : 0);
}

/* ---- a new map ---- */

/* False when it makes no sense: then the old one stays. */
static bool read_ranges(const struct store_cluster *cluster,
                        const redisReply *reply,
                        struct store_cluster_range *ranges, int count)
{
    const struct store_address *from = &cluster->nodes[cluster->asked]->address;
    struct store_slots seen = {{0}};

    for (int i = 0; i < count; i++) {
        struct store_cluster_range *range = &ranges[i];
        if (!store_cluster_range_read(reply, (size_t)i, from, range))
            return false;
        for (unsigned slot = range->first; slot <= range->last; slot++) {
            if (store_slots_has(&seen, (uint16_t)slot))
                return false;
            store_slots_add(&seen, (uint16_t)slot);
        }
    }
    return true;
}

static void use_range(struct store_cluster *cluster,
                      const struct store_cluster_range *range)
{
    const int place = range->address.port > 0
                          ? store_cluster_place(cluster, &range->address)
                          : -1;

    if (place < 0)
        return;
    struct store_node *node = cluster->nodes[place];
    node->number = range->number;
    node->slot_count += range->last - range->first + 1u;
    for (unsigned slot = range->first; slot <= range->last; slot++)
        cluster->owner[slot] = (int16_t)place;
}

static void use_ranges(struct store_cluster *cluster,
                       const struct store_cluster_range *ranges, int count)
{
    for (size_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i] == NULL)
            continue;
        cluster->nodes[i]->number = 0;
        cluster->nodes[i]->slot_count = 0;
    }
    for (size_t i = 0; i < STORE_SLOTS; i++)
        cluster->owner[i] = -1;
    for (int i = 0; i < count; i++)
        use_range(cluster, &ranges[i]);
    cluster->has_map = true;
}

/* Nodes that the map does not name are closed, unless they are being used. */
static void close_others(struct store_cluster *cluster)
{
    for (size_t i = 0; i < cluster->node_count; i++) {
        const struct store_node *node = cluster->nodes[i];
        if (node == NULL || node->slot_count > 0 || cluster->asked == (int)i ||
            (node->link != NULL && !store_link_is_idle(node->link)) ||
            store_cluster_is_awaited(cluster, i))
            continue;
        store_cluster_close_node(cluster, i);
    }
}

/* Another node than before has these slots, be it after a failover, which may
 * have lost what was written last, or after they were moved. */
static void tell_suspects(struct store_cluster *cluster)
{
    const struct store_client_options *client = &cluster->options.client;
    struct store_slots slots = {{0}};
    bool is_any = false;

    for (size_t i = 0; i < STORE_SLOTS; i++) {
        if (cluster->owner[i] < 0)
            continue;
        const uint32_t number = cluster->nodes[cluster->owner[i]]->number;
        if (cluster->told[i] != 0 && cluster->told[i] != number) {
            store_slots_add(&slots, (uint16_t)i);
            is_any = true;
        }
        cluster->told[i] = number;
    }
    if (is_any && client->on_suspect != NULL)
        client->on_suspect(client->arg, &slots);
}

/* A node that has left its cluster knows of no slots: that says nothing about
 * those of the others. */
static bool use_map(struct store_cluster *cluster, const redisReply *reply)
{
    const int count = store_cluster_ranges(reply);
    struct store_cluster_range *ranges = NULL;

    if (count > 0)
        ranges = calloc((size_t)count + 1, sizeof(*ranges));
    const bool is_good =
        ranges != NULL && read_ranges(cluster, reply, ranges, count);
    if (is_good)
        use_ranges(cluster, ranges, count);
    free(ranges);
    return is_good;
}

/* Something that only another map can mend. */
static bool is_ill(const struct store_cluster *cluster)
{
    unsigned served = 0;

    for (size_t i = 0; i < cluster->node_count; i++) {
        const struct store_node *node = cluster->nodes[i];
        if (node == NULL)
            continue;
        if (node->slot_count > 0 && node->is_away)
            return true;
        served += node->slot_count;
    }
    return served < STORE_SLOTS ||
           store_cluster_now(cluster) < cluster->down_until_ms;
}

static void on_new_map(struct store_cluster *cluster)
{
    close_others(cluster);
    cluster->is_urgent = is_ill(cluster);
    tell_suspects(cluster);
    if (!cluster->is_freed && cluster->options.on_map != NULL)
        cluster->options.on_map(cluster->options.arg);
    if (!cluster->is_freed)
        store_cluster_wake(cluster);
}

/* ---- asking ---- */

static void on_map(void *arg, const redisReply *reply);

static bool ask(struct store_cluster *cluster, size_t place)
{
    const struct store_node *node = cluster->nodes[place];
    const char *argv[] = {"CLUSTER", "SLOTS"};
    const size_t lens[] = {7, 5};

    if (node == NULL || node->link == NULL || !store_link_is_up(node->link))
        return false;
    cluster->asked = (int)place;
    cluster->asked_ms = store_cluster_now(cluster);
    cluster->asking =
        store_link_send(node->link, 2, argv, lens, on_map, cluster);
    if (cluster->asking == NULL)
        return false;
    cluster->asking->route.is_fixed = true;
    return true;
}

/* Seeds and those of the last map; what answers first is asked. More of them
 * with each time that nobody does. */
static void open_some(struct store_cluster *cluster)
{
    int opened = 0;

    for (size_t i = 0; i < cluster->node_count && opened < OPENED_MAX; i++) {
        struct store_node *node = cluster->nodes[i];
        if (node != NULL && node->link == NULL && store_node_open(node))
            opened++;
    }
}

/* ---- the answer ---- */

static bool has_slots(const struct store_cluster *cluster, int place)
{
    return cluster->nodes[place] != NULL &&
           cluster->nodes[place]->slot_count > 0;
}

static void on_map(void *arg, const redisReply *reply)
{
    struct store_cluster *cluster = arg;

    store_cluster_enter(cluster);
    cluster->asking = NULL;
    if (reply != NULL && use_map(cluster, reply)) {
        cluster->asked_in_vain = 0;
        on_new_map(cluster);
    } else {
        cluster->asked_in_vain++;
        cluster->is_urgent = true;
        open_some(cluster); /* others may know better */
    }
    if (!cluster->is_freed) {
        /* Another node may see it otherwise; and one that has no slots may
         * belong to the cluster no more. */
        cluster->turn +=
            cluster->is_urgent || !has_slots(cluster, cluster->asked);
        start_timer(cluster, cluster->is_urgent ? URGENT_MS : CALM_MS);
        store_cluster_review(cluster);
    }
    store_cluster_leave(cluster);
}

/* ---- the timer ---- */

void store_cluster_on_map_timer(void *arg)
{
    struct store_cluster *cluster = arg;
    const size_t count = cluster->node_count;

    if (cluster->asking != NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        if (ask(cluster, (cluster->turn + i) % count)) {
            cluster->turn = (unsigned)cluster->asked;
            return;
        }
    }
    store_cluster_enter(cluster);
    open_some(cluster);
    start_timer(cluster, NOBODY_MS);
    store_cluster_review(cluster);
    store_cluster_leave(cluster);
}
