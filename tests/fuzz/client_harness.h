/* SPDX-License-Identifier: MIT */
/*
 * A whole gateway in one thread: a real worker, whose turns are taken by hand
 * and whose clock is moved by hand; one client and one backend at the other
 * ends of real sockets. Nothing sleeps: when nothing moves any more, the clock
 * goes on to the next timer.
 */
#ifndef SIDGATE_TESTS_FUZZ_CLIENT_HARNESS_H
#define SIDGATE_TESTS_FUZZ_CLIENT_HARNESS_H

#include "eio/span.h"

#include <stdbool.h>
#include <stdint.h>

struct gw_worker;

enum { HARNESS_PEERS_MAX = 64, HARNESS_BYTES_MAX = 300 * 1024 };

/* What came from the other side of one socket. */
struct harness_end {
    int fd; /* -1: none */
    char *bytes;
    size_t len;
    size_t at;       /* how far it has been looked at */
    unsigned count;  /* requests found in it */
    bool is_over;    /* FIN or RST has come */
    bool is_tunnel;  /* opaque from now on */
    bool is_stopped; /* nothing more is said on it */
};

/* A request that reached the backend, whole. */
struct harness_request {
    struct eio_span head;
    bool is_head_method;
    bool is_websocket;
    bool is_handshake;
};

/* Says something to it. */
typedef void (*harness_answer_fn)(struct harness_end *end,
                                  const struct harness_request *request);

/* What a target wants: `answer` is called for each whole request that the
 * backend got; the bytes of each have been checked by then. */
void harness_open(harness_answer_fn answer);

/* The gateway's only one. */
struct gw_worker *harness_worker(void);

/* Everything that the worker has is cut. */
void harness_cut_all(void);

/* The client's side. */
struct harness_end *harness_client(void);
void harness_send(struct eio_span bytes);

/* Takes turns until nothing moves. */
void harness_settle(void);

/* One turn of the gateway alone. */
void harness_turn(void);

/* Moves the clock to the next timer and settles; false: there is none. */
bool harness_wait(void);

/* The client's FIN, whatever time it takes until nothing more is to come, then
 * the backends' FINs: the gateway must have ended the connection. */
void harness_finish(void);

/* Ends all of it, and checks that nothing is left. */
void harness_close(void);

/* For answers. */
void harness_say(struct harness_end *end, const char *bytes, size_t len);
void harness_say_text(struct harness_end *end, const char *text);
void harness_stop(struct harness_end *end); /* FIN */
void harness_cut(struct harness_end *end);  /* RST */
/* 101 with the accept that the request's key asks for. */
void harness_switch(struct harness_end *end,
                    const struct harness_request *request);

/* Aborts, so that a fuzzer keeps the input. */
void harness_require(bool is_true);

#endif
