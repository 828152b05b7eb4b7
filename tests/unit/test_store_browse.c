/* SPDX-License-Identifier: MIT */
/* The sessions in a real Redis, as operators see them. */
#include "store/browse.h"
#include "tests/unit/redis_fixture.h"

enum { SEEN_MAX = 4000 };

static struct store_browse *browse;
static char seen[SEEN_MAX][16]; /* keys, in their order */
static size_t seen_count;
static size_t kept_count;
static bool (*is_row)(const struct store_browse_item *item); /* NULL: each */
static bool is_over;
static struct store_browse_result result;
static struct store_browse_item last;
static int64_t receivers;

static bool take_item(void *arg, const struct store_browse_item *item)
{
    (void)arg;
    if (is_row != NULL && !is_row(item))
        return false;
    cr_assert_lt(seen_count, SEEN_MAX);
    last = *item;
    snprintf(seen[seen_count++], sizeof(seen[0]), "%.*s", (int)item->key_len,
             item->key);
    return true;
}

static void take_batch(void *arg, bool is_kept)
{
    (void)arg;
    if (is_kept)
        kept_count = seen_count;
    else
        seen_count = kept_count;
}

static void take_end(void *arg, const struct store_browse_result *what)
{
    (void)arg;
    result = *what;
    is_over = true;
}

static void take_receivers(void *arg, int64_t count)
{
    (void)arg;
    receivers = count;
    is_over = true;
}

static bool has_ended(void *arg)
{
    (void)arg;
    return is_over;
}

static bool is_browse_up(void *arg)
{
    return store_browse_is_up(arg);
}

static struct store_browse_walk walk = {.limit = SIZE_MAX,
                                        .count = 10,
                                        .budget = SIZE_MAX,
                                        .timeout_ms = LIMIT_MS,
                                        .on_item = take_item,
                                        .on_batch = take_batch,
                                        .on_end = take_end};

static void await_end(void)
{
    cr_assert(poll_loop_until(loop, has_ended, NULL, LIMIT_MS));
    is_over = false;
}

static void go(struct store_browse_place from)
{
    const size_t before = seen_count;

    walk.from = from;
    kept_count = seen_count;
    cr_assert_not_null(store_browse_walk(browse, &walk));
    cr_assert_not(is_over);
    await_end();
    cr_expect_eq(seen_count, kept_count);
    cr_expect_leq(seen_count - before, walk.limit);
}

/* From the start, page by page. */
static void go_through(void (*between)(unsigned page))
{
    struct store_browse_place place = {0};

    for (unsigned page = 0; page < SEEN_MAX; page++) {
        go(place);
        place = result.place;
        if (result.end != STORE_BROWSE_MORE)
            break;
        if (between != NULL)
            between(page);
    }
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
}

static void find(const char *key)
{
    cr_assert_not_null(
        store_browse_find(browse, (struct store_key){key, strlen(key)}, &walk));
    await_end();
}

static void open_browse(const char *prefix, uint32_t timeout_ms)
{
    const struct store_browse_options options = {
        .loop = poll_loop_hooks(loop),
        .url = &server.url,
        .prefix = prefix,
        .name = "test",
        .timeout_ms = timeout_ms,
        .on_state = on_state,
        .on_error = on_error,
    };

    browse = store_browse_new(&options);
    cr_assert_not_null(browse);
    cr_assert(poll_loop_until(loop, is_browse_up, browse, LIMIT_MS), "%s",
              last_why);
}

static void begin(void)
{
    open_server();
    open_browse("sidgate", TIMEOUT_MS);
}

static void end(void)
{
    store_browse_free(browse);
    close_all();
}

static void fill(const char *prefix, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        redis_server_do(&server, "HSET %s:session:s%u backend n%u", prefix, i,
                        i % 3);
        redis_server_do(&server, "PEXPIRE %s:session:s%u 90000", prefix, i);
    }
}

static unsigned times_of(unsigned number)
{
    char key[16];
    unsigned times = 0;

    snprintf(key, sizeof(key), "s%u", number);
    for (size_t i = 0; i < seen_count; i++)
        times += strcmp(seen[i], key) == 0 ? 1 : 0;
    return times;
}

/* s0 to s(count-1), each once. */
static void expect_all(unsigned count)
{
    cr_expect_eq(seen_count, count);
    for (unsigned i = 0; i < count; i++)
        cr_expect_eq(times_of(i), 1, "s%u came %u times", i, times_of(i));
}

TestSuite(store_browse, .init = begin, .fini = end, .timeout = 60);

Test(store_browse, nothing)
{
    go((struct store_browse_place){0});
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
    cr_expect_eq(result.looked_at, 0);
    cr_expect_eq(seen_count, 0);
}

Test(store_browse, all_at_once)
{
    fill("sidgate", 500);
    go((struct store_browse_place){0});
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
    cr_expect_eq(result.looked_at, 500);
    expect_all(500);
    cr_expect_eq(error_count, 0);
}

Test(store_browse, a_few_at_a_time)
{
    static const size_t limits[] = {1, 2, 7, 50};

    fill("sidgate", 300);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        seen_count = 0;
        walk.limit = limits[i];
        walk.count = limits[i] == 7 ? 1000 : (uint32_t)limits[i];
        go_through(NULL);
        expect_all(300);
    }
}

static bool is_third(const struct store_browse_item *item)
{
    return strcmp(item->record.backend, "n1") == 0;
}

Test(store_browse, a_few_of_those_that_are_rows)
{
    fill("sidgate", 300);
    is_row = is_third;
    walk.limit = 3;
    walk.count = 500;
    go_through(NULL);
    cr_expect_eq(seen_count, 100);
    for (unsigned i = 1; i < 300; i += 3)
        cr_expect_eq(times_of(i), 1);
}

Test(store_browse, pages_are_nearly_full)
{
    unsigned pages = 0;
    struct store_browse_place place = {0};

    fill("sidgate", 500);
    walk.limit = 50;
    walk.count = 25;
    do {
        go(place);
        place = result.place;
        pages++;
    } while (result.end == STORE_BROWSE_MORE);
    expect_all(500);
    cr_expect_leq(pages, 14);
}

/* Keys that others come and go with. */
static void put_others(unsigned count)
{
    redis_server_do(&server, "EVAL %s 0 %u",
                    "for i = 1, ARGV[1] do "
                    "redis.call('SET', 'other:' .. i, i) end",
                    count);
}

static void drop_others(void)
{
    redis_server_do(&server, "EVAL %s 0",
                    "for _, key in ipairs(redis.call('KEYS', 'other:*')) do "
                    "redis.call('DEL', key) end");
}

static bool is_table_small(void)
{
    return redis_server_number(
               &server, "EVAL %s 0",
               "local all = redis.call('MEMORY', 'STATS') "
               "for i = 1, #all, 2 do if all[i] == 'db.0' then "
               "for j = 1, #all[i + 1], 2 do "
               "if all[i + 1][j] == 'overhead.hashtable.main' then "
               "return all[i + 1][j + 1] end end end end return -1") < 24000;
}

static void await_small_table(void)
{
    const int turn_ms = 5;

    for (int ms = 0; ms < LIMIT_MS && !is_table_small(); ms += turn_ms)
        poll_loop_turn(loop, turn_ms);
    cr_assert(is_table_small());
}

/* The table of Redis grows, grows again and shrinks. */
static void change_table(unsigned page)
{
    switch (page % 5) {
    case 1:
        put_others(300);
        break;
    case 2:
        put_others(4000);
        break;
    case 4:
        drop_others();
        await_small_table();
        break;
    default:
        break;
    }
    redis_server_do(&server, "DEL sidgate:session:t%u", page);
}

Test(store_browse, while_the_table_changes)
{
    for (unsigned i = 0; i < 50; i++)
        redis_server_do(&server, "HSET sidgate:session:t%u backend n1", i);
    fill("sidgate", 150);
    redis_server_do(&server, "CONFIG SET hz 200");
    walk.limit = 3;
    walk.count = 1;
    for (int round = 0; round < 3; round++) {
        seen_count = 0;
        go_through(change_table);
        for (unsigned i = 0; i < 150; i++)
            cr_expect_geq(times_of(i), 1, "s%u is missing", i);
        walk.limit += 4;
        walk.count += 9;
    }
}

Test(store_browse, as_many_as_the_budget_lets)
{
    struct store_browse_place place = {0};

    fill("sidgate", 200);
    walk.budget = 33;
    do {
        go(place);
        place = result.place;
        cr_expect_leq(result.looked_at, 33);
    } while (result.end == STORE_BROWSE_MORE);
    expect_all(200);
    seen_count = 0;
    walk.budget = 1;
    go_through(NULL);
    expect_all(200);
}

static bool is_even(void *arg, struct store_key key)
{
    (void)arg;
    return (key.ptr[key.len - 1] - '0') % 2 == 0;
}

Test(store_browse, those_that_are_wanted)
{
    fill("sidgate", 100);
    walk.on_key = is_even;
    go((struct store_browse_place){0});
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
    cr_expect_eq(result.looked_at, 100);
    cr_expect_eq(seen_count, 50);
}

Test(store_browse, passes_over_what_is_none)
{
    char key[300];

    fill("sidgate", 3);
    redis_server_do(&server, "SET sidgate:session:string x");
    redis_server_do(&server, "SADD sidgate:session:set x");
    redis_server_do(&server, "HSET sidgate:session:junk client c");
    redis_server_do(&server, "HSET sidgate:session: backend n1");
    redis_server_do(&server, "HSET sidgateXsession:a backend n1");
    redis_server_do(&server, "HSET other:session:a backend n1");
    memset(key, 'k', sizeof(key));
    memcpy(key, "sidgate:session:", 16);
    redis_server_do(&server, "HSET %b backend n1", key,
                    (size_t)(16 + STORE_KEY_MAX + 1));
    go((struct store_browse_place){0});
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
    expect_all(3);
    redis_server_do(&server, "HSET %b backend n1", key,
                    (size_t)(16 + STORE_KEY_MAX));
    seen_count = 0;
    go((struct store_browse_place){0});
    cr_expect_eq(seen_count, 4);
}

Test(store_browse, a_prefix_stands_for_itself)
{
    static const char odd[] = "a*b?[c]\\^-";

    fill(odd, 4);
    redis_server_do(&server, "HSET aXbYc\\^-:session:other backend n1");
    store_browse_free(browse);
    open_browse(odd, TIMEOUT_MS);
    go((struct store_browse_place){0});
    expect_all(4);
    cr_expect_eq(result.looked_at, 4);
}

Test(store_browse, few_among_many_others)
{
    for (unsigned i = 0; i < 3000; i++)
        redis_server_do(&server, "SET other:%u x", i);
    fill("sidgate", 2);
    go((struct store_browse_place){0});
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
    expect_all(2);
    cr_expect_lt(redis_server_number(
                     &server, "EVAL %s 0",
                     "local s = redis.call('INFO', 'commandstats') "
                     "return tonumber(s:match('cmdstat_scan:calls=(%d+)'))"),
                 30);
}

Test(store_browse, one)
{
    fill("sidgate", 5);
    find("s3");
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
    cr_assert_eq(seen_count, 1);
    cr_expect_str_eq(seen[0], "s3");
    cr_expect_str_eq(last.record.backend, "n0");
    cr_expect(last.life_ms > 80000 && last.life_ms <= 90000);
    find("s5");
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
    cr_expect_eq(seen_count, 1);
    redis_server_do(&server, "SET sidgate:session:string x");
    find("string");
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
    cr_expect_eq(seen_count, 1);
}

Test(store_browse, a_kick_is_heard)
{
    const struct store_key key = {"a b\r\n", 5};

    cr_assert_not_null(store_browse_kick(browse, key, take_receivers, NULL));
    await_end();
    cr_expect_eq(receivers, 0);
    redis_server_do(&server, "SUBSCRIBE sidgate:control");
    cr_assert_not_null(store_browse_kick(browse, key, take_receivers, NULL));
    await_end();
    cr_expect_eq(receivers, 1);
    redisReply *reply = NULL;
    cr_assert_eq(redisGetReply(server.c, (void **)&reply), REDIS_OK);
    cr_assert_eq(reply->elements, 3);
    cr_expect_str_eq(reply->element[2]->str, "kick a b\r\n");
    freeReplyObject(reply);
    redis_server_do(&server, "UNSUBSCRIBE");
}

Test(store_browse, what_is_cancelled_is_not_heard_of)
{
    fill("sidgate", 100);
    for (int turns = 0; turns < 6; turns++) {
        struct store_browsing *one = store_browse_walk(browse, &walk);

        cr_assert_not_null(one);
        for (int i = 0; i < turns && !is_over; i++)
            poll_loop_turn(loop, 20);
        if (!is_over)
            store_browse_cancel(one);
        is_over = false;
    }
    seen_count = 0;
    go((struct store_browse_place){0});
    expect_all(100);
}

Test(store_browse, a_redis_that_stands_still)
{
    fill("sidgate", 10);
    store_browse_free(browse);
    open_browse("sidgate", 200);
    redis_server_pause(&server);
    cr_assert_not_null(store_browse_walk(browse, &walk));
    await_end();
    cr_expect_eq(result.end, STORE_BROWSE_AWAY);
    cr_expect_null(store_browse_walk(browse, &walk));
    cr_expect_null(store_browse_kick(browse, (struct store_key){"a", 1},
                                     take_receivers, NULL));
    redis_server_resume(&server);
    cr_assert(poll_loop_until(loop, is_browse_up, browse, LIMIT_MS));
    go((struct store_browse_place){0});
    expect_all(10);
}
