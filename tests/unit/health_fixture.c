/* SPDX-License-Identifier: MIT */
#include "health_fixture.h"

#include "gateway/log.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

uv_loop_t loop;
struct gw_backends *table;
struct gw_config config;
struct gw_health *health;

/* --- servers -------------------------------------------------------------- */

static bool is_mode(struct server *server, enum server_mode mode)
{
    return atomic_load(&server->mode) == (int)mode &&
           !atomic_load(&server->is_over);
}

static void write_all(SSL *ssl, int fd, const char *bytes, size_t len)
{
    if (ssl != NULL)
        SSL_write(ssl, bytes, (int)len);
    else if (send(fd, bytes, len, MSG_NOSIGNAL) < 0)
        return;
}

static void stream(struct server *server, SSL *ssl, int fd)
{
    static const char piece[4096];
    struct pollfd gone = {.fd = fd, .events = POLLRDHUP};

    while (is_mode(server, SERVER_STREAMS) && poll(&gone, 1, 0) == 0)
        write_all(ssl, fd, piece, sizeof(piece));
}

static ssize_t read_request(struct server *server, SSL *ssl, int fd)
{
    char bytes[sizeof(server->request)];
    ssize_t got = ssl != NULL ? SSL_read(ssl, bytes, sizeof(bytes) - 1)
                              : recv(fd, bytes, sizeof(bytes) - 1, 0);

    if (got <= 0)
        return got;
    bytes[got] = '\0';
    pthread_mutex_lock(&server->lock);
    memcpy(server->request, bytes, (size_t)got + 1);
    if (ssl != NULL) {
        const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        X509 *cert = SSL_get1_peer_certificate(ssl);

        snprintf(server->name, sizeof(server->name), "%s",
                 name != NULL ? name : "");
        server->has_certificate = cert != NULL;
        X509_free(cert);
    }
    pthread_mutex_unlock(&server->lock);
    return got;
}

static void serve(struct server *server, int fd)
{
    const struct linger reset = {.l_onoff = 1};
    SSL *ssl = NULL;

    if (server->tls != NULL) {
        ssl = SSL_new(server->tls);
        cr_assert_not_null(ssl);
        SSL_set_fd(ssl, fd);
    }
    if (ssl != NULL && SSL_accept(ssl) != 1)
        goto end;
    if (read_request(server, ssl, fd) <= 0)
        goto end;
    if (is_mode(server, SERVER_RESETS))
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if (!is_mode(server, SERVER_RESETS) && !is_mode(server, SERVER_CLOSES))
        write_all(ssl, fd, server->answer, strlen(server->answer));
    if (is_mode(server, SERVER_LINGERS) && server->held_count < HELD_MAX) {
        SSL_free(ssl);
        server->held[server->held_count++] = fd;
        return;
    }
    stream(server, ssl, fd);
    if (ssl != NULL)
        SSL_shutdown(ssl);
end:
    SSL_free(ssl);
    close(fd);
}

static void drop_held(struct server *server, bool all)
{
    size_t kept = 0;

    for (size_t i = 0; i < server->held_count; i++) {
        struct pollfd gone = {.fd = server->held[i], .events = POLLRDHUP};

        if (all || poll(&gone, 1, 0) > 0)
            close(server->held[i]);
        else
            server->held[kept++] = server->held[i];
    }
    server->held_count = kept;
    atomic_store(&server->open, (unsigned)kept);
}

static void take(struct server *server, int fd)
{
    unsigned hit = atomic_load(&server->hits);
    struct timeval patience = {.tv_sec = PATIENCE_S};

    atomic_fetch_add(&server->begun, 1);
    if (hit < SEEN_MAX)
        server->seen_ms[hit] = uv_hrtime() / 1000000;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (is_mode(server, SERVER_HOLDS) && server->held_count < HELD_MAX) {
        server->held[server->held_count++] = fd;
        drop_held(server, false);
        if (atomic_load(&server->open) > atomic_load(&server->most))
            atomic_store(&server->most, atomic_load(&server->open));
    } else {
        serve(server, fd);
    }
    atomic_fetch_add(&server->hits, 1);
}

static void *run(void *arg)
{
    struct server *server = arg;

    while (!atomic_load(&server->is_over)) {
        struct pollfd ready = {.fd = server->fd, .events = POLLIN};

        if (poll(&ready, 1, 5) > 0) {
            int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);

            if (fd >= 0)
                take(server, fd);
        }
        if (!is_mode(server, SERVER_LINGERS))
            drop_held(server, !is_mode(server, SERVER_HOLDS));
    }
    drop_held(server, true);
    return NULL;
}

static void address_of(struct gw_address *address, int port, bool is_ipv6)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&address->addr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address->addr;

    memset(address, 0, sizeof(*address));
    if (is_ipv6) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        in6->sin6_addr = in6addr_loopback;
        address->addr_len = sizeof(*in6);
    } else {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address->addr_len = sizeof(*in);
    }
    snprintf(address->text, sizeof(address->text),
             is_ipv6 ? "[::1]:%d" : "127.0.0.1:%d", port);
}

static int bind_to(int port, bool is_ipv6, int *bound)
{
    struct gw_address address;
    socklen_t len = sizeof(address.addr);
    int on = 1;

    address_of(&address, port, is_ipv6);
    int fd = socket(address.addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    cr_assert_eq(bind(fd, (struct sockaddr *)&address.addr, address.addr_len),
                 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address.addr, &len), 0);
    *bound = ntohs(((struct sockaddr_in *)&address.addr)->sin_port);
    return fd;
}

static struct server *start_on(int port, SSL_CTX *tls, bool is_ipv6)
{
    struct server *server = calloc(1, sizeof(*server));

    cr_assert_not_null(server);
    server->fd = bind_to(port, is_ipv6, &server->port);
    cr_assert_eq(listen(server->fd, HELD_MAX), 0);
    server->tls = tls;
    server->answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    pthread_mutex_init(&server->lock, NULL);
    cr_assert_eq(pthread_create(&server->thread, NULL, run, server), 0);
    return server;
}

struct server *server_start(SSL_CTX *tls, bool is_ipv6)
{
    return start_on(0, tls, is_ipv6);
}

struct server *server_start_on(int port)
{
    return start_on(port, NULL, false);
}

void server_stop(struct server *server)
{
    atomic_store(&server->is_over, true);
    pthread_join(server->thread, NULL);
    close(server->fd);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

int closed_port(void)
{
    int port;

    close(bind_to(0, false, &port));
    return port;
}

/* --- checks --------------------------------------------------------------- */

void health_setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(uv_loop_init(&loop), 0);
    table = calloc(1, sizeof(*table));
    cr_assert_not_null(table);
    memset(&config, 0, sizeof(config));
    config.pool_count = 1;
    config.pools[0] = (struct gw_pool_config){
        .name = "default",
        .health_check = GW_HEALTH_TCP,
        .health_path = "/health?deep=1",
        .health_status_min = 200,
        .health_status_max = 399,
        .health_interval_ms = 20,
        .health_timeout_ms = 2000,
        .health_rise = 2,
        .health_fall = 2,
    };
    snprintf(config.tls_ciphers, sizeof(config.tls_ciphers),
             "ECDHE-ECDSA-AES128-GCM-SHA256");
}

void health_teardown(void)
{
    gw_health_free(health);
    gw_health_free(NULL);
    health = NULL;
    free(table);
    cr_expect_eq(uv_loop_close(&loop), 0, "handles are left");
}

void health_begin(void)
{
    char error[256] = "";

    health = gw_health_new(&loop, table, &config, error);
    cr_assert_not_null(health, "%s", error);
}

struct gw_backend *place(unsigned index, const char *id, int port)
{
    struct gw_backend *backend = &table->list[index];

    memset(backend, 0, sizeof(*backend));
    snprintf(backend->own.id, sizeof(backend->own.id), "%s", id);
    address_of(&backend->own.address, port, false);
    backend->own.weight = 1;
    backend->config = &backend->own;
    backend->index = index;
    atomic_store(&backend->state, GW_BACKEND_LIVE);
    if (index >= atomic_load(&table->used))
        atomic_store(&table->used, index + 1);
    return backend;
}

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

bool turn_until(condition_fn is_so, const void *arg)
{
    uint64_t end = uv_hrtime() + PATIENCE_S * 1000000000ULL;
    uv_timer_t timer;
    bool so;

    uv_timer_init(&loop, &timer);
    uv_timer_start(&timer, on_wake, 1, 1);
    while (!(so = is_so(arg)) && uv_hrtime() < end)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    while (uv_is_active((uv_handle_t *)&timer) ||
           uv_is_closing((uv_handle_t *)&timer)) {
        uv_run(&loop, UV_RUN_NOWAIT);
        break;
    }
    return so;
}

static bool is_past(const void *arg)
{
    return uv_hrtime() >= *(const uint64_t *)arg;
}

void turn_for(unsigned ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000ULL;

    cr_assert(turn_until(is_past, &end));
}

static bool is_down(const void *arg)
{
    const struct gw_backend *backend = arg;

    return atomic_load(&backend->is_down);
}

static bool is_up(const void *arg)
{
    return !is_down(arg);
}

bool goes_down(struct gw_backend *backend)
{
    return turn_until(is_down, backend);
}

bool goes_up(struct gw_backend *backend)
{
    return turn_until(is_up, backend);
}

struct wish {
    struct server *server;
    unsigned hits;
};

static bool is_hit(const void *arg)
{
    const struct wish *wish = arg;

    return atomic_load(&wish->server->hits) >= wish->hits;
}

bool gets_hits(struct server *server, unsigned more)
{
    struct wish wish = {server, atomic_load(&server->hits) + more};

    return turn_until(is_hit, &wish);
}

static bool is_begun(const void *arg)
{
    const struct wish *wish = arg;

    return atomic_load(&wish->server->begun) >= wish->hits;
}

bool begins(struct server *server)
{
    struct wish wish = {server, atomic_load(&server->begun) + 1};

    return turn_until(is_begun, &wish);
}

unsigned count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    cr_assert_not_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}
