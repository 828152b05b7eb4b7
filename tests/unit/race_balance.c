/* SPDX-License-Identifier: MIT */
/* Races on the choice of a backend and on its ejection, for a thread
 * sanitizer: a plain program, since Criterion does not run under one. */
#include "gateway/balance.h"
#include "gateway/eject.h"
#include "gateway/log.h"
#include "gateway/worker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 4, TURNS = 20000, BACKENDS = 4, POOLS = 4 };

static struct gw_server *server;
static struct gw_worker *workers[WORKERS];
static atomic_int faults;

static void one_turn(struct gw_worker *worker, uint32_t random)
{
    static const struct gw_backend_set none;
    struct gw_peer peer = {AF_INET, {192, 0, 2, (uint8_t)(random >> 8)}};
    struct gw_choice choice = {.is_handshake = true,
                               .pool = (uint8_t)(random % POOLS),
                               .hash = random,
                               .tried = &none};
    struct gw_backend *one = gw_balance_choose(worker, &choice);
    if (one == NULL || one->config->pool != choice.pool) {
        atomic_fetch_add(&faults, 1);
        return;
    }
    switch ((random >> 20) % 8) {
    case 0:
    case 1:
    case 2:
        gw_eject_note_connect(worker, one);
        break;
    case 3:
        gw_eject_note_status(worker, one, 200, &peer);
        break;
    case 4:
        atomic_fetch_add(&server->backends->generation, 1);
        atomic_store(&one->weight, 1 + random % 7);
        break;
    case 5:
        gw_eject_clear(one);
        break;
    default:
        gw_eject_note_status(worker, one, 500, &peer);
        break;
    }
}

static void *work(void *arg)
{
    struct gw_worker *worker = arg;
    for (int i = 0; i < TURNS; i++) {
        worker->now_ms += i % 16 == 0;
        one_turn(worker, gw_worker_random(worker));
    }
    return NULL;
}

static struct gw_config *make_config(void)
{
    struct gw_config *config = calloc(1, sizeof(*config));
    if (config == NULL)
        abort();
    config->pool_count = POOLS;
    for (size_t i = 0; i < POOLS; i++) {
        struct gw_pool_config *pool = &config->pools[i];
        pool->balance = (enum gw_balance)i;
        pool->hash_ring_size = 16;
        pool->slow_start_ms = 20;
        pool->eject_failures = 3;
        pool->eject_time_ms = 10;
        pool->max_ejected = 100;
    }
    config->backend_count = (size_t)POOLS * BACKENDS;
    for (size_t i = 0; i < config->backend_count; i++) {
        struct gw_backend_config *backend = &config->backends[i];
        snprintf(backend->id, sizeof(backend->id), "n%zu", i);
        backend->weight = 1;
        backend->pool = (uint8_t)(i % POOLS);
    }
    return config;
}

static struct gw_worker *make_worker(unsigned index)
{
    struct gw_worker *worker = calloc(1, sizeof(*worker));
    if (worker == NULL)
        abort();
    worker->server = server;
    worker->config = server->config;
    worker->now_ms = 1000000;
    worker->random_state = 1 + index;
    worker->rings = gw_rings_new();
    return worker;
}

/* In each pool one at least is let in. */
static void check_floor(void)
{
    size_t left[POOLS] = {0};
    for (size_t i = 0; i < server->config->backend_count; i++) {
        const struct gw_backend *one = &server->backends->list[i];
        left[one->config->pool] += !gw_eject_is(one, workers[0]->now_ms);
    }
    for (size_t i = 0; i < POOLS; i++)
        if (left[i] == 0)
            atomic_fetch_add(&faults, 1);
}

int main(void)
{
    pthread_t threads[WORKERS];
    gw_log_setup(GW_LOG_ERROR, GW_LOG_TEXT);
    server = calloc(1, sizeof(*server));
    if (server == NULL)
        abort();
    server->config = make_config();
    server->backends = gw_backends_new(server->config);
    if (server->backends == NULL)
        abort();
    for (unsigned i = 0; i < WORKERS; i++)
        workers[i] = make_worker(i);
    for (unsigned i = 0; i < WORKERS; i++)
        if (pthread_create(&threads[i], NULL, work, workers[i]) != 0)
            abort();
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    check_floor();
    for (unsigned i = 0; i < WORKERS; i++) {
        gw_rings_free(workers[i]->rings);
        free(workers[i]);
    }
    gw_backends_free(server->backends);
    free(server->config);
    free(server);
    if (atomic_load(&faults) > 0)
        fprintf(stderr, "%d faults\n", atomic_load(&faults));
    return atomic_load(&faults) > 0;
}
