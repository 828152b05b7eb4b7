/* SPDX-License-Identifier: MIT */
/*
 * The sockets that the process listens on, over all workers. The control
 * thread opens them; each is then a worker's (listener.h), which closes it.
 */
#ifndef SIDGATE_GATEWAY_LISTEN_SET_H
#define SIDGATE_GATEWAY_LISTEN_SET_H

#include "gateway/config.h"
#include "gateway/unix_socket.h"

enum {
    GW_LISTEN_FDS_MAX = 64,
    GW_LISTEN_BACKLOG = 4096,
};

struct gw_listen_entry {
    struct gw_listen_config config; /* with the port that was bound */
    struct gw_unix_file file;
    int fds[GW_LISTEN_FDS_MAX]; /* the i-th is of worker i modulo their
                                   number; those of a set that is given to us
                                   are nobody's yet */
    size_t count;
    bool is_shared;  /* all are one socket, which the workers share */
    bool is_foreign; /* its file is whose who gave it, and stays */
    bool is_given;   /* another process opened it: while it may still be in use
                        there its file is not removed */
};

struct gw_listen_set {
    struct gw_listen_entry entries[GW_LISTEN_COUNT_MAX];
    size_t count;
};

/* NULL when there is none of this address, as the user wrote it. */
struct gw_listen_entry *gw_listen_find(struct gw_listen_set *set,
                                       const char *text);

/* Adds a listening socket that another process has opened. is_foreign: if it
 * has a file, that is not ours to remove. False when there
 * are too many; `fd` is the caller's then. */
bool gw_listen_give(struct gw_listen_set *given, const char *text, int fd,
                    bool is_foreign);

/* Fills `next` with what `config` wants: what `now` has stays as it is, what
 * is in `given` is taken from there, the rest is opened. A port of the
 * kernel's choice is written into the configuration. A trial bind without
 * SO_REUSEPORT shows a second gateway on the same port. False with one line in
 * `error`, and nothing opened. */
bool gw_listen_prepare(struct gw_listen_set *next, struct gw_listen_set *now,
                       struct gw_listen_set *given, struct gw_config *config,
                       char error[256]);

/* Closes what `next` has and `now` has not. */
void gw_listen_discard(struct gw_listen_set *next, struct gw_listen_set *now);

/* Closes all. */
void gw_listen_close(struct gw_listen_set *set);

/* Gives the files of the unix sockets that are in both the modes of `next`. */
void gw_listen_set_modes(struct gw_listen_set *now, struct gw_listen_set *next);

/* Removes the files of the unix sockets that `next` (NULL: nothing) does not
 * have. */
void gw_listen_unlink(struct gw_listen_set *set, struct gw_listen_set *next);

#endif
