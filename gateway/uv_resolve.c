/* SPDX-License-Identifier: MIT */
/* Host names to addresses without blocking a libuv loop. */
#include "gateway/uv_resolve.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* The loop and the thread have it; whoever lets go last frees it. */
struct gw_uv_resolve {
    uv_async_t async;
    atomic_int holders;
    pthread_mutex_t lock;
    bool is_open; /* the loop may be told */
    gw_resolve_fn done;
    void *arg;
    char host[256];
    uint16_t port;
    struct gw_resolved found;
};

static void let_go(struct gw_uv_resolve *job)
{
    if (atomic_fetch_sub(&job->holders, 1) > 1)
        return;
    pthread_mutex_destroy(&job->lock);
    free(job);
}

static void on_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

static void close_job(struct gw_uv_resolve *job)
{
    pthread_mutex_lock(&job->lock);
    job->is_open = false;
    pthread_mutex_unlock(&job->lock);
    uv_close((uv_handle_t *)&job->async, on_closed);
}

/* What was found is written before the loop is told. */
static void on_found(uv_async_t *async)
{
    struct gw_uv_resolve *job = async->data;
    close_job(job);
    job->done(job->arg, &job->found);
}

static void *run(void *arg)
{
    struct gw_uv_resolve *job = arg;
    gw_resolve_wait(job->host, job->port, &job->found);
    pthread_mutex_lock(&job->lock);
    if (job->is_open)
        uv_async_send(&job->async);
    pthread_mutex_unlock(&job->lock);
    let_go(job);
    return NULL;
}

struct gw_uv_resolve *gw_uv_resolve_start(uv_loop_t *loop, const char *host,
                                          uint16_t port, gw_resolve_fn done,
                                          void *arg)
{
    struct gw_uv_resolve *job = calloc(1, sizeof(*job));
    if (job == NULL || uv_async_init(loop, &job->async, on_found) != 0) {
        free(job);
        return NULL;
    }
    job->async.data = job;
    atomic_init(&job->holders, 2);
    pthread_mutex_init(&job->lock, NULL);
    job->is_open = true;
    job->done = done;
    job->arg = arg;
    snprintf(job->host, sizeof(job->host), "%s", host);
    job->port = port;
    if (gw_resolve_thread(run, job) == 0)
        return job;
    close_job(job);
    let_go(job);
    return NULL;
}

void gw_uv_resolve_cancel(struct gw_uv_resolve **which)
{
    struct gw_uv_resolve *job = *which;
    *which = NULL;
    if (job != NULL)
        close_job(job);
}
