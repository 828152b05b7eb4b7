/* SPDX-License-Identifier: MIT */
/* The operator plane over real sockets; its loop turns in the test. */
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
enum { PATIENCE_S = 8, HANGING = 150 };

static uv_loop_t loop;
static struct gw_admin *admin;
static bool is_ready_now = true;
static size_t metrics_len = 20;
static bool has_metrics = true;
static char error[256];

static bool is_ready(void *arg)
{
    cr_expect_eq(arg, &loop);
    return is_ready_now;
}

/* A page whose bytes tell where they belong. */
static char byte_at(size_t i)
{
    return (char)('a' + i % 23);
}

static char *metrics(void *arg, size_t *len)
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

static struct gw_address address_of(const char *ip, int port)
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

static struct gw_admin *open_on(const struct gw_address *address)
{
    const struct gw_admin_hooks hooks = {is_ready, metrics, &loop};

    error[0] = '\0';
    return gw_admin_open(&loop, address, "", &hooks, error);
}

static void open_admin(void)
{
    struct gw_address address = address_of("127.0.0.1", 0);

    cr_assert_eq(uv_loop_init(&loop), 0);
    admin = open_on(&address);
    cr_assert_not_null(admin, "%s", error);
    cr_assert_gt(gw_admin_port(admin), 0);
}

static void close_admin(void)
{
    gw_admin_close(admin);
    gw_admin_close(NULL);
    cr_expect_eq(uv_loop_close(&loop), 0, "handles are left");
}

static int connect_to(const struct gw_address *address)
{
    int fd = socket(address->addr.ss_family, SOCK_STREAM, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(
        connect(fd, (const struct sockaddr *)&address->addr, address->addr_len),
        0);
    return fd;
}

static int connect_plain(void)
{
    struct gw_address address = address_of("127.0.0.1", gw_admin_port(admin));

    return connect_to(&address);
}

static void send_text(int fd, const char *bytes)
{
    cr_assert_eq(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL),
                 (ssize_t)strlen(bytes));
}

/* Turns the loop until the peer has closed, and closes too. Returns what came,
 * NUL-terminated; the caller frees it. */
static char *read_all(int fd, size_t *len)
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

static char *exchange(const char *request, size_t *len)
{
    int fd = connect_plain();

    send_text(fd, request);
    return read_all(fd, len);
}

static size_t count_fds(void)
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
static void wait_for_fds(size_t count)
{
    uint64_t end = uv_hrtime() + PATIENCE_S * 1000000000ULL;

    while (count_fds() != count && uv_hrtime() < end) {
        uv_run(&loop, UV_RUN_NOWAIT);
        poll(NULL, 0, 1);
    }
    cr_expect_eq(count_fds(), count);
}

static const struct {
    const char *request;
    const char *status;
    const char *body; /* NULL: any */
} requests[] = {
    {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ", "ok\n"},
    {"GET /healthz HTTP/1.0\r\n\r\n", "HTTP/1.0 200 ", "ok\n"},
    {"GET /healthz?a=b HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ", "ok\n"},
    {"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ", "ready\n"},
    {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
     "abcdefghijklmnopqrst"},
    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 ", "not found\n"},
    {"GET /healthzz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 ",
     "not found\n"},
    {"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ", ""},
    {"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
     "HTTP/1.1 405 ", "method not allowed\n"},
    {"DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 ",
     "method not allowed\n"},
    {"OPTIONS /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 ",
     "method not allowed\n"},
    /* One request a connection. */
    {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
     "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
     "HTTP/1.1 200 ", "ok\n"},
    /* No protocol but HTTP/1. */
    {"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
     "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
     "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
     "", NULL},
    {"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
     "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
     "", NULL},
    {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "", NULL},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.0 403 ", NULL},
    {"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.0 403 ", NULL},
};

static void check_answer(size_t i, const char *bytes)
{
    const char *body = strstr(bytes, "\r\n\r\n");
    char length[64];
    cr_assert_not_null(body, "request %zu: %s", i, bytes);
    cr_expect_str_eq(body + 4, requests[i].body, "request %zu", i);
    cr_expect_not_null(strstr(bytes, "connection: close\r\n"));
    cr_expect_not_null(strstr(bytes, "cache-control: no-store\r\n"));
    cr_expect_not_null(strstr(bytes, "content-type: text/plain; "));
    snprintf(length, sizeof(length), "content-length: %zu\r\n",
             strlen(requests[i].body));
    if (strncmp(requests[i].request, "HEAD", 4) != 0)
        cr_expect_not_null(strstr(bytes, length), "request %zu: %s", i, bytes);
}

Test(admin, answers)
{
    open_admin();
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        size_t status_len = strlen(requests[i].status);
        size_t len;
        char *bytes = exchange(requests[i].request, &len);

        if (status_len == 0)
            cr_expect_eq(len, 0, "request %zu: %s", i, bytes);
        cr_expect_eq(strncmp(bytes, requests[i].status, status_len), 0,
                     "request %zu: %s", i, bytes);
        if (requests[i].body != NULL)
            check_answer(i, bytes);
        free(bytes);
    }
    close_admin();
}

static void expect_answer(const char *request, const char *status,
                          const char *part)
{
    size_t len;
    char *bytes = exchange(request, &len);

    cr_expect_eq(strncmp(bytes, status, strlen(status)), 0, "%s", bytes);
    cr_expect_not_null(strstr(bytes, part), "no %s in %s", part, bytes);
    free(bytes);
}

Test(admin, not_allowed_names_what_is)
{
    open_admin();
    expect_answer("PUT /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405 ",
                  "allow: GET, HEAD\r\n");
    close_admin();
}

Test(admin, metrics_have_their_content_type)
{
    open_admin();
    expect_answer("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
                  "content-type: text/plain; version=0.0.4; charset=utf-8\r\n");
    close_admin();
}

Test(admin, draining_is_not_ready)
{
    open_admin();
    is_ready_now = false;
    expect_answer("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 503 ",
                  "\r\n\r\ndraining\n");
    is_ready_now = true;
    expect_answer("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
                  "\r\n\r\nready\n");
    close_admin();
}

Test(admin, metrics_that_cannot_be_had)
{
    open_admin();
    has_metrics = false;
    expect_answer("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 503 ",
                  "\r\n\r\nout of memory\n");
    close_admin();
}

static void expect_page(const char *bytes, size_t len)
{
    const char *body = strstr(bytes, "\r\n\r\n");
    size_t wrong = 0;

    cr_assert_not_null(body);
    body += 4;
    cr_assert_eq(len - (size_t)(body - bytes), metrics_len, "%zu came", len);
    for (size_t i = 0; i < metrics_len; i++)
        wrong += body[i] != byte_at(i);
    cr_expect_eq(wrong, 0);
}

/* Far more than a socket takes at once. */
Test(admin, large_page_comes_whole)
{
    size_t len;

    metrics_len = 20000000;
    open_admin();
    char *bytes = exchange("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", &len);
    expect_page(bytes, len);
    free(bytes);
    close_admin();
}

Test(admin, client_that_ends_its_side_gets_its_page)
{
    size_t len;

    metrics_len = 20000000;
    open_admin();
    int fd = connect_plain();
    send_text(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    shutdown(fd, SHUT_WR);
    char *bytes = read_all(fd, &len);
    expect_page(bytes, len);
    free(bytes);
    close_admin();
}

/* lws would keep waking up for the end of input that it does not read. */
Test(admin, client_that_ends_its_side_and_reads_nothing_is_cut)
{
    metrics_len = 20000000;
    open_admin();
    size_t before = count_fds();
    int fd = connect_plain();
    send_text(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    shutdown(fd, SHUT_WR);
    wait_for_fds(before + 2);
    wait_for_fds(before + 1);
    close(fd);
    close_admin();
}

Test(admin, heads_that_are_too_large_are_refused)
{
    static char request[20000];
    size_t len;

    open_admin();
    for (int part = 0; part < 2; part++) {
        char filler[6000];

        memset(filler, 'a', sizeof(filler) - 1);
        filler[sizeof(filler) - 1] = '\0';
        snprintf(request, sizeof(request),
                 "GET /%s HTTP/1.1\r\nHost: x\r\nCookie: %s\r\n\r\n",
                 part == 0 ? filler : "healthz", part == 1 ? filler : "");
        char *bytes = exchange(request, &len);
        cr_expect_eq(len, 0, "%s", bytes);
        free(bytes);
    }
    close_admin();
}

Test(admin, hanging_connections_do_not_shut_others_out)
{
    int fds[HANGING];

    open_admin();
    size_t before = count_fds();
    for (size_t i = 0; i < HANGING; i++) {
        fds[i] = connect_plain();
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    for (int i = 0; i < 3; i++)
        expect_answer("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
                      "HTTP/1.1 200 ", "\r\n\r\nok\n");
    cr_expect_leq(count_fds(), before + HANGING + 64);
    for (size_t i = 0; i < HANGING; i++)
        close(fds[i]);
    wait_for_fds(before);
    close_admin();
}

Test(admin, resets_leak_nothing)
{
    static const char *const beginnings[] = {
        "", "GET /hea", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"};
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    metrics_len = 5000000;
    open_admin();
    size_t before = count_fds();
    for (size_t i = 0; i < 300; i++) {
        int fd = connect_plain();

        send_text(fd, beginnings[i % 3]);
        uv_run(&loop, UV_RUN_NOWAIT);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(fd);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    wait_for_fds(before);
    expect_answer("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
                  "ok");
    close_admin();
}

/* Closing with connections in every state, again and again in one process,
 * and nothing on standard error. */
Test(admin, close_leaves_nothing)
{
    int noise[2];
    int saved = dup(STDERR_FILENO);
    char byte;

    metrics_len = 5000000;
    cr_assert_eq(pipe(noise), 0);
    /* libuv keeps a few descriptors for good once it was used. */
    open_admin();
    close_admin();
    size_t before = count_fds();
    dup2(noise[1], STDERR_FILENO);
    for (int i = 0; i < 5; i++) {
        int fds[3];

        open_admin();
        for (size_t j = 0; j < 3; j++) {
            fds[j] = connect_plain();
            send_text(fds[j],
                      j == 0 ? "" : "GET /metrics HTTP/1.1\r\nHost: x\r\n");
            if (j == 2)
                send_text(fds[j], "\r\n");
        }
        for (int turn = 0; turn < i * 4; turn++)
            uv_run(&loop, UV_RUN_NOWAIT);
        close_admin();
        for (size_t j = 0; j < 3; j++)
            close(fds[j]);
    }
    dup2(saved, STDERR_FILENO);
    cr_expect_eq(count_fds(), before, "%zu, %zu before", count_fds(), before);
    close(noise[1]);
    cr_expect_eq(read(noise[0], &byte, 1), 0, "there is noise");
    close(noise[0]);
    close(saved);
}

Test(admin, taken_port_is_one_clear_line)
{
    char want[256];

    open_admin();
    struct gw_address address = address_of("127.0.0.1", gw_admin_port(admin));
    cr_expect_null(open_on(&address));
    snprintf(want, sizeof(want), "admin: cannot listen on %s: %s", address.text,
             strerror(EADDRINUSE));
    cr_expect_str_eq(error, want);
    expect_answer("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
                  "ok");
    close_admin();
}

Test(admin, ipv6)
{
    struct gw_address address = address_of("::1", 0);
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    size_t len;

    if (probe < 0 || bind(probe, (const struct sockaddr *)&address.addr,
                          address.addr_len) != 0)
        cr_skip_test("no IPv6 here");
    close(probe);
    cr_assert_eq(uv_loop_init(&loop), 0);
    admin = open_on(&address);
    cr_assert_not_null(admin, "%s", error);
    address = address_of("::1", gw_admin_port(admin));
    int fd = connect_to(&address);
    send_text(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    char *bytes = read_all(fd, &len);
    cr_expect_not_null(strstr(bytes, "\r\n\r\nok\n"));
    free(bytes);
    close_admin();
}
