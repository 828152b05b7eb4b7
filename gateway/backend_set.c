/* SPDX-License-Identifier: MIT */
/* Backends that come and go: the places of the table. The control thread's. */
#include "gateway/backend_set.h"
#include "gateway/conn.h"
#include "gateway/exchange.h"
#include "gateway/log.h"
#include "gateway/recovery.h"
#include "gateway/server.h"
#include "gateway/tunnel.h"
#include "gateway/upstream.h"
#include "gateway/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SWEEP_MS = 1000,
    REMOVED_MS = 5000, /* at least, until it is forgotten: who has looked it up
                          may not have used it yet */
    REMOVED_SHARED_MS = 30000, /* other replicas may know of its sessions */
    SUPERSEDED_MS = 900000,    /* its polling sessions are counted as those of
                                  the one with its id */
};

bool gw_backend_is_same(const struct gw_backend_config *a,
                        const struct gw_backend_config *b)
{
    return a->address.addr_len == b->address.addr_len &&
           memcmp(&a->address.addr, &b->address.addr, a->address.addr_len) ==
               0 &&
           a->pool == b->pool && a->is_tls == b->is_tls &&
           a->is_unverified == b->is_unverified &&
           strcmp(a->tls_name, b->tls_name) == 0;
}

static void change(struct gw_backends *backends)
{
    atomic_fetch_add(&backends->generation, 1);
}

static struct gw_backend *free_place(struct gw_backends *backends)
{
    size_t used = gw_backends_used(backends);
    for (size_t i = 0; i < used; i++)
        if (atomic_load(&backends->list[i].state) == GW_BACKEND_FREE)
            return &backends->list[i];
    return used < GW_BACKEND_COUNT_MAX ? &backends->list[used] : NULL;
}

static void note_config(struct gw_backend *backend,
                        const struct gw_backend_config *config)
{
    atomic_store(&backend->weight, config->weight);
    atomic_store(&backend->max_sessions, config->max_sessions);
    if (config->is_drained)
        atomic_fetch_or(&backend->drains, GW_DRAIN_CONFIG);
    else
        atomic_fetch_and(&backend->drains, ~(unsigned)GW_DRAIN_CONFIG);
}

/* Other replicas have yet to say that they list it. */
static void await_others(struct gw_backends *backends,
                         struct gw_backend *backend)
{
    atomic_store(&backend->is_unagreed, atomic_load(&backends->replicas) > 0);
}

/* Nobody knows it yet: the state makes it visible. */
static void take_place(struct gw_backends *backends, struct gw_backend *backend,
                       const struct gw_backend_config *config)
{
    unsigned index = (unsigned)(backend - backends->list);
    /* Others may be looking at the state, of which it has none yet. */
    memset((char *)backend + sizeof(backend->state), 0,
           sizeof(*backend) - sizeof(backend->state));
    backend->own = *config;
    backend->config = &backend->own;
    backend->index = index;
    note_config(backend, config);
    await_others(backends, backend);
    atomic_store_explicit(&backend->state, GW_BACKEND_LIVE,
                          memory_order_release);
    if (index >= gw_backends_used(backends))
        atomic_store_explicit(&backends->used, index + 1, memory_order_release);
}

/* A server of another address has its id now. Its sessions are still bound to
 * that id, so they are looked for here when that one denies them. */
static void supersede(struct gw_backend *old, struct gw_backend *backend,
                      const struct gw_backend_config *config)
{
    atomic_store(&old->is_superseded, true);
    atomic_store(&backend->has_former, true);
    atomic_store(&backend->drains,
                 atomic_load(&old->drains) & ~(unsigned)GW_DRAIN_CONFIG);
    backend->drain_wish = old->drain_wish;
    backend->drain_since_ms = old->drain_since_ms;
    note_config(backend, config);
    atomic_fetch_add(&backend->sessions, atomic_exchange(&old->sessions, 0));
    gw_log(GW_LOG_INFO, "backend_moved", "backend", old->config->id, "from",
           old->config->address.text, "to", backend->config->address.text);
}

/* That very server, also where another one had its id since. */
static struct gw_backend *find_same(struct gw_backends *backends,
                                    const struct gw_backend_config *config)
{
    size_t used = gw_backends_used(backends);
    for (size_t i = 0; i < used; i++) {
        struct gw_backend *one = &backends->list[i];
        if (gw_backend_is_known(one) &&
            strcmp(one->config->id, config->id) == 0 &&
            gw_backend_is_same(one->config, config))
            return one;
    }
    return NULL;
}

static void say_full(char error[256])
{
    snprintf(error, 256, "there are %d backends already, which is the most",
             (int)GW_BACKEND_COUNT_MAX);
}

struct gw_backend *gw_backends_add(struct gw_backends *backends,
                                   const struct gw_backend_config *config,
                                   enum gw_backend_source source, bool slow,
                                   char error[256])
{
    struct gw_backend *known = gw_backend_find(backends, config->id);
    struct gw_backend *same = find_same(backends, config);
    bool is_same = same != NULL;
    int64_t now_ms = gw_now_ms();
    if (known != NULL && known != same && gw_backend_is_live(known)) {
        snprintf(error, 256, "the id %s is in use with address %s", config->id,
                 known->config->address.text);
        return NULL;
    }
    struct gw_backend *backend = is_same ? same : free_place(backends);
    if (backend == NULL) {
        say_full(error);
        return NULL;
    }
    bool was_live = is_same && gw_backend_is_live(backend);
    unsigned weight = is_same ? atomic_load(&backend->weight) : 0;
    if (is_same)
        note_config(backend, config);
    else
        take_place(backends, backend, config);
    backend->source = source;
    if (!was_live && slow)
        atomic_store(&backend->fresh_since_ms, now_ms);
    if (is_same && !was_live) {
        await_others(backends, backend);
        atomic_store(&backend->is_superseded, false);
        atomic_store_explicit(&backend->state, GW_BACKEND_LIVE,
                              memory_order_release);
    }
    if (known != NULL && known != backend)
        supersede(known, backend, config);
    if (!was_live || weight != config->weight)
        change(backends);
    return backend;
}

struct gw_backend *
gw_backends_add_former(struct gw_backends *backends,
                       const struct gw_backend_config *config, int64_t now_ms,
                       char error[256])
{
    struct gw_backend *heir = gw_backend_find(backends, config->id);
    struct gw_backend *backend = free_place(backends);
    if (backend == NULL) {
        say_full(error);
        return NULL;
    }
    take_place(backends, backend, config);
    backend->removed_ms = now_ms;
    atomic_store(&backend->is_superseded, heir != NULL);
    if (heir != NULL)
        atomic_store(&heir->has_former, true);
    atomic_store(&backend->state, GW_BACKEND_REMOVED);
    return backend;
}

void gw_backend_remove(struct gw_backends *backends, struct gw_backend *backend,
                       int64_t now_ms)
{
    if (!gw_backend_is_live(backend))
        return;
    backend->removed_ms = now_ms;
    atomic_store(&backend->state, GW_BACKEND_REMOVED);
    change(backends);
}

struct gw_backends *gw_backends_new(const struct gw_config *config)
{
    char error[256];
    struct gw_backends *backends = calloc(1, sizeof(*backends));
    if (backends == NULL)
        return NULL;
    for (size_t i = 0; i < config->backend_count; i++)
        gw_backends_add(backends, &config->backends[i], GW_SOURCE_CONFIG, false,
                        error);
    return backends;
}

void gw_backends_free(struct gw_backends *backends)
{
    free(backends);
}

/* ---- places that become free ---- */

struct question {
    struct gw_mail mail;
    struct gw_sweep *sweep;
};

struct gw_sweep {
    struct gw_server *server;
    struct gw_backend *backend; /* that the workers are asked about */
    int64_t next_ms;
    atomic_uint pending;
    atomic_bool is_used;
    bool is_asking;
    struct question questions[64];
};

struct gw_sweep *gw_sweep_new(struct gw_server *server)
{
    struct gw_sweep *sweep = calloc(1, sizeof(*sweep));
    if (sweep != NULL)
        sweep->server = server;
    return sweep;
}

void gw_sweep_free(struct gw_sweep *sweep)
{
    free(sweep);
}

/* In each worker: whether anything there still means this backend. */
static void answer(struct gw_worker *worker, struct gw_mail *mail)
{
    struct question *question = GW_CONTAINER(mail, struct question, mail);
    struct gw_sweep *sweep = question->sweep;
    const struct gw_backend *backend = sweep->backend;
    gw_upstreams_drop_backend(worker, backend);
    if (gw_conns_use(worker, backend) || gw_tunnels_use(worker, backend) ||
        gw_recovery_uses(worker, backend))
        atomic_store(&sweep->is_used, true);
    else
        memset(&worker->backend_metrics[backend->index], 0,
               sizeof(worker->backend_metrics[0]));
    atomic_fetch_sub(&sweep->pending, 1);
}

static void ask(struct gw_sweep *sweep, struct gw_backend *backend)
{
    struct gw_server *server = sweep->server;
    sweep->backend = backend;
    sweep->is_asking = true;
    atomic_store(&sweep->is_used, false);
    atomic_store(&sweep->pending, server->worker_count);
    for (unsigned i = 0; i < server->worker_count; i++) {
        sweep->questions[i].sweep = sweep;
        sweep->questions[i].mail.deliver = answer;
        gw_worker_post(server->workers[i], &sweep->questions[i].mail);
    }
}

static bool is_over(const struct gw_server *server,
                    const struct gw_backend *backend, int64_t now_ms)
{
    int64_t wait_ms = server->is_shared ? REMOVED_SHARED_MS : REMOVED_MS;
    int64_t used_ms = atomic_load(&backend->former_used_ms);
    if (atomic_load(&backend->is_superseded))
        wait_ms = SUPERSEDED_MS;
    if (used_ms < backend->removed_ms)
        used_ms = backend->removed_ms;
    return atomic_load(&backend->state) == GW_BACKEND_REMOVED &&
           now_ms - used_ms > wait_ms && atomic_load(&backend->sessions) <= 0 &&
           atomic_load(&backend->elsewhere) <= 0 &&
           atomic_load(&backend->handshakes) <= 0;
}

/* A worker that looked the backend up before it was superseded may have counted
 * a session afterwards. */
static void move_count(struct gw_backends *backends, struct gw_backend *old)
{
    if (!gw_backend_is_known(old) || !atomic_load(&old->is_superseded) ||
        atomic_load(&old->sessions) == 0)
        return;
    struct gw_backend *now = gw_backend_find(backends, old->config->id);
    if (now != NULL && now != old)
        atomic_fetch_add(&now->sessions, atomic_exchange(&old->sessions, 0));
}

static void forget(struct gw_backend *backend)
{
    gw_log(GW_LOG_INFO, "backend_forgotten", "backend", backend->config->id);
    atomic_store(&backend->state, GW_BACKEND_FORGOTTEN);
}

void gw_sweep_step(struct gw_sweep *sweep, int64_t now_ms)
{
    struct gw_backends *backends = sweep->server->backends;
    size_t used = gw_backends_used(backends);
    if (sweep->is_asking) {
        if (atomic_load(&sweep->pending) > 0)
            return;
        sweep->is_asking = false;
        if (!atomic_load(&sweep->is_used))
            atomic_store(&sweep->backend->state, GW_BACKEND_FREE);
    }
    if (now_ms < sweep->next_ms)
        return;
    sweep->next_ms = now_ms + SWEEP_MS;
    for (size_t i = 0; i < used; i++) {
        move_count(backends, &backends->list[i]);
        if (is_over(sweep->server, &backends->list[i], now_ms))
            forget(&backends->list[i]);
    }
    /* Those that are in use take turns. */
    size_t start = sweep->backend != NULL ? sweep->backend->index + 1 : 0;
    for (size_t i = 0; i < used; i++) {
        struct gw_backend *one = &backends->list[(start + i) % used];
        if (atomic_load(&one->state) != GW_BACKEND_FORGOTTEN)
            continue;
        ask(sweep, one);
        return;
    }
}
