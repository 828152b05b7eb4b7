/* SPDX-License-Identifier: MIT */
/* The JSON object of an open packet. cJSON gives strings that end at their
 * first NUL and recurses as deep as it is told, so the text is measured before
 * it gets there. */
#include "eio/open_json.h"

#include <cJSON.h>

enum { DAY_MS = 24 * 60 * 60 * 1000 };

/* `text` begins with a backslash within a string. How many bytes to go on by,
 * 0 if the escape is not whole; EIO_BAD through *is_bad for an escaped NUL. */
static size_t skip_escape(struct eio_span text, bool *is_bad)
{
    static const char nul[] = "\\u0000";

    if (text.len < 2) {
        return 0;
    }
    if (text.ptr[1] != 'u') {
        return 2;
    }
    if (text.len < sizeof nul - 1) {
        return 0;
    }
    *is_bad = memcmp(text.ptr, nul, sizeof nul - 1) == 0;
    return sizeof nul - 1;
}

/* `text` begins with a string's opening quote. *len: the string's length, both
 * quotes included. */
static enum eio_result measure_string(struct eio_span text, size_t *len)
{
    size_t at = 1;

    while (at < text.len) {
        unsigned char c = (unsigned char)text.ptr[at];
        struct eio_span rest = {text.ptr + at, text.len - at};
        bool is_bad = c < 0x20;
        size_t count = c == '\\' ? skip_escape(rest, &is_bad) : 1;
        if (is_bad) {
            return EIO_BAD;
        }
        if (count == 0) {
            return EIO_MORE;
        }
        at += count;
        if (c == '"') {
            *len = at;
            return EIO_DONE;
        }
    }
    return EIO_MORE;
}

static bool is_json_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Takes one byte that is not within a string. Is it allowed there? */
static bool take_plain(unsigned char c, unsigned *depth)
{
    if (c == '{' || c == '[') {
        ++*depth;
        return *depth <= EIO_OPEN_DEPTH_MAX;
    }
    if (c == '}' || c == ']') {
        --*depth;
        return true;
    }
    return (c > 0x20 && c < 0x7f) || is_json_space(c);
}

enum eio_result eio_open_json_measure(struct eio_span text,
                                      struct eio_span *json)
{
    unsigned depth = 0;
    size_t at = 0;

    if (text.len > 0 && text.ptr[0] != '{') {
        return EIO_BAD;
    }
    while (at < text.len) {
        struct eio_span rest = {text.ptr + at, text.len - at};
        size_t count = 1;
        enum eio_result result = EIO_DONE;
        if (rest.ptr[0] == '"') {
            result = measure_string(rest, &count);
        } else if (!take_plain((unsigned char)rest.ptr[0], &depth)) {
            result = EIO_BAD;
        }
        if (result != EIO_DONE) {
            return result;
        }
        at += count;
        if (depth == 0) {
            *json = (struct eio_span){text.ptr, at};
            return EIO_DONE;
        }
    }
    return EIO_MORE;
}

static bool read_sid(const cJSON *object, struct eio_sid *sid)
{
    const cJSON *found = NULL;
    const cJSON *item = NULL;

    cJSON_ArrayForEach(item, object)
    {
        if (strcmp(item->string, "sid") != 0) {
            continue;
        }
        if (found != NULL) {
            return false; /* parsers disagree on which one counts */
        }
        found = item;
    }
    if (!cJSON_IsString(found)) {
        return false;
    }
    size_t len = strlen(found->valuestring);
    if (len == 0 || len > EIO_SID_MAX) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)found->valuestring[i];
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
    }
    sid->len = (uint16_t)len;
    memcpy(sid->bytes, found->valuestring, len);
    return true;
}

static uint32_t read_number(const cJSON *object, const char *name, uint32_t max)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    if (!cJSON_IsNumber(item) || !(item->valuedouble > 0)) {
        return 0;
    }
    return item->valuedouble < max ? (uint32_t)item->valuedouble : max;
}

static bool has_websocket(const cJSON *object)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(object, "upgrades");
    const cJSON *item = NULL;

    if (!cJSON_IsArray(list)) {
        return false;
    }
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsString(item) &&
            strcmp(item->valuestring, "websocket") == 0) {
            return true;
        }
    }
    return false;
}

static bool read_object(const cJSON *object, struct eio_open *out)
{
    struct eio_open open = {.framing = EIO_FRAMING_UNKNOWN};

    if (!read_sid(object, &open.sid)) {
        return false;
    }
    open.ping_interval_ms = read_number(object, "pingInterval", DAY_MS);
    open.ping_timeout_ms = read_number(object, "pingTimeout", DAY_MS);
    open.max_payload_bytes = read_number(object, "maxPayload", UINT32_MAX);
    open.upgrades_websocket = has_websocket(object);
    *out = open;
    return true;
}

bool eio_open_json_read(struct eio_span json, struct eio_open *out)
{
    /* With a NUL behind it, for versions of cJSON that look one too far. */
    char text[EIO_OPEN_PREFIX_MAX + 1];

    if (json.len > EIO_OPEN_PREFIX_MAX) {
        return false;
    }
    memcpy(text, json.ptr, json.len);
    text[json.len] = '\0';
    cJSON *object = cJSON_ParseWithLengthOpts(text, json.len + 1, NULL, 1);
    if (object == NULL) {
        return false;
    }
    bool is_read = read_object(object, out);
    cJSON_Delete(object);
    return is_read;
}
