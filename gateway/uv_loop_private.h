/* SPDX-License-Identifier: MIT */
/*
 * What the parts of a libuv loop as a store client's loop share.
 *
 * What is written in one turn is kept until the loop is about to wait, and then
 * goes out at once. A wire's memory goes with its timer's handle, so that it is
 * there for as long as any of its functions is on the stack.
 */
#ifndef SIDGATE_GATEWAY_UV_LOOP_PRIVATE_H
#define SIDGATE_GATEWAY_UV_LOOP_PRIVATE_H

#include "gateway/buf.h"
#include "gateway/uv_loop.h"
#include "gateway/uv_resolve.h"
#include "gateway/uv_tls.h"

enum { GW_UV_BUFFER_BYTES = 16384 };

struct gw_uv_loop {
    struct store_loop base;
    uv_loop_t *uv;
    struct gw_tls *tls;   /* NULL: it speaks none */
    uv_prepare_t flusher; /* active while a wire has something to write */
    struct store_wire *unflushed;
    uint64_t random_state;
    char buffer[GW_UV_BUFFER_BYTES];
};

/* A descriptor that is polled. libuv has the handle a little longer than the
 * wire has its descriptor. */
struct gw_uv_socket {
    uv_poll_t poll;
    struct store_wire *wire;
    int fd;
};

struct store_wire {
    uv_timer_t timer; /* until the next address is tried; or it tells, later,
                         what cannot be told at once */
    struct gw_uv_loop *loop;
    struct gw_uv_socket *socket; /* NULL: none yet, or no more */
    struct gw_uv_resolve *resolving;
    struct gw_uv_tls *tls;              /* NULL: plain */
    const struct store_wire_user *user; /* NULL: closed */
    void *arg;
    struct gw_resolved targets;
    unsigned next_target;
    bool is_connected;
    bool is_open;    /* connected, and hands were shaken */
    bool is_mute;    /* plain TCP, and no byte came yet */
    bool is_waiting; /* for the kernel to take more */
    bool is_listed;  /* among the unflushed */
    bool is_broken;  /* sending failed: what came before may still be read */
    struct store_wire *next;
    struct gw_buf *held; /* written, to be enciphered; only with TLS */
    struct gw_buf *out;  /* for the kernel */
    char why[160];
};

/* ---- uv_loop.c ---- */

void gw_uv_free_data(uv_handle_t *handle);

/* ---- uv_wire.c: a wire's begin and end ---- */

struct store_wire *gw_uv_wire_open(struct store_loop *base,
                                   const struct store_address *to,
                                   const struct store_wire_user *user,
                                   void *arg);
void gw_uv_wire_close(struct store_wire *wire);
void gw_uv_wire_end(struct store_wire *wire, const char *why);
/* As the last, for wire->why, when the caller has returned. */
void gw_uv_wire_fail(struct store_wire *wire);
/* Goes on with the handshake. */
void gw_uv_wire_shake(struct store_wire *wire);
/* Polls for what the wire waits for now. */
bool gw_uv_wire_watch(struct store_wire *wire);

/* ---- uv_bytes.c: what goes over it ---- */

/* What libuv calls for a wire that is connected. */
void gw_uv_wire_event(struct store_wire *wire, int status, int events);
void gw_uv_wire_write(struct store_wire *wire, const char *bytes, size_t len);
size_t gw_uv_wire_unsent(const struct store_wire *wire);
/* Sends what the kernel takes. */
void gw_uv_wire_flush(struct store_wire *wire);
void gw_uv_wire_unlist(struct store_wire *wire);
/* The last words of TLS, as far as the kernel takes them at once. */
void gw_uv_wire_bid_farewell(struct store_wire *wire);

#endif
