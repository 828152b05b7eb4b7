/* SPDX-License-Identifier: MIT */
/* What pools do not say themselves, and what they say together. */
#include "gateway/options_parse.h"

#include <string.h>

static bool is_inherited(const struct gw_option *option)
{
    return option->is_of_pool && option->kind != GW_KIND_HOST &&
           option->kind != GW_KIND_PREFIX_PATH &&
           option->kind != GW_KIND_CANARY;
}

/* A request that is not Engine.IO's goes somewhere, unless it was said that it
 * shall not. */
static void fill_prefix(struct gw_config *config, size_t i, bool is_given)
{
    struct gw_pool_config *pool = &config->pools[i];

    if (!is_given && (i == 0 || pool->host_count > 0))
        snprintf(pool->prefix, sizeof(pool->prefix), "/");
}

static void fill_pool(struct gw_reader *reader, size_t pool)
{
    for (size_t i = 0; i < gw_option_count; i++)
        if (is_inherited(&gw_option_table[i]) && !reader->pool_given[pool][i])
            gw_option_inherit(reader->config, &gw_option_table[i], pool);
}

/* By pool, and within one as they were given: so the order of the file's keys
 * means nothing. */
static void sort_backends(struct gw_config *config)
{
    for (size_t i = 1; i < config->backend_count; i++) {
        const struct gw_backend_config one = config->backends[i];
        size_t at = i;

        for (; at > 0 && config->backends[at - 1].pool > one.pool; at--)
            config->backends[at] = config->backends[at - 1];
        config->backends[at] = one;
    }
}

static void sort_discover(struct gw_config *config)
{
    for (size_t i = 1; i < config->discover_count; i++) {
        const struct gw_discover_config one = config->discover[i];
        size_t at = i;

        for (;
             at > 0 && config->discover[at - 1].backend.pool > one.backend.pool;
             at--)
            config->discover[at] = config->discover[at - 1];
        config->discover[at] = one;
    }
}

void gw_options_fill(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;
    const struct gw_option *prefix = gw_option_find("prefix", '-');
    size_t index = (size_t)(prefix - gw_option_table);

    fill_prefix(config, 0, reader->given[index] != GW_ORIGIN_DEFAULT);
    for (size_t i = 1; i < config->pool_count; i++) {
        fill_pool(reader, i);
        fill_prefix(config, i, reader->pool_given[i][index]);
    }
    sort_backends(config);
    sort_discover(config);
}

/* ---- checks ---- */

static int check_hosts(struct gw_reader *reader, size_t index)
{
    const struct gw_pool_config *pool = &reader->config->pools[index];

    for (size_t i = 0; i < pool->host_count; i++)
        for (size_t j = i + 1; j < pool->host_count; j++)
            if (strcmp(pool->hosts[i], pool->hosts[j]) == 0)
                return gw_option_fail(
                    reader, gw_option_blame_pool(reader, "host", index),
                    "%s is given twice", pool->hosts[i]);
    return 0;
}

static int check_paths(struct gw_reader *reader, size_t index)
{
    const struct gw_pool_config *pool = &reader->config->pools[index];

    if (pool->path_count == 0)
        return gw_option_fail(reader,
                              gw_option_blame_pool(reader, "path", index),
                              "at least one is needed");
    for (size_t i = 0; i < pool->path_count; i++)
        for (size_t j = i + 1; j < pool->path_count; j++)
            if (strcmp(pool->paths[i], pool->paths[j]) == 0)
                return gw_option_fail(
                    reader, gw_option_blame_pool(reader, "path", index),
                    "%s is given twice", pool->paths[i]);
    return 0;
}

static bool has_backends(const struct gw_config *config, size_t pool)
{
    for (size_t i = 0; i < config->backend_count; i++)
        if (config->backends[i].pool == pool)
            return true;
    for (size_t i = 0; i < config->discover_count; i++)
        if (config->discover[i].backend.pool == pool)
            return true;
    return false;
}

static int check_members(struct gw_reader *reader, size_t index)
{
    const struct gw_config *config = reader->config;
    const struct gw_option *option;

    if (has_backends(config, index) || (index == 0 && config->pool_count > 1))
        return 0;
    option = gw_option_blame_pool(reader, "backend", index);
    if (index == 0)
        return gw_option_fail(reader, option,
                              "none is given; give at least one, as in "
                              "--backend 127.0.0.1:3001, or a name to "
                              "--discover");
    return gw_option_fail(reader, option,
                          "none is given; give at least one, or a name to "
                          "discover");
}

static int check_health(struct gw_reader *reader, size_t index)
{
    const struct gw_pool_config *pool = &reader->config->pools[index];
    char timeout[32];
    char interval[32];

    if (pool->health_timeout_ms <= pool->health_interval_ms)
        return 0;
    gw_quantity_text(GW_KIND_TIME, pool->health_timeout_ms, timeout);
    gw_quantity_text(GW_KIND_TIME, pool->health_interval_ms, interval);
    return gw_option_fail(
        reader, gw_option_blame_pool(reader, "health-timeout", index),
        "%s is more than --health-interval, which is %s", timeout, interval);
}

/* The number of pools where there is none. */
static size_t find_pool(const struct gw_config *config, const char *name)
{
    size_t i = 0;

    while (i < config->pool_count && strcmp(config->pools[i].name, name) != 0)
        i++;
    return i;
}

static int check_canary(struct gw_reader *reader, size_t index)
{
    struct gw_config *config = reader->config;
    struct gw_canary *canary = &config->pools[index].canary;
    size_t target;

    if (canary->pool[0] == '\0')
        return 0;
    target = find_pool(config, canary->pool);
    if (target == config->pool_count)
        return gw_option_fail(reader,
                              gw_option_blame_pool(reader, "canary", index),
                              "there is no pool %s", canary->pool);
    if (target == index)
        return gw_option_fail(reader,
                              gw_option_blame_pool(reader, "canary", index),
                              "%s is this pool itself", canary->pool);
    if (config->pools[target].canary.pool[0] != '\0')
        return gw_option_fail(reader,
                              gw_option_blame_pool(reader, "canary", index),
                              "the pool %s has a canary itself", canary->pool);
    canary->index = (uint8_t)target;
    return 0;
}

/* Whether some pool gives it handshakes: then no request need ever be its own.
 */
static bool is_canary(const struct gw_config *config, size_t pool)
{
    for (size_t i = 0; i < config->pool_count; i++)
        if (config->pools[i].canary.pool[0] != '\0' &&
            config->pools[i].canary.index == pool)
            return true;
    return false;
}

/* A host that both have; "*" where both have every one, NULL where there is
 * none. */
static const char *common_host(const struct gw_pool_config *a,
                               const struct gw_pool_config *b)
{
    if (a->host_count == 0 && b->host_count == 0)
        return "*";
    for (size_t i = 0; i < a->host_count; i++)
        for (size_t j = 0; j < b->host_count; j++)
            if (strcmp(a->hosts[i], b->hosts[j]) == 0)
                return a->hosts[i];
    return NULL;
}

/* A path that both have, or the same prefix. Only "/" may be the prefix of
 * several, since it is mostly not written; the first pool of them has it. */
static const char *common_path(const struct gw_pool_config *a,
                               const struct gw_pool_config *b)
{
    for (size_t i = 0; i < a->path_count; i++)
        for (size_t j = 0; j < b->path_count; j++)
            if (strcmp(a->paths[i], b->paths[j]) == 0)
                return a->paths[i];
    if (strlen(a->prefix) > 1 && strcmp(a->prefix, b->prefix) == 0)
        return a->prefix;
    return NULL;
}

/* Of two pools that match alike, the first gets all requests. */
static int check_pair(struct gw_reader *reader, size_t first, size_t second)
{
    const struct gw_pool_config *a = &reader->config->pools[first];
    const struct gw_pool_config *b = &reader->config->pools[second];
    const char *host = common_host(a, b);
    const char *path = host == NULL ? NULL : common_path(a, b);
    bool is_any = host != NULL && strcmp(host, "*") == 0;

    if (path == NULL || is_canary(reader->config, second))
        return 0;
    return gw_option_fail(reader, gw_option_blame_pool(reader, "path", second),
                          "the pools %s and %s both have %s for %s%s", a->name,
                          b->name, path, is_any ? "every host" : "the host ",
                          is_any ? "" : host);
}

int gw_options_check_pools(struct gw_reader *reader)
{
    size_t count = reader->config->pool_count;

    for (size_t i = 0; i < count; i++)
        if (check_members(reader, i) != 0 || check_hosts(reader, i) != 0 ||
            check_paths(reader, i) != 0 || check_health(reader, i) != 0 ||
            check_canary(reader, i) != 0)
            return -1;
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count; j++)
            if (check_pair(reader, i, j) != 0)
                return -1;
    return 0;
}
