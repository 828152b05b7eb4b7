/* SPDX-License-Identifier: MIT */
/* Reading the sid out of an answer, however it comes and whatever it is. */
#include "gateway/learn.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <zlib.h>

#define SID "JHN6xQ_-AAAA"
#define OPEN                                                                   \
    "{\"sid\":\"" SID "\",\"upgrades\":[\"websocket\"],"                       \
    "\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}"

enum { PACKED_MAX = 1 << 20 };
enum coding { CODING_GZIP = 15 + 16, CODING_DEFLATE = 15 };

static char packed[PACKED_MAX];

/* Compresses `head`, then `fill` spaces, into packed. */
static size_t pack(enum coding coding, struct eio_span head, size_t fill)
{
    static char blank[65536];
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)head.ptr,
                    .avail_in = (uInt)head.len,
                    .next_out = (Bytef *)packed,
                    .avail_out = sizeof(packed)};

    memset(blank, ' ', sizeof(blank));
    cr_assert_eq(
        deflateInit2(&zip, 9, Z_DEFLATED, (int)coding, 8, Z_DEFAULT_STRATEGY),
        Z_OK);
    cr_assert_eq(deflate(&zip, Z_NO_FLUSH), Z_OK);
    while (fill > 0) {
        size_t piece = fill < sizeof(blank) ? fill : sizeof(blank);
        zip.next_in = (Bytef *)blank;
        zip.avail_in = (uInt)piece;
        cr_assert_eq(deflate(&zip, Z_NO_FLUSH), Z_OK);
        fill -= piece;
    }
    cr_assert_eq(deflate(&zip, Z_FINISH), Z_STREAM_END);
    size_t len = zip.total_out;
    deflateEnd(&zip);
    return len;
}

/* Feeds `bytes` in pieces of `step`, each before an unreadable page, until it
 * is decided. With ends_late the end comes as a piece of its own. */
static enum gw_learned feed(const char *coding, struct eio_span bytes,
                            size_t step, bool ends_late, struct eio_open *open)
{
    struct gw_learn *learn = gw_learn_new(eio_span_of(coding));
    enum gw_learned learned = GW_LEARN_MORE;

    cr_assert_not_null(learn, "%s", coding);
    for (size_t at = 0; learned == GW_LEARN_MORE && at < bytes.len;
         at += step) {
        size_t len = step < bytes.len - at ? step : bytes.len - at;
        struct guard guard = guard_copy(bytes.ptr + at, len);
        struct eio_span piece = {guard.bytes, len};
        bool is_whole = at + len == bytes.len && !ends_late;
        learned = gw_learn_feed(learn, piece, is_whole, open);
        guard_free(&guard);
        cr_assert(learned != GW_LEARN_MORE || !is_whole);
    }
    if (learned == GW_LEARN_MORE)
        learned = gw_learn_feed(learn, (struct eio_span){NULL, 0}, true, open);
    gw_learn_free(&learn);
    cr_assert_null(learn);
    return learned;
}

static const struct {
    const char *body;
    enum gw_learned learned;
} bodies[] = {
    {"0" OPEN, GW_LEARN_OPEN},
    {"0" OPEN "\x1e"
     "40",
     GW_LEARN_OPEN},
    {"110:0" OPEN "2:40", GW_LEARN_OPEN},
    {"___eio[0](\"0{\\\"sid\\\":\\\"" SID "\\\"}\");", GW_LEARN_OPEN},
    {"", GW_LEARN_NONE},
    {"0", GW_LEARN_NONE},
    {"0{\"sid\":\"" SID, GW_LEARN_NONE},
    {"0{}", GW_LEARN_NONE},
    {"0{\"sid\":7}", GW_LEARN_NONE},
    {"ok", GW_LEARN_NONE},
    {"2probe", GW_LEARN_NONE},
    {"{\"code\":1,\"message\":\"Session ID unknown\"}", GW_LEARN_NONE},
    {"<html><body>0" OPEN "</body></html>", GW_LEARN_NONE},
};

enum { BODIES = sizeof(bodies) / sizeof(bodies[0]) };

static void check_body(size_t i, const char *coding, struct eio_span bytes)
{
    for (size_t step = 1; step <= bytes.len + 1; step++)
        for (int late = 0; late < 2; late++) {
            struct eio_open open;
            memset(&open, 0, sizeof(open));
            enum gw_learned learned = feed(coding, bytes, step, late, &open);
            cr_assert_eq(learned, bodies[i].learned,
                         "body %zu, '%s', step %zu: %d", i, coding, step,
                         learned);
            if (learned != GW_LEARN_OPEN)
                continue;
            cr_assert_eq(open.sid.len, strlen(SID));
            cr_assert_eq(memcmp(open.sid.bytes, SID, open.sid.len), 0);
        }
}

Test(learn, finds_the_sid_in_pieces_of_any_size)
{
    for (size_t i = 0; i < BODIES; i++) {
        struct eio_span body = eio_span_of(bodies[i].body);
        check_body(i, "", body);
        check_body(i, "Identity", body);
    }
}

Test(learn, finds_the_sid_in_compressed_pieces_of_any_size)
{
    for (size_t i = 0; i < BODIES; i++) {
        struct eio_span body = eio_span_of(bodies[i].body);
        struct eio_span bytes = {packed, pack(CODING_GZIP, body, 0)};
        check_body(i, "GZip", bytes);
        bytes.len = pack(CODING_DEFLATE, body, 0);
        check_body(i, "deflate", bytes);
    }
}

/* What is cut short within it does not become whole by what follows. */
Test(learn, takes_the_end_of_the_compressed_text_for_the_end)
{
    static const char junk[] = "junk behind it";
    struct eio_open open;
    struct gw_learn *learn = gw_learn_new(eio_span_of("gzip"));
    size_t len = pack(CODING_GZIP, eio_span_of("0{\"sid\":\"" SID), 0);
    struct eio_span most = {packed, len - 1};
    struct eio_span rest = {packed + len - 1, 1 + sizeof(junk)};

    memcpy(packed + len, junk, sizeof(junk));
    cr_assert_eq(gw_learn_feed(learn, most, false, &open), GW_LEARN_MORE);
    cr_assert_eq(gw_learn_feed(learn, rest, false, &open), GW_LEARN_NONE);
    gw_learn_free(&learn);
}

Test(learn, does_not_know_other_codings)
{
    static const char *const codings[] = {
        "br", "gzip, gzip", "x", "zstd", "gzi", "gzipp", "compress"};
    for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++)
        cr_assert_null(gw_learn_new(eio_span_of(codings[i])), "%s", codings[i]);
}

Test(learn, frees_nothing_twice)
{
    struct gw_learn *learn = NULL;
    gw_learn_free(&learn);
    learn = gw_learn_new((struct eio_span){NULL, 0});
    cr_assert_not_null(learn);
    cr_assert_not_null(gw_learn_bind(learn));
    gw_learn_free(&learn);
    cr_assert_null(learn);
    gw_learn_free(&learn);
}

/* An open packet that stays undecided until its end: a member before the sid
 * as long as it takes. */
static size_t long_packet(char *out, size_t len)
{
    static const char before[] = "0{\"x\":\"";
    static const char after[] = "\",\"sid\":\"" SID "\"}";
    size_t pad = len - (sizeof(before) - 1) - (sizeof(after) - 1);

    memcpy(out, before, sizeof(before) - 1);
    memset(out + sizeof(before) - 1, 'x', pad);
    memcpy(out + sizeof(before) - 1 + pad, after, sizeof(after) - 1);
    return len;
}

Test(learn, looks_at_a_bounded_prefix)
{
    static char text[EIO_OPEN_PREFIX_MAX + 1000];
    static const size_t steps[] = {1, 1000, sizeof(text)};
    struct eio_open open;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct eio_span body = {text, long_packet(text, 8000)};
        cr_assert_eq(feed("", body, steps[i], false, &open), GW_LEARN_OPEN);
        struct eio_span zip = {packed, pack(CODING_GZIP, body, 0)};
        cr_assert_eq(feed("gzip", zip, steps[i], false, &open), GW_LEARN_OPEN);
        body.len = long_packet(text, EIO_OPEN_PREFIX_MAX + 100);
        cr_assert_eq(feed("", body, steps[i], false, &open), GW_LEARN_NONE);
        zip.len = pack(CODING_GZIP, body, 0);
        cr_assert_eq(feed("gzip", zip, steps[i], false, &open), GW_LEARN_NONE);
    }
}

/* There in a sanitized build, which knows better than the C library. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t held_bytes(void)
{
    if (__sanitizer_get_current_allocated_bytes != NULL)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

enum {
    /* What a learn may hold over the time before it was made. */
    HELD_MAX = EIO_OPEN_PREFIX_MAX + 64 * 1024,
    FIRST_LEN = 12, /* of the first piece: too little to tell */
};

static void check_bomb(const char *coding, struct eio_span bytes, size_t step)
{
    struct eio_open open;
    size_t before = held_bytes();
    struct gw_learn *learn = gw_learn_new(eio_span_of(coding));
    enum gw_learned learned = GW_LEARN_MORE;
    size_t len;

    cr_assert_not_null(learn);
    for (size_t at = 0; at < bytes.len && learned == GW_LEARN_MORE; at += len) {
        size_t most = at == 0 ? FIRST_LEN : step;
        len = most < bytes.len - at ? most : bytes.len - at;
        struct eio_span piece = {bytes.ptr + at, len};
        learned = gw_learn_feed(learn, piece, false, &open);
        cr_assert_leq(held_bytes(), before + HELD_MAX, "step %zu", step);
    }
    cr_assert_eq(learned, GW_LEARN_NONE, "step %zu: %d", step, learned);
    gw_learn_free(&learn);
}

Test(learn, stays_small_however_much_there_is)
{
    static char plain[1 << 20];
    static const size_t steps[] = {1, 100, 4096, PACKED_MAX};
    struct eio_span start = eio_span_of("0{\"sid\":\"a\",\"x\":");

    memset(plain, ' ', sizeof(plain));
    memcpy(plain, start.ptr, start.len);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct eio_span zip = {packed, pack(CODING_GZIP, start, 64 << 20)};
        check_bomb("gzip", zip, steps[i]);
        zip.len = pack(CODING_DEFLATE, start, 64 << 20);
        check_bomb("deflate", zip, steps[i]);
        check_bomb("", (struct eio_span){plain, sizeof(plain)}, steps[i]);
    }
}

Test(learn, bears_junk)
{
    static const char *const codings[] = {"", "gzip", "deflate"};
    uint32_t state = 1;
    struct eio_open open;

    for (int i = 0; i < 300; i++) {
        char junk[64];
        for (size_t k = 0; k < sizeof(junk); k++) {
            state = state * 1664525 + 1013904223;
            junk[k] = (char)(state >> 24);
        }
        if (i % 2)
            memcpy(junk, "\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
        for (size_t k = 0; k < 3; k++) {
            struct eio_span bytes = {junk, sizeof(junk)};
            cr_assert_eq(
                feed(codings[k], bytes, 1 + (size_t)i % 64, i % 3, &open),
                GW_LEARN_NONE);
        }
    }
}

/* Each bit of a compressed answer flipped: the sid or none, never another. */
Test(learn, bears_broken_compression)
{
    struct eio_span whole = {packed,
                             pack(CODING_GZIP, eio_span_of("0" OPEN), 0)};
    for (size_t i = 0; i < 8 * whole.len; i++) {
        struct eio_open open = {.sid.len = 0};
        packed[i / 8] = (char)(packed[i / 8] ^ (1 << i % 8));
        enum gw_learned learned = feed("gzip", whole, whole.len, false, &open);
        packed[i / 8] = (char)(packed[i / 8] ^ (1 << i % 8));
        cr_assert_neq(learned, GW_LEARN_MORE);
        if (learned == GW_LEARN_OPEN)
            cr_assert_eq(memcmp(open.sid.bytes, SID, strlen(SID)), 0);
    }
    for (size_t len = 0; len < whole.len; len++) {
        struct eio_open open;
        struct eio_span cut = {packed, len};
        enum gw_learned learned = feed("gzip", cut, len + 1, false, &open);
        cr_assert(learned == GW_LEARN_NONE || len + 8 >= whole.len, "%zu", len);
    }
}
