/* SPDX-License-Identifier: MIT */
/*
 * The access log: a line for each request and for each session that ended.
 *
 * Lines are put into buffers of bounded size, which a thread of the log's own
 * writes, so that a full disk or a reader that has stopped never holds up
 * traffic: what finds no room is dropped and counted. A descriptor that cannot
 * be written is told of in the log, once, and tried again.
 */
#ifndef SIDGATE_GATEWAY_ACCESS_LOG_H
#define SIDGATE_GATEWAY_ACCESS_LOG_H

#include "gateway/config.h"
#include "gateway/session_end.h"

struct gw_access_log;
struct gw_exchange;

/* Opens the file of config->access_log ("": none, "stdout"). NULL with one line
 * in `error` when it cannot be opened or memory is short. The thread is begun
 * by gw_access_log_run. An object is made also where nothing is to be logged,
 * since a reload may want it. */
struct gw_access_log *gw_access_log_new(const struct gw_config *config,
                                        char error[256]);
bool gw_access_log_run(struct gw_access_log *log);

/* Another configuration; the file is opened before anything is changed. False
 * with one line in `error`, and everything as it was. The control thread. */
bool gw_access_log_configure(struct gw_access_log *log,
                             const struct gw_config *config, char error[256]);

/* Whether its file could be opened (--check). */
bool gw_access_log_check(const struct gw_config *config, char error[256]);

/* Opens the file anew (SIGUSR1, after it was renamed). The control thread. */
void gw_access_log_reopen(struct gw_access_log *log);

/* Writes what is in the buffers (a second at most) and ends the thread. NULL is
 * allowed. */
void gw_access_log_free(struct gw_access_log *log);

/* Whether requests are logged at all: one relaxed load. */
bool gw_access_log_is_on(const struct gw_access_log *log);

/* The form of its lines. */
enum gw_log_format gw_access_log_format(const struct gw_access_log *log);

/* Puts a line, with its newline, where the thread finds it. Any thread. */
void gw_access_log_put(struct gw_access_log *log, const char *line, size_t len);

/* Lines that were dropped. Any thread. */
uint64_t gw_access_log_lost(const struct gw_access_log *log);

/* One line of a session that ended. Any thread, also under a lock of the
 * memory store. */
void gw_access_log_session(struct gw_access_log *log,
                           const struct gw_ended *ended);

#endif
