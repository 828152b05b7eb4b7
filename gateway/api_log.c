/* SPDX-License-Identifier: MIT */
/* The API: the last lines of the log, its level, the configuration. */
#include "gateway/api.h"

#include "gateway/events.h"
#include "gateway/json.h"
#include "gateway/log.h"
#include "gateway/options.h"

#include <stdlib.h>

_Static_assert((int)GW_EVENTS_LIMIT_MAX <= (int)GW_EVENTS_MAX,
               "as many are kept");

static bool add_event(cJSON *list, const struct gw_event *event)
{
    cJSON *object = gw_json_append(list);

    return object != NULL &&
           gw_json_add_count(object, "seq", (long long)event->number) &&
           gw_json_add_time(object, "time", event->time_ms) &&
           cJSON_AddStringToObject(object, "level",
                                   gw_log_level_text(event->level)) != NULL &&
           cJSON_AddStringToObject(object, "event", event->name) != NULL &&
           cJSON_AddRawToObject(object, "fields", event->fields) != NULL;
}

static bool add_list(cJSON *root, const struct gw_event *events, size_t count)
{
    cJSON *list = cJSON_AddArrayToObject(root, "events");

    for (size_t i = 0; i < count; i++)
        if (list == NULL || !add_event(list, &events[i]))
            return false;
    return list != NULL;
}

/* How it stands with those that are not in the list. */
struct others {
    uint64_t last;
    uint64_t lost;
    uint64_t seen; /* this one and those before it need no second look */
};

static bool list_events(cJSON *root, int64_t after, enum gw_log_level level,
                        size_t max, struct others *others)
{
    struct gw_event *events = calloc(max, sizeof(*events));

    if (events == NULL)
        return false;
    size_t count =
        gw_events_list(after, level, max, events, &others->last, &others->lost);
    others->seen = count == max ? events[count - 1].number : others->last;
    bool is_whole = add_list(root, events, count);
    free(events);
    return is_whole;
}

bool gw_api_add_events(cJSON *root, int64_t after, size_t max, uint64_t *seen)
{
    struct others others = {0};
    bool is_whole = list_events(root, after, GW_LOG_DEBUG, max, &others);

    *seen = others.seen;
    return is_whole;
}

void gw_api_events(struct gw_control *control, const struct gw_command *command,
                   struct gw_outcome *outcome)
{
    enum gw_log_level level =
        command->level < 0 ? GW_LOG_DEBUG : (enum gw_log_level)command->level;
    cJSON *root = cJSON_CreateObject();
    struct others others = {0};

    (void)control;
    gw_api_finish(
        outcome, root,
        root != NULL &&
            list_events(root, command->after, level, command->limit, &others) &&
            gw_json_add_count(root, "last", (long long)others.last) &&
            gw_json_add_count(root, "lost", (long long)others.lost));
}

void gw_api_log(struct gw_control *control, const struct gw_command *command,
                struct gw_outcome *outcome)
{
    cJSON *root = cJSON_CreateObject();
    int level = atomic_load(&gw_log_level_now);

    (void)control;
    (void)command;
    gw_api_finish(outcome, root,
                  root != NULL &&
                      cJSON_AddStringToObject(
                          root, "level",
                          gw_log_level_text((enum gw_log_level)level)) != NULL);
}

/* Until the next reload, which goes by the configuration again. */
void gw_api_set_log(struct gw_control *control,
                    const struct gw_command *command,
                    struct gw_outcome *outcome)
{
    enum gw_log_level level = (enum gw_log_level)command->level;
    int was = atomic_load(&gw_log_level_now);

    (void)outcome;
    gw_log_setup(level, control->server->config->log_format);
    /* Whatever the level: what is missing from the log has its reason there. */
    gw_log_line(GW_LOG_INFO, "log_level_changed", "from",
                gw_log_level_text((enum gw_log_level)was), "to",
                gw_log_level_text(level), (const char *)NULL);
}

void gw_api_config(struct gw_control *control, const struct gw_command *command,
                   struct gw_outcome *outcome)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    (void)command;
    if (out != NULL) {
        gw_options_print(control->server->config, out);
        bool is_good = ferror(out) == 0;
        if (fclose(out) == 0 && is_good) {
            outcome->body = text;
            return;
        }
    }
    free(text);
    gw_outcome_refuse(outcome, 500, "out of memory");
}
