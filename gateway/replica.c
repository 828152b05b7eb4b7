/* SPDX-License-Identifier: MIT */
/* This process as one of several replicas. */
#include "gateway/replica.h"
#include "gateway/kick.h"
#include "gateway/log.h"
#include "gateway/republish.h"
#include "gateway/shared.h"
#include "gateway/worker.h"
#include "store/link.h"
#include "store/plane.h"
#include "store/redis.h"

#include <arpa/inet.h>
#include <netinet/in.h>
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
    ADDRESS_TEXT_MAX = INET6_ADDRSTRLEN + 8,
};

/* What is said of one backend in the turn that is being read. */
struct said {
    bool is_drained;
    bool is_missing;   /* some replica does not list it */
    bool is_elsewhere; /* some replica lists it with another address */
    int64_t sessions;  /* at the other replicas */
};

struct gw_replica {
    struct gw_worker *worker;
    struct store_plane *plane;
    struct store_link *control;
    struct gw_republish *republish;
    struct gw_timer turn_timer;
    struct gw_timer republish_timer;
    struct said said[GW_BACKEND_COUNT_MAX];
    bool was_elsewhere[GW_BACKEND_COUNT_MAX]; /* and the log said so */
    char addresses[GW_BACKEND_COUNT_MAX][ADDRESS_TEXT_MAX];
    char others[STORE_PLANE_REPLICAS_MAX][STORE_GATEWAY_MAX]; /* last turn's */
    size_t other_count;
    char now[STORE_PLANE_REPLICAS_MAX][STORE_GATEWAY_MAX]; /* this turn's */
    size_t now_count;
    int64_t whole_at_ms;
    int64_t turn_at_ms; /* the last one began */
    int64_t ignored_at_ms;
    bool is_leaving;
    bool is_overtaken; /* a command came while admin was being read */
    bool has_joined;   /* the others know of this one */
    bool is_disagreed; /* no backend is listed by all, and the log said so */
};

static struct gw_backends *backends_of(struct gw_replica *replica)
{
    return replica->worker->server->backends;
}

static void write_channel(const struct gw_config *config, char *out)
{
    snprintf(out, CHANNEL_MAX, "%s:control", config->store_prefix);
}

static void on_hello_sent(void *arg, const struct redisReply *reply)
{
    (void)arg;
    (void)reply;
}

/* ---- what others say ---- */

static void set_drained(struct gw_backend *backend, bool is_drained)
{
    if (atomic_exchange(&backend->is_drained, is_drained) == is_drained)
        return;
    gw_log(GW_LOG_INFO, is_drained ? "backend_drained" : "backend_undrained",
           "backend", backend->config->id);
}

static void on_admin(void *arg, const char *id, bool is_drained)
{
    struct gw_replica *replica = arg;
    struct gw_backend *backend = gw_backend_find(backends_of(replica), id);
    if (backend != NULL)
        replica->said[backend->index].is_drained = is_drained;
}

static void on_admin_end(void *arg)
{
    struct gw_replica *replica = arg;
    struct gw_backends *backends = backends_of(replica);
    for (size_t i = 0; i < backends->count && !replica->is_overtaken; i++)
        set_drained(&backends->list[i], replica->said[i].is_drained);
}

static void hear(struct gw_replica *replica, size_t i, const char *other,
                 const struct store_plane_backend *backend)
{
    struct said *said = &replica->said[i];
    const char *id = backends_of(replica)->list[i].config->id;
    if (backend == NULL) {
        said->is_missing = true;
        return;
    }
    if (strcmp(backend->address, replica->addresses[i]) == 0) {
        said->sessions += backend->sessions;
        return;
    }
    said->is_elsewhere = true;
    if (!replica->was_elsewhere[i])
        gw_log(GW_LOG_ERROR, "backend_mismatch", "backend", id, "address",
               replica->addresses[i], "replica", other, "its_address",
               backend->address);
    replica->was_elsewhere[i] = true;
}

static void on_replica(void *arg, const char *id,
                       const struct store_plane_backend *list, size_t count)
{
    struct gw_replica *replica = arg;
    struct gw_backends *backends = backends_of(replica);
    if (replica->now_count < STORE_PLANE_REPLICAS_MAX)
        snprintf(replica->now[replica->now_count++], STORE_GATEWAY_MAX, "%s",
                 id);
    for (size_t i = 0; i < backends->count; i++) {
        size_t at = 0;
        while (at < count &&
               strcmp(list[at].id, backends->list[i].config->id) != 0)
            at++;
        hear(replica, i, id, at < count ? &list[at] : NULL);
    }
}

static bool has_name(char (*names)[STORE_GATEWAY_MAX], size_t count,
                     const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void tell_changes(struct gw_replica *replica)
{
    for (size_t i = 0; i < replica->now_count; i++)
        if (!has_name(replica->others, replica->other_count, replica->now[i]))
            gw_log(GW_LOG_INFO, "replica_joined", "replica", replica->now[i]);
    for (size_t i = 0; i < replica->other_count; i++)
        if (!has_name(replica->now, replica->now_count, replica->others[i]))
            gw_log(GW_LOG_INFO, "replica_left", "replica", replica->others[i]);
    memcpy(replica->others, replica->now, sizeof(replica->others));
    replica->other_count = replica->now_count;
}

/* A backend that some replica does not know gets no handshake: the session's
 * next request may come through there. If that, and what is drained, leaves
 * none, each goes by its own list. */
static void apply_agreement(struct gw_replica *replica)
{
    struct gw_backends *backends = backends_of(replica);
    size_t undrained = 0;
    size_t agreed = 0; /* of them */
    for (size_t i = 0; i < backends->count; i++) {
        const struct said *said = &replica->said[i];
        replica->was_elsewhere[i] = said->is_elsewhere;
        if (atomic_load(&backends->list[i].is_drained))
            continue;
        undrained++;
        agreed += !said->is_missing && !said->is_elsewhere;
    }
    bool is_disagreed = agreed == 0 && undrained > 0 &&
                        replica->worker->config->backend_agreement;
    if (is_disagreed && !replica->is_disagreed)
        gw_log(GW_LOG_ERROR, "backends_disagreed", "replicas",
               gw_num((int64_t)replica->other_count + 1).text);
    replica->is_disagreed = is_disagreed;
    for (size_t i = 0; i < backends->count; i++) {
        const struct said *said = &replica->said[i];
        bool is_open = agreed == 0 ||
                       (!said->is_missing && !said->is_elsewhere) ||
                       !replica->worker->config->backend_agreement;
        atomic_store(&backends->list[i].is_unagreed, !is_open);
    }
}

static void apply_counts(struct gw_replica *replica)
{
    struct gw_backends *backends = backends_of(replica);
    for (size_t i = 0; i < backends->count; i++)
        atomic_store(&backends->list[i].elsewhere, replica->said[i].sessions);
    atomic_store(&backends->replicas, (unsigned)replica->other_count);
}

static void publish_drains(struct gw_replica *replica)
{
    struct gw_backends *backends = backends_of(replica);
    for (size_t i = 0; i < backends->count; i++)
        if (atomic_load(&backends->list[i].is_drained))
            store_plane_put_admin(replica->plane, backends->list[i].config->id,
                                  true, false);
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
        store_link_send(store_redis_link(worker->store), 3, argv, lens,
                        on_hello_sent, NULL) != NULL;
    gw_shared_told(worker->server->shared, worker->index);
}

static void on_turn(void *arg, bool is_whole, bool is_lost)
{
    struct gw_replica *replica = arg;
    struct gw_worker *worker = replica->worker;
    if (is_lost) {
        gw_shared_note_loss(worker->server->shared, GW_LOSS_OF_ALL);
        publish_drains(replica);
        return;
    }
    if (!is_whole)
        return;
    replica->whole_at_ms = worker->now_ms;
    tell_changes(replica);
    apply_agreement(replica);
    apply_counts(replica);
    if (!replica->has_joined)
        join(replica);
}

static const struct store_plane_user plane_user = {
    .on_admin = on_admin,
    .on_replica = on_replica,
    .on_turn = on_turn,
    .on_admin_end = on_admin_end,
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

/* Whoever may publish must not be able to fill the log. */
static void ignore(struct gw_replica *replica, const char *why)
{
    int64_t now_ms = replica->worker->now_ms;
    if (now_ms < replica->ignored_at_ms + IGNORED_MS)
        return;
    replica->ignored_at_ms = now_ms;
    gw_log(GW_LOG_WARNING, "control_ignored", "why", why);
}

static void kick(struct gw_replica *replica, const char *sid, size_t len)
{
    if (!gw_kick(replica->worker->server, sid, len))
        ignore(replica, "no session id, or too many kicks");
}

static void on_turn_timer(struct gw_timer *timer);

static void turn_soon(struct gw_replica *replica)
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
    char id[GW_BACKEND_ID_MAX] = "";
    struct gw_backend *backend = NULL;
    if (len < sizeof(id)) {
        memcpy(id, text, len);
        id[len] = '\0';
        if (strlen(id) == len)
            backend = gw_backend_find(backends_of(replica), id);
    }
    if (backend == NULL) {
        ignore(replica, "unknown backend");
        return;
    }
    replica->is_overtaken = true;
    set_drained(backend, is_drained);
    store_plane_put_admin(replica->plane, id, is_drained, true);
    turn_soon(replica); /* it may be the last one that all agree on */
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
        turn_soon(replica);
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

static struct store_link *open_control(struct gw_replica *replica)
{
    struct gw_worker *worker = replica->worker;
    const struct gw_config *config = worker->config;
    char channel[CHANNEL_MAX];
    write_channel(config, channel);
    struct store_link_options options = {
        .loop = worker->loop,
        .address = config->store.address,
        .user = config->store.user,
        .password = config->store_password[0] != '\0' ? config->store_password
                                                      : config->store.password,
        .channel = channel,
        .name = worker->server->gateway_id,
        .db = config->store.db,
        .timeout_ms = config->store_timeout_ms,
        .on_state = on_control_state,
        .on_message = on_message,
        .arg = replica,
    };
    return store_link_new(&options);
}

/* ---- its life ---- */

static void forget_others(struct gw_replica *replica)
{
    if (replica->other_count == 0 && !replica->is_disagreed)
        return;
    memset(replica->said, 0, sizeof(replica->said));
    replica->now_count = 0;
    tell_changes(replica);
    apply_agreement(replica);
    apply_counts(replica);
}

static void on_turn_timer(struct gw_timer *timer)
{
    struct gw_replica *replica =
        GW_CONTAINER(timer, struct gw_replica, turn_timer);
    struct gw_worker *worker = replica->worker;
    struct gw_backends *backends = backends_of(replica);
    struct store_plane_backend list[GW_BACKEND_COUNT_MAX];
    gw_worker_timer(worker, timer, TURN_MS, on_turn_timer);
    if (worker->now_ms - replica->whole_at_ms > STALE_MS)
        forget_others(replica);
    if (store_plane_is_busy(replica->plane))
        return;
    for (size_t i = 0; i < backends->count; i++) {
        struct gw_backend *one = &backends->list[i];
        list[i] = (struct store_plane_backend){
            .id = one->config->id,
            .address = replica->addresses[i],
            .sessions = atomic_load(&one->sessions),
        };
    }
    memset(replica->said, 0, sizeof(replica->said));
    replica->now_count = 0;
    replica->is_overtaken = false;
    replica->turn_at_ms = worker->now_ms;
    store_plane_turn(replica->plane, list, backends->count);
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

static void write_address(const struct gw_address *address, char *out)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->addr.ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, &address->addr, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
        snprintf(out, ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(v6.sin6_port));
    } else {
        struct sockaddr_in v4;
        memcpy(&v4, &address->addr, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        snprintf(out, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(v4.sin_port));
    }
}

struct gw_replica *gw_replica_new(struct gw_worker *worker)
{
    struct gw_replica *replica = calloc(1, sizeof(*replica));
    const struct gw_config *config = worker->config;
    if (replica == NULL)
        return NULL;
    replica->worker = worker;
    for (size_t i = 0; i < config->backend_count; i++)
        write_address(&config->backends[i].address, replica->addresses[i]);
    struct store_plane_options options = {
        .link = store_redis_link(worker->store),
        .prefix = config->store_prefix,
        .id = worker->server->gateway_id,
        .version = SIDGATE_VERSION,
        .started_ms = gw_wall_ms(),
        .user = &plane_user,
        .arg = replica,
    };
    replica->plane = store_plane_new(&options);
    replica->control = open_control(replica);
    replica->republish = gw_republish_new(worker);
    if (replica->plane != NULL && replica->control != NULL &&
        replica->republish != NULL)
        return replica;
    gw_replica_free(replica);
    return NULL;
}

void gw_replica_leave(struct gw_replica *replica)
{
    if (replica == NULL)
        return;
    replica->is_leaving = true;
    gw_timer_stop(&replica->worker->wheel, &replica->turn_timer);
    gw_timer_stop(&replica->worker->wheel, &replica->republish_timer);
    store_plane_leave(replica->plane);
}

void gw_replica_free(struct gw_replica *replica)
{
    if (replica == NULL)
        return;
    gw_republish_free(replica->republish);
    if (replica->plane != NULL)
        store_plane_free(replica->plane);
    if (replica->control != NULL)
        store_link_free(replica->control);
    free(replica);
}
