/* SPDX-License-Identifier: MIT */
/* Changes of backends' states, and their drains. */
#include "history_fixture.h"

#include "gateway/backend_history.h"

TestSuite(history_backends, .init = setup, .fini = teardown);

static struct gw_backend *at(unsigned place)
{
    return &server.backends->list[place];
}

static const cJSON *changes(unsigned place)
{
    cJSON *backend = fresh();

    cr_assert(gw_history_add_backend(history, place, backend));
    return in(backend, "history");
}

static void expect(const cJSON *list, int i, const char *state)
{
    const cJSON *change = cJSON_GetArrayItem(list, i);

    cr_assert_not_null(change, "%d: %s", i, state);
    cr_expect_str_eq(text(change, "state"), state, "%d", i);
}

Test(history_backends, the_first_state_is_a_change)
{
    const cJSON *list = changes(0);

    cr_expect_eq(cJSON_GetArraySize(list), 1);
    expect(list, 0, "up");
}

Test(history_backends, newest_first)
{
    snprintf(at(0)->health_reason, sizeof(at(0)->health_reason),
             "connection refused");
    atomic_store(&at(0)->is_down, true);
    step(1000);
    step(2000);
    atomic_store(&at(0)->drains, GW_DRAIN_OPERATOR);
    step(2100);
    const cJSON *list = changes(0);
    cr_assert_eq(cJSON_GetArraySize(list), 3);
    expect(list, 0, "drained");
    expect(list, 1, "down");
    expect(list, 2, "up");
    cr_expect_str_eq(text(cJSON_GetArrayItem(list, 1), "reason"),
                     "connection refused");
    cr_expect_str_eq(text(cJSON_GetArrayItem(list, 1), "time"),
                     "2023-11-14T22:13:21.000Z");
    cr_expect_str_eq(text(cJSON_GetArrayItem(list, 0), "reason"),
                     "by the operator");
    cr_expect_eq(cJSON_GetArraySize(changes(1)), 1);
}

/* Another reason alone is no change. */
Test(history_backends, words_alone_count)
{
    snprintf(at(0)->health_reason, sizeof(at(0)->health_reason), "a");
    step(1000);
    snprintf(at(0)->health_reason, sizeof(at(0)->health_reason), "b");
    step(2000);
    cr_expect_eq(cJSON_GetArraySize(changes(0)), 1);
}

Test(history_backends, the_last_ones_are_kept)
{
    for (int i = 1; i <= 40; i++) {
        atomic_store(&at(0)->is_down, i % 2 == 1);
        step(i * 100);
    }
    const cJSON *list = changes(0);
    cr_assert_eq(cJSON_GetArraySize(list), GW_BACKEND_CHANGES_MAX);
    expect(list, 0, "up");
    expect(list, 1, "down");
    cr_expect_str_eq(text(cJSON_GetArrayItem(list, 0), "time"),
                     "2023-11-14T22:13:24.000Z");
}

static void put(unsigned place, const char *id, uint16_t port)
{
    struct gw_backend_config other;

    want(&other, id, port);
    at(place)->own = other;
    atomic_store(&at(place)->state, GW_BACKEND_LIVE);
}

Test(history_backends, another_one_begins_anew)
{
    atomic_store(&at(0)->is_down, true);
    step(1000);
    cr_expect_eq(cJSON_GetArraySize(changes(0)), 2);
    atomic_store(&at(0)->state, GW_BACKEND_FORGOTTEN);
    step(1100);
    put(0, "n9", 9);
    cr_expect_eq(cJSON_GetArraySize(changes(0)), 0, "not another one's");
    step(1200);
    const cJSON *list = changes(0);
    cr_assert_eq(cJSON_GetArraySize(list), 1);
    expect(list, 0, "down");
}

/* All within one step. */
Test(history_backends, another_one_begins_anew_at_once)
{
    atomic_store(&at(0)->is_down, true);
    step(1000);
    put(0, "n1", 8);
    step(1100);
    cr_expect_eq(cJSON_GetArraySize(changes(0)), 1);
}

Test(history_backends, removed_is_a_state)
{
    gw_backend_remove(server.backends, at(0), gw_now_ms());
    step(1000);
    expect(changes(0), 0, "removed");
}

static double start_of(unsigned place)
{
    cJSON *backend = fresh();
    cJSON *drain = cJSON_AddObjectToObject(backend, "drain");

    cr_assert(gw_history_add_backend(history, place, backend));
    return number(drain, "sessions_at_start");
}

Test(history_backends, sessions_at_the_start_of_a_drain)
{
    atomic_store(&at(0)->sessions, 100);
    step(1000);
    at(0)->drain_since_ms = start_ms + 1050;
    cr_expect_eq(start_of(0), 100, "before the next step");
    atomic_store(&at(0)->sessions, 95);
    atomic_store(&at(0)->drain_closed, 5);
    step(1100);
    cr_expect_eq(start_of(0), 100);
    atomic_store(&at(0)->sessions, 10);
    atomic_store(&at(0)->drain_closed, 80);
    step(9000);
    cr_expect_eq(start_of(0), 100);
    /* Another drain. */
    atomic_store(&at(0)->drain_closed, 0);
    at(0)->drain_since_ms = start_ms + 9050;
    step(9100);
    cr_expect_eq(start_of(0), 10);
}

Test(history_backends, no_drain)
{
    cJSON *backend = fresh();

    cJSON_AddNullToObject(backend, "drain");
    cr_assert(gw_history_add_backend(history, 0, backend));
    cr_expect(cJSON_IsNull(in(backend, "drain")));
}
