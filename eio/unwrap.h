/* SPDX-License-Identifier: MIT */
/* Private to eio: takes the JSONP wrap off a payload, byte by byte. A response
 * is a call with one string, ___eio[N]("..."); or with single quotes as
 * netty-socketio writes it; a request is a form, d=... */
#ifndef SIDGATE_EIO_UNWRAP_H
#define SIDGATE_EIO_UNWRAP_H

#include "eio/payload.h"

enum eio_unwrap_result {
    EIO_UNWRAP_NOTHING, /* belongs to the wrap */
    EIO_UNWRAP_BYTE,    /* unwrap->value is a byte of the payload */
    EIO_UNWRAP_UNIT,    /* unwrap->value is a UTF-16 unit of it */
    EIO_UNWRAP_END,     /* the payload has ended */
    EIO_UNWRAP_BAD,     /* not such a wrap: feed no more */
};

/* Takes the next byte of a body. Zero *unwrap before the first one. */
enum eio_unwrap_result eio_unwrap_byte(struct eio_unwrap *unwrap,
                                       unsigned char byte);

/* How many of the bytes would each come out as they are and leave *unwrap as
 * it is: printable ASCII without a meaning of its own. */
size_t eio_unwrap_plain(const struct eio_unwrap *unwrap, struct eio_span bytes);

/* Has the call's closing parenthesis passed? */
bool eio_unwrap_is_closed(const struct eio_unwrap *unwrap);

#endif
