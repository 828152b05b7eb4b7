/* SPDX-License-Identifier: MIT */
/* Log lines, read back from a pipe in the place of standard error. */
#include "gateway/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TIME_LEN = 24 };

static char text[65536];

/* Everything that `write_lines` writes to standard error; the pipe must hold
 * it all. */
static size_t capture(void (*write_lines)(void *arg), void *arg)
{
    int saved = dup(STDERR_FILENO);
    int ends[2];
    size_t len = 0;
    ssize_t got;

    cr_assert_eq(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    write_lines(arg);
    dup2(saved, STDERR_FILENO);
    close(saved);
    while ((got = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)got;
    close(ends[0]);
    text[len] = '\0';
    return len;
}

static void write_value(void *arg)
{
    gw_log(GW_LOG_INFO, "event", "key", (const char *)arg);
}

static void check_time(const char *at)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";

    for (size_t i = 0; i < TIME_LEN; i++) {
        bool is_right =
            form[i] == 'd' ? at[i] >= '0' && at[i] <= '9' : at[i] == form[i];

        cr_expect(is_right, "at %zu of %.24s", i, at);
    }
}

static const struct {
    const char *value;
    const char *as_text;
    const char *as_json;
} values[] = {
    {"127.0.0.1:80", "127.0.0.1:80", "\"127.0.0.1:80\""},
    {"", "\"\"", "\"\""},
    {"two words", "\"two words\"", "\"two words\""},
    {"a=b", "\"a=b\"", "\"a=b\""},
    {"say \"x\"", "\"say \\\"x\\\"\"", "\"say \\\"x\\\"\""},
    {"back\\slash", "\"back\\\\slash\"", "\"back\\\\slash\""},
    {"x\nforged level=error", "\"x\\nforged level=error\"",
     "\"x\\nforged level=error\""},
    {"\r\t", "\"\\r\\t\"", "\"\\r\\t\""},
    {"\x1b[31m", "\"\\x1b[31m\"", "\"\\u001b[31m\""},
    {"\x7f\x9b\xff", "\"\\x7f\\x9b\\xff\"", "\"\\u007f\\u009b\\u00ff\""},
    {NULL, "\"\"", "\"\""},
};

static void *value_of(size_t i)
{
    /* Only read through. */
    union {
        const char *in;
        void *out;
    } pointer = {.in = values[i].value};

    return pointer.out;
}

Test(log, values_as_text)
{
    char want[256];

    gw_log_setup(GW_LOG_INFO, GW_LOG_TEXT);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        size_t len = capture(write_value, value_of(i));

        cr_assert_gt(len, TIME_LEN);
        check_time(text);
        snprintf(want, sizeof(want), " info event key=%s\n", values[i].as_text);
        cr_expect_str_eq(text + TIME_LEN, want);
    }
}

Test(log, values_as_json)
{
    static const char head[] = "{\"time\":\"";
    char want[256];

    gw_log_setup(GW_LOG_INFO, GW_LOG_JSON);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        size_t len = capture(write_value, value_of(i));

        cr_assert_gt(len, sizeof(head) + TIME_LEN);
        cr_expect_arr_eq(text, head, sizeof(head) - 1);
        check_time(text + sizeof(head) - 1);
        snprintf(want, sizeof(want),
                 "\",\"level\":\"info\",\"event\":\"event\",\"key\":%s}\n",
                 values[i].as_json);
        cr_expect_str_eq(text + sizeof(head) - 1 + TIME_LEN, want);
    }
}

static void write_levels(void *arg)
{
    (void)arg;
    gw_log(GW_LOG_ERROR, "e");
    gw_log(GW_LOG_WARNING, "w", "a", "1", "b", gw_num(-2).text);
    gw_log(GW_LOG_INFO, "i");
    gw_log(GW_LOG_DEBUG, "d");
}

Test(log, level_chooses_the_lines)
{
    static const struct {
        enum gw_log_level level;
        const char *events[4];
    } cases[] = {
        {GW_LOG_ERROR, {" error e\n"}},
        {GW_LOG_WARNING, {" error e\n", " warning w a=1 b=-2\n"}},
        {GW_LOG_INFO, {" error e\n", " warning w a=1 b=-2\n", " info i\n"}},
        {GW_LOG_DEBUG,
         {" error e\n", " warning w a=1 b=-2\n", " info i\n", " debug d\n"}},
    };

    for (size_t i = 0; i < 4; i++) {
        const char *at = text;

        gw_log_setup(cases[i].level, GW_LOG_TEXT);
        capture(write_levels, NULL);
        for (size_t j = 0; j < 4 && cases[i].events[j] != NULL; j++) {
            size_t len = strlen(cases[i].events[j]);

            cr_assert_gt(strlen(at), TIME_LEN + len - 1);
            cr_expect_arr_eq(at + TIME_LEN, cases[i].events[j], len);
            at += TIME_LEN + len;
        }
        cr_expect_str_eq(at, "");
    }
}

Test(log, unwanted_lines_cost_no_arguments)
{
    int calls = 0;

    gw_log_setup(GW_LOG_INFO, GW_LOG_TEXT);
    gw_log(GW_LOG_DEBUG, "event", "n", gw_num(++calls).text);
    cr_expect_eq(calls, 0);
}

Test(log, long_value_is_cut)
{
    static char value[2000];
    const char *start;

    memset(value, 'v', sizeof(value) - 1);
    gw_log_setup(GW_LOG_INFO, GW_LOG_TEXT);
    capture(write_value, value);
    start = strchr(text, '=');
    cr_assert_not_null(start);
    cr_expect_eq(strspn(start + 1, "v"), 512);
    cr_expect_str_eq(start + 1 + 512, "...\n");
    value[512] = '\0';
    capture(write_value, value);
    cr_expect_str_eq(strchr(text, '=') + 1 + 512, "\n");
}

static void write_many_pairs(void *arg)
{
    const char *v = arg;

    gw_log_line(GW_LOG_INFO, "event", "a", v, "b", v, "c", v, "d", v, "e", v,
                "f", v, "g", v, "h", v, "i", v, NULL);
}

/* A line never exceeds what a pipe takes in one piece, and stays whole. */
Test(log, long_line_is_cut_between_pairs)
{
    static char value[513];

    memset(value, '\x01', sizeof(value) - 1);
    gw_log_setup(GW_LOG_INFO, GW_LOG_TEXT);
    cr_expect_leq(capture(write_many_pairs, value), PIPE_BUF);
    cr_expect_str_eq(text + strlen(text) - 15, "\\x01\" cut=true\n");
    gw_log_setup(GW_LOG_INFO, GW_LOG_JSON);
    cr_expect_leq(capture(write_many_pairs, value), PIPE_BUF);
    cr_expect_str_eq(text + strlen(text) - 22, "\\u0001\",\"cut\":\"true\"}\n");
}

static void *write_hundred(void *arg)
{
    for (int i = 0; i < 100; i++)
        gw_log(GW_LOG_INFO, "event", "key", (const char *)arg);
    return NULL;
}

static void write_from_threads(void *arg)
{
    static char marks[4][64];
    pthread_t threads[4];

    (void)arg;
    for (size_t i = 0; i < 4; i++) {
        memset(marks[i], (int)('a' + i), sizeof(marks[i]) - 1);
        cr_assert_eq(pthread_create(&threads[i], NULL, write_hundred, marks[i]),
                     0);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

Test(log, lines_of_threads_do_not_mix)
{
    size_t lines = 0;
    char *at = text;

    gw_log_setup(GW_LOG_INFO, GW_LOG_TEXT);
    capture(write_from_threads, NULL);
    while (*at != '\0') {
        char *end = strchr(at, '\n');

        cr_assert_not_null(end);
        const char *value = strchr(at, '=') + 1;
        char same[] = {*value, '\0'};
        cr_expect_eq(strspn(value, same), 63);
        cr_expect_eq(end - value, 63);
        at = end + 1;
        lines++;
    }
    cr_expect_eq(lines, 400);
}

static void write_to_nothing(void *arg)
{
    int *kept = arg;

    close(STDERR_FILENO);
    errno = ENOENT;
    gw_log(GW_LOG_INFO, "event");
    *kept = errno;
}

Test(log, errno_survives_a_failed_write)
{
    int kept = 0;

    gw_log_setup(GW_LOG_INFO, GW_LOG_TEXT);
    capture(write_to_nothing, &kept);
    cr_expect_eq(kept, ENOENT);
}

Test(log, numbers)
{
    cr_expect_str_eq(gw_num(0).text, "0");
    cr_expect_str_eq(gw_num(INT64_MIN).text, "-9223372036854775808");
    cr_expect_str_eq(gw_num(INT64_MAX).text, "9223372036854775807");
}
