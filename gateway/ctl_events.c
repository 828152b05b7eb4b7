/* SPDX-License-Identifier: MIT */
/* `sidgate ctl events`: what the gateway has logged of late, and goes on to
 * log. */
#include "gateway/ctl_call.h"
#include "gateway/ctl_frame.h"
#include "gateway/ctl_table.h"
#include "gateway/ctl_text.h"
#include "gateway/ctl_watch.h"
#include "gateway/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    EVENTS = 100, /* without --limit */
    PAGE_MAX = 500,
    POLL_MS = 1000,
    SILENCE_MS = 30000, /* that a gateway may be away */
};

static const double seq_max = 9007199254740991.0;

/* Where following stands. */
struct follow {
    struct gw_ctl_call *call;
    double after;     /* the last one that was seen; below 0: none */
    long limit;       /* of the next answer */
    int64_t heard_ms; /* when the gateway answered last */
    bool is_silent;   /* and that was said */
    bool is_json;
};

static bool needs_quotes(const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '=')
            return true;
    return *text == '\0';
}

/* Appends " key=value" as far as there is room. */
static void add_field(const cJSON *field, char *line, size_t size)
{
    size_t len = strlen(line);
    char *json = cJSON_IsString(field) ? NULL : cJSON_PrintUnformatted(field);
    const char *value = cJSON_IsString(field) ? field->valuestring
                        : json != NULL        ? json
                                              : "";
    const char *quote =
        cJSON_IsString(field) && needs_quotes(value) ? "\"" : "";

    snprintf(line + len, size - len, " %s=%s%s%s",
             field->string != NULL ? field->string : "", quote, value, quote);
    cJSON_free(json);
}

static void write_event(const cJSON *event, char *line, size_t size)
{
    const cJSON *fields = gw_ctl_member(event, "fields");
    const char *time = gw_ctl_text(event, "time");
    const char *level = gw_ctl_text(event, "level");
    const char *name = gw_ctl_text(event, "event");
    const cJSON *field = NULL;

    snprintf(line, size, "%.40s %.10s %.60s", time != NULL ? time : "-",
             level != NULL ? level : "-", name != NULL ? name : "-");
    if (cJSON_IsObject(fields))
        cJSON_ArrayForEach(field, fields)
        {
            add_field(field, line, size);
        }
}

void gw_ctl_frame_event(struct gw_ctl_frame *frame, const cJSON *event)
{
    char line[GW_CTL_LINE_MAX];
    const char *level = gw_ctl_text(event, "level");
    bool is_error = level != NULL && strcmp(level, "error") == 0;
    bool is_warning = level != NULL && strcmp(level, "warning") == 0;

    write_event(event, line, sizeof(line));
    gw_ctl_frame_add(frame,
                     is_error     ? GW_CTL_BAD
                     : is_warning ? GW_CTL_WARN
                                  : GW_CTL_PLAIN,
                     "%s", line);
}

static void print_event(const cJSON *event, bool is_json)
{
    char line[4096];

    if (is_json) {
        char *json = cJSON_PrintUnformatted(event);

        if (json != NULL)
            gw_ctl_print_json(json, strlen(json), stdout);
        cJSON_free(json);
    } else {
        write_event(event, line, sizeof(line));
        gw_ctl_print(line, stdout);
    }
    fputc('\n', stdout);
}

/* The path of a question; `after` below 0 asks for the newest. */
static bool make_path(const struct follow *follow, char *path)
{
    char limit[24];
    char after[32];

    snprintf(path, GW_CTL_PATH_MAX, "/api/v1/events");
    snprintf(limit, sizeof(limit), "%ld", follow->limit);
    snprintf(after, sizeof(after), "%.0f", follow->after);
    return gw_ctl_path_set(path, "after", follow->after >= 0 ? after : NULL) &&
           gw_ctl_path_set(path, "limit", limit) &&
           gw_ctl_path_set(path, "level", follow->call->values[GW_CTL_LEVEL]);
}

static bool is_seq(double value)
{
    return value >= 0 && value <= seq_max && value == (double)(int64_t)value;
}

/* Whether it is an answer to that question. */
static bool is_events(const cJSON *root)
{
    const cJSON *list = gw_ctl_member(root, "events");
    const cJSON *event = NULL;

    if (!cJSON_IsArray(list) || !is_seq(gw_ctl_number(root, "last")))
        return false;
    cJSON_ArrayForEach(event, list)
    {
        if (!is_seq(gw_ctl_number(event, "seq")))
            return false;
    }
    return true;
}

static void say_lost(const struct follow *follow, const char *key, double lost)
{
    if (follow->is_json)
        printf("{\"%s\":%.0f}\n", key, lost);
    else if (strcmp(key, "lost") == 0)
        printf("-- %.0f lost here: the gateway keeps only its last ones --\n",
               lost);
    else
        puts("-- the gateway began anew --");
}

/* Prints what is new. True when there may be more at once. */
static bool take(struct follow *follow, const cJSON *root)
{
    const cJSON *list = gw_ctl_member(root, "events");
    double last = gw_ctl_number(root, "last");
    double lost = gw_ctl_number(root, "lost");
    const cJSON *event = NULL;
    long count = 0;

    /* Another process counts from the start. */
    if (follow->after >= 0 && last < follow->after) {
        say_lost(follow, "began_anew", 1);
        follow->after = 0;
        follow->limit = PAGE_MAX;
        return true;
    }
    if (follow->after >= 0 && lost >= 1 && lost <= seq_max)
        say_lost(follow, "lost", lost);
    double seen = follow->after;
    cJSON_ArrayForEach(event, list)
    {
        double seq = gw_ctl_number(event, "seq");

        if (seq <= seen)
            continue; /* it was there already */
        print_event(event, follow->is_json);
        seen = seq;
        count++;
    }
    bool is_full = follow->after >= 0 && count >= follow->limit && seen < last;
    follow->after = is_full || seen > last ? seen : last;
    follow->limit = PAGE_MAX;
    return is_full;
}

/* 0, or the code to exit with after a question that failed. One that was not
 * answered is asked again for a while: the gateway may be starting anew. */
static int take_failure(struct follow *follow, int code)
{
    const char *error = follow->call->error;

    if (code != GW_CTL_UNASKED || follow->after < 0)
        return gw_ctl_fail(error, code);
    if (gw_now_ms() - follow->heard_ms >= SILENCE_MS)
        return gw_ctl_fail("no answer for 30 s", code);
    if (!follow->is_silent)
        gw_ctl_fail(error, code);
    follow->is_silent = true;
    return 0;
}

/* One question. 0, or the code to exit with. */
static int ask(struct follow *follow, bool *has_more)
{
    char path[GW_CTL_PATH_MAX];
    cJSON *root = NULL;

    *has_more = false;
    if (!make_path(follow, path))
        return gw_ctl_fail("the argument is too long", GW_CTL_UNASKED);
    int code = gw_ctl_try(follow->call, false, path, &root);
    if (code == 0 && !is_events(root)) {
        cJSON_Delete(root);
        return gw_ctl_fail("what came is no list of events", GW_CTL_UNASKED);
    }
    if (code != 0)
        return gw_ctl_is_stopped(&follow->call->target)
                   ? 0
                   : take_failure(follow, code);
    follow->heard_ms = gw_now_ms();
    follow->is_silent = false;
    *has_more = take(follow, root);
    cJSON_Delete(root);
    return 0;
}

static int run_follow(struct follow *follow)
{
    struct gw_ctl_watch watch;
    enum gw_ctl_wake wake = GW_CTL_TIME_IS_UP;
    int code = 0;

    if (!gw_ctl_watch_open(&watch))
        return gw_ctl_fail(strerror(errno), GW_CTL_UNASKED);
    follow->call->target.stop_fd = watch.fd;
    while (code == 0 && wake != GW_CTL_END) {
        bool has_more = false;

        code = ask(follow, &has_more);
        if (fflush(stdout) != 0)
            break;
        wake = gw_ctl_wait(&watch, has_more ? 0 : POLL_MS);
    }
    follow->call->target.stop_fd = -1;
    gw_ctl_watch_close(&watch);
    return code;
}

int gw_ctl_run_events(struct gw_ctl_call *call)
{
    struct follow follow = {.call = call,
                            .after = -1,
                            .limit = EVENTS,
                            .is_json = gw_ctl_is_given(call, GW_CTL_JSON)};
    char path[GW_CTL_PATH_MAX];
    cJSON *root = NULL;

    if (!gw_ctl_read_count(call, GW_CTL_LIMIT, PAGE_MAX, &follow.limit))
        return gw_ctl_fail(call->error, GW_CTL_UNASKED);
    if (gw_ctl_is_given(call, GW_CTL_FOLLOW))
        return run_follow(&follow);
    if (!make_path(&follow, path))
        return gw_ctl_fail("the argument is too long", GW_CTL_UNASKED);
    int code = gw_ctl_fetch(call, false, path, &root);
    if (code == 0 && !is_events(root))
        code = gw_ctl_fail("what came is no list of events", GW_CTL_UNASKED);
    else if (code == 0 && follow.is_json)
        gw_ctl_print_answer(call);
    else if (code == 0)
        take(&follow, root);
    cJSON_Delete(root);
    return code;
}
