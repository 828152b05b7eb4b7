/* SPDX-License-Identifier: MIT */
/*
 * What replicas and operators tell each other through Redis, once a second:
 *
 *   <prefix>:gateway:<id>   hash: version, started (ISO 8601), turn (a count),
 *                           and for each backend a field "backend:<id>" with
 *                           "<address> sessions=<n> state=<word>" and perhaps
 *                           " held=<n> closed=<n>" and " why=<reason>";
 *                           expires: the heartbeat
 *   <prefix>:gateways       set of the replicas' ids; expires
 *   <prefix>:admin          hash: <backend id> = ready | drain, or "drain " and
 *                           how; never expires, it is the operator's
 *   <prefix>:epoch          string: a name for this time without a loss, at
 *                           most 63 bytes, set by the first replica that finds
 *                           none; never expires. In a cluster its name is
 *                           <prefix>:epoch:{<prefix>:admin}: it is where admin
 *                           is, whose loss it shows
 *
 * A turn reads admin, then the epoch, then writes the heartbeat, then reads the
 * others. These show that Redis has lost what was written:
 *
 *   - the epoch seen last is gone, or is another one (emptied)
 *   - the heartbeat is older than the last one (an old snapshot)
 *   - the node's run_id is not that of the last turn (a new start, failover);
 *     in a cluster store_plane_suspect says so
 *
 * Admin was read before, so what it said in that turn is not believed. A
 * heartbeat that is merely missing shows nothing: it expires while this replica
 * stands still or is cut off. Where no epoch can be read (wrong type, no
 * permission, junk), what is known of it stays as it is until one can.
 */
#ifndef SIDGATE_STORE_PLANE_H
#define SIDGATE_STORE_PLANE_H

#include "store/client.h"

enum {
    STORE_PLANE_REPLICAS_MAX = 64,  /* others that are read in a turn; of more,
                                       some by chance */
    STORE_PLANE_BACKENDS_MAX = 256, /* of one replica; others are left out */
    STORE_PLANE_FIELD_MAX = 256,    /* bytes of a field or value that is
                                       believed */
    STORE_PLANE_LIFE_MS = 10000,    /* of a heartbeat */
    STORE_PLANE_WORD_MAX = 64,      /* the operator's on a backend, with NUL */
    STORE_PLANE_STATE_MAX = 16,     /* a word for a state, with NUL */
    STORE_PLANE_PUTS_MAX = 32,      /* under way at a time */
};

struct store_plane_backend {
    const char *id;
    const char *address;
    int64_t sessions;
    int64_t held;      /* those that the replica could close now; less than 0:
                          not counted, and not written */
    int64_t closed;    /* that it has closed since the backend is drained;
                          written along with `held` */
    const char *state; /* NULL to write none; "" when none was read */
    const char *why;   /* likewise; its spaces are written as '_' */
};

/* All strings end in NUL and live until the callback returns; what comes from
 * Redis is printable ASCII. Within a turn the order is: on_replica any number
 * of times, then on_admin, then on_admin_end, then on_turn once. Each may free
 * the plane; only within on_turn may the next turn begin. */
struct store_plane_user {
    /* The operator's word on a backend; called for each of those that were
     * given to store_plane_turn, in their order. "" where there is none, or
     * another than "drain" and what follows it behind a space; "drain ?" when
     * that is too long or not printable. Not called in a turn in which admin
     * could not be read (wrong type, no answer) or that was not shown to be
     * without a loss. */
    void (*on_admin)(void *arg, const char *backend, const char *word);
    /* Another live replica and its backends. A member of the set without a
     * heartbeat, or with something else in its place, is not told of, and is
     * taken out of the set. */
    void (*on_replica)(void *arg, const char *id,
                       const struct store_plane_backend *backends,
                       size_t count);
    /* is_whole: everything about the others was read, so that a replica that
     * was not named is not there (if there are no more than
     * STORE_PLANE_REPLICAS_MAX). It says nothing of admin or the heartbeat.
     * is_lost: Redis has lost what was written before. Told once for each loss,
     * in a turn whose heartbeat was answered and while the link takes commands,
     * never in the first turn that succeeds. */
    void (*on_turn)(void *arg, bool is_whole, bool is_lost);
    /* All that the operator says has been told; comes behind the last
     * on_admin, also where there are no backends. May be NULL. */
    void (*on_admin_end)(void *arg);
    /* What store_plane_put_admin was to write is written, or is not. May be
     * NULL. */
    void (*on_put)(void *arg, uint32_t tag, bool is_written);
};

struct store_plane_options {
    struct store_client *client; /* must outlive the plane */
    const char *prefix;          /* copied, as are the next three */
    const char *id;              /* this replica's; at most 79 bytes */
    const char *version;
    int64_t started_ms; /* wall clock */
    const struct store_plane_user *user;
    void *arg;
};

struct store_plane;

/* NULL when memory is short. */
struct store_plane *store_plane_new(const struct store_plane_options *options);
void store_plane_free(struct store_plane *plane);

/* Begins a turn; `backends` are this replica's own. The array need live only
 * until the call returns, their ids until the turn ends (they are the
 * configuration's). While the last turn is still under way, or the link does
 * not take commands, nothing is done and on_turn is not called. */
void store_plane_turn(struct store_plane *plane,
                      const struct store_plane_backend *backends, size_t count);

/* A turn is under way. */
bool store_plane_is_busy(const struct store_plane *plane);

/* Writes the operator's word on a backend. False, and on_put is not called,
 * when the link does not take it now or too many are under way. */
bool store_plane_put_admin(struct store_plane *plane, const char *backend,
                           const char *word, uint32_t tag);

/* The same, if there is none; nobody is told whether it was done. */
void store_plane_keep_admin(struct store_plane *plane, const char *backend,
                            const char *word);

/* What was written last to these slots may be lost: if admin is among them,
 * what it says next is not believed, and on_turn tells of a loss. */
void store_plane_suspect(struct store_plane *plane,
                         const struct store_slots *slots);

/* Within on_turn: the slots that the loss is about, all that are where the
 * epoch or the heartbeat is; none, where it was only suspected. */
void store_plane_slots(const struct store_plane *plane,
                       struct store_slots *slots);

/* Takes the heartbeat away: this replica ends. */
void store_plane_leave(struct store_plane *plane);

#endif
