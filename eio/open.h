/* SPDX-License-Identifier: MIT */
/* The open packet: what a server answers to a handshake. */
#ifndef SIDGATE_EIO_OPEN_H
#define SIDGATE_EIO_OPEN_H

#include "eio/payload.h"
#include "eio/sid.h"

enum { EIO_OPEN_PREFIX_MAX = 8192 }; /* bytes of a body that are looked at */
enum { EIO_OPEN_DEPTH_MAX = 8 };     /* nesting of its JSON */

struct eio_open {
    struct eio_sid sid;         /* 1 to EIO_SID_MAX bytes, no control bytes */
    uint32_t ping_interval_ms;  /* 0 where absent; clamped to one day */
    uint32_t ping_timeout_ms;   /* likewise */
    uint32_t max_payload_bytes; /* 0 where absent */
    bool upgrades_websocket;    /* "websocket" is among its upgrades */
    enum eio_framing framing;   /* how the payload around it was framed */
};

/* Looks for an open packet as the first packet of a polling response body, in
 * any framing, found by content and not by the request's EIO parameter:
 * `0{...}`, `97:0{...}2:40`, binary 00 09 07 ff 30 7b ..., and each of the
 * first two within JSONP.
 *
 * `body` is a prefix of the body, decoded of chunks and compression; is_whole
 * says that nothing follows. EIO_DONE: *out is filled. EIO_MORE: it may become
 * one with more bytes (never when is_whole, nor from EIO_OPEN_PREFIX_MAX bytes
 * on). EIO_BAD: it is not an open packet, *out is untouched. */
enum eio_result eio_open_find(struct eio_span body, bool is_whole,
                              struct eio_open *out)
    __attribute__((warn_unused_result));

/* The same for one packet without framing: the text of the first frame of a
 * websocket-only session (`0{...}`). */
enum eio_result eio_open_parse(struct eio_span packet, struct eio_open *out)
    __attribute__((warn_unused_result));

#endif
