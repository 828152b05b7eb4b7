/* SPDX-License-Identifier: MIT */
/* What the parts of the old process's side share. Not for others. */
#ifndef SIDGATE_GATEWAY_UPGRADE_PRIVATE_H
#define SIDGATE_GATEWAY_UPGRADE_PRIVATE_H

#include "gateway/control.h"
#include "gateway/upgrade.h"
#include "gateway/worker.h"

enum gw_upgrade_phase {
    GW_UPGRADE_IDLE,
    GW_UPGRADE_STARTING,
    GW_UPGRADE_OPENING,
    GW_UPGRADE_DONE,
    GW_UPGRADE_FAILED,
};

struct gw_upgrade {
    struct gw_control *control;
    enum gw_upgrade_phase phase;
    int fd; /* to the new process; -1: none */
    uv_poll_t *poll;
    uv_process_t *process; /* the new one, until it is known to have ended */
    uv_timer_t timer;      /* the time that it has; later: the end of ours */
    int64_t began_ms;
    int pid;
    int64_t status; /* with which it ended */
    bool is_closing;
    char error[256];
    char *buffer; /* GW_MESSAGE_MAX + 1 bytes */
};

/* upgrade_freeze.c: with all workers standing still, everything is sent over
 * `fd`. True: the new process has it, and the workers have let go. Else they go
 * on as before, and `error` says why. */
bool gw_upgrade_transfer(struct gw_server *server, int fd, char *buffer,
                         char error[256]);

/* late.c: messages to the new process while the old one finishes. */
struct gw_late *gw_late_new(struct gw_server *server, uv_loop_t *loop, int fd);
/* The new process has said something. */
void gw_late_hear(struct gw_late *late, const struct gw_message *message);
/* The new process is gone: nobody waits for it any more. */
void gw_late_end(struct gw_late *late);
/* Sends what is left, and frees; after the workers have ended. */
void gw_late_free(struct gw_late *late);

#endif
