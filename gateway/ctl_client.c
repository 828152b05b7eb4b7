/* SPDX-License-Identifier: MIT */
/* One request to the operator listener, over TCP or a unix socket. */
#include "gateway/ctl_client.h"

#include "gateway/head.h"
#include "gateway/options_parse.h"
#include "gateway/server.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    DEADLINE_MS = 10000,
    BODY_MAX = 4 << 20,
    HEAD_MAX = 16384,
    REQUEST_MAX = 16384,
    FIELDS_MAX = 64,
    HOST_MAX = 80,
};

struct call {
    int fd;
    int stop_fd;
    int64_t deadline_ms;
    char host[HOST_MAX]; /* for the Host field */
    char *error;
};

static bool fail(const struct call *call, const char *what, const char *why)
{
    snprintf(call->error, GW_OPTIONS_ERROR_MAX, "%s%s", what, why);
    return false;
}

/* False with errno when nothing happens in time, or it is not wanted any
 * more. */
static bool await(const struct call *call, short events)
{
    for (;;) {
        struct pollfd ready[] = {{.fd = call->fd, .events = events},
                                 {.fd = call->stop_fd, .events = POLLIN}};
        int64_t left_ms = call->deadline_ms - gw_now_ms();
        int count = poll(ready, 2, left_ms > 0 ? (int)left_ms : 0);

        if (count > 0 && ready[1].revents != 0) {
            errno = ECANCELED;
            return false;
        }
        if (count > 0)
            return true;
        if (count == 0) {
            errno = ETIMEDOUT;
            return false;
        }
        if (errno != EINTR)
            return false;
    }
}

/* Connecting */

/* False with errno, and nothing open. */
static bool connect_to(struct call *call, const struct sockaddr *address,
                       socklen_t len)
{
    int reason = 0;
    socklen_t reason_len = sizeof(reason);

    call->fd = socket(address->sa_family,
                      SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (call->fd < 0)
        return false;
    if (connect(call->fd, address, len) == 0)
        return true;
    if (errno == EINPROGRESS && await(call, POLLOUT) &&
        getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &reason, &reason_len) == 0) {
        if (reason == 0)
            return true;
        errno = reason;
    }
    reason = errno;
    close(call->fd);
    call->fd = -1;
    errno = reason;
    return false;
}

static bool open_unix(struct call *call, const struct gw_address *address)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *path = strchr(address->text, ':') + 1;

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    snprintf(call->host, sizeof(call->host), "localhost");
    return connect_to(call, (const struct sockaddr *)&un, sizeof(un));
}

/* The address that was connected to, which any gateway takes for its own. */
static void note_host(struct call *call, const struct addrinfo *info)
{
    char host[HOST_MAX - 2];

    if (getnameinfo(info->ai_addr, info->ai_addrlen, host, sizeof(host), NULL,
                    0, NI_NUMERICHOST) != 0)
        host[0] = '\0';
    host[strcspn(host, "%")] = '\0';
    snprintf(call->host, sizeof(call->host),
             info->ai_family == AF_INET6 ? "[%s]" : "%s", host);
}

static bool open_inet(struct call *call, const struct gw_address *address)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICSERV};
    char host[GW_ADDRESS_MAX];
    struct addrinfo *list = NULL;
    bool is_open = false;

    gw_address_host(address, host);
    if (getaddrinfo(host, strrchr(address->text, ':') + 1, &hints, &list) !=
        0) {
        errno = EADDRNOTAVAIL;
        return false;
    }
    for (const struct addrinfo *at = list; at != NULL && !is_open;
         at = at->ai_next) {
        note_host(call, at);
        is_open = connect_to(call, at->ai_addr, at->ai_addrlen);
    }
    int reason = errno;
    freeaddrinfo(list);
    errno = reason;
    return is_open;
}

static bool open_call(struct call *call, const struct gw_address *address)
{
    char what[GW_ADDRESS_MAX + 32];

    if (gw_address_is_unix(address) ? open_unix(call, address)
                                    : open_inet(call, address))
        return true;
    snprintf(what, sizeof(what), "cannot connect to %s: ", address->text);
    return fail(call, what, strerror(errno));
}

/* The request */

static bool send_all(const struct call *call, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(call->fd, bytes, len, MSG_NOSIGNAL);

        if (sent > 0) {
            bytes += sent;
            len -= (size_t)sent;
        } else if (errno != EINTR &&
                   (errno != EAGAIN || !await(call, POLLOUT))) {
            return fail(call, "the request cannot be sent: ", strerror(errno));
        }
    }
    return true;
}

static bool send_request(const struct call *call,
                         const struct gw_ctl_target *target, bool is_post,
                         const char *path)
{
    char request[REQUEST_MAX];
    bool has_token = target->token[0] != '\0';
    int len = snprintf(request, sizeof(request),
                       "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%s%s"
                       "Connection: close\r\n\r\n",
                       is_post ? "POST" : "GET", path, call->host,
                       has_token ? "Authorization: Bearer " : "", target->token,
                       has_token ? "\r\n" : "",
                       is_post ? "Content-Length: 0\r\n" : "");
    bool is_sent = len > 0 && (size_t)len < sizeof(request)
                       ? send_all(call, request, (size_t)len)
                       : fail(call, "the request is too long", "");

    explicit_bzero(request, sizeof(request));
    return is_sent;
}

/* The answer */

struct reading {
    char *bytes; /* grows to what the head promises */
    size_t size;
    size_t len;
    struct gw_scan scan;
    size_t head_len; /* 0: not whole yet */
    size_t body_len;
    unsigned status;
};

/* Room for so many bytes and a NUL. */
static bool grow(struct reading *reading, size_t size)
{
    char *bytes =
        size > reading->size ? realloc(reading->bytes, size + 1) : NULL;

    if (size > reading->size && bytes == NULL)
        return false;
    if (bytes != NULL) {
        reading->bytes = bytes;
        reading->size = size;
    }
    return true;
}

/* False when the head is none that can be. */
static bool read_head(struct reading *reading)
{
    static const struct gw_config limits = {.max_request_line_bytes = HEAD_MAX,
                                            .max_head_bytes = HEAD_MAX,
                                            .max_head_fields = FIELDS_MAX};
    struct eio_span bytes = {reading->bytes, reading->len};
    struct gw_head head;

    if (gw_head_scan(&reading->scan, bytes, &limits, &reading->head_len) != 0)
        return false;
    if (reading->head_len == 0)
        return reading->len < reading->size;
    bytes.len = reading->head_len;
    memset(&head, 0, sizeof(head));
    if (gw_head_parse_response(bytes, &head) != 0 || head.status < 200 ||
        head.is_chunked || head.content_length < 0 ||
        head.content_length > BODY_MAX)
        return false;
    reading->status = (unsigned)head.status;
    reading->body_len = (size_t)head.content_length;
    return grow(reading, reading->head_len + reading->body_len + 1);
}

/* Takes what has come; false when it is no answer. */
static bool look(struct reading *reading)
{
    if (reading->head_len == 0 && !read_head(reading))
        return false;
    return reading->head_len == 0 ||
           reading->len - reading->head_len <= reading->body_len;
}

static bool is_whole(const struct reading *reading)
{
    return reading->head_len > 0 &&
           reading->len - reading->head_len == reading->body_len;
}

static bool read_answer(const struct call *call, struct reading *reading)
{
    if (!grow(reading, HEAD_MAX))
        return fail(call, "out of memory", "");
    while (!is_whole(reading)) {
        ssize_t got = recv(call->fd, reading->bytes + reading->len,
                           reading->size - reading->len, 0);

        if (got == 0)
            return fail(call, "the gateway closed without a whole answer", "");
        if (got > 0) {
            reading->len += (size_t)got;
            if (!look(reading))
                return fail(call, "what came is no answer of a gateway", "");
        } else if (errno != EINTR &&
                   (errno != EAGAIN || !await(call, POLLIN))) {
            return fail(call, "no answer: ", strerror(errno));
        }
    }
    return true;
}

static bool take_answer(const struct call *call, struct gw_ctl_answer *answer)
{
    struct reading reading = {.bytes = NULL};

    if (!read_answer(call, &reading)) {
        free(reading.bytes);
        return false;
    }
    memmove(reading.bytes, reading.bytes + reading.head_len, reading.body_len);
    reading.bytes[reading.body_len] = '\0';
    *answer = (struct gw_ctl_answer){.status = reading.status,
                                     .body = reading.bytes,
                                     .len = reading.body_len};
    return true;
}

bool gw_ctl_is_stopped(const struct gw_ctl_target *target)
{
    struct pollfd ready = {.fd = target->stop_fd, .events = POLLIN};

    return target->stop_fd >= 0 && poll(&ready, 1, 0) > 0;
}

bool gw_ctl_ask(const struct gw_ctl_target *target, bool is_post,
                const char *path, struct gw_ctl_answer *answer,
                char error[GW_OPTIONS_ERROR_MAX])
{
    struct call call = {.fd = -1,
                        .stop_fd = target->stop_fd,
                        .deadline_ms = gw_now_ms() + DEADLINE_MS,
                        .error = error};

    *answer = (struct gw_ctl_answer){0};
    if (!open_call(&call, &target->address))
        return false;
    bool is_good = send_request(&call, target, is_post, path) &&
                   take_answer(&call, answer);
    close(call.fd);
    return is_good;
}
