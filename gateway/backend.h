/* SPDX-License-Identifier: MIT */
/*
 * The backends: their addresses, what is known of their state, and the choice
 * of one for a handshake. Shared by all workers; the changing fields are
 * atomics.
 */
#ifndef SIDGATE_GATEWAY_BACKEND_H
#define SIDGATE_GATEWAY_BACKEND_H

#include "gateway/config.h"

#include <stdatomic.h>

struct gw_backend {
    const struct gw_backend_config *config;
    unsigned index;
    atomic_llong sessions;      /* bound here now */
    atomic_llong handshakes;    /* under way, not yet bound */
    atomic_llong elsewhere;     /* bound by other replicas, when they last
                                   said so */
    atomic_bool is_drained;     /* an operator wants no handshakes here */
    atomic_bool is_unagreed;    /* some replica does not list it so */
    atomic_llong failed_at_ms;  /* last refused or failed connect; 0: none
                                    since the last one that worked */
    atomic_llong tls_failed_ms; /* told of last, so that a log stays readable */
    atomic_llong unreachable_since_ms; /* first of a row of connects that
                                          timed out; 0: none */
};

struct gw_backends {
    const struct gw_config *config;
    atomic_uint replicas; /* others that are alive */
    size_t count;
    struct gw_backend list[];
};

/* NULL when memory is short. `config` must outlive it. */
struct gw_backends *gw_backends_new(const struct gw_config *config);
void gw_backends_free(struct gw_backends *backends);

/* NULL when no backend has this id. */
struct gw_backend *gw_backend_find(struct gw_backends *backends,
                                   const char *id);

/* Which backends an exchange has tried already. */
struct gw_backend_set {
    uint64_t bits[GW_BACKEND_COUNT_MAX / 64];
};

static inline bool gw_backend_set_has(const struct gw_backend_set *set,
                                      unsigned i)
{
    return (set->bits[i / 64] >> (i % 64)) & 1;
}

static inline void gw_backend_set_add(struct gw_backend_set *set, unsigned i)
{
    set->bits[i / 64] |= 1ULL << (i % 64);
}

struct gw_worker;

/* The backend for a handshake, or for a request outside the Engine.IO paths,
 * by the configured balance, among those not in `tried`, neither drained nor
 * unknown to another replica; backends that refused a connection within the
 * last second only when there is no other. NULL when there is none left. */
struct gw_backend *gw_backend_choose(struct gw_worker *worker,
                                     const struct gw_backend_set *tried);

/* What this replica learnt from connecting. */
void gw_backend_note_connected(struct gw_backend *backend);
void gw_backend_note_refused(struct gw_backend *backend, int64_t now_ms);
void gw_backend_note_unreachable(struct gw_backend *backend, int64_t now_ms);

/* Told by the store of each session that comes or goes. */
void gw_backend_count_session(void *backends, const char *id, int delta);

#endif
