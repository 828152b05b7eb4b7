/* SPDX-License-Identifier: MIT */
/* The service manager: what it is told, and the sockets that it gives. */
#include "gateway/notify.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    FIRST_FD = 3,     /* of those that the service manager passes */
    FD_MAX = 1 << 20, /* that may be counted to */
    SEND_US = 250000, /* that sending may take */
    ERROR_SIZE = 256, /* of the caller's buffer */
};

/* A whole number up to `max`, and nothing else. */
static bool read_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;

    if (text == NULL || *text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > (max - 9) / 10)
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *out = value;
    return true;
}

/* Whether the variable names this process. */
static bool is_own_pid(const char *variable)
{
    uint64_t pid = 0;

    return read_number(getenv(variable), INT32_MAX, &pid) &&
           pid == (uint64_t)getpid();
}

/* "/path" or "@abstract". */
static bool read_address(const char *text, struct sockaddr_un *out,
                         socklen_t *len)
{
    size_t size = strlen(text);

    if ((text[0] != '/' && text[0] != '@') || size < 2 ||
        size >= sizeof(out->sun_path))
        return false;
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, text, size);
    if (text[0] == '@')
        out->sun_path[0] = '\0';
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    return true;
}

bool gw_notify(const char *lines)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t address_len = 0;

    if (name == NULL || !read_address(name, &address, &address_len))
        return false;
    /* One that stands still must not hold us up for long. */
    const struct timeval patience = {.tv_usec = SEND_US};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    size_t len = strlen(lines);
    ssize_t sent = sendto(fd, lines, len, MSG_NOSIGNAL,
                          (const struct sockaddr *)&address, address_len);
    close(fd);
    return sent == (ssize_t)len;
}

uint64_t gw_notify_watchdog_ms(void)
{
    uint64_t interval_us = 0;

    if (!read_number(getenv("WATCHDOG_USEC"), INT64_MAX, &interval_us) ||
        interval_us == 0)
        return 0;
    if (getenv("WATCHDOG_PID") != NULL && !is_own_pid("WATCHDOG_PID"))
        return 0;
    return interval_us >= 2000 ? interval_us / 2000 : 1;
}

/* Sockets that were opened for us */

static bool is_same_address(const struct sockaddr_storage *a,
                            const struct sockaddr_storage *b)
{
    const struct sockaddr_in *a4 = (const void *)a;
    const struct sockaddr_in *b4 = (const void *)b;
    const struct sockaddr_in6 *a6 = (const void *)a;
    const struct sockaddr_in6 *b6 = (const void *)b;
    const struct sockaddr_un *au = (const void *)a;
    const struct sockaddr_un *bu = (const void *)b;

    if (a->ss_family != b->ss_family)
        return false;
    switch (a->ss_family) {
    case AF_INET:
        return a4->sin_port == b4->sin_port &&
               a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    case AF_INET6:
        return a6->sin6_port == b6->sin6_port &&
               memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) ==
                   0;
    case AF_UNIX:
        return strncmp(au->sun_path, bu->sun_path, sizeof(au->sun_path)) == 0;
    default:
        return false;
    }
}

static void write_address(const struct sockaddr_storage *addr, char *out,
                          size_t size)
{
    const struct sockaddr_in *in = (const void *)addr;
    const struct sockaddr_in6 *in6 = (const void *)addr;
    char host[INET6_ADDRSTRLEN] = "?";

    switch (addr->ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(out, size, "%s:%u", host, ntohs(in->sin_port));
        return;
    case AF_INET6:
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(out, size, "[%s]:%u", host, ntohs(in6->sin6_port));
        return;
    case AF_UNIX:
        snprintf(out, size, "unix:%.*s",
                 (int)sizeof(((struct sockaddr_un *)NULL)->sun_path),
                 ((const struct sockaddr_un *)(const void *)addr)->sun_path);
        return;
    default:
        snprintf(out, size, "a socket of another family");
    }
}

static bool has_option(int fd, int name, int want)
{
    int value = 0;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 && value == want;
}

/* Finds the listener of a socket. False with the line in `error`. */
static bool take_socket(const struct gw_config *config, int fd, int *fds,
                        char *error)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);
    char text[GW_ADDRESS_MAX];
    size_t i = 0;

    if (!has_option(fd, SO_TYPE, SOCK_STREAM) ||
        !has_option(fd, SO_ACCEPTCONN, 1) ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        snprintf(error, ERROR_SIZE,
                 "LISTEN_FDS: descriptor %d is not a listening stream socket",
                 fd);
        return false;
    }
    while (i < config->listen_count &&
           !is_same_address(&addr, &config->listen[i].address.addr))
        i++;
    write_address(&addr, text, sizeof(text));
    if (i == config->listen_count || fds[i] >= 0) {
        snprintf(error, ERROR_SIZE,
                 i == config->listen_count
                     ? "LISTEN_FDS: %s is not one of the addresses to listen on"
                     : "LISTEN_FDS: there is more than one socket for %s",
                 text);
        return false;
    }
    fds[i] = fd;
    return true;
}

/* How many there are for this process. */
static bool count_sockets(uint64_t *count, char *error)
{
    const char *text = getenv("LISTEN_FDS");

    *count = 0;
    if (text == NULL || !is_own_pid("LISTEN_PID"))
        return true;
    if (read_number(text, FD_MAX, count) && *count <= GW_LISTEN_COUNT_MAX)
        return true;
    snprintf(error, ERROR_SIZE, "LISTEN_FDS: %.32s is not between 0 and %d",
             text, (int)GW_LISTEN_COUNT_MAX);
    return false;
}

bool gw_notify_sockets(const struct gw_config *config,
                       int fds[GW_LISTEN_COUNT_MAX], char error[256])
{
    uint64_t count;
    bool is_right = count_sockets(&count, error);

    for (size_t i = 0; i < GW_LISTEN_COUNT_MAX; i++)
        fds[i] = -1;
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
    if (!is_right)
        return false;
    for (int fd = FIRST_FD; fd < FIRST_FD + (int)count; fd++) {
        int flags = fcntl(fd, F_GETFD);

        if (flags >= 0)
            fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
        is_right = is_right && take_socket(config, fd, fds, error);
    }
    return is_right;
}
