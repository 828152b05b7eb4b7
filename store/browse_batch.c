/* SPDX-License-Identifier: MIT */
/*
 * What one SCAN gave.
 *
 * With COUNT 1 it is the keys of one place in the table of Redis, and of what
 * belongs to that while the table grows or shrinks. A batch as small as that
 * may be taken in part: its keys are put into the order of a hash of theirs,
 * which is the same however Redis gives them. The rest is where it was as long
 * as SCAN steps from there to the same cursor as before; else other keys may
 * have come into the batch, and all of it is taken once more.
 */
#include "store/browse_private.h"
#include "store/siphash.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

static bool read_cursor(const redisReply *reply, uint64_t *cursor)
{
    uint64_t value = 0;

    if (reply->type != REDIS_REPLY_STRING || reply->len == 0 || reply->len > 20)
        return false;
    for (size_t i = 0; i < reply->len; i++) {
        const unsigned digit = (unsigned char)reply->str[i] - (unsigned)'0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *cursor = value;
    return true;
}

/* The part of a key that names the session; 0 when it is no session's. */
static uint32_t own_len(const struct store_browse *browse,
                        const redisReply *key)
{
    if (key->type != REDIS_REPLY_STRING || key->len <= browse->start_len ||
        key->len > browse->start_len + STORE_KEY_MAX ||
        memcmp(key->str, browse->start, browse->start_len) != 0)
        return 0;
    return (uint32_t)(key->len - browse->start_len);
}

static bool copy_keys(struct store_browsing *one, const redisReply *list)
{
    const struct store_browse *browse = one->browse;
    size_t total = 0;
    size_t used = 0;

    for (size_t i = 0; i < list->elements; i++)
        total += own_len(browse, list->element[i]);
    one->keys = calloc(list->elements + 1, sizeof(*one->keys));
    one->bytes = malloc(total + 1);
    if (one->keys == NULL || one->bytes == NULL)
        return false;
    one->key_count = list->elements;
    for (size_t i = 0; i < list->elements; i++) {
        struct store_browse_key *key = &one->keys[i];

        key->at = (uint32_t)used;
        key->len = own_len(browse, list->element[i]);
        if (key->len == 0)
            continue;
        memcpy(one->bytes + used, list->element[i]->str + browse->start_len,
               key->len);
        used += key->len;
        one->own_count++;
    }
    return true;
}

/* Other replicas, and another start of this one, come to the same. */
static uint32_t hash_of(const struct store_browsing *one,
                        const struct store_browse_key *key)
{
    static const uint64_t fixed[2] = {1, 2};
    const uint32_t hash =
        (uint32_t)store_siphash(fixed, one->bytes + key->at, key->len);

    return hash != 0 ? hash : 1;
}

static int compare(const void *left, const void *right)
{
    const struct store_browse_key *a = left;
    const struct store_browse_key *b = right;

    if (a->hash == b->hash)
        return 0;
    return a->hash < b->hash ? -1 : 1;
}

static void put_in_order(struct store_browsing *one)
{
    for (size_t i = 0; i < one->key_count; i++)
        if (one->keys[i].len > 0)
            one->keys[i].hash = hash_of(one, &one->keys[i]);
    qsort(one->keys, one->key_count, sizeof(*one->keys), compare);
}

uint32_t store_browsing_ahead(const struct store_browsing *one)
{
    return (uint32_t)(one->next_cursor ^ one->next_cursor >> 32);
}

/* Only the first batch is the one that `from` is about. Of two keys with one
 * hash, which is one case in four billion, the second may be passed over. */
static void pass_over(struct store_browsing *one)
{
    const struct store_browse_place *from = &one->walk.from;

    if (one->has_kept || from->behind == 0 ||
        from->ahead != store_browsing_ahead(one))
        return;
    while (one->taken < one->key_count &&
           one->keys[one->taken].hash <= from->behind)
        one->taken++;
    one->asked = one->taken;
}

bool store_browsing_read_batch(struct store_browsing *one,
                               const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        !read_cursor(reply->element[0], &one->next_cursor) ||
        reply->element[1]->type != REDIS_REPLY_ARRAY ||
        !copy_keys(one, reply->element[1]))
        return false;
    if (one->may_cut) {
        put_in_order(one);
        pass_over(one);
    }
    return true;
}
