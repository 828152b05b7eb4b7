/* SPDX-License-Identifier: MIT */
/* The open packet. */
#include "eio/open.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>

#define BYTES(text)                                                            \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }

/* What each server sends, with a sid of one letter to keep lengths short. */
#define NODE                                                                   \
    "{\"sid\":\"JHN6\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,"   \
    "\"pingTimeout\":20000,\"maxPayload\":1000000}"
#define SHORT "{\"sid\":\"a\"}"

static enum eio_result find(struct eio_span body, bool is_whole,
                            struct eio_open *out)
{
    struct guard guard = guard_copy(body.ptr, body.len);
    struct eio_span span = {guard.bytes, guard.len};
    enum eio_result result = eio_open_find(span, is_whole, out);

    guard_free(&guard);
    return result;
}

static bool is_sid(const struct eio_open *open, const char *sid)
{
    return open->sid.len == strlen(sid) &&
           memcmp(open->sid.bytes, sid, open->sid.len) == 0;
}

static const struct {
    struct eio_span body;
    enum eio_framing framing;
    const char *sid;
} found[] = {
    {BYTES("0" NODE), EIO_FRAMING_V4, "JHN6"},
    {BYTES("0" NODE "\n"), EIO_FRAMING_V4, "JHN6"},
    {BYTES("0" SHORT "\0364hello\036x"), EIO_FRAMING_V4, "a"},
    {BYTES("0" SHORT " \r\n\t\036"), EIO_FRAMING_V4, "a"},
    {BYTES("0{ \"upgrades\" : [ ] ,\n \"sid\" : \"a\" }"), EIO_FRAMING_V4, "a"},
    {BYTES("0{\"sid\":\"a\\u0062\\/\\\"\"}"), EIO_FRAMING_V4, "ab/\""},
    {BYTES("0{\"sid\":\"}{\\\\\"}"), EIO_FRAMING_V4, "}{\\"},
    {BYTES("0{\"sid\":\"\\ud83d\\ude00\"}"), EIO_FRAMING_V4,
     "\xf0\x9f\x98\x80"},
    {BYTES("0{\"sid\":\"\\\\u0000\"}"), EIO_FRAMING_V4, "\\u0000"},
    {BYTES("0{\"sid\":\" \"}"), EIO_FRAMING_V4, " "},
    {BYTES("12:0" SHORT), EIO_FRAMING_V3_STRING, "a"},
    {BYTES("12:0" SHORT "2:40"), EIO_FRAMING_V3_STRING, "a"},
    {BYTES("13:0" SHORT "\n"), EIO_FRAMING_V3_STRING, "a"},
    {BYTES("102:0" NODE "2:40"), EIO_FRAMING_V3_STRING, "JHN6"},
    /* one UTF-16 unit, then two */
    {BYTES("12:0{\"sid\":\"\xe2\x82\xac\"}2:40"), EIO_FRAMING_V3_STRING,
     "\xe2\x82\xac"},
    {BYTES("13:0{\"sid\":\"\xf0\x9f\x98\x80\"}2:40"), EIO_FRAMING_V3_STRING,
     "\xf0\x9f\x98\x80"},
    {BYTES("\0\1\2\3770" SHORT), EIO_FRAMING_V3_BINARY, "a"},
    {BYTES("\0\1\2\3770" SHORT "\0\2\37740"), EIO_FRAMING_V3_BINARY, "a"},
    {BYTES("\0\1\4\3770{\"sid\":\"\xe2\x82\xac\"}\1\4\377\4\1\2\3"),
     EIO_FRAMING_V3_BINARY, "\xe2\x82\xac"},
    {BYTES("___eio[7](\"0{\\\"sid\\\":\\\"a\\\"}\");"), EIO_FRAMING_JSONP_V4,
     "a"},
    {BYTES("___eio[7](\"0{\\\"sid\\\":\\\"a\\\"}\")"), EIO_FRAMING_JSONP_V4,
     "a"},
    {BYTES("___eio[7](\"0{\\\"sid\\\":\\\"a\\\"}\");\r\n"),
     EIO_FRAMING_JSONP_V4, "a"},
    {BYTES("___eio[7](\"0{\\\"sid\\\":\\\"a\\\"}\\u001e4x\");"),
     EIO_FRAMING_JSONP_V4, "a"},
    {BYTES("___eio[7](\"0{\\\"sid\\\":\\\"a\\\"}\0364x\");"),
     EIO_FRAMING_JSONP_V4, "a"},
    {BYTES("___eio[](\"0{\\\"sid\\\":\\\"a\\\"}\\n\");"), EIO_FRAMING_JSONP_V4,
     "a"},
    {BYTES("___eio[0](\"12:0{\\\"sid\\\":\\\"a\\\"}2:40\");"),
     EIO_FRAMING_JSONP_V3, "a"},
    {BYTES("___eio[12]('12:0" SHORT "');"), EIO_FRAMING_JSONP_V3, "a"},
    {BYTES("___eio[1](\"0{\\u0022sid\\x22:\\\"\\ud83d\\ude00\\u00e9\\\"}\");"),
     EIO_FRAMING_JSONP_V4, "\xf0\x9f\x98\x80\xc3\xa9"},
    /* in JSON within JavaScript: the escapes of both */
    {BYTES("___eio[1](\"0{\\\"sid\\\":\\\"\\\\u0061\\\\\\\\\\\"}\");"),
     EIO_FRAMING_JSONP_V4, "a\\"},
    {BYTES("___eio[1](\"13:0{\\\"sid\\\":\\\"\\ud83d\\ude00\\\"}\");"),
     EIO_FRAMING_JSONP_V3, "\xf0\x9f\x98\x80"},
};

Test(eio_open, finds_it_in_every_framing)
{
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        struct eio_open out;
        memset(&out, 0xa5, sizeof out);
        cr_assert_eq(find(found[i].body, true, &out), EIO_DONE, "%zu: %s", i,
                     found[i].body.ptr);
        cr_assert(is_sid(&out, found[i].sid), "%zu: %s", i, found[i].body.ptr);
        cr_assert_eq(out.framing, found[i].framing, "%zu: %s", i,
                     found[i].body.ptr);
    }
}

/* Every prefix asks for more until the answer is there, and is bad where
 * nothing follows. */
Test(eio_open, asks_for_more_until_it_is_there)
{
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        struct eio_span body = found[i].body;
        enum eio_result last = EIO_MORE;
        for (size_t len = 0; len <= body.len; len++) {
            struct eio_open out;
            struct eio_span prefix = {body.ptr, len};
            enum eio_result result = find(prefix, false, &out);
            cr_assert_neq(result, EIO_BAD, "%s at %zu", body.ptr, len);
            cr_assert(last == EIO_MORE || result == EIO_DONE, "%s at %zu",
                      body.ptr, len);
            last = result;
            if (result == EIO_MORE) {
                cr_assert_eq(find(prefix, true, &out), EIO_BAD, "%s at %zu",
                             body.ptr, len);
            }
        }
        cr_assert_eq(last, EIO_DONE, "%s", body.ptr);
    }
}

/* The shortest prefix of a body that is hopeless. */
static const struct {
    struct eio_span body;
    size_t bad_at;
} refused[] = {
    {BYTES("<html>"), 1},
    {BYTES("{\"sid\":\"a\"}"), 1},
    {BYTES(" 0{}"), 1},
    {BYTES("ok"), 1},
    {BYTES("\xef\xbb\xbf"
           "0{}"),
     1},
    {BYTES("\1\1\3770"), 1}, /* a binary packet first */
    {BYTES("b0"), 1},
    {BYTES("0x"), 2},
    {BYTES("00"), 2},
    {BYTES("0:"), 2},
    {BYTES("0\036"), 2},
    {BYTES("0 {"), 2},
    {BYTES("0["), 2},
    {BYTES("4x"), 2},
    {BYTES("40{\"sid\":\"a\"}"), 3},
    {BYTES("0{\036"), 3},
    {BYTES("0{\0"), 3},
    {BYTES("0{\x7f"), 3},
    {BYTES("0{\xc3\xa9"), 3},
    {BYTES("0{}"), 3},
    {BYTES("0{\"sid\":\"a\n"), 11},
    {BYTES("0{\"sid\":\"a\0\"}"), 11},
    {BYTES("0{\"sid\":\"a\\u0000"), 16}, /* would cut the sid */
    {BYTES("0{\"si\\u0000"), 11},
    {BYTES("0{\"sid\":\"\"}"), 11},
    {BYTES("0{\"sid\":\"\\u001f\"}"), 17},
    {BYTES("0{\"sid\":\"\\n\"}"), 13},
    {BYTES("0{\"sid\":\"\x7f\"}"), 12},
    {BYTES("0{\"sid\":\"\\ud800\"}"), 17}, /* half a pair */
    {BYTES("0{\"sid\":1}"), 10},
    {BYTES("0{\"sid\":null}"), 13},
    {BYTES("0{\"sid\":[\"a\"]}"), 14},
    {BYTES("0{\"SID\":\"a\"}"), 12},
    {BYTES("0{\"x\":{\"sid\":\"a\"}}"), 18},
    {BYTES("0{\"sid\":\"a\",\"sid\":\"b\"}"), 22},
    {BYTES("0{\"sid\":\"a\",}"), 13},
    {BYTES("0{\"sid\":\"a\"]"), 12},
    {BYTES("0{sid:\"a\"}"), 10},
    {BYTES("0{'sid':'a'}"), 12},
    {BYTES("0{\"a\":[[[[[[[["), 14}, /* too deep */
    {BYTES("0{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"), 42},
    {BYTES("12:4"), 4},
    {BYTES("12:0["), 5},
    {BYTES("012:"), 2},
    {BYTES("8193"), 4},
    {BYTES("99999"), 4},
    {BYTES("1x"), 2},
    {BYTES("1:0"), 3},
    {BYTES("2:0{"), 4},
    {BYTES("10:0{\"sid\":\"\xf0"), 13}, /* ends within a character */
    {BYTES("11:0" SHORT), 14},          /* the length is one short */
    {BYTES("13:0" SHORT "2:40"), 16},
    {BYTES("12:0{\"sid\":\"\xf0\x9f\x98\x80\"}"), 17},
    {BYTES("\0\0"), 2},
    {BYTES("\0\377"), 2},
    {BYTES("\0\012"), 2},
    {BYTES("\0"
           "1"),
     2},
    {BYTES("\0\1\2\3774"), 5},
    {BYTES("\0\1\2\377\0"), 5},
    {BYTES("\0\1\1\3770" SHORT), 15},
    {BYTES("_x"), 2},
    {BYTES("___eio("), 7},
    {BYTES("___eio[x"), 8},
    {BYTES("___eio[1]["), 10},
    {BYTES("___eio[1](0"), 11},
    {BYTES("___eio[1](\"4x"), 13},
    {BYTES("___eio[1](\"\\u0000"), 17},
    {BYTES("___eio[1](\"\n"), 12},
    {BYTES("___eio[1](\"0{\\u12g"), 18},
    {BYTES("___eio[1](\"0{\\\n"), 15},
    {BYTES("___eio[1](\"0{\""), 14}, /* the string ends too early */
    {BYTES("___eio[1](\"0{\\\"sid\\\":\\\"\\\\u0000"), 30},
};

Test(eio_open, refuses_as_early_as_possible)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct eio_span body = refused[i].body;
        struct eio_open out;
        struct eio_open untouched;
        memset(&out, 0xa5, sizeof out);
        memset(&untouched, 0xa5, sizeof untouched);
        for (size_t len = 0; len <= body.len; len++) {
            struct eio_span prefix = {body.ptr, len};
            enum eio_result want = len < refused[i].bad_at ? EIO_MORE : EIO_BAD;
            cr_assert_eq(find(prefix, false, &out), want, "%s at %zu", body.ptr,
                         len);
            cr_assert_eq(find(prefix, true, &out), EIO_BAD, "%s at %zu",
                         body.ptr, len);
        }
        cr_assert_eq(memcmp(&out, &untouched, sizeof out), 0, "%s", body.ptr);
    }
}

/* A body that goes on wrongly behind a whole object. */
Test(eio_open, refuses_what_follows)
{
    static const struct eio_span bodies[] = {
        BYTES("0" SHORT "x"),
        BYTES("0" SHORT "\n}"),
        BYTES("0" SHORT SHORT),
        BYTES("12:0" SHORT "x"),
        BYTES("12:0" SHORT "0:"),
        BYTES("\0\1\2\3770" SHORT "2"),
        BYTES("___eio[1](\"0{\\\"sid\\\":\\\"a\\\"}\"x"),
        BYTES("___eio[1](\"0{\\\"sid\\\":\\\"a\\\"}\");x"),
        BYTES("___eio[1](\"0{\\\"sid\\\":\\\"a\\\"}\\b\");"),
    };

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct eio_open out;
        cr_assert_eq(find(bodies[i], false, &out), EIO_BAD, "%s",
                     bodies[i].ptr);
    }
    struct eio_span cut_off = BYTES("___eio[1](\"0{\\\"sid\\\":\\\"a\\\"}\"");
    struct eio_open out;
    cr_assert_eq(find(cut_off, false, &out), EIO_DONE);
    cr_assert_eq(find(cut_off, true, &out), EIO_BAD);
}

Test(eio_open, reads_all_fields)
{
    struct eio_open out;

    cr_assert_eq(find((struct eio_span)BYTES("0" NODE), true, &out), EIO_DONE);
    cr_assert_eq(out.ping_interval_ms, 25000);
    cr_assert_eq(out.ping_timeout_ms, 20000);
    cr_assert_eq(out.max_payload_bytes, 1000000);
    cr_assert(out.upgrades_websocket);
}

static const struct {
    struct eio_span packet;
    uint32_t interval_ms;
    uint32_t timeout_ms;
    uint32_t payload_bytes;
    bool upgrades;
} fields[] = {
    {BYTES("0{\"sid\":\"a\"}"), 0, 0, 0, false},
    {BYTES("0{\"sid\":\"a\",\"pingInterval\":86400001,\"pingTimeout\":1e99,"
           "\"maxPayload\":1e99}"),
     86400000, 86400000, UINT32_MAX, false},
    {BYTES("0{\"sid\":\"a\",\"pingInterval\":-1,\"pingTimeout\":\"5\","
           "\"maxPayload\":null}"),
     0, 0, 0, false},
    {BYTES("0{\"sid\":\"a\",\"pingInterval\":1.9,\"pingTimeout\":-1e99,"
           "\"upgrades\":[\"webtransport\",\"websocket\"]}"),
     1, 0, 0, true},
    {BYTES("0{\"sid\":\"a\",\"upgrades\":[]}"), 0, 0, 0, false},
    {BYTES("0{\"sid\":\"a\",\"upgrades\":\"websocket\"}"), 0, 0, 0, false},
    {BYTES("0{\"sid\":\"a\",\"upgrades\":[1,[\"websocket\"]]}"), 0, 0, 0,
     false},
    {BYTES("0{\"sid\":\"a\",\"upgrades\":{\"x\":\"websocket\"}}"), 0, 0, 0,
     false},
};

Test(eio_open, parse_clamps_and_ignores)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct eio_open out;
        struct guard guard =
            guard_copy(fields[i].packet.ptr, fields[i].packet.len);
        struct eio_span packet = {guard.bytes, guard.len};
        cr_assert_eq(eio_open_parse(packet, &out), EIO_DONE, "case %zu", i);
        guard_free(&guard);
        cr_assert_eq(out.ping_interval_ms, fields[i].interval_ms, "%zu", i);
        cr_assert_eq(out.ping_timeout_ms, fields[i].timeout_ms, "%zu", i);
        cr_assert_eq(out.max_payload_bytes, fields[i].payload_bytes, "%zu", i);
        cr_assert_eq(out.upgrades_websocket, fields[i].upgrades, "%zu", i);
        cr_assert_eq(out.framing, EIO_FRAMING_UNKNOWN);
    }
}

Test(eio_open, parse_takes_one_whole_packet_only)
{
    static const struct eio_span packets[] = {
        BYTES(""),
        BYTES("0"),
        BYTES("0{\"sid\":\"a\""),
        BYTES("0" SHORT "\0364x"),
        BYTES("0" SHORT "x"),
        BYTES("12:0" SHORT),
        BYTES("4" SHORT),
        BYTES("2probe"),
    };

    for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++) {
        struct eio_open out;
        struct guard guard = guard_copy(packets[i].ptr, packets[i].len);
        struct eio_span packet = {guard.bytes, guard.len};
        cr_assert_eq(eio_open_parse(packet, &out), EIO_BAD, "%s",
                     packets[i].ptr);
        guard_free(&guard);
    }
}

/* 0{"sid":"xx...x"} with a sid of `count` bytes, into a body of `len` bytes. */
static enum eio_result find_padded(size_t count, size_t len, bool is_whole)
{
    static char body[2 * EIO_OPEN_PREFIX_MAX];
    struct eio_open out;

    memset(body, ' ', sizeof body);
    memcpy(body, "0{\"sid\":\"", 9);
    memset(body + 9, 'x', count);
    body[9 + count] = '"';
    body[len - 1] = '}';
    return find((struct eio_span){body, len}, is_whole, &out);
}

Test(eio_open, limits_the_sid_and_the_body)
{
    const size_t max = EIO_OPEN_PREFIX_MAX;

    cr_assert_eq(find_padded(EIO_SID_MAX, 400, true), EIO_DONE);
    cr_assert_eq(find_padded(EIO_SID_MAX + 1, 400, true), EIO_BAD);
    cr_assert_eq(find_padded(4, max, true), EIO_DONE);
    cr_assert_eq(find_padded(4, max, false), EIO_DONE);
    cr_assert_eq(find_padded(4, max + 1, true), EIO_BAD);
    cr_assert_eq(find_padded(4, max + 1, false), EIO_BAD);
}

Test(eio_open, a_long_body_is_judged_by_its_prefix)
{
    static char body[3 * EIO_OPEN_PREFIX_MAX];
    struct eio_open out;
    struct eio_span span = {body, sizeof body};

    memset(body, 'x', sizeof body);
    memcpy(body, "0" SHORT "\0364", 14);
    cr_assert_eq(find(span, true, &out), EIO_DONE);
    memcpy(body, "12:0" SHORT "9000:4", 21);
    cr_assert_eq(find(span, false, &out), EIO_DONE);
    memset(body, ' ', sizeof body);
    memcpy(body, "0{", 2);
    cr_assert_eq(find(span, false, &out), EIO_BAD);
    span.len = EIO_OPEN_PREFIX_MAX - 1;
    cr_assert_eq(find(span, false, &out), EIO_MORE);
    span.len = EIO_OPEN_PREFIX_MAX;
    cr_assert_eq(find(span, false, &out), EIO_BAD);
}

Test(eio_open, a_long_jsonp_body_is_judged_by_its_prefix)
{
    static char body[3 * EIO_OPEN_PREFIX_MAX];
    const char head[] = "___eio[1](\"0{\\\"sid\\\":\\\"a\\\"}\\u001e4";
    struct eio_open out;
    struct eio_span span = {body, sizeof body};

    memset(body, 'x', sizeof body);
    memcpy(body, head, sizeof head - 1);
    cr_assert_eq(find(span, false, &out), EIO_DONE);
    cr_assert_eq(out.framing, EIO_FRAMING_JSONP_V4);
    memcpy(body + sizeof body - 3, "\");", 3);
    cr_assert_eq(find(span, true, &out), EIO_DONE);
}
