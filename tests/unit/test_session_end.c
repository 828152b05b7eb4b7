/* SPDX-License-Identifier: MIT */
/* What stands for a session, and what is kept of those that ended. */
#include "gateway/access_log.h"
#include "gateway/server.h"
#include "gateway/session_end.h"
#include "gateway/shared.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct gw_config config;
static struct gw_server server;

static void open_server(void)
{
    char error[256] = "";

    server.boot = &config;
    server.ends = gw_ends_new();
    server.access_log = gw_access_log_new(&config, error);
    cr_assert_not_null(server.ends);
    cr_assert_not_null(server.access_log, "%s", error);
}

static void close_server(void)
{
    gw_access_log_free(server.access_log);
    gw_ends_free(server.ends);
}

TestSuite(session_end, .init = open_server, .fini = close_server);

static void end_session(const char *sid, enum gw_end cause)
{
    const struct store_record record = {.backend = "n1", .created_ms = 7};
    const struct store_traffic traffic = {.in_bytes = 3, .requests = 2};

    gw_session_ended(&server, (struct store_key){sid, strlen(sid)}, &record,
                     &traffic, cause);
}

static void end_numbered(unsigned from, unsigned to)
{
    char sid[32];

    for (unsigned i = from; i < to; i++) {
        snprintf(sid, sizeof(sid), "session-%08u", i);
        end_session(sid, GW_END_CLIENT);
    }
}

static void id_of(unsigned i, char out[GW_SESSION_ID_MAX])
{
    char sid[32];
    int len = snprintf(sid, sizeof(sid), "session-%08u", i);

    gw_session_id_of_key((struct store_key){sid, (size_t)len}, out);
}

/* SHA-256 of "abc" begins so. */
Test(session_end, an_id_is_the_front_of_a_digest)
{
    char id[GW_SESSION_ID_MAX];

    gw_session_id_of_key((struct store_key){"abc", 3}, id);
    cr_expect_str_eq(id, "ba7816bf8f01cfea");
    gw_session_id(&config, (struct store_key){"abc", 3}, id);
    cr_expect_str_eq(id, "ba7816bf8f01cfea");
}

/* All replicas call it the same, though Redis has another key. */
Test(session_end, a_hashed_sid_has_the_id_of_its_key)
{
    struct gw_config hashing = {.hash_secret_len = 16};
    char key[STORE_HASHED_LEN];
    char id[GW_SESSION_ID_MAX];
    char of_key[GW_SESSION_ID_MAX];

    memcpy(hashing.hash_secret, "0123456789abcdef", 16);
    gw_shared_hash(&hashing, (struct store_key){"abc", 3}, key);
    gw_session_id(&hashing, (struct store_key){"abc", 3}, id);
    gw_session_id_of_key((struct store_key){key, sizeof(key)}, of_key);
    cr_expect_str_eq(id, of_key);
    cr_expect_str_neq(id, "ba7816bf8f01cfea");
}

Test(session_end, only_such_a_text_is_an_id)
{
    cr_expect(gw_session_id_is("ba7816bf8f01cfea", 16));
    cr_expect_not(gw_session_id_is("BA7816BF8F01CFEA", 16));
    cr_expect_not(gw_session_id_is("ba7816bf8f01cfe", 15));
    cr_expect_not(gw_session_id_is("ba7816bf8f01cfeg", 16));
}

Test(session_end, is_counted_by_cause_and_kept)
{
    struct gw_ended ended;
    char id[GW_SESSION_ID_MAX];

    end_session("0123456789abcdef", GW_END_KICKED);
    end_session("another-session", GW_END_DENIED);
    end_session("a-third-session", GW_END_DENIED);
    cr_expect_eq(gw_ends_count(server.ends, GW_END_KICKED), 1);
    cr_expect_eq(gw_ends_count(server.ends, GW_END_DENIED), 2);
    cr_expect_eq(gw_ends_count(server.ends, GW_END_CLIENT), 0);
    gw_session_id_of_key((struct store_key){"0123456789abcdef", 16}, id);
    cr_assert(gw_ends_find(server.ends, id, &ended));
    cr_expect_str_eq(ended.sid, "0123...");
    cr_expect_str_eq(ended.record.backend, "n1");
    cr_expect_eq(ended.traffic.in_bytes, 3);
    cr_expect_eq(ended.cause, GW_END_KICKED);
    cr_expect_gt(ended.ended_ms, 1700000000000);
    cr_expect_not(gw_ends_find(server.ends, "0000000000000000", &ended));
}

Test(session_end, the_oldest_give_way)
{
    static struct gw_ended list[GW_ENDS_MAX + 1];
    char id[GW_SESSION_ID_MAX];

    end_numbered(0, GW_ENDS_MAX + 10);
    cr_assert_eq(gw_ends_list(server.ends, 0, GW_ENDS_MAX + 1, list),
                 GW_ENDS_MAX);
    id_of(GW_ENDS_MAX + 9, id);
    cr_expect_str_eq(list[0].id, id);
    id_of(10, id);
    cr_expect_str_eq(list[GW_ENDS_MAX - 1].id, id);
    id_of(9, id);
    cr_expect_not(gw_ends_find(server.ends, id, &list[0]));
    /* A page of them. */
    cr_assert_eq(gw_ends_list(server.ends, GW_ENDS_MAX - 2, 50, list), 2);
    cr_expect_eq(gw_ends_list(server.ends, GW_ENDS_MAX, 50, list), 0);
}

Test(session_end, every_cause_has_a_name)
{
    for (int i = 0; i < GW_END_COUNT; i++)
        cr_expect_not_null(gw_end_names[i], "%d", i);
}
