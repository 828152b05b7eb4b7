/* SPDX-License-Identifier: MIT */
/* What the findings of health checks mean for a backend. */
#include "gateway/eject.h"
#include "gateway/health_private.h"
#include "gateway/log.h"
#include "gateway/server.h"

#include <stdio.h>

static void set_down(struct gw_backend *backend, bool is_down, const char *why)
{
    snprintf(backend->health_reason, sizeof(backend->health_reason), "%s", why);
    if (!is_down)
        atomic_store(&backend->fresh_since_ms, gw_now_ms());
    atomic_store(&backend->is_down, is_down);
    gw_log(is_down ? GW_LOG_WARNING : GW_LOG_INFO,
           is_down ? "backend_down" : "backend_up", "backend",
           backend->config->id, "why", why);
}

static void note_good(struct gw_backend *backend, struct gw_health_row *row,
                      const struct gw_pool_config *pool)
{
    char why[GW_REASON_MAX];

    row->is_told = false;
    row->bad = 0;
    row->good += row->good < pool->health_rise;
    gw_eject_clear(backend);
    if (!atomic_load(&backend->is_down) || row->good < pool->health_rise)
        return;
    snprintf(why, sizeof(why), "%u good check%s", pool->health_rise,
             pool->health_rise == 1 ? "" : "s");
    set_down(backend, false, why);
}

static void note_bad(struct gw_backend *backend, struct gw_health_row *row,
                     const struct gw_pool_config *pool, const char *why)
{
    row->is_told = false;
    row->good = 0;
    row->bad += row->bad < pool->health_fall;
    gw_log(GW_LOG_DEBUG, "backend_check_failed", "backend", backend->config->id,
           "why", why);
    if (!atomic_load(&backend->is_down) && row->bad >= pool->health_fall)
        set_down(backend, true, why);
}

/* Told once in a row. */
static void note_nothing(const struct gw_backend *backend,
                         struct gw_health_row *row, const char *why)
{
    if (row->is_told)
        return;
    row->is_told = true;
    gw_log(GW_LOG_WARNING, "backend_check_impossible", "backend",
           backend->config->id, "why", why);
}

void gw_health_note(struct gw_backend *backend, struct gw_health_row *row,
                    const struct gw_pool_config *pool, enum gw_finding finding,
                    const char *why)
{
    switch (finding) {
    case GW_FOUND_GOOD:
        note_good(backend, row, pool);
        break;
    case GW_FOUND_BAD:
        note_bad(backend, row, pool, why);
        break;
    case GW_FOUND_NOTHING:
        note_nothing(backend, row, why);
        break;
    }
}

void gw_health_forget(struct gw_backend *backend)
{
    if (atomic_load(&backend->is_down) && gw_backend_is_live(backend))
        gw_log(GW_LOG_INFO, "backend_up", "backend", backend->config->id, "why",
               "not checked any more");
    atomic_store(&backend->is_down, false);
    backend->health_reason[0] = '\0';
}
