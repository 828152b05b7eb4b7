/* SPDX-License-Identifier: MIT */
/* Addresses of sidgate itself. Their form only: options_check.c resolves
 * them. */
#include "gateway/options_parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <sys/un.h>

static const char unix_start[] = "unix:";

bool gw_address_is_unix(const struct gw_address *address)
{
    return strncmp(address->text, unix_start, sizeof(unix_start) - 1) == 0;
}

void gw_address_host(const struct gw_address *address, char out[GW_ADDRESS_MAX])
{
    const char *start = address->text;
    size_t len = strcspn(start, ":");

    if (*start == '[') {
        start++;
        len = strcspn(start, "]");
    } else if (strrchr(start, ':') != strchr(start, ':')) {
        len = strlen(start); /* IPv6 without a port needs no brackets */
    }
    memcpy(out, start, len);
    out[len] = '\0';
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
        if (!gw_option_has_only(host, len, "._-"))
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

bool gw_option_port(const char *text, uint64_t min, uint64_t max,
                    uint64_t *port)
{
    return gw_option_digits(&text, port) && *text == '\0' && *port >= min &&
           *port <= max;
}

int gw_option_parse_inet(struct gw_reader *reader,
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
    if (!gw_option_port(colon + 1, option->min, option->max, &port))
        return gw_option_fail(
            reader, option, "%s: the port is not between %llu and %llu", text,
            (unsigned long long)option->min, (unsigned long long)option->max);
    memcpy(out->text, text, strlen(text) + 1);
    return 0;
}

/* Likewise, of unix:/path. */
static int parse_unix(struct gw_reader *reader, const struct gw_option *option,
                      const char *text, struct gw_address *out)
{
    const char *path = text + sizeof(unix_start) - 1;
    const size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

    _Static_assert(sizeof(((struct sockaddr_un *)NULL)->sun_path) +
                           sizeof(unix_start) <=
                       sizeof(out->text),
                   "a unix address fits into its text");
    if (path[0] != '/')
        return gw_option_fail(reader, option,
                              "%.150s: the path of a unix socket starts with /",
                              text);
    if (strlen(path) > max)
        return gw_option_fail(reader, option,
                              "%.40s...: the path of a unix socket is over %zu "
                              "bytes",
                              text, max);
    for (const char *at = path; *at != '\0'; at++)
        if (iscntrl((unsigned char)*at) || *at == ',')
            return gw_option_fail(reader, option,
                                  "%s holds a comma or a control character",
                                  text);
    memcpy(out->text, text, strlen(text) + 1);
    return 0;
}

static int parse_any(struct gw_reader *reader, const struct gw_option *option,
                     const char *text, struct gw_address *out)
{
    if (strncmp(text, unix_start, sizeof(unix_start) - 1) == 0)
        return parse_unix(reader, option, text, out);
    return gw_option_parse_inet(reader, option, text, out);
}

enum { LISTEN_TLS, LISTEN_PROXY, LISTEN_REDIRECT, LISTEN_MODE };

static const struct gw_part listen_parts[] = {
    [LISTEN_TLS] = {.name = "tls", .takes = GW_PART_FLAG},
    [LISTEN_PROXY] = {.name = "proxy", .takes = GW_PART_FLAG},
    [LISTEN_REDIRECT] = {.name = "redirect", .takes = GW_PART_EITHER},
    [LISTEN_MODE] = {.name = "mode", .takes = GW_PART_VALUE},
    {.name = NULL},
};

/* One to four octal digits, of the permission bits. */
static bool parse_mode(const char *text, uint32_t *mode)
{
    size_t len = strlen(text);

    *mode = 0;
    if (len == 0 || len > 4 || strspn(text, "01234567") != len)
        return false;
    for (; *text != '\0'; text++)
        *mode = *mode * 8 + (uint32_t)(*text - '0');
    return *mode <= 0777;
}

static int set_listen_parts(struct gw_reader *reader,
                            const struct gw_option *option, const char *text,
                            const struct gw_part *parts,
                            struct gw_listen_config *listen)
{
    const struct gw_part *redirect = &parts[LISTEN_REDIRECT];
    const struct gw_part *mode = &parts[LISTEN_MODE];
    uint64_t port = GW_HTTPS_PORT;

    listen->is_tls = parts[LISTEN_TLS].is_given;
    listen->has_proxy = parts[LISTEN_PROXY].is_given;
    listen->redirects = redirect->is_given;
    listen->unix_mode = GW_UNIX_MODE;
    if (redirect->value != NULL &&
        !gw_option_port(redirect->value, 1, 65535, &port))
        return gw_option_fail(
            reader, option,
            "%.150s: the port of the redirect is not between 1 and 65535",
            text);
    listen->https_port = (uint16_t)port;
    if (listen->is_tls && listen->redirects)
        return gw_option_fail(
            reader, option,
            "%.150s: with tls there is nothing to redirect to https", text);
    if (mode->is_given && !gw_address_is_unix(&listen->address))
        return gw_option_fail(reader, option,
                              "%.150s: only a unix socket has a mode", text);
    if (mode->is_given && !parse_mode(mode->value, &listen->unix_mode))
        return gw_option_fail(
            reader, option, "%.150s: the mode is not octal, up to 0777", text);
    return 0;
}

int gw_option_set_listen(struct gw_reader *reader,
                         const struct gw_option *option, const char *text)
{
    struct gw_config *config = reader->config;
    struct gw_listen_config *listen = &config->listen[config->listen_count];
    struct gw_part parts[sizeof(listen_parts) / sizeof(listen_parts[0])];
    char copy[GW_OPTION_TEXT_MAX];

    memcpy(parts, listen_parts, sizeof(parts));
    memset(listen, 0, sizeof(*listen));
    if (gw_option_split(reader, option, text, copy, parts) != 0 ||
        parse_any(reader, option, copy, &listen->address) != 0 ||
        set_listen_parts(reader, option, text, parts, listen) != 0)
        return -1;
    config->listen_count++;
    return 0;
}

int gw_option_set_admin(struct gw_reader *reader,
                        const struct gw_option *option, const char *text)
{
    struct gw_address *admin = &reader->config->admin;

    memset(admin, 0, sizeof(*admin));
    if (strcmp(text, "off") == 0)
        return 0;
    return parse_any(reader, option, text, admin);
}

int gw_option_set_source(struct gw_reader *reader,
                         const struct gw_option *option, const char *text)
{
    struct gw_config *config = reader->config;
    struct in6_addr addr;
    size_t len = strlen(text);

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
