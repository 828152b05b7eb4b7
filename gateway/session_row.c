/* SPDX-License-Identifier: MIT */
/* Sessions as the API shows them. */
#include "gateway/session_row.h"
#include "gateway/log_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 4096 };

/* ---- text ---- */

static void put_bytes(struct gw_text *text, const char *bytes, size_t len)
{
    size_t need = text->len + len + 1;
    if (text->is_short)
        return;
    if (need > text->size) {
        size_t size = need < FIRST_BYTES ? FIRST_BYTES : need * 2;
        char *grown = realloc(text->bytes, size);
        if (grown == NULL) {
            text->is_short = true;
            return;
        }
        text->bytes = grown;
        text->size = size;
    }
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
    text->bytes[text->len] = '\0';
}

void gw_text_put(struct gw_text *text, const char *plain)
{
    put_bytes(text, plain, strlen(plain));
}

void gw_text_put_count(struct gw_text *text, uint64_t value)
{
    char number[24];
    snprintf(number, sizeof(number), "%" PRIu64, value);
    gw_text_put(text, number);
}

/* Ids and addresses are ASCII; what is not may be no text at all. */
static void put_string(struct gw_text *text, const char *value)
{
    put_bytes(text, "\"", 1);
    for (const char *at = value; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (c < 0x20 || c >= 0x7f) {
            put_bytes(text, "?", 1);
            continue;
        }
        if (c == '"' || c == '\\')
            put_bytes(text, "\\", 1);
        put_bytes(text, at, 1);
    }
    put_bytes(text, "\"", 1);
}

/* ---- members, each with its comma ---- */

static void name(struct gw_text *text, const char *key)
{
    put_bytes(text, ",\"", 2);
    gw_text_put(text, key);
    put_bytes(text, "\":", 2);
}

static void add_string(struct gw_text *text, const char *key, const char *value)
{
    name(text, key);
    put_string(text, value);
}

static void add_count(struct gw_text *text, const char *key, uint64_t value)
{
    name(text, key);
    gw_text_put_count(text, value);
}

/* Traffic of which nothing is known here. */
static void add_known(struct gw_text *text, const char *key, bool is_known,
                      uint64_t value)
{
    if (is_known) {
        add_count(text, key, value);
        return;
    }
    name(text, key);
    gw_text_put(text, "null");
}

/* Clocks of other replicas may be ahead: nothing is negative. */
static void add_seconds(struct gw_text *text, const char *key, int64_t ms)
{
    char number[40];
    if (ms < 0)
        ms = 0;
    name(text, key);
    snprintf(number, sizeof(number), "%" PRId64 ".%03d", ms / 1000,
             (int)(ms % 1000));
    gw_text_put(text, number);
}

static void add_time(struct gw_text *text, const char *key, int64_t wall_ms)
{
    char time[GW_LOG_TIME_MAX];
    gw_log_time(wall_ms, time);
    add_string(text, key, time);
}

/* A record without a time is 0 seconds old. */
static void add_since(struct gw_text *text, const char *key, const char *age,
                      int64_t then_ms, int64_t wall_ms)
{
    if (then_ms <= 0)
        then_ms = wall_ms;
    add_time(text, key, then_ms);
    add_seconds(text, age, wall_ms - then_ms);
}

/* ---- rows ---- */

static void add_end(struct gw_text *text, const struct gw_session_row *row)
{
    int64_t created_ms = row->record.created_ms;
    if (created_ms <= 0)
        created_ms = row->ended_ms;
    add_time(text, "ended", row->ended_ms);
    add_string(text, "cause",
               row->cause < GW_END_COUNT ? gw_end_names[row->cause] : "");
    add_seconds(text, "duration_s", row->ended_ms - created_ms);
}

void gw_session_row_put(struct gw_text *text, const struct gw_session_row *row,
                        int64_t wall_ms, bool is_detail)
{
    const struct store_record *record = &row->record;
    bool is_known = row->has_traffic;
    gw_text_put(text, "{\"id\":");
    put_string(text, row->id);
    if (is_detail)
        add_string(text, "state", row->is_ended ? "ended" : "live");
    add_string(text, "sid", row->sid);
    add_string(text, "backend", record->backend);
    add_string(text, "transport",
               record->transport == STORE_TRANSPORT_WEBSOCKET ? "websocket"
                                                              : "polling");
    add_known(text, "eio", record->eio != 0, record->eio);
    add_string(text, "client", record->client);
    add_string(text, "gateway", record->gateway);
    add_since(text, "created", "age_s", record->created_ms, wall_ms);
    add_since(text, "seen", "idle_s", record->seen_ms, wall_ms);
    if (row->is_ended)
        add_end(text, row);
    else
        add_seconds(text, "expires_s", row->life_ms);
    if (is_detail) {
        add_count(text, "ping_interval_ms", record->ping_interval_ms);
        add_count(text, "ping_timeout_ms", record->ping_timeout_ms);
    }
    add_known(text, "requests", is_known, row->traffic.requests);
    add_known(text, "bytes_in", is_known, row->traffic.in_bytes);
    add_known(text, "bytes_out", is_known, row->traffic.out_bytes);
    gw_text_put(text, "}");
}

void gw_session_row_of_ended(struct gw_session_row *row,
                             const struct gw_ended *ended)
{
    *row = (struct gw_session_row){.record = ended->record,
                                   .has_traffic = true,
                                   .traffic = ended->traffic,
                                   .is_ended = true,
                                   .ended_ms = ended->ended_ms,
                                   .cause = ended->cause};
    memcpy(row->id, ended->id, sizeof(row->id));
    memcpy(row->sid, ended->sid, sizeof(row->sid));
}
