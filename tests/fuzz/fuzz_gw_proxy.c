/* SPDX-License-Identifier: MIT */
/* Fuzzes the PROXY header: what comes in pieces is read as what comes whole,
 * and no more is asked for than a header can have. */
#include "gateway/proxy.h"

#include <stdlib.h>
#include <sys/socket.h>

enum { EACH_UNTIL = 256, STEP = 61 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

struct outcome {
    enum gw_proxy_result result;
    struct gw_peer peer;
    bool has_peer;
    size_t len;
};

/* From memory of its own, so that a byte too far is noticed. */
static struct outcome parse(const uint8_t *data, size_t len)
{
    struct outcome outcome = {.len = 0};
    char *copy = malloc(len > 0 ? len : 1);
    require(copy != NULL);
    memcpy(copy, data, len);
    outcome.result = gw_proxy_parse((struct eio_span){copy, len}, &outcome.peer,
                                    &outcome.has_peer, &outcome.len);
    free(copy);
    return outcome;
}

static void check_done(const uint8_t *data, size_t size,
                       const struct outcome *whole)
{
    require(whole->len > 0 && whole->len <= size);
    require(whole->len <= GW_PROXY_HEAD_MAX);
    struct outcome exact = parse(data, whole->len);
    require(exact.result == GW_PROXY_DONE && exact.len == whole->len);
    require(exact.has_peer == whole->has_peer);
    require(gw_peer_equal(&exact.peer, &whole->peer));
    require(parse(data, whole->len - 1).result == GW_PROXY_MORE);
    if (whole->has_peer)
        require(whole->peer.family == AF_INET ||
                whole->peer.family == AF_INET6);
    else
        require(whole->peer.family == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t nothing[1];
    const uint8_t *bytes = size > 0 ? data : nothing;
    struct outcome whole = parse(bytes, size);

    require(whole.result != GW_PROXY_MORE || size < GW_PROXY_HEAD_MAX);
    if (whole.result == GW_PROXY_DONE)
        check_done(bytes, size, &whole);
    else
        require(!whole.has_peer && whole.len == 0);
    enum gw_proxy_result before = GW_PROXY_MORE;
    for (size_t n = 0; n <= size; n += n < EACH_UNTIL ? 1 : STEP) {
        enum gw_proxy_result result = parse(bytes, n).result;
        require(before == GW_PROXY_MORE || result == before);
        before = result;
    }
    require(before == GW_PROXY_MORE || before == whole.result);
    return 0;
}
