/* SPDX-License-Identifier: MIT */
/*
 * Log lines.
 *
 * A line is built in a buffer of PIPE_BUF bytes and leaves in one write, so
 * that lines of several threads, or of several processes on one pipe, never
 * mix. No lock is held for that. What events.h keeps of it is built apart.
 */
#include "gateway/log.h"
#include "gateway/events.h"
#include "gateway/log_text.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    VALUE_MAX = 512,
    EVENT_VALUE_MAX = 320, /* of an event, once it is escaped */
};

atomic_int gw_log_level_now = GW_LOG_INFO;
static atomic_int format_now = GW_LOG_TEXT;

void gw_log_setup(enum gw_log_level level, enum gw_log_format format)
{
    atomic_store_explicit(&gw_log_level_now, (int)level, memory_order_relaxed);
    atomic_store_explicit(&format_now, (int)format, memory_order_relaxed);
}

const char *gw_log_level_text(enum gw_log_level level)
{
    switch (level) {
    case GW_LOG_ERROR:
        return "error";
    case GW_LOG_WARNING:
        return "warning";
    case GW_LOG_INFO:
        return "info";
    case GW_LOG_DEBUG:
        return "debug";
    }
    return "unknown";
}

static void put_pair(struct gw_log_text *line, const char *key,
                     const char *value)
{
    size_t len = value != NULL ? strnlen(value, VALUE_MAX) : 0;

    gw_log_text_pair(line, key, (struct eio_span){value, len},
                     len > 0 && value[len] != '\0');
}

/* What stands before the pairs. */
struct head {
    int64_t time_ms; /* wall clock */
    enum gw_log_level level;
    const char *event;
};

static int64_t wall_ms(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void put_head(struct gw_log_text *line, const struct head *head)
{
    char time_text[GW_LOG_TIME_MAX];

    gw_log_time(head->time_ms, time_text);
    if (line->is_json) {
        gw_log_text_put(line, "{\"time\":\"");
        gw_log_text_put(line, time_text);
        gw_log_text_put(line, "\",\"level\":\"");
        gw_log_text_put(line, gw_log_level_text(head->level));
        gw_log_text_put(line, "\",\"event\":\"");
        gw_log_text_put(line, head->event);
        gw_log_text_put(line, "\"");
    } else {
        gw_log_text_put(line, time_text);
        gw_log_text_put(line, " ");
        gw_log_text_put(line, gw_log_level_text(head->level));
        gw_log_text_put(line, " ");
        gw_log_text_put(line, head->event);
    }
}

/* Pairs up to a NULL key. */
static void put_pairs(struct gw_log_text *line, va_list pairs)
{
    const char *key;

    while ((key = va_arg(pairs, const char *)) != NULL && !line->is_full)
        put_pair(line, key, va_arg(pairs, const char *));
}

static void write_line(const struct head *head, va_list pairs)
{
    char bytes[PIPE_BUF];
    struct gw_log_text line = {
        .bytes = bytes,
        .max = sizeof(bytes) - GW_LOG_TEXT_END_MAX,
        .value_max = sizeof(bytes),
        .is_json = atomic_load_explicit(&format_now, memory_order_relaxed) ==
                   GW_LOG_JSON,
    };

    put_head(&line, head);
    put_pairs(&line, pairs);
    gw_log_text_end(&line);

    ssize_t written;
    do {
        written = write(STDERR_FILENO, line.bytes, line.len);
    } while (written < 0 && errno == EINTR);
    /* There is nowhere to report that a log line was lost. */
}

static void keep_event(const struct head *head, va_list pairs)
{
    char bytes[GW_EVENT_TEXT_MAX];
    struct gw_log_text line = {
        .bytes = bytes,
        .max = sizeof(bytes) - sizeof("}"),
        .value_max = EVENT_VALUE_MAX,
        .is_json = true,
    };

    gw_log_text_put(&line, "{");
    put_pairs(&line, pairs);
    memcpy(bytes + line.len, "}", sizeof("}"));
    gw_events_add(head->time_ms, head->level, head->event, bytes);
}

void gw_log_line(enum gw_log_level level, const char *event, ...)
{
    const struct head head = {wall_ms(), level, event};
    int saved_errno = errno;
    va_list pairs;

    va_start(pairs, event);
    write_line(&head, pairs);
    va_end(pairs);
    va_start(pairs, event);
    keep_event(&head, pairs);
    va_end(pairs);
    errno = saved_errno;
}

struct gw_num_text gw_num(int64_t value)
{
    struct gw_num_text num;

    snprintf(num.text, sizeof(num.text), "%" PRId64, value);
    return num;
}
