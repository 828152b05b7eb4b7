/* SPDX-License-Identifier: MIT */
/*
 * A shard of the memory store.
 *
 * The table uses linear hashing: it grows and shrinks by one bucket at a time,
 * so that no insertion ever pays for moving all entries while the lock is
 * held. Expiry is a heap with four children to a node, which fit one cache
 * line; a new entry usually expires last and stays where it is put.
 */
#include "store/shard.h"

#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS_MIN = 8,
    HEAP_MIN = 8,
    CHILDREN = 4,
};

/* Names */

static struct store_name **name_list(struct store_shard *shard,
                                     const char *text, size_t len)
{
    size_t sum = len;

    for (size_t i = 0; i < len; i++)
        sum = sum * 31 + (unsigned char)text[i];
    return &shard->names[sum % STORE_SHARD_NAME_LISTS];
}

static struct store_name *name_take(struct store_shard *shard, const char *text,
                                    size_t size)
{
    size_t len = strnlen(text, size - 1);
    struct store_name **list = name_list(shard, text, len);

    for (struct store_name *name = *list; name != NULL; name = name->next) {
        if (strncmp(name->text, text, len) == 0 && name->text[len] == '\0') {
            name->refs++;
            return name;
        }
    }

    struct store_name *name = malloc(sizeof(*name) + len + 1);
    if (name == NULL)
        return NULL;
    memcpy(name->text, text, len);
    name->text[len] = '\0';
    name->refs = 1;
    name->next = *list;
    *list = name;
    return name;
}

static void name_drop(struct store_shard *shard, struct store_name *name)
{
    if (--name->refs > 0)
        return;

    struct store_name **at = name_list(shard, name->text, strlen(name->text));
    while (*at != name)
        at = &(*at)->next;
    *at = name->next;
    free(name);
}

/* The heap */

static void heap_place(struct store_shard *shard, size_t index,
                       struct store_heap_slot slot)
{
    shard->heap[index] = slot;
    slot.entry->heap_index = (uint32_t)index;
}

static size_t heap_rise(struct store_shard *shard, size_t index,
                        struct store_heap_slot slot)
{
    while (index > 0) {
        size_t parent = (index - 1) / CHILDREN;

        if (shard->heap[parent].due_ms <= slot.due_ms)
            break;
        heap_place(shard, index, shard->heap[parent]);
        index = parent;
    }
    return index;
}

static size_t heap_sink(struct store_shard *shard, size_t index,
                        struct store_heap_slot slot)
{
    for (;;) {
        size_t child = index * CHILDREN + 1;
        size_t end = child + CHILDREN;
        size_t least = child;

        if (child >= shard->count)
            return index;
        if (end > shard->count)
            end = shard->count;
        while (++child < end) {
            if (shard->heap[child].due_ms < shard->heap[least].due_ms)
                least = child;
        }
        if (shard->heap[least].due_ms >= slot.due_ms)
            return index;
        heap_place(shard, index, shard->heap[least]);
        index = least;
    }
}

/* Puts `slot` where it belongs, given that `index` is free. */
static void heap_settle(struct store_shard *shard, size_t index,
                        struct store_heap_slot slot)
{
    index = heap_rise(shard, index, slot);
    index = heap_sink(shard, index, slot);
    heap_place(shard, index, slot);
}

static bool heap_resize(struct store_shard *shard, size_t capacity)
{
    struct store_heap_slot *heap =
        realloc(shard->heap, capacity * sizeof(*heap));

    if (heap == NULL)
        return false;
    shard->heap = heap;
    shard->heap_capacity = capacity;
    return true;
}

static bool heap_reserve(struct store_shard *shard)
{
    size_t capacity = shard->heap_capacity;

    if (shard->count < capacity)
        return true;
    return heap_resize(shard,
                       capacity < HEAP_MIN ? HEAP_MIN : capacity * 3 / 2);
}

static void heap_remove(struct store_shard *shard, size_t index)
{
    struct store_heap_slot last = shard->heap[--shard->count];

    if (index < shard->count)
        heap_settle(shard, index, last);
    if (shard->count >= HEAP_MIN && shard->count < shard->heap_capacity / 4) {
        /* A refusal to shrink is harmless. */
        bool shrunk = heap_resize(shard, shard->heap_capacity / 2);
        (void)shrunk;
    }
}

/* The table */

static size_t bucket_of(const struct store_shard *shard, uint32_t hash)
{
    size_t index = hash & shard->mask;

    return index < shard->bucket_count ? index : hash & (shard->mask >> 1);
}

static void bucket_link(struct store_shard *shard, struct store_entry *entry)
{
    size_t index = bucket_of(shard, entry->hash);

    entry->next = shard->buckets[index];
    shard->buckets[index] = entry;
}

static void bucket_unlink(struct store_shard *shard, struct store_entry *entry)
{
    struct store_entry **at = &shard->buckets[bucket_of(shard, entry->hash)];

    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
}

static void bucket_relink(struct store_shard *shard, struct store_entry *chain)
{
    while (chain != NULL) {
        struct store_entry *next = chain->next;

        bucket_link(shard, chain);
        chain = next;
    }
}

static bool table_resize(struct store_shard *shard, size_t capacity)
{
    struct store_entry **buckets =
        realloc(shard->buckets, capacity * sizeof(struct store_entry *));

    if (buckets == NULL)
        return false;
    shard->buckets = buckets;
    shard->bucket_capacity = capacity;
    return true;
}

static bool table_init(struct store_shard *shard)
{
    if (shard->buckets != NULL)
        return true;
    if (!table_resize(shard, BUCKETS_MIN))
        return false;
    for (size_t i = 0; i < BUCKETS_MIN; i++)
        shard->buckets[i] = NULL;
    shard->bucket_count = BUCKETS_MIN;
    shard->mask = BUCKETS_MIN - 1;
    return true;
}

/* Adds a bucket by splitting the one that has held its entries so far. */
static void table_grow(struct store_shard *shard)
{
    size_t added = shard->bucket_count;

    /* Without memory the chains get longer, that is all. */
    if (added == shard->bucket_capacity && !table_resize(shard, added * 3 / 2))
        return;
    if (added > shard->mask)
        shard->mask = shard->mask * 2 + 1;

    size_t split = added & (shard->mask >> 1);
    struct store_entry *chain = shard->buckets[split];
    shard->buckets[split] = NULL;
    shard->buckets[added] = NULL;
    shard->bucket_count++;
    bucket_relink(shard, chain);
}

/* Takes the last bucket away: the reverse of table_grow. */
static void table_shrink(struct store_shard *shard)
{
    struct store_entry *chain = shard->buckets[--shard->bucket_count];

    if (shard->bucket_count == (shard->mask >> 1) + 1)
        shard->mask >>= 1;
    bucket_relink(shard, chain);
    if (shard->bucket_count < shard->bucket_capacity / 4) {
        /* A refusal to shrink is harmless. */
        bool shrunk = table_resize(shard, shard->bucket_capacity / 2);
        (void)shrunk;
    }
}

/* Entries */

struct store_entry *store_entry_new(struct store_key key, uint32_t hash,
                                    const struct store_record *record)
{
    if (key.len == 0 || key.len > STORE_KEY_MAX)
        return NULL;

    size_t client_len = strnlen(record->client, sizeof(record->client) - 1);
    struct store_entry *entry =
        malloc(offsetof(struct store_entry, bytes) + key.len + client_len);
    if (entry == NULL)
        return NULL;
    entry->next = NULL;
    entry->backend = NULL;
    entry->gateway = NULL;
    entry->created_ms = record->created_ms;
    entry->seen_ms = record->seen_ms;
    entry->expires_ms = 0;
    entry->in_bytes = 0;
    entry->out_bytes = 0;
    entry->requests = 0;
    entry->ping_interval_ms = record->ping_interval_ms;
    entry->ping_timeout_ms = record->ping_timeout_ms;
    entry->hash = hash;
    entry->heap_index = 0;
    entry->key_len = (uint16_t)key.len;
    entry->client_len = (uint8_t)client_len;
    entry->eio = record->eio;
    entry->transport = record->transport;
    entry->mark = 0;
    memcpy(entry->bytes, key.ptr, key.len);
    memcpy(entry->bytes + key.len, record->client, client_len);
    return entry;
}

void store_entry_read(const struct store_entry *entry,
                      struct store_record *record)
{
    *record = (struct store_record){
        .created_ms = entry->created_ms,
        .seen_ms = entry->seen_ms,
        .ping_interval_ms = entry->ping_interval_ms,
        .ping_timeout_ms = entry->ping_timeout_ms,
        .eio = entry->eio,
        .transport = entry->transport,
    };
    /* name_take and store_entry_new saw to it that these fit. */
    memcpy(record->backend, entry->backend->text, strlen(entry->backend->text));
    memcpy(record->gateway, entry->gateway->text, strlen(entry->gateway->text));
    memcpy(record->client, entry->bytes + entry->key_len, entry->client_len);
}

struct store_traffic store_entry_traffic(const struct store_entry *entry)
{
    return (struct store_traffic){.in_bytes = entry->in_bytes,
                                  .out_bytes = entry->out_bytes,
                                  .requests = entry->requests};
}

void store_entry_account(struct store_entry *entry,
                         const struct store_traffic *more)
{
    entry->in_bytes += more->in_bytes;
    entry->out_bytes += more->out_bytes;
    entry->requests += more->requests;
}

struct store_entry *store_shard_find(const struct store_shard *shard,
                                     uint32_t hash, struct store_key key)
{
    if (shard->count == 0)
        return NULL;

    struct store_entry *entry = shard->buckets[bucket_of(shard, hash)];
    while (entry != NULL && (entry->hash != hash || entry->key_len != key.len ||
                             memcmp(entry->bytes, key.ptr, key.len) != 0))
        entry = entry->next;
    return entry;
}

bool store_shard_insert(struct store_shard *shard, struct store_entry *entry,
                        const struct store_record *record, int64_t expires_ms)
{
    if (!table_init(shard) || !heap_reserve(shard))
        return false;
    entry->backend = name_take(shard, record->backend, sizeof(record->backend));
    if (entry->backend == NULL)
        return false;
    entry->gateway = name_take(shard, record->gateway, sizeof(record->gateway));
    if (entry->gateway == NULL) {
        name_drop(shard, entry->backend);
        return false;
    }

    entry->expires_ms = expires_ms;
    bucket_link(shard, entry);
    shard->count++;
    heap_settle(shard, shard->count - 1,
                (struct store_heap_slot){expires_ms, entry});
    if (shard->count > shard->bucket_count)
        table_grow(shard);
    return true;
}

void store_shard_remove(struct store_shard *shard, struct store_entry *entry)
{
    bucket_unlink(shard, entry);
    heap_remove(shard, entry->heap_index);
    name_drop(shard, entry->backend);
    name_drop(shard, entry->gateway);
    free(entry);
    /* Two at a time, to keep up with half a bucket for each entry. */
    for (int i = 0; i < 2; i++) {
        if (shard->bucket_count > BUCKETS_MIN &&
            shard->count < shard->bucket_count / 2)
            table_shrink(shard);
    }
}

void store_shard_renew(struct store_shard *shard, struct store_entry *entry,
                       int64_t expires_ms)
{
    entry->expires_ms = expires_ms;
    heap_settle(shard, entry->heap_index,
                (struct store_heap_slot){expires_ms, entry});
}

void store_shard_set_gateway(struct store_shard *shard,
                             struct store_entry *entry,
                             const struct store_record *record)
{
    struct store_name *name =
        name_take(shard, record->gateway, sizeof(record->gateway));

    if (name == NULL)
        return;
    name_drop(shard, entry->gateway);
    entry->gateway = name;
}

struct store_entry *store_shard_first(const struct store_shard *shard)
{
    return shard->count > 0 ? shard->heap[0].entry : NULL;
}

void store_shard_clear(struct store_shard *shard)
{
    while (shard->count > 0)
        store_shard_remove(shard, shard->heap[shard->count - 1].entry);
    free(shard->buckets);
    free(shard->heap);
    *shard = (struct store_shard){0};
}
