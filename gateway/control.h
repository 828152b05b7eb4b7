/* SPDX-License-Identifier: MIT */
/*
 * The control thread: signals, the operator plane, health checks, discovery,
 * reload, upgrade, shutdown. The one that runs main().
 */
#ifndef SIDGATE_GATEWAY_CONTROL_H
#define SIDGATE_GATEWAY_CONTROL_H

#include "gateway/admin.h"
#include "gateway/discovery.h"
#include "gateway/health.h"
#include "gateway/privileges.h"
#include "gateway/server.h"

#include <uv.h>

struct gw_history;
struct gw_sessions;
struct gw_upgrade;

struct gw_control {
    uv_loop_t loop;
    uv_signal_t term;
    uv_signal_t interrupt;
    uv_signal_t hangup;
    uv_signal_t reopen;         /* SIGUSR1: the access log's file */
    uv_signal_t upgrade_signal; /* SIGUSR2 */
    uv_timer_t timer;           /* the next step of a shutdown */
    uv_timer_t tick; /* once in 100 ms: drains, places of the table, replies of
                        workers */
    uv_timer_t watchdog;
    struct gw_server *server;
    struct gw_admin *admin;
    struct gw_health *health;
    struct gw_discovery *discovery;
    struct gw_upgrade *upgrade;
    struct gw_history *history;
    struct gw_sessions *sessions;
    char *live_backends; /* JSON that several pages are told, or NULL */
    int64_t live_ms;     /* when it was made */
    struct gw_privileges privileges; /* to run with */
    int64_t deadline_ms;
    bool wants_reload; /* once the one under way is over */
    int argc;          /* as it was started, for reload and upgrade */
    char **argv;
};

/* Everything from an options-checked configuration to the end; what main()
 * returns. */
int gw_control_run(const struct gw_config *config, int argc, char **argv);

/* The same as SIGHUP, with the service manager told. */
bool gw_control_reload(struct gw_control *control, char error[512]);

/* For uv_close of a handle that was malloc'd. */
void gw_control_free_handle(uv_handle_t *handle);

/* reload.c. Reads the whole configuration again and applies it. False with one
 * line in `error` and everything as it was. */
bool gw_reload(struct gw_control *control, char error[512]);

/* drain.c. Rates and deadlines of -1 are the pool's. The control thread. */
void gw_drain_begin(struct gw_control *control, struct gw_backend *backend,
                    int64_t rate, int64_t timeout_ms);
void gw_drain_end(struct gw_control *control, struct gw_backend *backend);

#endif
