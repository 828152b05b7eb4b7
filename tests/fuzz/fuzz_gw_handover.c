/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes what the new process of an upgrade takes from the old one, in a whole
 * gateway of one thread. The first byte chooses what the other ends of the
 * sockets do afterwards; messages follow, each with a byte for its kind and
 * its descriptors, two for its length, and its bytes.
 */
#include "gateway/move.h"
#include "gateway/move_session.h"
#include "gateway/worker.h"
#include "tests/fuzz/client_harness.h"
#include "tests/fuzz/request_check.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 3, OTHERS_MAX = 64, WAITS = 20 };

enum {
    KIND_BITS = 3,
    FDS_SHIFT = 2, /* two bits */
    IS_NO_SOCKET = 16,
};

enum {
    CHOOSE_SAY = 1, /* the other ends say something */
    CHOOSE_WAIT = 2,
    CHOOSE_CLOSE = 4,  /* they end before the worker does */
    CHOOSE_DRAIN = 8,  /* the gateway stops */
    CHOOSE_AGAIN = 16, /* and all of it is packed for the next process */
};

static int others[OTHERS_MAX]; /* ends that are not the gateway's */
static size_t other_count;
static struct gw_move_places places;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(struct harness_end *end,
                   const struct harness_request *request)
{
    (void)request;
    harness_say_text(end, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static size_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;
    harness_require(dir != NULL);
    for (const struct dirent *one = readdir(dir); one != NULL;
         one = readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int open_fd(bool is_socket)
{
    int pair[2];
    if (!is_socket)
        return open("/dev/null", O_RDWR | O_CLOEXEC);
    harness_require(socketpair(AF_UNIX,
                               SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                               pair) == 0);
    others[other_count++] = pair[1];
    return pair[0];
}

static void take(uint8_t kind, struct gw_message *message)
{
    struct gw_worker *worker = harness_worker();
    struct gw_unpack unpack = {message->bytes, message->bytes + message->len,
                               false};
    char error[256] = "";
    switch (kind & KIND_BITS) {
    case 0:
        if (!gw_move_take_backend(worker->server, &places, &unpack, error))
            harness_require(error[0] != '\0');
        return;
    case 1:
        gw_move_take_sessions(worker->server, &unpack);
        return;
    case 2:
        gw_tunnel_take(worker, &places, message);
        return;
    default:
        gw_conn_take(worker, message);
    }
}

/* The length of the message that the bytes begin with; 0: there is none. */
static size_t take_next(const uint8_t *data, size_t size)
{
    if (size < HEAD || other_count > OTHERS_MAX - GW_MESSAGE_FDS)
        return 0;
    size_t len = (size_t)data[1] | (size_t)data[2] << 8;
    if (len > size - HEAD)
        len = size - HEAD;
    /* What is read behind a message's end is seen. */
    char *copy = malloc(len > 0 ? len : 1);
    harness_require(copy != NULL);
    memcpy(copy, data + HEAD, len);
    struct gw_message message = {.bytes = copy, .len = len};
    bool has_fds = (data[0] & KIND_BITS) >= 2;
    size_t count = has_fds ? data[0] >> FDS_SHIFT & 3 : 0;
    for (size_t i = 0; i < count && i < GW_MESSAGE_FDS; i++)
        message.fds[message.fd_count++] = open_fd(!(data[0] & IS_NO_SOCKET));
    take(data[0], &message);
    free(copy);
    return HEAD + len;
}

static void go_on(uint8_t choice)
{
    static const char words[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n\x81\x01x";
    struct gw_bundle bundle = {0};
    harness_settle();
    for (size_t i = 0; choice & CHOOSE_SAY && i < other_count; i++)
        send(others[i], words, sizeof(words) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    harness_settle();
    for (int i = 0; choice & CHOOSE_WAIT && i < WAITS; i++)
        if (!harness_wait())
            break;
    if (choice & CHOOSE_AGAIN) {
        gw_tunnels_pack(harness_worker(), &bundle);
        gw_conns_pack(harness_worker(), &bundle);
        harness_require(!bundle.pack.has_failed);
        gw_bundle_free(&bundle);
    }
    if (choice & CHOOSE_DRAIN)
        gw_server_advance(harness_worker()->server, GW_PHASE_DRAINING);
    for (size_t i = 0; choice & CHOOSE_CLOSE && i < other_count; i++) {
        close(others[i]);
        others[i] = -1;
    }
    harness_settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool has_begun;
    if (size < 1)
        return 0;
    if (!has_begun) {
        /* What is opened once and stays. */
        harness_open(answer);
        harness_close();
        has_begun = true;
        request_is_anybodys = true;
    }
    size_t before = count_fds();
    uint8_t choice = data[0];
    harness_open(answer);
    memset(&places, 0, sizeof(places));
    other_count = 0;
    for (size_t at = 1, len = 1; at < size && len > 0; at += len)
        len = take_next(data + at, size - at);
    go_on(choice);
    harness_cut_all();
    for (size_t i = 0; i < other_count; i++)
        if (others[i] >= 0)
            close(others[i]);
    harness_close();
    harness_require(count_fds() == before);
    return 0;
}
