/* SPDX-License-Identifier: MIT */
/* Sockets that have a name in the file system. */
#include "gateway/unix_socket.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[] = "/tmp/sidgate-unix-XXXXXX";
static struct gw_address address;
static struct gw_unix_file file;

static void setup(void)
{
    struct sockaddr_un *addr = (struct sockaddr_un *)&address.addr;

    cr_assert_not_null(mkdtemp(folder));
    addr->sun_family = AF_UNIX;
    snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/socket", folder);
    snprintf(address.text, sizeof(address.text), "unix:%s", addr->sun_path);
    address.addr_len = sizeof(*addr);
}

static void teardown(void)
{
    unlink(gw_unix_path(&address));
    cr_expect_eq(rmdir(folder), 0);
}

TestSuite(unix_socket, .init = setup, .fini = teardown);

static int bind_listening(uint32_t mode)
{
    int fd = gw_unix_bind(&address, mode, &file);

    cr_assert_geq(fd, 0, "%s", strerror(errno));
    cr_assert_eq(listen(fd, 8), 0);
    return fd;
}

static bool is_there(void)
{
    return access(gw_unix_path(&address), F_OK) == 0;
}

static int connect_there(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int status =
        connect(fd, (const struct sockaddr *)&address.addr, address.addr_len);

    close(fd);
    return status;
}

Test(unix_socket, mode_whatever_the_umask)
{
    static const mode_t umasks[] = {0, 022, 0777};
    static const uint32_t modes[] = {0600, 0660, 0666};

    for (size_t i = 0; i < 9; i++) {
        struct stat info;
        mode_t before = umask(umasks[i / 3]);
        int fd = bind_listening(modes[i % 3]);

        umask(before);
        cr_assert_eq(stat(gw_unix_path(&address), &info), 0);
        cr_expect_eq(info.st_mode & 0777, modes[i % 3], "%o with umask %o",
                     info.st_mode, umasks[i / 3]);
        gw_unix_remove(&address, &file);
        cr_expect_not(is_there());
        close(fd);
    }
}

Test(unix_socket, kinds)
{
    struct gw_address none = {0};
    struct gw_address inet = {.addr_len = 16, .addr.ss_family = AF_INET};

    cr_expect(gw_unix_is(&address));
    cr_expect_not(gw_unix_is(&none));
    cr_expect_not(gw_unix_is(&inet));
}

Test(unix_socket, stale_file_is_replaced)
{
    close(bind_listening(0600));
    cr_assert(is_there());
    int fd = bind_listening(0600);
    cr_expect_eq(connect_there(), 0);
    close(fd);
}

Test(unix_socket, live_one_is_left_alone)
{
    struct gw_unix_file other;
    int fd = bind_listening(0600);

    cr_expect_eq(gw_unix_bind(&address, 0600, &other), -1);
    cr_expect_eq(errno, EADDRINUSE);
    cr_expect_eq(other.inode, 0);
    gw_unix_remove(&address, &other);
    cr_expect_eq(connect_there(), 0);
    close(fd);
}

/* It answers, though nobody takes its connections. */
Test(unix_socket, live_one_with_a_full_backlog)
{
    struct gw_unix_file other;
    int fd = gw_unix_bind(&address, 0600, &file);
    int waiting[4];
    int count = 0;

    cr_assert_eq(listen(fd, 0), 0);
    for (int status = 0; status == 0 && count < 4; count++) {
        waiting[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        status = connect(waiting[count], (const struct sockaddr *)&address.addr,
                         address.addr_len);
    }
    cr_expect_eq(errno, EAGAIN);
    cr_expect_eq(gw_unix_bind(&address, 0600, &other), -1);
    cr_expect_eq(errno, EADDRINUSE);
    cr_expect(is_there());
    while (count > 0)
        close(waiting[--count]);
    close(fd);
}

Test(unix_socket, other_files_are_left_alone)
{
    const char *path = gw_unix_path(&address);
    char link_target[64];

    close(open(path, O_CREAT | O_WRONLY, 0600));
    cr_expect_eq(gw_unix_bind(&address, 0600, &file), -1);
    cr_expect_eq(errno, ENOTSOCK);
    cr_expect(is_there());
    unlink(path);
    snprintf(link_target, sizeof(link_target), "%s/elsewhere", folder);
    cr_assert_eq(symlink(link_target, path), 0);
    cr_expect_eq(gw_unix_bind(&address, 0600, &file), -1);
    cr_expect_eq(errno, ENOTSOCK);
    cr_expect_eq(access(link_target, F_OK), -1);
}

Test(unix_socket, folder_that_is_not_there)
{
    struct sockaddr_un *addr = (struct sockaddr_un *)&address.addr;
    struct gw_address kept = address;

    snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/none/s", folder);
    cr_expect_eq(gw_unix_bind(&address, 0600, &file), -1);
    cr_expect_eq(errno, ENOENT);
    address = kept;
}

/* A successor has replaced the file; it is not ours to remove. */
Test(unix_socket, successors_file_stays)
{
    struct gw_unix_file mine;
    int fd = bind_listening(0600);

    mine = file;
    /* The inode's number is not used again while the socket is open. */
    int held = open(gw_unix_path(&address), O_PATH);
    close(fd);
    int next = bind_listening(0600);
    gw_unix_remove(&address, &mine);
    cr_expect(is_there());
    gw_unix_remove(&address, &file);
    cr_expect_not(is_there());
    close(held);
    close(next);
}
