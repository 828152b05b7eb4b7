/* SPDX-License-Identifier: MIT */
/* Replicas and operators on a real Redis. */
#include "tests/unit/plane_fixture.h"

TestSuite(store_plane, .init = open_planes, .fini = close_planes,
          .timeout = 30);

static const struct store_plane_backend two[] = {
    {.id = "n1", .address = "127.0.0.1:3001", .sessions = 7},
    {.id = "pool/n2", .address = "[::1]:3002"},
};

Test(store_plane, a_heartbeat_is_readable_by_hand)
{
    const char *key = "sidgate:gateway:gw-0";

    turn(0, two, 2);
    cr_expect_str_eq(redis_server_field(&server, key, "version"), "1.2.3");
    cr_expect_str_eq(redis_server_field(&server, key, "started"),
                     "2026-01-31T12:00:00.123Z");
    cr_expect_str_eq(redis_server_field(&server, key, "turn"), "1");
    cr_expect_str_eq(redis_server_field(&server, key, "backend:n1"),
                     "127.0.0.1:3001 sessions=7");
    cr_expect_str_eq(redis_server_field(&server, key, "backend:pool/n2"),
                     "[::1]:3002 sessions=0");
    cr_expect_eq(redis_server_number(&server, "HLEN %s", key), 5);
    expect_ttl(key, STORE_PLANE_LIFE_MS);
    expect_ttl("sidgate:gateways", 60000);
    cr_expect_eq(
        redis_server_number(&server, "SISMEMBER sidgate:gateways gw-0"), 1);
    turn(0, two, 1);
    cr_expect_str_eq(redis_server_field(&server, key, "turn"), "2");
    cr_expect_str_empty(redis_server_field(&server, key, "backend:pool/n2"));
    cr_expect_eq(redis_server_number(&server, "HLEN %s", key), 4);
}

Test(store_plane, alone)
{
    turn(0, two, 2);
    expect_turn(0, true, false);
    cr_expect_eq(seen[0].replica_count, 0);
    cr_expect_eq(seen[0].word_count, 2);
    turn(0, NULL, 0);
    expect_turn(0, true, false);
}

Test(store_plane, replicas_see_each_other)
{
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < PLANES; i++)
            turn(i, two, 2);
    }
    for (unsigned i = 0; i < PLANES; i++) {
        expect_turn(i, true, false);
        cr_assert_eq(seen[i].replica_count, PLANES - 1);
        for (unsigned k = 0; k < PLANES; k++)
            cr_expect_eq(saw_replica(i, k), k != i);
        cr_expect_eq(seen[i].backend_count, 2 * (PLANES - 1));
        cr_expect(saw_backend(i, "n1", "127.0.0.1:3001", 7));
        cr_expect(saw_backend(i, "pool/n2", "[::1]:3002", 0));
    }
    turn(1, two, 1);
    turn(0, two, 2);
    cr_expect_eq(seen[0].backend_count, 3);
}

Test(store_plane, turns_may_run_at_the_same_time)
{
    for (unsigned i = 0; i < PLANES; i++)
        turn(i, two, 2);
    for (unsigned i = 0; i < PLANES; i++)
        begin_turn(i, two, 2);
    for (unsigned i = 0; i < PLANES; i++) {
        finish_turn(i);
        expect_turn(i, true, false);
        cr_expect_eq(seen[i].replica_count, PLANES - 1);
    }
}

Test(store_plane, a_turn_under_way_is_not_begun_again)
{
    begin_turn(0, two, 2);
    store_plane_turn(planes[0], two, 2);
    finish_turn(0);
    poll_loop_turn(loop, 0);
    cr_expect_eq(seen[0].turns, 1);
    cr_expect_str_eq(
        redis_server_field(&server, "sidgate:gateway:gw-0", "turn"), "1");
}

static bool has_left(void *arg)
{
    (void)arg;
    return redis_server_number(&server, "SISMEMBER sidgate:gateways gw-1") == 0;
}

Test(store_plane, who_leaves_is_gone_at_once)
{
    for (unsigned i = 0; i < PLANES; i++)
        turn(i, two, 2);
    store_plane_leave(planes[1]);
    poll_loop_turn(loop, 0);
    cr_assert(poll_loop_until(loop, has_left, NULL, LIMIT_MS));
    turn(0, two, 2);
    cr_expect_not(saw_replica(0, 1));
    cr_expect(saw_replica(0, 2));
    cr_expect_eq(redis_server_number(&server, "EXISTS sidgate:gateway:gw-1"),
                 0);
    cr_expect_eq(
        redis_server_number(&server, "SISMEMBER sidgate:gateways gw-1"), 0);
}

Test(store_plane, who_dies_is_forgotten)
{
    redis_server_do(&server, "SADD sidgate:gateways dead");
    turn(0, two, 2);
    expect_turn(0, true, false);
    cr_expect_eq(seen[0].replica_count, 0);
    turn(0, two, 2);
    cr_expect_eq(redis_server_number(&server, "SCARD sidgate:gateways"), 1);
}

static const struct store_plane_backend three[] = {
    {.id = "n1", .address = "127.0.0.1:3001", .sessions = 7},
    {.id = "n2", .address = "127.0.0.1:3002"},
    {.id = "n3", .address = "127.0.0.1:3003"},
};

Test(store_plane, the_operator_is_heard)
{
    redis_server_do(&server, "HSET sidgate:admin n1 drain n2 ready");
    turn(0, three, 3);
    expect_turn(0, true, false);
    expect_words(0, true);
    cr_assert_eq(seen[0].word_count, 3);
    cr_expect_str_eq(seen[0].words[0], "n1");
    expect_word(0, "n1", "drain");
    expect_word(0, "n2", "");
    expect_word(0, "n3", "");
    cr_expect_eq(redis_server_number(&server, "PTTL sidgate:admin"), -1);
    redis_server_do(&server, "HDEL sidgate:admin n1");
    turn(0, three, 3);
    expect_word(0, "n1", "");
    turn(0, NULL, 0);
    expect_words(0, true);
    cr_expect_eq(seen[0].word_count, 0);
}

Test(store_plane, how_to_drain_is_the_operators_text)
{
    redis_server_do(&server, "HSET sidgate:admin n1 %s n2 %s n3 %s",
                    "drain rate=20 timeout=10m", "drain ", "drainrate=20");
    turn(0, three, 3);
    expect_word(0, "n1", "drain rate=20 timeout=10m");
    expect_word(0, "n2", "drain ");
    expect_word(0, "n3", "");
}

Test(store_plane, a_drain_that_cannot_be_read_is_a_plain_one)
{
    static const struct store_plane_backend list[] = {
        {.id = "n0", .address = "h:1"},
        {.id = "n1", .address = "h:1"},
        {.id = "n2", .address = "h:1"},
        {.id = "n3", .address = "h:1"},
    };
    char longest[STORE_PLANE_WORD_MAX + 1];

    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "drain ", 6);
    longest[STORE_PLANE_WORD_MAX] = '\0';
    redis_server_do(&server, "HSET sidgate:admin n0 %s n1 %b n2 %s n3 %b",
                    longest, "drain rate=1\0", (size_t)13, longest + 1,
                    "drain\n", (size_t)6);
    redis_server_do(&server, "HSET sidgate:admin n2 %b", longest,
                    (size_t)(STORE_PLANE_WORD_MAX - 1));
    turn(0, list, 4);
    expect_words(0, true);
    expect_word(0, "n0", "drain ?");
    expect_word(0, "n1", "drain ?");
    longest[STORE_PLANE_WORD_MAX - 1] = '\0';
    expect_word(0, "n2", longest);
    expect_word(0, "n3", "");
}

static bool has_put(void *arg)
{
    const struct seen *mine = arg;

    return mine->puts > 0;
}

static void put(const char *backend, const char *word, uint32_t tag)
{
    seen[0].puts = 0;
    cr_assert(store_plane_put_admin(planes[0], backend, word, tag));
    cr_expect_eq(seen[0].puts, 0, "before the call returned");
    cr_assert(poll_loop_until(loop, has_put, &seen[0], LIMIT_MS));
    cr_expect_eq(seen[0].puts, 1);
    cr_expect_eq(seen[0].last_put, tag);
}

Test(store_plane, what_is_put_is_told)
{
    turn(0, three, 3);
    put("n1", "drain rate=5", 7);
    cr_expect_eq(seen[0].puts_failed, 0);
    put("n1", "drain rate=6", UINT32_MAX);
    cr_expect_eq(seen[0].puts_failed, 0);
    cr_expect_str_eq(redis_server_field(&server, "sidgate:admin", "n1"),
                     "drain rate=6");
    redis_server_do(&server, "SET sidgate:admin x");
    put("n1", "ready", 9);
    cr_expect_eq(seen[0].puts_failed, 1);
}

static bool has_put_all(void *arg)
{
    const struct seen *mine = arg;

    return mine->puts == STORE_PLANE_PUTS_MAX;
}

Test(store_plane, only_so_many_may_be_put_at_a_time)
{
    turn(0, three, 3);
    for (uint32_t i = 0; i < STORE_PLANE_PUTS_MAX; i++)
        cr_assert(store_plane_put_admin(planes[0], "n1", "drain", i));
    cr_expect_not(store_plane_put_admin(planes[0], "n1", "ready", 99));
    cr_assert(poll_loop_until(loop, has_put_all, &seen[0], LIMIT_MS));
    put("n2", "drain", 100);
}

Test(store_plane, a_plane_may_be_freed_while_words_are_put)
{
    turn(0, three, 3);
    cr_assert(store_plane_put_admin(planes[0], "n1", "drain", 1));
    store_plane_free(planes[0]);
    planes[0] = NULL;
    turn(1, three, 3);
    cr_expect_eq(seen[0].puts, 0);
}

Test(store_plane, keep_admin_does_not_overrule)
{
    redis_server_do(&server, "HSET sidgate:admin n1 ready");
    store_plane_keep_admin(planes[0], "n1", "drain rate=20");
    store_plane_keep_admin(planes[0], "n2", "drain rate=20");
    store_plane_keep_admin(planes[0], "n3", "ready");
    turn(0, three, 3);
    expect_word(0, "n1", "");
    expect_word(0, "n2", "drain rate=20");
    expect_word(0, "n3", "");
    cr_expect_str_eq(redis_server_field(&server, "sidgate:admin", "n3"),
                     "ready");
}

static const struct store_plane_backend stated[] = {
    {"n1", "127.0.0.1:3001", 7, -1, 9, "up", ""},
    {"n2", "127.0.0.1:3002", 3, 2, 40, "drained", "the operator's"},
    {"n3", "127.0.0.1:3003", 0, 0, 0, "down", "status 503, \"odd\"\n\xc3"},
};

Test(store_plane, states_are_readable_by_hand)
{
    const char *key = "sidgate:gateway:gw-0";

    turn(0, stated, 3);
    cr_expect_str_eq(redis_server_field(&server, key, "backend:n1"),
                     "127.0.0.1:3001 sessions=7 state=up");
    cr_expect_str_eq(redis_server_field(&server, key, "backend:n2"),
                     "127.0.0.1:3002 sessions=3 state=drained held=2 closed=40 "
                     "why=the_operator's");
    cr_expect_str_eq(redis_server_field(&server, key, "backend:n3"),
                     "127.0.0.1:3003 sessions=0 state=down held=0 closed=0 "
                     "why=status_503,_\"odd\"__");
}

Test(store_plane, states_are_seen_by_others)
{
    turn(0, stated, 3);
    turn(1, two, 2);
    cr_assert_eq(seen[1].backend_count, 3);
    for (unsigned k = 0; k < 3; k++) {
        if (strncmp(seen[1].backends[k], "n1 ", 3) == 0)
            cr_expect_str_eq(seen[1].more[k], "-1 0 up ");
        else if (strncmp(seen[1].backends[k], "n2 ", 3) == 0)
            cr_expect_str_eq(seen[1].more[k], "2 40 drained the_operator's");
        else
            cr_expect_str_eq(seen[1].more[k], "0 0 down status_503,_\"odd\"__");
    }
    turn(0, two, 2);
    cr_expect(saw_backend(1, "n2", "127.0.0.1:3002", 3));
    cr_expect_str_eq(seen[0].more[0], "-1 0  ");
}

static void expect_turn_number(unsigned i, long long number)
{
    cr_expect_eq(
        redis_server_number(&server, "HGET sidgate:gateway:gw-%u turn", i),
        number);
}

Test(store_plane, a_wrong_type_at_admin_leaves_the_words_as_they_are)
{
    turn(0, two, 2);
    turn(1, two, 2);
    redis_server_do(&server, "SET sidgate:admin x");
    for (unsigned i = 0; i < 3; i++) {
        turn(0, two, 2);
        expect_turn(0, true, false);
        expect_words(0, false);
        cr_expect(saw_replica(0, 1));
    }
    expect_turn_number(0, 4);
    cr_expect_gt(error_count, 0);
    redis_server_do(&server, "DEL sidgate:admin");
    turn(0, two, 2);
    expect_turn(0, true, false);
    expect_words(0, true);
}

Test(store_plane, a_wrong_type_at_the_set_hides_the_others)
{
    turn(0, two, 2);
    redis_server_do(&server, "SET sidgate:gateways x");
    turn(0, two, 2);
    expect_turn(0, false, false);
    expect_words(0, true);
    expect_turn_number(0, 2);
    cr_expect_gt(error_count, 0);
    redis_server_do(&server, "DEL sidgate:gateways");
    turn(0, two, 2);
    expect_turn(0, true, false);
}

Test(store_plane, a_wrong_type_at_a_heartbeat_is_as_none)
{
    turn(1, two, 2);
    turn(2, two, 2);
    redis_server_do(&server, "SET sidgate:gateway:gw-1 x");
    turn(0, two, 2);
    expect_turn(0, true, false);
    cr_expect_not(saw_replica(0, 1));
    cr_expect(saw_replica(0, 2));
    turn(0, two, 2);
    expect_turn(0, true, false);
    cr_expect_eq(
        redis_server_number(&server, "SISMEMBER sidgate:gateways gw-1"), 0);
    turn(1, two, 2);
    expect_turn(1, true, false);
    turn(0, two, 2);
    cr_expect(saw_replica(0, 1));
}

Test(store_plane, when_memory_is_full_the_heartbeat_goes_on)
{
    turn(0, two, 2);
    redis_server_do(&server, "CONFIG SET maxmemory 1");
    turn(0, two, 2);
    turn(0, two, 2);
    cr_expect_not(seen[0].is_lost);
    cr_expect_str_eq(
        redis_server_field(&server, "sidgate:gateway:gw-0", "turn"), "3");
}
