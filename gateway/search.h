/* SPDX-License-Identifier: MIT */
/*
 * One search for the backend of a sid that this process does not know.
 * Private to recovery.c, which says when a search may go on, and search.c,
 * which carries it out.
 *
 *   WAITING   its client address has used up its budget of lookups
 *   READING   the shared store is asked
 *   QUEUED    waits for a place to ask the backends, and for the right to
 *   ASKING    holds such a place
 *   PARKED    some backend is silent; the place is another's
 *   BINDING   the owner is known; the store is being told
 */
#ifndef SIDGATE_GATEWAY_SEARCH_H
#define SIDGATE_GATEWAY_SEARCH_H

#include "gateway/payer.h"
#include "gateway/recovery.h"

enum gw_search_state {
    GW_SEARCH_WAITING,
    GW_SEARCH_READING,
    GW_SEARCH_QUEUED,
    GW_SEARCH_ASKING,
    GW_SEARCH_PARKED,
    GW_SEARCH_BINDING,
};

enum { GW_SEARCH_BUCKETS = 4096 };

struct gw_recovery_wait {
    struct gw_recovery_wait *next;
    struct gw_lookup *lookup; /* NULL: it left */
    struct gw_search *search; /* NULL: no longer among its waits */
};

struct gw_search {
    struct gw_grave grave;
    struct gw_link link;    /* in its payer's waiting or queued list */
    struct gw_search *next; /* in the table's bucket */
    struct gw_worker *worker;
    struct gw_payer *payer;
    enum gw_search_state state;
    struct gw_recovery_wait *waits;
    unsigned waiters; /* of these, who have not left */
    struct gw_timer deadline;
    struct gw_timer settle;
    struct store_request request;
    struct store_record record; /* as read, or as it is written */
    int64_t life_ms;            /* likewise */
    struct gw_backend *owner;
    unsigned owners;
    unsigned pending;    /* asks under way */
    bool has_read_token; /* of its address */
    bool has_ask_token;  /* of its address, and of that of all addresses */
    bool is_store_silent;
    bool is_blind;      /* some backend could not be asked, or was silent */
    bool is_unclear;    /* or gave an answer that does not say it */
    uint8_t pool;       /* whose backends are asked */
    unsigned ask_count; /* of asks[] */
    struct eio_sid sid;
    struct gw_peer peer;
    char path[GW_PATH_MAX];
    char host[256];
    struct gw_ask *asks[]; /* [ask_count], by the backends' places */
};

struct gw_recovery_table {
    struct gw_worker *worker;
    struct gw_search *buckets[GW_SEARCH_BUCKETS];
    struct gw_payers payers;
    struct gw_bucket total; /* of tokens for asking, over all addresses */
    struct gw_timer refill; /* while somebody waits for a token */
    unsigned asking_count;
    unsigned parked_count;
    unsigned count;
    uint32_t seed;
    bool is_serving;
};

/* recovery.c: the only function that changes a search's state. */
void gw_search_enter(struct gw_search *search, enum gw_search_state state);

/* recovery.c: the search has left a place, or got to QUEUED. */
void gw_recovery_serve(struct gw_recovery_table *table);

/* recovery.c: takes the search out of everything; the waits are the caller's.
 * `is_found` gives its tokens back. */
struct gw_recovery_wait *gw_search_dismiss(struct gw_search *search,
                                           bool is_found);

/* recovery.c: whether one more may be PARKED. */
bool gw_recovery_may_park(const struct gw_recovery_table *table);

/* search.c: begins, once there is a token. */
void gw_search_read(struct gw_search *search);
/* search.c: goes on, once there is a place. */
void gw_search_ask(struct gw_search *search);
/* search.c: ends it and tells those who wait. */
void gw_search_conclude(struct gw_search *search, enum gw_affinity result);
void gw_search_stop_asking(struct gw_search *search);

#endif
