/* SPDX-License-Identifier: MIT */
/* Backends, and where to look for them. */
#include "gateway/options_parse.h"

#include <arpa/inet.h>
#include <string.h>

enum { MAX_SESSIONS_MAX = 100000000 };

enum {
    PART_WEIGHT,
    PART_MAX,
    PART_TLS,
    PART_NAME,
    PART_VERIFY,
    PART_DRAIN,
};

/* What is found by name is never drained by the configuration: "drain" is the
 * last one, and missing there. */
static const struct gw_part backend_parts[] = {
    [PART_WEIGHT] = {.name = "weight", .takes = GW_PART_VALUE},
    [PART_MAX] = {.name = "max", .takes = GW_PART_VALUE},
    [PART_TLS] = {.name = "tls", .takes = GW_PART_FLAG},
    [PART_NAME] = {.name = "name", .takes = GW_PART_VALUE},
    [PART_VERIFY] = {.name = "verify", .takes = GW_PART_VALUE},
    [PART_DRAIN] = {.name = "drain", .takes = GW_PART_FLAG},
    {.name = NULL},
};

enum { PART_COUNT = sizeof(backend_parts) / sizeof(backend_parts[0]) };

bool gw_option_is_name(const char *text, size_t len)
{
    size_t label = 0;

    if (len == 0 || len > GW_HOST_NAME_MAX ||
        !gw_option_has_only(text, len, "._-"))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.' && label == 0)
            return false;
        label = text[i] == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0;
}

bool gw_option_is_tls_name(const char *name)
{
    struct in6_addr addr;
    size_t len = strlen(name);

    return len < sizeof(((struct gw_backend_config *)NULL)->tls_name) &&
           (gw_option_has_only(name, len, "._-") ||
            inet_pton(AF_INET6, name, &addr) == 1);
}

static int set_tls(struct gw_reader *reader, const struct gw_option *option,
                   const char *text, const struct gw_part *parts,
                   struct gw_backend_config *backend)
{
    const char *name = parts[PART_NAME].value;
    const char *verify = parts[PART_VERIFY].value;

    backend->is_tls = parts[PART_TLS].is_given;
    if (!backend->is_tls && (name != NULL || verify != NULL))
        return gw_option_fail(reader, option, "%.150s: %s needs tls", text,
                              name != NULL ? "name" : "verify");
    if (name != NULL && !gw_option_is_tls_name(name))
        return gw_option_fail(reader, option,
                              "%.150s: the name is not a host name or address",
                              text);
    if (verify != NULL && strcmp(verify, "off") != 0)
        return gw_option_fail(reader, option, "%.150s: verify can only be off",
                              text);
    backend->is_unverified = verify != NULL;
    if (name != NULL)
        memcpy(backend->tls_name, name, strlen(name) + 1);
    return 0;
}

/* A part's number, 1 to max; *out stays as it is where it is not given. */
static bool part_number(const struct gw_part *part, uint64_t max, uint32_t *out)
{
    const char *at = part->value;
    uint64_t value;

    if (!part->is_given)
        return true;
    if (!gw_option_digits(&at, &value) || *at != '\0' || value < 1 ||
        value > max)
        return false;
    *out = (uint32_t)value;
    return true;
}

static int set_parts(struct gw_reader *reader, const struct gw_option *option,
                     const char *text, const struct gw_part *parts,
                     struct gw_backend_config *backend)
{
    backend->weight = 1;
    if (!part_number(&parts[PART_WEIGHT], 256, &backend->weight))
        return gw_option_fail(reader, option,
                              "%.150s: the weight is not between 1 and 256",
                              text);
    if (!part_number(&parts[PART_MAX], MAX_SESSIONS_MAX,
                     &backend->max_sessions))
        return gw_option_fail(reader, option,
                              "%.150s: the max is not between 1 and %d", text,
                              MAX_SESSIONS_MAX);
    backend->is_drained = parts[PART_DRAIN].is_given;
    return set_tls(reader, option, text, parts, backend);
}

bool gw_options_qualify(const char *pool, char id[GW_BACKEND_ID_MAX])
{
    size_t pool_len = strlen(pool);
    size_t id_len = strlen(id);

    if (pool_len + 1 + id_len >= GW_BACKEND_ID_MAX)
        return false;
    memmove(id + pool_len + 1, id, id_len + 1);
    memcpy(id, pool, pool_len);
    id[pool_len] = '/';
    return true;
}

static int parse_backend(struct gw_reader *reader,
                         const struct gw_option *option, const char *text,
                         struct gw_backend_config *backend)
{
    struct gw_part parts[PART_COUNT];
    char copy[GW_OPTION_TEXT_MAX];
    const char *address = copy;
    size_t id_len;

    memcpy(parts, backend_parts, sizeof(parts));
    memset(backend, 0, sizeof(*backend));
    if (gw_option_split(reader, option, text, copy, parts) != 0)
        return -1;
    id_len = strcspn(copy, "=");
    if (copy[id_len] == '=')
        address = copy + id_len + 1;
    if (gw_option_parse_inet(reader, option, address, &backend->address) != 0 ||
        set_parts(reader, option, text, parts, backend) != 0)
        return -1;
    if (backend->is_tls && backend->tls_name[0] == '\0')
        gw_address_host(&backend->address, backend->tls_name);
    if (id_len == 0 || id_len >= sizeof(backend->id) ||
        !gw_option_has_only(copy, id_len, "._:[]-"))
        return gw_option_fail(reader, option,
                              "%.*s: the id is not 1 to %d letters, digits, "
                              "'.', '_', ':', '[', ']' or '-'",
                              (int)id_len, copy, GW_BACKEND_ID_MAX - 1);
    memcpy(backend->id, copy, id_len);
    return 0;
}

int gw_option_set_backend(struct gw_reader *reader,
                          const struct gw_option *option, const char *text)
{
    struct gw_config *config = reader->config;
    const char *pool = config->pools[reader->pool].name;
    struct gw_backend_config *backend =
        &config->backends[config->backend_count];

    if (parse_backend(reader, option, text, backend) != 0)
        return -1;
    backend->pool = (uint8_t)reader->pool;
    if (reader->pool > 0 && !gw_options_qualify(pool, backend->id))
        return gw_option_fail(reader, option,
                              "%s: the id %s/%s is over %d bytes", text, pool,
                              backend->id, GW_BACKEND_ID_MAX - 1);
    config->backend_count++;
    return 0;
}

int gw_options_parse_backend(const char *spec, struct gw_backend_config *out,
                             char error[GW_OPTIONS_ERROR_MAX])
{
    struct gw_reader reader = {.error = error, .origin = GW_ORIGIN_COMMAND};
    const struct gw_option *option = gw_option_find("backend", '-');

    error[0] = '\0';
    if (parse_backend(&reader, option, spec, out) != 0)
        return -1;
    return gw_option_resolve(&reader, option, &out->address, true);
}

/* Addresses are given as backends: there is nothing to look up. Like them, no
 * name ends with a label of digits alone. The dot of the root may stand at the
 * end, so that no domain is searched. */
static bool is_lookup_name(const char *text, size_t len)
{
    size_t digits = 0;

    if (len > 0 && text[len - 1] == '.')
        len--;
    if (!gw_option_is_name(text, len))
        return false;
    while (digits < len && text[len - 1 - digits] >= '0' &&
           text[len - 1 - digits] <= '9')
        digits++;
    return digits < len && (digits == 0 || text[len - 1 - digits] != '.');
}

/* host:port or srv:name. */
static int parse_lookup(struct gw_reader *reader,
                        const struct gw_option *option, const char *text,
                        struct gw_discover_config *out)
{
    static const char srv[] = "srv:";
    const char *name = text;
    size_t len;
    uint64_t port = 0;

    out->is_srv = strncmp(text, srv, sizeof(srv) - 1) == 0;
    if (out->is_srv)
        name += sizeof(srv) - 1;
    len = out->is_srv ? strlen(name) : strcspn(name, ":");
    if (!out->is_srv && name[len] == '\0')
        return gw_option_fail(reader, option,
                              "%.150s is neither host:port nor srv:name", text);
    if (!is_lookup_name(name, len))
        return gw_option_fail(reader, option,
                              "%.150s: %.*s is not a name to look up", text,
                              len < 150 ? (int)len : 150, name);
    if (!out->is_srv &&
        !gw_option_port(name + len + 1, option->min, option->max, &port))
        return gw_option_fail(reader, option,
                              "%.150s: the port is not between %llu and %llu",
                              text, (unsigned long long)option->min,
                              (unsigned long long)option->max);
    out->port = (uint16_t)port;
    gw_option_lower(name, len, out->name);
    return 0;
}

int gw_option_set_discover(struct gw_reader *reader,
                           const struct gw_option *option, const char *text)
{
    struct gw_config *config = reader->config;
    struct gw_discover_config *discover =
        &config->discover[config->discover_count];
    struct gw_part parts[PART_COUNT];
    char copy[GW_OPTION_TEXT_MAX];

    memcpy(parts, backend_parts, sizeof(parts));
    parts[PART_DRAIN].name = NULL;
    memset(discover, 0, sizeof(*discover));
    if (gw_option_split(reader, option, text, copy, parts) != 0 ||
        parse_lookup(reader, option, copy, discover) != 0 ||
        set_parts(reader, option, text, parts, &discover->backend) != 0)
        return -1;
    discover->backend.pool = (uint8_t)reader->pool;
    config->discover_count++;
    return 0;
}

/* Cuts the text into an address and a port, if it has one: "192.0.2.1",
 * "192.0.2.1:53", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:53". */
static bool cut_server(char *text, const char **host, const char **port)
{
    char *end = strchr(text, ':');

    *host = text;
    *port = NULL;
    if (*text == '[') {
        end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return false;
        *host = text + 1;
        *end++ = '\0';
    } else if (end != NULL && strchr(end + 1, ':') != NULL) {
        return true;
    }
    if (end != NULL && *end == ':') {
        *end = '\0';
        *port = end + 1;
    }
    return true;
}

static bool parse_server(const char *text, uint64_t min, uint64_t max,
                         struct gw_address *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char copy[GW_ADDRESS_MAX];
    const char *host;
    const char *port_text;
    uint64_t port = GW_DNS_PORT;

    memcpy(copy, text, strlen(text) + 1);
    if (!cut_server(copy, &host, &port_text) ||
        (port_text != NULL && !gw_option_port(port_text, min, max, &port)))
        return false;
    if (text[0] != '[' && inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        v4.sin_port = htons((uint16_t)port);
        memcpy(&out->addr, &v4, sizeof(v4));
        out->addr_len = sizeof(v4);
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return false;
    v6.sin6_port = htons((uint16_t)port);
    memcpy(&out->addr, &v6, sizeof(v6));
    out->addr_len = sizeof(v6);
    return true;
}

int gw_option_set_dns_server(struct gw_reader *reader,
                             const struct gw_option *option, const char *text)
{
    struct gw_config *config = reader->config;
    struct gw_address *server = &config->dns_servers[config->dns_server_count];
    size_t len = strlen(text);

    memset(server, 0, sizeof(*server));
    if (len < sizeof(server->text))
        memcpy(server->text, text, len + 1);
    if (len == 0 || len >= sizeof(server->text) ||
        !parse_server(text, option->min, option->max, server))
        return gw_option_fail(reader, option,
                              "%.80s is not an address such as 192.0.2.1, "
                              "192.0.2.1:53 or [2001:db8::1]:53",
                              text);
    config->dns_server_count++;
    return 0;
}
