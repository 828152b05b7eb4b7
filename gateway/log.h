/* SPDX-License-Identifier: MIT */
/*
 * Log lines on standard error: one event a line, a fixed event name, then
 * key=value pairs; or the same as one JSON object.
 *
 *   2026-01-31T12:00:00.123Z info ready listen=127.0.0.1:8080 workers=2
 */
#ifndef SIDGATE_GATEWAY_LOG_H
#define SIDGATE_GATEWAY_LOG_H

#include "gateway/config.h"

#include <stdatomic.h>

/* Set at the start and by a reload. Until then: GW_LOG_INFO, text. */
void gw_log_setup(enum gw_log_level level, enum gw_log_format format);

extern atomic_int gw_log_level_now; /* enum gw_log_level */

/* Its word. */
const char *gw_log_level_text(enum gw_log_level level);

/* One line. `event` is a fixed name ([a-z_]); then pairs of (const char *key,
 * const char *value) up to a NULL key. Control bytes, quotes and backslashes
 * in values are escaped, so that a peer can forge no line; a value over 512
 * bytes is cut. Each line is one write(2); safe from any thread. It is kept as
 * an event, too (events.h). */
void gw_log_line(enum gw_log_level level, const char *event, ...)
    __attribute__((sentinel));

/* Evaluates its arguments only if the level is wanted. */
#define gw_log(level, ...)                                                     \
    do {                                                                       \
        if ((int)(level) <=                                                    \
            atomic_load_explicit(&gw_log_level_now, memory_order_relaxed))     \
            gw_log_line((level), __VA_ARGS__, (const char *)NULL);             \
    } while (0)

/* For numbers as values: `gw_log(GW_LOG_INFO, "x", "n", gw_num(n).text)`. */
struct gw_num_text {
    char text[24];
};
struct gw_num_text gw_num(int64_t value);

#endif
