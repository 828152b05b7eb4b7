/* SPDX-License-Identifier: MIT */
/* What all workers share, and their start and end. */
#include "gateway/server.h"
#include "gateway/accounts.h"
#include "gateway/denied.h"
#include "gateway/listener.h"
#include "gateway/metrics.h"
#include "gateway/shared.h"
#include "gateway/tls.h"
#include "gateway/worker.h"
#include "store/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifndef SIDGATE_VERSION
#define SIDGATE_VERSION "unknown"
#endif

int64_t gw_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t gw_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t store_now_ms(void *arg)
{
    (void)arg;
    return gw_now_ms();
}

/* Sessions that other replicas hold are counted there. */
static void count_session(void *arg, const char *backend, const char *gateway,
                          const char *client, int delta)
{
    struct gw_server *server = arg;
    if (server->is_shared && strcmp(gateway, server->gateway_id) != 0)
        return;
    gw_backend_count_session(server->backends, backend, delta);
    gw_accounts_session(server->accounts, client, delta);
}

static void name_gateway(struct gw_server *server)
{
    uint32_t nonce = 0;
    if (getrandom(&nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
        nonce = (uint32_t)gw_wall_ms();
    snprintf(server->gateway_id, sizeof(server->gateway_id), "%s.%08x",
             server->config.gateway_name, nonce);
}

/* Each client may need a backend connection, and some descriptors stay for the
 * operator, the store and the rest. */
static uint64_t open_max(const struct gw_config *config)
{
    struct rlimit limit;
    uint64_t max = UINT64_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY) {
        uint64_t others = 32 + 8 * (uint64_t)config->workers;
        max = limit.rlim_cur > others + 2 ? (limit.rlim_cur - others) / 2 : 1;
    }
    if (config->max_connections != 0 && config->max_connections < max)
        max = config->max_connections;
    return max;
}

struct gw_server *gw_server_new(const struct gw_config *config, char error[256])
{
    struct gw_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        goto fail;
    server->config = *config;
    for (size_t i = 0; i < GW_LISTEN_COUNT_MAX; i++)
        server->held[i].fd = -1;
    server->open_max = open_max(config);
    server->started_s = gw_wall_ms() / 1000;
    server->backends = gw_backends_new(&server->config);
    char why[GW_TLS_ERROR_MAX];
    if (!gw_tls_new(&server->config, &server->tls, why)) {
        snprintf(error, 256, "%.255s", why);
        gw_server_free(server);
        return NULL;
    }
    if (server->backends == NULL ||
        !gw_accounts_new(&server->config, &server->accounts))
        goto fail;
    server->is_shared = !config->store.is_memory;
    name_gateway(server);
    struct store_memory_options options = {
        .max_entries = config->max_sessions,
        .now_ms = store_now_ms,
        .on_count = count_session,
        .count_arg = server,
        .is_cache = server->is_shared,
    };
    server->memory = store_memory_new(&options);
    server->denied = gw_denied_new();
    server->shared = gw_shared_new(&server->config);
    if (server->memory != NULL && server->denied != NULL &&
        server->shared != NULL)
        return server;
fail:
    snprintf(error, 256, "out of memory");
    gw_server_free(server);
    return NULL;
}

static void let_go(struct gw_server *server, bool is_all)
{
    for (size_t i = 0; i < server->config.listen_count; i++) {
        const struct gw_address *address = &server->config.listen[i].address;
        struct gw_held *held = &server->held[i];
        if (held->fd < 0 || (gw_unix_is(address) && !is_all))
            continue;
        if (gw_unix_is(address))
            gw_unix_remove(address, &held->file);
        close(held->fd);
        held->fd = -1;
    }
}

static bool open_workers(struct gw_server *server, char error[256])
{
    struct gw_config *config = &server->config;
    for (size_t i = 0; i < config->listen_count; i++) {
        int status = gw_listener_try(&config->listen[i], &server->held[i]);
        if (status != 0) {
            snprintf(error, 256, "cannot listen on %s: %s",
                     config->listen[i].address.text, strerror(status));
            return false;
        }
    }
    for (unsigned i = 0; i < config->workers; i++) {
        server->workers[i] = gw_worker_new(server, i, error);
        if (server->workers[i] == NULL)
            return false;
        server->worker_count++;
    }
    return true;
}

bool gw_server_open(struct gw_server *server, char error[256])
{
    bool is_open = open_workers(server, error);
    let_go(server, false);
    return is_open;
}

bool gw_server_run(struct gw_server *server, char error[256])
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (gw_worker_start(server->workers[i]))
            continue;
        snprintf(error, 256, "cannot start worker %u", i);
        return false;
    }
    return true;
}

int gw_server_port(const struct gw_server *server, size_t i)
{
    const struct sockaddr_storage *addr =
        &server->config.listen[i].address.addr;
    if (addr->ss_family == AF_UNIX)
        return 0;
    if (addr->ss_family == AF_INET6)
        return ntohs(
            ((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
    return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
}

void gw_server_advance(struct gw_server *server, enum gw_phase phase)
{
    if (atomic_load(&server->phase) >= (int)phase)
        return;
    atomic_store(&server->phase, (int)phase);
    if (phase >= GW_PHASE_DRAINING)
        let_go(server, true);
    for (unsigned i = 0; i < server->worker_count; i++)
        gw_worker_wake(server->workers[i]);
}

char *gw_server_metrics(struct gw_server *server, size_t *len)
{
    struct gw_metrics *workers[64];
    struct gw_backend_metrics *rows[64];
    const char *ids[GW_BACKEND_COUNT_MAX];
    int64_t sessions[GW_BACKEND_COUNT_MAX];
    for (unsigned i = 0; i < server->worker_count; i++) {
        workers[i] = &server->workers[i]->metrics;
        rows[i] = server->workers[i]->backend_metrics;
    }
    for (size_t i = 0; i < server->backends->count; i++) {
        ids[i] = server->backends->list[i].config->id;
        sessions[i] = atomic_load(&server->backends->list[i].sessions);
    }
    struct gw_metrics_view view = {
        .workers = workers,
        .worker_backends = rows,
        .worker_count = server->worker_count,
        .backend_ids = ids,
        .backend_sessions = sessions,
        .backend_count = server->backends->count,
        .start_time_s = (uint64_t)server->started_s,
        .not_after_s = gw_tls_not_after(server->tls),
        .version = SIDGATE_VERSION,
    };
    return gw_metrics_render(&view, len);
}

void gw_server_join(struct gw_server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        gw_worker_join(server->workers[i]);
}

void gw_server_free(struct gw_server *server)
{
    if (server == NULL)
        return;
    let_go(server, true);
    gw_tls_free(server->tls);
    for (unsigned i = 0; i < server->worker_count; i++)
        gw_worker_free(server->workers[i]);
    if (server->memory != NULL)
        store_memory_free(server->memory);
    gw_accounts_free(server->accounts);
    gw_denied_free(server->denied);
    gw_shared_free(server->shared);
    gw_backends_free(server->backends);
    free(server);
}
