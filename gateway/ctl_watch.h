/* SPDX-License-Identifier: MIT */
/* What ends a command that goes on until it is told to, and the terminal that
 * it may have taken. */
#ifndef SIDGATE_GATEWAY_CTL_WATCH_H
#define SIDGATE_GATEWAY_CTL_WATCH_H

#include "gateway/ctl_frame.h"

#include <stdbool.h>
#include <stdint.h>
#include <termios.h>

enum gw_ctl_wake {
    GW_CTL_TIME_IS_UP,
    GW_CTL_END,    /* a signal, q, or nobody reads standard output any more */
    GW_CTL_REDRAW, /* the terminal has another size, or is ours again */
};

struct gw_ctl_watch {
    int fd;     /* readable when a question is to be given up */
    int ends;   /* signals that end */
    int others; /* signals about the terminal */
    bool has_keys;
    bool is_taken; /* the terminal */
    bool has_escapes;
    struct termios before;
};

/* From here on SIGINT and the like are for gw_ctl_wait alone. False with errno
 * when that cannot be. */
bool gw_ctl_watch_open(struct gw_ctl_watch *watch);

/* Gives the terminal back, and the signals. */
void gw_ctl_watch_close(struct gw_ctl_watch *watch);

/* Takes the terminal for frames, and keys where standard input is one. */
void gw_ctl_watch_take(struct gw_ctl_watch *watch, bool has_escapes);

/* Waits for so long, or until something happens. */
enum gw_ctl_wake gw_ctl_wait(struct gw_ctl_watch *watch, int64_t ms);

/* The size of the terminal at `fd`, or what stands for it: COLUMNS and LINES,
 * else 80 and 24. */
void gw_ctl_screen_measure(int fd, struct gw_ctl_screen *screen);

#endif
