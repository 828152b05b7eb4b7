/* SPDX-License-Identifier: MIT */
/* Names to addresses, and what several options say together. */
#include "gateway/options_parse.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

const struct gw_option *gw_option_blame(struct gw_reader *reader,
                                        const char *name)
{
    return gw_option_blame_pool(reader, name, 0);
}

const struct gw_option *gw_option_blame_pool(struct gw_reader *reader,
                                             const char *name, size_t pool)
{
    const struct gw_option *option = gw_option_find(name, '-');

    reader->pool = pool;
    reader->origin =
        pool > 0 ? GW_ORIGIN_FILE : reader->given[option - gw_option_table];
    return option;
}

/* The parser has checked that the path fits. */
static int resolve_unix(struct gw_address *address)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    const char *path = strchr(address->text, '/');
    size_t len = strlen(path);

    memcpy(addr.sun_path, path, len + 1);
    memcpy(&address->addr, &addr, sizeof(addr));
    address->addr_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return 0;
}

int gw_option_resolve(struct gw_reader *reader, const struct gw_option *option,
                      struct gw_address *address, bool has_port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[GW_ADDRESS_MAX];
    const char *port = NULL;
    int status;

    if (gw_address_is_unix(address))
        return resolve_unix(address);
    if (has_port)
        port = strrchr(address->text, ':') + 1;
    gw_address_host(address, host);
    status = getaddrinfo(host, port, &hints, &found);
    if (status != 0)
        return gw_option_fail(reader, option, "%s does not resolve: %s",
                              address->text, gai_strerror(status));
    memcpy(&address->addr, found->ai_addr, found->ai_addrlen);
    address->addr_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int resolve_all(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;
    const struct gw_option *option = gw_option_blame(reader, "listen");

    for (size_t i = 0; i < config->listen_count; i++)
        if (gw_option_resolve(reader, option, &config->listen[i].address,
                              true) != 0)
            return -1;
    for (size_t i = 0; i < config->backend_count; i++) {
        struct gw_backend_config *backend = &config->backends[i];

        option = gw_option_blame_pool(reader, "backend", backend->pool);
        if (gw_option_resolve(reader, option, &backend->address, true) != 0)
            return -1;
    }
    option = gw_option_blame(reader, "source-address");
    for (size_t i = 0; i < config->source_count; i++)
        if (gw_option_resolve(reader, option, &config->sources[i], false) != 0)
            return -1;
    option = gw_option_blame(reader, "admin");
    return config->admin.text[0] == '\0'
               ? 0
               : gw_option_resolve(reader, option, &config->admin, true);
}

struct ip {
    unsigned char bytes[16];
    size_t len;
    uint16_t port;
};

static struct ip ip_of(const struct gw_address *address)
{
    struct ip ip = {.len = 4};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (address->addr.ss_family == AF_INET) {
        memcpy(&v4, &address->addr, sizeof(v4));
        memcpy(ip.bytes, &v4.sin_addr, 4);
        ip.port = ntohs(v4.sin_port);
    } else {
        memcpy(&v6, &address->addr, sizeof(v6));
        memcpy(ip.bytes, &v6.sin6_addr, 16);
        ip.len = 16;
        ip.port = ntohs(v6.sin6_port);
    }
    return ip;
}

static bool is_same(const struct ip *a, const struct ip *b)
{
    return a->len == b->len && a->port == b->port &&
           memcmp(a->bytes, b->bytes, a->len) == 0;
}

static bool is_any(const struct ip *ip)
{
    static const unsigned char zeros[16];

    return memcmp(ip->bytes, zeros, ip->len) == 0;
}

static bool is_loopback(const struct ip *ip)
{
    static const unsigned char one[16] = {[15] = 1};

    return ip->len == 4 ? ip->bytes[0] == 127
                        : memcmp(ip->bytes, one, ip->len) == 0;
}

static bool is_unix(const struct gw_address *address)
{
    return address->addr.ss_family == AF_UNIX;
}

/* Would the second of two listeners fail to open? Port 0 is never taken. */
static bool is_taken(const struct gw_address *a, const struct gw_address *b)
{
    struct ip left;
    struct ip right;

    if (is_unix(a) || is_unix(b))
        return strcmp(a->text, b->text) == 0;
    left = ip_of(a);
    right = ip_of(b);
    if (left.port == 0 || left.port != right.port || left.len != right.len)
        return false;
    return is_any(&left) || is_any(&right) || is_same(&left, &right);
}

/* Would sidgate be its own backend, passing each request on to itself? */
static bool is_own(const struct gw_address *listen,
                   const struct gw_address *backend)
{
    struct ip here;
    struct ip there;

    if (is_unix(listen))
        return false;
    here = ip_of(listen);
    there = ip_of(backend);
    if (here.port != there.port)
        return false;
    if (is_same(&here, &there))
        return true;
    return is_any(&here) && (is_loopback(&there) || is_any(&there)) &&
           (here.len == there.len || here.len == 16);
}

static int check_listener(struct gw_reader *reader,
                          const struct gw_listen_config *one)
{
    const struct gw_config *config = reader->config;
    bool is_local = is_unix(&one->address);

    if (one->is_tls && config->certificate_count == 0)
        return gw_option_fail(reader, gw_option_blame(reader, "listen"),
                              "%s: tls needs a --tls-certificate",
                              one->address.text);
    if (one->has_proxy && is_local && !config->trusts_unix)
        return gw_option_fail(reader, gw_option_blame(reader, "listen"),
                              "%s: proxy needs --trusted-proxy unix",
                              one->address.text);
    if (one->has_proxy && !is_local && config->trusted_count == 0)
        return gw_option_fail(reader, gw_option_blame(reader, "listen"),
                              "%s: proxy needs the address of a "
                              "--trusted-proxy",
                              one->address.text);
    return 0;
}

static int check_listeners(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;

    if (config->listen_count == 0)
        return gw_option_fail(reader, gw_option_blame(reader, "listen"),
                              "at least one is needed");
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct gw_address *one = &config->listen[i].address;

        for (size_t j = i + 1; j < config->listen_count; j++)
            if (is_taken(one, &config->listen[j].address))
                return gw_option_fail(reader, gw_option_blame(reader, "listen"),
                                      "%s and %s are the same address",
                                      one->text,
                                      config->listen[j].address.text);
        if (check_listener(reader, &config->listen[i]) != 0)
            return -1;
    }
    return 0;
}

/* What the operator listener tells is for operators: on an address that others
 * reach it asks for a token. */
static int check_admin(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;
    const struct gw_address *admin = &config->admin;
    struct ip ip;

    if (admin->addr_len == 0)
        return 0;
    for (size_t i = 0; i < config->listen_count; i++)
        if (is_taken(&config->listen[i].address, admin))
            return gw_option_fail(reader, gw_option_blame(reader, "admin"),
                                  "%s is taken by --listen %s", admin->text,
                                  config->listen[i].address.text);
    if (is_unix(admin) || config->admin_token_file[0] != '\0')
        return 0;
    ip = ip_of(admin);
    if (!is_loopback(&ip))
        return gw_option_fail(reader, gw_option_blame(reader, "admin"),
                              "%s is neither a loopback address nor a unix "
                              "socket, so it needs --admin-token-file",
                              admin->text);
    return 0;
}

/* In two pools the same server may well be a backend of both. */
static int check_backend_pair(struct gw_reader *reader,
                              const struct gw_backend_config *a,
                              const struct gw_backend_config *b)
{
    struct ip left = ip_of(&a->address);
    struct ip right = ip_of(&b->address);

    if (strcmp(a->id, b->id) == 0)
        return gw_option_fail(reader,
                              gw_option_blame_pool(reader, "backend", b->pool),
                              "the id %s is given twice", a->id);
    if (a->pool == b->pool && is_same(&left, &right))
        return gw_option_fail(
            reader, gw_option_blame_pool(reader, "backend", b->pool),
            "%s and %s are the same address", a->address.text, b->address.text);
    return 0;
}

static int check_backends(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;

    for (size_t i = 0; i < config->backend_count; i++) {
        const struct gw_backend_config *one = &config->backends[i];

        for (size_t j = i + 1; j < config->backend_count; j++)
            if (check_backend_pair(reader, one, &config->backends[j]) != 0)
                return -1;
        for (size_t j = 0; j < config->listen_count; j++)
            if (is_own(&config->listen[j].address, &one->address))
                return gw_option_fail(
                    reader, gw_option_blame_pool(reader, "backend", one->pool),
                    "%s is where sidgate itself listens", one->address.text);
    }
    return 0;
}

static bool is_same_lookup(const struct gw_discover_config *a,
                           const struct gw_discover_config *b)
{
    return a->backend.pool == b->backend.pool && a->port == b->port &&
           a->is_srv == b->is_srv && strcmp(a->name, b->name) == 0;
}

static int check_lookups(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;

    for (size_t i = 0; i < config->discover_count; i++)
        for (size_t j = i + 1; j < config->discover_count; j++)
            if (is_same_lookup(&config->discover[i], &config->discover[j]))
                return gw_option_fail(
                    reader,
                    gw_option_blame_pool(reader, "discover",
                                         config->discover[i].backend.pool),
                    "%s is given twice", config->discover[i].name);
    for (size_t i = 0; i < config->dns_server_count; i++)
        for (size_t j = i + 1; j < config->dns_server_count; j++) {
            struct ip one = ip_of(&config->dns_servers[i]);
            struct ip two = ip_of(&config->dns_servers[j]);

            if (is_same(&one, &two))
                return gw_option_fail(
                    reader, gw_option_blame(reader, "dns-server"),
                    "%s and %s are the same address",
                    config->dns_servers[i].text, config->dns_servers[j].text);
        }
    return 0;
}

int gw_options_check(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;

    if (resolve_all(reader) != 0 || check_listeners(reader) != 0 ||
        check_admin(reader) != 0 || check_backends(reader) != 0 ||
        check_lookups(reader) != 0 || gw_options_check_pools(reader) != 0 ||
        gw_options_check_store(reader) != 0 ||
        gw_options_read_secrets(reader) != 0)
        return -1;
    if (config->max_request_line_bytes > config->max_head_bytes)
        return gw_option_fail(
            reader, gw_option_blame(reader, "max-request-line"),
            "%u is more than --max-head, which is %u",
            config->max_request_line_bytes, config->max_head_bytes);
    return 0;
}
