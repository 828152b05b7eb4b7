/* SPDX-License-Identifier: MIT */
/*
 * What all workers share: the configuration, the backends' state, the memory
 * store, and the phase of the process's life.
 */
#ifndef SIDGATE_GATEWAY_SERVER_H
#define SIDGATE_GATEWAY_SERVER_H

#include "gateway/backend.h"
#include "gateway/config.h"
#include "gateway/listen_set.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdbool.h>

enum gw_phase {
    GW_PHASE_RUNNING,
    GW_PHASE_HANDED,   /* a new process is the gateway now; what could not be
                          given to it is brought to its end */
    GW_PHASE_DELAY,    /* SIGTERM came: not ready, but still accepting;
                          responses say Connection: close */
    GW_PHASE_DRAINING, /* no accepting; websockets get 1001, idle
                          connections are closed, exchanges finish */
    GW_PHASE_STOPPED,  /* what is left is cut */
};

struct gw_access_log;
struct gw_accounts;
struct gw_config_change;
struct gw_heir;
struct gw_late;
struct gw_sweep;
struct gw_denied;
struct gw_ends;
struct gw_expiries;
struct gw_shared;
struct gw_tls;
struct gw_worker;
struct store_memory;

struct gw_server {
    struct gw_config *config;        /* the current one: the control thread's; a
                                        worker has its own pointer to it */
    const struct gw_config *boot;    /* that it began with: what no reload can
                                        change may be pointed to there */
    struct gw_config_change *change; /* under way, or NULL */
    struct gw_backends *backends;
    struct gw_sweep *sweep;
    struct store_memory *memory; /* the store, or a cache of the shared one */
    struct gw_accounts *accounts;
    struct gw_denied *denied;
    struct gw_shared *shared;
    struct gw_tls *tls;
    struct gw_ends *ends;
    struct gw_expiries *expiries;
    struct gw_access_log *access_log;
    bool is_shared;    /* the store is one that several replicas share */
    bool keeps_places; /* the control thread's: an old process still means
                          backends by their places */
    atomic_bool is_handed_over;     /* to a new process: what has a name is its
                                       own */
    _Atomic(struct gw_late *) late; /* to tell it of what comes after that */
    atomic_bool has_no_heir;        /* but that one is gone */
    struct gw_heir *heir; /* what those before this process still tell; the
                             control thread's */
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
    atomic_uint streamed_bodies; /* request bodies over GW_BODY_WHOLE_MAX that
                                    are on their way */
    atomic_bool has_warned_timeout;
    atomic_uint reloads_ok; /* so far */
    atomic_uint reloads_failed;
    struct gw_listen_set listening; /* the control thread's */
};

/* NULL, with one line in `error`, when something needed cannot be had. */
struct gw_server *gw_server_new(const struct gw_config *config,
                                char error[256]);

/* Opens every listener that is not in `given` (NULL: none is), and makes the
 * workers. */
bool gw_server_open(struct gw_server *server, struct gw_listen_set *given,
                    char error[256]);

/* Starts the workers. In between is the time to give up privileges. */
bool gw_server_run(struct gw_server *server, char error[256]);

/* The port of a bound address; 0 of a unix socket. */
int gw_address_port(const struct gw_address *address);

/* Has all workers go over to another configuration, with the listeners in
 * `listening`, which gw_listen_prepare filled. Takes `config` (malloc'd) over;
 * the one before is freed by gw_server_step once no worker has it. False while
 * an earlier change is under way, or when memory is short: nothing is taken
 * then. The control thread. */
bool gw_server_configure(struct gw_server *server, struct gw_config *config,
                         struct gw_listen_set *listening);

/* What is to be done now and then. The control thread. */
void gw_server_step(struct gw_server *server);

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
int64_t gw_now_us(void);  /* likewise */
int64_t gw_wall_ms(void); /* since the epoch */

#endif
