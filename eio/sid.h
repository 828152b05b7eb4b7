/* SPDX-License-Identifier: MIT */
/* A session id: opaque bytes, as the server minted them (after the query's
 * percent-encoding or the open packet's JSON escapes are undone). */
#ifndef SIDGATE_EIO_SID_H
#define SIDGATE_EIO_SID_H

#include "eio/span.h"

#include <stdbool.h>
#include <stdint.h>

enum { EIO_SID_MAX = 256 };

struct eio_sid {
    uint16_t len;            /* 0 to EIO_SID_MAX bytes; 0 means there is none */
    char bytes[EIO_SID_MAX]; /* not NUL-terminated */
};

/* Room for what eio_sid_mask writes, its NUL included. */
enum { EIO_SID_MASK_MAX = 16 };

bool eio_sid_equal(const struct eio_sid *a, const struct eio_sid *b);

/* Writes a short form for logs: the first four bytes (fewer where the sid has
 * fewer than 12) and "...", with every byte that is not printable ASCII shown
 * as '?'. Always NUL-terminates. A full sid is a bearer secret: nothing else
 * of it may be logged. */
void eio_sid_mask(const struct eio_sid *sid, char out[EIO_SID_MASK_MAX]);

/* Percent-encodes `sid` for a query value: unreserved characters of RFC 3986
 * stay, all others become %XX. Returns the length written; `out` needs
 * 3 * sid->len bytes and is not NUL-terminated. */
size_t eio_sid_percent_encode(const struct eio_sid *sid, char *out);

#endif
