/* SPDX-License-Identifier: MIT */
/* A record as the fields of a hash, and back; what is hostile becomes unknown.
 */
#include "store/record.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An answer to HMGET; NULL is nil. */
struct answer {
    redisReply array;
    redisReply values[STORE_RECORD_COUNT];
    redisReply *elements[STORE_RECORD_COUNT];
    char text[STORE_RECORD_COUNT][512];
};

static void set(struct answer *answer, enum store_record_field field,
                const char *bytes, size_t len)
{
    redisReply *value = &answer->values[field];

    value->type = bytes != NULL ? REDIS_REPLY_STRING : REDIS_REPLY_NIL;
    value->str = NULL;
    value->len = len;
    if (bytes == NULL)
        return;
    cr_assert_lt(len, sizeof(answer->text[field]));
    memcpy(answer->text[field], bytes, len);
    answer->text[field][len] = '\0';
    value->str = answer->text[field];
}

static void set_text(struct answer *answer, enum store_record_field field,
                     const char *text)
{
    set(answer, field, text, text != NULL ? strlen(text) : 0);
}

static void init(struct answer *answer)
{
    *answer = (struct answer){
        .array = {.type = REDIS_REPLY_ARRAY, .elements = STORE_RECORD_COUNT}};
    answer->array.element = answer->elements;
    for (size_t i = 0; i < STORE_RECORD_COUNT; i++) {
        answer->elements[i] = &answer->values[i];
        set(answer, (enum store_record_field)i, NULL, 0);
    }
    set_text(answer, STORE_RECORD_BACKEND, "n1");
}

static const struct store_record full = {
    .backend = "n1",
    .client = "2001:db8::1",
    .gateway = "gw-a-0123456789abcdef",
    .created_ms = 1769860800123,
    .seen_ms = 1769860801000,
    .ping_interval_ms = 25000,
    .ping_timeout_ms = 20000,
    .eio = 4,
    .transport = STORE_TRANSPORT_WEBSOCKET,
};

Test(store_record, is_readable_by_hand)
{
    static const char *const expected[STORE_RECORD_COUNT] = {
        "n1",
        "4",
        "websocket",
        "25000",
        "20000",
        "2001:db8::1",
        "gw-a-0123456789abcdef",
        "2026-01-31T12:00:00.123Z",
        "2026-01-31T12:00:01.000Z",
    };
    struct store_record_text text;

    store_record_write(&full, &text);
    for (size_t i = 0; i < STORE_RECORD_COUNT; i++)
        cr_expect_str_eq(text.values[i], expected[i], "%s",
                         store_record_names[i]);
}

Test(store_record, comes_back_as_it_was)
{
    for (unsigned eio = 0; eio < 6; eio++) {
        struct store_record record = full;
        struct store_record got;
        struct store_record_text text;
        struct answer answer;
        record.eio = (uint8_t)eio;
        record.transport = eio % 2;
        store_record_write(&record, &text);
        init(&answer);
        for (size_t i = 0; i < STORE_RECORD_COUNT; i++)
            set_text(&answer, (enum store_record_field)i, text.values[i]);
        cr_assert(store_record_read(&answer.array, &got));
        cr_expect_str_eq(got.backend, record.backend);
        cr_expect_str_eq(got.client, record.client);
        cr_expect_str_eq(got.gateway, record.gateway);
        cr_expect_eq(got.created_ms, record.created_ms);
        cr_expect_eq(got.seen_ms, record.seen_ms);
        cr_expect_eq(got.ping_interval_ms, record.ping_interval_ms);
        cr_expect_eq(got.ping_timeout_ms, record.ping_timeout_ms);
        cr_expect_eq(got.eio, eio == 3 || eio == 4 ? eio : 0);
        cr_expect_eq(got.transport, record.transport);
    }
}

static struct store_record read_with(enum store_record_field field,
                                     const char *bytes, size_t len)
{
    struct answer answer;
    struct store_record got;

    init(&answer);
    set(&answer, field, bytes, len);
    cr_expect(store_record_read(&answer.array, &got), "%s", bytes);
    return got;
}

Test(store_record, only_the_backend_is_needed)
{
    struct store_record got = read_with(STORE_RECORD_EIO, NULL, 0);

    cr_expect_str_eq(got.backend, "n1");
    cr_expect_str_empty(got.client);
    cr_expect_str_empty(got.gateway);
    cr_expect_eq(got.created_ms, 0);
    cr_expect_eq(got.seen_ms, 0);
    cr_expect_eq(got.ping_interval_ms, 0);
    cr_expect_eq(got.eio, 0);
    cr_expect_eq(got.transport, STORE_TRANSPORT_POLLING);
}

Test(store_record, without_a_valid_backend_there_is_none)
{
    static const struct {
        const char *bytes;
        size_t len;
        bool is_valid;
    } cases[] = {
        {NULL, 0, false},       {"", 0, false},
        {"n", 1, true},         {"pool a/n\xc3\xa9", 10, true},
        {"n\n1", 3, false},     {"n\0001", 3, false},
        {"n\x1b[2J", 5, false}, {"n\x7f", 2, false},
    };
    struct answer answer;
    struct store_record got;
    char filler[STORE_BACKEND_MAX + 1];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        init(&answer);
        set(&answer, STORE_RECORD_BACKEND, cases[i].bytes, cases[i].len);
        cr_expect_eq(store_record_read(&answer.array, &got), cases[i].is_valid,
                     "case %zu", i);
    }
    memset(filler, 'n', sizeof(filler));
    init(&answer);
    set(&answer, STORE_RECORD_BACKEND, filler, STORE_BACKEND_MAX - 1);
    cr_expect(store_record_read(&answer.array, &got));
    cr_expect_eq(strlen(got.backend), STORE_BACKEND_MAX - 1);
    set(&answer, STORE_RECORD_BACKEND, filler, STORE_BACKEND_MAX);
    cr_expect_not(store_record_read(&answer.array, &got));
}

Test(store_record, what_is_no_array_of_the_fields_is_none)
{
    struct answer answer;
    struct store_record got;

    init(&answer);
    answer.array.elements = STORE_RECORD_COUNT - 1;
    cr_expect_not(store_record_read(&answer.array, &got));
    answer.array.elements = 0;
    cr_expect_not(store_record_read(&answer.array, &got));
    for (int type = REDIS_REPLY_INTEGER; type <= REDIS_REPLY_ERROR; type++) {
        const redisReply other = {.type = type};
        cr_expect_not(store_record_read(&other, &got));
        init(&answer);
        for (size_t i = 1; i < STORE_RECORD_COUNT; i++)
            answer.values[i] = other;
        cr_expect(store_record_read(&answer.array, &got));
        answer.values[STORE_RECORD_BACKEND] = other;
        cr_expect_not(store_record_read(&answer.array, &got));
    }
}

Test(store_record, junk_fields_are_unknown)
{
    static const char *const no_number[] = {
        "",    "-1",   "+5",  "1.5",  " 5",  "5 ",    "0x10",
        "1e3", "five", "5\n", "\xff", "NaN", "1,000", "1234567890123456789",
    };
    static const char *const no_eio[] = {"", "0", "5", "33", "04", "4 ", "x"};
    char filler[256];

    for (size_t i = 0; i < sizeof(no_number) / sizeof(no_number[0]); i++) {
        const char *text = no_number[i];
        const size_t len = strlen(text);
        cr_expect_eq(
            read_with(STORE_RECORD_PING_INTERVAL, text, len).ping_interval_ms,
            0, "%s", text);
        cr_expect_eq(
            read_with(STORE_RECORD_PING_TIMEOUT, text, len).ping_timeout_ms, 0,
            "%s", text);
    }
    for (size_t i = 0; i < sizeof(no_eio) / sizeof(no_eio[0]); i++)
        cr_expect_eq(
            read_with(STORE_RECORD_EIO, no_eio[i], strlen(no_eio[i])).eio, 0);
    cr_expect_eq(read_with(STORE_RECORD_EIO, "3", 1).eio, 3);
    cr_expect_eq(read_with(STORE_RECORD_TRANSPORT, "WebSocket", 9).transport,
                 STORE_TRANSPORT_POLLING);
    cr_expect_eq(read_with(STORE_RECORD_TRANSPORT, "websocket", 9).transport,
                 STORE_TRANSPORT_WEBSOCKET);
    memset(filler, 'c', sizeof(filler));
    cr_expect_str_empty(
        read_with(STORE_RECORD_CLIENT, filler, STORE_CLIENT_MAX).client);
    cr_expect_eq(
        strlen(read_with(STORE_RECORD_CLIENT, filler, STORE_CLIENT_MAX - 1)
                   .client),
        STORE_CLIENT_MAX - 1);
    cr_expect_str_empty(
        read_with(STORE_RECORD_GATEWAY, filler, STORE_GATEWAY_MAX).gateway);
    cr_expect_str_empty(read_with(STORE_RECORD_CLIENT, "10.0\r\n", 6).client);
}

Test(store_record, ping_times_are_bounded)
{
    static const struct {
        const char *text;
        uint32_t ms;
    } cases[] = {
        {"0", 0},
        {"00025000", 25000},
        {"3599999", 3599999},
        {"3600000", 3600000},
        {"3600001", 3600000},
        {"4294967296", 3600000},
        {"999999999999999999", 3600000},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(read_with(STORE_RECORD_PING_INTERVAL, cases[i].text,
                               strlen(cases[i].text))
                         .ping_interval_ms,
                     cases[i].ms, "%s", cases[i].text);
}

static bool read_time(const char *text, int64_t *ms)
{
    struct guard guard = guard_copy(text, strlen(text));
    const bool is_read = store_time_read(guard.bytes, guard.len, ms);

    guard_free(&guard);
    return is_read;
}

Test(store_record, times_are_read_strictly)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.12Z",
        "2026-01-31T12:00:00.1234Z",
        "2026-01-31T12:00:00.123",
        "2026-01-31T12:00:00.123z",
        "2026-01-31 12:00:00.123Z",
        "2026-01-31T12:00:00,123Z",
        "2026-01-31T12:00:00.123+",
        "2026-1-031T12:00:00.123Z",
        "+026-01-31T12:00:00.123Z",
        "2026-00-31T12:00:00.123Z",
        "2026-13-01T12:00:00.123Z",
        "2026-01-00T12:00:00.123Z",
        "2026-01-32T12:00:00.123Z",
        "2026-02-29T12:00:00.123Z",
        "2100-02-29T12:00:00.123Z",
        "2026-04-31T12:00:00.123Z",
        "2026-01-31T24:00:00.000Z",
        "2026-01-31T12:60:00.000Z",
        "2026-01-31T12:00:60.000Z",
        "1969-12-31T23:59:59.999Z",
        "0000-01-01T00:00:00.000Z",
        "2026-01-31T12:00:00.123Z ",
        "2026-01-31T12:00:00.12\xb2Z",
    };
    int64_t ms = 7;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_expect_not(read_time(bad[i], &ms), "%s", bad[i]);
        cr_expect_eq(ms, 7);
    }
}

Test(store_record, times_come_back)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1769860800123, "2026-01-31T12:00:00.123Z"},
        {4107542399999, "2100-02-28T23:59:59.999Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
    };
    char text[STORE_TIME_TEXT_MAX];
    int64_t ms;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        store_time_write(cases[i].ms, text);
        cr_expect_str_eq(text, cases[i].text);
        cr_assert(read_time(text, &ms), "%s", text);
        cr_expect_eq(ms, cases[i].ms);
    }
    store_time_write(-1, text);
    cr_expect_str_eq(text, cases[0].text);
    store_time_write(INT64_MAX, text);
    cr_expect_str_eq(text, cases[5].text);
    for (int64_t at = 86399999; at < 253402300799999;
         at += INT64_C(86400000) * 211) {
        store_time_write(at, text);
        cr_assert(read_time(text, &ms), "%s", text);
        cr_assert_eq(ms, at);
    }
}
