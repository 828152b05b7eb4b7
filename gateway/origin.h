/* SPDX-License-Identifier: MIT */
/* Which pages' scripts may open sessions. */
#ifndef SIDGATE_GATEWAY_ORIGIN_H
#define SIDGATE_GATEWAY_ORIGIN_H

#include "eio/span.h"
#include "gateway/config.h"

/* Checks the form of an allowed origin ("https://example.com",
 * "http://localhost:3000"; "*." before the host stands for all names below it)
 * and writes it in lower case and without the scheme's own port. False when it
 * is none. */
bool gw_origin_normal(const char *text, char out[GW_ORIGIN_MAX]);

/* Whether a request with this Origin (empty: none was sent) may go on: when no
 * origins are configured, when it has none, or when one of them is its own.
 * With "*." one is for every name below its host, at any depth, not for the
 * host itself. "null" never matches. */
bool gw_origin_may(const struct gw_config *config, struct eio_span origin);

#endif
