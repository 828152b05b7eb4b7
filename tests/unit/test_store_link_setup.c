/* SPDX-License-Identifier: MIT */
/* How a link comes UP, or not; backoff; a link that subscribes. */
#include "tests/unit/link_fixture.h"

#define CLUSTER                                                                \
    "it is a node of a Redis Cluster: the URL of one begins with "             \
    "redis+cluster://"

static struct store_link_options all_options(void)
{
    struct store_link_options options = base_options;

    options.user = "me";
    options.password = "hush";
    options.db = 3;
    options.name = "gw";
    return options;
}

Test(store_link_setup, all_commands_go_out_together)
{
    struct store_link_options options = all_options();

    new_link(&options);
    cr_expect_eq(fake.opens, 0);
    fake_loop_wait(&fake, 0);
    cr_assert_eq(fake.opens, 1);
    cr_expect_str_eq(fake.address.host, "127.0.0.1");
    cr_expect_null(call_get("1"));
    fake_loop_connect(&fake);
    cr_expect_str_eq(fake_loop_sent(&fake),
                     "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$4\r\nhush\r\n"
                     "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
                     "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\ngw\r\n"
                     "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$8\r\nreturn 1\r\n"
                     "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$14\r\n"
                     "return ARGV[1]\r\n"
                     "*1\r\n$4\r\nINFO\r\n");
    cr_expect_null(call_get("1"));
    fake_loop_text(&fake, "+OK\r\n+OK\r\n-ERR no names\r\n" GOOD_SETUP);
    expect_told("up; ");
    cr_expect_not_null(call_get("1"));
    close_link();
}

Test(store_link_setup, a_password_needs_no_user)
{
    struct store_link_options options = base_options;

    options.password = "hush";
    begin_link(&options);
    static const char auth[] = "*2\r\n$4\r\nAUTH\r\n$4\r\nhush\r\n*3";
    cr_expect_eq(memcmp(fake_loop_sent(&fake), auth, sizeof(auth) - 1), 0);
    close_link();
}

/* Replies to all_options(), and how the link tells it. */
static const struct {
    const char *bytes;
    const char *told;
} endings[] = {
    {"-WRONGPASS invalid username-password pair\r\n", "down(wrong password); "},
    {"-ERR invalid password\r\n", "down(wrong password); "},
    {"-ERR unknown command 'AUTH', with args: 'me' 'hush'\r\n",
     "down(AUTH failed); "},
    {"-ERR not a password: 'hus\r\n", "down(AUTH failed); "},
    {"-ERR AUTH <password> called without any password configured\r\n",
     "down(a password is given, but it has none); "},
    {"-DENIED Redis is running in protected mode\r\n",
     "down(it is in protected mode: it takes no connections from other hosts "
     "until it has a password); "},
    {"-ERR max number of clients reached\r\n",
     "down(it has too many clients); "},
    {"-LOADING x\r\n", "down(it is still loading its data); "},
    {"-MASTERDOWN x\r\n", "down(it is a replica that has lost its master); "},
    {"+OK\r\n-NOAUTH x\r\n", "down(a password is needed); "},
    {"+OK\r\n-NOPERM this user\r\n", "down(no permission for SELECT); "},
    {"+OK\r\n-ERR DB index is out of range\r\n",
     "down(it has no database 3); "},
    {"+OK\r\n-ERR invalid DB index\r\n", "down(it has no database 3); "},
    {"+OK\r\n-ERR SELECT is not allowed in cluster mode\r\n",
     "down(" CLUSTER "); "},
    {"+OK\r\n-ERR strange\x01\r\n", "down(SELECT failed: ERR strange?); "},
    {"+OK\r\n-ERR hush hush\r\n", "down(SELECT failed); "},
    {"+OK\r\n:1\r\n", "down(its answer to SELECT makes no sense); "},
    {"+OK\r\n+OK\r\n-NOAUTH x\r\n", "down(a password is needed); "},
    {"+OK\r\n+OK\r\n+OK\r\n-NOPERM x\r\n",
     "down(no permission for SCRIPT LOAD); "},
    {"+OK\r\n+OK\r\n+OK\r\n$39\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
     "down(its answer to SCRIPT LOAD makes no sense); "},
    {"+OK\r\n+OK\r\n+OK\r\n$40\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaag\r\n",
     "down(its answer to SCRIPT LOAD makes no sense); "},
    {"HTTP/1.1 400 Bad Request\r\n", "down(what answers there is not Redis); "},
    {"\x15\x03\x01", "down(what answers there is not Redis); "},
    {"*70000\r\n", "down(it sent a reply that is too large); "},
};

Test(store_link_setup, what_is_wrong_is_said_plainly)
{
    struct store_link_options options = all_options();

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        begin_link(&options);
        fake_loop_text(&fake, endings[i].bytes);
        expect_told(endings[i].told);
        cr_expect_null(fake.wire);
        close_link();
    }
}

#define LOADED "+OK\r\n" BULK_SHA(SHA_A) BULK_SHA(SHA_B)

static const struct {
    const char *info;
    const char *told;
    const char *run_id;
} infos[] = {
    {"run_id:abc\nrole:master", "up; ", "abc"},
    {"run_id:abc", "up; ", "abc"},
    {"xrun_id:abc\r\n", "up; ", ""},
    {"run_id:a b\r\n", "up; ", ""},
    {"run_id:\r\n", "up; ", ""},
    {"run_id:0123456789012345678901234567890123456789012345678901234567890123"
     "\r\n",
     "up; ", ""},
    {"", "up; ", ""},
    {"\r\n\n:\nrun_id", "up; ", ""},
    {"role:slave\r\nslave_read_only:0\r\n", "up; ", ""},
    {"role:slave\r\nslave_read_only:1\r\n", "down(it is a read-only replica); ",
     ""},
    {"cluster_enabled:1\r\nrun_id:abc", "down(" CLUSTER "); ", ""},
    {"loading:1\r\n", "down(it is still loading its data); ", ""},
};

Test(store_link_setup, what_info_says)
{
    struct store_link_options options = base_options;
    char bytes[256];

    options.name = "gw";
    for (size_t i = 0; i < sizeof(infos) / sizeof(infos[0]); i++) {
        begin_link(&options);
        snprintf(bytes, sizeof(bytes), LOADED "$%zu\r\n%s\r\n",
                 strlen(infos[i].info), infos[i].info);
        fake_loop_text(&fake, bytes);
        expect_told(infos[i].told);
        cr_expect_str_eq(store_link_run_id(link_), infos[i].run_id);
        close_link();
    }
}

Test(store_link_setup, info_may_be_forbidden)
{
    struct store_link_options options = base_options;

    options.name = "gw";
    begin_link(&options);
    fake_loop_text(&fake, LOADED "-NOPERM no\r\n");
    expect_told("up; ");
    cr_expect_str_eq(store_link_run_id(link_), "");
    close_link();
    begin_link(&options);
    fake_loop_text(&fake, LOADED ":1\r\n");
    expect_told("down(its answer to INFO makes no sense); ");
    close_link();
}

Test(store_link_setup, has_a_second_or_four_times_the_timeout)
{
    struct store_link_options options = base_options;

    new_link(&options);
    fake_loop_wait(&fake, 999);
    cr_expect_not_null(fake.wire);
    fake_loop_wait(&fake, 1);
    expect_told("down(no connection in time); ");
    cr_expect_null(fake.wire);
    close_link();

    options.timeout_ms = 500;
    new_link(&options);
    fake_loop_wait(&fake, 1500);
    fake_loop_connect(&fake);
    fake_loop_wait(&fake, 499);
    expect_told("");
    fake_loop_wait(&fake, 1);
    expect_told("down(it does not answer); ");
    close_link();
}

Test(store_link_setup, bytes_before_the_connection_are_no_replies)
{
    new_link(&base_options);
    fake_loop_wait(&fake, 0);
    fake_loop_text(&fake, "+OK\r\n");
    expect_told("down(it sent a reply that nobody asked for); ");
    close_link();
}

Test(store_link_setup, short_memory_is_waited_for)
{
    new_link(&base_options);
    fake.is_short = true;
    fake_loop_wait(&fake, 0);
    expect_told("down(memory is short); ");
    fake.is_short = false;
    fake_loop_wait(&fake, 100);
    cr_expect_not_null(fake.wire);
    close_link();
}

/* ---- backoff ---- */

/* The time until the next attempt. */
static int64_t next_attempt(void)
{
    unsigned opens = fake.opens;
    int64_t start_ms = fake.now_ms;

    while (fake.opens == opens && fake.now_ms < start_ms + 10000)
        fake_loop_wait(&fake, 1);
    return fake.now_ms - start_ms;
}

Test(store_link_setup, backoff_doubles_and_has_jitter)
{
    static const int64_t least[] = {50, 100, 200, 400, 800, 1000, 1000};
    static const uint32_t chances[] = {0, UINT32_MAX, 12345};

    for (size_t c = 0; c < 3; c++) {
        new_link(&base_options);
        fake.chance = chances[c];
        fake_loop_wait(&fake, 0);
        for (size_t i = 0; i < sizeof(least) / sizeof(least[0]); i++) {
            fake_loop_end(&fake, "refused");
            int64_t ms = next_attempt();
            int64_t more = chances[c] % (least[i] + 1);
            cr_expect_eq(ms, least[i] + more, "%zu: %ld", i, (long)ms);
        }
        close_link();
    }
}

Test(store_link_setup, only_a_steady_link_resets_the_backoff)
{
    open_link();
    for (int64_t least = 50; least <= 1000; least *= 2) {
        fake_loop_wait(&fake, 4999);
        fake_loop_end(&fake, "gone");
        cr_expect_eq(next_attempt(), least);
        fake_loop_connect(&fake);
        fake_loop_text(&fake, GOOD_SETUP);
    }
    fake_loop_wait(&fake, 5000);
    fake_loop_end(&fake, "gone");
    cr_expect_eq(next_attempt(), 50);
    close_link();
}

/* ---- a link that subscribes ---- */

#define SUBSCRIBED "*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n"
#define MESSAGE    "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$4\r\na\r\nb\r\n"
#define PONG       "*2\r\n$4\r\npong\r\n$0\r\n\r\n"

static void begin_subscriber(void)
{
    struct store_link_options options = base_options;

    options.channel = "ch";
    options.script_count = 0;
    begin_link(&options);
}

static void open_subscriber(void)
{
    begin_subscriber();
    cr_expect_str_eq(fake_loop_sent(&fake),
                     "*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nch\r\n");
    fake_loop_text(&fake, SUBSCRIBED);
    expect_told("up; ");
    fake_loop_clear(&fake);
}

Test(store_link_setup, a_subscriber_hears_and_takes_no_commands)
{
    open_subscriber();
    cr_expect(store_link_is_up(link_));
    cr_expect_null(call_get("1"));
    fake_loop_text(&fake, MESSAGE MESSAGE);
    expect_told("message(a\r\nb); message(a\r\nb); ");
    fake_loop_end(&fake, "gone");
    expect_told("down(gone); ");
    close_link();
    open_subscriber();
    free_at = "b); ";
    fake_loop_text(&fake, MESSAGE MESSAGE);
    expect_told("message(a\r\nb); ");
    fake_loop_fini(&fake);
}

Test(store_link_setup, a_subscriber_pings)
{
    static const char *const answers[] = {PONG, "+PONG\r\n", "-NOPERM no\r\n"};

    open_subscriber();
    for (size_t i = 0; i < 3; i++) {
        fake_loop_wait(&fake, 4999);
        cr_expect_str_eq(fake_loop_sent(&fake), "");
        fake_loop_wait(&fake, 1);
        cr_expect_str_eq(fake_loop_sent(&fake), "*1\r\n$4\r\nPING\r\n");
        fake_loop_clear(&fake);
        fake_loop_wait(&fake, 999);
        fake_loop_text(&fake, answers[i]);
    }
    fake_loop_wait(&fake, 5999);
    expect_told("");
    fake_loop_text(&fake, MESSAGE);
    fake_loop_wait(&fake, 999);
    expect_told("message(a\r\nb); ");
    fake_loop_wait(&fake, 1);
    expect_told("down(it does not answer); ");
    close_link();
}

Test(store_link_setup, a_ping_is_of_one_connection)
{
    open_subscriber();
    fake_loop_wait(&fake, 5500);
    fake_loop_end(&fake, "gone");
    fake_loop_wait(&fake, 100);
    fake_loop_connect(&fake);
    fake_loop_text(&fake, SUBSCRIBED);
    expect_told("down(gone); up; ");
    fake_loop_text(&fake, PONG);
    expect_told("down(it sent a reply that nobody asked for); ");
    close_link();
}

static const struct {
    const char *bytes;
    const char *why;
} heard[] = {
    {PONG, "it sent a reply that nobody asked for"},
    {"+OK\r\n", "it sent a reply that nobody asked for"},
    {SUBSCRIBED, "it sent a reply that nobody asked for"},
    {"*0\r\n", "it sent a reply that nobody asked for"},
    {"*3\r\n$7\r\nmessage\r\n$2\r\nhc\r\n$1\r\na\r\n",
     "it sent a reply that nobody asked for"},
    {"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n:1\r\n",
     "it sent a reply that nobody asked for"},
    {"*3\r\n$-1\r\n$-1\r\n$-1\r\n", "it sent a reply that nobody asked for"},
    {"-MASTERDOWN x\r\n", "it is a replica that has lost its master"},
};

Test(store_link_setup, a_subscriber_takes_nothing_else)
{
    for (size_t i = 0; i < sizeof(heard) / sizeof(heard[0]); i++) {
        char expected[200];
        open_subscriber();
        fake_loop_text(&fake, heard[i].bytes);
        snprintf(expected, sizeof(expected), "down(%s); ", heard[i].why);
        expect_told(expected);
        close_link();
    }
    begin_subscriber();
    fake_loop_text(&fake, "-NOPERM no channel\r\n");
    expect_told("down(no permission for SUBSCRIBE); ");
    close_link();
    begin_subscriber();
    fake_loop_text(&fake, MESSAGE);
    expect_told("down(its answer to SUBSCRIBE makes no sense); ");
    close_link();
}
