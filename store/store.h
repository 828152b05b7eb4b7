/* SPDX-License-Identifier: MIT */
/*
 * The map from session id to backend, as every implementation offers it.
 *
 * All calls are asynchronous in form: each ends by calling the request's
 * `done` exactly once, unless it is cancelled first. `done` MAY run before the
 * call returns (the memory store always does so), so the caller must have
 * finished with its own state before it calls. `done` may start another
 * request, also with the same struct, and may free the struct.
 *
 * A store client belongs to one thread; several clients of one map (one for
 * each worker) may be used at the same time.
 */
#ifndef SIDGATE_STORE_STORE_H
#define SIDGATE_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STORE_KEY_MAX = 256,    /* bytes of a sid; any byte values */
    STORE_BACKEND_MAX = 64, /* bytes of a backend id with its NUL */
    STORE_CLIENT_MAX = 48,  /* a client's address as text with its NUL */
    STORE_GATEWAY_MAX = 80, /* a replica's id with its NUL */
};

enum store_status {
    STORE_OK,
    STORE_NOT_FOUND,   /* get, touch, remove: no such key */
    STORE_CONFLICT,    /* put, touch, remove: bound to another backend, whose
                          record `done` receives */
    STORE_UNAVAILABLE, /* no answer within the deadline, or an error: nothing
                          is known about the key */
    STORE_FULL,        /* put: the map is at its bound and nothing in it has
                          expired */
};

/* Static text for logs. */
const char *store_status_text(enum store_status status);

struct store_key {
    const char *ptr; /* need live only until the call returns */
    size_t len;      /* 1 to STORE_KEY_MAX */
};

enum store_transport {
    STORE_TRANSPORT_POLLING,
    STORE_TRANSPORT_WEBSOCKET,
};

struct store_record {
    char backend[STORE_BACKEND_MAX];
    char client[STORE_CLIENT_MAX];
    char gateway[STORE_GATEWAY_MAX];
    int64_t created_ms; /* wall clock, since the epoch */
    int64_t seen_ms;
    uint32_t ping_interval_ms;
    uint32_t ping_timeout_ms;
    uint8_t eio; /* 3, 4, or 0 for unknown */
    uint8_t transport;
    bool is_copy; /* put: another gateway may know better: where a record of
                     the same backend stands, only its life is renewed */
};

/* What went through this process for a session. */
struct store_traffic {
    uint64_t in_bytes; /* from its client */
    uint64_t out_bytes;
    uint32_t requests;
};

struct store_request;

/* `record` and `life_ms` (the entry's remaining life) are meaningful for a
 * successful get and for STORE_CONFLICT; else record is NULL. The record lives
 * until `done` returns. */
typedef void (*store_done_fn)(struct store_request *request,
                              enum store_status status,
                              const struct store_record *record,
                              int64_t life_ms);

/* Owned by the caller; must live until `done` ran or the request was
 * cancelled. The caller sets `done` and `arg`; the rest is the store's. */
struct store_request {
    store_done_fn done;
    void *arg;
    void *pending; /* the store's; NULL when nothing is under way */
};

struct store;

/* One call for each key; each call gets what `store_list` was given. Return
 * false to stop. */
typedef bool (*store_list_fn)(void *arg, struct store_key key,
                              const struct store_record *record,
                              int64_t life_ms);

struct store_ops {
    const char *name;
    void (*put)(struct store *store, struct store_request *request,
                struct store_key key, const struct store_record *record,
                const char *replaces, int64_t life_ms);
    void (*get)(struct store *store, struct store_request *request,
                struct store_key key);
    void (*touch)(struct store *store, struct store_request *request,
                  struct store_key key, const struct store_record *record,
                  int64_t life_ms);
    void (*remove)(struct store *store, struct store_request *request,
                   struct store_key key, const char *backend,
                   const char *gateway);
    void (*cancel)(struct store *store, struct store_request *request);
    void (*close)(struct store *store);
};

/* The head of every implementation's own struct. */
struct store {
    const struct store_ops *ops;
};

/* Binds key to record->backend for life_ms (1 ms to 30 days; others are
 * clamped). Succeeds when the key is free, expired, bound to the same backend
 * already (the record is refreshed), or bound to the backend named by
 * `replaces` (NULL: none). Otherwise STORE_CONFLICT. */
static inline void store_put(struct store *store, struct store_request *request,
                             struct store_key key,
                             const struct store_record *record,
                             const char *replaces, int64_t life_ms)
{
    store->ops->put(store, request, key, record, replaces, life_ms);
}

/* Finds the record of `key`. Never creates anything. */
static inline void store_get(struct store *store, struct store_request *request,
                             struct store_key key)
{
    store->ops->get(store, request, key);
}

/* Renews the life of `key` and its transport, seen and (unless empty) gateway
 * fields, if it is bound to record->backend. A shared store leaves transport
 * and gateway as they are where another gateway has the session's websocket. */
static inline void store_touch(struct store *store,
                               struct store_request *request,
                               struct store_key key,
                               const struct store_record *record,
                               int64_t life_ms)
{
    store->ops->touch(store, request, key, record, life_ms);
}

/* Removes `key` if it is bound to `backend`; with a gateway (not NULL) a shared
 * store does so only if the record is that gateway's. */
static inline void store_remove(struct store *store,
                                struct store_request *request,
                                struct store_key key, const char *backend,
                                const char *gateway)
{
    store->ops->remove(store, request, key, backend, gateway);
}

/* Makes sure that `done` will not run; what was asked for may still happen in
 * the map. Harmless when nothing is under way. */
static inline void store_cancel(struct store *store,
                                struct store_request *request)
{
    if (request->pending != NULL)
        store->ops->cancel(store, request);
}

/* Ends this client. Requests under way are cancelled. */
static inline void store_close(struct store *store)
{
    store->ops->close(store);
}

#endif
