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
    /* Told of every entry that leaves the map or changes its backend, and of
     * every new one, so that the owner can count sessions by backend:
     * delta is +1 or -1. Runs under a shard's lock: it must not call the
     * store. May be NULL. */
    void (*on_count)(void *arg, const char *backend, int delta);
    void *count_arg;
};

struct store_memory;

/* NULL when memory is short, or the system has no randomness for the key of
 * the hash. */
struct store_memory *store_memory_new(const struct store_memory_options *opts);

/* A client for one worker. All clients must be closed before the map is
 * freed. NULL when memory is short. */
struct store *store_memory_client(struct store_memory *memory);

/* Frees expired entries, at most 4096 in one call and 256 under one lock; call
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

#endif
