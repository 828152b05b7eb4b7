/* SPDX-License-Identifier: MIT */
/*
 * The fake loop with many wires, each to an address: for store clients that
 * talk to several nodes. What a client writes waits on its wire until the test
 * takes it.
 */
#ifndef SIDGATE_TESTS_UNIT_FAKE_NET_H
#define SIDGATE_TESTS_UNIT_FAKE_NET_H

#include "tests/unit/fake_loop.h"

struct net_wire {
    struct store_wire wire; /* first: what the client holds */
    struct net_wire *next;
    struct store_address to;
    unsigned number; /* never used again */
    char *sent;
    size_t sent_len;
    size_t taken;     /* of what was sent */
    bool is_listener; /* the test's: it has subscribed */
};

struct fake_net {
    struct fake_loop loop; /* first: what its functions take */
    struct net_wire *wires;
    unsigned opens;
};

static inline struct fake_net *fake_net_of(struct fake_loop *loop)
{
    return (struct fake_net *)(void *)loop;
}

static inline struct net_wire *net_wire_of(struct store_wire *wire)
{
    return (struct net_wire *)(void *)wire;
}

static inline struct store_wire *
fake_net_open(struct store_loop *loop, const struct store_address *to,
              const struct store_wire_user *user, void *arg)
{
    struct fake_net *net = fake_net_of(fake_loop_of(loop));

    net->opens++;
    if (net->loop.is_short)
        return NULL;
    struct net_wire *wire = calloc(1, sizeof(*wire));
    fake_require(wire != NULL, "memory");
    wire->wire = (struct store_wire){&net->loop, user, arg, false};
    wire->to = *to;
    wire->number = net->opens;
    wire->next = net->wires;
    net->wires = wire;
    return &wire->wire;
}

static inline void fake_net_write(struct store_wire *base, const char *bytes,
                                  size_t len)
{
    struct net_wire *wire = net_wire_of(base);

    fake_require(base->is_open, "write on an open wire");
    wire->sent = realloc(wire->sent, wire->sent_len + len + 1);
    fake_require(wire->sent != NULL, "memory");
    memcpy(wire->sent + wire->sent_len, bytes, len);
    wire->sent_len += len;
    wire->sent[wire->sent_len] = '\0';
}

/* Off the list; the memory stays. */
static inline void fake_net_unlink(struct net_wire *wire)
{
    struct net_wire **at = &fake_net_of(wire->wire.loop)->wires;

    while (*at != NULL && *at != wire)
        at = &(*at)->next;
    fake_require(*at == wire, "close once");
    *at = wire->next;
}

static inline void fake_net_close(struct store_wire *base)
{
    struct net_wire *wire = net_wire_of(base);

    fake_net_unlink(wire);
    free(wire->sent);
    free(wire);
}

static inline void fake_net_init(struct fake_net *net)
{
    static struct store_loop_ops ops;

    *net = (struct fake_net){0};
    fake_loop_init(&net->loop);
    ops = *net->loop.base.ops;
    ops.open = fake_net_open;
    ops.write = fake_net_write;
    ops.close = fake_net_close;
    net->loop.base.ops = &ops;
}

static inline void fake_net_fini(struct fake_net *net)
{
    fake_require(net->wires == NULL, "the wires are closed in the end");
    fake_loop_fini(&net->loop);
}

/* ---- the other ends; each may close any wire ---- */

static inline void fake_net_connect(struct net_wire *wire)
{
    wire->wire.is_open = true;
    wire->wire.user->on_open(wire->wire.arg);
}

static inline void fake_net_bytes(struct net_wire *wire, const char *bytes,
                                  size_t len)
{
    if (len == 0)
        return;
    /* Memory of their own, so that a sanitizer sees a read behind them. */
    char *piece = malloc(len);
    fake_require(piece != NULL, "memory");
    memcpy(piece, bytes, len);
    wire->wire.user->on_bytes(wire->wire.arg, piece, len);
    free(piece);
}

static inline void fake_net_end(struct net_wire *wire, const char *why)
{
    fake_net_unlink(wire);
    wire->wire.user->on_end(wire->wire.arg, why);
    free(wire->sent);
    free(wire);
}

/* So much of what was sent is done with. */
static inline void fake_net_take(struct net_wire *wire, size_t len)
{
    wire->taken += len;
    if (wire->taken == wire->sent_len)
        wire->taken = wire->sent_len = 0;
}

/* NULL: it was closed. */
static inline struct net_wire *fake_net_find(const struct fake_net *net,
                                             unsigned number)
{
    struct net_wire *wire = net->wires;

    while (wire != NULL && wire->number != number)
        wire = wire->next;
    return wire;
}

/* ---- commands ---- */

enum { FAKE_ARGS_MAX = 16, FAKE_ARG_MAX = 128 };

struct fake_command {
    int argc; /* of those kept */
    char argv[FAKE_ARGS_MAX][FAKE_ARG_MAX];
};

static inline const char *fake_number(const char *at, char kind, long *number)
{
    char *end;

    fake_require(*at == kind, "a command as it should be");
    *number = strtol(at + 1, &end, 10);
    fake_require(memcmp(end, "\r\n", 2) == 0, "a line's end");
    return end + 2;
}

/* The first command on the wire, cut where it is too long; its bytes. 0: there
 * is none. Commands are always whole, as each is one write. */
static inline size_t fake_net_command(const struct net_wire *wire,
                                      struct fake_command *command)
{
    long argc;
    long len;

    command->argc = 0;
    if (wire->sent_len == wire->taken)
        return 0;
    const char *first = wire->sent + wire->taken;
    const char *at = fake_number(first, '*', &argc);
    for (long i = 0; i < argc; i++) {
        at = fake_number(at, '$', &len);
        if (i < FAKE_ARGS_MAX) {
            snprintf(command->argv[i], FAKE_ARG_MAX, "%.*s", (int)len, at);
            command->argc = (int)i + 1;
        }
        at += len + 2;
    }
    fake_require(at <= wire->sent + wire->sent_len, "a whole command");
    return (size_t)(at - first);
}

#endif
