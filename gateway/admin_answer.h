/* SPDX-License-Identifier: MIT */
/*
 * What the operator plane answers to which path: no sockets, no loop.
 */
#ifndef SIDGATE_GATEWAY_ADMIN_ANSWER_H
#define SIDGATE_GATEWAY_ADMIN_ANSWER_H

#include "gateway/admin.h"

struct gw_admin_answer {
    unsigned status;
    const char *type; /* the content's; static */
    char *body;       /* malloc'd, the caller frees it; NULL when len is 0 */
    size_t len;
};

/* `path` has no query and need not end with a NUL; is_read is true for GET and
 * HEAD. Calls the hook that the path asks for. */
struct gw_admin_answer gw_admin_answer(const struct gw_admin_hooks *hooks,
                                       bool is_read, const char *path,
                                       size_t len);

#endif
