/* SPDX-License-Identifier: MIT */
/* Reading the sid out of the answer to a handshake. */
#include "gateway/learn.h"
#include "gateway/buf.h"

#include <stdlib.h>
#include <zlib.h>

struct gw_learn {
    struct gw_bind bind;
    struct gw_buf *text; /* what was fed so far, decoded */
    z_stream zip;
    bool is_zipped;
    bool is_over; /* the compressed text has ended */
};

struct gw_learn *gw_learn_new(struct eio_span coding)
{
    bool is_plain = coding.len == 0 || gw_span_is(coding, "identity");
    if (!is_plain && !gw_span_is(coding, "gzip") &&
        !gw_span_is(coding, "deflate"))
        return NULL;
    struct gw_learn *learn = calloc(1, sizeof(*learn));
    if (learn == NULL || is_plain)
        return learn;
    /* 32: gzip and zlib are told apart by their first bytes */
    if (inflateInit2(&learn->zip, 15 + 32) != Z_OK) {
        free(learn);
        return NULL;
    }
    learn->is_zipped = true;
    return learn;
}

/* Inflates into learn->text, which never grows over EIO_OPEN_PREFIX_MAX. */
static bool inflate_piece(struct gw_learn *learn, struct eio_span piece)
{
    if (!gw_buf_reserve(&learn->text,
                        EIO_OPEN_PREFIX_MAX - gw_buf_len(learn->text)))
        return false;
    struct gw_buf *text = learn->text;
    learn->zip.next_in = (Bytef *)(uintptr_t)piece.ptr;
    learn->zip.avail_in = (uInt)piece.len;
    learn->zip.next_out = (Bytef *)(text->data + text->end);
    learn->zip.avail_out = (uInt)(EIO_OPEN_PREFIX_MAX - gw_buf_len(text));
    uInt room = learn->zip.avail_out;
    int status = inflate(&learn->zip, Z_SYNC_FLUSH);
    text->end += room - learn->zip.avail_out;
    learn->is_over = status == Z_STREAM_END;
    return status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR;
}

static enum gw_learned find(struct eio_span text, bool is_whole,
                            struct eio_open *open)
{
    if (text.len >= EIO_OPEN_PREFIX_MAX) {
        text.len = EIO_OPEN_PREFIX_MAX;
    }
    switch (eio_open_find(text, is_whole, open)) {
    case EIO_DONE:
        return GW_LEARN_OPEN;
    case EIO_MORE:
        return is_whole ? GW_LEARN_NONE : GW_LEARN_MORE;
    case EIO_BAD:
        break;
    }
    return GW_LEARN_NONE;
}

enum gw_learned gw_learn_feed(struct gw_learn *learn, struct eio_span piece,
                              bool is_whole, struct eio_open *open)
{
    /* Nearly always the whole answer comes at once, and is not copied. */
    if (!learn->is_zipped && learn->text == NULL) {
        enum gw_learned learned = find(piece, is_whole, open);
        if (learned == GW_LEARN_MORE &&
            !gw_buf_append(&learn->text, piece.ptr, piece.len))
            return GW_LEARN_NONE;
        return learned;
    }
    if (learn->is_zipped) {
        if (!inflate_piece(learn, piece))
            return GW_LEARN_NONE;
    } else {
        size_t room = EIO_OPEN_PREFIX_MAX - gw_buf_len(learn->text);
        size_t take = piece.len < room ? piece.len : room;
        if (!gw_buf_append(&learn->text, piece.ptr, take))
            return GW_LEARN_NONE;
    }
    struct eio_span text = {NULL, gw_buf_len(learn->text)};
    if (text.len > 0)
        text.ptr = gw_buf_ptr(learn->text);
    return find(text, is_whole || learn->is_over, open);
}

struct gw_bind *gw_learn_bind(struct gw_learn *learn)
{
    return &learn->bind;
}

void gw_learn_free(struct gw_learn **which)
{
    struct gw_learn *learn = *which;
    *which = NULL;
    if (learn == NULL)
        return;
    gw_affinity_bind_cancel(&learn->bind);
    if (learn->is_zipped)
        inflateEnd(&learn->zip);
    gw_buf_free(&learn->text);
    free(learn);
}
