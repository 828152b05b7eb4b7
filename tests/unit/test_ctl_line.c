/* SPDX-License-Identifier: MIT */
/* The command line of `sidgate ctl`, and the paths that come of it. */
#include "gateway/ctl_call.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 12 };

static struct gw_ctl_call call;

/* Words that are parted by blanks. */
static bool read_line(const char *line)
{
    static char text[1024];
    static char *words[WORDS_MAX + 1];
    char *rest = text;
    int count = 0;

    snprintf(text, sizeof(text), "ctl %s", line);
    for (char *word = strsep(&rest, " "); word != NULL && count < WORDS_MAX;
         word = strsep(&rest, " "))
        words[count++] = word;
    words[count] = NULL;
    call = (struct gw_ctl_call){.command = NULL};
    return gw_ctl_read_line(&call, count, words);
}

static void expect_refused(const char *line, const char *why)
{
    cr_expect(!read_line(line), "%s", line);
    cr_expect_neq(strstr(call.error, why), NULL, "%s: %s", line, call.error);
}

Test(ctl_line, refused)
{
    expect_refused("backends x", "x: unexpected argument");
    expect_refused("drain", "its argument is missing");
    expect_refused("drain a b", "b: unexpected argument");
    expect_refused("kick", "its argument is missing");
    expect_refused("--limit 5", "a command is missing");
    expect_refused("status --limit 5", "no option of this command");
    expect_refused("sessions --limit", "needs a value");
    expect_refused("sessions --limit 1 --limit 2", "more than once");
    expect_refused("sessions --all=x", "takes no value");
    expect_refused("sessions --al", "unknown option");
    expect_refused("sessions -- --all", "unexpected argument");
}

Test(ctl_line, read)
{
    cr_assert(read_line("--json sessions --all --search=a=b --backend n1"));
    cr_expect_str_eq(call.command->name, "sessions");
    cr_expect_str_eq(call.values[GW_CTL_SEARCH], "a=b");
    cr_expect_str_eq(call.values[GW_CTL_BACKEND], "n1");
    cr_expect(gw_ctl_is_given(&call, GW_CTL_ALL));
    cr_expect(gw_ctl_is_given(&call, GW_CTL_JSON));
    cr_expect(!gw_ctl_is_given(&call, GW_CTL_ENDED));
    cr_assert(read_line("sessions --search --all"));
    cr_expect_str_eq(call.values[GW_CTL_SEARCH], "--all");
    cr_assert(read_line("log-level"));
    cr_expect_eq(call.operand, NULL);
    cr_assert(read_line("drain -"));
    cr_expect_str_eq(call.operand, "-");
    cr_assert(read_line("kick -- --sid"));
    cr_expect_str_eq(call.operand, "--sid");
    cr_assert(read_line("nothing --help") == false);
    cr_assert(read_line("--help drain"));
}

/* Each command has what help and its run need. */
Test(ctl_line, commands)
{
    for (size_t i = 0; i < gw_ctl_command_count; i++) {
        const struct gw_ctl_command *one = &gw_ctl_commands[i];

        cr_expect_neq(one->run, NULL, "%s", one->name);
        cr_expect_neq(one->help, NULL, "%s", one->name);
        cr_expect_eq(one->flags & (GW_CTL_HAS(GW_CTL_OWN) - 1), 0);
        if (one->prefix != NULL)
            cr_expect_eq(strncmp(one->prefix, "/api/v1/", 8), 0);
        if (one->run == gw_ctl_run_plain)
            cr_expect(one->done != NULL && one->prefix != NULL, "%s",
                      one->name);
    }
    for (size_t i = 0; i < GW_CTL_FLAG_COUNT; i++)
        cr_expect_neq(gw_ctl_flags[i].name, NULL, "%zu", i);
}

Test(ctl_line, counts)
{
    static const char *const wrong[] = {
        "0",  "-1", "501", "+5",  " 5",
        "5 ", "",   "5x",  "0x5", "99999999999999999999"};
    long count = 7;

    call = (struct gw_ctl_call){.command = NULL};
    cr_expect(gw_ctl_read_count(&call, GW_CTL_LIMIT, 500, &count));
    cr_expect_eq(count, 7);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        call.values[GW_CTL_LIMIT] = wrong[i];
        cr_expect(!gw_ctl_read_count(&call, GW_CTL_LIMIT, 500, &count), "%s",
                  wrong[i]);
        cr_expect_eq(count, 7);
    }
    call.values[GW_CTL_LIMIT] = "500";
    cr_expect(gw_ctl_read_count(&call, GW_CTL_LIMIT, 500, &count));
    cr_expect_eq(count, 500);
}

Test(ctl_line, paths)
{
    static char path[GW_CTL_PATH_MAX];
    static char value[GW_CTL_PATH_MAX];

    cr_expect(gw_ctl_path_add(path, "/a/", false));
    cr_expect(gw_ctl_path_add(path, "b/c?d\xc3\xa4 %", true));
    cr_expect(gw_ctl_path_set(path, "none", NULL));
    cr_expect(gw_ctl_path_set(path, "x", "1&2"));
    cr_expect(gw_ctl_path_set(path, "y", ""));
    cr_expect_str_eq(path, "/a/b%2Fc%3Fd%C3%A4%20%25?x=1%262&y=");
    memset(value, 'x', sizeof(value) - 1);
    cr_expect(!gw_ctl_path_set(path, "z", value));
    cr_expect_lt(strlen(path), sizeof(path));
    memset(value, '%', sizeof(value) - 1);
    path[0] = '\0';
    cr_expect(!gw_ctl_path_add(path, value, true));
    cr_expect_lt(strlen(path), sizeof(path));
}

/* A line on standard input is taken in the place of a sid. */
static void give(const char *bytes, size_t len)
{
    int ends[2];

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], bytes, len), (ssize_t)len);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
}

Test(ctl_line, secret)
{
    char longest[EIO_SID_MAX + 3];

    give("the-sid\r\nmore", 13);
    cr_assert(read_line("session -"));
    cr_expect_str_eq(call.operand, "the-sid");
    memset(longest, 'x', sizeof(longest));
    longest[EIO_SID_MAX] = '\n';
    give(longest, EIO_SID_MAX + 1);
    cr_assert(read_line("kick -"));
    cr_expect_eq(strlen(call.operand), EIO_SID_MAX);
    longest[EIO_SID_MAX] = 'x';
    give(longest, sizeof(longest));
    expect_refused("kick -", "no session id");
    give("", 0);
    expect_refused("kick -", "no session id stands");
    give("\n", 1);
    expect_refused("kick -", "no session id stands");
    give("a\0b\n", 4);
    expect_refused("kick -", "no session id");
    close(STDIN_FILENO);
    expect_refused("kick -", "cannot be read");
}
