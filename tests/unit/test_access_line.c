/* SPDX-License-Identifier: MIT */
/* Lines of the access log, whatever is in their values. */
#include "gateway/access_line.h"
#include "gateway/exchange_report.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <stdio.h>

static char line[GW_ACCESS_LINE_MAX + 1];

static struct eio_span bytes_of(const char *ptr, size_t len)
{
    return (struct eio_span){ptr, len};
}

#define BYTES(text) bytes_of(text, sizeof(text) - 1)

static struct gw_access_request plain(void)
{
    return (struct gw_access_request){
        .time_ms = 1767225600123,
        .client = "10.0.0.7",
        .method = BYTES("GET"),
        .path = BYTES("/socket.io/"),
        .kind = "poll",
        .status = 200,
        .session = "0123456789abcdef",
        .sid = "abcd...",
        .eio = 4,
        .transport = "polling",
        .backend = "n1",
        .route = "store",
        .in_bytes = 100,
        .out_bytes = 5000000000,
        .duration_us = 1234567,
        .first_us = 45,
        .worker = 3,
        .protocol = "HTTP/1.1",
    };
}

static const char *write_request(const struct gw_access_request *request,
                                 bool is_json)
{
    size_t len = gw_access_line_request(request, is_json, line);
    cr_assert_leq(len, GW_ACCESS_LINE_MAX);
    line[len] = '\0';
    cr_assert_eq(strlen(line), len, "no zero byte in it");
    cr_assert_eq(strchr(line, '\n'), line + len - 1, "one line");
    for (size_t i = 0; i < len - 1; i++)
        cr_assert(line[i] >= ' ' && line[i] <= '~', "byte %d", line[i]);
    return line;
}

Test(access_line, request_as_text)
{
    struct gw_access_request request = plain();

    cr_expect_str_eq(
        write_request(&request, false),
        "time=2026-01-01T00:00:00.123Z event=request client=10.0.0.7 "
        "method=GET path=/socket.io/ kind=poll status=200 "
        "session=0123456789abcdef sid=abcd... eio=4 transport=polling "
        "backend=n1 route=store bytes_in=100 bytes_out=5000000000 "
        "duration_ms=1234.567 first_byte_ms=0.045 worker=3 tls=false "
        "protocol=HTTP/1.1\n");
    request.is_own = true;
    request.is_tls = true;
    request.first_us = -1;
    request.end = "cut";
    request.host = BYTES("h:80");
    request.request_id = BYTES("r=1");
    request.user_agent = BYTES("a b");
    request.traceparent = BYTES("00-1");
    cr_expect_str_eq(
        write_request(&request, false),
        "time=2026-01-01T00:00:00.123Z event=request client=10.0.0.7 "
        "method=GET path=/socket.io/ kind=poll status=200 "
        "session=0123456789abcdef sid=abcd... eio=4 transport=polling "
        "backend=n1 route=store own=true bytes_in=100 bytes_out=5000000000 "
        "duration_ms=1234.567 end=cut worker=3 tls=true protocol=HTTP/1.1 "
        "request_id=\"r=1\" traceparent=00-1 host=h:80 user_agent=\"a b\"\n");
}

Test(access_line, request_as_json)
{
    struct gw_access_request request = plain();

    request.is_own = true;
    cr_expect_str_eq(
        write_request(&request, true),
        "{\"time\":\"2026-01-01T00:00:00.123Z\",\"event\":\"request\","
        "\"client\":\"10.0.0.7\",\"method\":\"GET\",\"path\":\"/socket.io/\","
        "\"kind\":\"poll\",\"status\":200,\"session\":\"0123456789abcdef\","
        "\"sid\":\"abcd...\",\"eio\":4,\"transport\":\"polling\","
        "\"backend\":\"n1\",\"route\":\"store\",\"own\":true,"
        "\"bytes_in\":100,\"bytes_out\":5000000000,\"duration_ms\":1234.567,"
        "\"first_byte_ms\":0.045,\"worker\":3,\"tls\":false,"
        "\"protocol\":\"HTTP/1.1\"}\n");
}

Test(access_line, what_is_not_known_is_left_out)
{
    const struct gw_access_request request = {
        .client = "1.2.3.4", .duration_us = -1, .first_us = -1, .status = 400};

    cr_expect_str_eq(write_request(&request, false),
                     "time=1970-01-01T00:00:00.000Z event=request "
                     "client=1.2.3.4 status=400 bytes_out=0 worker=0 "
                     "tls=false\n");
}

/* What a path of these bytes is as JSON text and as text. */
Test(access_line, hostile_bytes_forge_nothing)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *as_text;
        const char *as_json;
    } cases[] = {
        {"/\nevent=x", 9, "\"/\\nevent=x\"", "\"/\\nevent=x\""},
        {"/\"},{", 5, "\"/\\\"},{\"", "\"/\\\"},{\""},
        {"/\\", 2, "\"/\\\\\"", "\"/\\\\\""},
        {"/\x9b\x80\xff", 4, "\"/\\x9b\\x80\\xff\"",
         "\"/\\u009b\\u0080\\u00ff\""},
        {"/\0a", 3, "\"/\\x00a\"", "\"/\\u0000a\""},
        {"/\x1b[2J\x7f", 6, "\"/\\x1b[2J\\x7f\"", "\"/\\u001b[2J\\u007f\""},
        {"/a b", 4, "\"/a b\"", "\"/a b\""},
        {"/\r\t", 3, "\"/\\r\\t\"", "\"/\\r\\t\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gw_access_request request = plain();
        char want[128];

        request.path = bytes_of(cases[i].bytes, cases[i].len);
        request.user_agent = request.path;
        snprintf(want, sizeof(want), " path=%s kind=poll ", cases[i].as_text);
        cr_expect_not_null(strstr(write_request(&request, false), want), "%s",
                           line);
        snprintf(want, sizeof(want), ",\"path\":%s,\"kind\":\"poll\",",
                 cases[i].as_json);
        cr_expect_not_null(strstr(write_request(&request, true), want), "%s",
                           line);
        cJSON *json = cJSON_Parse(line);
        cr_expect_not_null(json, "%s", line);
        cJSON_Delete(json);
    }
}

Test(access_line, long_values_are_cut)
{
    struct gw_access_request request = plain();
    char long_text[600];

    memset(long_text, 'x', sizeof(long_text));
    request.path = bytes_of(long_text, GW_ACCESS_PATH_MAX);
    write_request(&request, false);
    const char *at = strstr(line, "path=") + 5;
    cr_expect_eq(strspn(at, "x"), GW_ACCESS_PATH_MAX);
    cr_expect_eq(at[GW_ACCESS_PATH_MAX], ' ');
    request.path.len++;
    request.user_agent = bytes_of(long_text, 500);
    write_request(&request, false);
    at = strstr(line, "path=") + 5;
    cr_expect_eq(strspn(at, "x"), GW_ACCESS_PATH_MAX);
    cr_expect_arr_eq(at + GW_ACCESS_PATH_MAX, "... ", 4);
    at = strstr(line, "user_agent=") + 11;
    cr_expect_eq(strspn(at, "x"), GW_ACCESS_AGENT_MAX);
    cr_expect_str_eq(at + GW_ACCESS_AGENT_MAX, "...\n");
}

/* The worst of everything still is one whole line that a pipe takes at once. */
Test(access_line, the_longest_line_is_whole)
{
    static char worst[GW_ACCESS_PATH_MAX + 1];
    struct gw_access_request request = plain();
    struct eio_span long_id;

    memset(worst, 1, sizeof(worst));
    request.path = bytes_of(worst, sizeof(worst));
    request.host = request.path;
    request.user_agent = request.path;
    request.method = bytes_of(worst, 32);
    long_id = bytes_of("0123456789012345678901234567890123456789012345678901234"
                       "5678901234567890123456789012345678901234567890123456789"
                       "012345678901234567",
                       GW_REQUEST_ID_MAX);
    request.request_id = long_id;
    request.traceparent = bytes_of(long_id.ptr, 55);
    for (int is_json = 0; is_json < 2; is_json++) {
        write_request(&request, is_json != 0);
        cr_expect_not_null(strstr(line, "user_agent"), "%s", line);
    }
    cJSON *json = cJSON_Parse(line);
    cr_expect_not_null(json);
    cJSON_Delete(json);
}

static struct gw_ended one_ended(void)
{
    return (struct gw_ended){
        .id = "0123456789abcdef",
        .sid = "abcd...",
        .record = {.backend = "n1",
                   .client = "2001:db8::1",
                   .gateway = "gw-a.1",
                   .created_ms = 1767225600000,
                   .eio = 4,
                   .transport = STORE_TRANSPORT_WEBSOCKET},
        .traffic = {.in_bytes = 1, .out_bytes = 2, .requests = 3},
        .ended_ms = 1767225661500,
        .cause = GW_END_BACKEND,
    };
}

static const char *write_session(const struct gw_ended *ended, bool is_json)
{
    line[gw_access_line_session(ended, is_json, line)] = '\0';
    return line;
}

Test(access_line, session_as_text_and_json)
{
    struct gw_ended ended = one_ended();

    cr_expect_str_eq(
        write_session(&ended, false),
        "time=2026-01-01T00:01:01.500Z event=session_end "
        "session=0123456789abcdef sid=abcd... cause=backend backend=n1 "
        "client=2001:db8::1 eio=4 transport=websocket "
        "created=2026-01-01T00:00:00.000Z duration_s=61.500 requests=3 "
        "bytes_in=1 bytes_out=2 gateway=gw-a.1\n");
    cr_expect_str_eq(
        write_session(&ended, true),
        "{\"time\":\"2026-01-01T00:01:01.500Z\",\"event\":\"session_end\","
        "\"session\":\"0123456789abcdef\",\"sid\":\"abcd...\","
        "\"cause\":\"backend\",\"backend\":\"n1\",\"client\":\"2001:db8::1\","
        "\"eio\":4,\"transport\":\"websocket\","
        "\"created\":\"2026-01-01T00:00:00.000Z\",\"duration_s\":61.500,"
        "\"requests\":3,\"bytes_in\":1,\"bytes_out\":2,"
        "\"gateway\":\"gw-a.1\"}\n");
}

/* Another gateway's clock, or somebody in the store, may say anything. */
Test(access_line, times_that_cannot_be)
{
    static const int64_t times[] = {INT64_MIN, -1, 0, 1767225661501, INT64_MAX};

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        struct gw_ended ended = one_ended();

        ended.record.created_ms = times[i];
        cr_expect_not_null(
            strstr(write_session(&ended, false), " duration_s=0.000 "), "%s",
            line);
    }
}

Test(access_line, request_ids)
{
    static const char *const good[] = {"a", "a-B_9.{}~!", "id=1"};
    static const char *const bad[] = {"",     "a b",      "a\"b", "a\\b",
                                      "\x7f", "\xc3\xa9", "a\tb"};
    char text[GW_REQUEST_ID_MAX + 1];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_expect(gw_is_request_id(eio_span_of(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_not(gw_is_request_id(eio_span_of(bad[i])), "%s", bad[i]);
    memset(text, 'x', sizeof(text));
    cr_expect(gw_is_request_id(bytes_of(text, GW_REQUEST_ID_MAX)));
    cr_expect_not(gw_is_request_id(bytes_of(text, GW_REQUEST_ID_MAX + 1)));
}

#define ID     "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

Test(access_line, traceparents)
{
    static const char *const good[] = {
        "00-" ID "-" PARENT "-01", "00-" ID "-" PARENT "-00",
        "cc-" ID "-" PARENT "-ff", "01-" ID "-" PARENT "-01-more"};
    static const char *const bad[] = {
        "",
        "00",
        "00-" ID "-" PARENT "-0",
        "00-" ID "-" PARENT "-01-more",
        "00-" ID "-" PARENT "-011",
        "01-" ID "-" PARENT "-01more",
        "ff-" ID "-" PARENT "-01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" ID "-0000000000000000-01",
        "00-" ID "-" PARENT "-0G",
        "00_" ID "-" PARENT "-01",
        "00-" ID "_" PARENT "-01",
        "0A-" ID "-" PARENT "-01",
        "00-0AF7651916cd43dd8448eb211c80319c-" PARENT "-01",
        "00-" ID "-" PARENT "_01"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_expect(gw_is_traceparent(eio_span_of(good[i])), "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_not(gw_is_traceparent(eio_span_of(bad[i])), "%s", bad[i]);
}
