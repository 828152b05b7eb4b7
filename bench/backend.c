/* SPDX-License-Identifier: MIT */
/* The benchmark's backend: three Engine.IO 4 nodes in one process.
 *
 * A sid's first letter names the node that gave it out, so the process keeps
 * no session table, serves any sid on any port (a plain balancer would
 * otherwise only measure errors), and yet knows every misrouted request: it
 * counts them, and GET /misroutes tells. One thread, level-triggered epoll. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/proc.h"
#include "bench/wire.h"

#define NODES    3
#define IN_BYTES 4096

struct conn {
    int fd;
    unsigned node;
    bool is_listener;
    bool is_tunnel;
    bool is_blocked;     /* EPOLLOUT is armed for a burst */
    unsigned burst_left; /* large messages still to send */
    size_t burst_offset; /* into the one being sent */
    struct conn *next;   /* tunnels, for broadcasts */
    struct conn *prev;
    size_t len;
    char in[IN_BYTES];
};

static int epoll_fd;
static struct conn *tunnels;
static unsigned long misroutes;
static uint64_t random_state;
static uint32_t sid_count;
static char common_fields[256];
static char bulk_frame[BENCH_FRAME_MAX + BENCH_BULK_BYTES];
static size_t bulk_len;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* As Node's ids: random, then a counter; but the first letter is the node. */
static void make_sid(unsigned node, char sid[BENCH_SID_LEN + 1])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t bits = next_random();
    uint64_t more = next_random();

    sid[0] = (char)('a' + node);
    for (unsigned i = 1; i < 16; i++) {
        sid[i] = alphabet[bits & 63];
        bits = bits >> 6 | (more & 63) << 58;
        more >>= 6;
    }
    for (unsigned i = 16; i < BENCH_SID_LEN; i++)
        sid[i] = alphabet[sid_count >> (6 * (19 - i)) & 63];
    sid[BENCH_SID_LEN] = '\0';
    sid_count++;
}

static void watch(struct conn *conn, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};

    if (epoll_ctl(epoll_fd, operation, conn->fd, &event) != 0) {
        perror("epoll_ctl");
        exit(1);
    }
}

static bool send_all(const struct conn *conn, const char *data, size_t len)
{
    return send(conn->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) ==
           (ssize_t)len;
}

static bool reply(const struct conn *conn, const char *status, const char *type,
                  const char *body)
{
    char out[1024];
    int len = snprintf(out, sizeof(out),
                       "HTTP/1.1 %s\r\nContent-Type: %s\r\n"
                       "Content-Length: %zu\r\n%s\r\n%s",
                       status, type, strlen(body), common_fields, body);

    return len > 0 && (size_t)len < sizeof(out) &&
           send_all(conn, out, (size_t)len);
}

static void become_tunnel(struct conn *conn)
{
    conn->is_tunnel = true;
    conn->prev = NULL;
    conn->next = tunnels;
    if (tunnels != NULL)
        tunnels->prev = conn;
    tunnels = conn;
}

static bool switch_protocols(struct conn *conn,
                             const struct bench_message *request)
{
    char accept[BENCH_ACCEPT_LEN + 1];
    char out[256];
    int len;

    bench_accept(request->ws_key, request->ws_key_len, accept);
    len = snprintf(out, sizeof(out),
                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                   accept);
    if (!send_all(conn, out, (size_t)len))
        return false;
    become_tunnel(conn);
    return true;
}

static bool handshake(const struct conn *conn)
{
    char sid[BENCH_SID_LEN + 1];
    char body[BENCH_OPEN_LEN + 1];
    int len;

    make_sid(conn->node, sid);
    len = snprintf(body, sizeof(body),
                   "0{\"sid\":\"%s\",\"upgrades\":[\"websocket\"],"
                   "\"pingInterval\":25000,\"pingTimeout\":20000,"
                   "\"maxPayload\":1000000}",
                   sid);
    if (len != BENCH_OPEN_LEN)
        return false;
    return reply(conn, "200 OK", "text/plain; charset=UTF-8", body);
}

static bool poll_answer(const struct conn *conn, const char *sid)
{
    char body[64];

    snprintf(body, sizeof(body), "40{\"sid\":\"%.*s\"}", BENCH_SID_LEN, sid);
    return reply(conn, "200 OK", "text/plain; charset=UTF-8", body);
}

static bool tell_misroutes(const struct conn *conn)
{
    char body[32];

    snprintf(body, sizeof(body), "%lu", misroutes);
    return reply(conn, "200 OK", "text/plain", body);
}

static bool answer_sid(struct conn *conn, const char *buf, const char *sid,
                       const struct bench_message *request)
{
    bool is_mine = sid[0] == (char)('a' + conn->node);

    if (buf[0] == 'P' && buf[1] == 'U') {
        /* Another's question whether the sid lives here; no misroute. */
        if (is_mine)
            return reply(conn, "500 Internal Server Error", "text/plain", "");
        return reply(conn, "400 Bad Request", "application/json",
                     "{\"code\":1,\"message\":\"Session ID unknown\"}");
    }
    if (!is_mine)
        misroutes++;
    if (request->ws_key != NULL)
        return switch_protocols(conn, request);
    if (buf[0] == 'P')
        return reply(conn, "200 OK", "text/html", "ok");
    return poll_answer(conn, sid);
}

/* Answer the whole request at buf; false closes the connection. */
static bool answer(struct conn *conn, const char *buf,
                   const struct bench_message *request)
{
    const char *eol = memchr(buf, '\r', request->head_len);
    size_t line_len = (size_t)(eol - buf);
    const char *sid = memmem(buf, line_len, "sid=", 4);

    if (sid != NULL && (size_t)(eol - sid) >= 4 + BENCH_SID_LEN)
        return answer_sid(conn, buf, sid + 4, request);
    if (memmem(buf, line_len, "EIO=4", 5) != NULL)
        return handshake(conn);
    if (memmem(buf, line_len, "/misroutes", 10) != NULL)
        return tell_misroutes(conn);
    return reply(conn, "404 Not Found", "text/plain", "");
}

/* Send on what a burst still owes, until done or the socket is full. */
static bool push_burst(struct conn *conn)
{
    while (conn->burst_left > 0) {
        ssize_t sent =
            send(conn->fd, bulk_frame + conn->burst_offset,
                 bulk_len - conn->burst_offset, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent < 0)
            break;
        conn->burst_offset += (size_t)sent;
        if (conn->burst_offset == bulk_len) {
            conn->burst_offset = 0;
            conn->burst_left--;
        }
    }
    if ((conn->burst_left > 0) != conn->is_blocked) {
        conn->is_blocked = conn->burst_left > 0;
        watch(conn, conn->is_blocked ? EPOLLIN | EPOLLOUT : EPOLLIN,
              EPOLL_CTL_MOD);
    }
    return true;
}

static bool send_text(const struct conn *conn, const char *text, size_t len)
{
    char out[BENCH_FRAME_MAX + IN_BYTES];

    return send_all(conn, out, bench_frame_write(out, 1, NULL, text, len));
}

/* One message to every tunnel. A tunnel that cannot take 64 bytes has gone
 * wrong and is dealt with when it next reports; its client will miss them. */
static void broadcast(void)
{
    char text[64];
    char out[BENCH_FRAME_MAX + sizeof(text)];
    size_t len;

    memset(text, 'x', sizeof(text));
    text[0] = '4';
    len = bench_frame_write(out, 1, NULL, text, sizeof(text));
    for (struct conn *conn = tunnels; conn != NULL; conn = conn->next) {
        if (!send_all(conn, out, len))
            fprintf(stderr, "broadcast: a tunnel took nothing\n");
    }
}

static bool on_frame(struct conn *conn, unsigned opcode, const char *text,
                     size_t len)
{
    if (opcode == 8)
        return false;
    if (len == 6 && memcmp(text, "2probe", 6) == 0)
        return send_text(conn, "3probe", 6);
    if (len == 1 && text[0] == '5')
        return true;
    if (len == 2 && memcmp(text, "4b", 2) == 0) {
        broadcast();
        return true;
    }
    if (len == 2 && memcmp(text, "4d", 2) == 0) {
        conn->burst_left += BENCH_BULK_BURST;
        return push_burst(conn);
    }
    return send_text(conn, text, len);
}

/* Each of the two takes one whole message at `at`; BENCH_OK moves `at` on. */
static enum bench_parse take_request(struct conn *conn, size_t *at)
{
    struct bench_message request;
    enum bench_parse result;

    result = bench_message_parse(conn->in + *at, conn->len - *at, &request);
    if (result != BENCH_OK)
        return result;
    if (conn->len - *at < request.head_len + request.body_len)
        return BENCH_MORE;
    if (!answer(conn, conn->in + *at, &request) || request.is_close)
        return BENCH_BAD;
    *at += request.head_len + request.body_len;
    return BENCH_OK;
}

static enum bench_parse take_frame(struct conn *conn, size_t *at)
{
    struct bench_frame frame;
    enum bench_parse result;
    char *payload;

    result = bench_frame_parse(conn->in + *at, conn->len - *at, &frame);
    if (result != BENCH_OK)
        return result;
    if (!frame.is_masked || frame.payload_len > IN_BYTES / 2)
        return BENCH_BAD;
    if (conn->len - *at < frame.head_len + frame.payload_len)
        return BENCH_MORE;
    payload = conn->in + *at + frame.head_len;
    bench_mask(payload, (size_t)frame.payload_len, frame.key);
    if (!on_frame(conn, frame.opcode, payload, (size_t)frame.payload_len))
        return BENCH_BAD;
    *at += frame.head_len + (size_t)frame.payload_len;
    return BENCH_OK;
}

static bool on_readable(struct conn *conn)
{
    ssize_t got = recv(conn->fd, conn->in + conn->len, IN_BYTES - conn->len,
                       MSG_DONTWAIT);
    enum bench_parse result = BENCH_OK;
    size_t at = 0;

    if (got < 0)
        return errno == EAGAIN;
    if (got == 0)
        return false;
    conn->len += (size_t)got;
    while (at < conn->len && result == BENCH_OK)
        result =
            conn->is_tunnel ? take_frame(conn, &at) : take_request(conn, &at);
    if (result == BENCH_BAD)
        return false;
    conn->len -= at;
    memmove(conn->in, conn->in + at, conn->len);
    return conn->len < IN_BYTES;
}

static void conn_close(struct conn *conn)
{
    if (conn->is_tunnel) {
        if (conn->prev != NULL)
            conn->prev->next = conn->next;
        else
            tunnels = conn->next;
        if (conn->next != NULL)
            conn->next->prev = conn->prev;
    }
    close(conn->fd);
    free(conn);
}

static struct conn *conn_new(int fd, unsigned node, bool is_listener)
{
    struct conn *conn = calloc(1, sizeof(*conn));

    if (conn == NULL) {
        perror("calloc");
        exit(1);
    }
    conn->fd = fd;
    conn->node = node;
    conn->is_listener = is_listener;
    watch(conn, EPOLLIN, EPOLL_CTL_ADD);
    return conn;
}

static void accept_all(const struct conn *listener)
{
    for (int i = 0; i < 64; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
        int on = 1;

        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        conn_new(fd, listener->node, false);
    }
}

static unsigned listen_any(unsigned node)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        perror("listen");
        exit(1);
    }
    conn_new(fd, node, true);
    return ntohs(address.sin_port);
}

static void prepare(void)
{
    static char payload[BENCH_BULK_BYTES];
    time_t now = time(NULL);
    struct tm parts;
    char date[64];

    random_state = (uint64_t)bench_now_ns() | 1;
    memset(payload, 'x', sizeof(payload));
    bulk_len = bench_frame_write(bulk_frame, 2, NULL, payload, sizeof(payload));
    gmtime_r(&now, &parts);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    snprintf(common_fields, sizeof(common_fields),
             "cache-control: no-store\r\nDate: %s\r\n"
             "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
             date);
}

static void serve(const struct epoll_event *event)
{
    struct conn *conn = event->data.ptr;
    bool is_fine = true;

    if (conn->is_listener) {
        accept_all(conn);
        return;
    }
    if ((event->events & EPOLLOUT) != 0)
        is_fine = push_burst(conn);
    if (is_fine && (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        is_fine = on_readable(conn);
    if (!is_fine)
        conn_close(conn);
}

int main(void)
{
    struct epoll_event events[256];

    signal(SIGPIPE, SIG_IGN);
    bench_raise_limits();
    prepare();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned node = 0; node < NODES; node++)
        printf("%u%c", listen_any(node), node + 1 < NODES ? ' ' : '\n');
    fflush(stdout);
    /* Runs until a signal ends it, but not for ever if it is forgotten. */
    alarm(3600);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 256, -1);

        if (count < 0 && errno != EINTR) {
            perror("epoll_wait");
            return 1;
        }
        for (int i = 0; i < count; i++)
            serve(&events[i]);
    }
}
