/* SPDX-License-Identifier: MIT */
/* The embedded store as a whole: records, keys, lists, sizes, threads. */
#include "tests/unit/store_fixture.h"

#include <pthread.h>

Test(store_memory_map, record_comes_back_whole)
{
    struct store_record record = {
        .client = "2001:db8:1111:2222:3333:4444:5555:6666",
        .created_ms = 1,
        .seen_ms = 2,
        .ping_interval_ms = 3,
        .ping_timeout_ms = UINT32_MAX,
        .eio = 3,
        .transport = STORE_TRANSPORT_WEBSOCKET,
    };

    memset(record.backend, 'n', sizeof(record.backend) - 1);
    memset(record.gateway, 'g', sizeof(record.gateway) - 1);
    open_store(8);
    memset(counts, 0, sizeof(counts));
    record.backend[1] = '0'; /* where the counter looks */
    store_put(store, &request, key_of("sid"), &record, NULL, 100);
    cr_assert_eq(get("sid"), STORE_OK);
    cr_expect_arr_eq(&result.record, &record, sizeof(record));
    close_store();
}

Test(store_memory_map, put_refreshes_the_whole_record)
{
    struct store_record record = record_of("n1");

    open_store(8);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    snprintf(record.client, sizeof(record.client), "%s", "2001:db8::1");
    snprintf(record.gateway, sizeof(record.gateway), "%s", "gw-b");
    record.created_ms = 5;
    store_put(store, &request, key_of("sid"), &record, NULL, 100);
    cr_assert_eq(get("sid"), STORE_OK);
    cr_expect_arr_eq(&result.record, &record, sizeof(record));
    close_store();
}

Test(store_memory_map, touch_changes_only_what_it_should)
{
    struct store_record record = record_of("n1");
    struct store_record want = record;

    open_store(8);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    record.seen_ms = want.seen_ms = 77;
    record.transport = want.transport = STORE_TRANSPORT_WEBSOCKET;
    record.created_ms = 99;
    snprintf(record.client, sizeof(record.client), "%s", "198.51.100.1");
    snprintf(record.gateway, sizeof(record.gateway), "%s", "gw-b");
    want = with_gateway(want, "gw-b");
    store_touch(store, &request, key_of("sid"), &record, 100);
    cr_assert_eq(result.status, STORE_OK);
    cr_assert_eq(get("sid"), STORE_OK);
    cr_expect_arr_eq(&result.record, &want, sizeof(want));
    cr_expect_eq(gateway_counts[1], 0);
    cr_expect_eq(gateway_counts[2], 1);

    memset(record.gateway, 0, sizeof(record.gateway));
    store_touch(store, &request, key_of("sid"), &record, 100);
    cr_assert_eq(get("sid"), STORE_OK);
    cr_expect_arr_eq(&result.record, &want, sizeof(want));
    cr_expect_eq(counts[1], 1);
    cr_expect_eq(gateway_counts[2], 1);
    close_store();
}

Test(store_memory_map, put_counts_a_changed_gateway)
{
    struct store_record record = with_gateway(record_of("n1"), "gw-b");

    open_store(8);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    cr_expect_eq(gateway_counts[1], 1);
    store_put(store, &request, key_of("sid"), &record, NULL, 100);
    cr_expect_eq(counts[1], 1);
    cr_expect_eq(gateway_counts[1], 0);
    cr_expect_eq(gateway_counts[2], 1);
    close_store();
}

static char told[256];

static void tell_client(void *arg, const struct store_record *record, int delta)
{
    size_t len = strlen(told);

    (void)arg;
    snprintf(told + len, sizeof(told) - len, "%+d [%s] ", delta,
             record->client);
}

#define LONGEST "2001:0db8:1111:2222:3333:4444:255.255.255.255+1"

/* The client's text is told whole, and nothing of the key before it. */
Test(store_memory_map, puts_tell_of_a_changed_client)
{
    static const struct {
        const char *client;
        const char *told;
    } puts[] = {
        {"203.0.113.7", "+1 [203.0.113.7] "},
        {"203.0.113.7", ""},
        {"203.0.113.8", "-1 [203.0.113.7] +1 [203.0.113.8] "},
        {"203.0.113.88", "-1 [203.0.113.8] +1 [203.0.113.88] "},
        {"203.0.113.8", "-1 [203.0.113.88] +1 [203.0.113.8] "},
        {"", "-1 [203.0.113.8] +1 [] "},
        {LONGEST, "-1 [] +1 [" LONGEST "] "},
    };
    const struct store_memory_options opts = {
        .max_entries = 8, .now_ms = read_clock, .on_count = tell_client};

    cr_assert_eq(sizeof(LONGEST), STORE_CLIENT_MAX);
    memory = store_memory_new(&opts);
    store = store_memory_client(memory);
    for (size_t i = 0; i < sizeof(puts) / sizeof(puts[0]); i++) {
        struct store_record record =
            with_client(record_of("n1"), puts[i].client);

        told[0] = '\0';
        store_put(store, &request, key_of("sid"), &record, NULL, 100);
        cr_expect_str_eq(told, puts[i].told, "put %zu: %s", i, told);
    }
    told[0] = '\0';
    store_remove(store, &request, key_of("sid"), "n1", NULL);
    cr_expect_str_eq(told, "-1 [" LONGEST "] ");
    close_store();
}

/* Keys that only a comparison of all bytes tells apart. */
Test(store_memory_map, keys_are_bytes)
{
    static const char bytes[] = "a\0b\0c\0d";
    static char longest[STORE_KEY_MAX + 1];
    struct store_record record = record_of("n1");
    const struct {
        struct store_key key;
        enum store_status status;
    } keys[] = {
        {{bytes, 1}, STORE_OK},
        {{bytes, 2}, STORE_OK},
        {{bytes, 3}, STORE_OK},
        {{bytes, 7}, STORE_OK},
        {{bytes + 1, 1}, STORE_OK},
        {{"\xff\xfe\r\n", 4}, STORE_OK},
        {{longest, STORE_KEY_MAX}, STORE_OK},
        {{longest, STORE_KEY_MAX + 1}, STORE_UNAVAILABLE},
        {{longest, 0}, STORE_UNAVAILABLE},
    };

    open_store(100);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        result = (struct result){0};
        record.created_ms = (int64_t)i;
        store_put(store, &request, keys[i].key, &record, NULL, 100);
        cr_expect_eq(result.status, keys[i].status, "key %zu", i);
    }
    for (size_t i = 0; i < 7; i++) {
        store_get(store, &request, keys[i].key);
        cr_expect_eq(result.status, STORE_OK, "key %zu", i);
        cr_expect_eq(result.record.created_ms, (int64_t)i, "key %zu", i);
    }
    cr_expect_eq(store_memory_count(memory), 7);
    close_store();
}

struct listing {
    size_t calls;
    size_t stop_after;
    bool has_seen[200];
};

static bool list_one(void *arg, struct store_key key,
                     const struct store_record *record, int64_t life_ms)
{
    struct listing *listing = arg;
    unsigned number = 0;

    listing->calls++;
    for (size_t i = 0; i < key.len; i++)
        number = number * 10 + (unsigned)(key.ptr[i] - '0');
    cr_expect_lt(number, 200);
    cr_expect_not(listing->has_seen[number]);
    listing->has_seen[number] = true;
    cr_expect_str_eq(record->backend, "n1");
    cr_expect_str_eq(record->client, "203.0.113.7");
    cr_expect_eq(life_ms, number % 2 == 0 ? 100 : 200);
    return listing->calls != listing->stop_after;
}

static void put_numbers(unsigned end)
{
    for (unsigned i = 0; i < end; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%u", i);
        cr_assert_eq(put(key, "n1", NULL, i % 2 == 0 ? 200 : 300), STORE_OK);
    }
}

Test(store_memory_map, list_gives_each_live_entry_once)
{
    struct listing listing = {0};

    open_store(1000);
    put_numbers(200);
    cr_assert_eq(put("0", "n1", NULL, 50), STORE_OK);
    clock_ms += 100;
    store_memory_list(memory, list_one, &listing);
    cr_expect_eq(listing.calls, 199);
    cr_expect_not(listing.has_seen[0]);
    close_store();
}

Test(store_memory_map, list_stops_when_told)
{
    struct listing listing = {.stop_after = 3};

    open_store(1000);
    put_numbers(200);
    clock_ms += 100;
    store_memory_list(memory, list_one, &listing);
    cr_expect_eq(listing.calls, 3);
    close_store();
}

Test(store_memory_map, clear_leaves_nothing)
{
    open_store(1000);
    put_numbers(200);
    cr_assert_eq(put("x", "n2", NULL, 10), STORE_OK);
    store_memory_clear(memory);
    cr_expect_eq(store_memory_count(memory), 0);
    cr_expect_eq(counts[1], 0);
    cr_expect_eq(counts[2], 0);
    cr_expect_eq(get("7"), STORE_NOT_FOUND);
    cr_expect_eq(put("7", "n3", NULL, 10), STORE_OK);
    cr_expect_eq(counts[3], 1);
    close_store();
}

/* Grows and shrinks the tables through many sizes; removal in an order that
 * has nothing to do with that of expiry. */
Test(store_memory_map, many_entries_come_and_go)
{
    enum { MANY = 50000 };

    open_store(MANY);
    put_numbers(MANY);
    cr_expect_eq(put("one more", "n1", NULL, 10), STORE_FULL);
    for (unsigned i = 0; i < MANY; i++) {
        unsigned number = (unsigned)((i * 7919U) % MANY);
        char key[16];

        snprintf(key, sizeof(key), "%u", number);
        cr_assert_eq(get(key), STORE_OK, "%s", key);
        if (number % 3 != 0)
            continue;
        store_remove(store, &request, key_of(key), "n1", NULL);
        cr_assert_eq(result.status, STORE_OK, "%s", key);
    }
    cr_expect_eq(store_memory_count(memory), MANY - (MANY + 2) / 3);

    size_t freed = 0;
    size_t now;
    clock_ms += 200; /* the even ones expire */
    while ((now = store_memory_expire(memory)) > 0) {
        cr_expect_leq(now, 4096);
        freed += now;
    }
    cr_expect_eq(freed, MANY / 2 - (MANY / 2 + 2) / 3);
    for (unsigned i = 0; i < MANY; i++) {
        char key[16];

        snprintf(key, sizeof(key), "%u", i);
        cr_assert_eq(get(key) == STORE_OK, i % 2 == 1 && i % 3 != 0, "%s", key);
    }
    cr_expect_eq((size_t)counts[1], store_memory_count(memory));
    close_store();
}

/* A shard whose entries all expired frees them as new ones come. */
Test(store_memory_map, puts_free_expired_entries)
{
    char key[16];

    open_store(100000);
    put_numbers(10000);
    clock_ms += 1000;
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(key, sizeof(key), "new %u", i);
        cr_assert_eq(put(key, "n2", NULL, 100), STORE_OK);
    }
    cr_expect_eq(counts[2], 10000);
    cr_expect_lt(counts[1], 500, "%d are left", counts[1]);
    close_store();
}

/* `done` may use its request again at once. */
static void put_next(struct store_request *self, enum store_status status,
                     const struct store_record *record, int64_t life_ms)
{
    int *left = self->arg;
    struct store_record next = record_of("n1");
    char key[16];

    (void)record;
    (void)life_ms;
    cr_expect_eq(status, STORE_OK);
    if (--*left == 0)
        return;
    snprintf(key, sizeof(key), "%d", *left);
    store_put(store, self, key_of(key), &next, NULL, 100);
}

Test(store_memory_map, done_may_start_the_next_request)
{
    int left = 50;
    struct store_request self = {.done = put_next, .arg = &left};
    struct store_record record = record_of("n1");

    open_store(100);
    store_put(store, &self, key_of("first"), &record, NULL, 100);
    cr_expect_eq(left, 0);
    cr_expect_eq(store_memory_count(memory), 50);
    store_cancel(store, &self);
    close_store();
}

/* Threads that fight over few keys under a low bound: whatever they do, the
 * counts must add up. */
static void *hammer(void *arg)
{
    struct store *mine = store_memory_client(memory);
    struct result got = {0};
    struct store_request self = {.done = on_done, .arg = &got};
    unsigned seed = *(const unsigned *)arg;

    for (int i = 0; i < 20000; i++) {
        char key[16];
        char backend[] = {'n', (char)('0' + seed % BACKENDS), '\0'};
        struct store_record record = record_of(backend);

        seed = seed * 1103515245U + 12345U;
        snprintf(key, sizeof(key), "%u", (seed >> 8) % 300);
        switch ((seed >> 20) % 8) {
        case 0:
            store_get(mine, &self, key_of(key));
            break;
        case 1:
            store_touch(mine, &self, key_of(key), &record, 20);
            break;
        case 2:
            store_remove(mine, &self, key_of(key), backend, NULL);
            break;
        case 3:
            store_put(mine, &self, key_of(key), &record, "n1", 20);
            break;
        case 4:
            store_memory_expire(memory);
            clock_ms++;
            break;
        default:
            store_put(mine, &self, key_of(key), &record, NULL, 30);
        }
    }
    store_close(mine);
    return NULL;
}

Test(store_memory_map, threads_keep_the_counts_right)
{
    unsigned seeds[4] = {1, 2, 3, 4};
    pthread_t threads[4];
    int sum = 0;

    open_store(100);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, hammer, &seeds[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < BACKENDS; i++) {
        cr_expect_geq(counts[i], 0);
        sum += counts[i];
    }
    cr_expect_eq((size_t)sum, store_memory_count(memory));
    cr_expect_leq(store_memory_count(memory), 100);
    clock_ms += 1000;
    while (store_memory_expire(memory) > 0)
        continue;
    cr_expect_eq(store_memory_count(memory), 0);
    for (size_t i = 0; i < BACKENDS; i++)
        cr_expect_eq(counts[i], 0);
    close_store();
}
