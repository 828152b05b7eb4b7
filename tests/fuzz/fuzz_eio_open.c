/* SPDX-License-Identifier: MIT */
/* Fuzzes the search for an open packet. The input's first byte chooses where
 * the body is cut: what is bad stays bad, and what is found stays the same. */
#include "eio/open.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void check_open(const struct eio_open *open)
{
    const uint32_t day_ms = 24 * 60 * 60 * 1000;

    require(open->sid.len > 0 && open->sid.len <= EIO_SID_MAX);
    for (size_t i = 0; i < open->sid.len; i++) {
        unsigned char c = (unsigned char)open->sid.bytes[i];
        require(c >= 0x20 && c != 0x7f);
    }
    require(open->ping_interval_ms <= day_ms);
    require(open->ping_timeout_ms <= day_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eio_open part_open;
    struct eio_open whole_open;

    if (size == 0) {
        return 0;
    }
    struct eio_span whole = {(const char *)data + 1, size - 1};
    struct eio_span part = {whole.ptr, whole.len * data[0] / 255};

    enum eio_result part_result = eio_open_find(part, false, &part_open);
    enum eio_result result = eio_open_find(whole, true, &whole_open);
    require(result != EIO_MORE);
    require(part_result != EIO_MORE || part.len < EIO_OPEN_PREFIX_MAX);
    require(part_result != EIO_BAD || result == EIO_BAD);
    if (result == EIO_DONE) {
        check_open(&whole_open);
        require(whole_open.framing != EIO_FRAMING_UNKNOWN);
    }
    if (part_result == EIO_DONE) {
        check_open(&part_open);
    }
    if (part_result == EIO_DONE && result == EIO_DONE) {
        require(eio_sid_equal(&part_open.sid, &whole_open.sid));
        require(part_open.framing == whole_open.framing);
    }
    if (eio_open_parse(whole, &whole_open) == EIO_DONE) {
        check_open(&whole_open);
        require(eio_open_find(whole, true, &part_open) == EIO_DONE);
    }
    return 0;
}
