/* SPDX-License-Identifier: MIT */
/*
 * The end of a session by the operator's word.
 *
 * With a shared store the word goes out on its channel, where this replica
 * hears it too. It names the session by its sid where that is known, since only
 * that ends it between two polls as well; the sid is of no use to anybody from
 * then on. Otherwise it names the key in Redis.
 */
#include "gateway/control.h"
#include "gateway/kick.h"
#include "gateway/sessions_private.h"
#include "gateway/worker.h"

#include <stdlib.h>
#include <string.h>

enum { KICKS_PER_SECOND = 100 };

/* What the first worker is asked to do. */
struct gw_kick_job {
    struct gw_mail mail;
    struct gw_kick_job *next;
    struct gw_kick_box *box;
    struct gw_question *question; /* NULL: it has ended */
    bool is_good;
    struct store_memory_item item;
};

/* Where its answers come back. Jobs may outlive the sessions: a worker's mail
 * is delivered at its very end. */
struct gw_kick_box {
    uv_async_t async;
    pthread_mutex_t lock;
    struct gw_server *server;
    struct gw_kick_job *done;
    bool is_open;
    size_t holders; /* jobs under way, and the handle */
};

/* ---- the box ---- */

static void let_go(struct gw_kick_box *box)
{
    pthread_mutex_lock(&box->lock);
    bool is_last = --box->holders == 0;
    pthread_mutex_unlock(&box->lock);
    if (!is_last)
        return;
    pthread_mutex_destroy(&box->lock);
    free(box);
}

static struct gw_kick_job *take_done(struct gw_kick_box *box)
{
    pthread_mutex_lock(&box->lock);
    struct gw_kick_job *job = box->done;
    box->done = NULL;
    pthread_mutex_unlock(&box->lock);
    return job;
}

static void on_done(uv_async_t *async)
{
    struct gw_kick_box *box = async->data;
    struct gw_kick_job *next;
    for (struct gw_kick_job *job = take_done(box); job != NULL; job = next) {
        struct gw_question *question = job->question;
        bool is_good = job->is_good;
        next = job->next;
        free(job);
        let_go(box);
        if (question == NULL)
            continue;
        question->job = NULL;
        question->kicked(question, is_good);
    }
}

static void on_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

struct gw_kick_box *gw_kick_box_new(struct gw_sessions *sessions)
{
    struct gw_kick_box *box = calloc(1, sizeof(*box));
    if (box == NULL ||
        uv_async_init(&sessions->control->loop, &box->async, on_done) != 0) {
        free(box);
        return NULL;
    }
    box->async.data = box;
    box->server = sessions->server;
    box->is_open = true;
    box->holders = 1;
    pthread_mutex_init(&box->lock, NULL);
    return box;
}

void gw_kick_box_close(struct gw_kick_box *box)
{
    struct gw_kick_job *next;
    if (box == NULL)
        return;
    pthread_mutex_lock(&box->lock);
    box->is_open = false;
    pthread_mutex_unlock(&box->lock);
    for (struct gw_kick_job *job = take_done(box); job != NULL; job = next) {
        next = job->next;
        free(job);
        let_go(box);
    }
    uv_close((uv_handle_t *)&box->async, on_closed);
}

/* ---- here ---- */

/* In the worker's thread, or in that of its end, when nothing is kicked any
 * more. */
static void deliver(struct gw_worker *worker, struct gw_mail *mail)
{
    struct gw_kick_job *job = GW_CONTAINER(mail, struct gw_kick_job, mail);
    struct gw_kick_box *box = job->box;
    (void)worker;
    pthread_mutex_lock(&box->lock);
    bool is_open = box->is_open;
    pthread_mutex_unlock(&box->lock);
    if (is_open)
        job->is_good = gw_kick(box->server, job->item.key, job->item.key_len);
    pthread_mutex_lock(&box->lock);
    is_open = box->is_open;
    if (is_open) {
        job->next = box->done;
        box->done = job;
        uv_async_send(&box->async);
    }
    pthread_mutex_unlock(&box->lock);
    if (is_open)
        return;
    free(job);
    let_go(box);
}

void gw_kick_forget(struct gw_kick_job *job)
{
    job->question = NULL;
}

static void kick_here(struct gw_question *question,
                      void (*kicked)(struct gw_question *question,
                                     bool is_good))
{
    struct gw_kick_box *box = question->sessions->kicks;
    struct gw_kick_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        gw_question_refuse(question, 500, "out of memory");
        return;
    }
    job->mail.deliver = deliver;
    job->box = box;
    job->question = question;
    job->item = question->found.here;
    pthread_mutex_lock(&box->lock);
    box->holders++;
    pthread_mutex_unlock(&box->lock);
    question->job = job;
    question->kicked = kicked;
    gw_worker_post(box->server->workers[0], &job->mail);
}

/* ---- answers ---- */

static void refuse_many(struct gw_question *question)
{
    gw_question_refuse(question, 429, "too many kicks in this second");
}

static void tell(struct gw_question *question, int64_t gateways)
{
    struct gw_text text = {0};
    gw_text_put(&text, "{\"ok\":true,\"gateways\":");
    gw_text_put_count(&text, (uint64_t)gateways);
    gw_text_put(&text, "}");
    gw_question_answer(question, &text);
}

static void on_kicked(struct gw_question *question, bool is_good)
{
    if (is_good)
        tell(question, 1);
    else
        refuse_many(question);
}

static void on_kicked_alone(struct gw_question *question, bool is_good)
{
    if (is_good)
        gw_question_refuse(question, 503,
                           "the store is away: only this replica was told");
    else
        refuse_many(question);
}

static void kick_alone(struct gw_question *question)
{
    if (question->found.is_here)
        kick_here(question, on_kicked_alone);
    else
        gw_question_refuse(question, 503, "the store is away: nobody was told");
}

/* ---- everywhere ---- */

/* Each replica takes as many in the same second of the same clock, and tells
 * nobody of those that it drops. */
static bool is_allowed(struct gw_sessions *sessions)
{
    int64_t second = gw_now_ms() / 1000;
    if (second != sessions->kick_second) {
        sessions->kick_second = second;
        sessions->kick_count = 0;
    }
    return sessions->kick_count++ < KICKS_PER_SECOND;
}

static void on_published(void *arg, int64_t receivers)
{
    struct gw_question *question = arg;
    question->browsing = NULL;
    if (receivers < 0)
        kick_alone(question);
    else if (receivers > 0)
        tell(question, receivers);
    else if (question->found.is_here)
        kick_here(question, on_kicked);
    else
        gw_question_refuse(question, 503, "no replica listens: none was told");
}

static void publish(struct gw_question *question)
{
    struct gw_sessions *sessions = question->sessions;
    const struct gw_found *found = &question->found;
    struct store_key key = {found->there.key, found->there.key_len};
    if (found->is_here)
        key = (struct store_key){found->here.key, found->here.key_len};
    else if (found->is_sid)
        key = (struct store_key){found->text, found->text_len};
    if (!is_allowed(sessions)) {
        refuse_many(question);
        return;
    }
    question->browsing =
        store_browse_kick(sessions->browse, key, on_published, question);
    if (question->browsing == NULL)
        kick_alone(question);
}

static void on_found(struct gw_question *question)
{
    const struct gw_found *found = &question->found;
    if (!gw_found_any(found))
        gw_sessions_missing(question);
    else if (!question->sessions->server->is_shared)
        kick_here(question, on_kicked);
    else if (found->is_away)
        kick_alone(question);
    else
        publish(question);
}

void gw_sessions_kick(struct gw_question *question)
{
    const struct eio_sid *sid = &question->command.session;
    gw_sessions_find(question, sid->bytes, sid->len, on_found);
}
