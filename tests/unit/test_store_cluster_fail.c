/* SPDX-License-Identifier: MIT */
/* Nodes of a cluster that die, come back, or lose their part to others. */
#include "tests/unit/cluster_fixture.h"

TestSuite(store_cluster_fail, .fini = close_cluster, .timeout = 20);

/* UP, with links to all three. */
static void open_all_links(void)
{
    open_cluster(THREE);
    cr_assert_not_null(call("", 5000));
    pass(1);
    cr_assert_not_null(call("", 16383));
    pass(1);
    expect_told("=7002; =7003; ");
    pass(1000);
}

Test(store_cluster_fail, a_failover)
{
    open_all_links();
    node(7002)->is_silent = true;
    cr_expect_not_null(call("a", 5000));
    cr_expect_not_null(call("b", 5001));
    cr_expect_not_null(call("c", 5));
    kill_node(7002);
    expect_told("down(127.0.0.1:7002: connection reset); a=-; b=-; ");
    cr_expect_null(call("d", 5000));
    pass(1000);
    expect_told("c=7001; down(127.0.0.1:7002: connection refused); ");
    cr_expect(store_client_is_up(client));
    set_map("0-4999:7001 5000-9999:7005 10000-16383:7003");
    pass(210);
    expect_told("suspect(5000-9999); up; ");
    cr_expect_eq(count_wires(7005), 0, "on demand");
    cr_expect_not_null(call("e", 5000));
    pass(1);
    expect_told("e=7005; ");
    /* it comes back as a replica of the other */
    start_node(7002);
    const unsigned opens = net.opens;
    pass(6000);
    expect_told("");
    cr_expect_eq(net.opens, opens, "nobody needs it");
}

/* The node that was asked for the map is the one that dies. */
Test(store_cluster_fail, the_node_that_is_asked_dies)
{
    open_all_links();
    kill_node(7001);
    set_map("0-4999:7004 5000-9999:7002 10000-16383:7003");
    pass(500);
    expect_told("down(127.0.0.1:7001: connection reset); suspect(0-4999); "
                "up; ");
    cr_expect_not_null(call("a", 1));
    pass(1);
    expect_told("a=7004; ");
}

/* No other link is open then. */
Test(store_cluster_fail, the_only_node_in_use_dies)
{
    open_cluster(THREE);
    kill_node(7001);
    set_map("0-4999:7004 5000-9999:7002 10000-16383:7003");
    pass(1500);
    cr_expect(strstr(told, "suspect(0-4999); up; ") != NULL, "%s", told);
    told[0] = '\0';
    cr_expect_not_null(call("a", 1));
    pass(1);
    expect_told("a=7004; ");
}

Test(store_cluster_fail, some_nodes_know_earlier_than_others)
{
    open_all_links();
    kill_node(7002);
    set_own_map(7001, THREE);
    set_own_map(7003, "0-4999:7001 5000-9999:7005 10000-16383:7003");
    pass(1000);
    cr_expect(strstr(told, "suspect(5000-9999); up; ") != NULL, "%s", told);
}

Test(store_cluster_fail, a_node_is_started_anew)
{
    open_all_links();
    kill_node(7002);
    pass(60);
    start_node(7002);
    pass(1500);
    expect_told("down(127.0.0.1:7002: connection reset); "
                "down(127.0.0.1:7002: connection refused); "
                "suspect(5000-9999); up; ");
    kill_node(7002);
    node(7002)->is_dead = false; /* the connection alone was lost */
    pass(1500);
    expect_told("down(127.0.0.1:7002: connection reset); up; ");
}

Test(store_cluster_fail, another_node_at_the_same_address)
{
    open_all_links();
    set_map("0-4999:7001 5000-9999:7002=other 10000-16383:7003");
    pass(5000);
    expect_told("suspect(5000-9999); ");
}

Test(store_cluster_fail, the_same_node_at_another_address)
{
    open_all_links();
    set_map("0-4999:7001 5000-9999:7006=7002 10000-16383:7003");
    pass(5000);
    expect_told("");
    cr_expect_not_null(call("a", 5000));
    pass(1);
    expect_told("a=7006; ");
    cr_expect_eq(count_wires(7002), 0);
}

Test(store_cluster_fail, all_nodes_go_and_come_back)
{
    open_all_links();
    for (unsigned port = 7001; port <= 7003; port++)
        kill_node(port);
    told[0] = '\0';
    cr_expect_not(store_client_is_up(client));
    pass(5000);
    cr_expect_null(call("a", 1));
    told[0] = '\0';
    for (unsigned port = 7001; port <= 7003; port++)
        start_node(port);
    pass(4000);
    cr_expect(strstr(told, "suspect(0-4999); ") != NULL, "%s", told);
    cr_expect(strstr(told, "suspect(5000-9999); ") != NULL, "%s", told);
    cr_expect(strstr(told, "suspect(10000-16383); ") != NULL, "%s", told);
    const size_t len = strlen(told);
    cr_expect_str_eq(told + len - 4, "up; ", "%s", told);
    told[0] = '\0';
    cr_expect_not_null(call("a", 1));
    cr_expect_not_null(call("b", 5000));
    pass(1);
    expect_told("a=7001; b=7002; ");
}

Test(store_cluster_fail, a_node_that_answers_no_more)
{
    open_all_links();
    node(7002)->is_silent = true;
    cr_expect_not_null(call("a", 5000));
    pass(251);
    expect_told("down(127.0.0.1:7002: it does not answer); a=-; ");
    cr_expect_null(call("b", 5000));
    cr_expect_not_null(call("c", 1));
    node(7002)->is_silent = false;
    pass(100);
    expect_told("up; c=7001; ");
    cr_expect_not_null(call("d", 5000));
    pass(1);
    expect_told("d=7002; ");
}

Test(store_cluster_fail, one_of_two_that_are_away_comes_back)
{
    open_all_links();
    kill_node(7002);
    kill_node(7003);
    pass(100);
    start_node(7002);
    told[0] = '\0';
    pass(3000);
    expect_told("suspect(5000-9999); down(127.0.0.1:7003: connection refused);"
                " ");
    start_node(7003);
    pass(3000);
    expect_told("suspect(10000-16383); up; ");
}

/* Each map of a cluster that is ill is from another node: what differs between
 * them is told, yet nothing is lost in between. */
Test(store_cluster_fail, nothing_is_asked_too_often)
{
    open_all_links();
    kill_node(7002);
    told[0] = '\0';
    for (unsigned i = 0; i < 200; i++) {
        cr_expect_null(call("a", 5000));
        pass(10);
    }
    cr_expect_leq(net.opens, 20);
}
