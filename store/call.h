/* SPDX-License-Identifier: MIT */
/*
 * A command on its way: its bytes, who waits for its reply, and until when.
 *
 * A link owns it from the moment it is sent until its reply came, also when
 * nobody waits for that any more (`done` is NULL then). In a cluster it may
 * stray: then it is handed from one link to another. Private to store/.
 */
#ifndef SIDGATE_STORE_CALL_H
#define SIDGATE_STORE_CALL_H

#include "store/link.h"

/* Bytes for the wire. */
struct store_bytes {
    char *ptr;
    size_t len;
    size_t size;
    bool is_short; /* memory was short: what is in it is no use */
};

/* Appends the head of a command, and an argument, in Redis' form. */
void store_bytes_head(struct store_bytes *bytes, int argc);
void store_bytes_arg(struct store_bytes *bytes, const char *arg, size_t len);
void store_bytes_append(struct store_bytes *bytes, const void *data,
                        size_t len);

/* A whole command of strings. */
void store_bytes_command(struct store_bytes *bytes, int argc,
                         const char *const *argv);

/* A node of the cluster that is meant by its own name, not by a slot; see
 * cluster_private.h. */
enum { STORE_ROUTE_BY_SLOT = -1 };

struct store_route {
    uint16_t slot;
    int16_t node;  /* STORE_ROUTE_BY_SLOT, or the node's place */
    uint8_t hops;  /* redirections so far */
    bool is_fixed; /* `node` is the caller's wish */
    bool is_asking;
};

struct store_call {
    struct store_call *next; /* in a link, or with those that wait */
    store_reply_fn done;
    void *arg;
    int64_t due_ms;
    int64_t sent_ms; /* to the node that has it now */
    struct store_route route;
    int script;     /* its number; -1: a plain command */
    bool is_hashed; /* EVALSHA was sent last */
    int argc;       /* of the arguments in `args` */
    size_t len;
    char args[]; /* as Redis reads them; of a script those behind its name */
};

/* A call that no link has yet; due_ms is the caller's to set. NULL when memory
 * is short. */
struct store_call *store_call_new(int script, int argc, const char **argv,
                                  const size_t *lens, store_reply_fn done,
                                  void *arg);

/* The error of a script whose key began to be elsewhere while it ran: it must
 * run again. (link_text.c) */
bool store_link_is_cut_script(const char *text);

/* Calls `done`, if it is still wanted; no more after. */
void store_call_finish(struct store_call *call, const struct redisReply *reply);

/* The same, and frees the call. */
void store_call_end(struct store_call *call, const struct redisReply *reply);

#endif
