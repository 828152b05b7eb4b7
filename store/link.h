/* SPDX-License-Identifier: MIT */
/*
 * One connection to one node, which is made again whenever it is lost.
 *
 * Commands are pipelined. Each ends by its callback within timeout_ms, with
 * the reply or, when none came, with NULL. hiredis reads the replies; its own
 * asynchronous layer is not used, since it aborts the process on a reply that
 * nobody asked for.
 *
 *   DOWN        waits for the next attempt: backoff with jitter
 *   CONNECTING  the wire is being opened
 *   SETUP       AUTH, SELECT, SCRIPT LOAD, INFO or SUBSCRIBE are under way
 *   UP          takes commands
 *   STALLED     a command got no answer in time; others are refused at once
 *               until a PING of the link's own is answered in time (UP again),
 *               or nothing comes for two seconds (DOWN)
 */
#ifndef SIDGATE_STORE_LINK_H
#define SIDGATE_STORE_LINK_H

#include "store/loop.h"

struct redisReply;
struct store_link;
struct store_call;

/* `reply` is NULL when there was none; it lives until the callback returns.
 * It may be an error reply. */
typedef void (*store_reply_fn)(void *arg, const struct redisReply *reply);

/* What the node must be. */
enum store_role {
    STORE_ROLE_SINGLE,  /* a node outside of any cluster that takes writes */
    STORE_ROLE_MASTER,  /* the same, and no replica: what one is told is lost,
                           though it may take it */
    STORE_ROLE_CLUSTER, /* a master or replica of a cluster: commands are sent
                           on from the latter */
    STORE_ROLE_SENTINEL,
};

struct store_link_options {
    struct store_loop *loop;
    struct store_address address;
    enum store_role role;
    const char *user;     /* NULL or "": none. These four strings are copied. */
    const char *password; /* NULL or "": no AUTH */
    const char *channel;  /* not NULL: this link subscribes to the channel and
                             takes no commands */
    const char *name;     /* for CLIENT SETNAME; its failure is ignored */
    unsigned db;          /* 0: no SELECT */
    uint32_t timeout_ms;  /* of a command, 1 or more; a connection and its
                             SETUP may take four times as long, 1 s at least */
    /* Lua scripts for store_link_eval, loaded with each connection; they and
     * the array must outlive the link. */
    const char *const *scripts;
    size_t script_count; /* at most STORE_LINK_SCRIPTS_MAX */

    /* The link came UP (why is NULL), or left UP or STALLED, or could not be
     * made (`why` is one line for the log: "wrong password", "it is a
     * read-only replica", ..., told again only when it differs from the last
     * one). May be NULL. */
    void (*on_state)(void *arg, bool is_up, const char *why);
    /* A command was answered with an error that leaves the link UP: OOM,
     * WRONGTYPE, NOPERM, ...: `text` is Redis' own, cut to a line of at most
     * 200 printable bytes. Told at most once a second. May be NULL. */
    void (*on_error)(void *arg, const char *text);
    void (*on_message)(void *arg, const char *bytes, size_t len);
    /* Of a link to a node of a cluster, where not NULL: a call that somebody
     * waits for was answered with MOVED, ASK, TRYAGAIN or CLUSTERDOWN, or with
     * the error of a script whose key is being moved. `text`
     * is Redis' own, and lives until this returns. The call is the callee's
     * now: it ends with store_link_resend or store_call_end. */
    void (*on_stray)(void *arg, struct store_call *call, const char *text);
    void *arg;
};

enum {
    STORE_LINK_SCRIPTS_MAX = 8,
    STORE_LINK_ARGS_MAX = 300,
    STORE_LINK_CALLS_MAX = 16384, /* under way; more are refused */
};

/* Begins to connect in the loop's next turns. NULL when memory is short. */
struct store_link *store_link_new(const struct store_link_options *options);

/* Calls under way are forgotten: their callbacks do not run. */
void store_link_free(struct store_link *link);

/* Takes commands now; or, of a link that subscribes, hears its channel. */
bool store_link_is_up(const struct store_link *link);

/* It has not tried in vain yet: what is to be sent may wait for it. */
bool store_link_is_new(const struct store_link *link);

/* From now on the node is there. If that is another address, the connection is
 * dropped, its calls end, and the next attempt follows at once. */
void store_link_set_address(struct store_link *link,
                            const struct store_address *address);

/* The node's run_id as INFO gave it with this connection, "" where it is not
 * known (no permission, or not up yet). Lives until the link is lost. */
const char *store_link_run_id(const struct store_link *link);

/* Sends a command; binary-safe. `done` runs later, once. NULL, and `done` will
 * not run, when the link does not take commands now. The arguments need live
 * only until this returns. The handle is dead once `done` ran. */
struct store_call *store_link_send(struct store_link *link, int argc,
                                   const char **argv, const size_t *lens,
                                   store_reply_fn done, void *arg);

/* Calls script number `script` with argv[0] as its only key and the rest as
 * arguments: EVALSHA, and EVAL once if the node has lost the script. */
struct store_call *store_link_eval(struct store_link *link, size_t script,
                                   int argc, const char **argv,
                                   const size_t *lens, store_reply_fn done,
                                   void *arg);

/* `done` will not run; the command may still be carried out. */
void store_link_forget(struct store_call *call);

/* ---- calls that stray (see call.h) ---- */

/* Sends a call on this link, behind ASKING if so. False, the call still the
 * caller's, when the link does not take commands now. */
bool store_link_resend(struct store_link *link, struct store_call *call,
                       bool is_asking) __attribute__((warn_unused_result));

/* No call is under way. */
bool store_link_is_idle(const struct store_link *link);

#endif
