/* SPDX-License-Identifier: MIT */
/*
 * Host names to addresses without blocking a libuv loop, each in a thread of
 * its own. uv_getaddrinfo() cannot be given up once it has begun: the loop
 * would have to wait for it at its end.
 */
#ifndef SIDGATE_GATEWAY_UV_RESOLVE_H
#define SIDGATE_GATEWAY_UV_RESOLVE_H

#include "gateway/resolve.h"

#include <uv.h>

struct gw_uv_resolve;

/* `done` runs in the loop's thread, later and once. NULL when no thread can be
 * had. */
struct gw_uv_resolve *gw_uv_resolve_start(uv_loop_t *loop, const char *host,
                                          uint16_t port, gw_resolve_fn done,
                                          void *arg);

/* `done` will not run. Clears *which; NULL is harmless. The loop has a handle
 * to close then. */
void gw_uv_resolve_cancel(struct gw_uv_resolve **which);

#endif
