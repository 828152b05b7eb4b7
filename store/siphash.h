/* SPDX-License-Identifier: MIT */
/*
 * SipHash-1-3: a keyed hash, so that nobody outside can choose sids that fall
 * into one bucket.
 */
#ifndef SIDGATE_STORE_SIPHASH_H
#define SIDGATE_STORE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* Hashes `len` bytes at `data` (may be NULL when len is 0). */
uint64_t store_siphash(const uint64_t key[2], const void *data, size_t len);

#endif
