/* SPDX-License-Identifier: MIT */
/*
 * The backends: what they are, what is known of their state. Shared by all
 * workers.
 *
 * Each has a place in one table for as long as anybody may mean it. The
 * control thread alone adds and removes; workers read, and count. A place's
 * `config` does not change while its state is not GW_BACKEND_FREE; what can
 * change is atomic.
 *
 *   FREE -> LIVE <-> REMOVED -> FORGOTTEN -> FREE
 *
 *   REMOVED    it gets no handshakes, but its sessions go on
 *   FORGOTTEN  it has none any more and is not found; workers may still be
 *              using it
 */
#ifndef SIDGATE_GATEWAY_BACKEND_H
#define SIDGATE_GATEWAY_BACKEND_H

#include "gateway/config.h"

#include <stdatomic.h>

enum gw_backend_state {
    GW_BACKEND_FREE,
    GW_BACKEND_LIVE,
    GW_BACKEND_REMOVED,
    GW_BACKEND_FORGOTTEN,
};

/* Who wants a backend to be there. */
enum gw_backend_source {
    GW_SOURCE_CONFIG,
    GW_SOURCE_DISCOVERY,
    GW_SOURCE_OPERATOR,
};

/* Why it is drained: bits, any of which does. */
enum {
    GW_DRAIN_OPERATOR = 1, /* by command or through the shared store */
    GW_DRAIN_CONFIG = 2,
};

/* What an operator wants of a backend. All zero: nothing. */
struct gw_drain_wish {
    bool is_drained;
    bool has_rate; /* else the pool's */
    bool has_timeout;
    uint32_t rate;
    uint32_t timeout_ms;
};

enum { GW_REASON_MAX = 96 };

struct gw_backend {
    atomic_int state; /* enum gw_backend_state; stays the first member */
    struct gw_backend_config own;
    const struct gw_backend_config *config; /* of `own` */
    unsigned index;
    enum gw_backend_source source;     /* the control thread's */
    uint8_t discovery;                 /* likewise: which of them found it */
    atomic_llong removed_ms;           /* when; the control thread writes it */
    atomic_bool is_superseded;         /* another LIVE one has its id now */
    atomic_bool has_former;            /* and this is such a one */
    atomic_llong former_used_ms;       /* a session was looked for here last,
                                          since it is superseded */
    atomic_uint weight;                /* 1 to 256 */
    atomic_uint max_sessions;          /* of its own; 0: the pool's */
    atomic_llong sessions;             /* bound here now */
    atomic_llong websockets;           /* of them, those on websocket */
    atomic_llong handshakes;           /* under way, not yet bound */
    atomic_llong elsewhere;            /* bound by other replicas, when they
                                          last said so */
    atomic_uint drains;                /* GW_DRAIN_... */
    atomic_bool is_unagreed;           /* some replica does not list it so */
    atomic_llong fresh_since_ms;       /* slow start began; 0: long ago */
    atomic_llong failed_at_ms;         /* last refused or failed connect; 0:
                                          none since the last that worked */
    atomic_uint refusals;              /* failed connects in a row */
    atomic_llong tls_failed_ms;        /* told of last */
    atomic_llong unreachable_since_ms; /* first of a row of connects that
                                          timed out; 0: none */

    /* Active checks (health.c writes, in the control thread). */
    atomic_bool is_down;
    char health_reason[GW_REASON_MAX]; /* of the last change; "" before */

    /* Passive ejection (eject.c). */
    atomic_llong ejected_until_ms; /* 0: it is not */
    atomic_llong readmitted_ms;    /* last */
    atomic_llong well_at_ms;       /* last good answer to a handshake */
    atomic_llong bad_since_ms;     /* a row of 5xx began; 0: there is none */
    atomic_uint failures;          /* of connects, in a row */
    atomic_uint ejections;         /* so far, without a good time between */
    atomic_uint bad_answers;       /* 5xx to handshakes, in that row */
    atomic_uint failed_clients[3]; /* hashes of those who saw a 5xx in it;
                                      0: none */

    /* Paced close of a drained backend (drain.c). */
    atomic_llong close_credit; /* sessions that workers may close now */
    atomic_bool closes_all;    /* the deadline is over */
    atomic_uint drain_share;   /* of the rate, what is this replica's: of 65536;
                                  0: as much as any other's */
    atomic_uint held[64];      /* by each worker: sessions that it could close
                                  now, and 1; 0: not counted */
    atomic_llong drain_closed; /* since it is drained */
    struct gw_drain_wish drain_wish; /* the control thread's, as the rest */
    bool is_empty_told;
    int64_t drain_since_ms;    /* 0: it is not drained */
    uint32_t drain_rate;       /* of all replicas */
    int64_t drain_deadline_ms; /* 0: none */
    int64_t drain_paid_ms;
    uint64_t drain_rest; /* millionths of a session */
};

struct gw_backends {
    atomic_uint replicas;   /* others that are alive */
    atomic_size_t used;     /* places below this may be in use */
    atomic_uint generation; /* changes whenever the ring does: who is there,
                               weights */
    struct gw_backend list[GW_BACKEND_COUNT_MAX];
};

struct gw_worker;

/* NULL when memory is short. All of the configuration's are added. */
struct gw_backends *gw_backends_new(const struct gw_config *config);
void gw_backends_free(struct gw_backends *backends);

/* NULL when no backend that is LIVE or REMOVED has this id. Any thread. */
struct gw_backend *gw_backend_find(struct gw_backends *backends,
                                   const char *id);

/* The last one that had this one's id before it, at another address, and may
 * still have sessions. NULL: none. Any thread. */
struct gw_backend *gw_backend_former(struct gw_backends *backends,
                                     const struct gw_backend *backend);

static inline size_t gw_backends_used(const struct gw_backends *backends)
{
    return atomic_load_explicit(&backends->used, memory_order_acquire);
}

static inline bool gw_backend_is_live(const struct gw_backend *backend)
{
    return atomic_load_explicit(&backend->state, memory_order_acquire) ==
           GW_BACKEND_LIVE;
}

/* LIVE or REMOVED: it may have sessions. */
static inline bool gw_backend_is_known(const struct gw_backend *backend)
{
    int state = atomic_load_explicit(&backend->state, memory_order_acquire);
    return state == GW_BACKEND_LIVE || state == GW_BACKEND_REMOVED;
}

/* Adds a backend, or makes one that was removed live again, or gives one that
 * is there this weight and maximum. The new one, or NULL with one line in
 * `error`: the table is full, the id is in use with another address (by one
 * that is LIVE: remove that first). `slow`:
 * it begins with slow start. The control thread. */
struct gw_backend *gw_backends_add(struct gw_backends *backends,
                                   const struct gw_backend_config *config,
                                   enum gw_backend_source source, bool slow,
                                   char error[256]);

/* Adds one that is REMOVED from the beginning: an earlier process has left it
 * with sessions. Where a LIVE one has its id it is superseded by that. */
struct gw_backend *
gw_backends_add_former(struct gw_backends *backends,
                       const struct gw_backend_config *config, int64_t now_ms,
                       char error[256]);

/* Whether both are one server, spoken to in the same way. */
bool gw_backend_is_same(const struct gw_backend_config *a,
                        const struct gw_backend_config *b);

/* No more handshakes; forgotten after its last session. The control thread. */
void gw_backend_remove(struct gw_backends *backends, struct gw_backend *backend,
                       int64_t now_ms);

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

/* What this replica learnt from connecting. Any worker. */
void gw_backend_note_connected(struct gw_backend *backend);
void gw_backend_note_refused(struct gw_backend *backend, int64_t now_ms);
void gw_backend_note_unreachable(struct gw_backend *backend, int64_t now_ms);

/* Told by the store of each session that comes or goes. */
void gw_backend_count_session(struct gw_backends *backends, const char *id,
                              bool is_websocket, int delta);

#endif
