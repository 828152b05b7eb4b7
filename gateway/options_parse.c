/* SPDX-License-Identifier: MIT */
/* One value's text, into its field. */
#include "gateway/options_parse.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first, so that the first one that divides a value is its unit. */
static const struct unit time_units[] = {
    {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {"", 1}, {NULL, 0},
};
static const struct unit size_units[] = {
    {"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}, {"", 1}, {NULL, 0},
};
static const struct unit count_units[] = {{"", 1}, {NULL, 0}};

static const struct unit *units_of(enum gw_option_kind kind)
{
    if (kind == GW_KIND_TIME)
        return time_units;
    return kind == GW_KIND_SIZE ? size_units : count_units;
}

void gw_quantity_text(enum gw_option_kind kind, uint64_t value, char out[32])
{
    const struct unit *unit = units_of(kind);

    while (value % unit->factor != 0)
        unit++;
    if (value == 0)
        snprintf(out, 32, "0");
    else
        snprintf(out, 32, "%llu%s", (unsigned long long)(value / unit->factor),
                 unit->name);
}

/* Digits up to a byte that is none; false where there are none or too many. */
static bool parse_digits(const char **text, uint64_t *out)
{
    const char *at = *text;
    uint64_t value = 0;

    if (!isdigit((unsigned char)*at))
        return false;
    for (; isdigit((unsigned char)*at); at++) {
        if (value > UINT64_MAX / 10 - 1)
            return false;
        value = value * 10 + (uint64_t)(*at - '0');
    }
    *text = at;
    *out = value;
    return true;
}

static bool parse_quantity(enum gw_option_kind kind, const char *text,
                           uint64_t *out)
{
    const struct unit *unit = units_of(kind);

    if (!parse_digits(&text, out))
        return false;
    while (unit->name != NULL && strcasecmp(unit->name, text) != 0)
        unit++;
    if (unit->name == NULL || *out > UINT64_MAX / unit->factor)
        return false;
    *out *= unit->factor;
    return true;
}

static void *field_of(const struct gw_reader *reader,
                      const struct gw_option *option)
{
    return (char *)reader->config + option->offset;
}

static void store_number(void *field, size_t width, uint64_t value)
{
    uint32_t narrow = (uint32_t)value;

    assert(width == sizeof(value) || width == sizeof(narrow));
    if (width == sizeof(value))
        memcpy(field, &value, sizeof(value));
    else
        memcpy(field, &narrow, sizeof(narrow));
}

uint64_t gw_option_number(const struct gw_option *option,
                          const struct gw_config *config)
{
    const char *field = (const char *)config + option->offset;
    uint64_t wide;
    uint32_t narrow;

    if (option->width == sizeof(wide)) {
        memcpy(&wide, field, sizeof(wide));
        return wide;
    }
    memcpy(&narrow, field, sizeof(narrow));
    return narrow;
}

static int set_quantity(struct gw_reader *reader,
                        const struct gw_option *option, const char *text)
{
    const char *what = option->kind == GW_KIND_TIME ? "a time such as 250ms, "
                                                      "10s or 2m"
                       : option->kind == GW_KIND_SIZE
                           ? "a size such as 512, 64k or 1m"
                           : "a whole number";
    char low[32];
    char high[32];
    uint64_t value;

    gw_quantity_text(option->kind, option->min, low);
    gw_quantity_text(option->kind, option->max, high);
    if (!parse_quantity(option->kind, text, &value))
        return gw_option_fail(reader, option, "%.64s is not %s, from %s to %s",
                              text, what, low, high);
    if (value < option->min || value > option->max)
        return gw_option_fail(reader, option, "%.64s is not between %s and %s",
                              text, low, high);
    store_number(field_of(reader, option), option->width, value);
    return 0;
}

bool gw_choice_word(const struct gw_option *option, size_t n, char out[32])
{
    const char *at = option->argument;
    size_t len;

    for (; n > 0; n--) {
        at = strchr(at, '|');
        if (at == NULL)
            return false;
        at++;
    }
    len = strcspn(at, "|");
    assert(len < 32);
    memcpy(out, at, len);
    out[len] = '\0';
    return true;
}

static int set_choice(struct gw_reader *reader, const struct gw_option *option,
                      const char *text)
{
    char word[32];

    for (size_t n = 0; gw_choice_word(option, n, word); n++) {
        if (strcmp(word, text) == 0) {
            store_number(field_of(reader, option), option->width, n);
            return 0;
        }
    }
    return gw_option_fail(reader, option, "%.64s is none of %s", text,
                          option->argument);
}

static int set_switch(struct gw_reader *reader, const struct gw_option *option,
                      const char *text)
{
    bool value = strcmp(text, "true") == 0;

    if (!value && strcmp(text, "false") != 0)
        return gw_option_fail(reader, option, "%.64s is neither true nor false",
                              text);
    memcpy(field_of(reader, option), &value, sizeof(value));
    return 0;
}

/* Nothing that is wrong with a URL may show the password in it: only
 * store_url_parse writes such lines. */
static int set_store(struct gw_reader *reader, const struct gw_option *option,
                     const char *text)
{
    struct gw_config *config = reader->config;
    char problem[STORE_URL_ERROR_MAX];
    size_t len = strlen(text);

    if (len >= sizeof(config->store_url))
        return gw_option_fail(reader, option, "the URL is over %zu bytes",
                              sizeof(config->store_url) - 1);
    if (store_url_parse(text, &config->store, problem) != 0)
        return gw_option_fail(reader, option, "%s", problem);
    memcpy(config->store_url, text, len + 1);
    return 0;
}

static bool has_only(const char *text, size_t len, const char *others)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && strchr(others, text[i]) == NULL)
            return false;
    return true;
}

/* Letters, digits and `others`, which `words` names for the error. */
static int set_word(struct gw_reader *reader, const struct gw_option *option,
                    const char *text, const char *others, const char *words)
{
    size_t len = strlen(text);

    if (len == 0 || len >= option->width || !has_only(text, len, others))
        return gw_option_fail(reader, option,
                              "%.80s is not 1 to %zu letters, digits, %s", text,
                              option->width - 1, words);
    memcpy(field_of(reader, option), text, len + 1);
    return 0;
}

static int set_name(struct gw_reader *reader, const struct gw_option *option,
                    const char *text)
{
    return set_word(reader, option, text, "._-", "'.', '_' or '-'");
}

static int set_prefix(struct gw_reader *reader, const struct gw_option *option,
                      const char *text)
{
    return set_word(reader, option, text, "._-:{}",
                    "'.', '_', '-', ':', '{' or '}'");
}

static int set_file(struct gw_reader *reader, const struct gw_option *option,
                    const char *text)
{
    size_t len = strlen(text);

    if (len >= option->width)
        return gw_option_fail(reader, option, "%.40s... is over %zu bytes",
                              text, option->width - 1);
    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)text[i]))
            return gw_option_fail(reader, option,
                                  "%s holds a control character", text);
    memcpy(field_of(reader, option), text, len + 1);
    return 0;
}

/* A host name, an IPv4 address or, bracketed or not, an IPv6 address. */
static int check_host(struct gw_reader *reader, const struct gw_option *option,
                      const char *host, size_t len)
{
    char inner[INET6_ADDRSTRLEN];
    struct in6_addr addr;

    if (len == 0)
        return gw_option_fail(reader, option, "the host is missing");
    if (host[0] != '[') {
        if (!has_only(host, len, "._-"))
            return gw_option_fail(reader, option,
                                  "%.*s is not a host name or address "
                                  "(IPv6 stands in brackets)",
                                  (int)len, host);
        return 0;
    }
    if (len - 2 < sizeof(inner)) {
        memcpy(inner, host + 1, len - 2);
        inner[len - 2] = '\0';
        if (inet_pton(AF_INET6, inner, &addr) == 1)
            return 0;
    }
    return gw_option_fail(reader, option, "%.*s is not an IPv6 address",
                          (int)len, host);
}

/* Checks the form of host:port and keeps its text; options_check.c resolves
 * it. */
static int parse_address(struct gw_reader *reader,
                         const struct gw_option *option, const char *text,
                         struct gw_address *out)
{
    const char *colon = strrchr(text, ':');
    const char *end;
    uint64_t port;

    if (strlen(text) >= sizeof(out->text))
        return gw_option_fail(reader, option, "%.40s... is too long", text);
    end = text[0] == '[' ? strchr(text, ']') : NULL;
    if (text[0] == '[' && (end == NULL || end[1] != ':'))
        return gw_option_fail(reader, option, "%s is not [address]:port", text);
    if (colon == NULL || (end != NULL && colon != end + 1))
        return gw_option_fail(reader, option, "%s is not host:port", text);
    if (check_host(reader, option, text, (size_t)(colon - text)) != 0)
        return -1;
    end = colon + 1;
    if (!parse_digits(&end, &port) || *end != '\0' || port < option->min ||
        port > option->max)
        return gw_option_fail(
            reader, option, "%s: the port is not between %llu and %llu", text,
            (unsigned long long)option->min, (unsigned long long)option->max);
    memcpy(out->text, text, strlen(text) + 1);
    return 0;
}

static int set_listen(struct gw_reader *reader, const struct gw_option *option,
                      const char *text)
{
    struct gw_config *config = reader->config;

    if (config->listen_count == GW_LISTEN_COUNT_MAX)
        return gw_option_fail(reader, option, "more than %d are given",
                              GW_LISTEN_COUNT_MAX);
    if (parse_address(reader, option, text,
                      &config->listen[config->listen_count]) != 0)
        return -1;
    config->listen_count++;
    return 0;
}

static int set_admin(struct gw_reader *reader, const struct gw_option *option,
                     const char *text)
{
    if (strcmp(text, "off") == 0) {
        memset(&reader->config->admin, 0, sizeof(reader->config->admin));
        return 0;
    }
    return parse_address(reader, option, text, &reader->config->admin);
}

/* Cuts ",weight=N" off the end of text. */
static int take_weight(struct gw_reader *reader, const struct gw_option *option,
                       char *text, uint32_t *weight)
{
    char *comma = strchr(text, ',');
    uint64_t value;
    const char *at;

    *weight = 1;
    if (comma == NULL)
        return 0;
    if (strncmp(comma, ",weight=", 8) != 0)
        return gw_option_fail(
            reader, option, "%s: only ,weight=N may follow the address", text);
    at = comma + 8;
    if (!parse_digits(&at, &value) || *at != '\0' || value < 1 || value > 256)
        return gw_option_fail(reader, option,
                              "%s: the weight is not between 1 and 256", text);
    *weight = (uint32_t)value;
    *comma = '\0';
    return 0;
}

static int set_backend(struct gw_reader *reader, const struct gw_option *option,
                       const char *text)
{
    struct gw_config *config = reader->config;
    struct gw_backend_config *backend;
    char copy[GW_BACKEND_ID_MAX + GW_ADDRESS_MAX + 16];
    char *address = copy;
    size_t len = strlen(text);
    size_t id_len;

    if (config->backend_count == GW_BACKEND_COUNT_MAX)
        return gw_option_fail(reader, option, "more than %d are given",
                              GW_BACKEND_COUNT_MAX);
    if (len >= sizeof(copy))
        return gw_option_fail(reader, option, "%.40s... is too long", text);
    memcpy(copy, text, len + 1);
    backend = &config->backends[config->backend_count];
    if (take_weight(reader, option, copy, &backend->weight) != 0)
        return -1;
    id_len = strcspn(copy, "=");
    if (copy[id_len] == '=')
        address = copy + id_len + 1;
    if (parse_address(reader, option, address, &backend->address) != 0)
        return -1;
    if (id_len == 0 || id_len >= sizeof(backend->id) ||
        !has_only(copy, id_len, "._:[]-"))
        return gw_option_fail(reader, option,
                              "%.*s: the id is not 1 to %d letters, digits, "
                              "'.', '_', ':', '[', ']' or '-'",
                              (int)id_len, copy, GW_BACKEND_ID_MAX - 1);
    memcpy(backend->id, copy, id_len);
    backend->id[id_len] = '\0';
    config->backend_count++;
    return 0;
}

static int set_path(struct gw_reader *reader, const struct gw_option *option,
                    const char *text)
{
    struct gw_config *config = reader->config;
    size_t len = strlen(text);

    if (config->path_count == GW_PATH_COUNT_MAX)
        return gw_option_fail(reader, option, "more than %d are given",
                              GW_PATH_COUNT_MAX);
    if (len >= GW_PATH_MAX)
        return gw_option_fail(reader, option, "%.40s... is over %d bytes", text,
                              GW_PATH_MAX - 1);
    if (text[0] != '/')
        return gw_option_fail(reader, option, "%s does not start with /", text);
    for (size_t i = 0; i < len; i++)
        if (!isgraph((unsigned char)text[i]) || text[i] == '?' ||
            text[i] == '#')
            return gw_option_fail(
                reader, option, "%s holds a character that no path has", text);
    memcpy(config->paths[config->path_count++], text, len + 1);
    return 0;
}

static int set_source(struct gw_reader *reader, const struct gw_option *option,
                      const char *text)
{
    struct gw_config *config = reader->config;
    struct in6_addr addr;
    size_t len = strlen(text);

    if (config->source_count == GW_SOURCE_COUNT_MAX)
        return gw_option_fail(reader, option, "more than %d are given",
                              GW_SOURCE_COUNT_MAX);
    if (len >= GW_ADDRESS_MAX)
        return gw_option_fail(reader, option, "%.40s... is too long", text);
    if (text[0] == '[' && text[len - 1] != ']')
        return gw_option_fail(reader, option, "%s is not an address", text);
    if (inet_pton(AF_INET6, text, &addr) != 1 &&
        check_host(reader, option, text, len) != 0)
        return -1;
    memcpy(config->sources[config->source_count++].text, text, len + 1);
    return 0;
}

int gw_option_begin(struct gw_reader *reader, const struct gw_option *option)
{
    enum gw_origin *given = &reader->given[option - gw_option_table];
    struct gw_config *config = reader->config;

    if (*given == reader->origin && reader->origin != GW_ORIGIN_DEFAULT &&
        !gw_option_repeats(option))
        return gw_option_fail(reader, option, "given more than once");
    if (*given != reader->origin) {
        config->listen_count *= option->kind != GW_KIND_LISTEN;
        config->backend_count *= option->kind != GW_KIND_BACKEND;
        config->path_count *= option->kind != GW_KIND_PATH;
        config->source_count *= option->kind != GW_KIND_SOURCE;
    }
    *given = reader->origin;
    return 0;
}

int gw_option_set(struct gw_reader *reader, const struct gw_option *option,
                  const char *text)
{
    typedef int (*set_fn)(struct gw_reader *, const struct gw_option *,
                          const char *);
    static const set_fn setters[] = {
        [GW_KIND_LISTEN] = set_listen, [GW_KIND_BACKEND] = set_backend,
        [GW_KIND_PATH] = set_path,     [GW_KIND_SOURCE] = set_source,
        [GW_KIND_ADMIN] = set_admin,   [GW_KIND_STORE] = set_store,
        [GW_KIND_NAME] = set_name,     [GW_KIND_CHOICE] = set_choice,
        [GW_KIND_SWITCH] = set_switch, [GW_KIND_COUNT] = set_quantity,
        [GW_KIND_SIZE] = set_quantity, [GW_KIND_TIME] = set_quantity,
        [GW_KIND_PREFIX] = set_prefix, [GW_KIND_FILE] = set_file,
    };

    return setters[option->kind](reader, option, text);
}
