/* SPDX-License-Identifier: MIT */
/* Values that say which requests are a pool's, where its handshakes go and how
 * its health is checked. */
#include "gateway/grammar.h"
#include "gateway/options_parse.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <string.h>

static_assert(offsetof(struct gw_pool_config, health_status_max) ==
                  offsetof(struct gw_pool_config, health_status_min) +
                      sizeof(uint32_t),
              "a range of statuses is two numbers side by side");

static struct gw_pool_config *pool_of(const struct gw_reader *reader)
{
    return &reader->config->pools[reader->pool];
}

/* Visible ASCII without `others`, from '/' on. */
static int check_path(struct gw_reader *reader, const struct gw_option *option,
                      const char *text, const char *others)
{
    size_t len = strlen(text);

    if (len >= GW_PATH_MAX)
        return gw_option_fail(reader, option, "%.40s... is over %d bytes", text,
                              GW_PATH_MAX - 1);
    if (text[0] != '/')
        return gw_option_fail(reader, option, "%s does not start with /", text);
    for (size_t i = 0; i < len; i++)
        if (!isgraph((unsigned char)text[i]) || strchr(others, text[i]) != NULL)
            return gw_option_fail(
                reader, option, "%s holds a character that no path has", text);
    return 0;
}

int gw_option_set_path(struct gw_reader *reader, const struct gw_option *option,
                       const char *text)
{
    struct gw_pool_config *pool = pool_of(reader);

    if (check_path(reader, option, text, "?#") != 0)
        return -1;
    memcpy(pool->paths[pool->path_count++], text, strlen(text) + 1);
    return 0;
}

int gw_option_set_prefix_path(struct gw_reader *reader,
                              const struct gw_option *option, const char *text)
{
    if (*text != '\0' && check_path(reader, option, text, "?#") != 0)
        return -1;
    memset(gw_option_field_of(reader, option), 0, option->width);
    memcpy(gw_option_field_of(reader, option), text, strlen(text) + 1);
    return 0;
}

int gw_option_set_path_query(struct gw_reader *reader,
                             const struct gw_option *option, const char *text)
{
    if (check_path(reader, option, text, "#") != 0)
        return -1;
    memset(gw_option_field_of(reader, option), 0, option->width);
    memcpy(gw_option_field_of(reader, option), text, strlen(text) + 1);
    return 0;
}

/* A bracketed IPv6 address has many spellings; clients send the shortest. */
static bool host_address(const char *text, size_t len, char out[GW_HOST_MAX])
{
    char inner[INET6_ADDRSTRLEN];
    struct in6_addr addr;

    if (len < 2 || text[0] != '[' || text[len - 1] != ']' ||
        len - 2 >= sizeof(inner))
        return false;
    memcpy(inner, text + 1, len - 2);
    inner[len - 2] = '\0';
    if (inet_pton(AF_INET6, inner, &addr) != 1 ||
        inet_ntop(AF_INET6, &addr, inner, sizeof(inner)) == NULL)
        return false;
    snprintf(out, GW_HOST_MAX, "[%s]", inner);
    return true;
}

int gw_option_set_host(struct gw_reader *reader, const struct gw_option *option,
                       const char *text)
{
    struct gw_pool_config *pool = pool_of(reader);
    char *host = pool->hosts[pool->host_count];
    size_t skipped = strncmp(text, "*.", 2) == 0 ? 2 : 0;
    size_t len = strlen(text);

    if (!gw_option_is_name(text + skipped, len - skipped) &&
        !host_address(text, len, host))
        return gw_option_fail(reader, option,
                              "%.80s is not a host such as example.com or "
                              "*.example.com, without a port",
                              text);
    if (text[0] != '[')
        gw_option_lower(text, len, host);
    pool->host_count++;
    return 0;
}

static bool is_token(const char *text)
{
    for (; *text != '\0'; text++)
        if (!gw_is_token_char(*text))
            return false;
    return true;
}

/* Any that can stand in a query, as it is written there. */
static bool is_parameter(const char *text)
{
    for (; *text != '\0'; text++)
        if (!isgraph((unsigned char)*text) || strchr("&=#", *text) != NULL)
            return false;
    return true;
}

const char *const gw_hash_sources[] = {
    [GW_HASH_ADDRESS] = "address",
    [GW_HASH_HEADER] = "header:",
    [GW_HASH_COOKIE] = "cookie:",
    [GW_HASH_QUERY] = "query:",
};

/* "header:name" and the like; false for anything else. */
static bool parse_hash_key(const char *text, struct gw_hash_key *key)
{
    for (int source = GW_HASH_HEADER; source <= GW_HASH_QUERY; source++) {
        const char *start = gw_hash_sources[source];
        const char *name = text + strlen(start);
        size_t len;

        if (strncmp(text, start, strlen(start)) != 0)
            continue;
        len = strlen(name);
        key->source = (enum gw_hash_source)source;
        if (len == 0 || len >= sizeof(key->name) ||
            !(source == GW_HASH_QUERY ? is_parameter(name) : is_token(name)))
            return false;
        if (source == GW_HASH_HEADER)
            gw_option_lower(name, len, key->name);
        else
            memcpy(key->name, name, len + 1);
        return true;
    }
    return strcmp(text, gw_hash_sources[GW_HASH_ADDRESS]) == 0;
}

int gw_option_set_hash_key(struct gw_reader *reader,
                           const struct gw_option *option, const char *text)
{
    struct gw_hash_key *key = gw_option_field_of(reader, option);

    memset(key, 0, sizeof(*key));
    if (!parse_hash_key(text, key))
        return gw_option_fail(reader, option,
                              "%.80s is none of %s with a name of 1 to %d "
                              "characters that it can have",
                              text, option->argument, GW_FIELD_MAX - 1);
    return 0;
}

enum { CANARY_PERCENT, CANARY_HEADER };

static const struct gw_part canary_parts[] = {
    [CANARY_PERCENT] = {.name = "percent", .takes = GW_PART_VALUE},
    [CANARY_HEADER] = {.name = "header", .takes = GW_PART_VALUE},
    {.name = NULL},
};

/* name:value, both of which have bytes; a value has no commas, since they
 * stand between parts. */
static bool parse_header(const char *text, struct gw_canary *canary)
{
    size_t name_len = strcspn(text, ":");
    const char *value = text + name_len + 1;
    size_t len;

    if (name_len == 0 || name_len >= sizeof(canary->header) ||
        text[name_len] == '\0')
        return false;
    gw_option_lower(text, name_len, canary->header);
    if (!is_token(canary->header))
        return false;
    len = strlen(value);
    if (len == 0 || len >= sizeof(canary->value) || value[0] == ' ' ||
        value[len - 1] == ' ')
        return false;
    for (size_t i = 0; i < len; i++)
        if (value[i] < ' ' || value[i] > '~')
            return false;
    memcpy(canary->value, value, len + 1);
    return true;
}

static int set_canary_parts(struct gw_reader *reader,
                            const struct gw_option *option, const char *text,
                            const struct gw_part *parts,
                            struct gw_canary *canary)
{
    const struct gw_part *percent = &parts[CANARY_PERCENT];
    const struct gw_part *header = &parts[CANARY_HEADER];
    const char *at = percent->value;
    uint64_t share = 0;

    if (!percent->is_given && !header->is_given)
        return gw_option_fail(reader, option,
                              "%.150s: percent or header is missing", text);
    if (percent->is_given &&
        (!gw_option_digits(&at, &share) || *at != '\0' || share > 100))
        return gw_option_fail(reader, option,
                              "%.150s: percent is not between 0 and 100", text);
    canary->percent = (uint32_t)share;
    if (header->is_given && !parse_header(header->value, canary))
        return gw_option_fail(reader, option,
                              "%.150s: header is not name:value, each of 1 to "
                              "%d characters",
                              text, GW_FIELD_MAX - 1);
    return 0;
}

int gw_option_set_canary(struct gw_reader *reader,
                         const struct gw_option *option, const char *text)
{
    struct gw_canary *canary = gw_option_field_of(reader, option);
    struct gw_part parts[sizeof(canary_parts) / sizeof(canary_parts[0])];
    char copy[GW_OPTION_TEXT_MAX];
    size_t len;

    memset(canary, 0, sizeof(*canary));
    if (*text == '\0')
        return 0;
    memcpy(parts, canary_parts, sizeof(parts));
    if (gw_option_split(reader, option, text, copy, parts) != 0)
        return -1;
    len = strlen(copy);
    if (!gw_option_is_pool_name(copy))
        return gw_option_fail(reader, option,
                              "%.150s: the pool's name is not 1 to %d letters, "
                              "digits, '.', '_' or '-'",
                              text, GW_POOL_NAME_MAX - 1);
    memcpy(canary->pool, copy, len + 1);
    return set_canary_parts(reader, option, text, parts, canary);
}

bool gw_option_is_pool_name(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len < GW_POOL_NAME_MAX &&
           gw_option_has_only(text, len, "._-");
}

int gw_option_set_status_range(struct gw_reader *reader,
                               const struct gw_option *option, const char *text)
{
    uint32_t *status = gw_option_field_of(reader, option);
    const char *at = text;
    uint64_t low = 0;
    uint64_t high;
    bool is_good = gw_option_digits(&at, &low);

    high = low;
    if (is_good && *at == '-') {
        at++;
        is_good = gw_option_digits(&at, &high);
    }
    if (!is_good || *at != '\0' || low < option->min || high > option->max ||
        low > high)
        return gw_option_fail(reader, option,
                              "%.64s is not a status or a range of them such "
                              "as 200-399, from %llu to %llu",
                              text, (unsigned long long)option->min,
                              (unsigned long long)option->max);
    status[0] = (uint32_t)low;
    status[1] = (uint32_t)high;
    return 0;
}
