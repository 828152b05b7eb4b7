/* SPDX-License-Identifier: MIT */
/* A worker's own listening socket for one configured address. */
#include "gateway/listener.h"
#include "gateway/conn.h"
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
    BACKLOG = 4096,
    PAUSE_MS = 100, /* accepting rests this long without descriptors */
    SHEDS_PER_PAUSE = 256,
};

/* A bound socket, or -1 with errno. */
static int bound_socket(const struct gw_address *address, bool is_shared)
{
    int on = 1;
    int fd = socket(address->addr.ss_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if ((is_shared &&
         setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0) ||
        bind(fd, (const struct sockaddr *)&address->addr, address->addr_len) <
            0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static int open_unix(const struct gw_listen_config *config,
                     struct gw_held *held)
{
    int fd = gw_unix_bind(&config->address, config->unix_mode, &held->file);
    if (fd < 0)
        return errno;
    held->fd = fd;
    return listen(fd, BACKLOG) < 0 ? errno : 0;
}

static bool has_port(const struct gw_address *address)
{
    if (address->addr.ss_family == AF_INET6)
        return ((const struct sockaddr_in6 *)(const void *)&address->addr)
                   ->sin6_port != 0;
    return ((const struct sockaddr_in *)(const void *)&address->addr)
               ->sin_port != 0;
}

int gw_listener_try(struct gw_listen_config *config, struct gw_held *held)
{
    struct gw_address *address = &config->address;
    if (gw_unix_is(address))
        return open_unix(config, held);
    /* A port of the kernel's choice is nobody else's; but it could become so
     * between this socket and the workers'. */
    bool is_chosen = !has_port(address);
    int fd = bound_socket(address, is_chosen);
    if (fd < 0)
        return errno;
    int error = !is_chosen && listen(fd, 1) < 0 ? errno : 0;
    socklen_t len = sizeof(address->addr);
    getsockname(fd, (struct sockaddr *)&address->addr, &len);
    if (is_chosen)
        held->fd = fd;
    else
        close(fd);
    return error;
}

/* Accepted sockets inherit these: calls saved for each of them. */
static void set_options(int fd, const struct gw_config *config)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    gw_socket_watch(fd, config);
}

int gw_listener_open(struct gw_worker *worker,
                     const struct gw_listen_config *config, int held)
{
    bool is_unix = gw_unix_is(&config->address);
    struct gw_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return ENOMEM;
    listener->worker = worker;
    listener->config = config;
    listener->fd = is_unix ? fcntl(held, F_DUPFD_CLOEXEC, 0)
                           : bound_socket(&config->address, true);
    if (listener->fd < 0) {
        int error = errno;
        free(listener);
        return error;
    }
    if (!is_unix)
        set_options(listener->fd, worker->config);
    struct epoll_event event = {
        .events = is_unix ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN,
        .data.u64 = (uint64_t)(uintptr_t)listener | GW_TAG_LISTENER,
    };
    if (listen(listener->fd, BACKLOG) < 0 ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, listener->fd, &event) < 0) {
        int error = errno;
        close(listener->fd);
        free(listener);
        return error;
    }
    listener->next = worker->listeners;
    worker->listeners = listener;
    return 0;
}

/* EPOLLEXCLUSIVE cannot be changed, only set anew. */
static void set_accepting(struct gw_worker *worker, bool is_on)
{
    for (struct gw_listener *one = worker->listeners; one; one = one->next) {
        bool is_unix = gw_unix_is(&one->config->address);
        struct epoll_event event = {
            .events = is_unix ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN,
            .data.u64 = (uint64_t)(uintptr_t)one | GW_TAG_LISTENER,
        };
        epoll_ctl(worker->epoll_fd, is_on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
                  one->fd, &event);
    }
}

static void resume_accepting(struct gw_timer *timer)
{
    struct gw_worker *worker =
        GW_CONTAINER(timer, struct gw_worker, accept_pause);
    set_accepting(worker, true);
}

static bool has_room(struct gw_worker *worker)
{
    struct gw_server *server = worker->server;
    uint64_t open =
        atomic_fetch_add_explicit(&server->open_count, 1, memory_order_relaxed);
    if (open < server->open_max)
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
    if (!listener->config->is_tls) {
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
        int fd = accept_one(listener, &addr);
        if (fd >= 0) {
            gw_count(&worker->metrics.limited_descriptors);
            shed(listener, fd);
        }
        worker->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
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
    if (worker->reserve_fd < 0)
        worker->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
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
        if (!has_room(worker)) {
            gw_count(&worker->metrics.limited_connections);
            shed(listener, fd);
            continue;
        }
        gw_count(&worker->metrics.accepted);
        struct gw_peer peer;
        gw_peer_from_sockaddr(&peer, &addr);
        gw_conn_open(worker, fd, &peer, listener->config);
    }
    return true;
}

void gw_listeners_close(struct gw_worker *worker)
{
    gw_timer_stop(&worker->wheel, &worker->accept_pause);
    while (worker->listeners != NULL) {
        struct gw_listener *listener = worker->listeners;
        worker->listeners = listener->next;
        close(listener->fd);
        free(listener);
    }
}
