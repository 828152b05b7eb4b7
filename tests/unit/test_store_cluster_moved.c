/* SPDX-License-Identifier: MIT */
/* Commands that are sent elsewhere, or are to wait: MOVED, ASK, TRYAGAIN,
 * CLUSTERDOWN; also by nodes that lie. */
#include "tests/unit/cluster_fixture.h"

TestSuite(store_cluster_moved, .fini = close_cluster, .timeout = 20);

static const char moved_to[] = "-MOVED %u 127.0.0.1:%u";
static const char ask_to[] = "-ASK %u 127.0.0.1:%u";

/* A reply of one line; it lives on. */
static const char *redirection(const char *form, unsigned slot, unsigned port)
{
    return form == ask_to ? line("-ASK %u 127.0.0.1:%u", slot, port)
                          : line("-MOVED %u 127.0.0.1:%u", slot, port);
}

Test(store_cluster_moved, moved_corrects_the_map_at_once)
{
    open_cluster(THREE);
    say(7001, redirection(moved_to, 7, 7002));
    cr_expect_not_null(call("a", 7));
    pass(1);
    expect_told("a=7002; ");
    cr_expect_not_null(call("b", 7));
    cr_expect_not_null(call("c", 8));
    pass(1);
    expect_log(7001, "GET 7; GET 8; ");
    expect_log(7002, "GET 7; GET 7; ");
    expect_told("b=7002; c=7001; ");
}

Test(store_cluster_moved, the_map_is_read_again_soon_after)
{
    open_cluster(THREE);
    pass(1000);
    set_map("0-9:7002 10-4999:7001 5000-9999:7002 10000-16383:7003");
    say(7001, redirection(moved_to, 7, 7002));
    cr_expect_not_null(call("a", 7));
    pass(3);
    expect_told("a=7002; suspect(0-9); ");
    cr_expect_not_null(call("b", 9));
    pass(0);
    expect_told("b=7002; ");
}

Test(store_cluster_moved, a_script_moves_as_a_whole)
{
    open_cluster(THREE);
    say(7001, redirection(moved_to, 7, 7002));
    cr_expect_not_null(call_script("a", 7));
    pass(1);
    expect_told("a=7002; ");
    expect_log(7002, "EVALSHA 7; ");
    say(7001, redirection(ask_to, 8, 7002));
    say(7002, "-NOSCRIPT no\r\n");
    cr_expect_not_null(call_script("b", 8));
    pass(1);
    expect_log(7002, "ASKING; EVALSHA 8; ASKING; EVAL 8; ");
    told[0] = '\0';
}

Test(store_cluster_moved, moved_to_a_node_that_the_map_has_not_named)
{
    open_cluster(THREE);
    pass(1000);
    say(7001, redirection(moved_to, 7, 7004));
    cr_expect_not_null(call("a", 7));
    cr_expect_not_null(call("b", 8));
    set_map("0-9:7004 10-4999:7001 5000-9999:7002 10000-16383:7003");
    pass(3);
    expect_told("b=7001; a=7004; suspect(0-9); ");
    cr_expect_eq(node(7004)->wires, 1);
}

Test(store_cluster_moved, ask_goes_behind_asking_once)
{
    open_cluster(THREE);
    say(7001, redirection(ask_to, 7, 7002));
    cr_expect_not_null(call("a", 7));
    pass(1);
    expect_told("a=7002; ");
    expect_log(7002, "ASKING; GET 7; ");
    cr_expect_not_null(call("b", 7));
    pass(1);
    expect_told("b=7001; ");
    expect_log(7001, "GET 7; GET 7; ");
}

/* A node that slots are moved to has none yet, so that the map does not name
 * it: what waits for its link goes out all the same. */
Test(store_cluster_moved, ask_to_a_new_node_outlives_a_map)
{
    open_cluster(THREE);
    pass(1000);
    node(7004)->is_away = true;
    say(7001, redirection(ask_to, 7, 7004));
    say(7001, redirection(moved_to, 9, 7002));
    cr_expect_not_null(call("a", 7));
    cr_expect_not_null(call("b", 9));
    pass(230);
    expect_told("b=7002; ");
    cr_expect_eq(count_wires(7004), 1);
    node(7004)->is_away = false;
    pass(1);
    expect_told("a=7004; ");
    expect_log(7004, "ASKING; GET 7; ");
    cr_expect_eq(node(7004)->wires, 1);
    pass(6000);
    cr_expect_eq(count_wires(7004), 0, "it is not in use");
}

Test(store_cluster_moved, ask_then_back_to_the_owner)
{
    open_cluster(THREE);
    say(7001, redirection(ask_to, 7, 7002));
    say(7002, redirection(moved_to, 7, 7001));
    cr_expect_not_null(call("a", 7));
    pass(1);
    expect_told("a=7001; ");
    expect_log(7001, "GET 7; GET 7; ");
}

/* ---- waiting ---- */

Test(store_cluster_moved, try_again_then_success)
{
    open_cluster(THREE);
    say(7001, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    say(7001, "-TRYAGAIN x\r\n");
    cr_expect_not_null(call("a", 7));
    pass(19);
    expect_told("");
    pass(25);
    expect_told("a=7001; ");
    expect_log(7001, "GET 7; GET 7; GET 7; ");
}

Test(store_cluster_moved, try_again_until_the_time_is_over)
{
    open_cluster(THREE);
    for (unsigned i = 0; i < SCRIPT_MAX; i++)
        say(7001, "-TRYAGAIN x\r\n");
    cr_expect_not_null(call("a", 7));
    pass(240);
    expect_told("");
    pass(30);
    expect_told("a=-; ");
    cr_expect_lt(node(7001)->said, 20);
    const unsigned said = node(7001)->said;
    pass(100);
    cr_expect_eq(node(7001)->said, said);
}

Test(store_cluster_moved, try_again_after_asking_begins_at_the_owner)
{
    open_cluster(THREE);
    say(7001, redirection(ask_to, 7, 7002));
    say(7002, "-TRYAGAIN x\r\n");
    cr_expect_not_null(call("a", 7));
    pass(30);
    expect_told("a=7001; ");
    expect_log(7002, "ASKING; GET 7; ");
}

Test(store_cluster_moved, a_call_is_forgotten_on_its_way)
{
    open_cluster(THREE);
    say(7001, "-TRYAGAIN x\r\n");
    struct store_call *one = call("a", 7);
    pass(1);
    cr_assert_not_null(one);
    store_link_forget(one);
    pass(100);
    expect_log(7001, "GET 7; ");
    node(7002)->is_silent = true;
    say(7001, redirection(moved_to, 7, 7002));
    struct store_call *two = call("b", 7);
    pass(1);
    cr_assert_not_null(two);
    store_link_forget(two);
    node(7002)->is_silent = false;
    pass(5);
    expect_told("");
}

Test(store_cluster_moved, cluster_down_ends_calls_and_passes)
{
    open_cluster(THREE);
    pass(1000);
    say(7001, "-CLUSTERDOWN The cluster is down\r\n");
    say(7001, "-CLUSTERDOWN Hash slot not served\r\n");
    cr_expect_not_null(call("a", 7));
    cr_expect_not_null(call("b", 8));
    pass(1);
    expect_told("a=-; down(it says that it is down (CLUSTERDOWN)); b=-; ");
    cr_expect(store_client_is_up(client), "others may have better luck");
    cr_expect_not_null(call("c", 9));
    pass(1);
    expect_told("c=7001; ");
    pass(1300);
    expect_told("");
    pass(500);
    expect_told("up; ");
}

/* ---- nodes that lie ---- */

static void expect_end_of(const char *reply, int64_t within_ms)
{
    const char *key = key_of(7);

    for (unsigned i = 0; i < SCRIPT_MAX; i++) {
        say(7001, reply);
        say(7002, line("-MOVED 7 127.0.0.1:7001"));
    }
    cr_expect_not_null(call_key("a", key));
    pass(within_ms);
    cr_expect_str_eq(told, "a=-; ", "%s: %s", reply, told);
    cr_expect_leq(node(7001)->said, 20, "%s", reply);
}

Test(store_cluster_moved, in_a_circle)
{
    open_cluster(THREE);
    expect_end_of("-MOVED 7 127.0.0.1:7002\r\n", 270);
    cr_expect_leq(node(7001)->said + node(7002)->said, 16);
    cr_expect_eq(count_wires(7001) + count_wires(7002), 2);
}

Test(store_cluster_moved, to_itself)
{
    open_cluster(THREE);
    expect_end_of("-MOVED 7 127.0.0.1:7001\r\n", 270);
    cr_expect_leq(node(7001)->said, 14);
}

Test(store_cluster_moved, asked_to_ask_itself)
{
    open_cluster(THREE);
    expect_end_of("-ASK 7 127.0.0.1:7001\r\n", 270);
    cr_expect_leq(node(7001)->said, 14);
}

Test(store_cluster_moved, asked_in_a_circle)
{
    open_cluster(THREE);
    expect_end_of("-ASK 7 127.0.0.1:7002\r\n", 270);
}

Test(store_cluster_moved, an_empty_host_is_the_same_host)
{
    open_cluster(THREE);
    say(7001, "-MOVED 7 :7002\r\n");
    say(7001, "-ASK 8 :7003\r\n");
    cr_expect_not_null(call("a", 7));
    cr_expect_not_null(call("b", 8));
    pass(1);
    cr_expect(strstr(told, "a=7002; ") != NULL, "%s", told);
    cr_expect(strstr(told, "b=7003; ") != NULL, "%s", told);
    told[0] = '\0';
    cr_expect_eq(count_wires(7002) + count_wires(7003), 2);
}

Test(store_cluster_moved, redirections_without_sense_end_the_call)
{
    char longest[300];
    const char *const bad[] = {
        "-MOVED 99999 127.0.0.1:7002\r\n",
        "-MOVED 16384 127.0.0.1:7002\r\n",
        "-MOVED -7 127.0.0.1:7002\r\n",
        "-MOVED 8 127.0.0.1:7002\r\n", /* another slot */
        "-MOVED 7 127.0.0.1\r\n",
        "-MOVED 7 127.0.0.1:\r\n",
        "-MOVED 7 127.0.0.1:0\r\n",
        "-MOVED 7 127.0.0.1:65536\r\n",
        "-MOVED 7 127.0.0.1:7002 \r\n",
        "-MOVED 7 127.0.0.1:7002x\r\n",
        "-MOVED 7 127.0.0.1:-1\r\n",
        "-MOVED 7 a\x01:7002\r\n",
        "-MOVED 7 a b:7002\r\n",
        "-MOVED 7 /tmp/x:7002\r\n",
        "-MOVED 7  127.0.0.1:7002\r\n",
        "-MOVED 7\r\n",
        "-MOVED \r\n",
        "-MOVED x 127.0.0.1:7002\r\n",
        "-MOVED 7127.0.0.1:7002\r\n",
        "-MOVED 00000000007 127.0.0.1:7002\r\n",
        "-ASK 8 127.0.0.1:7002\r\n",
        "-ASK 7\r\n",
        "-ASK 7 :0\r\n",
    };

    open_cluster(THREE);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        say(7001, bad[i]);
        cr_expect_not_null(call("a", 7));
        pass(0);
        cr_expect_str_eq(told, "a=-; ", "%s: %s", bad[i], told);
        told[0] = '\0';
    }
    memset(longest, 'h', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    say(7001, line("-MOVED 7 %s:7002", longest));
    cr_expect_not_null(call("a", 7));
    cr_expect_not_null(call("b", 7));
    pass(1);
    expect_told("a=-; b=7001; ");
    cr_expect_eq(count_wires(7002), 0);
    cr_expect_eq(net.opens, 1);
}

/* A thousand nodes are kept, no more; and they go with the next map. */
Test(store_cluster_moved, to_very_many_nodes)
{
    char key[16];
    unsigned moved = 0;

    open_cluster("0-16383:7001");
    pass(1000);
    /* no other map meanwhile */
    set_raw_map(7001, "-ERR\r\n");
    for (unsigned i = 0; i < 1100; i++) {
        struct fake_node *one = node(7001);
        snprintf(key, sizeof(key), "m%u", i);
        one->scripted = one->said = 0;
        say(7001,
            line("-MOVED %u h%u:7009", store_slot_of(key, strlen(key)), i));
        node(7009)->is_away = true;
        if (call_key("", key) != NULL)
            moved++;
        pump();
    }
    cr_expect_gt(moved, 1000);
    cr_expect_leq(net.opens, 1000);
    set_raw_map(7001, NULL);
    pass(2000);
    cr_expect_eq(count_wires(7009), 0);
}
