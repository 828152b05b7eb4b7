/* SPDX-License-Identifier: MIT */
/*
 * Who pays for the search of an unknown sid: an account for each client
 * address (for IPv6 each /64). A search takes a token before it asks the shared
 * store and another one before it asks the backends, and gives them back if the
 * session is found, so that only sids that nobody knows cost anything. There
 * are many more of the first, which are cheap, so that a crowd of made-up sids
 * does not keep those from the store that are there. Whoever has none left
 * waits, and the newest goes first: the older ones of a crowd are given up.
 * Others do not wait for him: where the accounts share something scarce they
 * take turns.
 */
#ifndef SIDGATE_GATEWAY_PAYER_H
#define SIDGATE_GATEWAY_PAYER_H

#include "gateway/listener.h"
#include "gateway/worker.h"

struct gw_bucket {
    int64_t milli; /* thousandths of a token */
    int64_t at_ms; /* when it was filled last */
};

struct gw_payer {
    struct gw_payer *next;  /* in its bucket of the table */
    struct gw_link idle;    /* without searches, the longest so first */
    struct gw_link thirst;  /* has `waiting` searches */
    struct gw_link turn;    /* has `queued` searches */
    struct gw_link waiting; /* its searches that wait for a token */
    struct gw_link queued;  /* its searches that wait for a place */
    struct gw_peer net;
    struct gw_bucket reads; /* of the shared store */
    struct gw_bucket asks;  /* of the backends */
    unsigned searches;
    unsigned asking; /* that hold a place */
};

enum {
    GW_PAYER_BUCKETS = 1024,
    GW_PAYERS_MAX = 16384,
    GW_READS_PER_ASK = 10, /* how much higher the rate of reads is */
};

struct gw_payers {
    struct gw_payer *table[GW_PAYER_BUCKETS];
    struct gw_link idle;
    struct gw_link thirsty;
    struct gw_link turns;
    unsigned count;
    uint32_t rate; /* asks a second; 0: no limit */
    uint32_t seed;
};

/* A bucket holds ten seconds' worth. */
bool gw_bucket_take(struct gw_bucket *bucket, uint32_t rate, int64_t now_ms);
void gw_bucket_give(struct gw_bucket *bucket, uint32_t rate);

void gw_payers_init(struct gw_payers *payers, uint32_t rate, uint32_t seed);
void gw_payers_clear(struct gw_payers *payers);

/* The account of an address, with one search more. NULL when memory is short
 * or GW_PAYERS_MAX have searches. */
struct gw_payer *gw_payer_open(struct gw_payers *payers,
                               const struct gw_peer *peer, int64_t now_ms);

/* One search less. */
void gw_payer_close(struct gw_payers *payers, struct gw_payer *payer);

#endif
