/* SPDX-License-Identifier: MIT */
/* Fuzzes body framing: in pieces the same comes out as whole, and framed anew
 * it decodes to the same again. The first byte chooses the framing, the second
 * the pieces; a length follows in two more where there is one. */
#include "gateway/body.h"
#include "gateway/head_write.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

/* What a body came to. */
struct result {
    bool is_broken;
    bool is_done;
    size_t consumed;
    char *data;
    size_t len;
};

static char *copy_of(const char *bytes, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);
    require(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

/* One decode over a copy of its own, so that a sanitizer sees its bounds. */
static bool decode_piece(struct gw_body *body, const char *bytes, size_t len,
                         struct result *result)
{
    char *piece = copy_of(bytes, len);
    size_t consumed = len + 1;
    bool was_done = body->is_done;

    ptrdiff_t n = gw_body_decode(body, piece, len, &consumed);
    result->is_broken = n < 0;
    if (n >= 0) {
        require(consumed <= len && (size_t)n <= consumed);
        require(consumed == len || body->is_done);
        require(!was_done || (n == 0 && consumed == 0));
        memcpy(result->data + result->len, piece, (size_t)n);
        result->len += (size_t)n;
        result->consumed += consumed;
    }
    free(piece);
    return n >= 0 && !body->is_done;
}

/* `seed` 0: whole. Else in pieces of one to 16 bytes, or of up to 4096. */
static struct result decode(struct gw_body body, const char *bytes, size_t len,
                            uint8_t seed)
{
    struct result result = {.data = malloc(len > 0 ? len : 1)};
    uint32_t state = seed;
    size_t at = 0;

    require(result.data != NULL);
    for (bool goes_on = true; goes_on && at < len; at = result.consumed) {
        state = state * 1664525 + 1013904223;
        size_t piece = 1 + (state >> 16) % (seed & 1 ? 16 : 4096);
        piece = seed == 0 || piece > len - at ? len - at : piece;
        goes_on = decode_piece(&body, bytes + at, piece, &result);
    }
    result.is_done = body.is_done;
    return result;
}

/* The decoded bytes as one chunk, and the end. */
static void check_framed_anew(const struct result *result)
{
    static const char end[] = "\r\n0\r\n\r\n";
    char head[GW_CHUNK_HEAD_MAX];
    size_t head_len = gw_chunk_head(result->len, head);
    size_t skip = result->len > 0 ? 0 : 2;
    struct gw_body body;
    size_t len = 0;

    if (result->len == 0)
        head_len = 0;
    char *bytes = malloc(head_len + result->len + sizeof(end));
    require(bytes != NULL);
    memcpy(bytes, head, head_len);
    memcpy(bytes + head_len, result->data, result->len);
    len = head_len + result->len;
    memcpy(bytes + len, end + skip, sizeof(end) - 1 - skip);
    len += sizeof(end) - 1 - skip;
    gw_body_init(&body, GW_BODY_CHUNKED, 0);
    struct result again = decode(body, bytes, len, 0);
    require(!again.is_broken && again.is_done && again.consumed == len);
    require(again.len == result->len &&
            memcmp(again.data, result->data, again.len) == 0);
    free(again.data);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gw_body body;

    if (size < 4)
        return 0;
    enum gw_body_kind kind = (enum gw_body_kind)(data[0] % 4);
    size_t skip = kind == GW_BODY_LENGTH ? 4 : 2;
    gw_body_init(&body, kind, data[2] * 256U + data[3]);
    const char *bytes = (const char *)data + skip;
    size_t len = size - skip;

    struct result whole = decode(body, bytes, len, 0);
    struct result pieces = decode(body, bytes, len, data[1]);
    require(whole.is_broken == pieces.is_broken);
    if (!whole.is_broken) {
        require(whole.is_done == pieces.is_done);
        require(whole.consumed == pieces.consumed);
        require(whole.len == pieces.len &&
                memcmp(whole.data, pieces.data, whole.len) == 0);
        check_framed_anew(&whole);
    }
    free(whole.data);
    free(pieces.data);
    return 0;
}
