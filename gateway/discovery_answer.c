/* SPDX-License-Identifier: MIT */
/* From an answer to the table of backends: who appears, who stays, who goes. */
#include "gateway/discovery_private.h"
#include "gateway/log.h"
#include "gateway/server.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum {
    EMPTY_MAX = 3, /* answers without anything that are believed */
    REFUSAL_MAX = 8,
    WEIGHT_MAX = 256,
};

/* What of one answer cannot be a backend. */
struct refusals {
    uint64_t hash;
    unsigned count;
    struct refusal {
        char what[GW_HOST_MAX];
        char why[256];
    } list[REFUSAL_MAX];
};

/* An answer on its way into the table. */
struct round {
    struct gw_discovered *name;
    const struct gw_lookup_result *result;
    struct gw_backend_set seen;
    struct refusals refusals;
    unsigned heaviest; /* weight, of all that was found */
    bool has_any;      /* of use, even if its address is unknown */
    bool has_address;
    bool has_changed;
};

/* ---- what is refused, told once ---- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3ULL;
    return hash;
}

/* The sum does not depend on the order of what is refused. */
static void refuse(struct round *round, const char *what, const char *why)
{
    struct refusals *refusals = &round->refusals;
    refusals->hash +=
        hash_text(hash_text(0xcbf29ce484222325ULL, what), why) | 1;
    if (refusals->count == REFUSAL_MAX)
        return;
    struct refusal *one = &refusals->list[refusals->count++];
    snprintf(one->what, sizeof(one->what), "%s", what);
    snprintf(one->why, sizeof(one->why), "%s", why);
}

static void tell_refusals(struct round *round)
{
    const struct refusals *refusals = &round->refusals;
    bool is_known = round->name->refused == refusals->hash;
    round->name->refused = refusals->hash;
    for (unsigned i = 0; i < refusals->count && !is_known; i++)
        gw_log(GW_LOG_WARNING, "discovery_refused", "name",
               round->name->config->name, "backend", refusals->list[i].what,
               "why", refusals->list[i].why);
}

/* ---- from a record to a backend ---- */

/* Those with which an answer is sorted. */
static bool shares_target(const struct round *round, unsigned i)
{
    const struct gw_found *list = round->result->list;
    bool before = i > 0 && strcmp(list[i - 1].target, list[i].target) == 0;
    bool behind = i + 1 < round->result->count &&
                  strcmp(list[i + 1].target, list[i].target) == 0;
    return before || behind;
}

static void put_address(struct gw_address *address, const struct gw_peer *peer,
                        uint16_t port)
{
    char text[INET6_ADDRSTRLEN];
    bool is_v4 = peer->family == AF_INET;
    memset(address, 0, sizeof(*address));
    gw_peer_text(peer, text, sizeof(text));
    snprintf(address->text, sizeof(address->text), is_v4 ? "%s:%u" : "[%s]:%u",
             text, port);
    if (is_v4) {
        struct sockaddr_in v4 = {.sin_family = AF_INET,
                                 .sin_port = htons(port)};
        memcpy(&v4.sin_addr, peer->addr, sizeof(v4.sin_addr));
        memcpy(&address->addr, &v4, sizeof(v4));
        address->addr_len = sizeof(v4);
    } else {
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                                  .sin6_port = htons(port)};
        memcpy(&v6.sin6_addr, peer->addr, sizeof(v6.sin6_addr));
        memcpy(&address->addr, &v6, sizeof(v6));
        address->addr_len = sizeof(v6);
    }
}

/* False: it is longer than an id may be. */
static bool put_id(const struct round *round, unsigned i, char *id)
{
    const struct gw_config *config = round->name->discovery->config;
    const struct gw_found *found = &round->result->list[i];
    uint8_t pool = round->name->config->backend.pool;
    const char *prefix = pool > 0 ? config->pools[pool].name : "";
    const char *slash = pool > 0 ? "/" : "";
    struct gw_address address;
    char port[8] = "";
    int need;
    if (found->target[0] == '\0') {
        put_address(&address, &found->addresses[0], found->port);
        need = snprintf(id, GW_BACKEND_ID_MAX, "%s%s%s", prefix, slash,
                        address.text);
    } else {
        if (shares_target(round, i))
            snprintf(port, sizeof(port), ":%u", found->port);
        need = snprintf(id, GW_BACKEND_ID_MAX, "%s%s%s%s", prefix, slash,
                        found->target, port);
    }
    return need > 0 && need < GW_BACKEND_ID_MAX;
}

/* The record's weight times the one of the configuration, made to fit by the
 * heaviest of the answer. */
static uint32_t weigh(const struct round *round, const struct gw_found *found)
{
    uint32_t own = round->name->config->backend.weight;
    uint32_t weight = (found->weight > 0 ? found->weight : 1) * own;
    if (round->heaviest > WEIGHT_MAX)
        weight = (uint32_t)((uint64_t)weight * WEIGHT_MAX / round->heaviest);
    return weight > 0 ? weight : 1;
}

/* The one that it has already, as long as the target has it; the least else.
 * Otherwise a target with many would move with each answer. */
static struct gw_peer choose_address(const struct gw_found *found,
                                     const struct gw_backend *known)
{
    struct gw_peer now;
    if (known == NULL)
        return found->addresses[0];
    gw_peer_from_sockaddr(&now, &known->config->address.addr);
    for (unsigned i = 0; i < found->count; i++)
        if (gw_peer_equal(&found->addresses[i], &now))
            return now;
    return found->addresses[0];
}

static void fill(const struct round *round, const struct gw_found *found,
                 const struct gw_backend *known,
                 struct gw_backend_config *config)
{
    struct gw_peer peer = choose_address(found, known);
    put_address(&config->address, &peer, found->port);
    config->weight = weigh(round, found);
    if (!config->is_tls || config->tls_name[0] != '\0')
        return;
    const char *host =
        found->target[0] != '\0' ? found->target : round->name->config->name;
    size_t len = strlen(host);
    if (len > 0 && host[len - 1] == '.')
        len--;
    snprintf(config->tls_name, sizeof(config->tls_name), "%.*s", (int)len,
             host);
}

/* ---- into the table ---- */

static bool is_ours(const struct gw_discovered *name,
                    const struct gw_backend *backend)
{
    return backend->source == GW_SOURCE_DISCOVERY &&
           backend->discovery == name->index;
}

static bool is_at(const struct gw_backend *backend,
                  const struct gw_backend_config *config)
{
    const struct gw_address *address = &backend->config->address;
    return address->addr_len == config->address.addr_len &&
           memcmp(&address->addr, &config->address.addr, address->addr_len) ==
               0;
}

/* A restarted server may have its id at another address: the old one lets go
 * of it first. */
static struct gw_backend *add(struct round *round, struct gw_backend *known,
                              const struct gw_backend_config *config,
                              char error[256])
{
    struct gw_backends *backends = round->name->discovery->backends;
    bool slow = !round->name->is_first;
    struct gw_backend *backend =
        gw_backends_add(backends, config, GW_SOURCE_DISCOVERY, slow, error);
    if (backend != NULL || known == NULL || !gw_backend_is_live(known))
        return backend;
    gw_backend_remove(backends, known, gw_now_ms());
    round->has_changed = true;
    return gw_backends_add(backends, config, GW_SOURCE_DISCOVERY, slow, error);
}

static void take_in(struct round *round, struct gw_backend *known,
                    const struct gw_backend_config *config)
{
    char error[256] = "";
    bool was_there =
        known != NULL && gw_backend_is_live(known) && is_at(known, config);
    struct gw_backend *backend = add(round, known, config, error);
    if (backend == NULL) {
        refuse(round, config->id, error);
        return;
    }
    backend->discovery = round->name->index;
    gw_backend_set_add(&round->seen, backend->index);
    if (was_there && backend == known)
        return;
    round->has_changed = true;
    gw_log(GW_LOG_INFO, "backend_discovered", "backend", config->id, "address",
           config->address.text, "name", round->name->config->name);
}

static void take_found(struct round *round, unsigned i)
{
    const struct gw_discovered *name = round->name;
    const struct gw_found *found = &round->result->list[i];
    struct gw_backend_config config = name->config->backend;
    if (found->refused != NULL) {
        char text[INET6_ADDRSTRLEN] = "";
        if (found->target[0] == '\0')
            gw_peer_text(&found->addresses[0], text, sizeof(text));
        refuse(round, text[0] != '\0' ? text : found->target, found->refused);
        return;
    }
    if (!put_id(round, i, config.id)) {
        refuse(round, found->target[0] != '\0' ? found->target : config.id,
               "too long for an id");
        return;
    }
    bool is_listed = found->count > 0 || found->is_unknown;
    round->has_any = round->has_any || is_listed;
    round->has_address = round->has_address || found->count > 0;
    struct gw_backend *known =
        gw_backend_find(name->discovery->backends, config.id);
    bool is_live = known != NULL && gw_backend_is_live(known);
    /* The configuration's, an operator's, or another name's. */
    if (is_live && !is_ours(name, known))
        return;
    if (found->count == 0) {
        if (is_live && found->is_unknown)
            gw_backend_set_add(&round->seen, known->index);
        return;
    }
    fill(round, found, known, &config);
    take_in(round, known, &config);
}

/* Whether the answer could not say that it is gone. */
static bool is_spared(const struct round *round,
                      const struct gw_backend *backend)
{
    const struct gw_lookup_result *result = round->result;
    bool is_v4 = backend->config->address.addr.ss_family == AF_INET;
    if (round->name->config->is_srv)
        return false;
    return is_v4 ? result->is_v4_unknown : result->is_v6_unknown;
}

static void let_go(struct round *round)
{
    const struct gw_discovered *name = round->name;
    struct gw_backends *backends = name->discovery->backends;
    size_t used = gw_backends_used(backends);
    for (unsigned i = 0; i < used; i++) {
        struct gw_backend *backend = &backends->list[i];
        if (!gw_backend_is_live(backend) || !is_ours(name, backend) ||
            gw_backend_set_has(&round->seen, i) || is_spared(round, backend))
            continue;
        gw_log(GW_LOG_INFO, "backend_vanished", "backend", backend->config->id,
               "name", name->config->name);
        gw_backend_remove(backends, backend, gw_now_ms());
        round->has_changed = true;
    }
}

/* Of all that was found; nothing weighs less than 1. */
static unsigned heaviest_of(const struct round *round)
{
    unsigned heaviest = 1;
    for (unsigned i = 0; i < round->result->count; i++)
        if (round->result->list[i].weight > heaviest)
            heaviest = round->result->list[i].weight;
    return heaviest * round->name->config->backend.weight;
}

/* An answer without anything of use is believed when it has come often enough
 * in a row. */
bool gw_discovered_apply(struct gw_discovered *name,
                         const struct gw_lookup_result *result)
{
    struct round whole = {.name = name, .result = result};
    struct round *round = &whole;
    round->heaviest = heaviest_of(round);
    for (unsigned i = 0; i < result->count; i++)
        take_found(round, i);
    tell_refusals(round);
    if (result->is_cut && !name->is_cut)
        gw_log(GW_LOG_WARNING, "discovery_cut", "name", name->config->name,
               "most", gw_num(GW_FOUND_MAX).text);
    name->is_cut = result->is_cut;
    if (round->has_any)
        name->empties = 0;
    else if (name->empties < EMPTY_MAX && ++name->empties == EMPTY_MAX)
        gw_log(GW_LOG_WARNING, "discovery_empty", "name", name->config->name);
    if (round->has_any || name->empties == EMPTY_MAX)
        let_go(round);
    if (round->has_address || !round->has_any)
        name->is_first = false;
    return round->has_changed;
}
