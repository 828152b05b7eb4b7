/* SPDX-License-Identifier: MIT */
/* Brings together what the metrics page shows. */
#include "gateway/access_log.h"
#include "gateway/metrics.h"
#include "gateway/server.h"
#include "gateway/tls.h"
#include "gateway/worker.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef SIDGATE_VERSION
#define SIDGATE_VERSION "unknown"
#endif

enum { WORKERS_MAX = 64 };

/* The rows of a page, in one piece of bounded size. */
struct rows {
    struct gw_metrics_worker workers[WORKERS_MAX];
    struct gw_metrics_backend backends[GW_BACKEND_COUNT_MAX];
    size_t backend_count;
};

static int64_t clock_us(clockid_t clock)
{
    struct timespec time;

    if (clock_gettime(clock, &time) != 0)
        return -1;
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* The clock of a thread that has ended is another's: they all end at the same
 * time. */
static int64_t worker_cpu_us(const struct gw_server *server,
                             const struct gw_worker *worker)
{
    clockid_t clock;

    if (!worker->is_started ||
        atomic_load(&server->busy_workers) < server->worker_count ||
        pthread_getcpuclockid(worker->thread, &clock) != 0)
        return -1;
    return clock_us(clock);
}

static void collect_workers(const struct gw_server *server, struct rows *rows)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        const struct gw_worker *worker = server->workers[i];

        rows->workers[i] = (struct gw_metrics_worker){
            .metrics = &worker->metrics,
            .backends = worker->backend_metrics,
            .cpu_us = worker_cpu_us(server, worker),
        };
    }
}

/* One whose id is another's now has no lines of its own, but sessions. */
static void add_former(struct rows *rows, const struct gw_backend *former)
{
    for (size_t i = 0; i < rows->backend_count; i++) {
        struct gw_metrics_backend *row = &rows->backends[i];

        if (strcmp(row->id, former->config->id) != 0)
            continue;
        row->sessions += atomic_load(&former->sessions);
        row->websockets += atomic_load(&former->websockets);
    }
}

static void collect_backends(const struct gw_backends *backends,
                             struct rows *rows)
{
    size_t used = gw_backends_used(backends);
    int64_t now_ms = gw_now_ms();

    for (unsigned i = 0; i < used; i++) {
        const struct gw_backend *one = &backends->list[i];

        if (!gw_backend_is_known(one) || atomic_load(&one->is_superseded))
            continue;
        rows->backends[rows->backend_count++] = (struct gw_metrics_backend){
            .id = one->config->id,
            .place = i,
            .sessions = atomic_load(&one->sessions),
            .websockets = atomic_load(&one->websockets),
            .condition = gw_backend_condition(one, now_ms),
        };
    }
    for (unsigned i = 0; i < used; i++)
        if (gw_backend_is_known(&backends->list[i]) &&
            atomic_load(&backends->list[i].is_superseded))
            add_former(rows, &backends->list[i]);
}

/* The process */

/* The `nth` number behind `prefix`, which begins a line of a file in /proc; -1
 * without it. */
static int64_t read_proc(const char *path, const char *prefix, unsigned nth)
{
    size_t len = strlen(prefix);
    FILE *file = fopen(path, "re");
    char line[256];
    int64_t value = -1;

    while (file != NULL && value < 0 &&
           fgets(line, sizeof(line), file) != NULL) {
        char *at = line + len;

        if (strncmp(line, prefix, len) != 0)
            continue;
        for (unsigned i = 0; i < nth; i++)
            value = strtoll(at, &at, 10);
    }
    if (file != NULL)
        fclose(file);
    return value;
}

/* Old kernels do not count; listing the folder there takes far longer than to
 * ask for each number. */
static int64_t count_fds(void)
{
    struct stat status;
    int64_t size;
    int64_t count = 0;

    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
        return status.st_size;
    size = read_proc("/proc/self/status", "FDSize:", 1);
    for (int fd = 0; fd < size; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return size < 0 ? -1 : count;
}

static struct gw_metrics_process collect_process(const struct gw_server *server)
{
    struct gw_metrics_process process = {
        .start_time_s = server->started_s,
        .cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID),
        .resident_bytes = read_proc("/proc/self/statm", "", 2),
        .open_fds = count_fds(),
        .max_fds = -1,
    };
    struct rlimit limit;

    if (process.resident_bytes > 0)
        process.resident_bytes *= sysconf(_SC_PAGESIZE);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < INT64_MAX)
        process.max_fds = (int64_t)limit.rlim_cur;
    return process;
}

char *gw_server_metrics(struct gw_server *server, size_t *len)
{
    struct rows rows = {.backend_count = 0};

    collect_workers(server, &rows);
    collect_backends(server->backends, &rows);

    struct gw_metrics_view view = {
        .workers = rows.workers,
        .worker_count = server->worker_count,
        .backends = rows.backends,
        .backend_count = rows.backend_count,
        .process = collect_process(server),
        .reloads_ok = atomic_load(&server->reloads_ok),
        .reloads_failed = atomic_load(&server->reloads_failed),
        .log_lines_lost = gw_access_log_lost(server->access_log),
        .store_connections = server->is_shared ? server->worker_count : 0,
        .replicas = 1 + atomic_load(&server->backends->replicas),
        .not_after_s = gw_tls_not_after(server->tls),
        .version = SIDGATE_VERSION,
    };
    for (int cause = 0; cause < GW_END_COUNT; cause++)
        view.ended[cause] = gw_ends_count(server->ends, (enum gw_end)cause);
    return gw_metrics_render(&view, len);
}
