/* SPDX-License-Identifier: MIT */
/* This process as one of several replicas: its turns, its life. */
#include "gateway/kick.h"
#include "gateway/log.h"
#include "gateway/replica_private.h"
#include "gateway/republish.h"
#include "gateway/shared.h"
#include "store/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TURN_MS = 800, /* what an operator writes is read within a second */
    STALE_MS = STORE_PLANE_LIFE_MS, /* what others said is forgotten */
    HELLO_MS = 100,                 /* and no sooner, however many say hello */
    MESSAGE_MAX = 300,
    IGNORED_MS = 1000, /* from one such line in the log to the next */
    CHANNEL_MAX = STORE_PREFIX_MAX + 16,
};

_Static_assert((int)GW_DRAIN_TEXT_MAX <= (int)STORE_PLANE_WORD_MAX,
               "what is written can be read");

static void write_channel(const struct gw_config *config, char *out)
{
    snprintf(out, CHANNEL_MAX, "%s:control", config->store_prefix);
}

static void on_hello_sent(void *arg, const struct redisReply *reply)
{
    (void)arg;
    (void)reply;
}

/* The others need not wait for their next turn to learn which backends this
 * one lists: its first request may be for a session of theirs. */
static void join(struct gw_replica *replica)
{
    struct gw_worker *worker = replica->worker;
    char channel[CHANNEL_MAX];
    const char *argv[] = {"PUBLISH", channel, "hello"};
    write_channel(worker->config, channel);
    const size_t lens[] = {7, strlen(channel), 5};
    replica->has_joined =
        store_client_send(store_redis_client(worker->store), 3, argv, lens,
                          on_hello_sent, NULL) != NULL;
    gw_shared_told(worker->server->shared, worker->index);
}

static void on_turn(void *arg, bool is_whole, bool is_lost)
{
    struct gw_replica *replica = arg;
    struct gw_worker *worker = replica->worker;
    if (is_lost) {
        struct store_slots slots;
        store_plane_slots(replica->plane, &slots);
        if (store_slots_count(&slots) > 0)
            gw_shared_note_loss(worker->server->shared, GW_LOSS_SHOWN, &slots);
        gw_replica_publish_drains(replica);
        return;
    }
    if (!is_whole)
        return;
    replica->whole_at_ms = worker->now_ms;
    gw_replica_conclude(replica);
    if (!replica->has_joined)
        join(replica);
}

static const struct store_plane_user plane_user = {
    .on_admin = gw_replica_on_admin,
    .on_replica = gw_replica_hear,
    .on_turn = on_turn,
    .on_admin_end = gw_replica_on_admin_end,
    .on_put = gw_replica_on_put,
};

/* ---- commands ---- */

static bool take_word(const char **at, size_t *len, const char *word)
{
    size_t n = strlen(word);
    if (*len <= n || memcmp(*at, word, n) != 0)
        return false;
    *at += n;
    *len -= n;
    return true;
}

bool gw_replica_may_log(struct gw_replica *replica)
{
    int64_t now_ms = replica->worker->now_ms;
    if (now_ms < replica->ignored_at_ms + IGNORED_MS)
        return false;
    replica->ignored_at_ms = now_ms;
    return true;
}

static void ignore(struct gw_replica *replica, const char *why)
{
    if (gw_replica_may_log(replica))
        gw_log(GW_LOG_WARNING, "control_ignored", "why", why);
}

static void kick(struct gw_replica *replica, const char *sid, size_t len)
{
    if (!gw_kick(replica->worker->server, sid, len))
        ignore(replica, "no session id, or too many kicks");
}

static void on_turn_timer(struct gw_timer *timer);

void gw_replica_turn_soon(struct gw_replica *replica)
{
    struct gw_worker *worker = replica->worker;
    int64_t wait_ms = replica->turn_at_ms + HELLO_MS - worker->now_ms;
    if (!replica->is_leaving)
        gw_worker_timer(worker, &replica->turn_timer, wait_ms > 0 ? wait_ms : 0,
                        on_turn_timer);
}

static void on_drain(struct gw_replica *replica, const char *text, size_t len,
                     bool is_drained)
{
    const char *why = gw_replica_command(replica, text, len, is_drained);
    if (why != NULL)
        ignore(replica, why);
}

static void on_message(void *arg, const char *bytes, size_t len)
{
    struct gw_replica *replica = arg;
    if (len > MESSAGE_MAX)
        len = 0;
    if (take_word(&bytes, &len, "drain "))
        on_drain(replica, bytes, len, true);
    else if (take_word(&bytes, &len, "undrain "))
        on_drain(replica, bytes, len, false);
    else if (take_word(&bytes, &len, "kick "))
        kick(replica, bytes, len);
    else if (len == 5 && memcmp(bytes, "hello", 5) == 0)
        gw_replica_turn_soon(replica);
    else
        ignore(replica, "unknown command");
}

static void on_control_state(void *arg, bool is_up, const char *why)
{
    (void)arg;
    /* What is wrong with Redis itself the other link says. */
    if (!is_up)
        gw_log(GW_LOG_WARNING, "control_down", "why", why);
}

static bool listen_to_control(struct gw_replica *replica)
{
    struct gw_worker *worker = replica->worker;
    char name[CHANNEL_MAX];
    write_channel(worker->config, name);
    const struct store_channel channel = {
        .name = name,
        .on_state = on_control_state,
        .on_message = on_message,
        .arg = replica,
    };
    return store_client_subscribe(store_redis_client(worker->store), &channel);
}

/* ---- its life ---- */

static void on_turn_timer(struct gw_timer *timer)
{
    struct gw_replica *replica =
        GW_CONTAINER(timer, struct gw_replica, turn_timer);
    struct gw_worker *worker = replica->worker;
    struct store_plane_backend list[GW_BACKEND_COUNT_MAX];
    gw_worker_timer(worker, timer, TURN_MS, on_turn_timer);
    if (worker->now_ms - replica->whole_at_ms > STALE_MS)
        gw_replica_forget_others(replica);
    if (store_plane_is_busy(replica->plane))
        return;
    gw_replica_follow(replica);
    gw_replica_reset(replica);
    gw_replica_begin_words(replica);
    replica->turn_at_ms = worker->now_ms;
    store_plane_turn(replica->plane, list, gw_replica_list(replica, list));
}

static void on_republish_timer(struct gw_timer *timer)
{
    struct gw_replica *replica =
        GW_CONTAINER(timer, struct gw_replica, republish_timer);
    gw_worker_timer(replica->worker, timer, GW_REPUBLISH_MS,
                    on_republish_timer);
    gw_republish_step(replica->republish);
}

void gw_replica_start(struct gw_replica *replica)
{
    if (replica == NULL)
        return;
    replica->whole_at_ms = replica->worker->now_ms;
    gw_worker_timer(replica->worker, &replica->turn_timer, 0, on_turn_timer);
    gw_worker_timer(replica->worker, &replica->republish_timer, GW_REPUBLISH_MS,
                    on_republish_timer);
}

/* It may be another node than before, or an empty one: the turn tells. */
void gw_replica_on_link(struct gw_replica *replica)
{
    if (replica != NULL && !replica->is_leaving)
        gw_worker_timer(replica->worker, &replica->turn_timer, 0,
                        on_turn_timer);
}

void gw_replica_on_suspect(struct gw_replica *replica,
                           const struct store_slots *slots)
{
    if (replica != NULL)
        store_plane_suspect(replica->plane, slots);
}

struct gw_replica *gw_replica_new(struct gw_worker *worker)
{
    struct gw_replica *replica = calloc(1, sizeof(*replica));
    const struct gw_config *config = worker->config;
    if (replica == NULL)
        return NULL;
    replica->worker = worker;
    pthread_mutex_init(&replica->lock, NULL);
    struct store_plane_options options = {
        .client = store_redis_client(worker->store),
        .prefix = config->store_prefix,
        .id = worker->server->gateway_id,
        .version = SIDGATE_VERSION,
        .started_ms = gw_wall_ms(),
        .user = &plane_user,
        .arg = replica,
    };
    replica->plane = store_plane_new(&options);
    bool hears = listen_to_control(replica);
    replica->republish = gw_republish_new(worker);
    if (replica->plane != NULL && hears && replica->republish != NULL)
        return replica;
    gw_replica_free(replica);
    return NULL;
}

void gw_replica_quit(struct gw_replica *replica)
{
    if (replica == NULL)
        return;
    replica->is_leaving = true;
    gw_timer_stop(&replica->worker->wheel, &replica->turn_timer);
    gw_timer_stop(&replica->worker->wheel, &replica->republish_timer);
}

void gw_replica_leave(struct gw_replica *replica)
{
    if (replica == NULL)
        return;
    gw_replica_quit(replica);
    store_plane_leave(replica->plane);
}

void gw_replica_free(struct gw_replica *replica)
{
    if (replica == NULL)
        return;
    gw_republish_free(replica->republish);
    if (replica->plane != NULL)
        store_plane_free(replica->plane);
    pthread_mutex_destroy(&replica->lock);
    replica->worker->replica = NULL;
    free(replica);
}
