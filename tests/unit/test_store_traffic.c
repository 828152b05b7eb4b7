/* SPDX-License-Identifier: MIT */
/* What went through for a session, and the entries' ends. */
#include "tests/unit/store_fixture.h"

static const struct store_traffic piece = {
    .in_bytes = 10, .out_bytes = UINT32_MAX, .requests = 1};

static struct store_memory_item look(const char *sid)
{
    struct store_memory_item item = {.key_len = 0};

    cr_assert(store_memory_look(memory, key_of(sid), &item));
    return item;
}

static void expect_traffic(const struct store_memory_item *item, unsigned times)
{
    cr_expect_eq(item->traffic.in_bytes, times * piece.in_bytes);
    cr_expect_eq(item->traffic.out_bytes, times * piece.out_bytes);
    cr_expect_eq(item->traffic.requests, times * piece.requests);
}

Test(store_traffic, is_summed_over_renewals_and_rewrites)
{
    struct store_record record = record_of("n1");

    open_store(8);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    store_memory_account(memory, key_of("sid"), &piece, 0);
    store_memory_account(memory, key_of("sid"), &piece, 0);
    cr_assert(store_memory_renew(memory, key_of("sid"), &record, 100));
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    store_memory_account(memory, key_of("sid"), &piece, 0);
    struct store_memory_item item = look("sid");
    expect_traffic(&item, 3);
    cr_expect_eq(item.key_len, 3);
    cr_expect_arr_eq(item.key, "sid", 3);
    cr_expect_str_eq(item.record.backend, "n1");
    cr_expect_eq(item.life_ms, 100);
    close_store();
}

Test(store_traffic, is_not_that_of_another_session)
{
    open_store(8);
    store_memory_account(memory, key_of("sid"), &piece, 0); /* nobody's */
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    cr_assert_eq(put("other", "n1", NULL, 100), STORE_OK);
    store_memory_account(memory, key_of("other"), &piece, 0);
    struct store_memory_item item = look("sid");
    expect_traffic(&item, 0);
    store_memory_account(memory, key_of("sid"), &piece, 0);
    /* The same sid at another backend is another session. */
    cr_assert_eq(put("sid", "n2", "n1", 100), STORE_OK);
    item = look("sid");
    expect_traffic(&item, 0);
    close_store();
}

Test(store_traffic, a_walk_has_it)
{
    struct store_memory_walk walk = {.part = 0};
    struct store_memory_item items[16];
    size_t found = 0;

    open_store(8);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    store_memory_account(memory, key_of("sid"), &piece, 0);
    while (!walk.is_done) {
        size_t n =
            store_memory_collect(memory, &walk, STORE_MEMORY_ANY, items, 16);

        if (n > 0)
            expect_traffic(&items[0], 1);
        found += n;
    }
    cr_expect_eq(found, 1);
    close_store();
}

Test(store_traffic, what_is_taken_is_gone)
{
    struct store_memory_item item;

    open_store(8);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    store_memory_account(memory, key_of("sid"), &piece, 0);
    cr_expect_not(store_memory_take(memory, key_of("sid"), "n2", &item));
    cr_assert(store_memory_take(memory, key_of("sid"), "n1", &item));
    expect_traffic(&item, 1);
    cr_expect_str_eq(item.record.backend, "n1");
    cr_expect_not(store_memory_take(memory, key_of("sid"), NULL, &item));
    cr_expect_not(store_memory_look(memory, key_of("sid"), &item));
    cr_expect_eq(counts[1], 0);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    clock_ms += 100;
    cr_expect_not(store_memory_take(memory, key_of("sid"), NULL, &item));
    close_store();
}

Test(store_traffic, shows_when_it_was_seen)
{
    open_store(8);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    int64_t first_ms = look("sid").record.seen_ms;
    store_memory_account(memory, key_of("sid"), &piece, first_ms + 5);
    cr_expect_eq(look("sid").record.seen_ms, first_ms + 5);
    store_memory_account(memory, key_of("sid"), &piece, first_ms + 4);
    cr_expect_eq(look("sid").record.seen_ms, first_ms + 5);
    close_store();
}

/* ---- entries whose life is over ---- */

static unsigned expired;
static char expired_key[8];
static struct store_traffic expired_traffic;

static void on_expire(void *arg, struct store_key key,
                      const struct store_record *record,
                      const struct store_traffic *traffic)
{
    (void)arg;
    cr_assert_str_eq(record->backend, "n1");
    snprintf(expired_key, sizeof(expired_key), "%.*s", (int)key.len, key.ptr);
    expired_traffic = *traffic;
    expired++;
}

static void open_expiring(size_t max_entries, bool is_cache)
{
    const struct store_memory_options opts = {.max_entries = max_entries,
                                              .now_ms = read_clock,
                                              .on_expire = on_expire,
                                              .is_cache = is_cache};

    clock_ms = 1000;
    expired = 0;
    memory = store_memory_new(&opts);
    store = store_memory_client(memory);
}

Test(store_traffic, an_expiry_is_told_once)
{
    open_expiring(8, false);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    store_memory_account(memory, key_of("sid"), &piece, 0);
    clock_ms += 99;
    store_memory_expire(memory);
    cr_expect_eq(expired, 0);
    clock_ms += 1;
    store_memory_expire(memory);
    store_memory_expire(memory);
    cr_expect_eq(expired, 1);
    cr_expect_str_eq(expired_key, "sid");
    cr_expect_eq(expired_traffic.out_bytes, piece.out_bytes);
    close_store();
}

Test(store_traffic, other_ends_are_no_expiry)
{
    open_expiring(1, true);
    cr_assert_eq(put("a", "n1", NULL, 100), STORE_OK);
    cr_assert_eq(put("b", "n1", NULL, 100), STORE_OK); /* "a" is evicted */
    cr_expect_eq(store_memory_count(memory), 1);
    cr_assert(store_memory_drop(memory, key_of("b"), NULL));
    clock_ms += 1000;
    store_memory_expire(memory);
    cr_expect_eq(expired, 0);
    close_store();
}

/* ---- and those that give way to another backend's ---- */

static unsigned replaced;

static void on_replace(void *arg, struct store_key key,
                       const struct store_record *record,
                       const struct store_traffic *traffic)
{
    (void)arg;
    cr_assert_eq(key.len, 3);
    cr_assert_str_eq(record->backend, "n1");
    cr_assert_eq(traffic->in_bytes, piece.in_bytes);
    replaced++;
}

Test(store_traffic, a_takeover_is_told_once)
{
    const struct store_memory_options opts = {.max_entries = 8,
                                              .now_ms = read_clock,
                                              .on_expire = on_expire,
                                              .on_replace = on_replace};

    clock_ms = 1000;
    expired = 0;
    replaced = 0;
    memory = store_memory_new(&opts);
    store = store_memory_client(memory);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    store_memory_account(memory, key_of("sid"), &piece, 0);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    cr_assert_eq(put("sid", "n2", NULL, 100), STORE_CONFLICT);
    cr_expect_eq(replaced, 0);
    /* It outlives "old", whose part of the map it may be in. */
    cr_assert_eq(put("sid", "n2", "n1", 1000), STORE_OK);
    cr_expect_eq(replaced, 1);
    cr_assert_eq(put("old", "n1", NULL, 100), STORE_OK);
    clock_ms += 100;
    /* Its life was over: nobody took it over. */
    cr_assert_eq(put("old", "n3", NULL, 100), STORE_OK);
    cr_expect_eq(replaced, 1);
    cr_expect_eq(expired, 1);
    cr_expect_str_eq(expired_key, "old");
    close_store();
}

/* A session that goes over to websocket counts there from then on. */
static int websockets;

static void count_websockets(void *arg, const struct store_record *record,
                             int delta)
{
    (void)arg;
    if (record->transport == STORE_TRANSPORT_WEBSOCKET)
        websockets += delta;
}

Test(store_traffic, a_changed_transport_is_told)
{
    const struct store_memory_options opts = {
        .max_entries = 8, .now_ms = read_clock, .on_count = count_websockets};
    struct store_record record = record_of("n1");

    clock_ms = 1000;
    websockets = 0;
    memory = store_memory_new(&opts);
    store = store_memory_client(memory);
    cr_assert_eq(put("sid", "n1", NULL, 100), STORE_OK);
    cr_expect_eq(websockets, 0);
    record.transport = STORE_TRANSPORT_WEBSOCKET;
    cr_assert(store_memory_renew(memory, key_of("sid"), &record, 100));
    cr_expect_eq(websockets, 1);
    cr_assert(store_memory_renew(memory, key_of("sid"), &record, 100));
    cr_expect_eq(websockets, 1);
    cr_assert(store_memory_drop(memory, key_of("sid"), "n1"));
    cr_expect_eq(websockets, 0);
    close_store();
}
