/* SPDX-License-Identifier: MIT */
/*
 * What replicas and operators tell each other through Redis.
 *
 * A turn is a few commands in one write, and then one more for each other
 * replica. Every answer that is awaited has a slot; the turn ends when all
 * slots are empty. What the operator says is kept until then, for only the
 * heartbeat's answer shows whether to believe it.
 */
#include "store/plane.h"

#include "store/plane_text.h"
#include "store/record.h"
#include "store/redis.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Others, this replica, and one that shows that there are more than that. */
#define MEMBERS_ASKED "66"
#define SET_LIFE_MS   "60000"

enum { FIRST_CALLS = 5, ARGS_MAX = 4, KEY_MAX = STORE_PREFIX_MAX + 96 };

_Static_assert(STORE_PLANE_REPLICAS_MAX + 2 == 66, "as in MEMBERS_ASKED");

struct slot {
    struct store_plane *plane;
    struct store_call *call; /* NULL: the slot is free */
    char id[STORE_GATEWAY_MAX];
};

struct store_plane {
    struct store_link *link;
    const struct store_plane_user *user;
    void *arg;
    bool *is_gone;  /* told when the plane is freed */
    int64_t turn;   /* of the last heartbeat that was sent */
    int64_t beaten; /* of the last one that was answered; 0: none */
    size_t waiting; /* slots in use; 0: no turn is under way */
    bool is_whole;
    bool has_words;  /* admin was read whole */
    bool has_beaten; /* in this turn */
    bool is_lost;
    struct store_plane_word *words; /* the operator's, of this turn */
    struct slot slots[FIRST_CALLS + STORE_PLANE_REPLICAS_MAX];
    char prefix[STORE_PREFIX_MAX];
    char id[STORE_GATEWAY_MAX];
    char version[STORE_GATEWAY_MAX];
    char started[STORE_TIME_TEXT_MAX];
    char own_key[KEY_MAX];
    char set_key[KEY_MAX];
    char admin_key[KEY_MAX];
};

static bool copy_text(char *out, size_t size, const char *text)
{
    const int len = snprintf(out, size, "%s", text);

    return len >= 0 && (size_t)len < size;
}

static void gateway_key(const struct store_plane *plane, const char *id,
                        char out[KEY_MAX])
{
    snprintf(out, KEY_MAX, "%s:gateway:%s", plane->prefix, id);
}

struct store_plane *store_plane_new(const struct store_plane_options *options)
{
    struct store_plane *plane = calloc(1, sizeof(*plane));

    if (plane == NULL)
        return NULL;
    plane->link = options->link;
    plane->user = options->user;
    plane->arg = options->arg;
    store_time_write(options->started_ms, plane->started);
    if (!copy_text(plane->prefix, sizeof(plane->prefix), options->prefix) ||
        !copy_text(plane->id, sizeof(plane->id), options->id) ||
        !copy_text(plane->version, sizeof(plane->version), options->version)) {
        free(plane);
        return NULL;
    }
    gateway_key(plane, plane->id, plane->own_key);
    snprintf(plane->set_key, KEY_MAX, "%s:gateways", plane->prefix);
    snprintf(plane->admin_key, KEY_MAX, "%s:admin", plane->prefix);
    return plane;
}

void store_plane_free(struct store_plane *plane)
{
    const size_t slot_count = sizeof(plane->slots) / sizeof(plane->slots[0]);

    if (plane->is_gone != NULL)
        *plane->is_gone = true;
    for (size_t i = 0; i < slot_count; i++) {
        if (plane->slots[i].call != NULL)
            store_link_forget(plane->slots[i].call);
    }
    store_plane_words_free(plane->words);
    free(plane);
}

/* Tells the turn's end, and first what the operator said, if this turn's
 * heartbeat showed that it may be believed. */
static void end_turn(struct store_plane *plane)
{
    struct store_plane_word *words = plane->words;
    const struct store_plane_user *user = plane->user;
    const bool is_believed = plane->has_beaten && !plane->is_lost;
    bool is_gone = false;

    plane->words = NULL;
    plane->is_gone = &is_gone;
    for (struct store_plane_word *word = words;
         word != NULL && is_believed && !is_gone; word = word->next)
        user->on_admin(plane->arg, word->backend, word->is_drained);
    store_plane_words_free(words);
    if (!is_gone && is_believed && plane->has_words &&
        user->on_admin_end != NULL)
        user->on_admin_end(plane->arg);
    if (is_gone)
        return;
    plane->is_gone = NULL;
    user->on_turn(plane->arg, plane->is_whole, plane->is_lost);
}

/* An answer came, or will not come. */
static struct store_plane *take_slot(struct slot *slot)
{
    slot->call = NULL;
    return slot->plane;
}

/* The answer is dealt with. */
static void leave_slot(struct store_plane *plane, bool is_good)
{
    if (!is_good)
        plane->is_whole = false;
    plane->waiting--;
    if (plane->waiting == 0)
        end_turn(plane);
}

static struct slot *free_slot(struct store_plane *plane)
{
    struct slot *slot = plane->slots;

    while (slot->call != NULL)
        slot++;
    slot->plane = plane;
    return slot;
}

/* Keeps the call of `slot`, which is NULL if the link refused it. */
static void await(struct store_plane *plane, struct slot *slot,
                  struct store_call *call)
{
    slot->call = call;
    if (call != NULL)
        plane->waiting++;
    else
        plane->is_whole = false;
}

/* All arguments are text. */
static struct store_call *send_command(const struct store_plane *plane,
                                       int argc, const char **argv,
                                       store_reply_fn done, void *arg)
{
    size_t lens[ARGS_MAX];

    for (int i = 0; i < argc; i++)
        lens[i] = strlen(argv[i]);
    return store_link_send(plane->link, argc, argv, lens, done, arg);
}

static void ask(struct store_plane *plane, int argc, const char **argv,
                store_reply_fn done)
{
    struct slot *slot = free_slot(plane);

    await(plane, slot, send_command(plane, argc, argv, done, slot));
}

/* Of a command whose answer nobody needs. */
static void on_ignored(void *arg, const redisReply *reply)
{
    (void)arg;
    (void)reply;
}

static void tell(const struct store_plane *plane, int argc, const char **argv)
{
    struct store_call *may_be_refused =
        send_command(plane, argc, argv, on_ignored, NULL);

    (void)may_be_refused;
}

static void forget_member(const struct store_plane *plane, const char *id,
                          size_t len)
{
    const char *argv[] = {"SREM", plane->set_key, id};
    const size_t lens[] = {strlen("SREM"), strlen(plane->set_key), len};
    struct store_call *may_be_refused =
        store_link_send(plane->link, 3, argv, lens, on_ignored, NULL);

    (void)may_be_refused;
}

static void on_integer(void *arg, const redisReply *reply)
{
    struct store_plane *plane = take_slot(arg);

    leave_slot(plane, reply != NULL && reply->type == REDIS_REPLY_INTEGER);
}

static void on_beat(void *arg, const redisReply *reply)
{
    struct store_plane *plane = take_slot(arg);
    const bool is_good = reply != NULL && reply->type == REDIS_REPLY_INTEGER;

    if (is_good) {
        plane->has_beaten = true;
        plane->is_lost = plane->beaten > 0 && reply->integer != 1;
        plane->beaten = plane->turn;
    }
    leave_slot(plane, is_good);
}

static void on_words(void *arg, const redisReply *reply)
{
    struct store_plane *plane = take_slot(arg);

    plane->has_words =
        reply != NULL && store_plane_words_read(reply, &plane->words);
    leave_slot(plane, plane->has_words);
}

/* Tells of another replica; false when the plane was freed meanwhile. */
static bool tell_replica(struct store_plane *plane, const struct slot *slot,
                         const struct store_plane_beat *beat)
{
    bool is_gone = false;

    plane->is_gone = &is_gone;
    plane->user->on_replica(plane->arg, slot->id, beat->backends, beat->count);
    if (is_gone)
        return false;
    plane->is_gone = NULL;
    return true;
}

static void on_replica(void *arg, const redisReply *reply)
{
    struct slot *slot = arg;
    struct store_plane *plane = take_slot(slot);
    struct store_plane_beat beat = {0};
    bool is_here = true;
    bool is_good = reply != NULL && reply->type == REDIS_REPLY_ARRAY;

    if (is_good && reply->elements == 0) {
        forget_member(plane, slot->id, strlen(slot->id));
    } else if (is_good) {
        is_good = store_plane_beat_read(reply, &beat);
        if (beat.is_valid)
            is_here = tell_replica(plane, slot, &beat);
        store_plane_beat_fini(&beat);
    }
    if (is_here)
        leave_slot(plane, is_good);
}

/* Asks for the heartbeat of a member of the set, if it is another replica.
 * Returns false when there are more than can be asked. */
static bool ask_member(struct store_plane *plane, const redisReply *member,
                       size_t *asked)
{
    char key[KEY_MAX];

    if (member->type != REDIS_REPLY_STRING)
        return true;
    if (member->len == 0 || member->len >= STORE_GATEWAY_MAX ||
        !store_plane_is_text(member->str, member->len)) {
        forget_member(plane, member->str, member->len);
        return true;
    }
    if (strcmp(member->str, plane->id) == 0)
        return true;
    if (*asked == STORE_PLANE_REPLICAS_MAX)
        return false;
    (*asked)++;
    struct slot *slot = free_slot(plane);
    snprintf(slot->id, sizeof(slot->id), "%s", member->str);
    gateway_key(plane, slot->id, key);
    const char *argv[] = {"HGETALL", key};
    await(plane, slot, send_command(plane, 2, argv, on_replica, slot));
    return true;
}

static void on_members(void *arg, const redisReply *reply)
{
    struct store_plane *plane = take_slot(arg);
    bool is_good = reply != NULL && reply->type == REDIS_REPLY_ARRAY;
    size_t asked = 0;

    for (size_t i = 0; is_good && i < reply->elements; i++)
        is_good = ask_member(plane, reply->element[i], &asked);
    leave_slot(plane, is_good);
}

/* The heartbeat replaces the last one whole, so that a backend that is gone
 * is gone from there too. */
static void send_beat(struct store_plane *plane,
                      const struct store_plane_backend *backends, size_t count)
{
    char expected[STORE_NUMBER_TEXT_MAX];
    char turn[STORE_NUMBER_TEXT_MAX];
    char life[STORE_NUMBER_TEXT_MAX];
    const struct store_plane_beat beat = {
        .version = plane->version,
        .started = plane->started,
        .backends = backends,
        .count = count,
    };
    char *fields = store_plane_beat_write(&beat);

    if (fields == NULL) {
        plane->is_whole = false;
        return;
    }
    plane->turn++;
    snprintf(expected, sizeof(expected), "%" PRId64, plane->beaten);
    snprintf(turn, sizeof(turn), "%" PRId64, plane->turn);
    snprintf(life, sizeof(life), "%d", STORE_PLANE_LIFE_MS);
    const char *argv[] = {plane->own_key, expected, turn, life, fields};
    const size_t lens[] = {strlen(argv[0]), strlen(argv[1]), strlen(argv[2]),
                           strlen(argv[3]), strlen(argv[4])};
    struct slot *slot = free_slot(plane);
    await(plane, slot,
          store_link_eval(plane->link, STORE_SCRIPT_BEAT, 5, argv, lens,
                          on_beat, slot));
    free(fields);
}

bool store_plane_is_busy(const struct store_plane *plane)
{
    return plane->waiting > 0 || plane->is_gone != NULL;
}

void store_plane_turn(struct store_plane *plane,
                      const struct store_plane_backend *backends, size_t count)
{
    const char *read_admin[] = {"HGETALL", plane->admin_key};
    const char *join[] = {"SADD", plane->set_key, plane->id};
    const char *keep[] = {"PEXPIRE", plane->set_key, SET_LIFE_MS};
    const char *list[] = {"SRANDMEMBER", plane->set_key, MEMBERS_ASKED};

    /* The end of a turn, which calls the user, is still part of it. */
    if (store_plane_is_busy(plane) || !store_link_is_up(plane->link))
        return;
    plane->is_whole = true;
    plane->has_words = false;
    plane->has_beaten = false;
    plane->is_lost = false;
    ask(plane, 2, read_admin, on_words);
    send_beat(plane, backends, count);
    ask(plane, 3, join, on_integer);
    ask(plane, 3, keep, on_integer);
    ask(plane, 3, list, on_members);
}

void store_plane_put_admin(struct store_plane *plane, const char *backend,
                           bool is_drained, bool is_newer)
{
    const char *word = is_drained ? "drain" : "ready";
    const char *argv[] = {is_newer ? "HSET" : "HSETNX", plane->admin_key,
                          backend, word};

    tell(plane, 4, argv);
}

void store_plane_leave(struct store_plane *plane)
{
    const char *remove[] = {"DEL", plane->own_key};
    const char *part[] = {"SREM", plane->set_key, plane->id};

    tell(plane, 2, remove);
    tell(plane, 3, part);
}
