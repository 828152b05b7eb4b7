/* SPDX-License-Identifier: MIT */
/* Fuzzes what chooses sessions: a line is a cursor, the next what is searched
 * for, the rest a session's key. */
#include "gateway/session_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint64_t key[2] = {0x0123456789abcdef, 0xfedcba9876543210};

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

/* Takes a line of less than `max` bytes, with a NUL behind it. */
static void take_line(const uint8_t **data, size_t *size, char *out, size_t max)
{
    const uint8_t *end = *size > 0 ? memchr(*data, '\n', *size) : NULL;
    size_t len = end != NULL ? (size_t)(end - *data) : *size;
    size_t kept = len < max - 1 ? len : max - 1;

    if (kept > 0)
        memcpy(out, *data, kept);
    out[kept] = '\0';
    len += end != NULL ? 1 : 0;
    *data += len;
    *size -= len;
}

/* What is taken is what would be written. */
static void check_cursor(const char *text)
{
    char again[GW_CURSOR_MAX];
    struct gw_cursor cursor = {0};

    if (!gw_cursor_read(key, text, &cursor))
        return;
    gw_cursor_write(key, &cursor, again);
    require(strcmp(text, again) == 0);
}

/* Each number that can be read comes back. */
static void check_numbers(const char *text)
{
    struct gw_cursor cursor = {.kind = GW_CURSOR_STORE};
    struct gw_cursor read = {0};
    char written[GW_CURSOR_MAX];

    for (const char *at = text; *at != '\0'; at++) {
        cursor.major = cursor.major * 31 + (unsigned char)*at;
        cursor.middle = cursor.middle * 37 + (unsigned char)*at;
        cursor.minor ^= cursor.major;
    }
    gw_cursor_write(key, &cursor, written);
    require(strlen(written) < sizeof(written));
    require(gw_cursor_read(key, written, &read));
    require(read.major == cursor.major && read.middle == cursor.middle &&
            read.minor == cursor.minor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct gw_config config;
    static const struct store_record record = {
        .backend = "n1", .client = "10.0.0.7", .gateway = "gw-a.0123abcd"};
    struct gw_session_filter filter = {.transport = -1};
    struct gw_session_match match;
    char cursor[2 * GW_CURSOR_MAX];

    take_line(&data, &size, cursor, sizeof(cursor));
    check_cursor(cursor);
    check_numbers(cursor);
    take_line(&data, &size, filter.search, sizeof(filter.search));
    if (size == 0 || size > STORE_KEY_MAX)
        return 0;
    char *name = malloc(size);
    require(name != NULL);
    memcpy(name, data, size);
    const struct gw_session_name named = {GW_NAME_SID, {name, size}};
    gw_session_match_init(&match, &filter, &config);
    bool is_match = gw_session_matches(&match, &record, &named);
    /* A sid finds its session. */
    if (strlen(filter.search) == size && memcmp(filter.search, name, size) == 0)
        require(is_match);
    require(filter.search[0] != '\0' || is_match);
    free(name);
    return 0;
}
