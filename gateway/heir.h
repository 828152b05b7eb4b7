/* SPDX-License-Identifier: MIT */
/* The new process of an upgrade: it takes over what the old one has. */
#ifndef SIDGATE_GATEWAY_HEIR_H
#define SIDGATE_GATEWAY_HEIR_H

#include "gateway/control.h"

/* In the environment of the new process. */
#define GW_HEIR_VARIABLE "SIDGATE_UPGRADE_FD"

struct gw_heir;

/* NULL when this process is nobody's heir. */
struct gw_heir *gw_heir_open(void);
void gw_heir_free(struct gw_heir *heir);

/* Greets the old process and takes its identity and its sockets; *admin: that
 * of the operator listener, -1 for none. */
bool gw_heir_meet(struct gw_heir *heir, struct gw_server *server,
                  struct gw_listen_set *given, int *admin, char error[256]);

/* With everything open and no worker's thread running: takes backends,
 * sessions, tunnels and connections over. When it returns true the old process
 * has let go of them. */
bool gw_heir_take(struct gw_heir *heir, struct gw_server *server,
                  char error[256]);

/* This process cannot go on: the old one is told why. NULL is allowed. */
void gw_heir_refuse(struct gw_heir *heir, const char *why);

/* The workers run: clients are let in, and what the old process finishes is
 * heard of in the loop. */
void gw_heir_stay(struct gw_heir *heir, struct gw_control *control);

/* In a further upgrade: the next process hears, from its commit on, what those
 * before this one still have to say. NULL is allowed. */
bool gw_heir_pass_on(const struct gw_heir *heir, int fd, int64_t until_ms);

/* Once the next process does, or before the loop's end. NULL is allowed. */
void gw_heir_hang_up(struct gw_heir *heir);

/* 0: nobody's heir. */
int gw_heir_old_pid(void);

#endif
