/* SPDX-License-Identifier: MIT */
/* The sessions in a Redis, read for operators: its life, and kicks. */
#include "store/browse_private.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL ":control"
#define KICK    "kick "

/* ---- beginning and ending ---- */

struct store_browsing *store_browsing_new(struct store_browse *browse,
                                          void (*late)(void *arg))
{
    struct store_browsing *one = NULL;

    if (store_client_is_up(browse->client))
        one = calloc(1, sizeof(*one));
    if (one == NULL)
        return NULL;
    one->browse = browse;
    one->timer = browse->loop->ops->timer_new(browse->loop, late, one);
    if (one->timer == NULL) {
        free(one);
        return NULL;
    }
    for (size_t i = 0; i < STORE_BROWSE_WINDOW; i++)
        one->slots[i].browsing = one;
    one->next = browse->first;
    if (browse->first != NULL)
        browse->first->prev = one;
    browse->first = one;
    return one;
}

static void forget(struct store_call **call)
{
    if (*call != NULL)
        store_link_forget(*call);
    *call = NULL;
}

void store_browsing_drop_batch(struct store_browsing *one)
{
    for (size_t i = 0; i < STORE_BROWSE_WINDOW; i++) {
        forget(&one->slots[i].fields);
        forget(&one->slots[i].life);
    }
    free(one->keys);
    free(one->bytes);
    one->keys = NULL;
    one->bytes = NULL;
    one->key_count = 0;
    one->own_count = 0;
    one->asked = 0;
    one->taken = 0;
    one->batch_rows = 0;
    one->batch_looked_at = 0;
}

void store_browse_cancel(struct store_browsing *one)
{
    struct store_browse *browse = one->browse;

    store_browsing_drop_batch(one);
    forget(&one->call);
    browse->loop->ops->timer_free(one->timer);
    if (one->prev != NULL)
        one->prev->next = one->next;
    else
        browse->first = one->next;
    if (one->next != NULL)
        one->next->prev = one->prev;
    free(one);
}

/* ---- kicks ---- */

static void end_kick(struct store_browsing *one, int64_t receivers)
{
    void (*kicked)(void *, int64_t) = one->kicked;
    void *arg = one->walk.arg;

    store_browse_cancel(one);
    kicked(arg, receivers);
}

static void on_published(void *arg, const redisReply *reply)
{
    struct store_browsing *one = arg;

    one->call = NULL;
    end_kick(one, reply != NULL && reply->type == REDIS_REPLY_INTEGER &&
                          reply->integer >= 0
                      ? reply->integer
                      : -1);
}

/* The link's own time for a command is the end of a kick. */
static void on_late_kick(void *arg)
{
    end_kick(arg, -1);
}

struct store_browsing *
store_browse_kick(struct store_browse *browse, struct store_key key,
                  void (*done)(void *arg, int64_t receivers), void *arg)
{
    struct store_browsing *one = NULL;
    char text[sizeof(KICK) + STORE_KEY_MAX] = KICK;
    const size_t start = sizeof(KICK) - 1;
    const char *argv[] = {"PUBLISH", browse->channel, text};
    const size_t lens[] = {7, strlen(browse->channel), start + key.len};

    if (key.len > 0 && key.len <= STORE_KEY_MAX)
        one = store_browsing_new(browse, on_late_kick);
    if (one == NULL)
        return NULL;
    memcpy(text + start, key.ptr, key.len);
    one->kicked = done;
    one->walk.arg = arg;
    one->call =
        store_client_send(browse->client, 3, argv, lens, on_published, one);
    if (one->call != NULL)
        return one;
    store_browse_cancel(one);
    return NULL;
}

/* ---- the browse ---- */

/* What means something in a pattern stands for itself behind a backslash. */
static void write_pattern(struct store_browse *browse)
{
    size_t used = 0;

    for (const char *at = browse->start; *at != '\0'; at++) {
        if (strchr("*?[]\\", *at) != NULL)
            browse->pattern[used++] = '\\';
        browse->pattern[used++] = *at;
    }
    browse->pattern[used++] = '*';
    browse->pattern[used] = '\0';
}

struct store_browse *
store_browse_new(const struct store_browse_options *options)
{
    struct store_browse *browse = calloc(1, sizeof(*browse));
    const struct store_client_options client_options = {
        .loop = options->loop,
        .url = options->url,
        .password = options->password,
        .sentinel_user = options->sentinel_user,
        .sentinel_password = options->sentinel_password,
        .name = options->name,
        .timeout_ms = options->timeout_ms,
        .on_state = options->on_state,
        .on_error = options->on_error,
        .arg = options->arg,
    };

    if (browse == NULL)
        return NULL;
    browse->loop = options->loop;
    if (strlen(options->prefix) < STORE_PREFIX_MAX) {
        snprintf(browse->start, sizeof(browse->start),
                 "%s" STORE_BROWSE_SESSION, options->prefix);
        snprintf(browse->channel, sizeof(browse->channel), "%s" CONTROL,
                 options->prefix);
        browse->start_len = strlen(browse->start);
        write_pattern(browse);
        browse->client = store_client_new(&client_options);
    }
    if (browse->client != NULL)
        return browse;
    free(browse);
    return NULL;
}

void store_browse_free(struct store_browse *browse)
{
    if (browse == NULL)
        return;
    while (browse->first != NULL)
        store_browse_cancel(browse->first);
    store_client_free(browse->client);
    free(browse);
}

bool store_browse_is_up(const struct store_browse *browse)
{
    return store_client_is_up(browse->client);
}
