/* SPDX-License-Identifier: MIT */
/* Heads written anew: what goes, what is added, to the byte. */
#include "gateway/head_write.h"
#include "tests/unit/head_fixture.h"

#include <arpa/inet.h>
#include <limits.h>

static const struct gw_client client_v4 = {
    .peer = {.family = AF_INET, .addr = {10, 0, 0, 7}}};
static const struct gw_client client_v6 = {
    .peer = {.family = AF_INET6, .addr = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}}};

#define ADDED(minor)                                                           \
    "X-Forwarded-For: 10.0.0.7\r\nX-Forwarded-Proto: http\r\n"                 \
    "X-Forwarded-Host: h\r\nVia: 1." minor " sidgate\r\n"
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

static struct parsed *parse_good(struct eio_span bytes, bool is_request)
{
    struct parsed *parsed = parse(bytes, is_request);
    cr_assert_eq(parsed->status, 0, "%s: %d", bytes.ptr, parsed->status);
    return parsed;
}

static const struct {
    struct eio_span in;
    bool wants_identity;
    const char *out;
} requests[] = {
    {BYTES("GET /x?y HTTP/1.1\r\nHost: h\r\n\r\n"), false,
     "GET /x?y HTTP/1.1\r\nHost: h\r\n" ADDED("1")},
    /* HTTP/1.0, with Host in its place and without one */
    {BYTES("GET / HTTP/1.0\r\nA: b\r\nHOST:h\r\n\r\n"), false,
     "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n" ADDED("0")},
    {BYTES("GET / HTTP/1.0\r\n\r\n"), false,
     "GET / HTTP/1.1\r\nHost: \r\nX-Forwarded-For: 10.0.0.7\r\n"
     "X-Forwarded-Proto: http\r\nVia: 1.0 sidgate\r\n"},
    /* absolute-form becomes origin-form */
    {BYTES("GET http://H/x?y HTTP/1.1\r\nHost: h\r\n\r\n"), false,
     "GET /x?y HTTP/1.1\r\nHost: h\r\n" ADDED("1")},
    {BYTES("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n"), false,
     "GET / HTTP/1.1\r\nHost: h\r\n" ADDED("1")},
    /* values are trimmed, names keep their case, fields their order */
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\nbB:\t c\td \r\nA:\r\nbb: e\r\n\r\n"),
     false,
     "GET / HTTP/1.1\r\nHost: h\r\nbB: c\td\r\nA: \r\nbb: e\r\n" ADDED("1")},
    /* hop-by-hop and forwarding fields, framing, what Connection names */
    {BYTES("POST / HTTP/1.1\r\nHost: h\r\nConnection: a, close, cookie\r\n"
           "A: 1\r\nCookie: 2\r\nKeep-Alive: 3\r\nTE: 4\r\nTrailer: 5\r\n"
           "Proxy-Connection: 6\r\nProxy-Authorization: 7\r\nUpgrade: h2c\r\n"
           "HTTP2-Settings: 8\r\nExpect: 100-continue\r\n"
           "Content-Length: 9\r\nX-Forwarded-For: 10.9.9.9\r\n"
           "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
           "X-Forwarded-Port: 1\r\nForwarded: for=evil\r\nX-Real-IP: evil\r\n"
           "Via: 1.1 before\r\nLast: 1\r\n\r\n"),
     false,
     "POST / HTTP/1.1\r\nHost: h\r\nVia: 1.1 before\r\nLast: 1\r\n" ADDED("1")},
    {BYTES("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"),
     false, "POST / HTTP/1.1\r\nHost: h\r\n" ADDED("1")},
    /* Connection takes away nothing that sidgate adds */
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\nConnection: host, x-forwarded-for, "
           "via, x-forwarded-host\r\n\r\n"),
     false, "GET / HTTP/1.1\r\nHost: h\r\n" ADDED("1")},
    /* Accept-Encoding */
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip, br\r\n\r\n"),
     false,
     "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip, br\r\n" ADDED("1")},
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n"
           "accept-encoding: br\r\n\r\n"),
     true,
     "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: identity\r\n" ADDED("1")},
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\nConnection: accept-encoding\r\n\r\n"),
     true,
     "GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: identity\r\n" ADDED("1")},
    /* upgrades */
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: WEBSOCKET\r\n"
           "Connection: keep-alive, upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Extensions: permessage-deflate\r\n"
           "Sec-WebSocket-Key: " KEY "\r\nOrigin: http://o\r\n\r\n"),
     false,
     "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Version: 13\r\n"
     "Sec-WebSocket-Extensions: permessage-deflate\r\n"
     "Sec-WebSocket-Key: " KEY "\r\nOrigin: http://o\r\n" ADDED(
         "1") "Connection: Upgrade\r\nUpgrade: websocket\r\n"},
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
           "Upgrade: h2c\r\n\r\n"),
     false, "GET / HTTP/1.1\r\nHost: h\r\n" ADDED("1")},
};

static const struct gw_request_form as_it_is = {.wants_identity = false};

Test(head_write, writes_requests)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct parsed *parsed = parse_good(requests[i].in, true);
        struct gw_request_places places;
        char out[2048];
        const struct gw_request_form form = {.wants_identity =
                                                 requests[i].wants_identity};
        size_t len = gw_request_write(&parsed->head, &client_v4, &form, &places,
                                      (struct eio_span){out, sizeof(out)});
        check_span((struct eio_span){out, len}, requests[i].out);
        parsed_free(parsed);
    }
}

/* One byte short of enough gives nothing, and nothing is written behind the
 * room. */
Test(head_write, writes_requests_into_exactly_as_much_room_as_they_need)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct parsed *parsed = parse_good(requests[i].in, true);
        size_t need = strlen(requests[i].out);
        char nothing[2048] = "";
        for (size_t room = 0; room <= need; room++) {
            struct gw_request_places places;
            struct guard guard = guard_copy(nothing, room);
            const struct gw_request_form form = {
                .wants_identity = requests[i].wants_identity};
            size_t len =
                gw_request_write(&parsed->head, &client_v4, &form, &places,
                                 (struct eio_span){guard.bytes, room});
            cr_assert_eq(len, room == need ? need : 0, "case %zu, room %zu", i,
                         room);
            guard_free(&guard);
        }
        parsed_free(parsed);
    }
}

static void check_place(const char *out, struct gw_place place,
                        const char *text)
{
    check_span((struct eio_span){out + place.at, place.len}, text);
}

Test(head_write, says_where_things_stand)
{
    static const struct {
        struct eio_span in;
        const char *path;
        const char *host;
        const char *origin;
    } cases[] = {
        {BYTES("GET /socket.io/?EIO=4 HTTP/1.1\r\nA: b\r\nHost: h:80\r\n"
               "C: d\r\norigin:http://o\r\nE: f\r\n\r\n"),
         "/socket.io/", "h:80", "http://o"},
        {BYTES("DELETE http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"), "/", "h", ""},
        {BYTES("GET /x HTTP/1.0\r\n\r\n"), "/x", "", ""},
        {BYTES("GET / HTTP/1.1\r\nHost: h\r\nConnection: origin\r\n"
               "Origin: http://o\r\n\r\n"),
         "/", "h", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse_good(cases[i].in, true);
        struct gw_request_places places;
        char out[1024];
        memset(&places, 0xa5, sizeof(places));
        size_t len =
            gw_request_write(&parsed->head, &client_v4, &as_it_is, &places,
                             (struct eio_span){out, sizeof(out)});
        cr_assert_gt(len, 0);
        check_place(out, places.path, cases[i].path);
        check_place(out, places.host, cases[i].host);
        check_place(out, places.origin, cases[i].origin);
        parsed_free(parsed);
    }
}

Test(head_write, forwards_an_address_of_either_family)
{
    static const struct eio_span bytes =
        BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    struct parsed *parsed = parse_good(bytes, true);
    struct gw_request_places places;
    char out[512];
    struct eio_span room = {out, sizeof(out) - 1};

    out[gw_request_write(&parsed->head, &client_v6, &as_it_is, &places, room)] =
        '\0';
    cr_assert_not_null(strstr(out, "\r\nX-Forwarded-For: 2001:db8::1\r\n"));
    parsed_free(parsed);
}

/* The client first, then the proxies; one without an address is left out. */
Test(head_write, forwards_a_chain)
{
    static const struct eio_span bytes =
        BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    struct gw_client client = client_v4;
    struct parsed *parsed = parse_good(bytes, true);
    struct gw_request_places places;
    char out[512];
    struct eio_span room = {out, sizeof(out) - 1};

    client.hops[0] = client_v6.peer;
    client.hops[1].family = AF_UNIX;
    client.hop_count = 2;
    client.is_tls = true;
    client.host = eio_span_of("asked.example");
    out[gw_request_write(&parsed->head, &client, &as_it_is, &places, room)] =
        '\0';
    cr_assert_not_null(
        strstr(out, "\r\nX-Forwarded-For: 10.0.0.7, 2001:db8::1\r\n"
                    "X-Forwarded-Proto: https\r\n"
                    "X-Forwarded-Host: asked.example\r\nVia: 1.1 sidgate\r\n"),
        "%s", out);
    client.peer.family = AF_UNIX;
    client.hop_count = 0;
    out[gw_request_write(&parsed->head, &client, &as_it_is, &places, room)] =
        '\0';
    cr_assert_null(strstr(out, "X-Forwarded-For"));
    parsed_free(parsed);
}

/* In the place of what the client said, however often; never beside it. */
Test(head_write, tells_the_request_id)
{
    static const struct {
        struct eio_span in;
        const char *id;
        const char *out;
    } cases[] = {
        {BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), "id-1",
         "X-Request-Id: id-1\r\n" ADDED("1")},
        {BYTES("GET / HTTP/1.1\r\nHost: h\r\nX-Request-ID: a\r\nA: b\r\n"
               "x-request-id: c\r\n\r\n"),
         "id-1", "A: b\r\nX-Request-Id: id-1\r\n" ADDED("1")},
        {BYTES("GET / HTTP/1.1\r\nHost: h\r\nX-Request-ID: a\r\n"
               "x-request-id: c\r\n\r\n"),
         "", "X-Request-ID: a\r\nx-request-id: c\r\n" ADDED("1")},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse_good(cases[i].in, true);
        const struct gw_request_form form = {.request_id =
                                                 eio_span_of(cases[i].id)};
        struct gw_request_places places;
        char out[1024];
        char want[1024];
        size_t len = gw_request_write(&parsed->head, &client_v4, &form, &places,
                                      (struct eio_span){out, sizeof(out)});
        snprintf(want, sizeof(want), "GET / HTTP/1.1\r\nHost: h\r\n%s",
                 cases[i].out);
        check_span((struct eio_span){out, len}, want);
        parsed_free(parsed);
    }
}

Test(head_write, writes_framing)
{
    static const struct {
        struct gw_framing framing;
        const char *out;
    } cases[] = {
        {{.content_length = -1}, "\r\n"},
        {{.content_length = 0}, "Content-Length: 0\r\n\r\n"},
        {{.content_length = 1000}, "Content-Length: 1000\r\n\r\n"},
        {{.content_length = INT64_MAX},
         "Content-Length: 9223372036854775807\r\n\r\n"},
        {{.content_length = -1, .is_chunked = true},
         "Transfer-Encoding: chunked\r\n\r\n"},
        {{.content_length = 5, .is_chunked = true},
         "Transfer-Encoding: chunked\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[GW_FRAMING_MAX];
        size_t len = gw_framing_write(&cases[i].framing, out);
        cr_assert_leq(len, sizeof(out));
        check_span((struct eio_span){out, len}, cases[i].out);
    }
}

Test(head_write, writes_chunk_heads)
{
    static const struct {
        size_t len;
        const char *out;
    } cases[] = {
        {0, "0\r\n"},         {1, "1\r\n"},
        {15, "f\r\n"},        {16, "10\r\n"},
        {65536, "10000\r\n"}, {SIZE_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[GW_CHUNK_HEAD_MAX];
        size_t len = gw_chunk_head(cases[i].len, out);
        check_span((struct eio_span){out, len}, cases[i].out);
    }
}

#define DATE "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"

static const struct {
    struct eio_span in;
    struct gw_reply_form form;
    const char *out;
} responses[] = {
    {BYTES("HTTP/1.0 200 Fine\r\n" DATE "a: b \r\n\r\n"),
     {.framing = {.content_length = 5}},
     "HTTP/1.1 200 Fine\r\n" DATE "a: b\r\nContent-Length: 5\r\n\r\n"},
    {BYTES("HTTP/1.1 204\r\n" DATE "\r\n"),
     {.framing = {.content_length = -1}},
     "HTTP/1.1 204 \r\n" DATE "\r\n"},
    /* no date is given to what comes before the answer */
    {BYTES("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
     {.framing = {.content_length = -1}},
     "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"},
    /* hop-by-hop fields, framing, what Connection names */
    {BYTES("HTTP/1.1 200 OK\r\n" DATE "Connection: close, x-a, date2\r\n"
           "X-A: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nTE: 2\r\n"
           "Trailer: 3\r\nProxy-Authenticate: 4\r\nProxy-Connection: 5\r\n"
           "Content-Length: 6\r\nX-Forwarded-For: 7\r\nHost: 8\r\n"
           "Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Encoding: gzip\r\n\r\n"),
     {.framing = {.content_length = 6}},
     "HTTP/1.1 200 OK\r\n" DATE "X-Forwarded-For: 7\r\nHost: 8\r\n"
     "Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Encoding: gzip\r\n"
     "Content-Length: 6\r\n\r\n"},
    {BYTES("HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n"),
     {.framing = {.content_length = -1, .is_chunked = true}, .closes = true},
     "HTTP/1.1 200 OK\r\n" DATE
     "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {BYTES("HTTP/1.1 200 OK\r\n" DATE "\r\n"),
     {.framing = {.content_length = 0}, .keeps_alive_1_0 = true},
     "HTTP/1.1 200 OK\r\n" DATE
     "Connection: keep-alive\r\nContent-Length: 0\r\n\r\n"},
    {BYTES("HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n"
           "Connection: upgrade\r\nSec-WebSocket-Accept: x\r\n"
           "Sec-WebSocket-Extensions: y\r\n\r\n"),
     {.framing = {.content_length = -1}, .is_switch = true},
     "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
     "Sec-WebSocket-Extensions: y\r\nConnection: Upgrade\r\n"
     "Upgrade: websocket\r\n\r\n"},
};

Test(head_write, writes_responses)
{
    for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
        struct parsed *parsed = parse_good(responses[i].in, false);
        size_t need = strlen(responses[i].out);
        char nothing[1024] = "";
        for (size_t room = 0; room <= need; room++) {
            struct guard guard = guard_copy(nothing, room);
            size_t len =
                gw_response_write(&parsed->head, &responses[i].form,
                                  (struct eio_span){guard.bytes, room});
            cr_assert_eq(len, room == need ? need : 0, "case %zu, room %zu", i,
                         room);
            if (room == need)
                check_span((struct eio_span){guard.bytes, len},
                           responses[i].out);
            guard_free(&guard);
        }
        parsed_free(parsed);
    }
}

Test(head_write, dates_a_response_that_has_no_date)
{
    static const struct eio_span bytes = BYTES("HTTP/1.1 200 OK\r\n\r\n");
    static const struct gw_reply_form form = {.framing.content_length = 0};
    struct parsed *parsed = parse_good(bytes, false);
    char out[256];

    size_t len = gw_response_write(&parsed->head, &form,
                                   (struct eio_span){out, sizeof(out)});
    parsed_free(parsed);
    parsed = parse_good((struct eio_span){out, len}, false);
    cr_assert(parsed->head.has_date);
    cr_assert_eq(parsed->head.fields[0].kind, GW_FIELD_DATE);
    cr_assert_eq(parsed->head.fields[0].value.len, 29);
    parsed_free(parsed);
}
