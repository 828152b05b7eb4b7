/* SPDX-License-Identifier: MIT */
/* Engine.IO's own errors: those sidgate answers itself, and those of servers
 * that it must recognise. */
#ifndef SIDGATE_EIO_ERROR_H
#define SIDGATE_EIO_ERROR_H

#include "eio/span.h"

#include <stdbool.h>

enum eio_error {
    EIO_ERROR_UNKNOWN_TRANSPORT = 0,
    EIO_ERROR_UNKNOWN_SID = 1,
    EIO_ERROR_BAD_HANDSHAKE_METHOD = 2,
    EIO_ERROR_BAD_REQUEST = 3,
    EIO_ERROR_FORBIDDEN = 4,
    EIO_ERROR_UNSUPPORTED_VERSION = 5,
};

/* The message alone, as servers answer it to an upgrade ("Session ID
 * unknown"). Static storage. */
const char *eio_error_message(enum eio_error error);

/* The JSON body that polling gets, {"code":1,"message":"Session ID unknown"}.
 * Static storage. */
const char *eio_error_json(enum eio_error error);

/* Is this response a server's statement that it does not know the sid?
 * Recognises Node and the Go port ({"code":1,...}), socketioxide (code as a
 * string), python-engineio ("Invalid session ..."), googollee's go-socket.io
 * (invalid sid value: ...), all with status 400, a websocket upgrade's text
 * ("Session ID unknown"), and, only when is_netty, an empty 500. `body` is
 * the response's whole body or its first 512 bytes. */
bool eio_is_unknown_sid(int status, struct eio_span body, bool is_netty);

/* What a server says of a sid by its answer to the inert probe
 * (PUT <path>?EIO=4&transport=polling&sid=...). */
enum eio_probe_verdict {
    EIO_PROBE_OWNS,    /* 500 with an empty body, or 400 with code 3 */
    EIO_PROBE_DENIES,  /* 400 with code 1 */
    EIO_PROBE_UNCLEAR, /* anything else */
};

enum eio_probe_verdict eio_probe_verdict(int status, struct eio_span body);

#endif
