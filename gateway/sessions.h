/* SPDX-License-Identifier: MIT */
/*
 * The sessions, for operators: lists, one of them, its end. With the memory
 * store they are this process'; with a shared store those of all replicas, read
 * on a connection of the control thread's own, so that no worker waits. The
 * control thread's.
 */
#ifndef SIDGATE_GATEWAY_SESSIONS_H
#define SIDGATE_GATEWAY_SESSIONS_H

#include "gateway/command.h"

struct gw_control;
struct gw_sessions;

/* Connects to a shared store with the first question. NULL when memory is
 * short. */
struct gw_sessions *gw_sessions_new(struct gw_control *control);
void gw_sessions_free(struct gw_sessions *sessions);

/* GW_VERB_SESSIONS, GW_VERB_SESSION, GW_VERB_KICK: fill the outcome, or say
 * that it is pending and call gw_admin_complete later, within 5 s. */
void gw_sessions_run(struct gw_sessions *sessions,
                     const struct gw_command *command,
                     struct gw_outcome *outcome);

#endif
