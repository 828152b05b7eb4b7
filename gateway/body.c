/* SPDX-License-Identifier: MIT */
/*
 * The framing of a message body on its way in.
 *
 * Chunks are decoded here and not by llhttp, which lets bare LF and empty
 * trailer names pass: since every body is framed anew on its way out, being
 * stricter than a backend can never make the two disagree.
 */
#include "gateway/body.h"
#include "gateway/grammar.h"

#include <string.h>

enum {
    /* Bytes of size lines, extensions and trailers between two bytes of
     * data: an endless extension ends here. */
    OVERHEAD_MAX = 8192,
    SIZE_DIGITS_MAX = 15, /* below 2^60: the size cannot overflow */
};

enum chunk_state {
    CHUNK_SIZE_FIRST,
    CHUNK_SIZE,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_FIRST, /* at the start of a line behind the last chunk */
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
    CHUNK_END,
    CHUNK_BROKEN,
};

void gw_body_init(struct gw_body *body, enum gw_body_kind kind, uint64_t length)
{
    memset(body, 0, sizeof(*body));
    body->kind = kind;
    body->left = kind == GW_BODY_LENGTH ? length : 0;
    body->is_done =
        kind == GW_BODY_NONE || (kind == GW_BODY_LENGTH && length == 0);
}

static enum chunk_state on_size(struct gw_body *body, char c)
{
    int digit = gw_hex_digit(c);
    if (digit >= 0) {
        if (body->digits == SIZE_DIGITS_MAX)
            return CHUNK_BROKEN;
        body->digits++;
        body->left = body->left * 16 + (unsigned)digit;
        return CHUNK_SIZE;
    }
    if (body->digits == 0)
        return CHUNK_BROKEN;
    if (c == '\r')
        return CHUNK_SIZE_LF;
    return c == ';' ? CHUNK_EXTENSION : CHUNK_BROKEN;
}

/* A colon inside a name ends it; what comes first decides. */
static enum chunk_state on_trailer(enum chunk_state state, char c)
{
    switch (state) {
    case CHUNK_TRAILER_FIRST:
        if (c == '\r')
            return CHUNK_END_LF;
        return gw_is_token_char(c) ? CHUNK_TRAILER_NAME : CHUNK_BROKEN;
    case CHUNK_TRAILER_NAME:
        if (c == ':')
            return CHUNK_TRAILER_VALUE;
        return gw_is_token_char(c) ? CHUNK_TRAILER_NAME : CHUNK_BROKEN;
    default:
        if (c == '\r')
            return CHUNK_TRAILER_LF;
        return gw_is_field_char(c) ? CHUNK_TRAILER_VALUE : CHUNK_BROKEN;
    }
}

static enum chunk_state on_lf(struct gw_body *body, enum chunk_state state)
{
    switch (state) {
    case CHUNK_SIZE_LF:
        body->digits = 0;
        return body->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_FIRST;
    case CHUNK_DATA_LF:
        return CHUNK_SIZE_FIRST;
    case CHUNK_TRAILER_LF:
        return CHUNK_TRAILER_FIRST;
    default:
        return CHUNK_END;
    }
}

/* One byte that is not data. */
static enum chunk_state step(struct gw_body *body, char c)
{
    enum chunk_state state = (enum chunk_state)body->state;
    switch (state) {
    case CHUNK_SIZE_FIRST:
    case CHUNK_SIZE:
        return on_size(body, c);
    case CHUNK_EXTENSION:
        if (c == '\r')
            return CHUNK_SIZE_LF;
        return gw_is_field_char(c) ? CHUNK_EXTENSION : CHUNK_BROKEN;
    case CHUNK_DATA_CR:
        return c == '\r' ? CHUNK_DATA_LF : CHUNK_BROKEN;
    case CHUNK_SIZE_LF:
    case CHUNK_DATA_LF:
    case CHUNK_TRAILER_LF:
    case CHUNK_END_LF:
        return c == '\n' ? on_lf(body, state) : CHUNK_BROKEN;
    case CHUNK_TRAILER_FIRST:
    case CHUNK_TRAILER_NAME:
    case CHUNK_TRAILER_VALUE:
        return on_trailer(state, c);
    case CHUNK_DATA:
    case CHUNK_END:
    case CHUNK_BROKEN:
        break;
    }
    return CHUNK_BROKEN;
}

static ptrdiff_t decode_chunked(struct gw_body *body, char *bytes, size_t len,
                                size_t *consumed)
{
    size_t at = 0;
    size_t out = 0;
    while (at < len && body->state != CHUNK_END) {
        if (body->state != CHUNK_DATA) {
            body->state = (uint8_t)step(body, bytes[at++]);
            if (body->state == CHUNK_BROKEN || ++body->overhead > OVERHEAD_MAX)
                return -1;
            continue;
        }
        size_t take = body->left < len - at ? (size_t)body->left : len - at;
        memmove(bytes + out, bytes + at, take);
        out += take;
        at += take;
        body->left -= take;
        body->overhead = 0;
        if (body->left == 0)
            body->state = CHUNK_DATA_CR;
    }
    *consumed = at;
    body->is_done = body->state == CHUNK_END;
    return (ptrdiff_t)out;
}

ptrdiff_t gw_body_decode(struct gw_body *body, char *bytes, size_t len,
                         size_t *consumed)
{
    *consumed = 0;
    if (body->is_done)
        return 0;
    switch (body->kind) {
    case GW_BODY_NONE:
        return 0;
    case GW_BODY_UNTIL_EOF:
        *consumed = len;
        return (ptrdiff_t)len;
    case GW_BODY_LENGTH:
        *consumed = body->left < len ? (size_t)body->left : len;
        body->left -= *consumed;
        body->is_done = body->left == 0;
        return (ptrdiff_t)*consumed;
    case GW_BODY_CHUNKED:
        return decode_chunked(body, bytes, len, consumed);
    }
    return -1;
}

bool gw_body_end(struct gw_body *body)
{
    if (body->kind == GW_BODY_UNTIL_EOF)
        body->is_done = true;
    return body->is_done;
}
