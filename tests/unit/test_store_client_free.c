/* SPDX-License-Identifier: MIT */
/* A client that is freed within its own callbacks: nothing runs after that,
 * and nothing is left. */
#include "tests/unit/cluster_fixture.h"

TestSuite(store_client_free, .fini = close_cluster, .timeout = 20);

/* After `at` was told the client is gone, and nothing more is told. */
static void expect_freed(const char *at)
{
    pass(3000);
    cr_expect_null(client, "%s was never told: %s", at, told);
    const size_t len = strlen(told);
    cr_expect(len >= strlen(at) && strcmp(told + len - strlen(at), at) == 0,
              "%s: %s", at, told);
    cr_expect_null(net.wires);
    cr_expect_null(net.loop.timers);
}

/* With links to all nodes, and calls under way and waiting. */
static void open_busy(void)
{
    open_cluster(THREE);
    subscribe("chan");
    call("", 5000);
    call("", 16383);
    pass(2000);
    told[0] = '\0';
    for (unsigned port = 7001; port <= 7003; port++)
        node(port)->is_silent = true;
    call("a", 1);
    call("b", 5000);
    call("c", 5001);
    call("d", 5002);
    set_map("0-16383:7003");
}

static void let_them_talk(void)
{
    for (unsigned port = 7001; port <= 7003; port++)
        node(port)->is_silent = false;
}

Test(store_client_free, when_it_comes_up)
{
    begin_client(THREE, 1, (const unsigned[]){7001});
    free_at = "up; ";
    expect_freed("up; ");
}

Test(store_client_free, when_no_node_can_be_reached)
{
    begin_client(THREE, 2, (const unsigned[]){7001, 7002});
    node(7001)->is_dead = node(7002)->is_dead = true;
    free_at = "); ";
    expect_freed("down(127.0.0.1:7001: connection refused); ");
}

Test(store_client_free, when_the_map_makes_no_sense)
{
    begin_client("", 1, (const unsigned[]){7001});
    free_at = "); ";
    expect_freed("slots); ");
}

Test(store_client_free, with_the_end_of_a_call)
{
    open_busy();
    let_them_talk();
    free_at = "c=7002; ";
    expect_freed("c=7002; ");
}

Test(store_client_free, when_a_node_dies)
{
    open_busy();
    free_at = "connection reset); ";
    kill_node(7002);
    expect_freed("connection reset); ");
}

Test(store_client_free, with_the_end_of_a_call_when_a_node_dies)
{
    open_busy();
    free_at = "c=-; ";
    kill_node(7002);
    expect_freed("b=-; c=-; ");
}

Test(store_client_free, when_a_node_does_not_answer)
{
    open_busy();
    free_at = "it does not answer); ";
    expect_freed("it does not answer); ");
}

Test(store_client_free, with_the_end_of_a_call_that_is_late)
{
    open_busy();
    free_at = "c=-; ";
    expect_freed("c=-; ");
}

Test(store_client_free, with_a_call_that_waits)
{
    open_cluster(THREE);
    node(7002)->is_away = true;
    call("a", 5000);
    call("b", 5001);
    call("c", 5002);
    free_at = "b=-; ";
    expect_freed("a=-; b=-; ");
}

Test(store_client_free, when_a_link_is_refused_with_calls_that_wait)
{
    open_cluster(THREE);
    node(7002)->is_dead = true;
    call("a", 5000);
    call("b", 5001);
    call("c", 5002);
    free_at = "b=-; ";
    expect_freed("a=-; b=-; ");
}

Test(store_client_free, with_a_call_that_is_redirected_to_nowhere)
{
    open_busy();
    for (unsigned i = 0; i < 5; i++)
        say(7002, "-MOVED 99999 h:1\r\n");
    let_them_talk();
    free_at = "b=-; ";
    expect_freed("b=-; ");
}

Test(store_client_free, with_what_is_told_of_cluster_down)
{
    open_busy();
    say(7002, "-CLUSTERDOWN x\r\n");
    let_them_talk();
    free_at = "down(it says that it is down (CLUSTERDOWN)); ";
    expect_freed("b=-; down(it says that it is down (CLUSTERDOWN)); ");
}

Test(store_client_free, with_an_error)
{
    open_busy();
    say(7002, "-OOM x\r\n");
    let_them_talk();
    free_at = "error(OOM x); ";
    expect_freed("error(OOM x); ");
}

Test(store_client_free, with_a_suspicion_of_the_map)
{
    open_busy();
    let_them_talk();
    pass(2000);
    free_at = "suspect(0-9999); ";
    pass(3000);
    expect_freed("suspect(0-9999); ");
}

Test(store_client_free, with_a_suspicion_of_a_node)
{
    open_busy();
    set_map(THREE);
    kill_node(7002);
    start_node(7002);
    let_them_talk();
    free_at = "suspect(5000-9999); ";
    expect_freed("suspect(5000-9999); ");
}

Test(store_client_free, with_the_end_of_a_stall)
{
    open_busy();
    set_map(THREE);
    pass(300);
    told[0] = '\0';
    let_them_talk();
    free_at = "up; ";
    expect_freed("up; ");
}

/* ---- its channel ---- */

Test(store_client_free, when_the_channel_is_heard)
{
    open_cluster(THREE);
    subscribe("chan");
    free_at = "ch-up; ";
    expect_freed("ch-up; ");
}

Test(store_client_free, with_a_message)
{
    open_cluster("0-16383:7001");
    subscribe("chan");
    pass(5);
    free_at = "message(x); ";
    publish(7001, "chan", "x");
    expect_freed("message(x); ");
}

Test(store_client_free, when_the_channel_is_lost)
{
    open_cluster("0-16383:7001");
    subscribe("chan");
    pass(5);
    free_at = "ch-down(connection reset); ";
    kill_node(7001);
    expect_freed("ch-down(connection reset); ");
}

Test(store_client_free, when_the_channel_moves)
{
    open_cluster("0-16383:7001");
    subscribe("chan");
    pass(5);
    told[0] = '\0';
    set_map("0-16383:7002");
    free_at = "ch-down(another address is the right one now); ";
    pass(3000);
    expect_freed("suspect(0-16383); "
                 "ch-down(another address is the right one now); ");
}

/* ---- with Sentinels ---- */

static void open_master(void)
{
    node(7009)->info = "redis_mode:sentinel";
    node(7001)->info = node(7002)->info = "role:master";
    node(7009)->answer = "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n7001\r\n";
    begin_kind(STORE_KIND_SENTINEL, 1, (const unsigned[]){7009});
    subscribe("chan");
    pass(5);
    expect_told("ch-up; up; ");
    node(7001)->is_silent = true;
    call("a", 1);
    call("b", 1);
}

static void move_master(void)
{
    publish(7009, "+switch-master", "main 127.0.0.1 7001 127.0.0.1 7002");
}

Test(store_client_free, when_the_channel_follows_the_master)
{
    open_master();
    free_at = "ch-down(another address is the right one now); ";
    move_master();
    expect_freed("ch-down(another address is the right one now); ");
}

Test(store_client_free, when_the_master_is_left)
{
    open_master();
    free_at = ": another address is the right one now); ";
    move_master();
    expect_freed(": another address is the right one now); ");
}

Test(store_client_free, with_the_end_of_a_call_to_a_master_that_is_left)
{
    open_master();
    free_at = "a=-; ";
    move_master();
    expect_freed("a=-; ");
}

Test(store_client_free, when_the_sentinels_are_lost)
{
    node(7009)->is_dead = true;
    begin_kind(STORE_KIND_SENTINEL, 1, (const unsigned[]){7009});
    free_at = "); ";
    expect_freed("down(Sentinel 127.0.0.1:7009: connection refused); ");
}

Test(store_client_free, of_a_single_server)
{
    node(7001)->info = "role:master";
    begin_kind(STORE_KIND_SINGLE, 1, (const unsigned[]){7001});
    pass(2);
    call("a", 1);
    call("b", 1);
    free_at = "a=7001; ";
    expect_freed("a=7001; ");
}

Test(store_client_free, none)
{
    open_cluster(THREE);
    store_client_free(NULL);
}
