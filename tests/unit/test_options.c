/* SPDX-License-Identifier: MIT */
/* The command line, the environment, the configuration file. */
#include "gateway/options.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define B1 "--backend 127.0.0.1:3001 "

static struct gw_config config;
static enum gw_action action;
static char error[GW_OPTIONS_ERROR_MAX];

/* Reads a command line whose words stand apart by single spaces. */
static int read_line(const char *line)
{
    char *copy = strdup(line);
    char *argv[400] = {NULL};
    char *at = copy;
    char name[] = "sidgate";
    int argc = 1;
    int status;

    argv[0] = name;
    while (at != NULL && *at != '\0') {
        argv[argc++] = at;
        at = strchr(at, ' ');
        if (at != NULL)
            *at++ = '\0';
    }
    status = gw_options_read(argc, argv, &config, &action, error);
    free(copy);
    return status;
}

static void check_good(const char *line)
{
    cr_expect_eq(read_line(line), 0, "%s: %s", line, error);
}

static void check_bad(const char *line, const char *want)
{
    cr_expect_eq(read_line(line), -1, "accepted: %s", line);
    cr_expect_str_eq(error, want, "%s:\n got %s\nwant %s", line, error, want);
}

Test(options, defaults)
{
    check_good("--backend 127.0.0.1:3001");
    cr_expect_eq(action, GW_ACTION_RUN);
    cr_expect_eq(config.listen_count, 1);
    cr_expect_str_eq(config.listen[0].address.text, "0.0.0.0:8080");
    cr_expect_eq(config.backend_count, 1);
    cr_expect_str_eq(config.backends[0].id, "127.0.0.1:3001");
    cr_expect_eq(config.backends[0].weight, 1);
    cr_expect_eq(config.pools[0].path_count, 2);
    cr_expect_str_eq(config.pools[0].paths[0], "/socket.io/");
    cr_expect_str_eq(config.pools[0].paths[1], "/engine.io/");
    cr_expect_eq(config.pool_count, 1);
    cr_expect_eq(config.discover_count, 0);
    cr_expect_eq(config.discover_interval_ms, 5000);
    cr_expect_eq(config.dns_server_count, 0);
    cr_expect_eq(config.source_count, 0);
    cr_expect_eq(config.admin.addr_len, 0);
    cr_expect_str_eq(config.admin_token_file, "");
    cr_expect_str_eq(config.admin_read_token_file, "");
    cr_expect_not(config.serve_health);
    cr_expect_neq(config.gateway_name[0], '\0');
    cr_expect(config.workers >= 1 && config.workers <= 64);
    cr_expect_eq(config.pools[0].balance, GW_BALANCE_LEAST_SESSIONS);
    cr_expect_eq(config.pools[0].recovery, GW_RECOVERY_PROBE);
    cr_expect_eq(config.recovery_rate, 50);
    cr_expect_not(config.pools[0].netty);
    cr_expect_eq(config.log_level, GW_LOG_INFO);
    cr_expect_eq(config.log_format, GW_LOG_TEXT);
    cr_expect_eq(config.max_request_line_bytes, 8192);
    cr_expect_eq(config.max_head_bytes, 16384);
    cr_expect_eq(config.max_head_fields, 100);
    cr_expect_eq(config.max_body_bytes, 0);
    cr_expect_eq(config.max_connections, 0);
    cr_expect_eq(config.max_sessions, 1000000);
    cr_expect_eq(config.head_timeout_ms, 10000);
    cr_expect_eq(config.keepalive_timeout_ms, 75000);
    cr_expect_eq(config.body_timeout_ms, 60000);
    cr_expect_eq(config.connect_timeout_ms, 2000);
    cr_expect_eq(config.response_timeout_ms, 60000);
    cr_expect_eq(config.write_timeout_ms, 60000);
    cr_expect_eq(config.recovery_timeout_ms, 45000);
    cr_expect_eq(config.shutdown_delay_ms, 0);
    cr_expect_eq(config.shutdown_timeout_ms, 30000);
    cr_expect_eq(config.shutdown_rate, 1000);
    cr_expect_eq(config.upgrade_timeout_ms, 3600000);
}

Test(options, defaults_of_the_edge)
{
    check_good("--backend 127.0.0.1:3001");
    cr_expect_eq(config.trusted_count, 0);
    cr_expect_not(config.trusts_unix);
    cr_expect_eq(config.real_address, GW_REAL_ADDRESS_X_FORWARDED_FOR);
    cr_expect_eq(config.origin_count, 0);
    cr_expect_eq(config.certificate_count, 0);
    cr_expect_eq(config.tls_min_version, GW_TLS_1_2);
    cr_expect_eq(strncmp(config.tls_ciphers, "ECDHE-ECDSA-AES128-GCM", 22), 0);
    cr_expect_str_eq(config.tls_client_ca, "");
    cr_expect_eq(config.tls_client_verify, GW_CLIENT_VERIFY_REQUIRE);
    cr_expect_str_eq(config.backend_ca, "");
    cr_expect_str_eq(config.backend_certificate.file, "");
    cr_expect_str_eq(config.user, "");
    cr_expect_not(config.seccomp);
    cr_expect_eq(config.max_requests_per_connection, 0);
    cr_expect_eq(config.max_streamed_bodies, 1000);
    cr_expect_eq(config.min_body_rate, 64);
    cr_expect_eq(config.max_connections_per_address, 0);
    cr_expect_eq(config.max_sessions_per_address, 0);
    cr_expect_eq(config.handshake_rate_per_address, 0);
    cr_expect_eq(config.tcp_keepalive_ms, 60000);
    cr_expect_eq(config.tcp_user_timeout_ms, 90000);
}

struct good {
    const char *line;
    size_t offset; /* of a uint32_t in gw_config */
    uint32_t want;
};

#define FIELD(name) offsetof(struct gw_config, name)
#define POOL_FIELD(name)                                                       \
    (offsetof(struct gw_config, pools) + offsetof(struct gw_pool_config, name))

Test(options, values)
{
    static const struct good table[] = {
        {B1 "--workers 1", FIELD(workers), 1},
        {B1 "--workers=64", FIELD(workers), 64},
        {B1 "--workers 007", FIELD(workers), 7},
        {B1 "--balance least-sessions", POOL_FIELD(balance), 0},
        {B1 "--balance round-robin", POOL_FIELD(balance), 1},
        {B1 "--balance random-two", POOL_FIELD(balance), 2},
        {B1 "--discover-interval 100", FIELD(discover_interval_ms), 100},
        {B1 "--upgrade-timeout 0", FIELD(upgrade_timeout_ms), 0},
        {B1 "--recovery off", POOL_FIELD(recovery), 1},
        {B1 "--log-level error", FIELD(log_level), 0},
        {B1 "--log-level debug", FIELD(log_level), 3},
        {B1 "--log-format json", FIELD(log_format), 1},
        {B1 "--head-timeout 250ms", FIELD(head_timeout_ms), 250},
        {B1 "--head-timeout 250", FIELD(head_timeout_ms), 250},
        {B1 "--head-timeout 2m", FIELD(head_timeout_ms), 120000},
        {B1 "--head-timeout 1h", FIELD(head_timeout_ms), 3600000},
        {B1 "--head-timeout 10MS", FIELD(head_timeout_ms), 10},
        {B1 "--shutdown-delay 0", FIELD(shutdown_delay_ms), 0},
        {B1 "--shutdown-delay 0s", FIELD(shutdown_delay_ms), 0},
        {B1 "--max-head 64k", FIELD(max_head_bytes), 65536},
        {B1 "--max-head 64K", FIELD(max_head_bytes), 65536},
        {B1 "--max-head 10000", FIELD(max_head_bytes), 10000},
        {B1 "--shutdown-rate 0", FIELD(shutdown_rate), 0},
        {B1 "--recovery-rate 0", FIELD(recovery_rate), 0},
        {B1 "--recovery-rate 1000000", FIELD(recovery_rate), 1000000},
        {B1 "--real-address forwarded", FIELD(real_address), 1},
        {B1 "--real-address x-real-ip", FIELD(real_address), 2},
        {B1 "--tls-min-version 1.3", FIELD(tls_min_version), GW_TLS_1_3},
        {B1 "--tls-client-verify optional", FIELD(tls_client_verify), 1},
        {B1 "--max-requests-per-connection 1000000000",
         FIELD(max_requests_per_connection), 1000000000},
        {B1 "--max-streamed-bodies 0", FIELD(max_streamed_bodies), 0},
        {B1 "--max-streamed-bodies 1000000", FIELD(max_streamed_bodies),
         1000000},
        {B1 "--min-body-rate 1k", FIELD(min_body_rate), 1024},
        {B1 "--min-body-rate 1g", FIELD(min_body_rate), 1 << 30},
        {B1 "--max-connections-per-address 10000000",
         FIELD(max_connections_per_address), 10000000},
        {B1 "--max-sessions-per-address 5", FIELD(max_sessions_per_address), 5},
        {B1 "--handshake-rate-per-address 1000000",
         FIELD(handshake_rate_per_address), 1000000},
        {B1 "--tcp-keepalive 24h", FIELD(tcp_keepalive_ms), 86400000},
        {B1 "--tcp-user-timeout 0", FIELD(tcp_user_timeout_ms), 0},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint32_t got;

        check_good(table[i].line);
        memcpy(&got, (const char *)&config + table[i].offset, sizeof(got));
        cr_expect_eq(got, table[i].want, "%s: %u", table[i].line, got);
    }
}

Test(options, wide_values)
{
    check_good(B1 "--max-body 1024g --max-sessions 1000000000 "
                  "--max-connections 10000000");
    cr_expect_eq(config.max_body_bytes, 1ULL << 40);
    cr_expect_eq(config.max_sessions, 1000000000);
    cr_expect_eq(config.max_connections, 10000000);
}

Test(options, lists)
{
    check_good("--listen 127.0.0.1:0 --listen=[::1]:8081 --listen 127.0.0.1:0 "
               "--backend n1=127.0.0.1:3001,weight=256 --backend=[::1]:3002 "
               "--path /a/ --path=/b --source-address 127.0.0.2 "
               "--source-address ::1 --source-address=[::1] "
               "--admin [::1]:0 --netty --gateway-name gw-a.b_c");
    cr_expect_eq(config.listen_count, 3);
    cr_expect_eq(config.listen[0].address.addr.ss_family, AF_INET);
    cr_expect_eq(config.listen[1].address.addr.ss_family, AF_INET6);
    cr_expect_eq(config.listen[1].address.addr_len,
                 sizeof(struct sockaddr_in6));
    cr_expect_eq(config.backend_count, 2);
    cr_expect_str_eq(config.backends[0].id, "n1");
    cr_expect_str_eq(config.backends[0].address.text, "127.0.0.1:3001");
    cr_expect_eq(config.backends[0].weight, 256);
    cr_expect_str_eq(config.backends[1].id, "[::1]:3002");
    cr_expect_eq(config.pools[0].path_count, 2);
    cr_expect_str_eq(config.pools[0].paths[0], "/a/");
    cr_expect_str_eq(config.pools[0].paths[1], "/b");
    cr_expect_eq(config.source_count, 3);
    cr_expect_eq(config.sources[1].addr.ss_family, AF_INET6);
    cr_expect_str_eq(config.admin.text, "[::1]:0");
    cr_expect_eq(config.admin.addr_len, sizeof(struct sockaddr_in6));
    cr_expect(config.pools[0].netty);
    cr_expect_str_eq(config.gateway_name, "gw-a.b_c");
}

Test(options, resolved_port)
{
    struct sockaddr_in v4;

    check_good(B1);
    memcpy(&v4, &config.backends[0].address.addr, sizeof(v4));
    cr_expect_eq(v4.sin_family, AF_INET);
    cr_expect_eq(ntohs(v4.sin_port), 3001);
    cr_expect_eq(ntohl(v4.sin_addr.s_addr), INADDR_LOOPBACK);
}

Test(options, names_resolve)
{
    check_good("--backend localhost:3001");
    cr_expect_gt(config.backends[0].address.addr_len, 0);
}

struct bad {
    const char *line;
    const char *error;
};

static void check_bad_table(const struct bad *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_bad(table[i].line, table[i].error);
}

#define CHECK_BAD(table)                                                       \
    check_bad_table((table), sizeof(table) / sizeof((table)[0]))

Test(options, bad_command_lines)
{
    static const struct bad table[] = {
        {"", "--backend: none is given; give at least one, as in --backend "
             "127.0.0.1:3001, or a name to --discover"},
        {"127.0.0.1:8080 127.0.0.1:3001",
         "127.0.0.1:8080: unexpected argument; a backend is given as "
         "--backend host:port"},
        {B1 "--frob 1", "--frob: unknown option; --help lists all"},
        {B1 "--work 1", "--work: unknown option; --help lists all"},
        {B1 "-w", "-w: unknown option; --help lists all"},
        {B1 "--", "--: unknown option; --help lists all"},
        {B1 "--log_level info",
         "--log_level: unknown option; --help lists all"},
        {B1 "--workers", "--workers: needs a value (N)"},
        {B1 "--workers --netty", "--workers: needs a value (N)"},
        {B1 "--workers 1 --workers 1", "--workers: given more than once"},
        {B1 "--check=1", "--check: takes no value"},
        {B1 "--check --print-config",
         "--print-config: only one of the commands can be given"},
        {B1 "--config=", "--config: needs a value"},
        {B1 "--config a --config b", "--config: given more than once"},
        {B1 "--config /nonexistent/x.json",
         "/nonexistent/x.json: cannot be read: No such file or directory"},
        {B1 "--config /", "/: cannot be read: Is a directory"},
        {B1 "--config /dev/zero", "/dev/zero: larger than 1 MiB"},
    };

    CHECK_BAD(table);
}

Test(options, bad_values)
{
    static const struct bad table[] = {
        {B1 "--workers 0", "--workers: 0 is not between 1 and 64"},
        {B1 "--workers 65", "--workers: 65 is not between 1 and 64"},
        {B1 "--workers 2k",
         "--workers: 2k is not a whole number, from 1 to 64"},
        {B1 "--workers -1",
         "--workers: -1 is not a whole number, from 1 to 64"},
        {B1 "--workers=", "--workers:  is not a whole number, from 1 to 64"},
        {B1 "--workers 99999999999999999999",
         "--workers: 99999999999999999999 is not a whole number, from 1 to "
         "64"},
        {B1 "--head-timeout 9ms",
         "--head-timeout: 9ms is not between 10ms and 1h"},
        {B1 "--head-timeout 61m",
         "--head-timeout: 61m is not between 10ms and 1h"},
        {B1 "--head-timeout 1.5s",
         "--head-timeout: 1.5s is not a time such as 250ms, 10s or 2m, from "
         "10ms to 1h"},
        {B1 "--head-timeout 9999999999999999h",
         "--head-timeout: 9999999999999999h is not a time such as 250ms, 10s "
         "or 2m, from 10ms to 1h"},
        {B1 "--recovery-rate 1000001",
         "--recovery-rate: 1000001 is not between 0 and 1000000"},
        {B1 "--real-address x-client-ip",
         "--real-address: x-client-ip is none of "
         "x-forwarded-for|forwarded|x-real-ip"},
        {B1 "--tls-min-version 1.1",
         "--tls-min-version: 1.1 is none of 1.2|1.3"},
        {B1 "--max-requests-per-connection 1000000001",
         "--max-requests-per-connection: 1000000001 is not between 0 and "
         "1000000000"},
        {B1 "--max-streamed-bodies 1000001",
         "--max-streamed-bodies: 1000001 is not between 0 and 1000000"},
        {B1 "--min-body-rate 2g",
         "--min-body-rate: 2g is not between 0 and 1g"},
        {B1 "--max-connections-per-address 10000001",
         "--max-connections-per-address: 10000001 is not between 0 and "
         "10000000"},
        {B1 "--max-sessions-per-address 10000001",
         "--max-sessions-per-address: 10000001 is not between 0 and "
         "10000000"},
        {B1 "--handshake-rate-per-address 1000001",
         "--handshake-rate-per-address: 1000001 is not between 0 and "
         "1000000"},
        {B1 "--tcp-keepalive 25h",
         "--tcp-keepalive: 25h is not between 0 and 24h"},
        {B1 "--tcp-user-timeout 25h",
         "--tcp-user-timeout: 25h is not between 0 and 24h"},
        {B1 "--discover-interval 99ms",
         "--discover-interval: 99ms is not between 100ms and 1h"},
        {B1 "--max-head 1023", "--max-head: 1023 is not between 1k and 64k"},
        {B1 "--max-head 64kb",
         "--max-head: 64kb is not a size such as 512, 64k or 1m, from 1k to "
         "64k"},
        {B1 "--balance rr",
         "--balance: rr is none of least-sessions|round-robin|random-two|hash"},
        {B1 "--balance least", "--balance: least is none of "
                               "least-sessions|round-robin|random-two|hash"},
        {B1 "--netty=yes", "--netty: yes is neither true nor false"},
        {B1 "--gateway-name a/b",
         "--gateway-name: a/b is not 1 to 63 letters, digits, '.', '_' or "
         "'-'"},
        {B1 "--path socket.io", "--path: socket.io does not start with /"},
        {B1 "--path /a?b", "--path: /a?b holds a character that no path has"},
        {B1 "--path=/a\tb\n",
         "--path: /a?b? holds a character that no path has"},
        {B1 "--path /a --path /a", "--path: /a is given twice"},
        {B1 "--max-request-line 32k",
         "--max-request-line: 32768 is more than --max-head, which is 16384"},
    };

    CHECK_BAD(table);
}

#define BACKEND_FORM                                                           \
    "[id=]host:port[,weight=N][,max=N][,drain][,tls][,name=host][,verify=off]"

Test(options, bad_addresses)
{
    static const struct bad table[] = {
        {B1 "--listen 8080", "--listen: 8080 is not host:port"},
        {B1 "--listen :8080", "--listen: the host is missing"},
        {B1 "--listen a:", "--listen: a:: the port is not between 0 and "
                           "65535"},
        {B1 "--listen ::1:80",
         "--listen: ::1 is not a host name or address (IPv6 stands in "
         "brackets)"},
        {B1 "--listen [::1]80", "--listen: [::1]80 is not [address]:port"},
        {B1 "--listen [::1:80", "--listen: [::1:80 is not [address]:port"},
        {B1 "--listen [::g]:80", "--listen: [::g] is not an IPv6 address"},
        {B1 "--listen []:80", "--listen: [] is not an IPv6 address"},
        {B1 "--listen 127.0.0.1:65536",
         "--listen: 127.0.0.1:65536: the port is not between 0 and 65535"},
        {B1 "--listen 127.0.0.1:80 --listen 127.0.0.1:80",
         "--listen: 127.0.0.1:80 and 127.0.0.1:80 are the same address"},
        {B1 "--listen 0.0.0.0:80 --listen 127.0.0.1:80",
         "--listen: 0.0.0.0:80 and 127.0.0.1:80 are the same address"},
        {B1 "--admin 127.0.0.1:8080",
         "--admin: 127.0.0.1:8080 is taken by --listen 0.0.0.0:8080"},
        {B1 "--admin on", "--admin: on is not host:port"},
        {"--backend 127.0.0.1:0",
         "--backend: 127.0.0.1:0: the port is not between 1 and 65535"},
        {"--backend a=b=127.0.0.1:1",
         "--backend: b=127.0.0.1 is not a host name or address (IPv6 stands "
         "in brackets)"},
        {"--backend =127.0.0.1:1",
         "--backend: : the id is not 1 to 63 letters, digits, '.', '_', ':', "
         "'[', ']' or '-'"},
        {"--backend a/b=127.0.0.1:1",
         "--backend: a/b: the id is not 1 to 63 letters, digits, '.', '_', "
         "':', '[', ']' or '-'"},
        {"--backend 127.0.0.1:1,weight=0",
         "--backend: 127.0.0.1:1,weight=0: the weight is not between 1 and "
         "256"},
        {"--backend 127.0.0.1:1,weight=257",
         "--backend: 127.0.0.1:1,weight=257: the weight is not between 1 and "
         "256"},
        {"--backend 127.0.0.1:1,slow",
         "--backend: 127.0.0.1:1,slow: slow is no part of " BACKEND_FORM},
        {"--backend 127.0.0.1:1,=1",
         "--backend: 127.0.0.1:1,=1:  is no part of " BACKEND_FORM},
        {"--backend 127.0.0.1:1,weight",
         "--backend: 127.0.0.1:1,weight: weight needs a value"},
        {"--backend 127.0.0.1:1,weight=1,weight=1",
         "--backend: 127.0.0.1:1,weight=1,weight=1: weight is given twice"},
        {"--backend a=127.0.0.1:1 --backend a=127.0.0.1:2",
         "--backend: the id a is given twice"},
        {"--backend a=127.0.0.1:1 --backend b=127.0.0.1:1",
         "--backend: 127.0.0.1:1 and 127.0.0.1:1 are the same address"},
        {"--backend 127.0.0.1:8080",
         "--backend: 127.0.0.1:8080 is where sidgate itself listens"},
        {"--listen [::]:9 --backend 127.0.0.1:9",
         "--backend: 127.0.0.1:9 is where sidgate itself listens"},
        {B1 "--source-address [::1",
         "--source-address: [::1 is not an address"},
        {B1 "--source-address 127.0.0.1:80",
         "--source-address: 127.0.0.1:80 is not a host name or address (IPv6 "
         "stands in brackets)"},
    };

    CHECK_BAD(table);
}

Test(options, unknown_name)
{
    cr_expect_eq(read_line("--backend nosuchhost.invalid:80"), -1);
    cr_expect_neq(strstr(error, "--backend: nosuchhost.invalid:80 does not "
                                "resolve: "),
                  NULL, "%s", error);
}

Test(options, long_texts_are_refused_whole)
{
    char line[1200] = "--backend ";

    memset(line + 10, 'a', 600);
    memcpy(line + 610, ":80", 4);
    cr_expect_eq(read_line(line), -1);
    memcpy(line, B1 "--path /", sizeof(B1 "--path /") - 1);
    cr_expect_eq(read_line(line), -1);
    cr_expect_neq(strstr(error, "is over 127 bytes"), NULL, "%s", error);
    memset(line, 'x', 1100);
    memcpy(line, "--", 2);
    cr_expect_eq(read_line(line), -1);
    cr_expect_lt(strlen(error), sizeof(error));
}

Test(options, too_many_of_a_list)
{
    char line[4096] = "";
    size_t used = 0;

    for (int i = 1; i <= 17; i++)
        used += (size_t)snprintf(line + used, sizeof(line) - used,
                                 "--listen 127.0.0.1:%d ", i);
    snprintf(line + used, sizeof(line) - used, B1);
    check_bad(line, "--listen: more than 16 are given");
}

Test(options, commands)
{
    static const struct {
        const char *line;
        enum gw_action want;
    } table[] = {
        {B1 "--check", GW_ACTION_CHECK},
        {B1 "--print-config", GW_ACTION_PRINT_CONFIG},
        {"--help", GW_ACTION_HELP},
        {"--version", GW_ACTION_VERSION},
        {"--man-options", GW_ACTION_MAN_OPTIONS},
        {"--workers 0 --help", GW_ACTION_HELP}, /* needs no sound rest */
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        check_good(table[i].line);
        cr_expect_eq(action, table[i].want, "%s", table[i].line);
    }
}
