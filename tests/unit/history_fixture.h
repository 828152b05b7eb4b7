/* SPDX-License-Identifier: MIT */
/* A server that is nothing but counters and backends, and a clock. */
#ifndef SIDGATE_TESTS_HISTORY_FIXTURE_H
#define SIDGATE_TESTS_HISTORY_FIXTURE_H

#include "gateway/backend_set.h"
#include "gateway/history.h"
#include "gateway/log.h"
#include "gateway/metrics.h"
#include "gateway/worker.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 2, WALL_MS = 1700000000 };

static struct gw_config config;
static struct gw_server server;
static struct gw_history *history;
static int64_t start_ms;
static cJSON *told; /* what was rendered last */

static inline void want(struct gw_backend_config *out, const char *id,
                        uint16_t port)
{
    struct sockaddr_in *addr = (struct sockaddr_in *)(void *)&out->address.addr;

    *out = (struct gw_backend_config){.weight = 1};
    snprintf(out->id, sizeof(out->id), "%s", id);
    snprintf(out->address.text, sizeof(out->address.text), "127.0.0.1:%u",
             port);
    *addr = (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    out->address.addr_len = sizeof(*addr);
}

/* At `ms` behind the start. */
static inline void step(int64_t ms)
{
    gw_history_step(history, start_ms + ms, (int64_t)WALL_MS * 1000 + ms);
}

static inline void setup(void)
{
    gw_log_setup(GW_LOG_ERROR, GW_LOG_TEXT);
    config.pool_count = 1;
    want(&config.backends[0], "n1", 1);
    want(&config.backends[1], "n2", 2);
    config.backend_count = 2;
    server.config = &config;
    server.backends = gw_backends_new(&config);
    cr_assert_not_null(server.backends);
    for (unsigned i = 0; i < WORKERS; i++) {
        server.workers[i] = calloc(1, sizeof(*server.workers[i]));
        cr_assert_not_null(server.workers[i]);
        server.workers[i]->backend_metrics = calloc(
            GW_BACKEND_COUNT_MAX, sizeof(*server.workers[i]->backend_metrics));
        cr_assert_not_null(server.workers[i]->backend_metrics);
    }
    server.worker_count = WORKERS;
    history = gw_history_new(&server);
    cr_assert_not_null(history);
    /* Behind the first look, which it takes itself. */
    start_ms = gw_now_ms() + 60000;
    step(0);
}

static inline void teardown(void)
{
    cJSON_Delete(told);
    gw_history_free(history);
    gw_backends_free(server.backends);
    for (unsigned i = 0; i < WORKERS; i++) {
        free(server.workers[i]->backend_metrics);
        free(server.workers[i]);
    }
}

static inline struct gw_metrics *worker(unsigned i)
{
    return &server.workers[i]->metrics;
}

static inline struct gw_backend_metrics *row(unsigned i, unsigned place)
{
    return &server.workers[i]->backend_metrics[place];
}

static inline cJSON *fresh(void)
{
    cJSON_Delete(told);
    told = cJSON_CreateObject();
    return told;
}

static inline const cJSON *in(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);

    cr_assert_not_null(item, "no %s", name);
    return item;
}

static inline double number(const cJSON *object, const char *name)
{
    const cJSON *item = in(object, name);

    cr_assert(cJSON_IsNumber(item), "%s is no number", name);
    return cJSON_GetNumberValue(item);
}

static inline const char *text(const cJSON *object, const char *name)
{
    const cJSON *item = in(object, name);

    cr_assert(cJSON_IsString(item), "%s is no text", name);
    return item->valuestring;
}

static inline const cJSON *now(void)
{
    cJSON *status = fresh();

    cr_assert(gw_history_add_now(history, status));
    return in(status, "now");
}

static inline const cJSON *totals(void)
{
    cJSON *status = fresh();

    cr_assert(gw_history_add_totals(history, status));
    return in(status, "totals");
}

#endif
