/* SPDX-License-Identifier: MIT */
/* The control thread: start, signals, stop. */
#include "gateway/control.h"
#include "gateway/access_log.h"
#include "gateway/command.h"
#include "gateway/drain.h"
#include "gateway/heir.h"
#include "gateway/history.h"
#include "gateway/log.h"
#include "gateway/notify.h"
#include "gateway/seccomp.h"
#include "gateway/sessions.h"
#include "gateway/shared.h"
#include "gateway/tls.h"
#include "gateway/unix_socket.h"
#include "gateway/upgrade.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    WATCH_MS = 20,
    TICK_MS = 100,
    DISCOVERY_MS = 2000,
};

static int fail(const char *error)
{
    fprintf(stderr, "sidgate: %s\n", error);
    return 1;
}

/* As many descriptors as the hard limit lets us have: a tunnel needs two. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void on_watch(uv_timer_t *timer)
{
    struct gw_control *control = timer->data;
    if (atomic_load(&control->server->busy_workers) == 0) {
        uv_stop(&control->loop);
        return;
    }
    if (gw_now_ms() >= control->deadline_ms) {
        gw_log(GW_LOG_WARNING, "shutdown_cut", "connections",
               gw_num((int64_t)atomic_load(&control->server->open_count)).text);
        gw_server_advance(control->server, GW_PHASE_STOPPED);
        control->deadline_ms = INT64_MAX;
    }
}

static void on_delay_over(uv_timer_t *timer)
{
    struct gw_control *control = timer->data;
    const struct gw_config *config = control->server->config;
    control->deadline_ms = gw_now_ms() + config->shutdown_timeout_ms;
    gw_server_advance(control->server, GW_PHASE_DRAINING);
    uv_timer_start(timer, on_watch, WATCH_MS, WATCH_MS);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct gw_control *control = handle->data;
    if (atomic_load(&control->server->phase) > GW_PHASE_HANDED) {
        /* A second one means: at once. */
        gw_server_advance(control->server, GW_PHASE_STOPPED);
        control->deadline_ms = INT64_MAX;
        uv_timer_start(&control->timer, on_watch, WATCH_MS, WATCH_MS);
        return;
    }
    gw_log(GW_LOG_INFO, "shutdown", "signal",
           number == SIGTERM ? "SIGTERM" : "SIGINT");
    gw_notify("STOPPING=1");
    gw_server_advance(control->server, GW_PHASE_DELAY);
    uv_timer_start(&control->timer, on_delay_over,
                   control->server->config->shutdown_delay_ms, 0);
}

static void notify_reload(void)
{
    char lines[64];
    snprintf(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
             gw_now_ms() * 1000);
    gw_notify(lines);
}

bool gw_control_reload(struct gw_control *control, char error[512])
{
    notify_reload();
    bool is_good = gw_reload(control, error);
    gw_notify("READY=1");
    atomic_fetch_add(is_good ? &control->server->reloads_ok
                             : &control->server->reloads_failed,
                     1);
    if (is_good)
        gw_log(GW_LOG_INFO, "reloaded", "backends",
               gw_num((int64_t)control->server->config->backend_count).text,
               "pools",
               gw_num((int64_t)control->server->config->pool_count).text);
    else
        gw_log(GW_LOG_ERROR, "reload_failed", "error", error);
    return is_good;
}

/* Its default would end the process, and with it every tunnel. */
static void on_hangup(uv_signal_t *handle, int number)
{
    struct gw_control *control = handle->data;
    char error[512] = "";
    (void)number;
    /* Signals come as one when they come quickly; this one is not lost. */
    if (control->server->change != NULL) {
        control->wants_reload = true;
        return;
    }
    gw_control_reload(control, error);
}

static void on_reopen(uv_signal_t *handle, int number)
{
    struct gw_control *control = handle->data;
    (void)number;
    gw_access_log_reopen(control->server->access_log);
}

static void on_upgrade(uv_signal_t *handle, int number)
{
    struct gw_control *control = handle->data;
    char error[512] = "";
    (void)number;
    if (!gw_upgrade_begin(control, error))
        gw_log(GW_LOG_ERROR, "upgrade_failed", "why", error);
}

static void on_tick(uv_timer_t *timer)
{
    struct gw_control *control = timer->data;
    char error[512] = "";
    gw_server_step(control->server);
    gw_drain_tick(control);
    gw_history_tick(control->history);
    if (control->wants_reload && control->server->change == NULL) {
        control->wants_reload = false;
        gw_control_reload(control, error);
    }
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    gw_notify("WATCHDOG=1");
}

static bool is_ready(void *arg)
{
    struct gw_control *control = arg;
    return atomic_load(&control->server->phase) == GW_PHASE_RUNNING;
}

static char *metrics(void *arg, size_t *len)
{
    struct gw_control *control = arg;
    return gw_server_metrics(control->server, len);
}

static void command(void *arg, const struct gw_command *what,
                    struct gw_outcome *outcome)
{
    gw_command_run(arg, what, outcome);
}

static char *live(void *arg, struct gw_live_seen *seen, bool may_write)
{
    return gw_live_render(arg, seen, may_write);
}

/* "host:port" of an address whose port the kernel may have chosen, or
 * "unix:/path". */
static void bound_text(const struct gw_address *address, int port, char *out,
                       size_t cap)
{
    if (gw_unix_is(address)) {
        snprintf(out, cap, "%s", address->text);
        return;
    }
    const char *colon = strrchr(address->text, ':');
    int len = colon != NULL ? (int)(colon - address->text)
                            : (int)strlen(address->text);
    snprintf(out, cap, "%.*s:%d", len, address->text, port);
}

static void say_ready(const struct gw_control *control)
{
    const struct gw_server *server = control->server;
    const struct gw_config *config = server->config;
    char listen[GW_ADDRESS_MAX + 8];
    char admin[GW_ADDRESS_MAX + 8] = "off";
    bound_text(&config->listen[0].address,
               gw_address_port(&config->listen[0].address), listen,
               sizeof(listen));
    if (control->admin != NULL)
        bound_text(&config->admin, gw_admin_port(control->admin), admin,
                   sizeof(admin));
    for (size_t i = 1; i < config->listen_count; i++) {
        char more[GW_ADDRESS_MAX + 8];
        bound_text(&config->listen[i].address,
                   gw_address_port(&config->listen[i].address), more,
                   sizeof(more));
        gw_log(GW_LOG_INFO, "listening", "address", more);
    }
    /* Whoever started it waits for this line, whatever the log level. */
    gw_log_line(GW_LOG_INFO, "ready", "listen", listen, "admin", admin,
                "workers", gw_num(server->worker_count).text, "backends",
                gw_num((int64_t)config->backend_count).text, "version",
                SIDGATE_VERSION, "pid", gw_num(getpid()).text,
                (const char *)NULL);
    gw_notify("READY=1\nSTATUS=Routing sessions");
}

static void start_timer(struct gw_control *control, uv_timer_t *timer,
                        uv_timer_cb fire, uint64_t every_ms)
{
    uv_timer_init(&control->loop, timer);
    timer->data = control;
    if (every_ms > 0)
        uv_timer_start(timer, fire, every_ms, every_ms);
}

static void start_signal(struct gw_control *control, uv_signal_t *signal,
                         uv_signal_cb fire, int number)
{
    uv_signal_init(&control->loop, signal);
    signal->data = control;
    uv_signal_start(signal, fire, number);
}

static void start_control(struct gw_control *control)
{
    start_signal(control, &control->term, on_signal, SIGTERM);
    start_signal(control, &control->interrupt, on_signal, SIGINT);
    start_signal(control, &control->hangup, on_hangup, SIGHUP);
    start_signal(control, &control->reopen, on_reopen, SIGUSR1);
    start_signal(control, &control->upgrade_signal, on_upgrade, SIGUSR2);
    start_timer(control, &control->timer, NULL, 0);
    start_timer(control, &control->tick, on_tick, TICK_MS);
    start_timer(control, &control->watchdog, on_watchdog,
                gw_notify_watchdog_ms());
}

static void stop_control(struct gw_control *control)
{
    uv_close((uv_handle_t *)&control->term, NULL);
    uv_close((uv_handle_t *)&control->interrupt, NULL);
    uv_close((uv_handle_t *)&control->hangup, NULL);
    uv_close((uv_handle_t *)&control->reopen, NULL);
    uv_close((uv_handle_t *)&control->upgrade_signal, NULL);
    uv_close((uv_handle_t *)&control->timer, NULL);
    uv_close((uv_handle_t *)&control->tick, NULL);
    uv_close((uv_handle_t *)&control->watchdog, NULL);
    /* What follows turns the loop, and a reload would go to what is gone. */
    if (control->admin != NULL)
        gw_admin_stop(control->admin);
    gw_upgrade_free(control);
    gw_discovery_free(control->discovery);
    gw_health_free(control->health);
    gw_admin_close(control->admin);
    gw_sessions_free(control->sessions);
    uv_run(&control->loop, UV_RUN_DEFAULT);
    uv_loop_close(&control->loop);
    gw_history_free(control->history);
    free(control->live_backends);
    free(control->upgrade);
    control->upgrade = NULL;
}

/* What the operator plane shows. */
static bool open_views(struct gw_control *control, char error[256])
{
    control->history = gw_history_new(control->server);
    control->sessions = gw_sessions_new(control);
    if (control->history != NULL && control->sessions != NULL)
        return true;
    snprintf(error, 256, "out of memory");
    return false;
}

static bool open_admin(struct gw_control *control, int inherited,
                       char error[256])
{
    const struct gw_config *config = control->server->config;
    const struct gw_admin_hooks hooks = {.is_ready = is_ready,
                                         .metrics = metrics,
                                         .command = command,
                                         .live = live,
                                         .arg = control};
    const struct gw_admin_tokens tokens = {.full = config->admin_token,
                                           .read = config->admin_read_token};
    if (config->admin.addr_len == 0)
        return true;
    control->admin = gw_admin_open(&control->loop, &config->admin, &tokens,
                                   &hooks, inherited, error);
    return control->admin != NULL;
}

static bool give_file(const struct gw_control *control,
                      const struct gw_address *address, char error[256])
{
    return !gw_unix_is(address) ||
           gw_privileges_give(&control->privileges, gw_unix_path(address),
                              error);
}

/* Everything is open: what follows needs no rights. */
static bool give_up_rights(const struct gw_control *control, char error[256])
{
    const struct gw_config *config = control->server->config;
    if (!give_file(control, &config->admin, error))
        return false;
    for (size_t i = 0; i < config->listen_count; i++)
        if (!give_file(control, &config->listen[i].address, error))
            return false;
    return gw_privileges_drop(&control->privileges, error) &&
           (!config->seccomp || gw_seccomp_apply(error));
}

static void on_discovered(void *arg)
{
    (void)arg;
}

static bool open_watchers(struct gw_control *control, char error[256])
{
    const struct gw_server *server = control->server;
    control->health =
        gw_health_new(&control->loop, server->backends, server->config, error);
    if (control->health == NULL)
        return false;
    control->discovery =
        gw_discovery_new(&control->loop, server->backends, server->config,
                         on_discovered, control, error);
    return control->discovery != NULL;
}

/* Who asks in the first moment should find what DNS has to say. */
static void await_discovery(struct gw_control *control)
{
    int64_t until_ms = gw_now_ms() + DISCOVERY_MS;
    while (!gw_discovery_is_settled(control->discovery) &&
           gw_now_ms() < until_ms &&
           atomic_load(&control->server->phase) == GW_PHASE_RUNNING)
        uv_run(&control->loop, UV_RUN_ONCE);
}

/* Sockets of the service manager, or of the process that this one takes over
 * from. */
static bool open_sockets(struct gw_control *control, struct gw_heir *heir,
                         char error[256])
{
    struct gw_server *server = control->server;
    int fds[GW_LISTEN_COUNT_MAX];
    int admin = -1;
    struct gw_listen_set *given = calloc(1, sizeof(*given));
    bool is_good = given != NULL;
    if (heir != NULL) {
        is_good = is_good && gw_heir_meet(heir, server, given, &admin, error);
    } else if (is_good) {
        is_good = gw_notify_sockets(server->config, fds, error);
        for (size_t i = 0; is_good && i < server->config->listen_count; i++)
            if (fds[i] >= 0)
                gw_listen_give(given, server->config->listen[i].address.text,
                               fds[i], true);
    }
    is_good = is_good && open_admin(control, admin, error) &&
              gw_server_open(server, given, error);
    if (given != NULL)
        gw_listen_close(given);
    free(given);
    return is_good;
}

static void go(struct gw_control *control, struct gw_heir *heir)
{
    struct gw_server *server = control->server;
    if (heir == NULL)
        await_discovery(control);
    /* A session that is bound before the store is reached is not in it. */
    if (server->is_shared)
        gw_shared_settle(server->shared);
    if (heir != NULL)
        gw_heir_stay(heir, control);
    say_ready(control);
    uv_run(&control->loop, UV_RUN_DEFAULT);
    gw_log(GW_LOG_INFO, "stopped", "code", "0");
}

static int serve(struct gw_control *control, struct gw_heir *heir)
{
    char error[256] = "";
    int status = 1;
    start_control(control);
    if (!open_views(control, error) || !open_sockets(control, heir, error) ||
        !give_up_rights(control, error) || !open_watchers(control, error) ||
        (heir != NULL && !gw_heir_take(heir, control->server, error)) ||
        !gw_server_run(control->server, error)) {
        gw_heir_refuse(heir, error);
        fail(error);
        goto stop;
    }
    go(control, heir);
    status = 0;
stop:
    /* The workers end first: lws closes a descriptor twice while it is taken
     * down, and another thread's new one could have that number by then. */
    gw_server_advance(control->server, GW_PHASE_STOPPED);
    gw_server_join(control->server);
    gw_heir_hang_up(heir);
    stop_control(control);
    return status;
}

void gw_control_free_handle(uv_handle_t *handle)
{
    free(handle);
}

int gw_control_run(const struct gw_config *config, int argc, char **argv)
{
    static struct gw_control control;
    char error[GW_PRIVILEGES_ERROR_MAX] = "";
    control.argc = argc;
    control.argv = argv;
    gw_upgrade_note_program(argv[0]);
    gw_log_setup(config->log_level, config->log_format);
    gw_privileges_none_new();
    raise_limits();
    signal(SIGPIPE, SIG_IGN);
    if (!gw_privileges_find(config->user, &control.privileges, error))
        return fail(error);
    if (uv_loop_init(&control.loop) != 0)
        return fail("cannot start the event loop");
    control.server = gw_server_new(config, error);
    if (control.server == NULL)
        return fail(error);
    struct gw_heir *heir = gw_heir_open();
    int status = serve(&control, heir);
    gw_server_free(control.server);
    gw_heir_free(heir); /* until then mail for a worker may be about it */
    return status;
}
