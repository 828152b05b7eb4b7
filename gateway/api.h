/* SPDX-License-Identifier: MIT */
/* The parts of the API that api_*.c answer. The control thread's. */
#ifndef SIDGATE_GATEWAY_API_H
#define SIDGATE_GATEWAY_API_H

#include "gateway/command.h"
#include "gateway/control.h"

#include <cjson/cJSON.h>

/* Makes root's text the body of a good outcome; frees root. `is_whole`: nothing
 * is missing for want of memory. */
void gw_api_finish(struct gw_outcome *outcome, cJSON *root, bool is_whole);

/* Each for one verb; fills what must be in the outcome, which is all zero. */
typedef void gw_api_fn(struct gw_control *control,
                       const struct gw_command *command,
                       struct gw_outcome *outcome);

gw_api_fn gw_api_status;
gw_api_fn gw_api_history;
gw_api_fn gw_api_events;
gw_api_fn gw_api_log;
gw_api_fn gw_api_set_log;
gw_api_fn gw_api_config;

/* api_backends.c */
gw_api_fn gw_api_backends;
gw_api_fn gw_api_add;
gw_api_fn gw_api_drain;
gw_api_fn gw_api_undrain;
gw_api_fn gw_api_remove;

/* The same as parts of a larger answer; false when memory is short. */
bool gw_api_add_status(struct gw_control *control, bool may_write,
                       cJSON *status);
bool gw_api_add_backends(const struct gw_control *control, cJSON *root);

/* Adds "events": at most `max` behind `after` (less than 0: the newest ones).
 * *seen: what to ask behind next time. */
bool gw_api_add_events(cJSON *root, int64_t after, size_t max, uint64_t *seen);

#endif
