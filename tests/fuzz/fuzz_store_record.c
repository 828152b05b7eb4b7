/* SPDX-License-Identifier: MIT */
/* Fuzzes what is made of a hash in Redis: the input is an answer, read as a
 * session's record, as a heartbeat and as the operator's words. What was read
 * can be written, and is read again as the same. */
#include "store/plane_text.h"
#include "store/record.h"
#include "store/reply.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static void require_text(const char *text, size_t size)
{
    const size_t len = strnlen(text, size);

    require(len < size);
    for (size_t i = 0; i < len; i++)
        require((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

/* The answer that Redis would give on the record. */
static void read_again(const struct store_record *record)
{
    struct store_record_text text;
    struct store_record again;
    redisReply values[STORE_RECORD_COUNT] = {{0}};
    redisReply *elements[STORE_RECORD_COUNT];
    redisReply array = {.type = REDIS_REPLY_ARRAY,
                        .elements = STORE_RECORD_COUNT,
                        .element = elements};

    store_record_write(record, &text);
    for (size_t i = 0; i < STORE_RECORD_COUNT; i++) {
        elements[i] = &values[i];
        values[i].type = REDIS_REPLY_STRING;
        values[i].len = strlen(text.values[i]);
        values[i].str = strdup(text.values[i]);
        require(values[i].str != NULL);
    }
    require(store_record_read(&array, &again));
    for (size_t i = 0; i < STORE_RECORD_COUNT; i++)
        free(values[i].str);
    require(strcmp(again.backend, record->backend) == 0);
    require(strcmp(again.client, record->client) == 0);
    require(strcmp(again.gateway, record->gateway) == 0);
    require(again.created_ms == record->created_ms);
    require(again.seen_ms == record->seen_ms);
    require(again.ping_interval_ms == record->ping_interval_ms);
    require(again.ping_timeout_ms == record->ping_timeout_ms);
    require(again.eio == record->eio);
    require(again.transport == record->transport);
}

static void check_record(const redisReply *reply)
{
    struct store_record record;

    if (!store_record_read(reply, &record))
        return;
    require(record.backend[0] != '\0');
    require_text(record.backend, sizeof(record.backend));
    require_text(record.client, sizeof(record.client));
    require_text(record.gateway, sizeof(record.gateway));
    require(record.ping_interval_ms <= STORE_PING_MAX_MS);
    require(record.ping_timeout_ms <= STORE_PING_MAX_MS);
    read_again(&record);
}

static void check_beat(const redisReply *reply)
{
    struct store_plane_beat beat = {0};
    const bool is_read = store_plane_beat_read(reply, &beat);

    require(is_read || !beat.is_valid);
    require(beat.is_valid || beat.count == 0);
    require(beat.count <= STORE_PLANE_BACKENDS_MAX);
    for (size_t i = 0; i < beat.count; i++) {
        const struct store_plane_backend *backend = &beat.backends[i];
        require(store_plane_is_text(backend->id, strlen(backend->id)));
        require(
            store_plane_is_text(backend->address, strlen(backend->address)));
        require(backend->sessions >= 0);
        require(backend->held >= -1 && backend->closed >= 0);
        require(strlen(backend->state) < STORE_PLANE_STATE_MAX);
        require(store_plane_is_text(backend->why, strlen(backend->why)));
    }
    beat.version = "1";
    beat.started = "2026-01-31T12:00:00.123Z";
    char *text = store_plane_beat_write(&beat);
    require(text != NULL);
    free(text);
    store_plane_beat_fini(&beat);
}

static void check_words(const redisReply *reply)
{
    char words[2][STORE_PLANE_WORD_MAX];

    memset(words, 'x', sizeof(words));
    if (store_plane_words_read(reply, 2, words)) {
        for (size_t i = 0; i < 2; i++)
            require(memchr(words[i], '\0', sizeof(words[i])) != NULL);
        return;
    }
    for (size_t i = 0; i < 2; i++)
        require(words[i][0] == 'x' && words[i][sizeof(words[i]) - 1] == 'x');
}

static void check_epoch(const redisReply *reply)
{
    char epoch[STORE_PLANE_EPOCH_MAX] = "";

    if (!store_plane_epoch_read(reply, epoch))
        return;
    require(epoch[0] != '\0');
    require_text(epoch, sizeof(epoch));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_reply_reader *reader = store_reply_reader_new();
    redisReply *reply = NULL;

    require(reader != NULL);
    if (size <= STORE_REPLY_FEED_MAX) {
        store_reply_feed(reader, (const char *)data, size);
        while (store_reply_next(reader, &reply) == STORE_REPLY_DONE) {
            check_record(reply);
            check_beat(reply);
            check_words(reply);
            check_epoch(reply);
            freeReplyObject(reply);
        }
    }
    store_reply_reader_free(reader);
    return 0;
}
