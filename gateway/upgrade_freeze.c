/* SPDX-License-Identifier: MIT */
/* The moment in which everything stands still and goes from the old process of
 * an upgrade to the new one. */
#include "gateway/heir.h"
#include "gateway/log.h"
#include "gateway/move.h"
#include "gateway/move_session.h"
#include "gateway/replica.h"
#include "gateway/upgrade_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum {
    STOP_MS = 2000,      /* for all workers to stand still */
    TRANSFER_MS = 10000, /* for all of it */
    COMMIT_MS = 2000,
};

enum verdict {
    VERDICT_NONE,
    VERDICT_GO_ON,
    VERDICT_LET_GO,
};

struct part {
    struct gw_mail mail;
    struct freeze *freeze;
    struct gw_bundle bundle;
};

/* Freed by whoever is the last to leave: a worker that comes late may find that
 * it is over. */
struct freeze {
    pthread_mutex_t lock;
    pthread_cond_t change;
    enum verdict verdict;
    unsigned arrived;
    unsigned users; /* workers and the control thread */
    struct part parts[64];
};

static void leave(struct freeze *freeze)
{
    pthread_mutex_lock(&freeze->lock);
    bool is_last = --freeze->users == 0;
    pthread_mutex_unlock(&freeze->lock);
    if (!is_last)
        return;
    for (size_t i = 0; i < 64; i++)
        gw_bundle_free(&freeze->parts[i].bundle);
    pthread_cond_destroy(&freeze->change);
    pthread_mutex_destroy(&freeze->lock);
    free(freeze);
}

/* In each worker's thread. */
static void stand_still(struct gw_worker *worker, struct gw_mail *mail)
{
    struct part *part = GW_CONTAINER(mail, struct part, mail);
    struct freeze *freeze = part->freeze;
    gw_tunnels_pack(worker, &part->bundle);
    gw_conns_pack(worker, &part->bundle);
    pthread_mutex_lock(&freeze->lock);
    freeze->arrived++;
    pthread_cond_broadcast(&freeze->change);
    while (freeze->verdict == VERDICT_NONE)
        pthread_cond_wait(&freeze->change, &freeze->lock);
    enum verdict verdict = freeze->verdict;
    pthread_mutex_unlock(&freeze->lock);
    if (verdict == VERDICT_LET_GO) {
        gw_tunnels_release(worker);
        gw_conns_release(worker);
        gw_listeners_close(worker);
        gw_replica_quit(worker->replica);
    }
    worker->now_ms = gw_now_ms();
    leave(freeze);
}

static struct freeze *freeze_begin(struct gw_server *server)
{
    struct freeze *freeze = calloc(1, sizeof(*freeze));
    if (freeze == NULL)
        return NULL;
    pthread_mutex_init(&freeze->lock, NULL);
    pthread_cond_init(&freeze->change, NULL);
    freeze->users = server->worker_count + 1;
    for (unsigned i = 0; i < server->worker_count; i++) {
        freeze->parts[i].freeze = freeze;
        freeze->parts[i].mail.deliver = stand_still;
        gw_worker_post(server->workers[i], &freeze->parts[i].mail);
    }
    return freeze;
}

static bool await_all(struct freeze *freeze, unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_MS / 1000;
    pthread_mutex_lock(&freeze->lock);
    int status = 0;
    while (freeze->arrived < count && status == 0)
        status = pthread_cond_timedwait(&freeze->change, &freeze->lock, &until);
    bool is_whole = freeze->arrived == count;
    pthread_mutex_unlock(&freeze->lock);
    return is_whole;
}

static void freeze_end(struct freeze *freeze, enum verdict verdict)
{
    pthread_mutex_lock(&freeze->lock);
    freeze->verdict = verdict;
    pthread_cond_broadcast(&freeze->change);
    pthread_mutex_unlock(&freeze->lock);
    leave(freeze);
}

static bool send_bundle(int fd, const struct gw_bundle *bundle,
                        int64_t until_ms)
{
    struct gw_message message;
    size_t at = 0;
    if (bundle->pack.has_failed)
        return false;
    while (gw_bundle_next(bundle, &at, &message))
        if (!gw_message_send_by(fd, &message, until_ms))
            return false;
    return true;
}

static bool await_word(int fd, char *buffer, enum gw_message_type word,
                       int64_t until_ms, char error[256])
{
    struct gw_message message;
    if (!gw_message_await(fd, &message, buffer, until_ms)) {
        snprintf(error, 256, "the new process ended or does not answer");
        return false;
    }
    gw_message_close_fds(&message);
    if (message.type == word)
        return true;
    if (message.type == GW_MESSAGE_FAILED)
        snprintf(error, 256, "%.*s",
                 (int)(message.len < 255 ? message.len : 255), message.bytes);
    else
        snprintf(error, 256, "the new process does not answer as it should");
    return false;
}

static bool send_all(struct gw_server *server, struct freeze *freeze, int fd,
                     char *buffer, char error[256])
{
    int64_t until_ms = gw_now_ms() + TRANSFER_MS;
    bool is_sent = gw_move_send_backends(server, fd, until_ms) &&
                   gw_move_send_sessions(server, fd, until_ms);
    for (unsigned i = 0; is_sent && i < server->worker_count; i++)
        is_sent = send_bundle(fd, &freeze->parts[i].bundle, until_ms);
    is_sent = is_sent && gw_heir_pass_on(server->heir, fd, until_ms);
    is_sent = is_sent && gw_message_say(fd, GW_MESSAGE_ALL, NULL, 0, until_ms);
    if (!is_sent)
        until_ms = gw_now_ms(); /* but it may have said why */
    return await_word(fd, buffer, GW_MESSAGE_PREPARED, until_ms, error);
}

/* It says COMMITTED before it touches anything: so as long as that has not been
 * heard, and it cannot come any more, all of it is still ours. */
static bool commit(int fd, char *buffer, char error[256])
{
    int64_t until_ms = gw_now_ms() + COMMIT_MS;
    if (!gw_message_say(fd, GW_MESSAGE_COMMIT, NULL, 0, until_ms)) {
        snprintf(error, 256, "the new process ended");
        return false;
    }
    if (await_word(fd, buffer, GW_MESSAGE_COMMITTED, until_ms, error))
        return true;
    /* From here on it cannot say it, and ends when it tries; but it may have
     * been quick. */
    shutdown(fd, SHUT_RD);
    return await_word(fd, buffer, GW_MESSAGE_COMMITTED, gw_now_ms(), error);
}

bool gw_upgrade_transfer(struct gw_server *server, int fd, char *buffer,
                         char error[256])
{
    int64_t began_ms = gw_now_ms();
    struct freeze *freeze = freeze_begin(server);
    bool is_good = freeze != NULL && await_all(freeze, server->worker_count);
    size_t count = 0;
    if (!is_good)
        snprintf(error, 256, "the workers do not stand still");
    is_good = is_good && send_all(server, freeze, fd, buffer, error) &&
              commit(fd, buffer, error);
    for (unsigned i = 0; is_good && i < server->worker_count; i++)
        count += freeze->parts[i].bundle.count;
    if (is_good) {
        atomic_store(&server->is_handed_over, true);
        gw_heir_hang_up(server->heir);
        gw_server_advance(server, GW_PHASE_HANDED);
    }
    if (freeze != NULL)
        freeze_end(freeze, is_good ? VERDICT_LET_GO : VERDICT_GO_ON);
    if (is_good)
        gw_log(GW_LOG_INFO, "handed_over", "connections",
               gw_num((int64_t)count).text, "stood_still_ms",
               gw_num(gw_now_ms() - began_ms).text);
    return is_good;
}
