/* SPDX-License-Identifier: MIT */
/* What the running process asks of the option reader. */
#include "tests/unit/options_fixture.h"

#include <netinet/in.h>

TestSuite(options_running, .init = enter, .fini = leave);

Test(options_running, backend_of_an_operator)
{
    static struct gw_backend_config backend;
    static const struct bad table[] = {
        {"", "backend:  is not host:port"},
        {"127.0.0.1:0",
         "backend: 127.0.0.1:0: the port is not between 1 and 65535"},
        {"a/b=127.0.0.1:1",
         "backend: a/b: the id is not 1 to 63 letters, digits, '.', '_', ':', "
         "'[', ']' or '-'"},
        {"127.0.0.1:1\n",
         "backend: 127.0.0.1:1?: the port is not between 1 and 65535"},
    };
    struct sockaddr_in v4;

    cr_assert_eq(gw_options_parse_backend("n9=127.0.0.1:3009,weight=4,max=5",
                                          &backend, error),
                 0, "%s", error);
    cr_expect_str_eq(backend.id, "n9");
    cr_expect_eq(backend.weight, 4);
    cr_expect_eq(backend.max_sessions, 5);
    cr_expect_eq(backend.pool, 0);
    memcpy(&v4, &backend.address.addr, sizeof(v4));
    cr_expect_eq(ntohs(v4.sin_port), 3009);
    cr_expect_eq(gw_options_parse_backend("localhost:1,tls", &backend, error),
                 0, "%s", error);
    cr_expect_str_eq(backend.tls_name, "localhost");
    cr_expect_gt(backend.address.addr_len, 0);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cr_expect_eq(gw_options_parse_backend(table[i].line, &backend, error),
                     -1);
        cr_expect_str_eq(error, table[i].error);
    }
    cr_expect_eq(
        gw_options_parse_backend("nosuchhost.invalid:1", &backend, error), -1);
    cr_expect_eq(
        strncmp(error, "backend: nosuchhost.invalid:1 does not resol", 44), 0,
        "%s", error);
}

Test(options_running, qualified_ids)
{
    char id[GW_BACKEND_ID_MAX] = "127.0.0.1:1";
    char most[GW_BACKEND_ID_MAX];

    cr_expect(gw_options_qualify("v2", id));
    cr_expect_str_eq(id, "v2/127.0.0.1:1");
    memset(most, 'x', 61);
    most[61] = '\0';
    cr_expect(gw_options_qualify("p", most));
    cr_expect_eq(strlen(most), 63);
    memset(most, 'x', 62);
    most[62] = '\0';
    cr_expect_not(gw_options_qualify("p", most));
    cr_expect_eq(most[0], 'x');
    cr_expect_eq(strlen(most), 62);
}

Test(options_running, times)
{
    int64_t ms = -1;

    cr_expect(gw_options_parse_time("10m", &ms));
    cr_expect_eq(ms, 600000);
    cr_expect(gw_options_parse_time("300s", &ms));
    cr_expect_eq(ms, 300000);
    cr_expect(gw_options_parse_time("250ms", &ms));
    cr_expect_eq(ms, 250);
    cr_expect(gw_options_parse_time("0", &ms));
    cr_expect_eq(ms, 0);
    ms = 7;
    cr_expect_not(gw_options_parse_time("", &ms));
    cr_expect_not(gw_options_parse_time("-1s", &ms));
    cr_expect_not(gw_options_parse_time("1.5s", &ms));
    cr_expect_not(gw_options_parse_time("1d", &ms));
    cr_expect_not(gw_options_parse_time("9223372036854775808", &ms));
    cr_expect_not(gw_options_parse_time("5124095576031h", &ms));
    cr_expect_eq(ms, 7);
}

/* Read again in the same process, with a failure between: the same bytes, and
 * the words of the command line untouched. */
Test(options_running, read_again)
{
    static struct gw_config first;
    char words[][64] = {"sidgate", "--config", "f.json", "--path=/a/",
                        "--backend=n=127.0.0.1:5,weight=3,tls,name=x"};
    char copies[5][64];
    char *argv[] = {words[0], words[1], words[2], words[3], words[4], NULL};
    enum gw_action action;

    memcpy(copies, words, sizeof(copies));
    for (int round = 0; round < 3; round++) {
        write_text("f.json",
                   "{\"backend\": [\"127.0.0.1:1\", \"127.0.0.1:2\"], "
                   "\"path\": [\"/longer/than/that\"], \"pools\": [{\"name\": "
                   "\"b\", \"host\": \"b\", \"backend\": \"127.0.0.1:3\"}]}");
        cr_assert_eq(gw_options_read(5, argv, &config, &action, error), 0, "%s",
                     error);
        if (round == 0)
            first = config;
        cr_expect_eq(memcmp(&first, &config, sizeof(config)), 0);
        cr_expect_eq(memcmp(copies, words, sizeof(copies)), 0);
        write_text("f.json",
                   "{\"workers\": 3, \"pools\": [{\"name\": \"c\"}]}");
        cr_expect_eq(gw_options_read(5, argv, &config, &action, error), -1);
    }
    cr_expect_eq(first.backend_count, 2);
    cr_expect_eq(first.pools[0].path_count, 1);
    /* Nothing is left of what a stronger source replaced. */
    cr_expect_eq(first.pools[0].paths[0][4], '\0');
    cr_expect_eq(first.backends[2].id[0], '\0');
}
