/* SPDX-License-Identifier: MIT */
/* The file's pools: what they inherit, and what they say together. */
#include "tests/unit/options_fixture.h"

TestSuite(options_pools, .init = enter, .fini = leave);

#define FIRST "\"backend\": \"a=127.0.0.1:1\""

/* A file with the first pool, the pools of `list` and one flag, or NULL. */
static int read_pools(const char *list, const char *flag)
{
    static char text[16384];
    char words[][16] = {"sidgate", "--config=f.json"};
    char copy[200] = "";
    char *argv[] = {words[0], words[1], NULL, NULL};
    enum gw_action action;
    int len =
        snprintf(text, sizeof(text), "{" FIRST ", \"pools\": [%s]}", list);

    cr_assert_lt(len, (int)sizeof(text));
    write_text("f.json", text);
    if (flag != NULL) {
        snprintf(copy, sizeof(copy), "%s", flag);
        argv[2] = copy;
    }
    return gw_options_read(flag == NULL ? 2 : 3, argv, &config, &action, error);
}

static void pools_good(const char *list)
{
    cr_assert_eq(read_pools(list, NULL), 0, "%s: %s", list, error);
}

static void pools_bad(const char *list, const char *want)
{
    cr_expect_eq(read_pools(list, NULL), -1, "accepted: %s", list);
    cr_expect_str_eq(error, want, "%s:\n got %s\nwant %s", list, error, want);
}

Test(options_pools, what_they_say)
{
    const struct gw_pool_config *pool = &config.pools[1];

    pools_good("{\"balance\": \"hash\", \"hash_key\": \"cookie:Io\", "
               "\"backend\": [\"n1=127.0.0.1:4001\", \"127.0.0.1:4002,"
               "weight=3,max=9,drain\"], \"name\": \"v2\", "
               "\"host\": [\"Api.Example.com\", \"*.x.org\"], "
               "\"path\": \"/v2/\", \"prefix\": \"/v2\", "
               "\"health_check\": \"http\", \"health_path\": \"/up?x=1\", "
               "\"health_status\": \"204\", \"netty\": true, "
               "\"slow_start\": \"30s\", \"recovery\": \"off\", "
               "\"canary\": \"default,percent=7,header=X-New:yes\", "
               "\"sid_conflict\": \"newest\", "
               "\"discover\": \"svc.example:80\"}");
    cr_assert_eq(config.pool_count, 2);
    cr_expect_str_eq(pool->name, "v2");
    cr_expect_eq(pool->host_count, 2);
    cr_expect_str_eq(pool->hosts[0], "api.example.com");
    cr_expect_str_eq(pool->hosts[1], "*.x.org");
    cr_expect_str_eq(pool->prefix, "/v2");
    cr_expect_eq(pool->path_count, 1);
    cr_expect_str_eq(pool->paths[0], "/v2/");
    cr_expect_eq(pool->balance, GW_BALANCE_HASH);
    cr_expect_eq(pool->hash_key.source, GW_HASH_COOKIE);
    cr_expect_str_eq(pool->hash_key.name, "Io");
    cr_expect_eq(pool->health_check, GW_HEALTH_HTTP);
    cr_expect_str_eq(pool->health_path, "/up?x=1");
    cr_expect_eq(pool->health_status_min, 204);
    cr_expect_eq(pool->health_status_max, 204);
    cr_expect(pool->netty);
    cr_expect_eq(pool->slow_start_ms, 30000);
    cr_expect_eq(pool->recovery, GW_RECOVERY_OFF);
    cr_expect_eq(pool->sid_conflict, GW_SID_CONFLICT_NEWEST);
    cr_expect_str_eq(pool->canary.pool, "default");
    cr_expect_eq(pool->canary.index, 0);
    cr_expect_eq(pool->canary.percent, 7);

    cr_assert_eq(config.backend_count, 3);
    cr_expect_str_eq(config.backends[0].id, "a");
    cr_expect_eq(config.backends[0].pool, 0);
    cr_expect_str_eq(config.backends[1].id, "v2/n1");
    cr_expect_eq(config.backends[1].pool, 1);
    cr_expect_str_eq(config.backends[2].id, "v2/127.0.0.1:4002");
    cr_expect_eq(config.backends[2].weight, 3);
    cr_expect_eq(config.backends[2].max_sessions, 9);
    cr_expect(config.backends[2].is_drained);
    cr_expect_gt(config.backends[2].address.addr_len, 0);
    cr_assert_eq(config.discover_count, 1);
    cr_expect_eq(config.discover[0].backend.pool, 1);

    /* Nothing of that is the first pool's. */
    cr_expect_eq(config.pools[0].balance, GW_BALANCE_LEAST_SESSIONS);
    cr_expect_eq(config.pools[0].host_count, 0);
    cr_expect_eq(config.pools[0].path_count, 2);
    cr_expect_str_eq(config.pools[0].canary.pool, "");
    expect_reads_back();
}

/* As in the first pool after flags and environment, wherever the file's keys
 * stand; but not what says who is served by whom. */
Test(options_pools, what_they_inherit)
{
    static const char list[] =
        "{\"name\": \"b\", \"backend\": \"127.0.0.1:2\", \"host\": \"b\", "
        "\"queue_length\": 5}";
    const struct gw_pool_config *pool = &config.pools[1];

    setenv("SIDGATE_HEALTH_STATUS", "201-202", 1);
    setenv("SIDGATE_PATH", "/e/", 1);
    setenv("SIDGATE_QUEUE_LENGTH", "6", 1);
    setenv("SIDGATE_HOST", "a", 1);
    setenv("SIDGATE_PREFIX", "/p", 1);
    setenv("SIDGATE_DISCOVER", "d.example:80", 1);
    setenv("SIDGATE_CANARY", "b,percent=1", 1);
    setenv("SIDGATE_HASH_KEY", "query:k", 1);
    setenv("SIDGATE_NETTY", "true", 1);
    cr_assert_eq(read_pools(list, "--balance=round-robin"), 0, "%s", error);
    cr_expect_eq(pool->balance, GW_BALANCE_ROUND_ROBIN);
    cr_expect_eq(pool->health_status_min, 201);
    cr_expect_eq(pool->health_status_max, 202);
    cr_expect_eq(pool->path_count, 1);
    cr_expect_str_eq(pool->paths[0], "/e/");
    cr_expect_eq(pool->hash_key.source, GW_HASH_QUERY);
    cr_expect_str_eq(pool->hash_key.name, "k");
    cr_expect(pool->netty);
    cr_expect_eq(pool->queue_length, 5);
    cr_expect_eq(config.pools[0].queue_length, 6);

    cr_expect_eq(pool->host_count, 1);
    cr_expect_str_eq(pool->prefix, "/");
    cr_expect_str_eq(pool->canary.pool, "");
    cr_expect_eq(config.pools[0].canary.index, 1);
    cr_expect_str_eq(config.pools[0].prefix, "/p");
    cr_expect_eq(config.discover_count, 1);
    cr_expect_eq(config.discover[0].backend.pool, 0);
}

/* Who says no host is for all that are no other pool's. */
Test(options_pools, hosts_are_not_inherited)
{
    cr_assert_eq(read_pools("{\"name\": \"b\", \"backend\": "
                            "\"127.0.0.1:2\"}",
                            "--host=a"),
                 0, "%s", error);
    cr_expect_eq(config.pools[0].host_count, 1);
    cr_expect_eq(config.pools[1].host_count, 0);
    cr_expect_str_eq(config.pools[1].prefix, "");
    expect_reads_back();
}

/* What is said stays, also where it is what the first pool had before. */
Test(options_pools, a_flag_is_about_the_first)
{
    static const char list[] =
        "{\"name\": \"b\", \"backend\": \"n=127.0.0.1:2\", \"host\": \"b\","
        " \"balance\": \"least-sessions\", \"path\": [\"/x/\"]}";

    cr_assert_eq(read_pools(list, "--balance=hash"), 0, "%s", error);
    cr_expect_eq(config.pools[0].balance, GW_BALANCE_HASH);
    cr_expect_eq(config.pools[1].balance, GW_BALANCE_LEAST_SESSIONS);
    cr_assert_eq(read_pools(list, "--path=/y/"), 0, "%s", error);
    cr_expect_eq(config.pools[0].path_count, 1);
    cr_expect_str_eq(config.pools[1].paths[0], "/x/");
    cr_assert_eq(read_pools(list, "--backend=z=127.0.0.1:9"), 0, "%s", error);
    cr_assert_eq(config.backend_count, 2);
    cr_expect_str_eq(config.backends[0].id, "z");
    cr_expect_eq(config.backends[0].pool, 0);
    cr_expect_str_eq(config.backends[1].id, "b/n");
    cr_expect_eq(config.backends[1].pool, 1);
    expect_reads_back();
}

/* The order of keys means nothing. */
Test(options_pools, order_of_keys)
{
    static const char text[] =
        "{\"pools\": [{\"backend\": \"127.0.0.1:3\", \"host\": \"x\", "
        "\"discover\": \"x.example:1\", \"name\": \"x\"}], "
        "\"backend\": [\"127.0.0.1:1\", \"127.0.0.1:2\"], "
        "\"discover\": \"d.example:1\"}";

    cr_assert_eq(read_json(text), 0, "%s", error);
    cr_assert_eq(config.backend_count, 3);
    cr_expect_str_eq(config.backends[0].id, "127.0.0.1:1");
    cr_expect_str_eq(config.backends[1].id, "127.0.0.1:2");
    cr_expect_str_eq(config.backends[2].id, "x/127.0.0.1:3");
    cr_assert_eq(config.discover_count, 2);
    cr_expect_str_eq(config.discover[0].name, "d.example");
    cr_expect_str_eq(config.discover[1].name, "x.example");
    expect_reads_back();
}

Test(options_pools, prefixes)
{
    pools_good("{\"name\": \"b\", \"host\": \"b\", \"backend\": "
               "\"127.0.0.1:2\"}, {\"name\": \"c\", \"path\": \"/c/\", "
               "\"backend\": \"127.0.0.1:3\"}, {\"name\": \"d\", \"host\": "
               "\"d\", \"prefix\": \"\", \"backend\": \"127.0.0.1:4\"}, "
               "{\"name\": \"e\", \"path\": \"/e/\", \"prefix\": \"/e\", "
               "\"backend\": \"127.0.0.1:5\"}");
    cr_expect_str_eq(config.pools[0].prefix, "/");
    cr_expect_str_eq(config.pools[1].prefix, "/");
    cr_expect_str_eq(config.pools[2].prefix, "");
    cr_expect_str_eq(config.pools[3].prefix, "");
    cr_expect_str_eq(config.pools[4].prefix, "/e");
    expect_reads_back();
    check_good("--prefix=");
    cr_expect_str_eq(config.pools[0].prefix, "");
    expect_reads_back();
}

Test(options_pools, printed_by_difference)
{
    char *text;
    const char *pools;

    pools_good("{\"name\": \"b\", \"host\": \"b\", \"queue_length\": 1000, "
               "\"health_rise\": 9, \"backend\": \"q=127.0.0.1:2\"}");
    text = printed();
    pools = strstr(text, "\"pools\": [");
    cr_assert_neq(pools, NULL);
    cr_expect_str_eq(pools, "\"pools\": [\n"
                            "    {\n"
                            "      \"name\": \"b\",\n"
                            "      \"backend\": [\n"
                            "        \"q=127.0.0.1:2\"\n"
                            "      ],\n"
                            "      \"path\": [\n"
                            "        \"/socket.io/\",\n"
                            "        \"/engine.io/\"\n"
                            "      ],\n"
                            "      \"host\": [\n"
                            "        \"b\"\n"
                            "      ],\n"
                            "      \"prefix\": \"/\",\n"
                            "      \"discover\": [],\n"
                            "      \"canary\": \"\",\n"
                            "      \"health_rise\": 9\n"
                            "    }\n"
                            "  ]\n"
                            "}\n");
    free(text);
    expect_reads_back();
    check_good("");
    expect_printed(",\n  \"pools\": []\n}\n");
}

#define B    "\"backend\": \"127.0.0.1:2\""
#define GOOD "{\"name\": \"b\", \"host\": \"b\", " B "}"

Test(options_pools, bad_pools)
{
    static const struct bad table[] = {
        {"1", "f.json: pools[0]: not an object"},
        {"{" B "}", "f.json: pools[0]: name is missing"},
        {"{\"name\": 1}", "f.json: pools[0]: name: the value must be a string"},
        {"{\"name\": \"\"}", "f.json: pools[0]: name: not 1 to 31 letters, "
                             "digits, '.', '_' or '-': "},
        {"{\"name\": \"a/b\"}", "f.json: pools[0]: name: not 1 to 31 letters, "
                                "digits, '.', '_' or '-': a/b"},
        {"{\"name\": \"12345678901234567890123456789012\"}",
         "f.json: pools[0]: name: not 1 to 31 letters, digits, '.', '_' or "
         "'-': 12345678901234567890123456789012"},
        {"{\"name\": \"default\"}",
         "f.json: pools[0]: name: this is the first pool's, which the keys "
         "outside of pools are about: default"},
        {"{\"name\": \"b\", " B ", \"name\": \"c\"}",
         "f.json: pools[0]: name: given more than once"},
        {GOOD ", " GOOD, "f.json: pools[1]: name: another pool has it: b"},
        {GOOD ", {\"name\": \"c\", \"frob\": 1}",
         "f.json: pools[1]: unknown key frob"},
        {"{\"name\": \"c\", \"health-check\": \"tcp\"}",
         "f.json: pools[0]: unknown key health-check"},
        {"{\"name\": \"c\", \"workers\": 1}",
         "f.json: pools[0]: no key of a pool: workers"},
        {"{\"name\": \"c\", \"listen\": []}",
         "f.json: pools[0]: no key of a pool: listen"},
        {"{\"name\": \"c\", \"config\": \"x\"}",
         "f.json: pools[0]: no key of a pool: config"},
        {"{\"name\": \"c\", \"pools\": []}",
         "f.json: pools[0]: unknown key pools"},
        {"{\"name\": \"c\", \"netty\": true, \"netty\": true}",
         "f.json: pools[0]: netty: given more than once"},
        {"{\"name\": \"c\", \"path\": [], \"path\": []}",
         "f.json: pools[0]: path: given more than once"},
        {"{\"name\": \"c\", " B ", " B "}",
         "f.json: pools[0]: backend: given more than once"},
        {GOOD ", {\"name\": \"c\", \"backend\": \"x\"}",
         "f.json: pools[1]: backend: x is not host:port"},
        {"{\"name\": \"c\", \"backend\": [1]}",
         "f.json: pools[0]: backend: the value must be a list of strings"},
        {"{\"name\": \"c\", \"balance\": \"rr\"}",
         "f.json: pools[0]: balance: rr is none of "
         "least-sessions|round-robin|random-two|hash"},
        {"{\"name\": \"c\", \"hash_ring_size\": 0}",
         "f.json: pools[0]: hash_ring_size: 0 is not between 1 and 65536"},
        {"{\"name\": \"c\", \"health_status\": true}",
         "f.json: pools[0]: health_status: the value must be a number or a "
         "string"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        pools_bad(table[i].line, table[i].error);
    cr_expect_eq(read_json("{" FIRST ", \"pools\": {}}"), -1);
    cr_expect_str_eq(error, "f.json: pools: the value must be a list of "
                            "objects");
    cr_expect_eq(read_json("{" FIRST ", \"pools\": [], \"pools\": []}"), -1);
    cr_expect_str_eq(error, "f.json: pools: given more than once");
    cr_expect_eq(read_json("{" FIRST ", \"name\": \"x\"}"), -1);
    cr_expect_str_eq(error, "f.json: unknown key name");
}

Test(options_pools, bad_together)
{
    static const struct bad table[] = {
        {"{\"name\": \"c\", \"host\": \"c\"}",
         "f.json: pools[0]: backend: none is given; give at least one, or a "
         "name to discover"},
        {"{\"name\": \"c\", \"path\": [], " B "}",
         "f.json: pools[0]: path: at least one is needed"},
        {"{\"name\": \"c\", \"path\": [\"/c\", \"/c\"], " B "}",
         "f.json: pools[0]: path: /c is given twice"},
        {"{\"name\": \"c\", \"host\": [\"a.b\", \"A.b\"], " B "}",
         "f.json: pools[0]: host: a.b is given twice"},
        {"{\"name\": \"c\", " B "}",
         "f.json: pools[0]: path: the pools default and c both have "
         "/socket.io/ for every host"},
        {GOOD ", {\"name\": \"c\", \"host\": [\"x\", \"B\"], " B "}",
         "f.json: pools[1]: path: the pools b and c both have /socket.io/ for "
         "the host b"},
        {"{\"name\": \"c\", \"path\": \"/c\", \"prefix\": \"/p\", " B
         "}, {\"name\": \"d\", \"path\": \"/d\", \"prefix\": \"/p\", " B "}",
         "f.json: pools[1]: path: the pools c and d both have /p for every "
         "host"},
        {"{\"name\": \"c\", \"host\": \"c\", \"health_interval\": \"1s\", " B
         "}",
         "f.json: pools[0]: health_timeout: 2s is more than --health-interval, "
         "which is 1s"},
        {"{\"name\": \"c\", \"host\": \"c\", \"backend\": "
         "[\"x=127.0.0.1:2\", \"x=127.0.0.1:3\"]}",
         "f.json: pools[0]: backend: the id c/x is given twice"},
        {"{\"name\": \"c\", \"host\": \"c\", \"backend\": "
         "[\"x=127.0.0.1:2\", \"127.0.0.1:2\"]}",
         "f.json: pools[0]: backend: 127.0.0.1:2 and 127.0.0.1:2 are the same "
         "address"},
        {"{\"name\": \"c\", \"host\": \"c\", \"backend\": \"127.0.0.1:8080\"}",
         "f.json: pools[0]: backend: 127.0.0.1:8080 is where sidgate itself "
         "listens"},
        {"{\"name\": \"c\", \"host\": \"c\", \"discover\": "
         "[\"a.b:1\", \"A.b:1\"]}",
         "f.json: pools[0]: discover: a.b is given twice"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        pools_bad(table[i].line, table[i].error);
    cr_expect_eq(read_pools("{\"name\": \"c\", \"host\": \"c\", \"backend\": "
                            "\"nosuchhost.invalid:1\"}",
                            NULL),
                 -1);
    cr_expect_eq(strncmp(error,
                         "f.json: pools[0]: backend: "
                         "nosuchhost.invalid:1 does not resolve: ",
                         66),
                 0, "%s", error);
}

/* Things that look alike and are not. */
Test(options_pools, good_together)
{
    /* The same server and the same id, each in a pool of its own. */
    pools_good("{\"name\": \"b\", \"host\": \"b\", \"backend\": "
               "\"a=127.0.0.1:1\", \"discover\": \"x:1\"}, {\"name\": \"c\", "
               "\"host\": \"c\", \"backend\": \"a=127.0.0.1:1\", "
               "\"discover\": [\"x:1\", \"x:2\", \"srv:x\"]}");
    cr_expect_eq(config.backend_count, 3);
    expect_reads_back();
    /* One host, two paths; one path, a host and all below it. */
    pools_good("{\"name\": \"b\", \"host\": \"x.y\", \"path\": \"/1/\", " B
               "}, {\"name\": \"c\", \"host\": \"x.y\", \"path\": \"/2/\", " B
               "}, {\"name\": \"d\", \"host\": \"*.x.y\", \"path\": \"/1/\", " B
               "}");
    expect_reads_back();
    /* A pool that has discovery alone. */
    pools_good("{\"name\": \"b\", \"host\": \"b\", \"discover\": \"x.y:1\"}");
    expect_reads_back();
}

/* With other pools the first one may have no backend. */
Test(options_pools, first_pool_may_be_empty)
{
    cr_assert_eq(read_json("{\"pools\": [" GOOD "]}"), 0, "%s", error);
    cr_expect_eq(config.backend_count, 1);
    cr_expect_str_eq(config.backends[0].id, "b/127.0.0.1:2");
    expect_reads_back();
    cr_expect_eq(read_json("{\"pools\": []}"), -1);
    cr_expect_str_eq(error,
                     "--backend: none is given; give at least one, as in "
                     "--backend 127.0.0.1:3001, or a name to --discover");
    cr_assert_eq(read_json("{\"discover\": \"x.y:1\"}"), 0, "%s", error);
    expect_reads_back();
}

Test(options_pools, long_ids)
{
    char list[300];

    snprintf(list, sizeof(list),
             "{\"name\": \"%031d\", \"host\": \"b\", \"backend\": "
             "\"%031d=127.0.0.1:2\"}",
             1, 2);
    pools_good(list);
    cr_expect_eq(strlen(config.backends[1].id), 63);
    expect_reads_back();
    snprintf(list, sizeof(list),
             "{\"name\": \"%031d\", \"host\": \"b\", \"backend\": "
             "\"%032d=127.0.0.1:2\"}",
             1, 2);
    cr_expect_eq(read_pools(list, NULL), -1);
    cr_expect_neq(strstr(error, "00002 is over 63 bytes"), NULL, "%s", error);
}

Test(options_pools, canaries)
{
    static const char target[] = "{\"name\": \"next\", " B "}";
    const struct gw_canary *canary = &config.pools[0].canary;
    static const struct bad table[] = {
        {"{\"name\": \"b\", \"host\": \"b\", \"canary\": \"x,percent=1\", " B
         "}",
         "f.json: pools[0]: canary: there is no pool x"},
        {"{\"name\": \"b\", \"host\": \"b\", \"canary\": \"b,percent=1\", " B
         "}",
         "f.json: pools[0]: canary: b is this pool itself"},
        {"{\"name\": \"b\", \"host\": \"b\", \"canary\": \"c,percent=1\", " B
         "}, {\"name\": \"c\", \"host\": \"c\", \"canary\": "
         "\"default,percent=1\", " B "}",
         "f.json: pools[0]: canary: the pool c has a canary itself"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        pools_bad(table[i].line, table[i].error);
    /* Its target need have no requests of its own. */
    cr_assert_eq(read_pools(target, "--canary=next,percent=5"), 0, "%s", error);
    cr_expect_str_eq(canary->pool, "next");
    cr_expect_eq(canary->index, 1);
    cr_expect_eq(canary->percent, 5);
    expect_reads_back();
    cr_expect_eq(read_pools(target, "--canary=none,percent=5"), -1);
    cr_expect_str_eq(error, "--canary: there is no pool none");
    cr_expect_eq(read_pools(target, "--canary=default,percent=5"), -1);
    cr_expect_str_eq(error, "--canary: default is this pool itself");
    /* But one that stands before would take all that is for the other. */
    cr_expect_eq(read_pools("{\"name\": \"t\", \"host\": \"x\", " B
                            "}, {\"name\": \"u\", \"host\": \"x\", "
                            "\"canary\": \"t,percent=1\", " B "}",
                            NULL),
                 -1);
    cr_expect_str_eq(error, "f.json: pools[1]: path: the pools t and u both "
                            "have /socket.io/ for the host x");
}

Test(options_pools, too_many)
{
    static char list[16384];
    size_t used = 0;

    for (int i = 1; i <= GW_POOL_COUNT_MAX; i++) {
        if (i == GW_POOL_COUNT_MAX)
            pools_good(list);
        used +=
            (size_t)snprintf(list + used, sizeof(list) - used,
                             "%s{\"name\": \"p%d\", \"host\": \"h%d\", " B "}",
                             i == 1 ? "" : ", ", i, i);
    }
    pools_bad(list, "f.json: pools: more than 15 are given");
}

/* 256 in all. */
Test(options_pools, too_many_backends)
{
    static char list[16384];
    size_t used = (size_t)snprintf(list, sizeof(list),
                                   "{\"name\": \"b\", \"host\": "
                                   "\"b\", \"backend\": [");

    for (int i = 1; i < GW_BACKEND_COUNT_MAX; i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used,
                                 "%s\"127.0.0.1:%d\"", i == 1 ? "" : ", ", i);
    snprintf(list + used, sizeof(list) - used, "]}");
    pools_good(list);
    cr_expect_eq(config.backend_count, GW_BACKEND_COUNT_MAX);
    expect_reads_back();
    snprintf(list + used, sizeof(list) - used, ", \"127.0.0.1:1000\"]}");
    pools_bad(list, "f.json: pools[0]: backend: more than 256 are given");
}
