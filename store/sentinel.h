/* SPDX-License-Identifier: MIT */
/*
 * Where the master is, as Redis Sentinels say.
 *
 * One Sentinel of the list at a time is asked, on two connections: one for
 * questions, one that hears +switch-master. When one of them breaks, or the
 * Sentinel does not know the master, or does not answer in time, the next one
 * is asked; after the last one the first again, with the backoff of a link. The
 * first one is by chance.
 *
 * The question is asked anew every second while nobody has said
 * store_sentinel_settled(true), else every ten seconds, since a message may be
 * missed; also after a message that makes no sense, and once more when the
 * channel is heard. A message that makes sense is followed at once. However
 * often there is a reason, a Sentinel is asked no more than ten times a second.
 *
 * A Sentinel that is cut off from the others goes on naming a master that has
 * left. So one that names a master again which refuses is left for the next one
 * within a second, and as long as that master refuses each is asked in turn,
 * one a second. While the master takes commands nobody else is asked: that
 * there are two which do, and a Sentinel for each, is not seen from here. Redis
 * must prevent it (min-replicas-to-write).
 */
#ifndef SIDGATE_STORE_SENTINEL_H
#define SIDGATE_STORE_SENTINEL_H

#include "store/loop.h"
#include "store/url.h"

struct store_sentinel;

struct store_sentinel_options {
    struct store_loop *loop;
    const struct store_address *hosts; /* of Sentinels; copied */
    unsigned host_count;               /* 1 to STORE_URL_HOSTS_MAX */
    const char *master;                /* copied, as are the next three */
    const char *user;                  /* for Sentinels; NULL or "": none */
    const char *password;
    const char *name;
    uint32_t timeout_ms;
    /* A Sentinel says that the master is here; called when that is another
     * address than it said last, or when store_sentinel_settled(false) was
     * called since. `is_tls` is that of the hosts. May free the sentinel. */
    void (*on_master)(void *arg, const struct store_address *address);
    /* No Sentinel of the whole list could say, or none was heard for long: why
     * not the last one, in one line that names it ("Sentinel 10.0.0.1:26379:
     * connection refused", "Sentinel h:26379: it knows no master named x").
     * Told when the words differ from those told last, or a master was told
     * since, or one was heard and could say for five seconds since. May free
     * the sentinel. */
    void (*on_lost)(void *arg, const char *why);
    void *arg;
};

/* Begins in the loop's next turns. NULL when memory is short. */
struct store_sentinel *
store_sentinel_new(const struct store_sentinel_options *options);

/* NULL is harmless. */
void store_sentinel_free(struct store_sentinel *sentinel);

/* The master that was told last takes commands (true), or has left or refuses
 * (false): it is asked for at once, then every second. From within on_master,
 * false is about the master before. */
void store_sentinel_settled(struct store_sentinel *sentinel, bool is_settled);

#endif
