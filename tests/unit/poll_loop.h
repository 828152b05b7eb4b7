/* SPDX-License-Identifier: MIT */
/* A store_loop on real sockets and poll(), for tests. */
#ifndef SIDGATE_TESTS_UNIT_POLL_LOOP_H
#define SIDGATE_TESTS_UNIT_POLL_LOOP_H

#include "store/loop.h"

struct poll_loop;

/* Aborts when memory is short, as does everything here. */
struct poll_loop *poll_loop_new(void);

/* What a store takes. */
struct store_loop *poll_loop_hooks(struct poll_loop *loop);

/* Sends what was written, waits for an event for at most limit_ms, and deals
 * with the events and timers that are due. */
void poll_loop_turn(struct poll_loop *loop, int limit_ms);

/* Turns until `is_true`; false when that took longer than limit_ms. */
bool poll_loop_until(struct poll_loop *loop, bool (*is_true)(void *arg),
                     void *arg, int limit_ms);

/* Wires and timers that were not closed or freed. */
size_t poll_loop_count(const struct poll_loop *loop);

/* Bytes received from one call of read(); 1 shows what a reader makes of
 * answers in pieces. */
void poll_loop_set_piece(struct poll_loop *loop, size_t bytes);

void poll_loop_free(struct poll_loop *loop);

#endif
