/* SPDX-License-Identifier: MIT */
/*
 * Active health checks: whose turn it is, and what the findings mean.
 *
 * One timer drives it all. At each tick the table of backends is looked
 * through for those that came or went; those whose time has come are checked,
 * GW_PROBES_MAX at a time, the one that has waited longest first.
 */
#include "gateway/health_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SWEEP_MS = 250,       /* until a new backend is seen */
    SWEEP_NONE_MS = 1000, /* while there is none at all */
    SPREAD_MS = 700,      /* over which first checks are spread, at most */
    STALL_MS = 20,  /* by which a tick is so late that answers may be waiting */
    GRACE_MS = 100, /* for them to be read */
};

/* What is known of the backend in one place of the table. */
struct slot {
    bool is_watched;
    char id[GW_BACKEND_ID_MAX]; /* of whom, with the next */
    char address[GW_ADDRESS_MAX];
    uint64_t next_ms; /* its check is due */
    struct gw_health_row row;
    struct gw_probe *probe; /* under way; NULL: none */
};

struct gw_health {
    uv_loop_t *loop;
    struct gw_backends *backends;
    const struct gw_config *config;
    struct gw_health_http *http;
    uv_timer_t timer;
    uint64_t random;     /* a state of splitmix64 */
    uint64_t planned_ms; /* of the next tick */
    uint32_t turn;       /* of the addresses to connect from */
    bool is_stopped;
    struct gw_probe probes[GW_PROBES_MAX];
    struct slot slots[GW_BACKEND_COUNT_MAX];
};

static uint64_t random_below(struct gw_health *health, uint64_t bound)
{
    uint64_t z = health->random += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return bound > 0 ? (z ^ (z >> 31)) % bound : 0;
}

/* NULL when its backends are not checked. */
static const struct gw_pool_config *pool_of(const struct gw_config *config,
                                            unsigned index)
{
    const struct gw_pool_config *pool = &config->pools[index];

    if (index >= config->pool_count || pool->is_removed ||
        pool->health_check == GW_HEALTH_OFF)
        return NULL;
    return pool;
}

static uint64_t interval_of(struct gw_health *health,
                            const struct gw_pool_config *pool)
{
    uint64_t interval_ms = pool->health_interval_ms;

    return interval_ms - interval_ms / 10 +
           random_below(health, interval_ms / 5 + 1);
}

/* --- probes --------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer);

static void hurry(struct gw_health *health)
{
    if (!health->is_stopped && !uv_is_closing((uv_handle_t *)&health->timer))
        uv_timer_start(&health->timer, on_tick, 0, 0);
}

/* Its slot and the probe know each other no more. */
static struct slot *part(struct gw_probe *probe)
{
    struct slot *slot = &probe->health->slots[probe->index];

    if (slot->probe != probe)
        return NULL;
    slot->probe = NULL;
    return slot;
}

void gw_probe_end(struct gw_probe *probe, enum gw_finding finding,
                  const char *why)
{
    struct gw_health *health = probe->health;
    struct gw_backend *backend = &health->backends->list[probe->index];

    if (probe->state != GW_PROBE_ASKING)
        return;
    probe->state = GW_PROBE_LEAVING;
    struct slot *slot = part(probe);
    if (!probe->is_http)
        gw_probe_disconnect(probe);
    if (slot == NULL || !slot->is_watched || !gw_backend_is_live(backend) ||
        strcmp(backend->config->id, probe->backend.id) != 0 ||
        strcmp(backend->config->address.text, probe->backend.address.text) != 0)
        return;
    const struct gw_pool_config *pool =
        pool_of(health->config, backend->config->pool);
    if (pool == NULL)
        return;
    gw_health_note(backend, &slot->row, pool, finding, why);
}

void gw_probe_left(struct gw_probe *probe)
{
    probe->state = GW_PROBE_FREE;
    hurry(probe->health);
}

void gw_probe_fail(struct gw_probe *probe, int error)
{
    char why[GW_REASON_MAX] = "";
    enum gw_finding finding = GW_FOUND_BAD;

    switch (error) {
    case EADDRINUSE:
    case EADDRNOTAVAIL:
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        finding = GW_FOUND_NOTHING;
        break;
    default:
        break;
    }
    if (error == 0)
        snprintf(why, sizeof(why), "cannot connect");
    else
        uv_strerror_r(-error, why, sizeof(why));
    gw_probe_end(probe, finding, why);
}

/* Nobody wants to know any more. */
static void cancel(struct gw_probe *probe)
{
    if (probe == NULL || probe->state != GW_PROBE_ASKING)
        return;
    part(probe);
    gw_probe_end(probe, GW_FOUND_NOTHING, "");
    if (probe->is_http)
        gw_probe_hang_up(probe);
}

/* Where this thread was held up, what came meanwhile has not been read. Each
 * check is given that time once. */
static void forgive(struct gw_health *health, uint64_t now_ms)
{
    if (now_ms < health->planned_ms + STALL_MS)
        return;
    for (size_t i = 0; i < GW_PROBES_MAX; i++) {
        struct gw_probe *probe = &health->probes[i];

        if (!probe->is_forgiven && probe->late_ms < now_ms + GRACE_MS) {
            probe->is_forgiven = true;
            probe->late_ms = now_ms + GRACE_MS;
        }
    }
}

static void expire(struct gw_health *health, uint64_t now_ms)
{
    for (size_t i = 0; i < GW_PROBES_MAX; i++) {
        struct gw_probe *probe = &health->probes[i];
        const struct gw_pool_config *pool;
        char why[GW_REASON_MAX];

        if (probe->state != GW_PROBE_ASKING || now_ms < probe->late_ms)
            continue;
        pool = pool_of(health->config, probe->backend.pool);
        snprintf(why, sizeof(why), "timeout after %u ms",
                 pool != NULL ? pool->health_timeout_ms : 0);
        gw_probe_end(probe, GW_FOUND_BAD, why);
        if (probe->is_http)
            gw_probe_hang_up(probe);
    }
}

static struct gw_probe *free_probe(struct gw_health *health)
{
    for (size_t i = 0; i < GW_PROBES_MAX; i++) {
        if (health->probes[i].state == GW_PROBE_FREE)
            return &health->probes[i];
    }
    return NULL;
}

static void start(struct gw_health *health, unsigned index,
                  struct gw_probe *probe)
{
    const struct gw_backend_config *backend =
        health->backends->list[index].config;
    const struct gw_pool_config *pool = pool_of(health->config, backend->pool);
    const struct gw_address *source =
        gw_probe_source(health->config, &backend->address, health->turn++);
    struct slot *slot = &health->slots[index];
    uint64_t now_ms = uv_now(health->loop);

    memset(probe, 0, sizeof(*probe));
    probe->state = GW_PROBE_ASKING;
    probe->health = health;
    probe->index = index;
    probe->late_ms = now_ms + pool->health_timeout_ms;
    probe->is_http = pool->health_check == GW_HEALTH_HTTP;
    probe->backend = *backend;
    memcpy(probe->path, pool->health_path, sizeof(probe->path));
    probe->status_min = pool->health_status_min;
    probe->status_max = pool->health_status_max;
    slot->probe = probe;
    slot->next_ms = now_ms + interval_of(health, pool);
    if (probe->is_http)
        gw_probe_get(health->http, probe, source);
    else
        gw_probe_connect(probe, health->loop, source);
}

/* --- slots ---------------------------------------------------------------- */

static void watch(struct gw_health *health, struct slot *slot,
                  const struct gw_backend *backend,
                  const struct gw_pool_config *pool)
{
    uint64_t spread_ms = pool->health_interval_ms < SPREAD_MS
                             ? pool->health_interval_ms
                             : SPREAD_MS;

    *slot = (struct slot){.is_watched = true};
    snprintf(slot->id, sizeof(slot->id), "%s", backend->config->id);
    snprintf(slot->address, sizeof(slot->address), "%s",
             backend->config->address.text);
    slot->next_ms = uv_now(health->loop) + random_below(health, spread_ms);
}

static void unwatch(struct slot *slot, struct gw_backend *backend)
{
    cancel(slot->probe);
    *slot = (struct slot){0};
    gw_health_forget(backend);
}

static bool is_same(const struct slot *slot, const struct gw_backend *backend)
{
    return strcmp(slot->id, backend->config->id) == 0 &&
           strcmp(slot->address, backend->config->address.text) == 0;
}

static void sweep(struct gw_health *health)
{
    size_t used = gw_backends_used(health->backends);

    for (size_t i = 0; i < used; i++) {
        struct gw_backend *backend = &health->backends->list[i];
        struct slot *slot = &health->slots[i];
        const struct gw_pool_config *pool =
            gw_backend_is_live(backend)
                ? pool_of(health->config, backend->config->pool)
                : NULL;

        if (slot->is_watched && (pool == NULL || !is_same(slot, backend)))
            unwatch(slot, backend);
        if (!slot->is_watched && pool != NULL)
            watch(health, slot, backend, pool);
    }
}

/* The one that has waited longest; GW_BACKEND_COUNT_MAX: none is due. */
static unsigned next_due(const struct gw_health *health, uint64_t now_ms)
{
    unsigned best = GW_BACKEND_COUNT_MAX;
    uint64_t best_ms = now_ms;

    for (unsigned i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        const struct slot *slot = &health->slots[i];

        if (!slot->is_watched || slot->probe != NULL || slot->next_ms > best_ms)
            continue;
        if (best == GW_BACKEND_COUNT_MAX || slot->next_ms < best_ms) {
            best = i;
            best_ms = slot->next_ms;
        }
    }
    return best;
}

static bool is_wanted(const struct gw_config *config)
{
    for (unsigned i = 0; i < config->pool_count; i++) {
        if (pool_of(config, i) != NULL)
            return true;
    }
    return false;
}

/* When something is to be done next. */
static uint64_t next_tick(const struct gw_health *health, uint64_t now_ms)
{
    bool is_empty = gw_backends_used(health->backends) == 0;
    uint64_t next_ms = now_ms + (is_empty ? SWEEP_NONE_MS : SWEEP_MS);

    for (size_t i = 0; i < GW_PROBES_MAX; i++) {
        if (health->probes[i].state == GW_PROBE_ASKING &&
            health->probes[i].late_ms < next_ms)
            next_ms = health->probes[i].late_ms;
    }
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        const struct slot *slot = &health->slots[i];

        /* Those that are late wait for a probe to leave. */
        if (slot->is_watched && slot->probe == NULL && slot->next_ms > now_ms &&
            slot->next_ms < next_ms)
            next_ms = slot->next_ms;
    }
    return next_ms;
}

static void on_tick(uv_timer_t *timer)
{
    struct gw_health *health = timer->data;
    uint64_t now_ms = uv_now(health->loop);
    struct gw_probe *probe;
    unsigned index;

    forgive(health, now_ms);
    expire(health, now_ms);
    sweep(health);
    while ((index = next_due(health, now_ms)) < GW_BACKEND_COUNT_MAX &&
           (probe = free_probe(health)) != NULL)
        start(health, index, probe);
    if (!is_wanted(health->config)) {
        uv_timer_stop(timer);
        return;
    }
    health->planned_ms = next_tick(health, now_ms);
    uv_timer_start(timer, on_tick, health->planned_ms - now_ms, 0);
}

/* --- from outside --------------------------------------------------------- */

struct gw_health *gw_health_new(uv_loop_t *loop, struct gw_backends *backends,
                                const struct gw_config *config, char error[256])
{
    struct gw_health *health = calloc(1, sizeof(*health));

    if (health != NULL)
        health->http = gw_health_http_new(loop, health->probes, config);
    if (health == NULL || health->http == NULL) {
        snprintf(error, 256, "health checks: memory is short");
        free(health);
        return NULL;
    }
    health->loop = loop;
    health->backends = backends;
    health->config = config;
    health->random = uv_hrtime();
    uv_random(NULL, NULL, &health->random, sizeof(health->random), 0, NULL);
    uv_timer_init(loop, &health->timer);
    health->timer.data = health;
    if (is_wanted(config))
        hurry(health);
    return health;
}

static bool asks_the_same(const struct gw_pool_config *a,
                          const struct gw_pool_config *b)
{
    return a->health_check == b->health_check &&
           a->health_status_min == b->health_status_min &&
           a->health_status_max == b->health_status_max &&
           strcmp(a->health_path, b->health_path) == 0;
}

/* Old findings do not count where something else is asked now. */
static void adapt(struct gw_health *health, struct slot *slot,
                  const struct gw_pool_config *old,
                  const struct gw_pool_config *pool)
{
    uint64_t next_ms = uv_now(health->loop) + interval_of(health, pool);
    struct gw_probe *probe = slot->probe;

    if (old == NULL || !asks_the_same(old, pool)) {
        slot->row = (struct gw_health_row){0};
        cancel(probe);
        next_ms = uv_now(health->loop);
    } else if (probe != NULL && probe->is_http && probe->backend.is_tls) {
        /* Files are read again. */
        cancel(probe);
        next_ms = uv_now(health->loop);
    }
    if (slot->next_ms > next_ms)
        slot->next_ms = next_ms;
}

void gw_health_configure(struct gw_health *health,
                         const struct gw_config *config)
{
    const struct gw_config *old = health->config;

    health->config = config;
    sweep(health);
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        const struct gw_backend *backend = &health->backends->list[i];
        struct slot *slot = &health->slots[i];

        if (slot->is_watched)
            adapt(health, slot, pool_of(old, backend->config->pool),
                  &config->pools[backend->config->pool]);
    }
    gw_health_http_configure(health->http, config);
    hurry(health);
}

static void count_closing(uv_handle_t *handle, void *arg)
{
    size_t *count = arg;

    if (uv_is_closing(handle))
        (*count)++;
}

/* Turns the loop until every handle that is being closed is gone. */
static void finish_closing(uv_loop_t *loop)
{
    size_t closing;

    do {
        uv_run(loop, UV_RUN_NOWAIT);
        closing = 0;
        uv_walk(loop, count_closing, &closing);
    } while (closing > 0);
}

void gw_health_stop(struct gw_health *health)
{
    health->is_stopped = true;
    uv_timer_stop(&health->timer);
}

void gw_health_free(struct gw_health *health)
{
    if (health == NULL)
        return;
    uv_close((uv_handle_t *)&health->timer, NULL);
    for (size_t i = 0; i < GW_PROBES_MAX; i++)
        cancel(&health->probes[i]);
    gw_health_http_close(health->http);
    finish_closing(health->loop);
    gw_health_http_free(health->http);
    free(health);
}
