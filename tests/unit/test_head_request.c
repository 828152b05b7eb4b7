/* SPDX-License-Identifier: MIT */
/* Request heads: what is read, and what is refused with which status. */
#include "tests/unit/head_fixture.h"

#define LINE "GET /x HTTP/1.1\r\n"
#define HOST "Host: h\r\n"
#define HEAD LINE HOST
#define POST "POST /x HTTP/1.1\r\n" HOST
#define KEY  "dGhlIHNhbXBsZSBub25jZQ=="
#define SOCKET                                                                 \
    HEAD "Connection: Upgrade\r\nUpgrade: websocket\r\n"                       \
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "

static const struct {
    struct eio_span bytes;
    int status;
} refused[] = {
    /* the request line */
    {BYTES("GET /x\r\n" HOST "\r\n"), 400},
    {BYTES("HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("\r\n" HEAD "\r\n"), 400},
    {BYTES("GET  /x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x  HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x HTTP/1.1 \r\n" HOST "\r\n"), 400},
    {BYTES(" GET /x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET\t/x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x\tHTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x y HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET  HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x HTTP/1.1x\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x HTTP/11\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x HTTP/1.\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x HTTP/+1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x http/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x ICE/1.0\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x HTTP/0.9\r\n" HOST "\r\n"), 505},
    {BYTES("GET /x HTTP/1.2\r\n" HOST "\r\n"), 505},
    {BYTES("GET /x HTTP/2.0\r\n" HOST "\r\n"), 505},
    {BYTES("PRI * HTTP/2.0\r\n\r\n"), 505},
    {BYTES("G(T /x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("G\0T /x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GETX /x HTTP/1.1\r\n" HOST "\r\n"), 501},
    {BYTES("get /x HTTP/1.1\r\n" HOST "\r\n"), 501},
    {BYTES("CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"), 405},
    {BYTES("TRACE /x HTTP/1.1\r\n" HOST "\r\n"), 405},
    /* the target */
    {BYTES("GET /x#y HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x# HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x\0y HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x\x01 HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x\x7f HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET /x\ry HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET ?x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET * HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("OPTIONS ** HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET h:80 HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://other/x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://h:81/x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://u@h/x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http:///x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http:// HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://h?x HTTP/1.1\r\n" HOST "\r\n"), 400},
    {BYTES("GET http://h/x HTTP/1.0\r\n\r\n"), 400},
    {BYTES("GET file://h/x HTTP/1.1\r\n" HOST "\r\n"), 400},
    /* Host */
    {BYTES(LINE "\r\n"), 400},
    {BYTES(LINE HOST "Host: i\r\n\r\n"), 400},
    {BYTES(LINE HOST HOST "\r\n"), 400},
    {BYTES(LINE HOST "host:\r\n\r\n"), 400},
    {BYTES("GET /x HTTP/1.0\r\n" HOST HOST "\r\n"), 400},
    {BYTES(LINE "Host: h i\r\n\r\n"), 400},
    {BYTES(LINE "Host: h, i\r\n\r\n"), 400},
    {BYTES(LINE "Host: h/i\r\n\r\n"), 400},
    {BYTES(LINE "Host: u@h\r\n\r\n"), 400},
    {BYTES(LINE "Host: h#i\r\n\r\n"), 400},
    {BYTES(LINE "Host: h?i\r\n\r\n"), 400},
    {BYTES(LINE "Host: h\\i\r\n\r\n"), 400},
    {BYTES(LINE "Host: h\xe9\r\n\r\n"), 400},
    /* fields */
    {BYTES(HEAD "A: b\rC: d\r\n\r\n"), 400},
    {BYTES(HEAD "A: b\r\r\n\r\n"), 400},
    {BYTES(HEAD "A: b\0c\r\n\r\n"), 400},
    {BYTES(HEAD "A: b\x01\r\n\r\n"), 400},
    {BYTES(HEAD "A: \x1b[2J\r\n\r\n"), 400},
    {BYTES(HEAD "A: b\x7f\r\n\r\n"), 400},
    {BYTES(HEAD "A\0b: c\r\n\r\n"), 400},
    {BYTES(HEAD "\xc0: c\r\n\r\n"), 400},
    {BYTES(HEAD "A(b: c\r\n\r\n"), 400},
    {BYTES(HEAD "\"A\": c\r\n\r\n"), 400},
    {BYTES(HEAD "A b: c\r\n\r\n"), 400},
    {BYTES(HEAD "A : b\r\n\r\n"), 400},
    {BYTES(HEAD "A\t: b\r\n\r\n"), 400},
    {BYTES(HEAD ": b\r\n\r\n"), 400},
    {BYTES(HEAD "A\r\n\r\n"), 400},
    /* not a whole head */
    {BYTES(""), 400},
    {BYTES("G"), 400},
    {BYTES("\r\n"), 400},
    {BYTES(HEAD), 400},
    {BYTES(HEAD "A: b\r\n\r"), 400},
    /* Content-Length */
    {BYTES(POST "Content-Length:\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: \t\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: +5\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: -5\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 0x5\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 5a\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 5.0\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 5 5\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 5, 5\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 5,\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 5\r\ncontent-length: 0\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 18446744073709551616\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 9999999999999999999\r\n\r\n"), 400},
    {BYTES(POST "Content-Length: 9223372036854775808\r\n\r\n"), 400},
    /* Transfer-Encoding */
    {BYTES(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
     400},
    {BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
     400},
    {BYTES("POST /x HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"),
     400},
    /* websockets */
    {BYTES(SOCKET "\r\n\r\n"), 400},
    {BYTES(SOCKET "dGhlIHNhbXBsZSBub25jZQ=\r\n\r\n"), 400},
    {BYTES(SOCKET "dGhlIHNhbXBsZSBub25jZQ===\r\n\r\n"), 400},
    {BYTES(SOCKET "dGhlIHNhbXBsZSBub25j-Q==\r\n\r\n"), 400},
    {BYTES(SOCKET "dGhlIHNhbXBsZSBub25jZQaa\r\n\r\n"), 400},
    {BYTES(SOCKET KEY "\r\nSec-WebSocket-Key: " KEY "\r\n\r\n"), 400},
    {BYTES(SOCKET KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n"), 400},
    {BYTES(SOCKET KEY "\r\nContent-Length: 1\r\n\r\n"), 400},
    {BYTES(SOCKET KEY "\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
    {BYTES(POST "Connection: upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY
                "\r\n\r\n"),
     400},
    {BYTES(HEAD "Connection: upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Key: " KEY "\r\n\r\n"),
     426},
    {BYTES(HEAD "Connection: upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: " KEY
                "\r\n\r\n"),
     426},
    {BYTES(HEAD "Connection: upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13, 8\r\nSec-WebSocket-Key: " KEY
                "\r\n\r\n"),
     426},
};

Test(head_request, refuses)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct parsed *parsed = parse(refused[i].bytes, true);
        cr_assert_eq(parsed->status, refused[i].status, "case %zu, %s: %d", i,
                     refused[i].bytes.ptr, parsed->status);
        parsed_free(parsed);
    }
}

/* Unknown or not, sidgate takes none but one `chunked`. */
static const struct eio_span codings[] = {
    BYTES("gzip"),
    BYTES("identity"),
    BYTES("gzip, chunked"),
    BYTES("chunked, gzip"),
    BYTES("chunked, chunked"),
    BYTES("chunked\r\nTransfer-Encoding: chunked"),
    BYTES("chunked\r\nTransfer-Encoding: identity"),
    BYTES("identity\r\nTransfer-Encoding: chunked"),
    BYTES("xchunked"),
    BYTES("chunkedx"),
    BYTES("chunked;a=b"),
    BYTES("chunked,"),
    BYTES(",chunked"),
    BYTES("\"chunked\""),
    BYTES("\x0b"
          "chunked"),
    BYTES(""),
};

Test(head_request, refuses_every_coding_but_chunked)
{
    for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
        char text[256];
        int len =
            snprintf(text, sizeof(text), POST "Transfer-Encoding: %s\r\n\r\n",
                     codings[i].ptr);
        struct parsed *parsed =
            parse((struct eio_span){text, (size_t)len}, true);
        cr_assert(parsed->status == 400 || parsed->status == 501, "%s: %d",
                  codings[i].ptr, parsed->status);
        parsed_free(parsed);
    }
}

Test(head_request, reads_framing)
{
    static const struct {
        struct eio_span bytes;
        int64_t length;
        bool is_chunked;
    } cases[] = {
        {BYTES(HEAD "\r\n"), -1, false},
        {BYTES(POST "Content-Length: 0\r\n\r\n"), 0, false},
        {BYTES(POST "Content-Length: \t 5  \r\n\r\n"), 5, false},
        {BYTES(POST "CONTENT-LENGTH:007\r\n\r\n"), 7, false},
        {BYTES(POST "Content-Length: 999999999999999999\r\n\r\n"),
         999999999999999999, false},
        {BYTES(POST "Transfer-Encoding: chunked\r\n\r\n"), -1, true},
        {BYTES(POST "transfer-encoding:CHUNKED \r\n\r\n"), -1, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse(cases[i].bytes, true);
        cr_assert_eq(parsed->status, 0, "case %zu", i);
        cr_assert_eq(parsed->head.content_length, cases[i].length);
        cr_assert_eq(parsed->head.is_chunked, cases[i].is_chunked);
        parsed_free(parsed);
    }
}

Test(head_request, reads_the_target)
{
    static const struct {
        struct eio_span bytes;
        const char *target;
        const char *path;
        const char *query;
    } cases[] = {
        {BYTES("GET / HTTP/1.1\r\n" HOST "\r\n"), "/", "/", ""},
        {BYTES("GET /a/b?c=d&e HTTP/1.1\r\n" HOST "\r\n"), "/a/b?c=d&e", "/a/b",
         "c=d&e"},
        {BYTES("GET /a? HTTP/1.1\r\n" HOST "\r\n"), "/a?", "/a", ""},
        {BYTES("GET /a?b?c HTTP/1.1\r\n" HOST "\r\n"), "/a?b?c", "/a", "b?c"},
        {BYTES("GET /?%00%zz|<>\"{}\\^` HTTP/1.1\r\n" HOST "\r\n"),
         "/?%00%zz|<>\"{}\\^`", "/", "%00%zz|<>\"{}\\^`"},
        {BYTES("GET //h/../x HTTP/1.1\r\n" HOST "\r\n"), "//h/../x", "//h/../x",
         ""},
        {BYTES("GET http://h/x?y HTTP/1.1\r\n" HOST "\r\n"), "/x?y", "/x", "y"},
        {BYTES("GET HTTP://H/x HTTP/1.1\r\n" HOST "\r\n"), "/x", "/x", ""},
        {BYTES("GET https://h HTTP/1.1\r\n" HOST "\r\n"), "/", "/", ""},
        {BYTES("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), "*", "", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse(cases[i].bytes, true);
        cr_assert_eq(parsed->status, 0, "case %zu: %d", i, parsed->status);
        check_span(parsed->head.target, cases[i].target);
        check_span(parsed->head.path, cases[i].path);
        check_span(parsed->head.query, cases[i].query);
        parsed_free(parsed);
    }
}

Test(head_request, reads_methods_and_versions)
{
    static const char *const methods[] = {"GET",    "HEAD",    "POST", "PUT",
                                          "DELETE", "OPTIONS", "PATCH"};
    for (size_t i = 0; i < 2 * sizeof(methods) / sizeof(methods[0]); i++) {
        const char *method = methods[i / 2];
        int minor = (int)i % 2;
        char text[64];
        int len = snprintf(text, sizeof(text), "%s / HTTP/1.%d\r\n" HOST "\r\n",
                           method, minor);
        struct parsed *parsed =
            parse((struct eio_span){text, (size_t)len}, true);
        cr_assert_eq(parsed->status, 0, "%s", method);
        check_span(parsed->head.method, method);
        cr_assert_eq(parsed->head.minor, minor);
        cr_assert_eq(parsed->head.is_get, strcmp(method, "GET") == 0);
        cr_assert_eq(parsed->head.is_head, strcmp(method, "HEAD") == 0);
        cr_assert_eq(parsed->head.is_post, strcmp(method, "POST") == 0);
        cr_assert_eq(parsed->head.is_options, strcmp(method, "OPTIONS") == 0);
        parsed_free(parsed);
    }
}

Test(head_request, reads_fields)
{
    static const struct eio_span bytes =
        BYTES(LINE "hOST:\t h:80 \r\nA:\r\nb:  c\td  \r\nE: \x80\xff\r\n"
                   "Origin: http://o\r\n!#$%&'*+-.^_`|~09: f\r\n\r\n");
    struct parsed *parsed = parse(bytes, true);
    const struct gw_field *fields = parsed->head.fields;

    cr_assert_eq(parsed->status, 0);
    cr_assert_eq(parsed->head.field_count, 6);
    check_span(parsed->head.host, "h:80");
    check_span(parsed->head.origin, "http://o");
    check_span(fields[0].name, "hOST");
    cr_assert_eq(fields[0].kind, GW_FIELD_HOST);
    check_span(fields[1].value, "");
    check_span(fields[2].value, "c\td");
    cr_assert_eq(fields[2].kind, GW_FIELD_OTHER);
    check_span(fields[3].value, "\x80\xff");
    check_span(fields[5].name, "!#$%&'*+-.^_`|~09");
    parsed_free(parsed);
}

/* A 1.1 request names the host that it is for. */
Test(head_request, refuses_an_empty_host_but_in_1_0)
{
    static const struct {
        struct eio_span bytes;
        int status;
    } cases[] = {
        {BYTES(LINE "Host:\r\n\r\n"), 400},
        {BYTES(LINE "Host: \t \r\n\r\n"), 400},
        {BYTES("GET /x HTTP/1.0\r\nHost:\r\n\r\n"), 0},
        {BYTES("GET /x HTTP/1.0\r\n\r\n"), 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse(cases[i].bytes, true);
        cr_assert_eq(parsed->status, cases[i].status, "case %zu: %d", i,
                     parsed->status);
        parsed_free(parsed);
    }
}

/* Its caller forms the answer by it, whatever the refusal. */
Test(head_request, tells_the_version_even_when_it_refuses)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct parsed *parsed = parse(refused[i].bytes, true);
        cr_assert(parsed->head.minor == 0 || parsed->head.minor == 1,
                  "case %zu, %s: %d", i, refused[i].bytes.ptr,
                  parsed->head.minor);
        parsed_free(parsed);
    }
}
