/* SPDX-License-Identifier: MIT */
/* What replicas make of junk, of a Redis that is away, and of callers that
 * leave in the middle of a turn. */
#include "tests/unit/plane_fixture.h"

TestSuite(store_plane_faults, .init = open_planes, .fini = close_planes,
          .timeout = 30);

static const struct store_plane_backend one[] = {
    {.id = "n1", .address = "127.0.0.1:3001", .sessions = 7},
};

static void add_replica(const char *id)
{
    redis_server_do(&server, "SADD sidgate:gateways %s", id);
    redis_server_do(
        &server, "HSET sidgate:gateway:%s turn 5 started %s backend:n1 %s", id,
        "2026-01-31T12:00:00.000Z", "127.0.0.1:3001 sessions=3");
}

Test(store_plane_faults, junk_backends_are_skipped)
{
    static const struct {
        const char *field;
        const char *value;
        bool is_valid;
    } cases[] = {
        {"backend:b", "127.0.0.1:3001 sessions=3", true},
        {"backend:b", "host:1 sessions=0", true},
        {"backend:b", "[::1]:65535 sessions=007", true},
        {"backend:b c", "h:1 sessions=3", true},
        {"backend:", "h:1 sessions=3", false},
        {"backend", "h:1 sessions=3", false},
        {"Backend:b", "h:1 sessions=3", false},
        {"backend:b\n", "h:1 sessions=3", false},
        {"backend:\xc3\xa9", "h:1 sessions=3", false},
        {"backend:b", "", false},
        {"backend:b", "h:1", false},
        {"backend:b", "h:1 sessions=", false},
        {"backend:b", "h:1 sessions=-1", false},
        {"backend:b", "h:1 sessions=1 ", false},
        {"backend:b", "h:1 sessions=1x", false},
        {"backend:b", "h:1 sessions=1  state=up", false},
        {"backend:b", "h:1 sessions=1 sessions=2", true},
        {"backend:b", "h:1 sessions=1 state=up why=x", true},
        {"backend:b", "h:1 sessions=1 why=x state=removed held=3", true},
        {"backend:b", "h:1 sessions=1 what=is this", true},
        {"backend:b", "h:1 state=up sessions=1", false},
        {"backend:b", "h:1  sessions=1", false},
        {"backend:b", "h:1\tsessions=1", false},
        {"backend:b", " sessions=1", false},
        {"backend:b", "h sessions=1", false},
        {"backend:b", ":1 sessions=1", false},
        {"backend:b", "h: sessions=1", false},
        {"backend:b", "h:0 sessions=1", false},
        {"backend:b", "h:65536 sessions=1", false},
        {"backend:b", "h:99999999999999999999 sessions=1", false},
        {"backend:b", "h:1x sessions=1", false},
        {"backend:b", "h h:1 sessions=1", false},
        {"backend:b", "h:1 sessions=1234567890123456789", false},
        {"backend:b", "h\x1b:1 sessions=1", false},
    };
    const char *key = "sidgate:gateway:x";

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        add_replica("x");
        redis_server_do(&server, "HSET %s %s %s", key, cases[i].field,
                        cases[i].value);
        turn(0, one, 1);
        expect_turn(0, true, false);
        cr_expect_eq(seen[0].replica_count, 1);
        cr_expect_eq(seen[0].backend_count, cases[i].is_valid ? 2 : 1,
                     "%s = %s", cases[i].field, cases[i].value);
        redis_server_do(&server, "DEL %s", key);
    }
    add_replica("x");
    redis_server_do(&server, "HSET %s backend:b %b", key, "h:1\0 sessions=1",
                    (size_t)15);
    turn(0, one, 1);
    cr_expect_eq(seen[0].backend_count, 1);
    redis_server_do(&server, "HSET %s backend:b %s", key,
                    "h:1 sessions=123456789012345678");
    turn(0, one, 1);
    cr_expect(saw_backend(0, "b", "h:1", 1000000000));
}

Test(store_plane_faults, what_is_no_heartbeat_counts_against_no_one)
{
    static const char *const fields[] = {"turn", "started"};
    static const char *const values[] = {"", "x", "-1", "2026"};

    redis_server_do(&server, "SADD sidgate:gateways x");
    redis_server_do(&server, "HSET sidgate:gateway:x hello world");
    turn(0, one, 1);
    expect_turn(0, true, false);
    cr_expect_eq(seen[0].replica_count, 0);
    for (size_t i = 0; i < 2 * 4; i++) {
        const char *field = fields[i / 4];
        const char *value = values[i % 4];
        if (i == 3)
            continue; /* a turn may be 2026 */
        add_replica("x");
        redis_server_do(&server, "HSET sidgate:gateway:x %s %s", field, value);
        turn(0, one, 1);
        expect_turn(0, true, false);
        cr_expect_eq(seen[0].replica_count, 0, "%s=%s", field, value);
        turn(0, one, 1);
        cr_expect_eq(redis_server_number(&server, "SCARD sidgate:gateways"), 1,
                     "%s=%s", field, value);
    }
}

Test(store_plane_faults, junk_members_are_thrown_out)
{
    char longest[STORE_GATEWAY_MAX];

    memset(longest, 'i', sizeof(longest));
    redis_server_do(&server, "SADD sidgate:gateways %b", "a\nb", (size_t)3);
    redis_server_do(&server, "SADD sidgate:gateways %b", "a\0b", (size_t)3);
    redis_server_do(&server, "SADD sidgate:gateways %b", "", (size_t)0);
    redis_server_do(&server, "SADD sidgate:gateways %b", longest,
                    sizeof(longest));
    turn(0, one, 1);
    expect_turn(0, true, false);
    turn(0, one, 1);
    cr_expect_eq(redis_server_number(&server, "SCARD sidgate:gateways"), 1);
    longest[sizeof(longest) - 1] = '\0';
    add_replica(longest);
    turn(0, one, 1);
    cr_expect_eq(seen[0].replica_count, 1);
    cr_expect_str_eq(seen[0].replicas[0], longest);
}

Test(store_plane_faults, junk_words_are_none)
{
    static const struct store_plane_backend list[] = {
        {.id = "n0", .address = "h:1"}, {.id = "n1", .address = "h:1"},
        {.id = "n2", .address = "h:1"}, {.id = "n3", .address = "h:1"},
        {.id = "n4", .address = "h:1"}, {.id = "n5", .address = "h:1"},
        {.id = "n6", .address = "h:1"},
    };

    redis_server_do(&server, "HSET sidgate:admin n0 drain");
    redis_server_do(&server, "HSET sidgate:admin n1 DRAIN n2 %b n3 drained",
                    "drain\0", (size_t)6);
    redis_server_do(&server, "HSET sidgate:admin n4 %b n5 %b", "", (size_t)0,
                    "\xff\n", (size_t)2);
    redis_server_do(&server, "HSET sidgate:admin %b drain", "n6\0", (size_t)3);
    turn(0, list, 7);
    expect_turn(0, true, false);
    expect_words(0, true);
    cr_expect_eq(seen[0].word_count, 7);
    for (unsigned i = 0; i < 7; i++)
        cr_expect_str_eq(seen[0].said[i], i == 0 ? "drain" : "", "n%u", i);
}

Test(store_plane_faults, many_backends)
{
    static struct store_plane_backend list[STORE_PLANE_BACKENDS_MAX + 10];
    static char ids[STORE_PLANE_BACKENDS_MAX + 10][16];
    const size_t count = sizeof(list) / sizeof(list[0]);

    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof(ids[i]), "n%zu", i);
        list[i] = (struct store_plane_backend){
            .id = ids[i], .address = "h:1", .sessions = 1};
    }
    turn(1, list, count);
    cr_expect_eq(redis_server_number(&server, "HLEN sidgate:gateway:gw-1"),
                 3 + STORE_PLANE_BACKENDS_MAX);
    turn(0, one, 1);
    expect_turn(0, true, false);
    cr_expect_eq(seen[0].backend_count, STORE_PLANE_BACKENDS_MAX);
    redis_server_do(&server, "HSET sidgate:gateway:gw-1 backend:more %s",
                    "h:1 sessions=1");
    turn(0, one, 1);
    expect_turn(0, true, false);
    cr_expect_eq(seen[0].backend_count, STORE_PLANE_BACKENDS_MAX);
}

/* Each of them is asked for in one command, whatever else is in the hash. */
Test(store_plane_faults, words_on_many_backends_among_junk)
{
    static struct store_plane_backend list[STORE_PLANE_BACKENDS_MAX + 10];
    static char ids[STORE_PLANE_BACKENDS_MAX + 10][16];
    const size_t count = sizeof(list) / sizeof(list[0]);

    redis_server_do(&server, "EVAL %s 0",
                    "for i = 1, 5000 do "
                    "redis.call('HSET', 'sidgate:admin', 'junk' .. i, "
                    "string.rep('x', 1000)) end");
    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof(ids[i]), "n%zu", i);
        list[i] = (struct store_plane_backend){
            .id = ids[i], .address = "h:1", .sessions = 1};
        redis_server_do(&server, "HSET sidgate:admin %s %s", ids[i],
                        i % 3 == 0 ? "drain" : "ready");
    }
    for (unsigned k = 0; k < 2; k++) {
        turn(0, list, count);
        expect_turn(0, true, false);
        expect_words(0, true);
        cr_assert_eq(seen[0].word_count, STORE_PLANE_BACKENDS_MAX);
        for (size_t i = 0; i < STORE_PLANE_BACKENDS_MAX; i++) {
            cr_expect_str_eq(seen[0].words[i], ids[i]);
            cr_expect_str_eq(seen[0].said[i], i % 3 == 0 ? "drain" : "", "%zu",
                             i);
        }
    }
    cr_expect_eq(up_count, PLANES, "a connection was lost");
}

Test(store_plane_faults, own_backends_that_none_could_read_are_left_out)
{
    char longest[STORE_PLANE_FIELD_MAX + 1];
    memset(longest, 'n', sizeof(longest));
    longest[STORE_PLANE_FIELD_MAX] = '\0';
    const struct store_plane_backend list[] = {
        {.id = "a\nturn", .address = "h:1", .sessions = 1},
        {.id = "b", .address = "h:1\n", .sessions = 1},
        {.id = "c", .address = "/run/sock", .sessions = 1},
        {.id = longest, .address = "h:1", .sessions = 1},
        {.id = "d", .address = longest, .sessions = 1},
        {.id = "", .address = "h:1", .sessions = 1},
        {.id = "good", .address = "h:1", .sessions = -5},
    };

    turn(0, list, sizeof(list) / sizeof(list[0]));
    expect_turn(0, true, false);
    cr_expect_eq(redis_server_number(&server, "HLEN sidgate:gateway:gw-0"), 4);
    cr_expect_str_eq(
        redis_server_field(&server, "sidgate:gateway:gw-0", "backend:good"),
        "h:1 sessions=0");
}

Test(store_plane_faults, more_replicas_than_can_be_read)
{
    char id[16];

    for (unsigned i = 0; i < STORE_PLANE_REPLICAS_MAX; i++) {
        snprintf(id, sizeof(id), "r%u", i);
        add_replica(id);
    }
    turn(0, one, 1);
    expect_turn(0, true, false);
    cr_expect_eq(seen[0].replica_count, STORE_PLANE_REPLICAS_MAX);
    add_replica("one-more");
    add_replica("and-another");
    add_replica("a-third");
    turn(0, one, 1);
    expect_turn(0, true, false);
    cr_expect_eq(seen[0].replica_count, STORE_PLANE_REPLICAS_MAX);
    cr_expect_str_eq(
        redis_server_field(&server, "sidgate:gateway:gw-0", "turn"), "2");
}

Test(store_plane_faults, an_outage_is_no_loss)
{
    unsigned first = 0;

    turn(0, one, 1);
    turn(0, one, 1);
    begin_turn(0, one, 1);
    redis_server_do(&server, "CLIENT KILL TYPE normal SKIPME yes");
    finish_turn(0);
    cr_expect(!seen[0].is_lost);
    cr_assert(poll_loop_until(loop, is_plane_up, &first, LIMIT_MS));
    turn(0, one, 1);
    expect_turn(0, true, false);
}

Test(store_plane_faults, a_turn_without_an_answer_is_not_whole)
{
    unsigned first = 0;

    turn(0, one, 1);
    redis_server_pause(&server);
    begin_turn(0, one, 1);
    poll_loop_turn(loop, 0);
    /* The commands wait in the socket. The answers come too late. */
    finish_turn(0);
    expect_turn(0, false, false);
    cr_expect_eq(seen[0].word_count, 0);
    redis_server_resume(&server);
    cr_assert(poll_loop_until(loop, is_plane_up, &first, LIMIT_MS));
    turn(0, one, 1);
    expect_turn(0, true, false);
}

Test(store_plane_faults, a_heartbeat_that_is_refused_makes_no_one_believe)
{
    redis_server_do(&server, "HSET sidgate:admin n1 drain");
    turn(0, one, 1);
    cr_expect_eq(seen[0].word_count, 1);
    redis_server_do(&server, "ACL SETUSER default -evalsha");
    turn(0, one, 1);
    expect_turn(0, true, false);
    expect_words(0, false);
    redis_server_do(&server, "ACL SETUSER default +evalsha");
    turn(0, one, 1);
    expect_turn(0, true, false);
    expect_words(0, true);
}

Test(store_plane_faults, a_heartbeat_that_may_not_be_read_hides_the_others)
{
    turn(1, one, 1);
    redis_server_do(&server, "ACL SETUSER default -hgetall");
    turn(0, one, 1);
    expect_turn(0, false, false);
    cr_expect_eq(
        redis_server_number(&server, "SISMEMBER sidgate:gateways gw-1"), 1);
    redis_server_do(&server, "ACL SETUSER default +hgetall");
    turn(0, one, 1);
    expect_turn(0, true, false);
    cr_expect(saw_replica(0, 1));
}

Test(store_plane_faults, a_limited_user_is_enough)
{
    close_planes();
    open_server();
    limit_user();
    const struct store_redis_options options = default_options();
    open_planes_with(&options);
    redis_server_do(&server, "SADD sidgate:gateways gone");
    for (unsigned i = 0; i < PLANES; i++)
        turn(i, one, 1);
    store_plane_keep_admin(planes[0], "n1", "drain");
    cr_expect(store_plane_put_admin(planes[0], "n2", "drain", 1));
    turn(0, one, 1);
    expect_turn(0, true, false);
    expect_word(0, "n1", "drain");
    cr_expect_eq(redis_server_number(&server, "HLEN sidgate:admin"), 2);
    cr_expect_eq(seen[0].replica_count, PLANES - 1);
    store_plane_leave(planes[1]);
    turn(1, one, 1);
    expect_turn(1, true, false);
    redis_server_do(&server, "FLUSHALL");
    turn(0, one, 1);
    expect_turn(0, true, true);
    turn(1, one, 1);
    expect_turn(1, true, true);
    cr_expect_eq(error_count, 0, "%s", last_error);
}

Test(store_plane_faults, freed_in_the_middle_of_a_turn)
{
    for (unsigned i = 0; i < PLANES; i++)
        turn(i, one, 1);
    for (unsigned turns = 0; turns < 4; turns++) {
        store_plane_turn(planes[0], one, 1);
        for (unsigned i = 0; i < turns; i++)
            poll_loop_turn(loop, i < 2 ? LIMIT_MS : 0);
        store_plane_free(planes[0]);
        planes[0] = open_plane(clients[0], "gw-0", &seen[0]);
    }
    turn(0, one, 1);
    expect_turn(0, true, false);
}

static unsigned frees;

static void free_plane(unsigned i)
{
    frees++;
    store_plane_free(planes[i]);
    planes[i] = NULL;
}

static void free_on_admin(void *arg, const char *backend, const char *word)
{
    const struct seen *mine = arg;

    (void)backend;
    (void)word;
    free_plane(mine->index);
}

static void free_on_replica(void *arg, const char *id,
                            const struct store_plane_backend *backends,
                            size_t count)
{
    const struct seen *mine = arg;

    cr_expect_eq(count, 1);
    free_plane(mine->index);
    cr_expect_str_eq(backends[0].id, "n1");
    cr_expect(id != NULL);
}

static void free_on_turn(void *arg, bool is_whole, bool is_lost)
{
    const struct seen *mine = arg;

    (void)is_whole;
    (void)is_lost;
    free_plane(mine->index);
}

static bool is_freed(void *arg)
{
    return frees >= *(const unsigned *)arg;
}

Test(store_plane_faults, freed_within_a_callback)
{
    const struct store_plane_user users[] = {
        {free_on_admin, on_replica, on_turn, NULL, NULL},
        {on_admin, free_on_replica, on_turn, NULL, NULL},
        {on_admin, on_replica, free_on_turn, NULL, NULL},
    };

    redis_server_do(&server, "HSET sidgate:admin n1 drain n2 drain");
    add_replica("x");
    add_replica("y");
    for (unsigned i = 0; i < PLANES; i++) {
        const struct store_plane_options options = {
            .client = store_redis_client(clients[i]),
            .prefix = "sidgate",
            .id = "me",
            .version = "1",
            .user = &users[i],
            .arg = &seen[i],
        };
        unsigned expected = i + 1;
        store_plane_free(planes[i]);
        planes[i] = store_plane_new(&options);
        store_plane_turn(planes[i], one, 1);
        cr_assert(poll_loop_until(loop, is_freed, &expected, LIMIT_MS));
        poll_loop_turn(loop, 0);
        cr_expect_null(planes[i]);
        cr_expect_eq(seen[i].turns, 0);
    }
}

static void turn_again(void *arg, bool is_whole, bool is_lost)
{
    struct seen *mine = arg;

    cr_expect(is_whole && !is_lost);
    if (++mine->turns < 3)
        store_plane_turn(planes[mine->index], one, 1);
}

static bool has_turned_thrice(void *arg)
{
    const struct seen *mine = arg;

    return mine->turns >= 3;
}

Test(store_plane_faults, the_next_turn_may_begin_within_on_turn)
{
    const struct store_plane_user user = {on_admin, on_replica, turn_again,
                                          NULL, NULL};
    const struct store_plane_options options = {
        .client = store_redis_client(clients[0]),
        .prefix = "sidgate",
        .id = "me",
        .version = "1",
        .user = &user,
        .arg = &seen[0],
    };

    store_plane_free(planes[0]);
    planes[0] = store_plane_new(&options);
    store_plane_turn(planes[0], one, 1);
    cr_assert(poll_loop_until(loop, has_turned_thrice, &seen[0], LIMIT_MS));
}

Test(store_plane_faults, names_that_are_too_long_are_refused)
{
    char longest[STORE_GATEWAY_MAX + 1];
    memset(longest, 'x', sizeof(longest));
    longest[STORE_GATEWAY_MAX] = '\0';
    struct store_plane_options options = {
        .client = store_redis_client(clients[0]),
        .prefix = "sidgate",
        .id = longest,
        .version = "1",
        .user = &plane_user,
    };

    cr_expect_null(store_plane_new(&options));
    options.id = longest + 1;
    struct store_plane *plane = store_plane_new(&options);
    cr_expect_not_null(plane);
    store_plane_free(plane);
}
