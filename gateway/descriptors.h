/* SPDX-License-Identifier: MIT */
/* How many descriptors the process may have, and who may have the last ones. */
#ifndef SIDGATE_GATEWAY_DESCRIPTORS_H
#define SIDGATE_GATEWAY_DESCRIPTORS_H

#include "gateway/config.h"

#include <stdbool.h>
#include <stdint.h>

/* The limit as it is now: it can be changed from outside. UINT64_MAX: none. */
uint64_t gw_descriptors_limit(void);

/* How many client connections and websockets may be open under this limit: each
 * may need a backend connection, and some descriptors stay for the operator,
 * the store and the rest. */
uint64_t gw_descriptors_open_max(const struct gw_config *config,
                                 uint64_t limit);

/* Is `fd`, which is new, one of the last? The lowest that is free is given out,
 * so a high one says that few are left. Those are not for traffic: threads that
 * need one for a moment would take it from each other. */
bool gw_descriptors_are_few(const struct gw_config *config, uint64_t limit,
                            int fd);

#endif
