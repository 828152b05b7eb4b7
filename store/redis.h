/* SPDX-License-Identifier: MIT */
/*
 * The map in a Redis (or Valkey) that all replicas share.
 *
 *   <prefix>:session:<sid>   hash: v, backend, eio, transport, ping_interval,
 *                            ping_timeout, client, gateway, created, seen;
 *                            expires with the session
 *
 * Each change is one script on one key; each lookup is HMGET and PTTL in one
 * write. Every operation ends within timeout_ms; while Redis is away they end
 * at once with STORE_UNAVAILABLE. `done` never runs before the call returns
 * unless the link does not take commands at that moment.
 */
#ifndef SIDGATE_STORE_REDIS_H
#define SIDGATE_STORE_REDIS_H

#include "store/client.h"
#include "store/store.h"
#include "store/url.h"

enum { STORE_PREFIX_MAX = 64, STORE_HASHED_LEN = 64 };

/* The scripts, by their number for store_client_eval on the store's client.
 * The first three are those of sessions. */
enum store_script {
    STORE_SCRIPT_PUT,
    STORE_SCRIPT_TOUCH,
    STORE_SCRIPT_REMOVE,
    STORE_SCRIPT_BEAT, /* see plane.h */
    STORE_SCRIPT_COUNT,
};

enum store_op {
    STORE_OP_PUT,
    STORE_OP_GET,
    STORE_OP_TOUCH,
    STORE_OP_REMOVE,
};

struct store_redis_options {
    struct store_loop *loop;
    const struct store_url *url;
    const char *password;      /* in place of the URL's; NULL: the URL's */
    const char *sentinel_user; /* as in store_client_options */
    const char *sentinel_password;
    const char *prefix; /* without the colon; copied */
    const char *name;   /* for CLIENT SETNAME; copied */
    uint32_t timeout_ms;
    /* Where set, keys hold what this writes (STORE_HASHED_LEN bytes) in place
     * of the sid. */
    void (*hash)(void *arg, struct store_key key, char out[STORE_HASHED_LEN]);
    void *hash_arg;
    /* As in store_client_options, with `arg`. */
    void (*on_state)(void *arg, bool is_up, const char *why);
    void (*on_error)(void *arg, const char *text);
    void (*on_suspect)(void *arg, const struct store_slots *slots);
    /* An operation has ended with an answer, after so many microseconds. It
     * must not call the store. May be NULL. */
    void (*on_timed)(void *arg, enum store_op op, int64_t us);
    void *arg;
};

/* NULL when memory is short. Begins to connect in the loop's next turns. */
struct store *store_redis_new(const struct store_redis_options *options);

/* What `store` (made by store_redis_new) sends its commands with. */
struct store_client *store_redis_client(struct store *store);

/* The slot of the session's key: that of the prefix, and of the sid or its
 * hash. */
uint16_t store_redis_slot(struct store *store, struct store_key key);

#endif
