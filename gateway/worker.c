/* SPDX-License-Identifier: MIT */
/* A worker: one thread with its own epoll, and everything on it. */
#include "gateway/worker.h"
#include "gateway/balance.h"
#include "gateway/conn.h"
#include "gateway/drain.h"
#include "gateway/errand.h"
#include "gateway/expiry.h"
#include "gateway/listener.h"
#include "gateway/loop.h"
#include "gateway/recovery.h"
#include "gateway/replica.h"
#include "gateway/shared.h"
#include "gateway/tunnel.h"
#include "gateway/upgrade.h"
#include "gateway/upstream.h"
#include "store/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    HOUSEKEEPING_MS = 100,
    ERRANDS_MS = 500, /* at the end, for what the store is still told */
    HANDSHAKES_PER_TURN = 16,
};

void gw_worker_bury(struct gw_worker *worker, struct gw_stream *stream)
{
    if (stream->is_ready)
        return; /* it stands in the ready list, which buries it */
    stream->next = worker->garbage;
    worker->garbage = stream;
}

void gw_worker_bury_object(struct gw_worker *worker, struct gw_grave *object)
{
    object->next = worker->graves;
    worker->graves = object;
}

uint32_t gw_worker_random(struct gw_worker *worker)
{
    /* xorshift64*: for balancing and jitter, nothing that must be secret */
    uint64_t x = worker->random_state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    worker->random_state = x;
    return (uint32_t)((x * 2685821657736338717ULL) >> 32);
}

static void empty_graves(struct gw_worker *worker)
{
    while (worker->garbage != NULL) {
        struct gw_stream *stream = worker->garbage;
        worker->garbage = stream->next;
        free(stream);
    }
    while (worker->graves != NULL) {
        struct gw_grave *object = worker->graves;
        worker->graves = object->next;
        free(object);
    }
}

static void call_ready(struct gw_worker *worker)
{
    struct gw_stream *list = worker->ready;
    worker->ready = NULL;
    while (list != NULL) {
        struct gw_stream *stream = list;
        list = stream->next;
        stream->is_ready = false;
        if (stream->fd < 0)
            gw_worker_bury(worker, stream);
        else
            stream->on_event(stream);
    }
}

static void housekeeping(struct gw_timer *timer)
{
    struct gw_worker *worker =
        GW_CONTAINER(timer, struct gw_worker, housekeeping);
    store_memory_expire(worker->server->memory);
    gw_errands_step(worker);
    gw_drain_step(worker);
    gw_tunnels_account(worker);
    gw_expiries_step(worker);
    gw_late_step(worker);
    gw_worker_timer(worker, timer, HOUSEKEEPING_MS, housekeeping);
}

void gw_worker_post(struct gw_worker *worker, struct gw_mail *mail)
{
    pthread_mutex_lock(&worker->mail_lock);
    mail->next = worker->mail;
    worker->mail = mail;
    atomic_store_explicit(&worker->has_mail, true, memory_order_relaxed);
    pthread_mutex_unlock(&worker->mail_lock);
    gw_worker_wake(worker);
}

static void take_mail(struct gw_worker *worker)
{
    struct gw_mail *in_order = NULL;
    if (!atomic_load_explicit(&worker->has_mail, memory_order_relaxed))
        return;
    pthread_mutex_lock(&worker->mail_lock);
    while (worker->mail != NULL) {
        struct gw_mail *last = worker->mail;
        worker->mail = last->next;
        last->next = in_order;
        in_order = last;
    }
    atomic_store_explicit(&worker->has_mail, false, memory_order_relaxed);
    pthread_mutex_unlock(&worker->mail_lock);
    while (in_order != NULL) {
        struct gw_mail *mail = in_order;
        in_order = mail->next;
        mail->deliver(worker, mail);
    }
}

static void enter_phase(struct gw_worker *worker)
{
    enum gw_phase phase = (enum gw_phase)atomic_load(&worker->server->phase);
    if (phase == worker->phase)
        return;
    worker->phase = phase;
    if (phase >= GW_PHASE_DRAINING) {
        gw_listeners_drain(worker);
        gw_conns_drain(worker);
        gw_tunnels_drain(worker);
        gw_upstreams_drop_idle(worker);
    }
}

static bool is_finished(const struct gw_worker *worker)
{
    if (worker->phase == GW_PHASE_STOPPED)
        return true;
    return (worker->phase == GW_PHASE_DRAINING ||
            worker->phase == GW_PHASE_HANDED) &&
           worker->connections.next == &worker->connections &&
           worker->tunnels.next == &worker->tunnels;
}

static void dispatch(struct gw_worker *worker, const struct epoll_event *event)
{
    uint64_t data = event->data.u64;
    void *object = (void *)(uintptr_t)(data & ~(uint64_t)GW_TAG_MASK);
    switch (data & GW_TAG_MASK) {
    case GW_TAG_LISTENER:
        /* One that was closed earlier in this turn is gone. */
        if (worker->listeners != NULL)
            gw_listener_accept(object);
        return;
    case GW_TAG_WAKE: {
        uint64_t count;
        ssize_t ignored = read(worker->wake_fd, &count, sizeof(count));
        (void)ignored;
        return;
    }
    default:
        gw_stream_notify(object, event->events);
    }
}

static void look_at_clock(struct gw_worker *worker)
{
    worker->now_us = gw_now_us();
    worker->now_ms = worker->now_us / 1000;
}

static void turn(struct gw_worker *worker, int timeout_ms)
{
    struct epoll_event events[GW_EVENTS_MAX];
    if (worker->ready != NULL)
        timeout_ms = 0;
    int n = epoll_wait(worker->epoll_fd, events, GW_EVENTS_MAX, timeout_ms);
    look_at_clock(worker);
    worker->turn++;
    worker->handshakes_left = HANDSHAKES_PER_TURN;
    for (int i = 0; i < n; i++)
        dispatch(worker, &events[i]);
    take_mail(worker);
    gw_wheel_advance(&worker->wheel, worker->now_ms);
    /* Those that were put off have a share of their own. */
    worker->handshakes_left = HANDSHAKES_PER_TURN;
    call_ready(worker);
    empty_graves(worker);
}

/* The sessions that end with this process are taken out of the shared store,
 * which may need a moment. */
static void finish_errands(struct gw_worker *worker)
{
    int64_t until_ms = worker->now_ms + ERRANDS_MS;
    /* Otherwise the replica lives on in a new process. */
    if (!atomic_load(&worker->server->is_handed_over))
        gw_replica_leave(worker->replica);
    do
        turn(worker, ERRANDS_MS / 10);
    while (worker->errands.next != &worker->errands &&
           worker->now_ms < until_ms);
}

static void *run(void *arg)
{
    struct gw_worker *worker = arg;
    look_at_clock(worker);
    gw_worker_timer(worker, &worker->housekeeping, HOUSEKEEPING_MS,
                    housekeeping);
    gw_replica_start(worker->replica);
    while (!is_finished(worker)) {
        turn(worker, gw_wheel_timeout(&worker->wheel, worker->now_ms));
        enter_phase(worker);
        empty_graves(worker);
    }
    gw_listeners_close(worker);
    gw_conns_cut(worker);
    gw_tunnels_cut(worker);
    gw_recovery_cut(worker);
    gw_upstreams_drop_idle(worker);
    if (worker->server->is_shared)
        finish_errands(worker);
    call_ready(worker);
    empty_graves(worker);
    atomic_fetch_sub(&worker->server->busy_workers, 1);
    return NULL;
}

static bool open_descriptors(struct gw_worker *worker)
{
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = GW_TAG_WAKE};
    return worker->epoll_fd >= 0 && worker->wake_fd >= 0 &&
           epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->wake_fd,
                     &event) == 0;
}

static bool open_store(struct gw_worker *worker)
{
    if (!worker->server->is_shared) {
        worker->store = store_memory_client(worker->server->memory);
        return worker->store != NULL;
    }
    worker->loop = gw_loop_new(worker);
    worker->store = worker->loop != NULL ? gw_shared_open(worker) : NULL;
    if (worker->store != NULL && worker->index == 0)
        worker->replica = gw_replica_new(worker);
    return worker->store != NULL &&
           (worker->index != 0 || worker->replica != NULL);
}

struct gw_worker *gw_worker_new(struct gw_server *server, unsigned index,
                                char error[256])
{
    struct gw_worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        goto fail;
    size_t count = GW_BACKEND_COUNT_MAX;
    worker->server = server;
    worker->config = server->config;
    worker->index = index;
    worker->epoll_fd = -1;
    worker->wake_fd = -1;
    worker->reserve_fd = -1;
    look_at_clock(worker);
    pthread_mutex_init(&worker->mail_lock, NULL);
    gw_link_init(&worker->errands);
    gw_link_init(&worker->late_errands);
    gw_link_init(&worker->late_binds);
    gw_link_init(&worker->queued);
    gw_link_init(&worker->connections);
    gw_link_init(&worker->tunnels);
    gw_wheel_init(&worker->wheel, worker->now_ms);
    if (getrandom(&worker->random_state, sizeof(worker->random_state), 0) < 0 ||
        worker->random_state == 0)
        worker->random_state = 0x9e3779b97f4a7c15ULL + index;
    worker->backend_metrics = calloc(count, sizeof(*worker->backend_metrics));
    worker->idle = calloc(count, sizeof(*worker->idle));
    worker->recovery = gw_recovery_new(worker);
    worker->rings = gw_rings_new();
    if (worker->rings == NULL || worker->backend_metrics == NULL ||
        worker->idle == NULL || worker->recovery == NULL ||
        !open_descriptors(worker) || !open_store(worker))
        goto fail;
    worker->round_robin = gw_worker_random(worker);
    return worker;
fail:
    snprintf(error, 256, "cannot start worker %u: out of memory or descriptors",
             index);
    gw_worker_free(worker);
    return NULL;
}

void gw_worker_configure(struct gw_worker *worker,
                         const struct gw_config *config)
{
    worker->config = config;
    gw_rings_reset(worker->rings);
    gw_recovery_configure(worker);
}

bool gw_worker_start(struct gw_worker *worker)
{
    atomic_fetch_add(&worker->server->busy_workers, 1);
    worker->is_started =
        pthread_create(&worker->thread, NULL, run, worker) == 0;
    if (worker->is_started)
        return true;
    atomic_fetch_sub(&worker->server->busy_workers, 1);
    return false;
}

void gw_worker_wake(struct gw_worker *worker)
{
    uint64_t one = 1;
    ssize_t ignored = write(worker->wake_fd, &one, sizeof(one));
    (void)ignored;
}

void gw_worker_join(struct gw_worker *worker)
{
    if (worker->is_started)
        pthread_join(worker->thread, NULL);
    worker->is_started = false;
}

void gw_worker_free(struct gw_worker *worker)
{
    if (worker == NULL)
        return;
    take_mail(worker); /* it may be about any part of the worker */
    gw_listeners_close(worker);
    gw_recovery_free(worker->recovery);
    gw_replica_free(worker->replica);
    if (worker->store != NULL)
        gw_errands_end(worker);
    if (worker->store != NULL)
        store_close(worker->store);
    gw_loop_free(worker->loop);
    take_mail(worker);
    call_ready(worker);
    empty_graves(worker);
    pthread_mutex_destroy(&worker->mail_lock);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    if (worker->reserve_fd >= 0)
        close(worker->reserve_fd);
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    free(worker->backend_metrics);
    free(worker->idle);
    gw_rings_free(worker->rings);
    free(worker);
}
