/* SPDX-License-Identifier: MIT */
/* Which pages' scripts may open sessions. */
#include "gateway/origin.h"
#include "gateway/grammar.h"

#include <arpa/inet.h>

/* Text that grows in a buffer of GW_ORIGIN_MAX bytes. */
struct writer {
    char *out;
    size_t len;
};

static bool put(struct writer *writer, struct eio_span text)
{
    if (text.len >= GW_ORIGIN_MAX - writer->len)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c | 0x20);
        writer->out[writer->len++] = c;
    }
    writer->out[writer->len] = '\0';
    return true;
}

static struct eio_span behind(struct eio_span text, size_t len)
{
    return (struct eio_span){text.ptr + len, text.len - len};
}

static size_t scheme_len(struct eio_span text)
{
    size_t len = 0;
    while (len < text.len && (gw_is_alnum(text.ptr[len]) ||
                              (len > 0 && text.ptr[len] != '\0' &&
                               strchr("+-.", text.ptr[len]) != NULL)))
        len++;
    return len;
}

/* Labels with single dots between them, none at the end: a name with one there
 * is another origin. 0: it is not one. */
static size_t name_len(struct eio_span text)
{
    size_t len = 0;
    size_t label = 0;
    for (; len < text.len; len++) {
        char c = text.ptr[len];
        if (c == '.' && label == 0)
            return 0;
        if (c != '.' && !gw_is_alnum(c) && c != '-' && c != '_')
            break;
        label = c == '.' ? 0 : label + 1;
    }
    return label > 0 ? len : 0;
}

/* An IPv6 address has many spellings; browsers send the shortest. */
static size_t put_v6(struct writer *writer, struct eio_span text)
{
    struct gw_peer peer;
    char shortest[INET6_ADDRSTRLEN];
    const char *end = memchr(text.ptr, ']', text.len);
    if (end == NULL)
        return 0;
    size_t len = (size_t)(end - text.ptr) + 1;
    if (!gw_peer_parse((struct eio_span){text.ptr, len}, &peer) ||
        peer.family != AF_INET6)
        return 0;
    gw_peer_text(&peer, shortest, sizeof(shortest));
    if (!put(writer, eio_span_of("[")) || !put(writer, eio_span_of(shortest)) ||
        !put(writer, eio_span_of("]")))
        return 0;
    return len;
}

/* Returns how much of `text` the host takes, 0 where there is none. */
static size_t put_host(struct writer *writer, struct eio_span text,
                       bool may_be_many)
{
    size_t star = 0;
    if (text.len > 0 && text.ptr[0] == '[')
        return put_v6(writer, text);
    if (may_be_many && text.len > 2 && memcmp(text.ptr, "*.", 2) == 0)
        star = 2;
    size_t len = name_len(behind(text, star));
    if (len == 0 || !put(writer, (struct eio_span){text.ptr, star + len}))
        return 0;
    return star + len;
}

static bool put_port(struct writer *writer, struct eio_span text)
{
    if (text.len < 2 || text.ptr[0] != ':' || text.ptr[1] == '0' ||
        !gw_is_port(behind(text, 1)))
        return false;
    if ((gw_span_is(text, ":80") && strncmp(writer->out, "http:", 5) == 0) ||
        (gw_span_is(text, ":443") && strncmp(writer->out, "https:", 6) == 0))
        return true;
    return put(writer, text);
}

static bool normalise(struct eio_span text, bool may_be_many,
                      char out[GW_ORIGIN_MAX])
{
    struct writer writer = {.out = out};
    size_t scheme = scheme_len(text);
    struct eio_span rest = behind(text, scheme);
    if (scheme == 0 || (text.ptr[0] >= '0' && text.ptr[0] <= '9') ||
        rest.len < 3 || memcmp(rest.ptr, "://", 3) != 0)
        return false;
    if (!put(&writer, (struct eio_span){text.ptr, scheme + 3}))
        return false;
    rest = behind(rest, 3);
    size_t host = put_host(&writer, rest, may_be_many);
    if (host == 0)
        return false;
    rest = behind(rest, host);
    return rest.len == 0 || put_port(&writer, rest);
}

bool gw_origin_normal(const char *text, char out[GW_ORIGIN_MAX])
{
    return normalise(eio_span_of(text), true, out);
}

static bool is_match(const char *allowed, const char *origin)
{
    const char *star = strchr(allowed, '*');
    if (star == NULL)
        return strcmp(allowed, origin) == 0;
    size_t before = (size_t)(star - allowed);
    size_t after = strlen(star + 1);
    size_t len = strlen(origin);
    return len > before + after && memcmp(allowed, origin, before) == 0 &&
           memcmp(star + 1, origin + len - after, after) == 0;
}

static bool is_allowed(const struct gw_config *config, struct eio_span origin)
{
    char normal[GW_ORIGIN_MAX];
    if (!normalise(origin, false, normal))
        return false;
    for (size_t i = 0; i < config->origin_count; i++)
        if (is_match(config->origins[i], normal))
            return true;
    return false;
}

bool gw_origin_may(const struct gw_config *config, struct eio_span origin)
{
    return config->origin_count == 0 || origin.len == 0 ||
           is_allowed(config, origin);
}

/* What is before the path of a URL. */
static struct eio_span origin_of(struct eio_span url)
{
    size_t len = scheme_len(url);
    len = url.len - len > 3 ? len + 3 : url.len;
    while (len < url.len && memchr("/?#", url.ptr[len], 3) == NULL)
        len++;
    return (struct eio_span){url.ptr, len};
}

bool gw_origin_may_without(const struct gw_config *config,
                           const struct gw_head *head, bool is_jsonp)
{
    struct eio_span referer = {NULL, 0};
    bool is_doubted = is_jsonp;
    if (config->origin_count == 0)
        return true;
    for (size_t i = 0; i < head->field_count; i++) {
        const struct gw_field *field = &head->fields[i];
        if (gw_span_is(field->name, "sec-fetch-site"))
            is_doubted = !gw_span_is(field->value, "same-origin") &&
                         !gw_span_is(field->value, "none");
        else if (gw_span_is(field->name, "referer"))
            referer = field->value;
    }
    return !is_doubted ||
           (referer.len > 0 && is_allowed(config, origin_of(referer)));
}
