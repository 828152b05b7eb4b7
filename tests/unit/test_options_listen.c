/* SPDX-License-Identifier: MIT */
/* The options of listeners and backends, and what they need of others. */
#include "tests/unit/options_fixture.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

TestSuite(options_listen, .init = enter, .fini = leave);

Test(options_listen, listeners)
{
    const struct gw_listen_config *listen = config.listen;

    check_good("--listen 127.0.0.1:0 --listen [::1]:0,tls,proxy "
               "--listen 127.0.0.1:0,redirect --listen "
               "127.0.0.1:0,redirect=8443 --tls-certificate a "
               "--trusted-proxy ::1");
    cr_expect_eq(config.listen_count, 4);
    cr_expect_str_eq(listen[0].address.text, "127.0.0.1:0");
    cr_expect_not(listen[0].is_tls || listen[0].has_proxy ||
                  listen[0].redirects);
    cr_expect_eq(listen[0].https_port, 443);
    cr_expect_eq(listen[0].unix_mode, 0660);
    cr_expect_str_eq(listen[1].address.text, "[::1]:0");
    cr_expect_eq(listen[1].address.addr.ss_family, AF_INET6);
    cr_expect(listen[1].is_tls && listen[1].has_proxy && !listen[1].redirects);
    cr_expect(listen[2].redirects && !listen[2].is_tls);
    cr_expect_eq(listen[2].https_port, 443);
    cr_expect(listen[3].redirects);
    cr_expect_eq(listen[3].https_port, 8443);
    expect_reads_back();
}

Test(options_listen, unix_listeners)
{
    const struct gw_listen_config *listen = config.listen;
    struct sockaddr_un addr;

    check_good("--listen unix:/run/a=b:1 --listen "
               "unix:/run/b,proxy,mode=7,tls --listen unix:/c,mode=0777 "
               "--listen unix:/d,mode=0660 "
               "--tls-certificate a --trusted-proxy unix --admin unix:/run/e");
    cr_expect_eq(config.listen_count, 4);
    cr_expect_str_eq(listen[0].address.text, "unix:/run/a=b:1");
    memcpy(&addr, &listen[0].address.addr, sizeof(addr));
    cr_expect_eq(addr.sun_family, AF_UNIX);
    cr_expect_str_eq(addr.sun_path, "/run/a=b:1");
    cr_expect_eq(listen[0].address.addr_len,
                 offsetof(struct sockaddr_un, sun_path) + 11);
    cr_expect_eq(listen[0].unix_mode, 0660);
    cr_expect_eq(listen[1].unix_mode, 07);
    cr_expect(listen[1].is_tls && listen[1].has_proxy);
    cr_expect_eq(listen[2].unix_mode, 0777);
    cr_expect_eq(listen[3].unix_mode, 0660);
    cr_expect_str_eq(config.admin.text, "unix:/run/e");
    cr_expect_eq(config.admin.addr.ss_family, AF_UNIX);
    expect_printed("\"unix:/run/b,tls,proxy,mode=0007\"");
    expect_printed("\"admin\": \"unix:/run/e\"");
    expect_reads_back();
}

#define LISTEN_FORM                                                            \
    "host:port|unix:/path[,tls][,proxy][,redirect[=port]][,mode=0660]"

Test(options_listen, bad_listeners)
{
    static const struct bad table[] = {
        {"--listen 127.0.0.1:1,tsl",
         "--listen: 127.0.0.1:1,tsl: tsl is no part of " LISTEN_FORM},
        {"--listen 127.0.0.1:1,",
         "--listen: 127.0.0.1:1,:  is no part of " LISTEN_FORM},
        {"--listen 127.0.0.1:1,TLS",
         "--listen: 127.0.0.1:1,TLS: TLS is no part of " LISTEN_FORM},
        {"--listen ,tls", "--listen:  is not host:port"},
        {"--listen 127.0.0.1:1,tls=on",
         "--listen: 127.0.0.1:1,tls=on: tls takes no value"},
        {"--listen 127.0.0.1:1,proxy=",
         "--listen: 127.0.0.1:1,proxy=: proxy takes no value"},
        {"--listen 127.0.0.1:1,tls,proxy,tls",
         "--listen: 127.0.0.1:1,tls,proxy,tls: tls is given twice"},
        {"--listen 127.0.0.1:1,redirect=0",
         "--listen: 127.0.0.1:1,redirect=0: the port of the redirect is not "
         "between 1 and 65535"},
        {"--listen 127.0.0.1:1,redirect=65536",
         "--listen: 127.0.0.1:1,redirect=65536: the port of the redirect is "
         "not between 1 and 65535"},
        {"--listen 127.0.0.1:1,redirect=",
         "--listen: 127.0.0.1:1,redirect=: the port of the redirect is not "
         "between 1 and 65535"},
        {"--listen 127.0.0.1:1,redirect=44x",
         "--listen: 127.0.0.1:1,redirect=44x: the port of the redirect is not "
         "between 1 and 65535"},
        {"--tls-certificate a --listen 127.0.0.1:1,tls,redirect",
         "--listen: 127.0.0.1:1,tls,redirect: with tls there is nothing to "
         "redirect to https"},
        {"--listen 127.0.0.1:1,mode=0600",
         "--listen: 127.0.0.1:1,mode=0600: only a unix socket has a mode"},
        {"--listen unix:/a,mode", "--listen: unix:/a,mode: mode needs a value"},
        {"--listen unix:/a,mode=",
         "--listen: unix:/a,mode=: mode needs a value"},
        {"--listen unix:/a,mode=08",
         "--listen: unix:/a,mode=08: the mode is not octal, up to 0777"},
        {"--listen unix:/a,mode=1777",
         "--listen: unix:/a,mode=1777: the mode is not octal, up to 0777"},
        {"--listen unix:/a,mode=00660",
         "--listen: unix:/a,mode=00660: the mode is not octal, up to 0777"},
        {"--listen unix:/a,mode=-1",
         "--listen: unix:/a,mode=-1: the mode is not octal, up to 0777"},
        {"--listen unix:a",
         "--listen: unix:a: the path of a unix socket starts with /"},
        {"--listen unix:",
         "--listen: unix:: the path of a unix socket starts with /"},
        {"--listen unix:/a\tb",
         "--listen: unix:/a?b holds a comma or a control character"},
        {"--admin unix:/a,mode=0600",
         "--admin: unix:/a,mode=0600 holds a comma or a control character"},
        {"--admin unix:a",
         "--admin: unix:a: the path of a unix socket starts with /"},
    };

    CHECK_BAD(table);
}

/* 107 bytes fit beside their NUL, 108 do not. */
Test(options_listen, unix_path_bound)
{
    char line[256] = "--listen unix:/";
    struct sockaddr_un addr;
    const size_t start = strlen("--listen unix:");

    memset(line + start + 1, 'x', 107);
    line[start + 107] = '\0';
    check_good(line);
    memcpy(&addr, &config.listen[0].address.addr, sizeof(addr));
    cr_expect_eq(strlen(addr.sun_path), 107);
    cr_expect_str_eq(addr.sun_path, line + start);
    expect_reads_back();
    line[start + 107] = 'x';
    check_bad(line, "--listen: unix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...: "
                    "the path of a unix socket is over 107 bytes");
}

Test(options_listen, long_values_with_parts)
{
    char line[1200] = "--listen ";

    memset(line + 9, 'x', sizeof(line) - 10);
    check_bad(line, "--listen: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx... is "
                    "too long");
}

Test(options_listen, listeners_need_others)
{
    static const struct bad table[] = {
        {"--listen 127.0.0.1:1,tls",
         "--listen: 127.0.0.1:1: tls needs a --tls-certificate"},
        {"--listen 127.0.0.1:1,proxy",
         "--listen: 127.0.0.1:1: proxy needs the address of a "
         "--trusted-proxy"},
        {"--listen 127.0.0.1:1,proxy --trusted-proxy unix",
         "--listen: 127.0.0.1:1: proxy needs the address of a "
         "--trusted-proxy"},
        {"--listen unix:/a,proxy",
         "--listen: unix:/a: proxy needs --trusted-proxy unix"},
        {"--listen unix:/a,proxy --trusted-proxy 127.0.0.1",
         "--listen: unix:/a: proxy needs --trusted-proxy unix"},
        {"--listen unix:/a --listen unix:/a,mode=0600",
         "--listen: unix:/a and unix:/a are the same address"},
        {"--listen unix:/a --admin unix:/a",
         "--admin: unix:/a is taken by --listen unix:/a"},
    };

    CHECK_BAD(table);
    check_good("--listen unix:/a --listen unix:/b --listen 127.0.0.1:0");
    check_good("--listen 127.0.0.1:1,proxy --trusted-proxy 10.0.0.0/8");
    check_good("--listen 127.0.0.1:1,redirect");
}

Test(options_listen, backends)
{
    const struct gw_backend_config *backend = config.backends;

    check_good("--backend a=[::1]:443,tls --backend "
               "b=127.0.0.2:1,verify=off,tls,weight=3,name=b.example.com "
               "--backend 127.0.0.3:1,tls,name=127.0.0.3 --backend "
               "127.0.0.4:1,tls,name=::1 --backend-certificate c");
    cr_expect_eq(config.backend_count, 5);
    cr_expect_not(backend[0].is_tls || backend[0].is_unverified);
    cr_expect_str_eq(backend[0].tls_name, "");
    cr_expect_str_eq(backend[1].id, "a");
    cr_expect(backend[1].is_tls && !backend[1].is_unverified);
    cr_expect_str_eq(backend[1].tls_name, "::1");
    cr_expect_eq(backend[1].weight, 1);
    cr_expect_str_eq(backend[2].id, "b");
    cr_expect_str_eq(backend[2].address.text, "127.0.0.2:1");
    cr_expect(backend[2].is_tls && backend[2].is_unverified);
    cr_expect_str_eq(backend[2].tls_name, "b.example.com");
    cr_expect_eq(backend[2].weight, 3);
    cr_expect_str_eq(backend[3].id, "127.0.0.3:1");
    cr_expect_str_eq(backend[3].tls_name, "127.0.0.3");
    cr_expect_str_eq(backend[4].tls_name, "::1");
    expect_printed("\"b=127.0.0.2:1,weight=3,tls,name=b.example.com,"
                   "verify=off\"");
    expect_printed("\"127.0.0.3:1,tls\"");
    expect_printed("\"127.0.0.4:1,tls,name=::1\"");
    expect_reads_back();
}

/* A '=' behind the first comma is no id's. */
Test(options_listen, backend_without_id)
{
    check_good("--backend localhost:9,tls,name=x");
    cr_expect_str_eq(config.backends[1].id, "localhost:9");
    cr_expect_str_eq(config.backends[1].tls_name, "x");
    check_good("--backend localhost:9,tls");
    cr_expect_str_eq(config.backends[1].tls_name, "localhost");
}

Test(options_listen, bad_backends)
{
    static const struct bad table[] = {
        {"--backend 127.0.0.2:1,name=a",
         "--backend: 127.0.0.2:1,name=a: name needs tls"},
        {"--backend 127.0.0.2:1,verify=off",
         "--backend: 127.0.0.2:1,verify=off: verify needs tls"},
        {"--backend 127.0.0.2:1,tls,verify=on",
         "--backend: 127.0.0.2:1,tls,verify=on: verify can only be off"},
        {"--backend 127.0.0.2:1,tls=1",
         "--backend: 127.0.0.2:1,tls=1: tls takes no value"},
        {"--backend 127.0.0.2:1,tls,name=",
         "--backend: 127.0.0.2:1,tls,name=: name needs a value"},
        {"--backend 127.0.0.2:1,tls,name=[::1]",
         "--backend: 127.0.0.2:1,tls,name=[::1]: the name is not a host name "
         "or address"},
        {"--backend 127.0.0.2:1,tls,name=a/b",
         "--backend: 127.0.0.2:1,tls,name=a/b: the name is not a host name or "
         "address"},
        {"--backend unix:/a",
         "--backend: unix:/a: the port is not between 1 and 65535"},
    };
    char line[400] = "--backend 127.0.0.2:1,tls,name=";
    size_t start = strlen(line);

    CHECK_BAD(table);
    memset(line + start, 'x', 255);
    check_good(line);
    cr_expect_eq(strlen(config.backends[1].tls_name), 255);
    expect_reads_back();
    line[start + 255] = 'x';
    cr_expect_eq(read_line(line), -1);
    cr_expect_neq(strstr(error, ": the name is not a host name or address"),
                  NULL, "%s", error);
}

Test(options_listen, admin_is_guarded)
{
#define NEEDS                                                                  \
    " is neither a loopback address nor a unix socket, so it needs "           \
    "--admin-token-file"
    static const struct bad table[] = {
        {"--admin 0.0.0.0:9", "--admin: 0.0.0.0:9" NEEDS},
        {"--admin [::]:9", "--admin: [::]:9" NEEDS},
        {"--admin 192.0.2.1:9", "--admin: 192.0.2.1:9" NEEDS},
        {"--admin [2001:db8::1]:9", "--admin: [2001:db8::1]:9" NEEDS},
        {"--admin 128.0.0.1:9", "--admin: 128.0.0.1:9" NEEDS},
    };

    CHECK_BAD(table);
    check_good("--admin 127.0.0.1:9");
    check_good("--admin 127.255.0.9:9");
    check_good("--admin [::1]:9");
    check_good("--admin unix:/run/x");
    check_good("--admin off");
    write_file("token", "0123456789abcdef\n", 17);
    check_good("--admin 0.0.0.0:9 --admin-token-file token");
    check_good("--admin [2001:db8::1]:9 --admin-token-file token");
}

Test(options_listen, admin_token)
{
    char token[STORE_SECRET_MAX + 1];
    char *text;

    write_file("token", "!Secret-456789~\"\n", 17);
    check_good("--admin-token-file token --serve-health");
    cr_expect_str_eq(config.admin_token, "!Secret-456789~\"");
    cr_expect(config.serve_health);
    text = printed();
    cr_expect_eq(strstr(text, "Secret"), NULL, "%s", text);
    free(text);
    expect_printed("\"admin_token_file\": \"token\"");
    expect_reads_back();

    memset(token, 't', sizeof(token));
    write_file("token", token, STORE_SECRET_MAX - 1);
    check_good("--admin-token-file token");
    cr_expect_eq(strlen(config.admin_token), STORE_SECRET_MAX - 1);
    write_file("token", token, STORE_SECRET_MAX);
    check_bad("--admin-token-file token",
              "--admin-token-file: token is longer than 511 bytes");
}

Test(options_listen, admin_read_token)
{
    char *text;

    write_file("token", "0123456789abcdef\n", 17);
    write_file("other", "!Secret-456789~\"", 16);
    check_good("--admin-token-file token --admin-read-token-file other");
    cr_expect_str_eq(config.admin_token, "0123456789abcdef");
    cr_expect_str_eq(config.admin_read_token, "!Secret-456789~\"");
    text = printed();
    cr_expect_eq(strstr(text, "Secret"), NULL, "%s", text);
    free(text);
    expect_printed("\"admin_read_token_file\": \"other\"");
    expect_reads_back();
    check_good("--admin 127.0.0.1:9 --admin-read-token-file other");
    cr_expect_str_empty(config.admin_token);
    check_bad("--admin 0.0.0.0:9 --admin-read-token-file other",
              "--admin: 0.0.0.0:9 is neither a loopback address nor a unix "
              "socket, so it needs --admin-token-file");

    write_file("other", "0123456789abcdef", 16);
    check_bad("--admin-token-file token --admin-read-token-file other",
              "--admin-read-token-file: other holds the same token as "
              "--admin-token-file");
    write_file("other", "short\n", 6);
    check_bad("--admin-read-token-file other",
              "--admin-read-token-file: other is shorter than 16 bytes");
    write_file("other", "0123456789 abcdef\n", 18);
    check_bad("--admin-read-token-file other",
              "--admin-read-token-file: other holds more than visible ASCII "
              "characters");
    check_bad("--admin-read-token-file none",
              "--admin-read-token-file: none: cannot be read: No such file or "
              "directory");
}

Test(options_listen, bad_admin_tokens)
{
#define INVISIBLE "holds more than visible ASCII characters"
    static const struct {
        const char *text;
        size_t len;
        const char *error;
    } table[] = {
        {"", 0, "is empty"},
        {"\n", 1, "is empty"},
        {"123456789012345\n", 16, "is shorter than 16 bytes"},
        {"1234567890123456\n\n", 18, INVISIBLE},
        {"12345678 0123456", 16, INVISIBLE},
        {"12345678\0000123456", 17, INVISIBLE},
        {"12345678\r\n", 10, "is shorter than 16 bytes"},
        {"1234567890123456\r\n", 18, INVISIBLE},
        {"1234567890123456\x7f", 17, INVISIBLE},
        {"1234567890123456\xc3\xa4", 18, INVISIBLE},
    };
    char want[128];

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        write_file("token", table[i].text, table[i].len);
        snprintf(want, sizeof(want), "--admin-token-file: token %s",
                 table[i].error);
        check_bad("--admin-token-file token", want);
    }
    cr_assert_eq(mkdir("folder", 0700), 0);
    check_bad("--admin-token-file folder",
              "--admin-token-file: folder: cannot be read: Is a directory");
    check_bad("--admin-token-file none", "--admin-token-file: none: cannot be "
                                         "read: No such file or directory");
}
