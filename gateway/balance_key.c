/* SPDX-License-Identifier: MIT */
/* What a handshake is placed by with GW_BALANCE_HASH. */
#include "gateway/balance.h"
#include "gateway/ring.h"

#include <sys/socket.h>

/* So that a value is never the same key as an address of the same bytes. */
enum { SEED_ADDRESS = 1, SEED_VALUE };

/* Cuts what is before the next `separator` off *rest, which is not empty. */
static struct eio_span take_part(struct eio_span *rest, char separator)
{
    const char *end = memchr(rest->ptr, separator, rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
    size_t taken = end != NULL ? len + 1 : len;
    struct eio_span part = {rest->ptr, len};
    rest->ptr += taken;
    rest->len -= taken;
    return part;
}

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

/* The value behind "name="; empty when the pair has another name. */
static struct eio_span value_of(struct eio_span pair, struct eio_span name)
{
    if (pair.len <= name.len || pair.ptr[name.len] != '=' ||
        memcmp(pair.ptr, name.ptr, name.len) != 0)
        return (struct eio_span){NULL, 0};
    return (struct eio_span){pair.ptr + name.len + 1, pair.len - name.len - 1};
}

/* The first value of this name that is not empty. */
static struct eio_span find_pair(struct eio_span pairs, char separator,
                                 struct eio_span name)
{
    while (pairs.len > 0) {
        struct eio_span pair = trim(take_part(&pairs, separator));
        struct eio_span value = value_of(pair, name);
        if (value.len > 0)
            return value;
    }
    return (struct eio_span){NULL, 0};
}

static struct eio_span find_header(const struct gw_head *head, const char *name)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (head->fields[i].value.len > 0 &&
            gw_span_is(head->fields[i].name, name))
            return head->fields[i].value;
    return (struct eio_span){NULL, 0};
}

/* There may be several fields, each with several cookies. */
static struct eio_span find_cookie(const struct gw_head *head,
                                   struct eio_span name)
{
    for (size_t i = 0; i < head->field_count; i++) {
        if (!gw_span_is(head->fields[i].name, "cookie"))
            continue;
        struct eio_span value = find_pair(head->fields[i].value, ';', name);
        if (value.len > 0)
            return value;
    }
    return (struct eio_span){NULL, 0};
}

static struct eio_span find_key(const struct gw_hash_key *key,
                                const struct gw_head *head)
{
    switch (key->source) {
    case GW_HASH_ADDRESS:
        break;
    case GW_HASH_HEADER:
        return find_header(head, key->name);
    case GW_HASH_COOKIE:
        return find_cookie(head, eio_span_of(key->name));
    case GW_HASH_QUERY:
        return find_pair(head->query, '&', eio_span_of(key->name));
    }
    return (struct eio_span){NULL, 0};
}

/* A v4 address mapped into v6 is the v4 address. */
static uint64_t hash_address(const struct gw_peer *peer)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    struct eio_span bytes = {(const char *)peer->addr, sizeof(peer->addr)};
    if (peer->family == AF_INET)
        bytes.len = 4;
    else if (peer->family == AF_INET6 &&
             memcmp(peer->addr, mapped, sizeof(mapped)) == 0)
        bytes = (struct eio_span){bytes.ptr + sizeof(mapped), 4};
    else if (peer->family != AF_INET6)
        bytes.len = 0;
    return gw_hash_bytes(SEED_ADDRESS, bytes);
}

uint64_t gw_balance_hash(const struct gw_pool_config *pool,
                         const struct gw_head *head, const struct gw_peer *peer)
{
    struct eio_span key = find_key(&pool->hash_key, head);
    if (key.len > 0)
        return gw_hash_bytes(SEED_VALUE, key);
    return hash_address(peer);
}
