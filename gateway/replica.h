/* SPDX-License-Identifier: MIT */
/*
 * This process as one of several replicas: its heartbeat, what the others and
 * the operator say of backends, the commands on the control channel. Lives in
 * the first worker.
 */
#ifndef SIDGATE_GATEWAY_REPLICA_H
#define SIDGATE_GATEWAY_REPLICA_H

#include <stddef.h>

struct gw_worker;
struct gw_replica;

/* NULL when memory is short. */
struct gw_replica *gw_replica_new(struct gw_worker *worker);

/* The worker's loop begins. NULL is harmless here and below. */
void gw_replica_start(struct gw_replica *replica);

/* The link to the store has come up (again). */
void gw_replica_on_link(struct gw_replica *replica);

/* The worker ends: the others need not wait for the heartbeat to expire. */
void gw_replica_leave(struct gw_replica *replica);
void gw_replica_free(struct gw_replica *replica);

#endif
