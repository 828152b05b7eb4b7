/* SPDX-License-Identifier: MIT */
/* The sockets that the process listens on. */
#include "gateway/listen_set.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[] = "/tmp/sidgate-listen-XXXXXX";
static struct gw_config config;
static struct gw_listen_set now;
static struct gw_listen_set next;
static struct gw_listen_set given;
static char error[256];

static void setup(void)
{
    cr_assert_not_null(mkdtemp(folder));
    config.workers = 2;
}

static void teardown(void)
{
    cr_expect_eq(rmdir(folder), 0, "a file was left");
}

TestSuite(listen_set, .init = setup, .fini = teardown);

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -1; /* its own */
    cr_assert_not_null(dir);
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir))
        count += one->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void set_tcp(struct gw_address *address, uint16_t port)
{
    struct sockaddr_in *addr = (struct sockaddr_in *)(void *)&address->addr;
    *addr = (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address->addr_len = sizeof(*addr);
    snprintf(address->text, sizeof(address->text), "127.0.0.1:%u", port);
}

static void set_unix(struct gw_address *address, const char *name)
{
    struct sockaddr_un *addr = (struct sockaddr_un *)(void *)&address->addr;
    memset(addr, 0, sizeof(*addr));
    addr->sun_family = AF_UNIX;
    snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s", folder, name);
    snprintf(address->text, sizeof(address->text), "unix:%s", addr->sun_path);
    address->addr_len = sizeof(*addr);
}

static struct gw_listen_config *want(void)
{
    struct gw_listen_config *one = &config.listen[config.listen_count++];
    memset(one, 0, sizeof(*one));
    one->unix_mode = 0600;
    return one;
}

static void want_tcp(uint16_t port)
{
    set_tcp(&want()->address, port);
}

static void want_unix(const char *name)
{
    set_unix(&want()->address, name);
}

static void prepare(void)
{
    cr_assert(gw_listen_prepare(&next, &now, &given, &config, error), "%s",
              error);
    cr_assert_eq(next.count, config.listen_count);
}

/* As the server does once its workers have what is new. */
static void adopt(void)
{
    gw_listen_unlink(&now, &next);
    for (size_t i = 0; i < now.count; i++) {
        struct gw_listen_entry *entry = &now.entries[i];
        if (gw_listen_find(&next, entry->config.address.text) != NULL)
            continue;
        for (size_t j = 0; j < entry->count; j++)
            close(entry->fds[j]);
    }
    now = next;
    next.count = 0;
}

static void finish(void)
{
    gw_listen_unlink(&now, NULL);
    gw_listen_close(&now);
    cr_expect_eq(now.count, 0);
}

static uint16_t port_of(int fd)
{
    struct sockaddr_in addr = {0};
    socklen_t len = sizeof(addr);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    return ntohs(addr.sin_port);
}

static bool has_flag(int fd, int option)
{
    int value = 0;
    socklen_t len = sizeof(value);
    cr_assert_eq(getsockopt(fd, SOL_SOCKET, option, &value, &len), 0);
    return value != 0;
}

static bool has_file(const char *name)
{
    struct gw_address address;
    struct stat file;
    set_unix(&address, name);
    return lstat(gw_unix_path(&address), &file) == 0;
}

static bool can_connect(const struct gw_address *address)
{
    int fd = socket(address->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_connected = connect(fd, (const struct sockaddr *)&address->addr,
                                address->addr_len) == 0;
    close(fd);
    return is_connected;
}

static void expect_usable(const struct gw_listen_entry *entry)
{
    for (size_t i = 0; i < entry->count; i++) {
        cr_expect_neq(fcntl(entry->fds[i], F_GETFL) & O_NONBLOCK, 0);
        cr_expect_neq(fcntl(entry->fds[i], F_GETFD) & FD_CLOEXEC, 0);
        for (size_t j = 0; j < i; j++)
            cr_expect_neq(entry->fds[i], entry->fds[j]);
    }
}

/* ---- opening ---- */

Test(listen_set, a_port_of_the_kernels_choice)
{
    int before = count_fds();

    want_tcp(0);
    config.workers = 3;
    prepare();
    cr_expect_eq(count_fds(), before + 3);
    uint16_t port = port_of(next.entries[0].fds[0]);
    cr_expect_neq(port, 0);
    const struct sockaddr_in *told =
        (const struct sockaddr_in *)(const void *)&config.listen[0]
            .address.addr;
    cr_expect_eq(ntohs(told->sin_port), port, "the configuration is told");
    cr_expect_str_eq(config.listen[0].address.text, "127.0.0.1:0");
    expect_usable(&next.entries[0]);
    cr_expect_not(next.entries[0].is_shared);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(port_of(next.entries[0].fds[i]), port);
        cr_expect(has_flag(next.entries[0].fds[i], SO_ACCEPTCONN));
        cr_expect(has_flag(next.entries[0].fds[i], SO_REUSEPORT));
    }
    cr_expect(can_connect(&config.listen[0].address));
    adopt();
    finish();
    cr_expect_eq(count_fds(), before);
}

Test(listen_set, what_is_there_stays)
{
    int before = count_fds();

    want_tcp(0);
    want_unix("a");
    prepare();
    struct gw_listen_set first = next;
    adopt();
    /* The same again, in another order, and one more; what is to be done with
     * connections there is another thing now. */
    config.listen_count = 0;
    want_unix("b");
    want_unix("a");
    want_tcp(0);
    config.listen[2].has_proxy = true;
    prepare();
    cr_expect_eq(count_fds(), before + 6);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(next.entries[2].fds[i], first.entries[0].fds[i]);
        cr_expect_eq(next.entries[1].fds[i], first.entries[1].fds[i]);
    }
    cr_expect(next.entries[2].config.has_proxy);
    cr_expect_eq(memcmp(&config.listen[2].address.addr,
                        &first.entries[0].config.address.addr,
                        first.entries[0].config.address.addr_len),
                 0, "with the port that it has");
    adopt();
    finish();
    cr_expect_eq(count_fds(), before);
}

/* Nothing of what was there is touched by a configuration that cannot be. */
Test(listen_set, a_failure_leaves_nothing_open)
{
    struct gw_address other;
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int taken = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_eq(bind(taken, (struct sockaddr *)&addr, sizeof(addr)), 0);
    cr_assert_eq(listen(taken, 1), 0);
    want_tcp(0);
    want_unix("old");
    prepare();
    adopt();
    int before = count_fds();
    want_unix("new");
    want_tcp(port_of(taken));
    cr_expect_not(gw_listen_prepare(&next, &now, NULL, &config, error));
    char line[256];
    snprintf(line, sizeof(line),
             "cannot listen on 127.0.0.1:%u: Address already in use",
             port_of(taken));
    cr_expect_str_eq(error, line);
    cr_expect_eq(count_fds(), before);
    cr_expect_eq(next.count, 0);
    cr_expect(has_file("old"));
    cr_expect_not(has_file("new"));
    set_unix(&other, "old");
    cr_expect(can_connect(&other));
    cr_expect(can_connect(&config.listen[0].address));
    close(taken);
    finish();
}

/* SO_REUSEPORT alone would let a second gateway take a share of the clients. */
Test(listen_set, a_port_that_a_gateway_has_is_refused)
{
    struct gw_listen_set none = {0};

    want_tcp(0);
    prepare();
    adopt();
    int before = count_fds();
    config.listen_count = 0;
    want_tcp(port_of(now.entries[0].fds[0]));
    cr_expect_not(gw_listen_prepare(&next, &none, NULL, &config, error));
    cr_expect_eq(count_fds(), before);
    finish();
}

Test(listen_set, discarding_keeps_what_was_there)
{
    int before = count_fds();

    want_unix("old");
    prepare();
    adopt();
    want_unix("new");
    want_tcp(0);
    prepare();
    cr_expect(has_file("new"));
    gw_listen_discard(&next, &now);
    cr_expect_eq(next.count, 0);
    cr_expect_eq(count_fds(), before + 2);
    cr_expect(has_file("old"));
    cr_expect_not(has_file("new"));
    cr_expect(can_connect(&now.entries[0].config.address));
    finish();
    cr_expect_eq(count_fds(), before);
}

Test(listen_set, files_are_removed_exactly_with_their_sockets)
{
    want_unix("a");
    want_unix("b");
    prepare();
    adopt();
    config.listen_count = 0;
    want_unix("b");
    prepare();
    cr_expect(has_file("a"), "until the change is made");
    adopt();
    cr_expect_not(has_file("a"));
    cr_expect(has_file("b"));
    /* Somebody has put a file of his own there: it is not ours to remove. */
    struct gw_address address;
    set_unix(&address, "b");
    unlink(gw_unix_path(&address));
    close(open(gw_unix_path(&address), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    finish();
    cr_expect(has_file("b"));
    unlink(gw_unix_path(&address));
}

/* ---- given by another process ---- */

static int listening(uint16_t port, bool has_reuseport)
{
    struct gw_address address;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    set_tcp(&address, port);
    if (has_reuseport)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    cr_assert_eq(bind(fd, (struct sockaddr *)&address.addr, address.addr_len),
                 0);
    cr_assert_eq(listen(fd, 8), 0);
    return fd;
}

static void want_port_of(int fd)
{
    want_tcp(port_of(fd));
}

static void give(int fd)
{
    char text[64];
    snprintf(text, sizeof(text), "127.0.0.1:%u", port_of(fd));
    cr_assert(gw_listen_give(&given, text, fd, false));
}

/* Clients wait at each of them. */
Test(listen_set, more_given_ones_than_workers_are_all_used)
{
    int before = count_fds();
    int fds[5] = {listening(0, true)};

    for (size_t i = 1; i < 5; i++)
        fds[i] = listening(port_of(fds[0]), true);
    for (size_t i = 0; i < 5; i++)
        give(fds[i]);
    want_port_of(fds[0]);
    prepare();
    cr_assert_eq(next.entries[0].count, 5);
    cr_expect_not(next.entries[0].is_shared);
    for (size_t i = 0; i < 5; i++)
        cr_expect_eq(next.entries[0].fds[i], fds[i]);
    expect_usable(&next.entries[0]);
    cr_expect_eq(count_fds(), before + 5);
    gw_listen_close(&given);
    cr_expect_eq(count_fds(), before + 5, "they are not its any more");
    adopt();
    finish();
    cr_expect_eq(count_fds(), before);
}

/* What is added must not listen before somebody accepts there. */
Test(listen_set, fewer_given_ones_are_filled_up)
{
    int before = count_fds();
    int fd = listening(0, true);

    config.workers = 3;
    give(fd);
    want_port_of(fd);
    prepare();
    cr_assert_eq(next.entries[0].count, 3);
    cr_expect_eq(next.entries[0].fds[0], fd);
    cr_expect(has_flag(fd, SO_ACCEPTCONN));
    for (size_t i = 1; i < 3; i++) {
        cr_expect_eq(port_of(next.entries[0].fds[i]), port_of(fd));
        cr_expect_not(has_flag(next.entries[0].fds[i], SO_ACCEPTCONN));
    }
    adopt();
    finish();
    cr_expect_eq(count_fds(), before);
}

/* As systemd opens it. */
Test(listen_set, a_given_one_without_reuseport_is_shared)
{
    int before = count_fds();
    int fd = listening(0, false);

    config.workers = 4;
    give(fd);
    want_port_of(fd);
    prepare();
    cr_assert_eq(next.entries[0].count, 4);
    cr_expect(next.entries[0].is_shared);
    expect_usable(&next.entries[0]);
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(port_of(next.entries[0].fds[i]), port_of(fd));
        cr_expect(has_flag(next.entries[0].fds[i], SO_ACCEPTCONN));
    }
    cr_expect_eq(count_fds(), before + 4);
    adopt();
    finish();
    cr_expect_eq(count_fds(), before);
}

Test(listen_set, a_given_unix_socket_and_its_file)
{
    struct gw_address address;
    struct gw_unix_file file;
    int before = count_fds();

    set_unix(&address, "given");
    int fd = gw_unix_bind(&address, 0600, &file);
    cr_assert_geq(fd, 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert(gw_listen_give(&given, address.text, fd, false));
    want_unix("given");
    prepare();
    cr_expect(next.entries[0].is_shared);
    cr_expect_eq(next.entries[0].file.inode, file.inode);
    cr_expect(can_connect(&address));
    adopt();
    finish();
    cr_expect_not(has_file("given"));
    cr_expect_eq(count_fds(), before);
}

/* The process that gave it goes on, and so must its clients find it. */
Test(listen_set, a_failure_leaves_the_file_of_a_given_one)
{
    struct gw_address address;
    struct gw_unix_file file;
    int taken = listening(0, false);

    set_unix(&address, "given");
    int fd = gw_unix_bind(&address, 0600, &file);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert(gw_listen_give(&given, address.text, dup(fd), false));
    want_unix("given");
    want_port_of(taken);
    int before = count_fds();
    cr_expect_not(gw_listen_prepare(&next, &now, &given, &config, error));
    cr_expect_eq(count_fds(), before - 1);
    cr_expect(can_connect(&address));
    close(taken);
    close(fd);
    gw_unix_remove(&address, &file);
}

Test(listen_set, a_failure_closes_given_ones_too)
{
    int before = count_fds();
    int mine = listening(0, true);
    int taken = listening(0, false);
    int other = listening(0, true);

    give(mine);
    give(other);
    want_port_of(mine);
    want_port_of(taken);
    cr_expect_not(gw_listen_prepare(&next, &now, &given, &config, error));
    cr_expect_eq(count_fds(), before + 2, "taken, and what was not asked for");
    gw_listen_close(&given);
    close(taken);
    cr_expect_eq(count_fds(), before);
}

Test(listen_set, giving_has_its_limits)
{
    int before = count_fds();
    int fd = listening(0, true);
    char text[32];

    for (int i = 0; i < GW_LISTEN_FDS_MAX; i++)
        cr_expect(gw_listen_give(&given, "a", dup(fd), false));
    cr_expect_not(gw_listen_give(&given, "a", fd, false));
    for (int i = 1; i < GW_LISTEN_COUNT_MAX; i++) {
        snprintf(text, sizeof(text), "b%d", i);
        cr_expect(gw_listen_give(&given, text, dup(fd), false));
    }
    cr_expect_not(gw_listen_give(&given, "c", fd, false));
    cr_expect_not_null(gw_listen_find(&given, "b3"));
    cr_expect_null(gw_listen_find(&given, "c"));
    gw_listen_close(&given);
    close(fd);
    cr_expect_eq(count_fds(), before);
}
