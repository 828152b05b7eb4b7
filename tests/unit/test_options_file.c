/* SPDX-License-Identifier: MIT */
/* The configuration file, the order of sources, and what is printed. */
#include "gateway/options.h"
#include "gateway/options_parse.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct gw_config config;
static char error[GW_OPTIONS_ERROR_MAX];

/* A file for one test, in a folder of its own so that errors show its name. */
static void write_file(const char *text, size_t len)
{
    char dir[] = "/tmp/sidgate-test-XXXXXX";
    FILE *file;

    cr_assert_neq(mkdtemp(dir), NULL);
    cr_assert_eq(chdir(dir), 0);
    file = fopen("f.json", "w");
    cr_assert_neq(file, NULL);
    cr_assert_eq(fwrite(text, 1, len, file), len);
    cr_assert_eq(fclose(file), 0);
}

static void remove_file(void)
{
    char dir[256];

    cr_assert_neq(getcwd(dir, sizeof(dir)), NULL);
    cr_assert_eq(unlink("f.json"), 0);
    cr_assert_eq(rmdir(dir), 0);
}

/* Reads f.json, with one flag beside where that is not NULL. */
static int read_flag(const char *flag)
{
    char words[][16] = {"sidgate", "--config", "f.json"};
    char copy[128] = "";
    char *argv[] = {words[0], words[1], words[2], NULL, NULL};
    enum gw_action action;

    if (flag != NULL) {
        snprintf(copy, sizeof(copy), "%s", flag);
        argv[3] = copy;
    }
    return gw_options_read(flag == NULL ? 3 : 4, argv, &config, &action, error);
}

static int read_text(const char *text, size_t len)
{
    int status;

    write_file(text, len);
    status = read_flag(NULL);
    remove_file();
    return status;
}

static void check_bad(const char *text, const char *want)
{
    cr_expect_eq(read_text(text, strlen(text)), -1, "accepted: %s", text);
    cr_expect_str_eq(error, want, "%s:\n got %s\nwant %s", text, error, want);
}

Test(options_file, all_kinds_of_values)
{
    static const char text[] =
        "\xef\xbb\xbf{ // a comment with \"quotes\" and /* marks */\n"
        "  \"listen\": \"127.0.0.1:0\", /* one\n of * many / lines **/\n"
        "  \"backend\": [\"a=127.0.0.1:1,weight=2\", \"b=127.0.0.1:2\"],\n"
        "  \"path\": [\"/a//b/*c*/\", \"/d\\\\\" /* x */, \"/\\\"e\"],\n"
        "  \"source_address\": [], \"admin\": \"127.0.0.1:0\",\n"
        "  \"workers\": 3, \"netty\": true, \"recovery\": \"off\",\n"
        "  \"head_timeout\": 1500, \"body_timeout\": \"2m\",\n"
        "  \"max_body\": \"1m\", \"max_head\": 20000\n"
        "}\n// the end";

    cr_assert_eq(read_text(text, strlen(text)), 0, "%s", error);
    cr_expect_eq(config.listen_count, 1);
    cr_expect_str_eq(config.listen[0].address.text, "127.0.0.1:0");
    cr_expect_eq(config.backend_count, 2);
    cr_expect_eq(config.backends[0].weight, 2);
    cr_expect_eq(config.pools[0].path_count, 3);
    cr_expect_str_eq(config.pools[0].paths[0], "/a//b/*c*/");
    cr_expect_str_eq(config.pools[0].paths[1], "/d\\");
    cr_expect_str_eq(config.pools[0].paths[2], "/\"e");
    cr_expect_eq(config.source_count, 0);
    cr_expect_eq(config.workers, 3);
    cr_expect(config.pools[0].netty);
    cr_expect_eq(config.pools[0].recovery, GW_RECOVERY_OFF);
    cr_expect_eq(config.head_timeout_ms, 1500);
    cr_expect_eq(config.body_timeout_ms, 120000);
    cr_expect_eq(config.max_body_bytes, 1 << 20);
    cr_expect_eq(config.max_head_bytes, 20000);
}

Test(options_file, bad_files)
{
    static const struct {
        const char *text;
        const char *error;
    } table[] = {
        {"", "f.json: line 1: not valid JSON"},
        {"[]", "f.json: not a JSON object"},
        {"{} {}", "f.json: line 1: not valid JSON"},
        {"{\n\n\"workers\": }", "f.json: line 3: not valid JSON"},
        {"{\n/* x\ny */ \"workers\": 1,\n}", "f.json: line 4: not valid JSON"},
        {"{\n/* no end", "f.json: line 2: a comment has no end"},
        {"{\"wrokers\": 1}", "f.json: unknown key wrokers"},
        {"{\"log-level\": \"info\"}", "f.json: unknown key log-level"},
        {"{\"config\": \"x\"}", "f.json: unknown key config"},
        {"{\"check\": true}", "f.json: unknown key check"},
        {"{\"a\\nb\": 1}", "f.json: unknown key a?b"},
        {"{\"workers\": 1, \"workers\": 1}",
         "f.json: workers: given more than once"},
        {"{\"path\": \"/a\", \"path\": \"/b\"}",
         "f.json: path: given more than once"},
        {"{\"workers\": \"1\"}", "f.json: workers: the value must be a number"},
        {"{\"workers\": 1.5}", "f.json: workers: 1.5 is not a whole number"},
        {"{\"workers\": -1}", "f.json: workers: -1 is not a whole number"},
        {"{\"workers\": 1e300}",
         "f.json: workers: 1e+300 is not a whole number"},
        {"{\"workers\": 65}", "f.json: workers: 65 is not between 1 and 64"},
        {"{\"workers\": null}", "f.json: workers: the value must be a number"},
        {"{\"netty\": \"true\"}",
         "f.json: netty: the value must be true or false"},
        {"{\"head_timeout\": true}",
         "f.json: head_timeout: the value must be a number or a string with a "
         "unit"},
        {"{\"log_level\": 1}", "f.json: log_level: the value must be a string"},
        {"{\"log_level\": \"loud\"}",
         "f.json: log_level: loud is none of error|warning|info|debug"},
        {"{\"path\": 1}", "f.json: path: the value must be a list of strings"},
        {"{\"path\": [1]}",
         "f.json: path: the value must be a list of strings"},
        {"{\"path\": [[\"/a\"]]}",
         "f.json: path: the value must be a list of strings"},
        {"{\"backend\": []}",
         "f.json: backend: none is given; give at least one, as in --backend "
         "127.0.0.1:3001, or a name to --discover"},
        {"{\"backend\": [\"127.0.0.1:1\"], \"path\": []}",
         "f.json: path: at least one is needed"},
        {"{\"backend\": [\"127.0.0.1:1\"], \"listen\": []}",
         "f.json: listen: at least one is needed"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        check_bad(table[i].text, table[i].error);
}

Test(options_file, zero_byte)
{
    cr_expect_eq(read_text("{\n\0}", 4), -1);
    cr_expect_str_eq(error, "f.json: line 2: not text: it holds a zero byte");
}

/* 1 MiB is read, one byte more is not. */
Test(options_file, size_bound)
{
    size_t len = (1 << 20) + 1;
    char *text = malloc(len);
    static const char start[] = "{\"backend\":\"127.0.0.1:1\"}";

    cr_assert_neq(text, NULL);
    memset(text, ' ', len);
    memcpy(text, start, sizeof(start) - 1);
    cr_expect_eq(read_text(text, len - 1), 0, "%s", error);
    cr_expect_eq(read_text(text, len), -1);
    cr_expect_str_eq(error, "f.json: larger than 1 MiB");
    free(text);
}

Test(options_file, deep_nesting_is_refused)
{
    char text[5000];

    memset(text, '[', sizeof(text));
    cr_expect_eq(read_text(text, sizeof(text)), -1);
}

/* Flag over environment over file over default; a list replaces a list. */
Test(options_file, precedence)
{
    static const char text[] = "{\"backend\": \"127.0.0.1:1\", \"workers\": 2,"
                               "\"path\": [\"/f1\", \"/f2\"]}";

    write_file(text, strlen(text));
    cr_assert_eq(read_flag(NULL), 0, "%s", error);
    cr_expect_eq(config.workers, 2);
    cr_expect_eq(config.pools[0].path_count, 2);
    cr_expect_str_eq(config.pools[0].paths[0], "/f1");

    setenv("SIDGATE_WORKERS", "3", 1);
    setenv("SIDGATE_PATH", " /e1  /e2 /e3 ", 1);
    setenv("SIDGATE_LOG_LEVEL", "", 1);
    cr_assert_eq(read_flag(NULL), 0, "%s", error);
    cr_expect_eq(config.workers, 3);
    cr_expect_eq(config.pools[0].path_count, 3);
    cr_expect_str_eq(config.pools[0].paths[2], "/e3");
    cr_expect_eq(config.log_level, GW_LOG_INFO);

    cr_assert_eq(read_flag("--workers=4"), 0, "%s", error);
    cr_expect_eq(config.workers, 4);
    cr_assert_eq(read_flag("--path=/flag"), 0, "%s", error);
    cr_expect_eq(config.pools[0].path_count, 1);
    cr_expect_str_eq(config.pools[0].paths[0], "/flag");
    remove_file();
}

Test(options_file, environment_errors_name_the_variable)
{
    setenv("SIDGATE_HEAD_TIMEOUT", "soon", 1);
    check_bad("{}", "SIDGATE_HEAD_TIMEOUT: soon is not a time such as 250ms, "
                    "10s or 2m, from 10ms to 1h");
    setenv("SIDGATE_HEAD_TIMEOUT", "1s", 1);
    setenv("SIDGATE_BACKEND", "127.0.0.1:1 127.0.0.1:1", 1);
    check_bad("{}", "SIDGATE_BACKEND: the id 127.0.0.1:1 is given twice");
}

Test(options_file, named_by_the_environment)
{
    char word[] = "sidgate";
    char *argv[] = {word, NULL};
    enum gw_action action;
    static const char text[] = "{\"backend\": \"127.0.0.1:1\"}";

    write_file(text, strlen(text));
    setenv("SIDGATE_CONFIG", "f.json", 1);
    cr_expect_eq(gw_options_read(1, argv, &config, &action, error), 0, "%s",
                 error);
    cr_expect_eq(config.backend_count, 1);
    remove_file();
}

/* What a function of options.h prints, malloc'd. */
static char *printed(void (*print)(FILE *))
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    cr_assert_neq(out, NULL);
    print(out);
    cr_assert_eq(fclose(out), 0);
    return text;
}

static void print_config(FILE *out)
{
    gw_options_print(&config, out);
}

/* What is printed reads back as the same configuration. */
Test(options_file, print_reads_back)
{
    static struct gw_config first;
    static const char text[] =
        "{\"backend\": [\"n=127.0.0.1:1,weight=9\", \"[::1]:2\"],"
        "\"listen\": [\"[::]:0\", \"127.0.0.1:0\"], \"admin\": \"[::1]:3\","
        "\"path\": [\"/q\\\"\\\\/\"], \"source_address\": [\"::1\"],"
        "\"store\": \"redis://[::1]:7/2\", \"store_prefix\": \"p:{q}\","
        "\"store_timeout\": \"2s\", \"store_outage\": \"closed\","
        "\"republish_rate\": 9, \"backend_agreement\": false,"
        "\"recovery_rate\": 7,"
        "\"workers\": 5, \"netty\": true, \"balance\": \"random-two\","
        "\"recovery\": \"off\", \"log_level\": \"debug\","
        "\"log_format\": \"json\", \"gateway_name\": \"x\","
        "\"max_head\": 12345, \"max_body\": \"3m\", \"max_sessions\": 77,"
        "\"max_head_fields\": 50, \"head_timeout\": 1234,"
        "\"shutdown_delay\": \"1h\", \"shutdown_rate\": 0}";
    char *again;

    cr_assert_eq(read_text(text, strlen(text)), 0, "%s", error);
    first = config;
    again = printed(print_config);
    cr_assert_eq(read_text(again, strlen(again)), 0, "%s\n%s", error, again);
    cr_expect_eq(memcmp(&first, &config, sizeof(config)), 0, "%s", again);
    free(again);
}

/* Help and manual page name every option. */
Test(options_file, lists_are_complete)
{
    char *help = printed(gw_options_help);
    char *man = printed(gw_options_man);
    char want[80];

    for (size_t i = 0; i < gw_option_count; i++) {
        const char *name = gw_option_table[i].name;

        if (name == NULL)
            continue;
        snprintf(want, sizeof(want), "\n  --%s", name);
        cr_expect_neq(strstr(help, want), NULL, "%s", want);
        snprintf(want, sizeof(want), "\n.It Fl -%s", name);
        cr_expect_neq(strstr(man, want), NULL, "%s", want);
    }
    for (const char *at = help; *at != '\0'; at += strspn(at, "\n")) {
        cr_expect_leq(strcspn(at, "\n"), 79, "%.79s", at);
        at += strcspn(at, "\n");
    }
    free(help);
    free(man);
}
