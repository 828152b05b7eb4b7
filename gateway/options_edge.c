/* SPDX-License-Identifier: MIT */
/* Values that say who clients are, which certificates serve them and as whom
 * sidgate runs. */
#include "gateway/options_parse.h"
#include "gateway/origin.h"

#include <string.h>

int gw_option_set_net(struct gw_reader *reader, const struct gw_option *option,
                      const char *text)
{
    struct gw_config *config = reader->config;
    struct gw_net *net = &config->trusted[config->trusted_count];

    if (strcmp(text, "unix") == 0) {
        config->trusts_unix = true;
        return 0;
    }
    memset(net, 0, sizeof(*net));
    if (!gw_net_parse(text, net))
        return gw_option_fail(reader, option,
                              "%.80s is not unix, an address or a network such "
                              "as 10.0.0.0/8, with no bits behind its length",
                              text);
    config->trusted_count++;
    return 0;
}

int gw_option_set_origin(struct gw_reader *reader,
                         const struct gw_option *option, const char *text)
{
    struct gw_config *config = reader->config;
    char *origin = config->origins[config->origin_count];

    memset(origin, 0, GW_ORIGIN_MAX);
    if (!gw_origin_normal(text, origin))
        return gw_option_fail(reader, option,
                              "%.80s is not an origin such as "
                              "https://example.com or https://*.example.com",
                              text);
    config->origin_count++;
    return 0;
}

enum { FILE_KEY, FILE_OCSP };

static const struct gw_part file_parts[] = {
    [FILE_KEY] = {.name = "key", .takes = GW_PART_VALUE},
    [FILE_OCSP] = {.name = "ocsp", .takes = GW_PART_VALUE},
    {.name = NULL},
};

/* NULL leaves the field empty. */
static int set_file_name(struct gw_reader *reader,
                         const struct gw_option *option, const char *name,
                         char out[GW_FILE_MAX])
{
    if (name == NULL)
        return 0;
    if (gw_option_check_file(reader, option, name, GW_FILE_MAX) != 0)
        return -1;
    memcpy(out, name, strlen(name) + 1);
    return 0;
}

static int parse_certificate(struct gw_reader *reader,
                             const struct gw_option *option, const char *text,
                             struct gw_certificate_config *out)
{
    struct gw_part parts[sizeof(file_parts) / sizeof(file_parts[0])];
    char copy[GW_OPTION_TEXT_MAX];

    memcpy(parts, file_parts, sizeof(parts));
    if (option->kind == GW_KIND_PAIR)
        parts[FILE_OCSP].name = NULL;
    memset(out, 0, sizeof(*out));
    if (gw_option_split(reader, option, text, copy, parts) != 0)
        return -1;
    if (copy[0] == '\0')
        return gw_option_fail(reader, option, "the file is missing");
    if (set_file_name(reader, option, copy, out->file) != 0 ||
        set_file_name(reader, option,
                      parts[FILE_KEY].is_given ? parts[FILE_KEY].value : copy,
                      out->key) != 0)
        return -1;
    return set_file_name(reader, option, parts[FILE_OCSP].value, out->ocsp);
}

int gw_option_set_certificate(struct gw_reader *reader,
                              const struct gw_option *option, const char *text)
{
    struct gw_config *config = reader->config;

    if (parse_certificate(reader, option, text,
                          &config->certificates[config->certificate_count]) !=
        0)
        return -1;
    config->certificate_count++;
    return 0;
}

int gw_option_set_pair(struct gw_reader *reader, const struct gw_option *option,
                       const char *text)
{
    struct gw_certificate_config *pair = gw_option_field_of(reader, option);

    if (*text == '\0') {
        memset(pair, 0, sizeof(*pair));
        return 0;
    }
    return parse_certificate(reader, option, text, pair);
}

/* Of a user or a group; it may be a number. */
static bool is_account(const char *name, size_t len)
{
    return len >= 1 && len <= 31 && name[0] != '-' &&
           gw_option_has_only(name, len, "._-");
}

int gw_option_set_user(struct gw_reader *reader, const struct gw_option *option,
                       const char *text)
{
    char *user = reader->config->user;
    size_t name_len = strcspn(text, ":");
    const char *group = text + name_len;

    if (*text != '\0' &&
        (!is_account(text, name_len) ||
         (*group == ':' && !is_account(group + 1, strlen(group + 1)))))
        return gw_option_fail(reader, option,
                              "%.80s is not name or name:group, each of 1 to "
                              "31 letters, digits, '.', '_' or '-'",
                              text);
    memcpy(user, text, strlen(text) + 1);
    return 0;
}
