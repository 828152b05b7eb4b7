/* SPDX-License-Identifier: MIT */
/*
 * Who may ask the operator plane what: the token, and what keeps pages of
 * other sites out of a listener that an operator's browser can reach.
 */
#ifndef SIDGATE_GATEWAY_ADMIN_GUARD_H
#define SIDGATE_GATEWAY_ADMIN_GUARD_H

#include "gateway/config.h"

/* What an answer depends on. `path` has no query and need not end with a NUL;
 * the header values are NULL where the request has none. */
struct gw_admin_request {
    bool is_read; /* GET or HEAD */
    const char *path;
    size_t len;
    const char *host;
    const char *origin;
    const char *fetch_site; /* Sec-Fetch-Site */
    const char *authorization;
};

enum gw_admin_verdict {
    GW_ADMIN_LET_IN,
    GW_ADMIN_CROSS_SITE,  /* a page of another site asks */
    GW_ADMIN_WRONG_HOST,  /* asked under a name that is not the listener's:
                             another site's name may have been bound to its
                             address */
    GW_ADMIN_WRONG_TOKEN, /* or none */
};

enum { GW_ADMIN_DIGEST = 32 };

struct gw_admin_guard {
    bool is_unix;              /* no browser gets there */
    char name[GW_ADDRESS_MAX]; /* the host of the listener's address */
    bool has_token;
    unsigned char key[GW_ADMIN_DIGEST];
    unsigned char digest[GW_ADMIN_DIGEST]; /* of the token, with the key */
};

/* `token` "" asks for none. False when no random key can be had. */
bool gw_admin_guard_init(struct gw_admin_guard *guard,
                         const struct gw_address *address, const char *token);

/* `is_open` is true for pages that need no token. */
enum gw_admin_verdict
gw_admin_guard_judge(const struct gw_admin_guard *guard,
                     const struct gw_admin_request *request, bool is_open);

#endif
