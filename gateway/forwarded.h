/* SPDX-License-Identifier: MIT */
/*
 * Who the client of a request is. A trusted proxy before sidgate says so in one
 * header, which the configuration names; of its chain of addresses, read from
 * its end, the first that is no trusted proxy is the client. Whatever stands
 * before that one was said by the client and is thrown away.
 */
#ifndef SIDGATE_GATEWAY_FORWARDED_H
#define SIDGATE_GATEWAY_FORWARDED_H

#include "gateway/head.h"
#include "gateway/peer.h"

enum { GW_HOPS_MAX = 8 };

struct gw_client {
    struct gw_peer peer;              /* the client itself */
    struct gw_peer hops[GW_HOPS_MAX]; /* the proxies after it, in order, the one
                                         that is connected to us last */
    uint8_t hop_count;
    bool is_tls;          /* it speaks https, as far as is known */
    struct eio_span host; /* that it asked for; empty: as Host says */
};

/* Whether the configuration trusts the one at the other end. */
bool gw_peer_is_trusted(const struct gw_config *config,
                        const struct gw_peer *peer);

/* `peer` is the connection's, `is_tls` whether it is a TLS one. Spans in
 * *client are the head's. A chain that cannot be read (an element that is no
 * address, "unknown", an obfuscated name), or is longer than GW_HOPS_MAX
 * proxies, ends there: the last proxy that could be read is then the client.
 * X-Forwarded-Proto and X-Forwarded-Host (with `forwarded`: proto= and host= of
 * the element where the chain ends, whether it names an address or not) are
 * believed only from a trusted peer, and only if they are well-formed: http or
 * https (wss and ws, as some proxies say of websockets), a valid authority. Of
 * a list of them counts the element that stands where the client does in the
 * chain. */
void gw_forwarded_client(const struct gw_head *head,
                         const struct gw_config *config,
                         const struct gw_peer *peer, bool is_tls,
                         struct gw_client *client);

#endif
