/* SPDX-License-Identifier: MIT */
/*
 * The embedded store: a bounded, expiring hash table in this process.
 *
 * One map is shared by all workers; it is cut into shards, each with its own
 * lock that is held for one lookup or change. Every call completes before it
 * returns. Expired entries are as good as absent at once; they are freed a few
 * at a time by puts, and by store_memory_expire.
 */
#ifndef SIDGATE_STORE_MEMORY_H
#define SIDGATE_STORE_MEMORY_H

#include "store/store.h"

struct store_memory_options {
    size_t max_entries; /* the bound, 1 to 2^31 over all shards together; at
                           the bound expired entries are reclaimed first, then
                           put answers STORE_FULL */
    int64_t (*now_ms)(void *arg); /* monotonic clock; called by any
                                    thread, also under a shard's lock */
    void *now_arg;
    /* Told of every entry that leaves the map or changes its backend, gateway,
     * client or transport, and of every new one, so that the owner can count
     * sessions by them: delta is +1 or -1. Runs under a shard's lock: it must
     * not call the store. The record lives until it returns. May be NULL. */
    void (*on_count)(void *arg, const struct store_record *record, int delta);
    /* Told of each entry that is freed because its life is over; likewise. */
    void (*on_expire)(void *arg, struct store_key key,
                      const struct store_record *record,
                      const struct store_traffic *traffic);
    /* Told of each live entry that gives way to another backend's; likewise. */
    void (*on_replace)(void *arg, struct store_key key,
                       const struct store_record *record,
                       const struct store_traffic *traffic);
    void *arg; /* of them all */
    /* The map is a cache of another store: at the bound an expired entry gives
     * way to a new one, or else the entry of a shard (the new one's, unless it
     * is empty) that expires first; there is no STORE_FULL. */
    bool is_cache;
};

struct store_memory;

struct store_memory_item {
    char key[STORE_KEY_MAX];
    size_t key_len;
    struct store_record record;
    int64_t life_ms;
    uint8_t mark;
    struct store_traffic traffic;
};

/* NULL when memory is short, or the system has no randomness for the key of
 * the hash. */
struct store_memory *store_memory_new(const struct store_memory_options *opts);

/* A client for one worker. All clients must be closed before the map is
 * freed. NULL when memory is short. */
struct store *store_memory_client(struct store_memory *memory);

/* Frees expired entries, at most 1024 in one call and 64 under one lock; call
 * it a few times a second. Returns the number freed. Thread-safe. */
size_t store_memory_expire(struct store_memory *memory);

/* Entries now, those that expired and are not yet freed included. */
size_t store_memory_count(const struct store_memory *memory);

/* Removes everything (operators and tests). on_count is told. */
void store_memory_clear(struct store_memory *memory);

/* Calls `each` for every live entry, a shard at a time under its lock (the
 * callback must not call the store); stops when it returns false. */
void store_memory_list(struct store_memory *memory, store_list_fn each,
                       void *arg);

void store_memory_free(struct store_memory *memory);

/* ---- the map as a cache of another store ----
 *
 * Every entry has a mark: the number of the round in which it was last known
 * to be in the other store; 0 for never. All of these are thread-safe and
 * never wait for more than a shard's lock. */

/* Binds `key` whatever it was bound to. False when memory is short (or the map
 * is full and no cache): then nothing is bound. */
bool store_memory_set(struct store_memory *memory, struct store_key key,
                      const struct store_record *record, int64_t life_ms,
                      uint8_t mark);

/* False when there is no live entry. */
bool store_memory_find(struct store_memory *memory, struct store_key key,
                       struct store_record *record, int64_t *life_ms);

/* As store_touch, which see. False when there is no live entry that is bound to
 * record->backend. */
bool store_memory_renew(struct store_memory *memory, struct store_key key,
                        const struct store_record *record, int64_t life_ms);

/* Removes the entry if it is bound to `backend` (NULL: to any). */
bool store_memory_drop(struct store_memory *memory, struct store_key key,
                       const char *backend);

/* The same, and fills *item with what it was. */
bool store_memory_take(struct store_memory *memory, struct store_key key,
                       const char *backend, struct store_memory_item *item);

/* Sets the mark of the entry, if there is one. */
void store_memory_mark(struct store_memory *memory, struct store_key key,
                       uint8_t mark);

/* Adds to what went through for `key`, if there is a live entry; it was seen at
 * seen_ms (wall clock; 0: not now). */
void store_memory_account(struct store_memory *memory, struct store_key key,
                          const struct store_traffic *more, int64_t seen_ms);

/* As store_memory_find, with all that is known. */
bool store_memory_look(struct store_memory *memory, struct store_key key,
                       struct store_memory_item *item);

enum {
    STORE_MEMORY_PARTS = 64, /* a key's part is chosen by chance */
    STORE_MEMORY_ANY = -1,   /* no entry has this mark */
};

/* Where a walk stands; all zero is the start. The rest is cache.c's. */
struct store_memory_walk {
    bool is_done;  /* every entry has been looked at */
    unsigned part; /* below STORE_MEMORY_PARTS; a walk may begin at any */
    size_t index;
    size_t depth;
};

/* Walks on, and copies up to `max` live entries whose mark is not `mark`;
 * looks at no more than 1024 entries under one lock and 4096 in one call, so
 * that few or none may come back before the walk is done. Entries that come
 * during the walk may be missed, and any met twice; with a `max` of 16 or more
 * those that were there before are missed only where the map shrinks. */
size_t store_memory_collect(struct store_memory *memory,
                            struct store_memory_walk *walk, int mark,
                            struct store_memory_item *items, size_t max);

#endif
