/* SPDX-License-Identifier: MIT */
/*
 * One shard of the memory store: a hash table, a heap by expiry, and the names
 * that its entries share. Knows neither locks nor clocks. Private to store/.
 */
#ifndef SIDGATE_STORE_SHARD_H
#define SIDGATE_STORE_SHARD_H

#include "store/store.h"

/* A backend's or gateway's id, kept once however many entries name it. */
struct store_name {
    struct store_name *next;
    uint32_t refs;
    char text[];
};

/* One session, allocated to the byte: the members are ordered so that nothing
 * is lost to padding, and `bytes` starts right behind the last one. */
struct store_entry {
    struct store_entry *next; /* in its bucket */
    struct store_name *backend;
    struct store_name *gateway;
    int64_t created_ms;
    int64_t seen_ms;
    int64_t expires_ms; /* monotonic; the same as in the heap */
    uint64_t in_bytes;
    uint64_t out_bytes;
    uint32_t requests;
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;
    uint32_t hash;
    uint32_t heap_index;
    uint16_t key_len;
    uint8_t client_len;
    uint8_t eio;
    uint8_t transport;
    uint8_t mark;
    char bytes[]; /* the key, then the client's address, no NULs between */
};

struct store_heap_slot {
    int64_t due_ms;
    struct store_entry *entry;
};

enum { STORE_SHARD_NAME_LISTS = 16 };

/* All zero is an empty shard. */
struct store_shard {
    struct store_entry **buckets;
    size_t bucket_count;
    size_t bucket_capacity;
    size_t mask; /* of the next power of two, less one */
    struct store_heap_slot *heap;
    size_t count;
    size_t heap_capacity;
    struct store_name *names[STORE_SHARD_NAME_LISTS];
};

/* An entry of no shard yet; its names and its expiry are set by insert. NULL
 * when memory is short or the key's length is out of range. Ends with free()
 * unless inserted. */
struct store_entry *store_entry_new(struct store_key key, uint32_t hash,
                                    const struct store_record *record);

/* Copies what the entry holds into `record`. */
void store_entry_read(const struct store_entry *entry,
                      struct store_record *record);

/* What went through for it, so far; and a piece more of that. */
struct store_traffic store_entry_traffic(const struct store_entry *entry);
void store_entry_account(struct store_entry *entry,
                         const struct store_traffic *more);

/* NULL when there is none. */
struct store_entry *store_shard_find(const struct store_shard *shard,
                                     uint32_t hash, struct store_key key);

/* Takes the entry over, with the names of `record`. A key that is there already
 * must be removed before the next find. False, the entry still the caller's,
 * when memory is short. */
bool store_shard_insert(struct store_shard *shard, struct store_entry *entry,
                        const struct store_record *record, int64_t expires_ms)
    __attribute__((warn_unused_result));

/* Unlinks and frees the entry. */
void store_shard_remove(struct store_shard *shard, struct store_entry *entry);

void store_shard_renew(struct store_shard *shard, struct store_entry *entry,
                       int64_t expires_ms);

/* Gives the entry the gateway of `record`. Without memory it stays as it was.
 */
void store_shard_set_gateway(struct store_shard *shard,
                             struct store_entry *entry,
                             const struct store_record *record);

/* The entry that expires first; NULL when the shard is empty. */
struct store_entry *store_shard_first(const struct store_shard *shard);

/* Frees every entry and all else; the shard is empty and usable after. */
void store_shard_clear(struct store_shard *shard);

#endif
