/* SPDX-License-Identifier: MIT */
/* Fuzzes all that a backend can answer, through a whole gateway. The first
 * byte chooses what the client asks, the second the pieces and the end; answers
 * to one request after the other follow, with 0xff 0xff between them. */
#include "tests/fuzz/client_harness.h"
#include "tests/fuzz/request_check.h"

#include <stdlib.h>

enum { PREFIX = 2, REQUESTS_MAX = 4 };

enum {
    CHOOSE_PIECES = 7,
    CHOOSE_STOP = 8, /* FIN behind each answer */
    CHOOSE_CUT = 16, /* RST */
    CHOOSE_EARLY_FIN = 32,
    CHOOSE_WAIT = 64,
};

#define HANDSHAKE                                                              \
    "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n"
#define GET  "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define HEAD "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"
#define OLD  "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
#define UPGRADE                                                                \
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n"        \
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"                            \
    "Sec-WebSocket-Version: 13\r\n"                                            \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static const struct {
    const char *bytes;
    unsigned count;
    bool is_head[REQUESTS_MAX];
} scripts[] = {
    {GET, 1, {false}},
    {GET GET GET, 3, {false}},
    {HEAD GET, 2, {true, false}},
    {POST GET, 2, {false}},
    {HANDSHAKE GET, 2, {false}},
    {UPGRADE, 1, {false}},
    {OLD GET, 2, {false}},
    {GET HEAD HANDSHAKE UPGRADE, 4, {false, true, false, false}},
};

static const uint8_t *rest;
static size_t rest_len;
static uint8_t choice;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answer(struct harness_end *end,
                   const struct harness_request *request)
{
    static const size_t sizes[] = {65536, 1, 2, 5, 17, 100, 1000, 9000};
    size_t most = sizes[choice & CHOOSE_PIECES];
    const uint8_t *mark = memmem(rest, rest_len, "\xff\xff", 2);
    size_t len = mark != NULL ? (size_t)(mark - rest) : rest_len;
    (void)request;
    /* One after the other, as the network might bring them; the gateway takes
     * its turns in between. */
    if (len > 2000 && most < 100)
        most = 100;
    const uint8_t *bytes = rest;
    size_t used = mark != NULL ? len + 2 : len;
    rest += used;
    rest_len -= used;
    for (size_t at = 0; at < len; at += most) {
        size_t n = most < len - at ? most : len - at;
        harness_say(end, (const char *)bytes + at, n);
        harness_turn();
    }
    if (choice & CHOOSE_STOP)
        harness_stop(end);
    else if (choice & CHOOSE_CUT)
        harness_cut(end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < PREFIX)
        return 0;
    size_t script = data[0] % (sizeof(scripts) / sizeof(scripts[0]));
    choice = data[1];
    rest = data + PREFIX;
    rest_len = size - PREFIX;
    harness_open(answer);
    harness_send(eio_span_of(scripts[script].bytes));
    for (int i = 0; choice & CHOOSE_WAIT && i < 200; i++)
        if (!harness_wait())
            break;
    harness_finish();
    const struct harness_end *client = harness_client();
    response_check((struct eio_span){client->bytes, client->len},
                   scripts[script].is_head, scripts[script].count);
    harness_close();
    return 0;
}
