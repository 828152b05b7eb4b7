/* SPDX-License-Identifier: MIT */
/* A client's address, and networks of them. */
#include "gateway/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum { PORT_MAX = 65535, PORT_DIGITS_MAX = 5, MAPPED_BITS = 96 };

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static void unmap(struct gw_peer *peer)
{
    if (peer->family != AF_INET6 ||
        memcmp(peer->addr, mapped, sizeof(mapped)) != 0)
        return;
    peer->family = AF_INET;
    memmove(peer->addr, peer->addr + 12, 4);
    memset(peer->addr + 4, 0, 12);
}

void gw_peer_from_sockaddr(struct gw_peer *peer,
                           const struct sockaddr_storage *addr)
{
    memset(peer, 0, sizeof(*peer));
    peer->family = AF_UNIX;
    if (addr->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)addr;
        peer->family = AF_INET;
        memcpy(peer->addr, &in->sin_addr, 4);
    } else if (addr->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)addr;
        peer->family = AF_INET6;
        memcpy(peer->addr, &in6->sin6_addr, 16);
        unmap(peer);
    }
}

/* By hand: it is written into every request, and inet_ntop is slow. */
static void v4_text(const uint8_t *addr, char *out)
{
    for (int i = 0; i < 4; i++) {
        unsigned n = addr[i];
        if (n >= 100)
            *out++ = (char)('0' + n / 100);
        if (n >= 10)
            *out++ = (char)('0' + n / 10 % 10);
        *out++ = (char)('0' + n % 10);
        *out++ = i < 3 ? '.' : '\0';
    }
}

void gw_peer_text(const struct gw_peer *peer, char *out, size_t cap)
{
    if (cap > 0)
        out[0] = '\0';
    if (cap < INET6_ADDRSTRLEN)
        return;
    if (peer->family == AF_INET)
        v4_text(peer->addr, out);
    else if (peer->family != AF_INET6)
        memcpy(out, "unix", sizeof("unix"));
    else if (memcmp(peer->addr, mapped, sizeof(mapped)) == 0)
        v4_text(peer->addr + 12, out);
    else if (inet_ntop(AF_INET6, peer->addr, out, (socklen_t)cap) == NULL)
        out[0] = '\0';
}

bool gw_is_port(struct eio_span text)
{
    unsigned port = 0;
    if (text.len == 0 || text.len > PORT_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text.ptr[i] - '0');
    }
    return port <= PORT_MAX;
}

/* An address alone: no brackets, no port. */
static bool parse_alone(struct eio_span text, int family, struct gw_peer *peer)
{
    char copy[INET6_ADDRSTRLEN];
    struct gw_peer found = {.family = (uint8_t)family};

    /* A NUL would end the copy too early. */
    if (text.len == 0 || text.len >= sizeof(copy) ||
        memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(family, copy, found.addr) != 1)
        return false;
    unmap(&found);
    *peer = found;
    return true;
}

static bool parse_bracketed(struct eio_span text, struct gw_peer *peer)
{
    const char *end = memchr(text.ptr, ']', text.len);
    if (end == NULL)
        return false;
    size_t len = (size_t)(end - text.ptr);
    struct eio_span rest = {end + 1, text.len - len - 1};
    if (rest.len > 0 &&
        (rest.ptr[0] != ':' ||
         !gw_is_port((struct eio_span){rest.ptr + 1, rest.len - 1})))
        return false;
    return parse_alone((struct eio_span){text.ptr + 1, len - 1}, AF_INET6,
                       peer);
}

bool gw_peer_parse(struct eio_span text, struct gw_peer *peer)
{
    if (text.len == 0)
        return false;
    if (text.ptr[0] == '[')
        return parse_bracketed(text, peer);
    const char *colon = memchr(text.ptr, ':', text.len);
    if (colon == NULL)
        return parse_alone(text, AF_INET, peer);
    size_t len = (size_t)(colon - text.ptr);
    struct eio_span rest = {colon + 1, text.len - len - 1};
    if (memchr(rest.ptr, ':', rest.len) != NULL)
        return parse_alone(text, AF_INET6, peer);
    return gw_is_port(rest) &&
           parse_alone((struct eio_span){text.ptr, len}, AF_INET, peer);
}

static size_t addr_len(const struct gw_peer *peer)
{
    if (peer->family == AF_INET)
        return 4;
    return peer->family == AF_INET6 ? 16 : 0;
}

bool gw_peer_equal(const struct gw_peer *a, const struct gw_peer *b)
{
    return a->family == b->family && memcmp(a->addr, b->addr, addr_len(a)) == 0;
}

struct gw_peer gw_peer_account(const struct gw_peer *peer)
{
    struct gw_peer account = *peer;
    unmap(&account);
    if (account.family == AF_INET6)
        memset(account.addr + 8, 0, 8);
    return account;
}

/* What is behind '/': at most `max`, without leading zeros. -1: it is not. */
static int parse_bits(const char *text, int max)
{
    int bits = 0;
    size_t len = strlen(text);
    if (len == 0 || len > 3 || (len > 1 && text[0] == '0'))
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        bits = bits * 10 + (text[i] - '0');
    }
    return bits <= max ? bits : -1;
}

static bool has_bits_behind(const struct gw_net *net)
{
    for (size_t bit = net->bits; bit < addr_len(&net->base) * 8; bit++)
        if (net->base.addr[bit / 8] & (0x80 >> bit % 8))
            return true;
    return false;
}

bool gw_net_parse(const char *text, struct gw_net *net)
{
    struct gw_net found;
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    bool is_v6 = memchr(text, ':', len) != NULL;

    if (!parse_alone((struct eio_span){text, len}, is_v6 ? AF_INET6 : AF_INET,
                     &found.base))
        return false;
    int max = is_v6 ? 128 : 32;
    int bits = slash != NULL ? parse_bits(slash + 1, max) : max;
    /* A mapped network is one of v4: its first 96 bits are all set aside. */
    if (is_v6 && found.base.family == AF_INET)
        bits -= MAPPED_BITS;
    if (bits < 0)
        return false;
    found.bits = (uint8_t)bits;
    if (has_bits_behind(&found))
        return false;
    *net = found;
    return true;
}

bool gw_net_has(const struct gw_net *net, const struct gw_peer *peer)
{
    size_t bytes = net->bits / 8;
    unsigned rest = net->bits % 8;
    if (net->base.family != peer->family || addr_len(peer) == 0 ||
        memcmp(net->base.addr, peer->addr, bytes) != 0)
        return false;
    return rest == 0 ||
           ((net->base.addr[bytes] ^ peer->addr[bytes]) >> (8 - rest)) == 0;
}
