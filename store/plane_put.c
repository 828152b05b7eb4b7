/* SPDX-License-Identifier: MIT */
/* The operator's words on their way to Redis. */
#include "store/plane_put.h"

#include <hiredis/hiredis.h>
#include <string.h>

void store_plane_puts_init(struct store_plane_puts *puts, const char *key,
                           const struct store_plane_options *options)
{
    puts->client = options->client;
    puts->key = key;
    puts->user = options->user;
    puts->arg = options->arg;
}

static struct store_call *send_word(const struct store_plane_puts *puts,
                                    const char **argv, store_reply_fn done,
                                    void *arg)
{
    const size_t lens[] = {strlen(argv[0]), strlen(argv[1]), strlen(argv[2]),
                           strlen(argv[3])};

    return store_client_send(puts->client, 4, argv, lens, done, arg);
}

static void on_set(void *arg, const redisReply *reply)
{
    struct store_plane_put *put = arg;
    const struct store_plane_puts *puts = put->puts;
    const bool is_written = reply != NULL && reply->type == REDIS_REPLY_INTEGER;

    put->call = NULL;
    if (puts->user->on_put != NULL)
        puts->user->on_put(puts->arg, put->tag, is_written);
}

bool store_plane_puts_set(struct store_plane_puts *puts, const char *backend,
                          const char *word, uint32_t tag)
{
    const char *argv[] = {"HSET", puts->key, backend, word};
    size_t i = 0;

    while (i < STORE_PLANE_PUTS_MAX && puts->list[i].call != NULL)
        i++;
    if (i == STORE_PLANE_PUTS_MAX)
        return false;
    struct store_plane_put *put = &puts->list[i];
    put->puts = puts;
    put->tag = tag;
    put->call = send_word(puts, argv, on_set, put);
    return put->call != NULL;
}

static void on_kept(void *arg, const redisReply *reply)
{
    (void)arg;
    (void)reply;
}

void store_plane_puts_keep(const struct store_plane_puts *puts,
                           const char *backend, const char *word)
{
    const char *argv[] = {"HSETNX", puts->key, backend, word};
    struct store_call *may_be_refused = send_word(puts, argv, on_kept, NULL);

    (void)may_be_refused;
}

void store_plane_puts_fini(struct store_plane_puts *puts)
{
    for (size_t i = 0; i < STORE_PLANE_PUTS_MAX; i++) {
        if (puts->list[i].call != NULL)
            store_link_forget(puts->list[i].call);
    }
}
