/* SPDX-License-Identifier: MIT */
#include "tests/unit/sentinel_fixture.h"

#include <criterion/parameterized.h>

static void all_answer(const char *text, size_t len)
{
    for (unsigned i = 0; i < HOSTS; i++) {
        sentinels[i].answer = text;
        sentinels[i].answer_len = len;
    }
}

static void all_away(bool is_away)
{
    for (unsigned i = 0; i < HOSTS; i++)
        sentinels[i].is_away = is_away;
}

/* Those that are there hang up. */
static void hang_up(void)
{
    while (net.wires != NULL)
        fake_net_end(net.wires, "connection reset");
}

/* ---- one that cannot say ---- */

Test(store_sentinel_faults, one_that_refuses_is_left)
{
    begin(&base_options);
    sentinels[0].is_away = true;
    run(100);
    expect_told(TOLD_OLD);
    cr_expect_eq(sentinels[1].opened, 2);
    cr_expect_eq(opened(), 2);
    end();
}

Test(store_sentinel_faults, one_that_does_not_know_it_is_left)
{
    begin(&base_options);
    sentinels[0].answer = NIL;
    sentinels[1].answer = "-ERR No such master with that name\r\n";
    run(200);
    expect_told(TOLD_OLD);
    cr_expect_geq(sentinels[2].asked, 1);
    end();
}

Test(store_sentinel_faults, one_that_is_silent_is_left_in_time)
{
    begin(&base_options);
    sentinels[0].answer = NULL;
    run(250);
    expect_told("");
    run(100);
    expect_told(TOLD_OLD);
    end();
}

Test(store_sentinel_faults, one_that_breaks_is_left_and_the_master_stays)
{
    begin_settled();
    hang_up();
    run(100);
    cr_expect_eq(sentinels[1].opened, 2);
    publish(2, SWITCH);
    expect_told(TOLD_NEW);
    end();
}

Test(store_sentinel_faults, one_that_is_not_heard_is_left)
{
    begin_settled();
    fake_net_end(fake_net_find(&net, sentinels[0].listener), "reset");
    run(100);
    cr_expect_eq(sentinels[1].opened, 2);
    publish(2, SWITCH);
    expect_told(TOLD_NEW);
    end();
}

Test(store_sentinel_faults, one_that_stands_there_twice_is_left)
{
    struct store_address twice[] = {addresses[0], addresses[0], addresses[1]};
    struct store_sentinel_options options = base_options;

    options.hosts = twice;
    begin(&options);
    sentinels[0].is_away = true;
    run(100);
    expect_told(TOLD_OLD);
    end();
}

Test(store_sentinel_faults, a_redis_is_no_sentinel)
{
    begin(&base_options);
    for (unsigned i = 0; i < HOSTS; i++)
        sentinels[i].info = "$23\r\nredis_mode:standalone\r\n\r\n";
    run(500);
    expect_told("lost(Sentinel s3:26379: it is no Sentinel); ");
    cr_expect_eq(asked(), 0);
    end();
}

/* ---- none can ---- */

Test(store_sentinel_faults, a_round_in_vain_is_told_once)
{
    begin(&base_options);
    all_away(true);
    run(20000);
    expect_told("lost(Sentinel s3:26379: connection refused); ");
    all_away(false);
    run(3000);
    expect_told(TOLD_OLD);
    run(6000);
    all_away(true);
    hang_up();
    run(20000);
    cr_expect(strncmp(told, "lost(", 5) == 0, "%s", told);
    cr_expect_null(strstr(told + 1, "lost("), "%s", told);
    end();
}

Test(store_sentinel_faults, other_words_are_told)
{
    begin(&base_options);
    all_away(true);
    run(1000);
    all_answer(NIL, 0);
    all_away(false);
    run(5000);
    expect_told("lost(Sentinel s3:26379: connection refused); "
                "lost(Sentinel s3:26379: it knows no master named mymaster); ");
    end();
}

Test(store_sentinel_faults, rounds_in_vain_are_paced)
{
    begin(&base_options);
    all_answer(NIL, 0);
    run(60000);
    /* Two connections to each of three in a second or two, at least half of
     * the time, which is by chance. */
    cr_expect_leq(opened(), 60 * 6 + 20, "%u", opened());
    cr_expect_geq(opened(), 30 * 6, "%u", opened());
    end();
}

Test(store_sentinel_faults, those_that_break_on_each_answer_are_paced)
{
    begin(&base_options);
    for (unsigned i = 0; i < HOSTS; i++)
        sentinels[i].breaks = true;
    run(60000);
    /* The links to the last one go on meanwhile. */
    cr_expect_leq(opened(), 60 * 12, "%u", opened());
    expect_told("lost(Sentinel s3:26379: connection reset); ");
    end();
}

/* They say where the master is, and it is used; but no switch is heard. */
Test(store_sentinel_faults, those_that_are_not_heard_are_paced)
{
    begin(&base_options);
    for (unsigned i = 0; i < HOSTS; i++)
        sentinels[i].is_deaf = true;
    run(200);
    cr_expect_not_null(strstr(told, TOLD_OLD), "%s", told);
    store_sentinel_settled(sentinel, true);
    run(60000);
    cr_expect_leq(opened(), 60 * 12, "%u", opened());
    const char *words = "no permission for SUBSCRIBE); ";
    const char *first = strstr(told, words);
    cr_assert_not_null(first, "%s", told);
    cr_expect_null(strstr(first + 1, "lost("), "%s", told);
    end();
}

/* The master takes commands throughout; nobody has to be told of it again. */
Test(store_sentinel_faults, a_second_outage_is_told)
{
    begin_settled();
    for (unsigned i = 0; i < 2; i++) {
        all_away(true);
        hang_up();
        run(5000);
        const char *first = strstr(told, "lost(");
        cr_assert_not_null(first, "%u", i);
        cr_expect_null(strstr(first + 1, "lost("), "%s", told);
        told[0] = '\0';
        all_away(false);
        run(9000);
        expect_told("");
    }
    end();
}

Test(store_sentinel_faults, a_short_recovery_is_none)
{
    begin(&base_options);
    all_away(true);
    run(1000);
    expect_told("lost(Sentinel s3:26379: connection refused); ");
    all_away(false);
    run(2000);
    expect_told(TOLD_OLD);
    for (unsigned i = 0; i < 5; i++) {
        all_away(true);
        hang_up();
        run(4000);
        all_away(false);
        run(3000);
    }
    const char *first = strstr(told, "lost(");
    cr_assert_not_null(first);
    cr_expect_null(strstr(first + 1, "lost("), "%s", told);
    end();
}

/* One after the other breaks, and the next one could say. */
Test(store_sentinel_faults, no_round_is_in_vain_where_one_could_say)
{
    begin_settled();
    for (unsigned i = 0; i < 10; i++) {
        hang_up();
        run(3000);
    }
    expect_told("");
    cr_expect_geq(opened(), 20);
    end();
}

Test(store_sentinel_faults, the_rests_begin_anew)
{
    begin(&base_options);
    all_away(true);
    run(20000);
    all_away(false);
    run(10000);
    all_away(true);
    hang_up();
    const unsigned before = net.opens;
    run(1000);
    cr_expect_geq(net.opens - before, 18, "%u", net.opens - before);
    end();
}

Test(store_sentinel_faults, one_alone_says_why)
{
    static const struct store_address ipv6 = {.host = "s1:", .port = 1};
    struct store_sentinel_options options = base_options;

    options.hosts = &ipv6;
    options.host_count = 1;
    begin(&options);
    sentinels[0].is_away = true;
    run(5000);
    expect_told("lost(Sentinel [s1:]:1: connection refused); ");
    sentinels[0].is_away = false;
    run(3000);
    expect_told(TOLD_OLD);
    end();
}

Test(store_sentinel_faults, a_wrong_password_is_told)
{
    struct store_sentinel_options options = base_options;

    options.password = "secret";
    begin(&options);
    for (unsigned i = 0; i < HOSTS; i++)
        sentinels[i].setup = "-WRONGPASS secret\r\n";
    run(500);
    expect_told("lost(Sentinel s3:26379: wrong password); ");
    end();
}

Test(store_sentinel_faults, no_permission_to_ask_is_told)
{
    begin(&base_options);
    all_answer("-NOPERM this user has no permissions\r\n", 0);
    run(500);
    expect_told("lost(Sentinel s3:26379: no permission for SENTINEL "
                "GET-MASTER-ADDR-BY-NAME); ");
    end();
}

Test(store_sentinel_faults, short_memory_passes)
{
    begin(&base_options);
    net.loop.is_short = true;
    run(5000);
    expect_told("lost(Sentinel s3:26379: memory is short); ");
    net.loop.is_short = false;
    run(3000);
    expect_told(TOLD_OLD);
    end();
}

/* ---- answers that make no sense ---- */

struct bytes {
    char text[400];
    size_t len;
};

#define BYTES(text)                                                            \
    {                                                                          \
        text, sizeof(text) - 1                                                 \
    }
#define LONG64                                                                 \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG256 LONG64 LONG64 LONG64 LONG64
#define HOST    "$8\r\n10.0.0.1\r\n"
#define PORT    "$4\r\n6379\r\n"

ParameterizedTestParameters(store_sentinel_faults, nonsense_is_no_answer)
{
    static struct bytes bad[] = {
        BYTES("+OK\r\n"),
        BYTES(":1\r\n"),
        BYTES("$0\r\n\r\n"),
        BYTES("$8\r\n10.0.0.1\r\n"),
        BYTES("*0\r\n"),
        BYTES("*1\r\n" HOST),
        BYTES("*3\r\n" HOST PORT PORT),
        BYTES(ANSWER(HOST, ":6379\r\n")),
        BYTES(ANSWER("$-1\r\n", PORT)),
        BYTES(ANSWER(HOST, "$-1\r\n")),
        BYTES(ANSWER("*-1\r\n", "*-1\r\n")),
        BYTES(ANSWER("*1\r\n" HOST, PORT)),
        BYTES(ANSWER("-ERR no\r\n", PORT)),
        BYTES(ANSWER("$0\r\n\r\n", PORT)),
        BYTES(ANSWER(HOST, "$0\r\n\r\n")),
        BYTES(ANSWER(HOST, "$1\r\n0\r\n")),
        BYTES(ANSWER(HOST, "$5\r\n99999\r\n")),
        BYTES(ANSWER(HOST, "$5\r\n65536\r\n")),
        BYTES(ANSWER(HOST, "$6\r\n006379\r\n")),
        BYTES(ANSWER(HOST, "$10\r\n4294973675\r\n")),
        BYTES(ANSWER(HOST, "$5\r\n-6379\r\n")),
        BYTES(ANSWER(HOST, "$5\r\n 6379\r\n")),
        BYTES(ANSWER(HOST, "$4\r\n63\0009\r\n")),
        BYTES(ANSWER("$8\r\n10.0\0000.1\r\n", PORT)),
        BYTES(ANSWER("$1\r\n\0\r\n", PORT)),
        BYTES(ANSWER("$3\r\na\x1b\x07\r\n", PORT)),
        BYTES(ANSWER("$3\r\na\r\n\r\n", PORT)),
        BYTES(ANSWER("$3\r\na b\r\n", PORT)),
        BYTES(ANSWER("$4\r\n/tmp\r\n", PORT)),
        BYTES(ANSWER("$3\r\n\xff\xfe\xfd\r\n", PORT)),
        BYTES(ANSWER("$256\r\n" LONG256 "\r\n", PORT)),
    };

    return cr_make_param_array(struct bytes, bad, sizeof(bad) / sizeof(*bad));
}

ParameterizedTest(struct bytes *bad, store_sentinel_faults,
                  nonsense_is_no_answer)
{
    begin(&base_options);
    all_answer(bad->text, bad->len);
    run(500);
    expect_told("lost(Sentinel s3:26379: its answer makes no sense); ");
    cr_expect_geq(sentinels[1].asked, 1);
    all_answer(OLD, 0);
    run(3000);
    expect_told(TOLD_OLD);
    end();
}

Test(store_sentinel_faults, bytes_that_are_no_reply)
{
    begin(&base_options);
    all_answer("what?\r\n", 0);
    run(500);
    expect_told("lost(Sentinel s3:26379: it sent what is not a reply of "
                "Redis); ");
    end();
}

/* The channel broke, and the answer was on its way. */
Test(store_sentinel_faults, an_answer_counts_until_it_is_left)
{
    begin(&base_options);
    all_answer(NULL, 0);
    run(0);
    run(20);
    const unsigned listener = sentinels[0].listener;
    const unsigned question = other_wire(listener);
    cr_expect_eq(sentinels[0].asked, 1);
    fake_net_end(fake_net_find(&net, listener), "reset");
    say(question, OLD);
    expect_told(TOLD_OLD);
    run(50);
    cr_expect_eq(sentinels[1].opened, 2);
    cr_expect_null(fake_net_find(&net, question));
    end();
}

/* ---- freeing ---- */

Test(store_sentinel_faults, ends_before_it_begins)
{
    begin(&base_options);
    end();
    store_sentinel_free(NULL);
}

Test(store_sentinel_faults, ends_by_its_first_answer)
{
    begin(&base_options);
    free_at = TOLD_OLD;
    run(200);
    expect_told(TOLD_OLD);
    cr_expect_null(sentinel);
    cr_expect_null(net.wires);
    end();
}

Test(store_sentinel_faults, ends_by_a_message)
{
    begin_settled();
    free_at = TOLD_NEW;
    publish(1, SWITCH);
    cr_expect_null(sentinel);
    end();
}

Test(store_sentinel_faults, ends_by_a_refusal)
{
    begin(&base_options);
    free_at = "refused); ";
    all_away(true);
    run(1000);
    cr_expect_null(sentinel);
    end();
}

Test(store_sentinel_faults, ends_by_silence)
{
    begin(&base_options);
    free_at = "answer); ";
    all_answer(NULL, 0);
    run(3000);
    expect_told("lost(Sentinel s3:26379: it does not answer); ");
    cr_expect_null(sentinel);
    end();
}

Test(store_sentinel_faults, ends_by_nonsense)
{
    begin(&base_options);
    free_at = "sense); ";
    all_answer("+OK\r\n", 0);
    run(3000);
    cr_expect_null(sentinel);
    end();
}

Test(store_sentinel_faults, ends_by_short_memory)
{
    begin(&base_options);
    free_at = "short); ";
    net.loop.is_short = true;
    run(3000);
    cr_expect_null(sentinel);
    end();
}
