/* SPDX-License-Identifier: MIT */
/* The operator plane's listening socket. */
#ifndef SIDGATE_GATEWAY_ADMIN_LISTEN_H
#define SIDGATE_GATEWAY_ADMIN_LISTEN_H

#include "gateway/config.h"
#include "gateway/unix_socket.h"

struct gw_admin_listener {
    struct gw_address address;
    struct gw_unix_file file; /* of a unix socket */
    int fd;                   /* -1: not open */
    int reserve_fd;           /* for one more client when there are none left */
    int port;                 /* that is bound; 0 for a unix socket */
};

/* -1 with one clear line in `error` (256 bytes), 0 else. */
int gw_admin_listen(struct gw_admin_listener *listener,
                    const struct gw_address *address, char *error);

/* Likewise with a socket that listens there already; it is taken over, also
 * when this fails. */
int gw_admin_inherit(struct gw_admin_listener *listener,
                     const struct gw_address *address, int fd, char *error);

/* A client's socket, or -1 with errno. */
int gw_admin_accept(struct gw_admin_listener *listener);
/* After a want of descriptors: whether the reserve is there again. */
bool gw_admin_keep_reserve(struct gw_admin_listener *listener);

/* Closes it, and removes a unix socket's file unless that is another
 * process's now. */
void gw_admin_unlisten(struct gw_admin_listener *listener, bool is_handed_over);

#endif
