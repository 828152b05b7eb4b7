/* SPDX-License-Identifier: MIT */
/* Fuzzes the search for a close packet. The input's first byte is the size of
 * the pieces; the answer must not depend on it. For V4 it must be the one that
 * splitting at the separators gives. */
#include "eio/payload.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static struct eio_close_scan scan_pieces(struct eio_span body, size_t size)
{
    struct eio_close_scan scan = {.found = false};

    for (size_t at = 0; at < body.len; at += size) {
        size_t len = body.len - at < size ? body.len - at : size;
        eio_close_scan_feed(&scan, (struct eio_span){body.ptr + at, len});
    }
    return scan;
}

static bool has_close_v4(struct eio_span body)
{
    size_t start = 0;

    for (size_t i = 0; i <= body.len; i++) {
        if (i < body.len && body.ptr[i] != 0x1e) {
            continue;
        }
        if (i - start == 1 && body.ptr[start] == '1') {
            return true;
        }
        start = i + 1;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct eio_span body = {(const char *)data + 1, size - 1};
    struct eio_close_scan whole = scan_pieces(body, body.len);
    struct eio_close_scan pieces = scan_pieces(body, 1 + data[0] % 17);
    struct eio_close_scan bytes = scan_pieces(body, 1);

    require(whole.found == pieces.found && whole.found == bytes.found);
    require(whole.state == pieces.state && whole.state == bytes.state);
    require(whole.framing == pieces.framing && whole.framing == bytes.framing);
    require(whole.left == pieces.left && whole.left == bytes.left);
    if (whole.framing == EIO_FRAMING_V4) {
        require(whole.found == has_close_v4(body));
    }
    return 0;
}
