/* SPDX-License-Identifier: MIT */
/* A view of bytes that somebody else owns. */
#ifndef SIDGATE_EIO_SPAN_H
#define SIDGATE_EIO_SPAN_H

#include <stddef.h>
#include <string.h>

struct eio_span {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
};

static inline struct eio_span eio_span_of(const char *text)
{
    return (struct eio_span){text, strlen(text)};
}

#endif
