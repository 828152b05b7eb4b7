/* SPDX-License-Identifier: MIT */
/* A worker's own listening socket for one configured address. */
#include "gateway/listener.h"
#include "gateway/conn.h"
#include "gateway/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_TURN = 64,
    BACKLOG = 4096,
    PAUSE_MS = 100, /* accepting rests this long without descriptors */
};

/* By hand: it is written into every request, and inet_ntop is slow. */
static void v4_text(const uint8_t *addr, char *out)
{
    for (int i = 0; i < 4; i++) {
        unsigned n = addr[i];
        if (n >= 100)
            *out++ = (char)('0' + n / 100);
        if (n >= 10)
            *out++ = (char)('0' + n / 10 % 10);
        *out++ = (char)('0' + n % 10);
        *out++ = i < 3 ? '.' : '\0';
    }
}

void gw_peer_text(const struct gw_peer *peer, char *out, size_t cap)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    if (cap > 0)
        out[0] = '\0';
    if (cap < INET6_ADDRSTRLEN)
        return;
    if (peer->family == AF_INET)
        v4_text(peer->addr, out);
    else if (memcmp(peer->addr, mapped, 12) == 0)
        v4_text(peer->addr + 12, out);
    else if (inet_ntop(AF_INET6, peer->addr, out, (socklen_t)cap) == NULL)
        out[0] = '\0';
}

static void peer_from_sockaddr(struct gw_peer *peer,
                               const struct sockaddr_storage *addr)
{
    memset(peer, 0, sizeof(*peer));
    peer->family = (uint8_t)addr->ss_family;
    if (addr->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)addr;
        memcpy(peer->addr, &in->sin_addr, 4);
    } else if (addr->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)addr;
        memcpy(peer->addr, &in6->sin6_addr, 16);
    }
}

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

static bool has_port(const struct gw_address *address)
{
    if (address->addr.ss_family == AF_INET6)
        return ((const struct sockaddr_in6 *)(const void *)&address->addr)
                   ->sin6_port != 0;
    return ((const struct sockaddr_in *)(const void *)&address->addr)
               ->sin_port != 0;
}

int gw_listener_try(struct gw_address *address, int *held)
{
    /* A port of the kernel's choice is nobody else's; but it could become so
     * between this socket and the workers'. */
    bool is_chosen = !has_port(address);
    int fd = bound_socket(address, is_chosen);
    *held = -1;
    if (fd < 0)
        return errno;
    int error = !is_chosen && listen(fd, 1) < 0 ? errno : 0;
    socklen_t len = sizeof(address->addr);
    getsockname(fd, (struct sockaddr *)&address->addr, &len);
    if (is_chosen)
        *held = fd;
    else
        close(fd);
    return error;
}

int gw_listener_open(struct gw_worker *worker, const struct gw_address *address)
{
    int on = 1;
    struct gw_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return ENOMEM;
    listener->worker = worker;
    listener->fd = bound_socket(address, true);
    if (listener->fd < 0) {
        int error = errno;
        free(listener);
        return error;
    }
    /* Accepted sockets inherit it: one call saved for each of them. */
    setsockopt(listener->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event event = {
        .events = EPOLLIN,
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

static void set_accepting(struct gw_worker *worker, bool is_on)
{
    for (struct gw_listener *one = worker->listeners; one; one = one->next) {
        struct epoll_event event = {
            .events = is_on ? EPOLLIN : 0,
            .data.u64 = (uint64_t)(uintptr_t)one | GW_TAG_LISTENER,
        };
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_MOD, one->fd, &event);
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
    uint64_t max = server->config.max_connections;
    if (max == 0 || open < max)
        return true;
    atomic_fetch_sub_explicit(&server->open_count, 1, memory_order_relaxed);
    return false;
}

bool gw_listener_accept(struct gw_listener *listener)
{
    struct gw_worker *worker = listener->worker;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage addr;
        socklen_t len = sizeof(addr);
        int fd = accept4(listener->fd, (struct sockaddr *)&addr, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK)
                return false;
            if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO)
                continue;
            /* Out of descriptors or memory: without a pause the waiting
             * connection would spin this loop. */
            gw_count(&worker->metrics.accept_errors);
            set_accepting(worker, false);
            gw_worker_timer(worker, &worker->accept_pause, PAUSE_MS,
                            resume_accepting);
            return false;
        }
        if (!has_room(worker)) {
            gw_count(&worker->metrics.accept_errors);
            close(fd);
            continue;
        }
        gw_count(&worker->metrics.accepted);
        struct gw_peer peer;
        peer_from_sockaddr(&peer, &addr);
        gw_conn_open(worker, fd, &peer);
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
