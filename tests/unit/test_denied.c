/* SPDX-License-Identifier: MIT */
/* Sids that are known to be nobody's, over time. */
#include "gateway/denied.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { HOUR_MS = 3600 * 1000, TICK_MS = 100 };

/* Ends are kept as 24 bits of tenths of a second: they begin anew then. */
#define WRAP_MS ((1LL << 24) * TICK_MS)

static struct eio_sid sid_of(const char *text)
{
    struct eio_sid sid = {.len = (uint16_t)strlen(text)};
    memcpy(sid.bytes, text, sid.len);
    return sid;
}

static struct eio_sid sid_number(unsigned n)
{
    char text[32];
    snprintf(text, sizeof(text), "sid-number-%u", n);
    return sid_of(text);
}

static struct gw_denied *denied;

static void set_up(void)
{
    denied = gw_denied_new();
    cr_assert_not_null(denied);
}

static void tear_down(void)
{
    gw_denied_free(denied);
}

TestSuite(denied, .init = set_up, .fini = tear_down);

Test(denied, knows_nothing_at_first)
{
    for (unsigned i = 0; i < 1000; i++) {
        struct eio_sid sid = sid_number(i);
        cr_assert_not(gw_denied_has(denied, &sid, i * 12345LL));
    }
    gw_denied_free(NULL);
}

static const struct {
    int64_t at_ms;
    int64_t life_ms;
} lives[] = {
    {0, 2000},
    {1, 1},
    {99, 1},
    {100, 100},
    {12345, 60000},
    {12345678, 1000},
    {7, HOUR_MS},
    {99, HOUR_MS},
    {100, HOUR_MS},
    /* over the wrap-around, and just before and behind it */
    {WRAP_MS - 500, 1000},
    {WRAP_MS - 1, 1},
    {WRAP_MS, 2000},
    {WRAP_MS - 2000, 2000},
    {WRAP_MS - HOUR_MS / 2, HOUR_MS},
    {5 * WRAP_MS - 30000, 60000},
    {400 * WRAP_MS - 1, HOUR_MS},
};

/* All of its life, and not much longer: ticks are rounded up. */
Test(denied, lasts_for_its_life)
{
    for (size_t i = 0; i < sizeof(lives) / sizeof(lives[0]); i++) {
        struct eio_sid sid = sid_number((unsigned)i);
        int64_t at_ms = lives[i].at_ms;
        int64_t end_ms = at_ms + lives[i].life_ms;
        gw_denied_add(denied, &sid, at_ms, lives[i].life_ms);
        cr_expect(gw_denied_has(denied, &sid, at_ms), "%zu: at once", i);
        cr_expect(gw_denied_has(denied, &sid, (at_ms + end_ms) / 2),
                  "%zu: half way", i);
        cr_expect(gw_denied_has(denied, &sid, end_ms - 1), "%zu: to the last",
                  i);
        cr_expect_not(gw_denied_has(denied, &sid, end_ms + TICK_MS),
                      "%zu: too long", i);
        cr_expect_not(gw_denied_has(denied, &sid, end_ms + HOUR_MS),
                      "%zu: an hour later", i);
        cr_expect_not(gw_denied_has(denied, &sid, end_ms + WRAP_MS / 2),
                      "%zu: half around", i);
    }
}

Test(denied, is_erased_by_its_own_sid_alone)
{
    struct eio_sid one = sid_of("abcdefghijklmnopqrst");
    struct eio_sid other = sid_of("abcdefghijklmnopqrsu");
    struct eio_sid longer = sid_of("abcdefghijklmnopqrstu");

    gw_denied_add(denied, &one, 1000, 5000);
    cr_expect_not(gw_denied_has(denied, &other, 1000));
    cr_expect_not(gw_denied_has(denied, &longer, 1000));
    gw_denied_erase(denied, &other);
    gw_denied_erase(denied, &longer);
    cr_expect(gw_denied_has(denied, &one, 1000));
    gw_denied_erase(denied, &one);
    cr_expect_not(gw_denied_has(denied, &one, 1000));
    gw_denied_erase(denied, &one);
    gw_denied_add(denied, &one, 1000, 5000);
    cr_expect(gw_denied_has(denied, &one, 1000));
}

Test(denied, renews)
{
    struct eio_sid sid = sid_of("abcdefghijklmnopqrst");

    gw_denied_add(denied, &sid, 1000, 2000);
    gw_denied_add(denied, &sid, 2000, 60000);
    cr_expect(gw_denied_has(denied, &sid, 61000));
    /* a shorter one counts as well */
    gw_denied_add(denied, &sid, 3000, 1000);
    cr_expect_not(gw_denied_has(denied, &sid, 5000));
}

/* The memory is bounded: newer ones take the place of older ones, but never
 * answer for them. */
Test(denied, forgets_rather_than_grows)
{
    const unsigned count = 200000;
    unsigned kept = 0;
    unsigned still = 0;

    for (unsigned i = 0; i < count; i++) {
        struct eio_sid sid = sid_number(i);
        gw_denied_add(denied, &sid, 1000, 5000);
        cr_assert(gw_denied_has(denied, &sid, 1000), "%u", i);
    }
    for (unsigned i = 0; i < count; i++) {
        struct eio_sid sid = sid_number(i);
        kept += gw_denied_has(denied, &sid, 1000);
        struct eio_sid never = sid_number(count + i);
        cr_assert_not(gw_denied_has(denied, &never, 1000), "%u", count + i);
        /* in a table that is full its place is another's */
        gw_denied_erase(denied, &never);
    }
    for (unsigned i = 0; i < count; i++) {
        struct eio_sid sid = sid_number(i);
        still += gw_denied_has(denied, &sid, 1000);
    }
    cr_assert_eq(still, kept, "%u of %u", still, kept);
    cr_assert_gt(kept, 50000);
    cr_assert_leq(kept, 65536);
}

/* Any bytes, of any length that a sid may have. */
Test(denied, takes_any_bytes)
{
    struct eio_sid sids[4] = {0};

    sids[0].len = 1;
    sids[1].len = 2;
    sids[2].len = EIO_SID_MAX;
    sids[3].len = EIO_SID_MAX;
    memset(sids[3].bytes, 0xff, EIO_SID_MAX);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_not(gw_denied_has(denied, &sids[i], 1000), "%zu", i);
        gw_denied_add(denied, &sids[i], 1000, 5000);
        cr_assert(gw_denied_has(denied, &sids[i], 1000), "%zu", i);
    }
}

/* Nobody can aim at another's place: tables have secrets of their own. */
Test(denied, places_differ_from_table_to_table)
{
    const unsigned count = 80000;
    struct gw_denied *second = gw_denied_new();
    unsigned only_first = 0;
    unsigned only_second = 0;

    cr_assert_not_null(second);
    for (unsigned i = 0; i < count; i++) {
        struct eio_sid sid = sid_number(i);
        gw_denied_add(denied, &sid, 0, 5000);
        gw_denied_add(second, &sid, 0, 5000);
    }
    for (unsigned i = 0; i < count; i++) {
        struct eio_sid sid = sid_number(i);
        bool in_first = gw_denied_has(denied, &sid, 0);
        bool in_second = gw_denied_has(second, &sid, 0);
        only_first += in_first && !in_second;
        only_second += in_second && !in_first;
    }
    gw_denied_free(second);
    cr_assert_gt(only_first, 1000);
    cr_assert_gt(only_second, 1000);
}
