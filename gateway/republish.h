/* SPDX-License-Identifier: MIT */
/*
 * Writes to the shared store what this process knows and the store does not
 * hold: after a loss everything that was in the slots which it is about, after
 * an outage what was bound meanwhile. At a bounded rate, in the first worker.
 */
#ifndef SIDGATE_GATEWAY_REPUBLISH_H
#define SIDGATE_GATEWAY_REPUBLISH_H

struct gw_worker;
struct gw_republish;

/* NULL when memory is short. */
struct gw_republish *gw_republish_new(struct gw_worker *worker);

/* Does the next piece of work; call it every GW_REPUBLISH_MS. */
void gw_republish_step(struct gw_republish *republish);

/* Writes under way are cancelled. NULL is harmless. */
void gw_republish_free(struct gw_republish *republish);

enum { GW_REPUBLISH_MS = 50 };

#endif
