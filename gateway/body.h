/* SPDX-License-Identifier: MIT */
/* The framing of a message body on its way in. */
#ifndef SIDGATE_GATEWAY_BODY_H
#define SIDGATE_GATEWAY_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gw_body_kind {
    GW_BODY_NONE,
    GW_BODY_LENGTH,
    GW_BODY_CHUNKED,
    GW_BODY_UNTIL_EOF,
};

struct gw_body {
    enum gw_body_kind kind;
    bool is_done;
    uint8_t state;     /* in the chunks */
    uint8_t digits;    /* of the chunk size */
    uint32_t overhead; /* bytes since the last byte of data */
    uint64_t left;     /* bytes of the body or of the chunk to come */
};

/* `length` matters for GW_BODY_LENGTH only. */
void gw_body_init(struct gw_body *body, enum gw_body_kind kind,
                  uint64_t length);

/* Takes the framing off in place: the decoded bytes then stand at the start
 * of `bytes`, and their number is returned; *consumed says how many bytes
 * belonged to the body (fewer than `len` only when it is done). -1 when the
 * framing is broken. */
ptrdiff_t gw_body_decode(struct gw_body *body, char *bytes, size_t len,
                         size_t *consumed);

/* The peer's EOF came: false if the body was cut short. */
bool gw_body_end(struct gw_body *body);

#endif
