/* SPDX-License-Identifier: MIT */
/*
 * A Redis deployment as one thing that takes commands: a single server, the
 * master that Sentinels name, or a cluster. Which it is, and which node a
 * command goes to, is known here alone.
 *
 *   SINGLE    one link
 *   SENTINEL  one link, to the master; Sentinels are asked for it, and followed
 *   CLUSTER   a link for each node that is in use, opened on demand; a map says
 *             which node has which slot. Commands that are sent elsewhere
 *             (MOVED, ASK) go there, those that must wait (TRYAGAIN, a link
 *             that is being opened) wait, within their time.
 *
 * Every command has one key, which is argv[1] (for PUBLISH: the channel).
 */
#ifndef SIDGATE_STORE_CLIENT_H
#define SIDGATE_STORE_CLIENT_H

#include "store/link.h"
#include "store/slots.h"
#include "store/url.h"

struct store_client;

struct store_client_options {
    struct store_loop *loop;
    const struct store_url *url; /* copied; not of kind MEMORY */
    const char *password;        /* in place of the URL's; NULL: the URL's */
    const char *sentinel_user;   /* for the Sentinels; NULL or "": none */
    const char *sentinel_password;
    const char *name;    /* for CLIENT SETNAME; copied */
    uint32_t timeout_ms; /* of a command */
    /* For store_client_eval; they must outlive the client. */
    const char *const *scripts;
    size_t script_count; /* at most STORE_LINK_SCRIPTS_MAX */

    /* As in store_link_options. Of a cluster: up means that each slot has a
     * master that is not known to be away. It takes commands for some slots
     * before, and after. May be NULL. */
    void (*on_state)(void *arg, bool is_up, const char *why);
    void (*on_error)(void *arg, const char *text);
    /* Of a cluster: another node has these slots than before, or the one that
     * had them was started anew, so that what was written last may be lost.
     * Lives until this returns. May be NULL. */
    void (*on_suspect)(void *arg, const struct store_slots *slots);
    void *arg;
};

/* Begins to connect in the loop's next turns. NULL when memory is short. */
struct store_client *
store_client_new(const struct store_client_options *options);

/* Calls under way are forgotten: their callbacks do not run. NULL is harmless.
 */
void store_client_free(struct store_client *client);

/* Takes commands, of a cluster: for some keys at least. */
bool store_client_is_up(const struct store_client *client);

bool store_client_is_cluster(const struct store_client *client);

/* The node's run_id (see link.h); always "" of a cluster, whose on_suspect
 * tells more. */
const char *store_client_run_id(const struct store_client *client);

/* All slots that are where this one is: with what is not a cluster, or while
 * the map is not known, all. */
void store_client_shard(const struct store_client *client, uint16_t slot,
                        struct store_slots *slots);

/* As store_link_send and store_link_eval; store_link_forget ends the interest
 * in a call. argv[1], and argv[0] for eval, is the key. */
struct store_call *store_client_send(struct store_client *client, int argc,
                                     const char **argv, const size_t *lens,
                                     store_reply_fn done, void *arg);
struct store_call *store_client_eval(struct store_client *client, size_t script,
                                     int argc, const char **argv,
                                     const size_t *lens, store_reply_fn done,
                                     void *arg);

/* ---- walks over all nodes ---- */

/* The masters in an order that stands while they do: the first one whose number
 * is not below *node. False, *node as it was, when there is none. What is not a
 * cluster is one node, 0. */
bool store_client_node(const struct store_client *client, uint32_t *node);

/* As store_client_send, to the node of this number; no redirection. */
struct store_call *store_client_send_to(struct store_client *client,
                                        uint32_t node, int argc,
                                        const char **argv, const size_t *lens,
                                        store_reply_fn done, void *arg);

/* ---- a channel ---- */

struct store_channel {
    const char *name; /* copied */
    void (*on_state)(void *arg, bool is_up, const char *why);
    void (*on_message)(void *arg, const char *bytes, size_t len);
    void *arg;
};

/* Subscribes on a connection of its own, which follows the deployment as
 * commands do. At most one channel for a client, once. False when memory is
 * short. */
bool store_client_subscribe(struct store_client *client,
                            const struct store_channel *channel);

#endif
