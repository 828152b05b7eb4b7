/* SPDX-License-Identifier: MIT */
/* Races on the last lines of the log, for a thread sanitizer: a plain program,
 * since Criterion does not run under one. */
#include "gateway/events.h"
#include "gateway/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WRITERS = 3, LINES = 3000 };

static atomic_uint running = WRITERS;
static unsigned faults;

static void *write_lines(void *arg)
{
    const char *word = arg;
    char value[600];

    for (int i = 0; i < LINES; i++) {
        size_t len = (size_t)i % (sizeof(value) - 1);

        memset(value, word[0], len);
        value[len] = '\0';
        gw_log(GW_LOG_INFO, word, "word", value, "n", gw_num(i).text);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* Each is one writer's, whole, and they are in order. */
static void look(struct gw_event *events, uint64_t *seen)
{
    uint64_t last = 0;
    uint64_t lost = 0;
    size_t count = gw_events_list((int64_t)*seen, GW_LOG_DEBUG, GW_EVENTS_MAX,
                                  events, &last, &lost);

    for (size_t i = 0; i < count; i++) {
        const struct gw_event *event = &events[i];
        size_t at = strlen("{\"word\":\"");
        size_t len =
            strspn(event->fields + at, (const char[]){event->name[0], '\0'});

        faults += event->number != *seen + (i == 0 ? lost : 0) + 1;
        faults += strchr(".\"", event->fields[at + len]) == NULL;
        faults += event->fields[strlen(event->fields) - 1] != '}';
        *seen = event->number;
    }
    faults += last < *seen;
}

int main(void)
{
    static struct gw_event events[GW_EVENTS_MAX];
    static char words[WRITERS][8] = {"alpha", "beta", "gamma"};
    pthread_t threads[WRITERS];
    uint64_t seen = 0;
    int out = dup(STDERR_FILENO);
    int null = open("/dev/null", O_WRONLY);

    dup2(null, STDERR_FILENO);
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, write_lines, words[i]);
    while (atomic_load(&running) > 0)
        look(events, &seen);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    look(events, &seen);
    dup2(out, STDERR_FILENO);
    if (faults == 0 && seen == (uint64_t)WRITERS * LINES)
        return 0;
    fprintf(stderr, "%u faults, %llu seen\n", faults, (unsigned long long)seen);
    return 1;
}
