/* SPDX-License-Identifier: MIT */
/* Servers for health checks to find, each a thread, and the checks' loop. */
#ifndef SIDGATE_TESTS_HEALTH_FIXTURE_H
#define SIDGATE_TESTS_HEALTH_FIXTURE_H

#include "gateway/health.h"

#include <openssl/ssl.h>
#include <pthread.h>

enum { PATIENCE_S = 8, HELD_MAX = 300, SEEN_MAX = 256 };

/* What a server does with a connection. */
enum server_mode {
    SERVER_ANSWERS, /* with `answer`, once it has read a request */
    SERVER_HOLDS,   /* nothing, for as long as it is in this mode */
    SERVER_CLOSES,  /* before the request is answered */
    SERVER_RESETS,
    SERVER_LINGERS, /* `answer`, and then never closes */
    SERVER_STREAMS, /* `answer`, then bytes without end */
};

struct server {
    int fd; /* that listens */
    int port;
    SSL_CTX *tls;       /* NULL: plain */
    const char *answer; /* of all that is sent, or the head of it */
    atomic_int mode;    /* enum server_mode */
    atomic_uint begun;  /* connections so far */
    atomic_uint hits;   /* of which are served, or held */
    atomic_uint open;   /* of those that are held */
    atomic_uint most;   /* of them at a time */
    atomic_bool is_over;
    pthread_t thread;
    pthread_mutex_t lock;       /* of what follows */
    char request[2048];         /* the last one */
    char name[256];             /* its SNI */
    bool has_certificate;       /* of the client */
    uint64_t seen_ms[SEEN_MAX]; /* when each came */
    int held[HELD_MAX];
    size_t held_count;
};

/* On 127.0.0.1, or ::1. */
struct server *server_start(SSL_CTX *tls, bool is_ipv6);
void server_stop(struct server *server);

/* A port on which nobody listens, and somebody who does from now on. */
int closed_port(void);
struct server *server_start_on(int port);

/* The checks. */
extern uv_loop_t loop;
extern struct gw_backends *table;
extern struct gw_config config; /* pool 0: every 20 ms, 2 good, 2 bad ones */
extern struct gw_health *health;

void health_setup(void);
void health_teardown(void);
void health_begin(void);

/* Takes place `index`. */
struct gw_backend *place(unsigned index, const char *id, int port);

/* Turns the loop until it is so; false after a while. */
typedef bool (*condition_fn)(const void *arg);
bool turn_until(condition_fn is_so, const void *arg);
void turn_for(unsigned ms);

bool goes_down(struct gw_backend *backend);
bool goes_up(struct gw_backend *backend);
/* More connections come in. */
bool gets_hits(struct server *server, unsigned more);
/* One more has just begun. */
bool begins(struct server *server);

unsigned count_descriptors(void);

#endif
