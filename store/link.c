/* SPDX-License-Identifier: MIT */
/*
 * A link's states, and its wire. One function changes the state and sets the
 * state's timer; whatever calls back may free the link, so that each entry from
 * the loop is counted and the memory goes with the last one.
 */
#include "store/link_private.h"
#include "store/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_LAST_MS = 2000,
    STEADY_MS = 5000, /* UP for so long: the backoff begins anew */
    STALLED_MS = 2000,
    PING_EVERY_MS = 5000,
    ANSWER_MIN_MS = 1000, /* for a connection, or for a PING */
};

static const char no_memory[] = "memory is short";
static const char no_wire[] = "the connection ended";
static const char no_answer[] = "it does not answer";
static const char no_connection[] = "no connection in time";
static const char no_tls[] = "no TLS connection in time";
static const char not_redis[] = "what answers there is not Redis";
static const char not_a_reply[] = "it sent what is not a reply of Redis";
static const char has_moved[] = "another address is the right one now";
static const char not_asked[] = "it sent a reply that nobody asked for";

/* ---- entering and leaving ---- */

static void enter(struct store_link *link)
{
    link->entered++;
}

static void leave(struct store_link *link)
{
    if (--link->entered == 0 && link->is_freed)
        free(link);
}

/* ---- states ---- */

static int64_t now_ms(const struct store_link *link)
{
    return link->loop->ops->now_ms(link->loop);
}

static void set_timer(struct store_link *link, int64_t after_ms)
{
    link->loop->ops->timer_start(link->state_timer, after_ms);
}

static int64_t answer_ms(const struct store_link *link)
{
    int64_t ms = (int64_t)link->options.timeout_ms * 4;

    return ms > ANSWER_MIN_MS ? ms : ANSWER_MIN_MS;
}

/* Doubles with each attempt; half of it is by chance, so that the clients of a
 * node that comes back do not all come at once. */
static int64_t backoff_ms(struct store_link *link)
{
    int64_t ms = BACKOFF_FIRST_MS;

    for (unsigned i = 0; i < link->attempts && ms < BACKOFF_LAST_MS; i++)
        ms *= 2;
    if (ms > BACKOFF_LAST_MS)
        ms = BACKOFF_LAST_MS;
    if (ms < BACKOFF_LAST_MS)
        link->attempts++;
    uint32_t chance = link->loop->ops->random(link->loop);
    return ms / 2 + chance % (ms / 2 + 1);
}

static void set_state(struct store_link *link, enum store_link_state state)
{
    enum store_link_state old = link->state;

    link->state = state;
    switch (state) {
    case STORE_LINK_DOWN:
        if ((old == STORE_LINK_UP || old == STORE_LINK_STALLED) &&
            now_ms(link) - link->up_ms >= STEADY_MS)
            link->attempts = 0;
        set_timer(link, backoff_ms(link));
        break;
    case STORE_LINK_CONNECTING:
        set_timer(link, answer_ms(link));
        break;
    case STORE_LINK_SETUP: /* the time goes on */
        break;
    case STORE_LINK_UP:
        if (old == STORE_LINK_SETUP)
            link->up_ms = now_ms(link);
        link->loop->ops->timer_stop(link->state_timer);
        if (link->options.channel != NULL)
            set_timer(link, PING_EVERY_MS);
        break;
    case STORE_LINK_STALLED:
        set_timer(link, STALLED_MS);
        break;
    }
}

static void tell_up(struct store_link *link)
{
    link->why[0] = '\0';
    if (link->options.on_state != NULL)
        link->options.on_state(link->options.arg, true, NULL);
}

/* An UP link has no `why` yet, so that a first one always differs. */
static void tell_down(struct store_link *link, const char *why)
{
    if (strncmp(link->why, why, sizeof(link->why) - 1) == 0)
        return;
    snprintf(link->why, sizeof(link->why), "%s", why);
    if (link->options.on_state != NULL)
        link->options.on_state(link->options.arg, false, link->why);
}

static void forget_wire(struct store_link *link)
{
    link->wire = NULL;
    store_reply_reader_free(link->reader);
    link->reader = NULL;
}

static void close_wire(struct store_link *link)
{
    if (link->wire != NULL)
        link->loop->ops->close(link->wire);
    forget_wire(link);
}

void store_link_drop(struct store_link *link, const char *why)
{
    close_wire(link);
    link->loop->ops->timer_stop(link->call_timer);
    link->is_call_timer_on = false;
    link->is_pinged = false;
    link->run_id[0] = '\0';
    link->has_failed = true;
    set_state(link, STORE_LINK_DOWN);
    tell_down(link, why);
    store_link_end_calls(link);
}

void store_link_set_up(struct store_link *link)
{
    set_state(link, STORE_LINK_UP);
    tell_up(link);
}

/* ---- a link that subscribes ---- */

static bool is_string(const redisReply *reply, const char *text)
{
    return reply->type == REDIS_REPLY_STRING && reply->len == strlen(text) &&
           memcmp(reply->str, text, reply->len) == 0;
}

static bool is_message(const struct store_link *link, const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
           is_string(reply->element[0], "message") &&
           is_string(reply->element[1], link->options.channel) &&
           reply->element[2]->type == REDIS_REPLY_STRING;
}

static bool is_pong(const redisReply *reply)
{
    /* No permission to PING is an answer as well. */
    return reply->type == REDIS_REPLY_STATUS ||
           reply->type == REDIS_REPLY_ERROR ||
           (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
            is_string(reply->element[0], "pong"));
}

static void send_ping(struct store_link *link)
{
    const char *ping[] = {"PING"};

    store_bytes_command(&link->out, 1, ping);
    if (!store_link_flush(link)) {
        store_link_drop(link, no_memory);
        return;
    }
    link->is_pinged = true;
    set_timer(link, answer_ms(link));
}

static void hear(struct store_link *link, const redisReply *reply)
{
    if (is_message(link, reply)) {
        const redisReply *message = reply->element[2];
        /* It stands before the answer to PING, and shows as much. */
        if (link->is_pinged)
            set_timer(link, answer_ms(link));
        if (link->options.on_message != NULL)
            link->options.on_message(link->options.arg, message->str,
                                     message->len);
    } else if (link->is_pinged && is_pong(reply)) {
        link->is_pinged = false;
        set_timer(link, PING_EVERY_MS);
    } else {
        store_link_drop(link, not_asked);
    }
}

/* ---- replies ---- */

static void take_answer(struct store_link *link, const redisReply *reply)
{
    bool is_slow = link->state == STORE_LINK_STALLED;

    /* Late replies do not end the stall, or each of them would let a few more
     * calls in to wait in vain; but they show that it lives. */
    if (is_slow && store_link_is_in_time(link)) {
        is_slow = false;
        set_state(link, STORE_LINK_UP);
        tell_up(link);
    } else if (is_slow) {
        set_state(link, STORE_LINK_STALLED);
    }
    /* The callback may have freed the link, and its calls with it. */
    if (link->first_call != NULL)
        store_link_answer(link, reply);
    if (is_slow && !link->is_freed && link->first_call == NULL &&
        link->state == STORE_LINK_STALLED)
        store_link_probe(link);
}

/* Why the link cannot stay UP after this reply; NULL: it can. */
static const char *words_of(const struct store_link *link,
                            const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ERROR ||
        (link->options.on_stray != NULL && store_link_is_stray(reply->str)))
        return NULL;
    return store_link_error_words(reply->str);
}

static void take(struct store_link *link, const redisReply *reply)
{
    const char *words = words_of(link, reply);

    if (link->state == STORE_LINK_SETUP)
        store_link_setup_reply(link, reply);
    else if (words != NULL)
        store_link_drop(link, words);
    else if (link->state == STORE_LINK_UP && link->options.channel != NULL)
        hear(link, reply);
    else if (link->first_call != NULL)
        take_answer(link, reply);
    else
        store_link_drop(link, not_asked);
}

static void drop_bad(struct store_link *link)
{
    const char *why = store_reply_why(link->reader);

    if (why == NULL)
        why = link->state == STORE_LINK_SETUP ? not_redis : not_a_reply;
    store_link_drop(link, why);
}

/* All whole replies that were fed. */
static void take_replies(struct store_link *link)
{
    while (link->reader != NULL) {
        redisReply *reply = NULL;
        switch (store_reply_next(link->reader, &reply)) {
        case STORE_REPLY_DONE:
            take(link, reply);
            freeReplyObject(reply);
            break;
        case STORE_REPLY_MORE:
            return;
        case STORE_REPLY_BAD:
            drop_bad(link);
            return;
        }
    }
}

/* ---- from the loop ---- */

static void on_open(void *arg)
{
    struct store_link *link = arg;

    enter(link);
    set_state(link, STORE_LINK_SETUP);
    if (!store_link_begin_setup(link))
        store_link_drop(link, no_memory);
    leave(link);
}

static void on_bytes(void *arg, const char *bytes, size_t len)
{
    struct store_link *link = arg;

    enter(link);
    while (len > 0 && link->reader != NULL) {
        size_t piece = len < STORE_REPLY_FEED_MAX ? len : STORE_REPLY_FEED_MAX;
        store_reply_feed(link->reader, bytes, piece);
        take_replies(link);
        bytes += piece;
        len -= piece;
    }
    leave(link);
}

static void on_end(void *arg, const char *why)
{
    struct store_link *link = arg;

    enter(link);
    forget_wire(link);
    store_link_drop(link, why != NULL && why[0] != '\0' ? why : no_wire);
    leave(link);
}

static const struct store_wire_user wire_user = {
    .on_open = on_open,
    .on_bytes = on_bytes,
    .on_end = on_end,
};

static void connect_now(struct store_link *link)
{
    const struct store_loop_ops *ops = link->loop->ops;

    set_state(link, STORE_LINK_CONNECTING);
    link->reader = store_reply_reader_new();
    if (link->reader != NULL)
        link->wire =
            ops->open(link->loop, &link->options.address, &wire_user, link);
    if (link->wire == NULL)
        store_link_drop(link, no_memory);
}

static void on_state_timer(void *arg)
{
    struct store_link *link = arg;

    enter(link);
    switch (link->state) {
    case STORE_LINK_DOWN:
        connect_now(link);
        break;
    case STORE_LINK_CONNECTING:
        store_link_drop(link,
                        link->options.address.is_tls ? no_tls : no_connection);
        break;
    case STORE_LINK_UP: /* only one that subscribes has a timer here */
        if (link->is_pinged)
            store_link_drop(link, no_answer);
        else
            send_ping(link);
        break;
    case STORE_LINK_SETUP:
    case STORE_LINK_STALLED:
        store_link_drop(link, no_answer);
        break;
    }
    leave(link);
}

static void on_call_timer(void *arg)
{
    struct store_link *link = arg;

    enter(link);
    if (link->state == STORE_LINK_UP && store_link_is_late(link)) {
        set_state(link, STORE_LINK_STALLED);
        tell_down(link, no_answer);
    }
    if (!link->is_freed)
        store_link_end_late(link);
    leave(link);
}

/* ---- life ---- */

/* The options' strings are replaced by copies; the loop's timers are made. */
static bool init(struct store_link *link)
{
    const struct store_loop_ops *ops = link->loop->ops;
    const char **from[] = {&link->options.user, &link->options.password,
                           &link->options.name, &link->options.channel};
    bool has_channel = link->options.channel != NULL;
    bool is_good = true;

    for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
        link->strings[i] = strdup(*from[i] != NULL ? *from[i] : "");
        *from[i] = link->strings[i];
        is_good = is_good && link->strings[i] != NULL;
    }
    if (!has_channel)
        link->options.channel = NULL;
    link->shas = calloc(link->options.script_count + 1, sizeof(*link->shas));
    link->state_timer = ops->timer_new(link->loop, on_state_timer, link);
    link->call_timer = ops->timer_new(link->loop, on_call_timer, link);
    return is_good && link->shas != NULL && link->state_timer != NULL &&
           link->call_timer != NULL;
}

struct store_link *store_link_new(const struct store_link_options *options)
{
    struct store_link *link = calloc(1, sizeof(*link));

    if (link == NULL)
        return NULL;
    link->loop = options->loop;
    link->options = *options;
    link->last_call = &link->first_call;
    link->error_ms = INT64_MIN;
    if (options->script_count > STORE_LINK_SCRIPTS_MAX || !init(link)) {
        store_link_free(link);
        return NULL;
    }
    /* No callback runs before the caller knows its link. */
    set_timer(link, 0);
    return link;
}

void store_link_free(struct store_link *link)
{
    if (link == NULL)
        return;
    const struct store_loop_ops *ops = link->loop->ops;
    enter(link);
    link->is_freed = true;
    close_wire(link);
    ops->timer_free(link->state_timer);
    ops->timer_free(link->call_timer);
    store_link_free_calls(link);
    for (size_t i = 0; i < sizeof(link->strings) / sizeof(*link->strings); i++)
        free(link->strings[i]);
    free(link->shas);
    leave(link);
}

static bool is_same_address(const struct store_address *a,
                            const struct store_address *b)
{
    return a->port == b->port && a->is_unix == b->is_unix &&
           a->is_tls == b->is_tls && strcmp(a->host, b->host) == 0;
}

void store_link_set_address(struct store_link *link,
                            const struct store_address *address)
{
    if (is_same_address(&link->options.address, address))
        return;
    enter(link);
    link->options.address = *address;
    if (link->state != STORE_LINK_DOWN)
        store_link_drop(link, has_moved);
    if (!link->is_freed) {
        link->why[0] = '\0'; /* what was told was about the other one */
        link->attempts = 0;
        link->has_failed = false;
        set_timer(link, 0);
    }
    leave(link);
}

bool store_link_is_new(const struct store_link *link)
{
    return !link->has_failed && link->state != STORE_LINK_UP &&
           link->state != STORE_LINK_STALLED;
}

bool store_link_is_up(const struct store_link *link)
{
    return link->state == STORE_LINK_UP;
}

const char *store_link_run_id(const struct store_link *link)
{
    return link->run_id;
}
