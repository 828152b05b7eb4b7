/* SPDX-License-Identifier: MIT */
/* Websocket frame headers: a cursor that follows frame boundaries in a byte
 * stream without copying, and the few frames that sidgate reads or writes. */
#ifndef SIDGATE_EIO_FRAME_H
#define SIDGATE_EIO_FRAME_H

#include "eio/payload.h"
#include "eio/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Zeroed, it stands before the first frame of a direction. Sixteen bytes,
 * since every tunnel has two. */
struct eio_frame_cursor {
    uint64_t payload_left; /* payload bytes of the current frame to come */
    uint8_t state;         /* where in the header; 0 with payload_left 0:
                              at a frame boundary */
    uint8_t extra_left;    /* header bytes still to skip or to read */
    uint8_t flags;         /* private */
    bool saw_close;        /* the header of a close frame has passed */
    uint8_t data_frames;   /* text and binary frames begun, stops at 255;
                              continuations do not count */
    bool is_broken;        /* a length with its top bit set: not a websocket
                              stream; the cursor no longer moves */
    bool has_reserved;     /* a header had RSV2 or RSV3, which no extension in
                              use gives a meaning */
    uint8_t unused[1];
};

_Static_assert(sizeof(struct eio_frame_cursor) == 16,
               "two of them are in every tunnel");

/* Moves over `len` bytes. The hot path of every message: whole frames within
 * the span cost a few nanoseconds each. */
void eio_frame_feed(struct eio_frame_cursor *cursor, const char *bytes,
                    size_t len);

/* Moves to the next frame boundary at most and returns the number of bytes up
 * to it: 0 if it stands at one already, `len` if none lies within (then ask
 * eio_frame_at_boundary whether it lies exactly at the end). */
size_t eio_frame_to_boundary(struct eio_frame_cursor *cursor, const char *bytes,
                             size_t len);

static inline bool eio_frame_at_boundary(const struct eio_frame_cursor *cursor)
{
    return cursor->state == 0 && cursor->payload_left == 0;
}

/* The payload of the first frame of a server's stream, if it is one unmasked,
 * unfragmented, uncompressed text frame. EIO_DONE: *payload points into
 * `bytes`. EIO_MORE: not whole yet. EIO_BAD: another kind of frame, or one
 * longer than EIO_OPEN_PREFIX_MAX. */
enum eio_result eio_frame_first_text(struct eio_span bytes,
                                     struct eio_span *payload)
    __attribute__((warn_unused_result));

enum { EIO_CLOSE_FRAME_MAX = 4 };

/* Writes a server's close frame with `code` (1000 to 4999) and no reason.
 * Returns its length, 4. */
size_t eio_close_frame(uint16_t code, char out[EIO_CLOSE_FRAME_MAX]);

#endif
