/* SPDX-License-Identifier: MIT */
/*
 * A worker as the loop that a store client lives in (store/loop.h).
 */
#ifndef SIDGATE_GATEWAY_LOOP_H
#define SIDGATE_GATEWAY_LOOP_H

#include "store/loop.h"

struct gw_worker;

/* NULL when memory is short. */
struct store_loop *gw_loop_new(struct gw_worker *worker);
/* What was opened and made on it is gone already. NULL is harmless. */
void gw_loop_free(struct store_loop *base);

#endif
