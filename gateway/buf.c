/* SPDX-License-Identifier: MIT */
/* A byte queue that exists only while it holds something. */
#include "gateway/buf.h"

#include <stdlib.h>
#include <string.h>

bool gw_buf_reserve(struct gw_buf **buf, size_t len)
{
    struct gw_buf *old = *buf;
    size_t held = gw_buf_len(old);
    if (old != NULL && old->cap - old->end >= len)
        return true;
    if (old != NULL && old->cap - held >= len && old->start >= held) {
        memcpy(old->data, old->data + old->start, held);
        old->start = 0;
        old->end = held;
        return true;
    }
    /* The first bytes get what they need; one that grows doubles. */
    size_t cap = held + len;
    if (old != NULL && cap < 2 * old->cap)
        cap = 2 * old->cap;
    struct gw_buf *grown = malloc(sizeof(*grown) + cap);
    if (grown == NULL)
        return false;
    grown->start = 0;
    grown->end = held;
    grown->cap = cap;
    if (held > 0)
        memcpy(grown->data, old->data + old->start, held);
    free(old);
    *buf = grown;
    return true;
}

bool gw_buf_append(struct gw_buf **buf, const char *bytes, size_t len)
{
    if (len == 0)
        return true;
    if (!gw_buf_reserve(buf, len))
        return false;
    memcpy((*buf)->data + (*buf)->end, bytes, len);
    (*buf)->end += len;
    return true;
}

void gw_buf_take(struct gw_buf **buf, size_t len)
{
    if (*buf == NULL)
        return;
    (*buf)->start += len;
    if ((*buf)->start >= (*buf)->end)
        gw_buf_free(buf);
}

void gw_buf_free(struct gw_buf **buf)
{
    free(*buf);
    *buf = NULL;
}
