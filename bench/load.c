/* SPDX-License-Identifier: MIT */
/* The benchmark's load generator: makes one row's traffic through one proxy
 * and prints what that cost the proxy.
 *
 *   bench_load ports N            N free ports
 *   bench_load wait PORT [--tls]  until a handshake there succeeds
 *   bench_load run --row ROW --port PORT [...]
 *
 * The line that a run prints begins with the row's value: ns of CPU (bytes of
 * memory, ns of latency) per operation. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/proc.h"
#include "bench/row.h"
#include "bench/secure.h"
#include "bench/wire.h"

#define MAX_PORTS  16u
#define MAX_AGENTS 20000u
#define MAX_COUNT  10000000u
#define MAX_RATE   100000u
#define WAIT_MS    10000

static int open_port(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const struct timeval patience = {.tv_sec = 2};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* One GET on a connection of its own; the body goes to out as a string. */
static bool get(uint16_t port, bool is_tls, const char *target, char *out,
                size_t out_size)
{
    struct bench_message response;
    enum bench_parse result = BENCH_MORE;
    char buf[4096];
    size_t len = 0;
    int fd = open_port(port);
    SSL *ssl = NULL;

    if (fd < 0)
        return false;
    if (is_tls && (ssl = bench_secure_open(fd)) == NULL) {
        close(fd);
        return false;
    }
    snprintf(buf, sizeof(buf), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
             target);
    if (bench_send(ssl, fd, buf, strlen(buf)) < 0)
        len = sizeof(buf);
    while (len < sizeof(buf)) {
        ssize_t got = bench_recv(ssl, fd, buf + len, sizeof(buf) - len, 0);

        if (got <= 0)
            break;
        len += (size_t)got;
        result = bench_message_parse(buf, len, &response);
        if (result == BENCH_OK && len < response.head_len + response.body_len)
            result = BENCH_MORE;
        if (result != BENCH_MORE)
            break;
    }
    SSL_free(ssl);
    close(fd);
    if (result != BENCH_OK || response.status != 200)
        return false;
    snprintf(out, out_size, "%.*s", (int)response.body_len,
             buf + response.head_len);
    return true;
}

static long long misroutes(const struct bench_options *options)
{
    char text[32];

    if (options->backend_port == 0 ||
        !get(options->backend_port, false, "/misroutes", text, sizeof(text)))
        return 0;
    return strtoll(text, NULL, 10);
}

/* All sockets stay open until the last port is known, so no two are equal. */
static int print_ports(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        socklen_t len = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
            getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
            perror("bench_load: ports");
            return 1;
        }
        printf("%u%c", ntohs(address.sin_port), i + 1 < count ? ' ' : '\n');
    }
    return 0;
}

static int wait_port(uint16_t port, bool is_tls)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    int64_t deadline_ns = bench_now_ns() + WAIT_MS * 1000000ll;
    char body[256];

    while (bench_now_ns() < deadline_ns) {
        if (get(port, is_tls, "/socket.io/?EIO=4&transport=polling", body,
                sizeof(body)))
            return 0;
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "bench_load: nothing answers on port %u\n", port);
    return 1;
}

static unsigned number(const char *text, unsigned max)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value > max) {
        fprintf(stderr, "bench_load: not a number up to %u: %s\n", max, text);
        exit(2);
    }
    return (unsigned)value;
}

static void take_option(struct bench_options *options, int which)
{
    switch (which) {
    case 'r':
        options->row = bench_row_find(optarg);
        break;
    case 'p':
        options->port = (uint16_t)number(optarg, 65535);
        break;
    case 'b':
        options->backend_port = (uint16_t)number(optarg, 65535);
        break;
    case 'P':
        options->pid = (pid_t)number(optarg, 1u << 30);
        break;
    case 'a':
        options->agents = number(optarg, MAX_AGENTS);
        break;
    case 'i':
        options->idle = number(optarg, MAX_AGENTS);
        break;
    case 'c':
        options->count = number(optarg, MAX_COUNT);
        break;
    case 'R':
        options->rate = number(optarg, MAX_RATE);
        break;
    case 't':
        options->is_tls = true;
        break;
    default:
        exit(2);
    }
}

static int run(int argc, char **argv)
{
    static const struct option names[] = {
        {"row", required_argument, NULL, 'r'},
        {"port", required_argument, NULL, 'p'},
        {"backend", required_argument, NULL, 'b'},
        {"pid", required_argument, NULL, 'P'},
        {"agents", required_argument, NULL, 'a'},
        {"idle", required_argument, NULL, 'i'},
        {"count", required_argument, NULL, 'c'},
        {"rate", required_argument, NULL, 'R'},
        {"tls", no_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    struct bench_options options = {.agents = 32, .count = 10000, .rate = 1000};
    long long before;
    int which;

    while ((which = getopt_long(argc, argv, "", names, NULL)) != -1)
        take_option(&options, which);
    if (options.row == NULL || options.port == 0 || options.agents == 0 ||
        options.rate == 0) {
        fprintf(stderr, "bench_load: run needs --row and --port\n");
        return 2;
    }
    /* The open loop's clock should not be rounded by the kernel. */
    prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
    before = misroutes(&options);
    if (!bench_run_row(&options))
        return 1;
    printf(" misroutes=%lld\n", misroutes(&options) - before);
    return 0;
}

int main(int argc, char **argv)
{
    bench_raise_limits();
    if (argc == 3 && strcmp(argv[1], "ports") == 0)
        return print_ports(number(argv[2], MAX_PORTS));
    if (argc >= 3 && strcmp(argv[1], "wait") == 0)
        return wait_port((uint16_t)number(argv[2], 65535),
                         argc == 4 && strcmp(argv[3], "--tls") == 0);
    if (argc > 2 && strcmp(argv[1], "run") == 0)
        return run(argc - 1, argv + 1);
    fprintf(stderr,
            "usage: bench_load ports N | wait PORT [--tls] | run OPTIONS\n");
    return 2;
}
