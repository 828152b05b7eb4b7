/* SPDX-License-Identifier: MIT */
/*
 * Sessions as the API shows them. Written at once and not through a tree: a
 * page may have a thousand.
 */
#ifndef SIDGATE_GATEWAY_SESSION_ROW_H
#define SIDGATE_GATEWAY_SESSION_ROW_H

#include "gateway/session_end.h"

/* JSON while it is being written; all zero is empty. `bytes` is malloc'd and
 * ends in a NUL once something was put. */
struct gw_text {
    char *bytes;
    size_t len;
    size_t size;
    bool is_short; /* memory was short: it is of no use */
};

void gw_text_put(struct gw_text *text, const char *plain);

/* A whole number. */
void gw_text_put_count(struct gw_text *text, uint64_t value);

struct gw_session_row {
    char id[GW_SESSION_ID_MAX];
    char sid[EIO_SID_MASK_MAX]; /* masked; "-" where it is not known */
    struct store_record record;
    bool has_traffic;
    struct store_traffic traffic;
    int64_t life_ms;
    bool is_ended;
    int64_t ended_ms; /* of one that ended */
    uint8_t cause;    /* likewise; enum gw_end */
};

/* Fills a row from a session that ended. */
void gw_session_row_of_ended(struct gw_session_row *row,
                             const struct gw_ended *ended);

/* Writes an object; ages are those at wall_ms. is_detail: as the answer about
 * one session has it. */
void gw_session_row_put(struct gw_text *text, const struct gw_session_row *row,
                        int64_t wall_ms, bool is_detail);

#endif
