/* SPDX-License-Identifier: MIT */
/* An agent is one Socket.IO client that walks through a list of steps, one
 * connection at a time; an engine drives many of them on one epoll. */
#ifndef SIDGATE_BENCH_AGENT_H
#define SIDGATE_BENCH_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/secure.h"
#include "bench/wire.h"

enum bench_step {
    STEP_END,
    STEP_CONNECT,
    STEP_HANDSHAKE,
    STEP_POST, /* the Socket.IO CONNECT packet, "40" */
    STEP_POLL,
    STEP_TAKE_SID, /* one that bench_sids_keep() collected */
    STEP_UPGRADE,
    STEP_PROBE,  /* "2probe", and wait for "3probe" */
    STEP_SETTLE, /* "5": the session now lives on the websocket */
    STEP_ECHO,   /* a 64-byte message there and back */
    STEP_BURST,  /* ask for BENCH_BULK_BURST messages of 64 KiB, read them */
    STEP_LISTEN, /* wait for one message */
    STEP_SHOUT,  /* ask the backend for one message to every tunnel */
    STEP_CLOSE,
};

enum bench_expect {
    EXPECT_NOTHING,
    EXPECT_RESPONSE,
    EXPECT_SWITCH,
    EXPECT_FRAMES,
};

struct bench_agent {
    int fd;   /* -1 while not connected */
    SSL *ssl; /* NULL: plain */
    enum bench_expect expect;
    unsigned frames_left;
    uint64_t skip;               /* payload bytes still to pass over */
    const enum bench_step *step; /* the one under way, or to do next */
    int64_t due_ns;              /* free for the driver: when it should begin */
    size_t kept_len;
    char sid[BENCH_SID_LEN + 1];
    char kept[1024]; /* the beginning of something not whole yet */
};

struct bench_engine;

/* Called when an agent reached STEP_END. The driver may set agent->step and
 * return true to let it go on at once. */
typedef bool (*bench_done_fn)(struct bench_engine *engine,
                              struct bench_agent *agent);

struct bench_engine {
    int epoll_fd;
    uint16_t port;
    bool is_tls;
    bool has_failed;
    bench_done_fn done;
    int64_t deadline_ns;
    uint64_t completed; /* lists walked to their end */
    uint64_t request_count;
    /* Sids set aside by a handshake run for a run of upgrades. */
    char (*sids)[BENCH_SID_LEN + 1];
    size_t sids_len;
    size_t sids_cap;
};

bool bench_engine_init(struct bench_engine *engine, uint16_t port,
                       int64_t deadline_ns) __attribute__((warn_unused_result));
void bench_engine_fini(struct bench_engine *engine);

/* Walk the agent from agent->step until it has to wait, or ends. */
void bench_agent_run(struct bench_engine *engine, struct bench_agent *agent);

/* Close the agent's connection, if any. */
void bench_agent_close(struct bench_agent *agent);

/* Handle what is ready, waiting at most until wake_ns. False after a failure
 * (already told on stderr) or at the deadline. */
bool bench_engine_turn(struct bench_engine *engine, int64_t wake_ns)
    __attribute__((warn_unused_result));

/* Set the agent's sid aside for a later STEP_TAKE_SID. */
void bench_sids_keep(struct bench_engine *engine,
                     const struct bench_agent *agent);

#endif
