/* SPDX-License-Identifier: MIT */
/* A worker's own listening socket for one configured address. */
#include "gateway/listener.h"
#include "gateway/conn.h"
#include "gateway/descriptors.h"
#include "gateway/listen_set.h"
#include "gateway/unix_socket.h"
#include "gateway/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_TURN = 64,
    BACKLOG_ROUNDS = 64, /* who comes later must not hold up the end */
    PAUSE_MS = 100,      /* accepting rests this long without descriptors */
    SHEDS_PER_PAUSE = 256,
};

/* Accepted sockets inherit these: calls saved for each of them. */
static void set_options(int fd, const struct gw_config *config)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    gw_socket_watch(fd, config);
}

static void keep_reserve(struct gw_worker *worker)
{
    if (worker->reserve_fd < 0)
        worker->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static struct epoll_event event_of(struct gw_listener *listener)
{
    return (struct epoll_event){
        .events = listener->is_shared ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN,
        .data.u64 = (uint64_t)(uintptr_t)listener | GW_TAG_LISTENER,
    };
}

int gw_listener_open(struct gw_worker *worker,
                     const struct gw_listen_config *config, int fd,
                     bool is_shared)
{
    struct gw_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL) {
        close(fd);
        return ENOMEM;
    }
    listener->worker = worker;
    listener->config = *config;
    listener->fd = fd;
    listener->is_shared = is_shared;
    if (!gw_unix_is(&config->address))
        set_options(fd, worker->config);
    struct epoll_event event = event_of(listener);
    if (!worker->is_paused &&
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        int error = errno;
        close(fd);
        free(listener);
        return error;
    }
    listener->next = worker->listeners;
    worker->listeners = listener;
    /* Others may have the last when the first client comes. */
    keep_reserve(worker);
    return 0;
}

void gw_listener_configure(struct gw_worker *worker,
                           const struct gw_listen_config *config)
{
    for (struct gw_listener *one = worker->listeners; one; one = one->next) {
        if (strcmp(one->config.address.text, config->address.text) != 0)
            continue;
        one->config = *config;
        if (!gw_unix_is(&config->address))
            set_options(one->fd, worker->config);
    }
}

/* EPOLLEXCLUSIVE cannot be changed, only set anew. */
static void set_accepting(struct gw_worker *worker, bool is_on)
{
    for (struct gw_listener *one = worker->listeners; one; one = one->next) {
        struct epoll_event event = event_of(one);
        epoll_ctl(worker->epoll_fd, is_on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
                  one->fd, &event);
    }
}

void gw_listeners_pause(struct gw_worker *worker)
{
    gw_timer_stop(&worker->wheel, &worker->accept_pause);
    worker->is_paused = true;
    set_accepting(worker, false);
}

void gw_listeners_resume(struct gw_worker *worker)
{
    worker->is_paused = false;
    for (struct gw_listener *one = worker->listeners; one; one = one->next)
        listen(one->fd, GW_LISTEN_BACKLOG);
    set_accepting(worker, true);
}

static void resume_accepting(struct gw_timer *timer)
{
    struct gw_worker *worker =
        GW_CONTAINER(timer, struct gw_worker, accept_pause);
    set_accepting(worker, true);
}

static bool has_room(struct gw_worker *worker, uint64_t open_max)
{
    struct gw_server *server = worker->server;
    uint64_t open =
        atomic_fetch_add_explicit(&server->open_count, 1, memory_order_relaxed);
    if (open < open_max)
        return true;
    atomic_fetch_sub_explicit(&server->open_count, 1, memory_order_relaxed);
    return false;
}

/* Says why before it closes, where words are possible. */
static void shed(const struct gw_listener *listener, int fd)
{
    static const char reply[] = "HTTP/1.1 503 Service Unavailable\r\n"
                                "Retry-After: 1\r\nConnection: close\r\n"
                                "Content-Length: 0\r\n\r\n";
    char late[4096];
    if (!listener->config.is_tls) {
        ssize_t ignored =
            send(fd, reply, sizeof(reply) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        shutdown(fd, SHUT_WR);
        /* What has been sent already would turn our FIN into RST. */
        ignored = recv(fd, late, sizeof(late), MSG_DONTWAIT);
        (void)ignored;
    }
    close(fd);
}

static int accept_one(const struct gw_listener *listener,
                      struct sockaddr_storage *addr)
{
    socklen_t len = sizeof(*addr);
    return accept4(listener->fd, (struct sockaddr *)addr, &len,
                   SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* Out of descriptors or memory. The reserve lets those who wait be told; then
 * accepting rests, since they would spin this loop. */
static void shed_waiting(struct gw_listener *listener)
{
    struct gw_worker *worker = listener->worker;
    for (int i = 0; i < SHEDS_PER_PAUSE && worker->reserve_fd >= 0; i++) {
        struct sockaddr_storage addr;
        close(worker->reserve_fd);
        worker->reserve_fd = -1;
        int fd = accept_one(listener, &addr);
        if (fd >= 0) {
            gw_count(&worker->metrics.limited_descriptors);
            shed(listener, fd);
        }
        keep_reserve(worker);
        if (fd < 0)
            break;
    }
    gw_count(&worker->metrics.accept_errors);
    set_accepting(worker, false);
    gw_worker_timer(worker, &worker->accept_pause, PAUSE_MS, resume_accepting);
}

bool gw_listener_accept(struct gw_listener *listener)
{
    struct gw_worker *worker = listener->worker;
    const uint64_t limit = gw_descriptors_limit();
    const uint64_t open_max = gw_descriptors_open_max(worker->config, limit);
    keep_reserve(worker);
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage addr;
        int fd = accept_one(listener, &addr);
        if (fd < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK)
                return false;
            if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO)
                continue;
            shed_waiting(listener);
            return false;
        }
        if (gw_descriptors_are_few(worker->config, limit, fd)) {
            gw_count(&worker->metrics.limited_descriptors);
            shed(listener, fd);
            continue;
        }
        if (!has_room(worker, open_max)) {
            gw_count(&worker->metrics.limited_connections);
            shed(listener, fd);
            continue;
        }
        gw_count(&worker->metrics.accepted);
        struct gw_peer peer;
        gw_peer_from_sockaddr(&peer, &addr);
        gw_conn_open(worker, fd, &peer, &listener->config);
    }
    return true;
}

/* Another process may have the same socket: closing it here would leave it in
 * our epoll. */
static void close_one(struct gw_worker *worker, struct gw_listener *listener)
{
    epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, listener->fd, NULL);
    close(listener->fd);
    free(listener);
}

static void accept_waiting(struct gw_listener *listener)
{
    for (int i = 0; i < BACKLOG_ROUNDS && gw_listener_accept(listener); i++)
        continue;
}

void gw_listener_close(struct gw_worker *worker, const char *text)
{
    struct gw_listener **at = &worker->listeners;
    while (*at != NULL) {
        struct gw_listener *listener = *at;
        if (strcmp(listener->config.address.text, text) != 0) {
            at = &listener->next;
            continue;
        }
        accept_waiting(listener);
        *at = listener->next;
        close_one(worker, listener);
    }
}

void gw_listeners_drain(struct gw_worker *worker)
{
    for (struct gw_listener *one = worker->listeners; one; one = one->next)
        accept_waiting(one);
    gw_listeners_close(worker);
}

void gw_listeners_close(struct gw_worker *worker)
{
    gw_timer_stop(&worker->wheel, &worker->accept_pause);
    while (worker->listeners != NULL) {
        struct gw_listener *listener = worker->listeners;
        worker->listeners = listener->next;
        close_one(worker, listener);
    }
}
