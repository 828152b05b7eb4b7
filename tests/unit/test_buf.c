/* SPDX-License-Identifier: MIT */
/* The byte queue. */
#include "gateway/buf.h"

#include <criterion/criterion.h>
#include <stdint.h>

/* So that memory can be short under a sanitizer too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static char pattern[1 << 16];

static void fill_pattern(void)
{
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)(i * 31 + (i >> 8));
}

Test(buf, is_nothing_while_it_is_empty)
{
    struct gw_buf *buf = NULL;
    cr_assert_eq(gw_buf_len(buf), 0);
    cr_assert(gw_buf_append(&buf, "", 0));
    cr_assert_null(buf);
    cr_assert(gw_buf_append(&buf, NULL, 0));
    cr_assert_null(buf);
    gw_buf_take(&buf, 0);
    gw_buf_take(&buf, 5);
    cr_assert_null(buf);
    gw_buf_free(&buf);
    cr_assert_null(buf);
}

Test(buf, frees_itself_with_its_last_byte)
{
    struct gw_buf *buf = NULL;
    cr_assert(gw_buf_append(&buf, "abcdef", 6));
    gw_buf_take(&buf, 2);
    cr_assert_eq(gw_buf_len(buf), 4);
    cr_assert_arr_eq(gw_buf_ptr(buf), "cdef", 4);
    gw_buf_take(&buf, 0);
    cr_assert_eq(gw_buf_len(buf), 4);
    gw_buf_take(&buf, 4);
    cr_assert_null(buf);
    cr_assert(gw_buf_append(&buf, "x", 1));
    gw_buf_take(&buf, 9);
    cr_assert_null(buf);
}

Test(buf, takes_no_more_than_it_needs_at_first)
{
    struct gw_buf *buf = NULL;
    cr_assert(gw_buf_append(&buf, "abc", 3));
    cr_assert_eq(buf->cap, 3);
    gw_buf_free(&buf);
}

Test(buf, keeps_the_order_whatever_comes_and_goes)
{
    struct gw_buf *buf = NULL;
    size_t in = 0;
    size_t out = 0;
    uint32_t state = 7;

    fill_pattern();
    while (in < sizeof(pattern)) {
        state = state * 1664525 + 1013904223;
        size_t len = (state >> 8) % 300;
        if (state >> 31) {
            len = len < sizeof(pattern) - in ? len : sizeof(pattern) - in;
            cr_assert(gw_buf_append(&buf, pattern + in, len));
            in += len;
        } else {
            len = len < gw_buf_len(buf) ? len : gw_buf_len(buf);
            gw_buf_take(&buf, len);
            out += len;
        }
        cr_assert_eq(gw_buf_len(buf), in - out);
        cr_assert_eq(buf == NULL, in == out);
        if (buf != NULL) {
            cr_assert_leq(buf->end, buf->cap);
            cr_assert_arr_eq(gw_buf_ptr(buf), pattern + out, in - out);
        }
    }
    gw_buf_free(&buf);
}

Test(buf, reserves_room_behind_its_end)
{
    struct gw_buf *buf = NULL;
    fill_pattern();
    cr_assert(gw_buf_append(&buf, pattern, 1000));
    for (size_t taken = 0; taken < 1000; taken += 37) {
        size_t len = 1 + taken * 3 % 500;
        size_t held = gw_buf_len(buf);
        cr_assert(gw_buf_reserve(&buf, len));
        cr_assert_geq(buf->cap - buf->end, len);
        cr_assert_eq(gw_buf_len(buf), held);
        memset(buf->data + buf->end, 0xee, len);
        cr_assert_arr_eq(gw_buf_ptr(buf), pattern + taken, held);
        gw_buf_take(&buf, 37);
    }
    gw_buf_free(&buf);
    cr_assert(gw_buf_reserve(&buf, 100));
    cr_assert_eq(gw_buf_len(buf), 0);
    cr_assert_geq(buf->cap - buf->end, 100);
    gw_buf_free(&buf);
}

/* A reader that keeps pace must not make it grow. */
Test(buf, stays_small_where_as_much_goes_as_comes)
{
    struct gw_buf *buf = NULL;
    size_t largest = 0;
    fill_pattern();
    cr_assert(gw_buf_append(&buf, pattern, 512));
    for (int i = 0; i < 10000; i++) {
        cr_assert(gw_buf_append(&buf, pattern, 256));
        gw_buf_take(&buf, 256);
        largest = buf->cap > largest ? buf->cap : largest;
    }
    cr_assert_leq(largest, 4096, "%zu", largest);
    gw_buf_free(&buf);
}

Test(buf, is_as_it_was_when_memory_is_short)
{
    struct gw_buf *buf = NULL;
    cr_assert_not(gw_buf_reserve(&buf, SIZE_MAX / 4));
    cr_assert_null(buf);
    cr_assert_not(gw_buf_append(&buf, pattern, SIZE_MAX / 4));
    cr_assert_null(buf);
    cr_assert(gw_buf_append(&buf, "abc", 3));
    struct gw_buf *before = buf;
    cr_assert_not(gw_buf_reserve(&buf, SIZE_MAX / 4));
    cr_assert_not(gw_buf_append(&buf, pattern, SIZE_MAX / 4));
    cr_assert_eq(buf, before);
    cr_assert_eq(gw_buf_len(buf), 3);
    cr_assert_arr_eq(gw_buf_ptr(buf), "abc", 3);
    gw_buf_free(&buf);
}
