/* SPDX-License-Identifier: MIT */
/*
 * One session, by its sid or by what stands for it.
 *
 * A sid is looked up. An id is looked for: first in memory, where the sid comes
 * with it, then among the keys of the shared store, of which only the one that
 * fits is read.
 */
#include "gateway/server.h"
#include "gateway/sessions_private.h"
#include "gateway/shared.h"

#include <stdio.h>
#include <string.h>

/* ---- rows ---- */

static void mask(struct store_key key, char out[EIO_SID_MASK_MAX])
{
    struct eio_sid sid = {.len = (uint16_t)key.len};
    memcpy(sid.bytes, key.ptr, key.len);
    eio_sid_mask(&sid, out);
}

void gw_sessions_row_here(const struct gw_sessions *sessions,
                          const struct store_memory_item *item,
                          struct gw_session_row *row)
{
    const struct store_key sid = {item->key, item->key_len};
    *row = (struct gw_session_row){.record = item->record,
                                   .has_traffic = true,
                                   .traffic = item->traffic,
                                   .life_ms = item->life_ms};
    gw_session_id(sessions->config, sid, row->id);
    mask(sid, row->sid);
}

/* A hash does not tell the sid, by which memory is asked. */
void gw_sessions_row_there(const struct gw_sessions *sessions,
                           const struct store_browse_item *item,
                           struct gw_session_row *row)
{
    const struct store_key key = {item->key, item->key_len};
    struct store_memory_item here;
    *row = (struct gw_session_row){
        .sid = "-", .record = item->record, .life_ms = item->life_ms};
    gw_session_id_of_key(key, row->id);
    if (sessions->config->hash_secret_len > 0)
        return;
    mask(key, row->sid);
    if (!store_memory_look(sessions->server->memory, key, &here))
        return;
    row->has_traffic = true;
    row->traffic = here.traffic;
    /* Not every sign of life is written at once. */
    if (here.record.seen_ms > row->record.seen_ms)
        row->record.seen_ms = here.record.seen_ms;
}

void gw_sessions_row_found(const struct gw_sessions *sessions,
                           const struct gw_found *found,
                           struct gw_session_row *row)
{
    struct gw_session_row there;
    if (!found->is_here) {
        gw_sessions_row_there(sessions, &found->there, row);
        if (found->is_sid)
            mask((struct store_key){found->text, found->text_len}, row->sid);
        return;
    }
    gw_sessions_row_here(sessions, &found->here, row);
    if (!found->is_there)
        return;
    there = *row;
    there.record = found->there.record;
    there.life_ms = found->there.life_ms;
    if (row->record.seen_ms > there.record.seen_ms)
        there.record.seen_ms = row->record.seen_ms;
    *row = there;
}

/* ---- in the shared store ---- */

static bool take_there(void *arg, const struct store_browse_item *item)
{
    struct gw_question *question = arg;
    question->found.is_there = true;
    question->found.there = *item;
    return true;
}

static bool is_it_there(void *arg, struct store_key key)
{
    const struct gw_question *question = arg;
    char id[GW_SESSION_ID_MAX];
    gw_session_id_of_key(key, id);
    return strcmp(id, question->found.id) == 0;
}

static void on_walk_end(void *arg, const struct store_browse_result *result)
{
    struct gw_question *question = arg;
    struct gw_found *found = &question->found;
    question->browsing = NULL;
    question->looked_at += result->looked_at;
    found->is_away = result->end == STORE_BROWSE_AWAY;
    found->is_cut = result->end == STORE_BROWSE_MORE && !found->is_there;
    question->then(question);
}

static void walk_there(struct gw_question *question)
{
    const struct store_browse_walk walk = {.limit = 1,
                                           .count = STORE_BROWSE_COUNT_MAX,
                                           .budget = GW_FIND_BUDGET,
                                           .timeout_ms = GW_STORE_WAIT_MS,
                                           .on_key = is_it_there,
                                           .on_item = take_there,
                                           .on_end = on_walk_end,
                                           .arg = question};
    question->browsing = store_browse_walk(question->sessions->browse, &walk);
    if (question->browsing != NULL)
        return;
    question->found.is_away = true;
    question->then(question);
}

static void on_find_end(void *arg, const struct store_browse_result *result)
{
    struct gw_question *question = arg;
    const struct gw_server *server = question->sessions->server;
    struct gw_found *found = &question->found;
    question->browsing = NULL;
    found->is_away = result->end == STORE_BROWSE_AWAY;
    found->is_sid = found->is_there && !found->is_here;
    /* What another replica has, and what is not there, is an old copy here. */
    if (!found->is_away && found->is_here && !found->is_there)
        found->is_here =
            strcmp(found->here.record.gateway, server->gateway_id) == 0;
    if (found->is_away || gw_found_any(found) || found->id[0] == '\0')
        question->then(question);
    else
        walk_there(question);
}

static void find_there(struct gw_question *question)
{
    const struct gw_sessions *sessions = question->sessions;
    struct gw_found *found = &question->found;
    const struct store_browse_walk walk = {.timeout_ms = GW_STORE_WAIT_MS,
                                           .on_item = take_there,
                                           .on_end = on_find_end,
                                           .arg = question};
    char hashed[STORE_HASHED_LEN];
    struct store_key key = {found->text, found->text_len};
    if (found->is_here)
        key = (struct store_key){found->here.key, found->here.key_len};
    if (sessions->config->hash_secret_len > 0) {
        gw_shared_hash(sessions->config, key, hashed);
        key = (struct store_key){hashed, sizeof(hashed)};
    }
    if (!found->is_away)
        question->browsing = store_browse_find(sessions->browse, key, &walk);
    if (question->browsing != NULL)
        return;
    found->is_away = true;
    question->then(question);
}

/* ---- in memory ---- */

static void go_there(struct gw_question *question)
{
    if (question->sessions->server->is_shared)
        gw_question_reach(question, find_there);
    else
        question->then(question);
}

static bool is_not_it(struct gw_question *question,
                      const struct store_memory_item *item)
{
    char id[GW_SESSION_ID_MAX];
    gw_session_id(question->sessions->config,
                  (struct store_key){item->key, item->key_len}, id);
    if (strcmp(id, question->found.id) != 0)
        return true;
    question->found.is_here = true;
    question->found.here = *item;
    return false;
}

static void walk_here(struct gw_question *question)
{
    struct gw_found *found = &question->found;
    if (!gw_question_walk(question, GW_FIND_BUDGET, is_not_it)) {
        gw_question_pause(question, walk_here);
        return;
    }
    found->is_cut = !found->is_here && !question->walk.is_done;
    go_there(question);
}

void gw_sessions_find(struct gw_question *question, const char *text,
                      size_t len, gw_step_fn then)
{
    struct gw_found *found = &question->found;
    const struct store_key sid = {found->text, len};
    *found = (struct gw_found){.text_len = len};
    question->then = then;
    if (len == 0 || len > sizeof(found->text)) {
        found->text_len = 0;
        then(question);
        return;
    }
    memcpy(found->text, text, len);
    if (gw_session_id_is(text, len))
        memcpy(found->id, text, len);
    found->is_here = store_memory_look(question->sessions->server->memory, sid,
                                       &found->here);
    if (found->is_here || found->id[0] == '\0')
        go_there(question);
    else
        walk_here(question);
}

/* ---- the answer ---- */

static void refuse_cut(struct gw_question *question)
{
    char error[128];
    snprintf(error, sizeof(error),
             "no session has this id among the %zu that were looked at: give "
             "its sid",
             question->looked_at);
    gw_question_refuse(question, 404, error);
}

void gw_sessions_missing(struct gw_question *question)
{
    const struct gw_found *found = &question->found;
    if (found->is_away)
        gw_question_refuse(question, 503,
                           "the store is away, and this replica does not know "
                           "the session");
    else if (found->is_cut)
        refuse_cut(question);
    else
        gw_question_refuse(question, 404, "no session has this id");
}

static bool find_ended(const struct gw_question *question,
                       struct gw_session_row *row)
{
    const struct gw_sessions *sessions = question->sessions;
    const struct gw_found *found = &question->found;
    struct gw_ends *ends = sessions->server->ends;
    char id[GW_SESSION_ID_MAX];
    struct gw_ended ended;
    if (found->text_len == 0)
        return false;
    gw_session_id(sessions->config,
                  (struct store_key){found->text, found->text_len}, id);
    if (!gw_ends_find(ends, id, &ended) &&
        (found->id[0] == '\0' || !gw_ends_find(ends, found->id, &ended)))
        return false;
    gw_session_row_of_ended(row, &ended);
    return true;
}

static void show(struct gw_question *question)
{
    struct gw_session_row row;
    struct gw_text text = {0};
    if (gw_found_any(&question->found)) {
        gw_sessions_row_found(question->sessions, &question->found, &row);
    } else if (!find_ended(question, &row)) {
        gw_sessions_missing(question);
        return;
    }
    gw_text_put(&text, "{\"session\":");
    gw_session_row_put(&text, &row, question->wall_ms, true);
    gw_text_put(&text, "}");
    gw_question_answer(question, &text);
}

void gw_sessions_show(struct gw_question *question)
{
    const struct eio_sid *sid = &question->command.session;
    gw_sessions_find(question, sid->bytes, sid->len, show);
}
