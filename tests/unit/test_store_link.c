/* SPDX-License-Identifier: MIT */
/* A link that is UP: calls, their time, hostile replies, freeing anywhere. */
#include "tests/unit/link_fixture.h"

static const char *const numbers[] = {"1", "2", "3", "4", "5", "6"};

Test(store_link, replies_come_in_order_and_of_every_type)
{
    open_link();
    cr_assert(store_link_is_up(link_));
    cr_expect_str_eq(store_link_run_id(link_), RUN_ID);
    for (size_t i = 0; i < 6; i++)
        cr_assert_not_null(call_get(numbers[i]));
    cr_expect_str_eq(fake_loop_sent(&fake) + 5 * 20,
                     "*2\r\n$3\r\nGET\r\n$1\r\n6\r\n");
    fake_loop_text(&fake, "+OK\r\n$3\r\na\tb\r\n:-7\r\n$-1\r\n*2\r\n$1\r\nx\r\n"
                          "*0\r\n");
    expect_told("1=OK; 2=a\tb; 3=-7; 4=nil; 5=[2]; ");
    fake_loop_text(&fake, "-ERR no\r\n");
    expect_told("error(ERR no); 6=ERR no; ");
    fake_loop_wait(&fake, 60000);
    expect_told("");
    close_link();
}

Test(store_link, arguments_are_binary)
{
    const char *argv[] = {"SET", "a\r\n\0b", ""};
    const size_t lens[] = {3, 5, 0};
    static const char wire[] =
        "*3\r\n$3\r\nSET\r\n$5\r\na\r\n\0b\r\n$0\r\n\r\n";

    open_link();
    cr_assert_not_null(
        store_link_send(link_, 3, argv, lens, on_done, named("x")));
    cr_assert_eq(fake.sent_len, sizeof(wire) - 1);
    cr_expect_arr_eq(fake.sent, wire, sizeof(wire) - 1);
    close_link();
}

Test(store_link, what_is_refused)
{
    const char *argv[STORE_LINK_ARGS_MAX + 1] = {"a"};
    size_t lens[STORE_LINK_ARGS_MAX + 1] = {1};

    open_link();
    for (int i = 0; i <= STORE_LINK_ARGS_MAX; i++)
        argv[i] = "a";
    cr_expect_null(store_link_send(link_, 0, argv, lens, on_done, named("x")));
    cr_expect_null(store_link_send(link_, STORE_LINK_ARGS_MAX + 1, argv, lens,
                                   on_done, named("x")));
    cr_expect_null(
        store_link_eval(link_, 2, 1, argv, lens, on_done, named("x")));
    fake.unsent = 4 * 1024 * 1024 + 1;
    cr_expect_null(call_get("x"));
    fake.unsent--;
    for (int i = 0; i < STORE_LINK_CALLS_MAX; i++)
        cr_assert_not_null(call_get("x"));
    cr_expect_null(call_get("x"));
    cr_expect_null(call_script(0, "x"));
    fake_loop_text(&fake, "+OK\r\n");
    cr_expect_not_null(call_get("x"));
    close_link();
}

Test(store_link, each_call_has_its_own_time)
{
    open_link();
    call_get("1");
    fake_loop_wait(&fake, 100);
    call_get("2");
    fake_loop_text(&fake, "+a\r\n");
    fake_loop_wait(&fake, 50);
    call_get("3");
    fake_loop_wait(&fake, 199);
    expect_told("1=a; ");
    fake_loop_wait(&fake, 1);
    expect_told("down(it does not answer); 2=-; ");
    cr_expect(!store_link_is_up(link_));
    cr_expect_null(call_get("4"));
    fake_loop_wait(&fake, 49);
    expect_told("");
    fake_loop_wait(&fake, 1);
    expect_told("3=-; ");
    close_link();
}

Test(store_link, a_probe_in_time_ends_the_stall)
{
    open_link();
    call_get("1");
    call_get("2");
    fake_loop_wait(&fake, 250);
    expect_told("down(it does not answer); 1=-; 2=-; ");
    fake_loop_wait(&fake, 1999);
    fake_loop_text(&fake, "+late\r\n");
    cr_expect_null(call_get("refused"));
    fake_loop_wait(&fake, 1999);
    fake_loop_text(&fake, "+later\r\n");
    expect_told("");
    /* now PING is under way */
    fake_loop_wait(&fake, 249);
    cr_expect_null(call_get("refused"));
    fake_loop_text(&fake, "+PONG\r\n");
    expect_told("up; ");
    call_get("3");
    fake_loop_text(&fake, "+now\r\n");
    expect_told("3=now; ");
    fake_loop_wait(&fake, 10000);
    expect_told("");
    cr_expect_eq(fake.opens, 1);
    close_link();
}

/* One that answers, but always too late, is tried with a PING at a time and
 * nothing else. */
Test(store_link, a_slow_node_stays_stalled)
{
    open_link();
    call_get("1");
    fake_loop_wait(&fake, 250);
    expect_told("down(it does not answer); 1=-; ");
    fake_loop_wait(&fake, 150);
    fake_loop_text(&fake, "+late\r\n");
    for (int i = 0; i < 20; i++) {
        fake_loop_wait(&fake, 400);
        fake_loop_text(&fake, "+PONG\r\n");
        cr_expect_null(call_get("refused"));
    }
    expect_told("");
    cr_expect_eq(fake.opens, 1);
    /* An error is an answer, too. */
    fake_loop_text(&fake, "-NOPERM no PING\r\n");
    expect_told("up; error(NOPERM no PING); ");
    close_link();
}

Test(store_link, a_stall_ends_the_connection)
{
    open_link();
    call_get("1");
    fake_loop_wait(&fake, 250);
    expect_told("down(it does not answer); 1=-; ");
    fake_loop_wait(&fake, 1999);
    cr_expect_not_null(fake.wire);
    fake_loop_wait(&fake, 1);
    cr_expect_null(fake.wire);
    cr_expect_str_eq(store_link_run_id(link_), "");
    /* the same words are not told again */
    expect_told("");
    fake_loop_wait(&fake, 100);
    fake_loop_connect(&fake);
    fake_loop_text(&fake, GOOD_SETUP);
    expect_told("up; ");
    call_get("2");
    fake_loop_text(&fake, "+b\r\n");
    expect_told("2=b; ");
    close_link();
}

Test(store_link, the_end_of_the_wire_ends_all_calls)
{
    open_link();
    call_get("1");
    call_get("2");
    fake_loop_end(&fake, "reset by peer");
    expect_told("down(reset by peer); 1=-; 2=-; ");
    cr_expect_null(call_get("3"));
    fake_loop_wait(&fake, 100);
    fake_loop_end(&fake, "connection refused");
    expect_told("down(connection refused); ");
    fake_loop_wait(&fake, 200);
    fake_loop_end(&fake, "connection refused");
    expect_told("");
    close_link();
}

Test(store_link, a_forgotten_call_keeps_its_place)
{
    open_link();
    struct store_call *call = call_get("1");
    call_get("2");
    store_link_forget(call);
    fake_loop_text(&fake, "-ERR one\r\n+two\r\n");
    expect_told("error(ERR one); 2=two; ");
    store_link_forget(call_get("3"));
    fake_loop_wait(&fake, 250);
    expect_told("down(it does not answer); ");
    close_link();
}

/* ---- error replies ---- */

static const struct {
    const char *error;
    const char *why; /* NULL: the link stays UP */
} errors[] = {
    {"ERR unknown command", NULL},
    {"OOM command not allowed", NULL},
    {"WRONGTYPE Operation", NULL},
    {"NOPERM this user", NULL},
    {"ERR READONLY in the text", NULL},
    {"ERR said -READONLY once", NULL},
    {"LOADINGS x", NULL},
    {"LOADING Redis is loading", "it is still loading its data"},
    {"READONLY You can't write. script: abc", "it is a read-only replica"},
    {"ERR Error running script (call to f_a): @user_script:1: @user_script: 1: "
     "-READONLY You can't write against a read only replica.",
     "it is a read-only replica"},
    {"ERR Error running script (call to f_a): - -LOADING x",
     "it is still loading its data"},
    {"MASTERDOWN Link with MASTER", "it is a replica that has lost its master"},
    {"NOAUTH Authentication required.", "a password is needed"},
    {"MOVED 1 127.0.0.1:7000",
     "it is a node of a Redis Cluster: the URL of one "
     "begins with redis+cluster://"},
    {"ASK 1 127.0.0.1:7000", "it is a node of a Redis Cluster: the URL of one "
                             "begins with redis+cluster://"},
    {"CLUSTERDOWN Hash slot", "it is a node of a Redis Cluster: the URL of one "
                              "begins with redis+cluster://"},
};

Test(store_link, errors_of_the_node_end_the_connection)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        char bytes[256];
        char expected[512];
        open_link();
        call_get("1");
        call_get("2");
        snprintf(bytes, sizeof(bytes), "-%s\r\n", errors[i].error);
        fake_loop_text(&fake, bytes);
        if (errors[i].why == NULL)
            snprintf(expected, sizeof(expected), "error(%s); 1=%s; ",
                     errors[i].error, errors[i].error);
        else
            snprintf(expected, sizeof(expected), "down(%s); 1=-; 2=-; ",
                     errors[i].why);
        cr_expect_eq(errors[i].why == NULL, fake.wire != NULL);
        expect_told(expected);
        close_link();
    }
}

Test(store_link, errors_are_told_once_a_second_and_on_one_line)
{
    struct store_link_options options = base_options;
    char bytes[400] = "-ERR ";

    options.timeout_ms = 5000;
    begin_link(&options);
    fake_loop_text(&fake, GOOD_SETUP);
    for (int i = 0; i < 4; i++)
        call_get("x");
    fake_loop_text(&fake, "-ERR 1\t\x1b\x80\r\n-ERR 2\r\n");
    expect_told("up; error(ERR 1??"
                "?); x=ERR 1\t\x1b\x80; x=ERR 2; ");
    fake_loop_wait(&fake, 999);
    fake_loop_text(&fake, "-ERR 3\r\n");
    expect_told("x=ERR 3; ");
    fake_loop_wait(&fake, 1);
    memset(bytes + 5, 'y', 300);
    memcpy(bytes + 305, "\r\n", 3);
    fake_loop_text(&fake, bytes);
    cr_expect_eq(strncmp(told, "error(ERR yyy", 13), 0);
    cr_expect_eq(strcspn(told, ")"), strlen("error(") + 200);
    close_link();
}

Test(store_link, an_error_that_repeats_the_password_is_not_told)
{
    struct store_link_options options = base_options;

    options.password = "hush";
    begin_link(&options);
    fake_loop_text(&fake, "+OK\r\n" GOOD_SETUP);
    call_get("1");
    fake_loop_text(&fake, "-ERR not hushed\r\n");
    expect_told("up; error(an error); 1=ERR not hushed; ");
    close_link();
}

/* ---- scripts ---- */

#define TAIL "$1\r\n1\r\n$3\r\nkey\r\n$1\r\nx\r\n"

Test(store_link, a_lost_script_is_sent_whole_once)
{
    open_link();
    call_script(1, "x");
    cr_expect_str_eq(fake_loop_sent(&fake),
                     "*5\r\n$7\r\nEVALSHA\r\n" BULK_SHA(SHA_B) TAIL);
    call_get("2");
    fake_loop_clear(&fake);
    fake_loop_wait(&fake, 100);
    fake_loop_text(&fake, "-NOSCRIPT No matching script.\r\n");
    expect_told("");
    cr_expect_str_eq(fake_loop_sent(&fake),
                     "*5\r\n$4\r\nEVAL\r\n$14\r\nreturn ARGV[1]\r\n" TAIL);
    fake_loop_text(&fake, "+two\r\n-NOSCRIPT again\r\n");
    expect_told("2=two; error(NOSCRIPT again); x=NOSCRIPT again; ");
    close_link();
}

Test(store_link, a_lost_script_has_no_more_time_than_others)
{
    open_link();
    call_script(0, "x");
    fake_loop_wait(&fake, 100);
    call_get("2");
    fake_loop_text(&fake, "-NOSCRIPT No matching script.\r\n");
    fake_loop_wait(&fake, 149);
    expect_told("");
    fake_loop_wait(&fake, 1);
    expect_told("down(it does not answer); x=-; ");
    fake_loop_wait(&fake, 100);
    expect_told("2=-; ");
    fake_loop_text(&fake, "+two\r\n+x\r\n+PONG\r\n");
    expect_told("up; ");
    close_link();
}

/* Its place is behind a younger call then; once late, it is not late again. */
Test(store_link, a_lost_script_is_late_once)
{
    open_link();
    call_script(0, "x");
    fake_loop_wait(&fake, 100);
    call_get("2");
    fake_loop_text(&fake, "-NOSCRIPT No matching script.\r\n");
    fake_loop_wait(&fake, 150);
    fake_loop_text(&fake, "+two\r\n");
    expect_told("down(it does not answer); x=-; up; 2=two; ");
    fake_loop_wait(&fake, 50);
    call_get("3");
    fake_loop_wait(&fake, 249);
    expect_told("");
    fake_loop_text(&fake, "+x\r\n+three\r\n");
    expect_told("3=three; ");
    close_link();
}

Test(store_link, a_lost_script_of_nobody_is_not_sent)
{
    open_link();
    store_link_forget(call_script(0, "x"));
    call_script(0, "y");
    fake_loop_clear(&fake);
    fake_loop_text(&fake, "-NOSCRIPT x\r\n");
    fake.unsent = 5 * 1024 * 1024;
    fake_loop_text(&fake, "-NOSCRIPT y\r\n");
    expect_told("y=-; ");
    cr_expect_str_eq(fake_loop_sent(&fake), "");
    close_link();
}

/* ---- freeing and sending in callbacks ---- */

static const struct {
    const char *free_at;
    const char *bytes;
    const char *told;
} frees[] = {
    {"1=OK; ", "+OK\r\n+OK\r\n+OK\r\n", "1=OK; "},
    {"error(ERR no); ", "-ERR no\r\n+OK\r\n", "error(ERR no); "},
    {"down(it is a read-only replica); ", "-READONLY x\r\n+OK\r\n",
     "down(it is a read-only replica); "},
    {"1=-; ", "-READONLY x\r\n+OK\r\n",
     "down(it is a read-only replica); 1=-; "},
    {"1=-; ", NULL, "down(it does not answer); 1=-; "},
    {"down(it does not answer); ", NULL, "down(it does not answer); "},
};

Test(store_link, may_be_freed_in_any_callback)
{
    for (size_t i = 0; i < sizeof(frees) / sizeof(frees[0]); i++) {
        open_link();
        call_get("1");
        call_get("2");
        call_get("3");
        free_at = frees[i].free_at;
        if (frees[i].bytes != NULL)
            fake_loop_text(&fake, frees[i].bytes);
        else
            fake_loop_wait(&fake, 3000);
        cr_expect_null(link_);
        fake_loop_wait(&fake, 10000);
        expect_told(frees[i].told);
        fake_loop_fini(&fake);
    }
}

Test(store_link, may_be_freed_when_it_comes_up)
{
    begin_link(&base_options);
    free_at = "up; ";
    fake_loop_text(&fake, GOOD_SETUP "+OK\r\n");
    expect_told("up; ");
    fake_loop_fini(&fake);

    open_link();
    call_get("1");
    fake_loop_wait(&fake, 250);
    free_at = "up; ";
    fake_loop_text(&fake, "+OK\r\n+OK\r\n");
    expect_told("down(it does not answer); 1=-; up; ");
    fake_loop_fini(&fake);

    begin_link(&base_options);
    free_at = "down(gone); ";
    fake_loop_end(&fake, "gone");
    expect_told("down(gone); ");
    fake_loop_fini(&fake);
}

static void on_done_send(void *arg, const struct redisReply *reply)
{
    on_done(arg, reply);
    tell("%s; ", call_get("n") != NULL ? "sent" : "refused");
}

Test(store_link, callbacks_may_send)
{
    const char *argv[] = {"PING"};
    const size_t lens[] = {4};

    open_link();
    store_link_send(link_, 1, argv, lens, on_done_send, named("1"));
    fake_loop_text(&fake, "+OK\r\n+OK\r\n");
    expect_told("1=OK; sent; n=OK; ");
    store_link_send(link_, 1, argv, lens, on_done_send, named("2"));
    fake_loop_wait(&fake, 250);
    expect_told("down(it does not answer); 2=-; refused; ");
    fake_loop_text(&fake, "+OK\r\n+PONG\r\n");
    store_link_send(link_, 1, argv, lens, on_done_send, named("3"));
    fake_loop_end(&fake, "gone");
    expect_told("up; down(gone); 3=-; refused; ");
    close_link();
}

/* ---- hostile replies ---- */

static const struct {
    const char *bytes;
    const char *why;
} hostile[] = {
    {"+a\r\n+b\r\n", "it sent a reply that nobody asked for"},
    {">2\r\n+a\r\n+b\r\n", "it sent what is not a reply of Redis"},
    {"HTTP/1.1 200 OK\r\n", "it sent what is not a reply of Redis"},
    {"\r\n", "it sent what is not a reply of Redis"},
    {":12x\r\n", "it sent what is not a reply of Redis"},
    {"$-2\r\n", "it sent what is not a reply of Redis"},
    {"*-2\r\n", "it sent what is not a reply of Redis"},
    {"*2147483648\r\n", "it sent what is not a reply of Redis"},
    {"*2147483647\r\n", "it sent a reply that is too large"},
    {"*65537\r\n", "it sent a reply that is too large"},
    {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
     "it sent a reply that is nested too deep"},
    {"$1\r\nabc\r\n", "it sent what is not a reply of Redis"},
};

Test(store_link, hostile_replies_end_the_connection)
{
    for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
        char expected[200];
        bool is_first = strchr(hostile[i].bytes, '+') == hostile[i].bytes;
        open_link();
        call_get("1");
        fake_loop_text(&fake, hostile[i].bytes);
        snprintf(expected, sizeof(expected), "%sdown(%s); %s",
                 is_first ? "1=a; " : "", hostile[i].why,
                 is_first ? "" : "1=-; ");
        expect_told(expected);
        cr_expect_null(fake.wire);
        close_link();
    }
}
