/* SPDX-License-Identifier: MIT */
/* What an operator wants of a backend, from text and back. */
#include "gateway/drain_wish.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(drain_wish, .timeout = 10);

static const struct {
    const char *text;
    const char *word; /* what is written of it; NULL: it is none */
} cases[] = {
    {"", "drain"},
    {"rate=20", "drain rate=20"},
    {"rate=0", "drain rate=0"},
    {"rate=1000000", "drain rate=1000000"},
    {"rate=0000020", "drain rate=20"},
    {"timeout=10m", "drain timeout=10m"},
    {"timeout=600000ms", "drain timeout=10m"},
    {"timeout=1500ms", "drain timeout=1500ms"},
    {"timeout=24h", "drain timeout=24h"},
    {"rate=20 timeout=10m", "drain rate=20 timeout=10m"},
    {"timeout=10m rate=20", "drain rate=20 timeout=10m"},
    {"rate", NULL},
    {"rate=", NULL},
    {"rate=-1", NULL},
    {"rate=+1", NULL},
    {"rate= 1", NULL},
    {"rate=1x", NULL},
    {"rate=1.5", NULL},
    {"rate=1000001", NULL},
    {"rate=00000020", NULL},
    {"rate=99999999999999999999", NULL},
    {"timeout=", NULL},
    {"timeout=x", NULL},
    {"timeout=-1s", NULL},
    {"timeout=25h", NULL},
    {"timeout=99999999999999999999h", NULL},
    {"rate=20 rate=20", NULL},
    {"timeout=1s timeout=1s", NULL},
    {"rate=20  timeout=10m", NULL},
    {" rate=20", NULL},
    {"rate=20 x", NULL},
    {"RATE=20", NULL},
    {"?", NULL},
};

Test(drain_wish, text_is_read_and_written)
{
    char word[GW_DRAIN_TEXT_MAX];
    struct gw_drain_wish wish;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const bool is_good = gw_drain_wish_read(cases[i].text, &wish);
        gw_drain_wish_write(&wish, word);
        cr_expect_eq(is_good, cases[i].word != NULL, "%s", cases[i].text);
        cr_expect_str_eq(word, is_good ? cases[i].word : "drain", "%s",
                         cases[i].text);
        cr_expect(wish.is_drained);
    }
}

Test(drain_wish, what_is_too_long_is_none)
{
    char text[GW_DRAIN_TEXT_MAX + 8];
    struct gw_drain_wish wish;

    memset(text, ' ', sizeof(text));
    memcpy(text, "rate=20", 7);
    text[sizeof(text) - 1] = '\0';
    cr_expect_not(gw_drain_wish_read(text, &wish));
    cr_expect(wish.is_drained && !wish.has_rate);
}

Test(drain_wish, the_longest_is_written_whole)
{
    const struct gw_drain_wish longest = {.is_drained = true,
                                          .has_rate = true,
                                          .has_timeout = true,
                                          .rate = UINT32_MAX,
                                          .timeout_ms = UINT32_MAX};
    const struct gw_drain_wish none = {.is_drained = false};
    char word[GW_DRAIN_TEXT_MAX];

    gw_drain_wish_write(&longest, word);
    cr_expect_str_eq(word, "drain rate=4294967295 timeout=4294967295ms");
    gw_drain_wish_write(&none, word);
    cr_expect_str_eq(word, "ready");
}

Test(drain_wish, each_part_tells_two_apart)
{
    const struct gw_drain_wish wishes[] = {
        {.is_drained = false},
        {.is_drained = true},
        {.is_drained = true, .has_rate = true},
        {.is_drained = true, .has_rate = true, .rate = 1},
        {.is_drained = true, .has_timeout = true},
        {.is_drained = true, .has_timeout = true, .timeout_ms = 1},
    };
    const size_t count = sizeof(wishes) / sizeof(wishes[0]);

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++)
            cr_expect_eq(gw_drain_wish_is_same(&wishes[i], &wishes[k]), i == k);
}
