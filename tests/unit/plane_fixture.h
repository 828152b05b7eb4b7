/* SPDX-License-Identifier: MIT */
/* Replicas on a real Redis, and what each of them saw in its last turn. */
#ifndef SIDGATE_TESTS_UNIT_PLANE_FIXTURE_H
#define SIDGATE_TESTS_UNIT_PLANE_FIXTURE_H

#include "store/plane.h"
#include "tests/unit/redis_fixture.h"

enum { PLANES = 3, SEEN_MAX = 300, SEEN_TEXT_MAX = 260 };

struct seen {
    unsigned index;
    unsigned turns;
    bool is_whole;
    bool is_lost;
    unsigned lost_slots; /* that the loss is about */
    unsigned word_count;
    unsigned word_ends;
    unsigned replica_count;
    unsigned backend_count;
    unsigned puts;
    unsigned puts_failed;
    uint32_t last_put;
    char said[SEEN_MAX][STORE_PLANE_WORD_MAX];
    char words[SEEN_MAX][SEEN_TEXT_MAX];
    char replicas[SEEN_MAX][SEEN_TEXT_MAX];
    char backends[SEEN_MAX][2 * SEEN_TEXT_MAX + 32];
    char more[SEEN_MAX]
             [SEEN_TEXT_MAX]; /* "<held> <closed> <state> <why>" of each */
};

static struct seen seen[PLANES];
static struct store *clients[PLANES];
static struct store_plane *planes[PLANES];

static void on_admin(void *arg, const char *backend, const char *word)
{
    struct seen *mine = arg;

    cr_assert_lt(mine->word_count, SEEN_MAX);
    cr_assert_lt(strlen(word), STORE_PLANE_WORD_MAX);
    snprintf(mine->said[mine->word_count], STORE_PLANE_WORD_MAX, "%s", word);
    snprintf(mine->words[mine->word_count++], SEEN_TEXT_MAX, "%s", backend);
}

static void on_replica(void *arg, const char *id,
                       const struct store_plane_backend *backends, size_t count)
{
    struct seen *mine = arg;

    cr_assert_lt(mine->replica_count, SEEN_MAX);
    snprintf(mine->replicas[mine->replica_count++], SEEN_TEXT_MAX, "%s", id);
    for (size_t i = 0; i < count; i++) {
        cr_assert_lt(mine->backend_count, SEEN_MAX);
        snprintf(mine->more[mine->backend_count], SEEN_TEXT_MAX,
                 "%lld %lld %s %s", (long long)backends[i].held,
                 (long long)backends[i].closed, backends[i].state,
                 backends[i].why);
        snprintf(mine->backends[mine->backend_count++],
                 sizeof(mine->backends[0]), "%s %s %lld", backends[i].id,
                 backends[i].address, (long long)backends[i].sessions);
    }
}

static void on_admin_end(void *arg)
{
    struct seen *mine = arg;

    mine->word_ends++;
}

static void on_put(void *arg, uint32_t tag, bool is_written)
{
    struct seen *mine = arg;

    mine->puts++;
    mine->puts_failed += !is_written;
    mine->last_put = tag;
}

static void on_turn(void *arg, bool is_whole, bool is_lost)
{
    struct seen *mine = arg;
    struct store_slots slots;

    store_plane_slots(planes[mine->index], &slots);
    mine->lost_slots = store_slots_count(&slots);
    mine->turns++;
    mine->is_whole = is_whole;
    mine->is_lost = is_lost;
}

static const struct store_plane_user plane_user = {
    .on_admin = on_admin,
    .on_replica = on_replica,
    .on_turn = on_turn,
    .on_admin_end = on_admin_end,
    .on_put = on_put,
};

static inline struct store_plane *open_plane(struct store *client,
                                             const char *id, struct seen *mine)
{
    const struct store_plane_options options = {
        .client = store_redis_client(client),
        .prefix = "sidgate",
        .id = id,
        .version = "1.2.3",
        .started_ms = 1769860800123,
        .user = &plane_user,
        .arg = mine,
    };
    struct store_plane *plane = store_plane_new(&options);

    cr_assert_not_null(plane);
    return plane;
}

static inline void open_planes_with(const struct store_redis_options *options)
{
    char id[16];

    for (unsigned i = 0; i < PLANES; i++) {
        clients[i] = open_client(options);
        snprintf(id, sizeof(id), "gw-%u", i);
        seen[i].index = i;
        planes[i] = open_plane(clients[i], id, &seen[i]);
    }
}

static inline void open_planes(void)
{
    open_server();
    const struct store_redis_options options = default_options();
    open_planes_with(&options);
}

static inline bool is_plane_up(void *arg)
{
    return is_up(clients[*(const unsigned *)arg]);
}

static inline void close_planes(void)
{
    for (unsigned i = 0; i < PLANES; i++) {
        if (planes[i] != NULL)
            store_plane_free(planes[i]);
        if (clients[i] != NULL)
            store_close(clients[i]);
    }
    close_all();
}

static inline void
begin_turn(unsigned i, const struct store_plane_backend *backends, size_t count)
{
    seen[i] = (struct seen){.index = i};
    store_plane_turn(planes[i], backends, count);
    cr_expect_eq(seen[i].turns, 0, "before the call returned");
}

static bool has_turned(void *arg)
{
    const struct seen *mine = arg;

    return mine->turns > 0;
}

static inline void finish_turn(unsigned i)
{
    cr_assert(poll_loop_until(loop, has_turned, &seen[i], LIMIT_MS));
    cr_expect_eq(seen[i].turns, 1);
}

static inline void turn(unsigned i, const struct store_plane_backend *backends,
                        size_t count)
{
    begin_turn(i, backends, count);
    finish_turn(i);
}

#define expect_turn(i, whole, lost)                                            \
    do {                                                                       \
        cr_expect_eq(seen[i].is_whole, whole);                                 \
        cr_expect_eq(seen[i].is_lost, lost);                                   \
    } while (0)

static inline bool saw_replica(unsigned i, unsigned other)
{
    char id[16];

    snprintf(id, sizeof(id), "gw-%u", other);
    for (unsigned k = 0; k < seen[i].replica_count; k++) {
        if (strcmp(seen[i].replicas[k], id) == 0)
            return true;
    }
    return false;
}

static inline bool saw_backend(unsigned i, const char *id, const char *address,
                               long long sessions)
{
    char text[2 * SEEN_TEXT_MAX + 32];

    snprintf(text, sizeof(text), "%s %s %lld", id, address, sessions);
    for (unsigned k = 0; k < seen[i].backend_count; k++) {
        if (strcmp(seen[i].backends[k], text) == 0)
            return true;
    }
    return false;
}

/* What was said of the backend; NULL if it was not named. */
static inline const char *saw_word(unsigned i, const char *backend)
{
    for (unsigned k = 0; k < seen[i].word_count; k++) {
        if (strcmp(seen[i].words[k], backend) == 0)
            return seen[i].said[k];
    }
    return NULL;
}

#define expect_word(i, backend, word)                                          \
    do {                                                                       \
        cr_assert_not_null(saw_word(i, backend));                              \
        cr_expect_str_eq(saw_word(i, backend), word);                          \
    } while (0)

/* The words were read, or not told at all. */
#define expect_words(i, is_told)                                               \
    do {                                                                       \
        cr_expect_eq(seen[i].word_ends, (is_told) ? 1 : 0);                    \
        if (!(is_told))                                                        \
            cr_expect_eq(seen[i].word_count, 0);                               \
    } while (0)

/* What stands at the key, as text; "" when there is none. */
static inline void read_epoch(char out[SEEN_TEXT_MAX])
{
    redisReply *reply = redis_server_ask(&server, "GET sidgate:epoch");

    snprintf(out, SEEN_TEXT_MAX, "%s", reply->str != NULL ? reply->str : "");
    freeReplyObject(reply);
}

/* As if this replica had not written for longer than its life. */
static inline void expire_heartbeat(unsigned i)
{
    cr_assert_eq(redis_server_number(&server, "DEL sidgate:gateway:gw-%u", i),
                 1);
}

static inline void expect_ttl(const char *key, long long life_ms)
{
    const long long left_ms = redis_server_number(&server, "PTTL %s", key);

    cr_expect(left_ms > 0 && left_ms <= life_ms, "%s %lld", key, left_ms);
}

#endif
