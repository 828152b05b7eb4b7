/* SPDX-License-Identifier: MIT */
/* Another configuration for the running process, whole or not at all. */
#include "gateway/access_log.h"
#include "gateway/control.h"
#include "gateway/log.h"
#include "gateway/options.h"
#include "gateway/pool.h"
#include "gateway/tls.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What only a restart can change: it stays as it is, and that is said. */
static const struct fixed {
    const char *name;
    size_t offset;
    size_t size;
} fixed[] = {
#define FIXED(name, first, last)                                               \
    {                                                                          \
        name, offsetof(struct gw_config, first),                               \
            offsetof(struct gw_config, last) +                                 \
                sizeof(((struct gw_config *)NULL)->last) -                     \
                offsetof(struct gw_config, first)                              \
    }
    FIXED("admin", admin, admin),
    FIXED("admin-token-file", admin_token_file, admin_token),
    FIXED("admin-read-token-file", admin_read_token_file, admin_read_token),
    FIXED("store", store_url, store),
    FIXED("gateway-name", gateway_name, gateway_name),
    FIXED("store-prefix", store_prefix, store_prefix),
    FIXED("store-password-file", store_password_file, store_password),
    /* The certificates in these files are read anew all the same. */
    FIXED("store-ca", store_ca, store_ca),
    FIXED("store-certificate", store_certificate, store_certificate),
    FIXED("store-tls-name", store_tls_name, store_tls_name),
    FIXED("store-verify", store_verify, store_verify),
    FIXED("sentinel-user", sentinel_user, sentinel_user),
    FIXED("sentinel-password-file", sentinel_password_file, sentinel_password),
    FIXED("store-timeout", store_timeout_ms, store_timeout_ms),
    FIXED("hash-sids-file", hash_sids_file, hash_secret_len),
    FIXED("workers", workers, workers),
    FIXED("user", user, user),
    FIXED("seccomp", seccomp, seccomp),
    FIXED("max-sessions", max_sessions, max_sessions),
#undef FIXED
};

static void say_restart(const char *option)
{
    gw_log(GW_LOG_WARNING, "restart_needed", "option", option);
}

static void keep_fixed(struct gw_config *next, const struct gw_config *now)
{
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        char *to = (char *)next + fixed[i].offset;
        const char *from = (const char *)now + fixed[i].offset;
        if (memcmp(to, from, fixed[i].size) == 0)
            continue;
        say_restart(fixed[i].name);
        memcpy(to, from, fixed[i].size);
    }
    /* Who is there was not counted. */
    if (now->max_connections_per_address == 0 &&
        next->max_connections_per_address != 0)
        say_restart("max-connections-per-address");
    if (now->max_sessions_per_address == 0 &&
        next->max_sessions_per_address != 0)
        say_restart("max-sessions-per-address");
    if (now->max_connections_per_address == 0 &&
        now->max_sessions_per_address == 0 &&
        now->handshake_rate_per_address == 0 &&
        next->handshake_rate_per_address != 0)
        say_restart("handshake-rate-per-address");
}

/* ---- pools keep their places: backends are told apart by them ---- */

static size_t pool_find(const struct gw_config *config, const char *name)
{
    size_t i = 0;
    while (i < config->pool_count && strcmp(config->pools[i].name, name) != 0)
        i++;
    return i;
}

static bool pool_is_used(struct gw_backends *backends, size_t pool)
{
    size_t used = gw_backends_used(backends);
    for (size_t i = 0; i < used; i++) {
        const struct gw_backend *one = &backends->list[i];
        if (atomic_load(&one->state) != GW_BACKEND_FREE &&
            one->config->pool == pool)
            return true;
    }
    return false;
}

struct order {
    struct gw_pool_config pools[GW_POOL_COUNT_MAX];
    size_t count;
    uint8_t place[GW_POOL_COUNT_MAX]; /* of each of the new configuration */
};

static bool order_pools(struct order *order, const struct gw_config *next,
                        const struct gw_config *now,
                        struct gw_backends *backends)
{
    bool is_taken[GW_POOL_COUNT_MAX] = {false};
    order->count = now->pool_count;
    for (size_t i = 0; i < now->pool_count; i++) {
        size_t at = pool_find(next, now->pools[i].name);
        /* One that goes only now may still be meant by a request that came
         * before. */
        is_taken[i] = at < next->pool_count || !now->pools[i].is_removed ||
                      pool_is_used(backends, i);
        order->pools[i] = now->pools[i];
        order->pools[i].is_removed = true;
        order->pools[i].canary = (struct gw_canary){.pool = ""};
        if (at == next->pool_count)
            continue;
        order->pools[i] = next->pools[at];
        order->place[at] = (uint8_t)i;
    }
    for (size_t at = 0; at < next->pool_count; at++) {
        size_t i = 0;
        if (pool_find(now, next->pools[at].name) < now->pool_count)
            continue;
        while (i < GW_POOL_COUNT_MAX && is_taken[i])
            i++;
        if (i == GW_POOL_COUNT_MAX)
            return false;
        is_taken[i] = true;
        order->pools[i] = next->pools[at];
        order->place[at] = (uint8_t)i;
        if (i >= order->count)
            order->count = i + 1;
    }
    return true;
}

static bool arrange_pools(struct gw_config *next, const struct gw_config *now,
                          struct gw_backends *backends)
{
    struct order *order = calloc(1, sizeof(*order));
    bool is_good = order != NULL && order_pools(order, next, now, backends);
    for (size_t i = 0; is_good && i < next->backend_count; i++)
        next->backends[i].pool = order->place[next->backends[i].pool];
    for (size_t i = 0; is_good && i < next->discover_count; i++)
        next->discover[i].backend.pool =
            order->place[next->discover[i].backend.pool];
    if (is_good) {
        memcpy(next->pools, order->pools, sizeof(next->pools));
        next->pool_count = order->count;
    }
    for (size_t i = 0; is_good && i < next->pool_count; i++) {
        struct gw_canary *canary = &next->pools[i].canary;
        if (canary->pool[0] != '\0' && !next->pools[i].is_removed)
            canary->index = order->place[canary->index];
    }
    if (is_good)
        gw_pools_admit(next, now->pools);
    free(order);
    return is_good;
}

/* ---- backends ---- */

static const struct gw_backend_config *
config_find(const struct gw_config *config, const char *id)
{
    for (size_t i = 0; i < config->backend_count; i++)
        if (strcmp(config->backends[i].id, id) == 0)
            return &config->backends[i];
    return NULL;
}

static bool has_room(struct gw_backends *backends, const struct gw_config *next)
{
    size_t room = GW_BACKEND_COUNT_MAX - gw_backends_used(backends);
    size_t wanted = 0;
    for (size_t i = 0; i < gw_backends_used(backends); i++)
        room += atomic_load(&backends->list[i].state) == GW_BACKEND_FREE;
    for (size_t i = 0; i < next->backend_count; i++) {
        const struct gw_backend *one =
            gw_backend_find(backends, next->backends[i].id);
        wanted +=
            one == NULL || !gw_backend_is_same(one->config, &next->backends[i]);
    }
    return wanted <= room;
}

static void apply_backends(struct gw_backends *backends,
                           const struct gw_config *next)
{
    char error[256];
    int64_t now_ms = gw_now_ms();
    size_t used = gw_backends_used(backends);
    for (size_t i = 0; i < used; i++) {
        struct gw_backend *one = &backends->list[i];
        if (!gw_backend_is_live(one))
            continue;
        const struct gw_backend_config *config =
            config_find(next, one->config->id);
        bool is_orphan = one->source == GW_SOURCE_CONFIG ||
                         next->pools[one->config->pool].is_removed;
        if (config == NULL ? is_orphan
                           : !gw_backend_is_same(one->config, config))
            gw_backend_remove(backends, one, now_ms);
    }
    for (size_t i = 0; i < next->backend_count; i++)
        if (gw_backends_add(backends, &next->backends[i], GW_SOURCE_CONFIG,
                            true, error) == NULL)
            gw_log(GW_LOG_ERROR, "backend_not_added", "backend",
                   next->backends[i].id, "why", error);
}

/* ---- the whole ---- */

/* Everything that may fail. What it opened is in `listening`. */
static bool prepare(struct gw_control *control, struct gw_config *next,
                    struct gw_listen_set *listening, char error[512])
{
    struct gw_server *server = control->server;
    char why[256] = "";
    keep_fixed(next, server->config);
    if (!arrange_pools(next, server->config, server->backends)) {
        snprintf(error, 512,
                 "there are too many pools with those that still "
                 "have sessions");
        return false;
    }
    if (!has_room(server->backends, next)) {
        snprintf(error, 512,
                 "there are too many backends with those that "
                 "still have sessions");
        return false;
    }
    if (!gw_listen_prepare(listening, &server->listening, NULL, next, why)) {
        snprintf(error, 512, "%s", why);
        return false;
    }
    if (!gw_access_log_configure(server->access_log, next, why)) {
        snprintf(error, 512, "%s", why);
        gw_listen_discard(listening, &server->listening);
        return false;
    }
    if (gw_tls_reload(server->tls, next, error))
        return true;
    gw_access_log_configure(server->access_log, server->config, why);
    gw_listen_discard(listening, &server->listening);
    return false;
}

static struct gw_config *read_config(struct gw_control *control,
                                     char error[512])
{
    enum gw_action action;
    char why[GW_OPTIONS_ERROR_MAX];
    struct gw_config *next = malloc(sizeof(*next));
    if (next == NULL) {
        snprintf(error, 512, "out of memory");
        return NULL;
    }
    if (gw_options_read(control->argc, control->argv, next, &action, why) == 0)
        return next;
    snprintf(error, 512, "%.511s", why);
    free(next);
    return NULL;
}

bool gw_reload(struct gw_control *control, char error[512])
{
    struct gw_server *server = control->server;
    if (server->change != NULL) {
        snprintf(error, 512, "another reload is still under way");
        return false;
    }
    struct gw_listen_set *listening = calloc(1, sizeof(*listening));
    struct gw_config *next =
        listening != NULL ? read_config(control, error) : NULL;
    bool is_good = next != NULL && prepare(control, next, listening, error);
    if (is_good && !gw_server_configure(server, next, listening)) {
        gw_listen_discard(listening, &server->listening);
        snprintf(error, 512, "out of memory");
        is_good = false;
    }
    if (is_good) {
        apply_backends(server->backends, next);
        gw_health_configure(control->health, next);
        gw_discovery_configure(control->discovery, next);
        gw_log_setup(next->log_level, next->log_format);
    } else {
        free(next);
    }
    free(listening);
    return is_good;
}
