/* SPDX-License-Identifier: MIT */
/*
 * What stands for a session in tables, logs and URLs: the first 16 hex digits
 * of SHA-256 of its key in the store. The same at every replica; of no use to
 * whoever wants to use the session.
 */
#ifndef SIDGATE_GATEWAY_SESSION_ID_H
#define SIDGATE_GATEWAY_SESSION_ID_H

#include "gateway/config.h"
#include "store/store.h"

enum { GW_SESSION_ID_MAX = 17 }; /* with its NUL */

/* Of a key as the memory store has it: the sid. With hash_sids_file what
 * stands for it in Redis is taken. Any thread. */
void gw_session_id(const struct gw_config *config, struct store_key sid,
                   char out[GW_SESSION_ID_MAX]);

/* Of a key as Redis has it, without the prefix. */
void gw_session_id_of_key(struct store_key key, char out[GW_SESSION_ID_MAX]);

/* Whether the text has the form of such an id. */
bool gw_session_id_is(const char *text, size_t len);

#endif
