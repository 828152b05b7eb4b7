/* SPDX-License-Identifier: MIT */
/*
 * The embedded store: shards behind locks, and the bound over all of them.
 *
 * The bound is a count of places. A put of a new key takes a place first; when
 * there is none left, it takes over the place of an expired entry, whichever
 * shard holds it. Two shards are never locked at once.
 */
#include "store/memory_private.h"
#include "store/siphash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    PART_SHIFT = 58,    /* the top six bits of the hash choose the part */
    EXPIRE_BATCH = 64,  /* entries freed under one lock */
    EXPIRE_MAX = 1024,  /* entries freed in one call of store_memory_expire */
    EXPIRE_PER_PUT = 2, /* more than one, so that puts alone catch up */
    ROOM_TRIES = 4,
};

#define ENTRIES_MAX ((size_t)1 << 31)
#define LIFE_MS_MAX ((int64_t)30 * 24 * 3600 * 1000)

struct store_memory_place store_memory_place(struct store_memory *memory,
                                             struct store_key key)
{
    uint64_t hash = store_siphash(memory->hash_key, key.ptr, key.len);

    return (struct store_memory_place){&memory->parts[hash >> PART_SHIFT],
                                       (uint32_t)hash};
}

static int64_t clamp_life(int64_t life_ms)
{
    if (life_ms < 1)
        return 1;
    return life_ms > LIFE_MS_MAX ? LIFE_MS_MAX : life_ms;
}

static int64_t clock_now(const struct store_memory *memory)
{
    return memory->opts.now_ms(memory->opts.now_arg);
}

/* Before the lock is released, the hint is brought up to date. */
static void part_unlock(struct store_memory_part *part)
{
    const struct store_entry *first = store_shard_first(&part->shard);
    int64_t due_ms = first != NULL ? first->expires_ms : INT64_MAX;

    atomic_store_explicit(&part->due_ms, due_ms, memory_order_relaxed);
    pthread_mutex_unlock(&part->lock);
}

static bool is_due(struct store_memory_part *part, int64_t now_ms)
{
    return atomic_load_explicit(&part->due_ms, memory_order_relaxed) <= now_ms;
}

static void count_entry(const struct store_memory *memory,
                        const struct store_entry *entry, int delta)
{
    struct store_record record;

    if (memory->opts.on_count == NULL)
        return;
    store_entry_read(entry, &record);
    memory->opts.on_count(memory->opts.arg, &record, delta);
}

/* An entry whose life is over, or that gives way to another backend's. */
static void tell_end(const struct store_memory *memory,
                     const struct store_entry *entry, bool is_live)
{
    const struct store_memory_options *opts = &memory->opts;
    struct store_key key = {entry->bytes, entry->key_len};
    struct store_traffic traffic = store_entry_traffic(entry);
    struct store_record record;

    store_entry_read(entry, &record);
    if (is_live && opts->on_replace != NULL)
        opts->on_replace(opts->arg, key, &record, &traffic);
    else if (!is_live && opts->on_expire != NULL)
        opts->on_expire(opts->arg, key, &record, &traffic);
}

/* Whether both, of one shard, count as the same. */
static bool counts_alike(const struct store_entry *a,
                         const struct store_entry *b)
{
    return a->backend == b->backend && a->gateway == b->gateway &&
           a->transport == b->transport && a->client_len == b->client_len &&
           memcmp(a->bytes + a->key_len, b->bytes + b->key_len,
                  a->client_len) == 0;
}

/* Places */

static bool take_place(struct store_memory *memory)
{
    size_t count = store_memory_count(memory);

    while (count < memory->opts.max_entries) {
        if (atomic_compare_exchange_weak_explicit(
                &memory->count, &count, count + 1, memory_order_relaxed,
                memory_order_relaxed))
            return true;
    }
    return false;
}

static void give_places(struct store_memory *memory, size_t count)
{
    atomic_fetch_sub_explicit(&memory->count, count, memory_order_relaxed);
}

/* For a clock: all entries have expired. */
#define EVICT_ANY INT64_MAX

/* Frees up to `max` expired entries of a locked part; their places stay
 * taken and are the caller's. */
static size_t drop_expired(struct store_memory *memory,
                           struct store_memory_part *part, int64_t now_ms,
                           size_t max)
{
    size_t freed = 0;

    while (freed < max) {
        struct store_entry *first = store_shard_first(&part->shard);
        if (first == NULL || first->expires_ms > now_ms)
            break;
        if (now_ms != EVICT_ANY)
            tell_end(memory, first, false);
        count_entry(memory, first, -1);
        store_shard_remove(&part->shard, first);
        freed++;
    }
    return freed;
}

/* Takes over the place of an expired entry of any shard. */
static bool reclaim_place(struct store_memory *memory)
{
    int64_t now_ms = clock_now(memory);

    for (size_t i = 0; i < STORE_MEMORY_PARTS; i++) {
        struct store_memory_part *part = &memory->parts[i];

        if (!is_due(part, now_ms))
            continue;
        pthread_mutex_lock(&part->lock);
        size_t freed = drop_expired(memory, part, now_ms, 1);
        part_unlock(part);
        if (freed > 0)
            return true;
    }
    return false;
}

/* Takes over the place of the entry of a cache that expires first in `part`,
 * or in the next part that has any. */
static bool evict_place(struct store_memory *memory,
                        struct store_memory_part *part)
{
    size_t start = (size_t)(part - memory->parts);
    bool is_gone = false;

    for (size_t i = 0; i < STORE_MEMORY_PARTS && !is_gone; i++) {
        part = &memory->parts[(start + i) % STORE_MEMORY_PARTS];
        pthread_mutex_lock(&part->lock);
        is_gone = drop_expired(memory, part, EVICT_ANY, 1) > 0;
        part_unlock(part);
    }
    return is_gone;
}

/* A place at the bound. */
static bool make_room(struct store_memory *memory,
                      struct store_memory_part *part)
{
    if (reclaim_place(memory))
        return true;
    /* Other threads may hold the places of entries that they have yet to
     * insert: only under a bound of a few entries is a second try needed. */
    for (int i = 0; memory->opts.is_cache && i < ROOM_TRIES; i++) {
        if (evict_place(memory, part) || take_place(memory))
            return true;
    }
    return false;
}

/* The operations */

static void outcome_read(struct store_memory_outcome *outcome,
                         const struct store_entry *entry, int64_t now_ms)
{
    store_entry_read(entry, &outcome->record);
    outcome->life_ms = entry->expires_ms - now_ms;
}

struct store_entry *store_memory_live(struct store_memory_place place,
                                      struct store_key key, int64_t now_ms)
{
    struct store_entry *entry =
        store_shard_find(&place.part->shard, place.hash, key);

    return entry != NULL && entry->expires_ms > now_ms ? entry : NULL;
}

static bool is_bound_to(const struct store_entry *entry, const char *backend)
{
    return backend != NULL && strcmp(entry->backend->text, backend) == 0;
}

/* Puts the new entry in the stead of `old`, if there is one. */
static enum store_status put_entry(struct store_memory *memory,
                                   struct store_memory_part *part,
                                   struct store_memory_put *put,
                                   struct store_entry *old)
{
    if (old == NULL && !put->has_place)
        put->has_place = take_place(memory);
    if (old == NULL && !put->has_place)
        return STORE_FULL;
    if (!store_shard_insert(&part->shard, put->entry, put->record,
                            put->now_ms + put->life_ms))
        return STORE_UNAVAILABLE;

    if (old == NULL)
        put->has_place = false;
    if (old == NULL || !counts_alike(old, put->entry)) {
        if (old != NULL)
            count_entry(memory, old, -1);
        count_entry(memory, put->entry, 1);
    }
    if (old != NULL && old->backend == put->entry->backend) {
        struct store_traffic traffic = store_entry_traffic(old);
        store_entry_account(put->entry, &traffic);
    } else if (old != NULL) {
        tell_end(memory, old, old->expires_ms > put->now_ms);
    }
    if (old != NULL)
        store_shard_remove(&part->shard, old);
    put->entry = NULL;
    give_places(memory,
                drop_expired(memory, part, put->now_ms, EXPIRE_PER_PUT));
    return STORE_OK;
}

static void put_locked(struct store_memory *memory,
                       struct store_memory_place place,
                       struct store_memory_put *put,
                       struct store_memory_outcome *outcome)
{
    struct store_entry *old =
        store_shard_find(&place.part->shard, place.hash, put->key);

    put->now_ms = clock_now(memory);
    if (old != NULL && !put->is_forced && old->expires_ms > put->now_ms &&
        !is_bound_to(old, put->record->backend) &&
        !is_bound_to(old, put->replaces)) {
        outcome->status = STORE_CONFLICT;
        outcome_read(outcome, old, put->now_ms);
        return;
    }
    outcome->status = put_entry(memory, place.part, put, old);
}

void store_memory_bind(struct store_memory *memory,
                       struct store_memory_put *put,
                       struct store_memory_outcome *outcome)
{
    struct store_memory_place place = store_memory_place(memory, put->key);

    *outcome = (struct store_memory_outcome){.status = STORE_UNAVAILABLE};
    put->life_ms = clamp_life(put->life_ms);
    put->entry = store_entry_new(put->key, place.hash, put->record);
    if (put->entry == NULL)
        return;
    put->entry->mark = put->mark;
    pthread_mutex_lock(&place.part->lock);
    put_locked(memory, place, put, outcome);
    part_unlock(place.part);
    if (outcome->status == STORE_FULL && make_room(memory, place.part)) {
        put->has_place = true;
        pthread_mutex_lock(&place.part->lock);
        put_locked(memory, place, put, outcome);
        part_unlock(place.part);
    }
    if (put->has_place)
        give_places(memory, 1);
    free(put->entry);
}

bool store_memory_find(struct store_memory *memory, struct store_key key,
                       struct store_record *record, int64_t *life_ms)
{
    struct store_memory_place place = store_memory_place(memory, key);

    pthread_mutex_lock(&place.part->lock);
    int64_t now_ms = clock_now(memory);
    const struct store_entry *entry = store_memory_live(place, key, now_ms);
    if (entry != NULL) {
        store_entry_read(entry, record);
        *life_ms = entry->expires_ms - now_ms;
    }
    /* Nothing has changed: the hint need not either. */
    pthread_mutex_unlock(&place.part->lock);
    return entry != NULL;
}

/* Without memory for a new name the gateway stays as it was: the entry's life
 * matters more. */
static void change_place(const struct store_memory *memory,
                         struct store_shard *shard, struct store_entry *entry,
                         const struct store_record *record)
{
    size_t size = sizeof(record->gateway);
    bool is_moved =
        record->gateway[0] != '\0' &&
        strncmp(entry->gateway->text, record->gateway, size - 1) != 0;

    if (!is_moved && entry->transport == record->transport)
        return;
    count_entry(memory, entry, -1);
    entry->transport = record->transport;
    if (is_moved)
        store_shard_set_gateway(shard, entry, record);
    count_entry(memory, entry, 1);
}

void store_memory_refresh(struct store_memory *memory, struct store_key key,
                          const struct store_record *record, int64_t life_ms,
                          struct store_memory_outcome *outcome)
{
    struct store_memory_place place = store_memory_place(memory, key);

    *outcome = (struct store_memory_outcome){.status = STORE_NOT_FOUND};
    pthread_mutex_lock(&place.part->lock);
    int64_t now_ms = clock_now(memory);
    struct store_entry *entry = store_memory_live(place, key, now_ms);
    if (entry != NULL && is_bound_to(entry, record->backend)) {
        entry->seen_ms = record->seen_ms;
        change_place(memory, &place.part->shard, entry, record);
        store_shard_renew(&place.part->shard, entry,
                          now_ms + clamp_life(life_ms));
        outcome->status = STORE_OK;
    } else if (entry != NULL) {
        outcome->status = STORE_CONFLICT;
        outcome_read(outcome, entry, now_ms);
    }
    part_unlock(place.part);
}

void store_memory_unbind(struct store_memory *memory, struct store_key key,
                         const char *backend,
                         struct store_memory_outcome *outcome)
{
    struct store_memory_place place = store_memory_place(memory, key);

    *outcome = (struct store_memory_outcome){.status = STORE_NOT_FOUND};
    pthread_mutex_lock(&place.part->lock);
    int64_t now_ms = clock_now(memory);
    struct store_entry *entry = store_memory_live(place, key, now_ms);
    if (entry != NULL && (backend == NULL || is_bound_to(entry, backend))) {
        outcome_read(outcome, entry, now_ms);
        outcome->traffic = store_entry_traffic(entry);
        count_entry(memory, entry, -1);
        store_shard_remove(&place.part->shard, entry);
        give_places(memory, 1);
        outcome->status = STORE_OK;
    } else if (entry != NULL) {
        outcome->status = STORE_CONFLICT;
        outcome_read(outcome, entry, now_ms);
    }
    part_unlock(place.part);
}

/* The map */

struct store_memory *store_memory_new(const struct store_memory_options *opts)
{
    struct store_memory *memory =
        aligned_alloc(_Alignof(struct store_memory), sizeof(*memory));

    if (memory == NULL)
        return NULL;
    memset(memory, 0, sizeof(*memory));
    memory->opts = *opts;
    if (memory->opts.max_entries < 1)
        memory->opts.max_entries = 1;
    if (memory->opts.max_entries > ENTRIES_MAX)
        memory->opts.max_entries = ENTRIES_MAX;
    /* A hash key that can be guessed would be worse than no start. */
    if (getrandom(memory->hash_key, sizeof(memory->hash_key), 0) !=
        (ssize_t)sizeof(memory->hash_key)) {
        free(memory);
        return NULL;
    }
    for (size_t i = 0; i < STORE_MEMORY_PARTS; i++) {
        pthread_mutex_init(&memory->parts[i].lock, NULL);
        atomic_init(&memory->parts[i].due_ms, INT64_MAX);
    }
    return memory;
}

size_t store_memory_expire(struct store_memory *memory)
{
    unsigned first = atomic_fetch_add_explicit(&memory->next_expire, 1,
                                               memory_order_relaxed);
    int64_t now_ms = clock_now(memory);
    size_t freed = 0;

    for (unsigned i = 0; i < STORE_MEMORY_PARTS && freed < EXPIRE_MAX; i++) {
        struct store_memory_part *part =
            &memory->parts[(first + i) % STORE_MEMORY_PARTS];

        if (!is_due(part, now_ms))
            continue;
        pthread_mutex_lock(&part->lock);
        size_t left = EXPIRE_MAX - freed;
        freed += drop_expired(memory, part, now_ms,
                              left < EXPIRE_BATCH ? left : EXPIRE_BATCH);
        part_unlock(part);
    }
    give_places(memory, freed);
    return freed;
}

size_t store_memory_count(const struct store_memory *memory)
{
    return atomic_load_explicit(&memory->count, memory_order_relaxed);
}

void store_memory_clear(struct store_memory *memory)
{
    for (size_t i = 0; i < STORE_MEMORY_PARTS; i++) {
        struct store_memory_part *part = &memory->parts[i];

        pthread_mutex_lock(&part->lock);
        size_t count = part->shard.count;
        for (size_t j = 0; j < count; j++)
            count_entry(memory, part->shard.heap[j].entry, -1);
        store_shard_clear(&part->shard);
        part_unlock(part);
        give_places(memory, count);
    }
}

/* False when `each` wants no more. */
static bool list_part(struct store_memory_part *part, int64_t now_ms,
                      store_list_fn each, void *arg)
{
    for (size_t i = 0; i < part->shard.count; i++) {
        const struct store_entry *entry = part->shard.heap[i].entry;
        struct store_key key = {entry->bytes, entry->key_len};
        struct store_record record;

        if (entry->expires_ms <= now_ms)
            continue;
        store_entry_read(entry, &record);
        if (!each(arg, key, &record, entry->expires_ms - now_ms))
            return false;
    }
    return true;
}

void store_memory_list(struct store_memory *memory, store_list_fn each,
                       void *arg)
{
    bool wants_more = true;

    for (size_t i = 0; i < STORE_MEMORY_PARTS && wants_more; i++) {
        struct store_memory_part *part = &memory->parts[i];

        pthread_mutex_lock(&part->lock);
        wants_more = list_part(part, clock_now(memory), each, arg);
        part_unlock(part);
    }
}

void store_memory_free(struct store_memory *memory)
{
    if (memory == NULL)
        return;
    for (size_t i = 0; i < STORE_MEMORY_PARTS; i++) {
        store_shard_clear(&memory->parts[i].shard);
        pthread_mutex_destroy(&memory->parts[i].lock);
    }
    free(memory);
}
