/* SPDX-License-Identifier: MIT */
/* What shows replicas that Redis has lost what was written, and what does
 * not. */
#include "store/plane_text.h"
#include "tests/unit/plane_fixture.h"

TestSuite(store_plane_loss, .init = open_planes, .fini = close_planes,
          .timeout = 30);

static const struct store_plane_backend one[] = {
    {.id = "n1", .address = "127.0.0.1:3001", .sessions = 7},
};

/* A turn of the first replica, and what it says. A macro, so that a failure
 * names its line. */
#define next_turn(whole, lost)                                                 \
    do {                                                                       \
        turn(0, one, 1);                                                       \
        expect_turn(0, whole, lost);                                           \
    } while (0)

Test(store_plane_loss, the_epoch_is_set_once)
{
    char first[SEEN_TEXT_MAX];
    char again[SEEN_TEXT_MAX];

    turn(0, one, 1);
    read_epoch(first);
    cr_expect_eq(strncmp(first, "gw-0-", 5), 0, "%s", first);
    cr_expect_lt(strlen(first), 64);
    cr_expect_eq(redis_server_number(&server, "PTTL sidgate:epoch"), -1);
    turn(1, one, 1);
    turn(0, one, 1);
    read_epoch(again);
    cr_expect_str_eq(again, first);
    redis_server_do(&server, "FLUSHALL");
    turn(0, one, 1);
    read_epoch(again);
    cr_expect_eq(strncmp(again, "gw-0-", 5), 0, "%s", again);
    cr_expect_str_neq(again, first);
}

Test(store_plane_loss, a_flush_is_a_loss)
{
    turn(0, one, 1);
    redis_server_do(&server, "FLUSHALL");
    redis_server_do(&server, "HSET sidgate:admin n1 drain");
    next_turn(true, true);
    expect_words(0, false);
    next_turn(true, false);
    expect_words(0, true);
    expect_word(0, "n1", "drain");
}

Test(store_plane_loss, each_of_two_flushes_is_a_loss)
{
    turn(0, one, 1);
    for (unsigned i = 0; i < 3; i++) {
        redis_server_do(&server, "FLUSHALL");
        next_turn(true, true);
    }
    next_turn(true, false);
}

/* In turn, and all at once. */
Test(store_plane_loss, all_agree_on_one_epoch_after_a_flush)
{
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < PLANES; i++)
            turn(i, one, 1);
        redis_server_do(&server, "FLUSHALL");
        for (unsigned i = 0; i < PLANES; i++) {
            begin_turn(i, one, 1);
            if (round == 0)
                finish_turn(i);
        }
        for (unsigned i = 0; i < PLANES; i++) {
            if (round == 1)
                finish_turn(i);
            expect_turn(i, true, true);
        }
        for (unsigned k = 0; k < 3 * PLANES; k++) {
            turn(k % PLANES, one, 1);
            expect_turn(k % PLANES, true, false);
        }
    }
}

Test(store_plane_loss, another_epoch_is_a_loss)
{
    turn(0, one, 1);
    redis_server_do(&server, "SET sidgate:epoch other");
    next_turn(true, true);
    expect_words(0, false);
    next_turn(true, false);
}

Test(store_plane_loss, a_heartbeat_that_expired_is_no_loss)
{
    redis_server_do(&server, "HSET sidgate:admin n1 drain");
    turn(0, one, 1);
    for (unsigned i = 0; i < 2; i++) {
        expire_heartbeat(0);
        next_turn(true, false);
        expect_words(0, true);
        expect_word(0, "n1", "drain");
    }
}

Test(store_plane_loss, an_older_heartbeat_is_a_loss)
{
    const char *key = "sidgate:gateway:gw-0";

    turn(0, one, 1);
    turn(0, one, 1);
    redisReply *dump = redis_server_ask(&server, "DUMP %s", key);
    next_turn(true, false);
    redis_server_do(&server, "RESTORE %s 5000 %b REPLACE", key, dump->str,
                    dump->len);
    freeReplyObject(dump);
    next_turn(true, true);
    expect_words(0, false);
    next_turn(true, false);
}

Test(store_plane_loss, a_heartbeat_of_another_kind_is_as_none)
{
    static const char *const commands[] = {
        "SET sidgate:gateway:gw-0 x",
        "HSET sidgate:gateway:gw-0 turn junk",
        "HSET sidgate:gateway:gw-0 turn -1",
        "HSET sidgate:gateway:gw-0 turn nan",
        "HSET sidgate:gateway:gw-0 turn 0x0",
        "HDEL sidgate:gateway:gw-0 turn",
        "HSET sidgate:gateway:gw-0 turn 99999999999999999999999999999",
    };

    turn(0, one, 1);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        redis_server_do(&server, commands[i]);
        next_turn(true, false);
        expect_words(0, true);
    }
    cr_expect_str_eq(
        redis_server_field(&server, "sidgate:gateway:gw-0", "turn"), "8");
}

Test(store_plane_loss, a_wrong_type_at_the_epoch_is_no_loss)
{
    char epoch[SEEN_TEXT_MAX];

    turn(0, one, 1);
    read_epoch(epoch);
    redis_server_do(&server, "DEL sidgate:epoch");
    redis_server_do(&server, "RPUSH sidgate:epoch x");
    for (unsigned k = 0; k < 4; k++) {
        turn(k % 2, one, 1);
        expect_turn(k % 2, true, false);
        expect_words(k % 2, true);
    }
    cr_expect_gt(error_count, 0);
    redis_server_do(&server, "SET sidgate:epoch %s", epoch);
    next_turn(true, false);
}

Test(store_plane_loss, a_flush_behind_a_wrong_type_is_noticed)
{
    turn(0, one, 1);
    redis_server_do(&server, "DEL sidgate:epoch");
    redis_server_do(&server, "SADD sidgate:epoch x");
    next_turn(true, false);
    redis_server_do(&server, "FLUSHALL");
    next_turn(true, true);
    next_turn(true, false);
}

Test(store_plane_loss, a_junk_epoch_is_no_loss)
{
    char longest[STORE_PLANE_FIELD_MAX];

    memset(longest, 'e', sizeof(longest));
    turn(0, one, 1);
    const struct {
        const char *bytes;
        size_t len;
    } junk[] = {{"", 0},
                {"a\nb", 3},
                {"a\0b", 3},
                {longest, 64},
                {longest, sizeof(longest)}};
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        redis_server_do(&server, "SET sidgate:epoch %b", junk[i].bytes,
                        junk[i].len);
        next_turn(true, false);
        expect_words(0, true);
    }
    redis_server_do(&server, "SET sidgate:epoch %b", longest, (size_t)63);
    next_turn(true, true);
}

Test(store_plane_loss, when_memory_is_full_and_empty_of_an_epoch)
{
    turn(0, one, 1);
    redis_server_do(&server, "DEL sidgate:epoch");
    redis_server_do(&server, "CONFIG SET maxmemory 1");
    next_turn(true, true);
    next_turn(true, false);
    redis_server_do(&server, "CONFIG SET maxmemory 0");
    next_turn(true, false);
    redis_server_do(&server, "FLUSHALL");
    next_turn(true, true);
}

static void cut_off(unsigned i)
{
    redis_server_do(&server, "CLIENT KILL TYPE normal SKIPME yes");
    while (is_plane_up(&i))
        poll_loop_turn(loop, LIMIT_MS);
    begin_turn(i, one, 1);
    cr_expect_not(store_plane_is_busy(planes[i]), "begun on a dead link");
}

static void come_back(unsigned i)
{
    cr_assert(poll_loop_until(loop, is_plane_up, &i, LIMIT_MS));
    turn(i, one, 1);
}

Test(store_plane_loss, a_loss_during_an_outage_is_noticed)
{
    turn(0, one, 1);
    cut_off(0);
    redis_server_do(&server, "FLUSHALL");
    come_back(0);
    expect_turn(0, true, true);
}

/* What the others have set meanwhile is the witness. */
Test(store_plane_loss, a_loss_during_a_long_outage_is_noticed)
{
    turn(0, one, 1);
    turn(1, one, 1);
    cut_off(0);
    expire_heartbeat(0);
    redis_server_do(&server, "FLUSHALL");
    come_back(1);
    expect_turn(1, true, true);
    come_back(0);
    expect_turn(0, true, true);
    for (unsigned k = 0; k < 4; k++) {
        turn(k % 2, one, 1);
        expect_turn(k % 2, true, false);
    }
}

Test(store_plane_loss, a_long_outage_is_no_loss)
{
    redis_server_do(&server, "HSET sidgate:admin n1 drain");
    turn(0, one, 1);
    cut_off(0);
    expire_heartbeat(0);
    come_back(0);
    expect_turn(0, true, false);
    expect_word(0, "n1", "drain");
}

/* It is told once the heartbeat is answered, and no word is believed before. */
Test(store_plane_loss, a_loss_is_kept_until_it_can_be_told)
{
    redis_server_do(&server, "HSET sidgate:admin n1 drain");
    turn(0, one, 1);
    redis_server_do(&server, "FLUSHALL");
    redis_server_do(&server, "ACL SETUSER default -evalsha");
    for (unsigned k = 0; k < 2; k++) {
        next_turn(true, false);
        expect_words(0, false);
    }
    redis_server_do(&server, "ACL SETUSER default +evalsha");
    next_turn(true, true);
    expect_words(0, false);
    next_turn(true, false);
    expect_words(0, true);
}

Test(store_plane_loss, the_first_turn_that_succeeds_has_no_loss)
{
    redis_server_do(&server, "ACL SETUSER default -evalsha");
    turn(0, one, 1);
    redis_server_do(&server, "FLUSHALL");
    redis_server_do(&server, "ACL SETUSER default +evalsha");
    next_turn(true, false);
    redis_server_do(&server, "FLUSHALL");
    next_turn(true, true);
}

Test(store_plane_loss, without_the_right_to_get_there_is_no_epoch)
{
    turn(0, one, 1);
    redis_server_do(&server, "ACL SETUSER default -get -setnx");
    for (unsigned k = 0; k < 4; k++) {
        turn(k % 2, one, 1);
        expect_turn(k % 2, true, false);
        expect_words(k % 2, true);
    }
    redis_server_do(&server, "ACL SETUSER default +get +setnx");
    next_turn(true, false);
}

/* Its snapshot has the epoch, but no heartbeat any more, and older words. */
Test(store_plane_loss, another_node_with_an_old_snapshot_is_a_loss)
{
    struct redis_server old;
    char epoch[SEEN_TEXT_MAX];

    redis_server_do(&server, "HSET sidgate:admin n1 drain");
    turn(0, one, 1);
    turn(1, one, 1);
    read_epoch(epoch);
    redis_server_start(&old);
    redis_server_do(&old, "SET sidgate:epoch %s", epoch);
    cr_assert_eq(rename(old.url.hosts[0].host, server.url.hosts[0].host), 0);
    cut_off(0);
    come_back(0);
    expect_turn(0, true, true);
    expect_words(0, false);
    come_back(1);
    expect_turn(1, true, true);
    next_turn(true, false);
    expect_words(0, true);
    redis_server_stop(&old);
}

/* ---- in a cluster a loss is one of some slots ---- */

static uint16_t slot_of(const char *key)
{
    return store_slot_of(key, strlen(key));
}

Test(store_plane_loss, a_suspicion_of_the_slot_of_admin_is_a_loss)
{
    struct store_slots slots = {{0}};

    redis_server_do(&server, "HSET sidgate:admin n1 drain");
    turn(0, one, 1);
    store_slots_add(&slots, slot_of("sidgate:admin"));
    store_plane_suspect(planes[0], &slots);
    next_turn(true, true);
    cr_expect_eq(seen[0].lost_slots, 0, "it was only suspected");
    expect_words(0, false);
    next_turn(true, false);
    expect_words(0, true);
    expect_word(0, "n1", "drain");
}

Test(store_plane_loss, a_suspicion_of_other_slots_is_none)
{
    struct store_slots slots;

    turn(0, one, 1);
    store_slots_fill(&slots);
    const uint16_t own = slot_of("sidgate:admin");
    slots.bits[own / 64] &= ~(UINT64_C(1) << (own % 64));
    cr_assert_eq(store_slots_count(&slots), STORE_SLOTS - 1);
    store_plane_suspect(planes[0], &slots);
    next_turn(true, false);
    expect_words(0, true);
}

Test(store_plane_loss, a_loss_is_about_all_slots_without_a_cluster)
{
    turn(0, one, 1);
    cr_expect_eq(seen[0].lost_slots, 0);
    redis_server_do(&server, "FLUSHALL");
    next_turn(true, true);
    cr_expect_eq(seen[0].lost_slots, STORE_SLOTS);
    next_turn(true, false);
    cr_expect_eq(seen[0].lost_slots, 0);
}

Test(store_plane_loss, the_epoch_is_where_admin_is)
{
    struct store_plane_keys keys;
    char longest[STORE_PREFIX_MAX];

    store_plane_keys_write("sidgate", "gw", false, &keys);
    cr_expect_str_eq(keys.epoch, "sidgate:epoch");
    store_plane_keys_write("sidgate", "gw", true, &keys);
    cr_expect_str_eq(keys.epoch, "sidgate:epoch:{sidgate:admin}");
    cr_expect_str_eq(keys.own, "sidgate:gateway:gw");
    cr_expect_eq(slot_of(keys.epoch), slot_of(keys.admin));
    memset(longest, 'p', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    store_plane_keys_write(longest, "gw", true, &keys);
    cr_expect_eq(slot_of(keys.epoch), slot_of(keys.admin));
}
