/* SPDX-License-Identifier: MIT */
/* After an upgrade's handover: what the old process still has to say. */
#include "gateway/conn.h"
#include "gateway/log.h"
#include "gateway/move.h"
#include "gateway/move_session.h"
#include "gateway/upgrade_private.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    BIND_WAIT_MS = 500, /* then the client has its answer all the same */
    FLUSH_MS = 2000,
    QUEUE_MAX = 1 << 26, /* bytes; a new process that takes nothing is none */
};

struct bundle_link {
    struct bundle_link *next;
    struct gw_bundle bundle;
    size_t at; /* of what has been sent */
};

struct gw_late {
    struct gw_server *server;
    uv_async_t *async;
    uv_timer_t *retry;
    int fd;
    pthread_mutex_t lock; /* of the rest */
    struct bundle_link *first;
    struct bundle_link **last;
    size_t bytes;
    bool is_over;
};

/* ---- the queue ---- */

static void drop_rest(struct bundle_link *link)
{
    gw_bundle_close_fds(&link->bundle, link->at);
    gw_bundle_free(&link->bundle);
    free(link);
}

/* False: the rest has to wait. */
static bool send_link(struct gw_late *late, struct bundle_link *link)
{
    struct gw_message message;
    size_t next = link->at;
    while (gw_bundle_next(&link->bundle, &next, &message)) {
        enum gw_sent sent = gw_message_send(late->fd, &message);
        if (sent == GW_SENT_NOT_NOW)
            return false;
        gw_message_close_fds(&message);
        link->at = next;
    }
    return true;
}

static struct bundle_link *queue_take(struct gw_late *late)
{
    pthread_mutex_lock(&late->lock);
    struct bundle_link *link = late->first;
    if (link != NULL) {
        late->first = link->next;
        late->bytes -= link->bundle.pack.len;
        if (late->first == NULL)
            late->last = &late->first;
    }
    pthread_mutex_unlock(&late->lock);
    return link;
}

static void queue_put_back(struct gw_late *late, struct bundle_link *link)
{
    pthread_mutex_lock(&late->lock);
    link->next = late->first;
    if (late->first == NULL)
        late->last = &link->next;
    late->first = link;
    late->bytes += link->bundle.pack.len;
    pthread_mutex_unlock(&late->lock);
}

/* False: something has to wait. */
static bool flush(struct gw_late *late)
{
    struct bundle_link *link;
    while ((link = queue_take(late)) != NULL) {
        if (!late->is_over && !send_link(late, link)) {
            queue_put_back(late, link);
            return false;
        }
        drop_rest(link);
    }
    return true;
}

static void on_retry(uv_timer_t *timer)
{
    if (flush(timer->data))
        uv_timer_stop(timer);
}

static void on_async(uv_async_t *async)
{
    struct gw_late *late = async->data;
    if (!flush(late))
        uv_timer_start(late->retry, on_retry, 1, 1);
}

bool gw_late_send(struct gw_server *server, struct gw_bundle *bundle)
{
    struct gw_late *late = atomic_load(&server->late);
    struct bundle_link *link = late != NULL ? calloc(1, sizeof(*link)) : NULL;
    bool is_taken = false;
    if (link != NULL && !bundle->pack.has_failed &&
        gw_bundle_copy_fds(bundle)) {
        pthread_mutex_lock(&late->lock);
        is_taken = !late->is_over && late->bytes < QUEUE_MAX;
        if (is_taken) {
            link->bundle = *bundle;
            *late->last = link;
            late->last = &link->next;
            late->bytes += bundle->pack.len;
        }
        pthread_mutex_unlock(&late->lock);
        if (!is_taken)
            gw_bundle_close_fds(bundle, 0);
    }
    if (is_taken) {
        uv_async_send(late->async);
        return true;
    }
    free(link);
    gw_bundle_free(bundle);
    return false;
}

struct gw_late *gw_late_new(struct gw_server *server, uv_loop_t *loop, int fd)
{
    struct gw_late *late = calloc(1, sizeof(*late));
    if (late == NULL)
        return NULL;
    late->async = calloc(1, sizeof(*late->async));
    late->retry = calloc(1, sizeof(*late->retry));
    if (late->async == NULL || late->retry == NULL ||
        uv_async_init(loop, late->async, on_async) != 0) {
        free(late->async);
        free(late->retry);
        free(late);
        return NULL;
    }
    uv_timer_init(loop, late->retry);
    late->async->data = late;
    late->retry->data = late;
    late->server = server;
    late->fd = fd;
    late->last = &late->first;
    atomic_store(&server->has_no_heir, false);
    pthread_mutex_init(&late->lock, NULL);
    return late;
}

void gw_late_end(struct gw_late *late)
{
    pthread_mutex_lock(&late->lock);
    late->is_over = true;
    pthread_mutex_unlock(&late->lock);
    atomic_store(&late->server->has_no_heir, true);
    flush(late);
}

void gw_late_free(struct gw_late *late)
{
    if (late == NULL)
        return;
    int64_t until_ms = gw_now_ms() + FLUSH_MS;
    while (!flush(late) && gw_now_ms() < until_ms)
        uv_sleep(1);
    gw_late_end(late);
    uv_close((uv_handle_t *)late->async, gw_control_free_handle);
    uv_close((uv_handle_t *)late->retry, gw_control_free_handle);
    pthread_mutex_destroy(&late->lock);
    free(late);
}

/* ---- sessions ---- */

static bool send_body(struct gw_server *server, enum gw_message_type type,
                      struct gw_pack *body)
{
    struct gw_bundle bundle = {0};
    struct gw_message message = {.type = (uint8_t)type};
    gw_bundle_add(&bundle, &message, body);
    gw_pack_free(body);
    return gw_late_send(server, &bundle);
}

static struct store_key key_of(const struct eio_sid *sid)
{
    return (struct store_key){sid->bytes, sid->len};
}

bool gw_late_bind(struct gw_worker *worker, struct gw_bind *bind,
                  bool is_written)
{
    struct gw_pack body = {0};
    bind->late_serial = ++worker->late_serial;
    bind->late_ms = worker->now_ms;
    gw_pack_number(&body, worker->index);
    gw_pack_number(&body, bind->late_serial);
    gw_move_pack_session(&body, key_of(&bind->sid), &bind->record,
                         bind->life_ms, is_written, NULL);
    if (!send_body(worker->server, GW_MESSAGE_BIND, &body))
        return false;
    gw_link_init(&bind->late);
    gw_link_add(&worker->late_binds, &bind->late);
    return true;
}

void gw_late_bind_cancel(struct gw_bind *bind)
{
    if (bind->late.next != NULL)
        gw_link_remove(&bind->late);
}

static void bind_is_known(struct gw_bind *bind)
{
    gw_link_remove(&bind->late);
    bind->done(bind, GW_BOUND);
}

void gw_late_unbind(struct gw_worker *worker, const struct eio_sid *sid,
                    const char *backend)
{
    struct gw_pack body = {0};
    gw_pack_span(&body, sid->bytes, sid->len);
    gw_pack_text(&body, backend);
    send_body(worker->server, GW_MESSAGE_UNBIND, &body);
}

void gw_late_renew(struct gw_worker *worker, const struct eio_sid *sid,
                   const struct store_record *record, int64_t life_ms)
{
    struct gw_pack body = {0};
    gw_move_pack_session(&body, key_of(sid), record, life_ms, true, NULL);
    send_body(worker->server, GW_MESSAGE_RENEW, &body);
}

/* ---- what the new process says ---- */

struct bound_mail {
    struct gw_mail mail;
    uint64_t serial;
};

static void on_bound(struct gw_worker *worker, struct gw_mail *mail)
{
    struct bound_mail *bound = GW_CONTAINER(mail, struct bound_mail, mail);
    for (struct gw_link *at = worker->late_binds.next;
         at != &worker->late_binds; at = at->next) {
        struct gw_bind *bind = GW_CONTAINER(at, struct gw_bind, late);
        if (bind->late_serial != bound->serial)
            continue;
        bind_is_known(bind);
        break;
    }
    free(bound);
}

void gw_late_hear(struct gw_late *late, const struct gw_message *message)
{
    struct gw_unpack unpack = {message->bytes, message->bytes + message->len,
                               false};
    struct gw_server *server = late->server;
    uint64_t index = gw_unpack_number(&unpack);
    uint64_t serial = gw_unpack_number(&unpack);
    struct bound_mail *bound = NULL;
    if (message->type == GW_MESSAGE_BOUND && !unpack.has_failed &&
        index < server->worker_count)
        bound = calloc(1, sizeof(*bound));
    if (bound == NULL)
        return;
    bound->serial = serial;
    bound->mail.deliver = on_bound;
    gw_worker_post(server->workers[index], &bound->mail);
}

void gw_late_step(struct gw_worker *worker)
{
    struct gw_bundle bundle = {0};
    if (!atomic_load(&worker->server->is_handed_over))
        return;
    while (worker->late_binds.next != &worker->late_binds) {
        struct gw_bind *bind =
            GW_CONTAINER(worker->late_binds.next, struct gw_bind, late);
        if (worker->now_ms - bind->late_ms < BIND_WAIT_MS)
            break;
        bind_is_known(bind);
    }
    if (atomic_load(&worker->server->has_no_heir)) {
        gw_conns_drain(worker); /* nobody takes them any more */
        return;
    }
    gw_tunnels_pack(worker, &bundle);
    gw_conns_pack(worker, &bundle);
    if (bundle.count == 0)
        return;
    if (gw_late_send(worker->server, &bundle)) {
        gw_tunnels_release(worker);
        gw_conns_release(worker);
    }
}
