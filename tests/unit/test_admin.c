/* SPDX-License-Identifier: MIT */
/* The operator plane over real sockets. */
#include "admin_fixture.h"

enum { HANGING = 150 };

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
    {"GET /none HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 ", "not found\n"},
    {"GET /ui/ HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404 ", "not found\n"},
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
    /* No protocol but HTTP/1: an upgrade is overlooked. */
    {"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
     "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
     "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
     "HTTP/1.1 200 ", "ok\n"},
    {"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
     "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
     "HTTP/1.1 200 ", "ok\n"},
    {"GET /healthz HTTP/1.1\r\nHost: x\r\nupgrade: x, y\r\nUPGRADE:\r\n\r\n",
     "HTTP/1.1 200 ", "ok\n"},
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
    cr_expect_not_null(strstr(bytes, "x-content-type-options: nosniff\r\n"));
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

/* Those that take nothing of their answers give way, too. */
Test(admin, clients_that_do_not_read_do_not_shut_others_out)
{
    int fds[70];

    metrics_len = 8000000;
    open_admin();
    size_t before = count_fds();
    for (size_t i = 0; i < 70; i++) {
        fds[i] = connect_plain();
        send_text(fds[i], "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    metrics_len = 20;
    expect_answer("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
                  "\r\n\r\nok\n");
    for (size_t i = 0; i < 70; i++)
        close(fds[i]);
    wait_for_fds(before);
    close_admin();
}
