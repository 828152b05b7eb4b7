/* SPDX-License-Identifier: MIT */
/* Who the client of a request is. 10.0.0.0/8 and 2001:db8::/32 are trusted. */
#include "gateway/forwarded.h"
#include "tests/unit/head_fixture.h"

#include <arpa/inet.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define XFF          GW_REAL_ADDRESS_X_FORWARDED_FOR
#define FWD          GW_REAL_ADDRESS_FORWARDED
#define XRI          GW_REAL_ADDRESS_X_REAL_IP

enum { HEAD_MAX = 16384 };

static struct gw_config trusting(enum gw_real_address real_address)
{
    struct gw_config config = {.real_address = real_address};
    config.trusted_count = 2;
    cr_assert(gw_net_parse("10.0.0.0/8", &config.trusted[0]));
    cr_assert(gw_net_parse("2001:db8::/32", &config.trusted[1]));
    return config;
}

static struct gw_peer peer_of(const char *text)
{
    struct gw_peer peer = {.family = AF_UNIX};
    if (strcmp(text, "unix") != 0)
        cr_assert(gw_peer_parse(eio_span_of(text), &peer), "%s", text);
    return peer;
}

static struct parsed *parse_lines(const char *lines)
{
    char bytes[HEAD_MAX];
    int len = snprintf(bytes, sizeof(bytes),
                       "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", lines);
    cr_assert(len > 0 && len < HEAD_MAX);
    struct parsed *parsed = parse((struct eio_span){bytes, (size_t)len}, true);
    cr_assert_eq(parsed->status, 0, "%s", lines);
    return parsed;
}

/* "client < hop < hop": as the chain is read in the log. */
static void describe(const struct gw_client *client, char *out, size_t cap)
{
    char text[INET6_ADDRSTRLEN];
    gw_peer_text(&client->peer, text, sizeof(text));
    int len = snprintf(out, cap, "%s", text);
    for (size_t i = 0; i < client->hop_count; i++) {
        gw_peer_text(&client->hops[i], text, sizeof(text));
        len += snprintf(out + len, cap - (size_t)len, " < %s", text);
    }
}

static void check_chain(const struct gw_config *config, const char *peer_text,
                        const char *lines, const char *chain)
{
    struct gw_peer peer = peer_of(peer_text);
    struct gw_client client;
    char out[1024];
    struct parsed *parsed = parse_lines(lines);

    memset(&client, 0xa5, sizeof(client));
    gw_forwarded_client(&parsed->head, config, &peer, false, &client);
    describe(&client, out, sizeof(out));
    cr_expect_str_eq(out, chain, "%s\n%s\nnot %s", lines, out, chain);
    parsed_free(parsed);
}

static const struct {
    enum gw_real_address real_address;
    const char *peer;
    const char *lines;
    const char *chain;
} chains[] = {
    /* nothing is said */
    {XFF, "10.0.0.1", "", "10.0.0.1"},
    {FWD, "10.0.0.1", "", "10.0.0.1"},
    {XRI, "10.0.0.1", "", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For:\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: ,, ,\r\n", "10.0.0.1"},

    /* one proxy, several */
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1 < 10.0.0.1"},
    {XFF, "10.0.0.1", "x-forwarded-for:192.0.2.1\t\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\n",
     "192.0.2.1 < 10.0.0.2 < 10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.1 ,10.0.0.3,10.0.0.2\r\n",
     "192.0.2.1 < 10.0.0.3 < 10.0.0.2 < 10.0.0.1"},
    {XFF, "2001:db8::1", "X-Forwarded-For: 2001:db9::7, 2001:db8::2\r\n",
     "2001:db9::7 < 2001:db8::2 < 2001:db8::1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.1:5555\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: [2001:db9::7]:5555\r\n",
     "2001:db9::7 < 10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: [2001:db9::7]\r\n",
     "2001:db9::7 < 10.0.0.1"},
    {XFF, "::ffff:10.0.0.1", "X-Forwarded-For: ::ffff:192.0.2.1\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: ,192.0.2.1,, ,10.0.0.2, \r\n",
     "192.0.2.1 < 10.0.0.2 < 10.0.0.1"},

    /* all are trusted: the first is the client */
    {XFF, "10.0.0.1", "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n",
     "10.0.0.3 < 10.0.0.2 < 10.0.0.1"},

    /* what the client itself says stands before its address */
    {XFF, "10.0.0.1", "X-Forwarded-For: 8.8.8.8, 192.0.2.1\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 10.0.0.9, 192.0.2.1, 10.0.0.2\r\n",
     "192.0.2.1 < 10.0.0.2 < 10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: junk \" \\, 192.0.2.1\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {XFF, "10.0.0.1",
     "X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-For: 192.0.2.1\r\n",
     "192.0.2.1 < 10.0.0.1"},

    /* several lines are one list, in their order */
    {XFF, "10.0.0.1",
     "X-Forwarded-For: 8.8.8.8, 192.0.2.1\r\nOther: x\r\n"
     "x-forwarded-for: 10.0.0.3\r\nX-FORWARDED-FOR: 10.0.0.2\r\n",
     "192.0.2.1 < 10.0.0.3 < 10.0.0.2 < 10.0.0.1"},
    {XFF, "10.0.0.1",
     "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For:\r\n"
     "X-Forwarded-For: ,\r\n",
     "192.0.2.1 < 10.0.0.1"},

    /* what cannot be read ends the chain */
    {XFF, "10.0.0.1", "X-Forwarded-For: unknown\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: _hidden\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.1, junk, 10.0.0.2\r\n",
     "10.0.0.2 < 10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.1, unknown\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: \"192.0.2.1\"\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.1 192.0.2.2\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.1;192.0.2.2\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.999\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: 192.0.2.1:99999\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: fe80::1%eth0\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-For: unix\r\n", "10.0.0.1"},

    /* only the header that is configured */
    {XFF, "10.0.0.1", "X-Real-IP: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n",
     "10.0.0.1"},
    {FWD, "10.0.0.1", "X-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n",
     "10.0.0.1"},
    {XRI, "10.0.0.1",
     "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-Fo: 192.0.2.1\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X-Forwarded-Forr: 192.0.2.1\r\n", "10.0.0.1"},
    {XFF, "10.0.0.1", "X_Forwarded_For: 192.0.2.1\r\n", "10.0.0.1"},

    /* who is not trusted says nothing */
    {XFF, "192.0.2.9", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.9"},
    {XFF, "192.0.2.9", "X-Forwarded-For: 192.0.2.1, 10.0.0.1\r\n", "192.0.2.9"},
    {FWD, "192.0.2.9", "Forwarded: for=192.0.2.1\r\n", "192.0.2.9"},
    {XRI, "192.0.2.9", "X-Real-IP: 192.0.2.1\r\n", "192.0.2.9"},
    {XFF, "unix", "X-Forwarded-For: 192.0.2.1\r\n", "unix"},

    /* Connection does not hide it from us (CVE-2022-31813, CVE-2024-45410) */
    {XFF, "10.0.0.1",
     "Connection: close, X-Forwarded-For\r\nX-Forwarded-For: 192.0.2.1\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1\r\nConnection: forwarded\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {XRI, "10.0.0.1", "X-Real-IP: 192.0.2.1\r\nConnection: x-real-ip\r\n",
     "192.0.2.1 < 10.0.0.1"},

    /* X-Real-IP is one address */
    {XRI, "10.0.0.1", "X-Real-IP: 192.0.2.1\r\n", "192.0.2.1 < 10.0.0.1"},
    {XRI, "10.0.0.1", "X-Real-IP: 2001:db9::7\r\n", "2001:db9::7 < 10.0.0.1"},
    {XRI, "10.0.0.1", "X-Real-IP: 10.0.0.2\r\n", "10.0.0.2 < 10.0.0.1"},
    {XRI, "10.0.0.1", "X-Real-IP: 8.8.8.8, 192.0.2.1\r\n", "10.0.0.1"},
    {XRI, "10.0.0.1", "X-Real-IP: 8.8.8.8\r\nX-Real-IP: 192.0.2.1\r\n",
     "10.0.0.1"},
    {XRI, "10.0.0.1", "X-Real-IP: unknown\r\n", "10.0.0.1"},

    /* Forwarded */
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1\r\n", "192.0.2.1 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: For=\"192.0.2.1\"\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {FWD, "10.0.0.1", "forwarded: FOR=\"[2001:db9::7]:4711\"\r\n",
     "2001:db9::7 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"[2001:DB9::7]\"\r\n",
     "2001:db9::7 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"192.0.2.1:80\"\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"192.0.2.1:_a.B-9\"\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"[2001:db9::7]:_port\"\r\n",
     "2001:db9::7 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"\\1\\92.0.2.\\1\"\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {FWD, "10.0.0.1",
     "Forwarded: proto=http;by=203.0.113.43;for=192.0.2.60;host=a\r\n",
     "192.0.2.60 < 10.0.0.1"},
    {FWD, "10.0.0.1",
     "Forwarded: ;;for=192.0.2.60;;ext=\"a,b;for=8.8.8.8\";\r\n",
     "192.0.2.60 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: by=_x; for=192.0.2.60 ; proto=http\r\n",
     "192.0.2.60 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.43, for=10.0.0.2\r\n",
     "192.0.2.43 < 10.0.0.2 < 10.0.0.1"},
    {FWD, "10.0.0.1",
     "Forwarded: for=8.8.8.8\r\nForwarded: for=192.0.2.43,"
     "for=\"[2001:db8::2]\"\r\n",
     "192.0.2.43 < 2001:db8::2 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: , ,for=192.0.2.43,,\r\n",
     "192.0.2.43 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=10.0.0.3;x=\"a\\\\\",for=10.0.0.2\r\n",
     "10.0.0.3 < 10.0.0.2 < 10.0.0.1"},

    {FWD, "10.0.0.1",
     "Forwarded: for=192.0.2.1, for=10.0.0.2;x=\"a\\\",b\"\r\n",
     "192.0.2.1 < 10.0.0.2 < 10.0.0.1"},

    /* quotes that the client left open reach nothing behind them */
    {FWD, "10.0.0.1", "Forwarded: for=\"8.8.8.8, for=192.0.2.1\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: x=\", for=192.0.2.1;host=\"a\"\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: x=\"\\, for=\"192.0.2.1\"\r\n",
     "192.0.2.1 < 10.0.0.1"},
    {FWD, "10.0.0.1",
     "Forwarded: for=8.8.8.8;x=\", for=\"192.0.2.1\", for=\"10.0.0.2\"\r\n",
     "192.0.2.1 < 10.0.0.2 < 10.0.0.1"},
    {FWD, "10.0.0.1",
     "Forwarded: for=8.8.8.8;x=\"\r\nForwarded: for=\"192.0.2.1\"\r\n",
     "192.0.2.1 < 10.0.0.1"},

    /* what cannot be read ends the chain */
    {FWD, "10.0.0.1", "Forwarded: for=unknown\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1, for=_hidden\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1, for=\"_h:_p\"\r\n",
     "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1, proto=https\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1, junk\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: 192.0.2.1\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"\"\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\":_x\"\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"\\\"\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: =192.0.2.1\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for = 192.0.2.1\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1 proto=http\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"192.0.2.1\"x\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"192.0.2.1\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1\"\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=[2001:db9::7]\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=\"2001:db9::7\"\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1:80\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1;for=192.0.2.2\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1;host=a;host=b\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1;proto\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1;proto=a/b\r\n", "10.0.0.1"},
    {FWD, "10.0.0.1",
     "Forwarded: for=\"00000000000000000000000000000000000000000000000000000000"
     "000000000000000000000000000000000000000000000.0.0.1\"\r\n",
     "10.0.0.1"},
};

Test(forwarded, chains)
{
    for (size_t i = 0; i < COUNT(chains); i++) {
        struct gw_config config = trusting(chains[i].real_address);
        check_chain(&config, chains[i].peer, chains[i].lines, chains[i].chain);
    }
}

Test(forwarded, nobody_is_trusted_by_default)
{
    struct gw_config config = {0};
    for (size_t i = 0; i < COUNT(chains); i++) {
        char peer[INET6_ADDRSTRLEN];
        struct gw_peer direct = peer_of(chains[i].peer);
        gw_peer_text(&direct, peer, sizeof(peer));
        config.real_address = chains[i].real_address;
        check_chain(&config, chains[i].peer, chains[i].lines, peer);
    }
}

Test(forwarded, unix_peers_are_trusted_where_it_is_said)
{
    struct gw_config config = {.trusts_unix = true};
    check_chain(&config, "unix", "X-Forwarded-For: 8.8.8.8, 192.0.2.1\r\n",
                "192.0.2.1 < unix");
    check_chain(&config, "unix", "X-Forwarded-For: 8.8.8.8, 10.0.0.1\r\n",
                "10.0.0.1 < unix");
    check_chain(&config, "10.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n",
                "10.0.0.1");
    config = trusting(XFF);
    check_chain(&config, "unix", "X-Forwarded-For: 192.0.2.1\r\n", "unix");
}

/* "192.0.2.1", then `count` proxies. */
static void many_hops(enum gw_real_address real_address, unsigned count,
                      char *out, size_t cap)
{
    bool is_list = real_address == XFF;
    int len = snprintf(out, cap, "%s192.0.2.1",
                       is_list ? "X-Forwarded-For: " : "Forwarded: for=");
    for (unsigned i = count; i > 0; i--)
        len += snprintf(out + len, cap - (size_t)len, ",%s10.0.1.%u",
                        is_list ? "" : "for=", i);
    snprintf(out + len, cap - (size_t)len, "\r\n");
}

Test(forwarded, chain_has_at_most_eight_proxies)
{
    static const enum gw_real_address ways[] = {XFF, FWD};
    char lines[2048];
    for (size_t i = 0; i < COUNT(ways); i++) {
        struct gw_config config = trusting(ways[i]);
        many_hops(ways[i], 7, lines, sizeof(lines));
        check_chain(&config, "10.0.0.1", lines,
                    "192.0.2.1 < 10.0.1.7 < 10.0.1.6 < 10.0.1.5 < 10.0.1.4 < "
                    "10.0.1.3 < 10.0.1.2 < 10.0.1.1 < 10.0.0.1");
        for (unsigned count = 8; count <= 100; count += 12) {
            many_hops(ways[i], count, lines, sizeof(lines));
            check_chain(&config, "10.0.0.1", lines,
                        "10.0.1.8 < 10.0.1.7 < 10.0.1.6 < 10.0.1.5 < 10.0.1.4 "
                        "< 10.0.1.3 < 10.0.1.2 < 10.0.1.1 < 10.0.0.1");
        }
    }
}

/* ---- scheme and host ---- */

static const struct {
    enum gw_real_address real_address;
    const char *peer;
    const char *lines;
    const char *host;
    int is_tls; /* -1: as the connection is */
} places[] = {
    {XFF, "10.0.0.1", "", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Proto: https\r\n", "", 1},
    {XFF, "10.0.0.1", "X-Forwarded-Proto: HTTPS\r\n", "", 1},
    {XFF, "10.0.0.1", "X-Forwarded-Proto: http\r\n", "", 0},
    {XFF, "10.0.0.1", "X-Forwarded-Proto: wss\r\n", "", 1},
    {XFF, "10.0.0.1", "X-Forwarded-Proto: ws\r\n", "", 0},
    {XFF, "10.0.0.1", "X-Forwarded-Proto: httpss\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Proto: \"https\"\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Proto:\r\n", "", -1},
    {XFF, "192.0.2.9",
     "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a.test\r\n", "", -1},
    {XFF, "192.0.2.9", "X-Forwarded-Proto: http\r\n", "", -1},
    {FWD, "192.0.2.9", "Forwarded: for=10.0.0.1;proto=http;host=a\r\n", "", -1},
    {XRI, "10.0.0.1", "X-Real-IP: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n",
     "", 1},
    {XFF, "10.0.0.1",
     "Connection: X-Forwarded-Proto\r\nX-Forwarded-Proto: https\r\n", "", 1},

    /* of a list, the one that is the client's */
    {XFF, "10.0.0.1",
     "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https, http\r\n"
     "X-Forwarded-Host: a.test, b.test\r\n",
     "b.test", 0},
    {XFF, "10.0.0.1",
     "X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\n"
     "X-Forwarded-Proto: https, http\r\nX-Forwarded-Host: a.test, b.test\r\n",
     "a.test", 1},
    {XFF, "10.0.0.1",
     "X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\n"
     "X-Forwarded-Proto: http, https, http\r\n",
     "", 1},
    {XFF, "10.0.0.1",
     "X-Forwarded-For: 192.0.2.1, 10.0.0.3, 10.0.0.2\r\n"
     "X-Forwarded-Proto: https\r\nX-Forwarded-Host: a.test\r\n",
     "a.test", 1},
    {XFF, "10.0.0.1",
     "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"
     "X-Forwarded-Proto: http\r\n",
     "", 0},

    /* hosts */
    {XFF, "10.0.0.1", "X-Forwarded-Host: a.test:8443\r\n", "a.test:8443", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: [2001:db8::1]:1\r\n",
     "[2001:db8::1]:1", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: [2001:db8::1]\r\n", "[2001:db8::1]",
     -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: my_host-1\r\n", "my_host-1", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: a.test/\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: u@a.test\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: a test\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: a.test:\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: a.test:65536\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: a.test:80:80\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: a.test:8x\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: :80\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: 2001:db8::1\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: [a.test]\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: <script>\r\n", "", -1},
    {XFF, "10.0.0.1", "X-Forwarded-Host: a\xff\r\n", "", -1},
    {FWD, "10.0.0.1", "X-Forwarded-Host: a\r\nX-Forwarded-Proto: https\r\n", "",
     -1},

    /* Forwarded */
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1;proto=https;host=a.test\r\n",
     "a.test", 1},
    {FWD, "10.0.0.1",
     "Forwarded: host=\"a.test:443\";PROTO=\"http\";for=192.0.2.1\r\n",
     "a.test:443", 0},
    {FWD, "10.0.0.1",
     "Forwarded: for=8.8.8.8;proto=http;host=x, "
     "for=192.0.2.1;proto=https;host=a, for=10.0.0.2;proto=http;host=b\r\n",
     "a", 1},
    {FWD, "10.0.0.1",
     "Forwarded: for=192.0.2.1, for=10.0.0.2;proto=https;host=b\r\n", "", -1},
    {FWD, "10.0.0.1",
     "Forwarded: for=10.0.1.9;proto=https;host=x, for=10.0.1.8;proto=http,"
     "for=10.0.1.7, for=10.0.1.6, for=10.0.1.5, for=10.0.1.4, for=10.0.1.3,"
     "for=10.0.1.2, for=10.0.1.1\r\n",
     "", 0},
    {FWD, "10.0.0.1", "Forwarded: for=unknown;proto=https;host=a\r\n", "a", 1},
    {FWD, "10.0.0.1", "Forwarded: proto=https\r\n", "", 1},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1;proto=https;host=\"a b\"\r\n",
     "", 1},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1;proto=ftp;host=\"a\\b\"\r\n",
     "", -1},
    {FWD, "10.0.0.1", "Forwarded: for=192.0.2.1;proto=https;junk\r\n", "", -1},
};

static void check_place(size_t i, bool is_tls)
{
    struct gw_config config = trusting(places[i].real_address);
    struct gw_peer peer = peer_of(places[i].peer);
    struct gw_client client;
    struct parsed *parsed = parse_lines(places[i].lines);
    bool should = places[i].is_tls < 0 ? is_tls : places[i].is_tls;

    memset(&client, 0xa5, sizeof(client));
    gw_forwarded_client(&parsed->head, &config, &peer, is_tls, &client);
    cr_expect_eq(client.is_tls, should, "%s", places[i].lines);
    check_span(client.host, places[i].host);
    parsed_free(parsed);
}

Test(forwarded, scheme_and_host)
{
    for (size_t i = 0; i < COUNT(places); i++) {
        check_place(i, false);
        check_place(i, true);
    }
}

Test(forwarded, longest_host)
{
    struct gw_config config = trusting(XFF);
    struct gw_peer peer = peer_of("10.0.0.1");
    for (int len = 255; len <= 256; len++) {
        struct gw_client client;
        char lines[512];
        snprintf(lines, sizeof(lines), "X-Forwarded-Host: %0*d\r\n", len, 0);
        struct parsed *parsed = parse_lines(lines);
        gw_forwarded_client(&parsed->head, &config, &peer, false, &client);
        cr_assert_eq(client.host.len, len == 255 ? 255 : 0);
        parsed_free(parsed);
    }
}

/* Nothing of a hostile list costs more than one look at each byte: this many
 * would not end in time otherwise. */
Test(forwarded, long_lists_end_in_time, .timeout = 20)
{
    static const char *const starts[] = {
        "X-Forwarded-For: ", "Forwarded: ", "Forwarded: x=\"", "X-Real-IP: "};
    static const char bytes[] = ",\\\";= ";
    for (size_t i = 0; i < COUNT(starts) * (sizeof(bytes) - 1); i++) {
        char lines[12000];
        size_t start = i / (sizeof(bytes) - 1);
        int len = snprintf(lines, sizeof(lines), "%s", starts[start]);
        memset(lines + len, bytes[i % (sizeof(bytes) - 1)],
               sizeof(lines) - (size_t)len);
        memcpy(lines + sizeof(lines) - 4, "x\r\n", 4);
        struct gw_config config = trusting(start == 0   ? XFF
                                           : start == 3 ? XRI
                                                        : FWD);
        for (int round = 0; round < 20; round++)
            check_chain(&config, "10.0.0.1", lines, "10.0.0.1");
    }
}
