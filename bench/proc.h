/* SPDX-License-Identifier: MIT */
/* What the kernel says of a process: CPU time, resident memory; and clocks. */
#ifndef SIDGATE_BENCH_PROC_H
#define SIDGATE_BENCH_PROC_H

#include <stdint.h>
#include <sys/types.h>

/* Monotonic time in ns. */
int64_t bench_now_ns(void);

struct bench_cpu {
    int64_t used_ns;   /* on a core */
    int64_t waited_ns; /* ready to run, but the core had other work */
};

/* Both times of all living threads, from schedstat (exact, not sampled by
 * ticks). Zero for pid 0 and for a process that is gone. */
struct bench_cpu bench_cpu(pid_t pid);

/* Resident set in bytes, counted page by page (smaps_rollup); -1 on error. */
int64_t bench_rss_bytes(pid_t pid);

/* Wait until the process used less than 50 us in 10 ms, so that work still
 * under way is counted where it belongs; at most limit_ms. */
void bench_settle(pid_t pid, int limit_ms);

/* Raise the soft descriptor limit to the hard one. */
void bench_raise_limits(void);

#endif
