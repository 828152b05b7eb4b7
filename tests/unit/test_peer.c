/* SPDX-License-Identifier: MIT */
/* Client addresses and networks of them. */
#include "gateway/peer.h"
#include "tests/support/guard.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* From bytes that end at an unreadable page. */
static bool parse(const char *text, size_t len, struct gw_peer *peer)
{
    struct guard guard = guard_copy(text, len);
    bool is_read = gw_peer_parse((struct eio_span){guard.bytes, len}, peer);
    guard_free(&guard);
    return is_read;
}

static struct gw_peer peer_of(const char *text)
{
    struct gw_peer peer = {0};
    cr_assert(parse(text, strlen(text), &peer), "%s", text);
    return peer;
}

static const struct {
    const char *in;
    const char *out; /* NULL: it is no address */
} texts[] = {
    {"192.0.2.1", "192.0.2.1"},
    {"0.0.0.0", "0.0.0.0"},
    {"255.255.255.255", "255.255.255.255"},
    {"10.20.100.9", "10.20.100.9"},
    {"192.0.2.1:80", "192.0.2.1"},
    {"192.0.2.1:0", "192.0.2.1"},
    {"192.0.2.1:65535", "192.0.2.1"},
    {"2001:db8::1", "2001:db8::1"},
    {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
    {"[2001:db8::1]", "2001:db8::1"},
    {"[2001:db8::1]:80", "2001:db8::1"},
    {"[2001:db8::1]:65535", "2001:db8::1"},
    {"::", "::"},
    {"::1", "::1"},
    {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
    {"::ffff:192.0.2.1", "192.0.2.1"},
    {"::FFFF:c000:201", "192.0.2.1"},
    {"[::ffff:192.0.2.1]:80", "192.0.2.1"},
    {"0000:0000:0000:0000:0000:ffff:192.168.100.100", "192.168.100.100"},

    {"", NULL},
    {" 192.0.2.1", NULL},
    {"192.0.2.1 ", NULL},
    {"192.0.2", NULL},
    {"192.0.2.1.", NULL},
    {"192.0.2.256", NULL},
    {"192.0.2.01", NULL},
    {"0x7f.0.0.1", NULL},
    {"2130706433", NULL},
    {"-1.0.0.1", NULL},
    {"192.0.2.1:", NULL},
    {"192.0.2.1:65536", NULL},
    {"192.0.2.1:000080", NULL},
    {"192.0.2.1:8x", NULL},
    {"192.0.2.1:+8", NULL},
    {"192.0.2.1/32", NULL},
    {"[192.0.2.1]", NULL},
    {"[192.0.2.1]:80", NULL},
    {"[]", NULL},
    {"[", NULL},
    {"]", NULL},
    {"[2001:db8::1", NULL},
    {"2001:db8::1]", NULL},
    {"[2001:db8::1]80", NULL},
    {"[2001:db8::1]:", NULL},
    {"[2001:db8::1]:65536", NULL},
    {"[2001:db8::1]]", NULL},
    {"[[2001:db8::1]]", NULL},
    {"fe80::1%eth0", NULL},
    {"[fe80::1%25eth0]", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
    {"1::2::3", NULL},
    {":::", NULL},
    {":", NULL},
    {"::12345", NULL},
    {"::g", NULL},
    {"unknown", NULL},
    {"localhost", NULL},
    {"_hidden", NULL},
    {"unix", NULL},
    {"0000:0000:0000:0000:0000:ffff:192.168.100.1000", NULL},
};

Test(peer, text_is_read_strictly)
{
    for (size_t i = 0; i < COUNT(texts); i++) {
        char out[INET6_ADDRSTRLEN];
        struct gw_peer peer;
        memset(&peer, 0xa5, sizeof(peer));
        bool is_read = parse(texts[i].in, strlen(texts[i].in), &peer);
        cr_assert_eq(is_read, texts[i].out != NULL, "%s", texts[i].in);
        if (is_read) {
            gw_peer_text(&peer, out, sizeof(out));
            cr_assert_str_eq(out, texts[i].out, "%s: %s", texts[i].in, out);
        } else {
            for (size_t at = 0; at < sizeof(peer); at++)
                cr_assert_eq(((const uint8_t *)&peer)[at], 0xa5, "%s",
                             texts[i].in);
        }
    }
}

Test(peer, nul_does_not_end_text)
{
    struct gw_peer peer;
    cr_assert_not(parse("192.0.2.1\0", 10, &peer));
    cr_assert_not(parse("192.0.2.1\0:80", 13, &peer));
    cr_assert_not(parse("::1\0", 4, &peer));
    cr_assert_not(parse("[::1\0]", 6, &peer));
}

Test(peer, every_byte_of_v4_is_written)
{
    for (unsigned n = 0; n < 256; n++) {
        struct gw_peer peer = {.family = AF_INET,
                               .addr = {(uint8_t)n, 0, (uint8_t)n, 255}};
        char out[INET6_ADDRSTRLEN];
        char right[INET6_ADDRSTRLEN];
        gw_peer_text(&peer, out, sizeof(out));
        cr_assert_not_null(inet_ntop(AF_INET, peer.addr, right, sizeof(right)));
        cr_assert_str_eq(out, right);
    }
}

Test(peer, text_without_room_is_empty)
{
    struct gw_peer peer = peer_of("192.0.2.1");
    char out[INET6_ADDRSTRLEN] = "junk";
    gw_peer_text(&peer, out, INET6_ADDRSTRLEN - 1);
    cr_assert_str_eq(out, "");
    out[0] = 'j';
    gw_peer_text(&peer, out, 0);
    cr_assert_eq(out[0], 'j');
}

union any_addr {
    struct sockaddr_storage any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

Test(peer, socket_addresses_become_peers)
{
    union any_addr addr = {.v4 = {.sin_family = AF_INET, .sin_port = 1}};
    struct gw_peer peer;
    char out[INET6_ADDRSTRLEN];

    addr.v4.sin_addr.s_addr = htonl(0xc0000201);
    gw_peer_from_sockaddr(&peer, &addr.any);
    gw_peer_text(&peer, out, sizeof(out));
    cr_assert_str_eq(out, "192.0.2.1");

    memset(&addr, 0, sizeof(addr));
    addr.v6.sin6_family = AF_INET6;
    cr_assert_eq(inet_pton(AF_INET6, "2001:db8::7", &addr.v6.sin6_addr), 1);
    gw_peer_from_sockaddr(&peer, &addr.any);
    gw_peer_text(&peer, out, sizeof(out));
    cr_assert_str_eq(out, "2001:db8::7");

    cr_assert_eq(inet_pton(AF_INET6, "::ffff:192.0.2.9", &addr.v6.sin6_addr),
                 1);
    gw_peer_from_sockaddr(&peer, &addr.any);
    cr_assert_eq(peer.family, AF_INET);
    struct gw_peer plain = peer_of("192.0.2.9");
    cr_assert(gw_peer_equal(&peer, &plain));
    for (size_t i = 4; i < sizeof(peer.addr); i++)
        cr_assert_eq(peer.addr[i], 0);

    memset(&addr, 0xff, sizeof(addr));
    addr.any.ss_family = AF_UNIX;
    gw_peer_from_sockaddr(&peer, &addr.any);
    gw_peer_text(&peer, out, sizeof(out));
    cr_assert_eq(peer.family, AF_UNIX);
    cr_assert_str_eq(out, "unix");
}

Test(peer, equal_is_family_and_address)
{
    struct gw_peer a = peer_of("192.0.2.1");
    struct gw_peer b = peer_of("192.0.2.1:80");
    struct gw_peer other = peer_of("192.0.2.2");
    struct gw_peer v6 = peer_of("c000:201::");
    struct gw_peer v6_other = peer_of("c000:201::1");
    struct gw_peer local = {.family = AF_UNIX};

    cr_assert(gw_peer_equal(&a, &b));
    cr_assert_not(gw_peer_equal(&a, &other));
    cr_assert_not(gw_peer_equal(&a, &v6));
    cr_assert_not(gw_peer_equal(&v6, &v6_other));
    cr_assert_not(gw_peer_equal(&a, &local));
    cr_assert(gw_peer_equal(&local, &local));
}

static const struct {
    const char *one;
    const char *other;
    bool is_same;
} accounts[] = {
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.2", false},
    {"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
    {"2001:db8::1", "2001:db8:0:1::1", false},
    {"::ffff:192.0.2.1", "192.0.2.1", true},
    {"::1", "::2", true},
};

Test(peer, v6_counts_by_its_64)
{
    struct gw_peer mapped = {.family = AF_INET6,
                             .addr = {[10] = 0xff, 0xff, 192, 0, 2, 1}};
    for (size_t i = 0; i < COUNT(accounts); i++) {
        struct gw_peer one = peer_of(accounts[i].one);
        struct gw_peer other = peer_of(accounts[i].other);
        one = gw_peer_account(&one);
        other = gw_peer_account(&other);
        cr_assert_eq(gw_peer_equal(&one, &other), accounts[i].is_same, "%s %s",
                     accounts[i].one, accounts[i].other);
    }
    /* All that are mapped are not one. */
    struct gw_peer plain = peer_of("192.0.2.1");
    mapped = gw_peer_account(&mapped);
    cr_assert(gw_peer_equal(&mapped, &plain));
}

static const struct {
    const char *net;
    const char *in;  /* NULL: it is no network */
    const char *out; /* one that is not in it */
} nets[] = {
    {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
    {"10.0.0.0/8", "10.0.0.0", "9.255.255.255"},
    {"10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"},
    {"192.0.2.128/25", "192.0.2.129", "192.0.2.127"},
    {"192.0.2.4/30", "192.0.2.7", "192.0.2.8"},
    {"192.0.2.1", "192.0.2.1", "192.0.2.0"},
    {"192.0.2.1/32", "192.0.2.1", "192.0.2.3"},
    {"0.0.0.0/0", "255.1.2.3", "::"},
    {"128.0.0.0/1", "128.0.0.1", "127.255.255.255"},
    {"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
    {"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"},
    {"2001:db8::1", "2001:db8::1", "2001:db8::2"},
    {"2001:db8::1/128", "2001:db8::1", "2001:db8::"},
    {"::/0", "2001:db8::1", "192.0.2.1"},
    {"fc00::/7", "fdff::1", "fe00::"},
    {"::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"},
    {"::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"},
    {"::ffff:0:0/96", "192.0.2.1", "::1"},

    {"", NULL, NULL},
    {"/8", NULL, NULL},
    {"10.0.0.0/", NULL, NULL},
    {"10.0.0.0/33", NULL, NULL},
    {"10.0.0.0/08", NULL, NULL},
    {"10.0.0.0/+8", NULL, NULL},
    {"10.0.0.0/8 ", NULL, NULL},
    {"10.0.0.0/8/8", NULL, NULL},
    {"10.0.0.0/255.0.0.0", NULL, NULL},
    {"10.0.0.1/8", NULL, NULL},
    {"192.0.2.1/31", NULL, NULL},
    {"10.0.0/8", NULL, NULL},
    {"10.0.0.0:80/8", NULL, NULL},
    {"10.0.0.0:80", NULL, NULL},
    {"2001:db8::/129", NULL, NULL},
    {"2001:db8::1/64", NULL, NULL},
    {"2001:db8::/9999999999", NULL, NULL},
    {"[2001:db8::]/32", NULL, NULL},
    {"::ffff:10.0.0.0/8", NULL, NULL},
    {"::ffff:0:0/95", NULL, NULL},
    {"unix", NULL, NULL},
    {"example.com", NULL, NULL},
};

Test(peer, networks_have_those_inside)
{
    for (size_t i = 0; i < COUNT(nets); i++) {
        struct gw_net net;
        bool is_read = gw_net_parse(nets[i].net, &net);
        cr_assert_eq(is_read, nets[i].in != NULL, "%s", nets[i].net);
        if (!is_read)
            continue;
        struct gw_peer in = peer_of(nets[i].in);
        struct gw_peer out = peer_of(nets[i].out);
        cr_assert(gw_net_has(&net, &in), "%s %s", nets[i].net, nets[i].in);
        cr_assert_not(gw_net_has(&net, &out), "%s %s", nets[i].net,
                      nets[i].out);
    }
}

/* Each length of prefix, against bits that are compared one by one. */
Test(peer, networks_end_at_their_bit)
{
    for (size_t bits = 0; bits <= 128; bits++) {
        struct gw_net net = {.base.family = AF_INET6, .bits = (uint8_t)bits};
        for (size_t bit = 0; bit < 128; bit++) {
            struct gw_peer peer = {.family = AF_INET6};
            peer.addr[bit / 8] = (uint8_t)(0x80 >> bit % 8);
            cr_assert_eq(gw_net_has(&net, &peer), bit >= bits, "%zu %zu", bits,
                         bit);
        }
    }
}

Test(peer, networks_never_have_unix)
{
    struct gw_peer local = {.family = AF_UNIX};
    struct gw_net all;
    cr_assert(gw_net_parse("0.0.0.0/0", &all));
    cr_assert_not(gw_net_has(&all, &local));
    cr_assert(gw_net_parse("::/0", &all));
    cr_assert_not(gw_net_has(&all, &local));
}
