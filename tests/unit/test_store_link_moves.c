/* SPDX-License-Identifier: MIT */
/* Links to nodes of clusters and to Sentinels, calls that stray, and nodes that
 * are at another address. */
#include "store/call.h"
#include "tests/unit/link_fixture.h"

TestSuite(store_link_moves, .fini = close_link, .timeout = 20);
TestSuite(store_link_roles, .timeout = 20);

#define ADDRESS(h, p) (&(const struct store_address){.host = h, .port = p})
#define ANOTHER       "another address is the right one now"

/* ---- what the node must be ---- */

static void begin_with_info(enum store_role role, const char *info)
{
    struct store_link_options options = base_options;
    char reply[512];

    options.role = role;
    options.script_count = 0;
    begin_link(&options);
    snprintf(reply, sizeof(reply), "$%zu\r\n%s\r\n", strlen(info), info);
    fake_loop_text(&fake, reply);
}

Test(store_link_roles, what_a_node_must_be)
{
    static const struct {
        enum store_role role;
        const char *info;
        const char *told;
    } cases[] = {
        {STORE_ROLE_CLUSTER, "cluster_enabled:1\r\n", "up; "},
        {STORE_ROLE_CLUSTER, "role:slave\r\ncluster_enabled:1\r\n", "up; "},
        {STORE_ROLE_CLUSTER, "role:master\r\ncluster_enabled:0\r\n",
         "down(it is no node of a Redis Cluster); "},
        {STORE_ROLE_CLUSTER, "loading:1\r\ncluster_enabled:1\r\n",
         "down(it is still loading its data); "},
        {STORE_ROLE_CLUSTER, "redis_mode:sentinel\r\n",
         "down(it is a Sentinel: the URL of those begins with "
         "redis+sentinel://); "},
        {STORE_ROLE_SINGLE, "redis_mode:sentinel\r\n",
         "down(it is a Sentinel: the URL of those begins with "
         "redis+sentinel://); "},
        {STORE_ROLE_SINGLE, "role:slave\r\nslave_read_only:0\r\n", "up; "},
        {STORE_ROLE_SINGLE, "role:slave\r\nslave_read_only:1\r\n",
         "down(it is a read-only replica); "},
        {STORE_ROLE_MASTER, "role:slave\r\nslave_read_only:0\r\n",
         "down(it is a replica); "},
        {STORE_ROLE_MASTER, "role:master\r\nslave_read_only:0\r\n", "up; "},
        {STORE_ROLE_SENTINEL, "redis_mode:sentinel\r\n", "up; "},
        {STORE_ROLE_SENTINEL, "redis_mode:standalone\r\n",
         "down(it is no Sentinel); "},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin_with_info(cases[i].role, cases[i].info);
        cr_expect_str_eq(told, cases[i].told, "%zu: %s", i, told);
        close_link();
    }
}

/* ---- strays ---- */

static struct store_call *strayed;

static void on_stray(void *arg, struct store_call *call, const char *text)
{
    (void)arg;
    strayed = call;
    tell("stray(%s); ", text);
}

static void open_cluster_link(void)
{
    struct store_link_options options = base_options;

    options.role = STORE_ROLE_CLUSTER;
    options.on_stray = on_stray;
    begin_link(&options);
    fake_loop_text(&fake, BULK_SHA(SHA_A) BULK_SHA(
                              SHA_B) "$19\r\ncluster_enabled:1\r\n\r\n");
    cr_assert_str_eq(told, "up; ");
    told[0] = '\0';
    fake_loop_clear(&fake);
}

Test(store_link_moves, a_stray_call_is_handed_over)
{
    static const char *const texts[] = {"MOVED 1 h:2", "ASK 1 h:2",
                                        "TRYAGAIN x", "CLUSTERDOWN x"};
    char reply[64];
    char expected[64];

    open_cluster_link();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_assert(store_link_is_idle(link_));
        cr_assert_not_null(call_get("a"));
        cr_expect_not(store_link_is_idle(link_));
        snprintf(reply, sizeof(reply), "-%s\r\n", texts[i]);
        fake_loop_text(&fake, reply);
        snprintf(expected, sizeof(expected), "stray(%s); ", texts[i]);
        expect_told(expected);
        cr_expect(store_link_is_idle(link_));
        store_call_end(strayed, NULL);
        expect_told("a=-; ");
    }
    cr_expect(store_link_is_up(link_));
}

Test(store_link_moves, other_errors_are_answers)
{
    open_cluster_link();
    cr_assert_not_null(call_get("a"));
    fake_loop_text(&fake, "-MOVEDX 1 h:2\r\n");
    expect_told("error(MOVEDX 1 h:2); a=MOVEDX 1 h:2; ");
    cr_assert_not_null(call_get("b"));
    fake_loop_text(&fake, "-LOADING x\r\n");
    expect_told("down(it is still loading its data); b=-; ");
}

Test(store_link_moves, a_forgotten_call_does_not_stray)
{
    open_cluster_link();
    struct store_call *call = call_get("a");
    cr_assert_not_null(call);
    store_link_forget(call);
    fake_loop_text(&fake, "-MOVED 1 h:2\r\n");
    cr_expect(strstr(told, "stray") == NULL, "%s", told);
    cr_expect(store_link_is_idle(link_) && store_link_is_up(link_));
}

Test(store_link_moves, a_late_call_does_not_stray)
{
    open_cluster_link();
    cr_assert_not_null(call_get("a"));
    fake_loop_wait(&fake, 250);
    expect_told("down(it does not answer); a=-; ");
    fake_loop_text(&fake, "-ASK 1 h:2\r\n");
    cr_expect(strstr(told, "stray") == NULL, "%s", told);
}

Test(store_link_moves, a_stray_call_is_sent_again)
{
    open_cluster_link();
    cr_assert_not_null(call_get("a"));
    fake_loop_text(&fake, "-TRYAGAIN x\r\n");
    expect_told("stray(TRYAGAIN x); ");
    fake_loop_clear(&fake);
    cr_assert(store_link_resend(link_, strayed, false));
    cr_expect_str_eq(fake_loop_sent(&fake), "*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
    fake_loop_text(&fake, "$1\r\nx\r\n");
    expect_told("a=x; ");
}

Test(store_link_moves, asking_goes_in_front)
{
    open_cluster_link();
    cr_assert_not_null(call_get("a"));
    fake_loop_text(&fake, "-ASK 1 h:2\r\n");
    fake_loop_clear(&fake);
    cr_assert(store_link_resend(link_, strayed, true));
    cr_assert_not_null(call_get("b"));
    cr_expect_str_eq(fake_loop_sent(&fake),
                     "*1\r\n$6\r\nASKING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
                     "*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
    told[0] = '\0';
    fake_loop_text(&fake, "+OK\r\n$1\r\nx\r\n$1\r\ny\r\n");
    expect_told("a=x; b=y; ");
}

Test(store_link_moves, a_script_is_sent_again_by_its_hash)
{
    open_cluster_link();
    cr_assert_not_null(call_script(1, "a"));
    fake_loop_text(&fake, "-TRYAGAIN x\r\n");
    fake_loop_clear(&fake);
    cr_assert(store_link_resend(link_, strayed, false));
    cr_expect(strstr(fake_loop_sent(&fake), "EVALSHA\r\n$40\r\n" SHA_B));
    fake_loop_clear(&fake);
    fake_loop_text(&fake, "-NOSCRIPT x\r\n");
    cr_expect(strstr(fake_loop_sent(&fake), "EVAL\r\n$14\r\nreturn ARGV[1]"));
    told[0] = '\0';
    fake_loop_text(&fake, ":5\r\n");
    expect_told("a=5; ");
}

/* It has the time that is left, not that of a new one. */
Test(store_link_moves, time_goes_on_while_a_call_strays)
{
    open_cluster_link();
    cr_assert_not_null(call_get("a"));
    fake_loop_wait(&fake, 200);
    fake_loop_text(&fake, "-TRYAGAIN x\r\n");
    told[0] = '\0';
    cr_assert_not_null(call_get("b"));
    cr_assert(store_link_resend(link_, strayed, false));
    fake_loop_wait(&fake, 49);
    expect_told("");
    fake_loop_wait(&fake, 1);
    cr_expect(strstr(told, "a=-; ") != NULL, "%s", told);
    cr_expect(strstr(told, "b=-; ") == NULL, "%s", told);
}

Test(store_link_moves, a_link_that_is_down_takes_no_strays)
{
    open_cluster_link();
    cr_assert_not_null(call_get("a"));
    fake_loop_text(&fake, "-TRYAGAIN x\r\n");
    fake_loop_end(&fake, "gone");
    told[0] = '\0';
    cr_expect_not(store_link_resend(link_, strayed, false));
    cr_expect_not(store_link_resend(link_, strayed, true));
    store_call_end(strayed, NULL);
    expect_told("a=-; ");
}

/* ---- addresses ---- */

Test(store_link_moves, another_address_is_connected_to_at_once)
{
    open_link();
    cr_assert_not_null(call_get("a"));
    store_link_set_address(link_, ADDRESS("127.0.0.1", 6380));
    expect_told("down(" ANOTHER "); a=-; ");
    cr_expect(store_link_is_new(link_));
    fake_loop_wait(&fake, 0);
    cr_expect_eq(fake.address.port, 6380);
    fake_loop_connect(&fake);
    fake_loop_text(&fake, GOOD_SETUP);
    expect_told("up; ");
}

Test(store_link_moves, the_same_address_changes_nothing)
{
    open_link();
    cr_assert_not_null(call_get("a"));
    store_link_set_address(link_, ADDRESS("127.0.0.1", 6379));
    fake_loop_text(&fake, "$1\r\nx\r\n");
    expect_told("a=x; ");
    cr_expect_eq(fake.opens, 1);
}

Test(store_link_moves, another_address_ends_the_wait)
{
    begin_link(&base_options);
    for (unsigned i = 0; i < 4; i++) {
        fake_loop_end(&fake, "gone");
        fake_loop_wait(&fake, 1000);
    }
    fake_loop_end(&fake, "gone");
    expect_told("down(gone); ");
    const unsigned opens = fake.opens;
    store_link_set_address(link_, ADDRESS("other", 6379));
    expect_told("");
    fake_loop_wait(&fake, 0);
    cr_expect_eq(fake.opens, opens + 1);
    cr_expect_str_eq(fake.address.host, "other");
    /* what was said of the first one may be so of this one */
    fake_loop_end(&fake, "gone");
    expect_told("down(gone); ");
}

Test(store_link_moves, may_be_freed_while_it_moves)
{
    open_link();
    cr_assert_not_null(call_get("a"));
    free_at = "down(" ANOTHER "); ";
    store_link_set_address(link_, ADDRESS("other", 6379));
    expect_told("down(" ANOTHER "); ");
    cr_expect_null(link_);
}

Test(store_link_moves, is_new_until_it_has_failed)
{
    new_link(&base_options);
    cr_expect(store_link_is_new(link_));
    fake_loop_wait(&fake, 0);
    cr_expect(store_link_is_new(link_));
    fake_loop_connect(&fake);
    cr_expect(store_link_is_new(link_));
    fake_loop_text(&fake, GOOD_SETUP);
    cr_expect_not(store_link_is_new(link_));
    fake_loop_end(&fake, "gone");
    cr_expect_not(store_link_is_new(link_));
    fake_loop_wait(&fake, 2000);
    cr_expect_not(store_link_is_new(link_));
}
