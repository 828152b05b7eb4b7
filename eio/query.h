/* SPDX-License-Identifier: MIT */
/* The query string of an Engine.IO request. */
#ifndef SIDGATE_EIO_QUERY_H
#define SIDGATE_EIO_QUERY_H

#include "eio/sid.h"

enum eio_transport {
    EIO_TRANSPORT_NONE, /* no `transport` parameter */
    EIO_TRANSPORT_POLLING,
    EIO_TRANSPORT_WEBSOCKET,
    EIO_TRANSPORT_OTHER, /* any other value: the server answers it */
};

enum eio_query_status {
    EIO_QUERY_OK,
    EIO_QUERY_DUPLICATE_SID, /* servers disagree on which one counts */
    EIO_QUERY_BAD_SID,       /* over EIO_SID_MAX, a control byte (below 0x20
                                or 0x7f) or a broken percent escape in it */
};

struct eio_query {
    struct eio_sid sid; /* decoded; len 0: absent or empty */
    int eio;            /* the number in EIO=, 0 where absent or not a
                           number of one or two digits */
    enum eio_transport transport;
    uint32_t jsonp; /* j= with all but its digits dropped */
    bool has_eio;   /* EIO= is there, whatever its value */
    bool has_transport;
    bool has_jsonp; /* j= is there */
    bool has_b64;   /* b64= is there */
};

/* Parses what follows the '?' of a request target (without the '?'; a
 * fragment cannot occur). Names and values are percent-decoded before they are
 * compared, so `s%69d=` is `sid=`; '+' is a space. `xsid`, `sid[]` and `SID`
 * are other names. Parameters are separated by '&'. For parameters other than
 * sid the first one counts. Writes all of `*out` in every case; with an error
 * the sid in it is empty. */
enum eio_query_status eio_query_parse(struct eio_span query,
                                      struct eio_query *out)
    __attribute__((warn_unused_result));

#endif
