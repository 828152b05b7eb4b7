/* SPDX-License-Identifier: MIT */
/* Sids that are known to be nobody's. */
#include "gateway/denied.h"
#include "store/siphash.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    SLOT_COUNT = 65536,
    TICK_MS = 100,
    TICK_BITS = 24, /* of a slot: when it ends; the others: which sid */
};

#define TICK_MASK ((1ULL << TICK_BITS) - 1)

struct gw_denied {
    uint64_t key[2];
    _Atomic uint64_t slots[SLOT_COUNT];
};

struct gw_denied *gw_denied_new(void)
{
    struct gw_denied *denied = calloc(1, sizeof(*denied));
    if (denied != NULL && getrandom(denied->key, sizeof(denied->key), 0) ==
                              (ssize_t)sizeof(denied->key))
        return denied;
    free(denied);
    return NULL;
}

void gw_denied_free(struct gw_denied *denied)
{
    free(denied);
}

/* The slot's number is in the low bits, which the ticks take the place of. */
static uint64_t tag_of(const struct gw_denied *denied,
                       const struct eio_sid *sid, unsigned *slot)
{
    uint64_t hash = store_siphash(denied->key, sid->bytes, sid->len);
    *slot = (unsigned)(hash % SLOT_COUNT);
    return hash & ~TICK_MASK;
}

static uint64_t tick_of(int64_t ms)
{
    return ((uint64_t)ms / TICK_MS) & TICK_MASK;
}

void gw_denied_add(struct gw_denied *denied, const struct eio_sid *sid,
                   int64_t now_ms, int64_t life_ms)
{
    unsigned slot;
    uint64_t tag = tag_of(denied, sid, &slot);
    atomic_store_explicit(&denied->slots[slot],
                          tag | tick_of(now_ms + life_ms + TICK_MS - 1),
                          memory_order_relaxed);
}

bool gw_denied_has(struct gw_denied *denied, const struct eio_sid *sid,
                   int64_t now_ms)
{
    unsigned slot;
    uint64_t tag = tag_of(denied, sid, &slot);
    uint64_t held =
        atomic_load_explicit(&denied->slots[slot], memory_order_relaxed);
    if ((held & ~TICK_MASK) != tag)
        return false;
    /* What is left; an end in the past is a large number, since ticks wrap. */
    uint64_t left = ((held & TICK_MASK) - tick_of(now_ms)) & TICK_MASK;
    return left > 0 && left <= 3600 * 1000 / TICK_MS + 1;
}

void gw_denied_erase(struct gw_denied *denied, const struct eio_sid *sid)
{
    unsigned slot;
    uint64_t tag = tag_of(denied, sid, &slot);
    uint64_t held =
        atomic_load_explicit(&denied->slots[slot], memory_order_relaxed);
    if ((held & ~TICK_MASK) == tag)
        atomic_compare_exchange_strong(&denied->slots[slot], &held, 0);
}
