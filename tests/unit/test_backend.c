/* SPDX-License-Identifier: MIT */
/* What is known of a backend's state. */
#include "balance_fixture.h"

Test(backend, is_found_by_its_id)
{
    begin(GW_BALANCE_ROUND_ROBIN, 12, NULL);
    for (unsigned i = 0; i < 12; i++) {
        cr_assert_eq(backend(i)->index, i);
        cr_assert_eq(gw_backend_find(server->backends, backend(i)->config->id),
                     backend(i));
    }
    cr_assert_null(gw_backend_find(server->backends, "n12"));
    cr_assert_null(gw_backend_find(server->backends, "n"));
    cr_assert_null(gw_backend_find(server->backends, ""));
    gw_backend_count_session(server->backends, "n3", false, 1);
    gw_backend_count_session(server->backends, "n3", false, 1);
    gw_backend_count_session(server->backends, "n3", false, -1);
    gw_backend_count_session(server->backends, "gone", false, 1);
    for (unsigned i = 0; i < 12; i++)
        cr_assert_eq(atomic_load(&backend(i)->sessions), i == 3);
    end();
}

Test(backend, set_holds_every_index)
{
    struct gw_backend_set set = {{0}};
    for (unsigned i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        cr_assert_not(gw_backend_set_has(&set, i));
        gw_backend_set_add(&set, i);
        cr_assert(gw_backend_set_has(&set, i));
        for (unsigned k = i + 1; k < GW_BACKEND_COUNT_MAX; k++)
            cr_assert_not(gw_backend_set_has(&set, k));
    }
}

Test(backend, has_failed_until_it_answers_again)
{
    begin(GW_BALANCE_ROUND_ROBIN, 2, NULL);
    gw_backend_note_refused(backend(0), worker->now_ms);
    cr_assert_eq(atomic_load(&backend(0)->failed_at_ms), worker->now_ms);
    cr_assert_eq(atomic_load(&backend(0)->unreachable_since_ms), 0);
    gw_backend_note_unreachable(backend(0), worker->now_ms);
    gw_backend_note_connected(backend(0));
    cr_assert_eq(atomic_load(&backend(0)->failed_at_ms), 0);
    cr_assert_eq(atomic_load(&backend(0)->unreachable_since_ms), 0);
    end();
}

Test(backend, is_silent_since_the_first_time)
{
    begin(GW_BALANCE_ROUND_ROBIN, 2, NULL);
    gw_backend_note_unreachable(backend(0), 5000);
    gw_backend_note_unreachable(backend(0), 9000);
    cr_assert_eq(atomic_load(&backend(0)->unreachable_since_ms), 5000);
    gw_backend_note_connected(backend(0));
    gw_backend_note_unreachable(backend(0), 11000);
    cr_assert_eq(atomic_load(&backend(0)->unreachable_since_ms), 11000);
    end();
}
