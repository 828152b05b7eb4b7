/* SPDX-License-Identifier: MIT */
/* One value's text, into its field. */
#include "gateway/options_parse.h"

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

bool gw_option_digits(const char **text, uint64_t *out)
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

    if (!gw_option_digits(&text, out))
        return false;
    while (unit->name != NULL && strcasecmp(unit->name, text) != 0)
        unit++;
    if (unit->name == NULL || *out > UINT64_MAX / unit->factor)
        return false;
    *out *= unit->factor;
    return true;
}

bool gw_options_parse_time(const char *text, int64_t *ms)
{
    uint64_t value;

    if (!parse_quantity(GW_KIND_TIME, text, &value) || value > INT64_MAX)
        return false;
    *ms = (int64_t)value;
    return true;
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
                          const struct gw_config *config, size_t pool)
{
    const void *field = gw_option_field(option, config, pool);
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
    store_number(gw_option_field_of(reader, option), option->width, value);
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
            store_number(gw_option_field_of(reader, option), option->width, n);
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
    memcpy(gw_option_field_of(reader, option), &value, sizeof(value));
    return 0;
}

void gw_option_lower(const char *text, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
    out[len] = '\0';
}

bool gw_option_has_only(const char *text, size_t len, const char *others)
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

    if (len == 0 || len >= option->width ||
        !gw_option_has_only(text, len, others))
        return gw_option_fail(reader, option,
                              "%.80s is not 1 to %zu letters, digits, %s", text,
                              option->width - 1, words);
    memcpy(gw_option_field_of(reader, option), text, len + 1);
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

int gw_option_check_file(struct gw_reader *reader,
                         const struct gw_option *option, const char *name,
                         size_t size)
{
    size_t len = strlen(name);

    if (len >= size)
        return gw_option_fail(reader, option, "%.40s... is over %zu bytes",
                              name, size - 1);
    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)name[i]))
            return gw_option_fail(reader, option,
                                  "%s holds a control character", name);
    return 0;
}

static int set_file(struct gw_reader *reader, const struct gw_option *option,
                    const char *text)
{
    if (gw_option_check_file(reader, option, text, option->width) != 0)
        return -1;
    memcpy(gw_option_field_of(reader, option), text, strlen(text) + 1);
    return 0;
}

static int set_text(struct gw_reader *reader, const struct gw_option *option,
                    const char *text)
{
    size_t len = strlen(text);

    if (len >= option->width)
        return gw_option_fail(reader, option, "%.40s... is over %zu bytes",
                              text, option->width - 1);
    for (size_t i = 0; i < len; i++)
        if (text[i] < ' ' || text[i] > '~')
            return gw_option_fail(reader, option,
                                  "%.200s is not printable ASCII", text);
    memcpy(gw_option_field_of(reader, option), text, len + 1);
    return 0;
}

/* Which of the parts this word is, its value cut off; NULL for none. */
static struct gw_part *find_part(struct gw_part *parts, char *word)
{
    char *value = strchr(word, '=');

    if (value != NULL)
        *value++ = '\0';
    while (parts->name != NULL && strcmp(parts->name, word) != 0)
        parts++;
    if (parts->name == NULL)
        return NULL;
    if (!parts->is_given)
        parts->value = value;
    return parts;
}

int gw_option_split(struct gw_reader *reader, const struct gw_option *option,
                    const char *text, char copy[GW_OPTION_TEXT_MAX],
                    struct gw_part *parts)
{
    size_t len = strlen(text);
    char *rest = copy;
    char *word;

    if (len >= GW_OPTION_TEXT_MAX)
        return gw_option_fail(reader, option, "%.40s... is too long", text);
    memcpy(copy, text, len + 1);
    strsep(&rest, ",");
    while ((word = strsep(&rest, ",")) != NULL) {
        struct gw_part *part = find_part(parts, word);

        if (part == NULL)
            return gw_option_fail(reader, option,
                                  "%.150s: %.40s is no part of %s", text, word,
                                  option->argument);
        if (part->is_given)
            return gw_option_fail(reader, option, "%.150s: %s is given twice",
                                  text, word);
        part->is_given = true;
        if (part->takes == GW_PART_FLAG && part->value != NULL)
            return gw_option_fail(reader, option, "%.150s: %s takes no value",
                                  text, word);
        if (part->takes == GW_PART_VALUE &&
            (part->value == NULL || *part->value == '\0'))
            return gw_option_fail(reader, option, "%.150s: %s needs a value",
                                  text, word);
    }
    return 0;
}

int gw_option_set(struct gw_reader *reader, const struct gw_option *option,
                  const char *text)
{
    typedef int (*set_fn)(struct gw_reader *, const struct gw_option *,
                          const char *);
    static const set_fn setters[] = {
        [GW_KIND_LISTEN] = gw_option_set_listen,
        [GW_KIND_BACKEND] = gw_option_set_backend,
        [GW_KIND_DISCOVER] = gw_option_set_discover,
        [GW_KIND_DNS_SERVER] = gw_option_set_dns_server,
        [GW_KIND_PATH] = gw_option_set_path,
        [GW_KIND_HOST] = gw_option_set_host,
        [GW_KIND_SOURCE] = gw_option_set_source,
        [GW_KIND_NET] = gw_option_set_net,
        [GW_KIND_ORIGIN] = gw_option_set_origin,
        [GW_KIND_CERTIFICATE] = gw_option_set_certificate,
        [GW_KIND_ADMIN] = gw_option_set_admin,
        [GW_KIND_PAIR] = gw_option_set_pair,
        [GW_KIND_USER] = gw_option_set_user,
        [GW_KIND_PREFIX_PATH] = gw_option_set_prefix_path,
        [GW_KIND_PATH_QUERY] = gw_option_set_path_query,
        [GW_KIND_HASH_KEY] = gw_option_set_hash_key,
        [GW_KIND_CANARY] = gw_option_set_canary,
        [GW_KIND_STATUS_RANGE] = gw_option_set_status_range,
        [GW_KIND_TEXT] = set_text,
        [GW_KIND_TLS_NAME] = gw_option_set_tls_name,
        [GW_KIND_STORE] = gw_option_set_store,
        [GW_KIND_NAME] = set_name,
        [GW_KIND_CHOICE] = set_choice,
        [GW_KIND_SWITCH] = set_switch,
        [GW_KIND_COUNT] = set_quantity,
        [GW_KIND_SIZE] = set_quantity,
        [GW_KIND_TIME] = set_quantity,
        [GW_KIND_PREFIX] = set_prefix,
        [GW_KIND_FILE] = set_file,
    };

    if (gw_option_repeats(option) && gw_option_make_room(reader, option) != 0)
        return -1;
    return setters[option->kind](reader, option, text);
}
