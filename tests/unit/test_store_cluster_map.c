/* SPDX-License-Identifier: MIT */
/* What CLUSTER SLOTS and redirections say, also where it makes no sense. */
#include "store/cluster_map.h"
#include "tests/unit/cluster_fixture.h"

TestSuite(store_cluster_map, .timeout = 20);

static const struct store_address from = {
    .host = "10.0.0.9", .port = 6379, .is_tls = true};

/* ---- one range ---- */

static bool read_range(const char *bytes, struct store_cluster_range *range)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;

    redisReaderFeed(reader, "*1\r\n", 4);
    redisReaderFeed(reader, bytes, strlen(bytes));
    cr_assert_eq(redisReaderGetReply(reader, &reply), REDIS_OK);
    cr_assert_not_null(reply, "%s", bytes);
    const bool is_good = store_cluster_ranges(reply) == 1 &&
                         store_cluster_range_read(reply, 0, &from, range);
    freeReplyObject(reply);
    redisReaderFree(reader);
    return is_good;
}

#define NODE_ID "$3\r\nabc\r\n"
#define RANGE   "*3\r\n:0\r\n:5\r\n"

Test(store_cluster_map, ranges)
{
    static const struct {
        const char *bytes;
        const char *host;
        uint16_t port;
    } good[] = {
        {RANGE "*3\r\n$2\r\nh1\r\n:7\r\n" NODE_ID, "h1", 7},
        {RANGE "*3\r\n$3\r\n::1\r\n:65535\r\n" NODE_ID, "::1", 65535},
        {RANGE "*3\r\n$0\r\n\r\n:7\r\n" NODE_ID, "10.0.0.9", 7},
        {RANGE "*3\r\n$1\r\n?\r\n:7\r\n" NODE_ID, "10.0.0.9", 7},
        {RANGE "*3\r\n$-1\r\n:7\r\n" NODE_ID, "10.0.0.9", 7},
        {RANGE "*4\r\n$1\r\nh\r\n:7\r\n" NODE_ID "*0\r\n", "h", 7},
        {"*5\r\n:0\r\n:5\r\n*3\r\n$1\r\nh\r\n:7\r\n" NODE_ID
         "$1\r\nx\r\n:1\r\n",
         "h", 7},
        /* nobody knows where it is */
        {RANGE "*3\r\n$0\r\n\r\n:0\r\n" NODE_ID, "", 0},
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct store_cluster_range range;
        cr_assert(read_range(good[i].bytes, &range), "%s", good[i].bytes);
        cr_expect_str_eq(range.address.host, good[i].host);
        cr_expect_eq(range.address.port, good[i].port);
        cr_expect(range.address.is_tls || good[i].port == 0);
        cr_expect(range.first == 0 && range.last == 5);
        cr_expect_neq(range.number, 0);
    }
}

Test(store_cluster_map, ranges_without_sense)
{
    static const char *const bad[] = {
        "$1\r\nx\r\n",
        ":1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n:0\r\n:5\r\n",
        "*3\r\n:-1\r\n:5\r\n*3\r\n$1\r\nh\r\n:7\r\n" NODE_ID,
        "*3\r\n:0\r\n:16384\r\n*3\r\n$1\r\nh\r\n:7\r\n" NODE_ID,
        "*3\r\n:6\r\n:5\r\n*3\r\n$1\r\nh\r\n:7\r\n" NODE_ID,
        "*3\r\n$1\r\n0\r\n:5\r\n*3\r\n$1\r\nh\r\n:7\r\n" NODE_ID,
        "*3\r\n:0\r\n$1\r\n5\r\n*3\r\n$1\r\nh\r\n:7\r\n" NODE_ID,
        RANGE "$1\r\nh\r\n",
        RANGE "*0\r\n",
        RANGE "*2\r\n$1\r\nh\r\n:7\r\n",
        RANGE "*3\r\n:1\r\n:7\r\n" NODE_ID,
        RANGE "*3\r\n$1\r\nh\r\n$1\r\n7\r\n" NODE_ID,
        RANGE "*3\r\n$1\r\nh\r\n:-7\r\n" NODE_ID,
        RANGE "*3\r\n$1\r\nh\r\n:65536\r\n" NODE_ID,
        RANGE "*3\r\n$1\r\nh\r\n:7\r\n:1\r\n",
        RANGE "*3\r\n$1\r\nh\r\n:7\r\n$0\r\n\r\n",
        RANGE "*3\r\n$1\r\nh\r\n:7\r\n$-1\r\n",
        RANGE "*3\r\n$3\r\na b\r\n:7\r\n" NODE_ID,
        RANGE "*3\r\n$2\r\n\x1b[\r\n:7\r\n" NODE_ID,
        RANGE "*3\r\n$4\r\n/tmp\r\n:7\r\n" NODE_ID,
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct store_cluster_range range;
        cr_expect_not(read_range(bad[i], &range), "%s", bad[i]);
    }
}

Test(store_cluster_map, hosts_of_any_length)
{
    char bytes[512];
    char host[300];

    for (size_t len = 250; len < 270; len++) {
        struct store_cluster_range range;
        memset(host, 'h', len);
        host[len] = '\0';
        snprintf(bytes, sizeof(bytes),
                 RANGE "*3\r\n$%zu\r\n%s\r\n:7\r\n" NODE_ID, len, host);
        cr_expect_eq(read_range(bytes, &range), len < STORE_HOST_MAX, "%zu",
                     len);
    }
}

Test(store_cluster_map, numbers_are_those_of_ids)
{
    struct store_cluster_range one, same, other;

    cr_assert(read_range(RANGE "*3\r\n$1\r\nh\r\n:7\r\n" NODE_ID, &one));
    cr_assert(read_range(RANGE "*3\r\n$1\r\ng\r\n:8\r\n" NODE_ID, &same));
    cr_assert(read_range(RANGE "*3\r\n$1\r\nh\r\n:7\r\n$3\r\nabd\r\n", &other));
    cr_expect_eq(one.number, same.number);
    cr_expect_neq(one.number, other.number);
}

Test(store_cluster_map, not_a_map)
{
    const redisReply text = {.type = REDIS_REPLY_STRING};
    const redisReply empty = {.type = REDIS_REPLY_ARRAY};
    const redisReply most = {.type = REDIS_REPLY_ARRAY,
                             .elements = STORE_CLUSTER_RANGES_MAX};
    const redisReply many = {.type = REDIS_REPLY_ARRAY,
                             .elements = STORE_CLUSTER_RANGES_MAX + 1};

    cr_expect_eq(store_cluster_ranges(&text), -1);
    cr_expect_eq(store_cluster_ranges(&empty), 0);
    cr_expect_eq(store_cluster_ranges(&most), STORE_CLUSTER_RANGES_MAX);
    cr_expect_eq(store_cluster_ranges(&many), -1);
}

/* ---- redirections ---- */

Test(store_cluster_map, redirections)
{
    static const struct {
        const char *text;
        uint16_t slot;
        const char *host;
        uint16_t port;
    } good[] = {
        {"MOVED 3999 127.0.0.1:6381", 3999, "127.0.0.1", 6381},
        {"ASK 0 h.example:1", 0, "h.example", 1},
        {"MOVED 16383 ::1:65535", 16383, "::1", 65535},
        {"MOVED 1 :6381", 1, "10.0.0.9", 6381},
        {"MOVED 1 ?:6381", 1, "10.0.0.9", 6381},
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct store_address to;
        uint16_t slot;
        cr_assert(store_cluster_redirection(good[i].text, &from, &slot, &to),
                  "%s", good[i].text);
        cr_expect_eq(slot, good[i].slot);
        cr_expect_str_eq(to.host, good[i].host);
        cr_expect_eq(to.port, good[i].port);
        cr_expect(to.is_tls && !to.is_unix);
    }
}

/* ---- whole maps, as a client sees them ---- */

static void expect_refused(const char *bytes)
{
    open_cluster(THREE);
    set_raw_map(7001, bytes);
    pass(5100);
    cr_expect_str_eq(told, "", "%.60s: %s", bytes, told);
    cr_expect_not_null(call("a", 5000));
    cr_expect_not_null(call("b", 16383));
    pass(2);
    cr_expect(strstr(told, "a=7002; ") && strstr(told, "b=7003; "), "%.60s: %s",
              bytes, told);
    close_cluster();
    for (unsigned i = 0; i < NODES; i++)
        nodes[i] = (struct fake_node){0};
}

#define AT(port)                                                               \
    "*3\r\n$9\r\n127.0.0.1\r\n:" port "\r\n$" port_len "\r\n" port "\r\n"
#define port_len "4"

Test(store_cluster_map, a_map_without_sense_changes_nothing)
{
    expect_refused("*0\r\n");
    expect_refused("*-1\r\n");
    expect_refused(":1\r\n");
    expect_refused("+OK\r\n");
    expect_refused("*1\r\n:1\r\n");
    expect_refused("*1\r\n*3\r\n:0\r\n:16384\r\n" AT("7004"));
    expect_refused("*1\r\n*3\r\n:-1\r\n:5\r\n" AT("7004"));
    /* slots of two masters */
    expect_refused("*2\r\n*3\r\n:0\r\n:9000\r\n" AT(
        "7004") "*3\r\n:9000\r\n:16383\r\n" AT("7005"));
    expect_refused("*2\r\n*3\r\n:0\r\n:16383\r\n" AT(
        "7004") "*3\r\n:7\r\n:7\r\n" AT("7004"));
    /* the first range is good, the second is not */
    expect_refused("*2\r\n*3\r\n:0\r\n:9000\r\n" AT("7004") "*0\r\n");
}

/* Ranges of one slot each, of three nodes in turn; the last one goes on to the
 * end. */
static void write_ranges(unsigned count)
{
    size_t len = (size_t)snprintf(common_map, MAP_MAX, "*%u\r\n", count);

    for (unsigned i = 0; i < count; i++)
        len += (size_t)snprintf(
            common_map + len, MAP_MAX - len,
            "*3\r\n:%u\r\n:%u\r\n*3\r\n$-1\r\n:%u\r\n$1\r\n%u\r\n", i,
            i + 1 < count ? i : STORE_SLOTS - 1, 7001 + i % 3, i % 3);
    cr_assert_lt(len, MAP_MAX - 1);
}

Test(store_cluster_map, very_many_ranges)
{
    begin_client(THREE, 1, (const unsigned[]){7001});
    write_ranges(9000);
    pass(2);
    expect_told("up; ");
    cr_expect_not_null(call("a", 1));
    cr_expect_not_null(call("b", 8999));
    pass(1);
    expect_told("a=7002; b=7003; ");
    close_cluster();
}

Test(store_cluster_map, too_many_ranges)
{
    open_cluster(THREE);
    write_ranges(16000);
    pass(5100);
    expect_told("down(127.0.0.1:7001: it sent a reply that is too large); "
                "up; ");
    cr_expect_not_null(call("a", 5000));
    pass(1);
    expect_told("a=7002; ");
    close_cluster();
}

Test(store_cluster_map, more_nodes_than_are_kept)
{
    size_t len = 0;

    begin_client(THREE, 1, (const unsigned[]){7001});
    len += (size_t)snprintf(common_map, MAP_MAX, "*1100\r\n");
    for (unsigned i = 0; i < 1100; i++)
        len += (size_t)snprintf(
            common_map + len, MAP_MAX - len,
            "*3\r\n:%u\r\n:%u\r\n*3\r\n$5\r\nh%04u\r\n:7002\r\n$4\r\n%04u\r\n",
            i, i < 1099 ? i : 16383, i, i);
    cr_assert_lt(len, MAP_MAX - 1);
    pass(2);
    /* the seed has a place as well */
    expect_told("down(15385 of its slots have no master); ");
    cr_expect_not_null(call("a", 998));
    cr_expect_null(call("b", 999));
    cr_expect_leq(net.opens, 2);
    pass(1000);
    set_map(THREE);
    pass(1000);
    cr_expect(strstr(told, "up; ") != NULL, "%s", told);
    close_cluster();
}

Test(store_cluster_map, a_master_whose_place_is_unknown)
{
    begin_client(THREE, 1, (const unsigned[]){7001});
    snprintf(common_map, MAP_MAX,
             "*2\r\n*3\r\n:0\r\n:9999\r\n" AT(
                 "7001") "*3\r\n:10000\r\n:16383\r\n*3\r\n$0\r\n\r\n:0\r\n"
                         "$1\r\nx\r\n");
    pass(2);
    expect_told("down(6384 of its slots have no master); ");
    cr_expect_not_null(call("a", 9999));
    cr_expect_null(call("b", 10000));
    pass(1);
    expect_told("a=7001; ");
    close_cluster();
}
