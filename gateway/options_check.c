/* SPDX-License-Identifier: MIT */
/* Names to addresses, files to secrets, and what several options say
 * together. */
#include "gateway/options_parse.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

/* A failure of the check is blamed on where the option's value came from. */
static const struct gw_option *blame(struct gw_reader *reader, const char *name)
{
    const struct gw_option *option = gw_option_find(name, '-');

    reader->origin = reader->given[option - gw_option_table];
    return option;
}

/* Splits the text at its port, if it has one, and resolves it. The parser has
 * checked its form. */
static int resolve(struct gw_reader *reader, const char *name,
                   struct gw_address *address, bool has_port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[GW_ADDRESS_MAX];
    char *port = NULL;
    char *start = host;
    int status;

    memcpy(host, address->text, sizeof(host));
    if (has_port) {
        port = strrchr(host, ':');
        *port++ = '\0';
    }
    if (*start == '[') {
        start++;
        start[strcspn(start, "]")] = '\0';
    }
    status = getaddrinfo(start, port, &hints, &found);
    if (status != 0)
        return gw_option_fail(reader, blame(reader, name),
                              "%s does not resolve: %s", address->text,
                              gai_strerror(status));
    memcpy(&address->addr, found->ai_addr, found->ai_addrlen);
    address->addr_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int resolve_all(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;

    for (size_t i = 0; i < config->listen_count; i++)
        if (resolve(reader, "listen", &config->listen[i], true) != 0)
            return -1;
    for (size_t i = 0; i < config->backend_count; i++)
        if (resolve(reader, "backend", &config->backends[i].address, true) != 0)
            return -1;
    for (size_t i = 0; i < config->source_count; i++)
        if (resolve(reader, "source-address", &config->sources[i], false) != 0)
            return -1;
    if (config->admin.text[0] != '\0')
        return resolve(reader, "admin", &config->admin, true);
    return 0;
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

/* Would the second of two listeners fail to open? Port 0 is never taken. */
static bool is_taken(const struct gw_address *a, const struct gw_address *b)
{
    struct ip left = ip_of(a);
    struct ip right = ip_of(b);

    if (left.port == 0 || left.port != right.port || left.len != right.len)
        return false;
    return is_any(&left) || is_any(&right) || is_same(&left, &right);
}

/* Would sidgate be its own backend, passing each request on to itself? */
static bool is_own(const struct gw_address *listen,
                   const struct gw_address *backend)
{
    struct ip here = ip_of(listen);
    struct ip there = ip_of(backend);

    if (here.port != there.port)
        return false;
    if (is_same(&here, &there))
        return true;
    return is_any(&here) && (is_loopback(&there) || is_any(&there)) &&
           (here.len == there.len || here.len == 16);
}

static int check_listeners(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;

    if (config->listen_count == 0)
        return gw_option_fail(reader, blame(reader, "listen"),
                              "at least one is needed");
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct gw_address *one = &config->listen[i];

        for (size_t j = i + 1; j < config->listen_count; j++)
            if (is_taken(one, &config->listen[j]))
                return gw_option_fail(reader, blame(reader, "listen"),
                                      "%s and %s are the same address",
                                      one->text, config->listen[j].text);
        if (config->admin.addr_len != 0 && is_taken(one, &config->admin))
            return gw_option_fail(reader, blame(reader, "admin"),
                                  "%s is taken by --listen %s",
                                  config->admin.text, one->text);
    }
    return 0;
}

static int check_backend_pair(struct gw_reader *reader,
                              const struct gw_backend_config *a,
                              const struct gw_backend_config *b)
{
    struct ip left = ip_of(&a->address);
    struct ip right = ip_of(&b->address);

    if (strcmp(a->id, b->id) == 0)
        return gw_option_fail(reader, blame(reader, "backend"),
                              "the id %s is given twice", a->id);
    if (is_same(&left, &right))
        return gw_option_fail(reader, blame(reader, "backend"),
                              "%s and %s are the same address", a->address.text,
                              b->address.text);
    return 0;
}

static int check_backends(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;

    if (config->backend_count == 0)
        return gw_option_fail(reader, blame(reader, "backend"),
                              "none is given; give at least one, as in "
                              "--backend 127.0.0.1:3001");
    for (size_t i = 0; i < config->backend_count; i++) {
        const struct gw_backend_config *one = &config->backends[i];

        for (size_t j = i + 1; j < config->backend_count; j++)
            if (check_backend_pair(reader, one, &config->backends[j]) != 0)
                return -1;
        for (size_t j = 0; j < config->listen_count; j++)
            if (is_own(&config->listen[j], &one->address))
                return gw_option_fail(reader, blame(reader, "backend"),
                                      "%s is where sidgate itself listens",
                                      one->address.text);
    }
    return 0;
}

static int check_paths(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;

    if (config->path_count == 0)
        return gw_option_fail(reader, blame(reader, "path"),
                              "at least one is needed");
    for (size_t i = 0; i < config->path_count; i++)
        for (size_t j = i + 1; j < config->path_count; j++)
            if (strcmp(config->paths[i], config->paths[j]) == 0)
                return gw_option_fail(reader, blame(reader, "path"),
                                      "%s is given twice", config->paths[i]);
    return 0;
}

/* A file's content without one newline at its end. Returns the length, or -1
 * when a line says what is wrong. */
static ssize_t read_secret(struct gw_reader *reader,
                           const struct gw_option *option, const char *name,
                           char secret[STORE_SECRET_MAX])
{
    /* The newline, and one byte to tell a longer file by. */
    char text[STORE_SECRET_MAX + 1];
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t len = -1;

    if (fd >= 0)
        len = gw_options_read_all(fd, text, sizeof(text));
    if (len < 0)
        gw_option_fail(reader, option, "%s: cannot be read: %s", name,
                       strerror(errno));
    if (fd >= 0)
        close(fd);
    if (len > 0 && text[len - 1] == '\n')
        len--;
    if (len == 0)
        len = gw_option_fail(reader, option, "%s is empty", name);
    else if (len >= STORE_SECRET_MAX)
        len = gw_option_fail(reader, option, "%s is longer than %d bytes", name,
                             STORE_SECRET_MAX - 1);
    if (len > 0) {
        memcpy(secret, text, (size_t)len);
        secret[len] = '\0';
    }
    explicit_bzero(text, sizeof(text));
    return len;
}

static int read_password(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;
    const struct gw_option *option = blame(reader, "store-password-file");
    const char *name = config->store_password_file;
    ssize_t len;

    if (name[0] == '\0')
        return 0;
    len = read_secret(reader, option, name, config->store_password);
    if (len < 0)
        return -1;
    if (memchr(config->store_password, '\n', (size_t)len) != NULL ||
        memchr(config->store_password, '\0', (size_t)len) != NULL)
        return gw_option_fail(reader, option,
                              "%s holds more than one line, or a zero byte",
                              name);
    return 0;
}

enum { HASH_SECRET_MIN = 16 };

static int read_hash_secret(struct gw_reader *reader)
{
    struct gw_config *config = reader->config;
    const struct gw_option *option = blame(reader, "hash-sids-file");
    const char *name = config->hash_sids_file;
    ssize_t len;

    if (name[0] == '\0')
        return 0;
    len = read_secret(reader, option, name, (char *)config->hash_secret);
    if (len < 0)
        return -1;
    if (len < HASH_SECRET_MIN)
        return gw_option_fail(reader, option, "%s is shorter than %d bytes",
                              name, HASH_SECRET_MIN);
    config->hash_secret_len = (size_t)len;
    return 0;
}

int gw_options_check(struct gw_reader *reader)
{
    const struct gw_config *config = reader->config;

    if (resolve_all(reader) != 0 || check_listeners(reader) != 0 ||
        check_backends(reader) != 0 || check_paths(reader) != 0 ||
        read_password(reader) != 0 || read_hash_secret(reader) != 0)
        return -1;
    if (config->max_request_line_bytes > config->max_head_bytes)
        return gw_option_fail(reader, blame(reader, "max-request-line"),
                              "%u is more than --max-head, which is %u",
                              config->max_request_line_bytes,
                              config->max_head_bytes);
    return 0;
}
