/* SPDX-License-Identifier: MIT */
/*
 * The last lines of the log, for operators who look at the page or ask by
 * `sidgate ctl events`.
 */
#ifndef SIDGATE_GATEWAY_EVENTS_H
#define SIDGATE_GATEWAY_EVENTS_H

#include "gateway/config.h"

#include <stdint.h>

enum {
    GW_EVENTS_MAX = 512,
    GW_EVENT_TEXT_MAX = 1024, /* of one, its fields as a JSON object; a longer
                                 one keeps its first fields */
};

struct gw_event {
    uint64_t number; /* 1 for the first of this process */
    int64_t time_ms; /* wall clock */
    enum gw_log_level level;
    char name[48];
    char fields[GW_EVENT_TEXT_MAX]; /* "{...}" */
};

/* Called by the log with each line that its level lets through. `fields` is a
 * JSON object. Any thread; never blocks for long, logs nothing itself. */
void gw_events_add(int64_t time_ms, enum gw_log_level level, const char *name,
                   const char *fields);

/* Copies up to `max` events with a number above `after` and a level at least as
 * important as `level`, oldest first; after < 0: the newest. *last is the
 * number of the last one there is, *lost how many behind `after` are gone. Any
 * thread. */
size_t gw_events_list(int64_t after, enum gw_log_level level, size_t max,
                      struct gw_event *out, uint64_t *last, uint64_t *lost);

#endif
