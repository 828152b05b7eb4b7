/* SPDX-License-Identifier: MIT */
/* Which searches there are, and when each may go on. */
#include "gateway/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASKING_MAX = 64, /* searches that ask at a time */
    ASKING_PER_CLIENT_MAX = 32,
    PARKED_MAX = 1024,    /* searches whose last answers are long coming */
    SEARCHES_MAX = 16384, /* in all; more are answered 503 */
    SEARCHES_PER_CLIENT_MAX = 4096,
    TOTAL_RATE = 20, /* how much more than one address all may ask */
    TURNS_MAX = 64,  /* accounts looked at in one go */
    REFILL_MS = 50,
};

static struct gw_search **bucket_of(struct gw_recovery_table *table,
                                    const struct eio_sid *sid)
{
    uint64_t hash = 1469598103934665603ULL ^ table->seed;
    for (size_t i = 0; i < sid->len; i++)
        hash = (hash ^ (unsigned char)sid->bytes[i]) * 1099511628211ULL;
    return &table->buckets[(hash ^ (hash >> 32)) % GW_SEARCH_BUCKETS];
}

struct gw_recovery_table *gw_recovery_new(struct gw_worker *worker)
{
    struct gw_recovery_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->worker = worker;
    table->seed = gw_worker_random(worker);
    gw_payers_init(&table->payers, worker->config->recovery_rate,
                   gw_worker_random(worker));
    return table;
}

bool gw_recovery_uses(const struct gw_worker *worker,
                      const struct gw_backend *backend)
{
    const struct gw_recovery_table *table = worker->recovery;
    for (size_t i = 0; table->count > 0 && i < GW_SEARCH_BUCKETS; i++)
        for (const struct gw_search *search = table->buckets[i]; search != NULL;
             search = search->next)
            if (search->owner == backend ||
                (backend->index < search->ask_count &&
                 search->asks[backend->index] != NULL))
                return true;
    return false;
}

void gw_recovery_configure(struct gw_worker *worker)
{
    worker->recovery->payers.rate = worker->config->recovery_rate;
}

bool gw_recovery_may_park(const struct gw_recovery_table *table)
{
    return table->parked_count < PARKED_MAX;
}

static void leave_state(struct gw_recovery_table *table,
                        struct gw_search *search)
{
    struct gw_payer *payer = search->payer;
    gw_link_remove(&search->link);
    switch (search->state) {
    case GW_SEARCH_WAITING:
        if (payer->waiting.next == &payer->waiting)
            gw_link_remove(&payer->thirst);
        break;
    case GW_SEARCH_QUEUED:
        if (payer->queued.next == &payer->queued)
            gw_link_remove(&payer->turn);
        break;
    case GW_SEARCH_ASKING:
        table->asking_count--;
        payer->asking--;
        break;
    case GW_SEARCH_PARKED:
        table->parked_count--;
        break;
    case GW_SEARCH_READING:
    case GW_SEARCH_BINDING:
        break;
    }
}

void gw_search_enter(struct gw_search *search, enum gw_search_state state)
{
    struct gw_recovery_table *table = search->worker->recovery;
    struct gw_payer *payer = search->payer;
    leave_state(table, search);
    search->state = state;
    switch (state) {
    case GW_SEARCH_WAITING:
        if (payer->waiting.next == &payer->waiting)
            gw_link_add(&table->payers.thirsty, &payer->thirst);
        gw_link_add(&payer->waiting, &search->link);
        break;
    case GW_SEARCH_QUEUED:
        if (payer->queued.next == &payer->queued)
            gw_link_add(&table->payers.turns, &payer->turn);
        gw_link_add(&payer->queued, &search->link);
        break;
    case GW_SEARCH_ASKING:
        table->asking_count++;
        payer->asking++;
        break;
    case GW_SEARCH_PARKED:
        table->parked_count++;
        break;
    case GW_SEARCH_READING:
    case GW_SEARCH_BINDING:
        break;
    }
}

struct gw_recovery_wait *gw_search_dismiss(struct gw_search *search,
                                           bool is_found)
{
    struct gw_worker *worker = search->worker;
    struct gw_recovery_table *table = worker->recovery;
    struct gw_recovery_wait *waits = search->waits;
    uint32_t rate = table->payers.rate;
    search->waits = NULL;
    gw_search_stop_asking(search);
    gw_timer_stop(&worker->wheel, &search->deadline);
    gw_timer_stop(&worker->wheel, &search->settle);
    store_cancel(worker->store, &search->request);
    gw_search_enter(search, GW_SEARCH_BINDING);
    if (is_found && search->has_read_token)
        gw_bucket_give(&search->payer->reads, rate * GW_READS_PER_ASK);
    if (is_found && search->has_ask_token) {
        gw_bucket_give(&search->payer->asks, rate);
        gw_bucket_give(&table->total, rate * TOTAL_RATE);
    }
    struct gw_search **at = bucket_of(table, &search->sid);
    while (*at != search)
        at = &(*at)->next;
    *at = search->next;
    table->count--;
    gw_payer_close(&table->payers, search->payer);
    gw_worker_bury_object(worker, &search->grave);
    return waits;
}

/* ---- who may go on ---- */

static void on_refill(struct gw_timer *timer)
{
    gw_recovery_serve(GW_CONTAINER(timer, struct gw_recovery_table, refill));
}

static bool take_read(struct gw_recovery_table *table, struct gw_payer *payer)
{
    return gw_bucket_take(&payer->reads, table->payers.rate * GW_READS_PER_ASK,
                          table->worker->now_ms);
}

/* Those who wait for a token: each account has its own, so that none waits for
 * another. */
static void serve_thirsty(struct gw_recovery_table *table)
{
    struct gw_payers *payers = &table->payers;
    for (int i = 0; i < TURNS_MAX && payers->thirsty.next != &payers->thirsty;
         i++) {
        struct gw_payer *payer =
            GW_CONTAINER(payers->thirsty.next, struct gw_payer, thirst);
        /* To the end of the line, whether it is served or not. */
        gw_link_remove(&payer->thirst);
        gw_link_add(&payers->thirsty, &payer->thirst);
        while (payer->waiting.next != &payer->waiting &&
               take_read(table, payer)) {
            struct gw_search *search =
                GW_CONTAINER(payer->waiting.prev, struct gw_search, link);
            /* The account may go with its last search. */
            bool is_last = search->link.prev == &payer->waiting;
            search->has_read_token = true;
            gw_search_read(search);
            if (is_last)
                break;
        }
    }
}

/* Those who wait for a place take turns, account by account. */
static void serve_queued(struct gw_recovery_table *table)
{
    struct gw_payers *payers = &table->payers;
    uint32_t rate = payers->rate * TOTAL_RATE;
    int64_t now_ms = table->worker->now_ms;
    for (int i = 0; i < TURNS_MAX && payers->turns.next != &payers->turns &&
                    table->asking_count < ASKING_MAX;
         i++) {
        struct gw_payer *payer =
            GW_CONTAINER(payers->turns.next, struct gw_payer, turn);
        gw_link_remove(&payer->turn);
        gw_link_add(&payers->turns, &payer->turn);
        if (payer->asking >= ASKING_PER_CLIENT_MAX ||
            !gw_bucket_take(&payer->asks, payers->rate, now_ms))
            continue;
        if (!gw_bucket_take(&table->total, rate, now_ms)) {
            gw_bucket_give(&payer->asks, payers->rate);
            return;
        }
        struct gw_search *search =
            GW_CONTAINER(payer->queued.prev, struct gw_search, link);
        search->has_ask_token = true;
        gw_search_ask(search);
    }
}

/* A search that goes on may conclude at once, which leads back here: the loop
 * that runs already takes care of it then, so that the stack does not grow with
 * the queue. */
void gw_recovery_serve(struct gw_recovery_table *table)
{
    struct gw_payers *payers = &table->payers;
    if (table->is_serving)
        return;
    table->is_serving = true;
    serve_thirsty(table);
    serve_queued(table);
    table->is_serving = false;
    bool is_held_up = payers->thirsty.next != &payers->thirsty ||
                      (payers->turns.next != &payers->turns &&
                       table->asking_count < ASKING_MAX);
    if (is_held_up && !gw_timer_is_running(&table->refill))
        gw_worker_timer(table->worker, &table->refill, REFILL_MS, on_refill);
}

/* ---- searches ---- */

static void on_deadline(struct gw_timer *timer)
{
    gw_search_conclude(GW_CONTAINER(timer, struct gw_search, deadline),
                       GW_AFFINITY_UNAVAILABLE);
}

static void copy_span(char *out, size_t cap, struct eio_span span)
{
    snprintf(out, cap, "%.*s", (int)span.len, span.ptr != NULL ? span.ptr : "");
}

/* The account with most searches, and its oldest one that has not begun. */
static struct gw_search *find_greediest(struct gw_recovery_table *table)
{
    struct gw_link *lists[] = {&table->payers.thirsty, &table->payers.turns};
    struct gw_search *oldest = NULL;
    for (int i = 0; i < 2; i++) {
        struct gw_link *at = lists[i]->next;
        for (int n = 0; n < TURNS_MAX && at != lists[i]; n++, at = at->next) {
            struct gw_payer *payer =
                i == 0 ? GW_CONTAINER(at, struct gw_payer, thirst)
                       : GW_CONTAINER(at, struct gw_payer, turn);
            struct gw_link *first =
                i == 0 ? payer->waiting.next : payer->queued.next;
            if (oldest == NULL || payer->searches > oldest->payer->searches)
                oldest = GW_CONTAINER(first, struct gw_search, link);
        }
    }
    return oldest;
}

/* The table is full: whoever has most in it gives way to an account with less.
 * False when none does. */
static bool make_room(struct gw_recovery_table *table,
                      const struct gw_payer *newcomer)
{
    struct gw_search *oldest = find_greediest(table);
    if (oldest == NULL || oldest->payer->searches <= newcomer->searches)
        return false;
    gw_search_conclude(oldest, GW_AFFINITY_UNAVAILABLE);
    return table->count < SEARCHES_MAX;
}

static struct gw_search *search_new(struct gw_recovery_table *table,
                                    const struct gw_lookup_about *about)
{
    struct gw_worker *worker = table->worker;
    size_t backends = gw_backends_used(worker->server->backends);
    struct gw_payer *payer =
        gw_payer_open(&table->payers, about->peer, worker->now_ms);
    if (payer == NULL)
        return NULL;
    struct gw_search *search = NULL;
    if (payer->searches <= SEARCHES_PER_CLIENT_MAX &&
        (table->count < SEARCHES_MAX || make_room(table, payer)))
        search =
            calloc(1, sizeof(*search) + backends * sizeof(struct gw_ask *));
    if (search == NULL) {
        gw_payer_close(&table->payers, payer);
        return NULL;
    }
    search->worker = worker;
    search->pool = about->pool;
    search->ask_count = (unsigned)backends;
    search->payer = payer;
    search->state = GW_SEARCH_READING;
    search->sid = *about->sid;
    search->peer = *about->peer;
    copy_span(search->path, sizeof(search->path), about->path);
    copy_span(search->host, sizeof(search->host), about->host);
    gw_link_init(&search->link);
    struct gw_search **bucket = bucket_of(table, &search->sid);
    search->next = *bucket;
    *bucket = search;
    table->count++;
    gw_worker_timer(worker, &search->deadline,
                    worker->config->recovery_timeout_ms, on_deadline);
    return search;
}

/* Each pool has its own backends to ask. */
static struct gw_search *search_find(struct gw_recovery_table *table,
                                     const struct gw_lookup_about *about)
{
    struct gw_search *search = *bucket_of(table, about->sid);
    while (search != NULL && (search->pool != about->pool ||
                              !eio_sid_equal(&search->sid, about->sid)))
        search = search->next;
    return search;
}

/* Whoever joins late a search that is past the store, and wants no more of it,
 * need not wait for the backends. */
static bool is_past_store(const struct gw_search *search)
{
    return search->state != GW_SEARCH_WAITING &&
           search->state != GW_SEARCH_READING;
}

void gw_recovery_find(struct gw_worker *worker, struct gw_lookup *lookup)
{
    struct gw_recovery_table *table = worker->recovery;
    struct gw_search *search = search_find(table, &lookup->about);
    bool is_new = search == NULL;
    if (!is_new && !lookup->may_recover && is_past_store(search)) {
        lookup->done(lookup, GW_AFFINITY_UNKNOWN);
        return;
    }
    struct gw_recovery_wait *wait = calloc(1, sizeof(*wait));
    if (is_new && wait != NULL)
        search = search_new(table, &lookup->about);
    if (wait == NULL || search == NULL) {
        free(wait);
        lookup->done(lookup, GW_AFFINITY_UNAVAILABLE);
        return;
    }
    wait->lookup = lookup;
    wait->search = search;
    search->waiters++;
    wait->next = search->waits;
    search->waits = wait;
    lookup->wait = wait;
    if (!is_new)
        return;
    /* The memory store costs nothing: it has been looked into. */
    search->has_read_token =
        worker->server->is_shared && take_read(table, search->payer);
    if (search->has_read_token || !worker->server->is_shared) {
        gw_search_read(search);
        return;
    }
    /* Who wants no more than a hint goes on without one. */
    if (!lookup->may_recover) {
        gw_search_conclude(search, GW_AFFINITY_UNKNOWN);
        return;
    }
    gw_count(&worker->metrics.recovery_waits);
    gw_search_enter(search, GW_SEARCH_WAITING);
    gw_recovery_serve(table);
}

static void free_waits(struct gw_recovery_wait *wait)
{
    while (wait != NULL) {
        struct gw_recovery_wait *next = wait->next;
        if (wait->lookup != NULL)
            wait->lookup->wait = NULL;
        free(wait);
        wait = next;
    }
}

void gw_recovery_leave(struct gw_lookup *lookup)
{
    struct gw_recovery_wait *wait = lookup->wait;
    if (wait == NULL)
        return;
    struct gw_search *search = wait->search;
    wait->lookup = NULL;
    lookup->wait = NULL;
    /* One that asks already goes on: the client will come again. */
    if (search != NULL && --search->waiters == 0 &&
        (search->state == GW_SEARCH_WAITING ||
         search->state == GW_SEARCH_QUEUED))
        free_waits(gw_search_dismiss(search, false));
}

void gw_recovery_cut(struct gw_worker *worker)
{
    struct gw_recovery_table *table = worker->recovery;
    gw_timer_stop(&worker->wheel, &table->refill);
    for (size_t i = 0; i < GW_SEARCH_BUCKETS; i++) {
        while (table->buckets[i] != NULL) {
            free_waits(gw_search_dismiss(table->buckets[i], false));
        }
    }
}

void gw_recovery_free(struct gw_recovery_table *table)
{
    if (table != NULL)
        gw_payers_clear(&table->payers);
    free(table);
}
