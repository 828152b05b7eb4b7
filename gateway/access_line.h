/* SPDX-License-Identifier: MIT */
/*
 * The lines of the access log: key=value pairs, or one JSON object in which
 * numbers are numbers. What there is nothing to say of is left out.
 */
#ifndef SIDGATE_GATEWAY_ACCESS_LINE_H
#define SIDGATE_GATEWAY_ACCESS_LINE_H

#include "eio/span.h"
#include "gateway/session_end.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    /* A pipe takes as much in one piece, so lines of several writers never
     * mix. */
    GW_ACCESS_LINE_MAX = PIPE_BUF,
    GW_ACCESS_PATH_MAX = 256,
    GW_ACCESS_AGENT_MAX = 128,
    GW_ACCESS_HOST_MAX = 128,
};

/* Spans and texts that are empty, and texts that are NULL, are left out. */
struct gw_access_request {
    int64_t time_ms; /* wall clock, when it was over */
    struct eio_span method;
    struct eio_span path; /* one over its limit is cut, and says so */
    struct eio_span host;
    struct eio_span user_agent;
    struct eio_span request_id;
    struct eio_span traceparent;
    const char *client;
    const char *kind;
    const char *session; /* its id */
    const char *sid;     /* masked */
    const char *transport;
    const char *backend;
    const char *route;
    const char *protocol;
    const char *end; /* when it did not end as it should */
    uint64_t in_bytes;
    uint64_t out_bytes;
    int64_t duration_us; /* -1: not known */
    int64_t first_us;    /* likewise */
    unsigned status;
    unsigned eio;
    unsigned worker;
    bool is_own;
    bool is_tls;
};

/* Both return the length; the line ends in a newline. */
size_t gw_access_line_request(const struct gw_access_request *request,
                              bool is_json, char out[GW_ACCESS_LINE_MAX]);
size_t gw_access_line_session(const struct gw_ended *ended, bool is_json,
                              char out[GW_ACCESS_LINE_MAX]);

#endif
