/* SPDX-License-Identifier: MIT */
/* A cluster's life, its nodes, and whether all is well with it. */
#include "store/cluster_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- entering and leaving ---- */

void store_cluster_enter(struct store_cluster *cluster)
{
    cluster->entered++;
}

void store_cluster_leave(struct store_cluster *cluster)
{
    if (--cluster->entered == 0 && cluster->is_freed)
        free(cluster);
}

int64_t store_cluster_now(const struct store_cluster *cluster)
{
    return cluster->loop->ops->now_ms(cluster->loop);
}

/* ---- the state ---- */

/* The first node that is away and that some slots, or as yet the map, are
 * wanted from. NULL: there is none. */
static const struct store_node *find_away(const struct store_cluster *cluster)
{
    for (size_t i = 0; i < cluster->node_count; i++) {
        const struct store_node *node = cluster->nodes[i];
        if (node != NULL && node->is_away &&
            (node->slot_count > 0 || !cluster->has_map))
            return node;
    }
    return NULL;
}

/* No map yet, and some node may still give one. */
static bool is_hopeful(const struct store_cluster *cluster)
{
    unsigned up_count = 0;

    for (size_t i = 0; i < cluster->node_count; i++) {
        const struct store_node *node = cluster->nodes[i];
        if (node == NULL || node->link == NULL)
            continue;
        if (store_link_is_new(node->link))
            return true;
        up_count += store_link_is_up(node->link);
    }
    return cluster->asked_in_vain < up_count;
}

static unsigned count_unserved(const struct store_cluster *cluster)
{
    unsigned count = STORE_SLOTS;

    for (size_t i = 0; i < cluster->node_count; i++)
        count -= cluster->nodes[i] != NULL ? cluster->nodes[i]->slot_count : 0;
    return count;
}

/* False: all is well, or it is not known yet; then *is_known is false. */
static bool find_fault(const struct store_cluster *cluster, char *why,
                       size_t size, bool *is_known)
{
    const struct store_node *away = find_away(cluster);
    const unsigned unserved = count_unserved(cluster);

    *is_known = cluster->has_map || !is_hopeful(cluster);
    if (!*is_known)
        return false;
    if (away != NULL)
        snprintf(why, size, "%s:%u: %s", away->address.host, away->address.port,
                 away->why);
    else if (!cluster->has_map)
        snprintf(why, size, "no node tells who has which slots");
    else if (unserved > 0)
        snprintf(why, size, "%u of its slots have no master", unserved);
    else if (store_cluster_now(cluster) < cluster->down_until_ms)
        snprintf(why, size, "it says that it is down (CLUSTERDOWN)");
    else
        return false;
    return true;
}

void store_cluster_review(struct store_cluster *cluster)
{
    const struct store_client_options *client = &cluster->options.client;
    char why[sizeof(cluster->why)] = "";
    bool is_known;
    const bool is_bad = find_fault(cluster, why, sizeof(why), &is_known);

    if (!is_known || (cluster->is_told && cluster->is_told_up == !is_bad &&
                      strcmp(cluster->why, why) == 0))
        return;
    cluster->is_told = true;
    cluster->is_told_up = !is_bad;
    memcpy(cluster->why, why, sizeof(why));
    if (client->on_state != NULL)
        client->on_state(client->arg, !is_bad, is_bad ? cluster->why : NULL);
}

bool store_cluster_is_up(const struct store_cluster *cluster)
{
    for (size_t i = 0; cluster->has_map && i < cluster->node_count; i++) {
        const struct store_node *node = cluster->nodes[i];
        if (node != NULL && node->slot_count > 0 && !node->is_away)
            return true;
    }
    return false;
}

/* ---- links ---- */

/* Slots of a node that was started anew may have lost what was written. */
static void compare_run_id(struct store_node *node)
{
    struct store_cluster *cluster = node->cluster;
    const struct store_client_options *client = &cluster->options.client;
    const char *run_id = store_link_run_id(node->link);
    const bool is_other =
        node->run_id[0] != '\0' && strcmp(node->run_id, run_id) != 0;
    struct store_slots slots = {{0}};

    if (run_id[0] == '\0')
        return;
    snprintf(node->run_id, sizeof(node->run_id), "%s", run_id);
    if (!is_other || node->slot_count == 0 || client->on_suspect == NULL)
        return;
    for (size_t i = 0; i < STORE_SLOTS; i++) {
        if (cluster->owner[i] >= 0 && cluster->nodes[cluster->owner[i]] == node)
            store_slots_add(&slots, (uint16_t)i);
    }
    client->on_suspect(client->arg, &slots);
}

static void on_up(struct store_node *node)
{
    struct store_cluster *cluster = node->cluster;

    node->is_away = false;
    /* What waits goes first: on_suspect may lead to commands. */
    store_cluster_wake(cluster);
    if (!cluster->is_freed)
        compare_run_id(node);
    if (!cluster->is_freed && (!cluster->has_map || cluster->is_urgent))
        store_cluster_refresh(cluster);
    if (!cluster->is_freed)
        store_cluster_review(cluster);
}

static void on_link_state(void *arg, bool is_up, const char *why)
{
    struct store_node *node = arg;
    struct store_cluster *cluster = node->cluster;

    store_cluster_enter(cluster);
    if (is_up) {
        on_up(node);
    } else {
        node->is_away = true;
        snprintf(node->why, sizeof(node->why), "%s", why);
        store_cluster_wake(cluster);
        if (!cluster->is_freed)
            store_cluster_refresh(cluster);
        if (!cluster->is_freed)
            store_cluster_review(cluster);
    }
    store_cluster_leave(cluster);
}

static void on_link_error(void *arg, const char *text)
{
    const struct store_node *node = arg;
    const struct store_client_options *client = &node->cluster->options.client;

    if (client->on_error != NULL)
        client->on_error(client->arg, text);
}

bool store_node_open(struct store_node *node)
{
    const struct store_client_options *client = &node->cluster->options.client;
    const struct store_link_options options = {
        .loop = client->loop,
        .address = node->address,
        .role = STORE_ROLE_CLUSTER,
        .user = node->cluster->options.url->user,
        .password = client->password,
        .name = client->name,
        .timeout_ms = client->timeout_ms,
        .scripts = client->scripts,
        .script_count = client->script_count,
        .on_state = on_link_state,
        .on_error = on_link_error,
        .on_stray = store_cluster_on_stray,
        .arg = node,
    };

    if (node->link == NULL)
        node->link = store_link_new(&options);
    return node->link != NULL;
}

/* ---- nodes ---- */

static bool is_same(const struct store_address *a,
                    const struct store_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static int make_node(struct store_cluster *cluster, size_t place,
                     const struct store_address *address)
{
    struct store_node *node = calloc(1, sizeof(*node));

    if (node == NULL)
        return -1;
    node->cluster = cluster;
    node->address = *address;
    cluster->nodes[place] = node;
    if (place == cluster->node_count)
        cluster->node_count++;
    return (int)place;
}

int store_cluster_place(struct store_cluster *cluster,
                        const struct store_address *address)
{
    size_t free_place = cluster->node_count;

    for (size_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i] == NULL)
            free_place = i;
        else if (is_same(&cluster->nodes[i]->address, address))
            return (int)i;
    }
    if (free_place == STORE_CLUSTER_NODES_MAX)
        return -1;
    return make_node(cluster, free_place, address);
}

void store_cluster_close_node(struct store_cluster *cluster, size_t place)
{
    struct store_node *node = cluster->nodes[place];

    if (cluster->asking != NULL && cluster->asked == (int)place)
        cluster->asking = NULL;
    store_link_free(node->link);
    node->link = NULL;
    node->is_away = false;
    if (node->is_seed || node->slot_count > 0)
        return;
    cluster->nodes[place] = NULL;
    free(node);
}

bool store_cluster_owner(const struct store_cluster *cluster, uint16_t slot,
                         struct store_address *address)
{
    const int place = cluster->owner[slot];

    if (place >= 0)
        *address = cluster->nodes[place]->address;
    return place >= 0;
}

void store_cluster_shard(const struct store_cluster *cluster, uint16_t slot,
                         struct store_slots *slots)
{
    if (cluster->owner[slot] < 0) {
        store_slots_fill(slots);
        return;
    }
    *slots = (struct store_slots){{0}};
    for (size_t i = 0; i < STORE_SLOTS; i++) {
        if (cluster->owner[i] == cluster->owner[slot])
            store_slots_add(slots, (uint16_t)i);
    }
}

bool store_cluster_node(const struct store_cluster *cluster, uint32_t *node)
{
    bool is_found = false;
    uint32_t best = 0;

    for (size_t i = 0; i < cluster->node_count; i++) {
        const struct store_node *one = cluster->nodes[i];
        if (one == NULL || one->slot_count == 0 || one->number == 0 ||
            one->number < *node || (is_found && one->number >= best))
            continue;
        is_found = true;
        best = one->number;
    }
    if (is_found)
        *node = best;
    return is_found;
}

/* ---- life ---- */

static bool add_seeds(struct store_cluster *cluster)
{
    const struct store_url *url = cluster->options.url;

    for (unsigned i = 0; i < url->host_count; i++) {
        const int place = store_cluster_place(cluster, &url->hosts[i]);
        if (place < 0)
            return false;
        cluster->nodes[place]->is_seed = true;
    }
    return true;
}

struct store_cluster *
store_cluster_new(const struct store_cluster_options *options)
{
    struct store_cluster *cluster = calloc(1, sizeof(*cluster));

    if (cluster == NULL)
        return NULL;
    cluster->options = *options;
    cluster->loop = options->client.loop;
    cluster->last_waiting = &cluster->waiting;
    for (size_t i = 0; i < STORE_SLOTS; i++)
        cluster->owner[i] = -1;
    const struct store_loop_ops *ops = cluster->loop->ops;
    cluster->map_timer =
        ops->timer_new(cluster->loop, store_cluster_on_map_timer, cluster);
    cluster->wait_timer =
        ops->timer_new(cluster->loop, store_cluster_on_wait_timer, cluster);
    if (cluster->map_timer == NULL || cluster->wait_timer == NULL ||
        !add_seeds(cluster)) {
        store_cluster_free(cluster);
        return NULL;
    }
    ops->timer_start(cluster->map_timer, 0);
    return cluster;
}

void store_cluster_free(struct store_cluster *cluster)
{
    if (cluster == NULL)
        return;
    const struct store_loop_ops *ops = cluster->loop->ops;
    store_cluster_enter(cluster);
    cluster->is_freed = true;
    ops->timer_free(cluster->map_timer);
    ops->timer_free(cluster->wait_timer);
    for (size_t i = 0; i < cluster->node_count; i++) {
        if (cluster->nodes[i] != NULL)
            store_link_free(cluster->nodes[i]->link);
        free(cluster->nodes[i]);
    }
    while (cluster->waiting != NULL) {
        struct store_call *call = cluster->waiting;
        cluster->waiting = call->next;
        free(call);
    }
    store_cluster_leave(cluster);
}
