/* SPDX-License-Identifier: MIT */
/* The little HTTP and WebSocket that the benchmark's two programs share.
 * It is complete for the traffic these programs make, and refuses the rest;
 * it is not meant to meet anyone else's traffic. */
#ifndef SIDGATE_BENCH_WIRE_H
#define SIDGATE_BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_SID_LEN    20
#define BENCH_OPEN_LEN   118
#define BENCH_ACCEPT_LEN 28
#define BENCH_FRAME_MAX  14 /* longest websocket frame header */
#define BENCH_BULK_BYTES (64u * 1024u)
#define BENCH_BULK_BURST 1u

enum bench_parse { BENCH_OK, BENCH_MORE, BENCH_BAD };

struct bench_message {
    int status; /* of a response; 0 for a request */
    size_t head_len;
    size_t body_len;
    bool is_close; /* Connection: close */
    const char *ws_key;
    size_t ws_key_len;
    const char *ws_accept;
    size_t ws_accept_len;
};

struct bench_frame {
    unsigned opcode;
    size_t head_len;
    uint64_t payload_len;
    bool is_masked;
    uint8_t key[4];
};

/* Parse the HTTP head at buf. BENCH_OK when the head is whole (the body may
 * not be); pointers in out point into buf. Chunked messages are BENCH_BAD:
 * nothing here sends them. */
enum bench_parse bench_message_parse(const char *buf, size_t len,
                                     struct bench_message *out)
    __attribute__((warn_unused_result));

/* Parse a frame header at buf; BENCH_OK once all of the header is there. */
enum bench_parse bench_frame_parse(const char *buf, size_t len,
                                   struct bench_frame *out)
    __attribute__((warn_unused_result));

/* Write a whole final frame. key is NULL for a server's (unmasked) frame.
 * out must have room for BENCH_FRAME_MAX + len bytes. Returns its length. */
size_t bench_frame_write(char *out, unsigned opcode, const uint8_t *key,
                         const char *payload, size_t len);

/* Apply a masking key in place. */
void bench_mask(char *payload, size_t len, const uint8_t key[4]);

/* Sec-WebSocket-Accept for a key; out gets BENCH_ACCEPT_LEN bytes and a NUL. */
void bench_accept(const char *key, size_t len, char out[BENCH_ACCEPT_LEN + 1]);

#endif
