/* SPDX-License-Identifier: MIT */
/* Sockets that have a name in the file system, and the files they leave. */
#include "gateway/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

bool gw_unix_is(const struct gw_address *address)
{
    return address->addr_len > 0 && address->addr.ss_family == AF_UNIX;
}

const char *gw_unix_path(const struct gw_address *address)
{
    return ((const struct sockaddr_un *)(const void *)&address->addr)->sun_path;
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void close_kept(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
}

/* Removes a socket's file at which nobody answers. False with errno, and the
 * file as it was, for any other. */
static bool remove_stale(const struct gw_address *address)
{
    const char *path = gw_unix_path(address);
    struct stat info;
    if (lstat(path, &info) != 0)
        return errno == ENOENT;
    /* To connect to another kind of file is refused too. */
    if (!S_ISSOCK(info.st_mode)) {
        errno = ENOTSOCK;
        return false;
    }
    int fd = new_socket();
    if (fd < 0)
        return false;
    int status =
        connect(fd, (const struct sockaddr *)&address->addr, address->addr_len);
    close_kept(fd);
    if (status == 0 || errno != ECONNREFUSED) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink(path) == 0 || errno == ENOENT;
}

static bool bind_to(int fd, const struct gw_address *address)
{
    const struct sockaddr *addr = (const struct sockaddr *)&address->addr;
    if (bind(fd, addr, address->addr_len) == 0)
        return true;
    return errno == EADDRINUSE && remove_stale(address) &&
           bind(fd, addr, address->addr_len) == 0;
}

int gw_unix_bind(const struct gw_address *address, uint32_t mode,
                 struct gw_unix_file *file)
{
    struct stat info;
    int fd = new_socket();
    *file = (struct gw_unix_file){0};
    if (fd < 0)
        return -1;
    /* The file takes the socket's mode, less the umask. */
    if (fchmod(fd, mode) != 0 || !bind_to(fd, address)) {
        close_kept(fd);
        return -1;
    }
    const char *path = gw_unix_path(address);
    if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode)) {
        *file =
            (struct gw_unix_file){.device = info.st_dev, .inode = info.st_ino};
        /* The umask may have taken from a wide mode, never added to it. What
         * stands there by now may be a link to something else. */
        fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW);
    }
    return fd;
}

static bool is_still(const char *path, const struct gw_unix_file *file)
{
    struct stat info;
    return file->inode != 0 && lstat(path, &info) == 0 &&
           info.st_dev == file->device && info.st_ino == file->inode;
}

void gw_unix_set_mode(const struct gw_address *address, uint32_t mode,
                      const struct gw_unix_file *file)
{
    const char *path = gw_unix_path(address);
    if (is_still(path, file))
        fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW);
}

void gw_unix_remove(const struct gw_address *address,
                    const struct gw_unix_file *file)
{
    const char *path = gw_unix_path(address);
    if (is_still(path, file))
        unlink(path);
}
