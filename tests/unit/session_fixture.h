/* SPDX-License-Identifier: MIT */
/* Operations on sessions in a real Redis, each waited for. */
#ifndef SIDGATE_TESTS_UNIT_SESSION_FIXTURE_H
#define SIDGATE_TESTS_UNIT_SESSION_FIXTURE_H

#include "tests/unit/redis_fixture.h"

struct result {
    unsigned calls;
    enum store_status status;
    bool has_record;
    struct store_record record;
    int64_t life_ms;
};

static struct result result;

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

static bool is_done(void *arg)
{
    const struct result *got = arg;

    return got->calls > 0;
}

static inline struct store_key key_of(const char *text)
{
    return (struct store_key){text, strlen(text)};
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

/* A record comes with a conflict and with what a get found, and only then. */
static inline enum store_status wait_done(bool is_get)
{
    cr_assert(poll_loop_until(loop, is_done, &result, LIMIT_MS));
    cr_expect_eq(result.calls, 1);
    cr_expect_null(request.pending);
    cr_expect_eq(result.has_record, result.status == STORE_CONFLICT ||
                                        (is_get && result.status == STORE_OK));
    return result.status;
}

static inline enum store_status put_key(struct store_key key,
                                        const char *backend,
                                        const char *replaces, int64_t life_ms)
{
    const struct store_record record = record_of(backend);

    result = (struct result){0};
    store_put(store, &request, key, &record, replaces, life_ms);
    return wait_done(false);
}

static inline enum store_status put_with(const char *key,
                                         const struct store_record *record,
                                         const char *replaces, int64_t life_ms)
{
    result = (struct result){0};
    store_put(store, &request, key_of(key), record, replaces, life_ms);
    return wait_done(false);
}

static inline enum store_status put(const char *key, const char *backend,
                                    const char *replaces, int64_t life_ms)
{
    return put_key(key_of(key), backend, replaces, life_ms);
}

static inline enum store_status get_key(struct store_key key)
{
    result = (struct result){0};
    store_get(store, &request, key);
    return wait_done(true);
}

static inline enum store_status get(const char *key)
{
    return get_key(key_of(key));
}

static inline enum store_status
touch_with(const char *key, const struct store_record *record, int64_t life_ms)
{
    result = (struct result){0};
    store_touch(store, &request, key_of(key), record, life_ms);
    return wait_done(false);
}

static inline enum store_status touch(const char *key, const char *backend,
                                      int64_t life_ms)
{
    const struct store_record record = record_of(backend);

    return touch_with(key, &record, life_ms);
}

static inline enum store_status drop_of(const char *key, const char *backend,
                                        const char *gateway)
{
    result = (struct result){0};
    store_remove(store, &request, key_of(key), backend, gateway);
    return wait_done(false);
}

static inline enum store_status drop(const char *key, const char *backend)
{
    return drop_of(key, backend, NULL);
}

/* That the record of the last operation is the one of `backend`, with what is
 * left of life_ms. */
static inline void expect_owner(const char *backend, int64_t life_ms)
{
    cr_expect_str_eq(result.record.backend, backend);
    cr_expect_str_eq(result.record.client, "203.0.113.7");
    cr_expect_eq(result.record.ping_timeout_ms, 20000);
    cr_expect_eq(result.record.seen_ms, 1700000000001);
    cr_expect(result.life_ms > life_ms - LIMIT_MS && result.life_ms <= life_ms,
              "%lld", (long long)result.life_ms);
}

static inline void expect_life(const char *key, int64_t life_ms)
{
    const long long left_ms = redis_server_number(&server, "PTTL %s", key);

    cr_expect(left_ms > life_ms - LIMIT_MS && left_ms <= life_ms, "%lld",
              left_ms);
}

#endif
