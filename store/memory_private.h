/* SPDX-License-Identifier: MIT */
/* What memory.c and cache.c share. Private to store/. */
#ifndef SIDGATE_STORE_MEMORY_PRIVATE_H
#define SIDGATE_STORE_MEMORY_PRIVATE_H

#include "store/memory.h"
#include "store/shard.h"

#include <pthread.h>
#include <stdatomic.h>

struct store_memory_part {
    _Alignas(64) pthread_mutex_t lock;
    _Atomic int64_t due_ms; /* when the first entry expires; a hint that is
                               read without the lock */
    struct store_shard shard;
};

struct store_memory {
    struct store_memory_part parts[STORE_MEMORY_PARTS];
    struct store_memory_options opts;
    uint64_t hash_key[2];
    _Atomic size_t count; /* places taken */
    _Atomic unsigned next_expire;
};

/* What becomes of a call, kept until the lock is released. */
struct store_memory_outcome {
    enum store_status status;
    struct store_record record; /* where life_ms is above 0 */
    int64_t life_ms;
    struct store_traffic traffic; /* of what was unbound */
};

struct store_memory_put {
    struct store_key key;
    const struct store_record *record;
    const char *replaces;
    int64_t life_ms;
    bool is_forced; /* whatever the key is bound to */
    uint8_t mark;
    /* The rest is store_memory_bind's. */
    int64_t now_ms;
    struct store_entry *entry; /* NULL once the map has it */
    bool has_place;
};

/* What a lookup of one key works on. */
struct store_memory_place {
    struct store_memory_part *part;
    uint32_t hash;
};

struct store_memory_place store_memory_place(struct store_memory *memory,
                                             struct store_key key);

/* The live entry of `key` in a locked part. */
struct store_entry *store_memory_live(struct store_memory_place place,
                                      struct store_key key, int64_t now_ms);

/* The changes, whole: they take and release the locks. */
void store_memory_bind(struct store_memory *memory,
                       struct store_memory_put *put,
                       struct store_memory_outcome *outcome);
void store_memory_refresh(struct store_memory *memory, struct store_key key,
                          const struct store_record *record, int64_t life_ms,
                          struct store_memory_outcome *outcome);

/* A backend of NULL stands for any. */
void store_memory_unbind(struct store_memory *memory, struct store_key key,
                         const char *backend,
                         struct store_memory_outcome *outcome);

#endif
