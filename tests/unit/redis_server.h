/* SPDX-License-Identifier: MIT */
/*
 * A real redis-server for one test: on a unix socket in a folder of its own,
 * without persistence. It ends, and its folder goes, with the test, also when
 * that crashes.
 */
#ifndef SIDGATE_TESTS_UNIT_REDIS_SERVER_H
#define SIDGATE_TESTS_UNIT_REDIS_SERVER_H

#include "store/url.h"

#include <hiredis/hiredis.h>
#include <sys/types.h>

struct redis_server {
    char folder[64];
    struct store_url url;
    pid_t pid;       /* of redis-server, to pause it */
    redisContext *c; /* the test's own connection */
    int keeper_fd;
    pid_t keeper_pid;
};

/* Returns when it answers; aborts if it cannot be started. */
void redis_server_start(struct redis_server *server);
void redis_server_stop(struct redis_server *server);

/* Carries out a command in the form of hiredis (%s, %b); aborts when there is
 * no answer. The caller frees the reply. */
redisReply *redis_server_ask(struct redis_server *server, const char *format,
                             ...);

/* The same, where the answer is no error and not looked at. */
void redis_server_do(struct redis_server *server, const char *format, ...);

/* The integer or the number in a string that the answer is; -1000 when it is
 * something else. */
long long redis_server_number(struct redis_server *server, const char *format,
                              ...);

/* The field of a hash as text, which lives until the next call; "" when there
 * is none. */
const char *redis_server_field(struct redis_server *server, const char *key,
                               const char *field);

/* SIGSTOP and SIGCONT; the first returns when it has stopped. */
void redis_server_pause(const struct redis_server *server);
void redis_server_resume(const struct redis_server *server);

#endif
