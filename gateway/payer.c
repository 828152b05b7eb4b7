/* SPDX-License-Identifier: MIT */
/* Who pays for the search of an unknown sid. */
#include "gateway/payer.h"

#include <stdlib.h>
#include <string.h>

enum { BURST_S = 10, MILLI = 1000 };

static int64_t capacity(uint32_t rate)
{
    return (int64_t)rate * BURST_S * MILLI;
}

bool gw_bucket_take(struct gw_bucket *bucket, uint32_t rate, int64_t now_ms)
{
    if (rate == 0)
        return true;
    int64_t since = now_ms - bucket->at_ms;
    bucket->milli =
        since > BURST_S * MILLI ? capacity(rate) : bucket->milli + since * rate;
    if (bucket->milli > capacity(rate))
        bucket->milli = capacity(rate);
    bucket->at_ms = now_ms;
    if (bucket->milli < MILLI)
        return false;
    bucket->milli -= MILLI;
    return true;
}

void gw_bucket_give(struct gw_bucket *bucket, uint32_t rate)
{
    bucket->milli += MILLI;
    if (bucket->milli > capacity(rate))
        bucket->milli = capacity(rate);
}

void gw_payers_init(struct gw_payers *payers, uint32_t rate, uint32_t seed)
{
    memset(payers, 0, sizeof(*payers));
    gw_link_init(&payers->idle);
    gw_link_init(&payers->thirsty);
    gw_link_init(&payers->turns);
    payers->rate = rate;
    payers->seed = seed;
}

/* A host has a whole /64 to send from. */
static struct gw_peer net_of(const struct gw_peer *peer)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct gw_peer net = *peer;
    if (net.family == AF_INET6 && memcmp(net.addr, mapped, sizeof(mapped)) != 0)
        memset(net.addr + 8, 0, 8);
    return net;
}

static struct gw_payer **bucket_of(struct gw_payers *payers,
                                   const struct gw_peer *net)
{
    uint64_t hash = 1469598103934665603ULL ^ payers->seed;
    for (size_t i = 0; i < sizeof(net->addr); i++)
        hash = (hash ^ net->addr[i]) * 1099511628211ULL;
    return &payers->table[(hash ^ (hash >> 32)) % GW_PAYER_BUCKETS];
}

static void forget(struct gw_payers *payers, struct gw_payer *payer)
{
    struct gw_payer **at = bucket_of(payers, &payer->net);
    while (*at != payer)
        at = &(*at)->next;
    *at = payer->next;
    gw_link_remove(&payer->idle);
    payers->count--;
    free(payer);
}

static struct gw_payer *payer_new(struct gw_payers *payers,
                                  const struct gw_peer *net, int64_t now_ms)
{
    if (payers->count == GW_PAYERS_MAX) {
        if (payers->idle.next == &payers->idle)
            return NULL;
        forget(payers, GW_CONTAINER(payers->idle.next, struct gw_payer, idle));
    }
    struct gw_payer *payer = calloc(1, sizeof(*payer));
    if (payer == NULL)
        return NULL;
    payer->net = *net;
    payer->asks = (struct gw_bucket){capacity(payers->rate), now_ms};
    payer->reads =
        (struct gw_bucket){capacity(payers->rate * GW_READS_PER_ASK), now_ms};
    gw_link_init(&payer->idle);
    gw_link_init(&payer->thirst);
    gw_link_init(&payer->turn);
    gw_link_init(&payer->waiting);
    gw_link_init(&payer->queued);
    struct gw_payer **bucket = bucket_of(payers, net);
    payer->next = *bucket;
    *bucket = payer;
    payers->count++;
    return payer;
}

struct gw_payer *gw_payer_open(struct gw_payers *payers,
                               const struct gw_peer *peer, int64_t now_ms)
{
    struct gw_peer net = net_of(peer);
    struct gw_payer *payer = *bucket_of(payers, &net);
    while (payer != NULL && (payer->net.family != net.family ||
                             memcmp(payer->net.addr, net.addr, 16) != 0))
        payer = payer->next;
    if (payer == NULL)
        payer = payer_new(payers, &net, now_ms);
    if (payer == NULL)
        return NULL;
    payer->searches++;
    gw_link_remove(&payer->idle);
    return payer;
}

void gw_payer_close(struct gw_payers *payers, struct gw_payer *payer)
{
    if (--payer->searches == 0)
        gw_link_add(&payers->idle, &payer->idle);
}

void gw_payers_clear(struct gw_payers *payers)
{
    while (payers->idle.next != &payers->idle)
        forget(payers, GW_CONTAINER(payers->idle.next, struct gw_payer, idle));
}
