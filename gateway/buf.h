/* SPDX-License-Identifier: MIT */
/*
 * A byte queue that exists only while it holds something: an idle connection
 * has a NULL pointer here and no memory behind it.
 */
#ifndef SIDGATE_GATEWAY_BUF_H
#define SIDGATE_GATEWAY_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

struct gw_buf {
    size_t start; /* first byte not yet taken */
    size_t end;   /* one past the last byte */
    size_t cap;
    char data[];
};

static inline size_t gw_buf_len(const struct gw_buf *buf)
{
    return buf != NULL ? buf->end - buf->start : 0;
}

static inline char *gw_buf_ptr(struct gw_buf *buf)
{
    return buf->data + buf->start;
}

/* Appends, making or growing *buf. False when memory is short; then *buf is
 * as it was. The caller bounds how much it puts in. */
bool gw_buf_append(struct gw_buf **buf, const char *bytes, size_t len)
    __attribute__((warn_unused_result));

/* Makes room for `len` more bytes behind data + end. */
bool gw_buf_reserve(struct gw_buf **buf, size_t len)
    __attribute__((warn_unused_result));

/* Drops `len` bytes from the front; frees the buffer when it is empty. */
void gw_buf_take(struct gw_buf **buf, size_t len);

void gw_buf_free(struct gw_buf **buf);

#endif
