/* SPDX-License-Identifier: MIT */
/* Backends that come and go. */
#include "gateway/backend_set.h"
#include "gateway/log.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct gw_config config;
static struct gw_backends *backends;
static struct gw_backend_config wanted;
static char error[256];

static void want(const char *id, uint16_t port)
{
    struct sockaddr_in *addr =
        (struct sockaddr_in *)(void *)&wanted.address.addr;
    wanted = (struct gw_backend_config){.weight = 1};
    snprintf(wanted.id, sizeof(wanted.id), "%s", id);
    snprintf(wanted.address.text, sizeof(wanted.address.text), "127.0.0.1:%u",
             port);
    *addr = (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    wanted.address.addr_len = sizeof(*addr);
}

static void setup(void)
{
    gw_log_setup(GW_LOG_ERROR, GW_LOG_TEXT);
    config.pool_count = 1;
    want("n1", 1);
    config.backends[config.backend_count++] = wanted;
    want("n2", 2);
    wanted.weight = 7;
    wanted.max_sessions = 9;
    wanted.is_drained = true;
    config.backends[config.backend_count++] = wanted;
    backends = gw_backends_new(&config);
    cr_assert_not_null(backends);
}

static void teardown(void)
{
    gw_backends_free(backends);
}

TestSuite(backend_set, .init = setup, .fini = teardown);

static struct gw_backend *try_add(const char *id, uint16_t port)
{
    want(id, port);
    error[0] = '\0';
    return gw_backends_add(backends, &wanted, GW_SOURCE_OPERATOR, false, error);
}

static struct gw_backend *add(const char *id, uint16_t port)
{
    struct gw_backend *backend = try_add(id, port);
    cr_assert_not_null(backend, "%s", error);
    return backend;
}

static struct gw_backend *find(const char *id)
{
    return gw_backend_find(backends, id);
}

static int state_of(const struct gw_backend *backend)
{
    return atomic_load(&backend->state);
}

static void remove_now(struct gw_backend *backend)
{
    gw_backend_remove(backends, backend, 1000);
    cr_assert_eq(state_of(backend), GW_BACKEND_REMOVED);
}

/* ---- the places ---- */

Test(backend_set, begins_with_the_configurations)
{
    cr_assert_eq(gw_backends_used(backends), 2);
    struct gw_backend *one = find("n1");
    struct gw_backend *two = find("n2");
    cr_assert(one == &backends->list[0] && two == &backends->list[1]);
    cr_expect(gw_backend_is_live(one) && gw_backend_is_known(one));
    cr_expect_eq(one->source, GW_SOURCE_CONFIG);
    cr_expect_eq(two->index, 1);
    cr_expect_eq(atomic_load(&two->weight), 7);
    cr_expect_eq(atomic_load(&two->max_sessions), 9);
    cr_expect_eq(atomic_load(&one->drains), 0);
    cr_expect_eq(atomic_load(&two->drains), GW_DRAIN_CONFIG);
    cr_expect_eq(atomic_load(&one->fresh_since_ms), 0, "no slow start");
    cr_expect_null(find("n3"));
    cr_expect_null(find("n"));
    cr_expect_null(find(""));
    cr_expect_null(gw_backend_former(backends, one));
}

Test(backend_set, one_is_added)
{
    unsigned generation = atomic_load(&backends->generation);

    want("n3", 3);
    struct gw_backend *backend =
        gw_backends_add(backends, &wanted, GW_SOURCE_DISCOVERY, true, error);
    cr_assert_not_null(backend);
    cr_expect_eq(backend->index, 2);
    cr_expect_eq(gw_backends_used(backends), 3);
    cr_expect(find("n3") == backend);
    cr_expect_eq(backend->source, GW_SOURCE_DISCOVERY);
    cr_expect_gt(atomic_load(&backend->fresh_since_ms), 0, "slow start");
    cr_expect_neq(atomic_load(&backends->generation), generation);
    cr_expect(backend->config != &wanted, "a copy");
}

Test(backend_set, one_that_is_there_gets_what_is_new)
{
    struct gw_backend *one = find("n1");
    unsigned generation = atomic_load(&backends->generation);

    atomic_store(&one->sessions, 5);
    atomic_store(&one->drains, GW_DRAIN_OPERATOR);
    cr_expect(add("n1", 1) == one);
    cr_expect_eq(atomic_load(&backends->generation), generation,
                 "the ring is as it was");
    want("n1", 1);
    wanted.weight = 3;
    wanted.max_sessions = 4;
    wanted.is_drained = true;
    cr_expect(gw_backends_add(backends, &wanted, GW_SOURCE_CONFIG, true,
                              error) == one);
    cr_expect_eq(atomic_load(&one->weight), 3);
    cr_expect_eq(atomic_load(&one->max_sessions), 4);
    cr_expect_eq(atomic_load(&one->drains),
                 GW_DRAIN_OPERATOR | GW_DRAIN_CONFIG);
    cr_expect_eq(atomic_load(&one->sessions), 5);
    cr_expect_eq(atomic_load(&one->fresh_since_ms), 0,
                 "it is not fresh for that");
    cr_expect_neq(atomic_load(&backends->generation), generation);
    add("n1", 1);
    cr_expect_eq(atomic_load(&one->drains), GW_DRAIN_OPERATOR);
    cr_expect_eq(gw_backends_used(backends), 2);
}

Test(backend_set, one_is_removed_and_comes_back)
{
    struct gw_backend *one = find("n1");
    unsigned generation = atomic_load(&backends->generation);

    atomic_store(&one->sessions, 5);
    remove_now(one);
    cr_expect_eq(one->removed_ms, 1000);
    cr_expect_neq(atomic_load(&backends->generation), generation);
    cr_expect(find("n1") == one, "it has sessions");
    cr_expect(gw_backend_is_known(one) && !gw_backend_is_live(one));
    generation = atomic_load(&backends->generation);
    gw_backend_remove(backends, one, 2000);
    cr_expect_eq(one->removed_ms, 1000, "once");
    cr_expect_eq(atomic_load(&backends->generation), generation);

    want("n1", 1);
    cr_expect(gw_backends_add(backends, &wanted, GW_SOURCE_CONFIG, true,
                              error) == one);
    cr_expect(gw_backend_is_live(one));
    cr_expect_eq(atomic_load(&one->sessions), 5);
    cr_expect_gt(atomic_load(&one->fresh_since_ms), 0, "slow start again");
    cr_expect_neq(atomic_load(&backends->generation), generation);
    cr_expect_eq(gw_backends_used(backends), 2);
}

Test(backend_set, the_table_has_an_end)
{
    char id[16];

    for (int i = 2; i < GW_BACKEND_COUNT_MAX; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        add(id, (uint16_t)(1000 + i));
    }
    cr_expect_eq(gw_backends_used(backends), GW_BACKEND_COUNT_MAX);
    cr_expect_null(try_add("more", 2000));
    cr_expect_str_eq(error,
                     "there are 256 backends already, which is the most");
    cr_expect_null(gw_backends_add_former(backends, &wanted, 1, error));
    cr_expect(try_add("m77", 1077) != NULL, "it is there already");
    /* Nor is there a place of one that may still be used. */
    remove_now(find("m77"));
    cr_expect_null(try_add("more", 2000));
    atomic_store(&backends->list[77].state, GW_BACKEND_FORGOTTEN);
    cr_expect_null(try_add("more", 2000));
    cr_expect_null(find("m77"));
    /* Nothing of the former one is left there. */
    atomic_store(&backends->list[77].sessions, 5);
    atomic_store(&backends->list[77].is_down, true);
    atomic_store(&backends->list[77].state, GW_BACKEND_FREE);
    struct gw_backend *backend = add("more", 2000);
    cr_expect_eq(backend->index, 77);
    cr_expect_eq(atomic_load(&backend->sessions), 0);
    cr_expect_not(atomic_load(&backend->is_down));
    cr_expect_eq(gw_backends_used(backends), GW_BACKEND_COUNT_MAX);
}

Test(backend_set, what_makes_two_one_server)
{
    struct gw_backend_config other;

    want("n1", 1);
    other = wanted;
    snprintf(other.id, sizeof(other.id), "other");
    snprintf(other.address.text, sizeof(other.address.text), "localhost:1");
    other.weight = 9;
    cr_expect(gw_backend_is_same(&wanted, &other));
    other.pool = 1;
    cr_expect_not(gw_backend_is_same(&wanted, &other));
    other = wanted;
    other.is_tls = true;
    cr_expect_not(gw_backend_is_same(&wanted, &other));
    other = wanted;
    other.is_unverified = true;
    cr_expect_not(gw_backend_is_same(&wanted, &other));
    other = wanted;
    snprintf(other.tls_name, sizeof(other.tls_name), "n1.example");
    cr_expect_not(gw_backend_is_same(&wanted, &other));
    other = wanted;
    want("n1", 2);
    cr_expect_not(gw_backend_is_same(&wanted, &other));
}

/* ---- one id, another address ---- */

Test(backend_set, an_id_in_use_is_not_given_another_address)
{
    cr_expect_null(try_add("n1", 9));
    cr_expect_str_eq(error, "the id n1 is in use with address 127.0.0.1:1");
    cr_expect_eq(gw_backends_used(backends), 2);
    cr_expect(gw_backend_is_live(find("n1")));
}

Test(backend_set, a_successor_has_the_id_and_the_sessions)
{
    struct gw_backend *old = find("n1");

    atomic_store(&old->sessions, 5);
    atomic_store(&old->drains, GW_DRAIN_OPERATOR | GW_DRAIN_CONFIG);
    remove_now(old);
    struct gw_backend *backend = add("n1", 9);
    cr_assert(backend != old);
    cr_expect(find("n1") == backend, "the live one");
    cr_expect_eq(state_of(old), GW_BACKEND_REMOVED);
    cr_expect(atomic_load(&old->is_superseded));
    cr_expect(atomic_load(&backend->has_former));
    cr_expect(gw_backend_former(backends, backend) == old);
    cr_expect_null(gw_backend_former(backends, find("n2")));
    /* Which of both has a session is known by its id alone. */
    cr_expect_eq(atomic_load(&old->sessions), 0);
    cr_expect_eq(atomic_load(&backend->sessions), 5);
    gw_backend_count_session(backends, "n1", false, -1);
    cr_expect_eq(atomic_load(&backend->sessions), 4);
    gw_backend_count_session(backends, "nobody", false, 1);
    cr_expect_eq(atomic_load(&backend->drains), GW_DRAIN_OPERATOR,
                 "an operator's wish is about the id");
    /* Removed too, it is still the one that is meant. */
    remove_now(backend);
    cr_expect(find("n1") == backend);
    cr_expect(gw_backend_former(backends, backend) == old);
    atomic_store(&old->state, GW_BACKEND_FORGOTTEN);
    cr_expect_null(gw_backend_former(backends, backend));
}

/* A deployment that is taken back. */
Test(backend_set, the_first_address_comes_back)
{
    struct gw_backend *first = find("n1");

    remove_now(first);
    struct gw_backend *second = add("n1", 9);
    atomic_store(&second->sessions, 3);
    remove_now(second);
    struct gw_backend *again = add("n1", 1);
    cr_expect(again == first, "its sessions know it");
    cr_expect(gw_backend_is_live(first));
    cr_expect_not(atomic_load(&first->is_superseded));
    cr_expect(atomic_load(&second->is_superseded));
    cr_expect(find("n1") == first);
    cr_expect(gw_backend_former(backends, first) == second);
    cr_expect_eq(atomic_load(&first->sessions), 3);
    cr_expect_eq(gw_backends_used(backends), 3);
}

/* The same where the second is forgotten by then. */
Test(backend_set, the_first_address_comes_back_later)
{
    struct gw_backend *first = find("n1");

    remove_now(first);
    struct gw_backend *second = add("n1", 9);
    remove_now(second);
    atomic_store(&second->state, GW_BACKEND_FREE);
    cr_expect(find("n1") == first);
    cr_expect(add("n1", 1) == first);
    cr_expect_not(atomic_load(&first->is_superseded));
    cr_expect_null(gw_backend_former(backends, first));
}

Test(backend_set, of_several_former_ones_the_last)
{
    remove_now(find("n1"));
    struct gw_backend *second = add("n1", 8);
    gw_backend_remove(backends, second, 2000);
    struct gw_backend *third = add("n1", 9);
    cr_expect(gw_backend_former(backends, third) == second);
    cr_expect(find("n1") == third);
}

Test(backend_set, one_that_another_process_had)
{
    want("n1", 9);
    struct gw_backend *former =
        gw_backends_add_former(backends, &wanted, 77, error);
    cr_assert_not_null(former);
    cr_expect_eq(state_of(former), GW_BACKEND_REMOVED);
    cr_expect_eq(former->removed_ms, 77);
    cr_expect(atomic_load(&former->is_superseded));
    struct gw_backend *one = find("n1");
    cr_expect(gw_backend_is_live(one));
    cr_expect(gw_backend_former(backends, one) == former);
    want("gone", 10);
    former = gw_backends_add_former(backends, &wanted, 77, error);
    cr_expect(find("gone") == former);
    cr_expect_not(atomic_load(&former->is_superseded));
}

/* ---- what connecting tells ---- */

Test(backend_set, unreachable_since_the_first_of_a_row)
{
    struct gw_backend *one = find("n1");

    gw_backend_note_unreachable(one, 10);
    gw_backend_note_unreachable(one, 20);
    cr_expect_eq(atomic_load(&one->unreachable_since_ms), 10);
    cr_expect_eq(atomic_load(&one->failed_at_ms), 20);
    gw_backend_note_refused(one, 30);
    cr_expect_eq(atomic_load(&one->failed_at_ms), 30);
    gw_backend_note_connected(one);
    cr_expect_eq(atomic_load(&one->unreachable_since_ms), 0);
    cr_expect_eq(atomic_load(&one->failed_at_ms), 0);
}
