/* SPDX-License-Identifier: MIT */
/* The memory map as a cache: single calls, the bound, walks. */
#include "tests/unit/store_fixture.h"

#include "store/shard.h"

#include <stddef.h>
#include <stdlib.h>

static bool set(const char *key, const char *backend, int64_t life_ms,
                uint8_t mark)
{
    struct store_record record = record_of(backend);

    return store_memory_set(memory, key_of(key), &record, life_ms, mark);
}

static struct store_record found;
static int64_t found_life_ms;

static bool find(const char *key)
{
    return store_memory_find(memory, key_of(key), &found, &found_life_ms);
}

/* The keys that one whole walk for `mark` gives, as a sorted text such as
 * "a b". */
static const char *collected(uint8_t mark)
{
    static char text[64];
    struct store_memory_walk walk = {0};
    struct store_memory_item item;
    bool is_there[256] = {false};
    size_t len = 0;

    while (!walk.is_done) {
        if (store_memory_collect(memory, &walk, mark, &item, 1) == 0)
            continue;
        cr_expect_eq(item.key_len, 1);
        cr_expect_not(is_there[(unsigned char)item.key[0]]);
        is_there[(unsigned char)item.key[0]] = true;
    }
    for (int i = 0; i < 256; i++) {
        if (!is_there[i])
            continue;
        text[len++] = (char)i;
        text[len++] = ' ';
    }
    text[len > 0 ? len - 1 : 0] = '\0';
    return text;
}

Test(store_cache, set_binds_whatever_was_there)
{
    struct store_record record = with_gateway(record_of("n2"), "gw-b");

    open_map(8, true);
    cr_expect(set("a", "n1", 100, 0));
    cr_expect(find("a"));
    cr_expect_str_eq(found.backend, "n1");
    cr_expect_eq(found_life_ms, 100);
    cr_expect(store_memory_set(memory, key_of("a"), &record, 50, 3));
    cr_expect(find("a"));
    cr_expect_arr_eq(&found, &record, sizeof(record));
    cr_expect_eq(found_life_ms, 50);
    cr_expect_eq(counts[1], 0);
    cr_expect_eq(counts[2], 1);
    cr_expect_eq(gateway_counts[1], 0);
    cr_expect_eq(gateway_counts[2], 1);
    cr_expect_eq(store_memory_count(memory), 1);
    cr_expect_eq(get("a"), STORE_OK);
    cr_expect_str_eq(result.record.backend, "n2");
    close_store();
}

Test(store_cache, set_refuses_what_is_no_key)
{
    static const char longest[STORE_KEY_MAX + 1];
    struct store_record record = record_of("n1");
    struct store_key key = {longest, 0};

    open_map(8, true);
    cr_expect_not(store_memory_set(memory, key, &record, 50, 0));
    key.len = STORE_KEY_MAX + 1;
    cr_expect_not(store_memory_set(memory, key, &record, 50, 0));
    key.len = STORE_KEY_MAX;
    cr_expect(store_memory_set(memory, key, &record, 50, 0));
    cr_expect_eq(store_memory_count(memory), 1);
    close_store();
}

Test(store_cache, find_drop_and_renew_want_a_live_entry)
{
    struct store_record record = with_gateway(record_of("n1"), "gw-c");

    open_map(8, true);
    cr_expect_not(find("a"));
    cr_expect_not(store_memory_drop(memory, key_of("a"), NULL));
    cr_expect_not(store_memory_renew(memory, key_of("a"), &record, 100));
    store_memory_mark(memory, key_of("a"), 1);
    cr_expect_eq(store_memory_count(memory), 0);

    cr_expect(set("a", "n1", 100, 0));
    clock_ms += 100;
    cr_expect_not(find("a"));
    cr_expect_not(store_memory_drop(memory, key_of("a"), NULL));
    cr_expect_not(store_memory_renew(memory, key_of("a"), &record, 100));
    cr_expect_str_eq(collected(1), "");
    close_store();
}

Test(store_cache, renew_is_for_the_owner)
{
    struct store_record record = with_gateway(record_of("n1"), "gw-c");

    open_map(8, true);
    cr_expect(set("a", "n1", 100, 4));
    record.transport = STORE_TRANSPORT_WEBSOCKET;
    record.seen_ms = 5;
    record.created_ms = 6;
    cr_expect(store_memory_renew(memory, key_of("a"), &record, 300));
    cr_expect(find("a"));
    cr_expect_eq(found_life_ms, 300);
    cr_expect_eq(found.seen_ms, 5);
    cr_expect_eq(found.transport, STORE_TRANSPORT_WEBSOCKET);
    cr_expect_eq(found.created_ms, 1700000000000);
    cr_expect_str_eq(found.gateway, "gw-c");
    cr_expect_eq(gateway_counts[1], 0);
    cr_expect_eq(gateway_counts[3], 1);
    cr_expect_str_eq(collected(4), "", "renewing has changed the mark");

    record = with_gateway(record_of("n2"), "gw-b");
    cr_expect_not(store_memory_renew(memory, key_of("a"), &record, 900));
    cr_expect(find("a"));
    cr_expect_eq(found_life_ms, 300);
    cr_expect_str_eq(found.gateway, "gw-c");
    close_store();
}

Test(store_cache, drop_compares)
{
    open_map(8, true);
    cr_expect(set("a", "n1", 100, 0));
    cr_expect(set("b", "n2", 100, 0));
    cr_expect_not(store_memory_drop(memory, key_of("a"), "n2"));
    cr_expect(find("a"));
    cr_expect(store_memory_drop(memory, key_of("a"), "n1"));
    cr_expect_not(find("a"));
    cr_expect(store_memory_drop(memory, key_of("b"), NULL));
    cr_expect_not(find("b"));
    cr_expect_eq(store_memory_count(memory), 0);
    cr_expect_eq(counts[1], 0);
    cr_expect_eq(gateway_counts[1], 0);
    close_store();
}

Test(store_cache, marks_say_what_a_walk_gives)
{
    open_map(8, true);
    cr_expect(set("a", "n1", 100, 0));
    cr_expect(set("b", "n1", 100, 1));
    cr_expect(set("c", "n1", 50, 2));
    cr_expect_eq(put("d", "n1", NULL, 100), STORE_OK);
    cr_expect_str_eq(collected(0), "b c");
    cr_expect_str_eq(collected(1), "a c d");
    cr_expect_str_eq(collected(9), "a b c d");
    store_memory_mark(memory, key_of("a"), 1);
    clock_ms += 50;
    cr_expect_str_eq(collected(1), "d");
    cr_expect(set("b", "n1", 100, UINT8_MAX));
    cr_expect_str_eq(collected(1), "b d");
    cr_expect_str_eq(collected(UINT8_MAX), "a d");
    close_store();
}

/* A map that is no cache stays within its bound, whoever asks. */
Test(store_cache, set_at_the_bound_of_a_store)
{
    open_map(2, false);
    cr_expect(set("a", "n1", 100, 0));
    cr_expect(set("b", "n1", 200, 0));
    cr_expect_not(set("c", "n1", 300, 0));
    cr_expect(set("a", "n2", 100, 0));
    clock_ms += 100;
    cr_expect(set("c", "n3", 300, 0));
    cr_expect_not(find("a"));
    cr_expect_eq(store_memory_count(memory), 2);
    close_store();
}

Test(store_cache, at_its_bound_a_cache_takes_what_is_new)
{
    char key[16];

    open_map(100, true);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "%u", i);
        if (i % 2 == 0)
            cr_assert(set(key, "n1", 1000, 0));
        else
            cr_assert_eq(put(key, "n2", NULL, 1000), STORE_OK);
        cr_assert(find(key));
        cr_assert_leq(store_memory_count(memory), 100);
        clock_ms++;
    }
    cr_expect_eq(store_memory_count(memory), 100);
    cr_expect_eq(counts[1] + counts[2], 100);
    close_store();
}

/* With room for one, the other shards' entry has to go. */
Test(store_cache, the_smallest_cache)
{
    char key[16];

    open_map(1, true);
    for (unsigned i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "%u", i);
        cr_assert(set(key, "n1", 1000, 0));
        cr_assert(find(key));
        cr_assert_eq(store_memory_count(memory), 1);
        cr_assert_eq(counts[1], 1);
    }
    close_store();
}

/* ---- Walks over many entries ---- */

enum { MANY = 20000 };

static unsigned times_met[MANY];

static void set_many(unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%u", i);
        cr_assert(set(key, "n1", 100000, 1));
    }
}

static size_t walk_on(struct store_memory_walk *walk, uint8_t mark, size_t max)
{
    static struct store_memory_item items[300];
    size_t count = store_memory_collect(memory, walk, mark, items, max);

    cr_assert_leq(count, max);
    for (size_t i = 0; i < count; i++) {
        unsigned long number;

        cr_assert_lt(items[i].key_len, STORE_KEY_MAX);
        items[i].key[items[i].key_len] = '\0';
        number = strtoul(items[i].key, NULL, 10);
        cr_assert_lt(number, MANY);
        times_met[number]++;
        cr_expect_str_eq(items[i].record.backend, "n1");
        cr_expect_str_eq(items[i].record.client, "203.0.113.7");
        cr_expect_gt(items[i].life_ms, 0);
    }
    return count;
}

Test(store_cache, a_walk_meets_each_entry_once)
{
    static const size_t sizes[] = {1, 7, 300};

    open_map(MANY, true);
    set_many(0, MANY);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct store_memory_walk walk = {0};

        memset(times_met, 0, sizeof(times_met));
        while (!walk.is_done)
            walk_on(&walk, 0, sizes[i]);
        for (size_t j = 0; j < MANY; j++)
            cr_assert_eq(times_met[j], 1, "%zu: %u times", j, times_met[j]);
        cr_expect_eq(walk_on(&walk, 0, 1), 0);
        cr_expect(walk.is_done);
    }
    close_store();
}

/* What has its mark already costs a look: a call that finds nothing ends all
 * the same. */
Test(store_cache, a_call_looks_at_a_bounded_number)
{
    struct store_memory_walk walk = {0};
    size_t calls = 0;

    open_map(MANY, true);
    set_many(0, MANY);
    for (; !walk.is_done; calls++)
        cr_assert_eq(walk_on(&walk, 1, 300), 0);
    cr_expect_gt(calls, MANY / 4096, "%zu calls", calls);
    cr_expect_leq(calls, 5 * MANY / 4096, "%zu calls", calls);
    close_store();
}

enum { FIRST = 2000, GROWTH = 100 };

/* One walk, while the tables grow to many times their size and entries are
 * renewed. */
static void walk_growing_map(void)
{
    struct store_memory_walk walk = {0};
    struct store_record record = record_of("n1");
    unsigned added = FIRST;

    open_map(MANY, true);
    set_many(0, added);
    memset(times_met, 0, sizeof(times_met));
    while (!walk.is_done) {
        walk_on(&walk, 0, 16);
        for (unsigned i = 0; i < 10; i++) {
            char key[16];

            snprintf(key, sizeof(key), "%d", rand() % FIRST);
            store_memory_renew(memory, key_of(key), &record,
                               1000 + rand() % 90000);
        }
        if (added + GROWTH <= MANY) {
            set_many(added, added + GROWTH);
            added += GROWTH;
        }
    }
    close_store();
}

/* Entries that were there before a walk are met in it. */
Test(store_cache, a_walk_misses_nothing_while_the_map_grows)
{
    for (int round = 0; round < 10; round++) {
        walk_growing_map();
        for (size_t i = 0; i < FIRST; i++)
            cr_assert_geq(times_met[i], 1, "%zu is missed", i);
    }
}

Test(store_cache, an_empty_map_is_walked_at_once)
{
    struct store_memory_walk walk = {0};

    open_map(8, true);
    cr_expect_eq(walk_on(&walk, 0, 1), 0);
    cr_expect(walk.is_done);
    close_store();
}

/* The mark takes one byte of the entry and no padding. */
Test(store_cache, entries_are_compact)
{
    cr_expect_eq(offsetof(struct store_entry, bytes), 90);
}
