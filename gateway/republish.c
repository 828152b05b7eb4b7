/* SPDX-License-Identifier: MIT */
/* Writes to the shared store what it does not hold. */
#include "gateway/republish.h"
#include "gateway/affinity.h"
#include "gateway/log.h"
#include "gateway/shared.h"
#include "gateway/worker.h"
#include "store/memory.h"
#include "store/redis.h"

#include <stdlib.h>

enum {
    WRITES_MAX = 1024, /* under way */
    BATCH_MAX = 64,    /* collected at a time */
    COLLECTS_PER_STEP = 64,
    ROUND_MIN_MS = 1000,     /* from one round to the next */
    ROUND_OF_ONE_MS = 10000, /* likewise, when only a record is gone */
    RETRY_MS = 1000,         /* after a write that failed */
    SAMPLE_MAX = 16,         /* sessions looked for before a loss is believed */
    SAMPLE_BATCHES = 128,    /* and sessions looked at, in so many batches */
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
    unsigned long long sent; /* in this walk; 0: it is the last one */
    bool is_active;
    /* What is not yet acted on. */
    enum gw_loss loss;
    struct store_slots lost;
    int gone; /* a slot of which a record is gone, or -1 */
    /* What the walk is about: sessions in these slots; of others those that
     * were never written, or not since so many rounds. */
    struct store_slots slots;
    unsigned rounds;
    struct store_slots sample_slots;
    unsigned sampled; /* of the sample that is under way */
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
    republish->gone = -1;
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
        gw_affinity_lose(worker, key, write->item.record.backend);
    } else {
        /* Its mark would be a good one again after 255 rounds. */
        store_memory_mark(memory, key, 0);
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

static void tell(const struct gw_republish *republish, enum gw_loss loss,
                 unsigned slots)
{
    const size_t count = store_memory_count(republish->worker->server->memory);
    const char *event =
        loss == GW_LOSS_SHOWN ? "store_lost" : "store_suspected";
    if (slots == STORE_SLOTS)
        gw_log(GW_LOG_WARNING, event, "sessions", gw_num((int64_t)count).text);
    else
        gw_log(GW_LOG_WARNING, event, "slots", gw_num(slots).text, "sessions",
               gw_num((int64_t)count).text);
}

/* What was written before to `slots` counts no more. */
static void begin_round(struct gw_republish *republish, enum gw_loss loss,
                        const struct store_slots *slots)
{
    struct gw_worker *worker = republish->worker;
    republish->round_at_ms = worker->now_ms;
    gw_shared_next_round(worker->server->shared);
    tell(republish, loss, store_slots_count(slots));
    store_slots_merge(&republish->slots, slots);
    republish->rounds++;
    /* A walk that is under way goes on, and another follows it: if each round
     * sent it back, those at its end would wait for the last of them. */
    if (republish->is_active)
        republish->sent++;
    else
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
        begin_round(republish, GW_LOSS_SHOWN, &republish->sample_slots);
}

static void ask_for(struct gw_republish *republish,
                    const struct store_memory_item *item)
{
    struct probe *probe = &republish->sample[republish->sampled++];
    probe->republish = republish;
    probe->item = *item;
    probe->request.done = on_sampled;
}

static void pick(struct gw_republish *republish, size_t count)
{
    struct store *store = republish->worker->store;
    for (size_t i = 0; i < count && republish->sampled < SAMPLE_MAX; i++) {
        const struct store_memory_item *item = &republish->batch[i];
        const struct store_key key = {item->key, item->key_len};
        if (store_slots_has(&republish->sample_slots,
                            store_redis_slot(store, key)))
            ask_for(republish, item);
    }
}

/* One record that is gone proves little: its session may have ended through
 * another replica, and its client may want us to write all others again. So
 * some others that were where it was are looked for: most of them must be gone.
 */
static void take_sample(struct gw_republish *republish)
{
    struct gw_worker *worker = republish->worker;
    struct store_memory_walk walk = {.part = gw_worker_random(worker) %
                                             STORE_MEMORY_PARTS};
    republish->round_at_ms = worker->now_ms;
    republish->sampled = 0;
    republish->missing = 0;
    store_client_shard(store_redis_client(worker->store),
                       (uint16_t)republish->gone, &republish->sample_slots);
    republish->gone = -1;
    /* From a part by chance to the end, else from the start. */
    for (int pass = 0; pass < 2 && republish->sampled < SAMPLE_MAX; pass++) {
        republish->sampled = 0;
        for (int i = 0; i < SAMPLE_BATCHES && !walk.is_done; i++)
            pick(republish,
                 store_memory_collect(worker->server->memory, &walk, 0,
                                      republish->batch, BATCH_MAX));
        walk = (struct store_memory_walk){0};
    }
    republish->unanswered = republish->sampled;
    for (unsigned i = 0; i < republish->sampled; i++) {
        struct probe *probe = &republish->sample[i];
        store_get(worker->store, &probe->request,
                  (struct store_key){probe->item.key, probe->item.key_len});
    }
}

static void note(struct gw_republish *republish)
{
    struct gw_shared *shared = republish->worker->server->shared;
    struct store_slots lost;
    const enum gw_loss loss = gw_shared_take_loss(shared, &lost);
    const int gone = gw_shared_take_gone(shared);
    if (loss > republish->loss)
        republish->loss = loss;
    store_slots_merge(&republish->lost, &lost);
    if (gone >= 0)
        republish->gone = gone;
    /* What is missing is being written. */
    if (republish->is_active && republish->gone >= 0 &&
        store_slots_has(&republish->slots, (uint16_t)republish->gone))
        republish->gone = -1;
}

/* Looks at what was noted since the last step. */
static void take_notes(struct gw_republish *republish)
{
    struct gw_worker *worker = republish->worker;
    struct gw_shared *shared = worker->server->shared;
    const int64_t since_ms = worker->now_ms - republish->round_at_ms;
    note(republish);
    if (republish->loss != GW_LOSS_NONE && since_ms >= ROUND_MIN_MS) {
        begin_round(republish, republish->loss, &republish->lost);
        republish->loss = GW_LOSS_NONE;
        republish->lost = (struct store_slots){{0}};
    } else if (republish->gone >= 0 && since_ms >= ROUND_OF_ONE_MS &&
               republish->unanswered == 0) {
        take_sample(republish);
    }
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

/* It is where nothing was lost, and was written in one of these rounds or in
 * the last one before them. Marks count from 1 to 255. */
static bool is_safe(const struct gw_republish *republish,
                    const struct store_memory_item *item)
{
    const struct gw_worker *worker = republish->worker;
    const unsigned round = gw_shared_round(worker->server->shared);
    const struct store_key key = {item->key, item->key_len};
    if (item->mark == 0 || (round + 255 - item->mark) % 255 > republish->rounds)
        return false;
    return !store_slots_has(&republish->slots,
                            store_redis_slot(worker->store, key));
}

/* Returns how many were written. */
static size_t write_unsafe(struct gw_republish *republish, size_t count)
{
    struct gw_server *server = republish->worker->server;
    const uint8_t round = gw_shared_round(server->shared);
    size_t written = 0;
    for (size_t i = 0; i < count; i++) {
        const struct store_memory_item *item = &republish->batch[i];
        if (is_safe(republish, item)) {
            store_memory_mark(server->memory,
                              (struct store_key){item->key, item->key_len},
                              round);
        } else {
            write_one(republish, item);
            written++;
        }
    }
    return written;
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
    const size_t count = store_memory_collect(
        worker->server->memory, &republish->walk,
        gw_shared_round(worker->server->shared), republish->batch, max);
    republish->credit -= (int64_t)write_unsafe(republish, count) * 1000;
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
        !store_client_is_up(store_redis_client(worker->store)) ||
        worker->now_ms < republish->not_before_ms)
        return;
    for (int i = 0; i < COLLECTS_PER_STEP && write_some(republish); i++)
        continue;
    if (!republish->walk.is_done || republish->under_way > 0)
        return;
    /* Entries may have moved past the walk: until it finds none. */
    if (republish->sent > 0) {
        begin(republish);
        return;
    }
    republish->is_active = false;
    republish->slots = (struct store_slots){{0}};
    republish->rounds = 0;
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
