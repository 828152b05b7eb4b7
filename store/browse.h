/* SPDX-License-Identifier: MIT */
/*
 * The sessions in a Redis, read for operators, on connections of its own: page
 * by page by SCAN, in a cluster one master after the other, one by its key, and
 * the word on the channel that ends one.
 *
 * What stands there may have been written by anybody: keys that are none of
 * ours, too long, or of another type, and records without a valid backend are
 * passed over. Keys are those of Redis, without the prefix: where sids are
 * hashed, their hashes.
 *
 * A walk takes what one SCAN gives, a batch, as a whole or not at all: where
 * Redis may be asked for the same batch again, it need not be the same, since
 * keys come and go and the table of Redis grows and shrinks.
 */
#ifndef SIDGATE_STORE_BROWSE_H
#define SIDGATE_STORE_BROWSE_H

#include "store/loop.h"
#include "store/store.h"
#include "store/url.h"

struct store_browse;
struct store_browsing;

struct store_browse_options {
    struct store_loop *loop;
    const struct store_url *url;
    const char *password;      /* in place of the URL's; NULL: the URL's */
    const char *sentinel_user; /* as in store_client_options */
    const char *sentinel_password;
    const char *prefix;  /* without the colon; copied */
    const char *name;    /* for CLIENT SETNAME; copied */
    uint32_t timeout_ms; /* of one command */
    /* As in store_client_options. */
    void (*on_state)(void *arg, bool is_up, const char *why);
    void (*on_error)(void *arg, const char *text);
    void *arg;
};

/* Begins to connect in the loop's next turns. NULL when memory is short. */
struct store_browse *
store_browse_new(const struct store_browse_options *options);

/* What is under way is cancelled. NULL is harmless. */
void store_browse_free(struct store_browse *browse);

bool store_browse_is_up(const struct store_browse *browse);

enum {
    STORE_BROWSE_COUNT_MAX = 1000,     /* keys that one SCAN looks at */
    STORE_BROWSE_SCANNED_MAX = 500000, /* the same, of one walk */
    STORE_BROWSE_WINDOW = 128,         /* records asked for at a time */
};

/* Where a walk stands. All zero is the start. */
struct store_browse_place {
    uint64_t cursor; /* of SCAN */
    uint32_t node;   /* see store_client_node */
    /* A batch that could not be any smaller was taken in part: the keys up to
     * this hash of theirs. 0: it was not. */
    uint32_t behind;
    uint32_t ahead; /* of that batch: the cursor behind it, folded */
};

struct store_browse_item {
    size_t key_len;
    char key[STORE_KEY_MAX];
    struct store_record record;
    int64_t life_ms;
};

enum store_browse_end {
    STORE_BROWSE_DONE, /* everything has been looked at */
    STORE_BROWSE_MORE, /* no batch more fits, or the budget or the time is over;
                          there is a place to go on from */
    STORE_BROWSE_AWAY, /* Redis did not answer, or not what it should */
};

struct store_browse_result {
    enum store_browse_end end;
    struct store_browse_place place; /* of MORE */
    size_t looked_at;                /* keys of sessions, in what was kept */
};

struct store_browse_walk {
    struct store_browse_place from;
    size_t limit;        /* rows wanted: 1 or more. May end with fewer */
    uint32_t count;      /* keys that the first SCAN is to look at */
    size_t budget;       /* keys of sessions that may be looked at: 1 or more */
    uint32_t timeout_ms; /* of the whole walk */
    /* Whether the record of this key is wanted; NULL: it is. */
    bool (*on_key)(void *arg, struct store_key key);
    /* A record, which lives until this returns. True: it is a row; false: it
     * is passed over. */
    bool (*on_item)(void *arg, const struct store_browse_item *item);
    /* The rows since the last call, or the start, are kept, or they are to be
     * forgotten: they come again, in this walk or in one from its place. Of
     * those that are kept there are no more than `limit`. May be NULL. None of
     * these three may call the browse. */
    void (*on_batch)(void *arg, bool is_kept);
    /* Last, unless cancelled. May do anything. */
    void (*on_end)(void *arg, const struct store_browse_result *result);
    void *arg;
};

/* NULL, and nothing will be called, when the link takes no commands. Nothing is
 * called before this returns. */
struct store_browsing *store_browse_walk(struct store_browse *browse,
                                         const struct store_browse_walk *walk);

/* The one record of `key`: on_item is called if there is one, then on_end with
 * DONE or AWAY. Only these and arg and timeout_ms of `walk` are meant. */
struct store_browsing *store_browse_find(struct store_browse *browse,
                                         struct store_key key,
                                         const struct store_browse_walk *walk);

/* Nothing more is called. */
void store_browse_cancel(struct store_browsing *browsing);

/* PUBLISHes "kick <key>" on the control channel. `done` gets the number of
 * those who heard it, or -1. As above otherwise. */
struct store_browsing *
store_browse_kick(struct store_browse *browse, struct store_key key,
                  void (*done)(void *arg, int64_t receivers), void *arg);

#endif
