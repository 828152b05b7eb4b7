/* SPDX-License-Identifier: MIT */
/*
 * The calls of a link: the queue that matches replies to commands.
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

/* By its hash, or the whole script; a plain command as it is. */
static void put_call(struct store_link *link, struct store_call *call,
                     bool is_whole)
{
    struct store_bytes *out = &link->out;

    if (call->script >= 0) {
        const char *text = link->options.scripts[call->script];
        const char *sha = link->shas[call->script];
        store_bytes_head(out, call->argc + 2);
        store_bytes_arg(out, is_whole ? "EVAL" : "EVALSHA", is_whole ? 4 : 7);
        store_bytes_arg(out, is_whole ? text : sha,
                        is_whole ? strlen(text) : STORE_LINK_SHA_LEN);
    } else {
        store_bytes_head(out, call->argc);
    }
    store_bytes_append(out, call->args, call->len);
    call->is_hashed = call->script >= 0 && !is_whole;
}

/* Sends what link->out holds as a call that has a time already. False, the call
 * still the caller's, when memory is short. */
static bool start(struct store_link *link, struct store_call *call)
{
    const struct store_loop_ops *ops = link->loop->ops;
    const int64_t now_ms = ops->now_ms(link->loop);
    const int64_t left_ms = call->due_ms - now_ms;

    if (!store_link_flush(link))
        return false;
    call->sent_ms = now_ms;
    enqueue(link, call);
    /* A call that strayed has less time left than those of this link. */
    if (!link->is_call_timer_on || call->due_ms < link->call_timer_ms) {
        ops->timer_start(link->call_timer, left_ms > 0 ? left_ms : 0);
        link->call_timer_ms = call->due_ms;
    }
    link->is_call_timer_on = true;
    return true;
}

static int64_t due_ms(const struct store_link *link)
{
    return link->loop->ops->now_ms(link->loop) + link->options.timeout_ms;
}

/* Nobody waits for what ASKING gives. */
static bool put_asking(struct store_link *link)
{
    struct store_call *asking = store_call_new(-1, 0, NULL, NULL, NULL, NULL);
    const char *command[] = {"ASKING"};

    if (asking == NULL)
        return false;
    store_bytes_command(&link->out, 1, command);
    asking->due_ms = due_ms(link);
    if (start(link, asking))
        return true;
    free(asking);
    return false;
}

bool store_link_resend(struct store_link *link, struct store_call *call,
                       bool is_asking)
{
    if (!takes_calls(link, call->argc) ||
        call->script >= (int)link->options.script_count ||
        (is_asking && !put_asking(link)))
        return false;
    put_call(link, call, false);
    return start(link, call);
}

/* NULL, and the call is gone, when the link does not take it. */
static struct store_call *send_new(struct store_link *link,
                                   struct store_call *call)
{
    if (call == NULL)
        return NULL;
    call->due_ms = due_ms(link);
    if (store_link_resend(link, call, false))
        return call;
    free(call);
    return NULL;
}

struct store_call *store_link_send(struct store_link *link, int argc,
                                   const char **argv, const size_t *lens,
                                   store_reply_fn done, void *arg)
{
    if (!takes_calls(link, argc))
        return NULL;
    return send_new(link, store_call_new(-1, argc, argv, lens, done, arg));
}

struct store_call *store_link_eval(struct store_link *link, size_t script,
                                   int argc, const char **argv,
                                   const size_t *lens, store_reply_fn done,
                                   void *arg)
{
    if (!takes_calls(link, argc) || script >= link->options.script_count)
        return NULL;
    return send_new(link,
                    store_call_new((int)script, argc, argv, lens, done, arg));
}

/* STALLED ends with the connection if memory is short. */
void store_link_probe(struct store_link *link)
{
    struct store_call *call = store_call_new(-1, 0, NULL, NULL, NULL, NULL);
    const char *ping[] = {"PING"};

    if (call == NULL)
        return;
    store_bytes_command(&link->out, 1, ping);
    call->due_ms = due_ms(link);
    if (!start(link, call))
        free(call);
}

bool store_link_is_idle(const struct store_link *link)
{
    return link->first_call == NULL;
}

bool store_link_is_in_time(const struct store_link *link)
{
    return link->loop->ops->now_ms(link->loop) < link->first_call->due_ms &&
           link->first_call->due_ms != LATE;
}

void store_link_forget(struct store_call *call)
{
    call->done = NULL;
}

/* ---- ending ---- */

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

/* The node has lost the script: the same call again, now with its text, and
 * behind another ASKING if the first stood behind one, which was good for that
 * alone. Its time goes on. */
static bool send_again(struct store_link *link, struct store_call *call,
                       const redisReply *reply)
{
    if (!call->is_hashed || strncmp(reply->str, "NOSCRIPT", 8) != 0)
        return false;
    if (call->done == NULL || !has_room(link)) {
        store_call_end(call, NULL);
        return true;
    }
    if (call->route.is_asking && !put_asking(link))
        return false;
    put_call(link, call, true);
    if (!store_link_flush(link))
        return false;
    enqueue(link, call);
    return true;
}

/* Where it should go on, somebody else decides; if anybody waits for it. */
static bool stray(struct store_link *link, struct store_call *call,
                  const char *text)
{
    if (link->options.on_stray == NULL || !store_link_is_stray(text))
        return false;
    if (call->done != NULL)
        link->options.on_stray(link->options.arg, call, text);
    else
        free(call);
    return true;
}

void store_link_answer(struct store_link *link, const redisReply *reply)
{
    struct store_call *call = dequeue(link);

    if (reply->type == REDIS_REPLY_ERROR) {
        if (send_again(link, call, reply))
            return;
        if (stray(link, call, reply->str))
            return;
        tell_error(link, reply->str);
    }
    if (!link->is_freed)
        store_call_finish(call, reply);
    free(call);
}

void store_link_end_calls(struct store_link *link)
{
    struct store_call *call;

    /* A callback that frees the link leaves none. */
    while ((call = dequeue(link)) != NULL) {
        store_call_end(call, NULL);
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
        /* One that strayed may have had no time left when it came here. */
        if (call->due_ms <= now &&
            now - call->sent_ms >= link->options.timeout_ms)
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
            store_call_finish(call, NULL);
            if (link->is_freed)
                return;
        } else if (call->due_ms < first_ms) {
            first_ms = call->due_ms;
        }
    }
    link->is_call_timer_on = first_ms != INT64_MAX;
    link->call_timer_ms = first_ms;
    if (link->is_call_timer_on)
        ops->timer_start(link->call_timer, first_ms - now);
}
