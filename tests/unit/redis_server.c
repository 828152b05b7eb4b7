/* SPDX-License-Identifier: MIT */
/*
 * A real redis-server for one test.
 *
 * A keeper process stands between: it starts the server, waits for the test to
 * close its end of a socket (which a crash does too), then kills the server
 * and removes the folder. As it comes from a fork without an exec, it calls
 * only what is safe after one.
 */
#include "tests/unit/redis_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_LIMIT_MS = 10000, RETRY_MS = 5 };

static void require(bool is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "redis_server: %s\n", what);
        abort();
    }
}

static void run_server(const char *folder, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(folder) != 0)
        _exit(1);
    const int log = open("log", O_CREAT | O_WRONLY | O_TRUNC, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket",
           "redis.sock", "--save", "", "--appendonly", "no", "--daemonize",
           "no", (char *)NULL);
    _exit(127);
}

static void keep(const char *folder, int fd)
{
    const pid_t self = getpid();
    char byte;

    signal(SIGPIPE, SIG_IGN);
    const pid_t pid = fork();
    if (pid == 0)
        run_server(folder, self);
    ssize_t result = write(fd, &pid, sizeof(pid));
    do {
        result = read(fd, &byte, 1);
    } while (result > 0 && byte != 'q');
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    if (chdir(folder) == 0) {
        unlink("redis.sock");
        unlink("log");
        unlink("dump.rdb");
        rmdir(folder);
    }
    _exit(0);
}

static void start_keeper(struct redis_server *server)
{
    int fds[2];

    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0,
            "no socket pair");
    server->keeper_pid = fork();
    require(server->keeper_pid >= 0, "no fork");
    if (server->keeper_pid == 0) {
        close(fds[0]);
        keep(server->folder, fds[1]);
    }
    close(fds[1]);
    server->keeper_fd = fds[0];
    require(read(fds[0], &server->pid, sizeof(server->pid)) ==
                sizeof(server->pid),
            "the keeper said nothing");
}

/* Whether it answers PING; what it says while it loads is no answer. */
static bool is_ready(struct redis_server *server)
{
    const struct timeval limit = {5, 0};

    server->c = redisConnectUnixWithTimeout(server->url.hosts[0].host, limit);
    require(server->c != NULL, "out of memory");
    if (server->c->err == 0) {
        redisReply *reply = redisCommand(server->c, "PING");
        const bool is_pong = reply != NULL && reply->type == REDIS_REPLY_STATUS;
        if (reply != NULL)
            freeReplyObject(reply);
        if (is_pong)
            return true;
    }
    redisFree(server->c);
    server->c = NULL;
    return false;
}

void redis_server_start(struct redis_server *server)
{
    int left_ms = START_LIMIT_MS;

    *server = (struct redis_server){.url = {.kind = STORE_KIND_SINGLE,
                                            .hosts = {{.is_unix = true}},
                                            .host_count = 1}};
    snprintf(server->folder, sizeof(server->folder),
             "/tmp/sidgate-redis-XXXXXX");
    require(mkdtemp(server->folder) != NULL, "no folder");
    snprintf(server->url.hosts[0].host, sizeof(server->url.hosts[0].host),
             "%s/redis.sock", server->folder);
    start_keeper(server);
    while (!is_ready(server)) {
        poll(NULL, 0, RETRY_MS);
        left_ms -= RETRY_MS;
        require(left_ms > 0, "redis-server does not start: is it installed?");
    }
    const struct timeval limit = {10, 0};
    redisSetTimeout(server->c, limit);
}

void redis_server_stop(struct redis_server *server)
{
    redisFree(server->c);
    require(write(server->keeper_fd, "q", 1) == 1, "the keeper is gone");
    waitpid(server->keeper_pid, NULL, 0);
    close(server->keeper_fd);
}

static redisReply *ask(struct redis_server *server, const char *format,
                       va_list args)
{
    redisReply *reply = redisvCommand(server->c, format, args);

    require(reply != NULL, server->c->errstr);
    return reply;
}

redisReply *redis_server_ask(struct redis_server *server, const char *format,
                             ...)
{
    va_list args;

    va_start(args, format);
    redisReply *reply = ask(server, format, args);
    va_end(args);
    return reply;
}

void redis_server_do(struct redis_server *server, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    redisReply *reply = ask(server, format, args);
    va_end(args);
    require(reply->type != REDIS_REPLY_ERROR, reply->str);
    freeReplyObject(reply);
}

long long redis_server_number(struct redis_server *server, const char *format,
                              ...)
{
    va_list args;
    long long number = -1000;

    va_start(args, format);
    redisReply *reply = ask(server, format, args);
    va_end(args);
    if (reply->type == REDIS_REPLY_INTEGER)
        number = reply->integer;
    else if (reply->type == REDIS_REPLY_STRING)
        number = strtoll(reply->str, NULL, 10);
    freeReplyObject(reply);
    return number;
}

const char *redis_server_field(struct redis_server *server, const char *key,
                               const char *field)
{
    static char text[512];
    redisReply *reply = redis_server_ask(server, "HGET %s %s", key, field);

    snprintf(text, sizeof(text), "%s",
             reply->type == REDIS_REPLY_STRING ? reply->str : "");
    freeReplyObject(reply);
    return text;
}

void redis_server_pause(const struct redis_server *server)
{
    char path[64];
    char state = '?';

    kill(server->pid, SIGSTOP);
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)server->pid);
    while (state != 'T') {
        FILE *file = fopen(path, "r");
        require(file != NULL, "the server is gone");
        require(fscanf(file, "%*d %*s %c", &state) == 1, "no state");
        fclose(file);
    }
}

void redis_server_resume(const struct redis_server *server)
{
    kill(server->pid, SIGCONT);
}
