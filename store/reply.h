/* SPDX-License-Identifier: MIT */
/*
 * Redis' replies out of the bytes of a connection, within bounds: what the
 * other side sends or announces never makes this grow without limit. Private
 * to store/.
 */
#ifndef SIDGATE_STORE_REPLY_H
#define SIDGATE_STORE_REPLY_H

#include <stddef.h>

struct redisReply;
struct store_reply_reader;

enum {
    STORE_REPLY_BYTES_MAX = 1024 * 1024, /* unread, and of a reply's strings */
    STORE_REPLY_LINE_MAX = 16 * 1024,    /* of a status, error or number */
    STORE_REPLY_ELEMENTS_MAX = 65536,    /* in all arrays of a reply together */
    STORE_REPLY_DEPTH_MAX = 4,           /* arrays in each other */
};

enum store_reply_result {
    STORE_REPLY_DONE,
    STORE_REPLY_MORE, /* bytes are missing */
    STORE_REPLY_BAD,  /* the connection is of no use any more */
};

/* NULL when memory is short. */
struct store_reply_reader *store_reply_reader_new(void);

/* NULL is harmless. */
void store_reply_reader_free(struct store_reply_reader *reader);

/* Appends bytes, at most STORE_REPLY_FEED_MAX of them; then take all replies
 * before the next ones. */
void store_reply_feed(struct store_reply_reader *reader, const char *bytes,
                      size_t len);

/* Feeding little at a time keeps what hiredis moves within its buffer small. */
enum { STORE_REPLY_FEED_MAX = 4096 };

/* With STORE_REPLY_DONE the reply is the caller's, to be freed with
 * freeReplyObject. Once bad, always bad. */
enum store_reply_result store_reply_next(struct store_reply_reader *reader,
                                         struct redisReply **reply)
    __attribute__((warn_unused_result));

/* What was bad, static text; NULL: it is no Redis reply at all. */
const char *store_reply_why(const struct store_reply_reader *reader);

#endif
