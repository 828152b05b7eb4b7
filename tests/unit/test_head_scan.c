/* SPDX-License-Identifier: MIT */
/* Where a head ends: the same however its bytes come. */
#include "gateway/head.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>

#define BYTES(text)                                                            \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }

/* Small, so that a case shows its whole head. */
static const struct gw_config limits = {
    .max_request_line_bytes = 20,
    .max_head_bytes = 80,
    .max_head_fields = 3,
};

static int scan_guarded(struct gw_scan *scan, struct eio_span bytes,
                        const struct gw_config *config, size_t *head_len)
{
    struct guard guard = guard_copy(bytes.ptr, bytes.len);
    struct eio_span span = {guard.bytes, guard.len};

    *head_len = 12345;
    int status = gw_head_scan(scan, span, config, head_len);
    guard_free(&guard);
    return status;
}

static int scan_whole(struct eio_span bytes, const struct gw_config *config,
                      size_t *head_len)
{
    struct gw_scan scan = {0};
    return scan_guarded(&scan, bytes, config, head_len);
}

/* `step` more bytes at a time, in a buffer that moves. */
static int scan_in_steps(struct eio_span bytes, size_t step,
                         const struct gw_config *config, size_t *head_len)
{
    struct gw_scan scan = {0};
    int status = 0;

    *head_len = 0;
    for (size_t len = 0; status == 0 && *head_len == 0; len += step) {
        bool is_last = len >= bytes.len;
        struct eio_span part = {bytes.ptr, is_last ? bytes.len : len};
        status = scan_guarded(&scan, part, config, head_len);
        if (is_last)
            break;
    }
    return status;
}

static const struct {
    struct eio_span bytes;
    int status;
    size_t head_len;
} cases[] = {
    {BYTES(""), 0, 0},
    {BYTES("GET / HTTP/1.1"), 0, 0},
    {BYTES("GET / HTTP/1.1\r\n"), 0, 0},
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\n"), 0, 0},
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r"), 0, 0},
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), 0, 27},
    {BYTES("GET / HTTP/1.1\r\n\r\n"), 0, 18},
    /* what stands behind the head is not looked at */
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\nbody\n \n\r\n\r\n"), 0, 27},
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n\r\n"), 0, 27},
    {BYTES("\r\n\r\n"), 0, 2},
    /* bare LF */
    {BYTES("\n"), 400, 0},
    {BYTES("GET / HTTP/1.1\n"), 400, 0},
    {BYTES("GET / HTTP/1.1\nHost: h\n\n"), 400, 0},
    {BYTES("GET / HTTP/1.1\r\nHost: h\n\r\n"), 400, 0},
    {BYTES("GET / HTTP/1.1\r\nHost: h\r\n\n"), 400, 0},
    {BYTES("GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n"), 400, 0},
    {BYTES("GET / HTTP/1.1\r\n\r\r\n"), 0, 0}, /* a line of one CR */
    /* folded lines */
    {BYTES("GET / HTTP/1.1\r\n Host: h\r\n\r\n"), 400, 0},
    {BYTES("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), 400, 0},
    {BYTES("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n"), 400, 0},
    {BYTES("GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n"), 400, 0},
    /* the request line: 20 bytes without its end */
    {BYTES("GET /567890 HTTP/1.1\r\n\r\n"), 0, 24},
    {BYTES("GET /5678901 HTTP/1.1\r\n\r\n"), 414, 0},
    {BYTES("GET /5678901 HTTP/1.1x"), 414, 0},
    {BYTES("GET /56789012345678901234567890"), 414, 0},
    /* three fields */
    {BYTES("GET / HTTP/1.1\r\nA:\r\nB:\r\nC:\r\n\r\n"), 0, 30},
    {BYTES("GET / HTTP/1.1\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n"), 431, 0},
    /* 80 bytes in all */
    {BYTES("GET / HTTP/1.1\r\nA: 901234567890123456789012345678901234567890"
           "123456789012345\r\n\r\n"),
     0, 80},
    {BYTES("GET / HTTP/1.1\r\nA: 901234567890123456789012345678901234567890"
           "1234567890123456\r\n\r\n"),
     431, 0},
    {BYTES("GET / HTTP/1.1\r\nA: 901234567890123456789012345678901234567890"
           "12345678901234567890"),
     431, 0},
};

Test(head_scan, finds_the_end_or_refuses)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t head_len;
        int status = scan_whole(cases[i].bytes, &limits, &head_len);
        cr_assert_eq(status, cases[i].status, "case %zu: %d", i, status);
        cr_assert_eq(head_len, cases[i].head_len, "case %zu: %zu", i, head_len);
    }
}

Test(head_scan, gives_the_same_for_every_step)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t step = 1; step <= cases[i].bytes.len; step++) {
            size_t head_len;
            int status =
                scan_in_steps(cases[i].bytes, step, &limits, &head_len);
            cr_assert_eq(status, cases[i].status, "case %zu, step %zu: %d", i,
                         step, status);
            cr_assert_eq(head_len, cases[i].head_len, "case %zu, step %zu", i,
                         step);
        }
    }
}

/* Heads made of what matters to the scan, some of them over a limit. */
static size_t random_head(uint32_t *state, char *out, size_t cap)
{
    static const char *const parts[] = {
        "\r\n", "\r\n", "\r\n", "\r", "\n", " ", "\t", "a", "a: b", "aaaaaa"};
    size_t len = 0;
    for (;;) {
        *state = *state * 1664525 + 1013904223;
        const char *part =
            parts[(*state >> 12) % (sizeof(parts) / sizeof(parts[0]))];
        if (len + strlen(part) > cap || (*state >> 8) % 64 == 0)
            return len;
        memcpy(out + len, part, strlen(part));
        len += strlen(part);
    }
}

/* With two faults in one head, which of them is named depends on how much of
 * it has come. */
Test(head_scan, accepts_the_same_heads_in_pieces)
{
    static const struct gw_config wide = {.max_request_line_bytes = 1000,
                                          .max_head_bytes = 1000,
                                          .max_head_fields = 100};
    uint32_t state = 1;
    char text[120];

    for (int i = 0; i < 4000; i++) {
        struct eio_span bytes = {text, random_head(&state, text, sizeof(text))};
        size_t whole_len;
        size_t len;
        int whole = scan_whole(bytes, &limits, &whole_len);
        int status = scan_in_steps(bytes, 1, &limits, &len);
        cr_assert_eq(status == 0, whole == 0, "round %d", i);
        cr_assert_eq(len, whole_len, "round %d", i);
        whole = scan_whole(bytes, &wide, &whole_len);
        status = scan_in_steps(bytes, 1, &wide, &len);
        cr_assert_eq(status, whole, "round %d", i);
        cr_assert_eq(len, whole_len, "round %d", i);
    }
}

Test(head_scan, refuses_a_head_without_end_before_it_is_larger_than_a_limit)
{
    char text[200];
    struct gw_scan scan = {0};
    size_t head_len;
    size_t len = 0;

    memset(text, 'a', sizeof(text));
    memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
    while (gw_head_scan(&scan, (struct eio_span){text, len}, &limits,
                        &head_len) == 0)
        len++;
    cr_assert_eq(len, limits.max_head_bytes);
}
