/* SPDX-License-Identifier: MIT */
/* Counters of all workers and backends, summed for the API. */
#include "gateway/tally.h"

#include "gateway/metrics.h"
#include "gateway/session_end.h"
#include "gateway/worker.h"

#include <stddef.h>

static const size_t offsets[GW_TALLY_FIELDS] = {
    [GW_TALLY_HANDSHAKES] = offsetof(struct gw_metrics, handshakes),
    [GW_TALLY_REQUESTS] = offsetof(struct gw_metrics, requests),
    [GW_TALLY_BEGUN] = offsetof(struct gw_metrics, sessions_learned),
    [GW_TALLY_UNKNOWN_SID] = offsetof(struct gw_metrics, unknown_sid),
    [GW_TALLY_RECOVERIES] = offsetof(struct gw_metrics, routed_recovery),
    [GW_TALLY_BYTES_IN] = offsetof(struct gw_metrics, bytes_from_clients),
    [GW_TALLY_BYTES_OUT] = offsetof(struct gw_metrics, bytes_to_clients),
    [GW_TALLY_MISROUTES] = offsetof(struct gw_backend_metrics, b_unknown_sid),
    [GW_TALLY_ATTEMPTS] =
        offsetof(struct gw_backend_metrics, b_upgrade_attempts),
    [GW_TALLY_SUCCESSES] =
        offsetof(struct gw_backend_metrics, b_upgrade_successes),
    [GW_TALLY_REFUSED] =
        offsetof(struct gw_backend_metrics, b_upgrades_refused),
    [GW_TALLY_UNREACHABLE] =
        offsetof(struct gw_backend_metrics, b_upgrades_unreachable),
    [GW_TALLY_STRIPPED] =
        offsetof(struct gw_backend_metrics, b_upgrades_stripped),
    [GW_TALLY_PROBE] = offsetof(struct gw_backend_metrics, b_upgrades_probe),
    [GW_TALLY_CLOSED] = offsetof(struct gw_backend_metrics, b_upgrades_closed),
};

static uint64_t read_counter(const void *base, size_t offset)
{
    const void *counter = (const char *)base + offset;

    return atomic_load_explicit((const gw_counter *)counter,
                                memory_order_relaxed);
}

uint64_t gw_tally_sum(const struct gw_server *server, size_t offset)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < server->worker_count; i++)
        sum += read_counter(&server->workers[i]->metrics, offset);
    return sum;
}

uint64_t gw_tally_sum_of(const struct gw_server *server, unsigned place,
                         size_t offset)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < server->worker_count; i++)
        sum +=
            read_counter(&server->workers[i]->backend_metrics[place], offset);
    return sum;
}

/* One that nobody has is cleared by the workers at any time: what stood there
 * last has gone. */
static void note_place(struct gw_tally_places *places,
                       const struct gw_server *server, unsigned place)
{
    bool is_known = gw_backend_is_known(&server->backends->list[place]);

    for (size_t i = 0; i < GW_TALLY_OF_BACKENDS; i++) {
        uint64_t *last = &places->last[place][i];

        if (is_known) {
            *last = gw_tally_sum_of(server, place,
                                    offsets[GW_TALLY_FIRST_OF_BACKENDS + i]);
            continue;
        }
        places->gone[i] += *last;
        *last = 0;
    }
}

void gw_tally_read(struct gw_tally_places *places,
                   const struct gw_server *server,
                   uint64_t out[GW_TALLY_FIELDS])
{
    unsigned used = (unsigned)gw_backends_used(server->backends);

    for (size_t i = 0; i < GW_TALLY_FIRST_OF_BACKENDS; i++)
        out[i] = gw_tally_sum(server, offsets[i]);
    for (unsigned place = 0; place < used; place++)
        note_place(places, server, place);
    for (size_t i = 0; i < GW_TALLY_OF_BACKENDS; i++) {
        uint64_t *sum = &out[GW_TALLY_FIRST_OF_BACKENDS + i];

        *sum = places->gone[i];
        for (unsigned place = 0; place < used; place++)
            *sum += places->last[place][i];
    }
}

uint64_t gw_tally_ended(const struct gw_server *server)
{
    uint64_t sum = 0;

    for (int cause = 0; server->ends != NULL && cause < GW_END_COUNT; cause++)
        sum += gw_ends_count(server->ends, (enum gw_end)cause);
    return sum;
}

struct gw_tally_sessions gw_tally_sessions(const struct gw_server *server)
{
    struct gw_tally_sessions sum = {0};
    size_t used = gw_backends_used(server->backends);

    for (size_t i = 0; i < used; i++) {
        const struct gw_backend *one = &server->backends->list[i];

        if (!gw_backend_is_known(one))
            continue;
        sum.all += atomic_load(&one->sessions);
        sum.websockets += atomic_load(&one->websockets);
        sum.elsewhere += atomic_load(&one->elsewhere);
    }
    return sum;
}
