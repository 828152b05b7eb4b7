/* SPDX-License-Identifier: MIT */
/* The options of the shared store, and that no secret shows. */
#include "tests/unit/options_fixture.h"

#include <sys/stat.h>

TestSuite(options_store, .init = enter, .fini = leave);

/* Reads a command line with one backend and these words, NULL for none. */
static int read_flags(const char *first, const char *second)
{
    char words[][32] = {"sidgate", "--backend=127.0.0.1:3001"};
    char copies[2][1200];
    char *argv[5] = {words[0], words[1], NULL, NULL, NULL};
    enum gw_action action;
    int argc = 2;

    if (first != NULL) {
        snprintf(copies[0], sizeof(copies[0]), "%s", first);
        argv[argc++] = copies[0];
    }
    if (second != NULL) {
        snprintf(copies[1], sizeof(copies[1]), "%s", second);
        argv[argc++] = copies[1];
    }
    return gw_options_read(argc, argv, &config, &action, error);
}

static int read_file(const char *text)
{
    write_text("f.json", text);
    return read_flags("--config=f.json", NULL);
}

/* Environment variables "NAME=value" for one reading. */
static int read_environment(const char *text)
{
    char name[64];
    size_t len = strcspn(text, "=");
    int status;

    cr_assert_lt(len, sizeof(name));
    snprintf(name, sizeof(name), "%.*s", (int)len, text);
    setenv(name, text + len + 1, 1);
    status = read_flags(NULL, NULL);
    unsetenv(name);
    return status;
}

static void expect_not_printed(const char *secret)
{
    char *text = printed();

    cr_expect_eq(strstr(text, secret), NULL, "%s is in %s", secret, text);
    free(text);
}

Test(options_store, defaults)
{
    cr_assert_eq(read_flags(NULL, NULL), 0, "%s", error);
    cr_expect_str_eq(config.store_url, "memory");
    cr_expect_eq(config.store.kind, STORE_KIND_MEMORY);
    cr_expect_str_eq(config.store_prefix, "sidgate");
    cr_expect_str_eq(config.store_password_file, "");
    cr_expect_str_eq(config.store_password, "");
    cr_expect_str_eq(config.store_ca, "");
    cr_expect_str_eq(config.store_certificate.file, "");
    cr_expect_str_eq(config.store_tls_name, "");
    cr_expect(config.store_verify);
    cr_expect_str_eq(config.sentinel_user, "");
    cr_expect_str_eq(config.sentinel_password_file, "");
    cr_expect_str_eq(config.sentinel_password, "");
    cr_expect_eq(config.store_timeout_ms, 250);
    cr_expect_eq(config.store_outage, GW_STORE_OUTAGE_OPEN);
    cr_expect_eq(config.republish_rate, 2000);
    cr_expect(config.backend_agreement);
    cr_expect_str_eq(config.hash_sids_file, "");
    cr_expect_eq(config.hash_secret_len, 0);
}

Test(options_store, url)
{
    cr_assert_eq(read_flags("--store=redis://u:p%40ss@h:7000/3", NULL), 0, "%s",
                 error);
    cr_expect_str_eq(config.store_url, "redis://u:p%40ss@h:7000/3");
    cr_expect_eq(config.store.kind, STORE_KIND_SINGLE);
    cr_expect_str_eq(config.store.hosts[0].host, "h");
    cr_expect_eq(config.store.hosts[0].port, 7000);
    cr_expect_str_eq(config.store.user, "u");
    cr_expect_str_eq(config.store.password, "p@ss");
    cr_expect_eq(config.store.db, 3);

    cr_assert_eq(read_environment("SIDGATE_STORE=redis+unix:///run/r.sock"), 0,
                 "%s", error);
    cr_expect(config.store.hosts[0].is_unix);
    cr_expect_str_eq(config.store.hosts[0].host, "/run/r.sock");

    cr_assert_eq(read_file("{\"store\": \"redis://:x@[::1]\"}"), 0, "%s",
                 error);
    cr_expect_str_eq(config.store.hosts[0].host, "::1");
    cr_expect_str_eq(config.store.password, "x");

    /* Of a weaker source nothing is left. */
    write_text("f.json", "{\"store\": \"redis://u:x@h/9\"}");
    cr_assert_eq(read_flags("--config=f.json", "--store=memory"), 0, "%s",
                 error);
    cr_expect_eq(config.store.kind, STORE_KIND_MEMORY);
    cr_expect_str_eq(config.store.password, "");
}

Test(options_store, values_from_each_source)
{
    cr_assert_eq(read_flags("--store-prefix=a-B.9_:{x}", "--store-timeout=10"),
                 0, "%s", error);
    cr_expect_str_eq(config.store_prefix, "a-B.9_:{x}");
    cr_expect_eq(config.store_timeout_ms, 10);
    cr_assert_eq(read_flags("--store-timeout=10s", "--store-outage=closed"), 0,
                 "%s", error);
    cr_expect_eq(config.store_timeout_ms, 10000);
    cr_expect_eq(config.store_outage, GW_STORE_OUTAGE_CLOSED);
    cr_assert_eq(read_flags("--republish-rate=1", "--backend-agreement=false"),
                 0, "%s", error);
    cr_expect_eq(config.republish_rate, 1);
    cr_expect_not(config.backend_agreement);
    cr_assert_eq(read_flags("--backend-agreement", NULL), 0, "%s", error);
    cr_expect(config.backend_agreement);

    cr_expect_eq(read_environment("SIDGATE_STORE_PREFIX=env"), 0);
    cr_expect_str_eq(config.store_prefix, "env");
    cr_expect_eq(read_environment("SIDGATE_STORE_TIMEOUT=1s"), 0);
    cr_expect_eq(config.store_timeout_ms, 1000);
    cr_expect_eq(read_environment("SIDGATE_STORE_OUTAGE=closed"), 0);
    cr_expect_eq(config.store_outage, GW_STORE_OUTAGE_CLOSED);
    cr_expect_eq(read_environment("SIDGATE_REPUBLISH_RATE=20000"), 0);
    cr_expect_eq(config.republish_rate, 20000);
    cr_expect_eq(read_environment("SIDGATE_BACKEND_AGREEMENT=false"), 0);
    cr_expect_not(config.backend_agreement);
    cr_expect_eq(read_environment("SIDGATE_RECOVERY_RATE=0"), 0);
    cr_expect_eq(config.recovery_rate, 0);

    cr_assert_eq(read_file("{\"store_prefix\": \"f\", \"store_timeout\": 20,"
                           "\"store_outage\": \"closed\","
                           "\"republish_rate\": 3, \"recovery_rate\": 4,"
                           "\"backend_agreement\": false,"
                           "\"store_password_file\": \"\","
                           "\"hash_sids_file\": \"\"}"),
                 0, "%s", error);
    cr_expect_str_eq(config.store_prefix, "f");
    cr_expect_eq(config.store_timeout_ms, 20);
    cr_expect_eq(config.store_outage, GW_STORE_OUTAGE_CLOSED);
    cr_expect_eq(config.republish_rate, 3);
    cr_expect_eq(config.recovery_rate, 4);
    cr_expect_not(config.backend_agreement);
    expect_printed("\"backend_agreement\": false");
    expect_printed("\"netty\": false");
}

static const char longest_prefix[] = "--store-prefix="
                                     "1234567890123456789012345678901";

Test(options_store, bad_values)
{
#define NO_PREFIX                                                              \
    " is not 1 to 31 letters, digits, '.', '_', '-', ':', '{' or '}'"
    static const struct {
        const char *flag;
        const char *error;
    } table[] = {
        {"--store=redis://h:99999",
         "--store: redis://h:99999: the port is not between 1 and 65535"},
        {"--store-prefix=", "--store-prefix: " NO_PREFIX},
        {"--store-prefix=a b", "--store-prefix: a b" NO_PREFIX},
        {"--store-prefix=a*", "--store-prefix: a*" NO_PREFIX},
        {"--store-prefix=\xc3\xa4", "--store-prefix: \xc3\xa4" NO_PREFIX},
        {"--store-prefix=12345678901234567890123456789012",
         "--store-prefix: 12345678901234567890123456789012" NO_PREFIX},
        {"--store-timeout=9ms",
         "--store-timeout: 9ms is not between 10ms and 10s"},
        {"--store-timeout=11s",
         "--store-timeout: 11s is not between 10ms and 10s"},
        {"--store-outage=half", "--store-outage: half is none of open|closed"},
        {"--republish-rate=0",
         "--republish-rate: 0 is not between 1 and 20000"},
        {"--republish-rate=20001",
         "--republish-rate: 20001 is not between 1 and 20000"},
        {"--backend-agreement=yes",
         "--backend-agreement: yes is neither true nor false"},
        {"--store-password-file=a\nb",
         "--store-password-file: a?b holds a control character"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        cr_expect_eq(read_flags(table[i].flag, NULL), -1, "%s", table[i].flag);
        cr_expect_str_eq(error, table[i].error, "got %s", error);
    }
    cr_expect_eq(read_flags(longest_prefix, NULL), 0, "%s", error);
    cr_expect_eq(read_environment("SIDGATE_STORE_OUTAGE=ajar"), -1);
    cr_expect_str_eq(error,
                     "SIDGATE_STORE_OUTAGE: ajar is none of open|closed");
    cr_expect_eq(read_file("{\"backend_agreement\": \"true\"}"), -1);
    cr_expect_str_eq(error, "f.json: backend_agreement: the value must be "
                            "true or false");
}

/* Wherever a URL is wrong, or stands where none belongs. */
Test(options_store, no_error_shows_a_password)
{
    static const char *const flags[] = {
        "--store=redis://u:Secret@h:99999",
        "--store=redis://u:Secret@",
        "--store=redis://u:Secret",
        "--store=redis://u:Se/cret@h:1/Secret@",
        "--store=rediss://u:Secret@h:0",
        "--store=rediss://u:Secret@h,i",
        "--store=rediss+unix://u:Secret@/r",
        "--store=redis+cluster://:Secret@h,i/0",
        "--store=redis+cluster://h:1,u:Secret,i",
        "--store=redis+cluster://u:Sec,Secret@h,",
        "--store=redis+sentinel://u:Secret@h,i",
        "--store=redis+sentinel://u:Sec@Secret,x@h,i/",
        "--store=http://u:Secret@h",
        "--store=u:Secret@h",
        "--store=redis://u:Secret%zz@h",
        "--stroe=redis://u:Secret@h",
        "--check=redis://u:Secret@h",
        "redis://u:Secret@h",
        "-s=redis://u:Secret@h",
    };
    char line[1200];

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        cr_expect_eq(read_flags(flags[i], NULL), -1, "%s", flags[i]);
        cr_expect_eq(strcasestr(error, "secret"), NULL, "%s", error);
        cr_expect_neq(error[0], '\0');
    }
    cr_expect_eq(read_environment("SIDGATE_STORE=redis://u:Secret@h:0"), -1);
    cr_expect_str_eq(error, "SIDGATE_STORE: redis://u:***@h:0: the port is not "
                            "between 1 and 65535");
    cr_expect_eq(read_file("{\"store\": \"redis://u:Secret@h:0\"}"), -1);
    cr_expect_str_eq(error, "f.json: store: redis://u:***@h:0: the port is not "
                            "between 1 and 65535");
    cr_expect_eq(
        read_flags("--store=redis://u:Secret@h", "--store=redis://u:Secret@h"),
        -1);
    cr_expect_str_eq(error, "--store: given more than once");

    memset(line, 'x', sizeof(line));
    memcpy(line, "--store=redis://:Secret@", 24);
    line[8 + sizeof(config.store_url)] = '\0';
    cr_expect_eq(read_flags(line, NULL), -1);
    cr_expect_str_eq(error, "--store: the URL is over 1023 bytes");
}

Test(options_store, print_masks_the_password)
{
    cr_assert_eq(read_flags("--store=redis://user:pa:ss%40w@host:1/0", NULL), 0,
                 "%s", error);
    expect_printed("\"store\": \"redis://user:***@host:1/0\"");
    expect_not_printed("pa:ss");
}

Test(options_store, password_file)
{
    char longest[STORE_SECRET_MAX + 2];

    write_text("secret", "pass word\\\"\n");
    cr_assert_eq(
        read_flags("--store-password-file=secret", "--store=redis://u:inurl@h"),
        0, "%s", error);
    cr_expect_str_eq(config.store_password, "pass word\\\"");
    expect_printed("\"store_password_file\": \"secret\"");
    expect_not_printed("pass word");
    expect_not_printed("inurl");

    write_text("secret", "x");
    cr_expect_eq(read_environment("SIDGATE_STORE_PASSWORD_FILE=secret"), 0);
    cr_expect_str_eq(config.store_password, "x");
    write_text("secret", "y\n");
    cr_expect_eq(read_file("{\"store_password_file\": \"secret\"}"), 0);
    cr_expect_str_eq(config.store_password, "y");

    /* 511 bytes and a newline are read, 512 bytes are not. */
    memset(longest, 'p', sizeof(longest));
    longest[STORE_SECRET_MAX - 1] = '\n';
    write_file("secret", longest, STORE_SECRET_MAX);
    cr_expect_eq(read_flags("--store-password-file=secret", NULL), 0, "%s",
                 error);
    cr_expect_eq(strlen(config.store_password), STORE_SECRET_MAX - 1);
    longest[STORE_SECRET_MAX - 1] = 'p';
    for (size_t more = 0; more < 3; more++) {
        write_file("secret", longest, STORE_SECRET_MAX + more);
        cr_expect_eq(read_flags("--store-password-file=secret", NULL), -1);
        cr_expect_str_eq(error, "--store-password-file: secret is longer than "
                                "511 bytes");
    }
}

/* Only the file that wins in the end is read. */
Test(options_store, password_file_of_the_strongest_source)
{
    write_text("secret", "good");
    write_text("f.json", "{\"store_password_file\": \"nowhere\"}");
    cr_expect_eq(read_flags("--config=f.json", "--store-password-file=secret"),
                 0, "%s", error);
    cr_expect_str_eq(config.store_password, "good");
    cr_expect_eq(read_flags("--config=f.json", "--store-password-file="), 0,
                 "%s", error);
    cr_expect_str_eq(config.store_password, "");
    cr_expect_eq(read_flags("--config=f.json", NULL), -1);
    cr_expect_str_eq(error, "f.json: store_password_file: nowhere: cannot be "
                            "read: No such file or directory");
}

struct bad_secret {
    const char *text;
    size_t len;
    const char *error; /* behind the file's name */
};

static void check_bad_secret(const char *option, const struct bad_secret *bad)
{
    char flag[64];
    char want[128];

    snprintf(flag, sizeof(flag), "--%s=secret", option);
    snprintf(want, sizeof(want), "--%s: secret %s", option, bad->error);
    write_file("secret", bad->text, bad->len);
    cr_expect_eq(read_flags(flag, NULL), -1, "%s", want);
    cr_expect_str_eq(error, want, "got %s", error);
}

Test(options_store, bad_secrets)
{
    static const struct bad_secret passwords[] = {
        {"", 0, "is empty"},
        {"\n", 1, "is empty"},
        {"Secret\n\n", 8, "holds more than one line, or a zero byte"},
        {"Sec\nret", 7, "holds more than one line, or a zero byte"},
        {"Sec\0ret\n", 8, "holds more than one line, or a zero byte"},
    };
    static const struct bad_secret hashes[] = {
        {"", 0, "is empty"},
        {"\n", 1, "is empty"},
        {"123456789012345", 15, "is shorter than 16 bytes"},
        {"123456789012345\n", 16, "is shorter than 16 bytes"},
    };

    for (size_t i = 0; i < sizeof(passwords) / sizeof(passwords[0]); i++)
        check_bad_secret("store-password-file", &passwords[i]);
    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++)
        check_bad_secret("hash-sids-file", &hashes[i]);
}

Test(options_store, secret_files_that_are_none)
{
    char line[400];

    cr_assert_eq(mkdir("folder", 0700), 0);
    cr_expect_eq(read_flags("--store-password-file=folder", NULL), -1);
    cr_expect_str_eq(error, "--store-password-file: folder: cannot be read: Is "
                            "a directory");
    cr_expect_eq(read_flags("--hash-sids-file=folder", NULL), -1);
    cr_expect_str_eq(error, "--hash-sids-file: folder: cannot be read: Is a "
                            "directory");
    cr_expect_eq(read_environment("SIDGATE_HASH_SIDS_FILE=none"), -1);
    cr_expect_str_eq(error, "SIDGATE_HASH_SIDS_FILE: none: cannot be read: No "
                            "such file or directory");
    cr_expect_eq(read_flags("--hash-sids-file=/dev/zero", NULL), -1);
    cr_expect_str_eq(error,
                     "--hash-sids-file: /dev/zero is longer than 511 bytes");

    memset(line, 'x', sizeof(line));
    memcpy(line, "--hash-sids-file=", 17);
    line[17 + sizeof(config.hash_sids_file)] = '\0';
    cr_expect_eq(read_flags(line, NULL), -1);
    cr_expect_neq(strstr(error, "... is over 255 bytes"), NULL, "%s", error);
}

Test(options_store, hash_secret_is_bytes)
{
    static const char secret[] = "Secret\0of\nbytes \xff\n";

    write_file("secret", secret, sizeof(secret) - 1);
    cr_assert_eq(read_flags("--hash-sids-file=secret", NULL), 0, "%s", error);
    cr_expect_eq(config.hash_secret_len, sizeof(secret) - 2);
    cr_expect_arr_eq(config.hash_secret, secret, sizeof(secret) - 2);
    expect_printed("\"hash_sids_file\": \"secret\"");
    expect_not_printed("Secret");
}

/* The secrets come from their files. */
Test(options_store, print_reads_back)
{
    write_text("secret", "the password\n");
    write_text("other", "0123456789abcdef");
    cr_assert_eq(read_file("{\"store\": \"redis+unix:///run/r?db=2\","
                           "\"store_password_file\": \"secret\","
                           "\"hash_sids_file\": \"other\"}"),
                 0, "%s", error);
    expect_reads_back();
}
