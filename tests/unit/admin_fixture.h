/* SPDX-License-Identifier: MIT */
/* The operator plane over real sockets; its loop turns in the test. */
#ifndef SIDGATE_TESTS_UNIT_ADMIN_FIXTURE_H
#define SIDGATE_TESTS_UNIT_ADMIN_FIXTURE_H

#include "gateway/admin.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Less than the life of a connection that is left alone. */
enum { PATIENCE_S = 8 };

static uv_loop_t loop;
static struct gw_admin *admin;
static bool is_ready_now = true;
static size_t metrics_len = 20;
static bool has_metrics = true;
static char error[256];

static inline bool is_ready(void *arg)
{
    cr_expect_eq(arg, &loop);
    return is_ready_now;
}

/* A page whose bytes tell where they belong. */
static inline char byte_at(size_t i)
{
    return (char)('a' + i % 23);
}

static inline char *metrics(void *arg, size_t *len)
{
    char *page = has_metrics ? malloc(metrics_len + 1) : NULL;

    (void)arg;
    if (page == NULL)
        return NULL;
    for (size_t i = 0; i < metrics_len; i++)
        page[i] = byte_at(i);
    page[metrics_len] = '\0';
    *len = metrics_len;
    return page;
}

/* The last command; `answer_with` is its outcome. */
static struct gw_command last_command;
static unsigned command_count;
static struct gw_outcome answer_with = {.status = 200};

static inline void command(void *arg, const struct gw_command *asked,
                           struct gw_outcome *outcome)
{
    cr_expect_eq(arg, &loop);
    last_command = *asked;
    command_count++;
    *outcome = answer_with;
    if (answer_with.body != NULL)
        outcome->body = strdup(answer_with.body);
}

/* What watchers are told; a message of that many bytes. */
static size_t live_len = 40;
static unsigned live_count;
static bool live_may_write;

static inline char *live(void *arg, struct gw_live_seen *seen, bool may_write)
{
    char *message = malloc(live_len + 1);

    cr_expect_eq(arg, &loop);
    cr_assert_not_null(message);
    memset(message, 'm', live_len);
    message[live_len] = '\0';
    snprintf(message, live_len, "%s %u", seen->has_begun ? "next" : "first",
             (unsigned)seen->event);
    message[strlen(message)] = ' ';
    seen->has_begun = true;
    seen->event++;
    live_count++;
    live_may_write = may_write;
    return message;
}

static inline struct gw_address address_of(const char *ip, int port)
{
    struct gw_address address = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&address.addr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address.addr;

    if (inet_pton(AF_INET, ip, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        address.addr_len = sizeof(*in);
    } else {
        cr_assert_eq(inet_pton(AF_INET6, ip, &in6->sin6_addr), 1);
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        address.addr_len = sizeof(*in6);
    }
    /* So that the Host of the requests below is the listener's own. */
    snprintf(address.text, sizeof(address.text), "x:%d", port);
    return address;
}

static struct gw_admin_tokens tokens = {"", ""};

static inline struct gw_admin *inherit(const struct gw_address *address, int fd)
{
    const struct gw_admin_hooks hooks = {is_ready, metrics, command, live,
                                         &loop};

    error[0] = '\0';
    return gw_admin_open(&loop, address, &tokens, &hooks, fd, error);
}

static inline struct gw_admin *open_on(const struct gw_address *address)
{
    return inherit(address, -1);
}

static inline void open_admin(void)
{
    struct gw_address address = address_of("127.0.0.1", 0);

    cr_assert_eq(uv_loop_init(&loop), 0);
    admin = open_on(&address);
    cr_assert_not_null(admin, "%s", error);
    cr_assert_gt(gw_admin_port(admin), 0);
}

static inline void close_admin(void)
{
    gw_admin_close(admin);
    gw_admin_close(NULL);
    cr_expect_eq(uv_loop_close(&loop), 0, "handles are left");
}

static inline int connect_to(const struct gw_address *address)
{
    int fd = socket(address->addr.ss_family, SOCK_STREAM, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(
        connect(fd, (const struct sockaddr *)&address->addr, address->addr_len),
        0);
    return fd;
}

static inline int connect_plain(void)
{
    struct gw_address address = address_of("127.0.0.1", gw_admin_port(admin));

    return connect_to(&address);
}

static inline void send_text(int fd, const char *bytes)
{
    cr_assert_eq(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL),
                 (ssize_t)strlen(bytes));
}

/* Turns the loop until the peer has closed, and closes too. Returns what came,
 * NUL-terminated; the caller frees it. */
static inline char *read_all(int fd, size_t *len)
{
    size_t size = metrics_len + 65536;
    char *bytes = malloc(size);
    uint64_t end = uv_hrtime() + PATIENCE_S * 1000000000ULL;
    ssize_t got = 1;

    cr_assert_not_null(bytes);
    *len = 0;
    while (got != 0 && uv_hrtime() < end) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};

        uv_run(&loop, UV_RUN_NOWAIT);
        if (poll(&ready, 1, 1) == 0)
            continue;
        got = recv(fd, bytes + *len, size - 1 - *len, MSG_DONTWAIT);
        if (got < 0 && errno == ECONNRESET)
            break;
        if (got > 0)
            *len += (size_t)got;
    }
    cr_expect_lt(uv_hrtime(), end, "the peer never closed");
    bytes[*len] = '\0';
    close(fd);
    return bytes;
}

static inline char *exchange(const char *request, size_t *len)
{
    int fd = connect_plain();

    send_text(fd, request);
    return read_all(fd, len);
}

static inline size_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;

    cr_assert_not_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Turns the loop until so many descriptors are open. */
static inline void wait_for_fds(size_t count)
{
    uint64_t end = uv_hrtime() + PATIENCE_S * 1000000000ULL;

    while (count_fds() != count && uv_hrtime() < end) {
        uv_run(&loop, UV_RUN_NOWAIT);
        poll(NULL, 0, 1);
    }
    cr_expect_eq(count_fds(), count);
}

static inline void expect_answer(const char *request, const char *status,
                                 const char *part)
{
    size_t len;
    char *bytes = exchange(request, &len);

    cr_expect_eq(strncmp(bytes, status, strlen(status)), 0, "%s", bytes);
    cr_expect_not_null(strstr(bytes, part), "no %s in %s", part, bytes);
    free(bytes);
}

#endif
