/* SPDX-License-Identifier: MIT */
/* The API: what a page that watches is told, about once a second. */
#include "gateway/api.h"

#include "gateway/history.h"
#include "gateway/json.h"

#include <stdlib.h>

enum {
    SHARED_MS = 200, /* what one page was told does for the others, too */
    FIRST_EVENTS = 50,
    MORE_EVENTS = 200, /* at most, in one message: the others come next */
};

static bool add_events(cJSON *root, struct gw_live_seen *seen)
{
    int64_t after = seen->has_begun ? (int64_t)seen->event : -1;

    return gw_api_add_events(root, after,
                             seen->has_begun ? MORE_EVENTS : FIRST_EVENTS,
                             &seen->event);
}

/* All points, or the next one: messages come more often than points, so that
 * also a page that was slow gets all of them. */
static bool add_points(const struct gw_history *history,
                       struct gw_live_seen *seen, cJSON *root)
{
    int64_t last = gw_history_last(history);

    if (seen->has_begun && seen->point < last)
        return gw_history_add_point(history, ++seen->point, root);
    if (seen->has_begun)
        return true;
    cJSON *all = cJSON_AddObjectToObject(root, "history");
    seen->point = last;
    return all != NULL && gw_history_add_points(history, all);
}

static char *render_backends(const struct gw_control *control)
{
    cJSON *root = cJSON_CreateObject();
    char *text = NULL;

    if (root != NULL && gw_api_add_backends(control, root))
        text = cJSON_PrintUnformatted(
            cJSON_GetObjectItemCaseSensitive(root, "backends"));
    cJSON_Delete(root);
    return text;
}

/* With hundreds of backends their list takes milliseconds to make, and all
 * pages that watch want it in the same turn of the loop. */
static bool add_backends(struct gw_control *control, cJSON *root)
{
    int64_t now_ms = gw_now_ms();

    if (control->live_backends == NULL ||
        now_ms - control->live_ms >= SHARED_MS) {
        free(control->live_backends);
        control->live_backends = render_backends(control);
        control->live_ms = now_ms;
    }
    return control->live_backends != NULL &&
           cJSON_AddRawToObject(root, "backends", control->live_backends) !=
               NULL;
}

char *gw_live_render(struct gw_control *control, struct gw_live_seen *seen,
                     bool may_write)
{
    struct gw_live_seen next = *seen;
    cJSON *root = cJSON_CreateObject();
    cJSON *status =
        root != NULL ? cJSON_AddObjectToObject(root, "status") : NULL;
    char *text = gw_json_finish(
        root, status != NULL && gw_api_add_status(control, may_write, status) &&
                  add_backends(control, root) && add_events(root, &next) &&
                  add_points(control->history, &next, root));

    if (text == NULL)
        return NULL;
    next.has_begun = true;
    *seen = next;
    return text;
}
