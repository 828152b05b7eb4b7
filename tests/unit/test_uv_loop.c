/* SPDX-License-Identifier: MIT */
/* A libuv loop as the loop of a store client, on real sockets. */
#include "gateway/uv_loop.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { LIMIT_MS = 10000, LARGE = 7 * 1024 * 1024 };

static uv_loop_t uv;
static struct store_loop *loop;
static struct store_wire *wire;
static int listener = -1;
static int peer = -1;
static struct store_address address;
static unsigned opens;
static unsigned ends;
static unsigned fires;
static bool closes_on_bytes;
static char why[128];
static char got[256];
static size_t got_len;

static void on_open(void *arg)
{
    (void)arg;
    opens++;
}

static void on_bytes(void *arg, const char *bytes, size_t len)
{
    (void)arg;
    cr_assert_leq(got_len + len, sizeof(got));
    memcpy(got + got_len, bytes, len);
    got_len += len;
    if (!closes_on_bytes)
        return;
    loop->ops->close(wire);
    wire = NULL;
}

static void on_end(void *arg, const char *text)
{
    (void)arg;
    snprintf(why, sizeof(why), "%s", text);
    ends++;
    wire = NULL;
}

static const struct store_wire_user user = {on_open, on_bytes, on_end};

static void listen_at(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(to);

    int few = 4096;

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few));
    cr_assert_eq(bind(listener, (struct sockaddr *)&to, len), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&to, &len), 0);
    address = (struct store_address){.port = ntohs(to.sin_port)};
    snprintf(address.host, sizeof(address.host), "127.0.0.1");
}

static void begin(void)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(uv_loop_init(&uv), 0);
    loop = gw_uv_loop_new(&uv, NULL);
    cr_assert_not_null(loop);
    listen_at();
}

/* Whatever was under way: nothing is left in the loop. */
static void finish(void)
{
    if (wire != NULL)
        loop->ops->close(wire);
    gw_uv_loop_free(loop);
    uv_run(&uv, UV_RUN_DEFAULT);
    if (uv_loop_close(&uv) != 0) {
        fprintf(stderr, "a handle is left\n");
        abort();
    }
    close(listener);
    close(peer);
}

static void until(const unsigned *count, unsigned wanted)
{
    uint64_t limit = uv_hrtime() + (uint64_t)LIMIT_MS * 1000000;

    while (*count < wanted && uv_hrtime() < limit)
        uv_run(&uv, UV_RUN_NOWAIT);
    cr_assert_geq(*count, wanted, "%s", why);
}

static void open_wire(void)
{
    wire = loop->ops->open(loop, &address, &user, NULL);
    cr_assert_not_null(wire);
    cr_assert_eq(opens + ends, 0);
}

static void open_both(void)
{
    open_wire();
    until(&opens, 1);
    peer = accept(listener, NULL, NULL);
    cr_assert_geq(peer, 0);
}

TestSuite(uv_loop, .init = begin, .fini = finish, .timeout = 60);

Test(uv_loop, bytes_go_both_ways)
{
    char buffer[16] = "";

    open_both();
    loop->ops->write(wire, "hel", 3);
    loop->ops->write(wire, "lo", 2);
    cr_expect_eq(loop->ops->unsent(wire), 5);
    cr_expect_eq(recv(peer, buffer, sizeof(buffer), MSG_DONTWAIT), -1);
    uv_run(&uv, UV_RUN_NOWAIT);
    cr_expect_eq(loop->ops->unsent(wire), 0);
    /* As one. */
    cr_expect_eq(recv(peer, buffer, sizeof(buffer), 0), 5);
    cr_expect_str_eq(buffer, "hello");
    cr_assert_eq(send(peer, "there", 5, 0), 5);
    while (got_len < 5)
        uv_run(&uv, UV_RUN_ONCE);
    cr_expect_eq(memcmp(got, "there", 5), 0);
    shutdown(peer, SHUT_RDWR);
    until(&ends, 1);
    cr_expect_str_eq(why, "closed by the server");
}

Test(uv_loop, names_are_resolved)
{
    snprintf(address.host, sizeof(address.host), "localhost");
    open_both();
}

Test(uv_loop, a_name_that_nobody_has)
{
    snprintf(address.host, sizeof(address.host), "nobody.invalid");
    open_wire();
    until(&ends, 1);
    cr_expect(strstr(why, "does not resolve") != NULL, "%s", why);
}

Test(uv_loop, closed_while_it_resolves)
{
    snprintf(address.host, sizeof(address.host), "localhost");
    for (int i = 0; i < 5; i++) {
        open_wire();
        for (int turns = 0; turns < i && opens == 0; turns++)
            uv_run(&uv, UV_RUN_NOWAIT);
        loop->ops->close(wire);
        wire = NULL;
        opens = 0;
    }
}

Test(uv_loop, nobody_listens)
{
    close(listener);
    listener = -1;
    open_wire();
    until(&ends, 1);
    cr_expect(strstr(why, "refused") != NULL, "%s", why);
}

Test(uv_loop, a_unix_socket)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    address.is_unix = true;
    snprintf(address.host, sizeof(address.host), "/tmp/uv_loop-%d.sock",
             (int)getpid());
    snprintf(to.sun_path, sizeof(to.sun_path), "%.100s", address.host);
    unlink(address.host);
    close(listener);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&to, sizeof(to)), 0);
    cr_assert_eq(listen(listener, 1), 0);
    open_both();
    unlink(address.host);
}

Test(uv_loop, a_path_that_is_no_socket)
{
    address.is_unix = true;
    snprintf(address.host, sizeof(address.host), "/nowhere/at/all");
    open_wire();
    until(&ends, 1);
    memset(address.host, 'x', 200);
    ends = 0;
    open_wire();
    until(&ends, 1);
    cr_expect_str_eq(why, "the path is too long");
}

Test(uv_loop, a_peer_that_reads_slowly)
{
    char *large = malloc(LARGE);
    char buffer[65536];
    size_t sum = 0;

    cr_assert_not_null(large);
    memset(large, 'x', LARGE);
    open_both();
    loop->ops->write(wire, large, LARGE);
    uv_run(&uv, UV_RUN_NOWAIT);
    cr_expect_gt(loop->ops->unsent(wire), 0);
    while (sum < LARGE) {
        ssize_t n = recv(peer, buffer, sizeof(buffer), MSG_DONTWAIT);

        if (n > 0)
            sum += (size_t)n;
        uv_run(&uv, UV_RUN_NOWAIT);
    }
    cr_expect_eq(loop->ops->unsent(wire), 0);
    for (int i = 0; i < 3 && wire != NULL; i++)
        loop->ops->write(wire, large, LARGE);
    cr_expect_not_null(wire);
    until(&ends, 1);
    cr_expect_str_eq(why, "too much is unsent");
    free(large);
}

Test(uv_loop, closed_by_its_own_callback)
{
    closes_on_bytes = true;
    open_both();
    cr_assert_eq(send(peer, "bytes", 5, 0), 5);
    while (wire != NULL)
        uv_run(&uv, UV_RUN_ONCE);
    cr_expect_eq(got_len, 5);
    cr_expect_eq(ends, 0);
}

Test(uv_loop, closed_with_bytes_to_write)
{
    open_both();
    loop->ops->write(wire, "hello", 5);
    loop->ops->close(wire);
    wire = NULL;
    uv_run(&uv, UV_RUN_NOWAIT);
    cr_expect_eq(ends, 0);
}

static struct store_timer *timer;

static void on_fire(void *arg)
{
    fires += *(unsigned *)arg;
    if (fires < 3)
        return;
    loop->ops->timer_free(timer);
    timer = NULL;
}

Test(uv_loop, timers_fire_once_for_each_start)
{
    unsigned one = 1;

    timer = loop->ops->timer_new(loop, on_fire, &one);
    cr_assert_not_null(timer);
    uv_run(&uv, UV_RUN_NOWAIT);
    cr_expect_eq(fires, 0);
    for (unsigned i = 1; i <= 2; i++) {
        loop->ops->timer_start(timer, 5);
        until(&fires, i);
        uv_run(&uv, UV_RUN_NOWAIT);
        cr_expect_eq(fires, i);
    }
    loop->ops->timer_start(timer, 5);
    loop->ops->timer_stop(timer);
    uv_sleep(10);
    uv_run(&uv, UV_RUN_NOWAIT);
    cr_expect_eq(fires, 2);
    loop->ops->timer_start(timer, -5);
    until(&fires, 3);
    cr_expect_null(timer);
    loop->ops->timer_free(NULL);
    cr_expect_neq(loop->ops->random(loop), loop->ops->random(loop));
    cr_expect_leq(loop->ops->now_ms(loop), (int64_t)(uv_hrtime() / 1000000));
}

static void on_fire_again(void *arg)
{
    unsigned *left = arg;

    fires++;
    if (--*left > 0)
        loop->ops->timer_start(timer, 0);
}

/* Who goes on in slices leaves the loop to others in between. */
Test(uv_loop, a_timer_started_by_itself_waits_for_the_next_turn)
{
    unsigned left = 10;
    unsigned most = 0; /* in one turn */

    timer = loop->ops->timer_new(loop, on_fire_again, &left);
    cr_assert_not_null(timer);
    loop->ops->timer_start(timer, 0);
    while (left > 0) {
        unsigned before = fires;

        uv_run(&uv, UV_RUN_NOWAIT);
        if (fires - before > most)
            most = fires - before;
    }
    loop->ops->timer_free(timer);
    timer = NULL;
    cr_expect_eq(most, 1);
}
