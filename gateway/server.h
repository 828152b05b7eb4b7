/* SPDX-License-Identifier: MIT */
/*
 * What all workers share: the configuration, the backends' state, the memory
 * store, and the phase of the process's life.
 */
#ifndef SIDGATE_GATEWAY_SERVER_H
#define SIDGATE_GATEWAY_SERVER_H

#include "gateway/backend.h"
#include "gateway/config.h"
#include "gateway/listener.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdbool.h>

enum gw_phase {
    GW_PHASE_RUNNING,
    GW_PHASE_DELAY,    /* SIGTERM came: not ready, but still accepting;
                          responses say Connection: close */
    GW_PHASE_DRAINING, /* no accepting; websockets get 1001, idle
                          connections are closed, exchanges finish */
    GW_PHASE_STOPPED,  /* what is left is cut */
};

struct gw_accounts;
struct gw_denied;
struct gw_shared;
struct gw_tls;
struct gw_worker;
struct store_memory;

struct gw_server {
    struct gw_config config;
    struct gw_backends *backends;
    struct store_memory *memory;  /* the store, or a cache of the shared one */
    struct gw_accounts *accounts; /* NULL: no limits for an address */
    struct gw_denied *denied;
    struct gw_shared *shared;
    struct gw_tls *tls; /* NULL: nobody speaks it */
    bool is_shared;     /* the store is one that several replicas share */
    char gateway_id[STORE_GATEWAY_MAX]; /* the name, and what is new with each
                                           start */
    struct gw_worker *workers[64];
    unsigned worker_count;
    int64_t kick_second; /* of gw_kick: when, and how many by then */
    unsigned kick_count;
    int64_t started_s;           /* wall clock */
    atomic_int phase;            /* enum gw_phase */
    atomic_uint busy_workers;    /* worker threads that still run */
    atomic_ullong open_count;    /* client connections and tunnels */
    uint64_t open_max;           /* of them */
    atomic_uint streamed_bodies; /* request bodies over GW_BODY_WHOLE_MAX that
                                    are on their way */
    atomic_bool has_warned_timeout;
    struct gw_held held[GW_LISTEN_COUNT_MAX];
};

/* NULL, with one line in `error`, when something needed cannot be had. */
struct gw_server *gw_server_new(const struct gw_config *config,
                                char error[256]);

/* Opens every listener (after a trial bind, since SO_REUSEPORT would let a
 * second gateway share the port silently). */
bool gw_server_open(struct gw_server *server, char error[256]);

/* Starts the workers. In between is the time to give up privileges. */
bool gw_server_run(struct gw_server *server, char error[256]);

/* The port that listener `i` got. */
int gw_server_port(const struct gw_server *server, size_t i);

/* Moves to a later phase and tells the workers. */
void gw_server_advance(struct gw_server *server, enum gw_phase phase);

/* The Prometheus text; malloc'd. NULL when memory is short. */
char *gw_server_metrics(struct gw_server *server, size_t *len);

/* Waits for the workers' threads; the phase must be GW_PHASE_DRAINING or
 * later. */
void gw_server_join(struct gw_server *server);

/* Frees everything; the workers have been joined, or never started. */
void gw_server_free(struct gw_server *server);

int64_t gw_now_ms(void);  /* monotonic */
int64_t gw_wall_ms(void); /* since the epoch */

#endif
