/* SPDX-License-Identifier: MIT */
/* The framing of Engine.IO packets in HTTP bodies, and the close packet. */
#ifndef SIDGATE_EIO_PAYLOAD_H
#define SIDGATE_EIO_PAYLOAD_H

#include "eio/span.h"

#include <stdbool.h>
#include <stdint.h>

enum eio_result {
    EIO_DONE,
    EIO_MORE, /* undecided: needs more bytes */
    EIO_BAD,
};

enum eio_framing {
    EIO_FRAMING_UNKNOWN,
    EIO_FRAMING_V4,        /* packets separated by 0x1e */
    EIO_FRAMING_V3_STRING, /* <UTF-16 units, decimal>:<packet>... */
    EIO_FRAMING_V3_BINARY, /* 00|01 <digits as bytes> ff <packet>... */
    EIO_FRAMING_JSONP_V4,  /* ___eio[N]("..."); around V4 */
    EIO_FRAMING_JSONP_V3,  /* ___eio[N]("..."); around V3_STRING */
};

/* Private to eio: where in a JSONP wrap or a form-encoded body a stream is. */
struct eio_unwrap {
    uint16_t value; /* of the escape so far, or of the byte that came out */
    uint8_t state;
    uint8_t count;
};

/* Finds a close packet (type 1, no data) anywhere in a payload that arrives
 * in pieces. Zero it, feed it, read `found` when the body has ended: a close
 * packet without a separator after it counts only if nothing follows. A
 * payload that is not of the framing it began with makes it stop looking
 * (found stays false). JSONP is understood both as a response
 * (___eio[N]("...");) and as a request (form-encoded d=...). The packet text
 * "1" must be the whole packet.
 *
 * The framing is told from the body. One guess is in that: a V4 message that
 * begins like a V3 length and a packet (`41:2...`, which no Socket.IO server
 * sends) is taken for V3. Where the session's open packet was of V4, set
 * `framing` to EIO_FRAMING_V4 before the first feed, and nothing is guessed. */
struct eio_close_scan {
    uint64_t left;            /* units of the current packet to come (V3) */
    struct eio_unwrap unwrap; /* JSONP only */
    uint8_t state;
    uint8_t framing; /* enum eio_framing */
    uint8_t digits;  /* length digits seen so far */
    bool found;
};

void eio_close_scan_feed(struct eio_close_scan *scan, struct eio_span piece);

/* Room for what eio_close_payload writes. */
enum { EIO_CLOSE_PAYLOAD_MAX = 64 };

/* Writes the body that a server would send to a held poll to end the session:
 * the close packet in `framing` (EIO_FRAMING_UNKNOWN counts as V4), for JSONP
 * around it with index `jsonp`. Returns its length. Not NUL-terminated. */
size_t eio_close_payload(enum eio_framing framing, uint32_t jsonp,
                         char out[EIO_CLOSE_PAYLOAD_MAX]);

#endif
