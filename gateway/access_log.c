/* SPDX-License-Identifier: MIT */
/*
 * The access log.
 *
 * Whoever has a line copies it into the buffer of a shard, under a lock that
 * nobody holds for longer than that. The thread takes the buffers, one after
 * the other, for an empty one each, and writes what is in them. Only the thread
 * writes; only the control thread opens, and hands what it opened over.
 */
#include "gateway/access_log.h"
#include "gateway/access_line.h"
#include "gateway/access_sink.h"
#include "gateway/log.h"
#include "gateway/server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    SHARDS = 8,
    BUFFER_BYTES = 256 * 1024,
    WRITE_EVERY_MS = 100,
    CALM_MS = 1000, /* without trouble, before it is said to be over */
    END_MS = 1000,
    JOIN_S = 2, /* a disk may hold the thread up for ever */
};

struct shard {
    pthread_mutex_t lock;
    char *bytes; /* NULL: none yet */
    size_t len;
};

struct gw_access_log {
    atomic_bool is_on;
    atomic_int format;     /* enum gw_log_format */
    _Atomic uint64_t lost; /* lines */
    int wake_fd;
    struct shard shards[SHARDS];

    pthread_mutex_t lock; /* of these */
    bool has_next;
    bool is_ending;
    struct gw_access_sink next; /* to go over to */

    /* the control thread's */
    char name[GW_FILE_MAX]; /* of the sink, "": none */
    pthread_t thread;
    bool may_run;
    bool is_running;

    /* the writing thread's, once it runs */
    struct gw_access_sink sink;
    char *batch; /* what is being written */
    size_t at;
    size_t len;
    size_t turn; /* the shard to take next */
    int error;   /* errno of the last try, 0: none */
    bool is_failing;
    uint64_t lost_seen;
    uint64_t lost_before; /* it began to fail */
    int64_t trouble_ms;   /* when there was some last */
};

/* ---- whoever has a line ---- */

static struct shard *own_shard(struct gw_access_log *log)
{
    static atomic_uint threads;
    static _Thread_local unsigned number;

    if (number == 0)
        number = 1 + atomic_fetch_add(&threads, 1) % SHARDS;
    return &log->shards[number - 1];
}

static void wake(struct gw_access_log *log)
{
    uint64_t one = 1;
    ssize_t ignored = write(log->wake_fd, &one, sizeof(one));
    (void)ignored;
}

void gw_access_log_put(struct gw_access_log *log, const char *line, size_t len)
{
    struct shard *shard = own_shard(log);
    bool is_half = false;

    pthread_mutex_lock(&shard->lock);
    if (shard->bytes == NULL)
        shard->bytes = malloc(BUFFER_BYTES);
    if (shard->bytes == NULL || len > BUFFER_BYTES - shard->len) {
        atomic_fetch_add_explicit(&log->lost, 1, memory_order_relaxed);
    } else {
        memcpy(shard->bytes + shard->len, line, len);
        shard->len += len;
        is_half = shard->len >= BUFFER_BYTES / 2 &&
                  shard->len - len < BUFFER_BYTES / 2;
    }
    pthread_mutex_unlock(&shard->lock);
    if (is_half)
        wake(log);
}

bool gw_access_log_is_on(const struct gw_access_log *log)
{
    return log != NULL &&
           atomic_load_explicit(&log->is_on, memory_order_relaxed);
}

enum gw_log_format gw_access_log_format(const struct gw_access_log *log)
{
    return (enum gw_log_format)atomic_load_explicit(&log->format,
                                                    memory_order_relaxed);
}

uint64_t gw_access_log_lost(const struct gw_access_log *log)
{
    return log == NULL ? 0
                       : atomic_load_explicit(&log->lost, memory_order_relaxed);
}

void gw_access_log_session(struct gw_access_log *log,
                           const struct gw_ended *ended)
{
    char line[GW_ACCESS_LINE_MAX];

    if (!gw_access_log_is_on(log))
        return;
    gw_access_log_put(
        log, line,
        gw_access_line_session(ended, gw_access_log_format(log) == GW_LOG_JSON,
                               line));
}

/* ---- the thread ---- */

static bool is_torn(const struct gw_access_log *log)
{
    return log->at > 0 && log->at < log->len && log->batch[log->at - 1] != '\n';
}

/* Behind the end of the line that ends at or behind `from`. */
static size_t line_end(const struct gw_access_log *log, size_t from)
{
    const char *end = memchr(log->batch + from, '\n', log->len - from);

    return end != NULL ? (size_t)(end - log->batch) + 1 : log->len;
}

/* What a pipe takes in one piece: whole lines of up to that. */
static size_t next_piece(const struct gw_access_log *log)
{
    size_t end = line_end(log, log->at);

    if (log->sink.is_file)
        return log->len - log->at;
    while (end < log->len && line_end(log, end) - log->at <= GW_ACCESS_LINE_MAX)
        end = line_end(log, end);
    return end - log->at;
}

static void drop_lines(struct gw_access_log *log, size_t until)
{
    while (log->at < until) {
        log->at = line_end(log, log->at);
        atomic_fetch_add_explicit(&log->lost, 1, memory_order_relaxed);
    }
}

/* Of what was taken, up to `until`. False: not all could be written. */
static bool write_batch(struct gw_access_log *log, size_t until)
{
    log->error = 0;
    while (log->at < until) {
        size_t piece = next_piece(log);
        if (piece > until - log->at)
            piece = until - log->at;
        ssize_t n =
            gw_access_sink_write(&log->sink, log->batch + log->at, piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            log->error = errno;
            /* Whoever reads there next has not seen the line's beginning. */
            if (errno == EPIPE && is_torn(log))
                drop_lines(log, line_end(log, log->at));
            return false;
        }
        log->at += (size_t)n;
    }
    return true;
}

static void take_shard(struct gw_access_log *log)
{
    struct shard *shard = &log->shards[log->turn];
    char *empty = log->batch;

    log->turn = (log->turn + 1) % SHARDS;
    log->at = 0;
    pthread_mutex_lock(&shard->lock);
    log->batch = shard->bytes;
    log->len = shard->len;
    shard->bytes = empty;
    shard->len = 0;
    pthread_mutex_unlock(&shard->lock);
}

/* Whether everything was written that there was. */
static bool write_all(struct gw_access_log *log)
{
    for (int i = 0; i < SHARDS; i++) {
        if (!write_batch(log, log->len))
            return false;
        take_shard(log);
    }
    return write_batch(log, log->len);
}

static void drop_all(struct gw_access_log *log)
{
    for (int i = 0; i < SHARDS; i++) {
        drop_lines(log, log->len);
        take_shard(log);
    }
    drop_lines(log, log->len);
}

/* Of what came while nothing was to be logged any more. */
static void forget_all(struct gw_access_log *log)
{
    for (int i = 0; i < SHARDS; i++)
        take_shard(log);
    log->at = log->len;
}

static const char *trouble(const struct gw_access_log *log)
{
    if (log->error == 0)
        return "lines come faster than they can be written";
    if (log->error == EAGAIN)
        return "its reader takes nothing";
    return strerror(log->error);
}

/* Says when lines cannot be written, and when they can again. */
static void judge(struct gw_access_log *log)
{
    uint64_t lost = gw_access_log_lost(log);
    bool has_lost = lost != log->lost_seen;
    int64_t now_ms = gw_now_ms();

    log->lost_seen = lost;
    if (has_lost || (log->error != 0 && log->error != EAGAIN)) {
        log->trouble_ms = now_ms;
        if (!log->is_failing)
            gw_log(GW_LOG_WARNING, "access_log_failed", "file", log->sink.name,
                   "why", trouble(log), "lost",
                   gw_num((int64_t)(lost - log->lost_before)).text);
        log->is_failing = true;
    } else if (log->is_failing && log->error == 0 &&
               now_ms - log->trouble_ms >= CALM_MS) {
        gw_log(GW_LOG_WARNING, "access_log_resumed", "file", log->sink.name,
               "lost", gw_num((int64_t)(lost - log->lost_before)).text);
        log->is_failing = false;
    }
    if (!log->is_failing)
        log->lost_before = lost;
}

/* A line that is half written ends where it began. */
static void leave_sink(struct gw_access_log *log)
{
    if (is_torn(log)) {
        size_t end = line_end(log, log->at);
        if (!write_batch(log, end))
            drop_lines(log, end);
    }
    gw_access_sink_close(&log->sink);
}

/* Goes over to what the control thread has opened. Whether it is to end. */
static bool take_orders(struct gw_access_log *log)
{
    struct gw_access_sink next = {.fd = -1};

    pthread_mutex_lock(&log->lock);
    bool has_next = log->has_next;
    bool is_ending = log->is_ending;
    if (has_next)
        next = log->next;
    log->has_next = false;
    pthread_mutex_unlock(&log->lock);
    if (!has_next)
        return is_ending;
    if (log->sink.fd >= 0 && !write_all(log) && next.fd < 0)
        drop_all(log);
    leave_sink(log);
    log->sink = next;
    if (next.fd >= 0)
        gw_log(GW_LOG_INFO, "access_log_opened", "file", next.name);
    return is_ending;
}

static void wait_for_lines(struct gw_access_log *log)
{
    struct pollfd one = {.fd = log->wake_fd, .events = POLLIN};
    bool is_idle = log->sink.fd < 0 && !gw_access_log_is_on(log);
    uint64_t count;

    if (log->error == EAGAIN) {
        gw_access_sink_wait(&log->sink, WRITE_EVERY_MS);
        return;
    }
    poll(&one, 1, is_idle ? -1 : WRITE_EVERY_MS);
    if (read(log->wake_fd, &count, sizeof(count)) < 0)
        return; /* nobody was in a hurry */
}

static void *run(void *arg)
{
    struct gw_access_log *log = arg;
    int64_t until_ms = INT64_MAX;
    sigset_t all;

    /* One of them is that the file may not grow. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        bool is_ending = take_orders(log);
        if (is_ending && until_ms == INT64_MAX)
            until_ms = gw_now_ms() + END_MS;
        bool is_done = true;
        if (log->sink.fd >= 0)
            is_done = write_all(log);
        else
            forget_all(log);
        judge(log);
        if (is_ending && (is_done || gw_now_ms() >= until_ms))
            break;
        wait_for_lines(log);
    }
    drop_all(log);
    return NULL;
}

/* ---- the control thread ---- */

static bool start(struct gw_access_log *log)
{
    if (log->may_run && !log->is_running)
        log->is_running = pthread_create(&log->thread, NULL, run, log) == 0;
    return log->is_running || !log->may_run;
}

/* `sink` is taken over. */
static void go_over(struct gw_access_log *log, struct gw_access_sink *sink)
{
    pthread_mutex_lock(&log->lock);
    if (log->has_next)
        gw_access_sink_close(&log->next);
    log->next = *sink;
    log->has_next = true;
    pthread_mutex_unlock(&log->lock);
    wake(log);
}

static void set_form(struct gw_access_log *log, const struct gw_config *config)
{
    memcpy(log->name, config->access_log, sizeof(log->name));
    atomic_store(&log->format, (int)config->access_log_format);
    atomic_store(&log->is_on, log->name[0] != '\0');
}

struct gw_access_log *gw_access_log_new(const struct gw_config *config,
                                        char error[256])
{
    struct gw_access_log *log = calloc(1, sizeof(*log));

    if (log == NULL) {
        snprintf(error, 256, "access-log: out of memory");
        return NULL;
    }
    log->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (log->wake_fd < 0)
        snprintf(error, 256, "access-log: %s", strerror(errno));
    if (log->wake_fd < 0 || !gw_access_sink_open(&log->sink, config->access_log,
                                                 config->user, error)) {
        if (log->wake_fd >= 0)
            close(log->wake_fd);
        free(log);
        return NULL;
    }
    pthread_mutex_init(&log->lock, NULL);
    for (int i = 0; i < SHARDS; i++)
        pthread_mutex_init(&log->shards[i].lock, NULL);
    set_form(log, config);
    return log;
}

/* One that logs nothing needs no thread. */
bool gw_access_log_run(struct gw_access_log *log)
{
    log->may_run = true;
    return !gw_access_log_is_on(log) || start(log);
}

bool gw_access_log_check(const struct gw_config *config, char error[256])
{
    return gw_access_sink_check(config->access_log, error);
}

bool gw_access_log_configure(struct gw_access_log *log,
                             const struct gw_config *config, char error[256])
{
    struct gw_access_sink sink;

    if (strcmp(log->name, config->access_log) == 0) {
        set_form(log, config);
        return true;
    }
    if (!gw_access_sink_open(&sink, config->access_log, config->user, error))
        return false;
    if (sink.fd >= 0 && !start(log)) {
        gw_access_sink_close(&sink);
        snprintf(error, 256, "access-log: cannot start a thread");
        return false;
    }
    set_form(log, config);
    go_over(log, &sink);
    return true;
}

void gw_access_log_reopen(struct gw_access_log *log)
{
    struct gw_access_sink sink;
    char error[256] = "";

    /* Nobody can have renamed standard output. */
    if (log->name[0] == '\0' || strcmp(log->name, GW_ACCESS_STDOUT) == 0)
        return;
    if (gw_access_sink_open(&sink, log->name, "", error))
        go_over(log, &sink);
    else
        gw_log(GW_LOG_ERROR, "access_log_not_opened", "why", error);
}

static bool join(struct gw_access_log *log)
{
    struct timespec until;

    if (!log->is_running)
        return true;
    pthread_mutex_lock(&log->lock);
    log->is_ending = true;
    pthread_mutex_unlock(&log->lock);
    wake(log);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += JOIN_S;
    return pthread_timedjoin_np(log->thread, NULL, &until) == 0;
}

void gw_access_log_free(struct gw_access_log *log)
{
    if (log == NULL)
        return;
    atomic_store(&log->is_on, false);
    /* It is the thread's as long as that lives. */
    if (!join(log))
        return;
    if (log->has_next)
        gw_access_sink_close(&log->next);
    gw_access_sink_close(&log->sink);
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&log->shards[i].lock);
        free(log->shards[i].bytes);
    }
    pthread_mutex_destroy(&log->lock);
    free(log->batch);
    close(log->wake_fd);
    free(log);
}
