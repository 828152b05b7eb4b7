/* SPDX-License-Identifier: MIT */
/*
 * A filter of system calls: all are allowed but those in a table, which fail
 * with EPERM. It lists what starts programs, looks into other processes, or
 * reaches parts of the kernel that a gateway has no business with, so that
 * whoever takes sidgate over gets no further. It says no to little on purpose:
 * what libraries need changes, and a gateway must not die of that.
 */
#include "gateway/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#else
#define NATIVE 0
#endif

enum {
    X32_BIT = 0x40000000, /* calls of another ABI on the same machine */
    NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                 CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET,
};

static const uint32_t denied[] = {
    /* Other programs and processes. */
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
#ifdef SYS_pidfd_getfd
    SYS_pidfd_getfd,
#endif
#ifdef SYS_process_madvise
    SYS_process_madvise,
#endif
    /* File systems and roots. */
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
#ifdef SYS_open_tree
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
#endif
#ifdef SYS_mount_setattr
    SYS_mount_setattr,
#endif
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_quotactl,
    SYS_swapon,
    SYS_swapoff,
    /* Namespaces; clone is looked at below. */
    SYS_setns,
    SYS_unshare,
    /* The kernel and the machine. */
    SYS_kexec_load,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_reboot,
    SYS_acct,
    SYS_syslog,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_adjtimex,
    SYS_clock_adjtime,
    SYS_vhangup,
    SYS_personality,
#ifdef __x86_64__
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
#endif
    /* Where the kernel's own mistakes were found most. */
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_fanotify_init,
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup, /* libuv does without */
    SYS_io_uring_enter,
    SYS_io_uring_register,
#endif
};

enum {
    COUNT = sizeof(denied) / sizeof(denied[0]),
    LENGTH_MAX = COUNT + 24,
};

#define FIELD(name) offsetof(struct seccomp_data, name)
#define LOAD(offset)                                                           \
    (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
/* Skips the next instruction unless the condition holds. */
#define ONLY_IF(test, value)                                                   \
    (struct sock_filter) BPF_JUMP(BPF_JMP | (test) | BPF_K, value, 0, 1)
#define ONLY_UNLESS(test, value)                                               \
    (struct sock_filter) BPF_JUMP(BPF_JMP | (test) | BPF_K, value, 1, 0)
#define ANSWER(action) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, action)
#define DENY(error)    ANSWER(SECCOMP_RET_ERRNO | (error))

static unsigned short build(struct sock_filter *code)
{
    struct sock_filter *at = code;

    *at++ = LOAD(FIELD(arch));
    *at++ = ONLY_UNLESS(BPF_JEQ, NATIVE);
    *at++ = ANSWER(SECCOMP_RET_KILL_PROCESS);
    *at++ = LOAD(FIELD(nr));
#ifdef __x86_64__
    *at++ = ONLY_IF(BPF_JGE, X32_BIT);
    *at++ = DENY(EPERM);
#endif
#ifdef SYS_clone3
    /* Its flags are out of reach; libraries then use clone. */
    *at++ = ONLY_IF(BPF_JEQ, SYS_clone3);
    *at++ = DENY(ENOSYS);
#endif
    /* One answer for all of the table, at its end: behind it come the jump
     * that goes past that answer. */
    for (size_t i = 0; i < COUNT; i++)
        *at++ = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, denied[i], (uint8_t)(COUNT - i), 0);
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0);
    *at++ = DENY(EPERM);
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone,
                                         0, 3);
    *at++ = LOAD(FIELD(args[0]));
    *at++ = ONLY_IF(BPF_JSET, NAMESPACES);
    *at++ = DENY(EPERM);
    *at++ = ANSWER(SECCOMP_RET_ALLOW);
    return (unsigned short)(at - code);
}

bool gw_seccomp_apply(char error[256])
{
    struct sock_filter code[LENGTH_MAX];
    struct sock_fprog program = {.len = build(code), .filter = code};

    _Static_assert(COUNT < 256, "a jump goes no further");
    if (NATIVE == 0) {
        snprintf(error, 256, "seccomp: not on this kind of machine");
        return false;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
                &program) == 0)
        return true;
    snprintf(error, 256, "seccomp: %s", strerror(errno));
    return false;
}
