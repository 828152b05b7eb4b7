/* SPDX-License-Identifier: MIT */
/* A stream on a real epoll, in a worker that has nothing else. Its peer is
 * the other end of a TCP connection, for only TCP knows RST. */
#ifndef SIDGATE_TESTS_UNIT_STREAM_FIXTURE_H
#define SIDGATE_TESTS_UNIT_STREAM_FIXTURE_H

#include "gateway/stream.h"
#include "gateway/worker.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static struct gw_worker *worker;
static struct gw_stream *stream;
static int peer;
static unsigned events;

static void count_event(struct gw_stream *which)
{
    cr_assert_eq(which->owner, worker);
    events++;
}

/* Two ends of a connection over the loopback. */
static void connect_pair(int ends[2])
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(bind(listener, (struct sockaddr *)&addr, len), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(ends[0], (struct sockaddr *)&addr, len), 0);
    ends[1] = accept(listener, NULL, NULL);
    cr_assert_geq(ends[1], 0);
    close(listener);
}

static void call_ready(void)
{
    struct gw_stream *ready = worker->ready;
    worker->ready = NULL;
    while (ready != NULL) {
        struct gw_stream *one = ready;
        ready = one->next;
        one->is_ready = false;
        if (one->fd >= 0)
            one->on_event(one);
        else
            gw_worker_bury(worker, one);
    }
}

static void free_garbage(void)
{
    while (worker->garbage != NULL) {
        struct gw_stream *one = worker->garbage;
        worker->garbage = one->next;
        free(one);
    }
}

/* As in a worker's turn, but for timers. Waits for an event only when there
 * is nothing else to do. */
static void turn(void)
{
    struct epoll_event list[8];
    int n = epoll_wait(worker->epoll_fd, list, 8, worker->ready ? 0 : 5000);

    cr_assert(n > 0 || worker->ready != NULL, "nothing happens");
    for (int i = 0; i < n; i++)
        gw_stream_notify(list[i].data.ptr, list[i].events);
    call_ready();
    free_garbage();
}

static bool has_event(void)
{
    struct epoll_event event;
    return epoll_wait(worker->epoll_fd, &event, 1, 0) > 0;
}

static void begin(void)
{
    int ends[2];
    int bytes = 65536;

    connect_pair(ends);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    peer = ends[1];
    events = 0;
    worker = calloc(1, sizeof(*worker));
    cr_assert_not_null(worker);
    worker->epoll_fd = epoll_create1(0);
    stream = gw_stream_new(worker, ends[0], count_event, worker);
    cr_assert_not_null(stream);
    turn(); /* the edge of a socket that can be written */
    cr_assert(stream->is_writable);
    cr_assert_not(stream->is_readable);
    cr_assert_eq(events, 1);
}

static void end(void)
{
    gw_stream_close(&stream, false);
    cr_assert_null(stream);
    call_ready();
    free_garbage();
    close(peer);
    close(worker->epoll_fd);
    free(worker);
}

static void send_peer(const char *text)
{
    cr_assert_eq(send(peer, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void reset_by_peer(void)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(peer);
    peer = -1;
}

static void check_read(size_t cap, const char *text)
{
    char bytes[64];
    ssize_t n = gw_stream_read(stream, bytes, cap);
    cr_assert_eq(n, (ssize_t)strlen(text), "%zd", n);
    cr_assert_eq(memcmp(bytes, text, strlen(text)), 0);
}

static ssize_t read_some(void)
{
    char bytes[64];
    return gw_stream_read(stream, bytes, sizeof(bytes));
}

/* What the peer gets must be exactly this, and no more now. */
static void check_peer(const char *text)
{
    char bytes[256];
    ssize_t n = recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT);
    cr_assert_eq(n, (ssize_t)strlen(text), "%zd", n);
    cr_assert_eq(memcmp(bytes, text, strlen(text)), 0);
}

static void check_peer_waits(void)
{
    char byte;
    cr_assert_eq(recv(peer, &byte, 1, MSG_DONTWAIT), -1);
    cr_assert_eq(errno, EAGAIN);
}

static void check_peer_eof(void)
{
    char byte;
    cr_assert_eq(recv(peer, &byte, 1, 0), 0);
}

#endif
