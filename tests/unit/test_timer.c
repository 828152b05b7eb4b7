/* SPDX-License-Identifier: MIT */
/* The timer wheel, against a list of times that it does not know of. */
#include "gateway/timer.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    ITEMS = 200,
    LATE_MS = 2 * GW_WHEEL_TICK_MS,
    TURN_MS = GW_WHEEL_SLOTS * GW_WHEEL_TICK_MS,
};

/* A timer and what the test knows of it. */
struct item {
    struct gw_timer timer;
    int64_t due_ms; /* -1: stopped */
    unsigned fired;
};

static struct gw_wheel wheel;
static struct item items[ITEMS];
static int64_t now_ms;
static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407;
    return (uint32_t)(random_state >> 33) % bound;
}

static void begin(int64_t start_ms)
{
    now_ms = start_ms;
    gw_wheel_init(&wheel, now_ms);
    memset(items, 0, sizeof(items));
    for (size_t i = 0; i < ITEMS; i++)
        items[i].due_ms = -1;
}

static struct item *item_of(struct gw_timer *timer)
{
    return (struct item *)(void *)timer; /* its first member */
}

static void start(struct item *item, int64_t after_ms, gw_timer_fn fire)
{
    gw_timer_start(&wheel, &item->timer, now_ms, after_ms, fire);
    item->due_ms = now_ms + (after_ms > 0 ? after_ms : 0);
}

static void stop(struct item *item)
{
    gw_timer_stop(&wheel, &item->timer);
    item->due_ms = -1;
}

static void note_fired(struct gw_timer *timer)
{
    struct item *item = item_of(timer);
    cr_assert_geq(item->due_ms, 0, "fired, but stopped");
    cr_assert_leq(item->due_ms, now_ms, "fired %lld ms early",
                  (long long)(item->due_ms - now_ms));
    cr_assert_not(gw_timer_is_running(timer));
    item->due_ms = -1;
    item->fired++;
}

static void advance(int64_t by_ms)
{
    now_ms += by_ms;
    gw_wheel_advance(&wheel, now_ms);
}

/* What holds after every advance. */
static void check_all(void)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < ITEMS; i++) {
        const struct item *item = &items[i];
        cr_assert_eq(gw_timer_is_running(&item->timer), item->due_ms >= 0);
        if (item->due_ms < 0)
            continue;
        cr_assert_lt(now_ms - item->due_ms, LATE_MS, "late");
        if (item->due_ms < first)
            first = item->due_ms;
    }
    int sleep_ms = gw_wheel_timeout(&wheel, now_ms);
    if (first == INT64_MAX) {
        cr_assert_eq(sleep_ms, -1);
        return;
    }
    cr_assert_gt(sleep_ms, 0, "a poll would spin");
    cr_assert_leq(sleep_ms, TURN_MS);
    cr_assert_leq(now_ms + sleep_ms, first + LATE_MS, "sleeps too long");
}

/* Short waits mostly, some over a turn of the wheel, some of a day. */
static int64_t random_after(void)
{
    switch (random_below(8)) {
    case 0:
        return 1;
    case 1:
    case 2:
        return 1 + random_below(50);
    case 3:
    case 4:
        return 1 + random_below(5000);
    case 5:
    case 6:
        return 1 + random_below(10 * TURN_MS);
    default:
        return 1 + random_below(86400000);
    }
}

static int64_t random_step(void)
{
    uint32_t kind = random_below(1000);
    if (kind == 0)
        return 1000000000;
    if (kind < 10)
        return random_below(20 * TURN_MS);
    if (kind < 100)
        return random_below(3000);
    return random_below(40);
}

static void fire_at_random(struct gw_timer *timer)
{
    note_fired(timer);
    struct item *other = &items[random_below(ITEMS)];
    switch (random_below(6)) {
    case 0:
        start(item_of(timer), random_after(), fire_at_random);
        break;
    case 1:
        stop(other);
        break;
    case 2:
        start(other, random_after(), fire_at_random);
        break;
    default:
        break;
    }
}

static void run_schedule(uint64_t seed)
{
    random_state = seed;
    begin(random_below(1000000));
    for (int step = 0; step < 4000; step++) {
        struct item *item = &items[random_below(ITEMS)];
        if (random_below(4) == 0)
            stop(item);
        else
            start(item, random_below(20) ? random_after() : 0, fire_at_random);
        /* A turn that took long: the clock went on, the wheel did not. */
        if (random_below(10) == 0) {
            now_ms += random_step();
            start(&items[random_below(ITEMS)], random_after(), fire_at_random);
        }
        advance(random_step());
        check_all();
    }
}

Test(timer, fires_never_early_and_two_ticks_late_at_most)
{
    for (uint64_t seed = 1; seed <= 8; seed++)
        run_schedule(seed);
}

Test(timer, fires_every_timer_once)
{
    random_state = 99;
    begin(5);
    for (size_t i = 0; i < ITEMS; i++)
        start(&items[i], random_below(3 * TURN_MS), note_fired);
    for (int i = 0; i < 4 * TURN_MS; i += 7)
        advance(7);
    for (size_t i = 0; i < ITEMS; i++)
        cr_assert_eq(items[i].fired, 1);
    cr_assert_eq(gw_wheel_timeout(&wheel, now_ms), -1);
}

Test(timer, sleeps_as_long_as_it_says_and_no_longer)
{
    static const int64_t waits[] = {
        0, 1, 15, 16, 17, 1000, TURN_MS - 17, TURN_MS, 100000};
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        unsigned polls = 0;
        begin(1000 + (int64_t)i);
        start(&items[0], waits[i], note_fired);
        while (items[0].fired == 0) {
            int sleep_ms = gw_wheel_timeout(&wheel, now_ms);
            cr_assert_geq(sleep_ms, 0);
            advance(sleep_ms);
            cr_assert_lt(++polls, 20, "wait %lld", (long long)waits[i]);
        }
        int64_t late = now_ms - (1000 + (int64_t)i + waits[i]);
        cr_assert_leq(late, LATE_MS, "%lld", (long long)late);
    }
}

Test(timer, moves_a_timer_that_is_started_again)
{
    begin(0);
    start(&items[0], 100, note_fired);
    start(&items[0], 1000, note_fired);
    advance(900);
    cr_assert_eq(items[0].fired, 0);
    start(&items[0], 10, note_fired);
    advance(10 + LATE_MS);
    cr_assert_eq(items[0].fired, 1);
    advance(2000);
    cr_assert_eq(items[0].fired, 1);
}

Test(timer, stops_a_stopped_timer)
{
    begin(0);
    gw_timer_stop(&wheel, &items[0].timer);
    start(&items[0], 10, note_fired);
    stop(&items[0]);
    stop(&items[0]);
    cr_assert_not(gw_timer_is_running(&items[0].timer));
    cr_assert_eq(gw_wheel_timeout(&wheel, now_ms), -1);
    advance(1000);
    cr_assert_eq(items[0].fired, 0);
}

Test(timer, takes_a_time_that_is_over_for_now)
{
    begin(1000);
    advance(5000);
    start(&items[0], -300, note_fired);
    start(&items[1], 0, note_fired);
    /* The wheel went further than the clock that this is started by. */
    gw_timer_start(&wheel, &items[2].timer, now_ms - 2000, 100, note_fired);
    items[2].due_ms = now_ms - 1900;
    cr_assert_eq(items[0].fired + items[1].fired + items[2].fired, 0,
                 "a start fires nothing itself");
    advance(LATE_MS);
    cr_assert_eq(items[0].fired, 1);
    cr_assert_eq(items[1].fired, 1);
    cr_assert_eq(items[2].fired, 1);
}

static void fire_and_stop_the_rest(struct gw_timer *timer)
{
    note_fired(timer);
    for (size_t i = 0; i < ITEMS; i++)
        stop(&items[i]);
}

Test(timer, lets_one_that_fires_stop_its_neighbours)
{
    unsigned fired = 0;
    begin(0);
    for (size_t i = 0; i < ITEMS; i++)
        start(&items[i], 10, fire_and_stop_the_rest);
    advance(100);
    for (size_t i = 0; i < ITEMS; i++)
        fired += items[i].fired;
    cr_assert_eq(fired, 1);
    cr_assert_eq(gw_wheel_timeout(&wheel, now_ms), -1);
}

static struct item *heap[8];

/* Frees itself and the others; a sanitizer sees the wheel touch them. */
static void fire_and_free(struct gw_timer *timer)
{
    cr_assert_not(gw_timer_is_running(timer));
    for (size_t i = 0; i < sizeof(heap) / sizeof(heap[0]); i++) {
        gw_timer_stop(&wheel, &heap[i]->timer);
        memset(heap[i], 0xa5, sizeof(*heap[i]));
        free(heap[i]);
    }
}

Test(timer, lets_one_that_fires_free_itself_and_others)
{
    begin(0);
    for (size_t i = 0; i < sizeof(heap) / sizeof(heap[0]); i++) {
        heap[i] = calloc(1, sizeof(*heap[i]));
        cr_assert_not_null(heap[i]);
        gw_timer_start(&wheel, &heap[i]->timer, now_ms, 20 + (int64_t)i % 2,
                       fire_and_free);
    }
    advance(100);
    cr_assert_eq(gw_wheel_timeout(&wheel, now_ms), -1);
}

static void fire_each_second(struct gw_timer *timer)
{
    note_fired(timer);
    start(item_of(timer), 1000, fire_each_second);
}

Test(timer, lets_one_that_fires_start_itself_again)
{
    begin(7);
    start(&items[0], 1000, fire_each_second);
    for (int i = 0; i < 60000; i += 4) {
        advance(4);
        check_all();
    }
    cr_assert_geq(items[0].fired, 58);
    cr_assert_leq(items[0].fired, 60);
}

Test(timer, fires_once_after_a_jump_of_the_clock)
{
    static const int64_t jumps[] = {TURN_MS - GW_WHEEL_TICK_MS, TURN_MS,
                                    TURN_MS + GW_WHEEL_TICK_MS, 86400000,
                                    INT64_C(1) << 50};
    for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
        begin(123);
        for (size_t k = 0; k < ITEMS; k++)
            start(&items[k], (int64_t)k * 80, fire_each_second);
        advance(jumps[i]);
        for (size_t k = 0; k < ITEMS; k++)
            cr_assert_eq(items[k].fired, 1, "jump %zu, timer %zu", i, k);
        check_all();
        advance(1000 + LATE_MS);
        for (size_t k = 0; k < ITEMS; k++)
            cr_assert_eq(items[k].fired, 2, "jump %zu, timer %zu", i, k);
    }
}

static void fire_at_once_again(struct gw_timer *timer)
{
    note_fired(timer);
    if (items[0].fired > 3)
        cr_assert_fail("fired without end in one advance");
    start(item_of(timer), 0, fire_at_once_again);
}

/* Every place on the wheel, for one of them is that of the next tick. */
Test(timer, fires_in_the_next_turn_what_one_that_fires_starts_for_now)
{
    for (int64_t wait = 0; wait < TURN_MS; wait += GW_WHEEL_TICK_MS) {
        begin(0);
        start(&items[0], wait, fire_at_once_again);
        advance(3 * TURN_MS);
        cr_assert_eq(items[0].fired, 1);
        advance(LATE_MS);
        cr_assert_geq(items[0].fired, 2);
        stop(&items[0]);
    }
}

Test(timer, bears_a_clock_that_steps_back)
{
    begin(1000000);
    start(&items[0], 500, note_fired);
    gw_wheel_advance(&wheel, 900000);
    cr_assert_eq(items[0].fired, 0);
    advance(500 + LATE_MS);
    cr_assert_eq(items[0].fired, 1);
}
