/* SPDX-License-Identifier: MIT */
/* Heads of operators' requests before libwebsockets reads them. */
#include "gateway/admin_private.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/guard.h"

#define NONE "Content-Length: 0\r\n"
#define OURS "Sec-WebSocket-Protocol: sidgate-live\r\n"
#define LIVE "GET /api/v1/live HTTP/1.1\r\n"

static const struct {
    const char *head;
    const char *out;
    const char *bearer; /* NULL: none */
    bool offers_live;
    int64_t body_len;
} heads[] = {
    {"", "", NULL, false, 0},
    {"G", "G", NULL, false, 0},
    {"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n" NONE "\r\n", NULL, false,
     0},
    {"GET / HTTP/1.1\n\n", "GET / HTTP/1.1\n" NONE "\n", NULL, false, 0},
    {"GET / HTTP/1.1\r\nHost: x\r\nA: b",
     "GET / HTTP/1.1\r\n" NONE "Host: x\r\nA: b", NULL, false, 0},
    /* Upgrades. */
    {"GET / HTTP/1.1\r\nUpgrade: websocket\r\nA: b\r\n\r\n",
     "GET / HTTP/1.1\r\n" NONE "A: b\r\n\r\n", NULL, false, 0},
    {"GET /api/v1/livex HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
     "GET /api/v1/livex HTTP/1.1\r\n" NONE "\r\n", NULL, false, 0},
    {"POST /api/v1/live HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
     "POST /api/v1/live HTTP/1.1\r\n" NONE "\r\n", NULL, false, 0},
    {LIVE "Upgrade: websocket\r\n\r\n", LIVE NONE "Upgrade: websocket\r\n\r\n",
     NULL, false, 0},
    {LIVE "UPGRADE:WebSocket \r\n\r\n", LIVE NONE "UPGRADE:WebSocket \r\n\r\n",
     NULL, false, 0},
    {LIVE "Upgrade: h2c\r\n\r\n", LIVE NONE "\r\n", NULL, false, 0},
    {LIVE "Upgrade: websocket, h2c\r\n\r\n", LIVE NONE "\r\n", NULL, false, 0},
    {LIVE "Upgrade:\r\n\r\n", LIVE NONE "\r\n", NULL, false, 0},
    /* Subprotocols. */
    {LIVE "Sec-WebSocket-Protocol: sidgate-live\r\n\r\n", LIVE NONE OURS "\r\n",
     NULL, true, 0},
    {LIVE "sec-websocket-protocol:a,sidgate-live ,  b\r\n\r\n",
     LIVE NONE OURS "\r\n", NULL, true, 0},
    {LIVE "Sec-WebSocket-Protocol: sidgate-live\r\n"
          "Sec-WebSocket-Protocol: sidgate-live\r\n\r\n",
     LIVE NONE OURS "\r\n", NULL, true, 0},
    {LIVE "Sec-WebSocket-Protocol: Sidgate-Live, http, sidgate-livex\r\n\r\n",
     LIVE NONE "\r\n", NULL, false, 0},
    {LIVE "Sec-WebSocket-Protocol:\r\n\r\n", LIVE NONE "\r\n", NULL, false, 0},
    {LIVE "Sec-WebSocket-Protocol: sidgate-live, bearer.c2VjcmV0\r\n\r\n",
     LIVE NONE OURS "\r\n", "secret", true, 0},
    {LIVE "Sec-WebSocket-Protocol: bearer.fj8-fn8_\r\n"
          "Sec-WebSocket-Protocol: sidgate-live\r\n\r\n",
     LIVE NONE OURS "\r\n", "~?>~\x7f?", true, 0},
    {LIVE "Sec-WebSocket-Protocol: bearer.c2VjcmV0MQ\r\n\r\n", LIVE NONE "\r\n",
     "secret1", false, 0},
    {LIVE "Sec-WebSocket-Protocol: bearer.c2VjcmV0MTI\r\n\r\n",
     LIVE NONE "\r\n", "secret12", false, 0},
    /* No tokens. */
    {LIVE "Sec-WebSocket-Protocol: bearer.\r\n\r\n", LIVE NONE "\r\n", "",
     false, 0},
    {LIVE "Sec-WebSocket-Protocol: bearer.c2VjcmV0MQ==\r\n\r\n",
     LIVE NONE "\r\n", "", false, 0},
    {LIVE "Sec-WebSocket-Protocol: bearer.c2Vj+mV0\r\n\r\n", LIVE NONE "\r\n",
     "", false, 0},
    {LIVE "Sec-WebSocket-Protocol: bearer.c2VjcmV0M\r\n\r\n", LIVE NONE "\r\n",
     "", false, 0},
    {LIVE "Sec-WebSocket-Protocol: bearer.AAAA\r\n\r\n", LIVE NONE "\r\n", "",
     false, 0},
    {LIVE "Sec-WebSocket-Protocol: bearer.c2VjcmV0, bearer.c2VjcmV0\r\n\r\n",
     LIVE NONE "\r\n", "", false, 0},
    {LIVE "Sec-WebSocket-Protocol: Bearer.c2VjcmV0\r\n\r\n", LIVE NONE "\r\n",
     NULL, false, 0},
    /* Bodies. */
    {"POST /a HTTP/1.1\r\nContent-Length: 12\r\n\r\n",
     "POST /a HTTP/1.1\r\n" NONE "\r\n", NULL, false, 12},
    {"POST /a HTTP/1.1\r\ncontent-length:0\r\n\r\n",
     "POST /a HTTP/1.1\r\n" NONE "\r\n", NULL, false, 0},
    {"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
     "POST /a HTTP/1.1\r\n" NONE "\r\n", NULL, false, -1},
    {"POST /a HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
     "POST /a HTTP/1.1\r\n" NONE "\r\n", NULL, false, -1},
    {"POST /a HTTP/1.1\r\nContent-Length: 1 2\r\n\r\n",
     "POST /a HTTP/1.1\r\n" NONE "\r\n", NULL, false, -1},
    {"POST /a HTTP/1.1\r\nContent-Length:\r\n\r\n",
     "POST /a HTTP/1.1\r\n" NONE "\r\n", NULL, false, -1},
    {"POST /a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
     "POST /a HTTP/1.1\r\n" NONE "\r\n", NULL, false, -1},
};

Test(admin_front, heads)
{
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        size_t len = strlen(heads[i].head);
        struct guard guard = guard_copy(heads[i].head, len);
        char *out = malloc(len + GW_ADMIN_HEAD_MORE);
        struct gw_admin_offer offer;

        cr_assert_not_null(out);
        size_t used = gw_admin_head_rewrite(guard.bytes, len, out, &offer);
        cr_expect_eq(used, strlen(heads[i].out), "%zu: %.*s", i, (int)used,
                     out);
        cr_expect_eq(strncmp(out, heads[i].out, used), 0, "%zu: %.*s", i,
                     (int)used, out);
        cr_expect_eq(offer.offers_live, heads[i].offers_live, "%zu", i);
        cr_expect_eq(offer.body_len, heads[i].body_len, "%zu", i);
        if (heads[i].bearer == NULL)
            cr_expect_null(offer.bearer, "%zu", i);
        else
            cr_expect_str_eq(offer.bearer, heads[i].bearer, "%zu", i);
        free(offer.bearer);
        free(out);
        guard_free(&guard);
    }
}
