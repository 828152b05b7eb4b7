/* SPDX-License-Identifier: MIT */
/* A worker that has nothing but backends, all of one pool. */
#ifndef SIDGATE_TESTS_BALANCE_FIXTURE_H
#define SIDGATE_TESTS_BALANCE_FIXTURE_H

#include "gateway/balance.h"
#include "gateway/worker.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct gw_config *config;
static struct gw_server *server;
static struct gw_worker *worker;
static const struct gw_backend_set none;
static size_t chosen[GW_BACKEND_COUNT_MAX];
static uint64_t next_hash;

/* `count` backends of the given weights; NULL: all of weight 1. */
static inline void begin(enum gw_balance balance, size_t count,
                         const uint32_t *weights)
{
    config = calloc(1, sizeof(*config));
    server = calloc(1, sizeof(*server));
    worker = calloc(1, sizeof(*worker));
    cr_assert(config != NULL && server != NULL && worker != NULL);
    config->pool_count = 1;
    config->pools[0].balance = balance;
    config->pools[0].hash_ring_size = 1024;
    config->backend_count = count;
    for (size_t i = 0; i < count; i++) {
        struct gw_backend_config *backend = &config->backends[i];
        snprintf(backend->id, sizeof(backend->id), "n%zu", i);
        backend->weight = weights != NULL ? weights[i] : 1;
    }
    server->config = config;
    server->backends = gw_backends_new(config);
    cr_assert_not_null(server->backends);
    worker->server = server;
    worker->config = config;
    worker->now_ms = 1000000;
    worker->random_state = 0x9e3779b97f4a7c15ULL;
    worker->rings = gw_rings_new();
    cr_assert_not_null(worker->rings);
}

static inline void end(void)
{
    gw_rings_free(worker->rings);
    gw_backends_free(server->backends);
    free(worker);
    free(server);
    free(config);
}

static inline struct gw_backend *backend(size_t i)
{
    return &server->backends->list[i];
}

static inline struct gw_backend *choose_one(const struct gw_backend_set *tried)
{
    struct gw_choice choice = {.is_handshake = true,
                               .hash = next_hash++ * 0x9e3779b97f4a7c15ULL,
                               .tried = tried,
                               .is_full = true};
    struct gw_backend *one = gw_balance_choose(worker, &choice);
    cr_assert_not(choice.is_full);
    return one;
}

/* Chooses `times` times; with binds each choice becomes a session. */
static inline void choose(size_t times, const struct gw_backend_set *tried,
                          bool binds)
{
    memset(chosen, 0, sizeof(chosen));
    for (size_t i = 0; i < times; i++) {
        struct gw_backend *one = choose_one(tried);
        cr_assert_not_null(one);
        cr_assert_eq(one, backend(one->index));
        chosen[one->index]++;
        if (binds)
            atomic_fetch_add(&one->sessions, 1);
    }
}

#endif
