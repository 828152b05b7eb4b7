/* SPDX-License-Identifier: MIT */
/* What all kinds of deployments have in common, and channels. */
#include "tests/unit/cluster_fixture.h"

TestSuite(store_client, .fini = close_cluster, .timeout = 20);

#define A_MASTER "role:master"

/* ---- a single server ---- */

static void open_single(void)
{
    node(7001)->info = A_MASTER;
    begin_kind(STORE_KIND_SINGLE, 1, (const unsigned[]){7001});
    pass(2);
    expect_told("up; ");
}

Test(store_client, a_single_server)
{
    uint32_t number = 0;

    open_single();
    cr_expect(store_client_is_up(client));
    cr_expect_not(store_client_is_cluster(client));
    cr_expect_str_eq(store_client_run_id(client), "7001.0");
    cr_expect_not_null(call("a", 5));
    cr_expect_not_null(call_script("b", 16000));
    pass(1);
    expect_told("a=7001; b=7001; ");
    cr_assert(store_client_node(client, &number));
    cr_expect_eq(number, 0);
    const char *argv[] = {"SCAN", "0"};
    const size_t lens[] = {4, 1};
    cr_expect_not_null(
        store_client_send_to(client, 0, 2, argv, lens, on_done, named("c")));
    cr_expect_null(
        store_client_send_to(client, 1, 2, argv, lens, on_done, named("d")));
    pass(1);
    expect_told("c=7001; ");
    number = 1;
    cr_expect_not(store_client_node(client, &number));
    cr_expect_eq(number, 1);
}

Test(store_client, a_single_server_has_all_slots)
{
    struct store_slots slots;

    open_single();
    store_client_shard(client, 3, &slots);
    cr_expect_eq(store_slots_count(&slots), STORE_SLOTS);
}

Test(store_client, a_single_server_that_turns_out_to_be_of_a_cluster)
{
    begin_kind(STORE_KIND_SINGLE, 1, (const unsigned[]){7001});
    pass(2);
    cr_expect(strstr(told, "down(it is a node of a Redis Cluster") == told,
              "%s", told);
}

Test(store_client, a_cluster_that_turns_out_to_be_a_single_server)
{
    node(7001)->info = A_MASTER;
    begin_client(THREE, 1, (const unsigned[]){7001});
    pass(2);
    expect_told("down(127.0.0.1:7001: it is no node of a Redis Cluster); ");
}

Test(store_client, a_channel_of_a_single_server)
{
    open_single();
    subscribe("chan");
    pass(2);
    expect_told("ch-up; ");
    publish(7001, "chan", "hello");
    expect_told("message(hello); ");
    kill_node(7001);
    cr_expect(strstr(told, "ch-down(connection reset); ") != NULL, "%s", told);
    told[0] = '\0';
    start_node(7001);
    pass(1000);
    expect_told("up; ch-up; ");
}

/* ---- a master that Sentinels name ---- */

#define A_SENTINEL      "redis_mode:sentinel"
#define MASTER_AT(port) "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n" port "\r\n"

static void begin_sentinel(void)
{
    node(7009)->info = A_SENTINEL;
    node(7001)->info = A_MASTER;
    node(7002)->info = A_MASTER;
    node(7009)->answer = MASTER_AT("7001");
    begin_kind(STORE_KIND_SENTINEL, 1, (const unsigned[]){7009});
}

Test(store_client, the_master_that_sentinels_name)
{
    begin_sentinel();
    cr_expect_not(store_client_is_up(client));
    cr_expect_null(call("a", 1));
    cr_expect_null(call_script("a", 1));
    cr_expect_str_eq(store_client_run_id(client), "");
    pass(3);
    expect_told("up; ");
    cr_expect_not_null(call("a", 1));
    pass(1);
    expect_told("a=7001; ");
    cr_expect_str_eq(store_client_run_id(client), "7001.0");
    subscribe("chan");
    pass(2);
    expect_told("ch-up; ");
    cr_expect_eq(count_wires(7001), 2);
}

Test(store_client, a_replica_that_sentinels_name)
{
    begin_sentinel();
    node(7001)->info = "role:slave\r\nslave_read_only:0";
    pass(3);
    cr_expect_not(store_client_is_up(client));
    cr_expect(strstr(told, "127.0.0.1:7001: it is a replica"), "%s", told);
}

Test(store_client, a_channel_before_the_master_is_known)
{
    begin_sentinel();
    subscribe("chan");
    pass(3);
    expect_told("ch-up; up; ");
}

Test(store_client, another_master_is_followed)
{
    begin_sentinel();
    subscribe("chan");
    pass(3);
    expect_told("ch-up; up; ");
    node(7001)->is_silent = true;
    cr_expect_not_null(call("a", 1));
    publish(7009, "+switch-master", "other 127.0.0.1 7001 127.0.0.1 7003");
    expect_told("");
    node(7009)->answer = MASTER_AT("7002");
    publish(7009, "+switch-master", "main 127.0.0.1 7001 127.0.0.1 7002");
    cr_expect(strstr(told, "ch-down(another address is the right one now); "),
              "%s", told);
    cr_expect(strstr(told, ": another address is the right one now); a=-; "),
              "%s", told);
    told[0] = '\0';
    pass(2);
    expect_told("ch-up; up; ");
    cr_expect_eq(count_wires(7001), 0);
    cr_expect_eq(count_wires(7002), 2);
    cr_expect_not_null(call("b", 1));
    pass(1);
    expect_told("b=7002; ");
}

Test(store_client, no_sentinel_answers)
{
    node(7009)->is_dead = true;
    begin_kind(STORE_KIND_SENTINEL, 1, (const unsigned[]){7009});
    pass(10);
    expect_told("down(Sentinel 127.0.0.1:7009: connection refused); ");
}

/* ---- a channel of a cluster ---- */

Test(store_client, a_channel_is_heard_at_the_owner_of_its_slot)
{
    char map[128];
    const unsigned slot = store_slot_of("chan", 4);

    begin_client(THREE, 1, (const unsigned[]){7001});
    subscribe("chan");
    pass(4);
    expect_told("up; ch-up; ");
    const unsigned owner = slot < 5000 ? 7001 : slot < 10000 ? 7002 : 7003;
    publish(owner, "chan", "hello");
    expect_told("message(hello); ");
    snprintf(map, sizeof(map), "0-%u:7004 %u-%u:7005 %u-16383:7004", slot - 1,
             slot, slot, slot + 1);
    set_map(map);
    pass(5000);
    cr_expect(strstr(told, "ch-down(another address is the right one now); "),
              "%s", told);
    cr_expect(strstr(told, "ch-up; "), "%s", told);
    told[0] = '\0';
    cr_expect_eq(count_wires(7005), 1);
    publish(7005, "chan", "again");
    expect_told("message(again); ");
}

Test(store_client, a_channel_once_the_map_is_known)
{
    open_cluster("0-16383:7002");
    subscribe("chan");
    pass(2);
    expect_told("ch-up; ");
    cr_expect_eq(count_wires(7002), 1);
}

Test(store_client, a_channel_outlives_its_node)
{
    open_cluster("0-16383:7002");
    subscribe("chan");
    pass(2);
    expect_told("ch-up; ");
    kill_node(7002);
    set_map("0-16383:7003");
    pass(5100);
    cr_expect(strstr(told, "ch-down(connection reset); ") == told, "%s", told);
    cr_expect(strstr(told, "ch-up; ") != NULL, "%s", told);
    cr_expect_eq(count_wires(7003), 1);
}

/* ---- what is given away ---- */

static bool has_secret(const char *text)
{
    return strstr(text, "hush") != NULL;
}

Test(store_client, the_password_goes_to_each_node_and_nowhere_else)
{
    struct store_url url = {.kind = STORE_KIND_CLUSTER,
                            .hosts = {{.host = "127.0.0.1", .port = 7001}},
                            .host_count = 1,
                            .user = "me",
                            .password = "wrong"};
    const struct store_client_options options = {
        .loop = &net.loop.base,
        .url = &url,
        .password = "hush",
        .timeout_ms = 250,
        .on_state = on_state,
        .on_error = on_error,
        .arg = named(""),
    };

    fake_net_init(&net);
    set_map("0-16383:7002");
    client = store_client_new(&options);
    memset(&url, 0, sizeof(url));
    pass(2);
    cr_expect_not_null(call("a", 1));
    pass(1);
    expect_told("up; a=7002; ");
    say(7002, "-ERR no such thing as hush\r\n");
    cr_expect_not_null(call("b", 1));
    pass(1);
    cr_expect(strstr(told, "error(an error); ") == told, "%s", told);
    told[0] = '\0';
    node(7002)->info = "hush";
    kill_node(7002);
    start_node(7002);
    pass(3000);
    cr_expect_not(has_secret(told), "%s", told);
}
