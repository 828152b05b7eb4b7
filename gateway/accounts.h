/* SPDX-License-Identifier: MIT */
/*
 * What each client address has taken: connections, sessions, handshakes. One
 * table for all workers, in shards with a lock each; nothing is asked of it
 * where no limit for an address is configured. An address has an account only
 * while it holds something or its bucket is not full; with GW_ACCOUNTS_MAX of
 * them, those that only wait for their bucket go first, and when all hold
 * something a further address is let in uncounted.
 */
#ifndef SIDGATE_GATEWAY_ACCOUNTS_H
#define SIDGATE_GATEWAY_ACCOUNTS_H

#include "gateway/config.h"
#include "gateway/peer.h"

enum { GW_ACCOUNTS_MAX = 1 << 18 };

struct gw_accounts;

/* *accounts is NULL when no limit for an address is configured; the calls below
 * then do nothing and allow everything. False when memory is short or the
 * system has no randomness. */
bool gw_accounts_new(const struct gw_config *config,
                     struct gw_accounts **accounts);

/* The limits are others now. One that was 0 at the start stays so. */
void gw_accounts_configure(struct gw_accounts *accounts,
                           const struct gw_config *config);
void gw_accounts_free(struct gw_accounts *accounts);

/* How many accounts there are now. */
size_t gw_accounts_count(struct gw_accounts *accounts);

/* One connection more: false, and not counted, when that is too many. Each true
 * is followed by one gw_accounts_close with the same peer. Peers without an
 * address are never limited. Any thread; so are all below. */
bool gw_accounts_open(struct gw_accounts *accounts, const struct gw_peer *peer);
void gw_accounts_close(struct gw_accounts *accounts,
                       const struct gw_peer *peer);

enum gw_account_verdict {
    GW_ACCOUNT_OK,
    GW_ACCOUNT_RATE,     /* too many handshakes a second */
    GW_ACCOUNT_SESSIONS, /* too many sessions */
};

/* A handshake is asked for: takes a token of the bucket unless it is refused;
 * *retry_s then says when it may come again, at least 1. One that is not counts
 * as a session until gw_accounts_handshake_over, which follows once. */
enum gw_account_verdict gw_accounts_handshake(struct gw_accounts *accounts,
                                              const struct gw_peer *peer,
                                              int64_t now_ms,
                                              unsigned *retry_s);

void gw_accounts_handshake_over(struct gw_accounts *accounts,
                                const struct gw_peer *peer);

/* A session of this address (as text, as records have it) has begun (1) or
 * ended (-1); texts that are no address are not counted. May be called under a
 * lock of the store. */
void gw_accounts_session(struct gw_accounts *accounts, const char *client,
                         int delta);

#endif
