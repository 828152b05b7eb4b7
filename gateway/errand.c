/* SPDX-License-Identifier: MIT */
/* What the shared store is told without anybody waiting for its answer. */
#include "gateway/errand.h"
#include "gateway/affinity.h"
#include "gateway/session_end.h"
#include "gateway/shared.h"
#include "store/memory.h"
#include "store/redis.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LATE_MAX = 8192, /* ends that wait for the store to come back */
    LATE_PER_STEP = 200,
};

struct errand {
    struct store_request request;
    struct gw_link link; /* in worker->errands or worker->late_errands */
    struct gw_worker *worker;
    struct eio_sid sid;
    struct store_record record;
    int64_t life_ms;
    uint8_t round; /* when it was put again */
    bool is_own;   /* to be removed from this gateway's record only */
    struct store_traffic traffic; /* of one that may have expired */
};

static struct store_key key_of(const struct errand *errand)
{
    return (struct store_key){errand->sid.bytes, errand->sid.len};
}

static struct errand *errand_of(struct store_request *request)
{
    return GW_CONTAINER(request, struct errand, request);
}

static struct errand *errand_new(struct gw_worker *worker,
                                 const struct eio_sid *sid, store_done_fn done)
{
    struct errand *errand = calloc(1, sizeof(*errand));
    if (errand == NULL)
        return NULL;
    errand->request.done = done;
    errand->worker = worker;
    errand->sid = *sid;
    gw_link_init(&errand->link);
    gw_link_add(&worker->errands, &errand->link);
    return errand;
}

static void errand_free(struct errand *errand)
{
    gw_link_remove(&errand->link);
    free(errand);
}

/* ---- life ---- */

static void on_put(struct store_request *request, enum store_status status,
                   const struct store_record *record, int64_t life_ms)
{
    struct errand *errand = errand_of(request);
    struct gw_server *server = errand->worker->server;
    (void)record;
    (void)life_ms;
    if (status == STORE_OK)
        store_memory_mark(server->memory, key_of(errand), errand->round);
    else
        gw_shared_note_unwritten(server->shared);
    errand_free(errand);
}

/* The store has lost this session, so perhaps others too. */
static void put_again(struct errand *errand)
{
    struct gw_worker *worker = errand->worker;
    struct store_record known;
    int64_t life_ms;
    gw_shared_note_gone(worker->server->shared,
                        store_redis_slot(worker->store, key_of(errand)));
    if (!store_memory_find(worker->server->memory, key_of(errand), &known,
                           &life_ms)) {
        /* It ended meanwhile; or the cache is full, and the next request with
         * this sid will be recovered. */
        errand_free(errand);
        return;
    }
    errand->record = known;
    errand->record.is_copy = gw_shared_is_copy(worker->server, &known);
    errand->round = gw_shared_round(worker->server->shared);
    errand->request.done = on_put;
    store_put(worker->store, &errand->request, key_of(errand), &errand->record,
              NULL, errand->life_ms);
}

static void on_touched(struct store_request *request, enum store_status status,
                       const struct store_record *record, int64_t life_ms)
{
    struct errand *errand = errand_of(request);
    struct gw_server *server = errand->worker->server;
    (void)record;
    (void)life_ms;
    if (status == STORE_NOT_FOUND) {
        put_again(errand);
        return;
    }
    if (status == STORE_CONFLICT) {
        gw_affinity_lose(errand->worker, key_of(errand),
                         errand->record.backend);
    } else if (status != STORE_OK) {
        gw_count(&errand->worker->metrics.store_errors);
        store_memory_mark(server->memory, key_of(errand), 0);
        gw_shared_note_unwritten(server->shared);
    }
    errand_free(errand);
}

void gw_errand_touch(struct gw_worker *worker, const struct eio_sid *sid,
                     const struct store_record *record, int64_t life_ms)
{
    struct errand *errand = errand_new(worker, sid, on_touched);
    if (errand == NULL)
        return;
    errand->record = *record;
    errand->life_ms = life_ms;
    store_touch(worker->store, &errand->request, key_of(errand),
                &errand->record, life_ms);
}

/* ---- end ---- */

static void on_removed(struct store_request *request, enum store_status status,
                       const struct store_record *record, int64_t life_ms)
{
    struct errand *errand = errand_of(request);
    struct gw_worker *worker = errand->worker;
    (void)record;
    (void)life_ms;
    if (status != STORE_UNAVAILABLE || worker->late_count == LATE_MAX) {
        errand_free(errand);
        return;
    }
    gw_link_remove(&errand->link);
    gw_link_add(&worker->late_errands, &errand->link);
    worker->late_count++;
}

static void remove_record(struct errand *errand)
{
    errand->request.done = on_removed;
    store_remove(errand->worker->store, &errand->request, key_of(errand),
                 errand->record.backend,
                 errand->is_own ? errand->worker->server->gateway_id : NULL);
}

void gw_errand_remove(struct gw_worker *worker, const struct eio_sid *sid,
                      const char *backend, bool is_own)
{
    struct errand *errand = errand_new(worker, sid, on_removed);
    if (errand == NULL)
        return;
    errand->is_own = is_own;
    snprintf(errand->record.backend, sizeof(errand->record.backend), "%s",
             backend);
    remove_record(errand);
}

static void on_evictable(struct store_request *request,
                         enum store_status status,
                         const struct store_record *record, int64_t life_ms)
{
    struct errand *errand = errand_of(request);
    (void)life_ms;
    if (status != STORE_OK) {
        errand_free(errand);
        return;
    }
    errand->record = *record;
    remove_record(errand);
}

void gw_errand_evict(struct gw_worker *worker, const struct eio_sid *sid)
{
    struct errand *errand = errand_new(worker, sid, on_evictable);
    if (errand != NULL)
        store_get(worker->store, &errand->request, key_of(errand));
}

/* Another replica may have it by now; or it has ended there, and that one has
 * told of it: this is not known here. */
static void on_expired(struct store_request *request, enum store_status status,
                       const struct store_record *record, int64_t life_ms)
{
    struct errand *errand = errand_of(request);
    (void)record;
    (void)life_ms;
    if (status != STORE_OK)
        gw_session_ended(errand->worker->server, key_of(errand),
                         &errand->record, &errand->traffic, GW_END_EXPIRED);
    errand_free(errand);
}

void gw_errand_ask_expired(struct gw_worker *worker,
                           const struct store_memory_item *item)
{
    struct eio_sid sid = {.len = (uint16_t)item->key_len};
    memcpy(sid.bytes, item->key, item->key_len);
    struct errand *errand = errand_new(worker, &sid, on_expired);
    if (errand == NULL)
        return;
    errand->record = item->record;
    errand->traffic = item->traffic;
    store_get(worker->store, &errand->request, key_of(errand));
}

void gw_errands_step(struct gw_worker *worker)
{
    struct store_record record;
    int64_t life_ms;
    if (worker->late_count == 0 ||
        !store_client_is_up(store_redis_client(worker->store)))
        return;
    for (int i = 0; i < LATE_PER_STEP && worker->late_count > 0; i++) {
        struct errand *errand =
            GW_CONTAINER(worker->late_errands.next, struct errand, link);
        worker->late_count--;
        gw_link_remove(&errand->link);
        gw_link_add(&worker->errands, &errand->link);
        /* The sid may have been bound anew. */
        if (store_memory_find(worker->server->memory, key_of(errand), &record,
                              &life_ms))
            errand_free(errand);
        else
            remove_record(errand);
    }
}

static void forget_all(struct gw_worker *worker, struct gw_link *list)
{
    while (list->next != list) {
        struct errand *errand = GW_CONTAINER(list->next, struct errand, link);
        store_cancel(worker->store, &errand->request);
        errand_free(errand);
    }
}

void gw_errands_end(struct gw_worker *worker)
{
    forget_all(worker, &worker->errands);
    forget_all(worker, &worker->late_errands);
}
