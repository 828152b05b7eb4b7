/* SPDX-License-Identifier: MIT */
/*
 * SipHash by Aumasson and Bernstein with one round for each word and three at
 * the end: enough against hash flooding, where no output is ever shown.
 */
#include "store/siphash.h"

#include <endian.h>
#include <string.h>

struct state {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t word, int bits)
{
    return (word << bits) | (word >> (64 - bits));
}

static void mix(struct state *s)
{
    s->a += s->b;
    s->c += s->d;
    s->b = rotate(s->b, 13) ^ s->a;
    s->d = rotate(s->d, 16) ^ s->c;
    s->a = rotate(s->a, 32);
    s->c += s->b;
    s->a += s->d;
    s->b = rotate(s->b, 17) ^ s->c;
    s->d = rotate(s->d, 21) ^ s->a;
    s->c = rotate(s->c, 32);
}

static void absorb(struct state *s, uint64_t word)
{
    s->d ^= word;
    mix(s);
    s->a ^= word;
}

uint64_t store_siphash(const uint64_t key[2], const void *data, size_t len)
{
    struct state s = {
        .a = key[0] ^ 0x736f6d6570736575U,
        .b = key[1] ^ 0x646f72616e646f6dU,
        .c = key[0] ^ 0x6c7967656e657261U,
        .d = key[1] ^ 0x7465646279746573U,
    };
    const unsigned char *at = data;
    size_t left = len;

    for (; left >= 8; at += 8, left -= 8) {
        uint64_t word;

        memcpy(&word, at, 8);
        absorb(&s, le64toh(word));
    }

    uint64_t last = (uint64_t)len << 56;
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)at[i] << (8 * i);
    absorb(&s, last);

    s.c ^= 0xff;
    for (int i = 0; i < 3; i++)
        mix(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}
