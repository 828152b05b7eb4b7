/* SPDX-License-Identifier: MIT */
/* A store_loop on real sockets and poll(), for tests. What is closed or freed
 * within a callback is buried at the end of the turn. */
#include "tests/unit/poll_loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { WIRES_MAX = 64, PIECE_MAX = 65536 };

struct store_wire {
    struct store_wire *next;
    const struct store_wire_user *user;
    void *arg;
    char *unsent;
    size_t unsent_len;
    int fd;
    int error; /* of the connect that failed at once */
    bool is_open;
    bool is_dead;
};

struct store_timer {
    struct store_timer *next;
    struct poll_loop *loop;
    void (*fire)(void *arg);
    void *arg;
    int64_t due_ms; /* -1: stopped */
    bool is_dead;
};

struct poll_loop {
    struct store_loop hooks; /* first: what the store holds */
    struct store_wire *wires;
    struct store_timer *timers;
    size_t piece;
    uint32_t random;
};

static void require(bool is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "poll_loop: %s\n", what);
        abort();
    }
}

static struct poll_loop *loop_of(struct store_loop *hooks)
{
    return (struct poll_loop *)hooks;
}

static int64_t hook_now_ms(struct store_loop *hooks)
{
    struct timespec now;

    (void)hooks;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint32_t hook_random(struct store_loop *hooks)
{
    struct poll_loop *loop = loop_of(hooks);

    loop->random = loop->random * 1664525U + 1013904223U;
    return loop->random;
}

static int connect_unix(const struct store_address *to, int *fd)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    require(strlen(to->host) < sizeof(addr.sun_path), "a long path");
    memcpy(addr.sun_path, to->host, strlen(to->host));
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return connect(*fd, (const struct sockaddr *)&addr, sizeof(addr));
}

static int connect_ipv4(const struct store_address *to, int *fd)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons(to->port)};

    require(inet_pton(AF_INET, to->host, &addr.sin_addr) == 1,
            "only IPv4 addresses and unix sockets here");
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return connect(*fd, (const struct sockaddr *)&addr, sizeof(addr));
}

static struct store_wire *hook_open(struct store_loop *hooks,
                                    const struct store_address *to,
                                    const struct store_wire_user *user,
                                    void *arg)
{
    struct poll_loop *loop = loop_of(hooks);
    struct store_wire *wire = calloc(1, sizeof(*wire));

    require(wire != NULL, "out of memory");
    wire->user = user;
    wire->arg = arg;
    const int result =
        to->is_unix ? connect_unix(to, &wire->fd) : connect_ipv4(to, &wire->fd);
    require(wire->fd >= 0, "no socket");
    if (result != 0 && errno != EINPROGRESS)
        wire->error = errno;
    wire->next = loop->wires;
    loop->wires = wire;
    return wire;
}

static void hook_write(struct store_wire *wire, const char *bytes, size_t len)
{
    require(wire->is_open && !wire->is_dead, "write on a closed wire");
    wire->unsent = realloc(wire->unsent, wire->unsent_len + len + 1);
    require(wire->unsent != NULL, "out of memory");
    memcpy(wire->unsent + wire->unsent_len, bytes, len);
    wire->unsent_len += len;
}

static size_t hook_unsent(const struct store_wire *wire)
{
    return wire->unsent_len;
}

static void hook_close(struct store_wire *wire)
{
    require(!wire->is_dead, "a wire is closed twice");
    wire->is_dead = true;
    close(wire->fd);
    wire->fd = -1;
}

static struct store_timer *hook_timer_new(struct store_loop *hooks,
                                          void (*fire)(void *arg), void *arg)
{
    struct poll_loop *loop = loop_of(hooks);
    struct store_timer *timer = calloc(1, sizeof(*timer));

    require(timer != NULL, "out of memory");
    timer->loop = loop;
    timer->fire = fire;
    timer->arg = arg;
    timer->due_ms = -1;
    timer->next = loop->timers;
    loop->timers = timer;
    return timer;
}

static void hook_timer_start(struct store_timer *timer, int64_t after_ms)
{
    timer->due_ms = hook_now_ms(&timer->loop->hooks) + after_ms;
}

static void hook_timer_stop(struct store_timer *timer)
{
    timer->due_ms = -1;
}

static void hook_timer_free(struct store_timer *timer)
{
    if (timer == NULL)
        return;
    timer->due_ms = -1;
    timer->is_dead = true;
}

static const struct store_loop_ops hook_ops = {
    .now_ms = hook_now_ms,
    .random = hook_random,
    .open = hook_open,
    .write = hook_write,
    .unsent = hook_unsent,
    .close = hook_close,
    .timer_new = hook_timer_new,
    .timer_start = hook_timer_start,
    .timer_stop = hook_timer_stop,
    .timer_free = hook_timer_free,
};

struct poll_loop *poll_loop_new(void)
{
    struct poll_loop *loop = calloc(1, sizeof(*loop));

    require(loop != NULL, "out of memory");
    loop->hooks.ops = &hook_ops;
    loop->piece = PIECE_MAX;
    return loop;
}

struct store_loop *poll_loop_hooks(struct poll_loop *loop)
{
    return &loop->hooks;
}

void poll_loop_set_piece(struct poll_loop *loop, size_t bytes)
{
    require(bytes > 0 && bytes <= PIECE_MAX, "a piece's size");
    loop->piece = bytes;
}

static void end_wire(struct store_wire *wire, int error)
{
    hook_close(wire);
    wire->user->on_end(wire->arg, error == 0 ? "closed" : strerror(error));
}

/* False when the wire has ended. */
static bool flush(struct store_wire *wire)
{
    if (!wire->is_open || wire->unsent_len == 0)
        return true;
    const ssize_t sent =
        send(wire->fd, wire->unsent, wire->unsent_len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        end_wire(wire, errno);
        return false;
    }
    if (sent > 0) {
        wire->unsent_len -= (size_t)sent;
        memmove(wire->unsent, wire->unsent + sent, wire->unsent_len);
    }
    return true;
}

static void finish_connect(struct store_wire *wire)
{
    int error = wire->error;
    socklen_t len = sizeof(error);

    if (error == 0)
        getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        end_wire(wire, error);
        return;
    }
    wire->is_open = true;
    wire->user->on_open(wire->arg);
}

static void receive(const struct poll_loop *loop, struct store_wire *wire)
{
    char bytes[PIECE_MAX];
    const ssize_t got = read(wire->fd, bytes, loop->piece);

    if (got > 0)
        wire->user->on_bytes(wire->arg, bytes, (size_t)got);
    else if (got == 0 || errno != EAGAIN)
        end_wire(wire, got == 0 ? 0 : errno);
}

static void fire_timers(struct poll_loop *loop)
{
    const int64_t now_ms = hook_now_ms(&loop->hooks);

    for (struct store_timer *timer = loop->timers; timer != NULL;
         timer = timer->next) {
        if (timer->due_ms < 0 || timer->due_ms > now_ms)
            continue;
        timer->due_ms = -1;
        timer->fire(timer->arg);
    }
}

static void bury(struct poll_loop *loop)
{
    for (struct store_wire **at = &loop->wires; *at != NULL;) {
        struct store_wire *wire = *at;
        if (!wire->is_dead) {
            at = &wire->next;
            continue;
        }
        *at = wire->next;
        free(wire->unsent);
        free(wire);
    }
    for (struct store_timer **at = &loop->timers; *at != NULL;) {
        struct store_timer *timer = *at;
        if (!timer->is_dead) {
            at = &timer->next;
            continue;
        }
        *at = timer->next;
        free(timer);
    }
}

/* At most limit_ms, less if a timer is due before, 0 if a wire has failed. */
static int wait_ms(struct poll_loop *loop, int limit_ms)
{
    const int64_t now_ms = hook_now_ms(&loop->hooks);
    int64_t wait = limit_ms;

    for (struct store_timer *timer = loop->timers; timer; timer = timer->next) {
        if (timer->due_ms >= 0 && timer->due_ms - now_ms < wait)
            wait = timer->due_ms - now_ms;
    }
    for (struct store_wire *wire = loop->wires; wire; wire = wire->next) {
        if (wire->error != 0)
            wait = 0;
    }
    return wait > 0 ? (int)wait : 0;
}

static void handle(struct poll_loop *loop, struct store_wire *wire)
{
    if (wire->is_dead)
        return;
    if (!wire->is_open)
        finish_connect(wire);
    else
        receive(loop, wire);
}

void poll_loop_turn(struct poll_loop *loop, int limit_ms)
{
    struct pollfd fds[WIRES_MAX];
    struct store_wire *wires[WIRES_MAX];
    nfds_t count = 0;

    for (struct store_wire *wire = loop->wires; wire; wire = wire->next) {
        /* What an end has changed is not to be waited for. */
        if (!wire->is_dead && !flush(wire))
            limit_ms = 0;
    }
    bury(loop);
    for (struct store_wire *wire = loop->wires; wire; wire = wire->next) {
        const bool is_sending = !wire->is_open || wire->unsent_len > 0;
        require(count < WIRES_MAX, "many wires");
        wires[count] = wire;
        fds[count].fd = wire->error == 0 ? wire->fd : -1;
        fds[count].events = (short)(POLLIN | (is_sending ? POLLOUT : 0));
        fds[count++].revents = 0;
    }
    poll(fds, count, wait_ms(loop, limit_ms));
    for (nfds_t i = 0; i < count; i++) {
        const bool is_readable = (fds[i].revents & ~POLLOUT) != 0;
        if (is_readable || wires[i]->error != 0 ||
            (fds[i].revents != 0 && !wires[i]->is_open))
            handle(loop, wires[i]);
    }
    fire_timers(loop);
    bury(loop);
}

bool poll_loop_until(struct poll_loop *loop, bool (*is_true)(void *arg),
                     void *arg, int limit_ms)
{
    const int64_t end_ms = hook_now_ms(&loop->hooks) + limit_ms;

    while (!is_true(arg)) {
        const int64_t left_ms = end_ms - hook_now_ms(&loop->hooks);
        if (left_ms <= 0)
            return false;
        poll_loop_turn(loop, (int)left_ms);
    }
    return true;
}

size_t poll_loop_count(const struct poll_loop *loop)
{
    size_t count = 0;

    for (struct store_wire *wire = loop->wires; wire; wire = wire->next)
        count += wire->is_dead ? 0 : 1;
    for (struct store_timer *timer = loop->timers; timer; timer = timer->next)
        count += timer->is_dead ? 0 : 1;
    return count;
}

void poll_loop_free(struct poll_loop *loop)
{
    for (struct store_wire *wire = loop->wires; wire; wire = wire->next) {
        if (!wire->is_dead)
            hook_close(wire);
    }
    for (struct store_timer *timer = loop->timers; timer; timer = timer->next)
        timer->is_dead = true;
    bury(loop);
    free(loop);
}
