/* SPDX-License-Identifier: MIT */
/* Users to become, and the filter of system calls, in processes of their own:
 * Criterion runs each test in one. */
#include "gateway/privileges.h"
#include "gateway/seccomp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char error[256];

static const struct {
    const char *user;
    const char *why;
} refused[] = {
    {"no-such-user", "user no-such-user: there is no such user"},
    {":nogroup", "user :nogroup: there is no such user"},
    {"nobody:", "user nobody:: there is no such group"},
    {"nobody:no-such-group",
     "user nobody:no-such-group: there is no such group"},
    {"4294967295", "user 4294967295: there is no such user"},
    {"99999999999999999999",
     "user 99999999999999999999: there is no such user"},
    {"-1", "user -1: there is no such user"},
    {"3999999999", "user 3999999999: a number without an entry needs a group"},
    {"root", "user root: root would keep all its rights"},
    {"0:1", "user 0:1: root would keep all its rights"},
};

Test(privileges, refused_users)
{
    struct gw_privileges to;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        cr_expect_not(gw_privileges_find(refused[i].user, &to, error));
        cr_expect_str_eq(error, refused[i].why);
    }
}

Test(privileges, no_user_changes_nothing)
{
    struct gw_privileges to;

    cr_assert(gw_privileges_find("", &to, error));
    cr_expect(gw_privileges_drop(&to, error));
    cr_expect(gw_privileges_give(&to, "/no/such/file", error));
}

static void need_root(void)
{
    if (geteuid() != 0)
        cr_skip_test("only root can become another user");
}

Test(privileges, found_users)
{
    const struct passwd *nobody = getpwnam("nobody");
    struct gw_privileges to;

    need_root();
    cr_assert_not_null(nobody);
    cr_assert(gw_privileges_find("nobody", &to, error), "%s", error);
    cr_expect_eq(to.uid, nobody->pw_uid);
    cr_expect_eq(to.gid, nobody->pw_gid);
    cr_expect_str_eq(to.name, "nobody");
    cr_assert(gw_privileges_find("nobody:12345", &to, error), "%s", error);
    cr_expect_eq(to.gid, 12345);
    cr_assert(gw_privileges_find("3999999999:12345", &to, error), "%s", error);
    cr_expect_eq(to.uid, 3999999999);
    cr_expect_eq(to.gid, 12345);
    cr_expect_str_eq(to.name, "");
}

Test(privileges, drop_has_no_way_back)
{
    static const char *const users[] = {"nobody", "nobody:12345",
                                        "3999999999:12345"};

    need_root();
    for (size_t i = 0; i < 3; i++) {
        int status = 0;
        pid_t child = fork();

        if (child == 0) {
            struct gw_privileges to;
            gid_t groups[64] = {0, 4242};

            if (setgroups(2, groups) != 0)
                _exit(4);
            if (!gw_privileges_find(users[i], &to, error) ||
                !gw_privileges_drop(&to, error) || getuid() != to.uid ||
                getegid() != to.gid)
                _exit(1);
            if (setuid(0) == 0 || setgid(0) == 0 || setgroups(0, NULL) == 0)
                _exit(2);
            for (int n = getgroups(64, groups); n > 0; n--)
                if (groups[n - 1] == 0 || groups[n - 1] == 4242)
                    _exit(3);
            _exit(0);
        }
        waitpid(child, &status, 0);
        cr_expect_eq(status, 0, "%s: %x", users[i], status);
    }
}

Test(privileges, only_root_becomes_another)
{
    struct gw_privileges to;

    need_root();
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        if (!gw_privileges_find("nobody", &to, error) ||
            !gw_privileges_drop(&to, error))
            _exit(1);
        /* It is that user already. */
        if (!gw_privileges_find("nobody", &to, error) ||
            !gw_privileges_drop(&to, error))
            _exit(2);
        if (gw_privileges_find("3999999999:1", &to, error) ||
            strcmp(error, "user 3999999999:1: only root can become another"))
            _exit(3);
        _exit(0);
    }
    waitpid(child, &status, 0);
    cr_expect_eq(status, 0, "%x", status);
}

Test(privileges, files_are_handed_over)
{
    char path[] = "/tmp/sidgate-own-XXXXXX";
    struct gw_privileges to;
    struct stat info;

    need_root();
    int fd = mkstemp(path);
    cr_assert(gw_privileges_find("nobody:12345", &to, error), "%s", error);
    cr_expect(gw_privileges_give(&to, path, error));
    cr_assert_eq(fstat(fd, &info), 0);
    cr_expect_eq(info.st_uid, to.uid);
    cr_expect_eq(info.st_gid, 12345);
    unlink(path);
    close(fd);
    cr_expect_not(gw_privileges_give(&to, path, error));
    cr_expect_not_null(strstr(error, path));
}

/* 0 when the call is refused with EPERM, else its errno; -1: it went through.
 * Run in a child, which ends with it. */
static int refusal(long status)
{
    if (status >= 0)
        return 99;
    return errno == EPERM ? 0 : errno;
}

static int try_all(void)
{
    char *const empty[] = {NULL};
    int bad = 0;

    /* A program that is there would end this one, and well. */
    bad |= refusal(execve("/no/such/program", empty, empty));
    bad |= refusal(ptrace(PTRACE_PEEKDATA, -1, NULL, NULL));
    bad |= refusal(mount("none", "/nowhere", "tmpfs", 0, NULL));
    bad |= refusal(chroot("/"));
    bad |= refusal(unshare(CLONE_NEWUSER));
    bad |= refusal(syscall(SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0));
    bad |= refusal(syscall(SYS_bpf, 0, NULL, 0));
    bad |= refusal(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    bad |= refusal(syscall(SYS_userfaultfd, 0));
    bad |= refusal(
        syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0));
    bad |= refusal(syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0));
    bad |= refusal(syscall(SYS_personality, 0xffffffff));
    return bad;
}

static void *in_thread(void *result)
{
    *(int *)result = try_all();
    return NULL;
}

/* What sidgate goes on to need. */
static int use_the_rest(void)
{
    int fd = open("/etc/hostname", O_RDONLY);
    int status = 0;
    pthread_t thread;
    int in_new_thread = -1;

    close(fd);
    if (pthread_create(&thread, NULL, in_thread, &in_new_thread) != 0)
        return 1;
    pthread_join(thread, NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    if (child < 0 || waitpid(child, &status, 0) != child ||
        WEXITSTATUS(status) != 7)
        return 2;
    return in_new_thread;
}

Test(privileges, filter_refuses_and_allows)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        if (!gw_seccomp_apply(error) ||
            prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 ||
            prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
            _exit(100);
        int bad = try_all();
        _exit(bad != 0 ? bad : use_the_rest());
    }
    waitpid(child, &status, 0);
    cr_expect_eq(status, 0, "%x", status);
}

static sem_t go;

static void *waits_then_tries(void *result)
{
    sem_wait(&go);
    *(int *)result = try_all();
    return NULL;
}

Test(privileges, filter_is_for_threads_that_run)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        pthread_t thread;
        int bad = -1;

        sem_init(&go, 0, 0);
        if (pthread_create(&thread, NULL, waits_then_tries, &bad) != 0 ||
            !gw_seccomp_apply(error))
            _exit(100);
        sem_post(&go);
        pthread_join(thread, NULL);
        _exit(bad);
    }
    waitpid(child, &status, 0);
    cr_expect_eq(status, 0, "%x", status);
}

#ifdef __x86_64__
/* The same kernel by other doors. */
Test(privileges, filter_knows_other_abis)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        if (!gw_seccomp_apply(error))
            _exit(100);
        /* getpid, of x32 */
        if (syscall(0x40000000 | SYS_getpid) >= 0 || errno != EPERM)
            _exit(1);
        long number = 20; /* getpid, of 32 bits */
        __asm__ volatile("int $0x80" : "+a"(number) : : "memory");
        _exit(number == -ENOSYS ? 3 : 2);
    }
    waitpid(child, &status, 0);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%x", status);
}
#endif
