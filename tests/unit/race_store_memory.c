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
static _Atomic int faults;
static struct store_memory *memory;
static bool is_cache;

static int64_t read_clock(void *arg)
{
    (void)arg;
    return atomic_load(&clock_ms);
}

static void count(void *arg, const struct store_record *record, int delta)
{
    (void)arg;
    if (record->backend[0] == 'n' && record->gateway[0] == 'g' &&
        strlen(record->client) == 11)
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

struct turn {
    struct store_key key;
    struct store_record record;
    unsigned random;
};

static void store_turn(struct store *store, const struct turn *turn)
{
    struct store_request request = {.done = on_done};

    switch ((turn->random >> 16) % 5) {
    case 0:
        store_get(store, &request, turn->key);
        break;
    case 1:
        store_touch(store, &request, turn->key, &turn->record, 20);
        break;
    case 2:
        store_remove(store, &request, turn->key, turn->record.backend, NULL);
        break;
    case 3:
        store_put(store, &request, turn->key, &turn->record, "n1", 20);
        break;
    default:
        store_put(store, &request, turn->key, &turn->record, NULL, 30);
        break;
    }
}

static void cache_turn(const struct turn *turn)
{
    struct store_record found;
    int64_t life_ms;

    switch ((turn->random >> 16) % 6) {
    case 0:
        if (store_memory_find(memory, turn->key, &found, &life_ms) &&
            (life_ms < 1 || found.backend[0] != 'n'))
            atomic_fetch_add(&faults, 1);
        break;
    case 1:
        store_memory_renew(memory, turn->key, &turn->record, 20);
        break;
    case 2:
        store_memory_drop(memory, turn->key,
                          turn->random & 1 ? turn->record.backend : NULL);
        break;
    case 3:
        store_memory_mark(memory, turn->key, (uint8_t)(turn->random % 3));
        break;
    default:
        /* Only the map that is no cache may be full. */
        if (!store_memory_set(memory, turn->key, &turn->record, 30,
                              (uint8_t)(turn->random % 3)) &&
            is_cache)
            atomic_fetch_add(&faults, 1);
        break;
    }
}

static void one_turn(struct store *store, unsigned random)
{
    char text[16];
    struct turn turn = {
        .key = {text, sizeof(text)},
        .record = {.client = "203.0.113.7"},
        .random = random,
    };

    memset(text, 0, sizeof(text));
    snprintf(text, sizeof(text), "%u", (random >> 4) % KEYS);
    snprintf(turn.record.backend, sizeof(turn.record.backend), "n%u",
             random % 5);
    snprintf(turn.record.gateway, sizeof(turn.record.gateway), "g%u",
             (random >> 3) % 3);
    if ((random >> 24) % 2 == 0)
        store_turn(store, &turn);
    else
        cache_turn(&turn);
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

static void walk(uint8_t mark)
{
    static struct store_memory_item items[16];
    struct store_memory_walk at = {0};

    while (!at.is_done) {
        size_t count = store_memory_collect(memory, &at, mark, items, 16);

        for (size_t i = 0; i < count; i++) {
            struct store_key key = {items[i].key, items[i].key_len};

            store_memory_mark(memory, key, mark);
        }
    }
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
        if (i % 10 == 0)
            walk((uint8_t)(i % 3));
        if (i % 100 == 99)
            store_memory_clear(memory);
        *bytes += store_memory_count(memory);
    }
    return NULL;
}

static int race(void)
{
    const struct store_memory_options opts = {
        .max_entries = BOUND,
        .now_ms = read_clock,
        .on_count = count,
        .is_cache = is_cache,
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
               store_memory_count(memory) == 0 && atomic_load(&faults) == 0;
    store_memory_free(memory);
    if (!is_right)
        fprintf(stderr, "%s: the counts do not add up: %zu left, %d faults\n",
                is_cache ? "cache" : "store", left, atomic_load(&faults));
    return is_right ? 0 : 1;
}

int main(void)
{
    int status = race();

    is_cache = true;
    return status + race() == 0 ? 0 : 1;
}
