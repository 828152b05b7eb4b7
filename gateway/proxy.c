/* SPDX-License-Identifier: MIT */
/*
 * The PROXY protocol's header, versions 1 and 2, at the start of a connection.
 *
 * Version 1 is read token by token by a cursor that stops where the bytes do;
 * what stands there so far must be the start of something valid, so that
 * whoever speaks another protocol is refused at its first wrong byte.
 */
#include "gateway/proxy.h"
#include "gateway/grammar.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum {
    V1_MAX = 107, /* with its CRLF */
    V2_FIXED = 16,
    V2_LOCAL = 0x20, /* version and command in one byte */
    V2_PROXY = 0x21,
    V2_UNSPEC = 0x00, /* family and protocol in one byte */
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_UNIX_STREAM = 0x31,
    TLV_HEAD = 3,
    TLV_CRC32C = 0x03,
    CRC_LEN = 4,
};

struct cursor {
    struct eio_span rest;
    size_t taken;
};

/* ---- version 1 ---- */

static void skip(struct cursor *cursor, size_t len)
{
    cursor->rest.ptr += len;
    cursor->rest.len -= len;
    cursor->taken += len;
}

static enum gw_proxy_result take_literal(struct cursor *cursor,
                                         const char *text)
{
    size_t len = strlen(text);
    size_t seen = len < cursor->rest.len ? len : cursor->rest.len;
    if (memcmp(cursor->rest.ptr, text, seen) != 0)
        return GW_PROXY_BAD;
    if (seen < len)
        return GW_PROXY_MORE;
    skip(cursor, len);
    return GW_PROXY_DONE;
}

/* A number of at most `max`, with one zero at most at its start. MORE: it may
 * go on. DONE leaves what ended it. */
static enum gw_proxy_result take_number(struct cursor *cursor, unsigned max)
{
    unsigned value = 0;
    size_t len = 0;
    for (; len < cursor->rest.len; len++) {
        char c = cursor->rest.ptr[len];
        if (c < '0' || c > '9')
            break;
        value = value * 10 + (unsigned)(c - '0');
        if (value > max || (len > 0 && cursor->rest.ptr[0] == '0'))
            return GW_PROXY_BAD;
    }
    if (len == cursor->rest.len)
        return GW_PROXY_MORE;
    if (len == 0)
        return GW_PROXY_BAD;
    skip(cursor, len);
    return GW_PROXY_DONE;
}

static enum gw_proxy_result take_v4(struct cursor *cursor)
{
    enum gw_proxy_result result = GW_PROXY_DONE;
    for (int i = 0; i < 4 && result == GW_PROXY_DONE; i++) {
        if (i > 0)
            result = take_literal(cursor, ".");
        if (result == GW_PROXY_DONE)
            result = take_number(cursor, 255);
    }
    return result;
}

static enum gw_proxy_result take_v6(struct cursor *cursor)
{
    struct in6_addr addr;
    char text[INET6_ADDRSTRLEN];
    size_t len = 0;
    while (len < cursor->rest.len && cursor->rest.ptr[len] != ' ') {
        char c = cursor->rest.ptr[len];
        if ((gw_hex_digit(c) < 0 && c != ':' && c != '.') ||
            len == sizeof(text) - 1)
            return GW_PROXY_BAD;
        text[len++] = c;
    }
    if (len == cursor->rest.len)
        return GW_PROXY_MORE;
    text[len] = '\0';
    if (inet_pton(AF_INET6, text, &addr) != 1)
        return GW_PROXY_BAD;
    skip(cursor, len);
    return GW_PROXY_DONE;
}

/* Source and destination, then their ports. Only the source is kept. */
static enum gw_proxy_result take_addresses(struct cursor *cursor, bool is_v6,
                                           struct gw_peer *peer)
{
    enum gw_proxy_result result = GW_PROXY_DONE;
    struct eio_span source = cursor->rest;
    for (int i = 0; i < 4 && result == GW_PROXY_DONE; i++) {
        if (i > 0)
            result = take_literal(cursor, " ");
        if (result != GW_PROXY_DONE)
            break;
        if (i >= 2)
            result = take_number(cursor, 65535);
        else
            result = is_v6 ? take_v6(cursor) : take_v4(cursor);
        if (i == 0)
            source.len = (size_t)(cursor->rest.ptr - source.ptr);
    }
    if (result == GW_PROXY_DONE && !gw_peer_parse(source, peer))
        return GW_PROXY_BAD;
    return result;
}

/* What follows UNKNOWN means nothing, but is text. */
static enum gw_proxy_result take_unknown(struct cursor *cursor)
{
    if (cursor->rest.len == 0)
        return GW_PROXY_MORE;
    if (cursor->rest.ptr[0] != ' ' && cursor->rest.ptr[0] != '\r')
        return GW_PROXY_BAD;
    while (cursor->rest.len > 0 && cursor->rest.ptr[0] != '\r') {
        if (cursor->rest.ptr[0] < 0x20 || cursor->rest.ptr[0] > 0x7e)
            return GW_PROXY_BAD;
        skip(cursor, 1);
    }
    return cursor->rest.len > 0 ? GW_PROXY_DONE : GW_PROXY_MORE;
}

static enum gw_proxy_result take_v1(struct cursor *cursor, struct gw_peer *peer,
                                    bool *has_peer)
{
    enum gw_proxy_result result = take_literal(cursor, "PROXY ");
    if (result != GW_PROXY_DONE)
        return result;
    if (cursor->rest.len > 0 && cursor->rest.ptr[0] == 'U') {
        result = take_literal(cursor, "UNKNOWN");
        if (result == GW_PROXY_DONE)
            result = take_unknown(cursor);
    } else {
        bool is_v6 = cursor->rest.len > 3 && cursor->rest.ptr[3] == '6';
        result = take_literal(cursor, is_v6 ? "TCP6 " : "TCP4 ");
        if (result == GW_PROXY_DONE)
            result = take_addresses(cursor, is_v6, peer);
        *has_peer = result == GW_PROXY_DONE;
    }
    return result == GW_PROXY_DONE ? take_literal(cursor, "\r\n") : result;
}

static enum gw_proxy_result parse_v1(struct eio_span bytes,
                                     struct gw_peer *peer, bool *has_peer,
                                     size_t *len)
{
    struct cursor cursor = {.rest = bytes};
    if (cursor.rest.len > V1_MAX)
        cursor.rest.len = V1_MAX;
    enum gw_proxy_result result = take_v1(&cursor, peer, has_peer);
    *len = cursor.taken;
    if (result != GW_PROXY_MORE)
        return result;
    /* Only the LF may still be on its way when one byte is left. */
    if (bytes.len < V1_MAX - 1 ||
        (bytes.len == V1_MAX - 1 && bytes.ptr[V1_MAX - 2] == '\r'))
        return GW_PROXY_MORE;
    return GW_PROXY_BAD;
}

/* ---- version 2 ---- */

static const char signature[12] = {'\r', '\n', '\r', '\n', '\0', '\r',
                                   '\n', 'Q',  'U',  'I',  'T',  '\n'};

static size_t big_endian_16(const uint8_t *at)
{
    return (size_t)at[0] << 8 | at[1];
}

/* Bytes of a family's two addresses and ports; -1: the family is refused. */
static int addresses_len(uint8_t family)
{
    switch (family) {
    case V2_UNSPEC:
        return 0;
    case V2_TCP4:
        return 2 * 4 + 2 * 2;
    case V2_TCP6:
        return 2 * 16 + 2 * 2;
    case V2_UNIX_STREAM:
        return 2 * 108;
    default:
        return -1;
    }
}

/* CRC-32C of the whole header, with zeros where the sum itself stands. By bits:
 * it is taken once for a connection, of some hundred bytes. */
static uint32_t crc32c(const uint8_t *head, size_t len, size_t sum_at)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        bool is_sum = i >= sum_at && i - sum_at < CRC_LEN;
        crc ^= is_sum ? 0 : head[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static bool is_sum_right(const uint8_t *head, size_t len, size_t at)
{
    uint32_t sum = (uint32_t)(big_endian_16(head + at) << 16 |
                              big_endian_16(head + at + 2));
    return sum == crc32c(head, len, at);
}

/* Extensions fill what is behind the addresses exactly. They are walked as far
 * as they have come; only the checksum has a meaning here. */
static bool are_extensions_sound(const uint8_t *head, size_t have, size_t at,
                                 size_t total)
{
    size_t sum_at = 0;
    while (at < total) {
        if (total - at < TLV_HEAD)
            return false;
        if (have < at + TLV_HEAD)
            return true;
        size_t len = big_endian_16(head + at + 1);
        if (len > total - at - TLV_HEAD)
            return false;
        if (head[at] == TLV_CRC32C) {
            if (len != CRC_LEN || sum_at != 0)
                return false;
            sum_at = at + TLV_HEAD;
        }
        at += TLV_HEAD + len;
    }
    return sum_at == 0 || have < total || is_sum_right(head, total, sum_at);
}

static bool take_source(const uint8_t *head, struct gw_peer *peer)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } source = {.any = {0}};

    if (head[13] == V2_TCP4) {
        source.v4.sin_family = AF_INET;
        memcpy(&source.v4.sin_addr, head + V2_FIXED, 4);
    } else if (head[13] == V2_TCP6) {
        source.v6.sin6_family = AF_INET6;
        memcpy(&source.v6.sin6_addr, head + V2_FIXED, 16);
    } else {
        return false;
    }
    gw_peer_from_sockaddr(peer, &source.any);
    return true;
}

/* The fixed part, as far as it has come. */
static bool is_start_sound(const uint8_t *head, size_t have)
{
    if (memcmp(head, signature,
               have < sizeof(signature) ? have : sizeof(signature)) != 0)
        return false;
    if (have > 12 && head[12] != V2_LOCAL && head[12] != V2_PROXY)
        return false;
    /* Of LOCAL the family is to be ignored. */
    if (have > 13 && head[12] == V2_PROXY && addresses_len(head[13]) < 0)
        return false;
    return have <= 14 || head[14] <= (GW_PROXY_HEAD_MAX - V2_FIXED) >> 8;
}

static enum gw_proxy_result parse_v2(struct eio_span bytes,
                                     struct gw_peer *peer, bool *has_peer,
                                     size_t *len)
{
    const uint8_t *head = (const uint8_t *)bytes.ptr;
    if (!is_start_sound(head, bytes.len))
        return GW_PROXY_BAD;
    if (bytes.len < V2_FIXED)
        return GW_PROXY_MORE;
    size_t total = V2_FIXED + big_endian_16(head + 14);
    if (total > GW_PROXY_HEAD_MAX)
        return GW_PROXY_BAD;
    /* Where no family says how long the addresses are, nothing tells where the
     * extensions begin: all is passed over. */
    bool is_proxied = head[12] == V2_PROXY && head[13] != V2_UNSPEC;
    if (is_proxied) {
        size_t at = V2_FIXED + (size_t)addresses_len(head[13]);
        if (at > total || !are_extensions_sound(head, bytes.len, at, total))
            return GW_PROXY_BAD;
    }
    if (bytes.len < total)
        return GW_PROXY_MORE;
    *len = total;
    *has_peer = is_proxied && take_source(head, peer);
    return GW_PROXY_DONE;
}

enum gw_proxy_result gw_proxy_parse(struct eio_span bytes, struct gw_peer *peer,
                                    bool *has_peer, size_t *len)
{
    struct gw_peer found;
    bool is_found = false;
    size_t found_len = 0;

    if (bytes.len == 0)
        return GW_PROXY_MORE;
    enum gw_proxy_result result =
        bytes.ptr[0] == 'P' ? parse_v1(bytes, &found, &is_found, &found_len)
                            : parse_v2(bytes, &found, &is_found, &found_len);
    if (result != GW_PROXY_DONE)
        return result;
    if (is_found)
        *peer = found;
    *has_peer = is_found;
    *len = found_len;
    return GW_PROXY_DONE;
}
