/* SPDX-License-Identifier: MIT */
/* Each operation of the store on a real Redis. */
#include "tests/unit/session_fixture.h"

TestSuite(store_redis, .init = open_all, .fini = close_all, .timeout = 30);

Test(store_redis, absent)
{
    cr_expect_eq(get("a"), STORE_NOT_FOUND);
    cr_expect_eq(touch("a", "n1", 1000), STORE_NOT_FOUND);
    cr_expect_eq(drop("a", "n1"), STORE_NOT_FOUND);
    cr_expect_eq(redis_server_number(&server, "DBSIZE"), 0);
    cr_expect_eq(error_count, 0);
}

Test(store_redis, put_is_readable_by_hand)
{
    const char *key = "sidgate:session:a";

    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_str_eq(redis_server_field(&server, key, "v"), "1");
    cr_expect_str_eq(redis_server_field(&server, key, "backend"), "n1");
    cr_expect_str_eq(redis_server_field(&server, key, "eio"), "4");
    cr_expect_str_eq(redis_server_field(&server, key, "transport"), "polling");
    cr_expect_str_eq(redis_server_field(&server, key, "ping_interval"),
                     "25000");
    cr_expect_str_eq(redis_server_field(&server, key, "ping_timeout"), "20000");
    cr_expect_str_eq(redis_server_field(&server, key, "client"), "203.0.113.7");
    cr_expect_str_eq(redis_server_field(&server, key, "gateway"), "gw-a");
    cr_expect_str_eq(redis_server_field(&server, key, "created"),
                     "2023-11-14T22:13:20.000Z");
    cr_expect_str_eq(redis_server_field(&server, key, "seen"),
                     "2023-11-14T22:13:20.001Z");
    cr_expect_eq(redis_server_number(&server, "HLEN %s", key), 10);
    cr_expect_eq(redis_server_number(&server, "DBSIZE"), 1);
    expect_life(key, 90000);
}

Test(store_redis, get_gives_what_was_put)
{
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_assert_eq(get("a"), STORE_OK);
    const struct store_record *record = &result.record;
    cr_expect_str_eq(record->backend, "n1");
    cr_expect_str_eq(record->client, "203.0.113.7");
    cr_expect_str_eq(record->gateway, "gw-a");
    cr_expect_eq(record->created_ms, 1700000000000);
    cr_expect_eq(record->seen_ms, 1700000000001);
    cr_expect_eq(record->ping_interval_ms, 25000);
    cr_expect_eq(record->ping_timeout_ms, 20000);
    cr_expect_eq(record->eio, 4);
    cr_expect_eq(record->transport, STORE_TRANSPORT_POLLING);
    cr_expect(result.life_ms > 90000 - LIMIT_MS && result.life_ms <= 90000);
}

Test(store_redis, put_of_the_same_backend_refreshes)
{
    redis_server_do(&server, "HSET sidgate:session:a backend n1 note old");
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_str_empty(
        redis_server_field(&server, "sidgate:session:a", "note"));
    expect_life("sidgate:session:a", 90000);
    cr_expect_eq(put("a", "n1", NULL, 50000), STORE_OK);
    expect_life("sidgate:session:a", 50000);
}

Test(store_redis, put_tells_the_other_backend)
{
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(put("a", "n2", NULL, 50000), STORE_CONFLICT);
    expect_owner("n1", 90000);
    cr_expect_eq(put("a", "n2", "n3", 50000), STORE_CONFLICT);
    expect_owner("n1", 90000);
    cr_expect_eq(get("a"), STORE_OK);
    expect_owner("n1", 90000);
}

Test(store_redis, put_replaces_the_backend_that_is_named)
{
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(put("a", "n2", "n1", 50000), STORE_OK);
    cr_expect_eq(put("a", "n1", "n1", 50000), STORE_CONFLICT);
    expect_owner("n2", 50000);
    cr_expect_eq(put("b", "n3", "n1", 50000), STORE_OK);
}

Test(store_redis, touch_renews_the_life_and_some_fields)
{
    const char *key = "sidgate:session:a";

    cr_expect_eq(put("a", "n1", NULL, 50000), STORE_OK);
    struct store_record record = record_of("n1");
    record.seen_ms += 5000;
    record.gateway[0] = '\0';
    snprintf(record.client, sizeof(record.client), "other");
    record.ping_interval_ms = 1;
    cr_expect_eq(touch_with("a", &record, 900000), STORE_OK);
    expect_life(key, 900000);
    cr_expect_str_eq(redis_server_field(&server, key, "seen"),
                     "2023-11-14T22:13:25.001Z");
    cr_expect_str_eq(redis_server_field(&server, key, "gateway"), "gw-a");
    cr_expect_str_eq(redis_server_field(&server, key, "client"), "203.0.113.7");
    cr_expect_str_eq(redis_server_field(&server, key, "ping_interval"),
                     "25000");
    record.transport = STORE_TRANSPORT_WEBSOCKET;
    snprintf(record.gateway, sizeof(record.gateway), "gw-b");
    cr_expect_eq(touch_with("a", &record, 40000), STORE_OK);
    cr_expect_str_eq(redis_server_field(&server, key, "transport"),
                     "websocket");
    cr_expect_str_eq(redis_server_field(&server, key, "gateway"), "gw-b");
    expect_life(key, 40000);
    cr_expect_eq(redis_server_number(&server, "HLEN %s", key), 10);
}

/* A second tunnel elsewhere, a poll that comes late, an old copy: none of them
 * takes a session away from the gateway that has its websocket. */
Test(store_redis, a_websocket_stays_its_gateways)
{
    const char *key = "sidgate:session:a";
    struct store_record record = record_of("n1");
    record.transport = STORE_TRANSPORT_WEBSOCKET;
    snprintf(record.gateway, sizeof(record.gateway), "gw-b");
    cr_expect_eq(put_with("a", &record, NULL, 900000), STORE_OK);

    snprintf(record.gateway, sizeof(record.gateway), "gw-c");
    cr_expect_eq(touch_with("a", &record, 40000), STORE_OK);
    record.gateway[0] = '\0';
    record.transport = STORE_TRANSPORT_POLLING;
    cr_expect_eq(touch_with("a", &record, 40000), STORE_OK);
    record.is_copy = true;
    cr_expect_eq(put_with("a", &record, NULL, 40000), STORE_OK);
    cr_expect_eq(drop_of("a", "n1", "gw-c"), STORE_NOT_FOUND);
    cr_expect_str_eq(redis_server_field(&server, key, "transport"),
                     "websocket");
    cr_expect_str_eq(redis_server_field(&server, key, "gateway"), "gw-b");
    expect_life(key, 900000);

    cr_expect_eq(drop_of("a", "n1", "gw-b"), STORE_OK);
    cr_expect_eq(redis_server_number(&server, "EXISTS %s", key), 0);
    cr_expect_eq(put_with("a", &record, NULL, 40000), STORE_OK);
    expect_life(key, 40000);
}

Test(store_redis, touch_and_remove_are_for_the_owner)
{
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(touch("a", "n2", 50000), STORE_CONFLICT);
    expect_owner("n1", 90000);
    cr_expect_eq(drop("a", "n2"), STORE_CONFLICT);
    expect_owner("n1", 90000);
    expect_life("sidgate:session:a", 90000);
    cr_expect_eq(drop("a", "n1"), STORE_OK);
    cr_expect_eq(redis_server_number(&server, "DBSIZE"), 0);
    cr_expect_eq(drop("a", "n1"), STORE_NOT_FOUND);
}

Test(store_redis, lives_are_clamped)
{
    cr_expect_eq(put("a", "n1", NULL, INT64_MAX), STORE_OK);
    expect_life("sidgate:session:a", INT64_C(30) * 24 * 3600 * 1000);
    cr_expect_eq(touch("a", "n1", INT64_MAX), STORE_OK);
    expect_life("sidgate:session:a", INT64_C(30) * 24 * 3600 * 1000);
    cr_expect_eq(touch("a", "n1", -5), STORE_OK);
    while (get("a") != STORE_NOT_FOUND)
        ;
    cr_expect_eq(put("b", "n1", NULL, 0), STORE_OK);
    while (get("b") != STORE_NOT_FOUND)
        ;
    cr_expect_eq(put("b", "n2", NULL, 90000), STORE_OK, "expired is free");
}

Test(store_redis, a_key_without_expiry_is_due_at_once)
{
    redis_server_do(&server, "HSET sidgate:session:a backend n1");
    cr_expect_eq(get("a"), STORE_OK);
    cr_expect_eq(result.life_ms, 1);
    cr_expect_eq(put("a", "n2", NULL, 1000), STORE_CONFLICT);
    cr_expect_eq(result.life_ms, 1);
    cr_expect_eq(touch("a", "n1", 90000), STORE_OK);
    expect_life("sidgate:session:a", 90000);
}

Test(store_redis, an_absurd_expiry_is_clamped)
{
    redis_server_do(&server, "HSET sidgate:session:a backend n1");
    redis_server_do(&server, "PEXPIRE sidgate:session:a 9000000000000000");
    cr_expect_eq(get("a"), STORE_OK);
    cr_expect_eq(result.life_ms, INT64_C(30) * 24 * 3600 * 1000);
}

Test(store_redis, keys_are_any_bytes)
{
    static const struct store_key keys[] = {
        {"a b", 3},
        {"a", 1},
        {"a\0b", 3},
        {"a\0c", 3},
        {"a\r\nDEL x\r\n", 10},
        {"$3\r\nabc\r\n", 9},
        {"\xff\xfe", 2},
        {"*", 1},
        {"{tag}x", 6},
        {"", 1},
    };
    const size_t count = sizeof(keys) / sizeof(keys[0]);
    char backend[16];
    char longest[STORE_KEY_MAX + 1];

    for (size_t i = 0; i < count; i++) {
        snprintf(backend, sizeof(backend), "n%zu", i);
        cr_expect_eq(put_key(keys[i], backend, NULL, 90000), STORE_OK);
    }
    cr_expect_eq(redis_server_number(&server, "DBSIZE"), (long long)count);
    for (size_t i = 0; i < count; i++) {
        snprintf(backend, sizeof(backend), "n%zu", i);
        cr_expect_eq(get_key(keys[i]), STORE_OK);
        cr_expect_str_eq(result.record.backend, backend);
    }
    cr_expect_eq(redis_server_number(&server, "EXISTS sidgate:session:%b",
                                     keys[2].ptr, keys[2].len),
                 1);
    memset(longest, 'x', sizeof(longest));
    const struct store_key key = {longest, STORE_KEY_MAX};
    cr_expect_eq(put_key(key, "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(get_key(key), STORE_OK);
    cr_expect_eq(get_key((struct store_key){longest, STORE_KEY_MAX + 1}),
                 STORE_UNAVAILABLE);
    cr_expect_eq(get_key((struct store_key){longest, 0}), STORE_UNAVAILABLE);
}

Test(store_redis, a_wrong_type_is_not_found_and_is_replaced)
{
    static const char *const makers[] = {"SET %s x", "RPUSH %s x", "SADD %s x",
                                         "ZADD %s 1 x", "XADD %s * a b"};
    const char *key = "sidgate:session:a";

    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        redis_server_do(&server, makers[i], key);
        cr_expect_eq(get("a"), STORE_NOT_FOUND);
        cr_expect_eq(touch("a", "n1", 1000), STORE_NOT_FOUND);
        cr_expect_eq(drop("a", "n1"), STORE_NOT_FOUND);
        cr_expect_eq(redis_server_number(&server, "EXISTS %s", key), 1);
        cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
        cr_expect_eq(get("a"), STORE_OK);
        expect_life(key, 90000);
        redis_server_do(&server, "DEL %s", key);
    }
}

Test(store_redis, a_wrong_type_is_told)
{
    redis_server_do(&server, "SET sidgate:session:a x");
    cr_expect_eq(get("a"), STORE_NOT_FOUND);
    cr_expect_eq(error_count, 1);
    cr_expect(strstr(last_error, "WRONGTYPE") != NULL, "%s", last_error);
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(error_count, 2);
    cr_expect_str_eq(last_error, "wrong type at a session's key: replaced");
    redis_server_do(&server, "DEL sidgate:session:a");
    redis_server_do(&server, "SET sidgate:session:a x");
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(error_count, 2, "told again within a second");
}

Test(store_redis, a_junk_backend_is_none)
{
    static const struct {
        const char *bytes;
        size_t len;
    } backends[] = {
        {"", 0},
        {"n\n1", 3},
        {"n\0001", 3},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         64},
    };
    const char *key = "sidgate:session:a";

    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        redis_server_do(&server, "HSET %s backend %b", key, backends[i].bytes,
                        backends[i].len);
        cr_expect_eq(get("a"), STORE_NOT_FOUND);
        cr_expect_eq(touch("a", "n1", 1000), STORE_NOT_FOUND);
        cr_expect_eq(drop("a", "n1"), STORE_NOT_FOUND);
        cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
        cr_expect_eq(get("a"), STORE_OK);
        redis_server_do(&server, "DEL %s", key);
    }
    redis_server_do(&server, "HSET %s eio 4 note x", key);
    cr_expect_eq(get("a"), STORE_NOT_FOUND);
    cr_expect_eq(touch("a", "n1", 1000), STORE_NOT_FOUND);
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_str_empty(redis_server_field(&server, key, "note"));
}

Test(store_redis, hostile_fields_are_unknown)
{
    redis_server_do(&server,
                    "HSET sidgate:session:a v 99 backend n1 eio 17 transport "
                    "carrier-pigeon ping_interval -1 ping_timeout 99999999 "
                    "client %b gateway %s created yesterday seen ''",
                    "1\r\n2", (size_t)4, "g");
    redis_server_do(&server, "PEXPIRE sidgate:session:a 90000");
    cr_assert_eq(get("a"), STORE_OK);
    cr_expect_eq(result.record.eio, 0);
    cr_expect_eq(result.record.transport, STORE_TRANSPORT_POLLING);
    cr_expect_eq(result.record.ping_interval_ms, 0);
    cr_expect_eq(result.record.ping_timeout_ms, 3600000);
    cr_expect_str_empty(result.record.client);
    cr_expect_str_eq(result.record.gateway, "g");
    cr_expect_eq(result.record.created_ms, 0);
}

Test(store_redis, when_memory_is_full_only_what_is_new_is_refused)
{
    cr_expect_eq(put("a", "n1", NULL, 50000), STORE_OK);
    cr_expect_eq(put("b", "n1", NULL, 50000), STORE_OK);
    redis_server_do(&server, "CONFIG SET maxmemory 1");
    cr_expect_eq(put("c", "n1", NULL, 90000), STORE_UNAVAILABLE);
    cr_expect_eq(error_count, 1);
    cr_expect(strstr(last_error, "OOM") != NULL, "%s", last_error);
    cr_expect_eq(redis_server_number(&server, "EXISTS sidgate:session:c"), 0);
    cr_expect_eq(get("a"), STORE_OK);
    cr_expect_eq(touch("a", "n1", 90000), STORE_OK);
    expect_life("sidgate:session:a", 90000);
    cr_expect_eq(put("b", "n2", NULL, 90000), STORE_CONFLICT);
    cr_expect_eq(put("b", "n1", NULL, 90000), STORE_OK);
    expect_life("sidgate:session:b", 90000);
    cr_expect_eq(drop("a", "n1"), STORE_OK);
    cr_expect_eq(drop("b", "n2"), STORE_CONFLICT);
    redis_server_do(&server, "CONFIG SET maxmemory 0");
    cr_expect_eq(put("c", "n1", NULL, 90000), STORE_OK);
}

Test(store_redis, the_scripts_may_be_flushed)
{
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    redis_server_do(&server, "SCRIPT FLUSH");
    cr_expect_eq(put("a", "n2", NULL, 90000), STORE_CONFLICT);
    redis_server_do(&server, "SCRIPT FLUSH");
    cr_expect_eq(touch("a", "n1", 90000), STORE_OK);
    redis_server_do(&server, "SCRIPT FLUSH");
    cr_expect_eq(drop("a", "n1"), STORE_OK);
    cr_expect_eq(error_count, 0);
}

Test(store_redis, answers_in_pieces)
{
    poll_loop_set_piece(loop, 1);
    cr_expect_eq(put("a", "n1", NULL, 90000), STORE_OK);
    cr_expect_eq(put("a", "n2", NULL, 90000), STORE_CONFLICT);
    expect_owner("n1", 90000);
    cr_expect_eq(get("a"), STORE_OK);
    expect_owner("n1", 90000);
}
