/* SPDX-License-Identifier: MIT */
/*
 * A walk through the sessions in a Redis.
 *
 * It has one batch of keys at a time, which one SCAN gave. Their records are
 * asked for a window at a time, and taken in the order of the keys. A batch
 * with more rows than still fit ends the walk in front of it. Where there are
 * no rows yet it is asked for again, smaller; the smallest one may be cut.
 */
#include "store/browse_private.h"
#include "store/record.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIFE_MAX_MS (INT64_C(30) * 24 * 3600 * 1000)

enum { FIELDS_ARGC = 2 + STORE_RECORD_COUNT };

static void end_at(struct store_browsing *one, enum store_browse_end how,
                   struct store_browse_place place)
{
    const struct store_browse_walk walk = one->walk;
    const struct store_browse_result result = {
        .end = how, .place = place, .looked_at = one->looked_at};

    store_browse_cancel(one);
    walk.on_end(walk.arg, &result);
}

static void end(struct store_browsing *one, enum store_browse_end how)
{
    end_at(one, how, (struct store_browse_place){0});
}

static void settle(struct store_browsing *one, bool is_kept)
{
    const struct store_browse_walk *walk = &one->walk;

    if (is_kept) {
        one->has_kept = true;
        one->rows += one->batch_rows;
        one->looked_at += one->batch_looked_at;
    }
    if (walk->on_batch != NULL)
        walk->on_batch(walk->arg, is_kept);
}

/* ---- records ---- */

static bool is_wrong_type(const redisReply *reply)
{
    static const char code[] = "WRONGTYPE";

    return reply->type == REDIS_REPLY_ERROR && reply->len >= sizeof(code) - 1 &&
           memcmp(reply->str, code, sizeof(code) - 1) == 0;
}

/* One without an expiry was made by hand: it is as good as over. */
static int64_t life_of(long long life_ms)
{
    if (life_ms == -2)
        return 0;
    if (life_ms < 1)
        return 1;
    return life_ms < LIFE_MAX_MS ? life_ms : LIFE_MAX_MS;
}

static void advance(struct store_browsing *one);

static void on_fields(void *arg, const redisReply *reply)
{
    struct store_browse_slot *slot = arg;

    slot->fields = NULL;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY)
        slot->has_record = store_record_read(reply, &slot->item.record);
    if (reply == NULL ||
        (reply->type != REDIS_REPLY_ARRAY && !is_wrong_type(reply)))
        end(slot->browsing, STORE_BROWSE_AWAY);
    else if (slot->life == NULL) /* in a cluster the ways may part */
        advance(slot->browsing);
}

static void on_life(void *arg, const redisReply *reply)
{
    struct store_browse_slot *slot = arg;

    slot->life = NULL;
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
        end(slot->browsing, STORE_BROWSE_AWAY);
        return;
    }
    slot->item.life_ms = life_of(reply->integer);
    if (slot->fields == NULL)
        advance(slot->browsing);
}

/* False when the link does not take it. */
static bool ask(struct store_browsing *one, struct store_browse_slot *slot,
                const struct store_browse_key *key)
{
    const struct store_browse *browse = one->browse;
    char name[STORE_BROWSE_START_MAX + STORE_KEY_MAX];
    const size_t len = browse->start_len + key->len;
    const char *argv[FIELDS_ARGC] = {"HMGET", name};
    size_t lens[FIELDS_ARGC] = {5, len};
    const char *life_argv[] = {"PTTL", name};
    const size_t life_lens[] = {4, len};

    memcpy(name, browse->start, browse->start_len);
    memcpy(name + browse->start_len, one->bytes + key->at, key->len);
    for (size_t i = 0; i < STORE_RECORD_COUNT; i++) {
        argv[2 + i] = store_record_names[i];
        lens[2 + i] = strlen(store_record_names[i]);
    }
    slot->fields = store_client_send(browse->client, FIELDS_ARGC, argv, lens,
                                     on_fields, slot);
    if (slot->fields == NULL)
        return false;
    slot->life = store_client_send(browse->client, 2, life_argv, life_lens,
                                   on_life, slot);
    return slot->life != NULL;
}

static bool is_wanted(const struct store_browsing *one,
                      const struct store_browse_key *key)
{
    const struct store_browse_walk *walk = &one->walk;
    const struct store_key name = {one->bytes + key->at, key->len};

    return key->len > 0 &&
           (walk->on_key == NULL || walk->on_key(walk->arg, name));
}

/* Asks for as many records as may be under way. */
static bool ask_more(struct store_browsing *one)
{
    while (one->asked < one->key_count &&
           one->asked - one->taken < STORE_BROWSE_WINDOW) {
        const struct store_browse_key *key = &one->keys[one->asked];
        struct store_browse_slot *slot =
            &one->slots[one->asked % STORE_BROWSE_WINDOW];

        slot->has_record = false;
        slot->item.key_len = key->len;
        memcpy(slot->item.key, one->bytes + key->at, key->len);
        one->asked++;
        if (is_wanted(one, key) && !ask(one, slot, key))
            return false;
    }
    return true;
}

static bool is_enough(const struct store_browsing *one)
{
    const struct store_browse_walk *walk = &one->walk;

    return one->rows + one->batch_rows >= walk->limit ||
           one->looked_at + one->batch_looked_at >= walk->budget;
}

static void take_one(struct store_browsing *one,
                     const struct store_browse_slot *slot)
{
    const struct store_browse_walk *walk = &one->walk;

    one->taken++;
    if (slot->item.key_len > 0)
        one->batch_looked_at++;
    if (slot->has_record && slot->item.life_ms > 0 &&
        walk->on_item(walk->arg, &slot->item))
        one->batch_rows++;
}

/* Gives on what has come. False when the batch does not fit, or is to be cut.
 */
static bool take(struct store_browsing *one)
{
    while (one->taken < one->asked) {
        const struct store_browse_slot *slot =
            &one->slots[one->taken % STORE_BROWSE_WINDOW];

        if (slot->fields != NULL || slot->life != NULL)
            return true;
        take_one(one, slot);
        if (one->may_cut ? one->taken < one->key_count && is_enough(one)
                         : one->rows + one->batch_rows > one->walk.limit)
            return false;
    }
    return true;
}

/* ---- batches ---- */

static void on_scanned(void *arg, const redisReply *reply);

static bool scan(struct store_browsing *one)
{
    const struct store_browse *browse = one->browse;
    char cursor[24];
    char count[16];
    const char *argv[] = {"SCAN",          cursor,  "MATCH",
                          browse->pattern, "COUNT", count};
    size_t lens[6];

    one->may_cut = one->count == 1 && one->rows == 0;
    one->scanned += one->count;
    snprintf(cursor, sizeof(cursor), "%" PRIu64, one->cursor);
    snprintf(count, sizeof(count), "%" PRIu32, one->count);
    for (size_t i = 0; i < 6; i++)
        lens[i] = strlen(argv[i]);
    one->call = store_client_send_to(browse->client, one->node, 6, argv, lens,
                                     on_scanned, one);
    return one->call != NULL;
}

static uint32_t clamp_count(size_t count)
{
    if (count < 1)
        return 1;
    return count < STORE_BROWSE_COUNT_MAX ? (uint32_t)count
                                          : STORE_BROWSE_COUNT_MAX;
}

static void scan_from(struct store_browsing *one, uint64_t cursor, size_t count)
{
    const size_t left = one->walk.budget - one->looked_at;

    store_browsing_drop_batch(one);
    one->cursor = cursor;
    one->count = clamp_count(count < left ? count : left);
    if (!scan(one))
        end(one, STORE_BROWSE_AWAY);
}

/* As many keys as are likely to fill half the room that is left, going by what
 * was taken of this batch. */
static size_t next_count(const struct store_browsing *one, size_t room)
{
    size_t looked = one->count;

    if (one->batch_rows == 0)
        return 2 * looked;
    if (looked < one->own_count)
        looked = one->own_count;
    if (room > STORE_BROWSE_COUNT_MAX)
        room = STORE_BROWSE_COUNT_MAX;
    looked = looked * one->batch_looked_at / one->own_count;
    return room * looked / (2 * one->batch_rows);
}

/* Whether there is anything behind this batch, on its node or on the next. */
static bool has_more(struct store_browsing *one)
{
    if (one->next_cursor != 0)
        return true;
    if (one->is_one || one->node == UINT32_MAX)
        return false;
    one->node++;
    return store_client_node(one->browse->client, &one->node);
}

/* All of it has been taken. */
static void go_on(struct store_browsing *one)
{
    settle(one, true);
    if (!has_more(one)) {
        end(one, STORE_BROWSE_DONE);
        return;
    }
    if (one->rows >= one->walk.limit || one->looked_at >= one->walk.budget ||
        one->scanned >= STORE_BROWSE_SCANNED_MAX) {
        end_at(one, STORE_BROWSE_MORE,
               (struct store_browse_place){.cursor = one->next_cursor,
                                           .node = one->node});
        return;
    }
    scan_from(one, one->next_cursor,
              next_count(one, one->walk.limit - one->rows));
}

static void cut(struct store_browsing *one)
{
    settle(one, true);
    end_at(one, STORE_BROWSE_MORE,
           (struct store_browse_place){.cursor = one->cursor,
                                       .node = one->node,
                                       .behind = one->keys[one->taken - 1].hash,
                                       .ahead = store_browsing_ahead(one)});
}

/* Forgets this batch. */
static void end_before(struct store_browsing *one)
{
    settle(one, false);
    end_at(
        one, STORE_BROWSE_MORE,
        (struct store_browse_place){.cursor = one->cursor, .node = one->node});
}

/* The batch is too long. There are no rows yet, so its count is more than 1:
 * else it would have been cut. */
static void shrink(struct store_browsing *one)
{
    const size_t half = one->count / 2;
    const size_t count = next_count(one, one->walk.limit - one->rows);

    settle(one, false);
    scan_from(one, one->cursor, count < half ? count : half);
}

static void advance(struct store_browsing *one)
{
    do {
        if (!ask_more(one)) {
            end(one, STORE_BROWSE_AWAY);
            return;
        }
        size_t before = one->taken;
        if (!take(one)) {
            if (one->may_cut)
                cut(one);
            else if (one->rows > 0)
                end_before(one);
            else
                shrink(one);
            return;
        }
        if (one->taken == before && one->taken < one->key_count)
            return;
    } while (one->taken < one->key_count);
    go_on(one);
}

static void on_scanned(void *arg, const redisReply *reply)
{
    struct store_browsing *one = arg;

    one->call = NULL;
    if (reply == NULL || !store_browsing_read_batch(one, reply))
        end(one, STORE_BROWSE_AWAY);
    else if (one->may_cut ||
             one->looked_at + one->own_count <= one->walk.budget)
        advance(one);
    else if (one->has_kept)
        end_before(one);
    else
        shrink(one);
}

/* ---- questions ---- */

/* What was looked at is of use if there is any. */
static void on_late(void *arg)
{
    struct store_browsing *one = arg;

    if (one->is_one)
        end(one, STORE_BROWSE_AWAY);
    else if (one->may_cut && one->batch_looked_at > 0)
        cut(one);
    else if (one->has_kept)
        end_before(one);
    else
        end(one, STORE_BROWSE_AWAY);
}

static void start_timer(const struct store_browsing *one, uint32_t timeout_ms)
{
    one->browse->loop->ops->timer_start(one->timer, timeout_ms);
}

/* Where the node of the place is gone, at the start of the one behind it. */
static void begin(struct store_browsing *one)
{
    struct store_browse_place *from = &one->walk.from;

    one->node = from->node;
    if (store_client_node(one->browse->client, &one->node) &&
        one->node != from->node)
        *from = (struct store_browse_place){.node = one->node};
    one->cursor = from->cursor;
}

struct store_browsing *store_browse_walk(struct store_browse *browse,
                                         const struct store_browse_walk *walk)
{
    struct store_browsing *one = store_browsing_new(browse, on_late);

    if (one == NULL)
        return NULL;
    one->walk = *walk;
    begin(one);
    /* What was cut can be told again only with the count it had. */
    one->count = one->walk.from.behind > 0 ? 1 : clamp_count(walk->count);
    if (!scan(one)) {
        store_browse_cancel(one);
        return NULL;
    }
    start_timer(one, walk->timeout_ms);
    return one;
}

struct store_browsing *store_browse_find(struct store_browse *browse,
                                         struct store_key key,
                                         const struct store_browse_walk *walk)
{
    struct store_browsing *one = store_browsing_new(browse, on_late);

    if (one == NULL)
        return NULL;
    one->walk = *walk;
    one->walk.on_key = NULL;
    one->walk.on_batch = NULL;
    one->walk.limit = SIZE_MAX;
    one->walk.budget = SIZE_MAX;
    one->is_one = true;
    one->keys = calloc(1, sizeof(*one->keys));
    one->bytes = malloc(STORE_KEY_MAX);
    if (one->keys != NULL && one->bytes != NULL && key.len > 0 &&
        key.len <= STORE_KEY_MAX) {
        memcpy(one->bytes, key.ptr, key.len);
        one->keys[0].len = (uint32_t)key.len;
        one->key_count = 1;
        if (ask_more(one)) {
            start_timer(one, walk->timeout_ms);
            return one;
        }
    }
    store_browse_cancel(one);
    return NULL;
}
