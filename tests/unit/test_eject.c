/* SPDX-License-Identifier: MIT */
/* Passive ejection. */
#include "balance_fixture.h"
#include "gateway/eject.h"

#include <sys/mman.h>
#include <unistd.h>

enum { FAILURES = 5, EJECT_MS = 1000 };

static const struct gw_peer client = {AF_INET, {192, 0, 2, 1}};
static int log_fd;

static void set_up(size_t count)
{
    begin(GW_BALANCE_LEAST_SESSIONS, count, NULL);
    config->pools[0].eject_failures = FAILURES;
    config->pools[0].eject_time_ms = EJECT_MS;
    config->pools[0].max_ejected = 50;
    log_fd = memfd_create("log", 0);
    cr_assert(log_fd >= 0 && dup2(log_fd, STDERR_FILENO) >= 0);
}

static void tear_down(void)
{
    end();
    close(log_fd);
}

/* How many lines of the log have this text. */
static size_t count_lines(const char *text)
{
    static char log[65536];
    size_t count = 0;
    ssize_t len = pread(log_fd, log, sizeof(log) - 1, 0);
    cr_assert_geq(len, 0);
    log[len] = '\0';
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static bool is_out(size_t i)
{
    return gw_eject_is(backend(i), worker->now_ms);
}

static void fail(size_t i, size_t times)
{
    for (size_t k = 0; k < times; k++)
        gw_eject_note_connect(worker, backend(i));
}

static void answer(size_t i, int status, uint8_t from)
{
    struct gw_peer peer = {AF_INET, {192, 0, 2, from}};
    gw_eject_note_status(worker, backend(i), status, &peer);
}

/* As many 5xx as are enough, of as many clients. */
static void answer_badly(size_t i)
{
    for (uint8_t k = 0; k < FAILURES; k++)
        answer(i, 500, k);
}

Test(eject, ends_a_row_of_failed_connects)
{
    set_up(3);
    fail(1, FAILURES - 1);
    cr_assert_not(is_out(1));
    fail(1, 1);
    cr_assert(is_out(1));
    cr_assert_not(is_out(0));
    cr_assert_eq(count_lines("backend_ejected"), 1);
    cr_assert_eq(count_lines("backend=n1 why=\"connect failures\" for_ms=1000"),
                 1);
    /* what was under way fails too, and makes it no longer */
    fail(1, 100);
    worker->now_ms += EJECT_MS - 1;
    cr_assert(is_out(1));
    worker->now_ms += 1;
    cr_assert_not(is_out(1));
    tear_down();
}

Test(eject, needs_them_in_a_row)
{
    set_up(3);
    for (int i = 0; i < 10; i++) {
        fail(1, FAILURES - 1);
        answer(1, i % 2 ? 200 : 404, 1);
    }
    cr_assert_not(is_out(1));
    /* a 5xx is no good answer, and a connect alone is none */
    fail(1, FAILURES - 1);
    answer(1, 503, 1);
    gw_backend_note_connected(backend(1));
    fail(1, 1);
    cr_assert(is_out(1));
    tear_down();
}

Test(eject, is_off_without_a_number)
{
    set_up(3);
    config->pools[0].eject_failures = 0;
    fail(1, 100);
    answer(0, 200, 1);
    answer_badly(1);
    cr_assert_not(is_out(1));
    tear_down();
}

Test(eject, is_noticed_to_be_over_once)
{
    set_up(3);
    fail(1, FAILURES);
    cr_assert(gw_eject_look(backend(1), worker->now_ms));
    worker->now_ms += EJECT_MS;
    for (int i = 0; i < 3; i++)
        cr_assert_not(gw_eject_look(backend(1), worker->now_ms));
    cr_assert_eq(count_lines("backend_readmitted backend=n1"), 1);
    cr_assert_eq(atomic_load(&backend(1)->ejected_until_ms), 0);
    cr_assert_eq(atomic_load(&backend(1)->fresh_since_ms), worker->now_ms);
    tear_down();
}

/* One failure more is enough then; and it is out for twice as long, up to ten
 * times. */
Test(eject, lasts_longer_each_time)
{
    static const int64_t times[] = {1, 2, 4, 8, 10, 10, 10};
    set_up(3);
    fail(1, FAILURES - 1);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        fail(1, 1);
        worker->now_ms += times[i] * EJECT_MS - 1;
        cr_assert(is_out(1), "%zu", i);
        worker->now_ms += 1;
        cr_assert_not(is_out(1), "%zu", i);
    }
    cr_assert_eq(count_lines("backend_ejected"), 7);
    cr_assert_eq(count_lines("backend_readmitted"), 6);
    tear_down();
}

Test(eject, is_forgiven_after_a_good_time)
{
    set_up(3);
    fail(1, FAILURES);
    worker->now_ms += EJECT_MS;
    answer(1, 200, 1);
    worker->now_ms += 10 * EJECT_MS - 1;
    answer(1, 200, 1);
    cr_assert_eq(atomic_load(&backend(1)->ejections), 1);
    worker->now_ms += 1;
    answer(1, 500, 1); /* not a good one */
    cr_assert_eq(atomic_load(&backend(1)->ejections), 1);
    answer(1, 101, 1);
    cr_assert_eq(atomic_load(&backend(1)->ejections), 0);
    fail(1, FAILURES);
    worker->now_ms += EJECT_MS;
    cr_assert_not(is_out(1));
    tear_down();
}

/* ---- the floor ---- */

static size_t count_out(size_t count)
{
    size_t out = 0;
    for (size_t i = 0; i < count; i++)
        out += is_out(i);
    return out;
}

Test(eject, keeps_to_the_percentage)
{
    static const struct {
        size_t count;
        uint32_t percent;
        size_t out;
    } cases[] = {
        {1, 100, 0}, {2, 0, 0},  {2, 50, 1},  {2, 100, 1},  {3, 1, 1},
        {3, 50, 1},  {4, 50, 2}, {5, 50, 2},  {10, 0, 0},   {10, 29, 2},
        {10, 30, 3}, {10, 9, 1}, {10, 99, 9}, {10, 100, 9},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        set_up(cases[c].count);
        config->pools[0].max_ejected = cases[c].percent;
        for (size_t i = 0; i < cases[c].count; i++)
            fail(i, 2 * FAILURES);
        cr_assert_eq(count_out(cases[c].count), cases[c].out, "%zu", c);
        cr_assert_eq(count_lines("backend_ejected"), cases[c].out);
        tear_down();
    }
}

/* Others that are nobody's choice do not count as left. */
Test(eject, leaves_one_to_choose)
{
    set_up(6);
    config->pools[0].max_ejected = 100;
    backend(1)->own.pool = 1;
    atomic_store(&backend(2)->is_down, true);
    atomic_store(&backend(3)->drains, GW_DRAIN_OPERATOR);
    atomic_store(&backend(4)->is_unagreed, true);
    atomic_store(&backend(5)->state, GW_BACKEND_REMOVED);
    fail(0, FAILURES);
    cr_assert_not(is_out(0));
    atomic_store(&backend(2)->is_down, false);
    fail(0, 1);
    cr_assert(is_out(0));
    fail(5, FAILURES); /* gets no handshakes anyway */
    cr_assert_not(is_out(5));
    tear_down();
}

Test(eject, makes_room_for_another_when_it_is_over)
{
    set_up(2);
    fail(0, FAILURES);
    fail(1, FAILURES);
    cr_assert(is_out(0));
    cr_assert_not(is_out(1));
    worker->now_ms += EJECT_MS;
    fail(1, 1);
    cr_assert_not(is_out(0));
    cr_assert(is_out(1));
    tear_down();
}

/* ---- 5xx ---- */

Test(eject, ends_a_row_of_5xx)
{
    set_up(3);
    answer(1, 500, 1);
    answer(0, 200, 9);
    for (uint8_t i = 2; i < FAILURES; i++)
        answer(1, 599, i);
    cr_assert_not(is_out(1));
    answer(1, 503, FAILURES);
    cr_assert(is_out(1));
    cr_assert_eq(
        count_lines("backend=n1 why=\"5xx to handshakes\" for_ms=1000"), 1);
    /* One client cannot keep it out: that takes a whole row. */
    worker->now_ms += EJECT_MS;
    answer(0, 200, 9);
    answer(1, 500, 1);
    cr_assert_not(is_out(1));
    tear_down();
}

Test(eject, needs_several_clients)
{
    set_up(3);
    answer(1, 500, 1);
    answer(0, 200, 9);
    for (int i = 0; i < 100; i++)
        answer(1, 500, (uint8_t)(i % 2));
    cr_assert_not(is_out(1));
    answer(1, 500, 2);
    cr_assert(is_out(1));
    tear_down();
}

/* A client has as many of these addresses as it likes. */
Test(eject, takes_a_network_for_one_client)
{
    set_up(3);
    answer(1, 500, 1);
    answer(0, 200, 9);
    for (uint8_t i = 0; i < 100; i++) {
        struct gw_peer peer = {AF_INET6, {0x20, 0x01, 0x0d, 0xb8}};
        peer.addr[15] = i;
        gw_eject_note_status(worker, backend(1), 500, &peer);
    }
    cr_assert_not(is_out(1));
    tear_down();
}

Test(eject, needs_no_more_clients_than_failures)
{
    set_up(3);
    config->pools[0].eject_failures = 1;
    answer(0, 200, 9);
    answer(1, 500, 1);
    cr_assert(is_out(1));
    tear_down();
}

Test(eject, needs_5xx_in_a_row)
{
    set_up(3);
    answer(0, 200, 9);
    for (uint8_t i = 0; i < 50; i++) {
        answer(1, i % FAILURES == 0 ? 400 : 500, i);
        answer(0, 200, 9);
    }
    cr_assert_not(is_out(1));
    tear_down();
}

/* What they ask for may be what fails, wherever it is asked. */
Test(eject, needs_another_that_is_well_since)
{
    set_up(4);
    backend(2)->own.pool = 1;
    atomic_store(&backend(3)->state, GW_BACKEND_REMOVED);
    answer(0, 200, 9);
    worker->now_ms += 5000;
    answer_badly(1);
    cr_assert_not(is_out(1));
    answer(0, 500, 9);
    answer(2, 200, 9); /* of another pool */
    answer(3, 200, 9); /* on its way out */
    answer_badly(1);
    cr_assert_not(is_out(1));
    answer(0, 200, 9);
    answer(1, 500, 9);
    cr_assert(is_out(1));
    tear_down();
}

/* A shared line is written once a second at most. */
Test(eject, notes_good_answers_seldom)
{
    set_up(2);
    int64_t began = worker->now_ms;
    answer(0, 200, 1);
    cr_assert_eq(atomic_load(&backend(0)->well_at_ms), began);
    worker->now_ms += 999;
    answer(0, 200, 1);
    cr_assert_eq(atomic_load(&backend(0)->well_at_ms), began);
    worker->now_ms += 1;
    answer(0, 200, 1);
    cr_assert_eq(atomic_load(&backend(0)->well_at_ms), began + 1000);
    answer(0, 500, 1);
    worker->now_ms += 5000;
    answer(0, 500, 1);
    cr_assert_eq(atomic_load(&backend(0)->well_at_ms), began + 1000);
    tear_down();
}

Test(eject, is_ended_by_a_check)
{
    set_up(3);
    gw_eject_clear(backend(1));
    cr_assert_eq(count_lines("backend_readmitted"), 0);
    fail(1, FAILURES);
    answer(1, 500, 1);
    gw_eject_clear(backend(1));
    cr_assert_not(is_out(1));
    gw_eject_clear(backend(1));
    cr_assert_eq(count_lines("backend_readmitted backend=n1"), 1);
    cr_assert_neq(atomic_load(&backend(1)->fresh_since_ms), 0);
    cr_assert_eq(atomic_load(&backend(1)->bad_answers), 0);
    fail(1, FAILURES - 1);
    cr_assert_not(is_out(1));
    fail(1, 1);
    cr_assert(is_out(1));
    gw_eject_note_connect(worker, backend(1));
    gw_eject_note_status(worker, backend(1), 200, &client);
    cr_assert_eq(atomic_load(&backend(1)->failures), 0);
    tear_down();
}
