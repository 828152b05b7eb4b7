/* SPDX-License-Identifier: MIT */
/* Backends' states and sessions as messages of an upgrade. */
#include "gateway/move_session.h"
#include "gateway/drain_wish.h"
#include "gateway/pool.h"
#include "gateway/shared.h"
#include "store/memory.h"
#include "store/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_BYTES = 32768, /* of sessions in one message, about */
    ITEMS = 64,
    SESSIONS_MAX = 1 << 30,
    WEIGHT_MAX = 256,
};

#define SPAN_MAX_MS ((int64_t)1 << 40) /* decades */
#define TIME_MAX_MS ((int64_t)1 << 47) /* millennia */

/* Whatever another version of sidgate may say, the sums here stay small. */
static int64_t unpack_up_to(struct gw_unpack *unpack, int64_t most)
{
    int64_t value = (int64_t)gw_unpack_number(unpack);
    if (value < 0)
        return 0;
    return value < most ? value : most;
}

/* ---- sessions ---- */

void gw_move_pack_session(struct gw_pack *pack, struct store_key key,
                          const struct store_record *record, int64_t life_ms,
                          bool is_written, const struct store_traffic *traffic)
{
    gw_pack_span(pack, key.ptr, key.len);
    gw_pack_text(pack, record->backend);
    gw_pack_text(pack, record->client);
    gw_pack_text(pack, record->gateway);
    gw_pack_number(pack, (uint64_t)record->created_ms);
    gw_pack_number(pack, (uint64_t)record->seen_ms);
    gw_pack_number(pack, record->ping_interval_ms);
    gw_pack_number(pack, record->ping_timeout_ms);
    gw_pack_number(pack, record->eio);
    gw_pack_number(pack, record->transport);
    gw_pack_number(pack, record->is_copy);
    gw_pack_number(pack, (uint64_t)life_ms);
    gw_pack_number(pack, is_written);
    gw_pack_number(pack, traffic != NULL ? traffic->in_bytes : 0);
    gw_pack_number(pack, traffic != NULL ? traffic->out_bytes : 0);
    gw_pack_number(pack, traffic != NULL ? traffic->requests : 0);
}

bool gw_move_unpack_session(struct gw_unpack *unpack,
                            struct gw_moved_session *session)
{
    struct store_record *record = &session->record;
    struct eio_span key = gw_unpack_span(unpack);
    if (key.len == 0 || key.len > sizeof(session->key))
        return false;
    memcpy(session->key, key.ptr, key.len);
    session->key_len = key.len;
    gw_unpack_text(unpack, record->backend, sizeof(record->backend));
    gw_unpack_text(unpack, record->client, sizeof(record->client));
    gw_unpack_text(unpack, record->gateway, sizeof(record->gateway));
    record->created_ms = unpack_up_to(unpack, TIME_MAX_MS);
    record->seen_ms = unpack_up_to(unpack, TIME_MAX_MS);
    record->ping_interval_ms =
        (uint32_t)unpack_up_to(unpack, STORE_PING_MAX_MS);
    record->ping_timeout_ms = (uint32_t)unpack_up_to(unpack, STORE_PING_MAX_MS);
    record->eio = (uint8_t)gw_unpack_number(unpack);
    record->transport = (uint8_t)gw_unpack_number(unpack);
    record->is_copy = gw_unpack_number(unpack) != 0;
    session->life_ms = unpack_up_to(unpack, SPAN_MAX_MS);
    session->is_written = gw_unpack_number(unpack) != 0;
    session->traffic.in_bytes = gw_unpack_number(unpack);
    session->traffic.out_bytes = gw_unpack_number(unpack);
    session->traffic.requests = (uint32_t)gw_unpack_number(unpack);
    return !unpack->has_failed && record->backend[0] != '\0';
}

void gw_move_keep_session(struct gw_server *server,
                          const struct gw_moved_session *session)
{
    struct store_key key = {session->key, session->key_len};
    uint8_t mark = session->is_written ? gw_shared_round(server->shared) : 0;
    if (!session->is_written && server->is_shared)
        gw_shared_note_unwritten(server->shared);
    store_memory_set(server->memory, key, &session->record, session->life_ms,
                     mark);
    store_memory_account(server->memory, key, &session->traffic, 0);
}

bool gw_move_take_sessions(struct gw_server *server, struct gw_unpack *unpack)
{
    struct gw_moved_session session;
    while (unpack->at < unpack->end) {
        if (!gw_move_unpack_session(unpack, &session))
            return false;
        gw_move_keep_session(server, &session);
    }
    return true;
}

static bool send_batch(int fd, struct gw_pack *pack, int64_t until_ms)
{
    bool is_sent =
        !pack->has_failed && gw_message_say(fd, GW_MESSAGE_SESSION, pack->bytes,
                                            pack->len, until_ms);
    pack->len = 0;
    return is_sent;
}

bool gw_move_send_sessions(struct gw_server *server, int fd, int64_t until_ms)
{
    struct store_memory_walk walk = {0};
    struct store_memory_item *items = malloc(ITEMS * sizeof(*items));
    struct gw_pack pack = {0};
    uint8_t round = gw_shared_round(server->shared);
    bool is_good = items != NULL;
    while (is_good && !walk.is_done) {
        size_t count = store_memory_collect(server->memory, &walk,
                                            STORE_MEMORY_ANY, items, ITEMS);
        for (size_t i = 0; i < count; i++)
            gw_move_pack_session(
                &pack, (struct store_key){items[i].key, items[i].key_len},
                &items[i].record, items[i].life_ms, items[i].mark == round,
                &items[i].traffic);
        if (pack.len >= BATCH_BYTES)
            is_good = send_batch(fd, &pack, until_ms);
    }
    if (is_good && pack.len > 0)
        is_good = send_batch(fd, &pack, until_ms);
    gw_pack_free(&pack);
    free(items);
    return is_good;
}

/* ---- backends ---- */

static void pack_config(struct gw_pack *pack,
                        const struct gw_backend_config *config)
{
    gw_pack_text(pack, config->id);
    gw_pack_text(pack, config->address.text);
    gw_pack_span(pack, &config->address.addr, config->address.addr_len);
    gw_pack_number(pack, config->is_tls);
    gw_pack_number(pack, config->is_unverified);
    gw_pack_text(pack, config->tls_name);
}

static void unpack_config(struct gw_unpack *unpack,
                          struct gw_backend_config *config)
{
    gw_unpack_text(unpack, config->id, sizeof(config->id));
    gw_unpack_text(unpack, config->address.text, sizeof(config->address.text));
    struct eio_span addr = gw_unpack_span(unpack);
    if (addr.len > sizeof(config->address.addr)) {
        unpack->has_failed = true;
        return;
    }
    memcpy(&config->address.addr, addr.ptr, addr.len);
    config->address.addr_len = (socklen_t)addr.len;
    config->is_tls = gw_unpack_number(unpack) != 0;
    config->is_unverified = gw_unpack_number(unpack) != 0;
    gw_unpack_text(unpack, config->tls_name, sizeof(config->tls_name));
}

/* ---- their pools, which the configuration may not have any more ---- */

/* A pool of the old process. */
struct told_pool {
    struct gw_pool_config was;          /* its name and its route */
    uint64_t routes[GW_POOL_COUNT_MAX]; /* of all pools there */
    size_t route_count;
    char friends[GW_POOL_COUNT_MAX][GW_POOL_NAME_MAX]; /* whose clients may
                                                          have its sessions */
    size_t friend_count;
};

static void pack_pool(const struct gw_config *config,
                      const struct gw_backend *backend, struct gw_pack *pack)
{
    uint8_t index = backend->config->pool;
    const struct gw_pool_config *pool = &config->pools[index];
    gw_pack_text(pack, pool->name);
    gw_pack_number(pack, pool->host_count);
    for (size_t i = 0; i < pool->host_count; i++)
        gw_pack_text(pack, pool->hosts[i]);
    gw_pack_number(pack, pool->path_count);
    for (size_t i = 0; i < pool->path_count; i++)
        gw_pack_text(pack, pool->paths[i]);
    gw_pack_text(pack, pool->prefix);
    gw_pack_number(pack, pool->netty);
    gw_pack_number(pack, config->pool_count);
    for (size_t i = 0; i < config->pool_count; i++) {
        bool is_friend = i != index && gw_pool_has(config, (uint8_t)i, backend);
        gw_pack_number(pack, gw_pool_route_hash(&config->pools[i]));
        gw_pack_text(pack, is_friend ? config->pools[i].name : "");
    }
}

static size_t unpack_count(struct gw_unpack *unpack, size_t most)
{
    uint64_t count = gw_unpack_number(unpack);
    if (count > most)
        unpack->has_failed = true;
    return unpack->has_failed ? 0 : (size_t)count;
}

static void unpack_pool(struct gw_unpack *unpack, struct told_pool *told)
{
    struct gw_pool_config *was = &told->was;
    gw_unpack_text(unpack, was->name, sizeof(was->name));
    was->host_count = unpack_count(unpack, GW_HOST_COUNT_MAX);
    for (size_t i = 0; i < was->host_count; i++)
        gw_unpack_text(unpack, was->hosts[i], sizeof(was->hosts[i]));
    was->path_count = unpack_count(unpack, GW_PATH_COUNT_MAX);
    for (size_t i = 0; i < was->path_count; i++)
        gw_unpack_text(unpack, was->paths[i], sizeof(was->paths[i]));
    gw_unpack_text(unpack, was->prefix, sizeof(was->prefix));
    was->netty = gw_unpack_number(unpack) != 0;
    told->route_count = unpack_count(unpack, GW_POOL_COUNT_MAX);
    for (size_t i = 0; i < told->route_count; i++) {
        char *name = told->friends[told->friend_count];
        told->routes[i] = gw_unpack_number(unpack);
        gw_unpack_text(unpack, name, GW_POOL_NAME_MAX);
        told->friend_count += name[0] != '\0';
    }
}

/* Where the pool stands here; one that is not configured any more gets a place
 * as after a reload. */
static bool place_pool(struct gw_config *config, const struct told_pool *told,
                       uint8_t *place)
{
    const struct gw_pool_config *was = &told->was;
    size_t at = 0;
    while (at < config->pool_count &&
           strcmp(config->pools[at].name, was->name) != 0)
        at++;
    if (at == GW_POOL_COUNT_MAX)
        return false;
    *place = (uint8_t)at;
    if (at < config->pool_count)
        return true;
    struct gw_pool_config *pool = &config->pools[config->pool_count++];
    *pool = config->pools[0];
    memcpy(pool->name, was->name, sizeof(pool->name));
    memcpy(pool->hosts, was->hosts, sizeof(pool->hosts));
    memcpy(pool->paths, was->paths, sizeof(pool->paths));
    memcpy(pool->prefix, was->prefix, sizeof(pool->prefix));
    pool->host_count = was->host_count;
    pool->path_count = was->path_count;
    pool->netty = was->netty;
    pool->is_removed = true;
    pool->canary = (struct gw_canary){.pool = ""};
    pool->admits = 0;
    return true;
}

static bool had_route(const struct told_pool *told,
                      const struct gw_pool_config *pool)
{
    uint64_t hash = gw_pool_route_hash(pool);
    size_t i = 0;
    while (i < told->route_count && told->routes[i] != hash)
        i++;
    return i < told->route_count;
}

static bool is_friend(const struct told_pool *told, const char *name)
{
    size_t i = 0;
    while (i < told->friend_count && strcmp(told->friends[i], name) != 0)
        i++;
    return i < told->friend_count;
}

/* As gw_pools_admit does at a reload: this configuration may be another one. */
static void admit(struct gw_config *config, const struct told_pool *told,
                  uint8_t place)
{
    bool is_kept = had_route(told, &config->pools[place]);
    for (size_t i = 0; i < config->pool_count; i++) {
        struct gw_pool_config *pool = &config->pools[i];
        bool is_other = !is_kept || !had_route(told, pool);
        if (i != place && (is_friend(told, pool->name) ||
                           (is_other && gw_pools_meet(&told->was, pool))))
            pool->admits |= (uint16_t)(1U << place);
    }
}

/* ---- what was known of them ---- */

static uint64_t left(int64_t until_ms, int64_t now_ms)
{
    return until_ms > now_ms ? (uint64_t)(until_ms - now_ms) : 0;
}

/* 0: it has not begun. */
static uint64_t age(int64_t since_ms, int64_t now_ms)
{
    return since_ms > 0 ? left(now_ms, since_ms) + 1 : 0;
}

static int64_t since(int64_t age_ms, int64_t now_ms)
{
    return age_ms > 0 ? now_ms - age_ms + 1 : 0;
}

static void pack_backend(const struct gw_server *server,
                         const struct gw_backend *backend, struct gw_pack *pack)
{
    const struct gw_config *config = server->config;
    int64_t now_ms = gw_now_ms();
    char wish[GW_DRAIN_TEXT_MAX];
    bool is_found = backend->source == GW_SOURCE_DISCOVERY &&
                    backend->discovery < config->discover_count;
    gw_pack_number(pack, backend->index);
    pack_pool(config, backend, pack);
    pack_config(pack, backend->config);
    gw_pack_number(pack, atomic_load(&backend->weight));
    gw_pack_number(pack, atomic_load(&backend->max_sessions));
    gw_pack_number(pack, gw_backend_is_live(backend));
    gw_pack_number(pack, atomic_load(&backend->is_superseded));
    gw_pack_number(pack, backend->source);
    gw_pack_text(pack,
                 is_found ? config->discover[backend->discovery].name : "");
    gw_pack_number(pack, atomic_load(&backend->drains) & GW_DRAIN_OPERATOR);
    gw_drain_wish_write(&backend->drain_wish, wish);
    gw_pack_text(pack, wish);
    gw_pack_number(pack, age(backend->drain_since_ms, now_ms));
    gw_pack_number(pack, atomic_load(&backend->is_down));
    gw_pack_text(pack, backend->health_reason);
    gw_pack_number(pack, left(atomic_load(&backend->ejected_until_ms), now_ms));
    gw_pack_number(pack, age(atomic_load(&backend->fresh_since_ms), now_ms));
    gw_pack_number(pack, (uint64_t)atomic_load(&backend->elsewhere));
}

bool gw_move_send_backends(struct gw_server *server, int fd, int64_t until_ms)
{
    struct gw_backends *backends = server->backends;
    size_t used = gw_backends_used(backends);
    struct gw_pack pack = {0};
    bool is_good = true;
    for (size_t i = 0; is_good && i < used; i++) {
        const struct gw_backend *one = &backends->list[i];
        int state = atomic_load(&one->state);
        if (state == GW_BACKEND_FREE)
            continue;
        pack.len = 0;
        pack_backend(server, one, &pack);
        is_good =
            !pack.has_failed && gw_message_say(fd, GW_MESSAGE_BACKEND,
                                               pack.bytes, pack.len, until_ms);
    }
    gw_pack_free(&pack);
    return is_good;
}

/* What the old process knew of one that both have. */
static void unpack_state(struct gw_backend *backend, struct gw_unpack *unpack)
{
    int64_t now_ms = gw_now_ms();
    char wish[GW_DRAIN_TEXT_MAX];
    if (gw_unpack_number(unpack) & GW_DRAIN_OPERATOR)
        atomic_fetch_or(&backend->drains, GW_DRAIN_OPERATOR);
    gw_unpack_text(unpack, wish, sizeof(wish));
    if (strncmp(wish, "drain", 5) == 0)
        gw_drain_wish_read(wish + strcspn(wish, " "), &backend->drain_wish);
    backend->drain_since_ms = since(unpack_up_to(unpack, SPAN_MAX_MS), now_ms);
    backend->drain_paid_ms = now_ms;
    atomic_store(&backend->is_down, gw_unpack_number(unpack) != 0);
    gw_unpack_text(unpack, backend->health_reason,
                   sizeof(backend->health_reason));
    int64_t ejected_ms = unpack_up_to(unpack, SPAN_MAX_MS);
    if (ejected_ms > 0)
        atomic_store(&backend->ejected_until_ms, now_ms + ejected_ms);
    int64_t fresh_ms = since(unpack_up_to(unpack, SPAN_MAX_MS), now_ms);
    if (fresh_ms > 0)
        atomic_store(&backend->fresh_since_ms, fresh_ms);
    atomic_store(&backend->elsewhere, unpack_up_to(unpack, SESSIONS_MAX));
}

/* One that this configuration does not list: an operator's or discovery's, or
 * removed and with its last sessions. */
static struct gw_backend *add_unlisted(struct gw_server *server,
                                       const struct gw_backend_config *config,
                                       bool is_live, uint64_t source,
                                       char error[256])
{
    struct gw_backend *backend = NULL;
    if (is_live && source != GW_SOURCE_CONFIG)
        backend = gw_backends_add(server->backends, config,
                                  (enum gw_backend_source)source, false, error);
    if (backend != NULL)
        return backend;
    /* Its id may be another server's now. */
    return gw_backends_add_former(server->backends, config, gw_now_ms(), error);
}

static void note_discovery(const struct gw_config *config,
                           struct gw_backend *backend, const char *name)
{
    for (size_t i = 0; i < config->discover_count; i++)
        if (strcmp(config->discover[i].name, name) == 0 &&
            config->discover[i].backend.pool == backend->config->pool)
            backend->discovery = (uint8_t)i;
}

bool gw_move_take_backend(struct gw_server *server,
                          struct gw_move_places *places,
                          struct gw_unpack *unpack, char error[256])
{
    struct gw_backend_config config = {0};
    struct told_pool told = {.route_count = 0};
    char name[GW_HOST_MAX];
    uint64_t index = gw_unpack_number(unpack);
    unpack_pool(unpack, &told);
    unpack_config(unpack, &config);
    config.weight = (uint32_t)unpack_up_to(unpack, WEIGHT_MAX);
    config.max_sessions = (uint32_t)unpack_up_to(unpack, UINT32_MAX);
    bool is_live = gw_unpack_number(unpack) != 0;
    bool is_superseded = gw_unpack_number(unpack) != 0;
    uint64_t source = gw_unpack_number(unpack);
    gw_unpack_text(unpack, name, sizeof(name));
    if (unpack->has_failed || told.was.name[0] == '\0' || config.weight == 0 ||
        index >= GW_BACKEND_COUNT_MAX || source > 2) {
        snprintf(error, 256, "the old process's backends cannot be read");
        return false;
    }
    if (!place_pool(server->config, &told, &config.pool)) {
        snprintf(error, 256,
                 "there are too many pools with those that still "
                 "have sessions");
        return false;
    }
    admit(server->config, &told, config.pool);
    struct gw_backend *backend =
        is_superseded ? NULL : gw_backend_find(server->backends, config.id);
    if (backend != NULL && !gw_backend_is_same(backend->config, &config))
        backend = NULL;
    if (backend == NULL)
        backend = add_unlisted(server, &config, is_live && !is_superseded,
                               source, error);
    if (backend == NULL)
        return false;
    if (backend->source == GW_SOURCE_DISCOVERY)
        note_discovery(server->config, backend, name);
    unpack_state(backend, unpack);
    /* Nobody would find it well again. */
    if (server->config->pools[config.pool].health_check == GW_HEALTH_OFF)
        atomic_store(&backend->is_down, false);
    places->backends[index] = backend;
    return true;
}
