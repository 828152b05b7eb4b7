/* SPDX-License-Identifier: MIT */
/* `sidgate ctl top`: asks again and again, and shows what it hears. */
#include "gateway/ctl_top.h"

#include "gateway/ctl_call.h"
#include "gateway/ctl_table.h"
#include "gateway/ctl_text.h"
#include "gateway/ctl_units.h"
#include "gateway/ctl_watch.h"
#include "gateway/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    INTERVAL_MS = 1000, /* without --interval */
    LEAST_MS = 100,
    MOST_MS = 3600000,
};

/* What came last. */
struct view {
    struct gw_ctl_call *call;
    struct gw_ctl_screen screen;
    struct gw_ctl_frame frame;
    struct gw_ctl_samples samples;
    cJSON *status;
    cJSON *backends;
    cJSON *events;
    int64_t heard_ms;
};

static void forget(struct view *view)
{
    cJSON_Delete(view->status);
    cJSON_Delete(view->backends);
    cJSON_Delete(view->events);
    view->status = view->backends = view->events = NULL;
}

/* Asks, and keeps the answer if it has this member. 0, or the code to exit with
 * and the reason in call->error. */
static int ask(struct view *view, const char *path, const char *member,
               cJSON **out)
{
    cJSON *root = NULL;
    int code = gw_ctl_try(view->call, false, path, &root);

    if (code != 0)
        return code;
    if (gw_ctl_member(root, member) == NULL) {
        cJSON_Delete(root);
        snprintf(view->call->error, sizeof(view->call->error),
                 "what came from %s has no %s", path, member);
        return GW_CTL_UNASKED;
    }
    cJSON_Delete(*out);
    *out = root;
    return 0;
}

static int refresh(struct view *view)
{
    int code = ask(view, "/api/v1/status", "now", &view->status);

    if (code == 0)
        code = ask(view, "/api/v1/backends", "backends", &view->backends);
    if (code == 0)
        code = ask(view, "/api/v1/events?limit=20", "events", &view->events);
    if (code != 0)
        return code;
    view->heard_ms = gw_now_ms();
    gw_ctl_top_sample(&view->samples, gw_ctl_member(view->backends, "backends"),
                      view->heard_ms);
    return 0;
}

/* error: why there is nothing new, or NULL */
static void draw(struct view *view, const char *error)
{
    const struct gw_ctl_top top = {
        .status = view->status,
        .backends = gw_ctl_member(view->backends, "backends"),
        .events = gw_ctl_member(view->events, "events"),
    };
    char ago[GW_CTL_UNIT_MAX];

    view->frame.count = 0;
    if (error != NULL) {
        gw_ctl_seconds((double)(gw_now_ms() - view->heard_ms) / 1000, ago);
        gw_ctl_frame_add(&view->frame, GW_CTL_BAD, "%s old: %s", ago, error);
    }
    gw_ctl_top_frame(&view->frame, &top, &view->samples, &view->screen);
    gw_ctl_frame_draw(&view->frame, &view->screen, stdout);
}

static bool read_interval(struct gw_ctl_call *call, int64_t *ms)
{
    const char *text = call->values[GW_CTL_INTERVAL];

    *ms = INTERVAL_MS;
    if (text == NULL ||
        (gw_options_parse_time(text, ms) && *ms >= LEAST_MS && *ms <= MOST_MS))
        return true;
    snprintf(call->error, sizeof(call->error),
             "--interval: %.100s is not between 100ms and 1h", text);
    return false;
}

/* A terminal that knows no escapes gets one frame below the other. */
static bool is_dumb(void)
{
    const char *term = getenv("TERM");

    return term == NULL || *term == '\0' || strcmp(term, "dumb") == 0;
}

/* A gateway that is away for a while leaves the last frame standing; one that
 * refuses ends it. 0, or the code to exit with. */
static int step(struct view *view)
{
    int code = refresh(view);

    if (code == GW_CTL_REFUSED)
        return code;
    if (code == 0 || !gw_ctl_is_stopped(&view->call->target))
        draw(view, code == 0 ? NULL : view->call->error);
    if (!view->screen.has_escapes)
        fputc('\n', stdout);
    return 0;
}

static int run_live(struct view *view, int64_t interval_ms)
{
    struct gw_ctl_watch watch;
    enum gw_ctl_wake wake = GW_CTL_REDRAW;
    int code = 0;

    if (!gw_ctl_watch_open(&watch))
        return gw_ctl_fail(strerror(errno), GW_CTL_UNASKED);
    view->screen.has_escapes = !is_dumb();
    gw_ctl_watch_take(&watch, view->screen.has_escapes);
    view->call->target.stop_fd = watch.fd;
    while (wake != GW_CTL_END) {
        gw_ctl_screen_measure(STDOUT_FILENO, &view->screen);
        if (!view->screen.has_escapes)
            view->screen.rows = 0;
        if (wake == GW_CTL_REDRAW && view->screen.has_escapes)
            draw(view, NULL);
        else if (wake == GW_CTL_TIME_IS_UP)
            code = step(view);
        if (code != 0 || fflush(stdout) != 0)
            break;
        wake = gw_ctl_wait(&watch, interval_ms);
    }
    view->call->target.stop_fd = -1;
    gw_ctl_watch_close(&watch);
    return code == 0 ? 0 : gw_ctl_fail(view->call->error, code);
}

int gw_ctl_run_top(struct gw_ctl_call *call)
{
    static struct view view;
    int64_t interval_ms = 0;

    view.call = call;
    if (gw_ctl_is_given(call, GW_CTL_JSON))
        return gw_ctl_fail("top has no --json: ask for status, backends and "
                           "events",
                           GW_CTL_UNASKED);
    if (!read_interval(call, &interval_ms))
        return gw_ctl_fail(call->error, GW_CTL_UNASKED);
    int code = refresh(&view);
    if (code != 0)
        code = gw_ctl_fail(call->error, code);
    else if (gw_ctl_is_given(call, GW_CTL_ONCE) || !isatty(STDOUT_FILENO))
        draw(&view, NULL);
    else
        code = run_live(&view, interval_ms);
    forget(&view);
    return code;
}
