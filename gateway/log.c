/* SPDX-License-Identifier: MIT */
/*
 * Log lines.
 *
 * A line is built in a buffer of PIPE_BUF bytes and leaves in one write, so
 * that lines of several threads, or of several processes on one pipe, never
 * mix. Nothing is kept between lines, hence no lock.
 */
#include "gateway/log.h"

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
    END_MAX = 32, /* for the mark of a cut line and what closes it */
};

enum gw_log_level gw_log_level_now = GW_LOG_INFO;
static enum gw_log_format format_now = GW_LOG_TEXT;

struct line {
    size_t len;
    bool is_full; /* what came last did not fit */
    char bytes[PIPE_BUF];
};

void gw_log_setup(enum gw_log_level level, enum gw_log_format format)
{
    gw_log_level_now = level;
    format_now = format;
}

static const char *level_text(enum gw_log_level level)
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

static void put_bytes(struct line *line, const char *bytes, size_t len)
{
    if (line->is_full || len > sizeof(line->bytes) - END_MAX - line->len) {
        line->is_full = true;
        return;
    }
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
}

static void put_text(struct line *line, const char *text)
{
    put_bytes(line, text, strlen(text));
}

/* The letter of a short escape that text and JSON share, or 0. */
static char short_escape(unsigned char byte)
{
    switch (byte) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '"':
    case '\\':
        return (char)byte;
    default:
        return 0;
    }
}

/* Bytes over 126 are escaped like control bytes: some terminals obey C1
 * controls, and a line must be valid UTF-8 whatever a peer sends. */
static void put_escaped(struct line *line, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    const char *lead = format_now == GW_LOG_JSON ? "\\u00" : "\\x";
    char letter = short_escape(byte);

    if (letter != 0) {
        put_bytes(line, (const char[]){'\\', letter}, 2);
    } else if (byte < 0x20 || byte > 0x7e) {
        put_text(line, lead);
        put_bytes(line, &digits[byte >> 4], 1);
        put_bytes(line, &digits[byte & 15], 1);
    } else {
        put_bytes(line, (const char[]){(char)byte}, 1);
    }
}

static bool needs_quotes(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)value[i];

        if (byte <= ' ' || byte > 0x7e || byte == '"' || byte == '\\' ||
            byte == '=')
            return true;
    }
    return len == 0;
}

static void put_value(struct line *line, const char *value)
{
    size_t len = strnlen(value, VALUE_MAX);
    bool is_cut = value[len] != '\0';
    bool has_quotes = format_now == GW_LOG_JSON || needs_quotes(value, len);

    if (has_quotes)
        put_text(line, "\"");
    for (size_t i = 0; i < len; i++)
        put_escaped(line, (unsigned char)value[i]);
    if (is_cut)
        put_text(line, "...");
    if (has_quotes)
        put_text(line, "\"");
}

static void put_pair(struct line *line, const char *key, const char *value)
{
    size_t start = line->len;

    put_text(line, format_now == GW_LOG_JSON ? ",\"" : " ");
    put_text(line, key);
    put_text(line, format_now == GW_LOG_JSON ? "\":" : "=");
    put_value(line, value != NULL ? value : "");
    if (line->is_full)
        line->len = start;
}

static void put_head(struct line *line, enum gw_log_level level,
                     const char *event)
{
    struct timespec now = {0};
    struct tm tm = {0};
    char seconds[32];
    char time_text[64];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    seconds[strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm)] =
        '\0';
    snprintf(time_text, sizeof(time_text), "%s.%03dZ", seconds,
             (int)(now.tv_nsec / 1000000));
    if (format_now == GW_LOG_JSON) {
        put_text(line, "{\"time\":\"");
        put_text(line, time_text);
        put_text(line, "\",\"level\":\"");
        put_text(line, level_text(level));
        put_text(line, "\",\"event\":\"");
        put_text(line, event);
        put_text(line, "\"");
    } else {
        put_text(line, time_text);
        put_text(line, " ");
        put_text(line, level_text(level));
        put_text(line, " ");
        put_text(line, event);
    }
}

/* Closes the line within the room that put_bytes keeps free for it. */
static void put_end(struct line *line)
{
    const char *mark =
        format_now == GW_LOG_JSON ? ",\"cut\":\"true\"" : " cut=true";
    const char *end = format_now == GW_LOG_JSON ? "}\n" : "\n";

    if (line->is_full) {
        memcpy(line->bytes + line->len, mark, strlen(mark));
        line->len += strlen(mark);
    }
    memcpy(line->bytes + line->len, end, strlen(end));
    line->len += strlen(end);
}

void gw_log_line(enum gw_log_level level, const char *event, ...)
{
    struct line line;
    const char *key;
    int saved_errno = errno;
    va_list pairs;

    line.len = 0;
    line.is_full = false;
    put_head(&line, level, event);
    va_start(pairs, event);
    while ((key = va_arg(pairs, const char *)) != NULL && !line.is_full)
        put_pair(&line, key, va_arg(pairs, const char *));
    va_end(pairs);
    put_end(&line);

    ssize_t written;
    do {
        written = write(STDERR_FILENO, line.bytes, line.len);
    } while (written < 0 && errno == EINTR);
    /* There is nowhere to report that a log line was lost. */
    errno = saved_errno;
}

struct gw_num_text gw_num(int64_t value)
{
    struct gw_num_text num;

    snprintf(num.text, sizeof(num.text), "%" PRId64, value);
    return num;
}
