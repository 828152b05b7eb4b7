/* SPDX-License-Identifier: MIT */
/* Slots of keys, as Redis Cluster has them, and sets of slots. */
#include "store/slots.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    const char *key;
    unsigned slot;
} slots[] = {
    {"", 0},
    {"123456789", 0x31c3},
    {"foo", 12182},
    {"bar", 5061},
    {"zap", 6469},
    {"user1000", 3443},
    {"{user1000}.following", 3443},
    {"{user1000}.followers", 3443},
    /* The first pair of braces counts, if it holds anything. */
    {"foo{bar}{zap}", 5061},
    {"foo{{bar}}zap", 4015},
    {"{bar", 4015},
    {"foo{}{bar}", 8363},
    {"{}", 15257},
    {"{}{x}", 3257},
    {"a}b{c}", 7365},
    {"c", 7365},
    {"a{b", 13340},
    {"{", 4092},
    {"}", 12090},
};

static uint16_t slot_of(const char *key)
{
    return store_slot_of(key, strlen(key));
}

Test(store_slots, of_keys)
{
    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++)
        cr_expect_eq(slot_of(slots[i].key), slots[i].slot, "%s: %u",
                     slots[i].key, slot_of(slots[i].key));
    cr_expect_eq(store_slot_of(NULL, 0), 0);
}

/* Bit by bit, as it is defined. */
static uint16_t slow(const unsigned char *bytes, size_t len)
{
    unsigned crc = 0;

    for (size_t i = 0; i < 8 * len; i++) {
        unsigned bit = (unsigned)bytes[i / 8] >> (7 - i % 8) & 1U;
        bool is_odd = (crc >> 15 ^ bit) != 0;
        crc = (crc << 1 & 0xffff) ^ (is_odd ? 0x1021 : 0);
    }
    return (uint16_t)(crc % STORE_SLOTS);
}

Test(store_slots, of_any_bytes)
{
    char key[3];

    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            unsigned char bytes[3] = {(unsigned char)a, (unsigned char)b,
                                      (unsigned char)(a ^ b)};
            memcpy(key, bytes, sizeof(key));
            if (a == '{' && (a ^ b) == '}')
                continue; /* a tag */
            cr_assert_eq(store_slot_of(key, 3), slow(bytes, 3), "%u %u", a, b);
        }
    }
    /* A zero byte ends nothing, and a tag may be one. */
    cr_expect_eq(store_slot_of("{\0}z", 4), slow((unsigned char[]){0}, 1));
    cr_expect_eq(store_slot_of("a\0{bar}", 7), 5061);
    /* What stands behind the key is not looked at. */
    cr_expect_eq(store_slot_of("{bar}", 4), 4015);
}

Test(store_slots, sets)
{
    struct store_slots set = {{0}};
    struct store_slots other = {{0}};

    cr_expect_eq(store_slots_count(&set), 0);
    store_slots_add(&set, 0);
    store_slots_add(&set, 63);
    store_slots_add(&set, 64);
    store_slots_add(&set, 64);
    store_slots_add(&set, STORE_SLOTS - 1);
    cr_expect_eq(store_slots_count(&set), 4);
    for (unsigned slot = 0; slot < STORE_SLOTS; slot++)
        cr_assert_eq(store_slots_has(&set, (uint16_t)slot),
                     slot == 0 || slot == 63 || slot == 64 ||
                         slot == STORE_SLOTS - 1,
                     "%u", slot);

    store_slots_add(&other, 64);
    store_slots_add(&other, 5000);
    store_slots_merge(&set, &other);
    cr_expect_eq(store_slots_count(&set), 5);
    cr_expect(store_slots_has(&set, 5000));
    cr_expect_eq(store_slots_count(&other), 2);

    store_slots_fill(&set);
    cr_expect_eq(store_slots_count(&set), STORE_SLOTS);
    cr_expect(store_slots_has(&set, 1234));
}
