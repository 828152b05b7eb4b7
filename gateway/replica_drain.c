/* SPDX-License-Identifier: MIT */
/*
 * The operator's words on backends: those in Redis, on the control channel and
 * of this replica's own API.
 *
 * What is written in Redis holds, and the newest is written there. A command
 * that could not be written yet holds here until it is. The control thread
 * carries all out; in what order it hears of them does not matter, for the last
 * word here always follows.
 */
#include "gateway/log.h"
#include "gateway/replica_private.h"

#include <stdlib.h>
#include <string.h>

enum { FRESH_MS = 60000 }; /* a replica of Redis may lag so far behind */

/* ---- to the control thread ---- */

static void pass_on(struct gw_replica *replica, struct gw_backend *backend,
                    const struct gw_drain_wish *wish)
{
    struct gw_drain_news *news = &replica->news[backend->index];
    pthread_mutex_lock(&replica->lock);
    *news = (struct gw_drain_news){.is_new = true, .wish = *wish};
    memcpy(news->id, backend->config->id, sizeof(news->id));
    pthread_mutex_unlock(&replica->lock);
    atomic_store(&replica->has_news, true);
    /* Not even for the tenth of a second until it is read there. */
    if (wish->is_drained)
        atomic_fetch_or(&backend->drains, GW_DRAIN_OPERATOR);
    else
        atomic_fetch_and(&backend->drains, ~(unsigned)GW_DRAIN_OPERATOR);
}

bool gw_replica_next_drain(struct gw_replica *replica,
                           char id[GW_BACKEND_ID_MAX],
                           struct gw_drain_wish *wish)
{
    struct gw_drain_news *news = NULL;
    if (replica == NULL || !atomic_load(&replica->has_news))
        return false;
    pthread_mutex_lock(&replica->lock);
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX && news == NULL; i++)
        if (replica->news[i].is_new)
            news = &replica->news[i];
    if (news != NULL) {
        news->is_new = false;
        memcpy(id, news->id, GW_BACKEND_ID_MAX);
        *wish = news->wish;
    } else {
        atomic_store(&replica->has_news, false);
    }
    pthread_mutex_unlock(&replica->lock);
    return news != NULL;
}

void gw_replica_note_reason(struct gw_replica *replica, unsigned place,
                            const char *reason)
{
    if (replica == NULL)
        return;
    pthread_mutex_lock(&replica->lock);
    memcpy(replica->reasons[place], reason, GW_REASON_MAX);
    pthread_mutex_unlock(&replica->lock);
}

/* ---- what Redis says ---- */

void gw_replica_on_admin(void *arg, const char *id, const char *word)
{
    struct gw_replica *replica = arg;
    struct gw_place *place = replica->places;
    while (place < replica->places + GW_BACKEND_COUNT_MAX &&
           strcmp(place->id, id) != 0)
        place++;
    if (place == replica->places + GW_BACKEND_COUNT_MAX)
        return;
    bool is_odd = false;
    place->said.wish = (struct gw_drain_wish){.is_drained = false};
    if (word[0] != '\0') {
        const char *how = word + strcspn(word, " ");
        how += strspn(how, " ");
        is_odd = !gw_drain_wish_read(how, &place->said.wish);
    }
    if (is_odd && !place->is_odd) {
        is_odd = gw_replica_may_log(replica); /* or the next time */
        if (is_odd)
            gw_log(GW_LOG_WARNING, "drain_words_ignored", "backend", id,
                   "words", word);
    }
    place->is_odd = is_odd;
}

void gw_replica_on_admin_end(void *arg)
{
    struct gw_replica *replica = arg;
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        struct gw_place *place = &replica->places[i];
        struct gw_backend *backend = gw_replica_at(replica, i);
        if (backend == NULL || place->is_overtaken || place->is_unwritten)
            continue;
        bool was_drained =
            (atomic_load(&backend->drains) & GW_DRAIN_OPERATOR) != 0;
        bool is_news = !gw_drain_wish_is_same(&place->wish, &place->said.wish);
        /* A backend that is new here may have another's drain. */
        if (!place->is_heard && was_drained != place->said.wish.is_drained)
            is_news = true;
        place->wish = place->said.wish;
        place->is_heard = true;
        if (!is_news)
            continue;
        place->ordered_ms = 0;
        pass_on(replica, backend, &place->wish);
    }
}

/* ---- what Redis is told ---- */

static void put(struct gw_replica *replica, struct gw_place *place)
{
    char word[GW_DRAIN_TEXT_MAX];
    gw_drain_wish_write(&place->wish, word);
    place->put_tag = ++replica->put_tag;
    store_plane_put_admin(replica->plane, place->id, word, place->put_tag);
}

void gw_replica_on_put(void *arg, uint32_t tag, bool is_written)
{
    struct gw_replica *replica = arg;
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX && is_written; i++) {
        struct gw_place *place = &replica->places[i];
        if (place->is_unwritten && place->put_tag == tag)
            place->is_unwritten = false;
    }
}

void gw_replica_begin_words(struct gw_replica *replica)
{
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        struct gw_place *place = &replica->places[i];
        place->is_overtaken = false;
        if (place->id[0] != '\0' && place->is_unwritten)
            put(replica, place);
    }
}

/* A failover may have brought back what was said before the command. */
static bool is_fresh(const struct gw_replica *replica,
                     const struct gw_place *place)
{
    return place->ordered_ms != 0 &&
           replica->worker->now_ms - place->ordered_ms < FRESH_MS;
}

void gw_replica_publish_drains(struct gw_replica *replica)
{
    char word[GW_DRAIN_TEXT_MAX];
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        struct gw_place *place = &replica->places[i];
        if (place->id[0] == '\0')
            continue;
        if (is_fresh(replica, place)) {
            place->is_unwritten = true;
            put(replica, place);
        }
        if (place->is_unwritten || !place->wish.is_drained)
            continue;
        gw_drain_wish_write(&place->wish, word);
        store_plane_keep_admin(replica->plane, place->id, word);
    }
}

/* ---- commands ---- */

static void order(struct gw_replica *replica, struct gw_backend *backend,
                  const struct gw_drain_wish *wish)
{
    struct gw_place *place = &replica->places[backend->index];
    if (!store_plane_is_busy(replica->plane))
        gw_replica_follow(replica);
    pass_on(replica, backend, wish);
    /* It came in the middle of a turn: the next one reads what is written. */
    if (gw_replica_at(replica, backend->index) == NULL) {
        char word[GW_DRAIN_TEXT_MAX];
        gw_drain_wish_write(wish, word);
        store_plane_put_admin(replica->plane, backend->config->id, word,
                              ++replica->put_tag);
        return;
    }
    place->wish = *wish;
    place->is_heard = true;
    place->is_overtaken = true;
    place->is_unwritten = true;
    place->ordered_ms = replica->worker->now_ms;
    put(replica, place);
    gw_replica_turn_soon(replica); /* it may be the last that all agree on */
}

const char *gw_replica_command(struct gw_replica *replica, const char *text,
                               size_t len, bool is_drained)
{
    char copy[GW_BACKEND_ID_MAX + GW_DRAIN_TEXT_MAX];
    struct gw_drain_wish wish = {.is_drained = is_drained};
    if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
        return "unknown backend";
    memcpy(copy, text, len);
    copy[len] = '\0';
    char *how = strchr(copy, ' ');
    if (how != NULL)
        *how++ = '\0';
    struct gw_backend *backend =
        gw_backend_find(gw_replica_backends(replica), copy);
    if (backend == NULL)
        return "unknown backend";
    if (how != NULL && (!is_drained || !gw_drain_wish_read(how, &wish)))
        return "unknown words behind the backend's id";
    order(replica, backend, &wish);
    return NULL;
}

/* ---- from the control thread ---- */

struct drain_mail {
    struct gw_mail mail;
    char id[GW_BACKEND_ID_MAX]; /* "": the table has changed */
    struct gw_drain_wish wish;
};

static void deliver(struct gw_worker *worker, struct gw_mail *mail)
{
    struct drain_mail *one = GW_CONTAINER(mail, struct drain_mail, mail);
    struct gw_replica *replica = worker->replica;
    struct gw_backend *backend =
        one->id[0] != '\0' ? gw_backend_find(worker->server->backends, one->id)
                           : NULL;
    if (replica != NULL && backend != NULL)
        order(replica, backend, &one->wish);
    else if (replica != NULL && one->id[0] == '\0')
        gw_replica_turn_soon(replica);
    free(one);
}

static void post(struct gw_server *server, const char *id,
                 const struct gw_drain_wish *wish)
{
    struct drain_mail *one = calloc(1, sizeof(*one));
    if (one == NULL) {
        gw_log(GW_LOG_ERROR, "out_of_memory", "for", "a drain");
        return;
    }
    one->mail.deliver = deliver;
    memcpy(one->id, id, strnlen(id, sizeof(one->id) - 1));
    one->wish = *wish;
    gw_worker_post(server->workers[0], &one->mail);
}

void gw_replica_tell_drain(struct gw_server *server, const char *id,
                           const struct gw_drain_wish *wish)
{
    if (server->is_shared && server->worker_count > 0)
        post(server, id, wish);
}

void gw_replica_note_set(struct gw_server *server, unsigned generation)
{
    const struct gw_drain_wish none = {.is_drained = false};
    struct gw_replica *replica =
        server->worker_count > 0 ? server->workers[0]->replica : NULL;
    if (replica == NULL || replica->generation == generation)
        return;
    replica->generation = generation;
    post(server, "", &none);
}
