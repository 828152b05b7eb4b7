/* SPDX-License-Identifier: MIT */
/* A hashed timer wheel. */
#include "gateway/timer.h"

#include <stddef.h>
#include <string.h>

static unsigned slot_of(int64_t tick)
{
    return (unsigned)(tick & (GW_WHEEL_SLOTS - 1));
}

void gw_wheel_init(struct gw_wheel *wheel, int64_t now_ms)
{
    memset(wheel, 0, sizeof(*wheel));
    wheel->tick = now_ms / GW_WHEEL_TICK_MS;
}

void gw_timer_stop(struct gw_wheel *wheel, struct gw_timer *timer)
{
    if (timer->link == NULL)
        return;
    *timer->link = timer->next;
    if (timer->next != NULL)
        timer->next->link = timer->link;
    timer->next = NULL;
    timer->link = NULL;
    unsigned slot = slot_of(timer->due_ms / GW_WHEEL_TICK_MS + 1);
    if (wheel->slots[slot] == NULL)
        wheel->used[slot / 64] &= ~(1ULL << (slot % 64));
}

void gw_timer_start(struct gw_wheel *wheel, struct gw_timer *timer,
                    int64_t now_ms, int64_t after_ms, gw_timer_fn fire)
{
    gw_timer_stop(wheel, timer);
    timer->due_ms = now_ms + (after_ms > 0 ? after_ms : 0);
    timer->fire = fire;
    /* A timer whose tick has been done already would wait a whole turn. */
    if (timer->due_ms / GW_WHEEL_TICK_MS + 1 <= wheel->tick)
        timer->due_ms = wheel->tick * GW_WHEEL_TICK_MS;
    unsigned slot = slot_of(timer->due_ms / GW_WHEEL_TICK_MS + 1);
    struct gw_timer **head = &wheel->slots[slot];
    timer->next = *head;
    if (timer->next != NULL)
        timer->next->link = &timer->next;
    timer->link = head;
    *head = timer;
    wheel->used[slot / 64] |= 1ULL << (slot % 64);
}

/* Takes the slot's timers that are due one at a time: each may stop or start
 * any other, so no pointer into the list is kept over a call. What one of them
 * starts for now has a later tick, and waits for the next turn. */
static void advance_slot(struct gw_wheel *wheel, unsigned slot)
{
    for (;;) {
        struct gw_timer *timer = wheel->slots[slot];
        while (timer != NULL &&
               timer->due_ms / GW_WHEEL_TICK_MS + 1 > wheel->tick)
            timer = timer->next;
        if (timer == NULL)
            return;
        gw_timer_stop(wheel, timer);
        timer->fire(timer);
    }
}

void gw_wheel_advance(struct gw_wheel *wheel, int64_t now_ms)
{
    int64_t target = now_ms / GW_WHEEL_TICK_MS;
    if (target - wheel->tick > GW_WHEEL_SLOTS)
        wheel->tick = target - GW_WHEEL_SLOTS;
    while (wheel->tick < target) {
        wheel->tick++;
        unsigned slot = slot_of(wheel->tick);
        if (wheel->used[slot / 64] & (1ULL << (slot % 64)))
            advance_slot(wheel, slot);
    }
}

int gw_wheel_timeout(const struct gw_wheel *wheel, int64_t now_ms)
{
    for (unsigned ahead = 1; ahead <= GW_WHEEL_SLOTS; ahead++) {
        unsigned slot = slot_of(wheel->tick + ahead);
        if (slot % 64 == 0 && wheel->used[slot / 64] == 0) {
            ahead += 63;
            continue;
        }
        if (wheel->used[slot / 64] & (1ULL << (slot % 64))) {
            int64_t due = (wheel->tick + ahead) * GW_WHEEL_TICK_MS - now_ms;
            return due > 0 ? (int)due : 0;
        }
    }
    return -1;
}
