/* SPDX-License-Identifier: MIT */
/* Writes to the shared store what it does not hold. */
#include "gateway/republish.h"
#include "gateway/log.h"
#include "gateway/shared.h"
#include "gateway/worker.h"
#include "store/link.h"
#include "store/memory.h"
#include "store/redis.h"

#include <stdlib.h>

enum {
    WRITES_MAX = 1024, /* under way */
    BATCH_MAX = 64,    /* collected at a time */
    COLLECTS_PER_STEP = 16,
    ROUND_MIN_MS = 1000,     /* from one round to the next */
    ROUND_OF_ONE_MS = 10000, /* likewise, when only a record is gone */
    RETRY_MS = 1000,         /* after a write that failed */
    SAMPLE_MAX = 16,         /* sessions looked for before a loss is believed */
};

struct write {
    struct store_request request;
    struct gw_republish *republish;
    struct write *next; /* among those that are free */
    struct store_memory_item item;
    uint8_t round;
};

struct probe {
    struct store_request request;
    struct gw_republish *republish;
    struct store_memory_item item;
};

struct gw_republish {
    struct gw_worker *worker;
    struct store_memory_walk walk;
    struct write *free_writes;
    int64_t round_at_ms; /* when the last round began */
    int64_t not_before_ms;
    int64_t stepped_ms;
    int64_t credit; /* in thousandths of a session */
    unsigned under_way;
    unsigned long long sent; /* in this walk */
    bool is_active;
    enum gw_loss loss; /* not yet acted on */
    unsigned sampled;  /* of the sample that is under way */
    unsigned unanswered;
    unsigned missing;
    struct store_memory_item batch[BATCH_MAX];
    struct probe sample[SAMPLE_MAX];
    struct write writes[WRITES_MAX];
};

struct gw_republish *gw_republish_new(struct gw_worker *worker)
{
    struct gw_republish *republish = calloc(1, sizeof(*republish));
    if (republish == NULL)
        return NULL;
    republish->worker = worker;
    republish->round_at_ms = worker->now_ms - ROUND_OF_ONE_MS;
    republish->stepped_ms = worker->now_ms;
    for (size_t i = 0; i < WRITES_MAX; i++) {
        republish->writes[i].republish = republish;
        republish->writes[i].next = republish->free_writes;
        republish->free_writes = &republish->writes[i];
    }
    return republish;
}

static void release(struct write *write)
{
    struct gw_republish *republish = write->republish;
    write->next = republish->free_writes;
    republish->free_writes = write;
    republish->under_way--;
}

static void on_removed(struct store_request *request, enum store_status status,
                       const struct store_record *record, int64_t life_ms)
{
    (void)status;
    (void)record;
    (void)life_ms;
    release(GW_CONTAINER(request, struct write, request));
}

/* The session ended while its record was on the way. */
static void take_back(struct write *write)
{
    struct store_key key = {write->item.key, write->item.key_len};
    write->request.done = on_removed;
    store_remove(write->republish->worker->store, &write->request, key,
                 write->item.record.backend, NULL);
}

static void on_written(struct store_request *request, enum store_status status,
                       const struct store_record *record, int64_t life_ms)
{
    struct write *write = GW_CONTAINER(request, struct write, request);
    struct gw_republish *republish = write->republish;
    struct gw_worker *worker = republish->worker;
    struct store_memory *memory = worker->server->memory;
    struct store_key key = {write->item.key, write->item.key_len};
    struct store_record known;
    int64_t left;
    (void)record;
    (void)life_ms;
    if (status == STORE_OK) {
        gw_count(&worker->metrics.republished);
        store_memory_mark(memory, key, write->round);
        if (!store_memory_find(memory, key, &known, &left)) {
            take_back(write);
            return;
        }
    } else if (status == STORE_CONFLICT) {
        /* Another replica knows better; so will this one when it asks. */
        store_memory_drop(memory, key, write->item.record.backend);
    } else {
        gw_shared_note_unwritten(worker->server->shared);
        republish->not_before_ms = worker->now_ms + RETRY_MS;
    }
    release(write);
}

static void begin(struct gw_republish *republish)
{
    republish->walk = (struct store_memory_walk){0};
    republish->sent = 0;
    republish->is_active = true;
}

static void begin_round(struct gw_republish *republish)
{
    struct gw_worker *worker = republish->worker;
    republish->loss = GW_LOSS_NONE;
    republish->round_at_ms = worker->now_ms;
    gw_shared_next_round(worker->server->shared);
    gw_log(GW_LOG_WARNING, "store_lost", "sessions",
           gw_num((int64_t)store_memory_count(worker->server->memory)).text);
    begin(republish);
}

/* ---- is it a loss? ---- */

static void on_sampled(struct store_request *request, enum store_status status,
                       const struct store_record *record, int64_t life_ms)
{
    struct probe *probe = GW_CONTAINER(request, struct probe, request);
    struct gw_republish *republish = probe->republish;
    struct store_memory *memory = republish->worker->server->memory;
    struct store_key key = {probe->item.key, probe->item.key_len};
    struct store_record known;
    int64_t left_ms;
    (void)record;
    (void)life_ms;
    if (status == STORE_NOT_FOUND &&
        store_memory_find(memory, key, &known, &left_ms))
        republish->missing++;
    if (--republish->unanswered > 0)
        return;
    /* Not all of them: some may have been put there again by now. */
    if (republish->missing > 0 &&
        republish->missing * 4 >= republish->sampled * 3)
        begin_round(republish);
}

/* One record that is gone proves little: its session may have ended through
 * another replica, and its client may want us to write all others again. So
 * some others are looked for: most of them must be gone. */
static void take_sample(struct gw_republish *republish)
{
    struct gw_worker *worker = republish->worker;
    struct store_memory_walk walk = {.part = gw_worker_random(worker) %
                                             STORE_MEMORY_PARTS};
    size_t count = 0;
    republish->loss = GW_LOSS_NONE;
    republish->round_at_ms = worker->now_ms;
    for (int pass = 0; pass < 2 && count < SAMPLE_MAX; pass++) {
        count = 0; /* from a part by chance to the end, else from the start */
        while (count < SAMPLE_MAX && !walk.is_done)
            count += store_memory_collect(worker->server->memory, &walk, 0,
                                          republish->batch + count,
                                          SAMPLE_MAX - count);
        walk = (struct store_memory_walk){0};
    }
    republish->sampled = (unsigned)count;
    republish->missing = 0;
    republish->unanswered = (unsigned)count;
    for (size_t i = 0; i < count; i++) {
        struct probe *probe = &republish->sample[i];
        probe->republish = republish;
        probe->item = republish->batch[i];
        probe->request.done = on_sampled;
        store_get(worker->store, &probe->request,
                  (struct store_key){probe->item.key, probe->item.key_len});
    }
}

/* Looks at what was noted since the last step. */
static void take_notes(struct gw_republish *republish)
{
    struct gw_worker *worker = republish->worker;
    struct gw_shared *shared = worker->server->shared;
    int64_t since_ms = worker->now_ms - republish->round_at_ms;
    enum gw_loss loss = gw_shared_take_loss(shared);
    if (loss > republish->loss)
        republish->loss = loss;
    /* What is missing is being written. */
    if (republish->is_active && republish->loss == GW_LOSS_OF_ONE)
        republish->loss = GW_LOSS_NONE;
    if (republish->loss == GW_LOSS_OF_ALL && since_ms >= ROUND_MIN_MS)
        begin_round(republish);
    else if (republish->loss == GW_LOSS_OF_ONE && since_ms >= ROUND_OF_ONE_MS &&
             republish->unanswered == 0)
        take_sample(republish);
    if (!republish->is_active && gw_shared_take_unwritten(shared))
        begin(republish);
}

/* ---- writing ---- */

static void write_one(struct gw_republish *republish,
                      const struct store_memory_item *item)
{
    struct write *write = republish->free_writes;
    struct store_key key = {item->key, item->key_len};
    republish->free_writes = write->next;
    republish->under_way++;
    republish->sent++;
    write->item = *item;
    write->item.record.is_copy =
        gw_shared_is_copy(republish->worker->server, &write->item.record);
    write->round = gw_shared_round(republish->worker->server->shared);
    write->request.done = on_written;
    store_put(republish->worker->store, &write->request, key,
              &write->item.record, NULL, item->life_ms);
}

/* False when there is nothing more to do in this step. */
static bool write_some(struct gw_republish *republish)
{
    struct gw_worker *worker = republish->worker;
    size_t max = WRITES_MAX - republish->under_way;
    if (max > BATCH_MAX)
        max = BATCH_MAX;
    if ((int64_t)max > republish->credit / 1000)
        max = (size_t)(republish->credit / 1000);
    if (max == 0 || republish->walk.is_done)
        return false;
    size_t count = store_memory_collect(
        worker->server->memory, &republish->walk,
        gw_shared_round(worker->server->shared), republish->batch, max);
    republish->credit -= (int64_t)count * 1000;
    for (size_t i = 0; i < count; i++)
        write_one(republish, &republish->batch[i]);
    return true;
}

void gw_republish_step(struct gw_republish *republish)
{
    struct gw_worker *worker = republish->worker;
    int64_t rate = worker->config->republish_rate;
    int64_t most = rate * 4 * GW_REPUBLISH_MS + 1000;
    take_notes(republish);
    republish->credit += rate * (worker->now_ms - republish->stepped_ms);
    republish->stepped_ms = worker->now_ms;
    if (republish->credit > most)
        republish->credit = most;
    if (!republish->is_active ||
        !store_link_is_up(store_redis_link(worker->store)) ||
        worker->now_ms < republish->not_before_ms)
        return;
    for (int i = 0; i < COLLECTS_PER_STEP && write_some(republish); i++)
        continue;
    if (!republish->walk.is_done || republish->under_way > 0)
        return;
    /* Entries may have moved past the walk: until it finds none. */
    if (republish->sent > 0)
        begin(republish);
    else
        republish->is_active = false;
}

void gw_republish_free(struct gw_republish *republish)
{
    if (republish == NULL)
        return;
    for (size_t i = 0; i < WRITES_MAX; i++)
        store_cancel(republish->worker->store, &republish->writes[i].request);
    for (size_t i = 0; i < SAMPLE_MAX; i++)
        store_cancel(republish->worker->store, &republish->sample[i].request);
    free(republish);
}
