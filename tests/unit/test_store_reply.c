/* SPDX-License-Identifier: MIT */
/* The bounds of the reader of replies. */
#include "store/reply.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static struct store_reply_reader *reader;

static void open_reader(void)
{
    reader = store_reply_reader_new();
    cr_assert_not_null(reader);
}

static void close_reader(void)
{
    store_reply_reader_free(reader);
}

TestSuite(store_reply, .init = open_reader, .fini = close_reader);

/* Feeds in pieces; returns what comes last. Replies are counted and freed. */
static enum store_reply_result feed(const char *bytes, size_t len,
                                    size_t *count)
{
    enum store_reply_result result = STORE_REPLY_MORE;

    for (size_t at = 0; at < len && result != STORE_REPLY_BAD;) {
        size_t part =
            len - at < STORE_REPLY_FEED_MAX ? len - at : STORE_REPLY_FEED_MAX;
        struct redisReply *reply = NULL;
        store_reply_feed(reader, bytes + at, part);
        at += part;
        while ((result = store_reply_next(reader, &reply)) ==
               STORE_REPLY_DONE) {
            freeReplyObject(reply);
            (*count)++;
        }
    }
    return result;
}

static enum store_reply_result feed_text(const char *text, size_t *count)
{
    return feed(text, strlen(text), count);
}

/* `head`, then `unit` again and again. */
static char *repeated(const char *head, const char *unit, size_t times,
                      size_t *len)
{
    size_t head_len = strlen(head);
    size_t unit_len = strlen(unit);
    char *text = malloc(head_len + unit_len * times + 1);

    cr_assert_not_null(text);
    memcpy(text, head, head_len);
    for (size_t i = 0; i < times; i++)
        memcpy(text + head_len + i * unit_len, unit, unit_len);
    *len = head_len + unit_len * times;
    return text;
}

enum { MIB = 1024 * 1024 };

static const char too_large[] = "it sent a reply that is too large";
static const char too_deep[] = "it sent a reply that is nested too deep";

static const struct {
    const char *head;
    const char *unit;
    size_t times;
    enum store_reply_result result;
    size_t count;
    const char *why;
} cases[] = {
    {"", "+OK\r\n", 3, STORE_REPLY_MORE, 3, NULL},
    {"", "*2\r\n:1\r\n$-1\r\n", 2, STORE_REPLY_MORE, 2, NULL},
    {"*65536\r\n", ":1\r\n", 65536, STORE_REPLY_MORE, 1, NULL},
    {"*65537\r\n", "", 0, STORE_REPLY_BAD, 0, too_large},
    {"*2\r\n*2048\r\n", ":1\r\n", 2048, STORE_REPLY_MORE, 0, NULL},
    {"*2\r\n*65535\r\n", ":1\r\n", 0, STORE_REPLY_BAD, 0, too_large},
    {"*2147483647\r\n", "", 0, STORE_REPLY_BAD, 0, too_large},
    {"*2147483648\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"*9223372036854775808\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"*-2\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"*-9223372036854775808\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"*x\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"", "*1\r\n", 4, STORE_REPLY_MORE, 0, NULL},
    {"", "*1\r\n", 5, STORE_REPLY_BAD, 0, too_deep},
    {"", "*1\r\n", 5000, STORE_REPLY_BAD, 0, too_deep},
    {"*1\r\n*1\r\n*1\r\n*1\r\n", ":1\r\n", 2, STORE_REPLY_MORE, 2, NULL},
    {"$1048560\r\n", "x", 1048560, STORE_REPLY_MORE, 0, NULL},
    {"$1048560\r\n", "x", MIB, STORE_REPLY_BAD, 0, NULL},
    {"$9223372036854775807\r\n", "x", MIB + 1, STORE_REPLY_BAD, 0, too_large},
    {"$9223372036854775808\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"$-2\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"$3\r\nab\r\n", "x", 1, STORE_REPLY_BAD, 0, NULL},
    {"$2\r\nabc\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"*4000\r\n", "$300\r\n", 1, STORE_REPLY_MORE, 0, NULL},
    {"+", "x", 16000, STORE_REPLY_MORE, 0, NULL},
    {"+", "x", 16 * 1024 + 1, STORE_REPLY_BAD, 0, too_large},
    {"-", "\r", 16 * 1024 + 1, STORE_REPLY_BAD, 0, too_large},
    {":", "1", 65, STORE_REPLY_BAD, 0, too_large},
    {"$", "1", 65, STORE_REPLY_BAD, 0, too_large},
    {"*", "1", 65, STORE_REPLY_BAD, 0, too_large},
    {">1\r\n+x\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"_\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"%1\r\n", "", 0, STORE_REPLY_BAD, 0, NULL},
    {"+OK\r\nx", "", 0, STORE_REPLY_BAD, 1, NULL},
};

Test(store_reply, bounds)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t count = 0;
        size_t len;
        char *text =
            repeated(cases[i].head, cases[i].unit, cases[i].times, &len);
        close_reader();
        open_reader();
        cr_expect_eq(feed(text, len, &count), cases[i].result, "case %zu", i);
        cr_expect_eq(count, cases[i].count, "case %zu: %zu", i, count);
        const char *why = store_reply_why(reader);
        cr_expect_eq(why == NULL, cases[i].why == NULL, "case %zu", i);
        if (why != NULL && cases[i].why != NULL)
            cr_expect_str_eq(why, cases[i].why, "case %zu: %s", i, why);
        free(text);
    }
}

/* Many strings that each are within the bounds, and are taken out of the
 * buffer one by one. */
Test(store_reply, all_strings_of_a_reply_count)
{
    char unit[1024 + 16];
    size_t count = 0;

    memset(unit, 'x', sizeof(unit));
    memcpy(unit, "$1024\r\n", 7);
    memcpy(unit + 7 + 1024, "\r\n", 3);
    cr_expect_eq(feed_text("*1025\r\n", &count), STORE_REPLY_MORE);
    for (int i = 0; i < 1024; i++)
        cr_assert_eq(feed_text(unit, &count), STORE_REPLY_MORE);
    cr_expect_eq(feed_text(unit, &count), STORE_REPLY_BAD);
    cr_expect_str_eq(store_reply_why(reader), too_large);
}

Test(store_reply, bounds_are_of_one_reply)
{
    size_t count = 0;

    for (int i = 0; i < 10; i++) {
        size_t len;
        char *text = repeated("*65536\r\n", ":1\r\n", 65536, &len);
        cr_expect_eq(feed(text, len, &count), STORE_REPLY_MORE);
        free(text);
        text = repeated("$1000000\r\n", "x", 1000000, &len);
        cr_expect_eq(feed(text, len, &count), STORE_REPLY_MORE);
        cr_expect_eq(feed_text("\r\n", &count), STORE_REPLY_MORE);
        free(text);
    }
    cr_expect_eq(count, 20);
}

/* What an array's head announces is refused before it is allocated. */
Test(store_reply, nothing_is_allocated_for_a_head)
{
    size_t count = 0;
    size_t before = mallinfo2().uordblks;

    cr_expect_eq(feed_text("*2000000000\r\n", &count), STORE_REPLY_BAD);
    cr_expect_lt(mallinfo2().uordblks, before + 65536);
}

Test(store_reply, bad_stays_bad)
{
    struct redisReply *reply = NULL;
    size_t count = 0;

    cr_expect_eq(feed_text("!\r\n", &count), STORE_REPLY_BAD);
    store_reply_feed(reader, "+OK\r\n", 5);
    cr_expect_eq(store_reply_next(reader, &reply), STORE_REPLY_BAD);
    cr_expect_null(reply);
}
