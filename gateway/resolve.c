/* SPDX-License-Identifier: MIT */
/* Host names to addresses, in a thread for each question. */
#include "gateway/resolve.h"
#include "gateway/worker.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Shared by the worker and the thread; whoever is the last frees it. */
struct gw_resolve {
    struct gw_mail mail;
    pthread_mutex_t lock;
    struct gw_worker *worker; /* NULL: nobody waits any more */
    gw_resolve_fn done;
    void *arg;
    char host[256];
    uint16_t port;
    struct gw_resolved found;
};

static bool look_up(const char *host, uint16_t port, int flags,
                    struct gw_resolved *out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    memset(out, 0, sizeof(*out));
    int status = getaddrinfo(host, service, &hints, &list);
    if (status != 0) {
        snprintf(out->why, sizeof(out->why), "does not resolve: %s",
                 gai_strerror(status));
        return false;
    }
    for (struct addrinfo *one = list; one != NULL; one = one->ai_next) {
        if (out->count == GW_RESOLVED_MAX)
            break;
        memcpy(&out->addr[out->count], one->ai_addr, one->ai_addrlen);
        out->len[out->count++] = one->ai_addrlen;
    }
    freeaddrinfo(list);
    return true;
}

bool gw_resolve_literal(const char *host, uint16_t port,
                        struct gw_resolved *out)
{
    return look_up(host, port, AI_NUMERICHOST, out);
}

void gw_resolve_wait(const char *host, uint16_t port, struct gw_resolved *out)
{
    look_up(host, port, 0, out);
}

int gw_resolved_connect(const struct gw_resolved *found, unsigned i)
{
    const struct sockaddr_storage *to = &found->addr[i];
    int on = 1;
    int fd =
        socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (to->ss_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    if (connect(fd, (const struct sockaddr *)(const void *)to, found->len[i]) ==
            0 ||
        errno == EINPROGRESS)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int gw_resolve_thread(void *(*run)(void *arg), void *arg)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int status = pthread_create(&thread, &attributes, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return status;
}

static void job_free(struct gw_resolve *job)
{
    pthread_mutex_destroy(&job->lock);
    free(job);
}

static void deliver(struct gw_worker *worker, struct gw_mail *mail)
{
    struct gw_resolve *job = GW_CONTAINER(mail, struct gw_resolve, mail);
    (void)worker;
    /* The thread holds the lock until it has let go of the job. */
    pthread_mutex_lock(&job->lock);
    pthread_mutex_unlock(&job->lock);
    if (job->worker != NULL)
        job->done(job->arg, &job->found);
    job_free(job);
}

static void *run(void *arg)
{
    struct gw_resolve *job = arg;
    gw_resolve_wait(job->host, job->port, &job->found);
    pthread_mutex_lock(&job->lock);
    bool is_wanted = job->worker != NULL;
    if (is_wanted)
        gw_worker_post(job->worker, &job->mail);
    pthread_mutex_unlock(&job->lock);
    if (!is_wanted)
        job_free(job);
    return NULL;
}

struct gw_resolve *gw_resolve_start(struct gw_worker *worker, const char *host,
                                    uint16_t port, gw_resolve_fn done,
                                    void *arg)
{
    struct gw_resolve *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return NULL;
    pthread_mutex_init(&job->lock, NULL);
    job->mail.deliver = deliver;
    job->worker = worker;
    job->done = done;
    job->arg = arg;
    snprintf(job->host, sizeof(job->host), "%s", host);
    job->port = port;
    if (gw_resolve_thread(run, job) == 0)
        return job;
    job_free(job);
    return NULL;
}

void gw_resolve_cancel(struct gw_resolve **which)
{
    struct gw_resolve *job = *which;
    *which = NULL;
    if (job == NULL)
        return;
    /* Posted already: the mail is delivered to nobody and frees it. Else the
     * thread does. */
    pthread_mutex_lock(&job->lock);
    job->worker = NULL;
    pthread_mutex_unlock(&job->lock);
}
