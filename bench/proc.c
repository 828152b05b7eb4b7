/* SPDX-License-Identifier: MIT */
/* Reading /proc. */
#include "bench/proc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

int64_t bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void add_thread(struct bench_cpu *cpu, const char *dir, const char *tid)
{
    char path[400];
    char line[128];
    char *end;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s/schedstat", dir, tid);
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(line, sizeof(line), file) != NULL) {
        cpu->used_ns += strtoll(line, &end, 10);
        cpu->waited_ns += strtoll(end, NULL, 10);
    }
    fclose(file);
}

struct bench_cpu bench_cpu(pid_t pid)
{
    struct bench_cpu sum = {0};
    char dir[64];
    struct dirent *entry;
    DIR *tasks;

    if (pid == 0)
        return sum;
    snprintf(dir, sizeof(dir), "/proc/%d/task", (int)pid);
    tasks = opendir(dir);
    if (tasks == NULL)
        return sum;
    while ((entry = readdir(tasks)) != NULL) {
        if (entry->d_name[0] != '.')
            add_thread(&sum, dir, entry->d_name);
    }
    closedir(tasks);
    return sum;
}

int64_t bench_rss_bytes(pid_t pid)
{
    char path[64];
    char line[256];
    FILE *file;
    int64_t bytes = -1;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return -1;
    while (bytes < 0 && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "Rss:", 4) == 0)
            bytes = strtoll(line + 4, NULL, 10) * 1024;
    }
    fclose(file);
    return bytes;
}

void bench_settle(pid_t pid, int limit_ms)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    int64_t before = bench_cpu(pid).used_ns;

    for (int waited = 0; waited < limit_ms; waited += 10) {
        int64_t after;

        nanosleep(&pause, NULL);
        after = bench_cpu(pid).used_ns;
        if (after - before < 50000)
            return;
        before = after;
    }
}

void bench_raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        perror("setrlimit");
}
