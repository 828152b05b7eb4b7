/* SPDX-License-Identifier: MIT */
/* What all workers share, and their start and end. */
#include "gateway/server.h"
#include "gateway/access_log.h"
#include "gateway/accounts.h"
#include "gateway/backend_set.h"
#include "gateway/denied.h"
#include "gateway/expiry.h"
#include "gateway/listener.h"
#include "gateway/log.h"
#include "gateway/session_end.h"
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
#include <time.h>
#include <unistd.h>

int64_t gw_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t gw_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
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
static bool is_own(const struct gw_server *server,
                   const struct store_record *record)
{
    return !server->is_shared ||
           strcmp(record->gateway, server->gateway_id) == 0;
}

static void count_session(void *arg, const struct store_record *record,
                          int delta)
{
    struct gw_server *server = arg;
    if (!is_own(server, record))
        return;
    gw_backend_count_session(server->backends, record->backend,
                             record->transport == STORE_TRANSPORT_WEBSOCKET,
                             delta);
    gw_accounts_session(server->accounts, record->client, delta);
}

/* What others bound may live on there, unseen from here. */
static void end_expired(void *arg, struct store_key key,
                        const struct store_record *record,
                        const struct store_traffic *traffic)
{
    struct gw_server *server = arg;
    if (is_own(server, record) && !atomic_load(&server->is_handed_over))
        gw_expiry_note(server, key, record, traffic);
}

static void end_replaced(void *arg, struct store_key key,
                         const struct store_record *record,
                         const struct store_traffic *traffic)
{
    struct gw_server *server = arg;
    if (is_own(server, record) && !atomic_load(&server->is_handed_over))
        gw_session_ended(server, key, record, traffic, GW_END_REPLACED);
}

static void name_gateway(struct gw_server *server)
{
    uint32_t nonce = 0;
    if (getrandom(&nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
        nonce = (uint32_t)gw_wall_ms();
    snprintf(server->gateway_id, sizeof(server->gateway_id), "%s.%08x",
             server->config->gateway_name, nonce);
}

/* Everything but the workers. */
static bool make_parts(struct gw_server *server, char error[256])
{
    const struct gw_config *config = server->config;
    char why[GW_TLS_ERROR_MAX];
    if (!gw_tls_new(config, &server->tls, why)) {
        snprintf(error, 256, "%.255s", why);
        return false;
    }
    struct store_memory_options options = {
        .max_entries = config->max_sessions,
        .now_ms = store_now_ms,
        .on_count = count_session,
        .on_expire = end_expired,
        .on_replace = end_replaced,
        .arg = server,
        .is_cache = server->is_shared,
    };
    server->access_log = gw_access_log_new(config, error);
    if (server->access_log == NULL)
        return false;
    server->ends = gw_ends_new();
    server->expiries = gw_expiries_new();
    server->backends = gw_backends_new(config);
    server->sweep = gw_sweep_new(server);
    server->memory = store_memory_new(&options);
    server->denied = gw_denied_new();
    server->shared = gw_shared_new(config);
    if (server->ends != NULL && server->expiries != NULL &&
        server->backends != NULL && server->sweep != NULL &&
        server->memory != NULL && server->denied != NULL &&
        server->shared != NULL && gw_accounts_new(config, &server->accounts))
        return true;
    snprintf(error, 256, "out of memory");
    return false;
}

struct gw_server *gw_server_new(const struct gw_config *config, char error[256])
{
    struct gw_server *server = calloc(1, sizeof(*server));
    struct gw_config *copy = malloc(sizeof(*copy));
    if (server == NULL || copy == NULL) {
        free(server);
        free(copy);
        snprintf(error, 256, "out of memory");
        return NULL;
    }
    *copy = *config;
    server->config = copy;
    server->boot = copy;
    server->started_s = gw_wall_ms() / 1000;
    server->is_shared = config->store.kind != STORE_KIND_MEMORY;
    name_gateway(server);
    if (make_parts(server, error))
        return server;
    gw_server_free(server);
    return NULL;
}

/* ---- listeners and workers ---- */

static bool listen_all(struct gw_server *server, char error[256])
{
    struct gw_listen_set *set = &server->listening;
    for (size_t i = 0; i < set->count; i++) {
        struct gw_listen_entry *entry = &set->entries[i];
        for (size_t j = 0; j < entry->count; j++) {
            struct gw_worker *worker =
                server->workers[j % server->worker_count];
            int status = gw_listener_open(worker, &entry->config, entry->fds[j],
                                          entry->is_shared);
            if (status == 0)
                continue;
            snprintf(error, 256, "cannot listen on %s: %s",
                     entry->config.address.text, strerror(status));
            return false;
        }
    }
    return true;
}

bool gw_server_open(struct gw_server *server, struct gw_listen_set *given,
                    char error[256])
{
    struct gw_listen_set *next = calloc(1, sizeof(*next));
    bool is_open =
        next != NULL && gw_listen_prepare(next, &server->listening, given,
                                          server->config, error);
    if (is_open)
        server->listening = *next;
    free(next);
    for (unsigned i = 0; is_open && i < server->config->workers; i++) {
        server->workers[i] = gw_worker_new(server, i, error);
        is_open = server->workers[i] != NULL;
        server->worker_count += is_open;
    }
    return is_open && listen_all(server, error);
}

bool gw_server_run(struct gw_server *server, char error[256])
{
    if (!gw_access_log_run(server->access_log)) {
        snprintf(error, 256, "cannot start the access log");
        return false;
    }
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (gw_worker_start(server->workers[i]))
            continue;
        snprintf(error, 256, "cannot start worker %u", i);
        return false;
    }
    return true;
}

int gw_address_port(const struct gw_address *address)
{
    const struct sockaddr_storage *addr = &address->addr;
    if (addr->ss_family == AF_UNIX)
        return 0;
    if (addr->ss_family == AF_INET6)
        return ntohs(
            ((const struct sockaddr_in6 *)(const void *)addr)->sin6_port);
    return ntohs(((const struct sockaddr_in *)(const void *)addr)->sin_port);
}

/* ---- another configuration ---- */

struct change_mail {
    struct gw_mail mail;
    struct gw_config_change *change;
};

/* What a worker needs to know to go over to it. */
struct gw_config_change {
    const struct gw_config *config;
    struct gw_config *old;
    struct gw_listen_set before;
    struct gw_listen_set after;
    unsigned worker_count;
    atomic_uint pending;
    struct change_mail mails[64];
};

static void open_new(struct gw_worker *worker, struct gw_config_change *change)
{
    for (size_t i = 0; i < change->after.count; i++) {
        struct gw_listen_entry *entry = &change->after.entries[i];
        if (gw_listen_find(&change->before, entry->config.address.text)) {
            gw_listener_configure(worker, &entry->config);
            continue;
        }
        for (size_t j = worker->index; j < entry->count;
             j += change->worker_count)
            if (gw_listener_open(worker, &entry->config, entry->fds[j],
                                 entry->is_shared) != 0)
                gw_log(GW_LOG_ERROR, "listen_failed", "address",
                       entry->config.address.text);
    }
}

static void close_old(struct gw_worker *worker, struct gw_config_change *change)
{
    for (size_t i = 0; i < change->before.count; i++) {
        const char *text = change->before.entries[i].config.address.text;
        if (gw_listen_find(&change->after, text) == NULL)
            gw_listener_close(worker, text);
    }
}

static void on_change(struct gw_worker *worker, struct gw_mail *mail)
{
    struct gw_config_change *change =
        GW_CONTAINER(mail, struct change_mail, mail)->change;
    gw_worker_configure(worker, change->config);
    /* One that drains meanwhile opens nothing more. */
    if (worker->phase < GW_PHASE_DRAINING) {
        open_new(worker, change);
        close_old(worker, change);
    }
    atomic_fetch_sub(&change->pending, 1);
}

bool gw_server_configure(struct gw_server *server, struct gw_config *config,
                         struct gw_listen_set *listening)
{
    struct gw_config_change *change =
        server->change == NULL ? calloc(1, sizeof(*change)) : NULL;
    if (change == NULL)
        return false;
    change->config = config;
    change->old = server->config;
    change->before = server->listening;
    change->after = *listening;
    change->worker_count = server->worker_count;
    atomic_init(&change->pending, server->worker_count);
    gw_listen_unlink(&server->listening, listening);
    gw_listen_set_modes(&server->listening, listening);
    server->listening = *listening;
    server->config = config;
    server->change = change;
    gw_accounts_configure(server->accounts, config);
    for (unsigned i = 0; i < server->worker_count; i++) {
        change->mails[i].change = change;
        change->mails[i].mail.deliver = on_change;
        gw_worker_post(server->workers[i], &change->mails[i].mail);
    }
    return true;
}

static void end_change(struct gw_server *server)
{
    struct gw_config_change *change = server->change;
    if (change == NULL || atomic_load(&change->pending) > 0)
        return;
    server->change = NULL;
    if (change->old != server->boot)
        free(change->old);
    free(change);
}

static void free_change(struct gw_server *server)
{
    if (server->change == NULL)
        return;
    atomic_store(&server->change->pending, 0);
    end_change(server);
}

void gw_server_step(struct gw_server *server)
{
    end_change(server);
    if (!server->keeps_places)
        gw_sweep_step(server->sweep, gw_now_ms());
}

void gw_server_advance(struct gw_server *server, enum gw_phase phase)
{
    if (atomic_load(&server->phase) >= (int)phase)
        return;
    atomic_store(&server->phase, (int)phase);
    if (phase >= GW_PHASE_DRAINING && !server->is_handed_over)
        gw_listen_unlink(&server->listening, NULL);
    for (unsigned i = 0; i < server->worker_count; i++)
        gw_worker_wake(server->workers[i]);
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
    if (!server->is_handed_over)
        gw_listen_unlink(&server->listening, NULL);
    gw_tls_free(server->tls);
    if (server->worker_count == 0)
        gw_listen_close(&server->listening);
    for (unsigned i = 0; i < server->worker_count; i++)
        gw_worker_free(server->workers[i]);
    free_change(server);
    gw_sweep_free(server->sweep);
    if (server->memory != NULL)
        store_memory_free(server->memory);
    gw_access_log_free(server->access_log);
    gw_ends_free(server->ends);
    gw_expiries_free(server->expiries);
    gw_accounts_free(server->accounts);
    gw_denied_free(server->denied);
    gw_shared_free(server->shared);
    gw_backends_free(server->backends);
    if (server->config != server->boot)
        free(server->config);
    free((void *)(uintptr_t)server->boot);
    free(server);
}
