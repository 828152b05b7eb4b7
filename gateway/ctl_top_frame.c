/* SPDX-License-Identifier: MIT */
/* What `sidgate ctl top` shows. */
#include "gateway/ctl_table.h"
#include "gateway/ctl_text.h"
#include "gateway/ctl_top.h"
#include "gateway/ctl_units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    REMARKS_MAX = 2 * GW_CTL_CELL_MAX,
    WIDE = 120, /* columns from which there is room for long names */
    BAR_MAX = 16,
    REPLICAS = 8, /* in the line of them */
    EVENTS = 8,
};

/* Rates */

static const struct gw_ctl_sample *find(const struct gw_ctl_samples *samples,
                                        const char *id)
{
    for (size_t i = 0; i < samples->count; i++)
        if (strncmp(samples->list[i].id, id, GW_CTL_TOP_ID - 1) == 0)
            return &samples->list[i];
    return NULL;
}

/* NAN where nothing is known; a counter that fell is that of another process.
 */
static double rate(double now, double before, int64_t ms)
{
    return now >= before && ms > 0 ? (now - before) * 1000 / (double)ms
                                   : (double)NAN;
}

void gw_ctl_top_sample(struct gw_ctl_samples *samples, const cJSON *backends,
                       int64_t now_ms)
{
    static struct gw_ctl_samples old;
    int64_t ms = samples->at_ms > 0 ? now_ms - samples->at_ms : 0;
    const cJSON *backend = NULL;

    old = *samples;
    samples->count = 0;
    samples->at_ms = now_ms;
    cJSON_ArrayForEach(backend, backends)
    {
        const char *id = gw_ctl_text(backend, "id");

        if (id == NULL || samples->count == GW_CTL_TOP_BACKENDS)
            continue;
        struct gw_ctl_sample *sample = &samples->list[samples->count++];
        const struct gw_ctl_sample *before = find(&old, id);
        *sample = (struct gw_ctl_sample){
            .requests = gw_ctl_number(backend, "requests_total"),
            .errors = gw_ctl_number(backend, "errors_total"),
            .requests_per_s = NAN,
            .errors_per_s = NAN,
        };
        snprintf(sample->id, sizeof(sample->id), "%s", id);
        if (before == NULL)
            continue;
        sample->requests_per_s = rate(sample->requests, before->requests, ms);
        sample->errors_per_s = rate(sample->errors, before->errors, ms);
    }
}

/* The backends: those that are ill first, then those with most sessions. */

struct order {
    const cJSON *backend;
    size_t place; /* in the answer */
    bool is_up;
    double sessions;
};

static int compare(const void *left, const void *right)
{
    const struct order *a = left;
    const struct order *b = right;

    if (a->is_up != b->is_up)
        return a->is_up ? 1 : -1;
    if (a->sessions != b->sessions)
        return a->sessions < b->sessions ? 1 : -1;
    return (a->place > b->place) - (a->place < b->place);
}

static double sessions_of(const cJSON *backend)
{
    double sessions = gw_ctl_number(backend, "sessions");

    return sessions >= 0 ? sessions : 0;
}

static size_t sort(const cJSON *backends, struct order *out)
{
    const cJSON *backend = NULL;
    size_t count = 0;

    cJSON_ArrayForEach(backend, backends)
    {
        const char *state = gw_ctl_text(backend, "state");

        if (count == GW_CTL_TOP_BACKENDS)
            break;
        out[count] = (struct order){
            .backend = backend,
            .place = count,
            .is_up = state != NULL && strcmp(state, "up") == 0,
            .sessions = sessions_of(backend),
        };
        count++;
    }
    if (count > 1)
        qsort(out, count, sizeof(*out), compare);
    return count;
}

static enum gw_ctl_style style_of(const cJSON *backend)
{
    const char *state = gw_ctl_text(backend, "state");

    if (state == NULL || strcmp(state, "down") == 0 ||
        strcmp(state, "ejected") == 0 || strcmp(state, "refused") == 0)
        return GW_CTL_BAD;
    return strcmp(state, "up") == 0 ? GW_CTL_PLAIN : GW_CTL_WARN;
}

/* What the list of backends is drawn with. */
struct drawing {
    struct gw_ctl_frame *frame;
    const struct gw_ctl_samples *samples;
    int id;      /* width */
    int bar;     /* of the longest one */
    double most; /* sessions that it stands for */
};

static void put_bar(const struct drawing *drawing, double value,
                    char out[BAR_MAX + 1])
{
    double most = drawing->most;
    int len = most > 0 ? (int)(value / most * drawing->bar + 0.5) : 0;

    if (len == 0 && value > 0)
        len = 1;
    snprintf(out, BAR_MAX + 1, "%.*s", len, "################");
}

/* How far its drain is, and why it is in this state. */
static void put_remarks(const cJSON *backend, char out[REMARKS_MAX])
{
    char drain[GW_CTL_CELL_MAX];
    char reason[GW_CTL_CELL_MAX];

    gw_ctl_put_drain(backend, "drain", drain);
    gw_ctl_put_text(backend, "reason", reason);
    bool is_draining = strcmp(drain, "-") != 0;
    bool has_reason = strcmp(reason, "-") != 0;
    snprintf(out, REMARKS_MAX, "%s%s%s", is_draining ? drain : "",
             is_draining && has_reason ? "; " : "", has_reason ? reason : "");
}

static void add_backend(const struct drawing *drawing, const cJSON *backend)
{
    char id[GW_CTL_CELL_MAX];
    char state[GW_CTL_CELL_MAX];
    char remarks[REMARKS_MAX];
    char bar[BAR_MAX + 1];
    char units[5][GW_CTL_UNIT_MAX];
    const char *name = gw_ctl_text(backend, "id");
    const struct gw_ctl_sample *sample =
        find(drawing->samples, name != NULL ? name : "");

    gw_ctl_put_text(backend, "id", id);
    gw_ctl_put_text(backend, "state", state);
    put_remarks(backend, remarks);
    put_bar(drawing, sessions_of(backend), bar);
    gw_ctl_count(gw_ctl_number(backend, "sessions"), units[0]);
    gw_ctl_count(gw_ctl_number(backend, "sessions_websocket"), units[1]);
    gw_ctl_rate(sample != NULL ? sample->requests_per_s : (double)NAN,
                units[2]);
    gw_ctl_rate(sample != NULL ? sample->errors_per_s : (double)NAN, units[3]);
    gw_ctl_share(gw_ctl_upgraded(backend), units[4]);
    gw_ctl_frame_add(drawing->frame, style_of(backend),
                     "%-*.*s %-8.8s %8s %-*s %7s %6s %6s %8s  %s", drawing->id,
                     drawing->id, id, state, units[0], drawing->bar, bar,
                     units[1], units[2], units[3], units[4], remarks);
}

static void add_backends(struct drawing *drawing, const cJSON *backends,
                         size_t room)
{
    static struct order order[GW_CTL_TOP_BACKENDS];
    size_t count = sort(backends, order);
    size_t shown = count <= room ? count : room - 1;

    for (size_t i = 0; i < count; i++)
        if (order[i].sessions > drawing->most)
            drawing->most = order[i].sessions;
    gw_ctl_frame_add(drawing->frame, GW_CTL_TITLE,
                     "%-*s %-8s %8s %-*s %7s %6s %6s %8s", drawing->id,
                     "BACKEND", "STATE", "SESSIONS", drawing->bar, "",
                     "WEBSOCK", "REQ/S", "ERR/S", "UPGRADED");
    for (size_t i = 0; i < shown; i++)
        add_backend(drawing, order[i].backend);
    if (shown < count)
        gw_ctl_frame_add(drawing->frame, GW_CTL_PLAIN, "and %zu more",
                         count - shown);
}

/* The lines between */

static void add_replicas(struct gw_ctl_frame *frame, const cJSON *replicas)
{
    char line[GW_CTL_LINE_MAX] = "";
    const cJSON *replica = NULL;
    int count = 0;

    cJSON_ArrayForEach(replica, replicas)
    {
        size_t len = strlen(line);
        char id[GW_CTL_CELL_MAX];
        char sessions[GW_CTL_UNIT_MAX];

        gw_ctl_put_text(replica, "id", id);
        gw_ctl_count(gw_ctl_number(replica, "sessions"), sessions);
        if (count++ < REPLICAS)
            snprintf(line + len, sizeof(line) - len, "%s%.40s%s %s",
                     len > 0 ? ", " : "", id,
                     cJSON_IsTrue(gw_ctl_member(replica, "is_self")) ? "*" : "",
                     sessions);
    }
    gw_ctl_frame_add(frame, GW_CTL_PLAIN, "replicas    %d: %s%s", count, line,
                     count > REPLICAS ? ", ..." : "");
}

/* Who has the most sessions, and who the most requests. */
static void add_busiest(struct gw_ctl_frame *frame, const cJSON *backends,
                        const struct gw_ctl_samples *samples)
{
    const struct gw_ctl_sample *fastest = NULL;
    const cJSON *fullest = NULL;
    const cJSON *backend = NULL;
    char units[2][GW_CTL_UNIT_MAX];
    char id[GW_CTL_CELL_MAX];
    double all = 0;

    cJSON_ArrayForEach(backend, backends)
    {
        all += sessions_of(backend);
        if (fullest == NULL || sessions_of(backend) > sessions_of(fullest))
            fullest = backend;
    }
    for (size_t i = 0; i < samples->count; i++)
        if (samples->list[i].requests_per_s >
            (fastest != NULL ? fastest->requests_per_s : 0))
            fastest = &samples->list[i];
    gw_ctl_share(all > 0 ? sessions_of(fullest) / all : -1, units[0]);
    gw_ctl_rate(fastest != NULL ? fastest->requests_per_s : (double)NAN,
                units[1]);
    gw_ctl_put_text(all > 0 ? fullest : NULL, "id", id);
    gw_ctl_frame_add(frame, GW_CTL_PLAIN,
                     "busiest     %.40s has %s of the sessions; %.40s answers "
                     "%s requests/s",
                     id, units[0], fastest != NULL ? fastest->id : "-",
                     units[1]);
}

static void add_events(struct gw_ctl_frame *frame, const cJSON *events,
                       size_t room)
{
    int count = cJSON_GetArraySize(events);
    const cJSON *event = NULL;
    int at = 0;

    gw_ctl_frame_add(frame, GW_CTL_TITLE, "EVENTS");
    cJSON_ArrayForEach(event, events)
    {
        if (at++ >= count - (int)room)
            gw_ctl_frame_event(frame, event);
    }
}

/* The rows of events, where so many are left for them and the backends. */
static size_t share_events(size_t left, size_t backends, size_t events)
{
    if (events > EVENTS)
        events = EVENTS;
    if (events + backends <= left || events <= left / 3)
        return events;
    return backends < left - left / 3 ? left - backends : left / 3;
}

void gw_ctl_top_frame(struct gw_ctl_frame *frame, const struct gw_ctl_top *top,
                      const struct gw_ctl_samples *samples,
                      const struct gw_ctl_screen *screen)
{
    bool is_wide = screen->columns == 0 || screen->columns >= WIDE;
    struct drawing drawing = {.frame = frame,
                              .samples = samples,
                              .id = is_wide ? 24 : 12,
                              .bar = is_wide ? BAR_MAX : 6};
    size_t backends = (size_t)cJSON_GetArraySize(top->backends);
    size_t events = (size_t)cJSON_GetArraySize(top->events);

    gw_ctl_frame_status(frame, top->status);
    add_replicas(frame, gw_ctl_member(top->status, "replicas"));
    add_busiest(frame, top->backends, samples);
    gw_ctl_frame_add(frame, GW_CTL_PLAIN, "%s", "");
    /* Two lines of titles and an empty one are still to come. */
    size_t fixed = frame->count + 3;
    size_t rows = screen->rows > 0 ? screen->rows : GW_CTL_LINES_MAX;
    size_t left = rows > fixed + 2 ? rows - fixed : 2;
    events = share_events(left, backends, events);
    add_backends(&drawing, top->backends, left - events);
    gw_ctl_frame_add(frame, GW_CTL_PLAIN, "%s", "");
    add_events(frame, top->events, events);
}
