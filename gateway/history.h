/* SPDX-License-Identifier: MIT */
/*
 * What the counters said in the last 15 minutes, and the last changes of each
 * backend's state. The control thread's.
 */
#ifndef SIDGATE_GATEWAY_HISTORY_H
#define SIDGATE_GATEWAY_HISTORY_H

#include "gateway/server.h"

#include <cjson/cJSON.h>

enum {
    GW_HISTORY_POINTS = 180,
    GW_HISTORY_STEP_MS = 5000,    /* from one point to the next; rates are over
                                     as long */
    GW_HISTORY_WINDOW_MS = 60000, /* of shares and quantiles */
};

struct gw_history;

/* NULL when memory is short. */
struct gw_history *gw_history_new(struct gw_server *server);
void gw_history_free(struct gw_history *history);

/* Looks at the counters and the backends; called every 100 ms, does something
 * once a second. */
void gw_history_tick(struct gw_history *history);

/* The same, with what the clocks say: for tests. */
void gw_history_step(struct gw_history *history, int64_t now_ms,
                     int64_t wall_ms);

/* Adds what docs/api.md calls "now" and "totals" to the status / the answer to
 * /api/v1/history / the last changes of the backend at this place of the table,
 * and to its "drain" how many sessions it had when that began. False when
 * memory is short. */
bool gw_history_add_now(const struct gw_history *history, cJSON *status);
bool gw_history_add_totals(struct gw_history *history, cJSON *status);
bool gw_history_add_points(const struct gw_history *history, cJSON *root);
bool gw_history_add_backend(const struct gw_history *history, unsigned place,
                            cJSON *backend);

/* The number of the last point, from 1 on; 0: there is none. Adds the one of a
 * number as "point", if it is there still. */
int64_t gw_history_last(const struct gw_history *history);
bool gw_history_add_point(const struct gw_history *history, int64_t number,
                          cJSON *root);

#endif
