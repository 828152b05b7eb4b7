/* SPDX-License-Identifier: MIT */
/* Puts a copy of an input directly before an unreadable page, so that reading
 * one byte too far kills the test in every build, sanitized or not. */
#ifndef SIDGATE_TESTS_SUPPORT_GUARD_H
#define SIDGATE_TESTS_SUPPORT_GUARD_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guard {
    char *bytes; /* the copy; the byte behind its last one is unreadable */
    size_t len;
    void *map;
    size_t map_len;
};

/* Never fails: without memory for it, the test program ends. */
static inline struct guard guard_copy(const void *bytes, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (len / page + 1) * page;
    struct guard guard = {.len = len, .map_len = room + page};

    guard.map = mmap(NULL, guard.map_len, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guard.map == MAP_FAILED) {
        perror("mmap");
        abort();
    }
    char *fence = (char *)guard.map + room;
    if (mprotect(fence, page, PROT_NONE) != 0) {
        perror("mprotect");
        abort();
    }
    guard.bytes = fence - len;
    if (len > 0) {
        memcpy(guard.bytes, bytes, len);
    }
    return guard;
}

static inline void guard_free(struct guard *guard)
{
    munmap(guard->map, guard->map_len);
    guard->bytes = NULL;
}

#endif
