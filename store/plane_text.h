/* SPDX-License-Identifier: MIT */
/*
 * Heartbeats and the operator's words as Redis holds them. Private to store/.
 *
 * What makes no sense is skipped, as if it were not there.
 */
#ifndef SIDGATE_STORE_PLANE_TEXT_H
#define SIDGATE_STORE_PLANE_TEXT_H

#include "store/plane.h"

struct redisReply;

struct store_plane_word {
    struct store_plane_word *next;
    bool is_drained;
    char backend[];
};

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

/* Only printable ASCII, and at most STORE_PLANE_FIELD_MAX bytes. */
bool store_plane_is_text(const char *bytes, size_t len);

/* Reads an answer to HGETALL. False when it is none, or when memory is short;
 * `words` is a list all the same, perhaps not whole. */
bool store_plane_words_read(const struct redisReply *reply,
                            struct store_plane_word **words)
    __attribute__((warn_unused_result));
void store_plane_words_free(struct store_plane_word *words);

/* Reads an answer to HGETALL into `beat`, which is all zero; ends with fini.
 * The backends' ids point into the reply. False when something was left out
 * for want of memory or since there are too many backends. */
bool store_plane_beat_read(const struct redisReply *reply,
                           struct store_plane_beat *beat)
    __attribute__((warn_unused_result));
void store_plane_beat_fini(struct store_plane_beat *beat);

/* "field\nvalue\n" for each field but the turn; NULL when memory is short, else
 * the caller's to free. Backends that could not be read back are left out. */
char *store_plane_beat_write(const struct store_plane_beat *beat);

#endif
