/* SPDX-License-Identifier: MIT */
/* The choice of a backend. */
#include "balance_fixture.h"

static const enum gw_balance balances[] = {
    GW_BALANCE_LEAST_SESSIONS, GW_BALANCE_ROUND_ROBIN, GW_BALANCE_RANDOM_TWO,
    GW_BALANCE_HASH};

enum { BALANCES = sizeof(balances) / sizeof(balances[0]) };

Test(balance, takes_the_least_sessions)
{
    begin(GW_BALANCE_LEAST_SESSIONS, 4, NULL);
    atomic_store(&backend(0)->sessions, 5);
    atomic_store(&backend(1)->sessions, 3);
    atomic_store(&backend(2)->sessions, 2);
    atomic_store(&backend(3)->sessions, 4);
    choose(20, &none, false);
    cr_assert_eq(chosen[2], 20);
    /* handshakes under way count too */
    atomic_store(&backend(2)->handshakes, 2);
    choose(20, &none, false);
    cr_assert_eq(chosen[1], 20);
    atomic_store(&backend(1)->elsewhere, 2);
    choose(20, &none, false);
    cr_assert_eq(chosen[1], 0);
    end();
}

Test(balance, levels_sessions_out)
{
    begin(GW_BALANCE_LEAST_SESSIONS, 5, NULL);
    atomic_store(&backend(0)->sessions, 100);
    choose(400, &none, true);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(atomic_load(&backend(i)->sessions), 100);
    end();
}

/* Without it the first one gets every handshake of an idle night. */
Test(balance, takes_turns_among_equals)
{
    begin(GW_BALANCE_LEAST_SESSIONS, 4, NULL);
    choose(400, &none, false);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(chosen[i], 100, "%zu: %zu", i, chosen[i]);
    end();
}

/* What they say is old: all would take the same. */
Test(balance, takes_the_better_of_two_with_other_replicas)
{
    begin(GW_BALANCE_LEAST_SESSIONS, 10, NULL);
    atomic_store(&server->backends->replicas, 1);
    for (size_t i = 1; i < 10; i++)
        atomic_store(&backend(i)->sessions, 10);
    choose(10000, &none, false);
    cr_assert(chosen[0] > 1500 && chosen[0] < 2500, "%zu", chosen[0]);
    end();
}

Test(balance, is_by_weight)
{
    static const uint32_t weights[] = {1, 2, 5};
    begin(GW_BALANCE_LEAST_SESSIONS, 3, weights);
    choose(8000, &none, true);
    for (size_t i = 0; i < 3; i++) {
        long long off = (long long)chosen[i] - 1000LL * weights[i];
        cr_assert(off > -10 && off < 10, "%zu: %zu", i, chosen[i]);
    }
    end();
}

Test(balance, heeds_a_new_weight)
{
    begin(GW_BALANCE_ROUND_ROBIN, 2, NULL);
    atomic_store(&backend(1)->weight, 4);
    choose(500, &none, false);
    cr_assert_eq(chosen[1], 400);
    end();
}

Test(balance, goes_round)
{
    begin(GW_BALANCE_ROUND_ROBIN, 3, NULL);
    size_t before = choose_one(&none)->index;
    for (int i = 0; i < 30; i++) {
        size_t now = choose_one(&none)->index;
        cr_assert_eq(now, (before + 1) % 3);
        before = now;
    }
    end();
}

Test(balance, goes_round_by_weight)
{
    static const uint32_t weights[] = {1, 256, 3, 40};
    begin(GW_BALANCE_ROUND_ROBIN, 4, weights);
    atomic_store(&backend(1)->sessions, 1000000);
    choose(3 * 300, &none, false);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(chosen[i], 3 * weights[i], "%zu: %zu", i, chosen[i]);
    end();
}

/* The better of two at random: level, though each choice knows only two. */
Test(balance, spreads_by_random_two)
{
    begin(GW_BALANCE_RANDOM_TWO, 10, NULL);
    choose(10000, &none, true);
    for (size_t i = 0; i < 10; i++)
        cr_assert(chosen[i] > 980 && chosen[i] < 1020, "%zu: %zu", i,
                  chosen[i]);
    end();
}

Test(balance, spares_a_loaded_one_by_random_two)
{
    begin(GW_BALANCE_RANDOM_TWO, 4, NULL);
    atomic_store(&backend(1)->sessions, 1000000);
    choose(16000, &none, false);
    /* The two differ (but for one draw in 4^8): never the loaded one. */
    cr_assert_leq(chosen[1], 4, "%zu", chosen[1]);
    end();
}

Test(balance, is_by_weight_with_random_two)
{
    static const uint32_t weights[] = {1, 3};
    begin(GW_BALANCE_RANDOM_TWO, 2, weights);
    choose(8000, &none, true);
    cr_assert(chosen[0] > 1600 && chosen[0] < 2400, "%zu", chosen[0]);
    end();
}

Test(balance, tries_each_once)
{
    for (size_t b = 0; b < BALANCES; b++) {
        struct gw_backend_set tried = {{0}};
        begin(balances[b], 200, NULL);
        for (int i = 0; i < 200; i++) {
            struct gw_backend *one = choose_one(&tried);
            cr_assert_not_null(one);
            cr_assert_not(gw_backend_set_has(&tried, one->index));
            gw_backend_set_add(&tried, one->index);
        }
        cr_assert_null(choose_one(&tried));
        end();
    }
}

Test(balance, spares_one_that_refused_for_a_second)
{
    for (size_t b = 0; b < BALANCES; b++) {
        begin(balances[b], 3, NULL);
        atomic_store(&backend(1)->sessions, 10);
        atomic_store(&backend(2)->sessions, 10);
        gw_backend_note_refused(backend(0), worker->now_ms);
        choose(100, &none, false);
        cr_assert_eq(chosen[0], 0);
        cr_assert_gt(chosen[1], 0);
        cr_assert_gt(chosen[2], 0);
        worker->now_ms += 999;
        choose(100, &none, false);
        cr_assert_eq(chosen[0], 0);
        worker->now_ms += 2;
        choose(100, &none, false);
        cr_assert_gt(chosen[0], 0);
        end();
    }
}

Test(balance, does_not_spare_one_that_answered_again)
{
    begin(GW_BALANCE_ROUND_ROBIN, 2, NULL);
    gw_backend_note_refused(backend(0), worker->now_ms);
    choose(10, &none, false);
    cr_assert_eq(chosen[0], 0);
    gw_backend_note_connected(backend(0));
    choose(10, &none, false);
    cr_assert_eq(chosen[0], 5);
    end();
}

/* Whatever is wrong with each of them. */
Test(balance, takes_any_when_none_is_well)
{
    for (size_t b = 0; b < BALANCES; b++) {
        struct gw_backend_set tried = {{0}};
        begin(balances[b], 4, NULL);
        gw_backend_note_refused(backend(0), worker->now_ms);
        atomic_store(&backend(1)->is_down, true);
        atomic_store(&backend(2)->ejected_until_ms, worker->now_ms + 1);
        choose(100, &none, false);
        cr_assert_eq(chosen[3], 100);
        atomic_store(&backend(3)->is_down, true);
        choose(400, &none, false);
        for (size_t i = 0; i < 4; i++)
            cr_assert_gt(chosen[i], 0, "%zu", i);
        gw_backend_note_connected(backend(0));
        gw_backend_set_add(&tried, 0);
        gw_backend_set_add(&tried, 1);
        gw_backend_set_add(&tried, 2);
        choose(10, &tried, false);
        cr_assert_eq(chosen[3], 10);
        end();
    }
}

Test(balance, lets_an_ejected_one_in_again)
{
    begin(GW_BALANCE_ROUND_ROBIN, 2, NULL);
    atomic_store(&backend(0)->ejected_until_ms, worker->now_ms + 10);
    worker->now_ms += 9;
    choose(10, &none, false);
    cr_assert_eq(chosen[0], 0);
    worker->now_ms += 1;
    choose(10, &none, false);
    cr_assert_eq(chosen[0], 5);
    cr_assert_eq(atomic_load(&backend(0)->ejected_until_ms), 0);
    end();
}

/* Not even when there is no other. */
Test(balance, never_takes_what_is_closed)
{
    for (size_t b = 0; b < BALANCES; b++) {
        begin(balances[b], 5, NULL);
        atomic_store(&backend(0)->drains, GW_DRAIN_CONFIG);
        atomic_store(&backend(1)->is_unagreed, true);
        atomic_store(&backend(2)->state, GW_BACKEND_REMOVED);
        atomic_store(&backend(3)->state, GW_BACKEND_FREE);
        atomic_store(&backend(4)->is_down, true);
        choose(50, &none, false);
        cr_assert_eq(chosen[4], 50);
        atomic_store(&backend(1)->drains, GW_DRAIN_OPERATOR);
        atomic_store(&backend(4)->drains, GW_DRAIN_OPERATOR);
        cr_assert_null(choose_one(&none));
        end();
    }
}

/* All of a pool may be new at once; but one that was tried is agreed on. */
Test(balance, goes_by_its_own_list_where_none_is_agreed_on)
{
    for (size_t b = 0; b < BALANCES; b++) {
        struct gw_backend_set tried = {{0}};
        begin(balances[b], 3, NULL);
        atomic_store(&backend(0)->is_unagreed, true);
        atomic_store(&backend(1)->is_unagreed, true);
        gw_backend_set_add(&tried, 2);
        cr_assert_null(choose_one(&tried));
        atomic_store(&backend(2)->drains, GW_DRAIN_OPERATOR);
        choose(50, &none, false);
        cr_assert_eq(chosen[0] + chosen[1], 50);
        end();
    }
}

Test(balance, stays_in_the_pool)
{
    for (size_t b = 0; b < BALANCES; b++) {
        begin(balances[b], 6, NULL);
        config->pool_count = 2;
        config->pools[1] = config->pools[0];
        config->pools[0].balance = GW_BALANCE_ROUND_ROBIN;
        for (size_t i = 3; i < 6; i++)
            backend(i)->own.pool = 1;
        choose(30, &none, false);
        for (size_t i = 0; i < 6; i++)
            cr_assert_eq(chosen[i], i < 3 ? 10 : 0);
        for (unsigned i = 0; i < 30; i++) {
            struct gw_choice choice = {.pool = 1,
                                       .is_handshake = true,
                                       .hash = i * 0x9e3779b97f4a7c15ULL,
                                       .tried = &none};
            cr_assert_geq(gw_balance_choose(worker, &choice)->index, 3);
        }
        end();
    }
}

/* A common turn would give each pool every other backend. */
Test(balance, goes_round_in_each_pool)
{
    begin(GW_BALANCE_ROUND_ROBIN, 4, NULL);
    size_t times[4] = {0};
    config->pool_count = 2;
    config->pools[1] = config->pools[0];
    backend(2)->own.pool = 1;
    backend(3)->own.pool = 1;
    for (unsigned i = 0; i < 40; i++) {
        struct gw_choice choice = {.pool = i % 2, .tried = &none};
        times[gw_balance_choose(worker, &choice)->index]++;
    }
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(times[i], 10);
    end();
}

/* ---- limits of sessions ---- */

static struct gw_backend *choose_full(bool is_handshake, bool *is_full)
{
    struct gw_choice choice = {.is_handshake = is_handshake, .tried = &none};
    struct gw_backend *one = gw_balance_choose(worker, &choice);
    *is_full = choice.is_full;
    return one;
}

Test(balance, fills_each_to_its_limit)
{
    for (size_t b = 0; b < BALANCES; b++) {
        bool is_full = false;
        begin(balances[b], 3, NULL);
        config->pools[0].max_sessions = 10;
        atomic_store(&backend(1)->max_sessions, 5);
        atomic_store(&backend(2)->elsewhere, 4);
        atomic_store(&backend(2)->handshakes, 3);
        choose(10 + 5 + 3, &none, true);
        cr_assert_eq(chosen[0], 10);
        cr_assert_eq(chosen[1], 5);
        cr_assert_eq(chosen[2], 3);
        cr_assert_null(choose_full(true, &is_full));
        cr_assert(is_full);
        cr_assert_not_null(choose_full(false, &is_full));
        cr_assert_not(is_full);
        atomic_fetch_sub(&backend(1)->sessions, 1);
        cr_assert_eq(choose_full(true, &is_full), backend(1));
        cr_assert_not(is_full);
        end();
    }
}

/* A drained or tried one would not take it either. */
Test(balance, is_not_full_where_nobody_would_take_it)
{
    bool is_full = true;
    begin(GW_BALANCE_LEAST_SESSIONS, 1, NULL);
    atomic_store(&backend(0)->max_sessions, 1);
    atomic_store(&backend(0)->sessions, 1);
    atomic_store(&backend(0)->drains, GW_DRAIN_OPERATOR);
    cr_assert_null(choose_full(true, &is_full));
    cr_assert_not(is_full);
    atomic_store(&backend(0)->drains, 0);
    cr_assert_null(choose_full(true, &is_full));
    cr_assert(is_full);
    end();
}

/* The surplus of those that are well is nothing for one that is not. */
Test(balance, waits_for_a_place_where_it_is_well)
{
    bool is_full = false;
    begin(GW_BALANCE_LEAST_SESSIONS, 2, NULL);
    atomic_store(&backend(0)->max_sessions, 1);
    atomic_store(&backend(0)->sessions, 1);
    atomic_store(&backend(1)->is_down, true);
    cr_assert_null(choose_full(true, &is_full));
    cr_assert(is_full);
    /* but both are down: the place is not worth it */
    atomic_store(&backend(0)->is_down, true);
    cr_assert_eq(choose_full(true, &is_full), backend(1));
    cr_assert_not(is_full);
    end();
}

/* ---- slow start ---- */

Test(balance, ramps_up)
{
    begin(GW_BALANCE_LEAST_SESSIONS, 1, NULL);
    cr_assert_eq(gw_balance_ramp(backend(0), 1000, 5), 65536);
    atomic_store(&backend(0)->fresh_since_ms, 1000);
    cr_assert_eq(gw_balance_ramp(backend(0), 1000, 990), 0);
    cr_assert_eq(gw_balance_ramp(backend(0), 1000, 1000), 0);
    cr_assert_eq(gw_balance_ramp(backend(0), 1000, 1250), 16384);
    cr_assert_eq(gw_balance_ramp(backend(0), 1000, 1999), 65470);
    cr_assert_eq(gw_balance_ramp(backend(0), 1000, 2000), 65536);
    cr_assert_eq(gw_balance_ramp(backend(0), 3600000, 3600999), 65535);
    cr_assert_eq(gw_balance_ramp(backend(0), 0, 990), 65536);
    end();
}

/* It is the emptiest by far, and would get all of them. */
Test(balance, starts_slowly)
{
    for (size_t b = 0; b < BALANCES; b++) {
        begin(balances[b], 3, NULL);
        config->pools[0].slow_start_ms = 10000;
        atomic_store(&backend(0)->sessions, 1000000);
        atomic_store(&backend(2)->sessions, 1000000);
        atomic_store(&backend(1)->fresh_since_ms, worker->now_ms);
        choose(1000, &none, false);
        cr_assert_eq(chosen[1], 0);
        for (size_t tenths = 1; tenths < 10; tenths += 2) {
            worker->now_ms =
                atomic_load(&backend(1)->fresh_since_ms) + 1000 * tenths;
            choose(10000, &none, false);
            cr_assert_leq(chosen[1], 1000 * tenths + 150, "%zu %zu: %zu", b,
                          tenths, chosen[1]);
            cr_assert_gt(chosen[1], 1000 * tenths / 4);
        }
        end();
    }
}

Test(balance, starts_at_once_where_there_is_no_other)
{
    for (size_t b = 0; b < BALANCES; b++) {
        begin(balances[b], 3, NULL);
        config->pools[0].slow_start_ms = 10000;
        for (size_t i = 0; i < 3; i++)
            atomic_store(&backend(i)->fresh_since_ms, worker->now_ms);
        choose(100, &none, false);
        for (size_t i = 0; i < 3; i++)
            cr_assert_gt(chosen[i], 0);
        /* one that is not well is no other */
        atomic_store(&backend(0)->fresh_since_ms, 0);
        atomic_store(&backend(0)->is_down, true);
        choose(100, &none, false);
        cr_assert_eq(chosen[0], 0);
        end();
    }
}

Test(balance, starts_slowly_for_handshakes_alone)
{
    begin(GW_BALANCE_ROUND_ROBIN, 2, NULL);
    size_t times = 0;
    config->pools[0].slow_start_ms = 10000;
    atomic_store(&backend(1)->fresh_since_ms, worker->now_ms);
    for (int i = 0; i < 10; i++) {
        struct gw_choice choice = {.tried = &none};
        times += gw_balance_choose(worker, &choice) == backend(1);
    }
    cr_assert_eq(times, 5);
    end();
}
