/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into the daemon by a test: a process that ends, or stands still, in
 * the middle of what it receives.
 *
 * The file that CUT_SHORT names says when: "7 end" or "7 hang" is about the
 * seventh recvmsg() that brings something, "0 count" about none. Processes that
 * start while there is no such file go on for ever. How many there were is
 * written to the same name with ".count" behind it.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef ssize_t (*receive_fn)(int, struct msghdr *, int);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *path;
static long when = -1;
static long count;
static char what[16];

__attribute__((constructor)) static void read_order(void)
{
    path = getenv("CUT_SHORT");
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    if (file == NULL)
        return;
    if (fscanf(file, "%ld %15s", &when, what) != 2)
        when = -1;
    fclose(file);
}

static void note(void)
{
    char name[4096];
    snprintf(name, sizeof(name), "%s.count", path);
    FILE *file = fopen(name, "w");
    if (file == NULL)
        return;
    fprintf(file, "%ld\n", count);
    fclose(file);
}

static void act(void)
{
    pthread_mutex_lock(&lock);
    count++;
    note();
    if (count == when && strcmp(what, "end") == 0)
        _exit(3);
    while (count == when && strcmp(what, "hang") == 0)
        pause();
    pthread_mutex_unlock(&lock);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    void *symbol = dlsym(RTLD_NEXT, "recvmsg");
    receive_fn real;

    memcpy(&real, &symbol, sizeof(real));
    ssize_t got = real(fd, message, flags);
    if (when >= 0 && got > 0)
        act();
    return got;
}
