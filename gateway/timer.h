/* SPDX-License-Identifier: MIT */
/*
 * A hashed timer wheel: starting, moving and stopping a timer costs the same
 * with ten or with a hundred thousand of them. Coarse on purpose (16 ms):
 * a timer fires at its time or up to two ticks later, never earlier.
 */
#ifndef SIDGATE_GATEWAY_TIMER_H
#define SIDGATE_GATEWAY_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct gw_timer;
typedef void (*gw_timer_fn)(struct gw_timer *timer);

/* Embedded in its owner; zeroed it is stopped. The owner stops it before it
 * goes away. */
struct gw_timer {
    struct gw_timer *next;
    struct gw_timer **link; /* what points here; NULL when stopped */
    int64_t due_ms;
    gw_timer_fn fire;
};

enum { GW_WHEEL_SLOTS = 1024, GW_WHEEL_TICK_MS = 16 };

struct gw_wheel {
    struct gw_timer *slots[GW_WHEEL_SLOTS];
    uint64_t used[GW_WHEEL_SLOTS / 64]; /* a bit for each slot with timers */
    int64_t tick;                       /* all ticks up to this one are done */
};

void gw_wheel_init(struct gw_wheel *wheel, int64_t now_ms);

/* (Re)starts `timer` to fire once, after_ms from now_ms. `fire` runs in
 * gw_wheel_advance, never here; it may start, stop and free timers. */
void gw_timer_start(struct gw_wheel *wheel, struct gw_timer *timer,
                    int64_t now_ms, int64_t after_ms, gw_timer_fn fire);

/* Harmless on a stopped timer. */
void gw_timer_stop(struct gw_wheel *wheel, struct gw_timer *timer);

static inline bool gw_timer_is_running(const struct gw_timer *timer)
{
    return timer->link != 0;
}

/* Fires what is due. */
void gw_wheel_advance(struct gw_wheel *wheel, int64_t now_ms);

/* How long a poll may sleep, in ms; -1 when there is no timer. */
int gw_wheel_timeout(const struct gw_wheel *wheel, int64_t now_ms);

#endif
