/* SPDX-License-Identifier: MIT */
/* The PROXY protocol's header, versions 1 and 2, at the start of a
 * connection. */
#ifndef SIDGATE_GATEWAY_PROXY_H
#define SIDGATE_GATEWAY_PROXY_H

#include "gateway/peer.h"

enum { GW_PROXY_HEAD_MAX = 4096 }; /* version 2 with its TLVs */

enum gw_proxy_result {
    GW_PROXY_MORE, /* so far it is the start of one */
    GW_PROXY_DONE,
    GW_PROXY_BAD,
};

/* Reads the header that `bytes` begin with. DONE sets *len to its length and,
 * if it names a client, *peer and *has_peer (not for LOCAL, UNKNOWN, unix and
 * unspecified addresses). Never answers MORE for GW_PROXY_HEAD_MAX bytes or
 * more. */
enum gw_proxy_result gw_proxy_parse(struct eio_span bytes, struct gw_peer *peer,
                                    bool *has_peer, size_t *len);

#endif
