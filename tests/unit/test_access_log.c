/* SPDX-License-Identifier: MIT */
/* The access log as lines and files: nothing torn, nobody held up. */
#include "gateway/access_log.h"
#include "gateway/log.h"
#include "gateway/server.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT_MS = 10000, WRITERS = 4, LINES = 5000 };

static char folder[] = "/tmp/access-log-XXXXXX";
static struct gw_config config;
static struct gw_access_log *access_log;
static char error[256];

static void path_of(const char *name, char out[GW_FILE_MAX])
{
    snprintf(out, GW_FILE_MAX, "%s/%s", folder, name);
}

static void open_log(const char *name)
{
    path_of(name, config.access_log);
    access_log = gw_access_log_new(&config, error);
    cr_assert_not_null(access_log, "%s", error);
    cr_assert(gw_access_log_run(access_log));
}

static void begin(void)
{
    cr_assert_not_null(mkdtemp(folder));
    gw_log_setup(GW_LOG_ERROR, GW_LOG_TEXT);
    signal(SIGPIPE, SIG_IGN);
}

static void end(void)
{
    char command[64];

    gw_access_log_free(access_log);
    access_log = NULL;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(access_log, .init = begin, .fini = end);

/* The whole of a file, with its NUL; the caller frees it. */
static char *read_file(const char *name, size_t *len)
{
    char path[GW_FILE_MAX];
    struct stat about;

    path_of(name, path);
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(fstat(fd, &about), 0);
    char *text = malloc((size_t)about.st_size + 1);
    cr_assert_not_null(text);
    *len = (size_t)read(fd, text, (size_t)about.st_size);
    cr_assert_eq(*len, (size_t)about.st_size);
    text[*len] = '\0';
    close(fd);
    return text;
}

/* A line says who wrote it and which of theirs it is, in two ways. */
static size_t make_line(char *out, size_t cap, unsigned writer, unsigned n)
{
    return (size_t)snprintf(out, cap, "%u %u %0*u.\n", writer, n,
                            40 + (int)(n % 50), n);
}

static void put(unsigned writer, unsigned n)
{
    char line[128];

    gw_access_log_put(access_log, line,
                      make_line(line, sizeof(line), writer, n));
}

static unsigned seen[WRITERS][LINES];

/* Each line must be one that was put, whole. How many. */
static size_t count_lines(const char *text, size_t len)
{
    const char *at = text;
    size_t count = 0;

    while (at < text + len) {
        unsigned writer = 0;
        unsigned n = 0;
        char want[128];

        cr_assert_eq(sscanf(at, "%u %u ", &writer, &n), 2, "%.80s", at);
        cr_assert(writer < WRITERS && n < LINES);
        size_t size = make_line(want, sizeof(want), writer, n);
        cr_assert_leq(size, (size_t)(text + len - at));
        cr_assert_arr_eq(at, want, size);
        seen[writer][n]++;
        at += size;
        count++;
    }
    return count;
}

static size_t count_file(const char *name)
{
    size_t len;
    char *text = read_file(name, &len);
    size_t count = count_lines(text, len);

    free(text);
    return count;
}

static void *write_lines(void *arg)
{
    const unsigned *writer = arg;

    for (unsigned n = 0; n < LINES; n++)
        put(*writer, n);
    return NULL;
}

static void start_writers(pthread_t threads[WRITERS])
{
    static unsigned writers[WRITERS];

    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = i;
        cr_assert_eq(
            pthread_create(&threads[i], NULL, write_lines, &writers[i]), 0);
    }
}

static void join_writers(pthread_t threads[WRITERS])
{
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
}

static void finish_log(void)
{
    gw_access_log_free(access_log);
    access_log = NULL;
}

Test(access_log, each_line_comes_once_and_whole)
{
    pthread_t threads[WRITERS];

    open_log("log");
    cr_assert(gw_access_log_is_on(access_log));
    start_writers(threads);
    join_writers(threads);
    uint64_t lost = gw_access_log_lost(access_log);
    finish_log();
    cr_assert_eq(count_file("log") + lost, WRITERS * LINES);
    for (unsigned i = 0; i < WRITERS; i++)
        for (unsigned n = 0; n < LINES; n++)
            cr_assert_leq(seen[i][n], 1);
}

static bool is_there(const char *name)
{
    char path[GW_FILE_MAX];

    path_of(name, path);
    return access(path, F_OK) == 0;
}

static bool has_line(const char *name)
{
    char path[GW_FILE_MAX];
    struct stat about;

    path_of(name, path);
    return stat(path, &about) == 0 && about.st_size > 0;
}

static void await(bool (*test)(const char *name), const char *name)
{
    int64_t until_ms = gw_now_ms() + LIMIT_MS;

    while (!test(name)) {
        cr_assert_lt(gw_now_ms(), until_ms, "%s: not in time", name);
        poll(NULL, 0, 5);
    }
}

static unsigned put_count;

/* The thread goes over to another file in its own time. */
static void put_until(const char *name)
{
    int64_t until_ms = gw_now_ms() + LIMIT_MS;

    while (!has_line(name)) {
        cr_assert_lt(gw_now_ms(), until_ms, "%s: no line in time", name);
        put(0, put_count++);
        poll(NULL, 0, 20);
    }
}

static void rename_log(const char *from, const char *to)
{
    char old[GW_FILE_MAX];
    char new[GW_FILE_MAX];

    path_of(from, old);
    path_of(to, new);
    cr_assert_eq(rename(old, new), 0);
}

Test(access_log, a_rotated_file_loses_and_tears_nothing)
{
    pthread_t threads[WRITERS];
    size_t count;
    uint64_t lost;
    char name[16];

    open_log("log");
    start_writers(threads);
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "log.%d", i);
        rename_log("log", name);
        gw_access_log_reopen(access_log);
        await(is_there, "log");
    }
    join_writers(threads);
    lost = gw_access_log_lost(access_log);
    finish_log();
    count = count_file("log");
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "log.%d", i);
        count += count_file(name);
    }
    cr_assert_eq(count + lost, WRITERS * LINES, "%zu and %llu", count,
                 (unsigned long long)lost);
}

Test(access_log, the_old_file_is_kept_where_the_new_one_cannot_be_opened)
{
    char path[GW_FILE_MAX];

    open_log("log");
    put(0, 1);
    await(has_line, "log");
    rename_log("log", "log.1");
    path_of("log", path);
    cr_assert_eq(mkdir(path, 0700), 0);
    gw_access_log_reopen(access_log);
    put(0, 2);
    finish_log();
    cr_assert_eq(count_file("log.1"), 2);
}

Test(access_log, goes_over_to_another_file_and_to_none)
{
    char was[GW_FILE_MAX];

    open_log("a");
    memcpy(was, config.access_log, sizeof(was));
    put_until("a");
    path_of("b", config.access_log);
    config.access_log_format = GW_LOG_JSON;
    cr_assert(gw_access_log_configure(access_log, &config, error));
    cr_assert_eq(gw_access_log_format(access_log), GW_LOG_JSON);
    put_until("b");
    path_of("no/such/folder", config.access_log);
    config.access_log_format = GW_LOG_TEXT;
    cr_assert_not(gw_access_log_configure(access_log, &config, error));
    cr_assert_not_null(strstr(error, "No such file"), "%s", error);
    cr_assert_eq(gw_access_log_format(access_log), GW_LOG_JSON, "as it was");
    config.access_log[0] = '\0';
    cr_assert(gw_access_log_configure(access_log, &config, error));
    cr_assert_not(gw_access_log_is_on(access_log));
    memcpy(config.access_log, was, sizeof(was));
    cr_assert(gw_access_log_configure(access_log, &config, error));
    cr_assert(gw_access_log_is_on(access_log));
    put(0, put_count++);
    finish_log();
    cr_assert_eq(count_file("a") + count_file("b"), put_count);
    cr_assert_gt(count_file("b"), 0);
    for (unsigned n = 0; n < put_count; n++)
        cr_assert_geq(seen[0][n], 1, "%u", n);
}

Test(access_log, one_that_is_off_can_be_switched_on)
{
    access_log = gw_access_log_new(&config, error);
    cr_assert_not_null(access_log);
    cr_assert(gw_access_log_run(access_log));
    cr_assert_not(gw_access_log_is_on(access_log));
    cr_assert_not(gw_access_log_is_on(NULL));
    gw_access_log_reopen(access_log);
    path_of("log", config.access_log);
    cr_assert(gw_access_log_configure(access_log, &config, error));
    put(1, 1);
    await(has_line, "log");
}

Test(access_log, files_that_cannot_be_opened)
{
    memcpy(config.access_log, folder, sizeof(folder));
    cr_assert_null(gw_access_log_new(&config, error));
    cr_assert_not_null(strstr(error, "Is a directory"), "%s", error);
    cr_assert_not(gw_access_log_check(&config, error));
    path_of("no/log", config.access_log);
    cr_assert_null(gw_access_log_new(&config, error));
    cr_assert_not(gw_access_log_check(&config, error));
    path_of("log", config.access_log);
    cr_assert(gw_access_log_check(&config, error));
    cr_assert_eq(access(config.access_log, F_OK), -1, "looked at, not made");
}

Test(access_log, a_new_file_is_no_matter_of_others)
{
    struct stat about;

    umask(0);
    open_log("log");
    cr_assert_eq(stat(config.access_log, &about), 0);
    cr_assert_eq(about.st_mode & 0777, 0640);
}

/* ---- a pipe ---- */

static int open_pipe(void)
{
    path_of("pipe", config.access_log);
    cr_assert_eq(mkfifo(config.access_log, 0600), 0);
    int fd = open(config.access_log, O_RDONLY | O_NONBLOCK);
    cr_assert_geq(fd, 0);
    open_log("pipe");
    return fd;
}

static bool has_lost(const char *name)
{
    (void)name;
    return gw_access_log_lost(access_log) > 0;
}

/* Everything until the log is closed. */
static char *read_pipe(int fd, size_t *len)
{
    static char text[WRITERS * LINES * 128];
    struct pollfd one = {.fd = fd, .events = POLLIN};
    ssize_t n = 1;

    *len = 0;
    while (n != 0) {
        cr_assert_gt(poll(&one, 1, LIMIT_MS), 0);
        n = read(fd, text + *len, sizeof(text) - *len);
        cr_assert_geq(n, 0);
        *len += (size_t)n;
    }
    return text;
}

static void *free_log(void *arg)
{
    (void)arg;
    finish_log();
    return NULL;
}

Test(access_log, a_reader_that_stands_still_holds_nobody_up)
{
    int fd = open_pipe();
    pthread_t threads[WRITERS];
    pthread_t last;
    size_t len;

    start_writers(threads);
    join_writers(threads);
    await(has_lost, "a loss");
    uint64_t lost = gw_access_log_lost(access_log);
    cr_assert_lt(lost, WRITERS * LINES, "what it takes and buffers hold");
    cr_assert_eq(pthread_create(&last, NULL, free_log, NULL), 0);
    const char *text = read_pipe(fd, &len);
    pthread_join(last, NULL);
    close(fd);
    cr_assert_eq(count_lines(text, len) + lost, WRITERS * LINES);
}

Test(access_log, a_stuck_reader_does_not_hold_up_the_end)
{
    int fd = open_pipe();
    pthread_t threads[WRITERS];

    start_writers(threads);
    join_writers(threads);
    int64_t since_ms = gw_now_ms();
    finish_log();
    cr_assert_lt(gw_now_ms() - since_ms, 2000);
    close(fd);
}

/* It stays a blocking one for whoever has it, too. */
Test(access_log, standard_output_is_a_pipe)
{
    static const char off[] = "stdout";
    int ends[2];
    int kept = dup(STDOUT_FILENO);
    pthread_t threads[WRITERS];
    pthread_t last;
    size_t len;

    cr_assert_eq(pipe(ends), 0);
    fflush(stdout);
    cr_assert_eq(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
    memcpy(config.access_log, off, sizeof(off));
    access_log = gw_access_log_new(&config, error);
    cr_assert_not_null(access_log, "%s", error);
    cr_assert(gw_access_log_run(access_log));
    cr_assert_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    start_writers(threads);
    join_writers(threads);
    await(has_lost, "a loss");
    uint64_t lost = gw_access_log_lost(access_log);
    cr_assert_eq(dup2(kept, STDOUT_FILENO), STDOUT_FILENO);
    close(ends[1]);
    cr_assert_eq(pthread_create(&last, NULL, free_log, NULL), 0);
    const char *text = read_pipe(ends[0], &len);
    pthread_join(last, NULL);
    cr_assert_eq(count_lines(text, len) + lost, WRITERS * LINES);
}

/* ---- a full disk ---- */

/* In thousands of bytes. */
static void limit_files(rlim_t kb)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = kb == RLIM_INFINITY ? limit.rlim_max : kb * 1000;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static bool is_full(const char *name)
{
    char path[GW_FILE_MAX];
    struct stat about;

    path_of(name, path);
    return stat(path, &about) == 0 && about.st_size == 10000;
}

/* The line that came in half goes on where it stopped. */
Test(access_log, goes_on_when_there_is_room_again)
{
    open_log("log");
    limit_files(10);
    for (unsigned n = 0; n < LINES / 10; n++)
        put(0, n);
    await(is_full, "log");
    limit_files(RLIM_INFINITY);
    finish_log();
    cr_assert_eq(count_file("log"), LINES / 10);
}

/* It is not mended in another file. */
Test(access_log, a_torn_line_ends_in_its_own_file)
{
    size_t len;

    open_log("log");
    limit_files(10);
    for (unsigned n = 0; n < LINES / 10; n++)
        put(0, n);
    await(is_full, "log");
    rename_log("log", "log.1");
    gw_access_log_reopen(access_log);
    await(is_full, "log");
    limit_files(RLIM_INFINITY);
    uint64_t lost = gw_access_log_lost(access_log);
    finish_log();
    char *text = read_file("log.1", &len);
    const char *last = memrchr(text, '\n', len);
    size_t whole = count_lines(text, (size_t)(last - text) + 1);
    cr_assert_eq(lost, last == text + len - 1 ? 0 : 1);
    free(text);
    cr_assert_eq(count_file("log") + whole + lost, LINES / 10);
}
