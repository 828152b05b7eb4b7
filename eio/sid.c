/* SPDX-License-Identifier: MIT */
/* Session ids: comparing, masking for logs, encoding for a query. */
#include "eio/sid.h"

enum { MASK_SHOWN = 4, MASK_FULL_FROM = 12 };

_Static_assert(MASK_SHOWN + sizeof "..." <= EIO_SID_MASK_MAX,
               "a mask must fit");

bool eio_sid_equal(const struct eio_sid *a, const struct eio_sid *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

void eio_sid_mask(const struct eio_sid *sid, char out[EIO_SID_MASK_MAX])
{
    /* Of a short sid a third at most: four bytes would be most of it. */
    size_t shown = sid->len < MASK_FULL_FROM ? sid->len / 3 : MASK_SHOWN;

    for (size_t i = 0; i < shown; i++) {
        char c = sid->bytes[i];
        out[i] = '?';
        if (c >= 0x20 && c < 0x7f) {
            out[i] = c;
        }
    }
    memcpy(out + shown, "...", sizeof "...");
}

static bool is_unreserved(unsigned char c)
{
    unsigned char lower = c | 0x20;

    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

size_t eio_sid_percent_encode(const struct eio_sid *sid, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t len = 0;

    for (size_t i = 0; i < sid->len; i++) {
        unsigned char c = (unsigned char)sid->bytes[i];
        if (is_unreserved(c)) {
            out[len++] = (char)c;
            continue;
        }
        out[len++] = '%';
        out[len++] = digits[c >> 4];
        out[len++] = digits[c & 15];
    }
    return len;
}
