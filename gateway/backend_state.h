/* SPDX-License-Identifier: MIT */
/* The state of a backend in one word, as operators see it, and why. */
#ifndef SIDGATE_GATEWAY_BACKEND_STATE_H
#define SIDGATE_GATEWAY_BACKEND_STATE_H

#include "gateway/backend.h"

enum gw_condition {
    GW_CONDITION_UP,
    GW_CONDITION_DRAINED,
    GW_CONDITION_UNAGREED, /* not all replicas have it like this */
    GW_CONDITION_DOWN,
    GW_CONDITION_EJECTED,
    GW_CONDITION_REFUSED, /* a connection failed just now */
    GW_CONDITION_REMOVED,
    GW_CONDITIONS,
};

/* The words of the API and of the metrics' label. */
extern const char *const gw_backend_state_names[GW_CONDITIONS];

struct gw_backend_condition {
    const char *state; /* one of these words */
    char reason[GW_REASON_MAX + 64];
};

/* The first that holds: one that is removed and drained is removed. Any
 * thread. */
enum gw_condition gw_backend_condition(const struct gw_backend *backend,
                                       int64_t now_ms);

/* The same with its reason. The control thread. */
void gw_backend_describe(const struct gw_config *config,
                         const struct gw_backend *backend, int64_t now_ms,
                         struct gw_backend_condition *out);

#endif
