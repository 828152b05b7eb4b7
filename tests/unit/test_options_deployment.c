/* SPDX-License-Identifier: MIT */
/* The options of a store on Sentinels, on a cluster, and with TLS. */
#include "tests/unit/options_fixture.h"

TestSuite(options_deployment, .init = enter, .fini = leave);

#define SENTINEL "--store=redis+sentinel://h,i/m "
#define TLS      "--store=rediss://h "

Test(options_deployment, urls)
{
    check_good("--store=rediss+sentinel://me:p,w@h,[::1]:7/my%2Dmaster/2");
    cr_expect_eq(config.store.kind, STORE_KIND_SENTINEL);
    cr_expect_eq(config.store.host_count, 2);
    cr_expect_eq(config.store.hosts[0].port, 26379);
    cr_expect_str_eq(config.store.hosts[1].host, "::1");
    cr_expect(config.store.hosts[1].is_tls);
    cr_expect_str_eq(config.store.master, "my-master");
    cr_expect_str_eq(config.store.password, "p,w");
    cr_expect_eq(config.store.db, 2);
    expect_printed("\"store\": "
                   "\"rediss+sentinel://me:***@h,[::1]:7/my%2Dmaster/2\"");

    setenv("SIDGATE_STORE", "redis+cluster://:p@w@h:1,i", 1);
    check_good("");
    unsetenv("SIDGATE_STORE");
    cr_expect_eq(config.store.kind, STORE_KIND_CLUSTER);
    cr_expect_eq(config.store.host_count, 2);
    cr_expect_not(config.store.hosts[0].is_tls);
    cr_expect_str_eq(config.store.password, "p@w");
    expect_printed("\"store\": \"redis+cluster://:***@h:1,i\"");
}

Test(options_deployment, tls_from_each_source)
{
    check_good(TLS "--store-ca=ca.pem --store-certificate=c.pem,key=c.key "
                   "--store-tls-name=redis.example --store-verify=false");
    cr_expect_str_eq(config.store_ca, "ca.pem");
    cr_expect_str_eq(config.store_certificate.file, "c.pem");
    cr_expect_str_eq(config.store_certificate.key, "c.key");
    cr_expect_str_eq(config.store_tls_name, "redis.example");
    cr_expect_not(config.store_verify);
    cr_expect_str_eq(config.backend_certificate.file, "");
    expect_printed("\"store_ca\": \"ca.pem\"");
    expect_printed("\"store_certificate\": \"c.pem,key=c.key\"");
    expect_printed("\"store_tls_name\": \"redis.example\"");
    expect_printed("\"store_verify\": false");

    setenv("SIDGATE_STORE_CA", "other.pem", 1);
    setenv("SIDGATE_STORE_CERTIFICATE", "own.pem", 1);
    setenv("SIDGATE_STORE_TLS_NAME", "::1", 1);
    setenv("SIDGATE_STORE_VERIFY", "false", 1);
    check_good("--store=rediss+cluster://h,i --backend-certificate=b.pem");
    unsetenv("SIDGATE_STORE_CA");
    unsetenv("SIDGATE_STORE_CERTIFICATE");
    unsetenv("SIDGATE_STORE_TLS_NAME");
    unsetenv("SIDGATE_STORE_VERIFY");
    cr_expect_str_eq(config.store_ca, "other.pem");
    cr_expect_str_eq(config.store_certificate.file, "own.pem");
    cr_expect_str_eq(config.store_certificate.key, "own.pem");
    cr_expect_str_eq(config.backend_certificate.file, "b.pem");
    cr_expect_str_eq(config.store_tls_name, "::1");
    cr_expect_not(config.store_verify);

    cr_expect_eq(read_json("{\"backend\": \"127.0.0.1:1\","
                           "\"store\": \"rediss+sentinel://h/m\","
                           "\"store_ca\": \"f.pem\", \"store_verify\": true,"
                           "\"store_certificate\": \"g.pem\","
                           "\"store_tls_name\": \"n\"}"),
                 0, "%s", error);
    cr_expect_str_eq(config.store_ca, "f.pem");
    cr_expect_str_eq(config.store_certificate.key, "g.pem");
    cr_expect_str_eq(config.store_tls_name, "n");
    cr_expect(config.store_verify);

    /* A stronger source may take it back. */
    cr_expect_eq(read_line("--config=f.json --store=memory --store-ca= "
                           "--store-certificate= --store-tls-name="),
                 0, "%s", error);
    cr_expect_str_eq(config.store_certificate.key, "");
}

Test(options_deployment, sentinels)
{
    write_text("secret", "the Secret of \"them\"\n");
    write_text("other", "of Redis");
    check_good(SENTINEL "--sentinel-user=watcher "
                        "--sentinel-password-file=secret "
                        "--store-password-file=other");
    cr_expect_str_eq(config.sentinel_user, "watcher");
    cr_expect_str_eq(config.sentinel_password, "the Secret of \"them\"");
    cr_expect_str_eq(config.store_password, "of Redis");
    expect_printed("\"sentinel_user\": \"watcher\"");
    expect_printed("\"sentinel_password_file\": \"secret\"");
    char *text = printed();
    cr_expect_null(strstr(text, "Secret"), "%s", text);
    free(text);

    write_text("secret", "x");
    setenv("SIDGATE_SENTINEL_PASSWORD_FILE", "secret", 1);
    check_good("--store=rediss+sentinel://h/m");
    unsetenv("SIDGATE_SENTINEL_PASSWORD_FILE");
    cr_expect_str_eq(config.sentinel_user, "");
    cr_expect_str_eq(config.sentinel_password, "x");
    cr_expect_str_eq(config.store_password, "");

    cr_expect_eq(read_json("{\"backend\": \"127.0.0.1:1\","
                           "\"store\": \"redis+sentinel://h/m\","
                           "\"sentinel_user\": \"me\","
                           "\"sentinel_password_file\": \"secret\"}"),
                 0, "%s", error);
    cr_expect_str_eq(config.sentinel_user, "me");
    cr_expect_str_eq(config.sentinel_password, "x");
}

Test(options_deployment, bad_sentinel_passwords)
{
    static const struct {
        const char *text;
        size_t len;
        const char *error; /* behind the file's name */
    } table[] = {
        {"\n", 1, "is empty"},
        {"Secret\n\n", 8, "holds more than one line, or a zero byte"},
        {"Sec\0ret\n", 8, "holds more than one line, or a zero byte"},
    };
    char longest[STORE_SECRET_MAX];
    char want[120];

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        write_file("secret", table[i].text, table[i].len);
        snprintf(want, sizeof(want), "--sentinel-password-file: secret %s",
                 table[i].error);
        check_bad(SENTINEL "--sentinel-password-file=secret", want);
    }
    memset(longest, 'p', sizeof(longest));
    write_file("secret", longest, sizeof(longest));
    check_bad(SENTINEL "--sentinel-password-file=secret",
              "--sentinel-password-file: secret is longer than 511 bytes");
    write_file("secret", longest, sizeof(longest) - 1);
    check_good(SENTINEL "--sentinel-password-file=secret");
    check_bad(SENTINEL "--sentinel-password-file=nowhere",
              "--sentinel-password-file: nowhere: cannot be read: No such file "
              "or directory");
}

#define NO_SENTINEL " needs a --store redis+sentinel://hosts/master"
#define NO_TLS                                                                 \
    " needs a --store rediss://, rediss+sentinel:// or rediss+cluster://"

Test(options_deployment, what_another_store_has_not)
{
    static const struct bad table[] = {
        {"--sentinel-user=me", "--sentinel-user:" NO_SENTINEL},
        {"--store=redis://h --sentinel-user=me",
         "--sentinel-user:" NO_SENTINEL},
        /* Before the file is read. */
        {"--store=redis+cluster://h --sentinel-password-file=nowhere",
         "--sentinel-password-file:" NO_SENTINEL},
        {SENTINEL "--sentinel-user=me",
         "--sentinel-user: needs a --sentinel-password-file"},
        {"--store-ca=f", "--store-ca:" NO_TLS},
        {"--store=redis://h --store-ca=f", "--store-ca:" NO_TLS},
        {"--store=redis+unix:///r --store-certificate=f",
         "--store-certificate:" NO_TLS},
        {SENTINEL "--store-tls-name=n", "--store-tls-name:" NO_TLS},
        {"--store=redis+cluster://h --store-verify=false",
         "--store-verify:" NO_TLS},
    };

    CHECK_BAD(table);
    check_good("--store-verify=true --store-ca= --store-certificate= "
               "--store-tls-name= --sentinel-user= --sentinel-password-file=");
    setenv("SIDGATE_STORE_CA", "f", 1);
    check_bad("", "SIDGATE_STORE_CA:" NO_TLS);
    unsetenv("SIDGATE_STORE_CA");
    cr_expect_eq(read_json("{\"backend\": \"127.0.0.1:1\","
                           "\"sentinel_user\": \"me\"}"),
                 -1);
    cr_expect_str_eq(error, "f.json: sentinel_user:" NO_SENTINEL);
}

Test(options_deployment, bad_values)
{
    static const struct bad table[] = {
        {"--store=redis+sentinel://:Secret@h,i",
         "--store: redis+sentinel://:***@h,i: the master's name is missing: "
         "redis+sentinel://hosts/master"},
        {"--store=rediss+cluster://h,i/1",
         "--store: rediss+cluster://h,i/1: a cluster has no databases"},
        {TLS "--store-tls-name=a/b",
         "--store-tls-name: a/b is not a host name or address"},
        {TLS "--store-tls-name=[::1]",
         "--store-tls-name: [::1] is not a host name or address"},
        {TLS "--store-verify=off",
         "--store-verify: off is neither true nor false"},
        {TLS "--store-certificate=,key=k",
         "--store-certificate: the file is missing"},
        {TLS "--store-certificate=f,ocsp=o",
         "--store-certificate: f,ocsp=o: ocsp is no part of file[,key=file]"},
        {TLS "--store-ca=a\tb", "--store-ca: a?b holds a control character"},
        {SENTINEL "--sentinel-user=\xc3\xa4",
         "--sentinel-user: \xc3\xa4 is not printable ASCII"},
    };
    char line[400] = TLS "--store-tls-name=";
    size_t used = strlen(line);

    CHECK_BAD(table);
    memset(line + used, 'n', 256);
    cr_expect_eq(read_line(line), -1);
    cr_expect_neq(strstr(error, "is not a host name or address"), NULL, "%s",
                  error);
    line[used + 255] = '\0';
    check_good(line);
    snprintf(line, sizeof(line), SENTINEL "--sentinel-user=%0128d", 0);
    cr_expect_eq(read_line(line), -1);
    cr_expect_neq(strstr(error, " is over 127 bytes"), NULL, "%s", error);
}

/* The secrets come from their files. */
Test(options_deployment, print_reads_back)
{
    write_text("secret", "of Sentinels\n");
    cr_assert_eq(
        read_json("{\"backend\": \"127.0.0.1:1\","
                  "\"store\": \"rediss+sentinel://h:7,[::1],i/m%25/2\","
                  "\"store_ca\": \"a.pem\", \"store_verify\": false,"
                  "\"store_certificate\": \"c.pem,key=k.pem\","
                  "\"store_tls_name\": \"n.example\","
                  "\"sentinel_user\": \"a \\\"b\\\"\","
                  "\"sentinel_password_file\": \"secret\"}"),
        0, "%s", error);
    expect_reads_back();
}
