/* SPDX-License-Identifier: MIT */
/* What the files of a link share. Private to store/link*.c. */
#ifndef SIDGATE_STORE_LINK_PRIVATE_H
#define SIDGATE_STORE_LINK_PRIVATE_H

#include "store/call.h"

#include <hiredis/hiredis.h>

struct store_reply_reader;

enum {
    STORE_LINK_SHA_LEN = 40,
    STORE_LINK_STEPS_MAX = 5 + STORE_LINK_SCRIPTS_MAX,
    STORE_LINK_WHY_MAX = 256,
    STORE_LINK_TEXT_MAX = 200, /* bytes of a text of Redis that are shown */
};

enum store_link_state {
    STORE_LINK_DOWN,
    STORE_LINK_CONNECTING,
    STORE_LINK_SETUP,
    STORE_LINK_UP,
    STORE_LINK_STALLED,
};

/* The commands of SETUP; a reply to each is awaited in their order. */
enum store_link_step {
    STORE_STEP_AUTH,
    STORE_STEP_SELECT,
    STORE_STEP_NAME,
    STORE_STEP_SCRIPT,
    STORE_STEP_INFO,
    STORE_STEP_SUBSCRIBE,
};

struct store_link {
    struct store_loop *loop;
    struct store_link_options options; /* its strings are those below */
    char *strings[4];
    enum store_link_state state;
    struct store_wire *wire;
    struct store_reply_reader *reader;
    struct store_timer *state_timer; /* the next attempt, SETUP's end, PING,
                                        the end of STALLED */
    struct store_timer *call_timer;  /* never later than the first due_ms */
    int64_t call_timer_ms;           /* when it fires, while it is on */
    bool is_call_timer_on;
    struct store_bytes out;

    struct store_call *first_call; /* in the order of their replies */
    struct store_call **last_call;
    size_t call_count;

    enum store_link_step steps[STORE_LINK_STEPS_MAX];
    size_t step_count;
    size_t step;   /* the one whose reply comes next */
    size_t loaded; /* scripts */
    char (*shas)[STORE_LINK_SHA_LEN];
    char run_id[64];

    unsigned attempts;            /* that failed, or did not stay UP for long */
    int64_t up_ms;                /* when it came UP */
    bool has_failed;              /* since the node has this address */
    bool is_pinged;               /* the answer to PING is awaited */
    int64_t error_ms;             /* when on_error may be called again */
    char why[STORE_LINK_WHY_MAX]; /* told last; "" after UP */

    /* Callbacks may free the link: its memory stays until the last of the
     * functions that run on it has left. */
    unsigned entered;
    bool is_freed;
};

/* ---- link.c ---- */

/* Ends the connection, if there is one, and all calls; the next attempt
 * follows. `why` may be the link's own text. */
void store_link_drop(struct store_link *link, const char *why);

/* SETUP is done. */
void store_link_set_up(struct store_link *link);

/* False when memory is short or the wire is gone: nothing was written. Empties
 * link->out. */
bool store_link_flush(struct store_link *link);

/* ---- link_call.c ---- */

/* Sends a PING of the link's own, to see how long it takes. */
void store_link_probe(struct store_link *link);

/* Whether a reply that comes now is in time for the oldest call. */
bool store_link_is_in_time(const struct store_link *link);

/* The reply to the oldest call, whose memory it ends. */
void store_link_answer(struct store_link *link, const redisReply *reply);

/* Ends all calls with NULL, until a callback frees the link. */
void store_link_end_calls(struct store_link *link);

/* Frees all calls; no callback runs. */
void store_link_free_calls(struct store_link *link);

/* Ends the calls whose time is over, and sets the timer for the others.
 * Returns whether there were any, before their callbacks run; so it is two
 * functions. */
bool store_link_is_late(const struct store_link *link);
void store_link_end_late(struct store_link *link);

/* ---- link_setup.c ---- */

/* Writes SETUP's commands. False when memory is short. */
bool store_link_begin_setup(struct store_link *link);

/* A reply during SETUP; ends SETUP with its last one, or the connection. */
void store_link_setup_reply(struct store_link *link, const redisReply *reply);

/* ---- link_text.c ---- */

/* What an error reply means for a link that is UP and cannot stay so; NULL for
 * one that concerns its command only. */
const char *store_link_error_words(const char *text);

/* An error by which a node of a cluster sends a command elsewhere, or has it
 * wait. */
bool store_link_is_stray(const char *text);

/* What an error reply to a command of SETUP means, in `why`. */
void store_link_setup_words(const struct store_link *link, const char *command,
                            const char *text, char why[STORE_LINK_WHY_MAX]);

/* The text as one line of printable characters; a text that holds the password
 * becomes an empty one. */
void store_link_clean(const struct store_link *link, const char *text,
                      char out[STORE_LINK_TEXT_MAX + 1]);

#endif
