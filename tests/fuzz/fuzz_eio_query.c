/* SPDX-License-Identifier: MIT */
/* Fuzzes the query parser: what it accepts must survive the way back. */
#include "eio/query.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eio_query first;
    struct eio_query again;
    char text[4 + 3 * EIO_SID_MAX] = "sid=";
    char mask[EIO_SID_MASK_MAX];

    enum eio_query_status status =
        eio_query_parse((struct eio_span){(const char *)data, size}, &first);
    require(first.sid.len <= EIO_SID_MAX);
    require(first.eio >= 0 && first.eio <= 99);
    require(status == EIO_QUERY_OK || first.sid.len == 0);
    for (size_t i = 0; i < first.sid.len; i++) {
        unsigned char c = (unsigned char)first.sid.bytes[i];
        require(c >= 0x20 && c != 0x7f);
    }
    eio_sid_mask(&first.sid, mask);
    require(strlen(mask) < EIO_SID_MASK_MAX);
    size_t len = 4 + eio_sid_percent_encode(&first.sid, text + 4);
    status = eio_query_parse((struct eio_span){text, len}, &again);
    require(status == EIO_QUERY_OK);
    require(eio_sid_equal(&first.sid, &again.sid));
    return 0;
}
