/* SPDX-License-Identifier: MIT */
/* Races on the memory store, for a thread sanitizer: a plain program, since
 * Criterion does not run under one. */
#include "store/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { WORKERS = 4, TURNS = 20000, KEYS = 400, BOUND = 200 };

static _Atomic int64_t clock_ms;
static _Atomic long sessions;
static struct store_memory *memory;

static int64_t read_clock(void *arg)
{
    (void)arg;
    return atomic_load(&clock_ms);
}

static void count(void *arg, const char *backend, int delta)
{
    (void)arg;
    (void)backend;
    atomic_fetch_add(&sessions, delta);
}

static void on_done(struct store_request *request, enum store_status status,
                    const struct store_record *record, int64_t life_ms)
{
    (void)request;
    (void)status;
    (void)record;
    (void)life_ms;
}

static bool list_one(void *arg, struct store_key key,
                     const struct store_record *record, int64_t life_ms)
{
    size_t *bytes = arg;

    (void)life_ms;
    *bytes += key.len + strlen(record->backend);
    return true;
}

static void one_turn(struct store *store, unsigned random)
{
    struct store_request request = {.done = on_done};
    struct store_record record = {.client = "203.0.113.7", .gateway = "gw"};
    char text[16];
    struct store_key key = {text, sizeof(text)};

    memset(text, 0, sizeof(text));
    snprintf(text, sizeof(text), "%u", (random >> 4) % KEYS);
    snprintf(record.backend, sizeof(record.backend), "n%u", random % 5);
    switch ((random >> 16) % 6) {
    case 0:
        store_get(store, &request, key);
        break;
    case 1:
        store_touch(store, &request, key, &record, 20);
        break;
    case 2:
        store_remove(store, &request, key, record.backend);
        break;
    case 3:
        store_put(store, &request, key, &record, "n1", 20);
        break;
    default:
        store_put(store, &request, key, &record, NULL, 30);
        break;
    }
}

static void *work(void *arg)
{
    struct store *store = store_memory_client(memory);
    unsigned random = *(const unsigned *)arg;

    for (int i = 0; store != NULL && i < TURNS; i++) {
        random = random * 1103515245U + 12345U;
        one_turn(store, random);
    }
    if (store != NULL)
        store_close(store);
    return NULL;
}

/* The control thread's part. */
static void *watch(void *arg)
{
    size_t *bytes = arg;

    for (int i = 0; i < 300; i++) {
        atomic_fetch_add(&clock_ms, 1);
        store_memory_expire(memory);
        if (i % 30 == 0)
            store_memory_list(memory, list_one, bytes);
        if (i % 100 == 99)
            store_memory_clear(memory);
        *bytes += store_memory_count(memory);
    }
    return NULL;
}

int main(void)
{
    const struct store_memory_options opts = {
        .max_entries = BOUND,
        .now_ms = read_clock,
        .on_count = count,
    };
    unsigned seeds[WORKERS] = {1, 2, 3, 4};
    pthread_t threads[WORKERS + 1];
    size_t bytes = 0;

    memory = store_memory_new(&opts);
    if (memory == NULL)
        return 1;
    for (size_t i = 0; i < WORKERS; i++) {
        if (pthread_create(&threads[i], NULL, work, &seeds[i]) != 0)
            return 1;
    }
    if (pthread_create(&threads[WORKERS], NULL, watch, &bytes) != 0)
        return 1;
    for (size_t i = 0; i <= WORKERS; i++)
        pthread_join(threads[i], NULL);

    size_t left = store_memory_count(memory);
    bool is_right = left <= BOUND && (size_t)atomic_load(&sessions) == left;
    store_memory_clear(memory);
    is_right = is_right && atomic_load(&sessions) == 0 &&
               store_memory_count(memory) == 0;
    store_memory_free(memory);
    if (!is_right)
        fprintf(stderr, "the counts do not add up: %zu left\n", left);
    return is_right ? 0 : 1;
}
