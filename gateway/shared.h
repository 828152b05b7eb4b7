/* SPDX-License-Identifier: MIT */
/*
 * What this process knows of the store that it shares with other replicas: is
 * it there, does it hold what was written.
 *
 * Rounds: each loss begins a new one. Every entry of the cache is marked with
 * the round in which it was written, or known to be safe; those with another
 * mark are looked at again (republish.h).
 */
#ifndef SIDGATE_GATEWAY_SHARED_H
#define SIDGATE_GATEWAY_SHARED_H

#include "eio/query.h"
#include "gateway/server.h"
#include "store/redis.h"
#include "store/store.h"

/* NULL when memory is short. Harmless where nothing is shared. */
struct gw_shared *gw_shared_new(const struct gw_config *config);
void gw_shared_free(struct gw_shared *shared);

/* The worker's client of the shared store; NULL when memory is short. */
struct store *gw_shared_open(struct gw_worker *worker);

/* Waits until every worker has told, at most a second. The control thread
 * only. */
void gw_shared_settle(struct gw_shared *shared);

/* Worker `index` works with the store, or knows that it cannot: its link is up
 * or has failed once; the first one has read what the other replicas say. */
void gw_shared_told(struct gw_shared *shared, unsigned index);

/* The mark of what is written now: 1 to 255. */
uint8_t gw_shared_round(const struct gw_shared *shared);
void gw_shared_next_round(struct gw_shared *shared);

/* What was written to these slots is gone; or it may be, for another node has
 * them now. Any thread, as the next two. */
enum gw_loss { GW_LOSS_NONE, GW_LOSS_SUSPECTED, GW_LOSS_SHOWN };
void gw_shared_note_loss(struct gw_shared *shared, enum gw_loss loss,
                         const struct store_slots *slots);

/* A record in this slot is gone: perhaps it alone. */
void gw_shared_note_gone(struct gw_shared *shared, uint16_t slot);

/* Something could not be written. */
void gw_shared_note_unwritten(struct gw_shared *shared);

/* What was noted since the last call: the slots, and the worst that was said of
 * any of them; a slot, or -1. */
enum gw_loss gw_shared_take_loss(struct gw_shared *shared,
                                 struct store_slots *slots);
int gw_shared_take_gone(struct gw_shared *shared);
bool gw_shared_take_unwritten(struct gw_shared *shared);

/* Whether another replica may know better what stands in this record: all but
 * the one that has a session's websocket may have an old one. */
bool gw_shared_is_copy(const struct gw_server *server,
                       const struct store_record *record);

/* What stands for a sid in the store where those are hashed. */
void gw_shared_hash(const struct gw_config *config, struct store_key sid,
                    char out[STORE_HASHED_LEN]);

/* Whether an operator means this session by `named`: its sid or, where those
 * are hashed in the store, what stands there. */
bool gw_shared_is_sid(const struct gw_config *config, struct eio_span sid,
                      const struct eio_sid *named);

#endif
