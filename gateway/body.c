/* SPDX-License-Identifier: MIT */
/* The framing of a message body on its way in. */
#include "gateway/body.h"

#include <llhttp.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Bytes of chunk-size lines, extensions and trailers between two bytes
     * of data: an endless extension ends here. */
    CHUNK_OVERHEAD_MAX = 16384,
};

/* llhttp, put behind a fixed head that announces chunks. */
struct gw_chunked {
    llhttp_t parser;
    char *out; /* where the next decoded bytes go */
    size_t overhead;
    bool is_done;
};

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct gw_chunked *chunked = parser->data;
    memmove(chunked->out, at, len);
    chunked->out += len;
    chunked->overhead = 0;
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    struct gw_chunked *chunked = parser->data;
    chunked->is_done = true;
    return HPE_PAUSED;
}

static struct gw_chunked *chunked_new(void)
{
    static const llhttp_settings_t settings = {
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    static const char head[] = "POST / HTTP/1.1\r\nhost:a\r\n"
                               "transfer-encoding:chunked\r\n\r\n";
    struct gw_chunked *chunked = calloc(1, sizeof(*chunked));
    if (chunked == NULL)
        return NULL;
    llhttp_init(&chunked->parser, HTTP_REQUEST,
                (llhttp_settings_t *)(uintptr_t)&settings);
    chunked->parser.data = chunked;
    if (llhttp_execute(&chunked->parser, head, sizeof(head) - 1) != HPE_OK) {
        free(chunked);
        return NULL;
    }
    return chunked;
}

bool gw_body_init(struct gw_body *body, enum gw_body_kind kind, uint64_t length)
{
    memset(body, 0, sizeof(*body));
    body->kind = kind;
    body->left = length;
    body->is_done =
        kind == GW_BODY_NONE || (kind == GW_BODY_LENGTH && length == 0);
    if (kind == GW_BODY_CHUNKED) {
        body->chunked = chunked_new();
        return body->chunked != NULL;
    }
    return true;
}

static ptrdiff_t decode_chunked(struct gw_body *body, char *bytes, size_t len,
                                size_t *consumed)
{
    struct gw_chunked *chunked = body->chunked;
    chunked->out = bytes;
    llhttp_errno_t error = llhttp_execute(&chunked->parser, bytes, len);
    *consumed = len;
    if (error == HPE_PAUSED && chunked->is_done) {
        body->is_done = true;
        *consumed = (size_t)(llhttp_get_error_pos(&chunked->parser) - bytes);
    } else if (error != HPE_OK) {
        return -1;
    }
    ptrdiff_t decoded = chunked->out - bytes;
    if (decoded == 0)
        chunked->overhead += *consumed;
    return chunked->overhead > CHUNK_OVERHEAD_MAX ? -1 : decoded;
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

void gw_body_fini(struct gw_body *body)
{
    free(body->chunked);
    body->chunked = NULL;
}
