/* SPDX-License-Identifier: MIT */
/* The parser of the store's URL, and its form for logs. */
#include "store/url.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    DEFAULT_PORT = 6379,
    SENTINEL_PORT = 26379,
    DB_MAX = 9999,
    SOCKET_PATH_MAX = 107, /* what a unix socket's address holds */
    SHOWN_MAX = 80,        /* bytes of the URL in an error */
};

/* A piece of the text. */
struct piece {
    const char *ptr;
    size_t len;
};

static struct piece piece_of(const char *from, const char *to)
{
    return (struct piece){from, (size_t)(to - from)};
}

static const char *find(struct piece in, char c)
{
    return in.len > 0 ? memchr(in.ptr, c, in.len) : NULL;
}

static const char *find_last(struct piece in, char c)
{
    return in.len > 0 ? memrchr(in.ptr, c, in.len) : NULL;
}

static bool is_digits(struct piece text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    }
    return true;
}

/* A decimal number of at most five digits; -1 for anything else. */
static int number(struct piece text)
{
    int value = 0;

    if (text.len == 0 || text.len > 5 || !is_digits(text))
        return -1;
    for (size_t i = 0; i < text.len; i++)
        value = value * 10 + (text.ptr[i] - '0');
    return value;
}

/* ---- masking ---- */

/* What may be a password in one of the hosts of a text without an '@': the user
 * has forgotten the host. A port is none, unless there is no host before it. */
static struct piece stray_in(struct piece host)
{
    const char *start = host.ptr;
    const char *host_end = start;

    if (host.len > 0 && start[0] == '[' && find(host, ']') != NULL)
        host_end = find(host, ']');
    const char *colon = find(piece_of(host_end, start + host.len), ':');
    if (colon == NULL)
        return (struct piece){start, 0};
    struct piece rest = piece_of(colon + 1, start + host.len);
    if (colon > start && is_digits(rest))
        rest.len = 0;
    return rest;
}

/* The same in a list of hosts: from the first that has one to the end of the
 * text, for it may hold any character. */
static struct piece stray_secret(const char *start)
{
    const char *end = start + strcspn(start, "/?#");

    for (const char *at = start; at < end;) {
        const char *comma = find(piece_of(at, end), ',');
        struct piece secret =
            stray_in(piece_of(at, comma != NULL ? comma : end));
        if (secret.len > 0)
            return piece_of(secret.ptr, end + strlen(end));
        at = comma != NULL ? comma + 1 : end;
    }
    return (struct piece){start, 0};
}

/* Where the password is, or may be; of length 0 when there is none. A password
 * that should have been percent-encoded may hold any character, so all up to
 * the last '@' counts as one. */
static struct piece find_secret(const char *text)
{
    const char *scheme_end = strstr(text, "://");
    const char *start = scheme_end != NULL ? scheme_end + 3 : text;
    const char *at = strrchr(start, '@');

    if (at == NULL)
        return scheme_end != NULL ? stray_secret(start)
                                  : (struct piece){text, 0};
    const char *colon = find(piece_of(start, at), ':');
    return piece_of(colon != NULL ? colon + 1 : start, at);
}

/* Returns the length that the masked text has, as snprintf does. */
static size_t mask(const char *text, char *out, size_t size)
{
    struct piece secret = find_secret(text);
    int before = (int)(secret.ptr - text);
    int len = secret.len == 0 ? snprintf(out, size, "%s", text)
                              : snprintf(out, size, "%.*s***%s", before, text,
                                         secret.ptr + secret.len);

    return len < 0 ? 0 : (size_t)len;
}

void store_url_masked(const char *text, char *out, size_t size)
{
    mask(text, out, size);
}

/* ---- parsing ---- */

/* Each of the parsers below returns NULL, or what is wrong. */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that the three characters %XX stand for; -1 when they are none. */
static int decode_byte(struct piece text)
{
    if (text.len < 3)
        return -1;
    int high = hex_value(text.ptr[1]);
    int low = hex_value(text.ptr[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* False where the percent-encoding is broken or stands for a NUL. */
static bool decode(struct piece text, char *out)
{
    while (text.len > 0) {
        bool is_encoded = text.ptr[0] == '%';
        int c = is_encoded ? decode_byte(text) : text.ptr[0];
        if (is_encoded && c <= 0)
            return false;
        *out++ = (char)c;
        text.ptr += is_encoded ? 3 : 1;
        text.len -= is_encoded ? 3 : 1;
    }
    *out = '\0';
    return true;
}

static size_t decoded_len(struct piece text)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++, len++)
        i += text.ptr[i] == '%' ? 2 : 0;
    return len;
}

static const char *parse_secret(struct piece text, struct store_url *url)
{
    const char *colon = find(text, ':');

    if (colon == NULL)
        return "user and password are written user:password@, or :password@";
    struct piece user = piece_of(text.ptr, colon);
    struct piece password = piece_of(colon + 1, text.ptr + text.len);
    if (decoded_len(user) >= sizeof(url->user))
        return "the user is longer than 127 bytes";
    if (decoded_len(password) >= sizeof(url->password))
        return "the password is longer than 511 bytes";
    if (!decode(user, url->user) || !decode(password, url->password))
        return "broken percent-encoding in user or password (a % is %25)";
    return NULL;
}

static const char *parse_db(struct piece text, struct store_url *url)
{
    int db = number(text);

    if (db < 0 || db > DB_MAX)
        return "the database is not a number from 0 to 9999";
    url->db = (unsigned)db;
    return NULL;
}

static bool is_host_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
}

bool store_host_is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_host_char(text[i]) && text[i] != ':')
            return false;
    }
    return len > 0 && len < STORE_HOST_MAX;
}

static const char *parse_name(struct piece name, struct store_address *to)
{
    if (name.len == 0)
        return "the host is missing";
    if (name.len >= sizeof(to->host))
        return "the host is longer than 255 bytes";
    for (size_t i = 0; i < name.len; i++) {
        if (!is_host_char(name.ptr[i]))
            return "the host holds a character that no host name has";
    }
    memcpy(to->host, name.ptr, name.len);
    return NULL;
}

static const char *parse_ipv6(struct piece text, struct store_address *to)
{
    struct in6_addr ignored;

    if (text.len >= INET6_ADDRSTRLEN)
        return "what is in brackets is not an IPv6 address";
    memcpy(to->host, text.ptr, text.len);
    if (inet_pton(AF_INET6, to->host, &ignored) != 1)
        return "what is in brackets is not an IPv6 address";
    return NULL;
}

/* `rest` is empty, or a colon and the port; to->port is the default. */
static const char *parse_port(struct piece rest, struct store_address *to)
{
    if (rest.len == 0)
        return NULL;
    if (rest.ptr[0] != ':')
        return "only a port may follow the brackets";
    int port = number((struct piece){rest.ptr + 1, rest.len - 1});
    if (port < 1 || port > 65535)
        return "the port is not between 1 and 65535";
    to->port = (uint16_t)port;
    return NULL;
}

static const char *parse_host(struct piece text, struct store_address *to)
{
    const char *end = text.ptr + text.len;

    if (text.len > 0 && text.ptr[0] == '[') {
        const char *close = find(text, ']');
        if (close == NULL)
            return "the closing bracket is missing";
        const char *wrong = parse_ipv6(piece_of(text.ptr + 1, close), to);
        return wrong != NULL ? wrong : parse_port(piece_of(close + 1, end), to);
    }
    const char *colon = find(text, ':');
    if (colon != find_last(text, ':'))
        return "an IPv6 address is written in brackets";
    if (colon == NULL)
        colon = end;
    const char *wrong = parse_name(piece_of(text.ptr, colon), to);
    return wrong != NULL ? wrong : parse_port(piece_of(colon, end), to);
}

static const char *add_host(struct piece text, struct store_url *url)
{
    if (url->host_count == STORE_URL_HOSTS_MAX)
        return "more than 16 hosts";
    struct store_address *to = &url->hosts[url->host_count++];
    to->port = url->kind == STORE_KIND_SENTINEL ? SENTINEL_PORT : DEFAULT_PORT;
    return parse_host(text, to);
}

/* One host, or where there may be more, any number of them. */
static const char *parse_hosts(struct piece text, struct store_url *url)
{
    const char *end = text.ptr + text.len;

    if (url->kind == STORE_KIND_SINGLE)
        return find(text, ',') != NULL
                   ? "several hosts need redis+sentinel:// or redis+cluster://"
                   : add_host(text, url);
    for (;;) {
        const char *comma = find(text, ',');
        struct piece host = piece_of(text.ptr, comma != NULL ? comma : end);
        if (host.len == 0 && (comma != NULL || url->host_count > 0))
            return "a host of the list is empty";
        const char *wrong = add_host(host, url);
        if (wrong != NULL || comma == NULL)
            return wrong;
        text = piece_of(comma + 1, end);
    }
}

/* [user:password@]hosts; *end is what follows. */
static const char *parse_authority(const char *text, struct store_url *url,
                                   const char **end)
{
    struct piece authority = {text, strcspn(text, "/?#")};
    const char *at = find_last(authority, '@');
    const char *wrong = NULL;

    *end = text + authority.len;
    if (at == NULL && strchr(*end, '@') != NULL)
        return "/, ? and # in user or password are written %2F, %3F and %23";
    if (at != NULL)
        wrong = parse_secret(piece_of(text, at), url);
    if (wrong != NULL)
        return wrong;
    return parse_hosts(piece_of(at != NULL ? at + 1 : text, *end), url);
}

/* What stands behind a host or a master: nothing, or /database. */
static const char *parse_rest(const char *rest, const char *only,
                              struct store_url *url)
{
    if (rest[0] == '\0' || strcmp(rest, "/") == 0)
        return NULL;
    if (rest[0] != '/')
        return only;
    return parse_db((struct piece){rest + 1, strlen(rest + 1)}, url);
}

static const char *parse_tcp(const char *text, struct store_url *url)
{
    const char *end;
    const char *wrong = parse_authority(text, url, &end);

    return wrong != NULL
               ? wrong
               : parse_rest(end, "only /database may follow the host", url);
}

static const char *parse_master(struct piece name, struct store_url *url)
{
    if (name.len == 0)
        return "the master's name is missing: redis+sentinel://hosts/master";
    if (decoded_len(name) >= sizeof(url->master))
        return "the master's name is longer than 127 bytes";
    if (!decode(name, url->master))
        return "broken percent-encoding in the master's name (a % is %25)";
    for (const char *c = url->master; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '/')
            return "the master's name holds a character that no name has";
    }
    return NULL;
}

static const char *parse_sentinel(const char *text, struct store_url *url)
{
    const char *end;
    const char *wrong = parse_authority(text, url, &end);

    if (wrong != NULL)
        return wrong;
    const char *name = end[0] == '/' ? end + 1 : end;
    struct piece master = {name, end[0] == '/' ? strcspn(name, "/?#") : 0};
    wrong = parse_master(master, url);
    return wrong != NULL
               ? wrong
               : parse_rest(name + master.len,
                            "only /database may follow the master", url);
}

static const char *parse_cluster(const char *text, struct store_url *url)
{
    const char *end;
    const char *wrong = parse_authority(text, url, &end);

    if (wrong != NULL || end[0] == '\0' || strcmp(end, "/") == 0)
        return wrong;
    return end[0] == '/' ? "a cluster has no databases"
                         : "nothing may follow the hosts";
}

static const char *parse_query(const char *query, struct store_url *url)
{
    if (strncmp(query, "?db=", 4) != 0)
        return "only ?db=number may follow the path";
    return parse_db((struct piece){query + 4, strlen(query + 4)}, url);
}

static const char *parse_unix(const char *text, struct store_url *url)
{
    const char *path = strchr(text, '/');
    const char *wrong = NULL;

    if (path == NULL)
        return "the path is missing: redis+unix:///path";
    if (path > text && path[-1] != '@')
        return "a path begins with a slash: redis+unix:///path";
    if (path > text)
        wrong = parse_secret(piece_of(text, path - 1), url);
    if (wrong != NULL)
        return wrong;
    size_t len = strcspn(path, "?");
    if (len < 2)
        return "the path is missing: redis+unix:///path";
    if (len > SOCKET_PATH_MAX)
        return "the path is longer than 107 bytes";
    memcpy(url->hosts[0].host, path, len);
    url->hosts[0].is_unix = true;
    url->host_count = 1;
    return path[len] == '?' ? parse_query(path + len, url) : NULL;
}

static const char *refuse_unix(const char *text, struct store_url *url)
{
    (void)text;
    (void)url;
    return "a unix socket has no TLS: redis+unix:///path";
}

static const struct {
    const char *prefix;
    const char *(*parse)(const char *rest, struct store_url *url);
    enum store_kind kind;
    bool is_tls;
} schemes[] = {
    {"redis://", parse_tcp, STORE_KIND_SINGLE, false},
    {"rediss://", parse_tcp, STORE_KIND_SINGLE, true},
    {"redis+unix://", parse_unix, STORE_KIND_SINGLE, false},
    {"rediss+unix://", refuse_unix, STORE_KIND_SINGLE, true},
    {"redis+sentinel://", parse_sentinel, STORE_KIND_SENTINEL, false},
    {"rediss+sentinel://", parse_sentinel, STORE_KIND_SENTINEL, true},
    {"redis+cluster://", parse_cluster, STORE_KIND_CLUSTER, false},
    {"rediss+cluster://", parse_cluster, STORE_KIND_CLUSTER, true},
};

static const char *parse_scheme(const char *text, struct store_url *url)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i].prefix);
        if (strncasecmp(text, schemes[i].prefix, len) != 0)
            continue;
        url->kind = schemes[i].kind;
        const char *wrong = schemes[i].parse(text + len, url);
        for (unsigned host = 0; host < url->host_count; host++)
            url->hosts[host].is_tls = schemes[i].is_tls;
        return wrong;
    }
    return "a store is memory, redis://host:port/db, redis+unix:///path?db=n, "
           "redis+sentinel://hosts/master or redis+cluster://hosts";
}

static const char *parse(const char *text, struct store_url *url)
{
    if (strcmp(text, "memory") == 0)
        return NULL;
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return "it holds a space or a control character";
    }
    return parse_scheme(text, url);
}

/* One line, whatever the text holds, with room left for what is wrong. */
static void shown(const char *text, char out[SHOWN_MAX + 4])
{
    if (mask(text, out, SHOWN_MAX + 4) > SHOWN_MAX)
        memcpy(out + SHOWN_MAX, "...", 4);
    for (char *c = out; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
            *c = '?';
    }
}

int store_url_parse(const char *text, struct store_url *url,
                    char error[STORE_URL_ERROR_MAX])
{
    char masked[SHOWN_MAX + 4];

    *url = (struct store_url){0};
    const char *wrong = parse(text, url);
    if (wrong == NULL)
        return 0;
    *url = (struct store_url){0};
    shown(text, masked);
    snprintf(error, STORE_URL_ERROR_MAX, "%s: %s", masked, wrong);
    return -1;
}
