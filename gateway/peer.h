/* SPDX-License-Identifier: MIT */
/* A client's address, and networks of them. */
#ifndef SIDGATE_GATEWAY_PEER_H
#define SIDGATE_GATEWAY_PEER_H

#include "eio/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr_storage;

struct gw_peer {
    uint8_t family; /* AF_INET, AF_INET6; AF_UNIX: no address is known */
    uint8_t addr[16];
};

/* A network: those whose first `bits` bits are those of `base`. */
struct gw_net {
    struct gw_peer base;
    uint8_t bits;
};

/* A v4 address mapped into v6 becomes v4. */
void gw_peer_from_sockaddr(struct gw_peer *peer,
                           const struct sockaddr_storage *addr);

/* Writes the address as text, with NUL; needs INET6_ADDRSTRLEN bytes. The peer
 * of a unix socket is "unix". */
void gw_peer_text(const struct gw_peer *peer, char *out, size_t cap);

/* Reads "192.0.2.1", "2001:db8::1", "[2001:db8::1]", also with a port behind
 * it ("192.0.2.1:80", "[2001:db8::1]:80"). A v4 address mapped into v6 becomes
 * v4. False, *peer untouched, for anything else: zones, names, white space. */
bool gw_peer_parse(struct eio_span text, struct gw_peer *peer);

/* One to five digits, at most 65535. */
bool gw_is_port(struct eio_span text);

bool gw_peer_equal(const struct gw_peer *a, const struct gw_peer *b);

/* Whom limits for an address count as one: of IPv6, a /64. */
struct gw_peer gw_peer_account(const struct gw_peer *peer);

/* Reads "10.0.0.0/8", "2001:db8::/32" or an address alone. False when it is
 * not one, or has bits behind its length. */
bool gw_net_parse(const char *text, struct gw_net *net);
bool gw_net_has(const struct gw_net *net, const struct gw_peer *peer);

#endif
