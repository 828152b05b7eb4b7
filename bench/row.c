/* SPDX-License-Identifier: MIT */
/* The benchmark's rows: which steps each is made of, how often and when they
 * are begun, and what is read before and after.
 *
 * A run has an unmeasured part (connections, sessions, warm-up) and a measured
 * one, between two readings of the proxy's CPU time. Before each reading the
 * proxy is let come to rest. */
#include "bench/row.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/agent.h"
#include "bench/proc.h"

#define IN_FLIGHT 32u /* agents that walk their first steps at once */
#define SETTLE_MS 300
#define LIMIT_S   60

#define TUNNEL_STEPS                                                           \
    STEP_CONNECT, STEP_HANDSHAKE, STEP_CLOSE, STEP_CONNECT, STEP_UPGRADE,      \
        STEP_PROBE, STEP_SETTLE, STEP_END

static const enum bench_step no_steps[] = {STEP_END};
static const enum bench_step kept_steps[] = {STEP_CONNECT, STEP_HANDSHAKE,
                                             STEP_END};
static const enum bench_step tunnel_steps[] = {TUNNEL_STEPS};
static const enum bench_step handshake_loop[] = {STEP_HANDSHAKE, STEP_END};
static const enum bench_step poll_loop[] = {STEP_POLL, STEP_END};
static const enum bench_step echo_loop[] = {STEP_ECHO, STEP_END};
static const enum bench_step burst_loop[] = {STEP_BURST, STEP_END};
static const enum bench_step listen_loop[] = {STEP_LISTEN, STEP_END};
static const enum bench_step shout_loop[] = {STEP_SHOUT, STEP_END};
static const enum bench_step close_loop[] = {STEP_CLOSE, STEP_END};
static const enum bench_step upgrade_loop[] = {
    STEP_TAKE_SID, STEP_CONNECT, STEP_UPGRADE, STEP_PROBE,
    STEP_SETTLE,   STEP_CLOSE,   STEP_END};
/* As a browser: polling on one connection, the websocket on another. */
static const enum bench_step setup_loop[] = {
    STEP_CONNECT, STEP_HANDSHAKE, STEP_POST,    STEP_POLL,
    STEP_CLOSE,   STEP_CONNECT,   STEP_UPGRADE, STEP_PROBE,
    STEP_SETTLE,  STEP_CLOSE,     STEP_END};

enum kind {
    KIND_CLOSED,    /* every agent begins anew as soon as it has finished */
    KIND_OPEN,      /* beginnings follow a clock */
    KIND_BROADCAST, /* one shouts, all listen */
    KIND_IDLE,      /* tunnels are opened; their memory is the result */
};

struct bench_row {
    const char *name;
    enum kind kind;
    const enum bench_step *first;
    const enum bench_step *loop;
    unsigned ops_per_loop;
};

static const struct bench_row rows[] = {
    {"handshake", KIND_CLOSED, kept_steps, handshake_loop, 1},
    {"poll", KIND_CLOSED, kept_steps, poll_loop, 1},
    {"message", KIND_CLOSED, tunnel_steps, echo_loop, 1},
    {"large", KIND_CLOSED, tunnel_steps, burst_loop, BENCH_BULK_BURST},
    {"upgrade", KIND_CLOSED, no_steps, upgrade_loop, 1},
    {"setup", KIND_CLOSED, no_steps, setup_loop, 1},
    {"broadcast", KIND_BROADCAST, tunnel_steps, listen_loop, 1},
    {"idle", KIND_IDLE, tunnel_steps, NULL, 1},
    {"handshake-latency", KIND_OPEN, kept_steps, handshake_loop, 1},
    {"poll-latency", KIND_OPEN, kept_steps, poll_loop, 1},
    {"message-latency", KIND_OPEN, tunnel_steps, echo_loop, 1},
};

const struct bench_row *bench_row_find(const char *name)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

struct run {
    struct bench_engine engine; /* first: the callbacks get a pointer to it */
    const struct bench_options *options;
    struct bench_agent *agents;
    unsigned total; /* agents, idle ones included */
    const enum bench_step *loop;
    uint64_t issued; /* loops begun */
    uint64_t target; /* loops to do */
    int64_t *latencies;
    unsigned *free_list; /* agents without anything to do, open loop */
    unsigned free_len;
};

struct reading {
    int64_t cost; /* ns of CPU, or bytes */
    int64_t wall_ns;
    int64_t waited_ns; /* the proxy was ready, but not running */
};

/* ---- drivers: what an agent does after it has finished a list ---- */

static bool done_stop(struct bench_engine *engine, struct bench_agent *agent)
{
    (void)engine;
    (void)agent;
    return false;
}

static struct run *run_of(struct bench_engine *engine)
{
    return (struct run *)(void *)engine;
}

static bool done_again(struct bench_engine *engine, struct bench_agent *agent)
{
    struct run *run = run_of(engine);

    if (run->issued == run->target)
        return false;
    run->issued++;
    agent->step = run->loop;
    return true;
}

static bool done_keep_sid(struct bench_engine *engine,
                          struct bench_agent *agent)
{
    bench_sids_keep(engine, agent);
    return done_again(engine, agent);
}

static bool done_timed(struct bench_engine *engine, struct bench_agent *agent)
{
    struct run *run = run_of(engine);

    run->latencies[engine->completed - 1] = bench_now_ns() - agent->due_ns;
    run->free_list[run->free_len++] = (unsigned)(agent - run->agents);
    return false;
}

static bool turn_until(struct run *run, uint64_t completed)
{
    while (run->engine.completed < completed) {
        if (!bench_engine_turn(&run->engine, INT64_MAX))
            return false;
    }
    return !run->engine.has_failed;
}

/* Every agent of [from, to) walks `steps` once, a few at a time. */
static bool walk_once(struct run *run, const enum bench_step *steps,
                      unsigned from, unsigned to)
{
    run->engine.completed = 0;
    run->engine.done = done_stop;
    for (unsigned i = from; i < to; i++) {
        run->agents[i].step = steps;
        bench_agent_run(&run->engine, &run->agents[i]);
        if (i - from >= IN_FLIGHT && !turn_until(run, i - from - IN_FLIGHT))
            return false;
    }
    return turn_until(run, to - from);
}

static bool loop_closed(struct run *run, const enum bench_step *loop,
                        uint64_t target, bench_done_fn done)
{
    run->loop = loop;
    run->target = target;
    run->issued = 0;
    run->engine.completed = 0;
    run->engine.done = done;
    for (unsigned i = 0; i < run->options->agents; i++) {
        if (run->issued == target)
            break;
        run->issued++;
        run->agents[i].step = loop;
        bench_agent_run(&run->engine, &run->agents[i]);
    }
    return turn_until(run, target);
}

static bool loop_broadcast(struct run *run, uint64_t target)
{
    unsigned listeners = run->options->agents;

    for (uint64_t i = 0; i < target; i++) {
        run->engine.completed = 0;
        run->engine.done = done_stop;
        for (unsigned j = 1; j < listeners; j++) {
            run->agents[j].step = listen_loop;
            bench_agent_run(&run->engine, &run->agents[j]);
        }
        run->agents[0].step = shout_loop;
        bench_agent_run(&run->engine, &run->agents[0]);
        if (!turn_until(run, listeners))
            return false;
    }
    return true;
}

/* Begin at fixed times. When all agents are busy the beginning waits, and the
 * wait counts: the time that matters to a user runs from when it was due. */
static bool loop_open(struct run *run, uint64_t target)
{
    int64_t gap_ns = 1000000000 / run->options->rate;
    int64_t due_ns = bench_now_ns() + gap_ns;

    run->issued = 0;
    run->engine.completed = 0;
    run->engine.done = done_timed;
    run->free_len = 0;
    for (unsigned i = 0; i < run->options->agents; i++)
        run->free_list[run->free_len++] = i;
    while (run->engine.completed < target) {
        bool is_over = run->issued == target;

        if (!bench_engine_turn(&run->engine, is_over ? INT64_MAX : due_ns))
            return false;
        while (!is_over && run->free_len > 0 && bench_now_ns() >= due_ns) {
            struct bench_agent *agent =
                &run->agents[run->free_list[--run->free_len]];

            agent->due_ns = due_ns;
            agent->step = run->options->row->loop;
            due_ns += gap_ns;
            is_over = ++run->issued == target;
            bench_agent_run(&run->engine, agent);
        }
    }
    return true;
}

/* ---- one run ---- */

static bool loop_kind(struct run *run, uint64_t target)
{
    switch (run->options->row->kind) {
    case KIND_CLOSED:
        return loop_closed(run, run->options->row->loop, target, done_again);
    case KIND_OPEN:
        return loop_open(run, target);
    case KIND_BROADCAST:
        return loop_broadcast(run, target);
    case KIND_IDLE:
        return true;
    }
    return false;
}

static uint64_t warm_up_of(const struct run *run)
{
    uint64_t part = run->target / 20;
    uint64_t least = run->options->row->kind == KIND_BROADCAST
                         ? 2
                         : (uint64_t)run->options->agents * 2;

    return part > least ? part : least;
}

/* The sessions that upgrades need, made on kept connections. */
static bool collect_sids(struct run *run, uint64_t count)
{
    unsigned agents = run->options->agents;

    if (run->options->row->loop[0] != STEP_TAKE_SID)
        return true;
    return walk_once(run, kept_steps, 0, agents) &&
           loop_closed(run, handshake_loop, count, done_keep_sid) &&
           walk_once(run, close_loop, 0, agents);
}

static bool measure_loops(struct run *run, struct reading *out)
{
    const struct bench_options *options = run->options;
    uint64_t loops = options->count / options->row->ops_per_loop;
    uint64_t warm_up;
    struct bench_cpu before;
    struct bench_cpu after;
    int64_t begin_ns;

    run->target = loops;
    warm_up = warm_up_of(run);
    if (!collect_sids(run, loops + warm_up + options->agents) ||
        !walk_once(run, options->row->first, 0, run->total) ||
        !loop_kind(run, warm_up))
        return false;
    bench_settle(options->pid, SETTLE_MS);
    before = bench_cpu(options->pid);
    begin_ns = bench_now_ns();
    if (!loop_kind(run, loops))
        return false;
    out->wall_ns = bench_now_ns() - begin_ns;
    bench_settle(options->pid, SETTLE_MS);
    after = bench_cpu(options->pid);
    out->cost = after.used_ns - before.used_ns;
    out->waited_ns = after.waited_ns - before.waited_ns;
    return true;
}

/* Resident memory per tunnel: a few come and go first, so that what the proxy
 * sets up once is not counted. */
static bool measure_idle(struct run *run, struct reading *out)
{
    const struct bench_options *options = run->options;
    int64_t before;
    unsigned few = run->total < 16 ? run->total : 16;

    if (!walk_once(run, tunnel_steps, 0, few) ||
        !walk_once(run, close_loop, 0, few))
        return false;
    bench_settle(options->pid, SETTLE_MS);
    before = bench_rss_bytes(options->pid);
    if (!walk_once(run, tunnel_steps, 0, run->total))
        return false;
    bench_settle(options->pid, SETTLE_MS);
    out->cost = bench_rss_bytes(options->pid) - before;
    return before >= 0;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

static void print_result(const struct run *run, const struct reading *reading)
{
    const struct bench_options *options = run->options;
    const struct bench_row *row = options->row;
    double ops = options->count / row->ops_per_loop * row->ops_per_loop;
    double value = 0;

    switch (row->kind) {
    case KIND_BROADCAST:
        ops *= options->agents;
        value = (double)reading->cost / ops;
        break;
    case KIND_CLOSED:
        value = (double)reading->cost / ops;
        break;
    case KIND_IDLE:
        ops = run->total;
        value = (double)reading->cost / ops;
        break;
    case KIND_OPEN:
        qsort(run->latencies, options->count, sizeof(int64_t), compare);
        value = (double)run->latencies[options->count / 2];
        break;
    }
    /* value: ns (or bytes) per operation; then what else may be of use */
    printf("%.1f ops=%.0f wall_ms=%.0f waited=%.0f", value, ops,
           (double)reading->wall_ns / 1e6,
           100.0 * (double)reading->waited_ns / (double)(reading->cost + 1));
    if (row->kind == KIND_OPEN)
        printf(" p99_ns=%lld",
               (long long)run->latencies[options->count * 99ull / 100]);
}

bool bench_run_row(const struct bench_options *options)
{
    struct run run = {.options = options};
    struct reading reading = {0};
    bool is_fine;

    run.total = options->agents + options->idle;
    run.agents = calloc(run.total, sizeof(*run.agents));
    run.latencies = calloc(options->count + options->agents * 2ull + 1,
                           sizeof(*run.latencies));
    run.free_list = calloc(run.total, sizeof(*run.free_list));
    if (run.agents == NULL || run.latencies == NULL || run.free_list == NULL ||
        !bench_engine_init(&run.engine, options->port,
                           bench_now_ns() + LIMIT_S * 1000000000ll)) {
        perror("bench_load");
        exit(1);
    }
    run.engine.is_tls = options->is_tls;
    for (unsigned i = 0; i < run.total; i++)
        run.agents[i].fd = -1;
    is_fine = options->row->kind == KIND_IDLE ? measure_idle(&run, &reading)
                                              : measure_loops(&run, &reading);
    for (unsigned i = 0; i < run.total; i++)
        bench_agent_close(&run.agents[i]);
    if (is_fine)
        print_result(&run, &reading);
    /* What closing costs must not fall into the next run. */
    bench_settle(options->pid, SETTLE_MS * 10);
    bench_engine_fini(&run.engine);
    free(run.agents);
    free(run.latencies);
    free(run.free_list);
    return is_fine;
}
