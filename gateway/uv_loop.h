/* SPDX-License-Identifier: MIT */
/*
 * A libuv loop as the loop that a store client lives in (store/loop.h).
 */
#ifndef SIDGATE_GATEWAY_UV_LOOP_H
#define SIDGATE_GATEWAY_UV_LOOP_H

#include "store/loop.h"

#include <uv.h>

struct gw_tls;

/* `tls` is for addresses that speak TLS; it outlives the loop. NULL: wires to
 * those end with "no TLS". NULL when memory is short. */
struct store_loop *gw_uv_loop_new(uv_loop_t *loop, struct gw_tls *tls);

/* What was opened and made on it is gone already. The libuv loop has handles to
 * close then, which need turns of it. NULL is harmless. */
void gw_uv_loop_free(struct store_loop *base);

#endif
