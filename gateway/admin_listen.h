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
    int port;                 /* that is bound; 0 for a unix socket */
};

/* -1 with one clear line in `error` (256 bytes), 0 else. */
int gw_admin_listen(struct gw_admin_listener *listener,
                    const struct gw_address *address, char *error);

/* Closes it, and removes a unix socket's file. */
void gw_admin_unlisten(struct gw_admin_listener *listener);

#endif
