/* SPDX-License-Identifier: MIT */
/* Private to eio: the JSON object of an open packet. */
#ifndef SIDGATE_EIO_OPEN_JSON_H
#define SIDGATE_EIO_OPEN_JSON_H

#include "eio/open.h"

/* Finds the end of the JSON object that `text` begins with, and bounds what
 * cJSON will meet. EIO_DONE: *json is the object. EIO_MORE: it has not ended.
 * EIO_BAD: no object, nested deeper than EIO_OPEN_DEPTH_MAX, a control byte,
 * or an escaped NUL. */
enum eio_result eio_open_json_measure(struct eio_span text,
                                      struct eio_span *json)
    __attribute__((warn_unused_result));

/* Reads a measured object of at most EIO_OPEN_PREFIX_MAX bytes: all of *out
 * but the framing. False, and *out untouched, if it holds no usable sid. */
bool eio_open_json_read(struct eio_span json, struct eio_open *out)
    __attribute__((warn_unused_result));

#endif
