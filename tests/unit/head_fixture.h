/* SPDX-License-Identifier: MIT */
/* Heads parsed from bytes that end at an unreadable page. */
#ifndef SIDGATE_TESTS_UNIT_HEAD_FIXTURE_H
#define SIDGATE_TESTS_UNIT_HEAD_FIXTURE_H

#include "gateway/head.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>

#define BYTES(text)                                                            \
    {                                                                          \
        (text), sizeof(text) - 1                                               \
    }

/* A head, and the bytes that it points into. */
struct parsed {
    struct guard guard;
    struct gw_head head;
    int status;
};

/* In memory full of junk: nothing is left over from a head before. */
static inline struct parsed *parse(struct eio_span bytes, bool is_request)
{
    struct parsed *parsed = malloc(sizeof(*parsed));
    if (parsed == NULL)
        abort();
    memset(parsed, 0xa5, sizeof(*parsed));
    parsed->guard = guard_copy(bytes.ptr, bytes.len);
    struct eio_span copy = {parsed->guard.bytes, parsed->guard.len};
    parsed->status = is_request ? gw_head_parse_request(copy, &parsed->head)
                                : gw_head_parse_response(copy, &parsed->head);
    return parsed;
}

static inline void parsed_free(struct parsed *parsed)
{
    guard_free(&parsed->guard);
    free(parsed);
}

static inline void check_span(struct eio_span span, const char *text)
{
    cr_assert_eq(span.len, strlen(text), "%.*s, not %s", (int)span.len,
                 span.len > 0 ? span.ptr : "", text);
    cr_assert(span.len == 0 || memcmp(span.ptr, text, span.len) == 0,
              "%.*s, not %s", (int)span.len, span.ptr, text);
}

#endif
