/* SPDX-License-Identifier: MIT */
/*
 * Fake nodes of Redis for one test program, known by their ports: nodes of a
 * cluster unless their INFO says something else. One answers a command with its
 * own port, or as the test says. Time passes when the test lets it.
 */
#ifndef SIDGATE_TESTS_UNIT_FAKE_NODES_H
#define SIDGATE_TESTS_UNIT_FAKE_NODES_H

#include "store/slots.h"
#include "tests/unit/fake_net.h"

#include <criterion/criterion.h>
#include <stdarg.h>

#define SHA "$40\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"

enum {
    NODES = 9, /* ports 7001 and on */
    FIRST_PORT = 7001,
    SCRIPT_MAX = 32,
    MAP_MAX = 1 << 20,
    LOG_MAX = 16384,
};

struct fake_node {
    bool is_dead;       /* refuses connections */
    bool is_away;       /* lets them wait */
    bool is_silent;     /* takes no commands */
    unsigned starts;    /* part of its run_id */
    unsigned wires;     /* that were opened */
    char *map;          /* its own CLUSTER SLOTS; NULL: that of all */
    const char *info;   /* in place of that of a cluster's node */
    const char *answer; /* in place of its port */
    const char *script[SCRIPT_MAX]; /* replies to commands, in their order */
    unsigned scripted;
    unsigned said;
    char log[LOG_MAX]; /* "GET 5000; ASKING; " */
};

static struct fake_net net;
static struct fake_node nodes[NODES];
static char common_map[MAP_MAX];

static inline struct fake_node *node(unsigned port)
{
    cr_assert(port >= FIRST_PORT && port < FIRST_PORT + NODES, "%u", port);
    return &nodes[port - FIRST_PORT];
}

/* "0-99:7001 100-199:7002=id": the ranges and who has them; without an id that
 * is the port. Written as CLUSTER SLOTS gives it, with a replica. */
static inline void write_map(const char *text, char *out, size_t size)
{
    char body[4096] = "";
    size_t len = 0;
    unsigned count = 0;
    unsigned first, last, port;
    int used;

    while (sscanf(text, " %u-%u:%u%n", &first, &last, &port, &used) == 3) {
        char id[32];
        text += used;
        snprintf(id, sizeof(id), "%u", port);
        if (sscanf(text, "=%31s%n", id, &used) == 1)
            text += used;
        len += (size_t)snprintf(
            body + len, sizeof(body) - len,
            "*4\r\n:%u\r\n:%u\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$%zu\r\n%s\r\n"
            "*4\r\n$9\r\n127.0.0.1\r\n:7999\r\n$1\r\nr\r\n*0\r\n",
            first, last, port, strlen(id), id);
        cr_assert_lt(len, sizeof(body));
        count++;
    }
    cr_assert_str_eq(text, "");
    snprintf(out, size, "*%u\r\n%s", count, body);
}

static inline void set_map(const char *text)
{
    write_map(text, common_map, sizeof(common_map));
}

/* That of one node; its bytes as they are. NULL: that of all. */
static inline void set_raw_map(unsigned port, const char *bytes)
{
    free(node(port)->map);
    node(port)->map = bytes != NULL ? strdup(bytes) : NULL;
}

static inline void set_own_map(unsigned port, const char *text)
{
    static char map[8192];

    write_map(text, map, sizeof(map));
    set_raw_map(port, map);
}

/* The reply to the next command that no other is for. */
static inline void say(unsigned port, const char *reply)
{
    struct fake_node *one = node(port);

    cr_assert_lt(one->scripted, SCRIPT_MAX);
    one->script[one->scripted++] = reply;
}

static inline void write_info(const struct fake_node *one, unsigned port,
                              char *out, size_t size)
{
    char body[128];
    const int len = snprintf(
        body, sizeof(body), "run_id:%u.%u\r\n%s\r\n", port, one->starts,
        one->info != NULL ? one->info : "cluster_enabled:1");

    snprintf(out, size, "$%d\r\n%s\r\n", len, body);
}

static inline void write_subscribed(const char *channel, char *out, size_t size)
{
    snprintf(out, size, "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:1\r\n",
             strlen(channel), channel);
}

/* The reply to a command; NULL: there is none yet. */
static inline const char *reply_to(unsigned port,
                                   const struct fake_command *command)
{
    static char text[512];
    struct fake_node *one = node(port);
    const char *name = command->argv[0];

    snprintf(text, sizeof(text), "+%u\r\n", port);
    if (strcmp(name, "SCRIPT") == 0)
        return SHA;
    if (strcmp(name, "CLUSTER") == 0)
        return one->map != NULL ? one->map : common_map;
    if (strcmp(name, "INFO") == 0)
        write_info(one, port, text, sizeof(text));
    else if (strcmp(name, "SUBSCRIBE") == 0)
        write_subscribed(command->argv[1], text, sizeof(text));
    else if (strcmp(name, "ASKING") == 0 || strcmp(name, "AUTH") == 0 ||
             strcmp(name, "CLIENT") == 0 || strcmp(name, "PING") == 0)
        return "+OK\r\n";
    else if (one->said < one->scripted)
        return one->script[one->said++];
    else if (one->answer != NULL)
        return one->answer;
    return text;
}

/* Keys are told by their slots. */
static inline void note(struct fake_node *one,
                        const struct fake_command *command)
{
    const char *name = command->argv[0];
    const int at = strncmp(name, "EVAL", 4) == 0 ? 3 : 1;
    const size_t len = strlen(one->log);

    if (strcmp(name, "SCRIPT") == 0 || strcmp(name, "INFO") == 0 ||
        strcmp(name, "CLUSTER") == 0 || strcmp(name, "CLIENT") == 0)
        return;
    if (command->argc > at) {
        const char *key = command->argv[at];
        snprintf(one->log + len, LOG_MAX - len, "%s %u; ", name,
                 store_slot_of(key, strlen(key)));
    } else {
        snprintf(one->log + len, LOG_MAX - len, "%s; ", name);
    }
}

/* One step of one wire; false: there is nothing to do on it. */
static inline bool step_wire(struct net_wire *wire)
{
    struct fake_command command;
    struct fake_node *one = node(wire->to.port);

    if (!wire->wire.is_open) {
        if (one->is_away && !one->is_dead)
            return false;
        if (one->is_dead) {
            fake_net_end(wire, "connection refused");
        } else {
            one->wires++;
            fake_net_connect(wire);
        }
        return true;
    }
    const size_t len = one->is_silent ? 0 : fake_net_command(wire, &command);
    if (len == 0)
        return false;
    fake_net_take(wire, len);
    note(one, &command);
    if (strcmp(command.argv[0], "SUBSCRIBE") == 0)
        wire->is_listener = true;
    const char *reply = reply_to(wire->to.port, &command);
    fake_net_bytes(wire, reply, strlen(reply));
    return true;
}

static inline bool step_any(void)
{
    for (struct net_wire *wire = net.wires; wire != NULL; wire = wire->next) {
        if (step_wire(wire))
            return true; /* it may be gone */
    }
    return false;
}

/* Until nothing is left to do without time passing. */
static inline void pump(void)
{
    unsigned steps = 0;

    while (step_any())
        cr_assert_lt(steps++, 100000, "the nodes come to rest");
}

static inline void pass(int64_t ms)
{
    pump();
    for (int64_t i = 0; i < ms; i++) {
        fake_loop_wait(&net.loop, 1);
        pump();
    }
}

/* It dies: all its connections end. */
static inline void kill_node(unsigned port)
{
    node(port)->is_dead = true;
    for (struct net_wire *wire = net.wires; wire != NULL;) {
        if (wire->to.port == port) {
            fake_net_end(wire, "connection reset");
            wire = net.wires;
        } else {
            wire = wire->next;
        }
    }
}

static inline void start_node(unsigned port)
{
    node(port)->is_dead = false;
    node(port)->starts++;
}

/* Connections to it now. */
static inline unsigned count_wires(unsigned port)
{
    unsigned count = 0;

    for (struct net_wire *wire = net.wires; wire != NULL; wire = wire->next)
        count += wire->to.port == port;
    return count;
}

/* What it was asked since the last call of this, but for what a connection
 * begins with, and CLUSTER SLOTS. */
#define expect_log(port, text)                                                 \
    do {                                                                       \
        cr_expect_str_eq(node(port)->log, text, "%u: %s", port,                \
                         node(port)->log);                                     \
        node(port)->log[0] = '\0';                                             \
    } while (0)

/* To all that have subscribed there. */
static inline void publish(unsigned port, const char *channel,
                           const char *message)
{
    char bytes[256];
    const int len =
        snprintf(bytes, sizeof(bytes),
                 "*3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n"
                 "$%zu\r\n%s\r\n",
                 strlen(channel), channel, strlen(message), message);

    for (unsigned number = 1; number <= net.opens; number++) {
        struct net_wire *wire = fake_net_find(&net, number);
        if (wire != NULL && wire->to.port == port && wire->is_listener)
            fake_net_bytes(wire, bytes, (size_t)len);
    }
}

/* "-MOVED 7 127.0.0.1:7002": a reply of one line; it lives on. */
__attribute__((format(printf, 1, 2))) static inline const char *
line(const char *form, ...)
{
    static char lines[64][400];
    static unsigned count;
    char *text = lines[count++ % 64];
    va_list args;

    va_start(args, form);
    const int len = vsnprintf(text, sizeof(lines[0]) - 3, form, args);
    va_end(args);
    cr_assert_lt((size_t)len, sizeof(lines[0]) - 3);
    memcpy(text + len, "\r\n", 3);
    return text;
}

#endif
