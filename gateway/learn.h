/* SPDX-License-Identifier: MIT */
/*
 * Learning: reading the sid out of the answer to a handshake, whatever its
 * framing and compression, from a bounded prefix, while the answer itself
 * stays as it is.
 */
#ifndef SIDGATE_GATEWAY_LEARN_H
#define SIDGATE_GATEWAY_LEARN_H

#include "eio/open.h"
#include "gateway/affinity.h"
#include "gateway/head.h"

struct gw_learn;

enum gw_learned {
    GW_LEARN_MORE, /* undecided: the answer must wait */
    GW_LEARN_OPEN, /* *open is filled */
    GW_LEARN_NONE, /* not an open packet: the answer goes on untouched */
};

/* For a response with this Content-Encoding. NULL when it cannot be learnt
 * from (an unknown coding, or memory is short). */
struct gw_learn *gw_learn_new(struct eio_span content_encoding);

/* `piece` follows what was fed before; is_whole: it is the last. */
enum gw_learned gw_learn_feed(struct gw_learn *learn, struct eio_span piece,
                              bool is_whole, struct eio_open *open);

/* For the binding that follows. */
struct gw_bind *gw_learn_bind(struct gw_learn *learn);

/* Cancels the binding if one is under way. Clears *learn. */
void gw_learn_free(struct gw_learn **learn);

#endif
