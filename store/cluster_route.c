/* SPDX-License-Identifier: MIT */
/*
 * How a command finds its node.
 *
 * A call is with a link, or it waits here: for a link that is being opened, or
 * a little while, where the cluster says that it will know better then. It
 * never waits longer than its time, nor for a node that is known to be away.
 */
#include "store/cluster_private.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAIT_MS = 20,
    HOPS_AT_ONCE = 2, /* redirections that are followed without a wait */
    HOPS_MAX = 12,
    DOWN_MS = 1500, /* that CLUSTERDOWN is believed */
};

enum outcome {
    ON_ITS_WAY,
    REFUSED, /* still the caller's */
};

/* ---- waiting ---- */

/* At those that wait. */
static void look_again(struct store_cluster *cluster)
{
    if (!cluster->is_wait_timer_on)
        cluster->loop->ops->timer_start(cluster->wait_timer, WAIT_MS);
    cluster->is_wait_timer_on = true;
}

static enum outcome wait_a_little(struct store_cluster *cluster,
                                  struct store_call *call)
{
    if (cluster->waiting_count >= STORE_LINK_CALLS_MAX)
        return REFUSED;
    call->next = NULL;
    *cluster->last_waiting = call;
    cluster->last_waiting = &call->next;
    cluster->waiting_count++;
    look_again(cluster);
    return ON_ITS_WAY;
}

/* ---- sending ---- */

static struct store_node *node_of(const struct store_cluster *cluster,
                                  const struct store_call *call)
{
    const struct store_route *route = &call->route;
    const int place = route->node == STORE_ROUTE_BY_SLOT
                          ? cluster->owner[route->slot]
                          : route->node;

    return place >= 0 ? cluster->nodes[place] : NULL;
}

static enum outcome route(struct store_cluster *cluster,
                          struct store_call *call)
{
    struct store_node *node = node_of(cluster, call);

    if (node == NULL || !store_node_open(node)) {
        store_cluster_refresh(cluster);
        return REFUSED;
    }
    if (store_link_is_new(node->link))
        return wait_a_little(cluster, call);
    return store_link_resend(node->link, call, call->route.is_asking)
               ? ON_ITS_WAY
               : REFUSED;
}

static struct store_call *send_first(struct store_cluster *cluster,
                                     struct store_call *call)
{
    call->due_ms =
        store_cluster_now(cluster) + cluster->options.client.timeout_ms;
    if (route(cluster, call) == ON_ITS_WAY)
        return call;
    free(call);
    return NULL;
}

struct store_call *store_cluster_send(struct store_cluster *cluster,
                                      struct store_call *call, uint16_t slot)
{
    if (call == NULL)
        return NULL;
    call->route.slot = slot;
    return send_first(cluster, call);
}

struct store_call *store_cluster_send_to(struct store_cluster *cluster,
                                         struct store_call *call, uint32_t node)
{
    if (call == NULL)
        return NULL;
    for (size_t i = 0; i < cluster->node_count; i++) {
        const struct store_node *one = cluster->nodes[i];
        if (one == NULL || one->slot_count == 0 || one->number != node)
            continue;
        call->route.node = (int16_t)i;
        call->route.is_fixed = true;
        return send_first(cluster, call);
    }
    free(call);
    return NULL;
}

/* ---- those that wait ---- */

/* Its link is still being opened: it keeps its place, in front of those that
 * were sent later. */
static bool must_stay(const struct store_cluster *cluster,
                      const struct store_call *call)
{
    const struct store_node *node = node_of(cluster, call);

    return call->done != NULL && call->due_ms > store_cluster_now(cluster) &&
           node != NULL && node->link != NULL && store_link_is_new(node->link);
}

/* The call behind *at goes on, or ends; its callback may free the cluster. */
static void take_out(struct store_cluster *cluster, struct store_call **at)
{
    struct store_call *call = *at;

    *at = call->next;
    if (*at == NULL)
        cluster->last_waiting = at;
    cluster->waiting_count--;
    if (call->done == NULL || call->due_ms <= store_cluster_now(cluster) ||
        route(cluster, call) == REFUSED)
        store_call_end(call, NULL);
}

void store_cluster_wake(struct store_cluster *cluster)
{
    struct store_call **at = &cluster->waiting;
    /* One whose link is opened only now joins those behind. */
    size_t left = cluster->waiting_count;

    store_cluster_enter(cluster);
    for (; left > 0 && !cluster->is_freed && *at != NULL; left--) {
        if (must_stay(cluster, *at))
            at = &(*at)->next;
        else
            take_out(cluster, at);
    }
    if (!cluster->is_freed && cluster->waiting != NULL)
        look_again(cluster);
    store_cluster_leave(cluster);
}

bool store_cluster_is_awaited(const struct store_cluster *cluster, size_t place)
{
    for (const struct store_call *call = cluster->waiting; call != NULL;
         call = call->next) {
        if (call->route.node == (int)place)
            return true;
    }
    return false;
}

void store_cluster_on_wait_timer(void *arg)
{
    struct store_cluster *cluster = arg;

    cluster->is_wait_timer_on = false;
    store_cluster_wake(cluster);
}

/* ---- redirections ---- */

static bool begins(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

static void move_slot(struct store_cluster *cluster, uint16_t slot, int place)
{
    const int old = cluster->owner[slot];

    if (old == place)
        return;
    if (old >= 0)
        cluster->nodes[old]->slot_count--;
    cluster->nodes[place]->slot_count++;
    cluster->owner[slot] = (int16_t)place;
}

/* MOVED, or ASK. */
static enum outcome redirect(struct store_node *from, struct store_call *call,
                             const char *text)
{
    struct store_cluster *cluster = from->cluster;
    const bool is_ask = begins(text, "ASK ");
    struct store_address to;
    uint16_t slot;

    if (!is_ask)
        store_cluster_refresh(cluster);
    if (!store_cluster_redirection(text, &from->address, &slot, &to) ||
        slot != call->route.slot || ++call->route.hops > HOPS_MAX)
        return REFUSED;
    const int place = store_cluster_place(cluster, &to);
    if (place < 0)
        return REFUSED;
    call->route.is_asking = is_ask;
    call->route.node = is_ask ? (int16_t)place : STORE_ROUTE_BY_SLOT;
    if (!is_ask)
        move_slot(cluster, slot, place);
    return call->route.hops > HOPS_AT_ONCE ? wait_a_little(cluster, call)
                                           : route(cluster, call);
}

static enum outcome try_again(struct store_cluster *cluster,
                              struct store_call *call)
{
    call->route.is_asking = false;
    call->route.node = STORE_ROUTE_BY_SLOT;
    return wait_a_little(cluster, call);
}

static enum outcome stray(struct store_node *node, struct store_call *call,
                          const char *text)
{
    struct store_cluster *cluster = node->cluster;

    if (begins(text, "CLUSTERDOWN ")) {
        cluster->down_until_ms = store_cluster_now(cluster) + DOWN_MS;
        store_cluster_refresh(cluster);
        return REFUSED;
    }
    if (call->route.is_fixed)
        return REFUSED;
    if (begins(text, "TRYAGAIN ") || store_link_is_cut_script(text))
        return try_again(cluster, call);
    return redirect(node, call, text);
}

void store_cluster_on_stray(void *arg, struct store_call *call,
                            const char *text)
{
    struct store_node *node = arg;
    struct store_cluster *cluster = node->cluster;

    store_cluster_enter(cluster);
    if (stray(node, call, text) == REFUSED)
        store_call_end(call, NULL);
    if (!cluster->is_freed)
        store_cluster_review(cluster);
    store_cluster_leave(cluster);
}
