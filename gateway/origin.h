/* SPDX-License-Identifier: MIT */
/* Which pages' scripts may open sessions. */
#ifndef SIDGATE_GATEWAY_ORIGIN_H
#define SIDGATE_GATEWAY_ORIGIN_H

#include "eio/span.h"
#include "gateway/config.h"
#include "gateway/head.h"

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

/* The same for a request of a session without Origin. Programs send none, but
 * neither do a page's script tags, which can read a session by JSONP: where
 * Sec-Fetch-Site names another site, or nothing is known of who wants JSONP,
 * Referer must name an allowed origin. */
bool gw_origin_may_without(const struct gw_config *config,
                           const struct gw_head *head, bool is_jsonp);

#endif
