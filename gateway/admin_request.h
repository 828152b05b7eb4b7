/* SPDX-License-Identifier: MIT */
/* A request as libwebsockets has parsed it, as the operator plane wants it. */
#ifndef SIDGATE_GATEWAY_ADMIN_REQUEST_H
#define SIDGATE_GATEWAY_ADMIN_REQUEST_H

#include "gateway/admin_guard.h"

#include <libwebsockets.h>

enum {
    GW_ADMIN_HEAD_MAX = 4096, /* bytes of a request's header values */
    GW_ADMIN_TEXT_MAX = 3 * GW_ADMIN_HEAD_MAX + 1,
    GW_ADMIN_VALUE_MAX = 128, /* of a field's value, at least */
};

/* What a gw_admin_request points to. lws joins the values of fields of one name
 * by commas. */
struct gw_admin_text {
    char path[GW_ADMIN_TEXT_MAX];
    char query[GW_ADMIN_TEXT_MAX];
    char host[GW_ADDRESS_MAX + GW_ADMIN_VALUE_MAX];
    char origin[GW_ADDRESS_MAX + GW_ADMIN_VALUE_MAX];
    char fetch_site[GW_ADMIN_VALUE_MAX];
    char if_none_match[GW_ADMIN_VALUE_MAX];
    char authorization[STORE_SECRET_MAX + GW_ADMIN_VALUE_MAX];
};

/* Whether the request line is what it seems: lws takes a CR, LF or space for
 * its end also where it was percent-encoded. */
bool gw_admin_request_is_right(struct lws *wsi);

/* False when there is no request. */
bool gw_admin_request_read(struct lws *wsi, struct gw_admin_text *text,
                           struct gw_admin_request *request, bool *is_head);

#endif
