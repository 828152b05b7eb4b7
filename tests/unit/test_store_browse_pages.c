/* SPDX-License-Identifier: MIT */
/* Where the pages of a walk end, by what a scripted Redis gives. */
#include "store/browse.h"
#include "tests/unit/fake_loop.h"

#include <criterion/criterion.h>

#define SETUP                                                                  \
    "$74\r\n# Server\r\nrun_id:0123456789abcdef0123456789abcdef01234567\r\n"   \
    "\r\nrole:master\r\n\r\n"
#define RECORD                                                                 \
    "*9\r\n$2\r\nn1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1"   \
    "\r\n:1000\r\n"

static struct fake_loop fake;
static struct store_browse *browse;
static const struct store_url url = {
    .kind = STORE_KIND_SINGLE,
    .hosts = {{.host = "h", .port = 1}},
    .host_count = 1,
};
static struct store_browse_result result;
static unsigned ends;
static char rows[64]; /* a letter for each */
static char kept[64];
static unsigned undone;

static bool take_item(void *arg, const struct store_browse_item *item)
{
    (void)arg;
    if (item->key[0] >= 'A' && item->key[0] <= 'Z')
        return false;
    cr_assert_lt(strlen(rows), sizeof(rows) - 1);
    rows[strlen(rows)] = item->key[0];
    return true;
}

static void take_batch(void *arg, bool is_kept)
{
    (void)arg;
    if (is_kept) {
        memcpy(kept, rows, sizeof(kept));
        return;
    }
    memcpy(rows, kept, sizeof(rows));
    undone++;
}

static void take_end(void *arg, const struct store_browse_result *what)
{
    (void)arg;
    result = *what;
    ends++;
}

static struct store_browse_walk walk;

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
    walk = (struct store_browse_walk){.limit = 3,
                                      .count = 8,
                                      .budget = 100,
                                      .timeout_ms = 2000,
                                      .on_item = take_item,
                                      .on_batch = take_batch,
                                      .on_end = take_end};
}

static void finish(void)
{
    store_browse_free(browse);
    fake_loop_fini(&fake);
}

static void go(struct store_browse_place from)
{
    ends = 0;
    undone = 0;
    memset(rows, 0, sizeof(rows));
    memset(kept, 0, sizeof(kept));
    walk.from = from;
    fake_loop_clear(&fake);
    cr_assert_not_null(store_browse_walk(browse, &walk));
}

/* The walk asks for `count` from `cursor`. */
static void expect_scan(unsigned cursor, unsigned count)
{
    char bytes[160];
    char digits[16];
    char number[16];

    snprintf(digits, sizeof(digits), "%u", cursor);
    snprintf(number, sizeof(number), "%u", count);
    snprintf(bytes, sizeof(bytes), "SCAN\r\n$%zu\r\n%s\r\n", strlen(digits),
             digits);
    cr_expect_not_null(strstr(fake_loop_sent(&fake), bytes), "%s",
                       fake_loop_sent(&fake));
    snprintf(bytes, sizeof(bytes), "COUNT\r\n$%zu\r\n%s\r\n", strlen(number),
             number);
    cr_expect_not_null(strstr(fake_loop_sent(&fake), bytes), "%s",
                       fake_loop_sent(&fake));
    fake_loop_clear(&fake);
}

/* The keys of a batch, a letter each; '-' is none of ours. */
static void give_keys(unsigned next, const char *keys)
{
    char text[2048];
    char digits[16];

    snprintf(digits, sizeof(digits), "%u", next);
    snprintf(text, sizeof(text), "*2\r\n$%zu\r\n%s\r\n*%zu\r\n", strlen(digits),
             digits, strlen(keys));
    for (const char *key = keys; *key != '\0'; key++) {
        const size_t len = strlen(text);

        if (*key == '-')
            snprintf(text + len, sizeof(text) - len, "$1\r\n-\r\n");
        else
            snprintf(text + len, sizeof(text) - len,
                     "$17\r\nsidgate:session:%c\r\n", *key);
    }
    fake_loop_text(&fake, text);
}

static unsigned count_asked(void)
{
    unsigned count = 0;

    for (const char *at = strstr(fake_loop_sent(&fake), "HMGET"); at != NULL;
         at = strstr(at + 1, "HMGET"))
        count++;
    return count;
}

/* A batch with the records that are asked for, also where the walk is over
 * before the last of them. */
static void give(unsigned next, const char *keys)
{
    fake_loop_clear(&fake);
    give_keys(next, keys);
    for (unsigned i = 0; i < count_asked(); i++)
        fake_loop_text(&fake, RECORD);
}

static void expect_more(const char *what, uint64_t cursor)
{
    cr_expect_eq(ends, 1);
    cr_expect_eq(result.end, STORE_BROWSE_MORE);
    cr_expect_str_eq(rows, what);
    cr_expect_str_eq(kept, what);
    cr_expect_eq(result.place.cursor, cursor);
    cr_expect_eq(result.looked_at, strlen(what));
}

TestSuite(store_browse_pages, .init = begin, .fini = finish);

Test(store_browse_pages, end_where_a_batch_does)
{
    go((struct store_browse_place){0});
    expect_scan(0, 8);
    give(5, "abc");
    expect_more("abc", 5);
    cr_expect_eq(result.place.behind, 0);
    go(result.place);
    expect_scan(5, 8);
    give(0, "-d");
    cr_expect_eq(result.end, STORE_BROWSE_DONE);
    cr_expect_str_eq(kept, "d");
}

Test(store_browse_pages, end_in_front_of_what_does_not_fit)
{
    go((struct store_browse_place){0});
    give(5, "ab");
    expect_scan(5, 2);
    give(9, "cd");
    expect_more("ab", 5);
    cr_expect_eq(undone, 1);
}

Test(store_browse_pages, what_is_no_row_has_room)
{
    walk.budget = 10;
    go((struct store_browse_place){0});
    give(5, "ABabCDcEF");
    cr_expect_eq(result.end, STORE_BROWSE_MORE);
    cr_expect_str_eq(kept, "abc");
    cr_expect_eq(result.looked_at, 9);
    cr_expect_eq(undone, 0);
}

Test(store_browse_pages, a_first_batch_that_is_too_long_is_asked_for_again)
{
    go((struct store_browse_place){.cursor = 7});
    expect_scan(7, 8);
    give(2, "abcdefgh");
    cr_expect_eq(ends, 0);
    cr_expect_str_eq(rows, "");
    /* The records of the batch that was dropped came, too. */
    expect_scan(7, 1);
    give(11, "ab");
    expect_scan(11, 1);
    cr_expect_str_eq(kept, "ab");
    cr_expect_eq(undone, 1);
}

Test(store_browse_pages, fewer_are_asked_for_until_they_fit)
{
    walk.limit = 40;
    walk.count = 64;
    walk.budget = 20;
    go((struct store_browse_place){0});
    expect_scan(0, 64);
    for (unsigned count = 20; count >= 5; count /= 2) {
        give_keys(1, "abcdefghijklmnopqrstuvwxyz");
        expect_scan(0, count);
    }
    cr_expect_eq(undone, 3);
    give(1, "abcdefgh");
    cr_expect_str_eq(kept, "abcdefgh");
}

/* Gives the letters of the pages, which come in the same order whatever order
 * they are given in. */
static void expect_cut(const char *keys, const char *again)
{
    char all[8] = "";

    walk.limit = 2;
    walk.count = 1;
    go((struct store_browse_place){.cursor = 6});
    expect_scan(6, 1);
    give(1, keys);
    expect_more(rows, 6);
    cr_expect_neq(result.place.behind, 0);
    memcpy(all, rows, 2);
    walk.count = 8;
    go(result.place);
    expect_scan(6, 1);
    give(1, again);
    expect_more(rows, 6);
    memcpy(all + 2, rows, 2);
    go(result.place);
    give(1, keys);
    expect_scan(1, 1);
    memcpy(all + 4, rows, 1);
    for (const char *key = "abcde"; *key != '\0'; key++)
        cr_expect_not_null(strchr(all, *key), "%c is missing in %s", *key, all);
}

Test(store_browse_pages, the_smallest_batch_is_cut)
{
    expect_cut("abcde", "abcde");
}

Test(store_browse_pages, the_order_of_redis_does_not_matter)
{
    expect_cut("-abcde", "edcba-");
}

/* With another end it is another batch, where other keys may be. */
Test(store_browse_pages, what_was_cut_and_has_changed_comes_again)
{
    struct store_browse_place place;

    walk.limit = 2;
    walk.count = 1;
    go((struct store_browse_place){.cursor = 6});
    give(1, "abc");
    place = result.place;
    cr_expect_neq(place.behind, 0);
    for (char key = 'a'; key <= 'z'; key++) {
        const char keys[2] = {key, '\0'};

        go(place);
        give(3, keys);
        cr_expect_str_eq(kept, keys);
        store_browse_free(browse);
        fake_loop_fini(&fake);
        begin();
        walk.limit = 2;
    }
}

Test(store_browse_pages, time_undoes_what_is_under_way)
{
    go((struct store_browse_place){0});
    give_keys(5, "ab");
    fake_loop_text(&fake, RECORD);
    cr_expect_str_eq(rows, "a");
    for (int i = 0; i < 3 && ends == 0; i++) {
        fake_loop_wait(&fake, 900);
        fake_loop_text(&fake, "*9\r\n");
    }
    cr_expect_eq(ends, 1);
    cr_expect_eq(result.end, STORE_BROWSE_AWAY);
}

Test(store_browse_pages, time_leaves_what_was_kept)
{
    walk.timeout_ms = 500;
    go((struct store_browse_place){0});
    give(5, "a");
    give_keys(9, "bc");
    fake_loop_text(&fake, RECORD);
    cr_expect_str_eq(rows, "ab");
    fake_loop_wait(&fake, 600);
    expect_more("a", 5);
    cr_expect_eq(undone, 1);
}

Test(store_browse_pages, time_cuts_what_may_be_cut)
{
    walk.timeout_ms = 500;
    walk.count = 1;
    go((struct store_browse_place){.cursor = 4});
    give_keys(9, "abc");
    fake_loop_text(&fake, RECORD);
    fake_loop_wait(&fake, 600);
    expect_more(rows, 4);
    cr_expect_eq(strlen(rows), 1);
    cr_expect_neq(result.place.behind, 0);
}

Test(store_browse_pages, the_budget_ends_them_in_front_of_a_batch)
{
    walk.limit = 10;
    walk.budget = 4;
    go((struct store_browse_place){0});
    expect_scan(0, 8);
    give(5, "abc");
    expect_scan(5, 1);
    give_keys(9, "de");
    expect_more("abc", 5);
    cr_expect_eq(undone, 1);
}
