/* SPDX-License-Identifier: MIT */
/* What all workers share, and their start and end. */
#include "gateway/server.h"
#include "gateway/denied.h"
#include "gateway/listener.h"
#include "gateway/metrics.h"
#include "gateway/shared.h"
#include "gateway/worker.h"
#include "store/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
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
                          int delta)
{
    struct gw_server *server = arg;
    if (!server->is_shared || strcmp(gateway, server->gateway_id) == 0)
        gw_backend_count_session(server->backends, backend, delta);
}

static void name_gateway(struct gw_server *server)
{
    uint32_t nonce = 0;
    if (getrandom(&nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
        nonce = (uint32_t)gw_wall_ms();
    snprintf(server->gateway_id, sizeof(server->gateway_id), "%s.%08x",
             server->config.gateway_name, nonce);
}

struct gw_server *gw_server_new(const struct gw_config *config, char error[256])
{
    struct gw_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        goto fail;
    server->config = *config;
    server->started_s = gw_wall_ms() / 1000;
    server->backends = gw_backends_new(&server->config);
    if (server->backends == NULL)
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

static bool open_workers(struct gw_server *server, int *held, char error[256])
{
    struct gw_config *config = &server->config;
    for (size_t i = 0; i < config->listen_count; i++) {
        int status = gw_listener_try(&config->listen[i], &held[i]);
        if (status != 0) {
            snprintf(error, 256, "cannot listen on %s: %s",
                     config->listen[i].text, strerror(status));
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

bool gw_server_start(struct gw_server *server, char error[256])
{
    int held[GW_LISTEN_COUNT_MAX];
    for (size_t i = 0; i < GW_LISTEN_COUNT_MAX; i++)
        held[i] = -1;
    bool is_open = open_workers(server, held, error);
    for (size_t i = 0; i < GW_LISTEN_COUNT_MAX; i++)
        if (held[i] >= 0)
            close(held[i]);
    if (!is_open)
        return false;
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
    const struct sockaddr_storage *addr = &server->config.listen[i].addr;
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
    for (unsigned i = 0; i < server->worker_count; i++)
        gw_worker_free(server->workers[i]);
    if (server->memory != NULL)
        store_memory_free(server->memory);
    gw_denied_free(server->denied);
    gw_shared_free(server->shared);
    gw_backends_free(server->backends);
    free(server);
}
