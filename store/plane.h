/* SPDX-License-Identifier: MIT */
/*
 * What replicas and operators tell each other through Redis, once a second:
 *
 *   <prefix>:gateway:<id>   hash: version, started (ISO 8601), turn (a count),
 *                           and for each backend a field "backend:<id>" with
 *                           "<address> sessions=<n>"; expires: the heartbeat
 *   <prefix>:gateways       set of the replicas' ids; expires
 *   <prefix>:admin          hash: <backend id> = ready | drain; never expires,
 *                           it is the operator's
 *
 * A turn reads admin, then writes the heartbeat, then reads the others. That
 * the heartbeat of the last turn is gone, or is an older one, shows that Redis
 * has lost what was written: admin was read before, so what it said in that
 * turn is not believed.
 */
#ifndef SIDGATE_STORE_PLANE_H
#define SIDGATE_STORE_PLANE_H

#include "store/link.h"

enum {
    STORE_PLANE_REPLICAS_MAX = 64,  /* others that are read in a turn */
    STORE_PLANE_BACKENDS_MAX = 256, /* of one replica */
    STORE_PLANE_FIELD_MAX = 256,    /* bytes of a field or value that is
                                       believed */
    STORE_PLANE_LIFE_MS = 10000,    /* of a heartbeat */
};

struct store_plane_backend {
    const char *id;
    const char *address;
    int64_t sessions;
};

/* All strings end in NUL, hold printable ASCII only, and live until the
 * callback returns. Within a turn the order is: on_admin and on_replica any
 * number of times, then on_turn once. */
struct store_plane_user {
    /* The operator's word on a backend. Not called in a turn that found a
     * loss. */
    void (*on_admin)(void *arg, const char *backend, bool is_drained);
    /* Another live replica and its backends. */
    void (*on_replica)(void *arg, const char *id,
                       const struct store_plane_backend *backends,
                       size_t count);
    /* is_whole: everything was read, so that what was not named is not there.
     * is_lost: Redis has lost what was written before (never in the first
     * turn that succeeds). */
    void (*on_turn)(void *arg, bool is_whole, bool is_lost);
    /* All that the operator says has been told; comes behind the last
     * on_admin. May be NULL. */
    void (*on_admin_end)(void *arg);
};

struct store_plane_options {
    struct store_link *link; /* must outlive the plane */
    const char *prefix;      /* copied, as are the next three */
    const char *id;          /* this replica's; at most 79 bytes */
    const char *version;
    int64_t started_ms; /* wall clock */
    const struct store_plane_user *user;
    void *arg;
};

struct store_plane;

/* NULL when memory is short. */
struct store_plane *store_plane_new(const struct store_plane_options *options);
void store_plane_free(struct store_plane *plane);

/* Begins a turn; `backends` are this replica's own and need live only until
 * the call returns. While the last turn is still under way, or the link does
 * not take commands, nothing is done and on_turn is not called. */
void store_plane_turn(struct store_plane *plane,
                      const struct store_plane_backend *backends, size_t count);

/* A turn is under way. */
bool store_plane_is_busy(const struct store_plane *plane);

/* Writes the operator's word on a backend; without is_newer only if there is
 * none. */
void store_plane_put_admin(struct store_plane *plane, const char *backend,
                           bool is_drained, bool is_newer);

/* Takes the heartbeat away: this replica ends. */
void store_plane_leave(struct store_plane *plane);

#endif
