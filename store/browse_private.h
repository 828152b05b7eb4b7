/* SPDX-License-Identifier: MIT */
/* What the files of a browse share. Private to store/browse*.c. */
#ifndef SIDGATE_STORE_BROWSE_PRIVATE_H
#define SIDGATE_STORE_BROWSE_PRIVATE_H

#include "store/browse.h"
#include "store/client.h"
#include "store/redis.h"

#define STORE_BROWSE_SESSION ":session:"

enum {
    STORE_BROWSE_START_MAX = STORE_PREFIX_MAX + sizeof(STORE_BROWSE_SESSION),
    STORE_BROWSE_PATTERN_MAX = 2 * STORE_BROWSE_START_MAX,
};

struct store_browse {
    struct store_client *client;
    struct store_loop *loop;
    struct store_browsing *first;
    char start[STORE_BROWSE_START_MAX]; /* of a session's key */
    size_t start_len;
    char pattern[STORE_BROWSE_PATTERN_MAX]; /* for SCAN */
    char channel[STORE_BROWSE_START_MAX];
};

/* A key of the batch; `len` 0: it is none of ours. */
struct store_browse_key {
    uint32_t at; /* in the batch's bytes */
    uint32_t len;
    uint32_t hash; /* where the batch may be cut; not 0 for one of ours */
};

/* What a record is read with. */
struct store_browse_slot {
    struct store_browsing *browsing;
    struct store_call *fields;
    struct store_call *life;
    bool has_record;
    struct store_browse_item item;
};

struct store_browsing {
    struct store_browse *browse;
    struct store_browsing *next;
    struct store_browsing *prev;
    struct store_browse_walk walk;
    void (*kicked)(void *arg, int64_t receivers);
    struct store_timer *timer;
    struct store_call *call; /* SCAN or PUBLISH */
    bool is_one;             /* record, of a key that is known */

    uint32_t node;   /* that the batch comes from */
    uint64_t cursor; /* that it was asked for with */
    uint64_t next_cursor;
    uint32_t count;
    size_t scanned;
    /* Of the batches that were kept. */
    bool has_kept;
    size_t rows;
    size_t looked_at;

    struct store_browse_key *keys;
    char *bytes;
    size_t key_count;
    size_t own_count; /* keys of sessions */
    bool may_cut;     /* it is the smallest there is, in the order of hashes */
    size_t asked;     /* keys whose records were asked for, or passed over */
    size_t taken;     /* keys whose records were given on, or passed over */
    size_t batch_rows;
    size_t batch_looked_at;
    struct store_browse_slot slots[STORE_BROWSE_WINDOW];
};

/* ---- browse.c ---- */

/* NULL when the link takes no commands. store_browse_cancel() is its end. */
struct store_browsing *store_browsing_new(struct store_browse *browse,
                                          void (*late)(void *arg));

/* Forgets the keys and what was asked about them. */
void store_browsing_drop_batch(struct store_browsing *one);

/* ---- browse_batch.c ---- */

/* Reads what SCAN gave. False when it is not what it should be, or memory is
 * short. */
bool store_browsing_read_batch(struct store_browsing *one,
                               const struct redisReply *reply);

/* What stands for the end of the batch in a place. */
uint32_t store_browsing_ahead(const struct store_browsing *one);

#endif
