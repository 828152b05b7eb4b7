/* SPDX-License-Identifier: MIT */
/* The names that are looked up, one lookup after the other. */
#include "gateway/discovery_private.h"
#include "gateway/log.h"
#include "gateway/server.h"

#include <ares.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    LIMIT_MS_MIN = 1000, /* of a lookup, however short the interval */
    LIMIT_MS_MAX = 5000,
    NOWHERE = UINT8_MAX, /* the `discovery` of a name that is gone */
};

/* ---- one lookup after the other ---- */

static void tell_state(struct gw_discovered *name, const char *why)
{
    bool is_failing = why[0] != '\0';
    if (is_failing && !name->is_failing)
        gw_log(GW_LOG_WARNING, "discovery_failed", "name", name->config->name,
               "why", why);
    else if (!is_failing && name->is_failing)
        gw_log(GW_LOG_INFO, "discovery_recovered", "name", name->config->name);
    name->is_failing = is_failing;
}

static void look_up(struct gw_discovered *name);

static uint64_t jitter(uint64_t interval_ms)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
        random = UINT32_MAX / 2;
    return interval_ms * 9 / 10 + interval_ms / 5 * random / UINT32_MAX;
}

static void on_timer(uv_timer_t *timer)
{
    struct gw_discovered *name = timer->data;
    if (!name->discovery->is_stopped)
        look_up(name);
}

/* The interval is from start to start. */
static void wait_for_next(struct gw_discovered *name)
{
    struct gw_discovery *discovery = name->discovery;
    uint64_t gone_ms = uv_now(discovery->loop) - name->started_ms;
    uint64_t wait_ms = jitter(discovery->config->discover_interval_ms);
    uv_timer_start(&name->timer, on_timer,
                   gone_ms < wait_ms ? wait_ms - gone_ms : 1, 0);
}

static void on_result(void *arg, const struct gw_lookup_result *result)
{
    struct gw_discovered *name = arg;
    struct gw_discovery *discovery = name->discovery;
    bool has_changed = false;
    name->lookup = NULL;
    name->is_settled = true;
    tell_state(name, result->why);
    if (result->status == GW_LOOKUP_FAILED) {
        name->empties = 0;
    } else {
        if (result->status == GW_LOOKUP_FOUND)
            name->domain = result->domain;
        has_changed = gw_discovered_apply(name, result);
    }
    wait_for_next(name);
    if (has_changed)
        discovery->on_change(discovery->arg);
}

static uint32_t limit_of(uint32_t interval_ms)
{
    if (interval_ms < LIMIT_MS_MIN)
        return LIMIT_MS_MIN;
    return interval_ms < LIMIT_MS_MAX ? interval_ms : LIMIT_MS_MAX;
}

static void look_up(struct gw_discovered *name)
{
    struct gw_discovery *discovery = name->discovery;
    const struct gw_config *config = discovery->config;
    const char *why = "";
    struct gw_lookup_setup setup = {
        .loop = discovery->loop,
        .config = config,
        .name = name->config,
        .domain = name->domain,
        .limit_ms = limit_of(config->discover_interval_ms),
        .open = &discovery->open,
        .done = on_result,
        .arg = name,
    };
    name->started_ms = uv_now(discovery->loop);
    name->lookup = gw_lookup_start(&setup, &why);
    if (name->lookup != NULL)
        return;
    name->is_settled = true;
    tell_state(name, why);
    wait_for_next(name);
}

/* ---- the names of the configuration ---- */

static void on_name_closed(uv_handle_t *handle)
{
    struct gw_discovered *name = handle->data;
    name->discovery->open--;
    free(name);
}

static void close_name(struct gw_discovered *name)
{
    gw_lookup_cancel(&name->lookup);
    uv_close((uv_handle_t *)&name->timer, on_name_closed);
}

static struct gw_discovered *new_name(struct gw_discovery *discovery)
{
    struct gw_discovered *name = calloc(1, sizeof(*name));
    if (name == NULL)
        return NULL;
    name->discovery = discovery;
    uv_timer_init(discovery->loop, &name->timer);
    name->timer.data = name;
    discovery->open++;
    return name;
}

static bool is_same(const struct gw_discover_config *a,
                    const struct gw_discover_config *b)
{
    return strcmp(a->name, b->name) == 0 && a->port == b->port &&
           a->is_srv == b->is_srv && a->backend.pool == b->backend.pool;
}

/* Takes the name out of the old list. */
static struct gw_discovered *find_name(struct gw_discovery *discovery,
                                       const struct gw_discover_config *config)
{
    for (size_t i = 0; i < discovery->name_count; i++) {
        struct gw_discovered *name = discovery->names[i];
        if (name == NULL || !is_same(name->config, config))
            continue;
        discovery->names[i] = NULL;
        return name;
    }
    return NULL;
}

/* Gives the backends of each name the index that it has now; those of names
 * that are gone are let go. `now` has the new index for each old one. */
static bool renumber(struct gw_discovery *discovery, const uint8_t *now)
{
    struct gw_backends *backends = discovery->backends;
    size_t used = gw_backends_used(backends);
    bool has_changed = false;
    for (size_t i = 0; i < used; i++) {
        struct gw_backend *backend = &backends->list[i];
        if (!gw_backend_is_known(backend) ||
            backend->source != GW_SOURCE_DISCOVERY ||
            backend->discovery >= GW_DISCOVER_COUNT_MAX)
            continue;
        backend->discovery = now[backend->discovery];
        if (backend->discovery != NOWHERE || !gw_backend_is_live(backend))
            continue;
        gw_log(GW_LOG_INFO, "backend_vanished", "backend", backend->config->id,
               "why", "its name is no longer configured");
        gw_backend_remove(backends, backend, gw_now_ms());
        has_changed = true;
    }
    return has_changed;
}

/* Makes the list that the configuration wants of the one that there is. What
 * is being asked is asked anew: the servers may be others. */
static bool set_names(struct gw_discovery *discovery,
                      const struct gw_config *config, bool is_start)
{
    struct gw_discovered *names[GW_DISCOVER_COUNT_MAX] = {NULL};
    uint8_t now[GW_DISCOVER_COUNT_MAX];
    size_t count = 0;
    memset(now, NOWHERE, sizeof(now));
    for (size_t i = 0; i < config->discover_count; i++) {
        struct gw_discovered *name = find_name(discovery, &config->discover[i]);
        if (name != NULL)
            now[name->index] = (uint8_t)i;
        else if ((name = new_name(discovery)) != NULL)
            name->is_first = is_start;
        if (name == NULL)
            continue;
        gw_lookup_cancel(&name->lookup);
        name->own = config->discover[i];
        name->config = &name->own;
        name->index = (uint8_t)i;
        names[count++] = name;
    }
    for (size_t i = 0; i < discovery->name_count; i++)
        if (discovery->names[i] != NULL)
            close_name(discovery->names[i]);
    memcpy(discovery->names, names, sizeof(names));
    discovery->name_count = count;
    discovery->config = config;
    for (size_t i = 0; i < count; i++)
        uv_timer_start(&names[i]->timer, on_timer, 0, 0);
    return renumber(discovery, now);
}

struct gw_discovery *gw_discovery_new(uv_loop_t *loop,
                                      struct gw_backends *backends,
                                      const struct gw_config *config,
                                      gw_discovery_fn on_change, void *arg,
                                      char error[256])
{
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status != ARES_SUCCESS) {
        snprintf(error, 256, "DNS: %s", ares_strerror(status));
        return NULL;
    }
    struct gw_discovery *discovery = calloc(1, sizeof(*discovery));
    if (discovery == NULL) {
        ares_library_cleanup();
        snprintf(error, 256, "DNS: memory is short");
        return NULL;
    }
    discovery->loop = loop;
    discovery->backends = backends;
    discovery->on_change = on_change;
    discovery->arg = arg;
    set_names(discovery, config, true);
    if (discovery->name_count < config->discover_count) {
        gw_discovery_free(discovery);
        snprintf(error, 256, "DNS: memory is short");
        return NULL;
    }
    return discovery;
}

void gw_discovery_configure(struct gw_discovery *discovery,
                            const struct gw_config *config)
{
    if (set_names(discovery, config, false))
        discovery->on_change(discovery->arg);
}

bool gw_discovery_is_settled(const struct gw_discovery *discovery)
{
    for (size_t i = 0; i < discovery->name_count; i++)
        if (!discovery->names[i]->is_settled)
            return false;
    return true;
}

void gw_discovery_stop(struct gw_discovery *discovery)
{
    discovery->is_stopped = true;
}

void gw_discovery_free(struct gw_discovery *discovery)
{
    if (discovery == NULL)
        return;
    for (size_t i = 0; i < discovery->name_count; i++)
        close_name(discovery->names[i]);
    while (discovery->open > 0)
        uv_run(discovery->loop, UV_RUN_NOWAIT);
    free(discovery);
    ares_library_cleanup();
}
