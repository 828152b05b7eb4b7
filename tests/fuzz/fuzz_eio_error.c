/* SPDX-License-Identifier: MIT */
/* Fuzzes the recognition of servers' errors. */
#include "eio/error.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eio_span body = {(const char *)data, size};
    enum eio_probe_verdict verdict = eio_probe_verdict(400, body);
    bool is_unknown = eio_is_unknown_sid(400, body, false);

    /* A denial is an unknown sid, and an owner never says so; nothing but the
     * empty 500 says anything with another status. */
    if ((verdict == EIO_PROBE_DENIES && !is_unknown) ||
        (verdict == EIO_PROBE_OWNS && is_unknown) ||
        eio_is_unknown_sid(200, body, true) ||
        eio_is_unknown_sid(500, body, true) != (size == 0)) {
        abort();
    }
    return 0;
}
