/* SPDX-License-Identifier: MIT */
/* The keyed hash against values computed with OpenSSL's SIPHASH MAC
 * (c-rounds 1, d-rounds 3, size 8) for key 00..0f and message 00.. */
#include "store/siphash.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    size_t len;
    uint64_t hash;
} cases[] = {
    {0, 0xabac0158050fc4dc},  {7, 0xd3927d989bb11140},  {8, 0x369095118d299a8e},
    {15, 0xd320d86d2a519956}, {63, 0x9d199062b7bbb3a8},
};

Test(store_siphash, known_values)
{
    const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    unsigned char message[64];

    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(store_siphash(key, message, cases[i].len), cases[i].hash,
                     "length %zu", cases[i].len);
}

Test(store_siphash, key_matters)
{
    const uint64_t one[2] = {1, 2};
    const uint64_t other[2] = {1, 3};

    cr_expect_neq(store_siphash(one, "sid", 3), store_siphash(other, "sid", 3));
    cr_expect_eq(store_siphash(one, NULL, 0), store_siphash(one, "", 0));
}
