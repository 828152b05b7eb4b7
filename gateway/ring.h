/* SPDX-License-Identifier: MIT */
/*
 * A consistent hash ring: each backend has places on it by its id, as many as
 * its weight says, and a key belongs to the first place from its hash on. Made
 * of the same backends it is the same everywhere. When one comes or goes, only
 * what it gets or had moves.
 */
#ifndef SIDGATE_GATEWAY_RING_H
#define SIDGATE_GATEWAY_RING_H

#include "eio/span.h"

#include <stdint.h>

/* Most places of a ring, which cost 8 bytes each. */
enum { GW_RING_PLACES_MAX = 131072 };

struct gw_ring;

struct gw_ring_member {
    struct eio_span id;
    uint32_t weight; /* 1 to 256 */
    uint8_t owner;   /* what the ring gives back */
};

/* Of `size` places at least, up to GW_RING_PLACES_MAX / 2; of 1 to 256 members.
 * NULL when memory is short. */
struct gw_ring *gw_ring_new(const struct gw_ring_member *members, size_t count,
                            uint32_t size);
void gw_ring_free(struct gw_ring *ring);

size_t gw_ring_count(const struct gw_ring *ring);

/* The place that a hash belongs to. Who does not want its owner goes on to the
 * next place, from the last to the first. */
size_t gw_ring_find(const struct gw_ring *ring, uint64_t hash);
uint8_t gw_ring_owner(const struct gw_ring *ring, size_t place);

/* The same on every machine: no key, and no order of bytes. */
uint64_t gw_hash_bytes(uint64_t seed, struct eio_span bytes);

/* Each bit of the result depends on each of `x`. */
static inline uint64_t gw_hash_mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93ULL;
    x ^= x >> 32;
    return x;
}

#endif
