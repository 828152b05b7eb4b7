/* SPDX-License-Identifier: MIT */
/*
 * A line of a log while it is being written: key=value pairs, or the same as
 * one JSON object. Control bytes, quotes, backslashes and all that is not ASCII
 * are escaped in values, so that a peer can forge no line.
 */
#ifndef SIDGATE_GATEWAY_LOG_TEXT_H
#define SIDGATE_GATEWAY_LOG_TEXT_H

#include "eio/span.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    GW_LOG_TIME_MAX = 64,     /* what gw_log_time writes, with its NUL */
    GW_LOG_TEXT_END_MAX = 32, /* what gw_log_text_end needs behind max */
};

struct gw_log_text {
    char *bytes;
    size_t len;
    size_t max;       /* that len may get to */
    size_t value_max; /* bytes of one value, once it is escaped */
    bool is_json;
    bool is_full; /* what came last did not fit */
};

/* As it is. */
void gw_log_text_put(struct gw_log_text *text, const char *plain);

/* A pair, with what separates it from what stands before it; nothing of it
 * where it does not fit. A value that is_cut ends in "...". */
void gw_log_text_pair(struct gw_log_text *text, const char *key,
                      struct eio_span value, bool is_cut);

/* A pair whose value is a number or a word of JSON. */
void gw_log_text_plain(struct gw_log_text *text, const char *key,
                       const char *value);

/* Closes the line, and says if something did not fit. */
void gw_log_text_end(struct gw_log_text *text);

/* ISO 8601 with milliseconds, of the wall clock. */
void gw_log_time(int64_t wall_ms, char out[GW_LOG_TIME_MAX]);

#endif
