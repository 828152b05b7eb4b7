/* SPDX-License-Identifier: MIT */
/*
 * A loop for the tests of store clients: a clock that the test turns, and one
 * wire at a time whose other end is the test. No sockets. It aborts when the
 * client breaks a rule of store/loop.h.
 */
#ifndef SIDGATE_TESTS_UNIT_FAKE_LOOP_H
#define SIDGATE_TESTS_UNIT_FAKE_LOOP_H

#include "store/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_loop {
    struct store_loop base;
    int64_t now_ms;
    uint32_t chance; /* what random gives */
    struct store_wire *wire;
    struct store_timer *timers;
    unsigned opens;
    struct store_address address; /* of the last open */
    bool is_short;                /* open fails */
    size_t unsent;                /* what the kernel has not taken */
    char *sent;                   /* on the wire, since fake_loop_clear */
    size_t sent_len;
};

struct store_wire {
    struct fake_loop *loop;
    const struct store_wire_user *user;
    void *arg;
    bool is_open;
};

struct store_timer {
    struct fake_loop *loop;
    struct store_timer *next;
    void (*fire)(void *arg);
    void *arg;
    int64_t due_ms; /* -1: stopped */
};

static inline void fake_require(bool is_true, const char *rule)
{
    if (!is_true) {
        fprintf(stderr, "fake_loop: %s\n", rule);
        abort();
    }
}

static inline struct fake_loop *fake_loop_of(struct store_loop *loop)
{
    return (struct fake_loop *)(void *)loop;
}

static inline int64_t fake_loop_now(struct store_loop *loop)
{
    return fake_loop_of(loop)->now_ms;
}

static inline uint32_t fake_loop_random(struct store_loop *loop)
{
    return fake_loop_of(loop)->chance;
}

static inline struct store_wire *
fake_loop_open(struct store_loop *loop, const struct store_address *to,
               const struct store_wire_user *user, void *arg)
{
    struct fake_loop *fake = fake_loop_of(loop);

    fake_require(fake->wire == NULL, "one wire at a time");
    fake->opens++;
    fake->address = *to;
    if (fake->is_short)
        return NULL;
    fake->wire = calloc(1, sizeof(*fake->wire));
    fake_require(fake->wire != NULL, "memory");
    *fake->wire = (struct store_wire){fake, user, arg, false};
    return fake->wire;
}

static inline void fake_loop_write(struct store_wire *wire, const char *bytes,
                                   size_t len)
{
    struct fake_loop *fake = wire->loop;

    fake_require(wire == fake->wire && wire->is_open, "write on an open wire");
    fake->sent = realloc(fake->sent, fake->sent_len + len + 1);
    fake_require(fake->sent != NULL, "memory");
    memcpy(fake->sent + fake->sent_len, bytes, len);
    fake->sent_len += len;
    fake->sent[fake->sent_len] = '\0';
}

static inline size_t fake_loop_unsent(const struct store_wire *wire)
{
    return wire->loop->unsent;
}

static inline void fake_loop_close(struct store_wire *wire)
{
    fake_require(wire == wire->loop->wire, "close once");
    wire->loop->wire = NULL;
    free(wire);
}

static inline struct store_timer *
fake_loop_timer_new(struct store_loop *loop, void (*fire)(void *), void *arg)
{
    struct fake_loop *fake = fake_loop_of(loop);
    struct store_timer *timer = calloc(1, sizeof(*timer));

    fake_require(timer != NULL, "memory");
    *timer = (struct store_timer){fake, fake->timers, fire, arg, -1};
    fake->timers = timer;
    return timer;
}

static inline void fake_loop_timer_start(struct store_timer *timer,
                                         int64_t after_ms)
{
    fake_require(after_ms >= 0, "a timer lies ahead");
    timer->due_ms = timer->loop->now_ms + after_ms;
}

static inline void fake_loop_timer_stop(struct store_timer *timer)
{
    timer->due_ms = -1;
}

static inline void fake_loop_timer_free(struct store_timer *timer)
{
    if (timer == NULL)
        return;
    struct store_timer **at = &timer->loop->timers;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    free(timer);
}

/* ---- what the test calls ---- */

static inline void fake_loop_init(struct fake_loop *fake)
{
    static const struct store_loop_ops ops = {
        .now_ms = fake_loop_now,
        .random = fake_loop_random,
        .open = fake_loop_open,
        .write = fake_loop_write,
        .unsent = fake_loop_unsent,
        .close = fake_loop_close,
        .timer_new = fake_loop_timer_new,
        .timer_start = fake_loop_timer_start,
        .timer_stop = fake_loop_timer_stop,
        .timer_free = fake_loop_timer_free,
    };

    *fake = (struct fake_loop){.base.ops = &ops, .now_ms = 1000};
}

/* After the client has ended: nothing of it may be left. */
static inline void fake_loop_fini(struct fake_loop *fake)
{
    fake_require(fake->wire == NULL, "the wire is closed in the end");
    fake_require(fake->timers == NULL, "the timers are freed in the end");
    free(fake->sent);
}

static inline void fake_loop_clear(struct fake_loop *fake)
{
    fake->sent_len = 0;
    if (fake->sent != NULL)
        fake->sent[0] = '\0';
}

static inline const char *fake_loop_sent(const struct fake_loop *fake)
{
    return fake->sent != NULL ? fake->sent : "";
}

/* The connection is there. */
static inline void fake_loop_connect(struct fake_loop *fake)
{
    fake_require(fake->wire != NULL, "there is a wire to open");
    fake->wire->is_open = true;
    fake->wire->user->on_open(fake->wire->arg);
}

/* Bytes from the other end, in memory of their own, so that a sanitizer sees
 * a read behind them; dropped if the wire was closed meanwhile. */
static inline void fake_loop_bytes(struct fake_loop *fake, const char *bytes,
                                   size_t len)
{
    if (fake->wire == NULL || len == 0)
        return;
    char *piece = malloc(len);
    fake_require(piece != NULL, "memory");
    memcpy(piece, bytes, len);
    fake->wire->user->on_bytes(fake->wire->arg, piece, len);
    free(piece);
}

static inline void fake_loop_text(struct fake_loop *fake, const char *text)
{
    fake_loop_bytes(fake, text, strlen(text));
}

static inline void fake_loop_end(struct fake_loop *fake, const char *why)
{
    struct store_wire *wire = fake->wire;

    if (wire == NULL)
        return;
    fake->wire = NULL;
    wire->user->on_end(wire->arg, why);
    free(wire);
}

/* The timer that fires first, by `until_ms` at the latest. */
static inline struct store_timer *fake_loop_due(struct fake_loop *fake,
                                                int64_t until_ms)
{
    struct store_timer *first = NULL;

    for (struct store_timer *timer = fake->timers; timer != NULL;
         timer = timer->next) {
        if (timer->due_ms < 0 || timer->due_ms > until_ms)
            continue;
        if (first == NULL || timer->due_ms < first->due_ms)
            first = timer;
    }
    return first;
}

/* Lets time pass; each timer fires at its own time. */
static inline void fake_loop_wait(struct fake_loop *fake, int64_t ms)
{
    int64_t until_ms = fake->now_ms + ms;
    unsigned fired = 0;

    for (struct store_timer *timer = fake_loop_due(fake, until_ms);
         timer != NULL; timer = fake_loop_due(fake, until_ms)) {
        fake_require(fired++ < 100000, "no timer fires without end");
        if (timer->due_ms > fake->now_ms)
            fake->now_ms = timer->due_ms;
        timer->due_ms = -1;
        timer->fire(timer->arg);
    }
    fake->now_ms = until_ms;
}

#endif
