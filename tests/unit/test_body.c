/* SPDX-License-Identifier: MIT */
/* Body framing on its way in, above all the chunk decoder. */
#include "gateway/body.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>

#define BYTES(text) (text), sizeof(text) - 1

/* What came of a body that was fed in pieces. */
struct result {
    bool is_broken;
    bool is_done;
    size_t consumed;
    size_t len;
    char data[4096];
};

/* Feeds pieces until the body is done or broken: of lens[0], lens[1] bytes
 * and so on, the last length again and again. Each piece stands before an
 * unreadable page and is decoded there, in place. */
static void decode(struct result *result, const char *bytes, size_t len,
                   const size_t *lens, size_t count)
{
    struct gw_body body;
    size_t at = 0;

    gw_body_init(&body, GW_BODY_CHUNKED, 0);
    memset(result, 0, sizeof(*result));
    for (size_t i = 0; at < len && !body.is_done; i++) {
        size_t piece = lens[i < count ? i : count - 1];
        size_t consumed = 777;
        piece = piece < len - at ? piece : len - at;
        struct guard guard = guard_copy(bytes + at, piece);
        ptrdiff_t n = gw_body_decode(&body, guard.bytes, piece, &consumed);
        result->is_broken = n < 0;
        if (n > 0) {
            cr_assert_leq((size_t)n, piece);
            cr_assert_leq(result->len + (size_t)n, sizeof(result->data));
            memcpy(result->data + result->len, guard.bytes, (size_t)n);
            result->len += (size_t)n;
        }
        guard_free(&guard);
        if (result->is_broken)
            return;
        cr_assert(consumed == piece || body.is_done);
        result->consumed += consumed;
        at += consumed;
    }
    result->is_done = body.is_done;
    cr_assert_eq(gw_body_end(&body), body.is_done);
}

static const struct {
    const char *bytes;
    size_t len;
    const char *data;
    size_t rest; /* bytes behind the body */
} bodies[] = {
    {BYTES("0\r\n\r\n"), "", 0},
    {BYTES("5\r\nhello\r\n0\r\n\r\n"), "hello", 0},
    {BYTES("5\r\nhello\r\n0\r\n\r\n0\r\n\r\n"), "hello", 5},
    {BYTES("5\r\nhello\r\n0\r\n\r\n\r\n"), "hello", 2},
    {BYTES("5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), "hello", 18},
    {BYTES("1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"), "abcdef", 0},
    {BYTES("a\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n\r\n"),
     "01234567890123456789", 0},
    {BYTES("000000000000005\r\nhello\r\n000000000000000\r\n\r\n"), "hello", 0},
    /* chunks of what looks like framing */
    {BYTES("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"), "\r\n0\r\n\r\n", 0},
    {BYTES("2\r\n\r\n\r\n1\r\n\n\r\n0\r\n\r\n"), "\r\n\n", 0},
    /* extensions and trailers go */
    {BYTES("5;a=b;c=\"d;\te\"\r\nhello\r\n0;x\r\n\r\n"), "hello", 0},
    {BYTES("5;\r\nhello\r\n0;\r\n\r\n"), "hello", 0},
    {BYTES("5\r\nhello\r\n0\r\nA: b\r\nC:\r\nD: \xff\t:\r\n\r\n"), "hello", 0},
    {BYTES("0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\nhello"), "",
     5},
};

enum { BODIES = sizeof(bodies) / sizeof(bodies[0]) };

static void check_body(size_t i, const struct result *result)
{
    cr_assert_not(result->is_broken, "body %zu", i);
    cr_assert(result->is_done, "body %zu", i);
    cr_assert_eq(result->consumed, bodies[i].len - bodies[i].rest,
                 "body %zu: %zu", i, result->consumed);
    cr_assert_eq(result->len, strlen(bodies[i].data), "body %zu", i);
    cr_assert_eq(memcmp(result->data, bodies[i].data, result->len), 0,
                 "body %zu", i);
}

Test(body, decodes_chunks_whole_and_in_steps)
{
    static struct result result;
    for (size_t i = 0; i < BODIES; i++)
        for (size_t step = 1; step <= bodies[i].len; step++) {
            decode(&result, bodies[i].bytes, bodies[i].len, &step, 1);
            check_body(i, &result);
        }
}

Test(body, decodes_chunks_split_at_any_two_points)
{
    static struct result result;
    for (size_t i = 0; i < BODIES; i++)
        for (size_t a = 1; a < bodies[i].len; a++)
            for (size_t b = 1; a + b <= bodies[i].len; b++) {
                size_t lens[3] = {a, b, bodies[i].len};
                decode(&result, bodies[i].bytes, bodies[i].len, lens, 3);
                check_body(i, &result);
            }
}

Test(body, is_not_done_before_its_last_byte)
{
    static struct result result;
    for (size_t i = 0; i < BODIES; i++) {
        size_t whole = bodies[i].len - bodies[i].rest;
        for (size_t len = 0; len < whole; len++) {
            decode(&result, bodies[i].bytes, len, &len, 1);
            cr_assert_not(result.is_broken, "body %zu, %zu bytes", i, len);
            cr_assert_not(result.is_done, "body %zu, %zu bytes", i, len);
            cr_assert_eq(result.consumed, len);
        }
    }
}

static const struct {
    const char *bytes;
    size_t len;
} broken[] = {
    {BYTES("\r\n")},
    {BYTES("\n")},
    {BYTES("g\r\n")},
    {BYTES("+5\r\n")},
    {BYTES("-5\r\n")},
    {BYTES("0x5\r\n")},
    {BYTES(" 5\r\n")},
    {BYTES("\t5\r\n")},
    {BYTES("5 \r\n")},
    {BYTES("5 x\r\n")},
    {BYTES("5 ;x\r\n")},
    {BYTES("5\t;x\r\n")},
    {BYTES("5\0\r\n")},
    {BYTES(";x\r\n")},
    {BYTES("5,5\r\n")},
    {BYTES("5\n")},
    {BYTES("5\rh")},
    {BYTES("5\r\r\n")},
    /* sizes that overflow 64 bits, or 32, or a sign */
    {BYTES("0000000000000005\r\n")},
    {BYTES("10000000000000000\r\n")},
    {BYTES("10000000000000005\r\n")},
    {BYTES("ffffffffffffffff\r\n")},
    {BYTES("8000000000000000\r\n")},
    {BYTES("20000000000000005\r\n")},
    /* extensions */
    {BYTES("5;a\n")},
    {BYTES("5;a\rb")},
    {BYTES("5;a\0")},
    {BYTES("5;a\x7f")},
    {BYTES("5;\x1b")},
    /* what ends the data */
    {BYTES("5\r\nhello\n")},
    {BYTES("5\r\nhello0")},
    {BYTES("5\r\nhello\r0")},
    {BYTES("5\r\nhello\r\r")},
    {BYTES("3\r\nhello\r\n")},
    {BYTES("6\r\nhello\r\n0\r\n\r\n")},
    {BYTES("5\r\nhello\r\n\r\n")},
    /* trailers */
    {BYTES("0\r\n\n")},
    {BYTES("0\n")},
    {BYTES("0\r\n\rx")},
    {BYTES("0\r\n: b\r\n")},
    {BYTES("0\r\nA\r\n")},
    {BYTES("0\r\nA : b\r\n")},
    {BYTES("0\r\nA\t: b\r\n")},
    {BYTES("0\r\n A: b\r\n")},
    {BYTES("0\r\nA: b\r\n c\r\n")},
    {BYTES("0\r\nA: b\n")},
    {BYTES("0\r\nA: b\rc")},
    {BYTES("0\r\nA: \0")},
    {BYTES("0\r\nA: \x7f")},
    {BYTES("0\r\n\xc3: b")},
};

Test(body, refuses_broken_chunks_whole_and_in_steps)
{
    static struct result result;
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        for (size_t step = 1; step <= broken[i].len; step++) {
            decode(&result, broken[i].bytes, broken[i].len, &step, 1);
            cr_assert(result.is_broken, "case %zu, %s, step %zu", i,
                      broken[i].bytes, step);
        }
}

/* A chunk of one byte, in front of `fill` times `c` and the rest. */
static bool is_taken(const char *before, char c, size_t fill, const char *after)
{
    static char text[32768];
    struct gw_body body;
    size_t len = strlen(before);
    size_t consumed;

    memcpy(text, before, len);
    memset(text + len, c, fill);
    len += fill;
    memcpy(text + len, after, strlen(after));
    len += strlen(after);
    gw_body_init(&body, GW_BODY_CHUNKED, 0);
    bool is_broken = gw_body_decode(&body, text, len, &consumed) < 0;
    cr_assert(is_broken || body.is_done);
    return !is_broken;
}

Test(body, bounds_what_is_not_data)
{
    cr_assert(is_taken("1;", 'a', 8000, "\r\nx\r\n0\r\n\r\n"));
    cr_assert_not(is_taken("1;", 'a', 8192, "\r\nx\r\n0\r\n\r\n"));
    cr_assert(is_taken("1\r\nx\r\n0\r\nA: ", 'a', 8000, "\r\n\r\n"));
    cr_assert_not(is_taken("1\r\nx\r\n0\r\nA: ", 'a', 8192, "\r\n\r\n"));
    /* an extension and trailers add up */
    cr_assert(is_taken("1\r\nx\r\n0;", 'a', 8100, "\r\nA: b\r\n\r\n"));
    cr_assert_not(is_taken("1\r\nx\r\n0;", 'a', 8100,
                           "\r\nA: 0123456789012345678901234567890123456789"
                           "0123456789012345678901234567890123456789\r\n"
                           "\r\n"));
}

Test(body, bounds_what_is_not_data_in_single_bytes_too)
{
    struct gw_body body;
    size_t consumed;
    size_t count = 0;
    char first[] = "1;";

    gw_body_init(&body, GW_BODY_CHUNKED, 0);
    cr_assert_eq(gw_body_decode(&body, first, 2, &consumed), 0);
    for (;;) {
        char c = 'a';
        if (gw_body_decode(&body, &c, 1, &consumed) < 0)
            break;
        cr_assert_lt(++count, 8192);
    }
    cr_assert_gt(count, 8000);
}

/* Each byte of data earns its own framing: a slow body of many chunks is not
 * taken for an attack. */
Test(body, takes_any_number_of_small_chunks)
{
    struct gw_body body;
    size_t total = 0;

    gw_body_init(&body, GW_BODY_CHUNKED, 0);
    for (int i = 0; i < 100000; i++) {
        char chunk[] = "1;a\r\nx\r\n";
        size_t consumed;
        ptrdiff_t n = gw_body_decode(&body, chunk, 8, &consumed);
        cr_assert_eq(n, 1);
        cr_assert_eq(chunk[0], 'x');
        total += (size_t)n;
    }
    cr_assert_eq(total, 100000);
}

Test(body, counts_a_huge_chunk_without_overflow)
{
    struct gw_body body;
    size_t consumed;
    char head[] = "fffffffffffffff\r\n";
    static char data[65536];

    gw_body_init(&body, GW_BODY_CHUNKED, 0);
    cr_assert_eq(gw_body_decode(&body, head, sizeof(head) - 1, &consumed), 0);
    for (int i = 0; i < 100; i++) {
        ptrdiff_t n = gw_body_decode(&body, data, sizeof(data), &consumed);
        cr_assert_eq(n, (ptrdiff_t)sizeof(data));
        cr_assert_eq(consumed, sizeof(data));
    }
    cr_assert_not(body.is_done);
    cr_assert_not(gw_body_end(&body));
}

Test(body, counts_a_length)
{
    for (size_t length = 0; length <= 12; length++)
        for (size_t step = 1; step <= 13; step++) {
            struct gw_body body;
            char text[] = "0123456789ab";
            size_t taken = 0;
            gw_body_init(&body, GW_BODY_LENGTH, length);
            cr_assert_eq(body.is_done, length == 0);
            while (!body.is_done) {
                size_t consumed;
                cr_assert_not(gw_body_end(&body));
                ptrdiff_t n =
                    gw_body_decode(&body, text + taken, step, &consumed);
                cr_assert_eq((size_t)n, consumed);
                taken += consumed;
            }
            cr_assert_eq(taken, length);
            cr_assert_str_eq(text, "0123456789ab");
            cr_assert(gw_body_end(&body));
        }
}

Test(body, takes_nothing_behind_its_end)
{
    static const enum gw_body_kind kinds[] = {GW_BODY_NONE, GW_BODY_LENGTH};
    char text[] = "rest";

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct gw_body body;
        size_t consumed = 9;
        gw_body_init(&body, kinds[i], 0);
        cr_assert(body.is_done);
        cr_assert_eq(gw_body_decode(&body, text, 4, &consumed), 0);
        cr_assert_eq(consumed, 0);
        cr_assert(gw_body_end(&body));
    }
}

Test(body, goes_on_until_eof)
{
    struct gw_body body;
    char text[] = "0\r\n\r\n";
    size_t consumed;

    gw_body_init(&body, GW_BODY_UNTIL_EOF, 0);
    cr_assert_not(body.is_done);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(gw_body_decode(&body, text, 5, &consumed), 5);
        cr_assert_eq(consumed, 5);
        cr_assert_not(body.is_done);
    }
    cr_assert(gw_body_end(&body));
    cr_assert(body.is_done);
}
