/* SPDX-License-Identifier: MIT */
/*
 * Backends by DNS, in the control thread: each --discover name is looked up at
 * the interval (A and AAAA, or SRV and then its targets), by c-ares on the
 * libuv loop. What appears is added with gw_backends_add, what is no longer
 * there is removed with gw_backend_remove. A failed lookup (timeout, SERVFAIL,
 * refused) changes nothing; a name that has no addresses any more does so only
 * after three answers that say so.
 */
#ifndef SIDGATE_GATEWAY_DISCOVERY_H
#define SIDGATE_GATEWAY_DISCOVERY_H

#include "gateway/backend.h"

#include <uv.h>

struct gw_discovery;

/* Told after each change of the set, in the control thread. */
typedef void (*gw_discovery_fn)(void *arg);

/* A backend's `discovery` is the index of its name in config->discover. NULL
 * with one line in `error`. */
struct gw_discovery *gw_discovery_new(uv_loop_t *loop,
                                      struct gw_backends *backends,
                                      const struct gw_config *config,
                                      gw_discovery_fn on_change, void *arg,
                                      char error[256]);

/* Names that are no longer in the configuration let their backends go; all
 * others are looked up at once. */
void gw_discovery_configure(struct gw_discovery *discovery,
                            const struct gw_config *config);

/* Every name has been answered, or failed, at least once: the first ready
 * line need not wait longer than two seconds for it. */
bool gw_discovery_is_settled(const struct gw_discovery *discovery);

/* No more lookups: another process makes them now. gw_discovery_free
 * follows. */
void gw_discovery_stop(struct gw_discovery *discovery);

/* May run the loop. NULL is allowed. */
void gw_discovery_free(struct gw_discovery *discovery);

#endif
