/* SPDX-License-Identifier: MIT */
/*
 * A session's record as the fields of a Redis hash, and back. Private to
 * store/.
 *
 * A field that Redis gives and that makes no sense is taken as not there; only
 * without a backend there is no record.
 */
#ifndef SIDGATE_STORE_RECORD_H
#define SIDGATE_STORE_RECORD_H

#include "store/store.h"

struct redisReply;

/* Every field but the format's version, in the order of a lookup's answer. */
#define STORE_RECORD_FIELDS(X)                                                 \
    X(BACKEND, "backend")                                                      \
    X(EIO, "eio")                                                              \
    X(TRANSPORT, "transport")                                                  \
    X(PING_INTERVAL, "ping_interval")                                          \
    X(PING_TIMEOUT, "ping_timeout")                                            \
    X(CLIENT, "client")                                                        \
    X(GATEWAY, "gateway")                                                      \
    X(CREATED, "created")                                                      \
    X(SEEN, "seen")

enum store_record_field {
#define STORE_RECORD_ENUM(id, name) STORE_RECORD_##id,
    STORE_RECORD_FIELDS(STORE_RECORD_ENUM)
#undef STORE_RECORD_ENUM
        STORE_RECORD_COUNT,
};

enum {
    STORE_TIME_TEXT_MAX = 25, /* "2026-01-31T12:00:00.123Z" with its NUL */
    STORE_NUMBER_TEXT_MAX = 24,
    STORE_PING_MAX_MS = 3600000, /* what is longer is read as this */
};

/* The fields' names, by enum store_record_field. */
extern const char *const store_record_names[STORE_RECORD_COUNT];

/* The fields' values; they point into here and into the record. */
struct store_record_text {
    const char *values[STORE_RECORD_COUNT];
    char eio[STORE_NUMBER_TEXT_MAX];
    char ping_interval[STORE_NUMBER_TEXT_MAX];
    char ping_timeout[STORE_NUMBER_TEXT_MAX];
    char created[STORE_TIME_TEXT_MAX];
    char seen[STORE_TIME_TEXT_MAX];
};

/* The text must not be copied, and lives no longer than `record`. */
void store_record_write(const struct store_record *record,
                        struct store_record_text *text);

/* Reads an array of values in the order of the fields; nil stands for a field
 * that is not there. False when it is no such array or has no valid backend:
 * 1 to STORE_BACKEND_MAX - 1 bytes without control characters. */
bool store_record_read(const struct redisReply *values,
                       struct store_record *record)
    __attribute__((warn_unused_result));

/* Writes a time since the epoch as ISO 8601 in UTC with milliseconds; times
 * before 1970 or after 9999 become the first or last that can be written. */
void store_time_write(int64_t ms, char out[STORE_TIME_TEXT_MAX]);

/* Reads exactly what store_time_write writes. */
bool store_time_read(const char *text, size_t len, int64_t *ms)
    __attribute__((warn_unused_result));

/* Reads 1 to 18 decimal digits and nothing else. */
bool store_number_read(const char *text, size_t len, int64_t *value)
    __attribute__((warn_unused_result));

#endif
