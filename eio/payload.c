/* SPDX-License-Identifier: MIT */
/* The body that ends a polling session. */
#include "eio/payload.h"

#include <inttypes.h>
#include <stdio.h>

static size_t copy(char out[EIO_CLOSE_PAYLOAD_MAX], const char *bytes,
                   size_t len)
{
    memcpy(out, bytes, len);
    return len;
}

static size_t write_jsonp(const char *payload, uint32_t jsonp,
                          char out[EIO_CLOSE_PAYLOAD_MAX])
{
    int len = snprintf(out, EIO_CLOSE_PAYLOAD_MAX,
                       "___eio[%" PRIu32 "](\"%s\");", jsonp, payload);

    return len > 0 ? (size_t)len : 0;
}

size_t eio_close_payload(enum eio_framing framing, uint32_t jsonp,
                         char out[EIO_CLOSE_PAYLOAD_MAX])
{
    switch (framing) {
    case EIO_FRAMING_UNKNOWN:
    case EIO_FRAMING_V4:
        break;
    case EIO_FRAMING_V3_STRING:
        return copy(out, "1:1", 3);
    case EIO_FRAMING_V3_BINARY:
        return copy(out, "\0\1\3771", 4);
    case EIO_FRAMING_JSONP_V4:
        return write_jsonp("1", jsonp, out);
    case EIO_FRAMING_JSONP_V3:
        return write_jsonp("1:1", jsonp, out);
    }
    return copy(out, "1", 1);
}
