/* SPDX-License-Identifier: MIT */
/* A libuv loop as the loop that a store client lives in: clock, randomness,
 * timers. */
#include "gateway/uv_loop_private.h"

#include <stdlib.h>

struct store_timer {
    uv_timer_t timer;
    void (*fire)(void *arg);
    void *arg;
};

static struct gw_uv_loop *loop_of(struct store_loop *base)
{
    return (struct gw_uv_loop *)(void *)base;
}

static int64_t loop_now_ms(struct store_loop *base)
{
    return (int64_t)uv_now(loop_of(base)->uv);
}

/* splitmix64 */
static uint32_t loop_random(struct store_loop *base)
{
    uint64_t mixed = loop_of(base)->random_state += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)(mixed >> 32);
}

void gw_uv_free_data(uv_handle_t *handle)
{
    free(handle->data);
}

/* ---- timers ---- */

static void on_timer(uv_timer_t *handle)
{
    struct store_timer *timer = handle->data;
    timer->fire(timer->arg);
}

static struct store_timer *loop_timer_new(struct store_loop *base,
                                          void (*fire)(void *arg), void *arg)
{
    struct store_timer *timer = calloc(1, sizeof(*timer));
    if (timer == NULL)
        return NULL;
    uv_timer_init(loop_of(base)->uv, &timer->timer);
    timer->timer.data = timer;
    timer->fire = fire;
    timer->arg = arg;
    return timer;
}

/* With 0 a timer that starts itself would leave libuv 1.44 no other turn. */
static void loop_timer_start(struct store_timer *timer, int64_t after_ms)
{
    uv_timer_start(&timer->timer, on_timer,
                   after_ms > 1 ? (uint64_t)after_ms : 1, 0);
}

static void loop_timer_stop(struct store_timer *timer)
{
    uv_timer_stop(&timer->timer);
}

static void loop_timer_free(struct store_timer *timer)
{
    if (timer != NULL)
        uv_close((uv_handle_t *)&timer->timer, gw_uv_free_data);
}

static const struct store_loop_ops loop_ops = {
    .now_ms = loop_now_ms,
    .random = loop_random,
    .open = gw_uv_wire_open,
    .write = gw_uv_wire_write,
    .unsent = gw_uv_wire_unsent,
    .close = gw_uv_wire_close,
    .timer_new = loop_timer_new,
    .timer_start = loop_timer_start,
    .timer_stop = loop_timer_stop,
    .timer_free = loop_timer_free,
};

struct store_loop *gw_uv_loop_new(uv_loop_t *uv, struct gw_tls *tls)
{
    struct gw_uv_loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL)
        return NULL;
    loop->base.ops = &loop_ops;
    loop->uv = uv;
    loop->tls = tls;
    loop->random_state = uv_hrtime() ^ (uint64_t)(uintptr_t)loop;
    uv_prepare_init(uv, &loop->flusher);
    loop->flusher.data = loop;
    return &loop->base;
}

void gw_uv_loop_free(struct store_loop *base)
{
    if (base != NULL)
        uv_close((uv_handle_t *)&loop_of(base)->flusher, gw_uv_free_data);
}
