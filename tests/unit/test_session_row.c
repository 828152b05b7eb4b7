/* SPDX-License-Identifier: MIT */
/* Sessions as the API writes them. */
#include "gateway/session_row.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t now_ms = 1700000100250;

static struct gw_session_row row;
static struct gw_text text;
static cJSON *root;

static void begin(void)
{
    row = (struct gw_session_row){
        .id = "0123456789abcdef",
        .sid = "abcd...",
        .record = {.backend = "n1",
                   .client = "10.0.0.7",
                   .gateway = "gw.1",
                   .created_ms = 1700000000000,
                   .seen_ms = 1700000100001,
                   .ping_interval_ms = 25000,
                   .ping_timeout_ms = 20000,
                   .eio = 4,
                   .transport = STORE_TRANSPORT_WEBSOCKET},
        .has_traffic = true,
        .traffic = {.in_bytes = 5000000000, .out_bytes = 7, .requests = 3},
        .life_ms = 44001,
    };
}

static void end(void)
{
    cJSON_Delete(root);
    root = NULL;
    free(text.bytes);
    text = (struct gw_text){0};
}

static void write_row(bool is_detail)
{
    end();
    gw_session_row_put(&text, &row, now_ms, is_detail);
    cr_assert_not(text.is_short);
    cr_assert_eq(strlen(text.bytes), text.len);
    root = cJSON_Parse(text.bytes);
    cr_assert_not_null(root, "%s", text.bytes);
}

static const cJSON *member(const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(root, name);
}

static const char *string(const char *name)
{
    const char *value = cJSON_GetStringValue(member(name));

    return value != NULL ? value : "(none)";
}

static void expect_number(const char *name, double value)
{
    const cJSON *number = member(name);

    cr_assert(cJSON_IsNumber(number), "%s", name);
    cr_expect(fabs(number->valuedouble - value) < 0.0001, "%s: %f", name,
              number->valuedouble);
}

TestSuite(session_row, .init = begin, .fini = end);

Test(session_row, of_a_list)
{
    write_row(false);
    cr_expect_str_eq(string("id"), "0123456789abcdef");
    cr_expect_str_eq(string("sid"), "abcd...");
    cr_expect_str_eq(string("backend"), "n1");
    cr_expect_str_eq(string("transport"), "websocket");
    cr_expect_str_eq(string("client"), "10.0.0.7");
    cr_expect_str_eq(string("gateway"), "gw.1");
    cr_expect_str_eq(string("created"), "2023-11-14T22:13:20.000Z");
    cr_expect_str_eq(string("seen"), "2023-11-14T22:15:00.001Z");
    expect_number("eio", 4);
    expect_number("age_s", 100.25);
    expect_number("idle_s", 0.249);
    expect_number("expires_s", 44.001);
    expect_number("requests", 3);
    expect_number("bytes_in", 5e9);
    expect_number("bytes_out", 7);
    cr_expect_eq(cJSON_GetArraySize(root), 15);
}

Test(session_row, of_one)
{
    row.record.transport = STORE_TRANSPORT_POLLING;
    write_row(true);
    cr_expect_str_eq(string("state"), "live");
    cr_expect_str_eq(string("transport"), "polling");
    expect_number("ping_interval_ms", 25000);
    expect_number("ping_timeout_ms", 20000);
    cr_expect_eq(cJSON_GetArraySize(root), 18);
}

Test(session_row, of_one_that_ended)
{
    struct gw_ended ended = {.id = "fedcba9876543210",
                             .sid = "wxyz...",
                             .record = row.record,
                             .traffic = row.traffic,
                             .ended_ms = 1700000050500,
                             .cause = GW_END_KICKED};

    gw_session_row_of_ended(&row, &ended);
    write_row(false);
    cr_expect_str_eq(string("id"), "fedcba9876543210");
    cr_expect_str_eq(string("sid"), "wxyz...");
    cr_expect_str_eq(string("cause"), "kicked");
    cr_expect_str_eq(string("ended"), "2023-11-14T22:14:10.500Z");
    expect_number("duration_s", 50.5);
    expect_number("requests", 3);
    cr_expect_null(member("expires_s"));
    write_row(true);
    cr_expect_str_eq(string("state"), "ended");
}

Test(session_row, with_what_is_not_known)
{
    row.has_traffic = false;
    row.record.eio = 0;
    write_row(false);
    cr_expect(cJSON_IsNull(member("eio")));
    cr_expect(cJSON_IsNull(member("requests")));
    cr_expect(cJSON_IsNull(member("bytes_in")));
    cr_expect(cJSON_IsNull(member("bytes_out")));
}

Test(session_row, is_never_of_a_negative_age)
{
    row.record.created_ms = now_ms + 60000;
    row.record.seen_ms = INT64_MAX;
    row.life_ms = -5;
    write_row(false);
    expect_number("age_s", 0);
    expect_number("idle_s", 0);
    expect_number("expires_s", 0);
    row.record.created_ms = 0;
    row.record.seen_ms = -1;
    write_row(false);
    expect_number("age_s", 0);
    expect_number("idle_s", 0);
}

Test(session_row, holds_no_bytes_of_others)
{
    snprintf(row.record.backend, sizeof(row.record.backend),
             "a\"b\\c</script>\x01\x7f\xc3(");
    write_row(false);
    cr_expect_str_eq(string("backend"), "a\"b\\c</script>?\?\?(");
    for (size_t i = 0; i < text.len; i++)
        cr_assert(text.bytes[i] >= ' ' && text.bytes[i] <= '~');
}
