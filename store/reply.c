/* SPDX-License-Identifier: MIT */
/*
 * Bounds around hiredis' reader.
 *
 * By itself the reader allocates what the head of an array announces, and
 * waits for any length that the head of a string announces. Its functions that
 * make the reply's objects are wrapped here: they count what one reply holds
 * and refuse by returning NULL.
 */
#include "store/reply.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* "$" and "*" are followed by at most 20 digits. */
enum { HEAD_MAX = 64 };

struct store_reply_reader {
    redisReader *hiredis;
    redisReplyObjectFunctions makes; /* hiredis' own functions */
    redisReplyObjectFunctions fn;    /* those that count */
    size_t elements;                 /* of the reply that is being read */
    size_t bytes;
    bool is_bad;
    const char *why;
};

static const char too_large[] = "it sent a reply that is too large";
static const char too_deep[] = "it sent a reply that is nested too deep";
static const char no_memory[] = "memory is short";

/* Only the first reason counts. */
static void *refuse(struct store_reply_reader *reader, const char *why)
{
    if (!reader->is_bad)
        reader->why = why;
    reader->is_bad = true;
    return NULL;
}

static void *made(struct store_reply_reader *reader, void *object)
{
    return object != NULL ? object : refuse(reader, no_memory);
}

static void *make_string(const redisReadTask *task, char *bytes, size_t len)
{
    struct store_reply_reader *reader = task->privdata;

    /* hiredis does not look at what ends a string of a known length. */
    if (bytes[len] != '\r' || bytes[len + 1] != '\n')
        return refuse(reader, NULL);
    reader->bytes += len;
    if (reader->bytes > STORE_REPLY_BYTES_MAX)
        return refuse(reader, too_large);
    return made(reader, reader->makes.createString(task, bytes, len));
}

static void *make_array(const redisReadTask *task, int elements)
{
    struct store_reply_reader *reader = task->privdata;
    int depth = 1;

    for (const redisReadTask *up = task->parent; up != NULL; up = up->parent)
        depth++;
    if (depth > STORE_REPLY_DEPTH_MAX)
        return refuse(reader, too_deep);
    if (elements < 0 ||
        (size_t)elements > STORE_REPLY_ELEMENTS_MAX - reader->elements)
        return refuse(reader, too_large);
    reader->elements += (size_t)elements;
    return made(reader, reader->makes.createArray(task, elements));
}

static void *make_integer(const redisReadTask *task, long long value)
{
    struct store_reply_reader *reader = task->privdata;

    return made(reader, reader->makes.createInteger(task, value));
}

static void *make_nil(const redisReadTask *task)
{
    struct store_reply_reader *reader = task->privdata;

    return made(reader, reader->makes.createNil(task));
}

struct store_reply_reader *store_reply_reader_new(void)
{
    struct store_reply_reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL)
        return NULL;
    reader->hiredis = redisReaderCreate();
    if (reader->hiredis == NULL) {
        free(reader);
        return NULL;
    }
    reader->makes = *reader->hiredis->fn;
    reader->fn = reader->makes;
    reader->fn.createString = make_string;
    reader->fn.createArray = make_array;
    reader->fn.createInteger = make_integer;
    reader->fn.createNil = make_nil;
    reader->hiredis->fn = &reader->fn;
    reader->hiredis->privdata = reader;
    return reader;
}

void store_reply_reader_free(struct store_reply_reader *reader)
{
    if (reader == NULL)
        return;
    redisReaderFree(reader->hiredis);
    free(reader);
}

void store_reply_feed(struct store_reply_reader *reader, const char *bytes,
                      size_t len)
{
    if (reader->is_bad)
        return;
    if (redisReaderFeed(reader->hiredis, bytes, len) != REDIS_OK)
        refuse(reader, no_memory);
}

/* Whether what is unread may still become a reply within the bounds. Without
 * this a line that never ends would be searched from its start with every byte
 * that comes. */
static bool may_end(const redisReader *hiredis)
{
    size_t unread = hiredis->len - hiredis->pos;
    const char *at = hiredis->buf + hiredis->pos;

    if (unread > STORE_REPLY_BYTES_MAX)
        return false;
    if (unread <= HEAD_MAX || hiredis->ridx < 0)
        return true;
    switch (hiredis->rstack[hiredis->ridx].type) {
    case REDIS_REPLY_STRING:
        return memchr(at, '\n', HEAD_MAX) != NULL;
    case REDIS_REPLY_ARRAY:
    case REDIS_REPLY_INTEGER:
        return false;
    default:
        return unread <= STORE_REPLY_LINE_MAX;
    }
}

enum store_reply_result store_reply_next(struct store_reply_reader *reader,
                                         struct redisReply **reply)
{
    void *object = NULL;

    if (reader->is_bad)
        return STORE_REPLY_BAD;
    if (redisReaderGetReply(reader->hiredis, &object) != REDIS_OK) {
        refuse(reader, NULL);
        return STORE_REPLY_BAD;
    }
    if (object != NULL) {
        reader->elements = 0;
        reader->bytes = 0;
        *reply = object;
        return STORE_REPLY_DONE;
    }
    if (!may_end(reader->hiredis)) {
        refuse(reader, too_large);
        return STORE_REPLY_BAD;
    }
    return STORE_REPLY_MORE;
}

const char *store_reply_why(const struct store_reply_reader *reader)
{
    return reader->why;
}
