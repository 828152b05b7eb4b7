/* SPDX-License-Identifier: MIT */
/* HTTP heads, WebSocket frames and the handshake's SHA-1. */
#include "bench/wire.h"

#include <string.h>
#include <strings.h>

static size_t skip_blanks(const char *line, size_t at, size_t len)
{
    while (at < len && (line[at] == ' ' || line[at] == '\t'))
        at++;
    return at;
}

static bool parse_number(const char *text, size_t len, size_t *out)
{
    size_t value = 0;

    if (len == 0 || len > 9)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (size_t)(text[i] - '0');
    }
    *out = value;
    return true;
}

/* If the line is the named field, return the offset of its value, else 0. */
static size_t field_value(const char *line, size_t len, const char *name,
                          size_t name_len)
{
    if (len <= name_len || line[name_len] != ':')
        return 0;
    if (strncasecmp(line, name, name_len) != 0)
        return 0;
    return skip_blanks(line, name_len + 1, len);
}

#define FIELD(name) field_value(line, len, name, sizeof(name) - 1)

static bool take_field(const char *line, size_t len, struct bench_message *out)
{
    size_t at;

    /* One look at the first letter spares most fields every comparison. */
    switch (line[0] | 0x20) {
    case 'c':
        if ((at = FIELD("content-length")) != 0)
            return parse_number(line + at, len - at, &out->body_len);
        if ((at = FIELD("connection")) != 0 && len - at == 5)
            out->is_close = strncasecmp(line + at, "close", 5) == 0;
        return true;
    case 's':
        if ((at = FIELD("sec-websocket-key")) != 0) {
            out->ws_key = line + at;
            out->ws_key_len = len - at;
        } else if ((at = FIELD("sec-websocket-accept")) != 0) {
            out->ws_accept = line + at;
            out->ws_accept_len = len - at;
        }
        return true;
    case 't':
        return FIELD("transfer-encoding") == 0;
    default:
        return true;
    }
}

enum bench_parse bench_message_parse(const char *buf, size_t len,
                                     struct bench_message *out)
{
    const char *end = memmem(buf, len, "\r\n\r\n", 4);
    const char *line;

    if (end == NULL)
        return BENCH_MORE;
    memset(out, 0, sizeof(*out));
    out->head_len = (size_t)(end - buf) + 4;
    if (out->head_len < 16)
        return BENCH_BAD;
    if (memcmp(buf, "HTTP/1.1 ", 9) == 0) {
        size_t status;

        if (!parse_number(buf + 9, 3, &status))
            return BENCH_BAD;
        out->status = (int)status;
    }
    line = memchr(buf, '\n', out->head_len);
    while (line != NULL && line < end) {
        const char *next;

        line++;
        next = memchr(line, '\n', (size_t)(end + 2 - line));
        if (next == NULL)
            break;
        if (next - line > 1 &&
            !take_field(line, (size_t)(next - line) - 1, out))
            return BENCH_BAD;
        line = next;
    }
    return BENCH_OK;
}

enum bench_parse bench_frame_parse(const char *buf, size_t len,
                                   struct bench_frame *out)
{
    const uint8_t *bytes = (const uint8_t *)buf;
    size_t extended = 0;

    if (len < 2)
        return BENCH_MORE;
    /* Every message here is one final frame without extensions. */
    if ((bytes[0] & 0xf0) != 0x80)
        return BENCH_BAD;
    out->opcode = bytes[0] & 0x0f;
    out->is_masked = (bytes[1] & 0x80) != 0;
    out->payload_len = bytes[1] & 0x7f;
    if (out->payload_len == 126)
        extended = 2;
    else if (out->payload_len == 127)
        extended = 8;
    out->head_len = 2 + extended + (out->is_masked ? 4 : 0);
    if (len < out->head_len)
        return BENCH_MORE;
    if (extended != 0) {
        out->payload_len = 0;
        for (size_t i = 0; i < extended; i++)
            out->payload_len = out->payload_len << 8 | bytes[2 + i];
    }
    if (out->is_masked)
        memcpy(out->key, bytes + 2 + extended, 4);
    return BENCH_OK;
}

void bench_mask(char *payload, size_t len, const uint8_t key[4])
{
    for (size_t i = 0; i < len; i++)
        payload[i] = (char)(payload[i] ^ key[i & 3]);
}

size_t bench_frame_write(char *out, unsigned opcode, const uint8_t *key,
                         const char *payload, size_t len)
{
    size_t at = 2;

    out[0] = (char)(0x80 | opcode);
    if (len < 126) {
        out[1] = (char)len;
    } else if (len < 65536) {
        out[1] = 126;
        out[at++] = (char)(len >> 8);
        out[at++] = (char)len;
    } else {
        out[1] = 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            out[at++] = (char)((uint64_t)len >> shift);
    }
    if (key != NULL) {
        out[1] = (char)(out[1] | 0x80);
        memcpy(out + at, key, 4);
        at += 4;
    }
    memcpy(out + at, payload, len);
    if (key != NULL)
        bench_mask(out + at, len, key);
    return at + len;
}

static uint32_t rotate(uint32_t value, unsigned by)
{
    return value << by | value >> (32 - by);
}

static uint32_t round_function(unsigned t, const uint32_t s[5])
{
    if (t < 20)
        return ((s[1] & s[2]) | (~s[1] & s[3])) + 0x5a827999u;
    if (t < 40)
        return (s[1] ^ s[2] ^ s[3]) + 0x6ed9eba1u;
    if (t < 60)
        return ((s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])) + 0x8f1bbcdcu;
    return (s[1] ^ s[2] ^ s[3]) + 0xca62c1d6u;
}

static void sha1_block(uint32_t state[5], const uint8_t block[64])
{
    uint32_t w[80];
    uint32_t s[5];

    for (unsigned t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 |
               (uint32_t)block[4 * t + 2] << 8 | block[4 * t + 3];
    for (unsigned t = 16; t < 80; t++)
        w[t] = rotate(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    memcpy(s, state, sizeof(s));
    for (unsigned t = 0; t < 80; t++) {
        uint32_t next = rotate(s[0], 5) + round_function(t, s) + s[4] + w[t];

        s[4] = s[3];
        s[3] = s[2];
        s[2] = rotate(s[1], 30);
        s[1] = s[0];
        s[0] = next;
    }
    for (unsigned i = 0; i < 5; i++)
        state[i] += s[i];
}

void bench_accept(const char *key, size_t len, char out[BENCH_ACCEPT_LEN + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t state[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u,
                         0xc3d2e1f0u};
    uint8_t text[128] = {0};
    uint8_t digest[21] = {0};
    size_t total;

    /* A key is 24 characters; 24 + 36 + padding always makes two blocks. */
    if (len > 64)
        len = 64;
    memcpy(text, key, len);
    memcpy(text + len, guid, sizeof(guid) - 1);
    total = len + sizeof(guid) - 1;
    text[total] = 0x80;
    text[126] = (uint8_t)(total * 8 >> 8);
    text[127] = (uint8_t)(total * 8);
    sha1_block(state, text);
    sha1_block(state, text + 64);
    for (unsigned i = 0; i < 20; i++)
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    for (unsigned i = 0; i < 7; i++) {
        uint32_t three = (uint32_t)digest[3 * i] << 16 |
                         (uint32_t)digest[3 * i + 1] << 8 | digest[3 * i + 2];

        for (unsigned j = 0; j < 4; j++)
            out[4 * i + j] = alphabet[three >> (18 - 6 * j) & 63];
    }
    out[27] = '=';
    out[BENCH_ACCEPT_LEN] = '\0';
}
