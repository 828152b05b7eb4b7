/* SPDX-License-Identifier: MIT */
/* The query parser. */
#include "eio/query.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>

#define BYTES(text)                                                            \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }

static enum eio_query_status parse(struct eio_span query, struct eio_query *out)
{
    struct guard guard = guard_copy(query.ptr, query.len);
    struct eio_span span = {guard.bytes, guard.len};

    memset(out, 0xa5, sizeof *out);
    enum eio_query_status status = eio_query_parse(span, out);
    guard_free(&guard);
    return status;
}

static void check_sid(struct eio_span query, struct eio_span sid)
{
    struct eio_query out;

    cr_assert_eq(parse(query, &out), EIO_QUERY_OK, "%s", query.ptr);
    cr_assert_eq(out.sid.len, sid.len, "%s: length %d", query.ptr, out.sid.len);
    cr_assert_eq(memcmp(out.sid.bytes, sid.ptr, sid.len), 0, "%s", query.ptr);
}

static const struct {
    struct eio_span query;
    struct eio_span sid;
} sids[] = {
    {BYTES(""), BYTES("")},
    {BYTES("sid"), BYTES("")},
    {BYTES("sid="), BYTES("")},
    {BYTES("sid=&EIO=4"), BYTES("")},
    {BYTES("sid=abc"), BYTES("abc")},
    {BYTES("EIO=4&transport=polling&t=Pq&sid=JHN6xQ_-AAAA"),
     BYTES("JHN6xQ_-AAAA")},
    {BYTES("sid=abc&EIO=4"), BYTES("abc")},
    {BYTES("&&sid=abc&&"), BYTES("abc")},
    {BYTES("sid=a=b"), BYTES("a=b")},
    {BYTES("sid=a?b"), BYTES("a?b")},
    {BYTES("sid=a;sid=b"), BYTES("a;sid=b")},
    {BYTES("sid=%4a%4A"), BYTES("JJ")},
    {BYTES("sid=a+b%20c%2B"), BYTES("a b c+")},
    {BYTES("sid=%ff\xfe"), BYTES("\xff\xfe")},
    {BYTES("sid=%26sid%3Dx"), BYTES("&sid=x")},
    /* escapes in the name */
    {BYTES("s%69d=abc"), BYTES("abc")},
    {BYTES("%73%69%64=abc"), BYTES("abc")},
    {BYTES("%73%69%64"), BYTES("")},
    /* other names */
    {BYTES("xsid=abc"), BYTES("")},
    {BYTES("sid[]=abc"), BYTES("")},
    {BYTES("SID=abc"), BYTES("")},
    {BYTES("Sid=abc"), BYTES("")},
    {BYTES("sid%00=abc"), BYTES("")},
    {BYTES("sid+=abc"), BYTES("")},
    {BYTES("+sid=abc"), BYTES("")},
    {BYTES("%2573id=abc"), BYTES("")},
    {BYTES("si%6=abc"), BYTES("")},
    {BYTES("si%zz=abc"), BYTES("")},
    {BYTES("?sid=abc"), BYTES("")},
    {BYTES("%=abc"), BYTES("")},
    {BYTES("=sid=abc"), BYTES("")},
    {BYTES("sidsidsidsid=abc"), BYTES("")},
    {BYTES("sid=abc&xsid=1&sid2=2&sid[]=3"), BYTES("abc")},
    /* a broken escape elsewhere is not ours to judge */
    {BYTES("sid=abc&t=%zz&%=%"), BYTES("abc")},
};

Test(eio_query, reads_the_sid)
{
    for (size_t i = 0; i < sizeof sids / sizeof sids[0]; i++) {
        check_sid(sids[i].query, sids[i].sid);
    }
}

static const struct {
    struct eio_span query;
    enum eio_query_status status;
} refused[] = {
    {BYTES("sid=a&sid=b"), EIO_QUERY_DUPLICATE_SID},
    {BYTES("sid=a&sid=a"), EIO_QUERY_DUPLICATE_SID},
    {BYTES("sid=&sid=a"), EIO_QUERY_DUPLICATE_SID},
    {BYTES("sid&sid"), EIO_QUERY_DUPLICATE_SID},
    {BYTES("sid=a&t=4&s%69d=b"), EIO_QUERY_DUPLICATE_SID},
    {BYTES("%73id=a&sid=b"), EIO_QUERY_DUPLICATE_SID},
    {BYTES("sid=%zz&sid=b"), EIO_QUERY_DUPLICATE_SID},
    {BYTES("sid=a&sid=%zz"), EIO_QUERY_DUPLICATE_SID},
    {BYTES("sid=%"), EIO_QUERY_BAD_SID},
    {BYTES("sid=abc%4"), EIO_QUERY_BAD_SID},
    {BYTES("sid=%4g"), EIO_QUERY_BAD_SID},
    {BYTES("sid=%g4"), EIO_QUERY_BAD_SID},
    {BYTES("sid=%+4"), EIO_QUERY_BAD_SID},
    {BYTES("sid=%-1"), EIO_QUERY_BAD_SID},
    {BYTES("sid=%2&d"), EIO_QUERY_BAD_SID},
    {BYTES("sid=a%00"), EIO_QUERY_BAD_SID},
    {BYTES("sid=a\0b"), EIO_QUERY_BAD_SID},
    {BYTES("sid=a%0d%0ab"), EIO_QUERY_BAD_SID},
    {BYTES("sid=a%1f"), EIO_QUERY_BAD_SID},
    {BYTES("sid=a\tb"), EIO_QUERY_BAD_SID},
    {BYTES("sid=%7f"), EIO_QUERY_BAD_SID},
    {BYTES("sid=\x7f"), EIO_QUERY_BAD_SID},
};

Test(eio_query, refuses_with_an_empty_sid_and_the_rest_read)
{
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct eio_query out;
        char text[128];
        size_t len = refused[i].query.len;
        memcpy(text, refused[i].query.ptr, len);
        memcpy(text + len, "&EIO=3", 6);
        cr_assert_eq(parse((struct eio_span){text, len + 6}, &out),
                     refused[i].status, "%s", refused[i].query.ptr);
        cr_assert_eq(out.sid.len, 0, "%s", refused[i].query.ptr);
        cr_assert_eq(out.eio, 3, "%s", refused[i].query.ptr);
    }
}

/* "sid=" and `count` times `unit`. */
static enum eio_query_status parse_long(const char *unit, size_t count,
                                        struct eio_query *out)
{
    char text[4 + 3 * (EIO_SID_MAX + 1)] = "sid=";
    size_t len = 4;

    for (size_t i = 0; i < count; i++) {
        memcpy(text + len, unit, strlen(unit));
        len += strlen(unit);
    }
    return parse((struct eio_span){text, len}, out);
}

Test(eio_query, limits_the_decoded_length)
{
    struct eio_query out;

    cr_assert_eq(parse_long("x", EIO_SID_MAX, &out), EIO_QUERY_OK);
    cr_assert_eq(out.sid.len, EIO_SID_MAX);
    cr_assert_eq(parse_long("x", EIO_SID_MAX + 1, &out), EIO_QUERY_BAD_SID);
    cr_assert_eq(parse_long("%78", EIO_SID_MAX, &out), EIO_QUERY_OK);
    cr_assert_eq(out.sid.len, EIO_SID_MAX);
    cr_assert_eq(out.sid.bytes[EIO_SID_MAX - 1], 'x');
    cr_assert_eq(parse_long("%78", EIO_SID_MAX + 1, &out), EIO_QUERY_BAD_SID);
}

static const struct {
    struct eio_span query;
    bool has_eio;
    int eio;
} versions[] = {
    {BYTES("sid=a"), false, 0},
    {BYTES("EIO"), true, 0},
    {BYTES("EIO="), true, 0},
    {BYTES("EIO=4"), true, 4},
    {BYTES("EIO=3&EIO=4"), true, 3},
    {BYTES("EIO=x&EIO=4"), true, 0},
    {BYTES("EIO=04"), true, 4},
    {BYTES("EIO=99"), true, 99},
    {BYTES("EIO=100"), true, 0},
    {BYTES("EIO=-4"), true, 0},
    {BYTES("EIO=+4"), true, 0},
    {BYTES("EIO=4a"), true, 0},
    {BYTES("EIO=%34"), true, 4},
    {BYTES("%45IO=4"), true, 4},
    {BYTES("EIO=4%"), true, 0},
    {BYTES("eio=4"), false, 0},
    {BYTES("EIO=0000000000000004"), true, 0},
};

Test(eio_query, reads_the_version)
{
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        struct eio_query out;
        cr_assert_eq(parse(versions[i].query, &out), EIO_QUERY_OK);
        cr_assert_eq(out.has_eio, versions[i].has_eio, "%s",
                     versions[i].query.ptr);
        cr_assert_eq(out.eio, versions[i].eio, "%s: %d", versions[i].query.ptr,
                     out.eio);
    }
}

static const struct {
    struct eio_span query;
    bool has_transport;
    enum eio_transport transport;
} transports[] = {
    {BYTES(""), false, EIO_TRANSPORT_NONE},
    {BYTES("transport=polling"), true, EIO_TRANSPORT_POLLING},
    {BYTES("transport=websocket"), true, EIO_TRANSPORT_WEBSOCKET},
    {BYTES("transport=%77ebsocket"), true, EIO_TRANSPORT_WEBSOCKET},
    {BYTES("%74ransport=polling"), true, EIO_TRANSPORT_POLLING},
    {BYTES("transport"), true, EIO_TRANSPORT_OTHER},
    {BYTES("transport="), true, EIO_TRANSPORT_OTHER},
    {BYTES("transport=webtransport"), true, EIO_TRANSPORT_OTHER},
    {BYTES("transport=Polling"), true, EIO_TRANSPORT_OTHER},
    {BYTES("transport=polling%00"), true, EIO_TRANSPORT_OTHER},
    {BYTES("transport=polling+"), true, EIO_TRANSPORT_OTHER},
    {BYTES("transport=polling&transport=websocket"), true,
     EIO_TRANSPORT_POLLING},
    {BYTES("transport=x&transport=websocket"), true, EIO_TRANSPORT_OTHER},
    {BYTES("xtransport=polling"), false, EIO_TRANSPORT_NONE},
    {BYTES("transports=polling"), false, EIO_TRANSPORT_NONE},
    {BYTES("Transport=polling"), false, EIO_TRANSPORT_NONE},
};

Test(eio_query, reads_the_transport)
{
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        struct eio_query out;
        cr_assert_eq(parse(transports[i].query, &out), EIO_QUERY_OK);
        cr_assert_eq(out.has_transport, transports[i].has_transport, "%s",
                     transports[i].query.ptr);
        cr_assert_eq(out.transport, transports[i].transport, "%s",
                     transports[i].query.ptr);
    }
}

static const struct {
    struct eio_span query;
    bool has_jsonp;
    uint32_t jsonp;
    bool has_b64;
} jsonps[] = {
    {BYTES("EIO=3"), false, 0, false},
    {BYTES("j=7"), true, 7, false},
    {BYTES("j=7&j=8&b64=1"), true, 7, true},
    {BYTES("j"), true, 0, false},
    {BYTES("j="), true, 0, false},
    {BYTES("j=1a2%332)"), true, 1232, false},
    {BYTES("j=%zz1"), true, 1, false},
    {BYTES("%6a=5"), true, 5, false},
    {BYTES("j=4294967295"), true, UINT32_MAX, false},
    {BYTES("j=4294967296"), true, UINT32_MAX, false},
    {BYTES("j=99999999999999999999999999"), true, UINT32_MAX, false},
    {BYTES("b64"), false, 0, true},
    {BYTES("b%364="), false, 0, true},
    {BYTES("jj=1&J=1&B64=1"), false, 0, false},
};

Test(eio_query, reads_jsonp_and_b64)
{
    for (size_t i = 0; i < sizeof jsonps / sizeof jsonps[0]; i++) {
        struct eio_query out;
        cr_assert_eq(parse(jsonps[i].query, &out), EIO_QUERY_OK);
        cr_assert_eq(out.has_jsonp, jsonps[i].has_jsonp, "%s",
                     jsonps[i].query.ptr);
        cr_assert_eq(out.jsonp, jsonps[i].jsonp, "%s", jsonps[i].query.ptr);
        cr_assert_eq(out.has_b64, jsonps[i].has_b64, "%s", jsonps[i].query.ptr);
    }
}

Test(eio_query, takes_no_bytes)
{
    struct eio_query out;
    struct eio_span none = {NULL, 0};

    memset(&out, 0xa5, sizeof out);
    cr_assert_eq(eio_query_parse(none, &out), EIO_QUERY_OK);
    cr_assert_eq(out.sid.len, 0);
    cr_assert_not(out.has_eio);
}

/* Nothing is behind these, not even an '&'. */
Test(eio_query, refuses_an_escape_that_the_end_cuts_off)
{
    static const struct eio_span queries[] = {
        BYTES("sid=%"),
        BYTES("sid=%4"),
        BYTES("sid=abc%4"),
    };
    static const struct eio_span others[] = {
        BYTES("%"),   BYTES("si%6"), BYTES("EIO=%3"), BYTES("transport=%7"),
        BYTES("j=%"),
    };
    struct eio_query out;

    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        cr_assert_eq(parse(queries[i], &out), EIO_QUERY_BAD_SID, "%s",
                     queries[i].ptr);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        cr_assert_eq(parse(others[i], &out), EIO_QUERY_OK, "%s", others[i].ptr);
        cr_assert_eq(out.eio, 0, "%s", others[i].ptr);
    }
}

Test(eio_query, undoes_percent_encode_of_a_sid)
{
    struct eio_sid sid = {.len = 0};
    char text[4 + 3 * EIO_SID_MAX] = "sid=";
    struct eio_query out;

    for (unsigned c = 0x20; c < 0x100; c++) {
        if (c != 0x7f) {
            sid.bytes[sid.len++] = (char)c;
        }
    }
    size_t len = 4 + eio_sid_percent_encode(&sid, text + 4);
    cr_assert_eq(parse((struct eio_span){text, len}, &out), EIO_QUERY_OK);
    cr_assert(eio_sid_equal(&out.sid, &sid));
}
