/* SPDX-License-Identifier: MIT */
/* Websocket frames (RFC 6455, section 5.2): following their boundaries.
 *
 * Most reads hold whole short frames and nothing else: skip_whole_frames takes
 * those from their first two bytes, and take_header the head of a longer one.
 * What they leave (a header over the edge of a read, payload) goes through
 * step, which takes a header byte by byte and payload in one go.
 */
#include "eio/frame.h"

#include "eio/open.h"

enum {
    AT_START, /* or within the payload */
    AT_LENGTH,
    AT_LONG_LENGTH,
    AT_MASK,
};

enum {
    OPCODE_TEXT = 1,
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8,
    OPCODE_BITS = 0x0f,
    FIN_BIT = 0x80,
    RESERVED_BITS = 0x30, /* RSV1 says that a message is compressed */
    MASKED_BIT = 0x80,
    LENGTH_BITS = 0x7f,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
    MASK_BYTES = 4,
    DATA_FRAMES_MAX = 255,
};

static bool is_data(unsigned opcode)
{
    return opcode == OPCODE_TEXT || opcode == OPCODE_BINARY;
}

static void note_first(struct eio_frame_cursor *cursor, unsigned first)
{
    if (first & RESERVED_BITS) {
        cursor->has_reserved = true;
    }
}

static void count_frames(struct eio_frame_cursor *cursor, size_t count)
{
    size_t room = DATA_FRAMES_MAX - cursor->data_frames;

    count = count < room ? count : room;
    cursor->data_frames = (uint8_t)(cursor->data_frames + count);
}

/* Takes the whole frames with short lengths from the front of `bytes`, which
 * begin at a boundary. Returns how many bytes they are. */
static size_t skip_whole_frames(struct eio_frame_cursor *cursor,
                                const unsigned char *bytes, size_t len)
{
    size_t done = 0;
    size_t data_frames = 0;
    unsigned firsts = 0;

    while (len - done >= 2) {
        unsigned opcode = bytes[done] & OPCODE_BITS;
        unsigned second = bytes[done + 1];
        size_t payload = second & LENGTH_BITS;
        size_t size = 2 + payload + (second >> 7) * MASK_BYTES;
        if (payload >= LENGTH_16 || size > len - done) {
            break;
        }
        firsts |= bytes[done];
        data_frames += is_data(opcode);
        if (opcode == OPCODE_CLOSE) {
            cursor->saw_close = true;
        }
        done += size;
    }
    note_first(cursor, firsts);
    count_frames(cursor, data_frames);
    return done;
}

static uint64_t read_big_endian(const unsigned char *bytes, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* Takes a header that begins at a boundary and is whole within `bytes`.
 * Returns its length, 0 if it is not whole or is broken. */
static size_t take_header(struct eio_frame_cursor *cursor,
                          const unsigned char *bytes, size_t len)
{
    if (len < 2) {
        return 0;
    }
    uint64_t payload = bytes[1] & LENGTH_BITS;
    size_t more = payload == LENGTH_64 ? 8 : payload == LENGTH_16 ? 2 : 0;
    size_t head = 2 + more + (bytes[1] >> 7) * MASK_BYTES;

    if (len < head || (more == 8 && (bytes[2] & 0x80))) {
        return 0;
    }
    if (more > 0) {
        payload = read_big_endian(bytes + 2, more);
    }
    cursor->payload_left = payload;
    note_first(cursor, bytes[0]);
    count_frames(cursor, is_data(bytes[0] & OPCODE_BITS));
    if ((bytes[0] & OPCODE_BITS) == OPCODE_CLOSE) {
        cursor->saw_close = true;
    }
    return head;
}

static void end_header(struct eio_frame_cursor *cursor)
{
    cursor->state = AT_START;
    if ((cursor->flags & OPCODE_BITS) == OPCODE_CLOSE) {
        cursor->saw_close = true;
    }
}

static void end_length(struct eio_frame_cursor *cursor)
{
    if (cursor->flags & MASKED_BIT) {
        cursor->state = AT_MASK;
        cursor->extra_left = MASK_BYTES;
    } else {
        end_header(cursor);
    }
}

static void take_length(struct eio_frame_cursor *cursor, unsigned char byte)
{
    unsigned length = byte & LENGTH_BITS;

    cursor->flags |= byte & MASKED_BIT;
    if (length < LENGTH_16) {
        cursor->payload_left = length;
        end_length(cursor);
        return;
    }
    cursor->state = AT_LONG_LENGTH;
    cursor->extra_left = length == LENGTH_16 ? 2 : 8;
}

static void take_long_length(struct eio_frame_cursor *cursor,
                             unsigned char byte)
{
    if (cursor->extra_left == 8 && (byte & 0x80)) {
        cursor->is_broken = true;
        return;
    }
    cursor->payload_left = cursor->payload_left << 8 | byte;
    cursor->extra_left--;
    if (cursor->extra_left == 0) {
        end_length(cursor);
    }
}

/* Takes at least one of the bytes (there is one), and none of a frame after
 * the current one. Returns how many. */
static size_t step(struct eio_frame_cursor *cursor, const unsigned char *bytes,
                   size_t len)
{
    switch (cursor->state) {
    case AT_START:
        if (cursor->payload_left > 0) {
            size_t count =
                cursor->payload_left < len ? (size_t)cursor->payload_left : len;
            cursor->payload_left -= count;
            return count;
        }
        cursor->flags = bytes[0] & OPCODE_BITS;
        cursor->state = AT_LENGTH;
        note_first(cursor, bytes[0]);
        count_frames(cursor, is_data(cursor->flags));
        return 1;
    case AT_LENGTH:
        take_length(cursor, bytes[0]);
        return 1;
    case AT_LONG_LENGTH:
        take_long_length(cursor, bytes[0]);
        return 1;
    default:
        cursor->extra_left--;
        if (cursor->extra_left == 0) {
            end_header(cursor);
        }
        return 1;
    }
}

void eio_frame_feed(struct eio_frame_cursor *cursor, const char *bytes,
                    size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes;

    while (len > 0 && !cursor->is_broken) {
        size_t count = 0;
        if (eio_frame_at_boundary(cursor)) {
            count = skip_whole_frames(cursor, at, len);
            count += take_header(cursor, at + count, len - count);
        }
        if (count == 0) {
            count = step(cursor, at, len);
        }
        at += count;
        len -= count;
    }
}

size_t eio_frame_to_boundary(struct eio_frame_cursor *cursor, const char *bytes,
                             size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes;
    size_t done = 0;

    while (done < len && !eio_frame_at_boundary(cursor)) {
        if (cursor->is_broken) {
            return len;
        }
        done += step(cursor, at + done, len - done);
    }
    return done;
}

enum eio_result eio_frame_first_text(struct eio_span bytes,
                                     struct eio_span *payload)
{
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    size_t head = 2;

    if (bytes.len >= 1 && at[0] != (FIN_BIT | OPCODE_TEXT)) {
        return EIO_BAD;
    }
    if (bytes.len < 2) {
        return EIO_MORE;
    }
    size_t len = at[1];
    if (len == LENGTH_16) {
        head = 4;
        if (bytes.len < head) {
            return EIO_MORE;
        }
        len = (size_t)at[2] << 8 | at[3];
    } else if (len > LENGTH_16) { /* masked, or far too long */
        return EIO_BAD;
    }
    if (len > EIO_OPEN_PREFIX_MAX) {
        return EIO_BAD;
    }
    if (bytes.len - head < len) {
        return EIO_MORE;
    }
    *payload = (struct eio_span){bytes.ptr + head, len};
    return EIO_DONE;
}

size_t eio_close_frame(uint16_t code, char out[EIO_CLOSE_FRAME_MAX])
{
    const unsigned char frame[EIO_CLOSE_FRAME_MAX] = {
        FIN_BIT | OPCODE_CLOSE, 2, (unsigned char)(code >> 8),
        (unsigned char)(code & 0xff)};

    memcpy(out, frame, sizeof frame);
    return sizeof frame;
}
