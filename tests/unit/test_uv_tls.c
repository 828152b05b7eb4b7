/* SPDX-License-Identifier: MIT */
/* A libuv loop's wires that speak TLS, on real sockets; their other end is
 * OpenSSL alone, whose bytes are handed on as the tests like. */
#include "gateway/uv_loop.h"
#include "tests/unit/tls_fixture.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { LARGE = 7 * 1024 * 1024, SOME = 300000 };

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static uv_loop_t uv;
static struct store_loop *loop;
static struct store_wire *wire;
static struct gw_config config;
static struct gw_tls *tls;
static char error[GW_TLS_ERROR_MAX];
static int listener = -1, peer = -1;
static struct store_address address;
static const struct tls_issued *ca, *node;

static unsigned opens, ends;
static char why[256];
static size_t got_len;
static size_t close_at;     /* bytes; 0: never */
static const char *at_open; /* written then */

/* The other end. */
static SSL_CTX *server_ctx;
static SSL *server;
static size_t piece; /* its bytes come in pieces of this size; 0: at once */

static void on_open(void *arg)
{
    (void)arg;
    opens++;
    if (at_open != NULL)
        loop->ops->write(wire, at_open, strlen(at_open));
}

static void on_bytes(void *arg, const char *bytes, size_t len)
{
    (void)arg;
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(bytes[i], (char)((got_len + i) % 251));
    got_len += len;
    if (close_at == 0 || got_len < close_at)
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

    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &few, sizeof(few));
    cr_assert_eq(bind(listener, (struct sockaddr *)&to, len), 0);
    cr_assert_eq(listen(listener, 8), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&to, &len), 0);
    address =
        (struct store_address){.port = ntohs(to.sin_port), .is_tls = true};
    snprintf(address.host, sizeof(address.host), "127.0.0.1");
}

static void begin(void)
{
    signal(SIGPIPE, SIG_IGN);
    tls_fixture_setup();
    ca = tls_issue(&(struct tls_order){.name = "ca", .is_ca = true});
    node = tls_issue(&(struct tls_order){
        .name = "node", .issuer = ca, .alt = "IP:127.0.0.1"});
    config.store.host_count = 1;
    config.store.hosts[0].is_tls = true;
    config.store_verify = true;
    snprintf(config.store_ca, sizeof(config.store_ca), "%s", ca->file);
    cr_assert_eq(uv_loop_init(&uv), 0);
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
    SSL_free(server);
    SSL_CTX_free(server_ctx);
    gw_tls_free(tls);
    close(listener);
    close(peer);
    tls_fixture_teardown();
}

TestSuite(uv_tls, .init = begin, .fini = finish, .timeout = 90);

static void make_server(const struct tls_issued *issued, int version)
{
    SSL_CTX_free(server_ctx);
    server_ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_min_proto_version(server_ctx, version);
    SSL_CTX_set_max_proto_version(server_ctx, version);
    cr_assert_eq(SSL_CTX_use_certificate(server_ctx, issued->cert), 1);
    cr_assert_eq(SSL_CTX_use_PrivateKey(server_ctx, issued->key), 1);
}

static void open_wire(void)
{
    if (tls == NULL)
        cr_assert(gw_tls_new(&config, &tls, error), "%s", error);
    if (loop == NULL)
        loop = gw_uv_loop_new(&uv, tls);
    opens = ends = 0;
    wire = loop->ops->open(loop, &address, &user, NULL);
    cr_assert_not_null(wire);
    cr_assert_eq(opens + ends, 0);
}

static void hang_up(void)
{
    SSL_free(server);
    server = NULL;
    close(peer);
    peer = -1;
}

static void accept_peer(void)
{
    hang_up();
    while ((peer = accept(listener, NULL, NULL)) < 0)
        uv_run(&uv, UV_RUN_NOWAIT);
    fcntl(peer, F_SETFL, O_NONBLOCK);
    server = SSL_new(server_ctx);
    SSL_set_bio(server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(server);
}

/* What the other end has to say. */
static void hand_on(void)
{
    char *bytes;
    size_t len = (size_t)BIO_get_mem_data(SSL_get_wbio(server), &bytes);

    for (size_t at = 0; at < len;) {
        size_t some = piece == 0 || piece > len - at ? len - at : piece;
        ssize_t n = send(peer, bytes + at, some, MSG_NOSIGNAL);

        if (n > 0)
            at += (size_t)n;
        else if (errno != EAGAIN)
            break;
        uv_run(&uv, UV_RUN_NOWAIT);
    }
    (void)BIO_reset(SSL_get_wbio(server));
}

/* And what it gets. False at the end. */
static bool get_more(void)
{
    char bytes[16384];
    ssize_t n = recv(peer, bytes, sizeof(bytes), 0);

    if (n > 0)
        BIO_write(SSL_get_rbio(server), bytes, (int)n);
    return n != 0;
}

/* Until the wire is open, or has ended. */
static void shake(void)
{

    while (opens + ends == 0 || (ends == 0 && !SSL_is_init_finished(server))) {
        uv_run(&uv, UV_RUN_NOWAIT);
        get_more();
        SSL_do_handshake(server);
        hand_on();
    }
}

static void until_end(void)
{

    while (ends == 0)
        uv_run(&uv, UV_RUN_NOWAIT);
}

static void connect_both(void)
{
    open_wire();
    accept_peer();
    shake();
    cr_assert_eq(ends, 0, "%s", why);
}

/* The other end reads `len` bytes, all the same; it gives the first read's
 * length. */
static size_t hears(size_t len, char wanted)
{
    static char bytes[65536];
    size_t first = 0;

    for (size_t sum = 0; sum < len;) {
        int n = SSL_read(server, bytes, sizeof(bytes));

        for (int i = 0; i < n; i++)
            cr_assert_eq(bytes[i], wanted);
        if (n > 0)
            sum += (size_t)n;
        if (n > 0 && first == 0)
            first = (size_t)n;
        if (n > 0)
            continue;
        hand_on();
        uv_run(&uv, UV_RUN_NOWAIT);
        get_more();
    }
    return first;
}

static void says(size_t len)
{
    char *bytes = malloc(len);
    size_t wanted = got_len + len;

    cr_assert_not_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)((got_len + i) % 251);
    cr_assert_eq(SSL_write(server, bytes, (int)len), (int)len);
    free(bytes);
    hand_on();
    while (got_len < wanted && wire != NULL)
        uv_run(&uv, UV_RUN_NOWAIT);
    cr_assert(got_len == wanted || wire == NULL, "%zu", got_len);
}

Test(uv_tls, bytes_go_both_ways)
{
    static const size_t pieces[] = {0, 1, 7, 4096};

    for (size_t i = 0; i < 2 * sizeof(pieces) / sizeof(*pieces); i++) {
        make_server(node, versions[i % 2]);
        piece = pieces[i / 2];
        connect_both();
        loop->ops->write(wire, "xx", 2);
        loop->ops->write(wire, "xxx", 3);
        cr_expect_eq(loop->ops->unsent(wire), 5);
        cr_expect_eq(hears(5, 'x'), 5, "as one record");
        cr_expect_eq(loop->ops->unsent(wire), 0);
        says(piece == 1 ? 40000 : SOME);
        loop->ops->write(wire, "y", 1);
        hears(1, 'y');
        loop->ops->close(wire);
        wire = NULL;
        got_len = 0;
    }
}

Test(uv_tls, keys_are_changed)
{
    make_server(node, TLS1_3_VERSION);
    connect_both();
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(SSL_key_update(server, SSL_KEY_UPDATE_REQUESTED), 1);
        says(1000);
        loop->ops->write(wire, "x", 1);
        hears(1, 'x');
    }
}

Test(uv_tls, a_peer_that_reads_slowly)
{
    char *large = malloc(LARGE);

    cr_assert_not_null(large);
    memset(large, 'x', LARGE);
    make_server(node, TLS1_3_VERSION);
    connect_both();
    loop->ops->write(wire, large, LARGE);
    cr_expect_eq(loop->ops->unsent(wire), LARGE);
    for (int i = 0; i < 3; i++)
        uv_run(&uv, UV_RUN_NOWAIT);
    cr_expect_gt(loop->ops->unsent(wire), LARGE / 4);
    /* Meanwhile the other way is free. */
    says(SOME);
    loop->ops->write(wire, "x", 1);
    hears(LARGE + 1, 'x');
    cr_expect_eq(loop->ops->unsent(wire), 0);
    for (int i = 0; i < 3 && wire != NULL; i++)
        loop->ops->write(wire, large, LARGE);
    until_end();
    cr_expect_str_eq(why, "too much is unsent");
    free(large);
}

/* 0: at a close_notify; -1: otherwise. */
static int how_it_ends(void)
{
    char byte;
    int n;

    do {
        bool is_more = get_more();
        n = SSL_read(server, &byte, 1);
        if (!is_more && n <= 0)
            break;
    } while (n > 0 || SSL_get_error(server, n) == SSL_ERROR_WANT_READ);
    return SSL_get_error(server, n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

Test(uv_tls, ends_are_announced)
{
    for (size_t i = 0; i < 2; i++) {
        make_server(node, versions[i]);
        connect_both();
        loop->ops->close(wire);
        wire = NULL;
        cr_expect_eq(how_it_ends(), 0);

        connect_both();
        SSL_shutdown(server);
        hand_on();
        until_end();
        cr_expect_str_eq(why, "closed by the server");

        connect_both();
        hang_up();
        until_end();
        cr_expect_str_eq(why, "closed by the server");
    }
}

Test(uv_tls, closed_by_its_own_callback)
{
    make_server(node, TLS1_3_VERSION);
    close_at = 20000; /* of several records that came together */
    connect_both();
    says(SOME);
    cr_expect_null(wire);
    cr_expect_lt(got_len, SOME);
    cr_expect_eq(ends, 0);
}

struct refusal {
    const struct tls_issued *has;
    const char *host, *tls_name;
    const char *about; /* its certificate; NULL: all is well */
};

static const struct tls_issued *issue(const char *name, const char *alt,
                                      int from_day, int to_day)
{
    return tls_issue(&(struct tls_order){.name = name,
                                         .issuer = ca,
                                         .alt = alt,
                                         .from_day = from_day,
                                         .to_day = to_day});
}

Test(uv_tls, whom_it_does_not_believe)
{
    static const char ip[] = "127.0.0.1";
    const struct tls_issued *other =
        tls_issue(&(struct tls_order){.name = "other", .is_ca = true});
    const struct tls_issued *past = issue("past", "IP:127.0.0.1", -9, -2);
    const struct tls_issued *future = issue("future", "IP:127.0.0.1", 2, 9);
    const struct tls_issued *named = issue("named", "DNS:redis.example", 0, 0);
    const struct refusal rows[] = {
        {node, ip, "", NULL},
        {named, ip, "redis.example", NULL},
        {other, ip, "", "is of an unknown authority"},
        {past, ip, "", "has expired"},
        {future, ip, "", "is not valid yet"},
        {named, ip, "", "is not for this address"},
        {named, "localhost", "", "is not for localhost"},
        {node, "localhost", "", "is not for localhost"},
    };
    char line[256];

    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(*rows); i++) {
        const struct refusal *row = &rows[i / 2];

        make_server(row->has, versions[i % 2]);
        snprintf(address.host, sizeof(address.host), "%s", row->host);
        snprintf(config.store_tls_name, sizeof(config.store_tls_name), "%s",
                 row->tls_name);
        if (tls != NULL)
            cr_assert(gw_tls_reload(tls, &config, error), "%s", error);
        open_wire();
        accept_peer();
        shake();
        cr_expect_eq(opens, row->about == NULL, "row %zu: %s", i / 2, why);
        cr_expect_eq(ends, row->about != NULL, "row %zu", i / 2);
        snprintf(line, sizeof(line), "TLS: its certificate %s", row->about);
        if (row->about != NULL)
            cr_expect_str_eq(why, line);
        if (wire != NULL)
            loop->ops->close(wire);
        wire = NULL;
    }
}

/* With TLS 1.3 that is known only when it is open, and has written already. */
Test(uv_tls, a_certificate_of_ours_is_missing)
{
    at_open = "xxx";
    for (size_t i = 0; i < 2; i++) {
        make_server(node, versions[i]);
        SSL_CTX_set_verify(server_ctx,
                           SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                           NULL);
        open_wire();
        accept_peer();
        for (int n = 0; n <= 0 && peer >= 0 && ends == 0;) {
            uv_run(&uv, UV_RUN_NOWAIT);
            get_more();
            n = SSL_do_handshake(server);
            hand_on();
            if (SSL_get_error(server, n) == SSL_ERROR_SSL)
                hang_up();
        }
        until_end();
        cr_expect_str_eq(why, i == 0 ? "TLS: it refuses: handshake failure"
                                     : "TLS: it refuses: certificate required");
    }
}

Test(uv_tls, what_is_no_TLS)
{
    make_server(node, TLS1_3_VERSION);
    open_wire();
    accept_peer();
    cr_assert_eq(send(peer, "-ERR unknown\r\n", 14, 0), 14);
    until_end();
    cr_expect_str_eq(why, "TLS: wrong version number");
    cr_expect_eq(opens, 0);

    open_wire();
    accept_peer();
    hang_up();
    until_end();
    cr_expect_str_eq(why, "TLS: closed by the peer");
    cr_expect_eq(opens, 0);

    address.is_tls = false;
    open_wire();
    accept_peer();
    while (opens == 0)
        uv_run(&uv, UV_RUN_NOWAIT);
    hang_up();
    until_end();
    cr_expect_str_eq(why, GW_TLS_MISSED);
}

Test(uv_tls, there_is_none)
{
    loop = gw_uv_loop_new(&uv, NULL);
    open_wire();
    until_end();
    cr_expect_str_eq(why, "no TLS");
    gw_uv_loop_free(loop);

    /* The store does not speak it. */
    config.store.hosts[0].is_tls = false;
    gw_tls_free(tls);
    tls = NULL;
    cr_assert(gw_tls_new(&config, &tls, error), "%s", error);
    loop = gw_uv_loop_new(&uv, tls);
    open_wire();
    until_end();
    cr_expect_str_eq(why, "no TLS");
}
