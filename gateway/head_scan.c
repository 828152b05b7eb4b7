/* SPDX-License-Identifier: MIT */
/* Where a head ends. */
#include "gateway/head.h"

/* Checks the line that ends at `end` (its LF). */
static int check_line(const struct gw_scan *scan, struct eio_span bytes,
                      size_t end, const struct gw_config *limits)
{
    size_t start = scan->line_start;
    if (end == start || bytes.ptr[end - 1] != '\r')
        return 400; /* bare LF */
    if (scan->lines == 0 && end - 1 - start > limits->max_request_line_bytes)
        return 414;
    if (scan->lines > 0 &&
        (bytes.ptr[start] == ' ' || bytes.ptr[start] == '\t'))
        return 400; /* obs-fold */
    if (scan->lines > limits->max_head_fields && end - start > 1)
        return 431;
    return 0;
}

int gw_head_scan(struct gw_scan *scan, struct eio_span bytes,
                 const struct gw_config *limits, size_t *head_len)
{
    *head_len = 0;
    for (;;) {
        size_t start = scan->line_start;
        const char *lf = start < bytes.len ? memchr(bytes.ptr + start, '\n',
                                                    bytes.len - start)
                                           : NULL;
        if (lf == NULL)
            break;
        size_t end = (size_t)(lf - bytes.ptr);
        int status = check_line(scan, bytes, end, limits);
        if (status != 0)
            return status;
        if (end + 1 > limits->max_head_bytes)
            return 431;
        bool is_empty = end - start == 1;
        scan->line_start = end + 1;
        scan->lines++;
        if (is_empty) {
            *head_len = end + 1;
            return 0;
        }
    }
    if (scan->lines == 0 && bytes.len > limits->max_request_line_bytes + 1)
        return 414;
    if (bytes.len >= limits->max_head_bytes)
        return 431;
    return 0;
}
