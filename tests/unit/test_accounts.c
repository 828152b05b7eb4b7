/* SPDX-License-Identifier: MIT */
/* What each client address has taken. */
#include "tests/unit/accounts_fixture.h"

static struct gw_peer peer_of(const char *text)
{
    struct gw_peer peer;
    cr_assert(gw_peer_parse((struct eio_span){text, strlen(text)}, &peer), "%s",
              text);
    return peer;
}

static bool let_in(const char *text)
{
    const struct gw_peer peer = peer_of(text);
    return gw_accounts_open(accounts, &peer);
}

static void leave(const char *text)
{
    const struct gw_peer peer = peer_of(text);
    gw_accounts_close(accounts, &peer);
}

static enum gw_account_verdict handshake(const char *text, int64_t now_ms,
                                         unsigned *retry_s)
{
    const struct gw_peer peer = peer_of(text);
    return handshake_of(&peer, now_ms, retry_s);
}

/* How many handshakes are let through before one is refused. */
static unsigned drain(const char *text, int64_t now_ms)
{
    unsigned retry_s;
    unsigned count = 0;
    while (count < 100000 && handshake(text, now_ms, &retry_s) == GW_ACCOUNT_OK)
        count++;
    return count;
}

/* ---- limits ---- */

Test(accounts, nothing_is_kept_without_a_limit)
{
    struct gw_peer peer = peer_number(1);
    unsigned retry_s;

    open_accounts(0, 0, 0);
    cr_assert_null(accounts);
    cr_expect(gw_accounts_open(NULL, &peer));
    gw_accounts_close(NULL, &peer);
    gw_accounts_session(NULL, "192.0.2.1", 1);
    cr_expect_eq(gw_accounts_handshake(NULL, &peer, NOW, &retry_s),
                 GW_ACCOUNT_OK);
    cr_expect_eq(gw_accounts_count(NULL), 0);
    gw_accounts_free(NULL);
}

/* A limit that is not set takes no account either. */
Test(accounts, other_limits_are_not_counted_for)
{
    unsigned retry_s;

    open_accounts(0, 0, 1);
    cr_expect(let_in("192.0.2.1"));
    gw_accounts_session(accounts, "192.0.2.1", 1);
    cr_expect_eq(gw_accounts_count(accounts), 0);
    gw_accounts_free(accounts);

    open_accounts(1, 0, 0);
    gw_accounts_session(accounts, "192.0.2.1", 1);
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_OK);
    cr_expect_eq(gw_accounts_count(accounts), 0);
    gw_accounts_free(accounts);
}

Test(accounts, connections_of_one_address)
{
    open_accounts(2, 0, 0);
    cr_expect(let_in("192.0.2.1"));
    cr_expect(let_in("192.0.2.1"));
    cr_expect_not(let_in("192.0.2.1"));
    cr_expect_not(let_in("192.0.2.1"), "a refused one must not be counted");
    cr_expect(let_in("192.0.2.2"));
    leave("192.0.2.1");
    cr_expect(let_in("192.0.2.1"));
    cr_expect_not(let_in("192.0.2.1"));
    leave("192.0.2.1");
    leave("192.0.2.1");
    leave("192.0.2.2");
    cr_expect_eq(gw_accounts_count(accounts), 0);
    gw_accounts_free(accounts);
}

Test(accounts, closing_too_often_does_not_underflow)
{
    unsigned retry_s;

    open_accounts(1, 1, 0);
    leave("192.0.2.1");
    gw_accounts_session(accounts, "192.0.2.1", -1);
    cr_expect_eq(gw_accounts_count(accounts), 0);
    cr_expect(let_in("192.0.2.1"));
    cr_expect_not(let_in("192.0.2.1"));
    /* The account is there, but holds no session. */
    gw_accounts_session(accounts, "192.0.2.1", -1);
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_OK);
    cr_expect_not(let_in("192.0.2.1"));
    gw_accounts_session(accounts, "192.0.2.1", 1);
    leave("192.0.2.1");
    leave("192.0.2.1");
    cr_expect(let_in("192.0.2.1"));
    cr_expect_not(let_in("192.0.2.1"));
    gw_accounts_free(accounts);
}

/* Handshakes at once cannot be more than the sessions they may become. */
Test(accounts, handshakes_under_way_count_as_sessions)
{
    const struct gw_peer peer = peer_of("192.0.2.1");
    unsigned retry_s = 0;

    open_accounts(0, 2, 0);
    for (int i = 0; i < 2; i++)
        cr_expect_eq(gw_accounts_handshake(accounts, &peer, NOW, &retry_s),
                     GW_ACCOUNT_OK);
    cr_expect_eq(gw_accounts_handshake(accounts, &peer, NOW, &retry_s),
                 GW_ACCOUNT_SESSIONS);
    gw_accounts_session(accounts, "192.0.2.1", 1);
    gw_accounts_handshake_over(accounts, &peer);
    cr_expect_eq(gw_accounts_handshake(accounts, &peer, NOW, &retry_s),
                 GW_ACCOUNT_SESSIONS);
    gw_accounts_handshake_over(accounts, &peer);
    cr_expect_eq(gw_accounts_handshake(accounts, &peer, NOW, &retry_s),
                 GW_ACCOUNT_OK);
    gw_accounts_handshake_over(accounts, &peer);
    gw_accounts_session(accounts, "192.0.2.1", -1);
    cr_expect_eq(gw_accounts_count(accounts), 0);
    gw_accounts_free(accounts);
}

Test(accounts, sessions_of_one_address)
{
    unsigned retry_s;

    open_accounts(0, 2, 0);
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_OK);
    gw_accounts_session(accounts, "192.0.2.1", 1);
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_OK);
    gw_accounts_session(accounts, "192.0.2.1", 1);
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_SESSIONS);
    cr_expect_geq(retry_s, 1);
    cr_expect_eq(handshake("192.0.2.2", NOW, &retry_s), GW_ACCOUNT_OK);
    gw_accounts_session(accounts, "192.0.2.1", -1);
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_OK);
    gw_accounts_session(accounts, "192.0.2.1", -1);
    cr_expect_eq(gw_accounts_count(accounts), 0);
    gw_accounts_free(accounts);
}

/* Records come from a store that anybody may have written to. */
Test(accounts, sessions_of_no_address_are_not_counted)
{
    static const char *const texts[] = {"",          "unix", "192.0.2",
                                        "localhost", "::g",  "192.0.2.1\r\n"};

    open_accounts(0, 1, 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        gw_accounts_session(accounts, texts[i], 1);
        cr_expect_eq(gw_accounts_count(accounts), 0, "%s", texts[i]);
        gw_accounts_session(accounts, texts[i], -1);
    }
    gw_accounts_free(accounts);
}

Test(accounts, handshakes_have_a_rate)
{
    unsigned retry_s;

    open_accounts(0, 0, 3);
    cr_expect_eq(drain("192.0.2.1", NOW), 30);
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_RATE);
    cr_expect_eq(retry_s, 1);
    cr_expect_eq(drain("192.0.2.2", NOW), 30);
    cr_expect_eq(drain("192.0.2.1", NOW + 333), 0);
    cr_expect_eq(drain("192.0.2.1", NOW + 334), 1);
    cr_expect_eq(drain("192.0.2.1", NOW + 1000), 2);
    cr_expect_eq(drain("192.0.2.1", NOW + 60000), 30);
    gw_accounts_free(accounts);
}

/* Whoever comes when he was told to is let in. */
Test(accounts, retry_is_long_enough)
{
    for (uint32_t rate = 1; rate < 1000; rate += 37) {
        unsigned retry_s;
        unsigned unused_s;

        open_accounts(0, 0, rate);
        drain("192.0.2.1", NOW);
        cr_assert_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_RATE);
        cr_assert_geq(retry_s, 1);
        cr_assert_eq(handshake("192.0.2.1", NOW + retry_s * 1000, &unused_s),
                     GW_ACCOUNT_OK, "rate %u", rate);
        gw_accounts_free(accounts);
    }
}

/* Each worker has its own clock. */
Test(accounts, an_older_clock_takes_nothing_away)
{
    unsigned retry_s;

    open_accounts(0, 0, 100);
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_OK);
    cr_expect_eq(drain("192.0.2.1", NOW - 50), 999);
    cr_expect_eq(drain("192.0.2.1", NOW + 100), 10);
    gw_accounts_free(accounts);
}

Test(accounts, too_many_sessions_cost_no_token)
{
    unsigned retry_s;

    open_accounts(0, 1, 1);
    gw_accounts_session(accounts, "192.0.2.1", 1);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(handshake("192.0.2.1", NOW, &retry_s),
                     GW_ACCOUNT_SESSIONS);
    gw_accounts_session(accounts, "192.0.2.1", -1);
    cr_expect_eq(drain("192.0.2.1", NOW), 10);
    gw_accounts_free(accounts);
}

/* A bucket is not filled by coming and going. */
Test(accounts, tokens_stay_taken_when_all_is_closed)
{
    open_accounts(5, 5, 1);
    cr_expect(let_in("192.0.2.1"));
    cr_expect_eq(drain("192.0.2.1", NOW), 10);
    leave("192.0.2.1");
    cr_expect(let_in("192.0.2.1"));
    cr_expect_eq(drain("192.0.2.1", NOW), 0);
    leave("192.0.2.1");
    gw_accounts_session(accounts, "192.0.2.1", 1);
    gw_accounts_session(accounts, "192.0.2.1", -1);
    cr_expect_eq(drain("192.0.2.1", NOW + 1000), 1);
    gw_accounts_free(accounts);
}

/* ---- who counts as one ---- */

Test(accounts, a_v6_network_counts_as_one)
{
    unsigned retry_s;

    open_accounts(2, 1, 1);
    cr_expect(let_in("2001:db8:1:2::1"));
    cr_expect(let_in("2001:db8:1:2:ffff::9"));
    cr_expect_not(let_in("2001:db8:1:2:3:4:5:6"));
    cr_expect(let_in("2001:db8:1:3::1"));
    leave("2001:db8:1:2::77");
    cr_expect(let_in("2001:db8:1:2::1"));

    cr_expect_eq(drain("2001:db8:1:2::1", NOW), 10);
    cr_expect_eq(drain("2001:db8:1:2::2", NOW), 0);
    gw_accounts_session(accounts, "2001:db8:1:2::5", 1);
    cr_expect_eq(handshake("2001:db8:1:2::1", NOW + 9999, &retry_s),
                 GW_ACCOUNT_SESSIONS);
    gw_accounts_free(accounts);
}

Test(accounts, a_mapped_address_is_its_v4_address)
{
    open_accounts(1, 0, 0);
    cr_expect(let_in("::ffff:192.0.2.1"));
    cr_expect_not(let_in("192.0.2.1"));
    cr_expect(let_in("::ffff:192.0.2.2"));
    gw_accounts_free(accounts);
}

Test(accounts, unix_peers_are_never_limited)
{
    const struct gw_peer local = {.family = AF_UNIX};
    unsigned retry_s;

    open_accounts(1, 1, 1);
    for (int i = 0; i < 100; i++) {
        cr_assert(gw_accounts_open(accounts, &local));
        cr_assert_eq(gw_accounts_handshake(accounts, &local, NOW, &retry_s),
                     GW_ACCOUNT_OK);
        gw_accounts_session(accounts, "unix", 1);
    }
    gw_accounts_close(accounts, &local);
    cr_expect_eq(gw_accounts_count(accounts), 0);
    gw_accounts_free(accounts);
}

/* ---- other limits ---- */

static void configure(uint32_t connections, uint32_t sessions, uint32_t rate)
{
    struct gw_config *config = calloc(1, sizeof(*config));
    cr_assert_not_null(config);
    config->max_connections_per_address = connections;
    config->max_sessions_per_address = sessions;
    config->handshake_rate_per_address = rate;
    gw_accounts_configure(accounts, config);
    free(config);
}

Test(accounts, other_limits_hold_for_those_who_are_there)
{
    unsigned retry_s;

    open_accounts(2, 2, 0);
    cr_expect(let_in("192.0.2.1"));
    cr_expect(let_in("192.0.2.1"));
    cr_expect_not(let_in("192.0.2.1"));
    gw_accounts_session(accounts, "192.0.2.1", 1);
    gw_accounts_session(accounts, "192.0.2.1", 1);
    configure(3, 1, 0);
    cr_expect(let_in("192.0.2.1"));
    cr_expect_not(let_in("192.0.2.1"));
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_SESSIONS);
    /* Too many are not thrown out; nobody comes until enough have left. */
    configure(1, 3, 0);
    cr_expect_eq(handshake("192.0.2.1", NOW, &retry_s), GW_ACCOUNT_OK);
    leave("192.0.2.1");
    leave("192.0.2.1");
    cr_expect_not(let_in("192.0.2.1"));
    leave("192.0.2.1");
    cr_expect(let_in("192.0.2.1"));
    gw_accounts_free(accounts);
}

/* Else what is counted by then could never be taken away. */
Test(accounts, a_limit_that_is_lifted_is_still_counted_for)
{
    open_accounts(1, 0, 0);
    cr_expect(let_in("192.0.2.1"));
    configure(0, 0, 0);
    for (int i = 0; i < 100; i++)
        cr_expect(let_in("192.0.2.1"));
    for (int i = 0; i < 101; i++)
        leave("192.0.2.1");
    cr_expect_eq(gw_accounts_count(accounts), 0);
    configure(1, 0, 0);
    cr_expect(let_in("192.0.2.1"));
    cr_expect_not(let_in("192.0.2.1"));
    gw_accounts_free(accounts);
}

/* Those who are there are not counted, and must not be subtracted. */
Test(accounts, a_limit_that_was_not_there_at_the_start_stays_away)
{
    open_accounts(0, 1, 0);
    cr_expect(let_in("192.0.2.1"));
    configure(1, 1, 0);
    cr_expect(let_in("192.0.2.1"));
    leave("192.0.2.1");
    leave("192.0.2.1");
    cr_expect_eq(gw_accounts_count(accounts), 0);
    gw_accounts_free(accounts);
    accounts = NULL;
    configure(1, 1, 1); /* there is nothing to configure */
    cr_expect_null(accounts);
}

Test(accounts, another_rate)
{
    open_accounts(1, 0, 0);
    cr_expect_eq(drain("192.0.2.1", NOW), 100000);
    configure(1, 0, 2);
    cr_expect_eq(drain("192.0.2.1", NOW), 20);
    configure(1, 0, 4);
    cr_expect_eq(drain("192.0.2.1", NOW + 1000), 4);
    configure(1, 0, 0);
    cr_expect_eq(drain("192.0.2.1", NOW + 1000), 100000);
    gw_accounts_free(accounts);
}
