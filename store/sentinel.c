/* SPDX-License-Identifier: MIT */
/* Asks Sentinels where the master is, one after the other, and listens. */
#include "store/sentinel.h"
#include "store/link.h"
#include "store/sentinel_text.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CALM_MS = 10000,  /* from one question to the next */
    URGENT_MS = 1000, /* likewise, while there is no master */
    SOON_MS = 100,    /* and never sooner */
    REST_FIRST_MS = 200,
    REST_LAST_MS = 2000,
    STEADY_MS = 5000, /* good for so long: the rests begin anew */
    WHY_MAX = 150,
};

static const char channel[] = "+switch-master";

struct store_sentinel {
    struct store_loop *loop;
    struct store_address hosts[STORE_URL_HOSTS_MAX];
    unsigned host_count;
    char *master;
    void (*on_master)(void *arg, const struct store_address *address);
    void (*on_lost)(void *arg, const char *why);
    void *arg;

    unsigned at; /* the host that is asked */
    struct store_link *link;
    struct store_link *listener;
    struct store_call *call;
    struct store_timer *timer; /* the next question, or the next host */
    int64_t asked_ms;
    int64_t moved_ms;    /* since when it is this host */
    int64_t followed_ms; /* when a message was */
    int64_t good_ms;     /* since when it answers and is heard, while is_good */
    bool is_good;
    bool is_again;     /* what is asked now may be answered too early */
    bool is_leaving;   /* for the next host, when the timer fires */
    bool is_moving;    /* the links end for that reason */
    unsigned failed;   /* hosts in vain, since one was good */
    unsigned retreats; /* from hosts, since one was good for long */

    bool is_settled;
    bool is_wanted;  /* the master is told again, also the same one */
    bool is_telling; /* of a master: what follows is about the one before */
    bool is_refused; /* the master that was told */
    bool is_doubted; /* this host named it again */
    bool has_told;
    struct store_address told;
    char why[STORE_HOST_MAX + 32 + WHY_MAX]; /* told last; "" */

    /* As in a link: callbacks may free it. */
    unsigned entered;
    bool is_freed;
};

static void enter(struct store_sentinel *sentinel)
{
    sentinel->entered++;
}

static void leave(struct store_sentinel *sentinel)
{
    if (--sentinel->entered == 0 && sentinel->is_freed)
        free(sentinel);
}

/* ---- time ---- */

static int64_t now_ms(const struct store_sentinel *sentinel)
{
    return sentinel->loop->ops->now_ms(sentinel->loop);
}

static void start_timer(struct store_sentinel *sentinel, int64_t after_ms)
{
    sentinel->loop->ops->timer_start(sentinel->timer, after_ms);
}

static int64_t soon_ms(const struct store_sentinel *sentinel)
{
    const int64_t since_ms = now_ms(sentinel) - sentinel->asked_ms;

    return since_ms < SOON_MS ? SOON_MS - since_ms : 0;
}

static int64_t pause_ms(const struct store_sentinel *sentinel)
{
    return sentinel->is_settled ? CALM_MS : URGENT_MS;
}

/* After an answer, until the next question. */
static int64_t next_ms(const struct store_sentinel *sentinel)
{
    const int64_t left_ms = sentinel->moved_ms + URGENT_MS - now_ms(sentinel);

    if (sentinel->is_again)
        return soon_ms(sentinel);
    if (!sentinel->is_doubted)
        return pause_ms(sentinel);
    return left_ms > SOON_MS ? left_ms : SOON_MS;
}

/* As the backoff of a link. */
static int64_t rest_ms(const struct store_sentinel *sentinel)
{
    const unsigned rounds = sentinel->retreats / sentinel->host_count;
    int64_t ms = REST_FIRST_MS;

    for (unsigned i = 1; i < rounds && ms < REST_LAST_MS; i++)
        ms *= 2;
    if (ms > REST_LAST_MS)
        ms = REST_LAST_MS;
    const uint32_t chance = sentinel->loop->ops->random(sentinel->loop);
    return ms / 2 + chance % (ms / 2 + 1);
}

/* ---- asking ---- */

static void on_answer(void *arg, const redisReply *reply);

static void ask(struct store_sentinel *sentinel)
{
    const char *argv[] = {"SENTINEL", "GET-MASTER-ADDR-BY-NAME",
                          sentinel->master};
    const size_t lens[] = {8, 23, strlen(sentinel->master)};

    if (sentinel->call != NULL || !store_link_is_up(sentinel->link))
        return;
    sentinel->asked_ms = now_ms(sentinel);
    sentinel->is_again = false;
    sentinel->call =
        store_link_send(sentinel->link, 3, argv, lens, on_answer, sentinel);
}

/* One that is to be left may still say it. */
static void ask_soon(struct store_sentinel *sentinel)
{
    const int64_t after_ms = soon_ms(sentinel);

    if (!sentinel->is_leaving)
        start_timer(sentinel, after_ms);
    else if (after_ms == 0)
        ask(sentinel);
}

/* ---- in vain ---- */

static void tell_lost(struct store_sentinel *sentinel, const char *why)
{
    const struct store_address *host = &sentinel->hosts[sentinel->at];
    const bool is_ipv6 = strchr(host->host, ':') != NULL;
    char text[sizeof(sentinel->why)];

    snprintf(text, sizeof(text), "Sentinel %s%s%s:%u: %.*s", is_ipv6 ? "[" : "",
             host->host, is_ipv6 ? "]" : "", host->port, WHY_MAX, why);
    if (strcmp(text, sentinel->why) == 0)
        return;
    memcpy(sentinel->why, text, sizeof(text));
    sentinel->on_lost(sentinel->arg, sentinel->why);
}

/* This Sentinel cannot say: the next one is asked, after a rest if all have
 * been left. That goes by another count than the words do, as Sentinels which
 * say where the master is and break then would else be asked without end. */
static void give_up(struct store_sentinel *sentinel, const char *why)
{
    if (sentinel->is_leaving)
        return;
    if (sentinel->is_good &&
        now_ms(sentinel) - sentinel->good_ms >= STEADY_MS) {
        sentinel->retreats = 0;
        sentinel->why[0] = '\0';
    }
    sentinel->is_good = false;
    sentinel->is_leaving = true;
    sentinel->failed++;
    sentinel->retreats++;
    const bool is_round = sentinel->retreats % sentinel->host_count == 0;
    start_timer(sentinel, is_round ? rest_ms(sentinel) : 0);
    if (sentinel->is_again)
        ask_soon(sentinel);
    if (sentinel->failed % sentinel->host_count == 0)
        tell_lost(sentinel, why);
}

/* ---- an answer ---- */

static bool is_same(const struct store_address *a,
                    const struct store_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* Ends with the callback, if there is one. */
static void found(struct store_sentinel *sentinel,
                  const struct store_address *address)
{
    const bool is_known =
        sentinel->has_told && is_same(address, &sentinel->told);
    const bool is_news = !is_known || sentinel->is_wanted;

    sentinel->has_told = true;
    sentinel->is_wanted = false;
    sentinel->told = *address;
    sentinel->is_refused = sentinel->is_refused && is_known;
    sentinel->is_doubted = sentinel->is_refused;
    if (!sentinel->is_leaving)
        start_timer(sentinel, next_ms(sentinel));
    if (!is_news)
        return;
    sentinel->why[0] = '\0';
    sentinel->is_telling = true;
    sentinel->on_master(sentinel->arg, address);
    sentinel->is_telling = false;
}

static void take_answer(struct store_sentinel *sentinel,
                        const redisReply *reply)
{
    struct store_address address;
    char unknown[WHY_MAX];
    const char *why = store_sentinel_read_answer(reply, &address);

    if (reply != NULL && reply->type == REDIS_REPLY_NIL) {
        snprintf(unknown, sizeof(unknown), "it knows no master named %s",
                 sentinel->master);
        why = unknown;
    }
    if (why != NULL) {
        give_up(sentinel, why);
        return;
    }
    if (!sentinel->is_leaving && store_link_is_up(sentinel->listener)) {
        if (!sentinel->is_good)
            sentinel->good_ms = now_ms(sentinel);
        sentinel->is_good = true;
        sentinel->failed = 0;
    }
    address.is_tls = sentinel->hosts[0].is_tls;
    found(sentinel, &address);
}

static void on_answer(void *arg, const redisReply *reply)
{
    struct store_sentinel *sentinel = arg;

    enter(sentinel);
    sentinel->call = NULL;
    take_answer(sentinel, reply);
    leave(sentinel);
}

/* ---- one after the other ---- */

static void forget_call(struct store_sentinel *sentinel)
{
    if (sentinel->call != NULL)
        store_link_forget(sentinel->call);
    sentinel->call = NULL;
}

/* The links connect at once, and what follows is on_link's. Where there is but
 * one host, its links go on by themselves. */
static void go_to_next(struct store_sentinel *sentinel)
{
    sentinel->at = (sentinel->at + 1) % sentinel->host_count;
    sentinel->moved_ms = now_ms(sentinel);
    if (sentinel->host_count > 1)
        sentinel->asked_ms = sentinel->moved_ms - SOON_MS;
    sentinel->is_leaving = false;
    sentinel->is_doubted = false;
    sentinel->is_good = sentinel->is_good && sentinel->host_count == 1;
    forget_call(sentinel);
    sentinel->is_moving = true;
    store_link_set_address(sentinel->link, &sentinel->hosts[sentinel->at]);
    store_link_set_address(sentinel->listener, &sentinel->hosts[sentinel->at]);
    sentinel->is_moving = false;
}

static void on_timer(void *arg)
{
    struct store_sentinel *sentinel = arg;
    const bool is_over = now_ms(sentinel) - sentinel->moved_ms >= URGENT_MS;

    enter(sentinel);
    if (sentinel->is_leaving || (sentinel->is_doubted && is_over))
        go_to_next(sentinel);
    start_timer(sentinel, pause_ms(sentinel));
    ask(sentinel);
    leave(sentinel);
}

void store_sentinel_settled(struct store_sentinel *sentinel, bool is_settled)
{
    sentinel->is_settled = is_settled;
    if (is_settled) {
        sentinel->is_refused = false;
        sentinel->is_doubted = false;
    } else if (!sentinel->is_telling) {
        sentinel->is_refused = sentinel->has_told;
        sentinel->is_wanted = true;
        ask_soon(sentinel);
    }
}

/* ---- links ---- */

static void on_link(void *arg, bool is_up, const char *why)
{
    struct store_sentinel *sentinel = arg;

    enter(sentinel);
    if (is_up) {
        /* What was asked before the channel was heard may miss a switch. */
        sentinel->is_again = true;
        ask_soon(sentinel);
    } else if (!sentinel->is_moving) {
        give_up(sentinel, why);
    }
    leave(sentinel);
}

/* An answer that is under way may be from before the message. And masters do
 * not change ten times a second. */
static void on_message(void *arg, const char *bytes, size_t len)
{
    struct store_sentinel *sentinel = arg;
    const int64_t since_ms = now_ms(sentinel) - sentinel->followed_ms;
    struct store_address address;

    if (!store_sentinel_read_message(sentinel->master, bytes, len, &address))
        return;
    enter(sentinel);
    sentinel->is_again = true;
    if (address.port == 0 || since_ms < SOON_MS) {
        ask_soon(sentinel);
    } else {
        forget_call(sentinel);
        sentinel->followed_ms = now_ms(sentinel);
        address.is_tls = sentinel->hosts[0].is_tls;
        found(sentinel, &address);
    }
    leave(sentinel);
}

/* ---- life ---- */

static bool open_links(struct store_sentinel *sentinel,
                       const struct store_sentinel_options *from)
{
    struct store_link_options options = {
        .loop = sentinel->loop,
        .address = sentinel->hosts[sentinel->at],
        .role = STORE_ROLE_SENTINEL,
        .user = from->user,
        .password = from->password,
        .name = from->name,
        .timeout_ms = from->timeout_ms,
        .on_state = on_link,
        .on_message = on_message,
        .arg = sentinel,
    };

    sentinel->link = store_link_new(&options);
    options.channel = channel;
    sentinel->listener = store_link_new(&options);
    return sentinel->link != NULL && sentinel->listener != NULL;
}

/* One that stands there twice would be left for itself, which its links do not
 * notice. */
static void copy_hosts(struct store_sentinel *sentinel,
                       const struct store_sentinel_options *options)
{
    for (unsigned i = 0; i < options->host_count; i++) {
        unsigned k = 0;
        while (k < sentinel->host_count &&
               !is_same(&sentinel->hosts[k], &options->hosts[i]))
            k++;
        if (k == sentinel->host_count)
            sentinel->hosts[sentinel->host_count++] = options->hosts[i];
    }
}

static bool init(struct store_sentinel *sentinel,
                 const struct store_sentinel_options *options)
{
    const struct store_loop_ops *ops = options->loop->ops;

    sentinel->loop = options->loop;
    sentinel->on_master = options->on_master;
    sentinel->on_lost = options->on_lost;
    sentinel->arg = options->arg;
    copy_hosts(sentinel, options);
    /* Not all clients at the same one. */
    sentinel->at = ops->random(options->loop) % sentinel->host_count;
    sentinel->asked_ms = now_ms(sentinel) - SOON_MS;
    sentinel->followed_ms = sentinel->asked_ms;
    sentinel->moved_ms = now_ms(sentinel) - URGENT_MS;
    sentinel->master = strdup(options->master);
    sentinel->timer = ops->timer_new(options->loop, on_timer, sentinel);
    return sentinel->master != NULL && sentinel->timer != NULL &&
           open_links(sentinel, options);
}

struct store_sentinel *
store_sentinel_new(const struct store_sentinel_options *options)
{
    struct store_sentinel *sentinel = calloc(1, sizeof(*sentinel));

    if (sentinel == NULL)
        return NULL;
    if (!init(sentinel, options)) {
        store_sentinel_free(sentinel);
        return NULL;
    }
    start_timer(sentinel, URGENT_MS);
    return sentinel;
}

void store_sentinel_free(struct store_sentinel *sentinel)
{
    if (sentinel == NULL)
        return;
    enter(sentinel);
    sentinel->is_freed = true;
    sentinel->loop->ops->timer_free(sentinel->timer);
    store_link_free(sentinel->link);
    store_link_free(sentinel->listener);
    free(sentinel->master);
    leave(sentinel);
}
