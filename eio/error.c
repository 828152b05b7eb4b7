/* SPDX-License-Identifier: MIT */
/* Engine.IO's errors: text for sidgate's own, recognition of the servers'. */
#include "eio/error.h"

enum { BODY_MAX = 512 }; /* bytes that are looked at */

static const struct {
    const char *message;
    const char *json;
} errors[] = {
#define ROW(code, text)                                                        \
    {                                                                          \
        text, "{\"code\":" #code ",\"message\":\"" text "\"}"                  \
    }
    ROW(0, "Transport unknown"),
    ROW(1, "Session ID unknown"),
    ROW(2, "Bad handshake method"),
    ROW(3, "Bad request"),
    ROW(4, "Forbidden"),
    ROW(5, "Unsupported protocol version"),
#undef ROW
};

const char *eio_error_message(enum eio_error error)
{
    return errors[error].message;
}

const char *eio_error_json(enum eio_error error)
{
    return errors[error].json;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct eio_span skip(struct eio_span text, size_t count)
{
    return (struct eio_span){text.ptr + count, text.len - count};
}

static struct eio_span skip_spaces(struct eio_span text)
{
    while (text.len > 0 && is_space(text.ptr[0])) {
        text = skip(text, 1);
    }
    return text;
}

static bool has_prefix(struct eio_span text, const char *prefix)
{
    size_t len = strlen(prefix);

    return text.len >= len && memcmp(text.ptr, prefix, len) == 0;
}

/* The length of the JSON string that `text` begins with, both quotes
 * included; the whole text if it does not end. */
static size_t string_len(struct eio_span text)
{
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '\\') {
            i++;
        } else if (text.ptr[i] == '"') {
            return i + 1;
        }
    }
    return text.len;
}

/* A value of one digit, as a number or a string; -1 for any other. */
static int digit_value(struct eio_span value)
{
    bool is_quoted = value.len > 0 && value.ptr[0] == '"';

    if (is_quoted) {
        value = skip(value, 1);
    }
    if (value.len < 2 || value.ptr[0] < '0' || value.ptr[0] > '9') {
        return -1;
    }
    char after = value.ptr[1];
    bool is_end = is_quoted ? after == '"'
                            : after == ',' || after == '}' || is_space(after);
    return is_end ? value.ptr[0] - '0' : -1;
}

/* The value of a member named `code`, if `text` begins with such a member;
 * -1 if not. */
static int code_member(struct eio_span text)
{
    if (!has_prefix(text, "\"code\"")) {
        return -1;
    }
    text = skip_spaces(skip(text, 6));
    if (!has_prefix(text, ":")) {
        return -1;
    }
    return digit_value(skip_spaces(skip(text, 1)));
}

/* The `code` of a JSON object, at its top level, or -1. A scan instead of a
 * parse, since the body may be cut off. */
static int error_code(struct eio_span body)
{
    int depth = 0;

    body = skip_spaces(body);
    if (!has_prefix(body, "{")) {
        return -1;
    }
    while (body.len > 0) {
        char c = body.ptr[0];
        int code = depth == 1 && c == '"' ? code_member(body) : -1;
        if (code >= 0) {
            return code;
        }
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        }
        body = skip(body, c == '"' ? string_len(body) : 1);
    }
    return -1;
}

static struct eio_span cut(struct eio_span body)
{
    if (body.len > BODY_MAX) {
        body.len = BODY_MAX;
    }
    return body;
}

bool eio_is_unknown_sid(int status, struct eio_span body, bool is_netty)
{
    if (status == 500) {
        return is_netty && body.len == 0;
    }
    if (status != 400) {
        return false;
    }
    body = cut(body);
    return has_prefix(body, "Session ID unknown") ||
           has_prefix(body, "\"Invalid session") ||
           has_prefix(body, "Invalid session") ||
           has_prefix(body, "invalid sid value") ||
           error_code(body) == EIO_ERROR_UNKNOWN_SID;
}

enum eio_probe_verdict eio_probe_verdict(int status, struct eio_span body)
{
    if (status == 500 && body.len == 0) {
        return EIO_PROBE_OWNS;
    }
    if (status != 400) {
        return EIO_PROBE_UNCLEAR;
    }
    switch (error_code(cut(body))) {
    case EIO_ERROR_UNKNOWN_SID:
        return EIO_PROBE_DENIES;
    case EIO_ERROR_BAD_REQUEST:
        return EIO_PROBE_OWNS;
    default:
        return EIO_PROBE_UNCLEAR;
    }
}
