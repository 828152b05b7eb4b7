/* SPDX-License-Identifier: MIT */
/* Fuzzes the frame cursor: fed at once, byte by byte and from boundary to
 * boundary it must stand at the same place. */
#include "eio/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static void require_same(const struct eio_frame_cursor *a,
                         const struct eio_frame_cursor *b)
{
    require(eio_frame_at_boundary(a) == eio_frame_at_boundary(b));
    require(a->payload_left == b->payload_left);
    require(a->state == b->state);
    require(a->saw_close == b->saw_close);
    require(a->data_frames == b->data_frames);
    require(a->is_broken == b->is_broken);
}

static void check_first_text(struct eio_span bytes)
{
    struct eio_span payload;
    struct eio_frame_cursor cursor = {.state = 0};

    if (eio_frame_first_text(bytes, &payload) != EIO_DONE) {
        return;
    }
    size_t end = (size_t)(payload.ptr - bytes.ptr) + payload.len;
    require(end <= bytes.len);
    eio_frame_feed(&cursor, bytes.ptr, end);
    require(eio_frame_at_boundary(&cursor) && cursor.data_frames == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct eio_frame_cursor whole = {.state = 0};
    struct eio_frame_cursor bytes = {.state = 0};
    struct eio_frame_cursor frames = {.state = 0};
    const char *text = (const char *)data;
    size_t at = 0;

    eio_frame_feed(&whole, text, size);
    for (size_t i = 0; i < size; i++) {
        eio_frame_feed(&bytes, text + i, 1);
    }
    while (at < size) {
        size_t count = eio_frame_to_boundary(&frames, text + at, size - at);
        require(count <= size - at);
        at += count;
        if (count == 0) {
            require(eio_frame_at_boundary(&frames));
            eio_frame_feed(&frames, text + at, 1);
            at++;
        }
    }
    require_same(&whole, &bytes);
    require_same(&whole, &frames);
    check_first_text((struct eio_span){text, size});
    return 0;
}
