/* SPDX-License-Identifier: MIT */
/* A line of a log while it is being written. */
#include "gateway/log_text.h"

#include <stdio.h>
#include <time.h>

static void put_bytes(struct gw_log_text *text, const char *bytes, size_t len)
{
    if (text->is_full || len > text->max - text->len) {
        text->is_full = true;
        return;
    }
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

void gw_log_text_put(struct gw_log_text *text, const char *plain)
{
    put_bytes(text, plain, strlen(plain));
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
static void put_escaped(struct gw_log_text *text, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    const char *lead = text->is_json ? "\\u00" : "\\x";
    char letter = short_escape(byte);

    if (letter != 0) {
        put_bytes(text, (const char[]){'\\', letter}, 2);
    } else if (byte < 0x20 || byte > 0x7e) {
        gw_log_text_put(text, lead);
        put_bytes(text, &digits[byte >> 4], 1);
        put_bytes(text, &digits[byte & 15], 1);
    } else {
        put_bytes(text, (const char[]){(char)byte}, 1);
    }
}

static bool needs_quotes(struct eio_span value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.ptr[i];

        if (byte <= ' ' || byte > 0x7e || byte == '"' || byte == '\\' ||
            byte == '=')
            return true;
    }
    return value.len == 0;
}

static bool is_safe(unsigned char byte)
{
    return byte >= 0x20 && byte <= 0x7e && byte != '"' && byte != '\\';
}

/* Most values need no escape: what needs none is copied at once. */
static size_t safe_length(const struct gw_log_text *text, struct eio_span value)
{
    size_t len = 0;

    while (len < value.len && len < text->value_max &&
           is_safe((unsigned char)value.ptr[len]))
        len++;
    return len;
}

static void put_value(struct gw_log_text *text, struct eio_span value,
                      bool is_cut)
{
    bool has_quotes = text->is_json || needs_quotes(value);
    size_t i = safe_length(text, value);

    if (has_quotes)
        gw_log_text_put(text, "\"");
    size_t start = text->len;
    if (i > 0)
        put_bytes(text, value.ptr, i);
    for (; i < value.len && text->len - start < text->value_max; i++)
        put_escaped(text, (unsigned char)value.ptr[i]);
    if (is_cut || i < value.len)
        gw_log_text_put(text, "...");
    if (has_quotes)
        gw_log_text_put(text, "\"");
}

static void put_key(struct gw_log_text *text, const char *key)
{
    if (text->is_json)
        gw_log_text_put(text, text->len > 0 && text->bytes[text->len - 1] == '{'
                                  ? "\""
                                  : ",\"");
    else if (text->len > 0)
        gw_log_text_put(text, " ");
    gw_log_text_put(text, key);
    gw_log_text_put(text, text->is_json ? "\":" : "=");
}

void gw_log_text_pair(struct gw_log_text *text, const char *key,
                      struct eio_span value, bool is_cut)
{
    size_t start = text->len;

    put_key(text, key);
    put_value(text, value, is_cut);
    if (text->is_full)
        text->len = start;
}

void gw_log_text_plain(struct gw_log_text *text, const char *key,
                       const char *value)
{
    size_t start = text->len;

    put_key(text, key);
    gw_log_text_put(text, value);
    if (text->is_full)
        text->len = start;
}

void gw_log_text_end(struct gw_log_text *text)
{
    const char *mark = text->is_json ? ",\"cut\":\"true\"" : " cut=true";
    const char *end = text->is_json ? "}\n" : "\n";

    if (text->is_full) {
        memcpy(text->bytes + text->len, mark, strlen(mark));
        text->len += strlen(mark);
    }
    memcpy(text->bytes + text->len, end, strlen(end));
    text->len += strlen(end);
}

void gw_log_time(int64_t wall_ms, char out[GW_LOG_TIME_MAX])
{
    static const int64_t last_ms = 253402300799999; /* of the year 9999 */
    static _Thread_local int64_t made_s = -1;
    static _Thread_local char made[32];
    int64_t ms = wall_ms < 0 ? 0 : wall_ms > last_ms ? last_ms : wall_ms;
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {0};

    /* Lines come many to the second. */
    if (made_s != ms / 1000) {
        gmtime_r(&seconds, &tm);
        made[strftime(made, sizeof(made), "%Y-%m-%dT%H:%M:%S", &tm)] = '\0';
        made_s = ms / 1000;
    }
    snprintf(out, GW_LOG_TIME_MAX, "%s.%03dZ", made, (int)(ms % 1000));
}
