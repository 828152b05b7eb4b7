/* SPDX-License-Identifier: MIT */
/* Preloaded into the new process of an upgrade: at the message number HALT_AT
 * of those that it exchanges with the old one, HALT_HOW happens: before it is
 * sent, or once it has come. */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHANNEL = 3,
    COMMITTED = 14, /* what it says once all is its own */
};

static int count;
static int at;
static int number; /* of the signal; 0: _exit */

/* The processes that this one starts are not to be halted. */
__attribute__((constructor)) static void start(void)
{
    const char *step = getenv("HALT_AT");
    const char *how = getenv("HALT_HOW");
    if (step != NULL && how != NULL) {
        at = (int)strtol(step, NULL, 10);
        if (strcmp(how, "exit") != 0)
            number = strcmp(how, "kill") == 0 ? SIGKILL : SIGSTOP;
    }
    unsetenv("HALT_AT");
    unsetenv("HALT_HOW");
    unsetenv("LD_PRELOAD");
}

static void halt(int fd)
{
    if (fd != CHANNEL || ++count != at)
        return;
    if (number == 0)
        _exit(1);
    kill(getpid(), number);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t (*next)(int, struct msghdr *, int);
    *(void **)&next = dlsym(RTLD_NEXT, "recvmsg");
    ssize_t n = next(fd, message, flags);
    if (n > 0)
        halt(fd);
    return n;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t (*next)(int, const struct msghdr *, int);
    *(void **)&next = dlsym(RTLD_NEXT, "sendmsg");
    halt(fd);
    if (fd == CHANNEL && *(const char *)message->msg_iov->iov_base == COMMITTED)
        at = 0;
    return next(fd, message, flags);
}
