/* SPDX-License-Identifier: MIT */
/*
 * A page of sessions: where it begins, and which of them are wanted.
 */
#ifndef SIDGATE_GATEWAY_SESSION_PAGE_H
#define SIDGATE_GATEWAY_SESSION_PAGE_H

#include "gateway/command.h"
#include "gateway/session_id.h"
#include "store/redis.h"

enum gw_cursor_kind {
    GW_CURSOR_LOCAL = 'l', /* a walk through memory */
    GW_CURSOR_STORE = 's', /* one through a shared store */
    GW_CURSOR_ENDED = 'e', /* the list of those that ended */
};

/* What the numbers mean is the walk's. */
struct gw_cursor {
    char kind; /* enum gw_cursor_kind */
    uint64_t major;
    uint32_t middle;
    uint64_t minor;
};

/* As text that says nothing, with a check value by `key`: one that another
 * process gave is told from it. */
void gw_cursor_write(const uint64_t key[2], const struct gw_cursor *cursor,
                     char out[GW_CURSOR_MAX]);

/* False for what gw_cursor_write did not write with this key. */
bool gw_cursor_read(const uint64_t key[2], const char *text,
                    struct gw_cursor *cursor);

/* What a filter asks for, made ready. */
struct gw_session_match {
    const struct gw_session_filter *filter;
    const struct gw_config *config;
    struct store_key sid; /* the search as a sid: in the filter, or hashed */
    char hashed[STORE_HASHED_LEN];
    char id[GW_SESSION_ID_MAX]; /* of that sid */
    bool may_begin_id;          /* so may the search */
};

/* The filter and the configuration (of the start, which has the secret) must
 * live as long as `match`. */
void gw_session_match_init(struct gw_session_match *match,
                           const struct gw_session_filter *filter,
                           const struct gw_config *config);

/* How a session is known: by its sid, by its key in Redis, or by its id alone.
 */
enum gw_session_name_kind {
    GW_NAME_SID,
    GW_NAME_KEY,
    GW_NAME_ID,
};

struct gw_session_name {
    enum gw_session_name_kind kind;
    struct store_key key;
};

/* Whether the filter wants it; all but the search. */
bool gw_session_fits(const struct gw_session_match *match,
                     const struct store_record *record);

/* The same, with the search. */
bool gw_session_matches(const struct gw_session_match *match,
                        const struct store_record *record,
                        const struct gw_session_name *name);

#endif
