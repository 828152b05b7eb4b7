/* SPDX-License-Identifier: MIT */
/* Where the access log goes. */
#include "gateway/access_sink.h"
#include "gateway/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FLAGS = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
    MODE = 0640,
};

static bool fail(const char *name, const char *why, char error[256])
{
    snprintf(error, 256, "access-log: %.180s: %s", name, why);
    return false;
}

/* The descriptor's file may be others' too, to whom it must stay a blocking
 * one: opened anew it is ours alone. */
static int open_stdout(bool *may_wait)
{
    struct stat about;
    int fd = -1;

    *may_wait = false;
    if (fstat(STDOUT_FILENO, &about) != 0)
        return -1;
    if (S_ISFIFO(about.st_mode) || S_ISCHR(about.st_mode))
        fd = open("/proc/self/fd/1", FLAGS);
    if (fd >= 0)
        return fd;
    *may_wait = !S_ISREG(about.st_mode) && !S_ISSOCK(about.st_mode);
    return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* Opens a file that may not be there yet; *is_new if it was not. */
static int open_file(const char *name, bool *is_new)
{
    int fd = open(name, FLAGS);

    *is_new = false;
    if (fd >= 0 || errno != ENOENT)
        return fd;
    fd = open(name, FLAGS | O_CREAT | O_EXCL, MODE);
    *is_new = fd >= 0;
    /* Somebody was quicker. */
    return fd < 0 && errno == EEXIST ? open(name, FLAGS) : fd;
}

static bool give(int fd, const char *name, const char *user, char error[256])
{
    struct gw_privileges to;

    if (!gw_privileges_find(user, &to, error))
        return false;
    if (to.is_kept || fchown(fd, to.uid, to.gid) == 0)
        return true;
    return fail(name, strerror(errno), error);
}

bool gw_access_sink_open(struct gw_access_sink *sink, const char *name,
                         const char *user, char error[256])
{
    struct stat about;
    bool is_new = false;

    *sink = (struct gw_access_sink){.fd = -1};
    if (name[0] == '\0')
        return true;
    snprintf(sink->name, sizeof(sink->name), "%s", name);
    sink->fd = strcmp(name, GW_ACCESS_STDOUT) == 0
                   ? open_stdout(&sink->may_wait)
                   : open_file(name, &is_new);
    if (sink->fd < 0)
        return fail(name, strerror(errno), error);
    if (fstat(sink->fd, &about) != 0 ||
        (is_new && !give(sink->fd, name, user, error))) {
        gw_access_sink_close(sink);
        return false;
    }
    sink->is_file = S_ISREG(about.st_mode);
    sink->is_socket = S_ISSOCK(about.st_mode);
    return true;
}

/* The directory of a file that is not there. */
static bool may_make(const char *name)
{
    char folder[GW_FILE_MAX];
    const char *slash = strrchr(name, '/');

    if (slash == NULL)
        return access(".", W_OK | X_OK) == 0;
    snprintf(folder, sizeof(folder), "%.*s", (int)(slash - name) + 1, name);
    return slash[1] != '\0' && access(folder, W_OK | X_OK) == 0;
}

bool gw_access_sink_check(const char *name, char error[256])
{
    int fd;

    if (name[0] == '\0' || strcmp(name, GW_ACCESS_STDOUT) == 0)
        return true;
    fd = open(name, FLAGS);
    if (fd >= 0) {
        close(fd);
        return true;
    }
    if (errno == ENOENT && may_make(name))
        return true;
    return fail(name, strerror(errno), error);
}

ssize_t gw_access_sink_write(const struct gw_access_sink *sink,
                             const char *bytes, size_t len)
{
    struct pollfd one = {.fd = sink->fd, .events = POLLOUT};

    if (sink->is_socket)
        return send(sink->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sink->may_wait && poll(&one, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(sink->fd, bytes, len);
}

void gw_access_sink_wait(const struct gw_access_sink *sink, int timeout_ms)
{
    struct pollfd one = {.fd = sink->fd, .events = POLLOUT};

    poll(&one, 1, timeout_ms);
}

void gw_access_sink_close(struct gw_access_sink *sink)
{
    if (sink->fd >= 0)
        close(sink->fd);
    sink->fd = -1;
}
