/* SPDX-License-Identifier: MIT */
/* The consistent hash ring. */
#include "gateway/config.h"
#include "gateway/ring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 10000 };

static struct gw_ring_member members[GW_BACKEND_COUNT_MAX];
static char ids[GW_BACKEND_COUNT_MAX][40];

static void fill(size_t count, uint32_t weight)
{
    for (size_t i = 0; i < count; i++) {
        snprintf(ids[i], sizeof(ids[i]), "10.0.0.%zu:3000", i);
        members[i] = (struct gw_ring_member){
            .id = eio_span_of(ids[i]), .weight = weight, .owner = (uint8_t)i};
    }
}

static uint64_t key_hash(unsigned n)
{
    char key[16];
    snprintf(key, sizeof(key), "key%u", n);
    return gw_hash_bytes(0, eio_span_of(key));
}

static struct gw_ring *make(size_t count, uint32_t size)
{
    struct gw_ring *ring = gw_ring_new(members, count, size);
    cr_assert_not_null(ring);
    cr_assert_geq(gw_ring_count(ring), size);
    cr_assert_leq(gw_ring_count(ring), GW_RING_PLACES_MAX);
    return ring;
}

static uint8_t owner_of(const struct gw_ring *ring, uint64_t hash)
{
    return gw_ring_owner(ring, gw_ring_find(ring, hash));
}

/* How many of the keys each has. */
static void count_keys(const struct gw_ring *ring, size_t keys[256])
{
    memset(keys, 0, 256 * sizeof(keys[0]));
    for (unsigned i = 0; i < KEYS; i++)
        keys[owner_of(ring, key_hash(i))]++;
}

/* How many keys are at another one's now. Those of which neither of both is
 * `changed` may be `strays` at most. */
static size_t count_moved(const struct gw_ring *before,
                          const struct gw_ring *after, uint8_t changed,
                          size_t strays)
{
    size_t moved = 0;
    size_t astray = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        uint8_t a = owner_of(before, key_hash(i));
        uint8_t b = owner_of(after, key_hash(i));
        moved += a != b;
        astray += a != b && a != changed && b != changed;
    }
    cr_assert_leq(astray, strays, "%zu", astray);
    return moved;
}

/* Replicas of other builds and machines must agree on them. */
Test(ring, hashes_are_known)
{
    cr_assert_eq(gw_hash_mix(0), 0);
    cr_assert_eq(gw_hash_mix(1), 0x4179b061e0c0e0d0ULL);
    cr_assert_eq(gw_hash_bytes(0, eio_span_of("")), 0x2180a92350d49cceULL);
    cr_assert_eq(gw_hash_bytes(0, eio_span_of("n1")), 0xe9ab09db8d1d35eaULL);
    cr_assert_eq(gw_hash_bytes(2, eio_span_of("n1\xff")),
                 0x7a7a9fc70f12a894ULL);
}

Test(ring, each_bit_counts)
{
    size_t flips = 0;
    for (unsigned bit = 0; bit < 64; bit++)
        for (uint64_t x = 1; x <= 100; x++)
            flips += (size_t)__builtin_popcountll(
                gw_hash_mix(x * 77) ^ gw_hash_mix((x * 77) ^ (1ULL << bit)));
    /* of 6400 pairs, half of the bits */
    cr_assert(flips > 6400 * 31 && flips < 6400 * 33, "%zu", flips);
}

Test(ring, of_one_has_all_keys)
{
    static const uint32_t weights[] = {1, 3, 255, 256};
    for (size_t i = 0; i < 4; i++) {
        fill(1, weights[i]);
        struct gw_ring *ring = make(1, 1000);
        cr_assert_eq(owner_of(ring, 0), 0);
        cr_assert_eq(owner_of(ring, UINT64_MAX), 0);
        gw_ring_free(ring);
    }
}

/* The first place from a hash on, and behind the last one the first again. */
Test(ring, is_searched_clockwise)
{
    fill(7, 1);
    struct gw_ring *ring = make(7, 1);
    size_t before = gw_ring_find(ring, 0);
    size_t wraps = before != 0;
    for (uint64_t i = 0; i <= 4096; i++) {
        size_t at = gw_ring_find(ring, i == 4096 ? UINT64_MAX : i << 52);
        cr_assert_lt(at, gw_ring_count(ring));
        wraps += at < before;
        cr_assert(at >= before || at == 0);
        before = at;
    }
    cr_assert_eq(before, 0);
    cr_assert_eq(wraps, 1);
    gw_ring_free(ring);
}

Test(ring, shares_are_even)
{
    size_t keys[256];
    fill(5, 1);
    struct gw_ring *ring = make(5, 1024);
    count_keys(ring, keys);
    for (size_t i = 0; i < 5; i++)
        cr_assert(keys[i] > KEYS / 5 * 9 / 10 && keys[i] < KEYS / 5 * 11 / 10,
                  "%zu: %zu", i, keys[i]);
    gw_ring_free(ring);
}

Test(ring, shares_are_by_weight)
{
    size_t keys[256];
    static const uint32_t weights[] = {1, 3, 6};
    for (uint32_t scale = 1; scale <= 32; scale *= 2) {
        fill(3, 1);
        for (size_t i = 0; i < 3; i++)
            members[i].weight = weights[i] * scale;
        struct gw_ring *ring = make(3, 8192);
        count_keys(ring, keys);
        for (size_t i = 0; i < 3; i++) {
            size_t due = KEYS / 10 * weights[i];
            cr_assert(keys[i] > due * 9 / 10 && keys[i] < due * 11 / 10,
                      "%zu: %zu", i, keys[i]);
        }
        gw_ring_free(ring);
    }
}

/* In whatever order, and whatever they are called here. */
Test(ring, is_the_same_everywhere)
{
    enum { COUNT = 9 };
    fill(COUNT, 2);
    struct gw_ring *ring = make(COUNT, 512);
    struct gw_ring_member turned[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        turned[i] = members[COUNT - 1 - i];
        turned[i].owner = (uint8_t)(100 + turned[i].owner);
    }
    struct gw_ring *other = gw_ring_new(turned, COUNT, 512);
    cr_assert_not_null(other);
    for (unsigned i = 0; i < KEYS; i++)
        cr_assert_eq(owner_of(ring, key_hash(i)) + 100,
                     owner_of(other, key_hash(i)));
    gw_ring_free(ring);
    gw_ring_free(other);
}

Test(ring, moves_only_what_a_new_one_gets)
{
    for (size_t n = 1; n <= 20; n++) {
        fill(n + 1, 1);
        struct gw_ring *before = make(n, 1024);
        struct gw_ring *after = make(n + 1, 1024);
        size_t due = KEYS / (n + 1);
        size_t moved = count_moved(before, after, (uint8_t)n, 0);
        cr_assert(moved > due * 8 / 10 && moved < due * 12 / 10, "%zu: %zu", n,
                  moved);
        gw_ring_free(before);
        gw_ring_free(after);
    }
}

/* One that is a little heavier changes nothing for the others. */
Test(ring, moves_only_what_a_heavier_one_gets)
{
    fill(7, 3);
    members[6].weight = 4;
    struct gw_ring *before = make(6, 1024);
    struct gw_ring *after = make(7, 1024);
    size_t moved = count_moved(before, after, 6, 0);
    cr_assert(moved > 1500 && moved < 2150, "%zu", moved);
    gw_ring_free(before);
    gw_ring_free(after);
}

Test(ring, moves_only_what_a_former_one_had)
{
    fill(10, 100);
    struct gw_ring *before = make(10, 1024);
    members[4] = members[9]; /* whose keys go on */
    struct gw_ring *after = make(9, 1024);
    size_t moved = count_moved(before, after, 4, 0);
    cr_assert(moved > 800 && moved < 1200, "%zu", moved);
    gw_ring_free(before);
    gw_ring_free(after);
}

/* Where places are scarce: twice as much, at most. */
Test(ring, moves_little_where_it_is_bounded)
{
    static const uint32_t sizes[] = {1024, 65536};
    for (size_t i = 0; i < 2; i++) {
        fill(200, 7);
        struct gw_ring *before = make(199, sizes[i]);
        struct gw_ring *after = make(200, sizes[i]);
        size_t moved = count_moved(before, after, 199, KEYS / 100);
        cr_assert_leq(moved, KEYS / 50, "%zu", moved);
        cr_assert_gt(moved, 0);
        gw_ring_free(before);
        gw_ring_free(after);
    }
}

Test(ring, is_bounded_and_leaves_nobody_out)
{
    static const uint32_t sizes[] = {1, 1024, 65536, UINT32_MAX};
    for (size_t s = 0; s < 4; s++) {
        bool has[256] = {false};
        fill(256, 256);
        for (size_t i = 0; i < 128; i++)
            members[i].weight = 1;
        struct gw_ring *ring = gw_ring_new(members, 256, sizes[s]);
        cr_assert_not_null(ring);
        cr_assert_leq(gw_ring_count(ring), GW_RING_PLACES_MAX);
        for (size_t i = 0; i < gw_ring_count(ring); i++)
            has[gw_ring_owner(ring, i)] = true;
        for (size_t i = 0; i < 256; i++)
            cr_assert(has[i], "%zu", i);
        gw_ring_free(ring);
    }
}
