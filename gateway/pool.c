/* SPDX-License-Identifier: MIT */
/* Which pool a request is for. */
#include "gateway/pool.h"
#include "gateway/grammar.h"

#include <string.h>

/* Takes the next decoded byte off a path that is not empty; a broken escape
 * stands for itself. */
static char take_decoded(struct eio_span *path)
{
    const char *at = path->ptr;
    int high = path->len > 2 && at[0] == '%' ? gw_hex_digit(at[1]) : -1;
    int low = high >= 0 ? gw_hex_digit(at[2]) : -1;
    size_t taken = low >= 0 ? 3 : 1;
    path->ptr += taken;
    path->len -= taken;
    if (low < 0)
        return at[0];
    return (char)(high << 4 | low);
}

static bool begins_decoded(struct eio_span path, const char *prefix)
{
    for (; *prefix != '\0'; prefix++)
        if (path.len == 0 || take_decoded(&path) != *prefix)
            return false;
    return true;
}

/* By prefix, as the servers do it, of which some decode the path before. */
static bool begins(struct eio_span path, const char *prefix)
{
    size_t len = strlen(prefix);
    return (path.len >= len && memcmp(path.ptr, prefix, len) == 0) ||
           begins_decoded(path, prefix);
}

/* The length of the pool's path that this one is below; 0: none. */
static size_t match_eio(const struct gw_pool_config *pool, struct eio_span path)
{
    size_t longest = 0;
    for (size_t i = 0; i < pool->path_count; i++) {
        size_t len = strlen(pool->paths[i]);
        if (len > longest && begins(path, pool->paths[i]))
            longest = len;
    }
    return longest;
}

bool gw_pool_is_eio(const struct gw_config *config, struct eio_span path)
{
    for (size_t i = 0; i < config->pool_count; i++)
        if (match_eio(&config->pools[i], path) > 0)
            return true;
    return false;
}

/* ---- pools ---- */

static struct eio_span without_port(struct eio_span host)
{
    size_t end = host.len;
    while (end > 0 && host.ptr[end - 1] >= '0' && host.ptr[end - 1] <= '9')
        end--;
    if (end > 0 && host.ptr[end - 1] == ':')
        host.len = end - 1;
    /* "example.com." is the same host. */
    if (host.len > 0 && host.ptr[host.len - 1] == '.')
        host.len--;
    return host;
}

static bool is_host(struct eio_span host, const char *wanted)
{
    size_t len = strlen(wanted);
    if (wanted[0] == '*') {
        wanted++;
        len--;
        if (host.len <= len)
            return false;
        host.ptr += host.len - len;
        host.len = len;
    }
    return gw_span_equal_nocase(host, (struct eio_span){wanted, len});
}

/* 0: not this pool's host; 1: every host is; the more exact, the more. */
static size_t match_host(const struct gw_pool_config *pool,
                         struct eio_span host)
{
    size_t best = pool->host_count == 0;
    for (size_t i = 0; i < pool->host_count; i++) {
        size_t len = strlen(pool->hosts[i]);
        size_t rank = pool->hosts[i][0] == '*' ? 1 + len : 2 * GW_HOST_MAX;
        if (rank > best && is_host(host, pool->hosts[i]))
            best = rank;
    }
    return best;
}

struct match {
    size_t host;
    size_t path;
    bool is_eio;
};

static bool match_pool(const struct gw_pool_config *pool, struct eio_span host,
                       struct eio_span path, struct match *match)
{
    match->host = match_host(pool, host);
    match->path = match_eio(pool, path);
    match->is_eio = match->path > 0;
    if (!match->is_eio && pool->prefix[0] != '\0' && begins(path, pool->prefix))
        match->path = strlen(pool->prefix);
    return match->host > 0 && match->path > 0;
}

static bool find_pool(const struct gw_config *config,
                      const struct gw_head *head, bool is_removed,
                      uint8_t *pool, bool *is_eio)
{
    struct eio_span host = without_port(head->host);
    struct match best = {0};
    for (size_t i = 0; i < config->pool_count; i++) {
        struct match match;
        if (config->pools[i].is_removed != is_removed ||
            !match_pool(&config->pools[i], host, head->path, &match) ||
            match.host < best.host ||
            (match.host == best.host && match.path <= best.path))
            continue;
        best = match;
        *pool = (uint8_t)i;
    }
    *is_eio = best.is_eio;
    return best.host > 0;
}

bool gw_pool_find(const struct gw_config *config, const struct gw_head *head,
                  uint8_t *pool, bool *is_eio)
{
    /* One that a reload has removed still has its last sessions. */
    return find_pool(config, head, false, pool, is_eio) ||
           find_pool(config, head, true, pool, is_eio);
}

bool gw_pool_has(const struct gw_config *config, uint8_t pool,
                 const struct gw_backend *backend)
{
    const struct gw_canary *canary = &config->pools[pool].canary;
    uint8_t other = backend->config->pool;
    return other == pool ||
           (canary->pool[0] != '\0' && other == canary->index) ||
           ((config->pools[pool].admits >> other) & 1) != 0;
}

/* ---- canary ---- */

static bool has_value(const struct gw_head *head, const char *name,
                      const char *value)
{
    struct eio_span wanted = eio_span_of(name);
    for (size_t i = 0; i < head->field_count; i++)
        if (gw_span_equal_nocase(head->fields[i].name, wanted) &&
            gw_span_equal(head->fields[i].value, eio_span_of(value)))
            return true;
    return false;
}

uint8_t gw_pool_target(const struct gw_config *config, uint8_t pool,
                       const struct gw_head *head, uint32_t chance)
{
    const struct gw_canary *canary = &config->pools[pool].canary;
    if (canary->pool[0] == '\0')
        return pool;
    if (canary->header[0] != '\0' &&
        has_value(head, canary->header, canary->value))
        return canary->index;
    return chance % 100 < canary->percent ? canary->index : pool;
}

/* ---- another configuration ---- */

_Static_assert((int)GW_POOL_COUNT_MAX <= 16, "a bit of `admits` for each");

/* Whether `all` is "*." and something, and `host` is below or the same. */
static bool is_below(const char *host, const char *all)
{
    size_t len = strlen(host);
    size_t tail = strlen(all) - 1;
    return all[0] == '*' && len >= tail &&
           strcmp(host + len - tail, all + 1) == 0;
}

static bool share_host(const struct gw_pool_config *a,
                       const struct gw_pool_config *b)
{
    if (a->host_count == 0 || b->host_count == 0)
        return true;
    for (size_t i = 0; i < a->host_count; i++)
        for (size_t j = 0; j < b->host_count; j++)
            if (strcmp(a->hosts[i], b->hosts[j]) == 0 ||
                is_below(a->hosts[i], b->hosts[j]) ||
                is_below(b->hosts[j], a->hosts[i]))
                return true;
    return false;
}

static bool share_path(const struct gw_pool_config *a,
                       const struct gw_pool_config *b)
{
    for (size_t i = 0; i < a->path_count; i++)
        for (size_t j = 0; j < b->path_count; j++) {
            size_t len = strlen(a->paths[i]);
            size_t other = strlen(b->paths[j]);
            if (strncmp(a->paths[i], b->paths[j], len < other ? len : other) ==
                0)
                return true;
        }
    return false;
}

bool gw_pools_meet(const struct gw_pool_config *a,
                   const struct gw_pool_config *b)
{
    return share_host(a, b) && share_path(a, b);
}

/* With its end, so that "a", "b" is not "ab". */
static uint64_t add_text(uint64_t hash, const char *text)
{
    size_t len = strlen(text) + 1;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * 1099511628211ULL;
    return hash;
}

uint64_t gw_pool_route_hash(const struct gw_pool_config *pool)
{
    uint64_t hash = add_text(14695981039346656037ULL, pool->name);
    hash = add_text(hash, pool->is_removed ? "removed" : "");
    for (size_t i = 0; i < pool->host_count; i++)
        hash = add_text(hash, pool->hosts[i]);
    hash = add_text(hash, "/");
    for (size_t i = 0; i < pool->path_count; i++)
        hash = add_text(hash, pool->paths[i]);
    return hash;
}

static bool is_same_route(const struct gw_pool_config *a,
                          const struct gw_pool_config *b)
{
    return gw_pool_route_hash(a) == gw_pool_route_hash(b);
}

/* Whose sessions its clients may have had besides its own. */
static unsigned others_of(const struct gw_pool_config *pool)
{
    const struct gw_canary *canary = &pool->canary;
    return pool->admits | (canary->pool[0] != '\0' ? 1U << canary->index : 0);
}

void gw_pools_admit(struct gw_config *config,
                    const struct gw_pool_config was[GW_POOL_COUNT_MAX])
{
    unsigned kept = 0;
    for (size_t i = 0; i < config->pool_count; i++)
        if (strcmp(was[i].name, config->pools[i].name) == 0)
            kept |= 1U << i;
    for (size_t i = 0; i < config->pool_count; i++) {
        struct gw_pool_config *pool = &config->pools[i];
        bool is_other = !is_same_route(&was[i], pool);
        unsigned bits = ((kept >> i) & 1) != 0 ? others_of(&was[i]) : 0;
        for (size_t j = 0; j < GW_POOL_COUNT_MAX; j++)
            if (was[j].name[0] != '\0' && j != i &&
                (is_other || !is_same_route(&was[j], &config->pools[j])) &&
                gw_pools_meet(&was[j], pool))
                bits |= 1U << j | others_of(&was[j]);
        pool->admits = (uint16_t)(bits & kept & ~(1U << i));
    }
}
