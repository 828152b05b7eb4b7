/* SPDX-License-Identifier: MIT */
/*
 * What the operator plane answers to which path: no sockets, no loop.
 */
#ifndef SIDGATE_GATEWAY_ADMIN_ANSWER_H
#define SIDGATE_GATEWAY_ADMIN_ANSWER_H

#include "gateway/admin.h"
#include "gateway/admin_guard.h"

struct gw_admin_answer {
    unsigned status;
    const char *type; /* the content's; static */
    char *body;       /* malloc'd, the caller frees it; NULL when len is 0 */
    size_t len;
};

/* What `guard` does not let in is refused: 403 for where it comes from, 401 for
 * its token. Otherwise calls the hook that the path asks for. */
struct gw_admin_answer gw_admin_answer(const struct gw_admin_hooks *hooks,
                                       const struct gw_admin_guard *guard,
                                       const struct gw_admin_request *request);

#endif
