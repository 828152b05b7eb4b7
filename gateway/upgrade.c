/* SPDX-License-Identifier: MIT */
/* The old process of an upgrade: from the start of the new one to its own
 * end. */
#include "gateway/heir.h"
#include "gateway/log.h"
#include "gateway/notify.h"
#include "gateway/stream.h"
#include "gateway/upgrade_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    START_MS = 30000, /* for the new process to have everything open */
    WATCH_MS = 20,
    CHILD_FD = 3,
};

extern char **environ;

static char program[PATH_MAX];

void gw_upgrade_note_program(const char *argv0)
{
    char folder[PATH_MAX];
    if (argv0[0] == '/')
        snprintf(program, sizeof(program), "%s", argv0);
    else if (strchr(argv0, '/') != NULL && getcwd(folder, sizeof(folder)))
        snprintf(program, sizeof(program), "%.2000s/%.2000s", folder, argv0);
    else if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
        program[0] = '\0';
}

/* ---- its state ---- */

static void close_channel(struct gw_upgrade *upgrade)
{
    if (upgrade->poll != NULL)
        uv_close((uv_handle_t *)upgrade->poll, gw_control_free_handle);
    upgrade->poll = NULL;
    if (upgrade->fd >= 0)
        close(upgrade->fd);
    upgrade->fd = -1;
}

/* The only place where the phase changes. */
static void enter(struct gw_upgrade *upgrade, enum gw_upgrade_phase phase)
{
    upgrade->phase = phase;
    switch (phase) {
    case GW_UPGRADE_IDLE:
        break;
    case GW_UPGRADE_STARTING:
        upgrade->began_ms = gw_now_ms();
        upgrade->error[0] = '\0';
        gw_log(GW_LOG_INFO, "upgrade_begun", "program", program, "pid",
               gw_num(upgrade->pid).text);
        break;
    case GW_UPGRADE_OPENING:
        break;
    case GW_UPGRADE_DONE:
        gw_log(GW_LOG_INFO, "upgrade_done", "pid", gw_num(upgrade->pid).text,
               "took_ms", gw_num(gw_now_ms() - upgrade->began_ms).text);
        break;
    case GW_UPGRADE_FAILED:
        uv_timer_stop(&upgrade->timer);
        close_channel(upgrade);
        if (upgrade->process != NULL)
            uv_process_kill(upgrade->process, SIGKILL);
        upgrade->process = NULL; /* its end frees it */
        gw_log(GW_LOG_ERROR, "upgrade_failed", "why", upgrade->error);
        break;
    }
}

static void fail(struct gw_upgrade *upgrade, const char *why)
{
    if (upgrade->phase != GW_UPGRADE_STARTING &&
        upgrade->phase != GW_UPGRADE_OPENING)
        return;
    snprintf(upgrade->error, sizeof(upgrade->error), "%s", why);
    enter(upgrade, GW_UPGRADE_FAILED);
}

/* ---- the end of this process ---- */

static void on_watch(uv_timer_t *timer)
{
    struct gw_upgrade *upgrade = timer->data;
    struct gw_control *control = upgrade->control;
    const struct gw_config *config = control->server->config;
    if (atomic_load(&control->server->busy_workers) == 0) {
        uv_stop(&control->loop);
        return;
    }
    if (gw_now_ms() < control->deadline_ms)
        return;
    if (atomic_load(&control->server->phase) < GW_PHASE_DRAINING) {
        gw_log(GW_LOG_WARNING, "upgrade_timeout", "connections",
               gw_num((int64_t)atomic_load(&control->server->open_count)).text);
        control->deadline_ms = gw_now_ms() + config->shutdown_timeout_ms;
        gw_server_advance(control->server, GW_PHASE_DRAINING);
    } else {
        gw_server_advance(control->server, GW_PHASE_STOPPED);
        control->deadline_ms = INT64_MAX;
    }
}

static void retire(struct gw_upgrade *upgrade)
{
    struct gw_control *control = upgrade->control;
    char lines[64];
    enter(upgrade, GW_UPGRADE_DONE);
    snprintf(lines, sizeof(lines), "MAINPID=%d\nREADY=1", upgrade->pid);
    gw_notify(lines);
    uv_timer_stop(&control->watchdog);
    if (control->admin != NULL)
        gw_admin_hand_over(control->admin);
    gw_health_stop(control->health);
    gw_discovery_stop(control->discovery);
    control->deadline_ms =
        gw_now_ms() + control->server->config->upgrade_timeout_ms;
    uv_timer_start(&upgrade->timer, on_watch, WATCH_MS, WATCH_MS);
}

/* ---- what is said ---- */

static bool say(struct gw_upgrade *upgrade, enum gw_message_type type,
                const char *text)
{
    return gw_message_say(upgrade->fd, type, text, strlen(text),
                          upgrade->began_ms + START_MS);
}

static bool give(struct gw_upgrade *upgrade, enum gw_message_type type,
                 const char *text, bool is_foreign, int fd)
{
    struct gw_pack body = {0};
    gw_pack_text(&body, text);
    gw_pack_number(&body, is_foreign);
    struct gw_message message = {.type = (uint8_t)type,
                                 .bytes = body.bytes,
                                 .len = body.len,
                                 .fds = {fd},
                                 .fd_count = 1};
    bool is_sent =
        !body.has_failed &&
        gw_message_send_by(upgrade->fd, &message, upgrade->began_ms + START_MS);
    gw_pack_free(&body);
    return is_sent;
}

static bool send_sockets(struct gw_upgrade *upgrade)
{
    struct gw_server *server = upgrade->control->server;
    bool is_sent = say(upgrade, GW_MESSAGE_IDENTITY, server->gateway_id);
    for (size_t i = 0; is_sent && i < server->listening.count; i++) {
        const struct gw_listen_entry *entry = &server->listening.entries[i];
        /* One that is shared is the same as often as it stands there. */
        size_t count = entry->is_shared ? 1 : entry->count;
        for (size_t j = 0; is_sent && j < count; j++)
            is_sent =
                give(upgrade, GW_MESSAGE_LISTENER, entry->config.address.text,
                     entry->is_foreign, entry->fds[j]);
    }
    if (is_sent && upgrade->control->admin != NULL)
        is_sent = give(upgrade, GW_MESSAGE_ADMIN, server->config->admin.text,
                       false, gw_admin_fd(upgrade->control->admin));
    return is_sent && say(upgrade, GW_MESSAGE_OPEN, "");
}

static void on_hello(struct gw_upgrade *upgrade,
                     const struct gw_message *message)
{
    struct gw_unpack unpack = {message->bytes, message->bytes + message->len,
                               false};
    uint64_t version = gw_unpack_number(&unpack);
    upgrade->pid = (int)gw_unpack_number(&unpack);
    if (unpack.has_failed || version != GW_HANDOVER_VERSION)
        fail(upgrade, "the new program's version cannot take over from this "
                      "one: restart it instead");
    else if (!send_sockets(upgrade))
        fail(upgrade, "the new process ended or does not listen");
    else
        enter(upgrade, GW_UPGRADE_OPENING);
}

static void on_opened(struct gw_upgrade *upgrade)
{
    struct gw_server *server = upgrade->control->server;
    char error[256] = "";
    if (atomic_load(&server->phase) != GW_PHASE_RUNNING) {
        fail(upgrade, "this process is being stopped");
        return;
    }
    struct gw_late *late =
        gw_late_new(server, &upgrade->control->loop, upgrade->fd);
    if (late == NULL) {
        fail(upgrade, "out of memory");
        return;
    }
    atomic_store(&server->late, late);
    if (gw_upgrade_transfer(server, upgrade->fd, upgrade->buffer, error)) {
        retire(upgrade);
        return;
    }
    atomic_store(&server->late, NULL);
    gw_late_free(late);
    fail(upgrade, error);
}

static void on_message(struct gw_upgrade *upgrade,
                       const struct gw_message *message)
{
    char text[256];
    if (upgrade->phase == GW_UPGRADE_DONE) {
        gw_late_hear(atomic_load(&upgrade->control->server->late), message);
    } else if (message->type == GW_MESSAGE_FAILED) {
        snprintf(text, sizeof(text), "%.*s",
                 (int)(message->len < 255 ? message->len : 255),
                 message->bytes);
        fail(upgrade, text);
    } else if (message->type == GW_MESSAGE_HELLO &&
               upgrade->phase == GW_UPGRADE_STARTING) {
        on_hello(upgrade, message);
    } else if (message->type == GW_MESSAGE_OPENED &&
               upgrade->phase == GW_UPGRADE_OPENING) {
        on_opened(upgrade);
    } else {
        fail(upgrade, "the new process does not answer as it should");
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct gw_upgrade *upgrade = poll->data;
    (void)status;
    (void)events;
    while (upgrade->fd >= 0) {
        struct gw_message message;
        enum gw_received got =
            gw_message_receive(upgrade->fd, &message, upgrade->buffer);
        if (got == GW_RECEIVED_NOTHING)
            return;
        if (got == GW_RECEIVED) {
            gw_message_close_fds(&message);
            on_message(upgrade, &message);
            continue;
        }
        uv_poll_stop(poll);
        if (upgrade->phase == GW_UPGRADE_DONE)
            gw_late_end(atomic_load(&upgrade->control->server->late));
        else
            fail(upgrade, "the new process ended before it had taken over");
        return;
    }
}

/* ---- the start ---- */

static void on_end(uv_process_t *process, int64_t status, int signal)
{
    struct gw_upgrade *upgrade = process->data;
    char why[128];
    uv_close((uv_handle_t *)process, gw_control_free_handle);
    if (process != upgrade->process)
        return; /* that of an attempt before this one */
    upgrade->process = NULL;
    gw_streams_note_copies(GW_COPIES_NEWER, false);
    if (signal != 0)
        snprintf(why, sizeof(why), "the new process was ended by signal %d",
                 signal);
    else
        snprintf(why, sizeof(why), "the new process ended with code %d",
                 (int)status);
    /* It may have said something before. */
    if (upgrade->poll != NULL)
        on_readable(upgrade->poll, 0, 0);
    fail(upgrade, why);
}

static void on_late_start(uv_timer_t *timer)
{
    fail(timer->data, "the new process is not ready after 30 s");
}

/* The environment with the descriptor's number, and without what is meant for
 * this process alone. malloc'd. */
static char **make_environment(char *variable, size_t cap)
{
    static const char *const not_for_it[] = {GW_HEIR_VARIABLE "=",
                                             "WATCHDOG_PID=", "LISTEN_PID="};
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **out = calloc(count + 2, sizeof(*out));
    size_t kept = 0;
    for (size_t i = 0; out != NULL && i < count; i++) {
        bool is_left = false;
        for (size_t j = 0; j < sizeof(not_for_it) / sizeof(not_for_it[0]); j++)
            is_left |=
                strncmp(environ[i], not_for_it[j], strlen(not_for_it[j])) == 0;
        if (!is_left)
            out[kept++] = environ[i];
    }
    snprintf(variable, cap, "%s=%d", GW_HEIR_VARIABLE, CHILD_FD);
    if (out != NULL)
        out[kept] = variable;
    return out;
}

static int spawn(struct gw_upgrade *upgrade, int child_fd)
{
    struct gw_control *control = upgrade->control;
    char variable[64];
    uv_stdio_container_t stdio[4] = {
        {.flags = UV_INHERIT_FD, .data.fd = 0},
        {.flags = UV_INHERIT_FD, .data.fd = 1},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_INHERIT_FD, .data.fd = child_fd},
    };
    uv_process_options_t options = {
        .file = program,
        .args = control->argv,
        .env = make_environment(variable, sizeof(variable)),
        .stdio = stdio,
        .stdio_count = 4,
        .exit_cb = on_end,
    };
    upgrade->process = calloc(1, sizeof(*upgrade->process));
    int status =
        upgrade->process == NULL || options.env == NULL ? UV_ENOMEM : 0;
    if (status == 0) {
        upgrade->process->data = upgrade;
        status = uv_spawn(&control->loop, upgrade->process, &options);
    }
    free(options.env);
    if (status == 0) {
        uv_unref((uv_handle_t *)upgrade->process);
        upgrade->pid = upgrade->process->pid;
    } else if (upgrade->process != NULL && status != UV_ENOMEM) {
        /* libuv has begun with the handle. */
        uv_close((uv_handle_t *)upgrade->process, gw_control_free_handle);
        upgrade->process = NULL;
    } else {
        free(upgrade->process);
        upgrade->process = NULL;
    }
    return status;
}

static struct gw_upgrade *upgrade_new(struct gw_control *control)
{
    struct gw_upgrade *upgrade = calloc(1, sizeof(*upgrade));
    if (upgrade == NULL)
        return NULL;
    upgrade->buffer = malloc(GW_MESSAGE_MAX + 1);
    if (upgrade->buffer == NULL) {
        free(upgrade);
        return NULL;
    }
    upgrade->control = control;
    upgrade->fd = -1;
    uv_timer_init(&control->loop, &upgrade->timer);
    upgrade->timer.data = upgrade;
    return upgrade;
}

static const char *obstacle(const struct gw_control *control)
{
    const struct gw_upgrade *upgrade = control->upgrade;
    if (getpid() == 1)
        return "this is process 1 of its container, which ends with it: roll "
               "out new containers instead, each drained by SIGTERM";
    if (control->server->config->seccomp)
        return "--seccomp has given up the right to start a program: restart "
               "instead";
    if (program[0] == '\0')
        return "it is not known where the program is";
    if (atomic_load(&control->server->phase) != GW_PHASE_RUNNING)
        return "this process is being stopped or has handed over already";
    if (upgrade != NULL && (upgrade->phase == GW_UPGRADE_STARTING ||
                            upgrade->phase == GW_UPGRADE_OPENING))
        return "an upgrade is under way already";
    return access(program, X_OK) != 0 ? "the program cannot be run" : NULL;
}

bool gw_upgrade_begin(struct gw_control *control, char error[512])
{
    int pair[2];
    int size = 1 << 20;
    const char *why = obstacle(control);
    if (why != NULL) {
        snprintf(error, 512, "%s", why);
        return false;
    }
    if (control->upgrade == NULL)
        control->upgrade = upgrade_new(control);
    struct gw_upgrade *upgrade = control->upgrade;
    if (upgrade == NULL ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        snprintf(error, 512, "out of memory or descriptors");
        return false;
    }
    for (int i = 0; i < 2; i++) {
        setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        setsockopt(pair[i], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
    gw_streams_note_copies(GW_COPIES_NEWER, true);
    int status = spawn(upgrade, pair[1]);
    if (status != 0)
        gw_streams_note_copies(GW_COPIES_NEWER, false);
    close(pair[1]);
    upgrade->poll = status == 0 ? calloc(1, sizeof(*upgrade->poll)) : NULL;
    upgrade->fd = pair[0];
    enter(upgrade, GW_UPGRADE_STARTING);
    if (upgrade->poll == NULL ||
        uv_poll_init(&control->loop, upgrade->poll, upgrade->fd) != 0) {
        free(upgrade->poll);
        upgrade->poll = NULL;
        snprintf(error, 512, "%.400s cannot be started: %s", program,
                 status != 0 ? uv_strerror(status) : "out of memory");
        fail(upgrade, error);
        return false;
    }
    upgrade->poll->data = upgrade;
    uv_poll_start(upgrade->poll, UV_READABLE | UV_DISCONNECT, on_readable);
    uv_timer_start(&upgrade->timer, on_late_start, START_MS, 0);
    return true;
}

void gw_upgrade_state(const struct gw_control *control, char *json, size_t cap)
{
    static const char *const words[] = {"idle", "starting", "starting", "done",
                                        "failed"};
    const struct gw_upgrade *upgrade = control->upgrade;
    char error[512] = "";
    size_t at = 0;
    for (const char *c = upgrade ? upgrade->error : ""; *c; c++) {
        if (*c == '"' || *c == '\\')
            error[at++] = '\\';
        error[at++] = (unsigned char)*c < ' ' ? ' ' : *c;
    }
    bool is_heir = upgrade == NULL && gw_heir_old_pid() != 0;
    snprintf(json, cap,
             "{\"state\":\"%s\",\"pid\":%d,\"from\":%d,\"error\":\"%s\"}",
             is_heir ? "done" : words[upgrade ? upgrade->phase : 0],
             (int)getpid(), gw_heir_old_pid(), error);
}

void gw_upgrade_free(struct gw_control *control)
{
    struct gw_upgrade *upgrade = control->upgrade;
    if (upgrade == NULL)
        return;
    gw_late_free(atomic_exchange(&control->server->late, NULL));
    close_channel(upgrade);
    /* A new process that has not taken over is nobody's. */
    if (upgrade->process != NULL && upgrade->phase != GW_UPGRADE_DONE)
        uv_process_kill(upgrade->process, SIGKILL);
    uv_close((uv_handle_t *)&upgrade->timer, NULL);
    if (upgrade->process != NULL)
        uv_close((uv_handle_t *)upgrade->process, gw_control_free_handle);
    free(upgrade->buffer);
}
