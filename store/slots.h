/* SPDX-License-Identifier: MIT */
/*
 * The slots of a Redis Cluster: which one a key is in, and sets of them.
 *
 * What is not a cluster is one that has all keys in one place; its sessions are
 * in slots all the same, so that whoever thinks in slots needs no other way.
 */
#ifndef SIDGATE_STORE_SLOTS_H
#define SIDGATE_STORE_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_SLOTS = 16384 };

/* CRC16 (XMODEM) of the key, or of what stands between its first '{' and the
 * next '}' where that is not empty, modulo STORE_SLOTS. */
uint16_t store_slot_of(const char *key, size_t len);

struct store_slots {
    uint64_t bits[STORE_SLOTS / 64];
};

static inline bool store_slots_has(const struct store_slots *slots,
                                   uint16_t slot)
{
    return (slots->bits[slot / 64] >> (slot % 64) & 1) != 0;
}

static inline void store_slots_add(struct store_slots *slots, uint16_t slot)
{
    slots->bits[slot / 64] |= UINT64_C(1) << (slot % 64);
}

void store_slots_fill(struct store_slots *slots);
void store_slots_merge(struct store_slots *slots, const struct store_slots *of);
unsigned store_slots_count(const struct store_slots *slots);

#endif
