/* SPDX-License-Identifier: MIT */
/* Signals, keys and the terminal, for what goes on until it is told to end. */
#include "gateway/ctl_watch.h"

#include "gateway/server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { SIZE_MAX_CELLS = 10000 };

/* The other screen, without a cursor; and back. */
static const char enter[] = "\033[?1049h\033[?25l";
static const char leave[] = "\033[?25h\033[?1049l";

static void signals(sigset_t *all, sigset_t *ends, sigset_t *others)
{
    sigemptyset(ends);
    sigaddset(ends, SIGINT);
    sigaddset(ends, SIGTERM);
    sigaddset(ends, SIGHUP);
    sigaddset(ends, SIGQUIT);
    sigemptyset(others);
    sigaddset(others, SIGWINCH);
    sigaddset(others, SIGTSTP);
    sigorset(all, ends, others);
}

static bool await_too(const struct gw_ctl_watch *watch, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(watch->fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool gw_ctl_watch_open(struct gw_ctl_watch *watch)
{
    sigset_t all;
    sigset_t ends;
    sigset_t others;

    signals(&all, &ends, &others);
    *watch = (struct gw_ctl_watch){.fd = -1, .ends = -1, .others = -1};
    watch->ends = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    watch->others = signalfd(-1, &others, SFD_CLOEXEC | SFD_NONBLOCK);
    watch->fd = epoll_create1(EPOLL_CLOEXEC);
    if (watch->ends >= 0 && watch->others >= 0 && watch->fd >= 0 &&
        await_too(watch, watch->ends) &&
        sigprocmask(SIG_BLOCK, &all, NULL) == 0)
        return true;
    int reason = errno;
    gw_ctl_watch_close(watch);
    errno = reason;
    return false;
}

static void say(const char *escapes)
{
    fputs(escapes, stdout);
    fflush(stdout);
}

static void give_back(struct gw_ctl_watch *watch)
{
    if (!watch->is_taken)
        return;
    if (watch->has_escapes)
        say(leave);
    if (watch->has_keys)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &watch->before);
    watch->is_taken = false;
}

/* Keys come one by one and are not shown; signals come from them as ever. */
static void take(struct gw_ctl_watch *watch)
{
    struct termios raw = watch->before;

    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (watch->has_keys)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    if (watch->has_escapes)
        say(enter);
    watch->is_taken = true;
}

void gw_ctl_watch_take(struct gw_ctl_watch *watch, bool has_escapes)
{
    watch->has_escapes = has_escapes;
    /* A job in the background must not touch the terminal's settings. */
    watch->has_keys = isatty(STDIN_FILENO) &&
                      tcgetpgrp(STDIN_FILENO) == getpgrp() &&
                      tcgetattr(STDIN_FILENO, &watch->before) == 0 &&
                      await_too(watch, STDIN_FILENO);
    take(watch);
}

/* Those that came are dealt with: they must not strike afterwards. */
static void close_signals(int fd)
{
    struct signalfd_siginfo info;

    if (fd < 0)
        return;
    while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        continue;
    close(fd);
}

void gw_ctl_watch_close(struct gw_ctl_watch *watch)
{
    sigset_t all;
    sigset_t ends;
    sigset_t others;

    give_back(watch);
    if (watch->fd >= 0)
        close(watch->fd);
    close_signals(watch->ends);
    close_signals(watch->others);
    signals(&all, &ends, &others);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
}

/* Stands still until someone continues it. */
static void suspend(struct gw_ctl_watch *watch)
{
    bool was_taken = watch->is_taken;

    give_back(watch);
    raise(SIGSTOP);
    if (was_taken)
        take(watch);
}

static void look_at_signals(struct gw_ctl_watch *watch)
{
    struct signalfd_siginfo info;

    while (read(watch->others, &info, sizeof(info)) == (ssize_t)sizeof(info))
        if (info.ssi_signo == SIGTSTP)
            suspend(watch);
}

/* Whether one of the keys that wait is to end it; so is the end of them. */
static bool is_quit(void)
{
    char keys[64];
    ssize_t got = read(STDIN_FILENO, keys, sizeof(keys));

    if (got < 0)
        return errno != EINTR && errno != EAGAIN;
    return got == 0 || memchr(keys, 'q', (size_t)got) != NULL ||
           memchr(keys, 'Q', (size_t)got) != NULL ||
           memchr(keys, '\003', (size_t)got) != NULL ||
           memchr(keys, '\004', (size_t)got) != NULL;
}

enum gw_ctl_wake gw_ctl_wait(struct gw_ctl_watch *watch, int64_t ms)
{
    int64_t end_ms = gw_now_ms() + ms;

    for (;;) {
        int64_t left_ms = end_ms - gw_now_ms();
        struct pollfd ready[] = {
            {.fd = watch->ends, .events = POLLIN},
            {.fd = watch->others, .events = POLLIN},
            {.fd = STDOUT_FILENO},
            {.fd = watch->has_keys ? STDIN_FILENO : -1, .events = POLLIN},
        };
        int count = poll(ready, 4, left_ms > 0 ? (int)left_ms : 0);

        if (count == 0)
            return GW_CTL_TIME_IS_UP;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 || ready[0].revents != 0 || ready[2].revents != 0)
            return GW_CTL_END;
        if (ready[1].revents != 0) {
            look_at_signals(watch);
            return GW_CTL_REDRAW;
        }
        if (ready[3].revents != 0 && is_quit())
            return GW_CTL_END;
    }
}

/* A size in the environment, or 0. */
static size_t variable(const char *name)
{
    const char *text = getenv(name);
    long value = text != NULL ? strtol(text, NULL, 10) : 0;

    return value > 0 && value <= SIZE_MAX_CELLS ? (size_t)value : 0;
}

void gw_ctl_screen_measure(int fd, struct gw_ctl_screen *screen)
{
    struct winsize size = {0};

    if (ioctl(fd, TIOCGWINSZ, &size) != 0)
        size = (struct winsize){0};
    screen->columns = size.ws_col > 0 ? size.ws_col : variable("COLUMNS");
    screen->rows = size.ws_row > 0 ? size.ws_row : variable("LINES");
    if (screen->columns == 0)
        screen->columns = 80;
    if (screen->rows == 0)
        screen->rows = 24;
}
