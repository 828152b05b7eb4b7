/* SPDX-License-Identifier: MIT */
/* Finding the owner of a sid that no record names. */
#include "gateway/recovery.h"
#include "gateway/log.h"
#include "gateway/upstream.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    TABLE_SIZE = 1024,
    ASKING_MAX = 64, /* searches that ask at a time */
    ASKING_PER_CLIENT_MAX = 32,
    PARKED_MAX = 1024,  /* searches whose last answers are long coming */
    WAITING_MAX = 4096, /* searches in all; more are answered 503 */
    QUEUE_SCAN_MAX = 256,
    SID_MIN = 16,          /* shorter ones may be counters: never asked */
    SECOND_OWNER_MS = 200, /* after one owner, time for another to speak */
    PARK_AFTER_MS = 500,
};

enum search_state {
    SEARCH_QUEUED,  /* waits for its turn */
    SEARCH_ASKING,  /* counts against ASKING_MAX */
    SEARCH_PARKED,  /* some backend is silent; does not count any more */
    SEARCH_BINDING, /* the owner is known; the store is being told */
};

struct gw_recovery_wait {
    struct gw_recovery_wait *next;
    struct gw_lookup *lookup; /* NULL: it left */
};

struct search {
    struct gw_grave grave;
    struct gw_link link; /* in queue, asking or parked list */
    struct search *next; /* in the table's bucket */
    struct gw_worker *worker;
    enum search_state state;
    struct gw_recovery_wait *waits;
    struct gw_timer deadline;
    struct gw_timer settle;
    struct store_request request;
    struct gw_backend *owner;
    unsigned owners;
    unsigned pending; /* asks under way */
    bool is_blind;    /* some backend could not be asked, or was silent */
    struct eio_sid sid;
    struct gw_peer peer;
    char path[GW_PATH_MAX];
    char host[256];
    struct gw_ask *asks[]; /* [backend_count] */
};

struct gw_recovery_table {
    struct gw_worker *worker;
    struct search *buckets[TABLE_SIZE];
    struct gw_link queued;
    struct gw_link asking;
    struct gw_link parked;
    unsigned asking_count;
    unsigned parked_count;
    unsigned count;
    uint32_t seed;
    bool is_starting;
};

static void start_next(struct gw_recovery_table *table);

static struct search **bucket_of(struct gw_recovery_table *table,
                                 const struct eio_sid *sid)
{
    uint64_t hash = 1469598103934665603ULL ^ table->seed;
    for (size_t i = 0; i < sid->len; i++)
        hash = (hash ^ (unsigned char)sid->bytes[i]) * 1099511628211ULL;
    return &table->buckets[(hash ^ (hash >> 32)) % TABLE_SIZE];
}

struct gw_recovery_table *gw_recovery_new(struct gw_worker *worker)
{
    struct gw_recovery_table *table = calloc(1, sizeof(*table));
    if (table == NULL)
        return NULL;
    table->worker = worker;
    gw_link_init(&table->queued);
    gw_link_init(&table->asking);
    gw_link_init(&table->parked);
    table->seed = (uint32_t)gw_now_ms() * 2654435761U;
    return table;
}

/* The only place where a search changes its state. */
static void enter(struct gw_recovery_table *table, struct search *search,
                  enum search_state state)
{
    if (search->state == SEARCH_ASKING)
        table->asking_count--;
    if (search->state == SEARCH_PARKED)
        table->parked_count--;
    gw_link_remove(&search->link);
    search->state = state;
    switch (state) {
    case SEARCH_QUEUED:
        gw_link_add(&table->queued, &search->link);
        break;
    case SEARCH_ASKING:
        gw_link_add(&table->asking, &search->link);
        table->asking_count++;
        break;
    case SEARCH_PARKED:
        gw_link_add(&table->parked, &search->link);
        table->parked_count++;
        break;
    case SEARCH_BINDING:
        break;
    }
}

static void stop_asking(struct search *search)
{
    size_t count = search->worker->server->backends->count;
    for (size_t i = 0; i < count; i++)
        gw_ask_cancel(&search->asks[i]);
    search->pending = 0;
}

/* Takes the search out of everything and buries it; the waits are the
 * caller's then. */
static struct gw_recovery_wait *dismiss(struct gw_recovery_table *table,
                                        struct search *search)
{
    struct gw_recovery_wait *waits = search->waits;
    struct gw_worker *worker = table->worker;
    search->waits = NULL;
    stop_asking(search);
    gw_timer_stop(&worker->wheel, &search->deadline);
    gw_timer_stop(&worker->wheel, &search->settle);
    store_cancel(worker->store, &search->request);
    enter(table, search, SEARCH_BINDING);
    struct search **at = bucket_of(table, &search->sid);
    while (*at != search)
        at = &(*at)->next;
    *at = search->next;
    table->count--;
    gw_worker_bury_object(worker, &search->grave);
    return waits;
}

static void conclude(struct search *search, enum gw_affinity result)
{
    struct gw_recovery_table *table = search->worker->recovery;
    struct gw_backend *owner = search->owner;
    struct gw_recovery_wait *wait = dismiss(table, search);
    while (wait != NULL) {
        struct gw_recovery_wait *next = wait->next;
        struct gw_lookup *lookup = wait->lookup;
        free(wait);
        wait = next;
        if (lookup == NULL)
            continue;
        lookup->wait = NULL;
        if (result == GW_AFFINITY_FOUND) {
            memset(&lookup->session, 0, sizeof(lookup->session));
            lookup->session.backend = owner;
            gw_count(&table->worker->metrics.routed_recovery);
        }
        lookup->done(lookup, result);
    }
    start_next(table);
}

static void on_bound(struct store_request *request, enum store_status status,
                     const struct store_record *record, int64_t life_ms)
{
    struct search *search = GW_CONTAINER(request, struct search, request);
    (void)record;
    (void)life_ms;
    if (status != STORE_OK)
        gw_count(&search->worker->metrics.store_errors);
    conclude(search, GW_AFFINITY_FOUND);
}

static void bind_owner(struct search *search)
{
    struct gw_worker *worker = search->worker;
    struct store_record record = {.created_ms = gw_wall_ms(),
                                  .seen_ms = gw_wall_ms()};
    char masked[EIO_SID_MASK_MAX];
    snprintf(record.backend, sizeof(record.backend), "%s",
             search->owner->config->id);
    snprintf(record.gateway, sizeof(record.gateway), "%s",
             worker->config->gateway_name);
    gw_peer_text(&search->peer, record.client, sizeof(record.client));
    eio_sid_mask(&search->sid, masked);
    gw_log(GW_LOG_INFO, "session_recovered", "sid", masked, "backend",
           record.backend);
    stop_asking(search);
    enter(worker->recovery, search, SEARCH_BINDING);
    search->request.done = on_bound;
    store_put(worker->store, &search->request,
              (struct store_key){search->sid.bytes, search->sid.len}, &record,
              NULL, gw_affinity_life_ms(0, 0, STORE_TRANSPORT_POLLING));
}

static void on_settled(struct gw_timer *timer)
{
    bind_owner(GW_CONTAINER(timer, struct search, settle));
}

/* All but some silent backends have denied it: wait for those, but let
 * others ask meanwhile. */
static void on_long(struct gw_timer *timer)
{
    struct search *search = GW_CONTAINER(timer, struct search, settle);
    struct gw_recovery_table *table = search->worker->recovery;
    if (table->parked_count >= PARKED_MAX) {
        conclude(search, GW_AFFINITY_UNAVAILABLE);
        return;
    }
    enter(table, search, SEARCH_PARKED);
    start_next(table);
}

static void on_deadline(struct gw_timer *timer)
{
    conclude(GW_CONTAINER(timer, struct search, deadline),
             GW_AFFINITY_UNAVAILABLE);
}

/* Looks at the answers so far. */
static void weigh(struct search *search)
{
    struct gw_worker *worker = search->worker;
    if (search->owners > 1) {
        gw_log(GW_LOG_ERROR, "recovery_two_owners", "backend",
               search->owner->config->id);
        conclude(search, GW_AFFINITY_UNAVAILABLE);
    } else if (search->pending == 0) {
        if (search->owners == 1)
            bind_owner(search);
        else
            conclude(search, search->is_blind ? GW_AFFINITY_UNAVAILABLE
                                              : GW_AFFINITY_UNKNOWN);
    } else if (search->owners == 1) {
        gw_worker_timer(worker, &search->settle, SECOND_OWNER_MS, on_settled);
    }
}

static void on_answer(void *arg, struct gw_backend *backend,
                      enum gw_answer answer)
{
    struct search *search = arg;
    search->asks[backend->index] = NULL;
    search->pending--;
    switch (answer) {
    case GW_ANSWER_OWNS:
        search->owners++;
        search->owner = backend;
        break;
    case GW_ANSWER_DENIES:
    case GW_ANSWER_DEAD:
    case GW_ANSWER_UNCLEAR:
        break;
    case GW_ANSWER_SILENT:
        search->is_blind = true;
        break;
    }
    weigh(search);
}

static void start_asking(struct search *search)
{
    struct gw_worker *worker = search->worker;
    struct gw_backends *backends = worker->server->backends;
    struct gw_lookup_about about = {.sid = &search->sid,
                                    .path = eio_span_of(search->path),
                                    .host = eio_span_of(search->host),
                                    .peer = &search->peer};
    enter(worker->recovery, search, SEARCH_ASKING);
    for (size_t i = 0; i < backends->count; i++) {
        search->asks[i] = gw_ask_start(worker, &backends->list[i], &about,
                                       worker->config->recovery_timeout_ms,
                                       on_answer, search);
        if (search->asks[i] != NULL)
            search->pending++;
        else
            search->is_blind = true;
    }
    gw_worker_timer(worker, &search->settle, PARK_AFTER_MS, on_long);
    if (search->pending == 0)
        weigh(search);
}

static unsigned asking_for(struct gw_recovery_table *table,
                           const struct gw_peer *peer)
{
    unsigned n = 0;
    for (struct gw_link *at = table->asking.next; at != &table->asking;
         at = at->next) {
        struct search *other = GW_CONTAINER(at, struct search, link);
        n += memcmp(&other->peer, peer, sizeof(*peer)) == 0;
    }
    return n;
}

/* One that is started may conclude at once, which leads back here: the loop
 * that runs already goes on then, so that the stack does not grow with the
 * queue. */
static void start_next(struct gw_recovery_table *table)
{
    int skipped = 0;
    struct gw_link *at = table->queued.next;
    if (table->is_starting)
        return;
    table->is_starting = true;
    while (at != &table->queued && table->asking_count < ASKING_MAX &&
           skipped < QUEUE_SCAN_MAX) {
        struct search *search = GW_CONTAINER(at, struct search, link);
        at = at->next;
        if (asking_for(table, &search->peer) >= ASKING_PER_CLIENT_MAX) {
            skipped++;
            continue;
        }
        start_asking(search);
        at = table->queued.next; /* others may have come or gone */
    }
    table->is_starting = false;
}

static struct search *search_new(struct gw_recovery_table *table,
                                 const struct gw_lookup_about *about)
{
    struct gw_worker *worker = table->worker;
    size_t backends = worker->server->backends->count;
    struct search *search =
        calloc(1, sizeof(*search) + backends * sizeof(struct gw_ask *));
    if (search == NULL)
        return NULL;
    search->worker = worker;
    search->sid = *about->sid;
    search->peer = *about->peer;
    snprintf(search->path, sizeof(search->path), "%.*s", (int)about->path.len,
             about->path.ptr);
    snprintf(search->host, sizeof(search->host), "%.*s", (int)about->host.len,
             about->host.ptr);
    gw_link_init(&search->link);
    struct search **bucket = bucket_of(table, &search->sid);
    search->next = *bucket;
    *bucket = search;
    table->count++;
    enter(table, search, SEARCH_QUEUED);
    gw_worker_timer(worker, &search->deadline,
                    worker->config->recovery_timeout_ms, on_deadline);
    return search;
}

static struct search *search_find(struct gw_recovery_table *table,
                                  const struct eio_sid *sid)
{
    struct search *search = *bucket_of(table, sid);
    while (search != NULL && !eio_sid_equal(&search->sid, sid))
        search = search->next;
    return search;
}

void gw_recovery_find(struct gw_worker *worker, struct gw_lookup *lookup)
{
    struct gw_recovery_table *table = worker->recovery;
    const struct eio_sid *sid = lookup->about.sid;
    if (sid->len < SID_MIN) {
        lookup->done(lookup, GW_AFFINITY_UNKNOWN);
        return;
    }
    struct search *search = search_find(table, sid);
    struct gw_recovery_wait *wait = calloc(1, sizeof(*wait));
    bool is_new = search == NULL;
    if (is_new && wait != NULL && table->count < WAITING_MAX)
        search = search_new(table, &lookup->about);
    if (wait == NULL || search == NULL) {
        free(wait);
        lookup->done(lookup, GW_AFFINITY_UNAVAILABLE);
        return;
    }
    wait->lookup = lookup;
    wait->next = search->waits;
    search->waits = wait;
    lookup->wait = wait;
    if (!is_new)
        return;
    start_next(table);
    if (lookup->wait == wait && search->state == SEARCH_QUEUED)
        gw_count(&worker->metrics.recovery_waits);
}

void gw_recovery_leave(struct gw_lookup *lookup)
{
    if (lookup->wait == NULL)
        return;
    lookup->wait->lookup = NULL;
    lookup->wait = NULL;
}

void gw_recovery_cut(struct gw_worker *worker)
{
    struct gw_recovery_table *table = worker->recovery;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        while (table->buckets[i] != NULL) {
            struct gw_recovery_wait *wait = dismiss(table, table->buckets[i]);
            while (wait != NULL) {
                struct gw_recovery_wait *next = wait->next;
                if (wait->lookup != NULL)
                    gw_recovery_leave(wait->lookup);
                free(wait);
                wait = next;
            }
        }
    }
}

void gw_recovery_free(struct gw_recovery_table *table)
{
    free(table);
}
