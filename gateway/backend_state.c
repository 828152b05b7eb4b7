/* SPDX-License-Identifier: MIT */
/* The state of a backend in one word, and why. */
#include "gateway/backend_state.h"

#include "gateway/balance.h"
#include "gateway/eject.h"

#include <stdio.h>

enum {
    REFUSED_MS = 1000, /* that a connect which failed counts */
    RAMP_FULL = 65536,
};

const char *const gw_backend_state_names[GW_CONDITIONS] = {
    [GW_CONDITION_UP] = "up",
    [GW_CONDITION_DRAINED] = "drained",
    [GW_CONDITION_UNAGREED] = "unagreed",
    [GW_CONDITION_DOWN] = "down",
    [GW_CONDITION_EJECTED] = "ejected",
    [GW_CONDITION_REFUSED] = "refused",
    [GW_CONDITION_REMOVED] = "removed",
};

static bool is_refused(const struct gw_backend *backend, int64_t now_ms)
{
    long long failed_ms = atomic_load(&backend->failed_at_ms);

    return failed_ms != 0 && now_ms - failed_ms < REFUSED_MS;
}

enum gw_condition gw_backend_condition(const struct gw_backend *backend,
                                       int64_t now_ms)
{
    if (!gw_backend_is_live(backend))
        return GW_CONDITION_REMOVED;
    if (atomic_load(&backend->drains) != 0)
        return GW_CONDITION_DRAINED;
    if (atomic_load(&backend->is_unagreed))
        return GW_CONDITION_UNAGREED;
    if (atomic_load(&backend->is_down))
        return GW_CONDITION_DOWN;
    if (gw_eject_is(backend, now_ms))
        return GW_CONDITION_EJECTED;
    if (is_refused(backend, now_ms))
        return GW_CONDITION_REFUSED;
    return GW_CONDITION_UP;
}

static const char *drained_by(const struct gw_backend *backend)
{
    switch (atomic_load(&backend->drains)) {
    case GW_DRAIN_OPERATOR:
        return "by the operator";
    case GW_DRAIN_CONFIG:
        return "by the configuration";
    default:
        return "by the operator and by the configuration";
    }
}

/* One that takes new sessions. */
static void explain_up(const struct gw_config *config,
                       const struct gw_backend *backend, int64_t now_ms,
                       struct gw_backend_condition *out)
{
    const struct gw_pool_config *pool = &config->pools[backend->config->pool];
    uint32_t ramp = gw_balance_ramp(backend, pool->slow_start_ms, now_ms);

    if (ramp < RAMP_FULL)
        snprintf(out->reason, sizeof(out->reason), "slow start, %u %%",
                 ramp * 100 / RAMP_FULL);
    else
        snprintf(out->reason, sizeof(out->reason), "%s",
                 backend->health_reason);
}

/* Times are read again here and may have changed meanwhile. */
static void explain_times(const struct gw_backend *backend,
                          enum gw_condition condition, int64_t now_ms,
                          struct gw_backend_condition *out)
{
    size_t size = sizeof(out->reason);
    long long ms;

    if (condition == GW_CONDITION_EJECTED) {
        ms = atomic_load(&backend->ejected_until_ms) - now_ms;
        snprintf(out->reason, size, "its handshakes failed; for %lld s more",
                 ms > 0 ? (ms + 999) / 1000 : 0);
        return;
    }
    ms = now_ms - atomic_load(&backend->failed_at_ms);
    snprintf(out->reason, size, "a connection failed %lld ms ago",
             ms > 0 && ms < REFUSED_MS ? ms : 0);
}

void gw_backend_describe(const struct gw_config *config,
                         const struct gw_backend *backend, int64_t now_ms,
                         struct gw_backend_condition *out)
{
    enum gw_condition condition = gw_backend_condition(backend, now_ms);
    size_t size = sizeof(out->reason);

    out->state = gw_backend_state_names[condition];
    out->reason[0] = '\0';
    switch (condition) {
    case GW_CONDITION_UP:
        explain_up(config, backend, now_ms, out);
        break;
    case GW_CONDITION_DRAINED:
        snprintf(out->reason, size, "%s", drained_by(backend));
        break;
    case GW_CONDITION_UNAGREED:
        snprintf(out->reason, size,
                 "another gateway does not have it, or not at this address");
        break;
    case GW_CONDITION_DOWN:
        snprintf(out->reason, size, "%s", backend->health_reason);
        break;
    case GW_CONDITION_EJECTED:
    case GW_CONDITION_REFUSED:
        explain_times(backend, condition, now_ms, out);
        break;
    case GW_CONDITION_REMOVED:
        snprintf(out->reason, size, "%s",
                 atomic_load(&backend->is_superseded)
                     ? "its id is that of another address now"
                     : "until its last session has ended");
        break;
    case GW_CONDITIONS:
        break;
    }
}
