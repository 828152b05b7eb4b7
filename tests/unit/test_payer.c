/* SPDX-License-Identifier: MIT */
/* Accounts of those who look for unknown sids. */
#include "gateway/payer.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

enum { SEED = 7, RATE = 5, NOW = 1000000 };

static struct gw_peer peer_of(const char *text)
{
    struct gw_peer peer = {0};
    peer.family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    cr_assert_eq(inet_pton(peer.family, text, peer.addr), 1, "%s", text);
    return peer;
}

static struct gw_peer peer_number(unsigned n)
{
    struct gw_peer peer = {.family = AF_INET};
    memcpy(peer.addr, &n, sizeof(n));
    return peer;
}

/* ---- buckets ---- */

static unsigned drain(struct gw_bucket *bucket, uint32_t rate, int64_t now_ms)
{
    unsigned count = 0;
    while (count < 100000 && gw_bucket_take(bucket, rate, now_ms))
        count++;
    return count;
}

static const struct {
    uint32_t rate;
    int64_t after_ms; /* since it was empty */
    unsigned tokens;
} refills[] = {
    {1, 0, 0},
    {1, 999, 0},
    {1, 1000, 1},
    {1, 1999, 1},
    {1, 9999, 9},
    {1, 10000, 10},
    {1, 10001, 10},
    {1, 3600000, 10},
    {50, 19, 0},
    {50, 20, 1},
    {50, 1000, 50},
    {50, 10000, 500},
    {50, 60000, 500},
    {1000, 1, 1},
    {1000, 10, 10},
    {3, 333, 0},
    {3, 334, 1},
    {5000, 1000, 5000},
    {2, INT64_MAX / 4, 20},
};

Test(payer, bucket_fills_at_its_rate_up_to_ten_seconds)
{
    for (size_t i = 0; i < sizeof(refills) / sizeof(refills[0]); i++) {
        struct gw_bucket bucket = {.at_ms = NOW};
        cr_expect_eq(drain(&bucket, refills[i].rate, NOW), 0, "%zu", i);
        unsigned tokens =
            drain(&bucket, refills[i].rate, NOW + refills[i].after_ms);
        cr_expect_eq(tokens, refills[i].tokens, "%zu: %u", i, tokens);
    }
}

/* Whoever asks again and again gets no less, and no more. */
Test(payer, bucket_loses_nothing_to_questions)
{
    struct gw_bucket bucket = {.at_ms = NOW};
    unsigned tokens = 0;

    for (int64_t ms = 0; ms <= 20000; ms++)
        tokens += gw_bucket_take(&bucket, RATE, NOW + ms);
    cr_assert_eq(tokens, 20 * RATE, "%u", tokens);
}

Test(payer, bucket_takes_back_what_was_not_used)
{
    struct gw_bucket bucket = {.at_ms = NOW};

    gw_bucket_give(&bucket, RATE);
    cr_assert(gw_bucket_take(&bucket, RATE, NOW));
    cr_assert_not(gw_bucket_take(&bucket, RATE, NOW));
    /* but holds no more than ten seconds' worth */
    for (int i = 0; i < 1000; i++)
        gw_bucket_give(&bucket, RATE);
    cr_assert_eq(drain(&bucket, RATE, NOW), 10 * RATE);
}

Test(payer, no_rate_is_no_limit)
{
    struct gw_bucket bucket = {.at_ms = NOW};

    for (int i = 0; i < 100000; i++)
        cr_assert(gw_bucket_take(&bucket, 0, NOW));
}

/* ---- accounts ---- */

static struct gw_payers *payers_new(uint32_t rate)
{
    struct gw_payers *payers = malloc(sizeof(*payers));
    cr_assert_not_null(payers);
    memset(payers, 0xa5, sizeof(*payers));
    gw_payers_init(payers, rate, SEED);
    return payers;
}

static void payers_free(struct gw_payers *payers)
{
    gw_payers_clear(payers);
    cr_assert_eq(payers->count, 0, "%u accounts are left", payers->count);
    free(payers);
}

static const struct {
    const char *one;
    const char *other;
    bool is_same;
} pairs[] = {
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.2", false},
    {"192.0.2.1", "193.0.2.1", false},
    {"2001:db8:1:2::1", "2001:db8:1:2::1", true},
    {"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
    {"2001:db8:1:2::", "2001:db8:1:2:8000::", true},
    {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
    {"2001:db8:1:2::1", "2001:db9:1:2::1", false},
    {"::1", "::2", true},
    /* a v4 address mapped into v6 is one host, not a net */
    {"::ffff:192.0.2.1", "::ffff:192.0.2.1", true},
    {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
    {"::ffff:192.0.2.1", "::ffff:198.51.100.1", false},
    {"::ffff:192.0.2.1", "::1", false},
    /* not mapped, however alike */
    {"::fffe:192.0.2.1", "::fffe:192.0.2.2", true},
    {"::1:ffff:192.0.2.1", "::1:ffff:192.0.2.2", true},
    {"64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", true},
    /* the same bytes in the other family */
    {"32.1.13.184", "2001:db8::", false},
};

Test(payer, an_account_is_an_address_or_a_net_of_v6)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct gw_payers *payers = payers_new(RATE);
        struct gw_peer one = peer_of(pairs[i].one);
        struct gw_peer other = peer_of(pairs[i].other);
        struct gw_payer *a = gw_payer_open(payers, &one, NOW);
        struct gw_payer *b = gw_payer_open(payers, &other, NOW);
        cr_assert_not_null(a);
        cr_assert_not_null(b);
        cr_expect_eq(a == b, pairs[i].is_same, "%s and %s", pairs[i].one,
                     pairs[i].other);
        cr_expect_eq(a->searches, pairs[i].is_same ? 2 : 1);
        cr_expect_eq(payers->count, pairs[i].is_same ? 1 : 2);
        gw_payer_close(payers, a);
        gw_payer_close(payers, b);
        payers_free(payers);
    }
}

/* Nobody gets new tokens by going away and coming back. */
Test(payer, an_account_is_kept_while_there_is_room)
{
    struct gw_payers *payers = payers_new(RATE);
    struct gw_peer peer = peer_of("192.0.2.1");

    struct gw_payer *payer = gw_payer_open(payers, &peer, NOW);
    cr_assert_eq(drain(&payer->asks, RATE, NOW), 10 * RATE);
    gw_payer_close(payers, payer);
    for (unsigned i = 0; i < 1000; i++) {
        struct gw_peer other = peer_number(i);
        gw_payer_close(payers, gw_payer_open(payers, &other, NOW));
    }
    payer = gw_payer_open(payers, &peer, NOW + 1000);
    cr_assert_eq(drain(&payer->asks, RATE, NOW + 1000), RATE);
    gw_payer_close(payers, payer);
    payers_free(payers);
}

static struct gw_payer *open_number(struct gw_payers *payers, unsigned n)
{
    struct gw_peer peer = peer_number(n);
    return gw_payer_open(payers, &peer, NOW);
}

/* Opens all that there may be. The array is the caller's to free. */
static struct gw_payer **fill(struct gw_payers *payers)
{
    struct gw_payer **all = calloc(GW_PAYERS_MAX, sizeof(struct gw_payer *));
    cr_assert_not_null(all);
    for (unsigned i = 0; i < GW_PAYERS_MAX; i++) {
        all[i] = open_number(payers, i);
        cr_assert_not_null(all[i]);
        all[i]->asks.milli = 0; /* marks it */
    }
    cr_assert_eq(payers->count, GW_PAYERS_MAX);
    return all;
}

static bool is_new(const struct gw_payer *payer)
{
    return payer->asks.milli > 0;
}

Test(payer, accounts_with_searches_are_never_forgotten)
{
    struct gw_payers *payers = payers_new(RATE);
    struct gw_payer **all = fill(payers);

    cr_assert_null(open_number(payers, GW_PAYERS_MAX));
    /* those that are there may search on */
    cr_assert_eq(open_number(payers, 5), all[5]);
    gw_payer_close(payers, all[5]);
    cr_assert_null(open_number(payers, GW_PAYERS_MAX), "5 searches still");
    gw_payer_close(payers, all[5]);
    struct gw_payer *late = open_number(payers, GW_PAYERS_MAX);
    cr_assert_not_null(late);
    cr_assert(is_new(late));
    cr_assert_null(open_number(payers, 5), "it had to give way");
    gw_payer_close(payers, late);
    for (unsigned i = 0; i < GW_PAYERS_MAX; i++)
        if (i != 5)
            gw_payer_close(payers, all[i]);
    free((void *)all);
    payers_free(payers);
}

Test(payer, the_longest_idle_one_gives_way)
{
    struct gw_payers *payers = payers_new(RATE);
    struct gw_payer **all = fill(payers);

    for (unsigned i = 0; i < GW_PAYERS_MAX; i++)
        gw_payer_close(payers, all[i]);
    /* 0 is used again, so that 1 is the oldest now */
    cr_assert_eq(open_number(payers, 0), all[0]);
    gw_payer_close(payers, all[0]);
    gw_payer_close(payers, open_number(payers, GW_PAYERS_MAX));
    gw_payer_close(payers, open_number(payers, GW_PAYERS_MAX + 1));
    cr_assert_eq(payers->count, GW_PAYERS_MAX);
    struct gw_payer *zero = open_number(payers, 0);
    struct gw_payer *three = open_number(payers, 3);
    struct gw_payer *one = open_number(payers, 1);
    cr_assert_not(is_new(zero));
    cr_assert_not(is_new(three));
    cr_assert(is_new(one));
    gw_payer_close(payers, zero);
    gw_payer_close(payers, three);
    gw_payer_close(payers, one);
    free((void *)all);
    payers_free(payers);
}

/* Addresses that a sender chooses do not end up in one chain. */
Test(payer, accounts_are_spread_over_the_table)
{
    struct gw_payers *payers = payers_new(RATE);
    struct gw_payer **all = fill(payers);
    size_t longest = 0;

    for (size_t i = 0; i < GW_PAYER_BUCKETS; i++) {
        size_t length = 0;
        for (struct gw_payer *at = payers->table[i]; at != NULL; at = at->next)
            length++;
        longest = length > longest ? length : longest;
    }
    cr_assert_leq(longest, 8 * GW_PAYERS_MAX / GW_PAYER_BUCKETS, "%zu",
                  longest);
    for (unsigned i = 0; i < GW_PAYERS_MAX; i++)
        gw_payer_close(payers, all[i]);
    free((void *)all);
    payers_free(payers);
}

Test(payer, a_new_account_has_ten_seconds_worth)
{
    static const uint32_t rates[] = {1, 5, 50, 5000};
    for (size_t i = 0; i < 4; i++) {
        struct gw_payers *payers = payers_new(rates[i]);
        struct gw_payer *payer = open_number(payers, 1);
        cr_expect_eq(drain(&payer->asks, rates[i], NOW), 10 * rates[i]);
        gw_payer_close(payers, payer);
        payers_free(payers);
    }
}
