/* SPDX-License-Identifier: MIT */
/* The search for a close packet. */
#include "eio/payload.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>

#define BYTES(text)                                                            \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }

/* Feeds the body in pieces of `size` bytes, each before a guard page. */
static struct eio_close_scan scan_pieces(struct eio_span body, size_t size)
{
    struct eio_close_scan scan = {.found = false};

    for (size_t at = 0; at < body.len; at += size) {
        size_t len = body.len - at < size ? body.len - at : size;
        struct guard guard = guard_copy(body.ptr + at, len);
        eio_close_scan_feed(&scan, (struct eio_span){guard.bytes, len});
        guard_free(&guard);
    }
    return scan;
}

static void check(struct eio_span body, bool is_found)
{
    static const size_t sizes[] = {1, 2, 3, 7, 9, SIZE_MAX / 2};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct eio_close_scan scan = scan_pieces(body, sizes[i]);
        cr_assert_eq(scan.found, is_found, "%s in pieces of %zu", body.ptr,
                     sizes[i]);
    }
}

static const struct eio_span with_close[] = {
    BYTES("1"),
    BYTES("1\036"),
    BYTES("4hello\0361"),
    BYTES("1\0364hello"),
    BYTES("4hello\0361\0364x"),
    BYTES("42[\"a\",1]\0361"),
    BYTES("b\0361"),
    BYTES("bAQIDBA==\0361"),
    BYTES("4hello\036bAQIDBA==\0361"),
    BYTES("6\0361"),
    BYTES("\x34\xf0\x9f\x98\x80\0361"),
    /* messages that begin like a V3 length */
    BYTES("44:hi\0361"),
    BYTES("412345678901234567890:x\0361"),
    BYTES("40:\0361"),
    BYTES("1:1"),
    BYTES("1:11:6"),
    BYTES("6:4hello1:1"),
    BYTES("9:4abcdefgh1:1"),
    BYTES("10:4abcdefgh11:1"),
    BYTES("17:4abcdefghijklmnop1:1"),
    BYTES("27:42[\"a long enough message\"]1:1"),
    BYTES("20:42[\"1:1\",\"11:1 1:1\"]1:1"),
    BYTES("10:b4AQIDBA==1:1"),
    /* UTF-16 units: two bytes, three bytes, four bytes */
    BYTES("3:4\xc3\xa9\xc3\xa9"
          "1:1"),
    BYTES("2:4\xe2\x82\xac"
          "1:1"),
    BYTES("3:4\xf0\x9f\x98\x80"
          "1:1"),
    BYTES("12:4abcdefgh\xf0\x9f\x98\x80x1:1"),
    BYTES("\0\1\3771"),
    BYTES("\0\6\3774hello\0\1\3771"),
    BYTES("\1\4\377\4\1\2\3\0\1\3771"),
    BYTES("\0\1\2\3774hello world\0\1\3771"),
    /* the binary framing counts bytes */
    BYTES("\0\3\3774\xc3\xa9\0\1\3771"),
    BYTES("___eio[7](\"1\");"),
    BYTES("___eio[7](\"1\")"),
    BYTES("___eio[](\"1\");"),
    BYTES("___eio[7]('1');"),
    BYTES("___eio[7](\"1"),
    BYTES("___eio[7](\"4a\\u001e1\");"),
    BYTES("___eio[7](\"4a\0361\");"),
    BYTES("___eio[7](\"4a\\x1e1\");"),
    BYTES("___eio[7](\"\\u0031\");"),
    BYTES("___eio[7](\"4\\\"\\\\\\n\\/\\u001e1\");"),
    BYTES("___eio[0](\"1:1\");"),
    BYTES("___eio[0](\"6:4\\\"\\\\\\n\\/x1:1\");"),
    BYTES("___eio[0](\"3:4\\ud83d\\ude001:1\");"),
    BYTES("___eio[0](\"3:4\xf0\x9f\x98\x80"
          "1:1\");"),
    BYTES("___eio[7]('4a\");\0361');"),
    BYTES("___eio[0]('4:4\"\\'x1:1');"),
    BYTES("d=1"),
    BYTES("d=%31"),
    BYTES("d=1&x=y"),
    BYTES("d=4hello%1E1"),
    BYTES("d=4hello%1e1"),
    BYTES("d=1%3A1"),
    BYTES("d=6%3A4h+llo1%3A1"),
    BYTES("d=3%3A4%F0%9F%98%801%3A1"),
    /* a line's end counts once; so do a backslash and an n, twice */
    BYTES("d=3:4%5Cnx1:1"),
    BYTES("d=4:4%5C%5Cnx1:1"),
    BYTES("d=4:4%5Cnxx1:1"),
    BYTES("d=9:4abcdefgh1:1"),
    BYTES("d=5:4%5C%5Cxx1:1"),
    BYTES("d=2:4%5Cn1:1"),
};

Test(eio_close_scan, finds_it)
{
    for (size_t i = 0; i < sizeof with_close / sizeof with_close[0]; i++) {
        check(with_close[i], true);
    }
}

static const struct eio_span without_close[] = {
    BYTES(""),
    BYTES("ok"),
    BYTES("OK"),
    BYTES("<html>1\0361"),
    BYTES("{\"code\":1}"),
    BYTES(" 1"),
    BYTES("11"),
    BYTES("1hello"),
    BYTES("1hello\0364x"),
    BYTES("41\0364"),
    BYTES("41"),
    BYTES("4hello\03611"),
    BYTES("4hello\0361x\0364"),
    BYTES("42[\"1\"]"),
    BYTES("b1"),
    BYTES("bAQ==\036b1"),
    BYTES("\0361"),
    BYTES("1:"),
    BYTES("2:1"),
    BYTES("2:11"),
    BYTES("2:1x1:4"),
    BYTES("6:41:1:1"),
    BYTES("5:4hello1:1"), /* the length is one short: broken from there */
    BYTES("6:4hellox:1"),
    BYTES("6:4hello0:1:1"),
    BYTES("6:4hello:1"),
    BYTES("6:4hello99999999999:1"),
    BYTES("2:4\xf0\x9f\x98\x80"
          "1:1"), /* ends within a character */
    BYTES("\0\2\37711"),
    BYTES("\0\3771"),
    BYTES("\0\0\3771"),
    BYTES("\0\012\3771"),
    BYTES("\0\6\3774hello1:1"),
    BYTES("\0\6\3774hello\2\1\3771"),
    BYTES("\0\1\1\1\1\1\1\1\1\1\1\1\3771"),
    BYTES("___eio[7](\"41\");"),
    BYTES("___eio[7](\"11\");"),
    BYTES("___eio[7](\"4\\\"\\u001e11\");"),
    BYTES("___eio[7](1);"),
    BYTES("___eio[x](\"1\");"),
    BYTES("___eio{7](\"1\");"),
    BYTES("___eix[7](\"1\");"),
    BYTES("___eio[7](\"\0\1\3771\");"),
    BYTES("___eio[7](\"4\n\0361\");"),
    BYTES("___eio[7](\"4\\\n\0361\");"),
    BYTES("___eio[7](\"4\\u00zz\0361\");"),
    BYTES("___eio[7](\"4a\");1"),
    BYTES("d=41"),
    BYTES("d=4&d=1"),
    BYTES("d=4x&\0361"),
    BYTES("d:1"),
    BYTES("d=%3z%1e1"),
    BYTES("d=4%zz%1e1"),
    BYTES("x=1"),
};

Test(eio_close_scan, finds_nothing_else)
{
    for (size_t i = 0; i < sizeof without_close / sizeof without_close[0];
         i++) {
        check(without_close[i], false);
    }
}

static const struct {
    struct eio_span body;
    enum eio_framing framing;
} framings[] = {
    {BYTES("4hello"), EIO_FRAMING_V4},
    {BYTES("44:hello"), EIO_FRAMING_V4},
    {BYTES("bAQ=="), EIO_FRAMING_V4},
    {BYTES("6:4hello"), EIO_FRAMING_V3_STRING},
    {BYTES("\0\6\3774hello"), EIO_FRAMING_V3_BINARY},
    {BYTES("___eio[0](\"4x\");"), EIO_FRAMING_JSONP_V4},
    {BYTES("___eio[0](\"2:4x\");"), EIO_FRAMING_JSONP_V3},
    {BYTES("d=4x"), EIO_FRAMING_JSONP_V4},
    {BYTES("d=2:4x"), EIO_FRAMING_JSONP_V3},
    {BYTES("<html>"), EIO_FRAMING_UNKNOWN},
};

Test(eio_close_scan, tells_the_framing)
{
    for (size_t i = 0; i < sizeof framings / sizeof framings[0]; i++) {
        struct eio_close_scan scan = scan_pieces(framings[i].body, 3);
        cr_assert_eq(scan.framing, framings[i].framing, "%s",
                     framings[i].body.ptr);
    }
}

Test(eio_close_scan, guesses_nothing_where_v4_is_known)
{
    static const char *const bodies[] = {
        "41:2\0361",
        "___eio[1](\"41:2\\u001e1\");",
        "d=41:2%1E1",
    };

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct eio_close_scan guess = {.found = false};
        struct eio_close_scan known = {.framing = EIO_FRAMING_V4};
        eio_close_scan_feed(&guess, eio_span_of(bodies[i]));
        eio_close_scan_feed(&known, eio_span_of(bodies[i]));
        cr_assert_not(guess.found, "%s", bodies[i]);
        cr_assert(known.found, "%s", bodies[i]);
    }
}

Test(eio_close_scan, a_last_packet_counts_only_if_nothing_follows)
{
    struct eio_close_scan scan = {.found = false};

    eio_close_scan_feed(&scan, eio_span_of("4a\0361"));
    cr_assert(scan.found);
    eio_close_scan_feed(&scan, eio_span_of("2"));
    cr_assert_not(scan.found);
    eio_close_scan_feed(&scan, eio_span_of("\0361\036"));
    cr_assert(scan.found);
    eio_close_scan_feed(&scan, eio_span_of("4more"));
    cr_assert(scan.found);
}

Test(eio_close_scan, long_packets_are_skipped_whole)
{
    static char body[5000];

    memset(body, 'x', sizeof body);
    memcpy(body, "4", 1);
    memcpy(body + sizeof body - 2, "\0361", 2);
    check((struct eio_span){body, sizeof body}, true);
    /* 6 bytes of head, of which the last one is the packet's first unit */
    memset(body, '1', sizeof body);
    memcpy(body, "4992:4", 6);
    memcpy(body + sizeof body - 3, "1:1", 3);
    check((struct eio_span){body, sizeof body}, true);
    memcpy(body, "4991:4", 6);
    check((struct eio_span){body, sizeof body}, false);
}

Test(eio_close_scan, takes_no_bytes)
{
    struct eio_close_scan scan = {.found = false};

    eio_close_scan_feed(&scan, (struct eio_span){NULL, 0});
    cr_assert_not(scan.found);
    eio_close_scan_feed(&scan, eio_span_of("1"));
    eio_close_scan_feed(&scan, (struct eio_span){NULL, 0});
    cr_assert(scan.found);
}
