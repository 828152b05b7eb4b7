/* SPDX-License-Identifier: MIT */
/*
 * Heartbeats and the operator's words as Redis holds them. Private to store/.
 *
 * What makes no sense is skipped, as if it were not there.
 */
#ifndef SIDGATE_STORE_PLANE_TEXT_H
#define SIDGATE_STORE_PLANE_TEXT_H

#include "store/plane.h"
#include "store/redis.h"

struct redisReply;

enum { STORE_PLANE_EPOCH_MAX = 64 }; /* with its NUL */

struct store_plane_beat {
    bool is_valid;       /* it is a replica's: has a turn and a start */
    const char *version; /* to write; not read */
    const char *started; /* to write; not read */
    const struct store_plane_backend *backends;
    size_t count;
    /* What was read; the reader's own. */
    struct store_plane_backend *space;
    char *text;
};

/* False when it does not fit whole. */
bool store_plane_copy(char *out, size_t size, const char *text);

/* Only printable ASCII, and at most STORE_PLANE_FIELD_MAX bytes. */
bool store_plane_is_text(const char *bytes, size_t len);

/* Reads an answer to HMGET of `count` fields into what on_admin is told of
 * each. False, and nothing is written, when it is no such answer. */
bool store_plane_words_read(const struct redisReply *reply, size_t count,
                            char (*words)[STORE_PLANE_WORD_MAX])
    __attribute__((warn_unused_result));

/* Redis holds something else at that key. */
bool store_plane_is_wrong_type(const struct redisReply *reply);

/* Makes a name that nobody has made before: the replica's id, which is new with
 * each start, and chance, or its turn where the system has none to give. */
void store_plane_epoch_make(const char *id, int64_t turn,
                            char out[STORE_PLANE_EPOCH_MAX]);

/* Reads an answer to GET: 1 to STORE_PLANE_EPOCH_MAX - 1 bytes of printable
 * ASCII. False when it is anything else. */
bool store_plane_epoch_read(const struct redisReply *reply,
                            char out[STORE_PLANE_EPOCH_MAX])
    __attribute__((warn_unused_result));

/* Reads an answer to HGETALL into `beat`, which is all zero; ends with fini.
 * The backends' ids point into the reply. More than STORE_PLANE_BACKENDS_MAX
 * no replica writes: the others are skipped. False when it is no such answer
 * or memory is short. */
bool store_plane_beat_read(const struct redisReply *reply,
                           struct store_plane_beat *beat)
    __attribute__((warn_unused_result));
void store_plane_beat_fini(struct store_plane_beat *beat);

/* "field\nvalue\n" for each field but the turn; NULL when memory is short, else
 * the caller's to free. Backends that could not be read back are left out. */
char *store_plane_beat_write(const struct store_plane_beat *beat);

/* ---- keys ---- */

enum { STORE_PLANE_KEY_MAX = 2 * STORE_PREFIX_MAX + 96 };

struct store_plane_keys {
    char own[STORE_PLANE_KEY_MAX]; /* this replica's heartbeat */
    char set[STORE_PLANE_KEY_MAX];
    char admin[STORE_PLANE_KEY_MAX];
    char epoch[STORE_PLANE_KEY_MAX];
};

void store_plane_keys_write(const char *prefix, const char *id, bool is_cluster,
                            struct store_plane_keys *keys);

/* Adds the slots that are where the epoch or this replica's heartbeat is. */
void store_plane_keys_slots(const struct store_plane_keys *keys,
                            const struct store_client *client,
                            struct store_slots *slots);

/* The heartbeat of a replica. */
void store_plane_gateway_key(const char *prefix, const char *id,
                             char out[STORE_PLANE_KEY_MAX]);

#endif
