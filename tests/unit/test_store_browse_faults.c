/* SPDX-License-Identifier: MIT */
/* What a Redis may answer to a walk that is not what it should. */
#include "store/browse.h"
#include "tests/unit/fake_loop.h"

#include <criterion/criterion.h>

#define SETUP                                                                  \
    "$74\r\n# Server\r\nrun_id:0123456789abcdef0123456789abcdef01234567\r\n"   \
    "\r\nrole:master\r\n\r\n"
#define ONE "*2\r\n$1\r\n0\r\n*1\r\n$17\r\nsidgate:session:a\r\n"
#define GOOD                                                                   \
    "*9\r\n$2\r\nn1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1"   \
    "\r\n"

static struct fake_loop fake;
static struct store_browse *browse;
static const struct store_url url = {
    .kind = STORE_KIND_SINGLE,
    .hosts = {{.host = "h", .port = 1}},
    .host_count = 1,
};
static struct store_browse_result result;
static unsigned ends;
static unsigned items;
static bool frees;

static bool take_item(void *arg, const struct store_browse_item *item)
{
    (void)arg;
    (void)item;
    items++;
    return true;
}

static void take_end(void *arg, const struct store_browse_result *what)
{
    (void)arg;
    result = *what;
    ends++;
    if (!frees)
        return;
    store_browse_free(browse);
    browse = NULL;
}

static const struct store_browse_walk walk = {.limit = 100,
                                              .count = 10,
                                              .budget = 1000,
                                              .timeout_ms = 5000,
                                              .on_item = take_item,
                                              .on_end = take_end};

static void begin(void)
{
    const struct store_browse_options options = {.loop = &fake.base,
                                                 .url = &url,
                                                 .prefix = "sidgate",
                                                 .timeout_ms = 1000};

    fake_loop_init(&fake);
    browse = store_browse_new(&options);
    cr_assert_not_null(browse);
    fake_loop_wait(&fake, 0);
    fake_loop_connect(&fake);
    fake_loop_text(&fake, SETUP);
    cr_assert(store_browse_is_up(browse));
}

static void finish(void)
{
    store_browse_free(browse);
    browse = NULL;
    fake_loop_fini(&fake);
    memset(&fake, 0, sizeof(fake));
}

static void expect_end(const char *bytes, enum store_browse_end end)
{
    begin();
    ends = 0;
    cr_assert_not_null(store_browse_walk(browse, &walk));
    fake_loop_text(&fake, bytes);
    cr_expect_eq(ends, 1, "%s", bytes);
    cr_expect_eq(result.end, end, "%s", bytes);
    finish();
}

Test(store_browse_faults, of_scan)
{
    static const char *const wrong[] = {
        ":7\r\n",
        "+OK\r\n",
        "*-1\r\n",
        "*0\r\n",
        "-NOPERM no\r\n",
        "*2\r\n:0\r\n*0\r\n",
        "*2\r\n$1\r\n0\r\n$1\r\n0\r\n",
        "*2\r\n$0\r\n\r\n*0\r\n",
        "*2\r\n$1\r\nx\r\n*0\r\n",
        "*2\r\n$2\r\n-1\r\n*0\r\n",
        "*2\r\n$20\r\n18446744073709551616\r\n*0\r\n",
        "*2\r\n$21\r\n000000000000000000000\r\n*0\r\n",
        "*3\r\n$1\r\n0\r\n*0\r\n*0\r\n",
        "not Redis at all\r\n",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_end(wrong[i], STORE_BROWSE_AWAY);
    expect_end("*2\r\n$1\r\n0\r\n*3\r\n:1\r\n*-1\r\n$3\r\nabc\r\n",
               STORE_BROWSE_DONE);
    cr_expect_eq(items, 0);
}

Test(store_browse_faults, of_records)
{
    expect_end(ONE GOOD ":1000\r\n", STORE_BROWSE_DONE);
    cr_expect_eq(items, 1);
    items = 0;
    expect_end(ONE GOOD ":-2\r\n", STORE_BROWSE_DONE);
    expect_end(ONE "*0\r\n:1000\r\n", STORE_BROWSE_DONE);
    expect_end(ONE "-WRONGTYPE x\r\n:1000\r\n", STORE_BROWSE_DONE);
    cr_expect_eq(items, 0);
    expect_end(ONE "-NOPERM x\r\n", STORE_BROWSE_AWAY);
    expect_end(ONE GOOD "$1\r\n1\r\n", STORE_BROWSE_AWAY);
    expect_end(ONE "+OK\r\n", STORE_BROWSE_AWAY);
    cr_expect_eq(items, 0);
}

/* A cursor that never comes to its end. */
Test(store_browse_faults, of_a_scan_without_end)
{
    unsigned rounds = 0;

    begin();
    cr_assert_not_null(store_browse_walk(browse, &walk));
    for (; ends == 0 && rounds < 5000; rounds++)
        fake_loop_text(&fake, "*2\r\n$1\r\n5\r\n*0\r\n");
    cr_expect_eq(result.end, STORE_BROWSE_MORE);
    cr_expect_eq(result.place.cursor, 5);
    cr_expect_lt(rounds, 1000);
    finish();
}

Test(store_browse_faults, of_time)
{
    begin();
    cr_assert_not_null(store_browse_walk(browse, &walk));
    for (int i = 0; i < 20 && ends == 0; i++) {
        fake_loop_wait(&fake, 900);
        fake_loop_text(&fake, "*2\r\n$1\r\n5\r\n*0\r\n");
    }
    cr_expect_eq(ends, 1);
    cr_expect_eq(result.end, STORE_BROWSE_MORE);
    finish();
}

Test(store_browse_faults, the_last_word_may_free_all)
{
    static const char *const last[] = {"+OK\r\n", ONE GOOD ":1\r\n",
                                       ONE "+OK\r\n", "junk\r\n"};

    frees = true;
    for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
        begin();
        cr_assert_not_null(store_browse_walk(browse, &walk));
        cr_assert_not_null(store_browse_walk(browse, &walk));
        fake_loop_text(&fake, last[i]);
        cr_expect_null(browse);
        finish();
    }
    begin();
    cr_assert_not_null(store_browse_walk(browse, &walk));
    fake_loop_end(&fake, "gone");
    cr_expect_null(browse);
    finish();
}
