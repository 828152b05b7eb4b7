/* SPDX-License-Identifier: MIT */
/* The backends as this replica and the others list them. */
#include "gateway/eject.h"
#include "gateway/log.h"
#include "gateway/replica_private.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum {
    SHARE_ALL = 65536,
    SESSIONS_MAX = 1000000000, /* of a backend, as far as it is believed */
};

/* ---- what this one lists ---- */

static void write_address(const struct gw_address *address, char *out)
{
    char host[INET6_ADDRSTRLEN] = "";
    if (address->addr.ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, &address->addr, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
        snprintf(out, GW_PLACE_ADDRESS_MAX, "[%s]:%u", host,
                 ntohs(v6.sin6_port));
    } else {
        struct sockaddr_in v4;
        memcpy(&v4, &address->addr, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        snprintf(out, GW_PLACE_ADDRESS_MAX, "%s:%u", host, ntohs(v4.sin_port));
    }
}

/* Of two with one id, only the one that has it now is listed. */
static bool is_listed(const struct gw_backend *backend)
{
    return gw_backend_is_known(backend) &&
           !atomic_load(&backend->is_superseded);
}

void gw_replica_follow(struct gw_replica *replica)
{
    struct gw_backends *backends = gw_replica_backends(replica);
    size_t used = gw_backends_used(backends);
    char address[GW_PLACE_ADDRESS_MAX];
    for (size_t i = 0; i < used; i++) {
        const struct gw_backend *backend = &backends->list[i];
        struct gw_place *place = &replica->places[i];
        if (!is_listed(backend)) {
            place->id[0] = '\0';
            continue;
        }
        write_address(&backend->config->address, address);
        if (strcmp(place->id, backend->config->id) == 0 &&
            strcmp(place->address, address) == 0)
            continue;
        *place = (struct gw_place){.held = -1};
        memcpy(place->id, backend->config->id, sizeof(place->id));
        memcpy(place->address, address, sizeof(place->address));
    }
}

struct gw_backend *gw_replica_at(const struct gw_replica *replica, size_t i)
{
    struct gw_backends *backends = gw_replica_backends(replica);
    const struct gw_place *place = &replica->places[i];
    struct gw_backend *backend = &backends->list[i];
    if (place->id[0] == '\0' || i >= gw_backends_used(backends) ||
        !is_listed(backend) || strcmp(place->id, backend->config->id) != 0)
        return NULL;
    return backend;
}

/* What its workers could close now; -1: not all have counted. */
static int64_t held_by(const struct gw_server *server,
                       const struct gw_backend *backend)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < server->worker_count; i++) {
        unsigned held = atomic_load(&backend->held[i]);
        if (held == 0)
            return -1;
        sum += held - 1;
    }
    return sum;
}

static void describe(const struct gw_replica *replica,
                     const struct gw_backend *backend,
                     struct store_plane_backend *out)
{
    unsigned drains = atomic_load(&backend->drains);
    out->state = "up";
    out->why = "";
    if (!gw_backend_is_live(backend)) {
        out->state = "removed";
        out->why = "its sessions end first";
    } else if (drains != 0) {
        out->state = "drained";
        out->why =
            (drains & GW_DRAIN_OPERATOR) != 0 ? "operator" : "configuration";
    } else if (atomic_load(&backend->is_unagreed)) {
        out->state = "unagreed";
        out->why = "another gateway does not list it so";
    } else if (atomic_load(&backend->is_down)) {
        out->state = "down";
        out->why = replica->why[backend->index];
    } else if (gw_eject_is(backend, replica->worker->now_ms)) {
        out->state = "ejected";
        out->why = "its handshakes failed";
    }
}

size_t gw_replica_list(struct gw_replica *replica,
                       struct store_plane_backend list[GW_BACKEND_COUNT_MAX])
{
    const struct gw_server *server = replica->worker->server;
    size_t count = 0;
    pthread_mutex_lock(&replica->lock);
    memcpy(replica->why, replica->reasons, sizeof(replica->why));
    pthread_mutex_unlock(&replica->lock);
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        struct gw_place *place = &replica->places[i];
        const struct gw_backend *backend = gw_replica_at(replica, i);
        if (backend == NULL)
            continue;
        place->held = held_by(server, backend);
        place->closed = atomic_load(&backend->drain_closed);
        list[count] = (struct store_plane_backend){
            .id = place->id,
            .address = place->address,
            .sessions = atomic_load(&backend->sessions),
            .held = place->held,
            .closed = place->closed,
        };
        describe(replica, backend, &list[count++]);
    }
    return count;
}

/* ---- what others list ---- */

void gw_replica_reset(struct gw_replica *replica)
{
    replica->now_count = 0;
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++)
        replica->places[i].said = (struct gw_said){.is_missing = false};
}

/* All that a replica had to close, as long as it is not done. */
static int64_t load_of(int64_t held, int64_t closed)
{
    return held > 0 ? held + closed : 0;
}

static void hear(struct gw_place *place, const char *other,
                 const struct store_plane_backend *backend)
{
    struct gw_said *said = &place->said;
    if (backend == NULL) {
        said->is_missing = true;
        said->is_uncounted = true;
        return;
    }
    if (strcmp(backend->address, place->address) == 0) {
        said->sessions += backend->sessions;
        if (backend->held < 0)
            said->is_uncounted = true;
        else
            said->load += load_of(backend->held, backend->closed);
        if (strcmp(backend->state, "removed") == 0)
            said->is_missing = true;
        return;
    }
    said->is_elsewhere = true;
    if (!place->was_elsewhere)
        gw_log(GW_LOG_ERROR, "backend_mismatch", "backend", place->id,
               "address", place->address, "replica", other, "its_address",
               backend->address);
    place->was_elsewhere = true;
}

static void note_other(struct gw_replica *replica, const char *id,
                       const struct store_plane_backend *list, size_t count)
{
    struct gw_replica_other *other = &replica->now[replica->now_count];
    if (replica->now_count == STORE_PLANE_REPLICAS_MAX)
        return;
    replica->now_count++;
    *other = (struct gw_replica_other){.heard_ms = replica->worker->now_ms};
    snprintf(other->id, sizeof(other->id), "%s", id);
    for (size_t i = 0; i < count; i++)
        if (list[i].sessions > 0 && list[i].sessions < SESSIONS_MAX)
            other->sessions += list[i].sessions;
}

void gw_replica_hear(void *arg, const char *id,
                     const struct store_plane_backend *list, size_t count)
{
    struct gw_replica *replica = arg;
    note_other(replica, id, list, count);
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        struct gw_place *place = &replica->places[i];
        size_t at = 0;
        if (place->id[0] == '\0')
            continue;
        while (at < count && strcmp(list[at].id, place->id) != 0)
            at++;
        hear(place, id, at < count ? &list[at] : NULL);
    }
}

static bool has_id(const struct gw_replica_other *list, size_t count,
                   const char *id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].id, id) == 0)
            return true;
    return false;
}

static void tell_changes(struct gw_replica *replica)
{
    const struct gw_replica_other *now = replica->now;
    const struct gw_replica_other *others = replica->others;
    for (size_t i = 0; i < replica->now_count; i++)
        if (!has_id(others, replica->other_count, now[i].id))
            gw_log(GW_LOG_INFO, "replica_joined", "replica", now[i].id);
    for (size_t i = 0; i < replica->other_count; i++)
        if (!has_id(now, replica->now_count, others[i].id))
            gw_log(GW_LOG_INFO, "replica_left", "replica", others[i].id);
    pthread_mutex_lock(&replica->lock);
    memcpy(replica->others, replica->now, sizeof(replica->others));
    replica->other_count = replica->now_count;
    pthread_mutex_unlock(&replica->lock);
}

size_t gw_replica_others(const struct gw_server *server,
                         struct gw_replica_other out[GW_REPLICA_OTHERS_MAX])
{
    struct gw_replica *replica =
        server->worker_count > 0 ? server->workers[0]->replica : NULL;
    size_t count = 0;
    if (replica == NULL)
        return 0;
    pthread_mutex_lock(&replica->lock);
    count = replica->other_count;
    memcpy(out, replica->others, count * sizeof(*out));
    pthread_mutex_unlock(&replica->lock);
    return count;
}

/* ---- what follows from it ---- */

static bool is_agreed(const struct gw_said *said)
{
    return !said->is_missing && !said->is_elsewhere;
}

static void tell_disagreement(struct gw_replica *replica, size_t pool,
                              bool is_disagreed)
{
    const struct gw_config *config = replica->worker->config;
    if (is_disagreed && !replica->is_disagreed[pool])
        gw_log(GW_LOG_ERROR, "backends_disagreed", "replicas",
               gw_num((int64_t)replica->other_count + 1).text, "pool",
               config->pools[pool].name);
    replica->is_disagreed[pool] = is_disagreed;
}

/* A backend that some replica does not know gets no handshake: the session's
 * next request may come through there. If that, and what is drained, leaves
 * none of a pool, there each goes by its own list. */
static void apply_agreement(struct gw_replica *replica)
{
    bool is_wanted = replica->worker->config->backend_agreement;
    size_t undrained[GW_POOL_COUNT_MAX] = {0};
    size_t agreed[GW_POOL_COUNT_MAX] = {0}; /* of them */
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        struct gw_place *place = &replica->places[i];
        const struct gw_backend *backend = gw_replica_at(replica, i);
        place->was_elsewhere = place->said.is_elsewhere;
        if (backend == NULL || !gw_backend_is_live(backend) ||
            atomic_load(&backend->drains) != 0)
            continue;
        undrained[backend->config->pool]++;
        agreed[backend->config->pool] += is_agreed(&place->said);
    }
    for (size_t i = 0; i < GW_POOL_COUNT_MAX; i++)
        if (i < replica->worker->config->pool_count)
            tell_disagreement(replica, i,
                              agreed[i] == 0 && undrained[i] > 0 && is_wanted);
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        struct gw_backend *backend = gw_replica_at(replica, i);
        if (backend == NULL)
            continue;
        bool is_open = agreed[backend->config->pool] == 0 ||
                       is_agreed(&replica->places[i].said) || !is_wanted;
        atomic_store(&backend->is_unagreed, !is_open);
    }
}

static unsigned part(int64_t own, int64_t others)
{
    if (own + others <= 0)
        return 0;
    int64_t share = own > 0 ? own * SHARE_ALL / (own + others) : 0;
    return share > 0 ? (unsigned)share : 1;
}

/* Of a drained backend's rate, by what each replica had to close or, until all
 * say that, by whose its sessions are. What others say is a turn old: that is
 * why what is closed already counts too, or the shares of a number that falls
 * would not make a whole. */
static unsigned share_of(const struct gw_place *place,
                         const struct gw_backend *backend)
{
    if (place->held < 0 || place->said.is_uncounted)
        return part(atomic_load(&backend->sessions), place->said.sessions);
    return part(load_of(place->held, place->closed), place->said.load);
}

static void apply_counts(struct gw_replica *replica)
{
    struct gw_backends *backends = gw_replica_backends(replica);
    for (size_t i = 0; i < GW_BACKEND_COUNT_MAX; i++) {
        const struct gw_place *place = &replica->places[i];
        struct gw_backend *backend = gw_replica_at(replica, i);
        if (backend == NULL)
            continue;
        atomic_store(&backend->elsewhere, place->said.sessions);
        atomic_store(&backend->drain_share, share_of(place, backend));
    }
    atomic_store(&backends->replicas, (unsigned)replica->other_count);
}

void gw_replica_conclude(struct gw_replica *replica)
{
    tell_changes(replica);
    apply_agreement(replica);
    apply_counts(replica);
}

static bool is_any_disagreed(const struct gw_replica *replica)
{
    for (size_t i = 0; i < GW_POOL_COUNT_MAX; i++)
        if (replica->is_disagreed[i])
            return true;
    return false;
}

void gw_replica_forget_others(struct gw_replica *replica)
{
    if (replica->other_count == 0 && !is_any_disagreed(replica))
        return;
    gw_replica_reset(replica);
    gw_replica_conclude(replica);
}
