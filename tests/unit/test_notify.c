/* SPDX-License-Identifier: MIT */
/* The service manager's socket, watchdog and listening sockets. */
#include "gateway/notify.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_FD = 3 };

static char folder[32];
static char error[256];
static int fds[GW_LISTEN_COUNT_MAX];
static struct gw_config config;

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/sidgate-unit-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return address;
}

static void set_number(const char *name, long long value)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", value);
    setenv(name, text, 1);
}

/* Notification */

/* A service manager at `name`, as NOTIFY_SOCKET has it. */
static int manager_at(const char *name)
{
    struct sockaddr_un address = unix_address(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    if (name[0] == '@')
        address.sun_path[0] = '\0';
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                                  strlen(name))),
                 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void expect_told(int manager, const char *want)
{
    char got[512];
    ssize_t len = recv(manager, got, sizeof(got), 0);

    cr_assert_eq(len, (ssize_t)strlen(want));
    cr_expect_eq(memcmp(got, want, strlen(want)), 0);
}

Test(notify, by_path)
{
    char name[64];

    make_folder();
    snprintf(name, sizeof(name), "%s/notify", folder);
    int manager = manager_at(name);
    cr_expect(gw_notify("READY=1\nSTATUS=it runs"));
    expect_told(manager, "READY=1\nSTATUS=it runs");
    cr_expect(gw_notify("STOPPING=1"));
    expect_told(manager, "STOPPING=1");
    close(manager);
    cr_expect_not(gw_notify("READY=1"), "nobody is there");
    unlink(name);
    cr_expect_not(gw_notify("READY=1"), "nothing is there");
    rmdir(folder);
}

Test(notify, by_abstract_name)
{
    char name[64];

    snprintf(name, sizeof(name), "@sidgate-unit-%d", (int)getpid());
    int manager = manager_at(name);
    cr_expect(gw_notify("READY=1"));
    expect_told(manager, "READY=1");
    close(manager);
    cr_expect_not(gw_notify("READY=1"));
}

Test(notify, names_that_are_none)
{
    char name[256];

    unsetenv("NOTIFY_SOCKET");
    cr_expect_not(gw_notify("READY=1"));
    static const char *const names[] = {"", "/", "@", "relative", "vsock:2:1"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        cr_expect_not(gw_notify("READY=1"), "%s", names[i]);
    }
    memset(name, 'x', sizeof(name) - 1);
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    setenv("NOTIFY_SOCKET", name, 1);
    cr_expect_not(gw_notify("READY=1"));
}

/* One that reads nothing holds nobody up for long. */
Test(notify, full_queue)
{
    char name[64];
    struct timespec start;
    struct timespec end;
    unsigned sent = 0;

    snprintf(name, sizeof(name), "@sidgate-unit-full-%d", (int)getpid());
    int manager = manager_at(name);
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (sent < 100000 && gw_notify("WATCHDOG=1"))
        sent++;
    clock_gettime(CLOCK_MONOTONIC, &end);
    cr_expect_lt(sent, 100000);
    cr_expect_lt(end.tv_sec - start.tv_sec, 5);
    close(manager);
}

/* Watchdog */

static const struct {
    const char *usec;
    uint64_t ms;
} intervals[] = {
    {"30000000", 15000},
    {"2000", 1},
    {"3999", 1},
    {"1000", 1},
    {"1", 1},
    {"0", 0},
    {"", 0},
    {"-1", 0},
    {"1x", 0},
    {" 1", 0},
    {"1.5", 0},
    {"99999999999999999999999", 0},
};

Test(notify, watchdog)
{
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    cr_expect_eq(gw_notify_watchdog_ms(), 0);
    for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
        setenv("WATCHDOG_USEC", intervals[i].usec, 1);
        cr_expect_eq(gw_notify_watchdog_ms(), intervals[i].ms, "%s",
                     intervals[i].usec);
    }
    setenv("WATCHDOG_USEC", "2000000", 1);
    set_number("WATCHDOG_PID", getpid());
    cr_expect_eq(gw_notify_watchdog_ms(), 1000);
    set_number("WATCHDOG_PID", getppid());
    cr_expect_eq(gw_notify_watchdog_ms(), 0);
    setenv("WATCHDOG_PID", "x", 1);
    cr_expect_eq(gw_notify_watchdog_ms(), 0);
}

/* Sockets */

/* A listening socket; its address as it is bound. */
static int listen_at(const struct gw_address *want, struct gw_address *bound)
{
    int fd = socket(want->addr.ss_family, SOCK_STREAM, 0);

    cr_assert_eq(bind(fd, (const struct sockaddr *)&want->addr, want->addr_len),
                 0);
    cr_assert_eq(listen(fd, 1), 0);
    *bound = *want;
    bound->addr_len = sizeof(bound->addr);
    cr_assert_eq(
        getsockname(fd, (struct sockaddr *)&bound->addr, &bound->addr_len), 0);
    return fd;
}

static struct gw_address loopback(void)
{
    struct gw_address address = {.addr_len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (struct sockaddr_in *)&address.addr;

    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static struct gw_address file_in_folder(void)
{
    struct gw_address address = {.addr_len = sizeof(struct sockaddr_un)};
    struct sockaddr_un *un = (struct sockaddr_un *)&address.addr;

    un->sun_family = AF_UNIX;
    snprintf(un->sun_path, sizeof(un->sun_path), "%s/s", folder);
    return address;
}

static void listen_on(struct gw_address address)
{
    config.listen[config.listen_count++].address = address;
}

/* What gw_notify_sockets did. */
struct taken {
    bool is_right;
    bool is_clean;  /* the environment */
    bool is_closed; /* close-on-exec is set for all */
    int fds[GW_LISTEN_COUNT_MAX];
    char error[256];
};

/* Has sources[0], and so on, at descriptor 3, and so on, where Criterion has
 * its own: so this is done in another process. */
static void take_there(const int *sources, int count, int out)
{
    struct taken taken = {.is_closed = true};
    int high[GW_LISTEN_COUNT_MAX + 1];

    out = fcntl(out, F_DUPFD, 100);
    for (int i = 0; i < count; i++)
        high[i] = fcntl(sources[i], F_DUPFD, 100);
    for (int i = 0; i < count; i++)
        if (dup2(high[i], FIRST_FD + i) < 0)
            close(FIRST_FD + i);
    set_number("LISTEN_FDS", count);
    set_number("LISTEN_PID", getpid());
    setenv("LISTEN_FDNAMES", "a:b", 1);
    taken.is_right = gw_notify_sockets(&config, taken.fds, taken.error);
    taken.is_clean = getenv("LISTEN_FDS") == NULL &&
                     getenv("LISTEN_PID") == NULL &&
                     getenv("LISTEN_FDNAMES") == NULL;
    for (int i = 0; i < count; i++) {
        int flags = fcntl(FIRST_FD + i, F_GETFD);

        if (flags >= 0 && (flags & FD_CLOEXEC) == 0)
            taken.is_closed = false;
    }
    _exit(write(out, &taken, sizeof(taken)) == sizeof(taken) ? 0 : 1);
}

static bool take(const int *sources, int count)
{
    struct taken taken;
    int ends[2];
    int status = 0;

    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0)
        take_there(sources, count, ends[1]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(read(ends[0], &taken, sizeof(taken)), sizeof(taken));
    close(ends[0]);
    close(ends[1]);
    cr_expect(taken.is_clean);
    cr_expect(taken.is_closed);
    cr_expect_eq(taken.is_right, taken.error[0] == '\0', "%s", taken.error);
    memcpy(fds, taken.fds, sizeof(fds));
    memcpy(error, taken.error, sizeof(error));
    return taken.is_right;
}

Test(notify, sockets_find_their_listeners)
{
    struct gw_address any = loopback();
    struct gw_address bound[3];

    make_folder();
    struct gw_address path = file_in_folder();
    const int sources[] = {listen_at(&any, &bound[0]),
                           listen_at(&path, &bound[1]),
                           listen_at(&any, &bound[2])};
    listen_on(bound[2]);
    listen_on(loopback()); /* nobody opened it */
    listen_on(path);
    listen_on(bound[0]);
    cr_expect(take(sources, 3), "%s", error);
    cr_expect_eq(fds[0], FIRST_FD + 2);
    cr_expect_eq(fds[1], -1);
    cr_expect_eq(fds[2], FIRST_FD + 1);
    cr_expect_eq(fds[3], FIRST_FD);
    for (size_t i = 4; i < GW_LISTEN_COUNT_MAX; i++)
        cr_expect_eq(fds[i], -1);
    unlink(((const struct sockaddr_un *)&path.addr)->sun_path);
    rmdir(folder);
}

Test(notify, ipv6_sockets)
{
    struct gw_address any = {.addr_len = sizeof(struct sockaddr_in6)};
    struct gw_address bound;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&any.addr;
    char want[128];

    in6->sin6_family = AF_INET6;
    in6->sin6_addr = in6addr_loopback;
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    if (probe < 0 ||
        bind(probe, (const struct sockaddr *)&any.addr, any.addr_len) != 0)
        cr_skip_test("no IPv6 here");
    close(probe);
    const int sources[] = {listen_at(&any, &bound)};
    listen_on(loopback());
    cr_expect_not(take(sources, 1));
    snprintf(want, sizeof(want),
             "LISTEN_FDS: [::1]:%u is not one of the addresses to listen on",
             ntohs(((const struct sockaddr_in6 *)&bound.addr)->sin6_port));
    cr_expect_str_eq(error, want);
    listen_on(bound);
    cr_expect(take(sources, 1), "%s", error);
    cr_expect_eq(fds[1], FIRST_FD);
}

Test(notify, sockets_of_nobody)
{
    struct gw_address any = loopback();
    struct gw_address bound;
    char want[128];

    const int sources[] = {listen_at(&any, &bound)};
    listen_on(loopback());
    cr_expect_not(take(sources, 1));
    snprintf(want, sizeof(want),
             "LISTEN_FDS: 127.0.0.1:%u is not one of the addresses to listen "
             "on",
             ntohs(((const struct sockaddr_in *)&bound.addr)->sin_port));
    cr_expect_str_eq(error, want);
}

Test(notify, two_sockets_of_one_listener)
{
    struct gw_address any = loopback();
    struct gw_address bound;
    int fd = listen_at(&any, &bound);

    const int sources[] = {fd, fd};
    listen_on(bound);
    cr_expect_not(take(sources, 2));
    cr_expect_not_null(strstr(error, "more than one socket for 127.0.0.1:"),
                       "%s", error);
}

Test(notify, descriptors_that_do_not_listen)
{
    const int wrong[] = {open("/dev/null", O_RDONLY),
                         socket(AF_INET, SOCK_STREAM, 0),
                         socket(AF_INET, SOCK_DGRAM, 0), -1};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_expect_not(take(&wrong[i], 1));
        cr_expect_str_eq(error, "LISTEN_FDS: descriptor 3 is not a listening "
                                "stream socket");
    }
}

Test(notify, sockets_of_others)
{
    unsetenv("LISTEN_FDS");
    cr_expect(gw_notify_sockets(&config, fds, error));
    cr_expect_eq(fds[0], -1);
    set_number("LISTEN_FDS", 1);
    set_number("LISTEN_PID", getppid());
    cr_expect(gw_notify_sockets(&config, fds, error));
    cr_expect_eq(fds[0], -1);
    cr_expect_null(getenv("LISTEN_FDS"));
    cr_expect(take(NULL, 0));
    static const char *const counts[] = {"17", "-1", "x", "", "999999999999"};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        setenv("LISTEN_FDS", counts[i], 1);
        set_number("LISTEN_PID", getpid());
        cr_expect_not(gw_notify_sockets(&config, fds, error), "%s", counts[i]);
        cr_expect_eq(fds[0], -1);
    }
}
