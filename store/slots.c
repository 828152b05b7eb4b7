/* SPDX-License-Identifier: MIT */
/* Which slot a key is in, and sets of slots. */
#include "store/slots.h"

#include <string.h>

/* CRC16 as in XMODEM, half a byte at a time: the polynomial 0x1021, the highest
 * bit first. */
static uint16_t crc_half(uint16_t crc, unsigned half)
{
    static const uint16_t table[16] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
    };

    return (uint16_t)(crc << 4 ^ table[crc >> 12 ^ half]);
}

static uint16_t crc_step(uint16_t crc, unsigned char byte)
{
    return crc_half(crc_half(crc, byte >> 4U), byte & 0xfU);
}

uint16_t store_slot_of(const char *key, size_t len)
{
    const char *open = len > 0 ? memchr(key, '{', len) : NULL;
    uint16_t crc = 0;

    if (open != NULL) {
        const char *tag = open + 1;
        const size_t rest = (size_t)(key + len - tag);
        const char *close = rest > 0 ? memchr(tag, '}', rest) : NULL;
        if (close != NULL && close > tag) {
            key = tag;
            len = (size_t)(close - tag);
        }
    }
    for (size_t i = 0; i < len; i++)
        crc = crc_step(crc, (unsigned char)key[i]);
    return crc % STORE_SLOTS;
}

void store_slots_fill(struct store_slots *slots)
{
    memset(slots->bits, 0xff, sizeof(slots->bits));
}

void store_slots_merge(struct store_slots *slots, const struct store_slots *of)
{
    for (size_t i = 0; i < sizeof(slots->bits) / sizeof(slots->bits[0]); i++)
        slots->bits[i] |= of->bits[i];
}

unsigned store_slots_count(const struct store_slots *slots)
{
    unsigned count = 0;

    for (size_t i = 0; i < sizeof(slots->bits) / sizeof(slots->bits[0]); i++)
        count += (unsigned)__builtin_popcountll(slots->bits[i]);
    return count;
}
