/* SPDX-License-Identifier: MIT */
/* The last lines of the log: a ring under a lock that is held for copies of a
 * few bytes alone. */
#include "gateway/events.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gw_event ring[GW_EVENTS_MAX];
static uint64_t last_number;

static struct gw_event *at(uint64_t number)
{
    return &ring[number % GW_EVENTS_MAX];
}

void gw_events_add(int64_t time_ms, enum gw_log_level level, const char *name,
                   const char *fields)
{
    size_t len = strlen(fields);

    if (len >= GW_EVENT_TEXT_MAX) {
        fields = "{}";
        len = 2;
    }
    pthread_mutex_lock(&lock);
    struct gw_event *event = at(++last_number);
    event->number = last_number;
    event->time_ms = time_ms;
    event->level = level;
    snprintf(event->name, sizeof(event->name), "%s", name);
    memcpy(event->fields, fields, len + 1);
    pthread_mutex_unlock(&lock);
}

/* What stands behind the fields' end is an older event's. */
static void copy(struct gw_event *to, const struct gw_event *from)
{
    to->number = from->number;
    to->time_ms = from->time_ms;
    to->level = from->level;
    memcpy(to->name, from->name, sizeof(to->name));
    memcpy(to->fields, from->fields, strlen(from->fields) + 1);
}

/* The first of the newest `max` that matter, which are not before `first`. */
static uint64_t first_of_newest(uint64_t first, enum gw_log_level level,
                                size_t max)
{
    uint64_t number = last_number + 1;

    for (size_t count = 0; number > first && count < max; number--)
        count += at(number - 1)->level <= level;
    return number;
}

size_t gw_events_list(int64_t after, enum gw_log_level level, size_t max,
                      struct gw_event *out, uint64_t *last, uint64_t *lost)
{
    size_t count = 0;

    pthread_mutex_lock(&lock);
    uint64_t first =
        last_number > GW_EVENTS_MAX ? last_number - GW_EVENTS_MAX + 1 : 1;
    uint64_t from =
        after < 0 ? first_of_newest(first, level, max) : (uint64_t)after + 1;
    *last = last_number;
    *lost = from < first ? first - from : 0;
    if (from < first)
        from = first;
    for (; from <= last_number && count < max; from++)
        if (at(from)->level <= level)
            copy(&out[count++], at(from));
    pthread_mutex_unlock(&lock);
    return count;
}
