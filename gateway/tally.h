/* SPDX-License-Identifier: MIT */
/*
 * Counters of all workers and backends, summed for the API: sums that never
 * fall, also when the place of a backend is cleared for another one. The
 * control thread's.
 */
#ifndef SIDGATE_GATEWAY_TALLY_H
#define SIDGATE_GATEWAY_TALLY_H

#include "gateway/server.h"

enum gw_tally_field {
    /* of workers */
    GW_TALLY_HANDSHAKES,
    GW_TALLY_REQUESTS,
    GW_TALLY_BEGUN,
    GW_TALLY_UNKNOWN_SID,
    GW_TALLY_RECOVERIES,
    GW_TALLY_BYTES_IN,
    GW_TALLY_BYTES_OUT,
    /* of backends, in each worker */
    GW_TALLY_MISROUTES,
    GW_TALLY_ATTEMPTS,
    GW_TALLY_SUCCESSES,
    GW_TALLY_REFUSED,
    GW_TALLY_UNREACHABLE,
    GW_TALLY_STRIPPED,
    GW_TALLY_PROBE,
    GW_TALLY_CLOSED,
    GW_TALLY_FIELDS,
    GW_TALLY_FIRST_OF_BACKENDS = GW_TALLY_MISROUTES,
    GW_TALLY_OF_BACKENDS = GW_TALLY_FIELDS - GW_TALLY_FIRST_OF_BACKENDS,
};

/* What has gone from the places, and what stood there last. */
struct gw_tally_places {
    uint64_t gone[GW_TALLY_OF_BACKENDS];
    uint64_t last[GW_BACKEND_COUNT_MAX][GW_TALLY_OF_BACKENDS];
};

/* `out` gets all sums as they are now. */
void gw_tally_read(struct gw_tally_places *places,
                   const struct gw_server *server,
                   uint64_t out[GW_TALLY_FIELDS]);

/* The sum over all workers of the counter that is at `offset` in their
 * gw_metrics / in their gw_backend_metrics of one place. */
uint64_t gw_tally_sum(const struct gw_server *server, size_t offset);
uint64_t gw_tally_sum_of(const struct gw_server *server, unsigned place,
                         size_t offset);

/* Sessions that ended, by any cause. */
uint64_t gw_tally_ended(const struct gw_server *server);

/* Sessions now, of all backends. */
struct gw_tally_sessions {
    int64_t all;
    int64_t websockets;
    int64_t elsewhere;
};
struct gw_tally_sessions gw_tally_sessions(const struct gw_server *server);

#endif
