/* SPDX-License-Identifier: MIT */
/* Fuzzes all that a client can send, through a whole gateway. The first byte
 * chooses the pieces, the second how the client ends, four more what the
 * backend does with one request after the other. */
#include "tests/fuzz/client_harness.h"

#include <stdio.h>

enum { PREFIX = 6, ANSWERS = 16 };

static const uint8_t *choices;
static unsigned answered;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer_handshake(struct harness_end *end)
{
    static const char body[] =
        "0{\"sid\":\"fuzzedsid00000000001\",\"upgrades\":[\"websocket\"],"
        "\"pingInterval\":25000,\"pingTimeout\":20000}";
    char head[128];
    snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n",
             sizeof(body) - 1);
    harness_say_text(end, head);
    harness_say_text(end, "Keep-Alive: timeout=5\r\n\r\n");
    harness_say_text(end, body);
}

static void answer_websocket(struct harness_end *end,
                             const struct harness_request *request,
                             uint8_t choice)
{
    if (choice == 12) {
        harness_say_text(end, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
        return;
    }
    harness_switch(end, request);
    if (choice != 13)
        harness_say(end, "\x81\x05hello", 7);
}

static void answer(struct harness_end *end,
                   const struct harness_request *request)
{
    static const char *const texts[ANSWERS] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No\r\n\r\n",
        "HTTP/1.1 304 Same\r\nContent-Length: 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 400 No\r\nContent-Length: "
        "2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\n\r\n",
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
        "",
        "",
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 41\r\n\r\n",
    };
    uint8_t choice = choices[answered++ % 4] % ANSWERS;
    if (request->is_websocket && choice >= 11) {
        answer_websocket(end, request, choice);
        return;
    }
    if (request->is_handshake && choice >= 14) {
        answer_handshake(end);
        return;
    }
    harness_say_text(end, texts[choice]);
    if (choice == 1)
        harness_say_text(end, "2;x\r\nok\r\n0\r\n\r\n");
    else if (choice == 15)
        harness_say_text(end,
                         "{\"code\":1,\"message\":\"Session ID unknown\"}");
    else if (choice != 2 && choice != 3 && !request->is_head_method)
        harness_say_text(end, choice < 11 || choice == 14 ? "ok" : "");
    if (choice == 4 || choice == 6 || choice == 9 || choice == 11)
        harness_stop(end);
    else if (choice == 12)
        harness_cut(end);
}

static void send_pieces(const char *bytes, size_t len, uint8_t choice)
{
    static const size_t sizes[] = {65536, 1, 2, 7, 64, 500, 4096, 16384};
    size_t most = sizes[choice % 8];
    /* Byte by byte, long ones would take all the time. */
    if (len > 512 && most < 64)
        most = 64;
    for (size_t at = 0; at < len; at += most) {
        size_t n = most < len - at ? most : len - at;
        harness_send((struct eio_span){bytes + at, n});
        if (choice & 0x80 && at % 5 == 0)
            harness_wait();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < PREFIX)
        return 0;
    choices = data + 2;
    answered = 0;
    harness_open(answer);
    send_pieces((const char *)data + PREFIX, size - PREFIX, data[0]);
    const struct harness_end *client = harness_client();
    if (data[1] & 1)
        for (int i = 0; i < data[1] % 64 && harness_wait(); i++)
            continue;
    if (data[1] & 2)
        harness_cut(harness_client());
    else
        harness_finish();
    static const char start[] = "HTTP/1.1 ";
    size_t len = client->len < 9 ? client->len : 9;
    harness_require(memcmp(client->bytes, start, len) == 0);
    harness_close();
    return 0;
}
