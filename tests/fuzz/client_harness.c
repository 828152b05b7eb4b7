/* SPDX-License-Identifier: MIT */
/* A whole gateway in one thread, with one client and one backend. */
#include "tests/fuzz/client_harness.h"
#include "gateway/log.h"
#include "gateway/options.h"
#include "tests/fuzz/request_check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Its turn is its own, and its clock is ours. */
#define gw_now_ms harness_now_ms
#include "gateway/worker.c"
#undef gw_now_ms

enum {
    QUIET_TURNS = 2,
    TIMERS_MAX = 5000,
    PATIENCE_MS = 100,
    ROUNDS_MAX = 32,
    PIECE = 16384
};

static int64_t clock_ms;
static struct gw_server *server;
static struct gw_worker *worker;
static int backend_fd = -1;
static struct gw_config config;
static struct harness_end client;
static struct harness_end backends[HARNESS_PEERS_MAX];
static unsigned backend_count;
static harness_answer_fn answer_fn;

int64_t harness_now_ms(void)
{
    return clock_ms;
}

void harness_require(bool is_true)
{
    if (!is_true)
        abort();
}

/* An address for each process: the ports of 127.0.0.1 may be used up by what
 * else the machine does. */
static uint32_t own_address(void)
{
    uint32_t number = (uint32_t)getpid();
    return 127u << 24 | (1 + number / 250 % 250) << 16 |
           (1 + number % 250) << 8 | 1;
}

static int bound(struct sockaddr_in *address)
{
    socklen_t len = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_addr = {htonl(own_address())}};
    harness_require(
        fd >= 0 &&
        bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 &&
        listen(fd, 256) == 0 &&
        getsockname(fd, (struct sockaddr *)address, &len) == 0);
    return fd;
}

/* Once for all inputs: names are resolved and files looked for. */
static void read_config(void)
{
    struct sockaddr_in address;
    char error[GW_OPTIONS_ERROR_MAX] = "";
    char backend[64];
    char listen[64];
    char text[INET_ADDRSTRLEN];
    enum gw_action action;
    const char *const words[] = {
        "fuzz",       "--listen",    listen,
        "--backend",  backend,       "--workers",
        "1",          "--recovery",  "off",
        "--admin",    "off",         "--max-sessions",
        "100",        "--log-level", "error",
        "--max-head", "4k",          "--max-request-line",
        "1k",         "--max-body",  "200k"};
    backend_fd = bound(&address);
    inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text));
    snprintf(backend, sizeof(backend), "n1=%s:%d", text,
             ntohs(address.sin_port));
    snprintf(listen, sizeof(listen), "%s:0", text);
    if (gw_options_read((int)(sizeof(words) / sizeof(words[0])),
                        (char **)(uintptr_t)words, &config, &action,
                        error) != 0) {
        fprintf(stderr, "%s\n", error);
        abort();
    }
    gw_log_setup(GW_LOG_ERROR, GW_LOG_TEXT);
}

/* Without it the kernel would hold small pieces back for real time. */
static void end_init(struct harness_end *end, int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *end = (struct harness_end){.fd = fd, .bytes = malloc(HARNESS_BYTES_MAX)};
    harness_require(fd >= 0 && end->bytes != NULL);
}

static void end_free(struct harness_end *end)
{
    if (end->fd >= 0)
        close(end->fd);
    free(end->bytes);
    *end = (struct harness_end){.fd = -1};
}

static void connect_client(void)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    harness_require(fd >= 0 && worker->listeners != NULL);
    /* No port is left waiting behind a million of them. */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    getsockname(worker->listeners->fd, (struct sockaddr *)&address, &len);
    harness_require(connect(fd, (const struct sockaddr *)&address, len) == 0);
    harness_require(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    end_init(&client, fd);
}

void harness_open(harness_answer_fn answer)
{
    char error[256] = "";
    if (backend_fd < 0)
        read_config();
    answer_fn = answer;
    clock_ms = 1000000;
    server = gw_server_new(&config, error);
    harness_require(server != NULL);
    harness_require(gw_server_open(server, NULL, error));
    worker = server->workers[0];
    connect_client();
    harness_settle();
}

struct gw_worker *harness_worker(void)
{
    return worker;
}

/* As a worker does at its end. */
void harness_cut_all(void)
{
    gw_conns_cut(worker);
    gw_tunnels_cut(worker);
    gw_recovery_cut(worker);
    gw_upstreams_drop_idle(worker);
    call_ready(worker);
    empty_graves(worker);
}

struct harness_end *harness_client(void)
{
    return &client;
}

/* Whether anything came. What is over the cap is dropped. */
static bool end_read(struct harness_end *end)
{
    char bytes[PIECE];
    if (end->fd < 0 || end->is_over)
        return false;
    ssize_t n = recv(end->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        end->is_over = true;
        return true;
    }
    if ((size_t)n > HARNESS_BYTES_MAX - end->len)
        n = (ssize_t)(HARNESS_BYTES_MAX - end->len);
    memcpy(end->bytes + end->len, bytes, (size_t)n);
    end->len += (size_t)n;
    return true;
}

void harness_say(struct harness_end *end, const char *bytes, size_t len)
{
    while (len > 0 && end->fd >= 0 && !end->is_stopped) {
        ssize_t n = send(end->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0)
            return; /* a full buffer: the rest is not said */
        bytes += n;
        len -= (size_t)n;
    }
}

void harness_say_text(struct harness_end *end, const char *text)
{
    harness_say(end, text, strlen(text));
}

void harness_stop(struct harness_end *end)
{
    if (end->fd >= 0 && !end->is_stopped)
        shutdown(end->fd, SHUT_WR);
    end->is_stopped = true;
}

void harness_cut(struct harness_end *end)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (end->fd < 0)
        return;
    setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(end->fd);
    end->fd = -1;
    end->is_stopped = true;
}

void harness_switch(struct harness_end *end,
                    const struct harness_request *request)
{
    struct eio_span key = request_field(request->head, "sec-websocket-key");
    char accept[29];
    char head[256];
    gw_ws_accept(key, accept);
    snprintf(head, sizeof(head),
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
             accept);
    end->is_tunnel = true;
    harness_say_text(end, head);
}

/* ---- the backend ---- */

static bool accept_some(void)
{
    int fd = accept4(backend_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return false;
    harness_require(backend_count < HARNESS_PEERS_MAX);
    end_init(&backends[backend_count++], fd);
    return true;
}

static void look(struct harness_end *end)
{
    while (!end->is_tunnel && end->at < end->len) {
        struct eio_span bytes = {end->bytes + end->at, end->len - end->at};
        struct harness_request request;
        size_t len = request_check(bytes, &request);
        if (len == 0)
            return;
        end->at += len;
        end->count++;
        answer_fn(end, &request);
        if (end->fd < 0)
            return;
    }
}

static bool step_backends(void)
{
    bool has_moved = false;
    while (accept_some())
        has_moved = true;
    for (unsigned i = 0; i < backend_count; i++) {
        struct harness_end *end = &backends[i];
        if (!end_read(end))
            continue;
        has_moved = true;
        look(end);
        /* A server whose client has left does so, too. */
        if (end->is_over)
            harness_stop(end);
    }
    return has_moved;
}

/* ---- turns ---- */

static bool step_worker(void)
{
    struct pollfd pollfd = {.fd = worker->epoll_fd, .events = POLLIN};
    bool has_events = poll(&pollfd, 1, 0) > 0;
    if (!has_events && worker->ready == NULL)
        return false;
    turn(worker, 0);
    return true;
}

void harness_turn(void)
{
    step_worker();
}

void harness_settle(void)
{
    int quiet = 0;
    while (quiet < QUIET_TURNS) {
        bool has_moved = step_worker();
        has_moved |= step_backends();
        has_moved |= end_read(&client);
        quiet = has_moved ? 0 : quiet + 1;
    }
    harness_require(worker->kept_bytes <= 16 * 1024 * 1024);
}

bool harness_wait(void)
{
    int ms = gw_wheel_timeout(&worker->wheel, clock_ms);
    if (ms < 0)
        return false;
    clock_ms += ms > 0 ? ms : 1;
    turn(worker, 0);
    harness_settle();
    return true;
}

void harness_send(struct eio_span bytes)
{
    while (bytes.len > 0 && client.fd >= 0 && !client.is_stopped) {
        ssize_t n =
            send(client.fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return;
        if (n > 0) {
            bytes.ptr += n;
            bytes.len -= (size_t)n;
        }
        size_t before = client.len;
        harness_settle();
        /* The gateway does not read now, and time alone would change that. */
        if (n < 0 && client.len == before)
            return;
    }
}

/* The kernel may be slower than the turns are. */
static void be_patient(void)
{
    struct pollfd fds[HARNESS_PEERS_MAX + 3] = {
        {.fd = worker->epoll_fd, .events = POLLIN},
        {.fd = client.fd, .events = POLLIN},
        {.fd = backend_fd, .events = POLLIN}};
    for (unsigned i = 0; i < backend_count; i++)
        fds[i + 3] = (struct pollfd){
            .fd = backends[i].is_over ? -1 : backends[i].fd, .events = POLLIN};
    poll(fds, backend_count + 3, PATIENCE_MS);
    harness_settle();
}

static bool is_client_over(void)
{
    return client.is_over || client.fd < 0;
}

void harness_finish(void)
{
    harness_stop(&client);
    harness_settle();
    for (int round = 0; round < ROUNDS_MAX && !is_client_over(); round++) {
        for (int i = 0; i < TIMERS_MAX && !is_client_over(); i++)
            if (!harness_wait())
                break;
        /* A response that its backend does not end has no limit in time. */
        for (unsigned i = 0; i < backend_count; i++)
            harness_stop(&backends[i]);
        harness_settle();
        if (!is_client_over())
            be_patient();
    }
    harness_require(is_client_over());
}

void harness_close(void)
{
    end_free(&client);
    harness_settle();
    for (unsigned i = 0; i < backend_count; i++)
        end_free(&backends[i]);
    backend_count = 0;
    harness_settle();
    for (int i = 0; i < TIMERS_MAX && harness_wait(); i++)
        continue;
    for (int i = 0; i < 10 && atomic_load(&server->open_count) > 0; i++)
        be_patient();
    harness_require(worker->connections.next == &worker->connections);
    harness_require(worker->tunnels.next == &worker->tunnels);
    harness_require(worker->metrics.connections == 0);
    harness_require(worker->metrics.tunnels == 0);
    harness_require(worker->metrics.idle_upstreams == 0);
    harness_require(worker->kept_bytes == 0);
    harness_require(atomic_load(&server->open_count) == 0);
    harness_require(atomic_load(&server->backends->list[0].handshakes) == 0);
    gw_server_free(server);
    server = NULL;
    worker = NULL;
}
