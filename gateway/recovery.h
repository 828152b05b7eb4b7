/* SPDX-License-Identifier: MIT */
/*
 * Finding the backend of a sid that this process does not know: the shared
 * store is asked, if there is one, and then every backend, with a request of
 * sidgate's own that has no effect:
 *
 *   PUT <path>?EIO=4&transport=polling&sid=<sid>
 *
 * Requests for one sid share one search. How many go on at a time, and how
 * many a second may find nothing, is bounded for each client address and in
 * all; the others wait.
 */
#ifndef SIDGATE_GATEWAY_RECOVERY_H
#define SIDGATE_GATEWAY_RECOVERY_H

#include "gateway/affinity.h"

struct gw_recovery_table;
struct gw_recovery_wait;

/* NULL when memory is short. */
struct gw_recovery_table *gw_recovery_new(struct gw_worker *worker);

/* Begins, or joins, the search for lookup->about.sid; ends with the lookup's
 * `done`, which never runs before this returns unless the search cannot even
 * begin. */
void gw_recovery_find(struct gw_worker *worker, struct gw_lookup *lookup);

/* The lookup no longer waits. */
void gw_recovery_leave(struct gw_lookup *lookup);

/* Whether any search asks this backend, or has found it. */
bool gw_recovery_uses(const struct gw_worker *worker,
                      const struct gw_backend *backend);

/* worker->config is another one now. */
void gw_recovery_configure(struct gw_worker *worker);

/* Ends all searches without telling anybody (the worker stops). */
void gw_recovery_cut(struct gw_worker *worker);
void gw_recovery_free(struct gw_recovery_table *table);

/* One question to one backend. */
struct gw_ask;

enum gw_answer {
    GW_ANSWER_OWNS,
    GW_ANSWER_DENIES,
    GW_ANSWER_DEAD,    /* nobody listens there */
    GW_ANSWER_UNCLEAR, /* an answer, but not one that says it */
    GW_ANSWER_SILENT,  /* none in time, or it could not be asked, or it said
                          that it cannot answer now (503) */
};

typedef void (*gw_ask_fn)(void *arg, struct gw_backend *backend,
                          enum gw_answer answer);

/* NULL when memory is short or no connection can be begun (then `done` is not
 * called). Else `done` runs once, later, and the ask is gone. */
struct gw_ask *gw_ask_start(struct gw_worker *worker,
                            struct gw_backend *backend,
                            const struct gw_lookup_about *about,
                            int64_t timeout_ms, gw_ask_fn done, void *arg);

/* Clears *ask; `done` will not run. */
void gw_ask_cancel(struct gw_ask **ask);

#endif
