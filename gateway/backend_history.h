/* SPDX-License-Identifier: MIT */
/* The last changes of each backend's state, and how far its drain is. The
 * control thread's. */
#ifndef SIDGATE_GATEWAY_BACKEND_HISTORY_H
#define SIDGATE_GATEWAY_BACKEND_HISTORY_H

#include "gateway/server.h"

#include <cjson/cJSON.h>

enum { GW_BACKEND_CHANGES_MAX = 16 };

struct gw_backend_history;

/* NULL when memory is short. */
struct gw_backend_history *gw_backend_history_new(void);
void gw_backend_history_free(struct gw_backend_history *history);

/* Looks at all backends. */
void gw_backend_history_step(struct gw_backend_history *history,
                             const struct gw_server *server, int64_t now_ms,
                             int64_t wall_ms);

/* Adds "history" to what is told of the backend at this place and, if its
 * "drain" is an object, "sessions_at_start" to that. False when memory is
 * short. */
bool gw_backend_history_add(const struct gw_backend_history *history,
                            const struct gw_server *server, unsigned place,
                            cJSON *backend);

#endif
