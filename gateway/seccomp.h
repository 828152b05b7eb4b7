/* SPDX-License-Identifier: MIT */
/* Gives up the system calls that sidgate never needs. */
#ifndef SIDGATE_GATEWAY_SECCOMP_H
#define SIDGATE_GATEWAY_SECCOMP_H

#include <stdbool.h>

/* In all threads and for good; sets no_new_privs. False with one line in
 * `error` where the kernel or the machine has no such thing. */
bool gw_seccomp_apply(char error[256]);

#endif
