/* SPDX-License-Identifier: MIT */
/*
 * What replicas and operators tell each other through Redis.
 *
 * A turn is a few commands in one write, and then one more for each other
 * replica. Every answer that is awaited has a slot; the turn ends when all
 * slots are empty. What the operator says is kept until then, for only the
 * answers behind it show whether to believe it.
 */
#include "store/plane.h"

#include "store/plane_put.h"
#include "store/plane_text.h"
#include "store/record.h"
#include "store/redis.h"
#include "store/script.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Others, this replica, and one that shows that there are more than that. */
#define MEMBERS_ASKED "66"
#define SET_LIFE_MS   "60000"

enum {
    FIRST_CALLS = 5, /* admin, epoch, heartbeat, members, epoch again */
    SLOT_COUNT = FIRST_CALLS + STORE_PLANE_REPLICAS_MAX,
    ARGS_MAX = STORE_PLANE_BACKENDS_MAX + 2,
    RUN_ID_MAX = 64,
};

_Static_assert(STORE_PLANE_REPLICAS_MAX + 2 == 66, "as in MEMBERS_ASKED");
_Static_assert((int)ARGS_MAX <= (int)STORE_LINK_ARGS_MAX, "HMGET of all");

struct slot {
    struct store_plane *plane;
    struct store_call *call; /* NULL: the slot is free */
    char id[STORE_GATEWAY_MAX];
};

struct store_plane {
    struct store_client *client;
    const struct store_plane_user *user;
    void *arg;
    bool *is_gone;  /* told when the plane is freed */
    int64_t turn;   /* of the last heartbeat that was sent */
    int64_t beaten; /* of the last one that was answered; 0: none */
    size_t waiting; /* slots in use; 0: no turn is under way */
    bool is_whole;
    bool has_words;  /* admin was read */
    bool has_epoch;  /* it was answered what stands there, if only an error */
    bool has_beaten; /* in this turn */
    bool is_lost;    /* stays so until it was told */
    bool is_shown;   /* and is not only suspected */
    char epoch[STORE_PLANE_EPOCH_MAX]; /* the one seen last, or "" */
    char run_id[RUN_ID_MAX];           /* the node's in the last turn, or "" */
    const char *backends[STORE_PLANE_BACKENDS_MAX]; /* ids, of this turn */
    char words[STORE_PLANE_BACKENDS_MAX][STORE_PLANE_WORD_MAX];
    size_t backend_count;
    struct slot slots[SLOT_COUNT];
    struct store_plane_puts puts;
    char prefix[STORE_PREFIX_MAX];
    char id[STORE_GATEWAY_MAX];
    char version[STORE_GATEWAY_MAX];
    char started[STORE_TIME_TEXT_MAX];
    struct store_plane_keys keys;
};

struct store_plane *store_plane_new(const struct store_plane_options *options)
{
    struct store_plane *plane = calloc(1, sizeof(*plane));

    if (plane == NULL)
        return NULL;
    plane->client = options->client;
    plane->user = options->user;
    plane->arg = options->arg;
    store_time_write(options->started_ms, plane->started);
    if (!store_plane_copy(plane->prefix, sizeof(plane->prefix),
                          options->prefix) ||
        !store_plane_copy(plane->id, sizeof(plane->id), options->id) ||
        !store_plane_copy(plane->version, sizeof(plane->version),
                          options->version)) {
        free(plane);
        return NULL;
    }
    store_plane_keys_write(plane->prefix, plane->id,
                           store_client_is_cluster(plane->client),
                           &plane->keys);
    store_plane_puts_init(&plane->puts, plane->keys.admin, options);
    return plane;
}

void store_plane_free(struct store_plane *plane)
{
    if (plane->is_gone != NULL)
        *plane->is_gone = true;
    for (size_t i = 0; i < SLOT_COUNT; i++) {
        if (plane->slots[i].call != NULL)
            store_link_forget(plane->slots[i].call);
    }
    store_plane_puts_fini(&plane->puts);
    free(plane);
}

/* Tells what the operator said; false when the plane was freed meanwhile. */
static bool tell_words(struct store_plane *plane)
{
    const struct store_plane_user *user = plane->user;
    bool is_gone = false;

    plane->is_gone = &is_gone;
    for (size_t i = 0; !is_gone && i < plane->backend_count; i++)
        user->on_admin(plane->arg, plane->backends[i], plane->words[i]);
    if (!is_gone && user->on_admin_end != NULL)
        user->on_admin_end(plane->arg);
    if (is_gone)
        return false;
    plane->is_gone = NULL;
    return true;
}

/* Tells the turn's end, and first what the operator said, if all that could
 * show a loss was answered and did not. A loss is kept until the link takes
 * what the user will want to write. */
static void end_turn(struct store_plane *plane)
{
    const bool is_loss_told = plane->is_lost && plane->has_beaten &&
                              store_client_is_up(plane->client);

    if (plane->has_words && plane->has_epoch && plane->has_beaten &&
        !plane->is_lost && !tell_words(plane))
        return;
    if (is_loss_told)
        plane->is_lost = false;
    plane->user->on_turn(plane->arg, plane->is_whole, is_loss_told);
}

/* An answer came, or will not come. */
static struct store_plane *take_slot(struct slot *slot)
{
    slot->call = NULL;
    return slot->plane;
}

/* The answer is dealt with. */
static void leave_slot(struct store_plane *plane)
{
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

/* Keeps the call of `slot`; false if it is NULL: it was refused. */
static bool await(struct store_plane *plane, struct slot *slot,
                  struct store_call *call)
{
    slot->call = call;
    if (call != NULL)
        plane->waiting++;
    return call != NULL;
}

static struct store_call *send_command(const struct store_plane *plane,
                                       int argc, const char **argv,
                                       store_reply_fn done, void *arg)
{
    size_t lens[ARGS_MAX];

    for (int i = 0; i < argc; i++)
        lens[i] = strlen(argv[i]);
    return store_client_send(plane->client, argc, argv, lens, done, arg);
}

static bool ask(struct store_plane *plane, int argc, const char **argv,
                store_reply_fn done)
{
    struct slot *slot = free_slot(plane);

    return await(plane, slot, send_command(plane, argc, argv, done, slot));
}

/* Of a command whose answer nobody needs. */
static void on_ignored(void *arg, const redisReply *reply)
{
    (void)arg;
    (void)reply;
}

static void tell(const struct store_plane *plane, int argc, const char **argv)
{
    (void)send_command(plane, argc, argv, on_ignored, NULL);
}

static void forget_member(const struct store_plane *plane, const char *id,
                          size_t len)
{
    const char *argv[] = {"SREM", plane->keys.set, id};
    const size_t lens[] = {strlen("SREM"), strlen(plane->keys.set), len};

    (void)store_client_send(plane->client, 3, argv, lens, on_ignored, NULL);
}

/* ---- what shows a loss ---- */

/* Who has not had a turn yet has nothing to lose. */
static void note_loss(struct store_plane *plane)
{
    if (plane->beaten > 0)
        plane->is_lost = plane->is_shown = true;
}

static void on_beat(void *arg, const redisReply *reply)
{
    struct store_plane *plane = take_slot(arg);

    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) {
        if (reply->integer == STORE_SCRIPT_BEAT_OLD)
            note_loss(plane);
        plane->has_beaten = true;
        plane->beaten = plane->turn;
    }
    leave_slot(plane);
}

/* What cannot be read leaves what is known as it is. */
static void take_epoch(struct store_plane *plane, const redisReply *reply)
{
    char epoch[STORE_PLANE_EPOCH_MAX] = "";

    if (reply->type != REDIS_REPLY_NIL && !store_plane_epoch_read(reply, epoch))
        return;
    if (plane->epoch[0] != '\0' && strcmp(plane->epoch, epoch) != 0)
        note_loss(plane);
    memcpy(plane->epoch, epoch, sizeof(epoch));
}

static void on_epoch(void *arg, const redisReply *reply);

/* Of all that find none one is the first, and all read what that has set. */
static void claim_epoch(struct store_plane *plane)
{
    char epoch[STORE_PLANE_EPOCH_MAX];
    const char *set[] = {"SETNX", plane->keys.epoch, epoch};
    const char *get[] = {"GET", plane->keys.epoch};

    store_plane_epoch_make(plane->id, plane->turn, epoch);
    tell(plane, 3, set);
    ask(plane, 2, get, on_epoch);
}

static void on_epoch(void *arg, const redisReply *reply)
{
    struct store_plane *plane = take_slot(arg);
    const bool is_second = plane->has_epoch;

    if (reply != NULL) {
        plane->has_epoch = true;
        take_epoch(plane, reply);
        if (reply->type == REDIS_REPLY_NIL && !is_second)
            claim_epoch(plane);
    }
    leave_slot(plane);
}

/* Another node, or a new start, may have come with an old snapshot from which
 * the heartbeat has expired. */
static void check_run_id(struct store_plane *plane)
{
    const char *run_id = store_client_run_id(plane->client);

    if (run_id[0] == '\0')
        return;
    if (plane->run_id[0] != '\0' && strcmp(plane->run_id, run_id) != 0)
        note_loss(plane);
    snprintf(plane->run_id, sizeof(plane->run_id), "%s", run_id);
}

/* ---- what others say ---- */

static void on_words(void *arg, const redisReply *reply)
{
    struct store_plane *plane = take_slot(arg);

    plane->has_words =
        reply != NULL &&
        store_plane_words_read(reply, plane->backend_count, plane->words);
    leave_slot(plane);
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

/* What is no heartbeat counts as none. */
static void on_replica(void *arg, const redisReply *reply)
{
    struct slot *slot = arg;
    struct store_plane *plane = take_slot(slot);
    struct store_plane_beat beat = {0};
    bool is_here = true;
    bool is_read = reply != NULL && store_plane_is_wrong_type(reply);

    if (reply != NULL && !is_read)
        is_read = store_plane_beat_read(reply, &beat);
    if (beat.is_valid)
        is_here = tell_replica(plane, slot, &beat);
    else if (is_read)
        forget_member(plane, slot->id, strlen(slot->id));
    store_plane_beat_fini(&beat);
    if (!is_here)
        return;
    if (!is_read)
        plane->is_whole = false;
    leave_slot(plane);
}

/* Asks for the heartbeat of a member of the set, if it is another replica.
 * Returns false when there are more than can be asked. */
static bool ask_member(struct store_plane *plane, const redisReply *member,
                       size_t *asked)
{
    char key[STORE_PLANE_KEY_MAX];

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
    store_plane_gateway_key(plane->prefix, slot->id, key);
    const char *argv[] = {"HGETALL", key};
    if (!await(plane, slot, send_command(plane, 2, argv, on_replica, slot)))
        plane->is_whole = false;
    return true;
}

static void on_members(void *arg, const redisReply *reply)
{
    struct store_plane *plane = take_slot(arg);
    bool is_more = reply != NULL && reply->type == REDIS_REPLY_ARRAY;
    size_t asked = 0;

    if (!is_more)
        plane->is_whole = false;
    for (size_t i = 0; is_more && i < reply->elements; i++)
        is_more = ask_member(plane, reply->element[i], &asked);
    leave_slot(plane);
}

/* ---- a turn ---- */

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

    if (fields == NULL)
        return;
    plane->turn++;
    snprintf(expected, sizeof(expected), "%" PRId64, plane->beaten);
    snprintf(turn, sizeof(turn), "%" PRId64, plane->turn);
    snprintf(life, sizeof(life), "%d", STORE_PLANE_LIFE_MS);
    const char *argv[] = {plane->keys.own, expected, turn, life, fields};
    const size_t lens[] = {strlen(argv[0]), strlen(argv[1]), strlen(argv[2]),
                           strlen(argv[3]), strlen(argv[4])};
    struct slot *slot = free_slot(plane);
    await(plane, slot,
          store_client_eval(plane->client, STORE_SCRIPT_BEAT, 5, argv, lens,
                            on_beat, slot));
    free(fields);
}

static void ask_words(struct store_plane *plane,
                      const struct store_plane_backend *backends, size_t count)
{
    const char *argv[ARGS_MAX] = {"HMGET", plane->keys.admin};

    if (count > STORE_PLANE_BACKENDS_MAX)
        count = STORE_PLANE_BACKENDS_MAX;
    for (size_t i = 0; i < count; i++) {
        plane->backends[i] = backends[i].id;
        argv[2 + i] = backends[i].id;
    }
    plane->backend_count = count;
    plane->has_words = count == 0;
    if (count > 0)
        ask(plane, 2 + (int)count, argv, on_words);
}

bool store_plane_is_busy(const struct store_plane *plane)
{
    return plane->waiting > 0 || plane->is_gone != NULL;
}

void store_plane_turn(struct store_plane *plane,
                      const struct store_plane_backend *backends, size_t count)
{
    const char *read_epoch[] = {"GET", plane->keys.epoch};
    const char *join[] = {"SADD", plane->keys.set, plane->id};
    const char *keep[] = {"PEXPIRE", plane->keys.set, SET_LIFE_MS};
    const char *list[] = {"SRANDMEMBER", plane->keys.set, MEMBERS_ASKED};

    /* The end of a turn, which calls the user, is still part of it. */
    if (store_plane_is_busy(plane) || !store_client_is_up(plane->client))
        return;
    plane->has_epoch = false;
    plane->has_beaten = false;
    plane->is_shown = plane->is_shown && plane->is_lost;
    check_run_id(plane);
    ask_words(plane, backends, count);
    ask(plane, 2, read_epoch, on_epoch);
    send_beat(plane, backends, count);
    tell(plane, 3, join);
    tell(plane, 3, keep);
    plane->is_whole = ask(plane, 3, list, on_members);
}

bool store_plane_put_admin(struct store_plane *plane, const char *backend,
                           const char *word, uint32_t tag)
{
    return store_plane_puts_set(&plane->puts, backend, word, tag);
}

void store_plane_keep_admin(struct store_plane *plane, const char *backend,
                            const char *word)
{
    store_plane_puts_keep(&plane->puts, backend, word);
}

void store_plane_suspect(struct store_plane *plane,
                         const struct store_slots *slots)
{
    const char *admin = plane->keys.admin;

    if (plane->beaten > 0 &&
        store_slots_has(slots, store_slot_of(admin, strlen(admin))))
        plane->is_lost = true;
}

void store_plane_slots(const struct store_plane *plane,
                       struct store_slots *slots)
{
    *slots = (struct store_slots){{0}};
    if (plane->is_shown)
        store_plane_keys_slots(&plane->keys, plane->client, slots);
}

void store_plane_leave(struct store_plane *plane)
{
    const char *remove[] = {"DEL", plane->keys.own};

    tell(plane, 2, remove);
    forget_member(plane, plane->id, strlen(plane->id));
}
