/* SPDX-License-Identifier: MIT */
/* The PROXY protocol's header. */
#include "gateway/proxy.h"
#include "tests/support/guard.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct outcome {
    enum gw_proxy_result result;
    bool has_peer;
    size_t len;
    char peer[INET6_ADDRSTRLEN];
};

static struct outcome parse(const char *bytes, size_t len)
{
    struct guard guard = guard_copy(bytes, len);
    struct outcome outcome = {.len = 99999};
    struct gw_peer peer;

    memset(&peer, 0xa5, sizeof(peer));
    outcome.result = gw_proxy_parse((struct eio_span){guard.bytes, len}, &peer,
                                    &outcome.has_peer, &outcome.len);
    if (outcome.result == GW_PROXY_DONE && outcome.has_peer)
        gw_peer_text(&peer, outcome.peer, sizeof(outcome.peer));
    else
        cr_assert_eq(peer.family, 0xa5);
    guard_free(&guard);
    return outcome;
}

static void check_done(const char *bytes, size_t len, size_t head_len,
                       const char *peer)
{
    struct outcome outcome = parse(bytes, len);
    cr_assert_eq(outcome.result, GW_PROXY_DONE, "%s", bytes);
    cr_assert_eq(outcome.len, head_len, "%s: %zu", bytes, outcome.len);
    cr_assert_eq(outcome.has_peer, peer != NULL, "%s", bytes);
    cr_assert_str_eq(outcome.peer, peer != NULL ? peer : "");
}

/* Nothing less than the whole is DONE, and nothing of it is BAD. */
static void check_prefixes(const char *bytes, size_t len)
{
    for (size_t n = 0; n < len; n++)
        cr_assert_eq(parse(bytes, n).result, GW_PROXY_MORE, "%s: %zu", bytes,
                     n);
}

/* ---- version 1 ---- */

static const struct {
    const char *line;
    const char *peer;
} lines[] = {
    {"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1"},
    {"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0"},
    {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
     "255.255.255.255"},
    {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1"},
    {"PROXY TCP6 2001:DB8:0:0:0:0:0:1 :: 1 2\r\n", "2001:db8::1"},
    {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n",
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", "192.0.2.1"},
    {"PROXY UNKNOWN\r\n", NULL},
    {"PROXY UNKNOWN \r\n", NULL},
    {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
     NULL},
    {"PROXY UNKNOWN junk  PROXY TCP4\r\n", NULL},
};

Test(proxy, lines_are_read)
{
    char more[256];
    for (size_t i = 0; i < COUNT(lines); i++) {
        size_t len = strlen(lines[i].line);
        check_done(lines[i].line, len, len, lines[i].peer);
        check_prefixes(lines[i].line, len);
        int all = snprintf(more, sizeof(more), "%sGET / HTTP/1.1\r\n\r\n",
                           lines[i].line);
        check_done(more, (size_t)all, len, lines[i].peer);
    }
}

/* What must be refused, and at how many bytes at the latest. */
static const struct {
    const char *bytes;
    size_t at;
} wrong[] = {
    {"GET / HTTP/1.1\r\n\r\n", 1},
    {"POST / HTTP/1.1\r\n\r\n", 2},
    {"PUT / HTTP/1.1\r\n\r\n", 2},
    {"PROPFIND / HTTP/1.1\r\n\r\n", 4},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3},
    {"PROXY / HTTP/1.1\r\n\r\n", 7},
    {"\x16\x03\x01\x02\x00\x01\x00", 1},
    {"\n", 1},
    {" PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 1},
    {"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 1},
    {"PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n", 6},
    {"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 7},
    {"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", 7},
    {"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", 10},
    {"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", 8},
    {"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", 12},
    {"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", 22},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 1  2\r\n", 34},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", 35},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", 35},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", 36},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", 33},
    {"PROXY TCP4 192.0.2.1 192.0.2.2\r\n", 31},
    {"PROXY TCP4 192.0.2.1\r\n", 21},
    {"PROXY TCP4\r\n", 11},
    {"PROXY TCP4 \r\n", 12},
    {"PROXY TCP4 256.0.2.1 192.0.2.2 1 2\r\n", 14},
    {"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n", 19},
    {"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", 19},
    {"PROXY TCP4 192.0.2.1.1 192.0.2.2 1 2\r\n", 21},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", 36},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 99999999999999999999 2\r\n", 36},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", 33},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 00 2\r\n", 33},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", 32},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", 32},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2\r\n", 33},
    {"PROXY TCP4 2001:db8::1 ::1 1 2\r\n", 15},
    {"PROXY TCP4 ::ffff:192.0.2.1 192.0.2.2 1 2\r\n", 12},
    {"PROXY TCP4 192.0.2.1:80 192.0.2.2 1 2\r\n", 21},
    {"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", 21},
    {"PROXY TCP6 192.0.2.1:80 ::1 1 2\r\n", 24},
    {"PROXY TCP6 [::1] ::1 1 2\r\n", 12},
    {"PROXY TCP6 ::1 192.0.2.2 1 2\r\n", 25},
    {"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", 19},
    {"PROXY TCP6 1::2::3 ::1 1 2\r\n", 19},
    {"PROXY TCP6 0000:0000:0000:0000:0000:0000:0000:0000:0000:0000 ::", 57},
    {"PROXY UNKNOW\r\n", 13},
    {"PROXY UNKNOWNS\r\n", 14},
    {"PROXY UNKNOWN\n", 14},
    {"PROXY UNKNOWN \x01\r\n", 15},
    {"PROXY UNKNOWN \x7f\r\n", 15},
    {"PROXY UNKNOWN \xc3\xa4\r\n", 15},
    {"PROXY UNKNOWN a\rb\r\n", 17},
};

Test(proxy, wrong_lines_are_refused_at_once)
{
    for (size_t i = 0; i < COUNT(wrong); i++) {
        const char *bytes = wrong[i].bytes;
        for (size_t n = 0; n <= strlen(bytes); n++) {
            enum gw_proxy_result result = parse(bytes, n).result;
            cr_assert_eq(result, n < wrong[i].at ? GW_PROXY_MORE : GW_PROXY_BAD,
                         "%s: %zu", bytes, n);
        }
    }
}

Test(proxy, nul_is_no_text)
{
    cr_assert_eq(parse("PROXY UNKNOWN \0\r\n", 17).result, GW_PROXY_BAD);
    cr_assert_eq(parse("PROXY TCP6 ::1\0 ::1 1 2\r\n", 25).result,
                 GW_PROXY_BAD);
}

/* 107 bytes are the most; what cannot end there is refused before. */
Test(proxy, longest_line)
{
    char line[4096];
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + 105, "\r\n", 2);
    check_prefixes(line, 107);
    check_done(line, 107, 107, NULL);
    check_done(line, sizeof(line), 107, NULL);

    memcpy(line + 105, "x\r\n", 3);
    check_prefixes(line, 106);
    for (size_t n = 106; n < 110; n++)
        cr_assert_eq(parse(line, n).result, GW_PROXY_BAD, "%zu", n);
    cr_assert_eq(parse(line, sizeof(line)).result, GW_PROXY_BAD);
}

/* One byte changed: it is refused, or another well-formed line, which then is
 * read the same however it comes. False: it is refused. */
static bool check_mutation(const char *line, size_t len)
{
    char copy[128];
    int fields[5] = {0};
    struct outcome whole = parse(line, len);
    enum gw_proxy_result before = GW_PROXY_MORE;
    struct gw_peer peer;
    bool has_peer = false;
    size_t head_len = 0;

    /* Without a page of its own for each: they are many. */
    for (size_t n = 0; n <= len && before == GW_PROXY_MORE; n++)
        before = gw_proxy_parse((struct eio_span){line, n}, &peer, &has_peer,
                                &head_len);
    cr_assert_eq(before, whole.result, "%s", line);
    if (whole.result != GW_PROXY_DONE || !whole.has_peer)
        return whole.result != GW_PROXY_BAD;
    cr_assert_eq(whole.len, len);
    snprintf(copy, sizeof(copy), "%.*s", (int)len, line);
    cr_assert_eq(sscanf(copy, "PROXY TCP%1d %n%*s%n %*s %d %d", &fields[0],
                        &fields[1], &fields[2], &fields[3], &fields[4]),
                 3, "%s", line);
    copy[fields[2]] = '\0';
    cr_assert_eq(fields[0], strchr(copy + fields[1], ':') != NULL ? 6 : 4);
    cr_assert(fields[3] >= 0 && fields[3] <= 65535);
    cr_assert(fields[4] >= 0 && fields[4] <= 65535);
    uint8_t one[16];
    uint8_t other[16];
    int family = fields[0] == 4 ? AF_INET : AF_INET6;
    cr_assert_eq(inet_pton(family, copy + fields[1], one), 1, "%s", line);
    cr_assert_eq(inet_pton(family, whole.peer, other), 1, "%s", line);
    cr_assert_arr_eq(one, other, family == AF_INET ? 4 : 16);
    return true;
}

Test(proxy, mutated_lines)
{
    static const char *const starts[] = {
        "PROXY TCP4 192.0.2.17 198.51.100.1 56324 443\r\n",
        "PROXY TCP6 2001:db8::1 2001:db8:1::2 56324 443\r\n",
    };
    unsigned refused = 0;
    for (size_t i = 0; i < COUNT(starts); i++) {
        size_t len = strlen(starts[i]);
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                char line[128];
                memcpy(line, starts[i], len + 1);
                line[at] = (char)c;
                refused += !check_mutation(line, len);
            }
        }
    }
    cr_assert_gt(refused, 20000, "%u", refused);
}

/* ---- version 2 ---- */

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4        "\xc0\x00\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb"
#define V6                                                                     \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"                               \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x08\xdc\x04\x01\xbb"
#define MAPPED                                                                 \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x09"                             \
    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x0a\xdc\x04\x01\xbb"

struct v2 {
    char bytes[8192];
    size_t len;
};

/* The fixed part, then `block` and `extra`. */
static void build(struct v2 *v2, const char kind[2], struct eio_span block,
                  struct eio_span extra)
{
    size_t declared = block.len + extra.len;
    memcpy(v2->bytes, SIGNATURE, 12);
    memcpy(v2->bytes + 12, kind, 2);
    v2->bytes[14] = (char)(declared >> 8);
    v2->bytes[15] = (char)declared;
    memcpy(v2->bytes + 16, block.ptr, block.len);
    if (extra.len > 0)
        memcpy(v2->bytes + 16 + block.len, extra.ptr, extra.len);
    v2->len = 16 + declared;
}

#define SPAN(text)                                                             \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }

static const char unix_block[216];

static const struct {
    const char *kind;
    struct eio_span block;
    struct eio_span extra;
    const char *peer;
} goods[] = {
    {"\x21\x11", SPAN(V4), SPAN(""), "192.0.2.1"},
    {"\x21\x21", SPAN(V6), SPAN(""), "2001:db8::7"},
    {"\x21\x21", SPAN(MAPPED), SPAN(""), "192.0.2.9"},
    {"\x21\x11", SPAN(V4), SPAN("\x04\x00\x00"), "192.0.2.1"},
    {"\x21\x11", SPAN(V4), SPAN("\x01\x00\x02h2\xea\x00\x01x"), "192.0.2.1"},
    {"\x21\x21", SPAN(V6),
     SPAN("\x02\x00\x07"
          "a.b.com"),
     "2001:db8::7"},
    {"\x21\x31", {unix_block, 216}, SPAN(""), NULL},
    {"\x21\x31", {unix_block, 216}, SPAN("\x04\x00\x01\x00"), NULL},
    {"\x21\x00", SPAN(""), SPAN(""), NULL},
    {"\x21\x00", SPAN("junk"), SPAN(""), NULL},
    {"\x20\x00", SPAN(""), SPAN(""), NULL},
    {"\x20\x11", SPAN(V4), SPAN(""), NULL},
    {"\x20\x12", SPAN(V4), SPAN(""), NULL},
    {"\x20\x11", SPAN(""), SPAN(""), NULL},
    {"\x20\xff", SPAN("junk"), SPAN(""), NULL},
};

Test(proxy, blocks_are_read)
{
    static struct v2 v2;
    for (size_t i = 0; i < COUNT(goods); i++) {
        build(&v2, goods[i].kind, goods[i].block, goods[i].extra);
        check_prefixes(v2.bytes, v2.len);
        check_done(v2.bytes, v2.len, v2.len, goods[i].peer);
        memcpy(v2.bytes + v2.len, "GET /", 5);
        check_done(v2.bytes, v2.len + 5, v2.len, goods[i].peer);
    }
}

static const struct {
    const char *kind;
    struct eio_span block;
    struct eio_span extra;
    size_t at;
} bads[] = {
    {"\x11\x11", SPAN(V4), SPAN(""), 13},
    {"\x31\x11", SPAN(V4), SPAN(""), 13},
    {"\x22\x11", SPAN(V4), SPAN(""), 13},
    {"\x2f\x11", SPAN(V4), SPAN(""), 13},
    {"\x21\x12", SPAN(V4), SPAN(""), 14},
    {"\x21\x22", SPAN(V6), SPAN(""), 14},
    {"\x21\x32", {unix_block, 216}, SPAN(""), 14},
    {"\x21\x10", SPAN(V4), SPAN(""), 14},
    {"\x21\x01", SPAN(V4), SPAN(""), 14},
    {"\x21\x13", SPAN(V4), SPAN(""), 14},
    {"\x21\x41", SPAN(V4), SPAN(""), 14},
    {"\x21\xff", SPAN(V4), SPAN(""), 14},
    {"\x21\x11", {V4, 11}, SPAN(""), 16},
    {"\x21\x11", SPAN(""), SPAN(""), 16},
    {"\x21\x21", {V6, 35}, SPAN(""), 16},
    {"\x21\x21", SPAN(V4), SPAN(""), 16},
    {"\x21\x31", {unix_block, 215}, SPAN(""), 16},
    /* extensions: too short to be one, longer than what is left */
    {"\x21\x11", SPAN(V4), SPAN("\x04"), 16},
    {"\x21\x11", SPAN(V4), SPAN("\x04\x00"), 16},
    {"\x21\x11", SPAN(V4), SPAN("\x04\x00\x01"), 31},
    {"\x21\x11", SPAN(V4), SPAN("\x04\xff\xff\x00"), 31},
    {"\x21\x11", SPAN(V4), SPAN("\x04\x00\x00\x04\x00\x05xxxx"), 34},
    {"\x21\x11", SPAN(V4), SPAN("\x04\x00\x00\x04\x00"), 31},
    /* checksums: too short, two of them */
    {"\x21\x11", SPAN(V4), SPAN("\x03\x00\x03xxx"), 31},
    {"\x21\x11", SPAN(V4), SPAN("\x03\x00\x04xxxx\x03\x00\x04xxxx"), 38},
    {"\x21\x11", SPAN(V4), SPAN("\x03\x00\x04xxxx"), 35},
};

Test(proxy, wrong_blocks_are_refused_at_once)
{
    static struct v2 v2;
    for (size_t i = 0; i < COUNT(bads); i++) {
        build(&v2, bads[i].kind, bads[i].block, bads[i].extra);
        for (size_t n = 0; n <= v2.len; n++) {
            enum gw_proxy_result result = parse(v2.bytes, n).result;
            cr_assert_eq(result, n < bads[i].at ? GW_PROXY_MORE : GW_PROXY_BAD,
                         "%zu: %zu: %d", i, n, (int)result);
        }
    }
}

Test(proxy, each_byte_of_the_signature_counts)
{
    static struct v2 v2;
    for (size_t at = 0; at < 12; at++) {
        build(&v2, "\x21\x11", (struct eio_span)SPAN(V4),
              (struct eio_span)SPAN(""));
        v2.bytes[at] ^= 0x20;
        for (size_t n = 0; n <= v2.len; n++)
            cr_assert_eq(parse(v2.bytes, n).result,
                         n <= at ? GW_PROXY_MORE : GW_PROXY_BAD, "%zu %zu", at,
                         n);
    }
}

/* The largest header is read; a larger one is refused from its length. */
Test(proxy, largest_block)
{
    static struct v2 v2;
    static char extra[4096];
    size_t room = GW_PROXY_HEAD_MAX - 16 - 12;

    extra[0] = 4;
    extra[1] = (char)((room - 3) >> 8);
    extra[2] = (char)(room - 3);
    build(&v2, "\x21\x11", (struct eio_span)SPAN(V4),
          (struct eio_span){extra, room});
    cr_assert_eq(v2.len, GW_PROXY_HEAD_MAX);
    check_prefixes(v2.bytes, v2.len);
    check_done(v2.bytes, v2.len, v2.len, "192.0.2.1");

    extra[2] = (char)(room - 2);
    build(&v2, "\x21\x11", (struct eio_span)SPAN(V4),
          (struct eio_span){extra, room + 1});
    check_prefixes(v2.bytes, 16);
    cr_assert_eq(parse(v2.bytes, 16).result, GW_PROXY_BAD);
    cr_assert_eq(parse(v2.bytes, v2.len).result, GW_PROXY_BAD);
    v2.bytes[14] = (char)0xff;
    cr_assert_eq(parse(v2.bytes, 15).result, GW_PROXY_BAD);
    v2.bytes[12] = 0x20;
    cr_assert_eq(parse(v2.bytes, 15).result, GW_PROXY_BAD);
}

/* By a table, as it is not done in what is tested. */
static uint32_t sum_of(const char *bytes, size_t len)
{
    uint32_t table[256];
    uint32_t sum = 0xffffffff;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = (table[i] >> 1) ^ (table[i] % 2 ? 0x82f63b78 : 0);
    }
    for (size_t i = 0; i < len; i++)
        sum = table[(sum ^ (uint8_t)bytes[i]) & 255] ^ (sum >> 8);
    return ~sum;
}

Test(proxy, checksum_is_checked)
{
    static struct v2 v2;
    cr_assert_eq(sum_of("123456789", 9), 0xe3069283); /* the known answer */

    build(&v2, "\x21\x11", (struct eio_span)SPAN(V4),
          (struct eio_span)SPAN("\x04\x00\x01z\x03\x00\x04\0\0\0\0\x05\0\0"));
    uint32_t sum = htonl(sum_of(v2.bytes, v2.len));
    memcpy(v2.bytes + 16 + 12 + 7, &sum, 4);
    check_prefixes(v2.bytes, v2.len);
    check_done(v2.bytes, v2.len, v2.len, "192.0.2.1");
    size_t kind_at = 16 + 12 + 4; /* changed, it is no checksum at all */
    for (size_t at = 16; at < v2.len; at++) {
        if (at == kind_at)
            continue;
        v2.bytes[at] ^= 1;
        cr_assert_eq(parse(v2.bytes, v2.len).result == GW_PROXY_DONE, false,
                     "%zu", at);
        v2.bytes[at] ^= 1;
    }
}

Test(proxy, nothing_is_the_start_of_both)
{
    cr_assert_eq(parse("", 0).result, GW_PROXY_MORE);
    cr_assert_eq(parse("\r", 1).result, GW_PROXY_MORE);
    cr_assert_eq(parse("P", 1).result, GW_PROXY_MORE);
}
