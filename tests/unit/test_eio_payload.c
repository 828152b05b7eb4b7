/* SPDX-License-Identifier: MIT */
/* The body that ends a polling session. */
#include "eio/payload.h"

#include <criterion/criterion.h>

#define BYTES(text)                                                            \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }

static const struct {
    enum eio_framing framing;
    uint32_t jsonp;
    struct eio_span body;
} cases[] = {
    {EIO_FRAMING_UNKNOWN, 7, BYTES("1")},
    {EIO_FRAMING_V4, 7, BYTES("1")},
    {EIO_FRAMING_V3_STRING, 7, BYTES("1:1")},
    {EIO_FRAMING_V3_BINARY, 7, BYTES("\0\1\3771")},
    {EIO_FRAMING_JSONP_V4, 0, BYTES("___eio[0](\"1\");")},
    {EIO_FRAMING_JSONP_V4, UINT32_MAX, BYTES("___eio[4294967295](\"1\");")},
    {EIO_FRAMING_JSONP_V3, 12, BYTES("___eio[12](\"1:1\");")},
};

Test(eio_payload, close_in_each_framing)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[EIO_CLOSE_PAYLOAD_MAX];
        size_t len = eio_close_payload(cases[i].framing, cases[i].jsonp, out);
        cr_assert_eq(len, cases[i].body.len, "%d: %zu", cases[i].framing, len);
        cr_assert_arr_eq(out, cases[i].body.ptr, len);
    }
}

Test(eio_payload, close_is_found_by_the_scan)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct eio_close_scan scan = {.found = false};
        char out[EIO_CLOSE_PAYLOAD_MAX];
        size_t len = eio_close_payload(cases[i].framing, cases[i].jsonp, out);
        eio_close_scan_feed(&scan, (struct eio_span){out, len});
        cr_assert(scan.found, "framing %d", cases[i].framing);
    }
}
