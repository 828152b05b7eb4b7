/* SPDX-License-Identifier: MIT */
/* What the parts of the replica share. Not for others. */
#ifndef SIDGATE_GATEWAY_REPLICA_PRIVATE_H
#define SIDGATE_GATEWAY_REPLICA_PRIVATE_H

#include "gateway/drain_wish.h"
#include "gateway/replica.h"
#include "gateway/worker.h"
#include "store/plane.h"

#include <netinet/in.h>

enum { GW_PLACE_ADDRESS_MAX = INET6_ADDRSTRLEN + 8 };

/* What is said of one backend in the turn that is being read. */
struct gw_said {
    struct gw_drain_wish wish;
    bool is_missing;   /* some replica does not list it, or takes it away */
    bool is_elsewhere; /* some replica lists it with another address */
    bool is_uncounted; /* some replica does not say what it holds */
    int64_t sessions;  /* at the other replicas */
    int64_t load;      /* likewise: those that were to be closed */
};

/* A place of the table of backends, as this replica tells of it. It changes
 * between two turns alone. */
struct gw_place {
    char id[GW_BACKEND_ID_MAX]; /* "": nobody's */
    char address[GW_PLACE_ADDRESS_MAX];
    struct gw_said said;
    struct gw_drain_wish wish; /* the operator's, as it was heard last */
    bool is_heard;             /* it was read, or ordered, once */
    bool is_overtaken;         /* a command came while admin was being read */
    bool is_unwritten;         /* the command is not in Redis yet */
    bool is_odd;        /* words that mean nothing, and the log said so */
    bool was_elsewhere; /* and the log said so */
    uint32_t put_tag;   /* of the command */
    int64_t ordered_ms; /* when it came, by the worker's clock; 0: what is read
                           of Redis has been newer */
    int64_t held;       /* by this replica; -1: not counted */
    int64_t closed;
};

/* For the control thread. */
struct gw_drain_news {
    bool is_new;
    char id[GW_BACKEND_ID_MAX];
    struct gw_drain_wish wish;
};

struct gw_replica {
    struct gw_worker *worker;
    struct store_plane *plane;
    struct gw_republish *republish;
    struct gw_timer turn_timer;
    struct gw_timer republish_timer;
    struct gw_place places[GW_BACKEND_COUNT_MAX];
    char why[GW_BACKEND_COUNT_MAX][GW_REASON_MAX];         /* in this turn */
    struct gw_replica_other now[STORE_PLANE_REPLICAS_MAX]; /* this turn's */
    size_t now_count;
    int64_t whole_at_ms;
    int64_t turn_at_ms; /* the last one began */
    int64_t ignored_at_ms;
    uint32_t put_tag;
    bool is_leaving;
    bool has_joined;                      /* the others know of this one */
    bool is_disagreed[GW_POOL_COUNT_MAX]; /* no backend of the pool is listed by
                                             all, and the log said so */

    /* Between the control thread and the worker's. */
    pthread_mutex_t lock;
    atomic_bool has_news;
    struct gw_drain_news news[GW_BACKEND_COUNT_MAX];
    char reasons[GW_BACKEND_COUNT_MAX][GW_REASON_MAX];
    struct gw_replica_other others[STORE_PLANE_REPLICAS_MAX]; /* last turn's;
                                                the worker alone writes it */
    size_t other_count;
    unsigned generation; /* the control thread's: of the table, last seen */
};

_Static_assert((int)GW_REPLICA_OTHERS_MAX == (int)STORE_PLANE_REPLICAS_MAX,
               "all fit");

static inline struct gw_backends *
gw_replica_backends(const struct gw_replica *replica)
{
    return replica->worker->server->backends;
}

/* Whoever may publish must not be able to fill the log: false when the last
 * line about them is too new. */
bool gw_replica_may_log(struct gw_replica *replica);

/* The next turn begins soon. */
void gw_replica_turn_soon(struct gw_replica *replica);

/* ---- replica_view.c: the backends, here and elsewhere ---- */

/* Looks who is at each place now; not while a turn is under way. */
void gw_replica_follow(struct gw_replica *replica);

/* The backend that a place is about; NULL: it has gone since. */
struct gw_backend *gw_replica_at(const struct gw_replica *replica, size_t i);

/* What this replica says of its backends; how many there are. */
size_t gw_replica_list(struct gw_replica *replica,
                       struct store_plane_backend list[GW_BACKEND_COUNT_MAX]);

/* Forgets what was said in the last turn. */
void gw_replica_reset(struct gw_replica *replica);

/* Another replica, as store_plane_user.on_replica. */
void gw_replica_hear(void *arg, const char *id,
                     const struct store_plane_backend *list, size_t count);

/* The turn is whole: draws the consequences. */
void gw_replica_conclude(struct gw_replica *replica);

/* No turn has been whole for so long that the others may be gone. */
void gw_replica_forget_others(struct gw_replica *replica);

/* ---- replica_drain.c: the operator's words ---- */

/* As in store_plane_user. */
void gw_replica_on_admin(void *arg, const char *id, const char *word);
void gw_replica_on_admin_end(void *arg);
void gw_replica_on_put(void *arg, uint32_t tag, bool is_written);

/* A turn begins: commands that are not in Redis yet are written. */
void gw_replica_begin_words(struct gw_replica *replica);

/* Redis has lost what was written: commands of the last minute are written
 * again, other drains where nothing is said of their backends. */
void gw_replica_publish_drains(struct gw_replica *replica);

/* "drain <id> ..." or "undrain <id>", of which `text` is what follows the
 * first word. NULL, or why it is ignored. */
const char *gw_replica_command(struct gw_replica *replica, const char *text,
                               size_t len, bool is_drained);

#endif
