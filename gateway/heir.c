/* SPDX-License-Identifier: MIT */
/* The new process of an upgrade. */
#include "gateway/heir.h"
#include "gateway/conn.h"
#include "gateway/listener.h"
#include "gateway/log.h"
#include "gateway/move.h"
#include "gateway/move_session.h"
#include "gateway/worker.h"
#include "store/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 15000 }; /* for the old process's next word */

/* To a process that still finishes something. */
struct older {
    struct older *next;
    struct gw_heir *heir;
    int fd;
    int pid;
    uv_poll_t *poll;
    struct gw_move_places places;
};

struct gw_heir {
    struct older old;       /* the one to take over from */
    struct older *ancients; /* those before it: it had heard of them so far */
    bool has_taken;
    struct gw_server *server;
    struct gw_control *control;
    unsigned next_worker;
    size_t count; /* of what was taken */
    char buffer[GW_MESSAGE_MAX + 1];
};

static int old_pid;

int gw_heir_old_pid(void)
{
    return old_pid;
}

struct gw_heir *gw_heir_open(void)
{
    const char *text = getenv(GW_HEIR_VARIABLE);
    int type = 0;
    socklen_t len = sizeof(type);
    if (text == NULL)
        return NULL;
    int fd = (int)strtol(text, NULL, 10);
    unsetenv(GW_HEIR_VARIABLE);
    if (fd <= 2 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 ||
        type != SOCK_SEQPACKET)
        return NULL;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    struct gw_heir *heir = calloc(1, sizeof(*heir));
    old_pid = getppid();
    if (heir != NULL)
        heir->old = (struct older){.heir = heir, .fd = fd, .pid = old_pid};
    return heir;
}

/* As long as one lives, its words name backends by their places here. */
static void note_older(const struct gw_heir *heir)
{
    bool is_any = heir->old.fd >= 0;
    for (const struct older *one = heir->ancients; one != NULL; one = one->next)
        is_any |= one->fd >= 0;
    if (heir->server != NULL)
        heir->server->keeps_places = is_any;
    gw_streams_note_copies(GW_COPIES_OLDER, is_any);
}

static void hang_up(struct older *older)
{
    if (older->poll != NULL)
        uv_close((uv_handle_t *)older->poll, gw_control_free_handle);
    older->poll = NULL;
    if (older->fd >= 0)
        close(older->fd);
    older->fd = -1;
    note_older(older->heir);
}

void gw_heir_hang_up(struct gw_heir *heir)
{
    if (heir == NULL)
        return;
    hang_up(&heir->old);
    for (struct older *one = heir->ancients; one != NULL; one = one->next)
        hang_up(one);
}

void gw_heir_free(struct gw_heir *heir)
{
    if (heir == NULL)
        return;
    if (heir->old.fd >= 0)
        close(heir->old.fd);
    while (heir->ancients != NULL) {
        struct older *one = heir->ancients;
        heir->ancients = one->next;
        if (one->fd >= 0)
            close(one->fd);
        free(one);
    }
    free(heir);
}

static bool say(struct gw_heir *heir, enum gw_message_type type,
                const char *bytes, size_t len)
{
    return gw_message_say(heir->old.fd, type, bytes, len,
                          gw_now_ms() + WAIT_MS);
}

static bool hear(struct gw_heir *heir, struct gw_message *message,
                 char error[256])
{
    if (gw_message_await(heir->old.fd, message, heir->buffer,
                         gw_now_ms() + WAIT_MS))
        return true;
    snprintf(error, 256, "the process to take over from is gone");
    return false;
}

void gw_heir_refuse(struct gw_heir *heir, const char *why)
{
    if (heir != NULL && !heir->has_taken)
        say(heir, GW_MESSAGE_FAILED, why, strlen(why));
}

/* ---- before anything is open ---- */

static bool is_text(const struct gw_message *message, size_t cap)
{
    return message->len > 0 && message->len < cap &&
           memchr(message->bytes, '\0', message->len) == NULL;
}

static bool take_socket(const struct gw_config *config,
                        struct gw_listen_set *given, struct gw_message *message,
                        int *admin)
{
    struct gw_unpack unpack = {message->bytes, message->bytes + message->len,
                               message->fd_count != 1};
    char text[GW_ADDRESS_MAX];
    gw_unpack_text(&unpack, text, sizeof(text));
    bool is_foreign = gw_unpack_number(&unpack) != 0;
    if (unpack.has_failed)
        return false;
    if (message->type == GW_MESSAGE_ADMIN) {
        /* Another address is opened anew. */
        if (*admin >= 0 || strcmp(text, config->admin.text) != 0) {
            gw_message_close_fds(message);
            return true;
        }
        *admin = message->fds[0];
        message->fd_count = 0;
        return true;
    }
    if (message->type != GW_MESSAGE_LISTENER)
        return false;
    if (!gw_listen_give(given, text, message->fds[0], is_foreign))
        return false;
    message->fd_count = 0;
    return true;
}

bool gw_heir_meet(struct gw_heir *heir, struct gw_server *server,
                  struct gw_listen_set *given, int *admin, char error[256])
{
    struct gw_pack hello = {0};
    struct gw_message message;
    heir->server = server;
    gw_streams_note_copies(GW_COPIES_OLDER, true);
    /* What has a name in the file system is the old process's until then. */
    atomic_store(&server->is_handed_over, true);
    gw_pack_number(&hello, GW_HANDOVER_VERSION);
    gw_pack_number(&hello, (uint64_t)getpid());
    bool is_good = say(heir, GW_MESSAGE_HELLO, hello.bytes, hello.len);
    gw_pack_free(&hello);
    while (is_good && hear(heir, &message, error)) {
        if (message.type == GW_MESSAGE_OPEN)
            return true;
        if (message.type == GW_MESSAGE_IDENTITY &&
            is_text(&message, sizeof(server->gateway_id))) {
            memcpy(server->gateway_id, message.bytes, message.len);
            server->gateway_id[message.len] = '\0';
        } else if (!take_socket(server->config, given, &message, admin)) {
            gw_message_close_fds(&message);
            is_good = false;
        }
    }
    if (error[0] == '\0')
        snprintf(error, 256, "the old process's sockets cannot be taken");
    return false;
}

/* ---- the handover ---- */

static struct gw_worker *any_worker(struct gw_heir *heir)
{
    struct gw_server *server = heir->server;
    return server->workers[heir->next_worker++ % server->worker_count];
}

/* What the old process had to hear of one before it is heard here now. */
static bool take_older(struct gw_heir *heir, struct gw_message *message,
                       struct gw_unpack *unpack)
{
    struct older *one = message->fd_count == 1 ? calloc(1, sizeof(*one)) : NULL;
    if (one == NULL) {
        gw_message_close_fds(message);
        return false;
    }
    one->heir = heir;
    one->fd = message->fds[0];
    one->pid = (int)gw_unpack_number(unpack);
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX && unpack->at < unpack->end;
         i++) {
        uint64_t place = gw_unpack_number(unpack);
        one->places.backends[i] = gw_move_backend(&heir->old.places, place);
    }
    one->next = heir->ancients;
    heir->ancients = one;
    return !unpack->has_failed;
}

static bool take(struct gw_heir *heir, struct gw_message *message,
                 char error[256])
{
    struct gw_unpack unpack = {message->bytes, message->bytes + message->len,
                               false};
    bool is_taken = true;
    switch (message->type) {
    case GW_MESSAGE_BACKEND:
        return gw_move_take_backend(heir->server, &heir->old.places, &unpack,
                                    error);
    case GW_MESSAGE_SESSION:
        if (gw_move_take_sessions(heir->server, &unpack))
            return true;
        snprintf(error, 256, "the old process's sessions cannot be read");
        return false;
    case GW_MESSAGE_OLDER:
        is_taken = take_older(heir, message, &unpack);
        break;
    case GW_MESSAGE_TUNNEL:
        is_taken = gw_tunnel_take(any_worker(heir), &heir->old.places, message);
        break;
    case GW_MESSAGE_CONNECTION:
        is_taken = gw_conn_take(any_worker(heir), message);
        break;
    default:
        gw_message_close_fds(message);
        is_taken = false;
    }
    heir->count += message->type != GW_MESSAGE_OLDER;
    if (!is_taken)
        snprintf(error, 256,
                 "a connection cannot be taken over: out of "
                 "memory or descriptors");
    return is_taken;
}

bool gw_heir_take(struct gw_heir *heir, struct gw_server *server,
                  char error[256])
{
    struct gw_message message;
    for (unsigned i = 0; i < server->worker_count; i++)
        gw_listeners_pause(server->workers[i]);
    if (!say(heir, GW_MESSAGE_OPENED, NULL, 0))
        return false;
    for (;;) {
        if (!hear(heir, &message, error))
            return false;
        if (message.type == GW_MESSAGE_ALL)
            break;
        if (!take(heir, &message, error))
            return false;
    }
    if (!say(heir, GW_MESSAGE_PREPARED, NULL, 0) ||
        !hear(heir, &message, error))
        return false;
    if (message.type != GW_MESSAGE_COMMIT) {
        snprintf(error, 256, "the old process keeps what it has");
        return false;
    }
    heir->has_taken = true;
    atomic_store(&server->is_handed_over, false);
    return say(heir, GW_MESSAGE_COMMITTED, NULL, 0);
}

/* ---- what the old process still has to say ---- */

struct late_mail {
    struct gw_mail mail;
    struct older *older;
    struct gw_message message;
    char bytes[];
};

static void on_late(struct gw_worker *worker, struct gw_mail *mail)
{
    struct late_mail *late = GW_CONTAINER(mail, struct late_mail, mail);
    late->message.bytes = late->bytes;
    if (late->message.type == GW_MESSAGE_TUNNEL)
        gw_tunnel_take(worker, &late->older->places, &late->message);
    else
        gw_conn_take(worker, &late->message);
    free(late);
}

static void pass_on(struct older *older, struct gw_message *message)
{
    struct late_mail *late = malloc(sizeof(*late) + message->len);
    if (late == NULL) {
        gw_message_close_fds(message);
        return;
    }
    late->mail.deliver = on_late;
    late->older = older;
    late->message = *message;
    memcpy(late->bytes, message->bytes, message->len);
    gw_worker_post(any_worker(older->heir), &late->mail);
}

static void on_bind(struct older *older, struct gw_unpack *unpack)
{
    struct gw_moved_session session = {0};
    struct gw_pack answer = {0};
    gw_pack_number(&answer, gw_unpack_number(unpack));
    gw_pack_number(&answer, gw_unpack_number(unpack));
    if (gw_move_unpack_session(unpack, &session))
        gw_move_keep_session(older->heir->server, &session);
    gw_message_say(older->fd, GW_MESSAGE_BOUND, answer.bytes, answer.len,
                   gw_now_ms() + WAIT_MS);
    gw_pack_free(&answer);
}

static void on_unbind(struct gw_heir *heir, struct gw_unpack *unpack)
{
    char backend[STORE_BACKEND_MAX];
    struct eio_span sid = gw_unpack_span(unpack);
    gw_unpack_text(unpack, backend, sizeof(backend));
    if (!unpack->has_failed && sid.len <= STORE_KEY_MAX)
        store_memory_drop(heir->server->memory,
                          (struct store_key){sid.ptr, sid.len}, backend);
}

static void on_renew(struct gw_heir *heir, struct gw_unpack *unpack)
{
    struct gw_moved_session session = {0};
    if (gw_move_unpack_session(unpack, &session))
        store_memory_renew(heir->server->memory,
                           (struct store_key){session.key, session.key_len},
                           &session.record, session.life_ms);
}

static void on_message(struct older *older, struct gw_message *message)
{
    struct gw_heir *heir = older->heir;
    struct gw_unpack unpack = {message->bytes, message->bytes + message->len,
                               false};
    switch (message->type) {
    case GW_MESSAGE_TUNNEL:
    case GW_MESSAGE_CONNECTION:
        pass_on(older, message);
        return;
    case GW_MESSAGE_BIND:
        on_bind(older, &unpack);
        break;
    case GW_MESSAGE_UNBIND:
        on_unbind(heir, &unpack);
        break;
    case GW_MESSAGE_RENEW:
        on_renew(heir, &unpack);
        break;
    default:
        break;
    }
    gw_message_close_fds(message);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct older *older = poll->data;
    struct gw_message message;
    (void)status;
    (void)events;
    for (;;) {
        switch (gw_message_receive(older->fd, &message, older->heir->buffer)) {
        case GW_RECEIVED:
            on_message(older, &message);
            break;
        case GW_RECEIVED_NOTHING:
            return;
        case GW_RECEIVED_END:
            gw_log(GW_LOG_INFO, "old_process_gone", "pid",
                   gw_num(older->pid).text);
            hang_up(older);
            return;
        }
    }
}

static void listen_to(struct older *older)
{
    older->poll = calloc(1, sizeof(*older->poll));
    if (older->poll == NULL || uv_poll_init(&older->heir->control->loop,
                                            older->poll, older->fd) != 0) {
        free(older->poll);
        older->poll = NULL;
        return;
    }
    older->poll->data = older;
    uv_poll_start(older->poll, UV_READABLE | UV_DISCONNECT, on_readable);
    on_readable(older->poll, 0, 0);
}

/* ---- a further upgrade ---- */

static bool send_older(const struct older *older, int fd, int64_t until_ms)
{
    struct gw_pack pack = {0};
    if (older->fd < 0)
        return true;
    gw_pack_number(&pack, (uint64_t)older->pid);
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        const struct gw_backend *one = older->places.backends[i];
        gw_pack_number(&pack, one != NULL ? one->index : UINT64_MAX);
    }
    struct gw_message message = {.type = GW_MESSAGE_OLDER,
                                 .bytes = pack.bytes,
                                 .len = pack.len,
                                 .fds = {older->fd},
                                 .fd_count = 1};
    bool is_sent =
        !pack.has_failed && gw_message_send_by(fd, &message, until_ms);
    gw_pack_free(&pack);
    return is_sent;
}

bool gw_heir_pass_on(const struct gw_heir *heir, int fd, int64_t until_ms)
{
    if (heir == NULL)
        return true;
    for (const struct older *one = heir->ancients; one != NULL; one = one->next)
        if (!send_older(one, fd, until_ms))
            return false;
    return send_older(&heir->old, fd, until_ms);
}

static void let_in(struct gw_worker *worker, struct gw_mail *mail)
{
    gw_listeners_resume(worker);
    gw_conns_resume(worker);
    free(mail);
}

void gw_heir_stay(struct gw_heir *heir, struct gw_control *control)
{
    struct gw_server *server = heir->server;
    heir->control = control;
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct gw_mail *mail = calloc(1, sizeof(*mail));
        if (mail == NULL)
            abort(); /* nobody would ever be let in */
        mail->deliver = let_in;
        gw_worker_post(server->workers[i], mail);
    }
    if (control->admin != NULL)
        gw_admin_resume(control->admin);
    gw_log(GW_LOG_INFO, "upgraded", "from", gw_num(old_pid).text, "pid",
           gw_num(getpid()).text, "connections",
           gw_num((int64_t)heir->count).text);
    server->heir = heir;
    note_older(heir);
    for (struct older *one = heir->ancients; one != NULL; one = one->next)
        listen_to(one);
    listen_to(&heir->old);
}
