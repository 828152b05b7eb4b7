/* SPDX-License-Identifier: MIT */
/*
 * Host names to addresses, without blocking the worker: a thread of its own
 * asks the system's resolver and posts what it found.
 */
#ifndef SIDGATE_GATEWAY_RESOLVE_H
#define SIDGATE_GATEWAY_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { GW_RESOLVED_MAX = 4 };

struct gw_resolved {
    struct sockaddr_storage addr[GW_RESOLVED_MAX];
    socklen_t len[GW_RESOLVED_MAX];
    unsigned count; /* 0: `why` says what was wrong */
    char why[80];
};

struct gw_worker;
struct gw_resolve;

/* An address that is written as one: at once. False for a name. */
bool gw_resolve_literal(const char *host, uint16_t port,
                        struct gw_resolved *out);

/* Asks the system and waits for it: for a thread that may. */
void gw_resolve_wait(const char *host, uint16_t port, struct gw_resolved *out);

/* Begins to connect to one of them, without waiting for it. The descriptor,
 * which is the caller's; -1 with errno. */
int gw_resolved_connect(const struct gw_resolved *found, unsigned i);

/* A detached thread that gets no signals: for questions to the system. 0, or an
 * error number. */
int gw_resolve_thread(void *(*run)(void *arg), void *arg);

typedef void (*gw_resolve_fn)(void *arg, const struct gw_resolved *found);

/* `done` runs in the worker's thread, later and once. NULL when no thread can
 * be had. */
struct gw_resolve *gw_resolve_start(struct gw_worker *worker, const char *host,
                                    uint16_t port, gw_resolve_fn done,
                                    void *arg);

/* `done` will not run. Clears *which; NULL is harmless. */
void gw_resolve_cancel(struct gw_resolve **which);

#endif
