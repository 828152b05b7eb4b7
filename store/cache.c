/* SPDX-License-Identifier: MIT */
/*
 * The memory map as a cache of another store.
 *
 * A walk goes through the hash tables bucket by bucket, not through the heaps:
 * a renewed entry moves in its heap but never in its table, and a table that
 * grows moves entries to its end, where the walk has yet to come. Only a table
 * that shrinks can move one out of the walk's way. A bucket is taken whole, for
 * the order in it changes when it is split; only one that is larger than what
 * the caller has room for is taken in parts.
 */
#include "store/memory_private.h"

#include <string.h>

enum {
    LOOK_BATCH = 1024, /* entries and empty buckets under one lock */
    LOOK_MAX = 4096,   /* the same in one call */
};

bool store_memory_set(struct store_memory *memory, struct store_key key,
                      const struct store_record *record, int64_t life_ms,
                      uint8_t mark)
{
    struct store_memory_outcome outcome;
    struct store_memory_put put = {
        .key = key,
        .record = record,
        .life_ms = life_ms,
        .is_forced = true,
        .mark = mark,
    };

    store_memory_bind(memory, &put, &outcome);
    return outcome.status == STORE_OK;
}

bool store_memory_renew(struct store_memory *memory, struct store_key key,
                        const struct store_record *record, int64_t life_ms)
{
    struct store_memory_outcome outcome;

    store_memory_refresh(memory, key, record, life_ms, &outcome);
    return outcome.status == STORE_OK;
}

bool store_memory_drop(struct store_memory *memory, struct store_key key,
                       const char *backend)
{
    struct store_memory_outcome outcome;

    store_memory_unbind(memory, key, backend, &outcome);
    return outcome.status == STORE_OK;
}

bool store_memory_take(struct store_memory *memory, struct store_key key,
                       const char *backend, struct store_memory_item *item)
{
    struct store_memory_outcome outcome;

    store_memory_unbind(memory, key, backend, &outcome);
    if (outcome.status != STORE_OK)
        return false;
    *item = (struct store_memory_item){.key_len = key.len,
                                       .record = outcome.record,
                                       .life_ms = outcome.life_ms,
                                       .traffic = outcome.traffic};
    memcpy(item->key, key.ptr, key.len);
    return true;
}

/* What changes nothing that the part's hint depends on. */
static struct store_entry *lock_live(struct store_memory *memory,
                                     struct store_key key,
                                     struct store_memory_place *place,
                                     int64_t *now_ms)
{
    *place = store_memory_place(memory, key);
    pthread_mutex_lock(&place->part->lock);
    *now_ms = memory->opts.now_ms(memory->opts.now_arg);
    return store_memory_live(*place, key, *now_ms);
}

static void item_read(struct store_memory_item *item,
                      const struct store_entry *entry, int64_t now_ms)
{
    memcpy(item->key, entry->bytes, entry->key_len);
    item->key_len = entry->key_len;
    store_entry_read(entry, &item->record);
    item->life_ms = entry->expires_ms - now_ms;
    item->mark = entry->mark;
    item->traffic = store_entry_traffic(entry);
}

void store_memory_mark(struct store_memory *memory, struct store_key key,
                       uint8_t mark)
{
    struct store_memory_place place;
    int64_t now_ms;
    struct store_entry *entry = lock_live(memory, key, &place, &now_ms);

    if (entry != NULL)
        entry->mark = mark;
    pthread_mutex_unlock(&place.part->lock);
}

void store_memory_account(struct store_memory *memory, struct store_key key,
                          const struct store_traffic *more, int64_t seen_ms)
{
    struct store_memory_place place;
    int64_t now_ms;
    struct store_entry *entry = lock_live(memory, key, &place, &now_ms);

    if (entry != NULL)
        store_entry_account(entry, more);
    if (entry != NULL && seen_ms > entry->seen_ms)
        entry->seen_ms = seen_ms;
    pthread_mutex_unlock(&place.part->lock);
}

bool store_memory_look(struct store_memory *memory, struct store_key key,
                       struct store_memory_item *item)
{
    struct store_memory_place place;
    int64_t now_ms;
    const struct store_entry *entry = lock_live(memory, key, &place, &now_ms);

    if (entry != NULL)
        item_read(item, entry, now_ms);
    pthread_mutex_unlock(&place.part->lock);
    return entry != NULL;
}

/* One call of store_memory_collect. */
struct collecting {
    struct store_memory_walk *walk;
    struct store_memory_item *items;
    size_t count;
    size_t max;
    size_t looks; /* left under this lock */
    int64_t now_ms;
    int mark;
    bool is_over; /* there is no room for the next bucket */
};

static void collect_entry(struct collecting *collecting,
                          const struct store_entry *entry)
{
    struct store_memory_item *item = &collecting->items[collecting->count];

    if (entry->mark == collecting->mark ||
        entry->expires_ms <= collecting->now_ms)
        return;
    item_read(item, entry, collecting->now_ms);
    collecting->count++;
}

/* Goes on in the walk's bucket. False when the looks or the room for items came
 * to their end in it: then nothing of it is taken, unless it is the first one
 * that had them all to itself. */
static bool collect_bucket(struct collecting *collecting,
                           const struct store_entry *entry, bool is_first)
{
    struct store_memory_walk *walk = collecting->walk;
    size_t count = collecting->count;
    size_t depth = 0;

    for (; entry != NULL && depth < walk->depth; depth++)
        entry = entry->next;
    for (; entry != NULL && collecting->looks > 0 &&
           collecting->count < collecting->max;
         entry = entry->next) {
        collecting->looks--;
        depth++;
        collect_entry(collecting, entry);
    }
    if (entry == NULL) {
        walk->depth = 0;
        return true;
    }

    bool is_full = collecting->count == collecting->max;
    collecting->is_over = is_full;
    if (is_full ? count > 0 : !is_first)
        collecting->count = count;
    else
        walk->depth = depth;
    return false;
}

/* Goes on in a locked part. */
static void collect_part(struct collecting *collecting,
                         const struct store_shard *shard)
{
    struct store_memory_walk *walk = collecting->walk;

    for (bool is_first = true; walk->index < shard->bucket_count;
         is_first = false) {
        /* A bucket costs as much as an entry, or an empty table would be
         * walked through under one lock. */
        if (collecting->looks == 0)
            return;
        collecting->looks--;
        if (!collect_bucket(collecting, shard->buckets[walk->index], is_first))
            return;
        walk->index++;
    }
    walk->part++;
    walk->index = 0;
    walk->depth = 0;
}

size_t store_memory_collect(struct store_memory *memory,
                            struct store_memory_walk *walk, int mark,
                            struct store_memory_item *items, size_t max)
{
    struct collecting collecting = {
        .walk = walk,
        .items = items,
        .max = max,
        .now_ms = memory->opts.now_ms(memory->opts.now_arg),
        .mark = mark,
    };
    size_t looks = LOOK_MAX;

    while (walk->part < STORE_MEMORY_PARTS && looks >= LOOK_BATCH &&
           !collecting.is_over) {
        struct store_memory_part *part = &memory->parts[walk->part];

        collecting.looks = LOOK_BATCH;
        pthread_mutex_lock(&part->lock);
        collect_part(&collecting, &part->shard);
        pthread_mutex_unlock(&part->lock);
        /* At least one, so that an empty part is not walked for nothing. */
        looks -=
            collecting.looks < LOOK_BATCH ? LOOK_BATCH - collecting.looks : 1;
    }
    walk->is_done = walk->part >= STORE_MEMORY_PARTS;
    return collecting.count;
}
