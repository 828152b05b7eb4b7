/* SPDX-License-Identifier: MIT */
/* The options of where requests and handshakes go, of health and of
 * discovery. */
#include "tests/unit/options_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>

TestSuite(options_route, .init = enter, .fini = leave);

static const struct gw_pool_config *const pool = &config.pools[0];

Test(options_route, hosts)
{
    char name[300] = "";
    char line[400];

    check_good("--host Example.COM --host *.example.com --host 192.0.2.1 "
               "--host [2001:DB8:0:0::1] --host a_b-c");
    cr_expect_eq(pool->host_count, 5);
    cr_expect_str_eq(pool->hosts[0], "example.com");
    cr_expect_str_eq(pool->hosts[1], "*.example.com");
    cr_expect_str_eq(pool->hosts[2], "192.0.2.1");
    cr_expect_str_eq(pool->hosts[3], "[2001:db8::1]");
    cr_expect_str_eq(pool->hosts[4], "a_b-c");
    expect_reads_back();
    for (int i = 0; i < 253; i++)
        name[i] = i % 50 == 49 ? '.' : 'x';
    snprintf(line, sizeof(line), "--host *.%s", name);
    check_good(line);
    cr_expect_eq(strlen(pool->hosts[0]), 255);
    expect_reads_back();
    name[253] = 'x';
    snprintf(line, sizeof(line), "--host %s", name);
    cr_expect_eq(read_line(line), -1);
}

Test(options_route, bad_hosts)
{
#define NO_HOST                                                                \
    " is not a host such as example.com or *.example.com, without a port"
    static const struct bad table[] = {
        {"--host=", "--host: " NO_HOST},
        {"--host *", "--host: *" NO_HOST},
        {"--host *.", "--host: *." NO_HOST},
        {"--host *.*.a", "--host: *.*.a" NO_HOST},
        {"--host a.*", "--host: a.*" NO_HOST},
        {"--host a:80", "--host: a:80" NO_HOST},
        {"--host a.", "--host: a." NO_HOST},
        {"--host .a", "--host: .a" NO_HOST},
        {"--host a..b", "--host: a..b" NO_HOST},
        {"--host a/b", "--host: a/b" NO_HOST},
        {"--host ::1", "--host: ::1" NO_HOST},
        {"--host [::1]:80", "--host: [::1]:80" NO_HOST},
        {"--host [::g]", "--host: [::g]" NO_HOST},
        {"--host []", "--host: []" NO_HOST},
        {"--host [", "--host: [" NO_HOST},
        {"--host *.[::1]", "--host: *.[::1]" NO_HOST},
        {"--host a --host A", "--host: a is given twice"},
        {"--host "
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
         "--host: "
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "x" NO_HOST},
    };

    CHECK_BAD(table);
    check_good(repeat("--host=h", 16));
    check_bad(repeat("--host=h", 17), "--host: more than 16 are given");
}

Test(options_route, prefixes_and_health_paths)
{
    static const struct bad table[] = {
        {"--prefix a", "--prefix: a does not start with /"},
        {"--prefix /a?b", "--prefix: /a?b holds a character that no path has"},
        {"--prefix /a --prefix /b", "--prefix: given more than once"},
        {"--health-path a", "--health-path: a does not start with /"},
        {"--health-path=", "--health-path:  does not start with /"},
        {"--health-path /a#b",
         "--health-path: /a#b holds a character that no path has"},
        {"--health-path /a\tb",
         "--health-path: /a?b holds a character that no path has"},
        {"--health-path /\xc3\xa4",
         "--health-path: /\xc3\xa4 holds a character that no path has"},
    };
    char line[200] = "--health-path /";

    CHECK_BAD(table);
    check_good("--prefix /app --health-path /up?deep=1&x=%20");
    cr_expect_str_eq(pool->prefix, "/app");
    cr_expect_str_eq(pool->health_path, "/up?deep=1&x=%20");
    expect_reads_back();
    memset(line + 15, 'x', 126);
    check_good(line);
    cr_expect_eq(strlen(pool->health_path), 127);
    line[15 + 126] = 'x';
    check_bad(line, "--health-path: /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."
                    " is over 127 bytes");
}

Test(options_route, status_ranges)
{
#define NO_STATUS                                                              \
    " is not a status or a range of them such as 200-399, from 100 to 599"
    static const struct bad table[] = {
        {"--health-status=", "--health-status: " NO_STATUS},
        {"--health-status 99", "--health-status: 99" NO_STATUS},
        {"--health-status 600", "--health-status: 600" NO_STATUS},
        {"--health-status 200-600", "--health-status: 200-600" NO_STATUS},
        {"--health-status 300-200", "--health-status: 300-200" NO_STATUS},
        {"--health-status 200-", "--health-status: 200-" NO_STATUS},
        {"--health-status -200", "--health-status: -200" NO_STATUS},
        {"--health-status 200,204", "--health-status: 200,204" NO_STATUS},
        {"--health-status 2xx", "--health-status: 2xx" NO_STATUS},
        {"--health-status 18446744073709551816",
         "--health-status: 18446744073709551816" NO_STATUS},
    };

    CHECK_BAD(table);
    check_good("--health-status 100-599");
    cr_expect_eq(pool->health_status_min, 100);
    cr_expect_eq(pool->health_status_max, 599);
    expect_reads_back();
    check_good("--health-status 204");
    cr_expect_eq(pool->health_status_min, 204);
    cr_expect_eq(pool->health_status_max, 204);
    expect_printed("\"health_status\": \"204\"");
    expect_reads_back();
    cr_expect_eq(read_json("{\"backend\": \"127.0.0.1:1\", "
                           "\"health_status\": 201}"),
                 0, "%s", error);
    cr_expect_eq(pool->health_status_min, 201);
}

Test(options_route, hash_keys)
{
    static const struct {
        const char *line;
        enum gw_hash_source source;
        const char *name;
    } table[] = {
        {"--hash-key address", GW_HASH_ADDRESS, ""},
        {"--hash-key header:X-User", GW_HASH_HEADER, "x-user"},
        {"--hash-key cookie:Io", GW_HASH_COOKIE, "Io"},
        {"--hash-key query:User[id]", GW_HASH_QUERY, "User[id]"},
        {"--hash-key "
         "query:"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         GW_HASH_QUERY,
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    };
#define NO_KEY                                                                 \
    " is none of address|header:name|cookie:name|query:name with a name of 1 " \
    "to 63 characters that it can have"
    static const struct bad bad[] = {
        {"--hash-key=", "--hash-key: " NO_KEY},
        {"--hash-key ip", "--hash-key: ip" NO_KEY},
        {"--hash-key address:x", "--hash-key: address:x" NO_KEY},
        {"--hash-key header", "--hash-key: header" NO_KEY},
        {"--hash-key header:", "--hash-key: header:" NO_KEY},
        {"--hash-key header:a:b", "--hash-key: header:a:b" NO_KEY},
        {"--hash-key cookie:a=b", "--hash-key: cookie:a=b" NO_KEY},
        {"--hash-key query:a&b", "--hash-key: query:a&b" NO_KEY},
        {"--hash-key query:a=b", "--hash-key: query:a=b" NO_KEY},
        {"--hash-key cookie:"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "--hash-key: cookie:"
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
         "a" NO_KEY},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        check_good(table[i].line);
        cr_expect_eq(pool->hash_key.source, table[i].source);
        cr_expect_str_eq(pool->hash_key.name, table[i].name);
        expect_reads_back();
    }
    CHECK_BAD(bad);
}

/* A canary as --canary says it, with the pool it names. */
static int read_canary(const char *value)
{
    char text[400];

    snprintf(text, sizeof(text),
             "{\"backend\": \"127.0.0.1:1\", \"canary\": \"%s\", \"pools\": "
             "[{\"name\": \"n\", \"backend\": \"127.0.0.1:2\"}]}",
             value);
    return read_json(text);
}

Test(options_route, canaries)
{
    const struct gw_canary *canary = &pool->canary;
    static const char *const printed_as[][2] = {
        {"n,percent=0", "n,percent=0"},
        {"n,percent=100", "n,percent=100"},
        {"n,header=X-A:b c=d:e", "n,header=x-a:b c=d:e"},
        {"n,header=a:b,percent=3", "n,percent=3,header=a:b"},
        {"n,percent=0,header=a:b", "n,header=a:b"},
    };
    char want[100];

    for (size_t i = 0; i < sizeof(printed_as) / sizeof(printed_as[0]); i++) {
        cr_assert_eq(read_canary(printed_as[i][0]), 0, "%s", error);
        snprintf(want, sizeof(want), "\"canary\": \"%s\"", printed_as[i][1]);
        expect_printed(want);
        expect_reads_back();
    }
    cr_assert_eq(read_canary("n,header=X-A:b c=d:e,percent=9"), 0, "%s", error);
    cr_expect_str_eq(canary->pool, "n");
    cr_expect_eq(canary->index, 1);
    cr_expect_eq(canary->percent, 9);
    cr_expect_str_eq(canary->header, "x-a");
    cr_expect_str_eq(canary->value, "b c=d:e");
}

Test(options_route, bad_canaries)
{
#define CANARY_FORM "pool[,percent=N][,header=name:value]"
    static const struct bad table[] = {
        {"n", "n: percent or header is missing"},
        {",percent=1", ",percent=1: the pool's name is not 1 to 31 letters, "
                       "digits, '.', '_' or '-'"},
        {"a b,percent=1", "a b,percent=1: the pool's name is not 1 to 31 "
                          "letters, digits, '.', '_' or '-'"},
        {"n,percent=101", "n,percent=101: percent is not between 0 and 100"},
        {"n,percent=5%", "n,percent=5%: percent is not between 0 and 100"},
        {"n,percent", "n,percent: percent needs a value"},
        {"n,percent=1,percent=1",
         "n,percent=1,percent=1: percent is given twice"},
        {"n,weight=1", "n,weight=1: weight is no part of " CANARY_FORM},
        {"n,header=a",
         "n,header=a: header is not name:value, each of 1 to 63 characters"},
        {"n,header=:a",
         "n,header=:a: header is not name:value, each of 1 to 63 characters"},
        {"n,header=a:",
         "n,header=a:: header is not name:value, each of 1 to 63 characters"},
        {"n,header=a b:c",
         "n,header=a b:c: header is not name:value, each of 1 to 63 "
         "characters"},
        {"n,header=a: b",
         "n,header=a: b: header is not name:value, each of 1 to 63 "
         "characters"},
    };
    char want[200];

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        snprintf(want, sizeof(want), "f.json: canary: %s", table[i].error);
        cr_expect_eq(read_canary(table[i].line), -1, "%s", table[i].line);
        cr_expect_str_eq(error, want);
    }
}

Test(options_route, discovery)
{
    const struct gw_discover_config *found = config.discover;

    check_good("--discover Headless.ns.svc.:3000,weight=5,max=6,tls,"
               "name=n.example,verify=off --discover srv:_sio._tcp.Example,tls "
               "--discover 1a:80 --discover srv:x2");
    cr_assert_eq(config.discover_count, 4);
    cr_expect_str_eq(found[0].name, "headless.ns.svc.");
    cr_expect_eq(found[0].port, 3000);
    cr_expect_not(found[0].is_srv);
    cr_expect_eq(found[0].backend.weight, 5);
    cr_expect_eq(found[0].backend.max_sessions, 6);
    cr_expect(found[0].backend.is_tls && found[0].backend.is_unverified);
    cr_expect_str_eq(found[0].backend.tls_name, "n.example");
    cr_expect_eq(found[0].backend.address.addr_len, 0);
    cr_expect_str_eq(found[0].backend.id, "");
    cr_expect_str_eq(found[1].name, "_sio._tcp.example");
    cr_expect_eq(found[1].port, 0);
    cr_expect(found[1].is_srv && found[1].backend.is_tls);
    cr_expect_str_eq(found[1].backend.tls_name, "");
    cr_expect_eq(found[1].backend.weight, 1);
    cr_expect_str_eq(found[2].name, "1a");
    expect_reads_back();
}

Test(options_route, bad_discovery)
{
#define DISCOVER_FORM                                                          \
    "host:port|srv:name[,weight=N][,max=N][,tls][,name=host][,verify=off]"
    static const struct bad table[] = {
        {"--discover a", "--discover: a is neither host:port nor srv:name"},
        {"--discover=", "--discover:  is neither host:port nor srv:name"},
        {"--discover a:0",
         "--discover: a:0: the port is not between 1 and 65535"},
        {"--discover a:80:1",
         "--discover: a:80:1: the port is not between 1 and 65535"},
        {"--discover :80", "--discover: :80:  is not a name to look up"},
        {"--discover 192.0.2.1:80",
         "--discover: 192.0.2.1:80: 192.0.2.1 is not a name to look up"},
        {"--discover [::1]:80",
         "--discover: [::1]:80: [ is not a name to look up"},
        {"--discover srv:", "--discover: srv::  is not a name to look up"},
        {"--discover srv:80", "--discover: srv:80: 80 is not a name to look "
                              "up"},
        {"--discover srv:a:80",
         "--discover: srv:a:80: a:80 is not a name to look up"},
        {"--discover srv:a..b",
         "--discover: srv:a..b: a..b is not a name to look up"},
        {"--discover a:80,drain",
         "--discover: a:80,drain: drain is no part of " DISCOVER_FORM},
        {"--discover a:80,weight=0",
         "--discover: a:80,weight=0: the weight is not between 1 and 256"},
        {"--discover a:80,name=b", "--discover: a:80,name=b: name needs tls"},
        {"--discover a:80 --discover A:80,weight=2",
         "--discover: a is given twice"},
    };

    CHECK_BAD(table);
    check_bad(repeat("--discover=h:1", 33),
              "--discover: more than 32 are given");
    check_good("--discover a:80 --discover a:81 --discover srv:a");
}

Test(options_route, dns_servers)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    const struct gw_address *server = config.dns_servers;

    check_good("--dns-server 192.0.2.1 --dns-server 192.0.2.1:5353 "
               "--dns-server ::1 --dns-server [2001:db8::1]:54");
    cr_assert_eq(config.dns_server_count, 4);
    memcpy(&v4, &server[0].addr, sizeof(v4));
    cr_expect_eq(v4.sin_family, AF_INET);
    cr_expect_eq(ntohs(v4.sin_port), 53);
    cr_expect_eq(ntohl(v4.sin_addr.s_addr), 0xc0000201);
    cr_expect_eq(server[0].addr_len, sizeof(v4));
    memcpy(&v4, &server[1].addr, sizeof(v4));
    cr_expect_eq(ntohs(v4.sin_port), 5353);
    memcpy(&v6, &server[2].addr, sizeof(v6));
    cr_expect_eq(v6.sin6_family, AF_INET6);
    cr_expect_eq(ntohs(v6.sin6_port), 53);
    memcpy(&v6, &server[3].addr, sizeof(v6));
    cr_expect_eq(ntohs(v6.sin6_port), 54);
    cr_expect_eq(v6.sin6_addr.s6_addr[0], 0x20);
    cr_expect_eq(server[3].addr_len, sizeof(v6));
    expect_reads_back();
    check_good("--dns-server [::1]");
    memcpy(&v6, &server[0].addr, sizeof(v6));
    cr_expect_eq(ntohs(v6.sin6_port), 53);
}

Test(options_route, bad_dns_servers)
{
#define NO_SERVER                                                              \
    " is not an address such as 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53"
    static const struct bad table[] = {
        {"--dns-server=", "--dns-server: " NO_SERVER},
        {"--dns-server localhost", "--dns-server: localhost" NO_SERVER},
        {"--dns-server 192.0.2.1:", "--dns-server: 192.0.2.1:" NO_SERVER},
        {"--dns-server 192.0.2.1:0", "--dns-server: 192.0.2.1:0" NO_SERVER},
        {"--dns-server 192.0.2.1:65536",
         "--dns-server: 192.0.2.1:65536" NO_SERVER},
        {"--dns-server [192.0.2.1]:53",
         "--dns-server: [192.0.2.1]:53" NO_SERVER},
        {"--dns-server [::1", "--dns-server: [::1" NO_SERVER},
        {"--dns-server [::1]]", "--dns-server: [::1]]" NO_SERVER},
        {"--dns-server [::1]x:53", "--dns-server: [::1]x:53" NO_SERVER},
        {"--dns-server :53", "--dns-server: :53" NO_SERVER},
        {"--dns-server ::1 --dns-server [::1]:53",
         "--dns-server: ::1 and [::1]:53 are the same address"},
    };

    CHECK_BAD(table);
    check_bad(repeat("--dns-server=192.0.2.", 5),
              "--dns-server: more than 4 are given");
}

Test(options_route, backend_parts)
{
    static const struct bad table[] = {
        {"--backend 127.0.0.2:1,max=0",
         "--backend: 127.0.0.2:1,max=0: the max is not between 1 and "
         "100000000"},
        {"--backend 127.0.0.2:1,max=100000001",
         "--backend: 127.0.0.2:1,max=100000001: the max is not between 1 and "
         "100000000"},
        {"--backend 127.0.0.2:1,max",
         "--backend: 127.0.0.2:1,max: max needs a value"},
        {"--backend 127.0.0.2:1,drain=1",
         "--backend: 127.0.0.2:1,drain=1: drain takes no value"},
    };

    CHECK_BAD(table);
    check_good("--backend b=127.0.0.2:1,drain,max=100000000,weight=2,tls");
    cr_expect_eq(config.backends[0].max_sessions, 0);
    cr_expect_not(config.backends[0].is_drained);
    cr_expect_eq(config.backends[1].max_sessions, 100000000);
    cr_expect(config.backends[1].is_drained);
    expect_printed("\"b=127.0.0.2:1,weight=2,max=100000000,drain,tls\"");
    expect_reads_back();
}
