/* SPDX-License-Identifier: MIT */
/* A session's record as the fields of a Redis hash, and back. */
#include "store/record.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* 9999-12-31T23:59:59.999Z */
#define TIME_MAX_MS INT64_C(253402300799999)

const char *const store_record_names[STORE_RECORD_COUNT] = {
#define NAME_OF(id, name) [STORE_RECORD_##id] = (name),
    STORE_RECORD_FIELDS(NAME_OF)
#undef NAME_OF
};

/* Writes `value` with leading zeros. */
static void put_digits(char *out, size_t width, int64_t value)
{
    for (size_t i = width; i > 0; i--) {
        out[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
}

void store_time_write(int64_t ms, char out[STORE_TIME_TEXT_MAX])
{
    struct tm tm = {0};

    if (ms < 0)
        ms = 0;
    if (ms > TIME_MAX_MS)
        ms = TIME_MAX_MS;
    const time_t seconds = (time_t)(ms / 1000);
    gmtime_r(&seconds, &tm);
    memcpy(out, "0000-00-00T00:00:00.000Z", STORE_TIME_TEXT_MAX);
    put_digits(out, 4, tm.tm_year + 1900);
    put_digits(out + 5, 2, tm.tm_mon + 1);
    put_digits(out + 8, 2, tm.tm_mday);
    put_digits(out + 11, 2, tm.tm_hour);
    put_digits(out + 14, 2, tm.tm_min);
    put_digits(out + 17, 2, tm.tm_sec);
    put_digits(out + 20, 3, ms % 1000);
}

static int read_digits(const char *text, size_t width)
{
    int value = 0;

    for (size_t i = 0; i < width; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

bool store_time_read(const char *text, size_t len, int64_t *ms)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    char again[STORE_TIME_TEXT_MAX];

    if (len != sizeof(form) - 1)
        return false;
    for (size_t i = 0; i < len; i++) {
        const bool is_digit = text[i] >= '0' && text[i] <= '9';
        if (form[i] == 'd' ? !is_digit : text[i] != form[i])
            return false;
    }
    struct tm tm = {
        .tm_year = read_digits(text, 4) - 1900,
        .tm_mon = read_digits(text + 5, 2) - 1,
        .tm_mday = read_digits(text + 8, 2),
        .tm_hour = read_digits(text + 11, 2),
        .tm_min = read_digits(text + 14, 2),
        .tm_sec = read_digits(text + 17, 2),
    };
    const int64_t value =
        (int64_t)timegm(&tm) * 1000 + read_digits(text + 20, 3);
    /* A time that does not exist, like February 30, comes back as another. */
    store_time_write(value, again);
    if (memcmp(text, again, len) != 0)
        return false;
    *ms = value;
    return true;
}

bool store_number_read(const char *text, size_t len, int64_t *value)
{
    int64_t sum = 0;

    if (len == 0 || len > 18)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        sum = sum * 10 + (text[i] - '0');
    }
    *value = sum;
    return true;
}

void store_record_write(const struct store_record *record,
                        struct store_record_text *text)
{
    const bool is_known_eio = record->eio == 3 || record->eio == 4;

    snprintf(text->eio, sizeof(text->eio), "%d",
             is_known_eio ? record->eio : 0);
    snprintf(text->ping_interval, sizeof(text->ping_interval), "%" PRIu32,
             record->ping_interval_ms);
    snprintf(text->ping_timeout, sizeof(text->ping_timeout), "%" PRIu32,
             record->ping_timeout_ms);
    store_time_write(record->created_ms, text->created);
    store_time_write(record->seen_ms, text->seen);
    text->values[STORE_RECORD_BACKEND] = record->backend;
    text->values[STORE_RECORD_EIO] = text->eio;
    text->values[STORE_RECORD_TRANSPORT] =
        record->transport == STORE_TRANSPORT_WEBSOCKET ? "websocket"
                                                       : "polling";
    text->values[STORE_RECORD_PING_INTERVAL] = text->ping_interval;
    text->values[STORE_RECORD_PING_TIMEOUT] = text->ping_timeout;
    text->values[STORE_RECORD_CLIENT] = record->client;
    text->values[STORE_RECORD_GATEWAY] = record->gateway;
    text->values[STORE_RECORD_CREATED] = text->created;
    text->values[STORE_RECORD_SEEN] = text->seen;
}

/* Copies text of less than `size` bytes without control characters. */
static bool read_text(const redisReply *value, char *out, size_t size)
{
    if (value->type != REDIS_REPLY_STRING || value->len >= size)
        return false;
    for (size_t i = 0; i < value->len; i++) {
        const unsigned char c = (unsigned char)value->str[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    memcpy(out, value->str, value->len);
    out[value->len] = '\0';
    return true;
}

static uint32_t read_ping(const redisReply *value)
{
    int64_t ms;

    if (value->type != REDIS_REPLY_STRING ||
        !store_number_read(value->str, value->len, &ms))
        return 0;
    return ms < STORE_PING_MAX_MS ? (uint32_t)ms : STORE_PING_MAX_MS;
}

static int64_t read_time(const redisReply *value)
{
    int64_t ms;

    if (value->type != REDIS_REPLY_STRING ||
        !store_time_read(value->str, value->len, &ms))
        return 0;
    return ms;
}

static bool is_text(const redisReply *value, const char *text)
{
    return value->type == REDIS_REPLY_STRING && value->len == strlen(text) &&
           memcmp(value->str, text, value->len) == 0;
}

bool store_record_read(const struct redisReply *values,
                       struct store_record *record)
{
    *record = (struct store_record){0};
    if (values->type != REDIS_REPLY_ARRAY ||
        values->elements != STORE_RECORD_COUNT)
        return false;
    redisReply *const *field = values->element;
    if (!read_text(field[STORE_RECORD_BACKEND], record->backend,
                   sizeof(record->backend)) ||
        record->backend[0] == '\0')
        return false;
    if (is_text(field[STORE_RECORD_EIO], "3"))
        record->eio = 3;
    else if (is_text(field[STORE_RECORD_EIO], "4"))
        record->eio = 4;
    record->transport = is_text(field[STORE_RECORD_TRANSPORT], "websocket")
                            ? STORE_TRANSPORT_WEBSOCKET
                            : STORE_TRANSPORT_POLLING;
    record->ping_interval_ms = read_ping(field[STORE_RECORD_PING_INTERVAL]);
    record->ping_timeout_ms = read_ping(field[STORE_RECORD_PING_TIMEOUT]);
    if (!read_text(field[STORE_RECORD_CLIENT], record->client,
                   sizeof(record->client)))
        record->client[0] = '\0';
    if (!read_text(field[STORE_RECORD_GATEWAY], record->gateway,
                   sizeof(record->gateway)))
        record->gateway[0] = '\0';
    record->created_ms = read_time(field[STORE_RECORD_CREATED]);
    record->seen_ms = read_time(field[STORE_RECORD_SEEN]);
    return true;
}
