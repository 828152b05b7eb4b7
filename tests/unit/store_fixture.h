/* SPDX-License-Identifier: MIT */
/* A memory store with a clock that the test turns, for one test program. */
#ifndef SIDGATE_TESTS_UNIT_STORE_FIXTURE_H
#define SIDGATE_TESTS_UNIT_STORE_FIXTURE_H

#include "store/memory.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { BACKENDS = 4, GATEWAYS = 8, CLIENTS = 8 };

static _Atomic int64_t clock_ms;
static _Atomic int counts[BACKENDS];         /* of "n0" to "n3" */
static _Atomic int gateway_counts[GATEWAYS]; /* by gateway_index() */
static _Atomic int client_counts[CLIENTS];   /* by client_index() */
static struct store_memory *memory;
static struct store *store;

struct result {
    int calls;
    enum store_status status;
    bool has_record;
    struct store_record record;
    int64_t life_ms;
};

static struct result result;

static int64_t read_clock(void *arg)
{
    (void)arg;
    return clock_ms;
}

/* "gw-a" is 1, "gw-b" is 2 and so on. */
static size_t gateway_index(const char *gateway)
{
    return (size_t)gateway[strlen(gateway) - 1] % GATEWAYS;
}

/* "203.0.113.7" is 7; an empty one 0. */
static size_t client_index(const char *client)
{
    size_t len = strlen(client);

    return len == 0 ? 0 : (size_t)client[len - 1] % CLIENTS;
}

static void count(void *arg, const struct store_record *record, int delta)
{
    (void)arg;
    counts[record->backend[1] - '0'] += delta;
    gateway_counts[gateway_index(record->gateway)] += delta;
    client_counts[client_index(record->client)] += delta;
}

static void on_done(struct store_request *request, enum store_status status,
                    const struct store_record *record, int64_t life_ms)
{
    struct result *got = request->arg;

    got->calls++;
    got->status = status;
    got->has_record = record != NULL;
    if (record != NULL)
        got->record = *record;
    got->life_ms = life_ms;
}

static struct store_request request = {.done = on_done, .arg = &result};

static inline void open_map(size_t max_entries, bool is_cache)
{
    const struct store_memory_options opts = {
        .max_entries = max_entries,
        .now_ms = read_clock,
        .on_count = count,
        .is_cache = is_cache,
    };

    clock_ms = 1000;
    memset(counts, 0, sizeof(counts));
    memset(gateway_counts, 0, sizeof(gateway_counts));
    memset(client_counts, 0, sizeof(client_counts));
    memory = store_memory_new(&opts);
    cr_assert_not_null(memory);
    store = store_memory_client(memory);
    cr_assert_not_null(store);
}

static inline void open_store(size_t max_entries)
{
    open_map(max_entries, false);
}

static inline void close_store(void)
{
    store_close(store);
    store_memory_free(memory);
}

static inline struct store_record record_of(const char *backend)
{
    struct store_record record = {
        .client = "203.0.113.7",
        .gateway = "gw-a",
        .created_ms = 1700000000000,
        .seen_ms = 1700000000001,
        .ping_interval_ms = 25000,
        .ping_timeout_ms = 20000,
        .eio = 4,
        .transport = STORE_TRANSPORT_POLLING,
    };

    snprintf(record.backend, sizeof(record.backend), "%s", backend);
    return record;
}

static inline struct store_record with_gateway(struct store_record record,
                                               const char *gateway)
{
    memset(record.gateway, 0, sizeof(record.gateway));
    snprintf(record.gateway, sizeof(record.gateway), "%s", gateway);
    return record;
}

static inline struct store_record with_client(struct store_record record,
                                              const char *client)
{
    memset(record.client, 0, sizeof(record.client));
    snprintf(record.client, sizeof(record.client), "%s", client);
    return record;
}

static inline struct store_key key_of(const char *text)
{
    return (struct store_key){text, strlen(text)};
}

static inline enum store_status put(const char *key, const char *backend,
                                    const char *replaces, int64_t life_ms)
{
    struct store_record record = record_of(backend);

    result = (struct result){0};
    store_put(store, &request, key_of(key), &record, replaces, life_ms);
    cr_expect_eq(result.calls, 1);
    return result.status;
}

static inline enum store_status get(const char *key)
{
    result = (struct result){0};
    store_get(store, &request, key_of(key));
    cr_expect_eq(result.calls, 1);
    return result.status;
}

#endif
