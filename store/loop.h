/* SPDX-License-Identifier: MIT */
/*
 * What a store client needs of the thread that it lives in: connections,
 * timers, a clock, randomness. Whoever has an event loop implements this; the
 * store knows no other way to the outside.
 *
 * All calls come from, and all callbacks run in, that one thread. A callback
 * may call anything here, also close or free what it is called for.
 */
#ifndef SIDGATE_STORE_LOOP_H
#define SIDGATE_STORE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORE_HOST_MAX = 256 };

struct store_address {
    char host[STORE_HOST_MAX]; /* name, IPv4 or bare IPv6 address; or the path
                                  of a unix socket */
    uint16_t port;             /* 1 to 65535; unused for a unix socket */
    bool is_unix;
    bool is_tls; /* speaks TLS; how, and what is verified, is the loop's */
};

/* The loop's own; the implementation defines them. */
struct store_wire;
struct store_timer;

/* None of these runs before `open` has returned. */
struct store_wire_user {
    void (*on_open)(void *arg);
    /* The bytes live until the callback returns. */
    void (*on_bytes)(void *arg, const char *bytes, size_t len);
    /* The connection could not be made, or it ended or broke; nothing follows
     * and the wire is gone: do not close it. `why` is short text for a log,
     * which lives until the callback returns. */
    void (*on_end)(void *arg, const char *why);
};

struct store_loop;

struct store_loop_ops {
    int64_t (*now_ms)(struct store_loop *loop); /* monotonic */
    uint32_t (*random)(struct store_loop *loop);

    /* Begins to connect, and to shake hands where the address says TLS;
     * on_open follows that. Names are resolved without blocking. There is no
     * deadline: the caller closes what takes too long. NULL when memory is
     * short. `to` need live only until this returns, `user` as long as the
     * wire. */
    struct store_wire *(*open)(struct store_loop *loop,
                               const struct store_address *to,
                               const struct store_wire_user *user, void *arg);
    /* Appends; what one turn of the loop wrote goes out together. Allowed from
     * on_open on. */
    void (*write)(struct store_wire *wire, const char *bytes, size_t len);
    /* Bytes that the kernel has not taken yet. */
    size_t (*unsent)(const struct store_wire *wire);
    /* At once; no callback runs afterwards. */
    void (*close)(struct store_wire *wire);

    /* A timer that is stopped; it fires once for each start. NULL when memory
     * is short. */
    struct store_timer *(*timer_new)(struct store_loop *loop,
                                     void (*fire)(void *arg), void *arg);
    void (*timer_start)(struct store_timer *timer, int64_t after_ms);
    void (*timer_stop)(struct store_timer *timer);
    void (*timer_free)(struct store_timer *timer); /* NULL is harmless */
};

/* The head of the implementation's own struct. */
struct store_loop {
    const struct store_loop_ops *ops;
};

#endif
