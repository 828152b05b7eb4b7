/* SPDX-License-Identifier: MIT */
/*
 * How the two processes of an upgrade talk: messages with a type, bytes and
 * descriptors, over a unix socket that keeps messages apart. Both ends are
 * sidgate, perhaps of two versions: what a message has is read in order, and
 * what is left of it is not looked at.
 */
#ifndef SIDGATE_GATEWAY_HANDOVER_H
#define SIDGATE_GATEWAY_HANDOVER_H

#include "eio/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GW_HANDOVER_VERSION = 1,
    GW_MESSAGE_MAX = 200000, /* bytes */
    GW_MESSAGE_FDS = 2,
};

/* In the order in which they are sent. */
enum gw_message_type {
    GW_MESSAGE_HELLO = 1, /* new: the version it speaks, its pid */
    GW_MESSAGE_IDENTITY,  /* old: the replica's id, its pid */
    GW_MESSAGE_LISTENER,  /* old: an address, a socket */
    GW_MESSAGE_ADMIN,     /* old: the operator listener's socket */
    GW_MESSAGE_OPEN,      /* old: that was all: open the rest */
    GW_MESSAGE_OPENED,    /* new: everything is open */
    GW_MESSAGE_BACKEND,   /* old: from here on it stands still */
    GW_MESSAGE_SESSION,
    GW_MESSAGE_TUNNEL,
    GW_MESSAGE_CONNECTION,
    GW_MESSAGE_ALL,       /* old */
    GW_MESSAGE_PREPARED,  /* new: it has everything, and has touched nothing */
    GW_MESSAGE_COMMIT,    /* old: all of it is yours */
    GW_MESSAGE_COMMITTED, /* new: it is */
    /* Then, while the old process finishes: TUNNEL, CONNECTION, and */
    GW_MESSAGE_BIND,   /* old: a session that began there */
    GW_MESSAGE_BOUND,  /* new: is known here */
    GW_MESSAGE_UNBIND, /* old: one has ended */
    GW_MESSAGE_RENEW,  /* old: one has shown life */
    GW_MESSAGE_FAILED, /* new, instead of OPENED: why */
    GW_MESSAGE_OLDER,  /* old, before ALL: one that it has taken over from still
                          finishes: its pid, its backends, the socket to it */
};

/* ---- writing ---- */

/* Grows; zeroed it is empty. */
struct gw_pack {
    char *bytes;
    size_t len;
    size_t cap;
    bool has_failed; /* memory was short */
};

void gw_pack_free(struct gw_pack *pack);
void gw_pack_number(struct gw_pack *pack, uint64_t value); /* 8 bytes */
void gw_pack_raw(struct gw_pack *pack, const void *bytes, size_t len);
/* With its length before it. */
void gw_pack_span(struct gw_pack *pack, const void *bytes, size_t len);
void gw_pack_text(struct gw_pack *pack, const char *text);

/* ---- reading ---- */

struct gw_unpack {
    const char *at;
    const char *end;
    bool has_failed; /* it was too short, or a text too long: what is read then
                        is 0 and "" */
};

uint64_t gw_unpack_number(struct gw_unpack *unpack);
void gw_unpack_raw(struct gw_unpack *unpack, void *out, size_t len);
/* Points into the message. */
struct eio_span gw_unpack_span(struct gw_unpack *unpack);
/* With NUL; fails where it does not fit. */
void gw_unpack_text(struct gw_unpack *unpack, char *out, size_t cap);

/* ---- sending ---- */

struct gw_message {
    uint8_t type;
    const char *bytes;
    size_t len;
    int fds[GW_MESSAGE_FDS];
    size_t fd_count;
};

enum gw_sent {
    GW_SENT,
    GW_SENT_NOT_NOW, /* the other end does not take it yet */
    GW_SENT_NEVER,   /* it is gone, or the message is too long */
};

/* Does not block. The descriptors stay the caller's. */
enum gw_sent gw_message_send(int fd, const struct gw_message *message);

/* Waits until `until_ms` (monotonic) for it to be taken. */
bool gw_message_send_by(int fd, const struct gw_message *message,
                        int64_t until_ms);

/* A message without descriptors. */
bool gw_message_say(int fd, enum gw_message_type type, const char *bytes,
                    size_t len, int64_t until_ms);

enum gw_received {
    GW_RECEIVED,
    GW_RECEIVED_NOTHING, /* nothing there now */
    GW_RECEIVED_END,     /* the other end is gone, or sent what is none */
};

/* Does not block. `buffer` has GW_MESSAGE_MAX + 1 bytes, and message->bytes
 * points there. The descriptors are the caller's, close-on-exec. */
enum gw_received gw_message_receive(int fd, struct gw_message *message,
                                    char *buffer);

/* Waits until `until_ms` for one; false when none comes. */
bool gw_message_await(int fd, struct gw_message *message, char *buffer,
                      int64_t until_ms);

void gw_message_close_fds(struct gw_message *message);

/* ---- many messages, to be sent later ---- */

struct gw_bundle {
    struct gw_pack pack; /* for each its type, length, descriptors, bytes */
    size_t count;
};

/* message->bytes is not looked at: the body is what `body` holds, which is
 * emptied. */
void gw_bundle_add(struct gw_bundle *bundle, const struct gw_message *message,
                   struct gw_pack *body);
/* Reads the next one; *at begins with 0. False at the end. */
bool gw_bundle_next(const struct gw_bundle *bundle, size_t *at,
                    struct gw_message *message);
/* Puts copies in the place of the descriptors, which stay the caller's. False,
 * with no copy left, when there are none to be had. */
bool gw_bundle_copy_fds(struct gw_bundle *bundle);
/* Closes the descriptors of those from `at` on. */
void gw_bundle_close_fds(const struct gw_bundle *bundle, size_t at);
void gw_bundle_free(struct gw_bundle *bundle);

#endif
