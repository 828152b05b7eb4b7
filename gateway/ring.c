/* SPDX-License-Identifier: MIT */
/*
 * The consistent hash ring.
 *
 * How many places a member has depends on its weight against the heaviest one,
 * rounded up to a power of two, and on nothing else: so others keep theirs when
 * one comes or goes. Only where that made more than PLACES_SOFT_MAX places are
 * the counts scaled by the sum of all weights; then one that comes costs each
 * of the others some of its places too, and up to twice as many keys move.
 *
 * A place is one number, its position with the owner in the low byte, so that
 * places are compared and sorted as numbers. Two at the same position are as
 * good as impossible with 56 bits.
 */
#include "gateway/ring.h"
#include "gateway/config.h"

#include <assert.h>
#include <stdlib.h>

enum {
    PLACES_SOFT_MAX = 65536, /* or twice the wanted size, if that is more */
    OWNER_BITS = 8,
};

static_assert(GW_BACKEND_COUNT_MAX <= 1 << OWNER_BITS,
              "an owner does not fit into a place");

#define OWNER_MASK ((1ULL << OWNER_BITS) - 1)

struct gw_ring {
    size_t count;
    uint64_t places[];
};

uint64_t gw_hash_bytes(uint64_t seed, struct eio_span bytes)
{
    uint64_t hash = 0xcbf29ce484222325ULL ^ gw_hash_mix(seed);
    for (size_t i = 0; i < bytes.len; i++) {
        hash ^= (unsigned char)bytes.ptr[i];
        hash *= 0x100000001b3ULL;
    }
    return gw_hash_mix(hash ^ bytes.len);
}

/* A member has weight * `per_scale` / `scale` places, at least one. */
struct share {
    uint64_t per_scale;
    uint64_t scale;
};

static size_t places_of(struct share share, uint32_t weight)
{
    uint64_t n = weight * share.per_scale / share.scale;
    return n > 0 ? (size_t)n : 1;
}

static size_t sum_of(struct share share, const struct gw_ring_member *members,
                     size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += places_of(share, members[i].weight);
    return sum;
}

/* The heaviest alone has `size` places at least. */
static struct share share_of(const struct gw_ring_member *members, size_t count,
                             uint32_t size)
{
    struct share share = {.per_scale = 2ULL * size, .scale = 1};
    uint64_t max = share.per_scale;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += members[i].weight;
        while (share.scale < members[i].weight)
            share.scale *= 2;
    }
    if (max < PLACES_SOFT_MAX)
        max = PLACES_SOFT_MAX;
    if (sum_of(share, members, count) <= max)
        return share;
    assert(total > 0);
    /* That is one place for each weight unit at least. */
    return (struct share){.per_scale = max, .scale = total};
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

struct gw_ring *gw_ring_new(const struct gw_ring_member *members, size_t count,
                            uint32_t size)
{
    if (size > GW_RING_PLACES_MAX / 2)
        size = GW_RING_PLACES_MAX / 2;
    struct share share = share_of(members, count, size);
    size_t sum = sum_of(share, members, count);
    struct gw_ring *ring =
        malloc(sizeof(*ring) + sum * sizeof(ring->places[0]));
    if (ring == NULL)
        return NULL;
    ring->count = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t seed = gw_hash_bytes(0, members[i].id);
        size_t mine = places_of(share, members[i].weight);
        for (uint64_t k = 0; k < mine; k++) {
            uint64_t at = gw_hash_mix(seed + k * 0x9e3779b97f4a7c15ULL);
            ring->places[ring->count++] = (at & ~OWNER_MASK) | members[i].owner;
        }
    }
    qsort(ring->places, ring->count, sizeof(ring->places[0]), compare);
    return ring;
}

void gw_ring_free(struct gw_ring *ring)
{
    free(ring);
}

size_t gw_ring_count(const struct gw_ring *ring)
{
    return ring->count;
}

size_t gw_ring_find(const struct gw_ring *ring, uint64_t hash)
{
    /* The first place that is not below it is in [low, high]. */
    uint64_t at = hash & ~OWNER_MASK;
    size_t low = 0;
    size_t high = ring->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ring->places[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low < ring->count ? low : 0;
}

uint8_t gw_ring_owner(const struct gw_ring *ring, size_t place)
{
    return (uint8_t)(ring->places[place] & OWNER_MASK);
}
