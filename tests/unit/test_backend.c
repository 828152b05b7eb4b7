/* SPDX-License-Identifier: MIT */
/* The choice of a backend, in a worker that has nothing else. */
#include "gateway/backend.h"
#include "gateway/worker.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct gw_server *server;
static struct gw_worker *worker;
static const struct gw_backend_set none;
static size_t chosen[GW_BACKEND_COUNT_MAX];

/* `count` backends of the given weights; NULL: all of weight 1. */
static void begin(enum gw_balance balance, size_t count,
                  const uint32_t *weights)
{
    server = calloc(1, sizeof(*server));
    worker = calloc(1, sizeof(*worker));
    cr_assert(server != NULL && worker != NULL);
    server->config.balance = balance;
    server->config.backend_count = count;
    for (size_t i = 0; i < count; i++) {
        struct gw_backend_config *backend = &server->config.backends[i];
        snprintf(backend->id, sizeof(backend->id), "n%zu", i);
        backend->weight = weights != NULL ? weights[i] : 1;
    }
    server->backends = gw_backends_new(&server->config);
    cr_assert_not_null(server->backends);
    worker->server = server;
    worker->config = &server->config;
    worker->now_ms = 1000000;
    worker->random_state = 0x9e3779b97f4a7c15ULL;
    memset(chosen, 0, sizeof(chosen));
}

static void end(void)
{
    gw_backends_free(server->backends);
    free(worker);
    free(server);
}

static struct gw_backend *backend(size_t i)
{
    return &server->backends->list[i];
}

/* Chooses `times` times; with binds each choice becomes a session. */
static void choose(size_t times, const struct gw_backend_set *tried, bool binds)
{
    memset(chosen, 0, sizeof(chosen));
    for (size_t i = 0; i < times; i++) {
        struct gw_backend *one = gw_backend_choose(worker, tried);
        cr_assert_not_null(one);
        cr_assert_eq(one, backend(one->index));
        chosen[one->index]++;
        if (binds)
            atomic_fetch_add(&one->sessions, 1);
    }
}

static const enum gw_balance balances[] = {
    GW_BALANCE_LEAST_SESSIONS, GW_BALANCE_ROUND_ROBIN, GW_BALANCE_RANDOM_TWO};

enum { BALANCES = sizeof(balances) / sizeof(balances[0]) };

Test(backend, is_found_by_its_id)
{
    begin(GW_BALANCE_ROUND_ROBIN, 12, NULL);
    for (unsigned i = 0; i < 12; i++) {
        cr_assert_eq(backend(i)->index, i);
        cr_assert_eq(gw_backend_find(server->backends, backend(i)->config->id),
                     backend(i));
    }
    cr_assert_null(gw_backend_find(server->backends, "n12"));
    cr_assert_null(gw_backend_find(server->backends, "n"));
    cr_assert_null(gw_backend_find(server->backends, ""));
    gw_backend_count_session(server->backends, "n3", 1);
    gw_backend_count_session(server->backends, "n3", 1);
    gw_backend_count_session(server->backends, "n3", -1);
    gw_backend_count_session(server->backends, "gone", 1);
    for (unsigned i = 0; i < 12; i++)
        cr_assert_eq(atomic_load(&backend(i)->sessions), i == 3);
    end();
}

Test(backend, set_holds_every_index)
{
    struct gw_backend_set set = {{0}};
    for (unsigned i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        cr_assert_not(gw_backend_set_has(&set, i));
        gw_backend_set_add(&set, i);
        cr_assert(gw_backend_set_has(&set, i));
        for (unsigned k = i + 1; k < GW_BACKEND_COUNT_MAX; k++)
            cr_assert_not(gw_backend_set_has(&set, k));
    }
}

Test(backend, with_the_least_sessions_is_chosen)
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
    end();
}

Test(backend, levels_sessions_out)
{
    begin(GW_BALANCE_LEAST_SESSIONS, 5, NULL);
    atomic_store(&backend(0)->sessions, 100);
    choose(400, &none, true);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(atomic_load(&backend(i)->sessions), 100);
    end();
}

/* Without it the first one gets every handshake of an idle night. */
Test(backend, takes_turns_among_equals)
{
    begin(GW_BALANCE_LEAST_SESSIONS, 4, NULL);
    choose(400, &none, false);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(chosen[i], 100, "%zu: %zu", i, chosen[i]);
    end();
}

Test(backend, gets_sessions_by_weight)
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

Test(backend, goes_round)
{
    begin(GW_BALANCE_ROUND_ROBIN, 3, NULL);
    size_t before = gw_backend_choose(worker, &none)->index;
    for (int i = 0; i < 30; i++) {
        size_t now = gw_backend_choose(worker, &none)->index;
        cr_assert_eq(now, (before + 1) % 3);
        before = now;
    }
    end();
}

Test(backend, goes_round_by_weight)
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
Test(backend, spreads_by_random_two)
{
    begin(GW_BALANCE_RANDOM_TWO, 10, NULL);
    choose(10000, &none, true);
    for (size_t i = 0; i < 10; i++)
        cr_assert(chosen[i] > 980 && chosen[i] < 1020, "%zu: %zu", i,
                  chosen[i]);
    end();
}

Test(backend, spares_a_loaded_one_by_random_two)
{
    begin(GW_BALANCE_RANDOM_TWO, 4, NULL);
    atomic_store(&backend(1)->sessions, 1000000);
    choose(16000, &none, false);
    /* The two differ (but for one draw in 4^8): never the loaded one. */
    cr_assert_leq(chosen[1], 4, "%zu", chosen[1]);
    end();
}

Test(backend, gets_sessions_by_weight_by_random_two)
{
    static const uint32_t weights[] = {1, 3};
    begin(GW_BALANCE_RANDOM_TWO, 2, weights);
    choose(8000, &none, true);
    cr_assert(chosen[0] > 1600 && chosen[0] < 2400, "%zu", chosen[0]);
    end();
}

Test(backend, is_tried_once)
{
    for (size_t b = 0; b < BALANCES; b++) {
        struct gw_backend_set tried = {{0}};
        begin(balances[b], 200, NULL);
        for (int i = 0; i < 200; i++) {
            struct gw_backend *one = gw_backend_choose(worker, &tried);
            cr_assert_not_null(one);
            cr_assert_not(gw_backend_set_has(&tried, one->index));
            gw_backend_set_add(&tried, one->index);
        }
        cr_assert_null(gw_backend_choose(worker, &tried));
        end();
    }
}

Test(backend, that_refused_is_spared_for_a_second)
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

Test(backend, that_answered_again_is_not_spared)
{
    begin(GW_BALANCE_ROUND_ROBIN, 2, NULL);
    gw_backend_note_refused(backend(0), worker->now_ms);
    gw_backend_note_unreachable(backend(0), worker->now_ms);
    choose(10, &none, false);
    cr_assert_eq(chosen[0], 0);
    gw_backend_note_connected(backend(0));
    cr_assert_eq(atomic_load(&backend(0)->failed_at_ms), 0);
    cr_assert_eq(atomic_load(&backend(0)->unreachable_since_ms), 0);
    choose(10, &none, false);
    cr_assert_eq(chosen[0], 5);
    end();
}

Test(backend, is_silent_since_the_first_time)
{
    begin(GW_BALANCE_ROUND_ROBIN, 2, NULL);
    gw_backend_note_unreachable(backend(0), 5000);
    gw_backend_note_unreachable(backend(0), 9000);
    cr_assert_eq(atomic_load(&backend(0)->unreachable_since_ms), 5000);
    gw_backend_note_connected(backend(0));
    gw_backend_note_unreachable(backend(0), 11000);
    cr_assert_eq(atomic_load(&backend(0)->unreachable_since_ms), 11000);
    end();
}

Test(backend, that_refused_is_taken_when_there_is_no_other)
{
    for (size_t b = 0; b < BALANCES; b++) {
        struct gw_backend_set tried = {{0}};
        begin(balances[b], 3, NULL);
        for (size_t i = 0; i < 3; i++)
            gw_backend_note_refused(backend(i), worker->now_ms);
        choose(300, &none, false);
        for (size_t i = 0; i < 3; i++)
            cr_assert_gt(chosen[i], 0);
        gw_backend_note_connected(backend(0));
        gw_backend_set_add(&tried, 0);
        gw_backend_set_add(&tried, 1);
        choose(10, &tried, false);
        cr_assert_eq(chosen[2], 10);
        end();
    }
}
