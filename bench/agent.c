/* SPDX-License-Identifier: MIT */
/* The steps of an agent, and the loop that carries them.
 *
 * Everything an agent sends fits a socket's buffer, so a short send is a
 * failure. Connections are made blocking: on loopback the kernel completes
 * them from the backlog without the peer's help. Any answer that is not the
 * expected one ends the whole run: a benchmark of errors means nothing. */
#include "bench/agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/proc.h"

#define SCRATCH_BYTES (256u * 1024u)
#define MAX_EVENTS    256

static const char ws_key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char ws_accept[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
static const uint8_t mask_key[4] = {0x37, 0xfa, 0x21, 0x3d};
static char scratch[SCRATCH_BYTES];

/* What a browser sends beside the request line, without its bulk. */
static const char browser_fields[] =
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\n"
    "Accept: */*\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Origin: http://localhost\r\n";

static const char *step_name(enum bench_step step)
{
    static const char *const names[] = {
        [STEP_END] = "end",         [STEP_CONNECT] = "connect",
        [STEP_POST] = "post",       [STEP_HANDSHAKE] = "handshake",
        [STEP_POLL] = "poll",       [STEP_TAKE_SID] = "take sid",
        [STEP_UPGRADE] = "upgrade", [STEP_PROBE] = "probe",
        [STEP_SETTLE] = "settle",   [STEP_ECHO] = "echo",
        [STEP_BURST] = "burst",     [STEP_LISTEN] = "listen",
        [STEP_SHOUT] = "shout",     [STEP_CLOSE] = "close",
    };

    return names[step];
}

static void fail(struct bench_engine *engine, const struct bench_agent *agent,
                 const char *what)
{
    if (!engine->has_failed)
        fprintf(stderr, "bench_load: step %s: %s\n", step_name(*agent->step),
                what);
    engine->has_failed = true;
}

bool bench_engine_init(struct bench_engine *engine, uint16_t port,
                       int64_t deadline_ns)
{
    memset(engine, 0, sizeof(*engine));
    engine->port = port;
    engine->deadline_ns = deadline_ns;
    engine->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return engine->epoll_fd >= 0;
}

void bench_engine_fini(struct bench_engine *engine)
{
    close(engine->epoll_fd);
    free(engine->sids);
}

void bench_sids_keep(struct bench_engine *engine,
                     const struct bench_agent *agent)
{
    if (engine->sids_len == engine->sids_cap) {
        size_t cap = engine->sids_cap == 0 ? 1024 : engine->sids_cap * 2;
        void *grown = realloc(engine->sids, cap * sizeof(*engine->sids));

        if (grown == NULL) {
            fail(engine, agent, "no memory");
            return;
        }
        engine->sids = grown;
        engine->sids_cap = cap;
    }
    memcpy(engine->sids[engine->sids_len++], agent->sid, sizeof(agent->sid));
}

static bool take_sid(struct bench_engine *engine, struct bench_agent *agent)
{
    if (engine->sids_len == 0) {
        fail(engine, agent, "no sid left");
        return false;
    }
    memcpy(agent->sid, engine->sids[--engine->sids_len], sizeof(agent->sid));
    return true;
}

static bool agent_connect(struct bench_engine *engine,
                          struct bench_agent *agent)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(engine->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = agent};
    const struct timeval patience = {.tv_sec = 3};
    int on = 1;

    agent->kept_len = 0;
    agent->skip = 0;
    agent->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (agent->fd < 0) {
        fail(engine, agent, strerror(errno));
        return false;
    }
    setsockopt(agent->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(agent->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(agent->fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        epoll_ctl(engine->epoll_fd, EPOLL_CTL_ADD, agent->fd, &event) != 0) {
        fail(engine, agent, strerror(errno));
        return false;
    }
    if (!engine->is_tls)
        return true;
    agent->ssl = bench_secure_open(agent->fd);
    if (agent->ssl == NULL || fcntl(agent->fd, F_SETFL, O_NONBLOCK) != 0) {
        fail(engine, agent, "no TLS");
        return false;
    }
    return true;
}

void bench_agent_close(struct bench_agent *agent)
{
    SSL_free(agent->ssl);
    agent->ssl = NULL;
    if (agent->fd >= 0)
        close(agent->fd);
    agent->fd = -1;
    agent->expect = EXPECT_NOTHING;
}

static bool agent_send(struct bench_engine *engine, struct bench_agent *agent,
                       const char *data, size_t len)
{
    if (bench_send(agent->ssl, agent->fd, data, len) == (ssize_t)len)
        return true;
    fail(engine, agent, strerror(errno));
    return false;
}

/* Send a request; `extra` holds further fields, the empty line and a body. */
static bool send_request(struct bench_engine *engine, struct bench_agent *agent,
                         const char *method, const char *extra)
{
    bool is_upgrade = *agent->step == STEP_UPGRADE;
    bool has_sid = *agent->step != STEP_HANDSHAKE;
    char out[1024];
    int len;

    len = snprintf(out, sizeof(out),
                   "%s /socket.io/?EIO=4&transport=%s&t=P%06llx%s%s HTTP/1.1"
                   "\r\nHost: 127.0.0.1:%u\r\nConnection: %s\r\n%s%s",
                   method, is_upgrade ? "websocket" : "polling",
                   (unsigned long long)engine->request_count++,
                   has_sid ? "&sid=" : "", has_sid ? agent->sid : "",
                   engine->port, is_upgrade ? "Upgrade" : "keep-alive",
                   browser_fields, extra);
    if (len < 0 || (size_t)len >= sizeof(out)) {
        fail(engine, agent, "request too long");
        return false;
    }
    agent->expect = is_upgrade ? EXPECT_SWITCH : EXPECT_RESPONSE;
    return agent_send(engine, agent, out, (size_t)len);
}

static bool send_upgrade(struct bench_engine *engine, struct bench_agent *agent)
{
    char extra[160];

    snprintf(extra, sizeof(extra),
             "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: %s\r\n\r\n",
             ws_key);
    return send_request(engine, agent, "GET", extra);
}

static bool send_text(struct bench_engine *engine, struct bench_agent *agent,
                      const char *text, unsigned frames)
{
    char out[BENCH_FRAME_MAX + 128];

    agent->expect = frames > 0 ? EXPECT_FRAMES : EXPECT_NOTHING;
    agent->frames_left = frames;
    return agent_send(engine, agent, out,
                      bench_frame_write(out, 1, mask_key, text, strlen(text)));
}

static bool step_begin(struct bench_engine *engine, struct bench_agent *agent)
{
    static const char echo[] =
        "42[\"message\",\"0123456789abcdef0123456789abcdef0123456789abcdef\"]";

    _Static_assert(sizeof(echo) - 1 == 64, "the message row promises 64 bytes");
    switch (*agent->step) {
    case STEP_CONNECT:
        return agent_connect(engine, agent);
    case STEP_HANDSHAKE:
    case STEP_POLL:
        return send_request(engine, agent, "GET", "\r\n");
    case STEP_POST:
        return send_request(engine, agent, "POST",
                            "Content-Type: text/plain;charset=UTF-8\r\n"
                            "Content-Length: 2\r\n\r\n40");
    case STEP_TAKE_SID:
        return take_sid(engine, agent);
    case STEP_UPGRADE:
        return send_upgrade(engine, agent);
    case STEP_PROBE:
        return send_text(engine, agent, "2probe", 1);
    case STEP_SETTLE:
        return send_text(engine, agent, "5", 0);
    case STEP_ECHO:
        return send_text(engine, agent, echo, 1);
    case STEP_BURST:
        return send_text(engine, agent, "4d", BENCH_BULK_BURST);
    case STEP_LISTEN:
        agent->expect = EXPECT_FRAMES;
        agent->frames_left = 1;
        return true;
    case STEP_SHOUT:
        return send_text(engine, agent, "4b", 1);
    case STEP_CLOSE:
        bench_agent_close(agent);
        return true;
    case STEP_END:
        break;
    }
    return false;
}

void bench_agent_run(struct bench_engine *engine, struct bench_agent *agent)
{
    while (!engine->has_failed) {
        if (*agent->step == STEP_END) {
            engine->completed++;
            if (!engine->done(engine, agent))
                return;
            continue;
        }
        if (!step_begin(engine, agent) || agent->expect != EXPECT_NOTHING)
            return;
        agent->step++;
    }
}

/* Take the sid out of an open packet that must be the very one expected. */
static bool learn_sid(struct bench_agent *agent, const char *body, size_t len)
{
    static const char before[] = "0{\"sid\":\"";
    const size_t at = sizeof(before) - 1;

    if (len != BENCH_OPEN_LEN || memcmp(body, before, at) != 0 ||
        body[at + BENCH_SID_LEN] != '"')
        return false;
    memcpy(agent->sid, body + at, BENCH_SID_LEN);
    return true;
}

static bool is_expected(struct bench_agent *agent,
                        const struct bench_message *response, const char *body)
{
    switch (*agent->step) {
    case STEP_HANDSHAKE:
        return response->status == 200 &&
               learn_sid(agent, body, response->body_len);
    case STEP_POLL:
        return response->status == 200 &&
               response->body_len == BENCH_SID_LEN + 12 &&
               memcmp(body + 10, agent->sid, BENCH_SID_LEN) == 0;
    case STEP_POST:
        return response->status == 200 && response->body_len == 2;
    case STEP_UPGRADE:
        return response->status == 101 &&
               response->ws_accept_len == BENCH_ACCEPT_LEN &&
               memcmp(response->ws_accept, ws_accept, BENCH_ACCEPT_LEN) == 0;
    default:
        return false;
    }
}

/* Returns the bytes taken; 0 if more are needed or the run has failed. */
static size_t take_response(struct bench_engine *engine,
                            struct bench_agent *agent, const char *buf,
                            size_t len)
{
    struct bench_message response;
    enum bench_parse result = bench_message_parse(buf, len, &response);
    size_t total;

    if (result == BENCH_MORE)
        return 0;
    if (result == BENCH_BAD) {
        fail(engine, agent, "not an answer this program understands");
        return 0;
    }
    total = response.head_len + response.body_len;
    if (response.status != 101 && len < total)
        return 0;
    if (!is_expected(agent, &response, buf + response.head_len)) {
        fprintf(stderr, "%.*s\n", (int)len, buf);
        fail(engine, agent, "not the answer expected (shown above)");
        return 0;
    }
    agent->expect = EXPECT_NOTHING;
    return total;
}

static void frame_end(struct bench_agent *agent)
{
    agent->frames_left--;
    if (agent->frames_left == 0)
        agent->expect = EXPECT_NOTHING;
}

static size_t take_frame(struct bench_engine *engine, struct bench_agent *agent,
                         const char *buf, size_t len)
{
    struct bench_frame frame;
    enum bench_parse result;

    if (agent->skip > 0) {
        size_t some = len < agent->skip ? len : (size_t)agent->skip;

        agent->skip -= some;
        if (agent->skip == 0)
            frame_end(agent);
        return some;
    }
    result = bench_frame_parse(buf, len, &frame);
    if (result == BENCH_MORE)
        return 0;
    if (result == BENCH_BAD || frame.is_masked || frame.opcode > 2 ||
        frame.payload_len == 0) {
        fail(engine, agent, "not the frame expected");
        return 0;
    }
    if (*agent->step == STEP_PROBE) {
        if (len < frame.head_len + 6)
            return 0;
        if (memcmp(buf + frame.head_len, "3probe", 6) != 0)
            fail(engine, agent, "not a probe's answer");
    }
    agent->skip = frame.payload_len;
    return frame.head_len;
}

/* Consume what an agent received; walk on whenever a step is fulfilled. */
static void consume(struct bench_engine *engine, struct bench_agent *agent,
                    size_t len)
{
    size_t at = 0;

    while (at < len && !engine->has_failed) {
        size_t taken = 0;

        if (agent->expect == EXPECT_NOTHING) {
            fail(engine, agent, "bytes that nobody asked for");
            return;
        }
        taken = agent->expect == EXPECT_FRAMES
                    ? take_frame(engine, agent, scratch + at, len - at)
                    : take_response(engine, agent, scratch + at, len - at);
        if (taken == 0)
            break;
        at += taken;
        if (agent->expect == EXPECT_NOTHING && at == len) {
            agent->step++;
            agent->kept_len = 0;
            bench_agent_run(engine, agent);
            return;
        }
    }
    agent->kept_len = len - at;
    if (agent->kept_len > sizeof(agent->kept))
        fail(engine, agent, "answer too long");
    else
        memcpy(agent->kept, scratch + at, agent->kept_len);
}

static void on_readable(struct bench_engine *engine, struct bench_agent *agent)
{
    size_t have = agent->kept_len;
    ssize_t got;

    do {
        memcpy(scratch, agent->kept, have);
        got = bench_recv(agent->ssl, agent->fd, scratch + have,
                         sizeof(scratch) - have, MSG_DONTWAIT);
        if (got > 0)
            consume(engine, agent, have + (size_t)got);
        else if (got == 0)
            fail(engine, agent, "the peer closed the connection");
        else if (errno != EAGAIN)
            fail(engine, agent, strerror(errno));
        have = agent->kept_len;
        /* What OpenSSL has read ahead raises no event. */
    } while (got > 0 && agent->ssl != NULL && !engine->has_failed);
}

bool bench_engine_turn(struct bench_engine *engine, int64_t wake_ns)
{
    struct epoll_event events[MAX_EVENTS];
    int64_t now = bench_now_ns();
    int64_t wait_ns = wake_ns - now;
    struct timespec wait = {0};
    int count;

    if (now > engine->deadline_ns) {
        fprintf(stderr, "bench_load: the run's time limit has passed\n");
        return false;
    }
    if (wait_ns > 200000000)
        wait_ns = 200000000;
    if (wait_ns > 0)
        wait.tv_nsec = wait_ns;
    count = epoll_pwait2(engine->epoll_fd, events, MAX_EVENTS, &wait, NULL);
    if (count < 0 && errno != EINTR) {
        perror("epoll_pwait2");
        return false;
    }
    for (int i = 0; i < count && !engine->has_failed; i++)
        on_readable(engine, events[i].data.ptr);
    return !engine->has_failed;
}
