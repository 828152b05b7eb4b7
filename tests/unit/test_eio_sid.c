/* SPDX-License-Identifier: MIT */
/* Session ids. */
#include "eio/sid.h"

#include <criterion/criterion.h>

static struct eio_sid make_sid(const char *bytes, size_t len)
{
    struct eio_sid sid = {.len = (uint16_t)len};

    memcpy(sid.bytes, bytes, len);
    return sid;
}

Test(eio_sid, equal_compares_length_and_bytes_only)
{
    struct eio_sid a = make_sid("abcdef", 6);
    struct eio_sid b = make_sid("abcdef", 6);
    struct eio_sid nul = make_sid("abc\0ef", 6);

    memset(b.bytes + 6, 'x', sizeof b.bytes - 6);
    cr_assert(eio_sid_equal(&a, &b));
    cr_assert_not(eio_sid_equal(&a, &nul));
    b.len = 5;
    cr_assert_not(eio_sid_equal(&a, &b));
    a.len = 0;
    b.len = 0;
    cr_assert(eio_sid_equal(&a, &b));
}

static const struct {
    const char *sid;
    const char *mask;
} masks[] = {
    {"", "..."},
    {"a", "..."},
    {"ab", "..."},
    {"abc", "a..."},
    {"abcdefgh", "ab..."},
    {"abcdefghijk", "abc..."},
    {"abcdefghijkl", "abcd..."},
    {"JHN6xQp2vqzRv1AAAAAA", "JHN6..."},
    {"a\nb\x7f"
     "cdefghijkl",
     "a?b?..."},
    {"\xc3\xa9\xc3\xa9"
     "0123456789",
     "????..."},
};

Test(eio_sid, mask_shows_little_and_is_printable)
{
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        struct eio_sid sid = make_sid(masks[i].sid, strlen(masks[i].sid));
        char out[EIO_SID_MASK_MAX];
        memset(out, 'z', sizeof out);
        eio_sid_mask(&sid, out);
        cr_assert_str_eq(out, masks[i].mask);
    }
}

Test(eio_sid, percent_encode_keeps_unreserved_only)
{
    struct eio_sid sid = make_sid("aZ09-._~ /+&=%\0\xff", 16);
    const char *want = "aZ09-._~%20%2F%2B%26%3D%25%00%FF";
    char out[3 * 16];

    size_t len = eio_sid_percent_encode(&sid, out);
    cr_assert_eq(len, strlen(want));
    cr_assert_arr_eq(out, want, len);
}

Test(eio_sid, percent_encode_writes_three_times_the_length_at_most)
{
    struct eio_sid sid = {.len = EIO_SID_MAX};
    char out[3 * EIO_SID_MAX + 1];

    memset(sid.bytes, '/', sizeof sid.bytes);
    out[3 * EIO_SID_MAX] = '#';
    cr_assert_eq(eio_sid_percent_encode(&sid, out), 3 * EIO_SID_MAX);
    cr_assert_eq(out[3 * EIO_SID_MAX], '#');
}
