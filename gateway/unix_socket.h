/* SPDX-License-Identifier: MIT */
/* Sockets that have a name in the file system, and the files they leave. */
#ifndef SIDGATE_GATEWAY_UNIX_SOCKET_H
#define SIDGATE_GATEWAY_UNIX_SOCKET_H

#include "gateway/config.h"

#include <sys/types.h>

/* Which file a socket made, so that no other's is removed. */
struct gw_unix_file {
    dev_t device;
    ino_t inode; /* 0: none */
};

bool gw_unix_is(const struct gw_address *address);

/* The file's name. */
const char *gw_unix_path(const struct gw_address *address);

/* Binds a socket that does not block, and does not listen yet. Its file has
 * `mode` from the first moment on. A file that a dead process left is replaced.
 * -1 with errno: EADDRINUSE when somebody answers there, ENOTSOCK when the file
 * is something else. */
int gw_unix_bind(const struct gw_address *address, uint32_t mode,
                 struct gw_unix_file *file);

/* Gives the file another mode if it is still the one that gw_unix_bind made. */
void gw_unix_set_mode(const struct gw_address *address, uint32_t mode,
                      const struct gw_unix_file *file);

/* Removes the file if it is still the one that gw_unix_bind made. */
void gw_unix_remove(const struct gw_address *address,
                    const struct gw_unix_file *file);

#endif
