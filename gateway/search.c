/* SPDX-License-Identifier: MIT */
/* Carries out the search for the backend of a sid: the store, the backends. */
#include "gateway/search.h"
#include "gateway/log.h"
#include "gateway/pool.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SID_MIN = 16,          /* shorter ones may be counters: never asked */
    SECOND_OWNER_MS = 200, /* after one owner, time for another to speak */
    PARK_AFTER_MS = 500,
    RECOVERED_MS = 20000, /* in the cache, of a record put by recovery */
    DENIED_MS = 2000,     /* how long "nobody has it" is believed */
};

static struct store_key key_of(const struct gw_search *search)
{
    return (struct store_key){search->sid.bytes, search->sid.len};
}

/* ---- its end ---- */

static void tell(struct gw_recovery_wait *wait, enum gw_affinity result,
                 const struct gw_session *session)
{
    struct gw_lookup *lookup = wait->lookup;
    free(wait);
    if (lookup == NULL)
        return;
    lookup->wait = NULL;
    if (session != NULL)
        lookup->session = *session;
    lookup->done(lookup, result);
}

void gw_search_conclude(struct gw_search *search, enum gw_affinity result)
{
    struct gw_worker *worker = search->worker;
    bool is_found = result == GW_AFFINITY_FOUND;
    struct gw_session session = {0};
    if (is_found) {
        gw_session_read(&session, &search->record, search->owner);
        session.life_ms = search->life_ms;
        if (search->owners > 0)
            session.source = GW_OWNER_RECOVERY;
    }
    struct gw_recovery_wait *wait = gw_search_dismiss(search, is_found);
    while (wait != NULL) {
        struct gw_recovery_wait *next = wait->next;
        if (is_found && wait->lookup != NULL)
            gw_count(search->owners > 0 ? &worker->metrics.routed_recovery
                                        : &worker->metrics.routed_store);
        tell(wait, result, is_found ? &session : NULL);
        wait = next;
    }
    gw_recovery_serve(worker->recovery);
}

/* ---- the shared store ---- */

/* Those who came for what the store says have heard it. False when there is
 * nobody else. */
static bool dismiss_readers(struct gw_search *search)
{
    enum gw_affinity result =
        search->is_store_silent ? GW_AFFINITY_UNAVAILABLE : GW_AFFINITY_UNKNOWN;
    struct gw_recovery_wait *readers = NULL;
    struct gw_recovery_wait **at = &search->waits;
    while (*at != NULL) {
        struct gw_recovery_wait *wait = *at;
        if (wait->lookup == NULL || wait->lookup->may_recover) {
            at = &wait->next;
            continue;
        }
        *at = wait->next;
        wait->next = readers;
        readers = wait;
        wait->search = NULL; /* one of them may leave while others are told */
        search->waiters--;
    }
    if (search->waits == NULL) {
        search->waits = readers; /* for the end to tell them */
        gw_search_conclude(search, result);
        return false;
    }
    while (readers != NULL) {
        struct gw_recovery_wait *next = readers->next;
        tell(readers, result, NULL);
        readers = next;
    }
    return true;
}

static void recover(struct gw_search *search)
{
    const struct gw_pool_config *pool =
        &search->worker->config->pools[search->pool];
    if (!dismiss_readers(search))
        return;
    /* netty-socketio answers every PUT as an owner would. */
    if (pool->recovery != GW_RECOVERY_PROBE || pool->netty ||
        search->sid.len < SID_MIN) {
        gw_search_conclude(search, search->is_store_silent
                                       ? GW_AFFINITY_UNAVAILABLE
                                       : GW_AFFINITY_UNKNOWN);
        return;
    }
    gw_search_enter(search, GW_SEARCH_QUEUED);
    gw_recovery_serve(search->worker->recovery);
    if (search->state == GW_SEARCH_QUEUED)
        gw_count(&search->worker->metrics.recovery_waits);
}

static void on_read(struct store_request *request, enum store_status status,
                    const struct store_record *record, int64_t life_ms)
{
    struct gw_search *search = GW_CONTAINER(request, struct gw_search, request);
    struct gw_worker *worker = search->worker;
    if (status == STORE_OK) {
        search->record = *record;
        search->life_ms = life_ms;
        search->owner = gw_affinity_owner(worker, record, search->pool);
        if (search->owner != NULL) {
            gw_affinity_remember(worker, &search->sid, record, life_ms, true);
            gw_search_conclude(search, GW_AFFINITY_FOUND);
            return;
        }
    }
    if (status == STORE_UNAVAILABLE) {
        gw_count(&worker->metrics.store_errors);
        search->is_store_silent = true;
    }
    recover(search);
}

void gw_search_read(struct gw_search *search)
{
    struct gw_worker *worker = search->worker;
    gw_search_enter(search, GW_SEARCH_READING);
    if (!worker->server->is_shared) {
        recover(search); /* the memory store has been looked into */
        return;
    }
    gw_count(&worker->metrics.store_lookups);
    search->request.done = on_read;
    store_get(worker->store, &search->request, key_of(search));
}

/* ---- the backends ---- */

void gw_search_stop_asking(struct gw_search *search)
{
    for (size_t i = 0; i < search->ask_count; i++)
        gw_ask_cancel(&search->asks[i]);
    search->pending = 0;
}

static void put_owner(struct gw_search *search, const char *replaces);

static void on_bound(struct store_request *request, enum store_status status,
                     const struct store_record *record, int64_t life_ms)
{
    struct gw_search *search = GW_CONTAINER(request, struct gw_search, request);
    struct gw_worker *worker = search->worker;
    (void)life_ms;
    /* The record is wrong: its backend has denied the sid. */
    if (status == STORE_CONFLICT && search->owners == 1) {
        char wrong[STORE_BACKEND_MAX];
        snprintf(wrong, sizeof(wrong), "%s", record->backend);
        search->owners++; /* once */
        put_owner(search, wrong);
        return;
    }
    if (status != STORE_OK)
        gw_count(&worker->metrics.store_errors);
    search->record.is_copy = false;
    /* What stands there may be older, and not live as long: it is read soon. */
    if (status == STORE_OK && worker->server->is_shared)
        search->life_ms = RECOVERED_MS;
    gw_affinity_remember(worker, &search->sid, &search->record, search->life_ms,
                         status == STORE_OK);
    gw_search_conclude(search, GW_AFFINITY_FOUND);
}

static void put_owner(struct gw_search *search, const char *replaces)
{
    search->request.done = on_bound;
    search->life_ms = gw_affinity_life_ms(0, 0, STORE_TRANSPORT_POLLING);
    store_put(search->worker->store, &search->request, key_of(search),
              &search->record, replaces, search->life_ms);
}

static void bind_owner(struct gw_search *search)
{
    struct gw_worker *worker = search->worker;
    char masked[EIO_SID_MASK_MAX];
    /* A record that is there, and could not be read, knows more. */
    search->record = (struct store_record){
        .created_ms = gw_wall_ms(), .seen_ms = gw_wall_ms(), .is_copy = true};
    struct store_record *record = &search->record;
    snprintf(record->backend, sizeof(record->backend), "%s",
             search->owner->config->id);
    snprintf(record->gateway, sizeof(record->gateway), "%s",
             worker->server->gateway_id);
    gw_peer_text(&search->peer, record->client, sizeof(record->client));
    eio_sid_mask(&search->sid, masked);
    gw_log(GW_LOG_INFO, "session_recovered", "sid", masked, "backend",
           record->backend);
    gw_search_stop_asking(search);
    /* The store may take longer than what was waited for. */
    gw_timer_stop(&worker->wheel, &search->settle);
    gw_search_enter(search, GW_SEARCH_BINDING);
    put_owner(search, NULL);
}

static void on_settled(struct gw_timer *timer)
{
    bind_owner(GW_CONTAINER(timer, struct gw_search, settle));
}

/* All but some silent backends have denied it: wait for those, but let
 * others ask meanwhile. */
static void on_long(struct gw_timer *timer)
{
    struct gw_search *search = GW_CONTAINER(timer, struct gw_search, settle);
    struct gw_recovery_table *table = search->worker->recovery;
    if (!gw_recovery_may_park(table)) {
        gw_search_conclude(search, GW_AFFINITY_UNAVAILABLE);
        return;
    }
    gw_search_enter(search, GW_SEARCH_PARKED);
    gw_recovery_serve(table);
}

static void conclude_without_owner(struct gw_search *search)
{
    struct gw_worker *worker = search->worker;
    if (search->is_blind) {
        gw_search_conclude(search, GW_AFFINITY_UNAVAILABLE);
        return;
    }
    if (!search->is_unclear)
        gw_affinity_deny(worker, &search->sid, search->pool, DENIED_MS);
    gw_search_conclude(search, GW_AFFINITY_UNKNOWN);
}

/* Looks at the answers so far. */
static void weigh(struct gw_search *search)
{
    struct gw_worker *worker = search->worker;
    if (search->owners > 1) {
        gw_log(GW_LOG_ERROR, "recovery_two_owners", "backend",
               search->owner->config->id);
        gw_search_conclude(search, GW_AFFINITY_UNAVAILABLE);
    } else if (search->pending == 0) {
        if (search->owners == 1)
            bind_owner(search);
        else
            conclude_without_owner(search);
    } else if (search->owners == 1) {
        gw_worker_timer(worker, &search->settle, SECOND_OWNER_MS, on_settled);
    }
}

static void on_answer(void *arg, struct gw_backend *backend,
                      enum gw_answer answer)
{
    struct gw_search *search = arg;
    search->asks[backend->index] = NULL;
    search->pending--;
    switch (answer) {
    case GW_ANSWER_OWNS:
        search->owners++;
        search->owner = backend;
        break;
    case GW_ANSWER_DENIES:
    case GW_ANSWER_DEAD:
        break;
    case GW_ANSWER_UNCLEAR:
        search->is_unclear = true;
        break;
    case GW_ANSWER_SILENT:
        search->is_blind = true;
        break;
    }
    weigh(search);
}

void gw_search_ask(struct gw_search *search)
{
    struct gw_worker *worker = search->worker;
    struct gw_backends *backends = worker->server->backends;
    struct gw_lookup_about about = {.sid = &search->sid,
                                    .path = eio_span_of(search->path),
                                    .host = eio_span_of(search->host),
                                    .peer = &search->peer};
    search->owner = NULL;
    gw_search_enter(search, GW_SEARCH_ASKING);
    /* Those that came after the search began cannot have it. */
    for (size_t i = 0; i < search->ask_count; i++) {
        if (!gw_backend_is_known(&backends->list[i]) ||
            !gw_pool_has(worker->config, search->pool, &backends->list[i]))
            continue;
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
