/* SPDX-License-Identifier: MIT */
/* The options that say who clients are, of TLS, and of the process. */
#include "tests/unit/options_fixture.h"

#include <sys/socket.h>

TestSuite(options_edge, .init = enter, .fini = leave);

Test(options_edge, trusted_proxies)
{
    static const char json[] =
        "{\"backend\": \"127.0.0.1:1\", \"trusted_proxy\": [\"unix\", "
        "\"10.0.0.0/8\", \"192.0.2.1\"]}";

    check_good("--trusted-proxy 10.0.0.0/8 --trusted-proxy unix "
               "--trusted-proxy 2001:db8::/32 --trusted-proxy ::1 "
               "--trusted-proxy 0.0.0.0/0 --trusted-proxy 192.0.2.7");
    cr_expect_eq(config.trusted_count, 5);
    cr_expect(config.trusts_unix);
    cr_expect_eq(config.trusted[0].base.family, AF_INET);
    cr_expect_eq(config.trusted[0].bits, 8);
    cr_expect_eq(config.trusted[1].base.family, AF_INET6);
    cr_expect_eq(config.trusted[1].bits, 32);
    cr_expect_eq(config.trusted[2].bits, 128);
    cr_expect_eq(config.trusted[4].bits, 32);
    expect_printed("\"trusted_proxy\": [\n    \"10.0.0.0/8\",\n    "
                   "\"2001:db8::/32\",\n    \"::1\",\n    \"0.0.0.0/0\",\n    "
                   "\"192.0.2.7\",\n    \"unix\"\n  ]");
    expect_reads_back();

    /* A stronger source leaves nothing of a weaker one, and no unix either. */
    write_file("f.json", json, sizeof(json) - 1);
    check_good("--config f.json");
    cr_expect_eq(config.trusted_count, 2);
    cr_expect(config.trusts_unix);
    check_good("--config f.json --trusted-proxy 198.51.100.1");
    cr_expect_eq(config.trusted_count, 1);
    cr_expect_not(config.trusts_unix);
    cr_expect_eq(config.trusted[0].base.addr[0], 198);
    setenv("SIDGATE_TRUSTED_PROXY", "unix ::/0", 1);
    check_good("--config f.json");
    cr_expect_eq(config.trusted_count, 1);
    cr_expect_eq(config.trusted[0].bits, 0);
    cr_expect(config.trusts_unix);
}

Test(options_edge, bad_trusted_proxies)
{
#define NO_NET                                                                 \
    " is not unix, an address or a network such as 10.0.0.0/8, with no bits "  \
    "behind its length"
    static const struct bad table[] = {
        {"--trusted-proxy 10.0.0.1/8", "--trusted-proxy: 10.0.0.1/8" NO_NET},
        {"--trusted-proxy 10.0.0.0/33", "--trusted-proxy: 10.0.0.0/33" NO_NET},
        {"--trusted-proxy 10.0.0/8", "--trusted-proxy: 10.0.0/8" NO_NET},
        {"--trusted-proxy localhost", "--trusted-proxy: localhost" NO_NET},
        {"--trusted-proxy=", "--trusted-proxy: " NO_NET},
        {"--trusted-proxy Unix", "--trusted-proxy: Unix" NO_NET},
        {"--trusted-proxy ::1%lo", "--trusted-proxy: ::1%lo" NO_NET},
    };

    CHECK_BAD(table);
    check_bad(repeat("--trusted-proxy=10.0.0.", 65),
              "--trusted-proxy: more than 64 are given");
    check_good(repeat("--trusted-proxy=10.0.0.", 64));
    cr_expect_eq(config.trusted_count, 64);
}

Test(options_edge, allowed_origins)
{
    static const char json[] = "{\"backend\": \"127.0.0.1:1\", "
                               "\"allowed_origin\": [\"http://a\", "
                               "\"http://b\"]}";

    check_good("--allowed-origin https://Example.com --allowed-origin "
               "http://localhost:3000 --allowed-origin https://*.example.com");
    cr_expect_eq(config.origin_count, 3);
    cr_expect_str_eq(config.origins[0], "https://example.com");
    cr_expect_str_eq(config.origins[1], "http://localhost:3000");
    cr_expect_str_eq(config.origins[2], "https://*.example.com");
    expect_reads_back();
    write_file("f.json", json, sizeof(json) - 1);
    check_good("--config f.json --allowed-origin http://c");
    cr_expect_eq(config.origin_count, 1);
    cr_expect_str_eq(config.origins[0], "http://c");
}

Test(options_edge, bad_origins)
{
#define NO_ORIGIN                                                              \
    " is not an origin such as https://example.com or https://*.example.com"
    static const struct bad table[] = {
        {"--allowed-origin example.com",
         "--allowed-origin: example.com" NO_ORIGIN},
        {"--allowed-origin=", "--allowed-origin: " NO_ORIGIN},
        {"--allowed-origin https://a/",
         "--allowed-origin: https://a/" NO_ORIGIN},
    };

    CHECK_BAD(table);
    check_bad(repeat("--allowed-origin=http://h", 65),
              "--allowed-origin: more than 64 are given");
    check_good(repeat("--allowed-origin=http://h", 64));
}

Test(options_edge, certificates)
{
    const struct gw_certificate_config *certificate = config.certificates;
    static const char json[] =
        "{\"backend\": \"127.0.0.1:1\", \"tls_certificate\": [\"/x\", "
        "\"/a b=c,key=/d e\"], \"backend_certificate\": \"/f g,key=/h\"}";

    check_good("--tls-certificate /c.pem --tls-certificate "
               "c2.pem,ocsp=o,key=k --tls-certificate c,key=c "
               "--backend-certificate b,key=bk");
    cr_expect_eq(config.certificate_count, 3);
    cr_expect_str_eq(certificate[0].file, "/c.pem");
    cr_expect_str_eq(certificate[0].key, "/c.pem");
    cr_expect_str_eq(certificate[0].ocsp, "");
    cr_expect_str_eq(certificate[1].file, "c2.pem");
    cr_expect_str_eq(certificate[1].key, "k");
    cr_expect_str_eq(certificate[1].ocsp, "o");
    cr_expect_str_eq(certificate[2].key, "c");
    cr_expect_str_eq(config.backend_certificate.file, "b");
    cr_expect_str_eq(config.backend_certificate.key, "bk");
    expect_printed("\"c2.pem,key=k,ocsp=o\"");
    expect_printed("\"backend_certificate\": \"b,key=bk\"");
    expect_reads_back();

    write_file("f.json", json, sizeof(json) - 1);
    check_good("--config f.json");
    cr_expect_eq(config.certificate_count, 2);
    cr_expect_str_eq(certificate[1].file, "/a b=c");
    cr_expect_str_eq(certificate[1].key, "/d e");
    cr_expect_str_eq(config.backend_certificate.file, "/f g");
    expect_reads_back();
    write_file("f.json", json, sizeof(json) - 1);
    check_good("--config f.json --tls-certificate z --backend-certificate=");
    cr_expect_eq(config.certificate_count, 1);
    cr_expect_str_eq(certificate[0].file, "z");
    cr_expect_str_eq(config.backend_certificate.file, "");
    cr_expect_str_eq(config.backend_certificate.key, "");
}

Test(options_edge, bad_certificates)
{
#define CERTIFICATE_FORM "file[,key=file][,ocsp=file]"
    static const struct bad table[] = {
        {"--tls-certificate=", "--tls-certificate: the file is missing"},
        {"--tls-certificate ,key=a", "--tls-certificate: the file is missing"},
        {"--tls-certificate a,b",
         "--tls-certificate: a,b: b is no part of " CERTIFICATE_FORM},
        {"--tls-certificate a,key",
         "--tls-certificate: a,key: key needs a value"},
        {"--tls-certificate a,key=",
         "--tls-certificate: a,key=: key needs a value"},
        {"--tls-certificate a,key=b,key=c",
         "--tls-certificate: a,key=b,key=c: key is given twice"},
        {"--tls-certificate a\tb",
         "--tls-certificate: a?b holds a control character"},
        {"--backend-certificate a,ocsp=b",
         "--backend-certificate: a,ocsp=b: ocsp is no part of "
         "file[,key=file]"},
        {"--backend-certificate ,key=b",
         "--backend-certificate: the file is missing"},
        {"--backend-certificate a --backend-certificate b",
         "--backend-certificate: given more than once"},
    };
    char line[800];
    int names[] = {255, 255, 255};

    CHECK_BAD(table);
    for (int wrong = 0; wrong < 4; wrong++) {
        if (wrong < 3)
            names[wrong] = 256;
        snprintf(line, sizeof(line),
                 "--tls-certificate %0*d,key=%0*d,ocsp=%0*d", names[0], 1,
                 names[1], 2, names[2], 3);
        if (wrong < 3)
            names[wrong] = 255;
        cr_expect_eq(read_line(line), wrong == 3 ? 0 : -1, "%s", error);
        if (wrong < 3)
            cr_expect_neq(strstr(error, "... is over 255 bytes"), NULL, "%s",
                          error);
    }
    expect_reads_back();
}

Test(options_edge, too_many_certificates)
{
    check_bad(repeat("--tls-certificate=c", 65),
              "--tls-certificate: more than 64 are given");
}

Test(options_edge, ciphers)
{
    char line[1200] = "--tls-ciphers ";
    const size_t start = strlen(line);

    check_good("--tls-ciphers A:!B+C@STRENGTH");
    cr_expect_str_eq(config.tls_ciphers, "A:!B+C@STRENGTH");
    expect_reads_back();
    memset(line + start, 'x', sizeof(config.tls_ciphers) - 1);
    check_good(line);
    expect_reads_back();
    line[start + sizeof(config.tls_ciphers) - 1] = 'x';
    check_bad(line, "--tls-ciphers: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."
                    " is over 1023 bytes");
    check_bad("--tls-ciphers A\tB",
              "--tls-ciphers: A?B is not printable ASCII");
    check_bad("--tls-ciphers A\x7f", "--tls-ciphers: A? is not printable "
                                     "ASCII");
    check_bad("--tls-ciphers \xc3\xa4",
              "--tls-ciphers: \xc3\xa4 is not printable ASCII");
}

Test(options_edge, user)
{
#define NO_USER                                                                \
    " is not name or name:group, each of 1 to 31 letters, digits, '.', '_' "   \
    "or '-'"
    static const char *const good[] = {
        "nobody",
        "nobody:nogroup",
        "_a-b.c:9",
        "1000:1000",
        "1234567890123456789012345678901:1234567890123456789012345678901",
    };
    static const struct bad table[] = {
        {"--user :group", "--user: :group" NO_USER},
        {"--user name:", "--user: name:" NO_USER},
        {"--user a:b:c", "--user: a:b:c" NO_USER},
        {"--user -a", "--user: -a" NO_USER},
        {"--user a/b", "--user: a/b" NO_USER},
        {"--user 12345678901234567890123456789012",
         "--user: 12345678901234567890123456789012" NO_USER},
    };
    char line[128];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(line, sizeof(line), "--user %s --seccomp", good[i]);
        check_good(line);
        cr_expect_str_eq(config.user, good[i]);
        cr_expect(config.seccomp);
        expect_reads_back();
    }
    CHECK_BAD(table);
    check_good("--user=");
    cr_expect_str_eq(config.user, "");
}

Test(options_edge, errors_name_the_source)
{
    static const char json[] = "{\"listen\": \"unix:x\"}";

    setenv("SIDGATE_LISTEN", "127.0.0.1:0,tls", 1);
    check_bad("", "SIDGATE_LISTEN: 127.0.0.1:0: tls needs a "
                  "--tls-certificate");
    setenv("SIDGATE_LISTEN", "127.0.0.1:0 unix:/a,mode=9", 1);
    check_bad("", "SIDGATE_LISTEN: unix:/a,mode=9: the mode is not octal, up "
                  "to 0777");
    unsetenv("SIDGATE_LISTEN");
    write_file("f.json", json, sizeof(json) - 1);
    check_bad("--config f.json", "f.json: listen: unix:x: the path of a unix "
                                 "socket starts with /");
}
