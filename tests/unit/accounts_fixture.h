/* SPDX-License-Identifier: MIT */
/* For tests of accounts: one table of them, and peers. */
#ifndef SIDGATE_TESTS_UNIT_ACCOUNTS_FIXTURE_H
#define SIDGATE_TESTS_UNIT_ACCOUNTS_FIXTURE_H

#include "gateway/accounts.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { NOW = 1000000 };

static struct gw_accounts *accounts;

static inline void open_accounts(uint32_t connections, uint32_t sessions,
                                 uint32_t rate)
{
    struct gw_config *config = calloc(1, sizeof(*config));
    cr_assert_not_null(config);
    config->max_connections_per_address = connections;
    config->max_sessions_per_address = sessions;
    config->handshake_rate_per_address = rate;
    cr_assert(gw_accounts_new(config, &accounts));
    free(config);
}

/* One of many, all different. */
static inline struct gw_peer peer_number(uint32_t n)
{
    struct gw_peer peer = {.family = AF_INET};
    memcpy(peer.addr, &n, sizeof(n));
    return peer;
}

/* A handshake that is over at once. */
static inline enum gw_account_verdict
handshake_of(const struct gw_peer *peer, int64_t now_ms, unsigned *retry_s)
{
    enum gw_account_verdict verdict;

    *retry_s = 0;
    verdict = gw_accounts_handshake(accounts, peer, now_ms, retry_s);
    if (verdict == GW_ACCOUNT_OK)
        gw_accounts_handshake_over(accounts, peer);
    return verdict;
}

#endif
