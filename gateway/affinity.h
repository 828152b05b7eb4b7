/* SPDX-License-Identifier: MIT */
/*
 * Affinity: which backend holds a sid. The one place that knows where that is
 * looked up (memory, then the shared store, then recovery) and how a record is
 * made, kept alive and ended. With a shared store the memory store is a cache
 * of it: what is there and fresh costs no command.
 */
#ifndef SIDGATE_GATEWAY_AFFINITY_H
#define SIDGATE_GATEWAY_AFFINITY_H

#include "eio/open.h"
#include "eio/query.h"
#include "gateway/listener.h"
#include "gateway/session_end.h"
#include "gateway/worker.h"
#include "store/store.h"

enum gw_affinity {
    GW_AFFINITY_FOUND,
    GW_AFFINITY_UNKNOWN,     /* nobody holds it: code 1 */
    GW_AFFINITY_UNAVAILABLE, /* it cannot be told now: 503 */
};

/* Where a session's owner was found. */
enum gw_owner_source {
    GW_OWNER_STORE,
    GW_OWNER_CACHE,    /* of a shared store */
    GW_OWNER_RECOVERY, /* by asking the backends */
};

/* Their words in the access log. */
extern const char *const gw_owner_sources[];

struct gw_lookup;
typedef void (*gw_lookup_fn)(struct gw_lookup *lookup, enum gw_affinity result);

/* Where a lookup's session lives, and how long it may be silent. */
struct gw_session {
    struct gw_backend *backend;
    int64_t life_ms; /* what is left of the record's life */
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;
    uint8_t transport; /* enum store_transport */
    uint8_t eio;
    uint8_t source; /* enum gw_owner_source */
    bool is_cached; /* the shared store may know better by now */
};

/* What recovery needs to ask with. All of it must live until the lookup is done
 * or cancelled. */
struct gw_lookup_about {
    const struct eio_sid *sid;
    struct eio_span path;
    struct eio_span host;
    const struct gw_peer *peer;
    uint8_t pool; /* that the request is for */
};

/* Owned by the caller; zero it first. `session` is filled when FOUND. */
struct gw_lookup {
    gw_lookup_fn done;
    void *arg;
    struct gw_session session;
    struct gw_worker *worker; /* affinity's own from here */
    struct store_request request;
    struct gw_lookup_about about;
    struct gw_recovery_wait *wait;
    bool may_recover;
};

/* Finds the owner. `done` may run before this returns. With may_recover false
 * an unbound sid is UNKNOWN at once. */
void gw_affinity_find(struct gw_worker *worker, struct gw_lookup *lookup,
                      const struct gw_lookup_about *about, bool may_recover);

/* A cached owner is dead or denies the sid: asks the shared store once more
 * and, only if that is away, the backends. The entry of the cache is dropped.
 */
void gw_affinity_find_again(struct gw_worker *worker, struct gw_lookup *lookup,
                            const struct gw_lookup_about *about);

/* `done` will not run any more. */
void gw_affinity_cancel(struct gw_lookup *lookup);

struct gw_bind;
enum gw_bind_result {
    GW_BOUND,
    GW_BIND_CONFLICT, /* another backend holds this sid and knows it */
    GW_BIND_FAILED,   /* the store did not take it, and must */
};
typedef void (*gw_bind_fn)(struct gw_bind *bind, enum gw_bind_result result);

/* Owned by the caller; zero it first. */
struct gw_bind {
    gw_bind_fn done;
    void *arg;
    struct gw_worker *worker; /* affinity's own from here */
    struct gw_backend *backend;
    struct store_request request;
    struct eio_sid sid;
    struct store_record record;
    int64_t life_ms;
    char old[STORE_BACKEND_MAX];
    unsigned takeovers; /* tried so far */
    struct gw_link
        late; /* in worker->late_binds, while a new process is told */
    uint64_t late_serial;
    int64_t late_ms;
    struct gw_ask *ask;
    char path[GW_PATH_MAX];
    char host[256];
};

/* What a new session is. */
struct gw_binding {
    struct gw_backend *backend;
    const struct eio_open *open;
    const struct gw_peer *peer;
    struct eio_span path; /* of the handshake, to ask an old owner with */
    struct eio_span host;
    uint8_t transport; /* enum store_transport */
    uint8_t eio;
};

/* False while the shared store is away and sessions must not begin without
 * it. */
bool gw_affinity_may_bind(const struct gw_worker *worker);

/* Binds a new session. A sid that is bound to another backend is taken over
 * only if that one denies it or is dead. `done` may run before this returns. */
void gw_affinity_bind(struct gw_worker *worker, struct gw_bind *bind,
                      const struct gw_binding *binding);

/* Nobody waits for the session any more: what may have been bound is taken
 * back. `done` will not run. */
void gw_affinity_bind_cancel(struct gw_bind *bind);

/* The session showed life on `transport`; renews the record when half of its
 * life is gone or its transport is another now. */
void gw_affinity_touch(struct gw_worker *worker, const struct eio_sid *sid,
                       const struct gw_session *session, uint8_t transport);

/* The session ended at `backend`: compare and delete. By the end of a tunnel
 * (is_tunnel) it ended only if its record says that this gateway has it. */
void gw_affinity_unbind(struct gw_worker *worker, const struct eio_sid *sid,
                        const struct gw_backend *backend, bool is_tunnel,
                        enum gw_end cause);

/* The backend of a record, if it is one of this pool's or of those that the
 * pool gives handshakes to; else NULL: its sessions are no matter of other
 * pools' clients. */
struct gw_backend *gw_affinity_owner(struct gw_worker *worker,
                                     const struct store_record *record,
                                     uint8_t pool);

/* Requests of the pool for this sid are answered with code 1 for a while. */
void gw_affinity_deny(struct gw_worker *worker, const struct eio_sid *sid,
                      uint8_t pool, int64_t life_ms);

/* Fills a session from a record, whose backend is given. */
void gw_session_read(struct gw_session *session,
                     const struct store_record *record,
                     struct gw_backend *backend);

/* Keeps what the shared store holds (is_written) or shall hold in the cache. No
 * more than that the sid is bound, where nothing is shared. False when memory
 * is short. */
bool gw_affinity_remember(struct gw_worker *worker, const struct eio_sid *sid,
                          const struct store_record *record, int64_t life_ms,
                          bool is_written);

/* The shared store has this sid bound to another backend than `backend`: here
 * it is dropped. */
void gw_affinity_lose(struct gw_worker *worker, struct store_key key,
                      const char *backend);

/* Takes the session out of memory and of the shared store, whichever backend
 * holds it. */
void gw_affinity_evict(struct gw_worker *worker, const struct eio_sid *sid,
                       enum gw_end cause);

/* The life of a record in ms. */
int64_t gw_affinity_life_ms(uint32_t ping_interval_ms, uint32_t ping_timeout_ms,
                            uint8_t transport);

#endif
