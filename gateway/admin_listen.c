/* SPDX-License-Identifier: MIT */
/* The operator plane's listening socket. */
#include "gateway/admin_listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BACKLOG = 512,
    FILE_MODE = 0600, /* of a unix socket */
    ERROR_SIZE = 256, /* of the caller's buffer */
};

static int port_of(int fd)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);

    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return 0;
    if (addr.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(void *)&addr)->sin_port);
    if (addr.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)(void *)&addr)->sin6_port);
    return 0;
}

/* -1 with errno. */
static int open_socket(const struct gw_address *address)
{
    const int yes = 1;
    int fd = socket(address->addr.ss_family,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
        bind(fd, (const struct sockaddr *)&address->addr, address->addr_len) ==
            0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

bool gw_admin_keep_reserve(struct gw_admin_listener *listener)
{
    if (listener->reserve_fd < 0)
        listener->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return listener->reserve_fd >= 0;
}

int gw_admin_listen(struct gw_admin_listener *listener,
                    const struct gw_address *address, char *error)
{
    listener->address = *address;
    listener->fd = gw_unix_is(address)
                       ? gw_unix_bind(address, FILE_MODE, &listener->file)
                       : open_socket(address);
    if (listener->fd >= 0 && listen(listener->fd, BACKLOG) == 0) {
        listener->port = port_of(listener->fd);
        gw_admin_keep_reserve(listener);
        return 0;
    }
    snprintf(error, ERROR_SIZE, "admin: cannot listen on %s: %s", address->text,
             strerror(errno));
    return -1;
}

static bool is_listening(int fd)
{
    int is = 0;
    socklen_t len = sizeof(is);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is, &len) == 0 && is != 0;
}

int gw_admin_inherit(struct gw_admin_listener *listener,
                     const struct gw_address *address, int fd, char *error)
{
    int flags = fcntl(fd, F_GETFL);
    struct stat info;

    listener->address = *address;
    listener->fd = fd;
    if (flags < 0 || !is_listening(fd) ||
        fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        snprintf(error, ERROR_SIZE,
                 "admin: what was handed over for %s does not listen",
                 address->text);
        return -1;
    }
    if (gw_unix_is(address) && lstat(gw_unix_path(address), &info) == 0 &&
        S_ISSOCK(info.st_mode))
        listener->file =
            (struct gw_unix_file){.device = info.st_dev, .inode = info.st_ino};
    listener->port = port_of(fd);
    gw_admin_keep_reserve(listener);
    return 0;
}

static int accept_one(const struct gw_admin_listener *listener)
{
    return accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int gw_admin_accept(struct gw_admin_listener *listener)
{
    gw_admin_keep_reserve(listener);
    int fd = accept_one(listener);
    if (fd >= 0 || (errno != EMFILE && errno != ENFILE) ||
        listener->reserve_fd < 0)
        return fd;
    close(listener->reserve_fd);
    listener->reserve_fd = -1;
    return accept_one(listener);
}

void gw_admin_unlisten(struct gw_admin_listener *listener, bool is_handed_over)
{
    if (!is_handed_over)
        gw_unix_remove(&listener->address, &listener->file);
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
    if (listener->reserve_fd >= 0)
        close(listener->reserve_fd);
    listener->reserve_fd = -1;
}
