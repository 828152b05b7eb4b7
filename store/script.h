/* SPDX-License-Identifier: MIT */
/*
 * The Lua scripts that run inside Redis. Private to store/.
 *
 * Each touches KEYS[1] alone. The first three are those of sessions; where
 * another backend holds the key they give {values, PTTL}, the values as
 * store_record_read takes them.
 *
 *   PUT     backend, replaces or "", life_ms, field, value, ...
 *           gives a store_script_put or the other backend's record
 *   TOUCH   backend, life_ms, field, value, ...: changes only these fields
 *           gives 1, 0 (nothing there), or the other backend's record
 *   REMOVE  backend
 *           gives 1, 0 (nothing there), or the other backend's record
 *   BEAT    turn, new turn, life_ms, and "field\nvalue\n" any number of times
 *           gives a store_script_beat
 */
#ifndef SIDGATE_STORE_SCRIPT_H
#define SIDGATE_STORE_SCRIPT_H

#include "store/redis.h"

enum store_script_put {
    STORE_SCRIPT_PUT_DONE = 1,
    STORE_SCRIPT_PUT_OVER_TYPE = 2, /* what was there was no hash */
    STORE_SCRIPT_PUT_OVER_JUNK = 3, /* ... was a hash with no valid backend */
};

/* What was there before. */
enum store_script_beat {
    STORE_SCRIPT_BEAT_NONE = 0, /* no heartbeat, or one without a turn */
    STORE_SCRIPT_BEAT_DONE = 1, /* that of `turn`, or a later one */
    STORE_SCRIPT_BEAT_OLD = 2,  /* an older one */
};

/* By enum store_script. */
extern const char *const store_scripts[STORE_SCRIPT_COUNT];

#endif
