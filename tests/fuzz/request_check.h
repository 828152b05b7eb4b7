/* SPDX-License-Identifier: MIT */
/* What a backend may be sent: a reader of requests that forgives nothing, and
 * one of responses. Both abort where they must not find what they find. */
#ifndef SIDGATE_TESTS_FUZZ_REQUEST_CHECK_H
#define SIDGATE_TESTS_FUZZ_REQUEST_CHECK_H

#include "tests/fuzz/client_harness.h"

/* The clients' addresses are not the harness's. */
extern bool request_is_anybodys;

/* The length of the whole request at the start of `bytes`, 0 when more must
 * come. */
size_t request_check(struct eio_span bytes, struct harness_request *request);

/* The value of a field that is there once; an empty span without it. */
struct eio_span request_field(struct eio_span head, const char *name);

/* That `bytes` are responses one after the other, the last one perhaps cut.
 * Of response i, is_head[i] says whether it answers HEAD; behind `count` of
 * them nothing may come. Tunnels end the looking. The number of whole final
 * ones. */
unsigned response_check(struct eio_span bytes, const bool *is_head,
                        unsigned count);

#endif
