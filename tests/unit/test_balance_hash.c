/* SPDX-License-Identifier: MIT */
/* The choice of a backend by a hash. */
#include "balance_fixture.h"

enum { KEYS = 10000 };

static uint8_t owners[KEYS];

static struct gw_backend *choose_key(size_t key)
{
    struct gw_choice choice = {.is_handshake = true,
                               .hash = key * 0x9e3779b97f4a7c15ULL,
                               .tried = &none};
    return gw_balance_choose(worker, &choice);
}

static void note_owners(void)
{
    for (size_t i = 0; i < KEYS; i++)
        owners[i] = (uint8_t)choose_key(i)->index;
}

/* How many are elsewhere than noted. Each of them was at `only` or is now. */
static size_t count_moved(unsigned only)
{
    size_t moved = 0;
    for (size_t i = 0; i < KEYS; i++) {
        unsigned now = choose_key(i)->index;
        if (now == owners[i])
            continue;
        cr_assert(now == only || owners[i] == only, "%zu", i);
        moved++;
    }
    return moved;
}

Test(balance_hash, keeps_a_key_at_its_backend)
{
    begin(GW_BALANCE_HASH, 5, NULL);
    note_owners();
    for (size_t i = 0; i < 5; i++)
        atomic_store(&backend(i)->sessions, (long long)(10 * i));
    cr_assert_eq(count_moved(99), 0);
    /* a worker, or a replica, that has nothing of this one's */
    gw_rings_free(worker->rings);
    worker->rings = gw_rings_new();
    worker->random_state = 77;
    worker->round_robin = 5;
    cr_assert_eq(count_moved(99), 0);
    end();
}

Test(balance_hash, moves_only_the_keys_of_one_that_is_out)
{
    begin(GW_BALANCE_HASH, 5, NULL);
    note_owners();
    atomic_store(&backend(3)->is_down, true);
    size_t moved = count_moved(3);
    cr_assert(moved > 1700 && moved < 2300, "%zu", moved);
    /* and they move no second time when it is removed */
    note_owners();
    atomic_store(&backend(3)->state, GW_BACKEND_REMOVED);
    atomic_fetch_add(&server->backends->generation, 1);
    cr_assert_eq(count_moved(99), 0);
    end();
}

Test(balance_hash, spreads_the_keys_of_one_that_is_out)
{
    begin(GW_BALANCE_HASH, 5, NULL);
    size_t got[5] = {0};
    note_owners();
    atomic_store(&backend(3)->drains, GW_DRAIN_OPERATOR);
    for (size_t i = 0; i < KEYS; i++)
        if (owners[i] == 3)
            got[choose_key(i)->index]++;
    for (size_t i = 0; i < 5; i++)
        cr_assert(i == 3 ? got[i] == 0 : got[i] > 350 && got[i] < 650,
                  "%zu: %zu", i, got[i]);
    end();
}

Test(balance_hash, moves_a_share_of_the_keys_to_a_new_one)
{
    begin(GW_BALANCE_HASH, 5, NULL);
    atomic_store(&backend(4)->state, GW_BACKEND_FREE);
    note_owners();
    atomic_store(&backend(4)->state, GW_BACKEND_LIVE);
    atomic_fetch_add(&server->backends->generation, 1);
    size_t moved = count_moved(4);
    cr_assert(moved > 1700 && moved < 2300, "%zu", moved);
    end();
}

/* Slowly, each key once. */
Test(balance_hash, moves_keys_to_a_new_one_slowly)
{
    begin(GW_BALANCE_HASH, 5, NULL);
    size_t before = 0;
    config->pools[0].slow_start_ms = 10000;
    atomic_store(&backend(4)->fresh_since_ms, worker->now_ms);
    note_owners();
    for (size_t tenths = 0; tenths <= 10; tenths++) {
        size_t moved = count_moved(4);
        size_t due = KEYS / 5 * tenths / 10;
        cr_assert(moved + 250 > due && moved < due + 250, "%zu", moved);
        cr_assert_geq(moved, before);
        cr_assert_eq(count_moved(4), moved);
        before = moved;
        worker->now_ms += 1000;
    }
    end();
}

Test(balance_hash, heeds_a_new_weight_on_the_ring)
{
    begin(GW_BALANCE_HASH, 4, NULL);
    choose(KEYS, &none, false);
    cr_assert(chosen[2] > 2100 && chosen[2] < 2900, "%zu", chosen[2]);
    atomic_store(&backend(2)->weight, 3);
    atomic_fetch_add(&server->backends->generation, 1);
    choose(KEYS, &none, false);
    cr_assert(chosen[2] > 4500 && chosen[2] < 5500, "%zu", chosen[2]);
    end();
}

/* The size is another one after a reload; most keys stay nevertheless. */
Test(balance_hash, makes_rings_anew)
{
    begin(GW_BALANCE_HASH, 4, NULL);
    size_t moved = 0;
    note_owners();
    config->pools[0].hash_ring_size = 1;
    cr_assert_eq(count_moved(99), 0);
    gw_rings_reset(worker->rings);
    for (size_t i = 0; i < KEYS; i++)
        moved += choose_key(i)->index != owners[i];
    cr_assert_gt(moved, 0);
    end();
}

Test(balance_hash, hashes_without_a_ring)
{
    begin(GW_BALANCE_HASH, 5, NULL);
    gw_rings_free(worker->rings);
    worker->rings = NULL;
    choose(KEYS, &none, false);
    for (size_t i = 0; i < 5; i++)
        cr_assert(chosen[i] > 1800 && chosen[i] < 2200, "%zu", chosen[i]);
    note_owners();
    atomic_store(&backend(1)->is_down, true);
    size_t moved = count_moved(1);
    cr_assert(moved > 1800 && moved < 2200, "%zu", moved);
    end();
}

/* It is LIVE already, but the number was not yet changed. */
Test(balance_hash, takes_one_that_no_ring_has)
{
    begin(GW_BALANCE_HASH, 2, NULL);
    atomic_store(&backend(1)->state, GW_BACKEND_FREE);
    note_owners();
    atomic_store(&backend(1)->state, GW_BACKEND_LIVE);
    atomic_store(&backend(0)->drains, GW_DRAIN_OPERATOR);
    cr_assert_eq(choose_key(1), backend(1));
    end();
}
