/* SPDX-License-Identifier: MIT */
/*
 * Where the access log goes: a file, or what stands at the other end of
 * standard output. Nothing here waits for a reader.
 */
#ifndef SIDGATE_GATEWAY_ACCESS_SINK_H
#define SIDGATE_GATEWAY_ACCESS_SINK_H

#include "gateway/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct gw_access_sink {
    int fd; /* -1: none */
    bool is_file;
    bool is_socket;
    bool may_wait; /* writing may block: it is not ours alone to change that */
    char name[GW_FILE_MAX];
};

#define GW_ACCESS_STDOUT "stdout"

/* Opens `name`, "" for none. A file that is made here is given to `user` (as
 * in --user, "" for nobody), who may have to open it again. False with one line
 * in `error`. */
bool gw_access_sink_open(struct gw_access_sink *sink, const char *name,
                         const char *user, char error[256]);

/* Whether it could be opened, without making it. */
bool gw_access_sink_check(const char *name, char error[256]);

/* As write(2), but never blocks for want of a reader: EAGAIN then. */
ssize_t gw_access_sink_write(const struct gw_access_sink *sink,
                             const char *bytes, size_t len);

/* Waits until something may be written, so long at most. */
void gw_access_sink_wait(const struct gw_access_sink *sink, int timeout_ms);

void gw_access_sink_close(struct gw_access_sink *sink);

#endif
