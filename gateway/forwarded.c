/* SPDX-License-Identifier: MIT */
/*
 * Who the client of a request is.
 *
 * Chains are read backwards, byte by byte: what the trusted proxies wrote
 * stands at the end, and no quote that a client left open before it can change
 * where its elements begin.
 */
#include "gateway/forwarded.h"
#include "gateway/grammar.h"

#include <arpa/inet.h>

enum { HOST_MAX = 255 };

/* A chain, from its end: `field` is the next line to look at, plus one. */
struct chain {
    const struct gw_head *head;
    const char *name;
    size_t field;
    struct eio_span rest; /* of the line that is being read */
    bool has_quotes;
};

/* What is said about one hop. */
struct hop {
    struct eio_span node;
    struct eio_span proto;
    struct eio_span host;
};

bool gw_peer_is_trusted(const struct gw_config *config,
                        const struct gw_peer *peer)
{
    if (peer->family == AF_UNIX)
        return config->trusts_unix;
    for (size_t i = 0; i < config->trusted_count; i++)
        if (gw_net_has(&config->trusted[i], peer))
            return true;
    return false;
}

/* ---- lists, from their end ---- */

static struct eio_span trim(struct eio_span span)
{
    while (span.len > 0 && (span.ptr[0] == ' ' || span.ptr[0] == '\t')) {
        span.ptr++;
        span.len--;
    }
    while (span.len > 0 &&
           (span.ptr[span.len - 1] == ' ' || span.ptr[span.len - 1] == '\t'))
        span.len--;
    return span;
}

/* Whether the byte at `at` has an odd number of backslashes before it. */
static bool is_escaped(struct eio_span span, size_t at)
{
    size_t first = at;
    while (first > 0 && span.ptr[first - 1] == '\\')
        first--;
    return (at - first) % 2 == 1;
}

/* Where the last element of the list begins. */
static size_t last_begin(struct eio_span list, bool has_quotes)
{
    bool is_quoted = false;
    size_t at = list.len;
    for (; at > 0; at--) {
        char c = list.ptr[at - 1];
        if (c == ',' && !is_quoted)
            break;
        if (c == '"' && has_quotes)
            is_quoted = !is_quoted || is_escaped(list, at - 1);
    }
    return at;
}

/* Cuts the last element off what is left of the chain. Empty ones are passed
 * over. What Connection names is read all the same: the proxy meant it for us,
 * and a client must not be able to hide itself so. */
static bool chain_back(struct chain *chain, struct eio_span *element)
{
    for (;;) {
        while (chain->rest.len == 0) {
            if (chain->field == 0)
                return false;
            const struct gw_field *field = &chain->head->fields[--chain->field];
            if (field->kind == GW_FIELD_FORWARDING &&
                gw_span_is(field->name, chain->name))
                chain->rest = field->value;
        }
        size_t begin = last_begin(chain->rest, chain->has_quotes);
        *element = trim((struct eio_span){chain->rest.ptr + begin,
                                          chain->rest.len - begin});
        chain->rest.len = begin > 0 ? begin - 1 : 0;
        if (element->len > 0)
            return true;
    }
}

static struct chain chain_of(const struct gw_head *head, const char *name)
{
    return (struct chain){
        .head = head, .name = name, .field = head->field_count};
}

/* ---- elements of Forwarded ---- */

static size_t token_len(struct eio_span text)
{
    size_t len = 0;
    while (len < text.len && gw_is_token_char(text.ptr[len]))
        len++;
    return len;
}

/* The length with both quotes; 0: it has no end. */
static size_t quoted_len(struct eio_span text)
{
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '\\')
            i++;
        else if (text.ptr[i] == '"')
            return i + 1;
    }
    return 0;
}

static void cut(struct eio_span *text, size_t len)
{
    text->ptr += len;
    text->len -= len;
}

/* Cuts name=value off. The value comes without its quotes, but with its
 * backslashes. */
static bool take_pair(struct eio_span *text, struct eio_span *name,
                      struct eio_span *value)
{
    *name = (struct eio_span){text->ptr, token_len(*text)};
    cut(text, name->len);
    if (name->len == 0 || text->len < 2 || text->ptr[0] != '=')
        return false;
    cut(text, 1);
    bool is_quoted = text->ptr[0] == '"';
    size_t len = is_quoted ? quoted_len(*text) : token_len(*text);
    if (len == 0)
        return false;
    *value = (struct eio_span){text->ptr, len};
    if (is_quoted)
        *value = (struct eio_span){text->ptr + 1, len - 2};
    cut(text, len);
    return true;
}

/* False when it is not one, or says a thing twice. */
static bool parse_element(struct eio_span text, struct hop *hop)
{
    *hop = (struct hop){{NULL, 0}, {NULL, 0}, {NULL, 0}};
    for (;;) {
        struct eio_span name;
        struct eio_span value;
        struct eio_span *known = NULL;
        text = trim(text);
        if (text.len > 0 && text.ptr[0] != ';') {
            if (!take_pair(&text, &name, &value))
                return false;
            if (gw_span_is(name, "for"))
                known = &hop->node;
            else if (gw_span_is(name, "proto"))
                known = &hop->proto;
            else if (gw_span_is(name, "host"))
                known = &hop->host;
            if (known != NULL && known->ptr != NULL)
                return false;
            if (known != NULL)
                *known = value;
            text = trim(text);
        }
        if (text.len == 0)
            return true;
        if (text.ptr[0] != ';')
            return false;
        cut(&text, 1);
    }
}

/* Behind an address there may be a name in the place of the port. */
static struct eio_span without_port_name(struct eio_span node)
{
    const char *mark = memrchr(node.ptr, ':', node.len);
    if (mark == NULL)
        return node;
    size_t len = (size_t)(mark - node.ptr);
    if (node.len - len < 3 || mark[1] != '_')
        return node;
    for (size_t i = len + 2; i < node.len; i++)
        if (!gw_is_alnum(node.ptr[i]) && node.ptr[i] != '.' &&
            node.ptr[i] != '_' && node.ptr[i] != '-')
            return node;
    return (struct eio_span){node.ptr, len};
}

static bool parse_node(struct eio_span node, struct gw_peer *peer)
{
    char plain[INET6_ADDRSTRLEN + sizeof("[]:65535")];
    struct gw_peer found;
    size_t len = 0;

    if (node.len == 0)
        return false;
    node = without_port_name(node);
    for (size_t i = 0; i < node.len; i++) {
        i += node.ptr[i] == '\\' && i + 1 < node.len;
        if (len == sizeof(plain))
            return false;
        plain[len++] = node.ptr[i];
    }
    if (len == 0 || !gw_peer_parse((struct eio_span){plain, len}, &found))
        return false;
    /* Here, v6 is written in brackets. */
    if (plain[0] != '[' && memchr(plain, '.', len) == NULL)
        return false;
    *peer = found;
    return true;
}

/* ---- scheme and host ---- */

/* A name or an address, with a port or none. Narrower than what a Host may
 * be: it is sent on as what the client asked for. */
static bool is_authority(struct eio_span host)
{
    struct gw_peer peer;
    size_t len = 0;
    if (host.len == 0 || host.len > HOST_MAX)
        return false;
    if (host.ptr[0] == '[')
        return gw_peer_parse(host, &peer);
    while (len < host.len &&
           (gw_is_alnum(host.ptr[len]) || host.ptr[len] == '-' ||
            host.ptr[len] == '.' || host.ptr[len] == '_'))
        len++;
    if (len == 0 || len == host.len)
        return len > 0;
    return host.ptr[len] == ':' && gw_is_port((struct eio_span){
                                       host.ptr + len + 1, host.len - len - 1});
}

static void believe_proto(struct eio_span proto, struct gw_client *client)
{
    if (gw_span_is(proto, "https") || gw_span_is(proto, "wss"))
        client->is_tls = true;
    else if (gw_span_is(proto, "http") || gw_span_is(proto, "ws"))
        client->is_tls = false;
}

static void believe_host(struct eio_span host, struct gw_client *client)
{
    if (is_authority(host))
        client->host = host;
}

/* The element of a list that stands where the client does in the chain; of a
 * shorter list, which not every proxy has added to, its first. */
static struct eio_span element_of_client(const struct gw_head *head,
                                         const char *name, size_t hop_count)
{
    struct chain chain = chain_of(head, name);
    struct eio_span element = {NULL, 0};
    struct eio_span next;
    size_t count = 0;
    do {
        if (!chain_back(&chain, &next))
            break;
        element = next;
        count++;
    } while (count < hop_count);
    return element;
}

/* ---- chains ---- */

/* The one connected to the client so far is the next one; false when the chain
 * is too long. */
static bool step_to(const struct gw_peer *next, struct gw_client *client)
{
    if (client->hop_count == GW_HOPS_MAX)
        return false;
    client->hops[client->hop_count++] = client->peer;
    client->peer = *next;
    return true;
}

static void follow_forwarded(const struct gw_head *head,
                             const struct gw_config *config,
                             struct gw_client *client)
{
    struct chain chain = chain_of(head, "forwarded");
    struct hop last = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    struct eio_span element;
    struct gw_peer next;

    chain.has_quotes = true;
    while (gw_peer_is_trusted(config, &client->peer) &&
           client->hop_count < GW_HOPS_MAX && chain_back(&chain, &element)) {
        struct hop hop;
        if (!parse_element(element, &hop))
            break;
        last = hop;
        if (!parse_node(hop.node, &next) || !step_to(&next, client))
            break;
    }
    believe_proto(last.proto, client);
    believe_host(last.host, client);
}

static void follow_x_forwarded_for(const struct gw_head *head,
                                   const struct gw_config *config,
                                   struct gw_client *client)
{
    struct chain chain = chain_of(head, "x-forwarded-for");
    struct eio_span element;
    struct gw_peer next;

    while (gw_peer_is_trusted(config, &client->peer) &&
           chain_back(&chain, &element) && gw_peer_parse(element, &next) &&
           step_to(&next, client))
        continue;
}

/* It is no list: with two of them nobody knows which is meant. */
static void follow_x_real_ip(const struct gw_head *head,
                             struct gw_client *client)
{
    struct chain chain = chain_of(head, "x-real-ip");
    struct eio_span element;
    struct eio_span other;
    struct gw_peer next;

    if (chain_back(&chain, &element) && !chain_back(&chain, &other) &&
        gw_peer_parse(element, &next))
        step_to(&next, client);
}

static void reverse_hops(struct gw_client *client)
{
    for (size_t i = 0; i < client->hop_count / 2; i++) {
        struct gw_peer *a = &client->hops[i];
        struct gw_peer *b = &client->hops[client->hop_count - 1 - i];
        struct gw_peer kept = *a;
        *a = *b;
        *b = kept;
    }
}

void gw_forwarded_client(const struct gw_head *head,
                         const struct gw_config *config,
                         const struct gw_peer *peer, bool is_tls,
                         struct gw_client *client)
{
    client->peer = *peer;
    client->hop_count = 0;
    client->is_tls = is_tls;
    client->host = (struct eio_span){NULL, 0};
    if ((config->trusted_count == 0 && !config->trusts_unix) ||
        !gw_peer_is_trusted(config, peer))
        return;
    if (config->real_address == GW_REAL_ADDRESS_FORWARDED) {
        follow_forwarded(head, config, client);
    } else {
        if (config->real_address == GW_REAL_ADDRESS_X_FORWARDED_FOR)
            follow_x_forwarded_for(head, config, client);
        else
            follow_x_real_ip(head, client);
        believe_proto(
            element_of_client(head, "x-forwarded-proto", client->hop_count),
            client);
        believe_host(
            element_of_client(head, "x-forwarded-host", client->hop_count),
            client);
    }
    reverse_hops(client);
}
