/* SPDX-License-Identifier: MIT */
/*
 * Who may ask the operator plane what: the token, and what keeps pages of
 * other sites out of a listener that an operator's browser can reach.
 */
#ifndef SIDGATE_GATEWAY_ADMIN_GUARD_H
#define SIDGATE_GATEWAY_ADMIN_GUARD_H

#include "gateway/command.h"

/* What an answer depends on. In path and query all is percent-encoded that must
 * be; the header values are NULL where the request has none. */
struct gw_admin_request {
    enum gw_method method;
    const char *path;
    const char *query; /* NULL or "": none */
    const char *host;
    const char *origin;
    const char *fetch_site; /* Sec-Fetch-Site */
    const char *authorization;
    const char *if_none_match;
    const char *bearer; /* the token that came as a subprotocol; "" is wrong */
    const char *peer;   /* who asks: "127.0.0.1:5555", "uid=1000" */
    struct gw_ticket ticket;
    int64_t now_ms; /* of any steady clock */
};

/* What a request is about. */
enum gw_admin_kind {
    GW_ADMIN_GUARDED,
    GW_ADMIN_HEALTH, /* needs no token: kubelets and balancers have none */
    GW_ADMIN_PAGE,   /* likewise, and any site may link to it: it says nothing
                        of this gateway */
    GW_ADMIN_LIVE,   /* a websocket: no page of another site, on any listener */
};

/* What who asks may do. */
enum gw_admin_access {
    GW_ADMIN_NOBODY, /* nothing */
    GW_ADMIN_OPEN,   /* all: no token is asked for */
    GW_ADMIN_READER, /* look */
    GW_ADMIN_FULL,   /* all */
};

enum gw_admin_verdict {
    GW_ADMIN_LET_IN,
    GW_ADMIN_CROSS_SITE,  /* a page of another site asks */
    GW_ADMIN_WRONG_HOST,  /* asked under a name that is not the listener's:
                             another site's name may have been bound to its
                             address */
    GW_ADMIN_WRONG_TOKEN, /* or none */
    GW_ADMIN_READ_ONLY,   /* the token may only read */
};

enum { GW_ADMIN_DIGEST = 32 };

/* "": none. With neither, all is open to those who get there; with a read token
 * alone, nobody may change anything. */
struct gw_admin_tokens {
    const char *full;
    const char *read;
};

struct gw_admin_secret {
    bool is_set;
    unsigned char digest[GW_ADMIN_DIGEST]; /* of the token, with the key */
};

struct gw_admin_guard {
    bool is_unix;              /* no browser gets there */
    char name[GW_ADDRESS_MAX]; /* the host of the listener's address */
    unsigned char key[GW_ADMIN_DIGEST];
    struct gw_admin_secret full;
    struct gw_admin_secret read;
};

/* False when no random key can be had. */
bool gw_admin_guard_init(struct gw_admin_guard *guard,
                         const struct gw_address *address,
                         const struct gw_admin_tokens *tokens);

/* `access` is what the token gives, whatever the verdict. */
enum gw_admin_verdict
gw_admin_guard_judge(const struct gw_admin_guard *guard,
                     const struct gw_admin_request *request,
                     enum gw_admin_kind kind, enum gw_admin_access *access);

#endif
