/* SPDX-License-Identifier: MIT */
/* The daemon: options, start, signals, stop. */
#include "gateway/admin.h"
#include "gateway/listener.h"
#include "gateway/log.h"
#include "gateway/options.h"
#include "gateway/privileges.h"
#include "gateway/seccomp.h"
#include "gateway/server.h"
#include "gateway/shared.h"
#include "gateway/tls.h"
#include "gateway/unix_socket.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { WATCH_MS = 20 };

struct control {
    uv_loop_t loop;
    uv_signal_t term;
    uv_signal_t interrupt;
    uv_signal_t hangup;
    uv_timer_t timer; /* the next step of a shutdown */
    struct gw_server *server;
    struct gw_admin *admin;
    struct gw_privileges privileges; /* to run with */
    int64_t deadline_ms;
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
    struct control *control = timer->data;
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
    struct control *control = timer->data;
    const struct gw_config *config = &control->server->config;
    control->deadline_ms = gw_now_ms() + config->shutdown_timeout_ms;
    gw_server_advance(control->server, GW_PHASE_DRAINING);
    uv_timer_start(timer, on_watch, WATCH_MS, WATCH_MS);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct control *control = handle->data;
    if (atomic_load(&control->server->phase) != GW_PHASE_RUNNING) {
        /* A second one means: at once. */
        gw_server_advance(control->server, GW_PHASE_STOPPED);
        control->deadline_ms = INT64_MAX;
        uv_timer_start(&control->timer, on_watch, WATCH_MS, WATCH_MS);
        return;
    }
    gw_log(GW_LOG_INFO, "shutdown", "signal",
           number == SIGTERM ? "SIGTERM" : "SIGINT");
    gw_server_advance(control->server, GW_PHASE_DELAY);
    uv_timer_start(&control->timer, on_delay_over,
                   control->server->config.shutdown_delay_ms, 0);
}

/* Certificates are read again. Its default would end the process, and with it
 * every tunnel. */
static void on_hangup(uv_signal_t *handle, int number)
{
    const struct control *control = handle->data;
    char error[GW_TLS_ERROR_MAX] = "";
    (void)number;
    if (control->server->tls == NULL)
        gw_log(GW_LOG_WARNING, "reload_unsupported", "signal", "SIGHUP");
    else if (gw_tls_reload(control->server->tls, error))
        gw_log(GW_LOG_INFO, "tls_reloaded", "signal", "SIGHUP");
    else
        gw_log(GW_LOG_ERROR, "tls_reload_failed", "signal", "SIGHUP", "error",
               error);
}

static bool is_ready(void *arg)
{
    struct control *control = arg;
    return atomic_load(&control->server->phase) == GW_PHASE_RUNNING;
}

static char *metrics(void *arg, size_t *len)
{
    struct control *control = arg;
    return gw_server_metrics(control->server, len);
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

static void say_ready(const struct control *control)
{
    const struct gw_server *server = control->server;
    char listen[GW_ADDRESS_MAX + 8];
    char admin[GW_ADDRESS_MAX + 8] = "off";
    bound_text(&server->config.listen[0].address, gw_server_port(server, 0),
               listen, sizeof(listen));
    if (control->admin != NULL)
        bound_text(&server->config.admin, gw_admin_port(control->admin), admin,
                   sizeof(admin));
    for (size_t i = 1; i < server->config.listen_count; i++) {
        char more[GW_ADDRESS_MAX + 8];
        bound_text(&server->config.listen[i].address, gw_server_port(server, i),
                   more, sizeof(more));
        gw_log(GW_LOG_INFO, "listening", "address", more);
    }
    /* Whoever started it waits for this line, whatever the log level. */
    gw_log_line(GW_LOG_INFO, "ready", "listen", listen, "admin", admin,
                "workers", gw_num(server->worker_count).text, "backends",
                gw_num((int64_t)server->config.backend_count).text, "version",
                SIDGATE_VERSION, (const char *)NULL);
}

static void start_control(struct control *control)
{
    uv_signal_init(&control->loop, &control->term);
    uv_signal_init(&control->loop, &control->interrupt);
    uv_signal_init(&control->loop, &control->hangup);
    uv_timer_init(&control->loop, &control->timer);
    control->term.data = control;
    control->interrupt.data = control;
    control->hangup.data = control;
    control->timer.data = control;
    uv_signal_start(&control->term, on_signal, SIGTERM);
    uv_signal_start(&control->interrupt, on_signal, SIGINT);
    uv_signal_start(&control->hangup, on_hangup, SIGHUP);
}

static void stop_control(struct control *control)
{
    uv_close((uv_handle_t *)&control->term, NULL);
    uv_close((uv_handle_t *)&control->interrupt, NULL);
    uv_close((uv_handle_t *)&control->hangup, NULL);
    uv_close((uv_handle_t *)&control->timer, NULL);
    gw_admin_close(control->admin);
    uv_run(&control->loop, UV_RUN_DEFAULT);
    uv_loop_close(&control->loop);
}

static bool open_admin(struct control *control, char error[256])
{
    const struct gw_config *config = &control->server->config;
    const struct gw_admin_hooks hooks = {
        .is_ready = is_ready, .metrics = metrics, .arg = control};
    if (config->admin.addr_len == 0)
        return true;
    control->admin = gw_admin_open(&control->loop, &config->admin,
                                   config->admin_token, &hooks, error);
    return control->admin != NULL;
}

static bool give_file(const struct control *control,
                      const struct gw_address *address, char error[256])
{
    return !gw_unix_is(address) ||
           gw_privileges_give(&control->privileges, gw_unix_path(address),
                              error);
}

/* Everything is open: what follows needs no rights. */
static bool give_up_rights(const struct control *control, char error[256])
{
    const struct gw_config *config = &control->server->config;
    if (!give_file(control, &config->admin, error))
        return false;
    for (size_t i = 0; i < config->listen_count; i++)
        if (!give_file(control, &config->listen[i].address, error))
            return false;
    return gw_privileges_drop(&control->privileges, error) &&
           (!config->seccomp || gw_seccomp_apply(error));
}

static int serve(struct control *control)
{
    char error[256] = "";
    int status = 1;
    start_control(control);
    if (!open_admin(control, error) ||
        !gw_server_open(control->server, error) ||
        !give_up_rights(control, error) ||
        !gw_server_run(control->server, error)) {
        fail(error);
        goto stop;
    }
    /* A session that is bound before the store is reached is not in it. */
    if (control->server->is_shared)
        gw_shared_settle(control->server->shared);
    say_ready(control);
    uv_run(&control->loop, UV_RUN_DEFAULT);
    gw_log(GW_LOG_INFO, "stopped", "code", "0");
    status = 0;
stop:
    /* The workers end first: lws closes a descriptor twice while it is taken
     * down, and another thread's new one could have that number by then. */
    gw_server_advance(control->server, GW_PHASE_STOPPED);
    gw_server_join(control->server);
    stop_control(control);
    return status;
}

static int run(const struct gw_config *config)
{
    static struct control control;
    char error[GW_PRIVILEGES_ERROR_MAX] = "";
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
    int status = serve(&control);
    gw_server_free(control.server);
    return status;
}

/* What only reading the files can tell. */
static int check(const struct gw_config *config)
{
    struct gw_tls *tls = NULL;
    char error[GW_TLS_ERROR_MAX] = "";
    struct gw_privileges privileges;
    gw_log_setup(config->log_level, config->log_format);
    if (!gw_privileges_find(config->user, &privileges, error) ||
        !gw_tls_new(config, &tls, error)) {
        fail(error);
        return 2;
    }
    gw_tls_free(tls);
    puts("configuration ok");
    return 0;
}

int main(int argc, char **argv)
{
    static struct gw_config config;
    enum gw_action action = GW_ACTION_RUN;
    char error[GW_OPTIONS_ERROR_MAX];
    if (gw_options_read(argc, argv, &config, &action, error) != 0) {
        fprintf(stderr, "sidgate: %s\n", error);
        return 2;
    }
    switch (action) {
    case GW_ACTION_RUN:
        return run(&config);
    case GW_ACTION_CHECK:
        return check(&config);
    case GW_ACTION_PRINT_CONFIG:
        gw_options_print(&config, stdout);
        return 0;
    case GW_ACTION_HELP:
        gw_options_help(stdout);
        return 0;
    case GW_ACTION_VERSION:
        puts("sidgate " SIDGATE_VERSION);
        return 0;
    case GW_ACTION_MAN_OPTIONS:
        gw_options_man(stdout);
        return 0;
    }
    return 0;
}
