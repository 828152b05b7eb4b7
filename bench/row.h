/* SPDX-License-Identifier: MIT */
/* One row of the benchmark's table: its traffic, made and measured. */
#ifndef SIDGATE_BENCH_ROW_H
#define SIDGATE_BENCH_ROW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct bench_row;

struct bench_options {
    const struct bench_row *row;
    uint16_t port;
    uint16_t backend_port; /* asked for its count of misroutes; 0: not */
    bool is_tls;
    pid_t pid; /* of the proxy; 0: nothing to account to */
    unsigned agents;
    unsigned idle;  /* further tunnels that stay silent */
    unsigned count; /* operations; of a broadcast: shouts */
    unsigned rate;  /* beginnings a second, for the rows that have a clock */
};

/* NULL if there is no such row. */
const struct bench_row *bench_row_find(const char *name);

/* Make the row's traffic and print its result, without a newline. False if
 * anything went otherwise than expected (told on stderr). */
bool bench_run_row(const struct bench_options *options)
    __attribute__((warn_unused_result));

#endif
