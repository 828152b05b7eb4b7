/* SPDX-License-Identifier: MIT */
/* Websocket frames. */
#include "eio/frame.h"

#include "eio/open.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>

#define BYTES(text)                                                            \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }

enum { STREAM_MAX = 400000, FRAMES_MAX = 32 };

/* A stream that is being written, and where its frames end. */
struct stream {
    char bytes[STREAM_MAX];
    size_t len;
    size_t ends[FRAMES_MAX];
    size_t frame_count;
};

static struct stream stream;

static void add_byte(unsigned value)
{
    stream.bytes[stream.len++] = (char)value;
}

static void add_frame(unsigned first, size_t payload, bool is_masked)
{
    unsigned mask = is_masked ? 0x80 : 0;
    int length_bytes = 0;

    add_byte(first);
    if (payload < 126) {
        add_byte(mask | (unsigned)payload);
    } else {
        length_bytes = payload < 65536 ? 2 : 8;
        add_byte(mask | (length_bytes == 2 ? 126 : 127));
    }
    while (length_bytes-- > 0) {
        add_byte((unsigned)(payload >> (8 * length_bytes)) & 0xff);
    }
    for (int i = 0; is_masked && i < 4; i++) {
        add_byte(0x88); /* looks like a close frame */
    }
    memset(stream.bytes + stream.len, 0x81, payload);
    stream.len += payload;
    stream.ends[stream.frame_count++] = stream.len;
}

static void add_frames(void)
{
    static const size_t payloads[] = {0,   1,   2,   64,    125,
                                      126, 127, 300, 65535, 65536};

    stream.len = 0;
    stream.frame_count = 0;
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        add_frame(0x81, payloads[i], false);
        add_frame(0x82, payloads[i], true);
    }
}

/* Feeds the stream from `from` up to `to`, before a guard page. */
static void feed(struct eio_frame_cursor *cursor, size_t from, size_t to)
{
    struct guard guard = guard_copy(stream.bytes + from, to - from);

    eio_frame_feed(cursor, guard.bytes, guard.len);
    guard_free(&guard);
}

Test(eio_frame, follows_frames_in_reads_of_any_size)
{
    static const size_t sizes[] = {1, 2, 3, 5, 14, 67, 4096, STREAM_MAX};

    add_frames();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct eio_frame_cursor cursor = {.state = 0};
        for (size_t at = 0; at < stream.len; at += sizes[i]) {
            size_t left = stream.len - at;
            size_t len = left < sizes[i] ? left : sizes[i];
            eio_frame_feed(&cursor, stream.bytes + at, len);
        }
        cr_assert(eio_frame_at_boundary(&cursor), "size %zu", sizes[i]);
        cr_assert_eq(cursor.data_frames, stream.frame_count);
        cr_assert_not(cursor.saw_close);
    }
}

Test(eio_frame, is_at_a_boundary_at_frame_ends_alone)
{
    size_t frame = 0;
    struct eio_frame_cursor cursor = {.state = 0};

    add_frames();
    cr_assert(eio_frame_at_boundary(&cursor));
    for (size_t at = 0; at < stream.len; at++) {
        eio_frame_feed(&cursor, stream.bytes + at, 1);
        bool is_end = at + 1 == stream.ends[frame];
        frame += is_end;
        cr_assert_eq(eio_frame_at_boundary(&cursor), is_end, "byte %zu", at);
    }
}

Test(eio_frame, splits_anywhere)
{
    stream.len = 0;
    stream.frame_count = 0;
    add_frame(0x81, 5, false);
    add_frame(0x81, 200, true);
    add_frame(0x88, 2, false);
    for (size_t cut = 0; cut <= stream.len; cut++) {
        struct eio_frame_cursor cursor = {.state = 0};
        feed(&cursor, 0, cut);
        feed(&cursor, cut, stream.len);
        cr_assert(eio_frame_at_boundary(&cursor), "cut at %zu", cut);
        cr_assert_eq(cursor.data_frames, 2, "cut at %zu", cut);
        cr_assert(cursor.saw_close, "cut at %zu", cut);
    }
}

Test(eio_frame, to_boundary_stops_at_each_frame_end)
{
    add_frames();
    for (size_t frame = 0; frame < stream.frame_count; frame++) {
        struct eio_frame_cursor cursor = {.state = 0};
        size_t start = frame == 0 ? 0 : stream.ends[frame - 1];
        size_t rest = stream.len - start - 1;
        cr_assert_eq(eio_frame_to_boundary(&cursor, stream.bytes + start, rest),
                     0);
        eio_frame_feed(&cursor, stream.bytes + start, 1);
        size_t want = stream.ends[frame] - start - 1;
        cr_assert_eq(
            eio_frame_to_boundary(&cursor, stream.bytes + start + 1, rest),
            want, "frame %zu", frame);
        cr_assert(eio_frame_at_boundary(&cursor));
        cr_assert_eq(cursor.data_frames, 1);
    }
}

Test(eio_frame, to_boundary_says_when_there_is_none)
{
    struct eio_frame_cursor cursor = {.state = 0};

    eio_frame_feed(&cursor,
                   "\x81\x05"
                   "a",
                   3);
    cr_assert_eq(eio_frame_to_boundary(&cursor, "bcd", 3), 3);
    cr_assert_not(eio_frame_at_boundary(&cursor));
    cr_assert_eq(eio_frame_to_boundary(&cursor, "e", 1), 1);
    cr_assert(eio_frame_at_boundary(&cursor));
}

static const struct {
    struct eio_span bytes;
    unsigned data_frames;
    bool saw_close;
} kinds[] = {
    {BYTES("\x81\x00"), 1, false},
    {BYTES("\x01\x00"), 1, false},                 /* a first fragment */
    {BYTES("\xc1\x00"), 1, false},                 /* compressed */
    {BYTES("\x01\x00\x00\x00\x80\x00"), 1, false}, /* continuations */
    {BYTES("\x82\x00\x81\x00"), 2, false},
    {BYTES("\x89\x00\x8a\x00"), 0, false}, /* ping, pong */
    {BYTES("\x88\x00"), 0, true},
    {BYTES("\x88\x02\x03\xe8"), 0, true},
    {BYTES("\x88\x02"), 0, true},
    {BYTES("\x88"), 0, false},
    {BYTES("\x88\x82\1\2\3"), 0, false}, /* its mask is not whole */
    {BYTES("\x88\x82\1\2\3\4"), 0, true},
    {BYTES("\x81\x02\x88\x00"), 1, false}, /* that is payload */
};

Test(eio_frame, counts_data_frames_and_sees_close)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct eio_frame_cursor whole = {.state = 0};
        struct eio_frame_cursor bytes = {.state = 0};
        struct guard guard = guard_copy(kinds[i].bytes.ptr, kinds[i].bytes.len);
        eio_frame_feed(&whole, guard.bytes, guard.len);
        for (size_t at = 0; at < guard.len; at++) {
            eio_frame_feed(&bytes, guard.bytes + at, 1);
        }
        guard_free(&guard);
        cr_assert_eq(whole.data_frames, kinds[i].data_frames, "case %zu", i);
        cr_assert_eq(whole.saw_close, kinds[i].saw_close, "case %zu", i);
        cr_assert_eq(bytes.data_frames, kinds[i].data_frames, "case %zu", i);
        cr_assert_eq(bytes.saw_close, kinds[i].saw_close, "case %zu", i);
    }
}

Test(eio_frame, count_stops_at_255)
{
    struct eio_frame_cursor cursor = {.state = 0};

    for (int i = 0; i < 300; i++) {
        eio_frame_feed(&cursor, "\x81\x01x", 3);
    }
    cr_assert_eq(cursor.data_frames, 255);
}

Test(eio_frame, a_length_with_its_top_bit_breaks_the_cursor)
{
    struct eio_frame_cursor cursor = {.state = 0};
    struct guard guard =
        guard_copy("\x81\x7f\x80\0\0\0\0\0\0\1x\x81\x00\x88\x00", 15);

    eio_frame_feed(&cursor, guard.bytes, guard.len);
    cr_assert(cursor.is_broken);
    cr_assert_not(eio_frame_at_boundary(&cursor));
    cr_assert_eq(eio_frame_to_boundary(&cursor, guard.bytes, guard.len), 15);
    cr_assert_eq(cursor.data_frames, 1);
    cr_assert_not(cursor.saw_close);
    guard_free(&guard);
}

Test(eio_frame, the_longest_length_is_taken)
{
    struct eio_frame_cursor cursor = {.state = 0};

    eio_frame_feed(&cursor, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10);
    cr_assert_not(cursor.is_broken);
    cr_assert_eq(cursor.payload_left, (uint64_t)INT64_MAX);
    eio_frame_feed(&cursor, "abc", 3);
    cr_assert_eq(cursor.payload_left, (uint64_t)INT64_MAX - 3);
}

Test(eio_frame, takes_no_bytes)
{
    struct eio_frame_cursor cursor = {.state = 0};

    eio_frame_feed(&cursor, NULL, 0);
    cr_assert_eq(eio_frame_to_boundary(&cursor, NULL, 0), 0);
    cr_assert(eio_frame_at_boundary(&cursor));
}

static enum eio_result first_text(struct eio_span bytes, size_t *at,
                                  size_t *len)
{
    struct guard guard = guard_copy(bytes.ptr, bytes.len);
    struct eio_span payload = {guard.bytes, 0};
    enum eio_result result = eio_frame_first_text(
        (struct eio_span){guard.bytes, guard.len}, &payload);

    *at = (size_t)(payload.ptr - guard.bytes);
    *len = payload.len;
    guard_free(&guard);
    return result;
}

static const struct {
    struct eio_span bytes;
    enum eio_result result;
    size_t at;
    size_t len;
} firsts[] = {
    {BYTES(""), EIO_MORE, 0, 0},
    {BYTES("\x81"), EIO_MORE, 0, 0},
    {BYTES("\x81\x03"), EIO_MORE, 0, 0},
    {BYTES("\x81\x03"
           "0{"),
     EIO_MORE, 0, 0},
    {BYTES("\x81\x03"
           "0{}"),
     EIO_DONE, 2, 3},
    {BYTES("\x81\x03"
           "0{}\x81\x02"),
     EIO_DONE, 2, 3},
    {BYTES("\x81\x00"), EIO_DONE, 2, 0},
    {BYTES("\x81\x7e"), EIO_MORE, 0, 0},
    {BYTES("\x81\x7e\x00"), EIO_MORE, 0, 0},
    {BYTES("\x81\x7e\x00\x03"), EIO_MORE, 0, 0},
    {BYTES("\x81\x7e\x00\x03"
           "0{}"),
     EIO_DONE, 4, 3},
    {BYTES("\x81\x7e\x20\x00"), EIO_MORE, 0, 0},
    {BYTES("\x81\x7e\x20\x01"), EIO_BAD, 0, 0}, /* too long */
    {BYTES("\x81\x7f"), EIO_BAD, 0, 0},
    {BYTES("\x81\x83"), EIO_BAD, 0, 0}, /* masked */
    {BYTES("\x01\x03"
           "0{}"),
     EIO_BAD, 0, 0}, /* fragmented */
    {BYTES("\xc1\x03"
           "0{}"),
     EIO_BAD, 0, 0}, /* compressed */
    {BYTES("\x82\x03"
           "0{}"),
     EIO_BAD, 0, 0}, /* binary */
    {BYTES("\x89"), EIO_BAD, 0, 0},
    {BYTES("\x88\x00"), EIO_BAD, 0, 0},
    {BYTES("H"), EIO_BAD, 0, 0},
};

Test(eio_frame, first_text)
{
    for (size_t i = 0; i < sizeof firsts / sizeof firsts[0]; i++) {
        size_t at = 0;
        size_t len = 0;
        cr_assert_eq(first_text(firsts[i].bytes, &at, &len), firsts[i].result,
                     "case %zu", i);
        cr_assert_eq(at, firsts[i].at, "case %zu", i);
        cr_assert_eq(len, firsts[i].len, "case %zu", i);
    }
}

Test(eio_frame, close_frame_is_one_frame)
{
    struct eio_frame_cursor cursor = {.state = 0};
    char out[EIO_CLOSE_FRAME_MAX];

    cr_assert_eq(eio_close_frame(1001, out), 4);
    cr_assert_arr_eq(out, "\x88\x02\x03\xe9", 4);
    eio_frame_feed(&cursor, out, 4);
    cr_assert(cursor.saw_close);
    cr_assert(eio_frame_at_boundary(&cursor));
    eio_close_frame(4999, out);
    cr_assert_arr_eq(out, "\x88\x02\x13\x87", 4);
}
