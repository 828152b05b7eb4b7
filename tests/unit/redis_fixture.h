/* SPDX-License-Identifier: MIT */
/* A store client on a real Redis, for one test. */
#ifndef SIDGATE_TESTS_UNIT_REDIS_FIXTURE_H
#define SIDGATE_TESTS_UNIT_REDIS_FIXTURE_H

#include "store/redis.h"
#include "tests/unit/poll_loop.h"
#include "tests/unit/redis_server.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a limited user needs, with its own part of the keys. */
#define LIMITED_USER                                                           \
    "ACL SETUSER sidgate on >secret resetkeys resetchannels -@all "            \
    "~sidgate:* &sidgate:control "                                             \
    "+eval +evalsha +script|load +info +client|setname "                       \
    "+subscribe +ping +hmget +pttl +type +hget +hset +hsetnx +pexpire +del "   \
    "+hgetall +sadd +srem +srandmember +get +setnx"

enum { LIMIT_MS = 10000, TIMEOUT_MS = 2000, SHORT_TIMEOUT_MS = 100 };

static struct redis_server server;
static struct poll_loop *loop;
static struct store *store;
static unsigned up_count;
static unsigned error_count;
static char last_error[256];
static char last_why[256];

static void on_state(void *arg, bool is_up, const char *why)
{
    (void)arg;
    up_count += is_up ? 1 : 0;
    if (why != NULL)
        snprintf(last_why, sizeof(last_why), "%s", why);
}

static void on_error(void *arg, const char *text)
{
    (void)arg;
    error_count++;
    snprintf(last_error, sizeof(last_error), "%s", text);
}

static bool is_up(void *arg)
{
    return store_client_is_up(store_redis_client(arg));
}

static inline struct store_redis_options default_options(void)
{
    return (struct store_redis_options){
        .loop = poll_loop_hooks(loop),
        .url = &server.url,
        .prefix = "sidgate",
        .name = "test",
        .timeout_ms = TIMEOUT_MS,
        .on_state = on_state,
        .on_error = on_error,
    };
}

static inline struct store *open_client(const struct store_redis_options *opts)
{
    struct store *client = store_redis_new(opts);

    cr_assert_not_null(client);
    cr_assert(poll_loop_until(loop, is_up, client, LIMIT_MS), "%s", last_why);
    return client;
}

static inline void open_server(void)
{
    redis_server_start(&server);
    loop = poll_loop_new();
}

static inline void open_with_timeout(uint32_t timeout_ms)
{
    open_server();
    struct store_redis_options options = default_options();
    options.timeout_ms = timeout_ms;
    store = open_client(&options);
}

static inline void open_all(void)
{
    open_with_timeout(TIMEOUT_MS);
}

/* As the limited user from now on. */
static inline void limit_user(void)
{
    redis_server_do(&server, LIMITED_USER);
    snprintf(server.url.user, sizeof(server.url.user), "sidgate");
    snprintf(server.url.password, sizeof(server.url.password), "secret");
}

static inline void open_limited(void)
{
    open_server();
    limit_user();
    const struct store_redis_options options = default_options();
    store = open_client(&options);
}

static inline void close_all(void)
{
    if (store != NULL)
        store_close(store);
    /* An assertion would count for nothing at this point. */
    if (poll_loop_count(loop) != 0) {
        fprintf(stderr, "a wire or a timer is left\n");
        abort();
    }
    poll_loop_free(loop);
    redis_server_stop(&server);
}

#endif
