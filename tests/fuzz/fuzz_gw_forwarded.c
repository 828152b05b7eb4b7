/* SPDX-License-Identifier: MIT */
/* Fuzzes who the client is. The first byte chooses the header that is believed
 * and who is connected; the rest is header lines, each ended by LF. */
#include "gateway/forwarded.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { HEAD_MAX = 1 << 16, SIZE_MAX_IN = 1 << 14, ELEMENTS_MAX = 1 << 14 };

enum {
    CHOOSE_UNTRUSTED = 4,
    CHOOSE_UNIX = 8,
    CHOOSE_TLS = 16,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static struct gw_config config = {
    .trusted = {{{AF_INET, {10}}, 8}, {{AF_INET6, {0x20, 1, 0xd, 0xb8}}, 32}},
    .trusted_count = 2,
    .trusts_unix = true,
};

static const char *const believed[] = {"x-forwarded-for", "forwarded",
                                       "x-real-ip"};

static bool is_same(const struct gw_client *a, const struct gw_client *b)
{
    if (!gw_peer_equal(&a->peer, &b->peer) || a->hop_count != b->hop_count)
        return false;
    for (size_t i = 0; i < a->hop_count; i++)
        if (!gw_peer_equal(&a->hops[i], &b->hops[i]))
            return false;
    return true;
}

/* A head of `first` and the lines. False when it is refused. */
static bool build(const char *first, struct eio_span lines, char *bytes,
                  struct gw_head *head)
{
    size_t len = (size_t)snprintf(bytes, HEAD_MAX,
                                  "GET / HTTP/1.1\r\nHost: h\r\n%s", first);
    for (size_t i = 0; i < lines.len; i++) {
        if (lines.ptr[i] == '\n')
            bytes[len++] = '\r';
        bytes[len++] = lines.ptr[i];
    }
    if (lines.len > 0 && lines.ptr[lines.len - 1] != '\n') {
        bytes[len++] = '\r';
        bytes[len++] = '\n';
    }
    bytes[len++] = '\r';
    bytes[len++] = '\n';
    return gw_head_parse_request((struct eio_span){bytes, len}, head) == 0;
}

static void check_host(const struct gw_client *client, const char *bytes)
{
    struct eio_span host = client->host;
    if (host.len == 0)
        return;
    require(host.ptr >= bytes && host.ptr + host.len <= bytes + HEAD_MAX);
    require(host.len <= 255);
    for (size_t i = 0; i < host.len; i++)
        require(host.ptr[i] > ' ' && host.ptr[i] < 0x7f &&
                strchr("\"\\,;/@?#%<>", host.ptr[i]) == NULL);
}

static void check_client(const struct gw_client *client,
                         const struct gw_peer *peer)
{
    require(client->hop_count <= GW_HOPS_MAX);
    require(client->peer.family == AF_INET || client->peer.family == AF_INET6 ||
            (client->peer.family == AF_UNIX && client->hop_count == 0));
    for (size_t i = 0; i < client->hop_count; i++)
        require(gw_peer_is_trusted(&config, &client->hops[i]));
    const struct gw_peer *last = client->hop_count > 0
                                     ? &client->hops[client->hop_count - 1]
                                     : &client->peer;
    require(gw_peer_equal(last, peer));
}

/* The same by another way: all elements from the first to the last, then
 * backwards over what was kept. */
static void follow_plainly(const struct gw_head *head,
                           const struct gw_peer *peer, struct gw_client *client)
{
    static struct eio_span elements[ELEMENTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < head->field_count; i++) {
        struct eio_span list = head->fields[i].value;
        if (!gw_span_is(head->fields[i].name, "x-forwarded-for"))
            continue;
        while (count < ELEMENTS_MAX && gw_list_next(&list, &elements[count]))
            count++;
    }
    struct gw_peer chain[GW_HOPS_MAX + 1] = {*peer};
    uint8_t len = 0;
    while (len < GW_HOPS_MAX && count > 0 &&
           gw_peer_is_trusted(&config, &chain[len]) &&
           gw_peer_parse(elements[count - 1], &chain[len + 1])) {
        count--;
        len++;
    }
    client->peer = chain[len];
    client->hop_count = len;
    for (size_t i = 0; i < len; i++)
        client->hops[len - 1 - i] = chain[i];
}

/* What stands before the client's own element has no say. */
static void check_said_before(struct eio_span lines, bool is_tls,
                              const struct gw_peer *peer,
                              const struct gw_client *client)
{
    static const char *const said[] = {"10.0.0.1", "for=\"", "\"", "junk",
                                       "for=192.0.2.66;host=\"\\"};
    static char bytes[HEAD_MAX];
    static struct gw_head head;
    char first[64];
    struct gw_client again;

    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        snprintf(first, sizeof(first), "%s: %s\r\n",
                 believed[config.real_address], said[i]);
        if (!build(first, lines, bytes, &head))
            continue;
        gw_forwarded_client(&head, &config, peer, is_tls, &again);
        require(is_same(client, &again));
        require(client->is_tls == again.is_tls);
        require(client->host.len == again.host.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char bytes[HEAD_MAX];
    static struct gw_head head;
    struct gw_peer peer = {AF_INET, {10, 9, 9, 9}};
    struct gw_client client;
    struct gw_client plain;

    if (size == 0 || size > SIZE_MAX_IN)
        return 0;
    struct eio_span lines = {(const char *)data + 1, size - 1};
    bool is_tls = data[0] & CHOOSE_TLS;
    config.real_address = (enum gw_real_address)((data[0] & 3) % 3);
    if (data[0] & CHOOSE_UNTRUSTED)
        peer.addr[0] = 11;
    else if (data[0] & CHOOSE_UNIX)
        peer = (struct gw_peer){.family = AF_UNIX};
    if (!build("", lines, bytes, &head))
        return 0;
    gw_forwarded_client(&head, &config, &peer, is_tls, &client);
    check_client(&client, &peer);
    check_host(&client, bytes);
    if (!gw_peer_is_trusted(&config, &peer))
        require(client.hop_count == 0 && client.host.len == 0 &&
                client.is_tls == is_tls);
    if (config.real_address == GW_REAL_ADDRESS_X_FORWARDED_FOR) {
        follow_plainly(&head, &peer, &plain);
        require(is_same(&client, &plain));
    }
    if (config.real_address != GW_REAL_ADDRESS_X_REAL_IP &&
        !gw_peer_is_trusted(&config, &client.peer))
        check_said_before(lines, is_tls, &peer, &client);
    return 0;
}
