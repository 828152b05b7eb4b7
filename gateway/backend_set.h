/* SPDX-License-Identifier: MIT */
/* The table's places are given to new backends once nobody uses the old. */
#ifndef SIDGATE_GATEWAY_BACKEND_SET_H
#define SIDGATE_GATEWAY_BACKEND_SET_H

#include "gateway/backend.h"

struct gw_server;
struct gw_sweep;

/* NULL when memory is short. To be freed after the workers. */
struct gw_sweep *gw_sweep_new(struct gw_server *server);
void gw_sweep_free(struct gw_sweep *sweep);

/* Forgets backends that were removed and have no sessions any more, and frees
 * their places once no worker uses them. The control thread, now and then. */
void gw_sweep_step(struct gw_sweep *sweep, int64_t now_ms);

#endif
