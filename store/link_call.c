/* SPDX-License-Identifier: MIT */
/*
 * The calls of a link: commands in Redis' form, and the queue that matches the
 * replies to them.
 *
 * All calls have the same time, so one timer serves them all. It is set when a
 * call comes and it is off, and looks through the queue when it fires; a call
 * that is answered in time never touches it.
 */
#include "store/link_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNSENT_MAX = 4 * 1024 * 1024,
    OUT_KEPT_MAX = 64 * 1024, /* of the buffer, once it is flushed */
    ERROR_EVERY_MS = 1000,
};

/* The due_ms of a call that was late once. */
#define LATE INT64_MAX

/* ---- commands as bytes ---- */

static void append(struct store_bytes *bytes, const void *data, size_t len)
{
    size_t need = bytes->len + len;

    if (need > bytes->size) {
        size_t size = need < 512 ? 1024 : need * 2;
        char *ptr = realloc(bytes->ptr, size);
        if (ptr == NULL) {
            bytes->is_short = true;
            return;
        }
        bytes->ptr = ptr;
        bytes->size = size;
    }
    if (len > 0)
        memcpy(bytes->ptr + bytes->len, data, len);
    bytes->len = need;
}

static void append_count(struct store_bytes *bytes, char kind, size_t count)
{
    char text[32];

    append(bytes, text,
           (size_t)snprintf(text, sizeof(text), "%c%zu\r\n", kind, count));
}

void store_bytes_head(struct store_bytes *bytes, int argc)
{
    append_count(bytes, '*', (size_t)argc);
}

void store_bytes_arg(struct store_bytes *bytes, const char *arg, size_t len)
{
    append_count(bytes, '$', len);
    append(bytes, arg, len);
    append(bytes, "\r\n", 2);
}

void store_bytes_command(struct store_bytes *bytes, int argc,
                         const char *const *argv)
{
    store_bytes_head(bytes, argc);
    for (int i = 0; i < argc; i++)
        store_bytes_arg(bytes, argv[i], strlen(argv[i]));
}

static void empty(struct store_bytes *bytes)
{
    bytes->len = 0;
    bytes->is_short = false;
    if (bytes->size > OUT_KEPT_MAX) {
        free(bytes->ptr);
        *bytes = (struct store_bytes){0};
    }
}

bool store_link_flush(struct store_link *link)
{
    struct store_bytes *out = &link->out;
    bool is_good = !out->is_short && link->wire != NULL;

    if (is_good)
        link->loop->ops->write(link->wire, out->ptr, out->len);
    empty(out);
    return is_good;
}

/* ---- sending ---- */

static bool has_room(const struct store_link *link)
{
    return link->loop->ops->unsent(link->wire) <= UNSENT_MAX;
}

static bool takes_calls(const struct store_link *link, int argc)
{
    return link->state == STORE_LINK_UP && link->options.channel == NULL &&
           argc >= 1 && argc <= STORE_LINK_ARGS_MAX &&
           link->call_count < STORE_LINK_CALLS_MAX && has_room(link);
}

static void enqueue(struct store_link *link, struct store_call *call)
{
    call->next = NULL;
    *link->last_call = call;
    link->last_call = &call->next;
    link->call_count++;
}

static struct store_call *dequeue(struct store_link *link)
{
    struct store_call *call = link->first_call;

    if (call == NULL)
        return NULL;
    link->first_call = call->next;
    if (link->first_call == NULL)
        link->last_call = &link->first_call;
    link->call_count--;
    return call;
}

/* Sends what link->out holds as a new call. */
static struct store_call *start(struct store_link *link,
                                struct store_call *call)
{
    const struct store_loop_ops *ops = link->loop->ops;

    if (!store_link_flush(link)) {
        free(call);
        return NULL;
    }
    call->due_ms = ops->now_ms(link->loop) + link->options.timeout_ms;
    enqueue(link, call);
    if (!link->is_call_timer_on)
        ops->timer_start(link->call_timer, link->options.timeout_ms);
    link->is_call_timer_on = true;
    return call;
}

static struct store_call *call_new(store_reply_fn done, void *arg,
                                   const struct store_bytes *args)
{
    struct store_call *call = malloc(sizeof(*call) + args->len);

    if (call == NULL)
        return NULL;
    *call = (struct store_call){.done = done, .arg = arg, .script = -1};
    call->len = args->len;
    if (args->len > 0)
        memcpy(call->args, args->ptr, args->len);
    return call;
}

struct store_call *store_link_send(struct store_link *link, int argc,
                                   const char **argv, const size_t *lens,
                                   store_reply_fn done, void *arg)
{
    const struct store_bytes none = {0};

    if (!takes_calls(link, argc))
        return NULL;
    struct store_call *call = call_new(done, arg, &none);
    if (call == NULL)
        return NULL;
    store_bytes_head(&link->out, argc);
    for (int i = 0; i < argc; i++)
        store_bytes_arg(&link->out, argv[i], lens[i]);
    return start(link, call);
}

void store_link_probe(struct store_link *link)
{
    const struct store_bytes none = {0};
    const char *ping[] = {"PING"};
    struct store_call *call = call_new(NULL, NULL, &none);

    if (call == NULL)
        return; /* STALLED ends with the connection then */
    store_bytes_command(&link->out, 1, ping);
    start(link, call);
}

bool store_link_is_in_time(const struct store_link *link)
{
    return link->loop->ops->now_ms(link->loop) < link->first_call->due_ms &&
           link->first_call->due_ms != LATE;
}

/* By its hash, or the whole script. */
static void put_script(struct store_link *link, const struct store_call *call,
                       bool is_whole)
{
    const char *text = link->options.scripts[call->script];
    const char *sha = link->shas[call->script];

    store_bytes_head(&link->out, call->argc);
    if (is_whole) {
        store_bytes_arg(&link->out, "EVAL", 4);
        store_bytes_arg(&link->out, text, strlen(text));
    } else {
        store_bytes_arg(&link->out, "EVALSHA", 7);
        store_bytes_arg(&link->out, sha, STORE_LINK_SHA_LEN);
    }
    append(&link->out, call->args, call->len);
}

struct store_call *store_link_eval(struct store_link *link, size_t script,
                                   int argc, const char **argv,
                                   const size_t *lens, store_reply_fn done,
                                   void *arg)
{
    if (!takes_calls(link, argc) || script >= link->options.script_count)
        return NULL;
    store_bytes_arg(&link->out, "1", 1); /* keys */
    for (int i = 0; i < argc; i++)
        store_bytes_arg(&link->out, argv[i], lens[i]);
    struct store_call *call =
        link->out.is_short ? NULL : call_new(done, arg, &link->out);
    empty(&link->out);
    if (call == NULL)
        return NULL;
    call->script = (int)script;
    call->argc = argc + 3;
    put_script(link, call, false);
    return start(link, call);
}

void store_link_forget(struct store_call *call)
{
    call->done = NULL;
}

/* ---- ending ---- */

static void finish(struct store_call *call, const redisReply *reply)
{
    store_reply_fn done = call->done;

    call->done = NULL;
    if (done != NULL)
        done(call->arg, reply);
}

static void tell_error(struct store_link *link, const char *text)
{
    char clean[STORE_LINK_TEXT_MAX + 1];
    int64_t now = link->loop->ops->now_ms(link->loop);

    if (link->options.on_error == NULL || now < link->error_ms)
        return;
    link->error_ms = now + ERROR_EVERY_MS;
    store_link_clean(link, text, clean);
    link->options.on_error(link->options.arg,
                           clean[0] != '\0' ? clean : "an error");
}

/* The node has lost the script: the same call again, now with its text. Its
 * time goes on. */
static bool send_again(struct store_link *link, struct store_call *call,
                       const redisReply *reply)
{
    if (call->script < 0 || strncmp(reply->str, "NOSCRIPT", 8) != 0)
        return false;
    if (call->done == NULL || !has_room(link)) {
        finish(call, NULL);
        free(call);
        return true;
    }
    put_script(link, call, true);
    if (!store_link_flush(link))
        return false;
    call->script = -1;
    enqueue(link, call);
    return true;
}

void store_link_answer(struct store_link *link, const redisReply *reply)
{
    struct store_call *call = dequeue(link);

    if (reply->type == REDIS_REPLY_ERROR) {
        if (send_again(link, call, reply))
            return;
        tell_error(link, reply->str);
    }
    if (!link->is_freed)
        finish(call, reply);
    free(call);
}

void store_link_end_calls(struct store_link *link)
{
    struct store_call *call;

    /* A callback that frees the link leaves none. */
    while ((call = dequeue(link)) != NULL) {
        finish(call, NULL);
        free(call);
    }
}

void store_link_free_calls(struct store_link *link)
{
    struct store_call *call;

    while ((call = dequeue(link)) != NULL)
        free(call);
    free(link->out.ptr);
    link->out = (struct store_bytes){0};
}

/* ---- lateness ---- */

bool store_link_is_late(const struct store_link *link)
{
    int64_t now = link->loop->ops->now_ms(link->loop);

    for (const struct store_call *call = link->first_call; call != NULL;
         call = call->next) {
        if (call->due_ms <= now)
            return true;
    }
    return false;
}

void store_link_end_late(struct store_link *link)
{
    const struct store_loop_ops *ops = link->loop->ops;
    int64_t now = ops->now_ms(link->loop);
    int64_t first_ms = INT64_MAX;

    for (struct store_call *call = link->first_call; call != NULL;
         call = call->next) {
        if (call->due_ms == LATE)
            continue;
        if (call->due_ms <= now) {
            call->due_ms = LATE;
            finish(call, NULL);
            if (link->is_freed)
                return;
        } else if (call->due_ms < first_ms) {
            first_ms = call->due_ms;
        }
    }
    link->is_call_timer_on = first_ms != INT64_MAX;
    if (link->is_call_timer_on)
        ops->timer_start(link->call_timer, first_ms - now);
}
