/* SPDX-License-Identifier: MIT */
/*
 * Sessions of which this process has heard nothing for the life of their
 * record. With a shared store they may live on through another replica, so it
 * is asked before they are told to have expired.
 */
#ifndef SIDGATE_GATEWAY_EXPIRY_H
#define SIDGATE_GATEWAY_EXPIRY_H

#include "gateway/worker.h"

struct gw_expiries;

/* NULL when memory is short. */
struct gw_expiries *gw_expiries_new(void);
void gw_expiries_free(struct gw_expiries *expiries);

/* One of them. Any thread; may be called under a lock of the memory store. With
 * too many that wait it is told at once. */
void gw_expiry_note(struct gw_server *server, struct store_key key,
                    const struct store_record *record,
                    const struct store_traffic *traffic);

/* Asks of some of them; call it a few times a second. */
void gw_expiries_step(struct gw_worker *worker);

#endif
