/* SPDX-License-Identifier: MIT */
/*
 * What operators did, for the log: who asked for what, and what became of it.
 */
#ifndef SIDGATE_GATEWAY_ADMIN_ACTION_H
#define SIDGATE_GATEWAY_ADMIN_ACTION_H

#include "gateway/admin_guard.h"

enum {
    GW_ACTION_TARGET_MAX = 256,
    GW_ACTION_ERROR_MAX = 256, /* a longer one is cut */
};

struct gw_admin_action {
    const char *name; /* static; NULL: nothing that the log tells */
    char target[GW_ACTION_TARGET_MAX];
    char who[GW_WHO_MAX];
    char error[GW_ACTION_ERROR_MAX]; /* why it was not done; "": it was */
};

/* How many refusals the log has not told, so that a stranger cannot fill it. */
struct gw_admin_refusals {
    bool has_told;
    int64_t told_ms;
    uint64_t more; /* since then */
};

/* "token@127.0.0.1:5555", or "uid=1000" for the peer of a unix socket. */
void gw_admin_who(enum gw_admin_access access, const char *peer,
                  char out[GW_WHO_MAX]);

/* What a command that changes something is called. A session's sid is not in
 * it. */
void gw_admin_action_of(const struct gw_command *command,
                        struct gw_admin_action *action);

/* Keeps why it was not done, in one line. */
void gw_admin_action_fault(struct gw_admin_action *action, const char *error);

/* A line about one that was let in; does nothing without a name. `status` 0:
 * its asker went before there was an answer. */
void gw_admin_action_log(const struct gw_admin_action *action, unsigned status);

/* A line about one that was not, once a second at most. */
void gw_admin_action_refused(const struct gw_admin_action *action,
                             unsigned status,
                             struct gw_admin_refusals *refusals,
                             int64_t now_ms);

#endif
