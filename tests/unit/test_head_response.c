/* SPDX-License-Identifier: MIT */
/* Response heads of a backend: as strict as requests. */
#include "tests/unit/head_fixture.h"

#define OK "HTTP/1.1 200 OK\r\n"

static const struct eio_span refused[] = {
    BYTES(""),
    BYTES("H"),
    BYTES("HTTP/1.1 200"),
    BYTES("HTTP/1.1 200 OK\r\n"),
    BYTES("HTTP/1.1 200 OK\r\nA: b\r\n"),
    BYTES("<html>hello hello</html>\r\n\r\n"),
    BYTES("\r\nHTTP/1.1 200 OK\r\n\r\n"),
    /* the status line */
    BYTES("HTTP/0.9 200 OK\r\n\r\n"),
    BYTES("HTTP/2.0 200 OK\r\n\r\n"),
    BYTES("HTTP/1.2 200 OK\r\n\r\n"),
    BYTES("HTTP/1. 200 OK\r\n\r\n"),
    BYTES("HTTP/1.1x200 OK\r\n\r\n"),
    BYTES("http/1.1 200 OK\r\n\r\n"),
    BYTES("ICE/1.0 200 OK\r\n\r\n"),
    BYTES("HTTP/1.1200 OK\r\n\r\n"),
    BYTES("HTTP/1.1 20 OK\r\n\r\n"),
    BYTES("HTTP/1.1 2000 OK\r\n\r\n"),
    BYTES("HTTP/1.1 +20 OK\r\n\r\n"),
    BYTES("HTTP/1.1 2x0 OK\r\n\r\n"),
    BYTES("HTTP/1.1 000 OK\r\n\r\n"),
    BYTES("HTTP/1.1 099 OK\r\n\r\n"),
    BYTES("HTTP/1.1 600 OK\r\n\r\n"),
    BYTES("HTTP/1.1 999 OK\r\n\r\n"),
    BYTES("HTTP/1.1 200 O\0K\r\n\r\n"),
    BYTES("HTTP/1.1 200 O\x01K\r\n\r\n"),
    BYTES("HTTP/1.1 200 O\rK\r\n\r\n"),
    BYTES("HTTP/1.1 200 O\x7fK\r\n\r\n"),
    /* fields */
    BYTES(OK "A\r\n\r\n"),
    BYTES(OK ": a\r\n\r\n"),
    BYTES(OK "A : b\r\n\r\n"),
    BYTES(OK "A b: c\r\n\r\n"),
    BYTES(OK "A: b\0\r\n\r\n"),
    BYTES(OK "A: b\rc\r\n\r\n"),
    BYTES(OK "A: \x1b\r\n\r\n"),
    BYTES(OK "A: b\x7f\r\n\r\n"),
    BYTES(OK "A\0: b\r\n\r\n"),
    /* framing */
    BYTES(OK "Content-Length:\r\n\r\n"),
    BYTES(OK "Content-Length: +5\r\n\r\n"),
    BYTES(OK "Content-Length: -5\r\n\r\n"),
    BYTES(OK "Content-Length: 5x\r\n\r\n"),
    BYTES(OK "Content-Length: 5, 5\r\n\r\n"),
    BYTES(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    BYTES(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    BYTES(OK "Content-Length: 18446744073709551621\r\n\r\n"),
    BYTES(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BYTES(OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    BYTES(OK "Transfer-Encoding: gzip\r\n\r\n"),
    BYTES(OK "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    BYTES(OK "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    BYTES(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
             "\r\n"),
    BYTES(OK "Transfer-Encoding:\r\n\r\n"),
    BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
};

Test(head_response, refuses)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct parsed *parsed = parse(refused[i], false);
        cr_assert_eq(parsed->status, -1, "case %zu, %s", i, refused[i].ptr);
        parsed_free(parsed);
    }
}

Test(head_response, reads_the_status_line)
{
    static const struct {
        struct eio_span bytes;
        int minor;
        int status;
        const char *reason;
    } cases[] = {
        {BYTES("HTTP/1.1 200 OK\r\n\r\n"), 1, 200, "OK"},
        {BYTES("HTTP/1.0 404 Not Found\r\n\r\n"), 0, 404, "Not Found"},
        {BYTES("HTTP/1.1 100 Continue\r\n\r\n"), 1, 100, "Continue"},
        {BYTES("HTTP/1.1 599 \xc3\xa9\tx\r\n\r\n"), 1, 599, "\xc3\xa9\tx"},
        {BYTES("HTTP/1.1 200 \r\n\r\n"), 1, 200, ""},
        {BYTES("HTTP/1.1 200\r\n\r\n"), 1, 200, ""},
        {BYTES("HTTP/1.1 101 Switching Protocols\r\n\r\n"), 1, 101,
         "Switching Protocols"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse(cases[i].bytes, false);
        cr_assert_eq(parsed->status, 0, "case %zu", i);
        cr_assert_eq(parsed->head.minor, cases[i].minor, "case %zu", i);
        cr_assert_eq(parsed->head.status, cases[i].status, "case %zu", i);
        check_span(parsed->head.reason, cases[i].reason);
        cr_assert_eq(parsed->head.field_count, 0);
        cr_assert_eq(parsed->head.content_length, -1);
        cr_assert_eq(parsed->head.keep_alive_s, -1);
        cr_assert_not(parsed->head.has_date);
        parsed_free(parsed);
    }
}

Test(head_response, reads_fields)
{
    static const struct eio_span bytes = BYTES(
        OK "Content-Length: 5\r\ncontent-encoding: gzip\r\nDATE: x\r\n"
           "Connection: close, X-A\r\nX-A: b\r\nX-Forwarded-For: 1.2.3.4\r\n"
           "\r\n");
    struct parsed *parsed = parse(bytes, false);

    cr_assert_eq(parsed->status, 0);
    cr_assert_eq(parsed->head.content_length, 5);
    check_span(parsed->head.content_encoding, "gzip");
    cr_assert(parsed->head.has_date);
    cr_assert(parsed->head.says_close);
    cr_assert(parsed->head.fields[4].is_dropped);
    cr_assert_not(parsed->head.fields[5].is_dropped);
    parsed_free(parsed);
}

Test(head_response, reads_keep_alive)
{
    static const struct {
        const char *value;
        int seconds;
    } cases[] = {
        {"timeout=5", 5},
        {"timeout=5, max=100", 5},
        {"max=100, TIMEOUT=75", 75},
        {"timeout=0", 0},
        {"timeout=99999", 99999},
        {"timeout=100000", -1},
        {"timeout=", -1},
        {"timeout=x", -1},
        {"timeout=-5", -1},
        {"timeout=5s", -1},
        {"timeout", -1},
        {"max=5", -1},
        {"", -1},
        {"xtimeout=5", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        int len = snprintf(text, sizeof(text), OK "Keep-Alive: %s\r\n\r\n",
                           cases[i].value);
        struct parsed *parsed =
            parse((struct eio_span){text, (size_t)len}, false);
        cr_assert_eq(parsed->status, 0, "%s", cases[i].value);
        cr_assert_eq(parsed->head.keep_alive_s, cases[i].seconds, "%s: %d",
                     cases[i].value, parsed->head.keep_alive_s);
        parsed_free(parsed);
    }
}

Test(head_response, knows_a_switch_to_websocket)
{
    static const struct {
        struct eio_span bytes;
        bool upgrades;
    } cases[] = {
        {BYTES("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
               "Sec-WebSocket-Accept: a\r\n\r\n"),
         true},
        {BYTES("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n"
               "Sec-WebSocket-Accept: a\r\n\r\n"),
         false},
        {BYTES("HTTP/1.1 101 S\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Accept: a\r\n\r\n"),
         false},
        {BYTES("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               "\r\n"),
         false},
        {BYTES("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
               "Sec-WebSocket-Accept: a\r\n\r\n"),
         false},
        {BYTES("HTTP/1.1 101 S\r\nConnection: Upgrade\r\n"
               "Upgrade: websocket, h2c\r\nSec-WebSocket-Accept: a\r\n\r\n"),
         false},
        {BYTES("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
               "Upgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n"),
         false},
        {BYTES("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
               "Sec-WebSocket-Accept: a\r\nSec-WebSocket-Accept: a\r\n\r\n"),
         false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse(cases[i].bytes, false);
        cr_assert_eq(parsed->status, 0, "case %zu", i);
        cr_assert_eq(parsed->head.upgrades_websocket, cases[i].upgrades,
                     "case %zu", i);
        if (cases[i].upgrades)
            check_span(parsed->head.ws_accept, "a");
        parsed_free(parsed);
    }
}

Test(head_response, refuses_every_cut_head)
{
    static const struct eio_span whole =
        BYTES(OK "Content-Length: 5\r\nKeep-Alive: timeout=5\r\n\r\n");
    for (size_t len = 0; len < whole.len; len++) {
        struct parsed *parsed = parse((struct eio_span){whole.ptr, len}, false);
        cr_assert_eq(parsed->status, -1, "%zu bytes", len);
        parsed_free(parsed);
    }
}

Test(head_response, refuses_more_fields_than_there_is_room_for)
{
    static char text[16 * GW_FIELDS_MAX];
    size_t len = strlen(OK);

    memcpy(text, OK, len);
    for (size_t i = 0; i <= GW_FIELDS_MAX; i++, len += 6)
        memcpy(text + len, "A: b\r\n", 6);
    memcpy(text + len, "\r\n", 2);
    struct parsed *parsed = parse((struct eio_span){text, len + 2}, false);
    cr_assert_eq(parsed->status, -1);
    parsed_free(parsed);
}
