/* SPDX-License-Identifier: MIT */
/* A cluster that is well: commands find their nodes, links are opened on
 * demand, the map is followed. */
#include "tests/unit/cluster_fixture.h"

TestSuite(store_cluster, .fini = close_cluster, .timeout = 20);

Test(store_cluster, commands_go_to_their_nodes)
{
    open_cluster(THREE);
    cr_expect(store_client_is_up(client));
    cr_expect(store_client_is_cluster(client));
    cr_expect_str_eq(store_client_run_id(client), "");
    cr_expect_eq(count_wires(7002), 0);
    cr_expect_not_null(call("a", 0));
    pass(0);
    expect_told("a=7001; ");
    cr_expect_not_null(call("b", 5000));
    cr_expect_not_null(call_script("c", 9999));
    pass(1);
    expect_told("b=7002; c=7002; ");
    cr_expect_not_null(call("d", 16383));
    pass(1);
    expect_told("d=7003; ");
    expect_log(7001, "GET 0; ");
    expect_log(7002, "GET 5000; EVALSHA 9999; ");
    expect_log(7003, "GET 16383; ");
    cr_expect_eq(node(7002)->wires, 1);
    cr_expect_eq(node(7003)->wires, 1);
}

Test(store_cluster, before_the_map_commands_are_refused)
{
    begin_client(THREE, 1, (const unsigned[]){7001});
    cr_expect_null(call("a", 0));
    cr_expect_not(store_client_is_up(client));
    struct store_slots slots;
    store_client_shard(client, 7, &slots);
    cr_expect_eq(store_slots_count(&slots), STORE_SLOTS);
    uint32_t number = 0;
    cr_expect_not(store_client_node(client, &number));
    pass(2);
    expect_told("up; ");
    cr_expect_not_null(call("a", 0));
    pass(1);
    expect_told("a=7001; ");
}

Test(store_cluster, what_waits_for_a_link_goes_out_in_order)
{
    open_cluster(THREE);
    node(7002)->is_away = true;
    cr_expect_not_null(call("a", 5001));
    pass(30);
    cr_expect_not_null(call("b", 5002));
    cr_expect_not_null(call("c", 0));
    pass(30);
    expect_told("c=7001; ");
    cr_expect_not_null(call("d", 5001));
    node(7002)->is_away = false;
    pass(1);
    expect_log(7002, "GET 5001; GET 5002; GET 5001; ");
    expect_told("a=7002; b=7002; d=7002; ");
}

/* What ends one that waits sends another for the same key: that one is not to
 * overtake those that were there before. */
Test(store_cluster, the_order_stands_when_one_of_those_ends)
{
    open_cluster(THREE);
    node(7002)->is_away = true;
    struct store_call *first = call("a", 5001);
    cr_expect_not_null(call("b", 5002));
    cr_expect_not_null(first);
    store_link_forget(first);
    pass(100);
    cr_expect_not_null(call("c", 5003));
    pass(100);
    expect_told("");
    node(7002)->is_away = false;
    pass(1);
    expect_log(7002, "GET 5002; GET 5003; ");
    expect_told("b=7002; c=7002; ");
}

Test(store_cluster, a_link_that_never_opens_holds_calls_for_their_time)
{
    open_cluster(THREE);
    node(7002)->is_away = true;
    cr_expect_not_null(call("a", 5001));
    pass(200);
    cr_expect_not_null(call("b", 5001));
    expect_told("");
    pass(70);
    expect_told("a=-; ");
    pass(200);
    expect_told("b=-; ");
    pass(1000);
    expect_told("down(127.0.0.1:7002: no connection in time); ");
    cr_expect_null(call("c", 5001));
}

Test(store_cluster, a_link_that_is_refused_ends_calls_at_once)
{
    open_cluster(THREE);
    node(7002)->is_dead = true;
    cr_expect_not_null(call("a", 5001));
    cr_expect_not_null(call_script("b", 5002));
    cr_expect_not_null(call("c", 10000));
    pass(1);
    expect_told("a=-; b=-; down(127.0.0.1:7002: connection refused); "
                "c=7003; ");
    cr_expect_null(call("d", 5001));
    cr_expect(store_client_is_up(client), "for other slots");
}

static void on_counted(void *arg, const redisReply *reply)
{
    unsigned *count = arg;

    *count += reply != NULL;
}

Test(store_cluster, the_list_of_those_that_wait_is_bounded)
{
    const char *argv[] = {"GET", key_of(5000)};
    const size_t lens[] = {3, strlen(argv[1])};
    unsigned answered = 0;
    unsigned taken = 0;

    open_cluster(THREE);
    node(7002)->is_away = true;
    for (unsigned i = 0; i < STORE_LINK_CALLS_MAX + 10; i++)
        taken += store_client_send(client, 2, argv, lens, on_counted,
                                   &answered) != NULL;
    cr_expect_eq(taken, STORE_LINK_CALLS_MAX);
    cr_expect_not_null(call("a", 0));
    pass(1);
    expect_told("a=7001; ");
    node(7002)->is_away = false;
    pass(1);
    cr_expect_eq(answered, taken);
    cr_expect_not_null(call("b", 5000));
    pass(1);
    expect_told("b=7002; ");
}

Test(store_cluster, a_call_is_forgotten_while_it_waits)
{
    open_cluster(THREE);
    node(7002)->is_away = true;
    struct store_call *one = call("a", 5001);
    struct store_call *two = call("b", 5001);
    cr_assert(one != NULL && two != NULL);
    store_link_forget(one);
    node(7002)->is_away = false;
    pass(1);
    expect_told("b=7002; ");
    expect_log(7002, "GET 5001; ");
}

Test(store_cluster, a_freed_client_forgets_what_waits)
{
    open_cluster(THREE);
    node(7002)->is_away = true;
    cr_expect_not_null(call("a", 5001));
    node(7001)->is_silent = true;
    cr_expect_not_null(call("b", 1));
    pass(1);
    store_client_free(client);
    client = NULL;
    pass(1000);
    expect_told("");
}

/* ---- the map ---- */

Test(store_cluster, the_map_is_read_again_every_five_seconds)
{
    open_cluster(THREE);
    set_map("0-99:7004 100-4999:7001 5000-9999:7002 10000-16383:7003");
    pass(4900);
    expect_told("");
    pass(200);
    expect_told("suspect(0-99); ");
    cr_expect_not_null(call("a", 99));
    cr_expect_not_null(call("b", 100));
    pass(1);
    expect_told("b=7001; a=7004; ");
}

Test(store_cluster, slots_without_a_master)
{
    begin_client("0-9:7001 20-16383:7001", 1, (const unsigned[]){7001});
    pass(2);
    expect_told("down(10 of its slots have no master); ");
    cr_expect(store_client_is_up(client));
    cr_expect_null(call("a", 15));
    cr_expect_not_null(call("b", 9));
    set_map("0-16383:7001");
    pass(250);
    expect_told("b=7001; up; ");
    cr_expect_not_null(call("c", 15));
    pass(1);
    expect_told("c=7001; ");
    pass(5000);
    expect_told("");
}

Test(store_cluster, a_node_that_vanishes_from_the_map_is_closed)
{
    open_cluster(THREE);
    cr_expect_not_null(call("a", 5000));
    pass(1);
    expect_told("a=7002; ");
    node(7002)->is_silent = true;
    cr_expect_not_null(call("b", 5000));
    set_map("0-9999:7001 10000-16383:7003");
    pass(1);
    cr_expect_eq(count_wires(7002), 1);
    cr_expect_not_null(call("b2", 5000));
    pass(255);
    expect_told("down(127.0.0.1:7002: it does not answer); b=-; "
                "suspect(5000-9999); up; b2=-; ");
    cr_expect_not_null(call("c", 5000));
    pass(0);
    expect_told("c=7001; ");
    node(7002)->is_silent = false;
    pass(5100);
    cr_expect_eq(count_wires(7002), 0);
    expect_told("");
}

Test(store_cluster, a_seed_that_is_not_in_the_map)
{
    begin_client("0-8191:7002 8192-16383:7003", 2,
                 (const unsigned[]){7001, 7004});
    node(7004)->is_dead = true;
    pass(2);
    expect_told("up; ");
    cr_expect_not_null(call("a", 1));
    cr_expect_not_null(call("b", 16383));
    pass(1);
    expect_told("a=7002; b=7003; ");
    pass(11000);
    expect_told("");
    cr_expect_eq(count_wires(7001), 0, "masters are asked now");
    cr_expect_eq(count_wires(7004), 0);
}

Test(store_cluster, seeds_that_cannot_be_reached)
{
    begin_client(THREE, 2, (const unsigned[]){7001, 7002});
    node(7001)->is_dead = true;
    node(7002)->is_away = true;
    pass(900);
    expect_told("");
    pass(200);
    expect_told("down(127.0.0.1:7001: connection refused); ");
    node(7002)->is_away = false;
    pass(100);
    expect_told("");
    cr_expect_not_null(call("a", 5000));
    pass(1);
    expect_told("a=7002; ");
    start_node(7001);
    pass(3000);
    expect_told("up; ");
}

/* One that has left its cluster, or was never in it, knows no slots. */
Test(store_cluster, the_first_seed_is_not_in_the_cluster)
{
    begin_client(THREE, 2, (const unsigned[]){7009, 7002});
    set_raw_map(7009, "*0\r\n");
    pass(300);
    expect_told("up; ");
    cr_expect_not_null(call("a", 1));
    pass(1);
    expect_told("a=7001; ");
}

Test(store_cluster, a_node_that_leaves_the_cluster_takes_no_map_with_it)
{
    open_cluster(THREE);
    set_map("0-9999:7002 10000-16383:7003");
    set_raw_map(7001, "*0\r\n");
    pass(5100);
    cr_expect_not_null(call("a", 5000));
    pass(500);
    expect_told("a=7002; suspect(0-4999); ");
    cr_expect_eq(count_wires(7001), 0);
}

Test(store_cluster, a_cluster_that_is_not_set_up)
{
    begin_client("", 1, (const unsigned[]){7001});
    pass(10);
    expect_told("down(no node tells who has which slots); ");
    cr_expect_null(call("a", 1));
    set_map(THREE);
    pass(300);
    expect_told("up; ");
}

Test(store_cluster, the_map_is_refused)
{
    begin_client(THREE, 1, (const unsigned[]){7001});
    set_raw_map(7001, "-NOPERM this user has no permissions\r\n");
    pass(10);
    expect_told("error(NOPERM this user has no permissions); "
                "down(no node tells who has which slots); ");
    set_raw_map(7001, "-MOVED 0 127.0.0.1:7001\r\n");
    pass(1000);
    expect_told("");
    set_raw_map(7001, NULL);
    pass(300);
    expect_told("up; ");
}

/* ---- walks ---- */

static struct store_call *send_to(const char *name, uint32_t number)
{
    const char *argv[] = {"SCAN", "0"};
    const size_t lens[] = {4, 1};

    return store_client_send_to(client, number, 2, argv, lens, on_done,
                                named(name));
}

Test(store_cluster, a_walk_over_all_nodes)
{
    static const char *const names[] = {"a", "b", "c"};
    uint32_t numbers[3];
    uint32_t next = 0;

    open_cluster(THREE);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(store_client_node(client, &next));
        cr_expect_not_null(send_to(names[i], next));
        numbers[i] = next++;
        pass(1);
    }
    cr_expect_not(store_client_node(client, &next));
    cr_expect_eq(next, numbers[2] + 1);
    cr_expect(strstr(told, "=7001") && strstr(told, "=7002") &&
                  strstr(told, "=7003"),
              "%s", told);
    told[0] = '\0';
    cr_expect_null(send_to("d", numbers[0] + 1));
    /* the order stands while ranges move, another node comes, one goes */
    set_map("0-99:7003 100-9999:7002 10000-16383:7004");
    pass(5200);
    uint32_t seen[3];
    next = 0;
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(store_client_node(client, &next));
        seen[i] = next++;
    }
    cr_expect_not(store_client_node(client, &next));
    cr_expect(seen[0] < seen[1] && seen[1] < seen[2]);
}

Test(store_cluster, a_walk_is_not_redirected)
{
    uint32_t number = 0;

    open_cluster("0-16383:7001");
    cr_assert(store_client_node(client, &number));
    say(7001, "-MOVED 0 127.0.0.1:7002\r\n");
    say(7001, "-TRYAGAIN later\r\n");
    cr_expect_not_null(send_to("a", number));
    cr_expect_not_null(send_to("b", number));
    pass(30);
    expect_told("a=-; b=-; ");
    cr_expect_eq(node(7002)->wires, 0);
}

Test(store_cluster, a_shard_is_all_that_one_node_has)
{
    struct store_slots slots;

    open_cluster("0-99:7001 100-9999:7002 10000-16383:7001");
    store_client_shard(client, 5, &slots);
    cr_expect_eq(store_slots_count(&slots), 6484);
    cr_expect(store_slots_has(&slots, 16383) && !store_slots_has(&slots, 100));
}
