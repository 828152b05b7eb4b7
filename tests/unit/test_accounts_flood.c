/* SPDX-License-Identifier: MIT */
/* Accounts of more client addresses than there may be. */
#include "tests/unit/accounts_fixture.h"

enum { FLOOD = GW_ACCOUNTS_MAX + GW_ACCOUNTS_MAX / 4 };

static bool let_in(uint32_t n)
{
    const struct gw_peer peer = peer_number(n);
    return gw_accounts_open(accounts, &peer);
}

static void leave(uint32_t n)
{
    const struct gw_peer peer = peer_number(n);
    gw_accounts_close(accounts, &peer);
}

static enum gw_account_verdict handshake(uint32_t n, int64_t now_ms)
{
    const struct gw_peer peer = peer_number(n);
    unsigned retry_s;
    return handshake_of(&peer, now_ms, &retry_s);
}

static void session(uint32_t n, int delta)
{
    const struct gw_peer peer = peer_number(n);
    char text[64];
    gw_peer_text(&peer, text, sizeof(text));
    gw_accounts_session(accounts, text, delta);
}

/* Those that only wait for their bucket go; those that hold something stay. */
Test(accounts_flood, idle_ones_go_first)
{
    open_accounts(1, 1, 1);
    for (uint32_t n = 0; n < 100; n++) {
        cr_assert(let_in(n));
        session(n + 100, 1);
    }
    for (uint32_t n = 1000; n < 1000 + FLOOD; n++) {
        cr_assert_eq(handshake(n, NOW), GW_ACCOUNT_OK);
        if (n % 4096 == 0)
            cr_assert_leq(gw_accounts_count(accounts), GW_ACCOUNTS_MAX);
    }
    cr_expect_leq(gw_accounts_count(accounts), GW_ACCOUNTS_MAX);
    cr_expect_gt(gw_accounts_count(accounts), GW_ACCOUNTS_MAX * 9 / 10);
    for (uint32_t n = 0; n < 100; n++) {
        cr_expect_not(let_in(n), "%u", n);
        cr_expect_eq(handshake(n + 100, NOW), GW_ACCOUNT_SESSIONS, "%u", n);
    }
    gw_accounts_free(accounts);
}

/* The one that was used last is not the one that goes. */
Test(accounts_flood, whoever_is_busy_keeps_his_empty_bucket)
{
    open_accounts(0, 0, 1);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(handshake(1, NOW), GW_ACCOUNT_OK);
    for (uint32_t n = 1000; n < 1000 + FLOOD; n++) {
        handshake(n, NOW);
        if (n % 4096 == 0)
            cr_assert_eq(handshake(1, NOW), GW_ACCOUNT_RATE);
    }
    gw_accounts_free(accounts);
}

/* Full buckets are not kept: new accounts take their place. */
Test(accounts_flood, full_buckets_are_let_go)
{
    size_t before;

    open_accounts(0, 0, 1);
    for (uint32_t n = 0; n < 20000; n++)
        handshake(n, NOW);
    before = gw_accounts_count(accounts);
    cr_expect_eq(before, 20000);
    for (uint32_t n = 20000; n < 40000; n++)
        handshake(n, NOW + 9000);
    cr_expect_eq(gw_accounts_count(accounts), 40000);
    for (uint32_t n = 40000; n < 80000; n++)
        handshake(n, NOW + 30000);
    /* The shards are not all hit as often. */
    cr_expect_leq(gw_accounts_count(accounts), 42000);
    gw_accounts_free(accounts);
}

/* An account that was held for long has a full bucket in the end. */
Test(accounts_flood, a_long_connection_leaves_nothing)
{
    open_accounts(1, 0, 1);
    for (uint32_t n = 0; n < 1000; n++) {
        cr_assert(let_in(n));
        handshake(n, NOW);
    }
    for (uint32_t n = 1000; n < 2000; n++)
        handshake(n, NOW + 20000);
    for (uint32_t n = 0; n < 1000; n++)
        leave(n);
    cr_expect_eq(gw_accounts_count(accounts), 1000);
    gw_accounts_free(accounts);
}

/* Which of the flood have no account, though they hold two connections; they
 * get a third. */
static uint32_t *find_uncounted(size_t *count)
{
    uint32_t *list = calloc(FLOOD, sizeof(*list));
    cr_assert_not_null(list);
    *count = 0;
    for (uint32_t n = 0; n < FLOOD; n++)
        if (let_in(n))
            list[(*count)++] = n;
    return list;
}

/* When all hold something, others are let in uncounted; what they give back
 * later is nobody else's, and not that of an account they got since. */
Test(accounts_flood, the_uncounted_take_nothing_from_accounts)
{
    size_t count;

    open_accounts(2, 0, 0);
    for (uint32_t n = 0; n < FLOOD; n++) {
        cr_assert(let_in(n));
        cr_assert(let_in(n));
    }
    cr_expect_leq(gw_accounts_count(accounts), GW_ACCOUNTS_MAX);
    uint32_t *uncounted = find_uncounted(&count);
    cr_assert_geq(count, FLOOD - GW_ACCOUNTS_MAX);
    cr_assert_eq(count + gw_accounts_count(accounts), FLOOD);

    /* The others go, and make room. */
    for (uint32_t n = 0, i = 0; n < FLOOD; n++) {
        if (i < count && uncounted[i] == n) {
            i++;
            continue;
        }
        leave(n);
        leave(n);
    }
    cr_expect_eq(gw_accounts_count(accounts), 0);

    /* Not one of them gets an account while it holds what is uncounted... */
    for (size_t i = 0; i < count; i++) {
        cr_assert(let_in(uncounted[i]));
        for (int j = 0; j < 3; j++)
            leave(uncounted[i]);
        cr_assert(let_in(uncounted[i]));
    }
    cr_expect_eq(gw_accounts_count(accounts), 0);
    for (size_t i = 0; i < count; i++) {
        leave(uncounted[i]);
        leave(uncounted[i]);
    }

    /* ...and all do afterwards. */
    for (size_t i = 0; i < count; i++) {
        cr_assert(let_in(uncounted[i]));
        cr_assert(let_in(uncounted[i]));
        cr_assert_not(let_in(uncounted[i]));
    }
    cr_expect_eq(gw_accounts_count(accounts), count);
    for (size_t i = 0; i < count; i++) {
        leave(uncounted[i]);
        leave(uncounted[i]);
    }
    cr_expect_eq(gw_accounts_count(accounts), 0);
    free(uncounted);
    gw_accounts_free(accounts);
}
