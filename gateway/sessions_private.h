/* SPDX-License-Identifier: MIT */
/*
 * What the files of the sessions share. Not for others.
 *
 * A question is a command on its way to its answer. It takes its steps in the
 * loop's thread, none of which holds the loop for long: it looks through memory
 * in slices, and waits for Redis by callbacks. Each step either ends the
 * question or sees to the next one; whatever it waits for, its time ends.
 */
#ifndef SIDGATE_GATEWAY_SESSIONS_PRIVATE_H
#define SIDGATE_GATEWAY_SESSIONS_PRIVATE_H

#include "gateway/session_page.h"
#include "gateway/session_row.h"
#include "gateway/sessions.h"
#include "store/browse.h"
#include "store/memory.h"

enum {
    GW_QUESTIONS_MAX = 16,
    GW_FIND_BUDGET = 200000, /* records looked at for an id */
    GW_STORE_WAIT_MS = 2500, /* for one walk, or one record */
};

struct gw_question;
struct gw_kick_job;
typedef void (*gw_step_fn)(struct gw_question *question);

/* What a text stands for: a sid, or an id. */
struct gw_found {
    char text[STORE_KEY_MAX]; /* what is looked for */
    size_t text_len;
    char id[GW_SESSION_ID_MAX]; /* the same, where it has the form of an id */
    bool is_away;  /* the shared store is: what it has is not known */
    bool is_cut;   /* there are more than were looked at */
    bool is_here;  /* it is in memory: its sid is known */
    bool is_there; /* it is in the shared store */
    bool is_sid;   /* the text is its sid */
    struct store_memory_item here;
    struct store_browse_item there;
};

struct gw_question {
    struct gw_sessions *sessions;
    bool is_taken;
    struct gw_command command;
    struct gw_outcome *outcome;   /* where the answer goes while gw_sessions_run
                                     has not returned; else NULL */
    struct store_timer *deadline; /* of all of it */
    struct store_timer *turn;     /* until the next step */
    gw_step_fn next;
    bool is_waiting; /* for the link to come up */
    struct store_browsing *browsing;
    struct gw_kick_job *job;
    size_t looked_at;
    struct store_memory_walk walk; /* through memory */
    struct gw_found found;
    gw_step_fn then; /* once it is known whether there is one */
    struct gw_session_match match;
    struct gw_cursor cursor; /* kind 0: from the beginning */
    struct gw_text text;     /* the rows so far */
    size_t rows;
    size_t kept_rows; /* of a walk through the shared store, which may take */
    size_t kept_len;  /* back what it gave: where the text goes on then */
    int64_t wall_ms;
    void (*kicked)(struct gw_question *question, bool is_good);
};

enum gw_link_state {
    GW_LINK_NEW, /* not known yet */
    GW_LINK_UP,
    GW_LINK_DOWN,
};

struct gw_kick_box;

struct gw_sessions {
    struct gw_control *control;
    struct gw_server *server;
    const struct gw_config *config; /* of the start */
    struct store_loop *loop;
    struct store_browse *browse; /* NULL until it is needed */
    enum gw_link_state link;
    struct gw_kick_box *kicks;
    int64_t kick_second; /* when, and how many by then */
    unsigned kick_count;
    uint64_t cursor_key[2];
    struct gw_question questions[GW_QUESTIONS_MAX];
};

/* ---- sessions.c ---- */

/* Answers; the question is free then. Takes the body over. */
void gw_question_end(struct gw_question *question, struct gw_outcome *outcome);
void gw_question_refuse(struct gw_question *question, unsigned status,
                        const char *error);

/* What was written is the body, malloc'd. */
void gw_question_answer(struct gw_question *question, struct gw_text *text);

/* Takes `next` in another turn of the loop. */
void gw_question_pause(struct gw_question *question, gw_step_fn next);

/* Takes `next` once the shared store can be asked, or is known to be away:
 * then found.is_away is set. */
void gw_question_reach(struct gw_question *question, gw_step_fn next);

/* Walks on through memory until `each` returns false, or `budget` records have
 * been looked at for this question, or there are no more: true. False when a
 * slice is over: then it is to be called again in another turn. */
bool gw_question_walk(struct gw_question *question, size_t budget,
                      bool (*each)(struct gw_question *question,
                                   const struct store_memory_item *item));

/* ---- sessions_list.c ---- */

void gw_sessions_list(struct gw_question *question);

/* ---- sessions_find.c ---- */

void gw_sessions_show(struct gw_question *question);

/* Looks for `len` bytes, as a sid or as an id, in memory and in the shared
 * store; fills question->found and takes `then`. */
void gw_sessions_find(struct gw_question *question, const char *text,
                      size_t len, gw_step_fn then);

static inline bool gw_found_any(const struct gw_found *found)
{
    return found->is_here || found->is_there;
}

/* Ends a question about one session that was not found. */
void gw_sessions_missing(struct gw_question *question);

/* Rows of sessions from memory, and from the shared store. */
void gw_sessions_row_here(const struct gw_sessions *sessions,
                          const struct store_memory_item *item,
                          struct gw_session_row *row);
void gw_sessions_row_there(const struct gw_sessions *sessions,
                           const struct store_browse_item *item,
                           struct gw_session_row *row);
void gw_sessions_row_found(const struct gw_sessions *sessions,
                           const struct gw_found *found,
                           struct gw_session_row *row);

/* ---- sessions_kick.c ---- */

void gw_sessions_kick(struct gw_question *question);

/* NULL when memory is short. */
struct gw_kick_box *gw_kick_box_new(struct gw_sessions *sessions);
void gw_kick_box_close(struct gw_kick_box *box);

/* The question has ended before its job. */
void gw_kick_forget(struct gw_kick_job *job);

#endif
