/* SPDX-License-Identifier: MIT */
/*
 * The old process of an upgrade: it starts the new one, gives it everything,
 * and finishes what could not go.
 *
 *   IDLE -> STARTING  the new process is on its way up
 *           OPENING   it opens what was not given to it
 *           (the workers stand still, everything is sent, both agree)
 *           DONE      it is the gateway now
 *
 * Whatever goes wrong before the new process has said COMMITTED, this one goes
 * on as if nothing had happened: what it sent were copies.
 */
#ifndef SIDGATE_GATEWAY_UPGRADE_H
#define SIDGATE_GATEWAY_UPGRADE_H

#include "gateway/affinity.h"
#include "gateway/handover.h"

struct gw_control;
struct gw_server;

/* Where it was started from, for the new process; at the start. */
void gw_upgrade_note_program(const char *argv0);

/* False with one line in `error` when it cannot even be begun: one is under
 * way, the process is the first of its container, seccomp forbids it, the
 * program cannot be run. How it goes on is logged, and told by
 * gw_upgrade_state. */
bool gw_upgrade_begin(struct gw_control *control, char error[512]);

/* JSON: {"state":"idle|starting|done|failed","pid":N,"error":"..."}; with
 * "from", in a process that an upgrade has started, the old one's pid. */
void gw_upgrade_state(const struct gw_control *control, char *json, size_t cap);

/* At the end. */
void gw_upgrade_free(struct gw_control *control);

/* ---- after the handover: what the old process still has to say ---- */

/* Takes what the bundle has; its descriptors stay the caller's, who takes them
 * off epoll: with the last one closed somewhere else that could not be done any
 * more. False where there is no new process. Any thread. */
bool gw_late_send(struct gw_server *server, struct gw_bundle *bundle);

/* The bind's `done` runs once the new process knows of it, or cannot be told;
 * never before this returns. False: there is nobody to tell. */
bool gw_late_bind(struct gw_worker *worker, struct gw_bind *bind,
                  bool is_written);
/* `done` will not run. */
void gw_late_bind_cancel(struct gw_bind *bind);
void gw_late_unbind(struct gw_worker *worker, const struct eio_sid *sid,
                    const char *backend);
void gw_late_renew(struct gw_worker *worker, const struct eio_sid *sid,
                   const struct store_record *record, int64_t life_ms);

/* What became movable since, and binds that have waited for too long. In each
 * worker, now and then. */
void gw_late_step(struct gw_worker *worker);

#endif
