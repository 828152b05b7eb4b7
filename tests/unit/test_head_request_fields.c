/* SPDX-License-Identifier: MIT */
/* Request heads: kinds of fields, Connection, Expect and websockets. */
#include "tests/unit/head_fixture.h"

#define HEAD       "GET /x HTTP/1.1\r\nHost: h\r\n"
#define OLD        "GET /x HTTP/1.0\r\nHost: h\r\n"
#define KEY        "dGhlIHNhbXBsZSBub25jZQ=="
#define KEY_FIELDS "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"

Test(head_request_fields, knows_kinds_by_name_in_any_case)
{
    static const struct {
        const char *name;
        enum gw_field_kind kind;
    } cases[] = {
        {"Accept-Encoding", GW_FIELD_ACCEPT_ENCODING},
        {"CONNECTION", GW_FIELD_CONNECTION},
        {"content-encoding", GW_FIELD_CONTENT_ENCODING},
        {"Date", GW_FIELD_DATE},
        {"Expect", GW_FIELD_EXPECT},
        {"Keep-Alive", GW_FIELD_KEEP_ALIVE},
        {"Origin", GW_FIELD_ORIGIN},
        {"Upgrade", GW_FIELD_UPGRADE},
        {"Sec-WebSocket-Accept", GW_FIELD_WS_ACCEPT},
        {"Forwarded", GW_FIELD_FORWARDING},
        {"X-Real-IP", GW_FIELD_FORWARDING},
        {"X-Forwarded-For", GW_FIELD_FORWARDING},
        {"x-FORWARDED-whatever", GW_FIELD_FORWARDING},
        {"TE", GW_FIELD_HOP},
        {"Trailer", GW_FIELD_HOP},
        {"Proxy-Connection", GW_FIELD_HOP},
        {"Proxy-Authorization", GW_FIELD_HOP},
        {"Proxy-Authenticate", GW_FIELD_HOP},
        {"HTTP2-Settings", GW_FIELD_HOP},
        {"X-Forwarded-", GW_FIELD_OTHER},
        {"X-Forwarded", GW_FIELD_OTHER},
        {"Hos", GW_FIELD_OTHER},
        {"Hosts", GW_FIELD_OTHER},
        {"Content-Length0", GW_FIELD_OTHER},
        {"Content_Length", GW_FIELD_HOP},
        {"transfer_ENCODING", GW_FIELD_HOP},
        {"X_Forwarded-For", GW_FIELD_HOP},
        {"x_real_ip", GW_FIELD_HOP},
        {"my_field", GW_FIELD_OTHER},
        {"Content_Length_of_something_else", GW_FIELD_OTHER},
        {"_", GW_FIELD_OTHER},
        {"Cookie", GW_FIELD_OTHER},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        int len =
            snprintf(text, sizeof(text), HEAD "%s: x\r\n\r\n", cases[i].name);
        struct parsed *parsed =
            parse((struct eio_span){text, (size_t)len}, true);
        cr_assert_eq(parsed->status, 0, "%s", cases[i].name);
        cr_assert_eq(parsed->head.fields[1].kind, cases[i].kind, "%s",
                     cases[i].name);
        parsed_free(parsed);
    }
}

Test(head_request_fields, reads_connection)
{
    static const struct {
        const char *fields;
        bool says_close;
        bool says_keep_alive;
        bool says_upgrade;
    } cases[] = {
        {"", false, false, false},
        {"Connection:\r\n", false, false, false},
        {"Connection: close\r\n", true, false, false},
        {"Connection: CLOSE\r\n", true, false, false},
        {"Connection: keep-alive, Upgrade\r\n", false, true, true},
        {"Connection: ,\t, close ,,keep-alive,\r\n", true, true, false},
        {"Connection: close\r\nConnection: upgrade\r\n", true, false, true},
        {"Connection: closed, xupgrade, keep alive\r\n", false, false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[128];
        int len = snprintf(text, sizeof(text), HEAD "%s\r\n", cases[i].fields);
        struct parsed *parsed =
            parse((struct eio_span){text, (size_t)len}, true);
        cr_assert_eq(parsed->status, 0, "%s", cases[i].fields);
        cr_assert_eq(parsed->head.says_close, cases[i].says_close, "%s",
                     cases[i].fields);
        cr_assert_eq(parsed->head.says_keep_alive, cases[i].says_keep_alive,
                     "%s", cases[i].fields);
        cr_assert_eq(parsed->head.says_upgrade, cases[i].says_upgrade, "%s",
                     cases[i].fields);
        parsed_free(parsed);
    }
}

/* The fields before the one that names them, and behind it. */
Test(head_request_fields, drops_what_connection_names_but_not_the_framing)
{
    static const struct eio_span bytes =
        BYTES("POST /x HTTP/1.1\r\nA: 1\r\nHost: h\r\nContent-Length: 0\r\n"
              "Connection: a, HOST, content-length, transfer-encoding, x-b, "
              "cookie2\r\nX-B: 2\r\nx-b: 3\r\nCookie: 4\r\n\r\n");
    static const bool dropped[] = {true, false, false, false,
                                   true, true,  false};
    struct parsed *parsed = parse(bytes, true);

    cr_assert_eq(parsed->status, 0);
    cr_assert_eq(parsed->head.field_count, sizeof(dropped));
    for (size_t i = 0; i < sizeof(dropped); i++)
        cr_assert_eq(parsed->head.fields[i].is_dropped, dropped[i], "%zu", i);
    parsed_free(parsed);
}

Test(head_request_fields, reads_expect)
{
    static const struct {
        struct eio_span bytes;
        bool expects;
    } cases[] = {
        {BYTES(HEAD "Expect: 100-continue\r\n\r\n"), true},
        {BYTES(HEAD "expect: 100-Continue \r\n\r\n"), true},
        {BYTES(HEAD "Expect: 100\r\n\r\n"), false},
        {BYTES(HEAD "Expect:\r\n\r\n"), false},
        {BYTES(OLD "Expect: 100-continue\r\n\r\n"), false},
        {BYTES(HEAD "\r\n"), false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse(cases[i].bytes, true);
        cr_assert_eq(parsed->status, 0, "case %zu", i);
        cr_assert_eq(parsed->head.expects_continue, cases[i].expects,
                     "case %zu", i);
        parsed_free(parsed);
    }
}

/* Other upgrades are plain requests: HTTP/2 without TLS is not begun. */
Test(head_request_fields, tells_a_websocket_from_other_upgrades)
{
    static const struct {
        struct eio_span bytes;
        bool is_websocket;
    } cases[] = {
        {BYTES(HEAD "Connection: Upgrade\r\nUpgrade: websocket\r\n" KEY_FIELDS
                    "\r\n"),
         true},
        {BYTES(HEAD KEY_FIELDS "UPGRADE: WebSocket\r\n"
                               "connection: keep-alive, upgrade\r\n\r\n"),
         true},
        {BYTES(HEAD "Connection: upgrade\r\nUpgrade: websocket\r\n"
                    "Content-Length: 0\r\n" KEY_FIELDS "\r\n"),
         true},
        {BYTES(HEAD "Upgrade: websocket\r\n" KEY_FIELDS "\r\n"), false},
        {BYTES(HEAD "Connection: upgrade\r\n" KEY_FIELDS "\r\n"), false},
        {BYTES(HEAD "Connection: upgrade\r\nUpgrade: h2c\r\n"
                    "HTTP2-Settings: x\r\n\r\n"),
         false},
        {BYTES(HEAD
               "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n" KEY_FIELDS
               "\r\n"),
         false},
        {BYTES(HEAD "Connection: upgrade\r\nUpgrade: h2c\r\n"
                    "Upgrade: websocket\r\n" KEY_FIELDS "\r\n"),
         false},
        {BYTES(HEAD "Connection: upgrade\r\nUpgrade: websocket\r\n"
                    "Upgrade: h2c\r\n" KEY_FIELDS "\r\n"),
         false},
        {BYTES(HEAD
               "Connection: upgrade\r\nUpgrade: websocket/13\r\n" KEY_FIELDS
               "\r\n"),
         false},
        {BYTES(OLD "Connection: upgrade\r\nUpgrade: websocket\r\n" KEY_FIELDS
                   "\r\n"),
         false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse(cases[i].bytes, true);
        cr_assert_eq(parsed->status, 0, "case %zu: %d", i, parsed->status);
        cr_assert_eq(parsed->head.is_websocket, cases[i].is_websocket,
                     "case %zu", i);
        if (cases[i].is_websocket)
            check_span(parsed->head.ws_key, KEY);
        parsed_free(parsed);
    }
}

Test(head_request_fields, computes_the_accept_key)
{
    char out[29];

    gw_ws_accept(eio_span_of(KEY), out); /* the example of RFC 6455 */
    cr_assert_str_eq(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    gw_ws_accept(eio_span_of("short"), out);
    cr_assert_str_eq(out, "");
    gw_ws_accept((struct eio_span){NULL, 0}, out);
    cr_assert_str_eq(out, "");
}

Test(head_request_fields, takes_as_many_fields_as_there_is_room_for)
{
    static char text[16 * GW_FIELDS_MAX];
    size_t len = strlen(HEAD);

    memcpy(text, HEAD, len);
    for (size_t count = 1; count <= GW_FIELDS_MAX + 1; count++) {
        memcpy(text + len, "\r\n", 2);
        struct parsed *parsed = parse((struct eio_span){text, len + 2}, true);
        cr_assert_eq(parsed->status, count <= GW_FIELDS_MAX ? 0 : 431, "%zu",
                     count);
        parsed_free(parsed);
        memcpy(text + len, "A: b\r\n", 6);
        len += 6;
    }
}

/* The last field decides nothing by being longer than those before. */
Test(head_request_fields, is_not_fooled_by_long_names)
{
    char text[1024];
    char name[300];

    for (size_t pad = 240; pad < 280; pad++) {
        memset(name, 'a', pad);
        name[pad] = '\0';
        int len = snprintf(text, sizeof(text),
                           "POST /x HTTP/1.1\r\nHost: h\r\n"
                           "Content-Length0%s:\r\nContent-Length: 5\r\n\r\n",
                           name);
        struct parsed *parsed =
            parse((struct eio_span){text, (size_t)len}, true);
        cr_assert_eq(parsed->status, 0);
        cr_assert_eq(parsed->head.content_length, 5);
        cr_assert_eq(parsed->head.fields[1].name.len, pad + 15);
        cr_assert_eq(parsed->head.fields[1].kind, GW_FIELD_OTHER);
        parsed_free(parsed);
    }
}

/* A prefix of a head is no head, and no byte behind it is read. */
Test(head_request_fields, refuses_every_cut_head)
{
    static const struct eio_span whole = BYTES(
        HEAD "Connection: Upgrade\r\nUpgrade: websocket\r\n" KEY_FIELDS "\r\n");
    for (size_t len = 0; len < whole.len; len++) {
        struct parsed *parsed = parse((struct eio_span){whole.ptr, len}, true);
        cr_assert_eq(parsed->status, 400, "%zu bytes: %d", len, parsed->status);
        parsed_free(parsed);
    }
}

Test(head_request_fields, cuts_lists)
{
    struct eio_span list = eio_span_of(" a,,\tb c ,, , d");
    struct eio_span element;

    cr_assert(gw_list_next(&list, &element));
    check_span(element, "a");
    cr_assert(gw_list_next(&list, &element));
    check_span(element, "b c");
    cr_assert(gw_list_next(&list, &element));
    check_span(element, "d");
    cr_assert_not(gw_list_next(&list, &element));
    list = eio_span_of(" , ");
    cr_assert_not(gw_list_next(&list, &element));
    list = (struct eio_span){NULL, 0};
    cr_assert_not(gw_list_next(&list, &element));
}
