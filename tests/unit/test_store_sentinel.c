/* SPDX-License-Identifier: MIT */
#include "tests/unit/sentinel_fixture.h"

#include <criterion/parameterized.h>

#define QUESTION "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster; "

/* ---- asking ---- */

Test(store_sentinel, asks_one_of_them_and_listens_there)
{
    begin(&base_options);
    run(200);
    expect_told(TOLD_OLD);
    cr_expect_eq(sentinels[0].opened, 2);
    cr_expect_eq(opened(), 2);
    cr_expect_not_null(strstr(setup_seen, QUESTION), "%s", setup_seen);
    cr_expect_not_null(strstr(setup_seen, "SUBSCRIBE +switch-master; "));
    cr_expect_not_null(strstr(setup_seen, "CLIENT SETNAME test; "));
    cr_expect_null(strstr(setup_seen, "AUTH"));
    end();
}

Test(store_sentinel, begins_by_chance)
{
    begin(&base_options);
    store_sentinel_free(sentinel);
    net.loop.chance = 7;
    sentinel = store_sentinel_new(&base_options);
    run(200);
    expect_told(TOLD_OLD);
    cr_expect_eq(sentinels[1].opened, 2);
    cr_expect_eq(opened(), 2);
    end();
}

Test(store_sentinel, has_a_password_of_their_own)
{
    struct store_sentinel_options options = base_options;
    char user[] = "watcher";
    char password[] = "secret";
    char master[] = "mymaster";

    options.user = user;
    options.password = password;
    options.master = master;
    begin(&options);
    memset(user, 'x', sizeof(user) - 1);
    memset(password, 'x', sizeof(password) - 1);
    memset(master, 'x', sizeof(master) - 1);
    run(200);
    expect_told(TOLD_OLD);
    const char *first = strstr(setup_seen, "AUTH watcher secret; ");
    cr_assert_not_null(first, "%s", setup_seen);
    cr_expect_not_null(strstr(first + 1, "AUTH watcher secret; "));
    cr_expect_not_null(strstr(setup_seen, QUESTION));
    end();
}

Test(store_sentinel, the_master_speaks_tls_where_they_do)
{
    struct store_address tls[HOSTS];
    struct store_sentinel_options options = base_options;

    for (unsigned i = 0; i < HOSTS; i++) {
        tls[i] = addresses[i];
        tls[i].is_tls = true;
    }
    options.hosts = tls;
    begin(&options);
    fake_loop_wait(&net.loop, 0);
    cr_assert_not_null(net.wires);
    cr_expect(net.wires->to.is_tls);
    run(200);
    publish(1, SWITCH);
    expect_told("tls(10.0.0.1:6379); tls(10.0.0.2:6380); ");
    end();
}

Test(store_sentinel, once_a_second_without_a_master_else_every_ten)
{
    begin(&base_options);
    run(1000);
    const unsigned first = asked();
    run(10000);
    cr_expect_eq(asked() - first, 10, "%u", asked() - first);
    store_sentinel_settled(sentinel, true);
    run(1000);
    const unsigned second = asked();
    run(20000);
    cr_expect_eq(asked() - second, 2, "%u", asked() - second);
    cr_expect_eq(sentinels[0].asked, asked());
    expect_told(TOLD_OLD);
    end();
}

Test(store_sentinel, another_answer_is_told)
{
    begin_settled();
    sentinels[0].answer = NEW;
    run(10000);
    expect_told(TOLD_NEW);
    run(30000);
    expect_told("");
    end();
}

Test(store_sentinel, asks_again_once_it_listens)
{
    begin(&base_options);
    sentinels[0].is_slow = true;
    run(200);
    cr_expect_eq(asked(), 1, "%u", asked());
    sentinels[0].answer = NEW;
    say(sentinels[0].listener, SUBSCRIBED);
    run(2 * STEP_MS);
    cr_expect_eq(asked(), 2, "%u", asked());
    expect_told(TOLD_OLD TOLD_NEW);
    run(900);
    cr_expect_eq(asked(), 2, "%u", asked());
    end();
}

/* The first answer may be from before. */
Test(store_sentinel, asks_again_if_it_listens_only_then)
{
    begin(&base_options);
    sentinels[0].is_slow = true;
    sentinels[0].answer = NULL;
    run(50);
    cr_expect_eq(asked(), 1, "%u", asked());
    const unsigned question = other_wire(sentinels[0].listener);
    say(sentinels[0].listener, SUBSCRIBED);
    say(question, OLD);
    expect_told(TOLD_OLD);
    sentinels[0].answer = NEW;
    run(100);
    cr_expect_eq(asked(), 2, "%u", asked());
    expect_told(TOLD_NEW);
    end();
}

/* ---- the channel ---- */

Test(store_sentinel, follows_a_switch_at_once)
{
    begin_settled();
    publish(1, SWITCH);
    expect_told(TOLD_NEW);
    sentinels[0].answer = NEW;
    run(100);
    cr_expect_eq(asked(), 1); /* whether it is so */
    run(1000);
    publish(1, SWITCH_BACK);
    expect_told(TOLD_OLD);
    end();
}

Test(store_sentinel, hears_no_other_masters)
{
    static const char *const others[] = {
        "other 10.0.0.1 6379 10.0.0.2 6380",
        "mymaster2 10.0.0.1 6379 10.0.0.2 6380",
        "mymaste 10.0.0.1 6379 10.0.0.2 6380",
        "",
        " ",
        "mymaster",
        "10.0.0.1 6379 10.0.0.2 6380 mymaster",
    };

    begin_settled();
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        publish(1, others[i]);
        run(200);
    }
    expect_told("");
    cr_expect_eq(asked(), 0);
    end();
}

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

ParameterizedTestParameters(store_sentinel, asks_what_a_bad_message_meant)
{
    static struct bytes bad[] = {
        BYTES("mymaster "),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2"),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2 "),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2 0"),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2 65536"),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2 99999"),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2 4294967297"),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2 -1"),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2 +1"),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2 6380 "),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2 6380 more"),
        BYTES("mymaster 10.0.0.1 6379  6380"),
        BYTES("mymaster  10.0.0.1 6379 10.0.0.2 6380"),
        BYTES("mymaster 10.0.0.1 6379 10.0\0.2 6380"),
        BYTES("mymaster 10.0.0.1 6379 10.0.0.2\n 6380"),
        BYTES("mymaster 10.0.0.1 6379 \x1b[2J 6380"),
        BYTES("mymaster 10.0.0.1 6379 /tmp/socket 6380"),
        BYTES("mymaster 10.0.0.1 6379 caf\xc3\xa9 6380"),
        BYTES("mymaster 10.0.0.1 6379 " LONG256 " 6380"),
    };

    return cr_make_param_array(struct bytes, bad, sizeof(bad) / sizeof(*bad));
}

ParameterizedTest(struct bytes *bad, store_sentinel,
                  asks_what_a_bad_message_meant)
{
    begin_settled();
    say_message(&sentinels[0], bad->text, bad->len);
    run(100);
    expect_told("");
    cr_expect_eq(asked(), 1, "%u", asked());
    sentinels[0].answer = NEW;
    say_message(&sentinels[0], bad->text, bad->len);
    run(200);
    expect_told(TOLD_NEW);
    end();
}

Test(store_sentinel, the_longest_host_is_one)
{
    char message[400];

    begin_settled();
    snprintf(message, sizeof(message), "mymaster 10.0.0.1 6379 %.255s 65535",
             LONG256);
    publish(1, message);
    cr_expect_eq(strlen(told), strlen("master(:65535); ") + 255);
    told[0] = '\0';
    run(200);
    publish(1, "mymaster 10.0.0.1 6379 fe80::1 1");
    run(0);
    cr_expect_not_null(strstr(told, "master(fe80::1:1); "), "%s", told);
    end();
}

/* The answer was on its way when the master changed. */
Test(store_sentinel, an_answer_from_before_a_message_is_void)
{
    begin_settled();
    sentinels[0].answer = NULL;
    store_sentinel_settled(sentinel, false);
    run(0);
    fake_loop_wait(&net.loop, 0);
    serve();
    cr_expect_eq(asked(), 1);
    const unsigned question = other_wire(sentinels[0].listener);
    publish(1, SWITCH);
    expect_told(TOLD_NEW);
    say(question, OLD);
    expect_told("");
    sentinels[0].answer = NEW;
    run(200);
    expect_told("");
    cr_expect_eq(asked(), 2);
    end();
}

Test(store_sentinel, masters_do_not_change_without_end)
{
    begin_settled();
    for (unsigned i = 0; i < 1000; i++) {
        publish(1, i % 2 == 0 ? SWITCH : SWITCH_BACK);
        fake_loop_wait(&net.loop, 1);
        serve();
    }
    unsigned count = 0;
    for (const char *at = told; (at = strstr(at, "master(")) != NULL; at++)
        count++;
    cr_expect_leq(count, 22, "%u", count);
    cr_expect_geq(count, 2);
    cr_expect_leq(asked(), 11, "%u", asked());
    end();
}

/* ---- a master that refuses ---- */

Test(store_sentinel, is_asked_at_once_when_the_master_has_left)
{
    begin_settled();
    sentinels[0].answer = NEW;
    store_sentinel_settled(sentinel, false);
    run(0);
    fake_loop_wait(&net.loop, 0);
    serve();
    expect_told(TOLD_NEW);
    end();
}

Test(store_sentinel, the_same_master_is_told_again_then)
{
    begin_settled();
    store_sentinel_settled(sentinel, false);
    run(50);
    expect_told(TOLD_OLD);
    run(5000);
    expect_told("");
    end();
}

Test(store_sentinel, is_not_asked_without_end)
{
    begin_settled();
    for (unsigned i = 0; i < 2000; i++) {
        store_sentinel_settled(sentinel, false);
        fake_loop_wait(&net.loop, 1);
        serve();
    }
    for (unsigned i = 0; i < HOSTS; i++)
        cr_expect_leq(sentinels[i].asked, 11, "%u", sentinels[i].asked);
    cr_expect_geq(asked(), 10, "%u", asked());
    /* And nobody is left more than once a second. */
    cr_expect_leq(opened(), 6, "%u", opened());
    end();
}

Test(store_sentinel, one_that_is_cut_off_is_left)
{
    begin_settled();
    sentinels[1].answer = NEW;
    sentinels[2].answer = NEW;
    store_sentinel_settled(sentinel, false);
    run(1000);
    expect_told(TOLD_OLD TOLD_NEW);
    store_sentinel_settled(sentinel, true);
    run(30000);
    expect_told("");
    cr_expect_eq(sentinels[2].asked, 0);
    end();
}

Test(store_sentinel, each_is_asked_in_turn_while_the_master_refuses)
{
    begin_settled();
    store_sentinel_settled(sentinel, false);
    run(10000);
    for (unsigned i = 0; i < HOSTS; i++)
        cr_expect_geq(sentinels[i].asked, 3, "%u", sentinels[i].asked);
    cr_expect_leq(opened(), 22, "%u", opened());
    expect_told(TOLD_OLD);
    end();
}

Test(store_sentinel, it_is_found_however_often_it_refuses)
{
    begin_settled();
    sentinels[2].answer = NEW;
    for (unsigned i = 0; i < 3000; i += STEP_MS) {
        store_sentinel_settled(sentinel, false);
        run(STEP_MS);
    }
    cr_expect_not_null(strstr(told, TOLD_NEW), "%s", told);
    end();
}

/* What follows a switch at once is the end of the connection to the master
 * before. */
Test(store_sentinel, a_master_that_was_just_told_has_not_refused)
{
    begin_settled();
    is_refusing = true;
    sentinels[0].answer = NEW;
    publish(1, SWITCH);
    run(5000);
    expect_told(TOLD_NEW);
    cr_expect_eq(opened(), 0);
    cr_expect_geq(sentinels[0].asked, 5);
    end();
}

Test(store_sentinel, one_alone_is_asked_on)
{
    struct store_sentinel_options options = base_options;

    options.host_count = 1;
    begin(&options);
    run(100);
    store_sentinel_settled(sentinel, false);
    run(3000);
    expect_told(TOLD_OLD TOLD_OLD);
    sentinels[0].answer = NEW;
    run(1000);
    expect_told(TOLD_NEW);
    cr_expect_eq(opened(), 2);
    cr_expect_leq(asked(), 10);
    end();
}
