/* SPDX-License-Identifier: MIT */
/*
 * This process as one of several replicas: its heartbeat, what the others and
 * the operator say of backends, the commands on the control channel. Lives in
 * the first worker.
 */
#ifndef SIDGATE_GATEWAY_REPLICA_H
#define SIDGATE_GATEWAY_REPLICA_H

#include "gateway/backend.h"
#include "store/store.h"

struct gw_server;
struct gw_worker;
struct gw_replica;

/* NULL when memory is short. */
struct gw_replica *gw_replica_new(struct gw_worker *worker);

/* The worker's loop begins. NULL is harmless here and below. */
void gw_replica_start(struct gw_replica *replica);

/* The link to the store has come up (again). */
void gw_replica_on_link(struct gw_replica *replica);

/* As in store_client_options. */
struct store_slots;
void gw_replica_on_suspect(struct gw_replica *replica,
                           const struct store_slots *slots);

/* The worker ends: the others need not wait for the heartbeat to expire. */
void gw_replica_leave(struct gw_replica *replica);
void gw_replica_free(struct gw_replica *replica);

/* A new process goes on as this replica: no more turns here, and the heartbeat
 * is left to that one. */
void gw_replica_quit(struct gw_replica *replica);

/* ---- for the control thread; harmless without a replica ---- */

/* An operator's word that came through the shared store. False: no more. */
bool gw_replica_next_drain(struct gw_replica *replica,
                           char id[GW_BACKEND_ID_MAX],
                           struct gw_drain_wish *wish);

/* One that did not: it is written there, for all replicas. */
void gw_replica_tell_drain(struct gw_server *server, const char *id,
                           const struct gw_drain_wish *wish);

/* What the health check of the backend at this place said last. */
void gw_replica_note_reason(struct gw_replica *replica, unsigned place,
                            const char *reason);

/* Another replica, as its last heartbeat has it. */
struct gw_replica_other {
    char id[STORE_GATEWAY_MAX];
    int64_t sessions;
    int64_t heard_ms; /* monotonic */
};

enum { GW_REPLICA_OTHERS_MAX = 64 };

/* All that are alive; their number. */
size_t gw_replica_others(const struct gw_server *server,
                         struct gw_replica_other out[GW_REPLICA_OTHERS_MAX]);

/* The table of backends, of which this is the generation, may have changed:
 * then others learn it soon. */
void gw_replica_note_set(struct gw_server *server, unsigned generation);

#endif
