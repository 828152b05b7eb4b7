/* SPDX-License-Identifier: MIT */
/* The sessions, for operators: questions and their life. */
#include "gateway/control.h"
#include "gateway/log.h"
#include "gateway/sessions_private.h"
#include "gateway/uv_loop.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    DEADLINE_MS = 4500,
    UP_WAIT_MS = 1000,     /* for a link that was never up */
    SLICE_NS = 4000000,    /* of a turn of the loop, for all questions */
    BATCH = 64,            /* records copied at a time */
    BARREN = 1024,         /* what a step that finds none counts as */
    COMMAND_MIN_MS = 1000, /* for one command of Redis: an operator has more
                              patience than a worker */
    COMMAND_MAX_MS = 1500,
};

/* ---- ends ---- */

static void release(struct gw_question *question)
{
    const struct store_loop_ops *ops = question->sessions->loop->ops;
    ops->timer_free(question->deadline);
    ops->timer_free(question->turn);
    if (question->browsing != NULL)
        store_browse_cancel(question->browsing);
    if (question->job != NULL)
        gw_kick_forget(question->job);
    free(question->text.bytes);
    struct gw_sessions *sessions = question->sessions;
    memset(question, 0, sizeof(*question));
    question->sessions = sessions;
}

void gw_question_end(struct gw_question *question, struct gw_outcome *outcome)
{
    struct gw_control *control = question->sessions->control;
    struct gw_ticket ticket = question->command.ticket;
    struct gw_outcome *at = question->outcome;
    if (outcome->status == 0)
        outcome->status = 200;
    release(question);
    if (at != NULL)
        *at = *outcome;
    else
        gw_admin_complete(control->admin, ticket, outcome);
}

void gw_question_refuse(struct gw_question *question, unsigned status,
                        const char *error)
{
    struct gw_outcome outcome = {0};
    gw_outcome_refuse(&outcome, status, "%s", error);
    gw_question_end(question, &outcome);
}

void gw_question_answer(struct gw_question *question, struct gw_text *text)
{
    struct gw_outcome outcome = {0};
    if (text->is_short || text->bytes == NULL) {
        free(text->bytes);
        gw_outcome_refuse(&outcome, 500, "out of memory");
    } else {
        outcome.body = text->bytes;
    }
    *text = (struct gw_text){0};
    gw_question_end(question, &outcome);
}

static void on_deadline(void *arg)
{
    gw_question_refuse(arg, 503, "it took too long");
}

/* ---- steps ---- */

static void on_turn(void *arg)
{
    struct gw_question *question = arg;
    gw_step_fn next = question->next;
    if (question->is_waiting) {
        question->is_waiting = false;
        question->found.is_away = true;
    }
    next(question);
}

void gw_question_pause(struct gw_question *question, gw_step_fn next)
{
    question->next = next;
    question->sessions->loop->ops->timer_start(question->turn, 0);
}

/* The timers of all who wait run out at once; none goes on in here, since it
 * might end the link that calls. */
static void on_link(void *arg, bool is_up, const char *why)
{
    struct gw_sessions *sessions = arg;
    (void)why; /* the workers have said it */
    sessions->link = is_up ? GW_LINK_UP : GW_LINK_DOWN;
    for (size_t i = 0; i < GW_QUESTIONS_MAX; i++) {
        struct gw_question *question = &sessions->questions[i];
        if (!question->is_waiting)
            continue;
        question->is_waiting = false;
        question->found.is_away = !is_up;
        gw_question_pause(question, question->next);
    }
}

/* A right that is missing, for one. Keys of another type are passed over. */
static void on_error(void *arg, const char *text)
{
    (void)arg;
    if (strncmp(text, "WRONGTYPE", 9) != 0)
        gw_log(GW_LOG_WARNING, "store_error", "why", text);
}

static uint32_t command_ms(const struct gw_config *config)
{
    uint32_t ms = config->store_timeout_ms;
    if (ms < COMMAND_MIN_MS)
        return COMMAND_MIN_MS;
    return ms < COMMAND_MAX_MS ? ms : COMMAND_MAX_MS;
}

static bool open_browse(struct gw_sessions *sessions)
{
    const struct gw_config *config = sessions->config;
    const struct store_browse_options options = {
        .loop = sessions->loop,
        .url = &config->store,
        .password =
            config->store_password[0] != '\0' ? config->store_password : NULL,
        .sentinel_user = config->sentinel_user,
        .sentinel_password = config->sentinel_password,
        .prefix = config->store_prefix,
        .name = sessions->server->gateway_id,
        .timeout_ms = command_ms(config),
        .on_state = on_link,
        .on_error = on_error,
        .arg = sessions,
    };
    if (sessions->browse == NULL)
        sessions->browse = store_browse_new(&options);
    return sessions->browse != NULL;
}

void gw_question_reach(struct gw_question *question, gw_step_fn next)
{
    struct gw_sessions *sessions = question->sessions;
    if (!open_browse(sessions)) {
        gw_question_refuse(question, 500, "out of memory");
        return;
    }
    question->found.is_away = !store_browse_is_up(sessions->browse);
    if (!question->found.is_away || sessions->link != GW_LINK_NEW) {
        next(question);
        return;
    }
    question->next = next;
    question->is_waiting = true;
    sessions->loop->ops->timer_start(question->turn, UP_WAIT_MS);
}

/* ---- memory ---- */

/* Of `count` records that were copied only `taken` were looked at: the walk,
 * which was at `before` then, is to be behind these. */
static void step_back(struct gw_question *question,
                      const struct store_memory_walk *before,
                      struct store_memory_item *items, size_t taken,
                      size_t count)
{
    struct store_memory *memory = question->sessions->server->memory;
    if (taken == count)
        return;
    question->walk = *before;
    while (taken > 0 && !question->walk.is_done)
        taken -= store_memory_collect(memory, &question->walk, STORE_MEMORY_ANY,
                                      items, taken);
}

/* Those under way may all have a step in the same turn. */
static uint64_t slice_ns(const struct gw_sessions *sessions)
{
    uint64_t count = 0;
    for (size_t i = 0; i < GW_QUESTIONS_MAX; i++)
        count += sessions->questions[i].is_taken;
    return SLICE_NS / (count > 0 ? count : 1);
}

bool gw_question_walk(struct gw_question *question, size_t budget,
                      bool (*each)(struct gw_question *question,
                                   const struct store_memory_item *item))
{
    struct store_memory *memory = question->sessions->server->memory;
    struct store_memory_item items[BATCH];
    uint64_t until_ns = uv_hrtime() + slice_ns(question->sessions);
    size_t barren = 0;
    while (!question->walk.is_done && question->looked_at + barren < budget) {
        struct store_memory_walk before = question->walk;
        size_t left = budget - question->looked_at;
        size_t count =
            store_memory_collect(memory, &question->walk, STORE_MEMORY_ANY,
                                 items, left < BATCH ? left : BATCH);
        for (size_t i = 0; i < count; i++) {
            question->looked_at++;
            if (each(question, &items[i]))
                continue;
            step_back(question, &before, items, i + 1, count);
            return true;
        }
        barren += count == 0 ? BARREN : 0;
        if (uv_hrtime() >= until_ns)
            return question->walk.is_done;
    }
    return true;
}

/* ---- life ---- */

static struct gw_question *take(struct gw_sessions *sessions)
{
    const struct store_loop_ops *ops = sessions->loop->ops;
    struct gw_question *question = NULL;
    for (size_t i = 0; i < GW_QUESTIONS_MAX && question == NULL; i++)
        if (!sessions->questions[i].is_taken)
            question = &sessions->questions[i];
    if (question == NULL)
        return NULL;
    question->deadline = ops->timer_new(sessions->loop, on_deadline, question);
    question->turn = ops->timer_new(sessions->loop, on_turn, question);
    if (question->deadline == NULL || question->turn == NULL) {
        release(question);
        return NULL;
    }
    question->is_taken = true;
    question->wall_ms = gw_wall_ms();
    ops->timer_start(question->deadline, DEADLINE_MS);
    return question;
}

void gw_sessions_run(struct gw_sessions *sessions,
                     const struct gw_command *command,
                     struct gw_outcome *outcome)
{
    struct gw_question *question = take(sessions);
    if (question == NULL) {
        gw_outcome_refuse(outcome, 503, "too many questions at once");
        return;
    }
    question->command = *command;
    question->outcome = outcome;
    if (command->verb == GW_VERB_SESSIONS)
        gw_sessions_list(question);
    else if (command->verb == GW_VERB_SESSION)
        gw_sessions_show(question);
    else
        gw_sessions_kick(question);
    outcome->is_pending = question->is_taken;
    question->outcome = NULL;
}

struct gw_sessions *gw_sessions_new(struct gw_control *control)
{
    struct gw_sessions *sessions = calloc(1, sizeof(*sessions));
    if (sessions == NULL)
        return NULL;
    sessions->control = control;
    sessions->server = control->server;
    sessions->config = control->server->boot;
    for (size_t i = 0; i < GW_QUESTIONS_MAX; i++)
        sessions->questions[i].sessions = sessions;
    sessions->loop = gw_uv_loop_new(&control->loop, sessions->server->tls);
    sessions->kicks = gw_kick_box_new(sessions);
    if (sessions->loop != NULL && sessions->kicks != NULL &&
        getrandom(sessions->cursor_key, sizeof(sessions->cursor_key), 0) ==
            (ssize_t)sizeof(sessions->cursor_key))
        return sessions;
    gw_sessions_free(sessions);
    return NULL;
}

/* Who asked is gone with the operator plane. */
void gw_sessions_free(struct gw_sessions *sessions)
{
    if (sessions == NULL)
        return;
    for (size_t i = 0; i < GW_QUESTIONS_MAX; i++)
        if (sessions->questions[i].is_taken)
            release(&sessions->questions[i]);
    store_browse_free(sessions->browse);
    gw_kick_box_close(sessions->kicks);
    gw_uv_loop_free(sessions->loop);
    free(sessions);
}
