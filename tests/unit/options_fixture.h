/* SPDX-License-Identifier: MIT */
/* For tests of options: command lines, files in a folder of their own, and what
 * is printed. */
#ifndef SIDGATE_TESTS_UNIT_OPTIONS_FIXTURE_H
#define SIDGATE_TESTS_UNIT_OPTIONS_FIXTURE_H

#include "gateway/options.h"
#include "gateway/options_parse.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct gw_config config;
static char error[GW_OPTIONS_ERROR_MAX];
static char dir[] = "/tmp/sidgate-test-XXXXXX";

/* Every test has a folder of its own. */
static void enter(void)
{
    cr_assert_neq(mkdtemp(dir), NULL);
    cr_assert_eq(chdir(dir), 0);
}

static void leave(void)
{
    static const char *const names[] = {"token", "secret", "other", "f.json"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(names[i]);
    rmdir("folder");
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(rmdir(dir), 0);
}

static void write_file(const char *name, const char *text, size_t len)
{
    FILE *file = fopen(name, "w");

    cr_assert_neq(file, NULL);
    cr_assert_eq(fwrite(text, 1, len, file), len);
    cr_assert_eq(fclose(file), 0);
}

static inline void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

/* Reads a command line with one backend and the words of `line`, which stand
 * apart by single spaces. */
static inline int read_line(const char *line)
{
    char words[][32] = {"sidgate", "--backend=127.0.0.1:3001"};
    char *copy = strdup(line);
    char *argv[160] = {words[0], words[1]};
    char *rest = copy;
    char *word;
    enum gw_action action;
    int argc = 2;
    int status;

    cr_assert_neq(copy, NULL);
    while ((word = strsep(&rest, " ")) != NULL)
        if (*word != '\0')
            argv[argc++] = word;
    status = gw_options_read(argc, argv, &config, &action, error);
    free(copy);
    return status;
}

static inline void check_good(const char *line)
{
    cr_assert_eq(read_line(line), 0, "%s: %s", line, error);
}

struct bad {
    const char *line;
    const char *error;
};

static inline void check_bad(const char *line, const char *want)
{
    cr_expect_eq(read_line(line), -1, "accepted: %s", line);
    cr_expect_str_eq(error, want, "%s:\n got %s\nwant %s", line, error, want);
}

static inline void check_bad_table(const struct bad *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_bad(table[i].line, table[i].error);
}

#define CHECK_BAD(table)                                                       \
    check_bad_table((table), sizeof(table) / sizeof((table)[0]))

/* This flag so many times, each with its number behind. */
static inline char *repeat(const char *flag, int count)
{
    static char line[4096];
    size_t used = 0;

    for (int i = 0; i < count && used < sizeof(line); i++)
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%d ",
                                 flag, i);
    cr_assert_lt(used, sizeof(line));
    return line;
}

/* What --print-config prints, malloc'd. */
static inline char *printed(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    cr_assert_neq(out, NULL);
    gw_options_print(&config, out);
    cr_assert_eq(fclose(out), 0);
    return text;
}

static inline void expect_printed(const char *want)
{
    char *text = printed();

    cr_expect_neq(strstr(text, want), NULL, "%s is not in %s", want, text);
    free(text);
}

/* Reads a file with this text. */
static inline int read_json(const char *text)
{
    char word[] = "sidgate";
    char flag[] = "--config=f.json";
    char *argv[] = {word, flag, NULL};
    enum gw_action action;

    write_text("f.json", text);
    return gw_options_read(2, argv, &config, &action, error);
}

/* The configuration as printed reads back as the same bytes. */
static inline void expect_reads_back(void)
{
    static struct gw_config first;
    char *text = printed();

    first = config;
    cr_expect_eq(read_json(text), 0, "%s\n%s", error, text);
    cr_expect_eq(memcmp(&first, &config, sizeof(config)), 0, "%s", text);
    free(text);
}

#endif
