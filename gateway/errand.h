/* SPDX-License-Identifier: MIT */
/*
 * What the shared store is told without anybody waiting for its answer: that a
 * session lives, that it is over. An end that the store could not be told is
 * told again when it is back.
 */
#ifndef SIDGATE_GATEWAY_ERRAND_H
#define SIDGATE_GATEWAY_ERRAND_H

#include "eio/query.h"
#include "gateway/worker.h"
#include "store/store.h"

/* Renews the record. If the store has it no more, it is put there again whole,
 * and the loss is noted. */
void gw_errand_touch(struct gw_worker *worker, const struct eio_sid *sid,
                     const struct store_record *record, int64_t life_ms);

/* Removes the record if it is bound to `backend`; with is_own only if it is
 * this gateway's. */
void gw_errand_remove(struct gw_worker *worker, const struct eio_sid *sid,
                      const char *backend, bool is_own);

/* Removes it whichever backend it is bound to. */
void gw_errand_evict(struct gw_worker *worker, const struct eio_sid *sid);

/* Has a session told to have expired, unless the store still has it. */
struct store_memory_item;
void gw_errand_ask_expired(struct gw_worker *worker,
                           const struct store_memory_item *item);

/* Tells again what could not be told; call it a few times a second. */
void gw_errands_step(struct gw_worker *worker);

/* The worker ends: the rest is forgotten. */
void gw_errands_end(struct gw_worker *worker);

#endif
