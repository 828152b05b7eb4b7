/* SPDX-License-Identifier: MIT */
/* The user that sidgate runs as once all that needs more rights is open. */
#ifndef SIDGATE_GATEWAY_PRIVILEGES_H
#define SIDGATE_GATEWAY_PRIVILEGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { GW_PRIVILEGES_ERROR_MAX = 256 };

struct gw_privileges {
    bool is_kept; /* nothing is to be dropped */
    uid_t uid;
    gid_t gid;
    char name[64]; /* of the user, "": it has no entry */
};

/* Finds `user`, "name[:group]" or numbers, and whether this process may become
 * it. "" keeps things as they are. False with one line in `error`. */
bool gw_privileges_find(const char *user, struct gw_privileges *out,
                        char error[GW_PRIVILEGES_ERROR_MAX]);

/* Hands a file, such as a unix socket's, over to that user. */
bool gw_privileges_give(const struct gw_privileges *to, const char *path,
                        char error[GW_PRIVILEGES_ERROR_MAX]);

/* Becomes that user in all threads, with its groups, and makes sure that there
 * is no way back. Meant to be followed by an exit when it is false. */
bool gw_privileges_drop(const struct gw_privileges *to,
                        char error[GW_PRIVILEGES_ERROR_MAX]);

/* No program that this process may ever start gains rights by that. */
void gw_privileges_none_new(void);

#endif
