/* SPDX-License-Identifier: MIT */
/* Where the values of options are: fields, lists, pools. */
#include "gateway/options_parse.h"

#include <string.h>

enum { LIST_FIRST = GW_KIND_LISTEN, LIST_LAST = GW_KIND_CERTIFICATE };

static const struct list {
    size_t count; /* its offset in gw_config, or in gw_pool_config */
    size_t max;
} lists[] = {
#define LIST(kind, type, count, max)                                           \
    [GW_KIND_##kind] = {offsetof(struct type, count), (max)}
    LIST(LISTEN, gw_config, listen_count, GW_LISTEN_COUNT_MAX),
    LIST(BACKEND, gw_config, backend_count, GW_BACKEND_COUNT_MAX),
    LIST(DISCOVER, gw_config, discover_count, GW_DISCOVER_COUNT_MAX),
    LIST(DNS_SERVER, gw_config, dns_server_count, GW_DNS_SERVER_COUNT_MAX),
    LIST(PATH, gw_pool_config, path_count, GW_PATH_COUNT_MAX),
    LIST(HOST, gw_pool_config, host_count, GW_HOST_COUNT_MAX),
    LIST(SOURCE, gw_config, source_count, GW_SOURCE_COUNT_MAX),
    LIST(NET, gw_config, trusted_count, GW_TRUSTED_COUNT_MAX),
    LIST(ORIGIN, gw_config, origin_count, GW_ORIGIN_COUNT_MAX),
    LIST(CERTIFICATE, gw_config, certificate_count, GW_CERTIFICATE_COUNT_MAX),
#undef LIST
};

/* The struct that holds the option's field. */
static char *base_of(struct gw_config *config, const struct gw_option *option,
                     size_t pool)
{
    return option->is_of_pool ? (char *)&config->pools[pool] : (char *)config;
}

static size_t *count_of(struct gw_config *config,
                        const struct gw_option *option, size_t pool)
{
    return (void *)(base_of(config, option, pool) + lists[option->kind].count);
}

const void *gw_option_field(const struct gw_option *option,
                            const struct gw_config *config, size_t pool)
{
    size_t skipped = option->is_of_pool ? pool : 0;

    return (const char *)config + option->offset +
           skipped * sizeof(config->pools[0]);
}

void *gw_option_field_of(const struct gw_reader *reader,
                         const struct gw_option *option)
{
    size_t skipped = option->is_of_pool ? reader->pool : 0;

    return (char *)reader->config + option->offset +
           skipped * sizeof(reader->config->pools[0]);
}

size_t gw_option_length(const struct gw_option *option,
                        const struct gw_config *config, size_t pool)
{
    const void *base = option->is_of_pool ? (const void *)&config->pools[pool]
                                          : (const void *)config;
    const char *at = (const char *)base + lists[option->kind].count;
    size_t count;

    memcpy(&count, at, sizeof(count));
    return count + (option->kind == GW_KIND_NET && config->trusts_unix);
}

bool gw_option_repeats(const struct gw_option *option)
{
    return (int)option->kind >= (int)LIST_FIRST &&
           (int)option->kind <= (int)LIST_LAST;
}

bool gw_option_is_for_pools(const struct gw_option *option)
{
    return option->is_of_pool || option->kind == GW_KIND_BACKEND ||
           option->kind == GW_KIND_DISCOVER;
}

int gw_option_make_room(struct gw_reader *reader,
                        const struct gw_option *option)
{
    size_t max = lists[option->kind].max;

    if (*count_of(reader->config, option, reader->pool) < max)
        return 0;
    return gw_option_fail(reader, option, "more than %zu are given", max);
}

bool gw_option_is_given(const struct gw_reader *reader,
                        const struct gw_option *option)
{
    size_t index = (size_t)(option - gw_option_table);

    if (reader->pool > 0)
        return reader->pool_given[reader->pool][index];
    return reader->given[index] == reader->origin &&
           reader->origin != GW_ORIGIN_DEFAULT;
}

/* Takes the first pool's out of a list that all pools share. */
static void drop_backends(struct gw_config *config)
{
    size_t kept = 0;

    for (size_t i = 0; i < config->backend_count; i++)
        if (config->backends[i].pool != 0)
            config->backends[kept++] = config->backends[i];
    memset(&config->backends[kept], 0,
           (config->backend_count - kept) * sizeof(config->backends[0]));
    config->backend_count = kept;
}

static void drop_discover(struct gw_config *config)
{
    size_t kept = 0;

    for (size_t i = 0; i < config->discover_count; i++)
        if (config->discover[i].backend.pool != 0)
            config->discover[kept++] = config->discover[i];
    memset(&config->discover[kept], 0,
           (config->discover_count - kept) * sizeof(config->discover[0]));
    config->discover_count = kept;
}

/* Nothing is left behind: equal configurations are equal bytes. */
static void empty_list(struct gw_config *config, const struct gw_option *option)
{
    if (option->kind == GW_KIND_BACKEND) {
        drop_backends(config);
        return;
    }
    if (option->kind == GW_KIND_DISCOVER) {
        drop_discover(config);
        return;
    }
    if (option->kind == GW_KIND_NET)
        config->trusts_unix = false;
    memset((char *)config + option->offset, 0, option->width);
    *count_of(config, option, 0) = 0;
}

int gw_option_begin(struct gw_reader *reader, const struct gw_option *option)
{
    size_t index = (size_t)(option - gw_option_table);
    bool repeats = gw_option_repeats(option);

    if (!repeats && gw_option_is_given(reader, option))
        return gw_option_fail(reader, option, "given more than once");
    if (reader->pool > 0) {
        reader->pool_given[reader->pool][index] = true;
        return 0;
    }
    if (repeats && reader->given[index] != reader->origin)
        empty_list(reader->config, option);
    reader->given[index] = reader->origin;
    return 0;
}

void gw_option_inherit(struct gw_config *config, const struct gw_option *option,
                       size_t pool)
{
    char *first = (char *)config + option->offset;
    size_t len = option->width;

    if (option->kind == GW_KIND_STATUS_RANGE)
        len *= 2;
    memcpy(first + pool * sizeof(config->pools[0]), first, len);
    if (gw_option_repeats(option))
        *count_of(config, option, pool) = *count_of(config, option, 0);
}
