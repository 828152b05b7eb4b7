/* SPDX-License-Identifier: MIT */
/* The last changes of each backend's state, and how far its drain is. */
#include "gateway/backend_history.h"

#include "gateway/backend_state.h"
#include "gateway/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct change {
    int64_t wall_ms;
    const char *state; /* static */
    char reason[sizeof(((struct gw_backend_condition *)NULL)->reason)];
};

/* Whose it is goes by id and address: the same server is the same one, also
 * where it came back after it had been forgotten. */
struct place {
    char id[GW_BACKEND_ID_MAX]; /* "": nobody's */
    char address[GW_ADDRESS_MAX];
    uint64_t count; /* of changes, so far */
    struct change changes[GW_BACKEND_CHANGES_MAX];
    int64_t drain_since_ms; /* 0: it is not drained */
    int64_t sessions_at_start;
};

struct gw_backend_history {
    struct place places[GW_BACKEND_COUNT_MAX];
};

struct gw_backend_history *gw_backend_history_new(void)
{
    return calloc(1, sizeof(struct gw_backend_history));
}

void gw_backend_history_free(struct gw_backend_history *history)
{
    free(history);
}

static void take_over(struct place *place, const struct gw_backend *backend)
{
    if (strcmp(place->id, backend->config->id) == 0 &&
        strcmp(place->address, backend->config->address.text) == 0)
        return;
    *place = (struct place){.count = 0};
    snprintf(place->id, sizeof(place->id), "%s", backend->config->id);
    snprintf(place->address, sizeof(place->address), "%s",
             backend->config->address.text);
}

static void note_state(struct place *place,
                       const struct gw_backend_condition *condition,
                       int64_t wall_ms)
{
    const struct change *last =
        &place->changes[(place->count - 1) % GW_BACKEND_CHANGES_MAX];

    if (place->count > 0 && strcmp(last->state, condition->state) == 0)
        return;
    struct change *change =
        &place->changes[place->count++ % GW_BACKEND_CHANGES_MAX];
    change->wall_ms = wall_ms;
    change->state = condition->state;
    memcpy(change->reason, condition->reason, sizeof(change->reason));
}

/* Those that were closed already were there, too. */
static int64_t sessions_to_close(const struct gw_backend *backend)
{
    int64_t sessions = atomic_load(&backend->sessions);

    return (sessions > 0 ? sessions : 0) + atomic_load(&backend->drain_closed);
}

static void note_drain(struct place *place, const struct gw_backend *backend)
{
    if (place->drain_since_ms == backend->drain_since_ms)
        return;
    place->drain_since_ms = backend->drain_since_ms;
    place->sessions_at_start = sessions_to_close(backend);
}

void gw_backend_history_step(struct gw_backend_history *history,
                             const struct gw_server *server, int64_t now_ms,
                             int64_t wall_ms)
{
    const struct gw_backends *backends = server->backends;
    size_t used = gw_backends_used(backends);

    for (size_t i = 0; i < used; i++) {
        const struct gw_backend *backend = &backends->list[i];
        struct place *place = &history->places[i];
        struct gw_backend_condition condition;

        if (!gw_backend_is_known(backend)) {
            place->id[0] = '\0';
            continue;
        }
        take_over(place, backend);
        gw_backend_describe(server->config, backend, now_ms, &condition);
        note_state(place, &condition, wall_ms);
        note_drain(place, backend);
    }
}

/* One that began since the last step begins with what is there now. */
static bool add_start(const struct place *place, bool is_own,
                      const struct gw_backend *backend, cJSON *object)
{
    cJSON *drain = cJSON_GetObjectItemCaseSensitive(object, "drain");
    int64_t sessions = place->sessions_at_start;

    if (!cJSON_IsObject(drain))
        return true;
    if (!is_own || place->drain_since_ms != backend->drain_since_ms)
        sessions = sessions_to_close(backend);
    return gw_json_add_count(drain, "sessions_at_start", sessions);
}

bool gw_backend_history_add(const struct gw_backend_history *history,
                            const struct gw_server *server, unsigned place,
                            cJSON *backend)
{
    const struct gw_backend *one = &server->backends->list[place];
    const struct place *own = &history->places[place];
    bool is_own = strcmp(own->id, one->config->id) == 0 &&
                  strcmp(own->address, one->config->address.text) == 0;
    uint64_t count = is_own ? own->count : 0;
    cJSON *list = cJSON_AddArrayToObject(backend, "history");
    bool is_whole = list != NULL;

    for (uint64_t i = 0; is_whole && i < count && i < GW_BACKEND_CHANGES_MAX;
         i++) {
        const struct change *change =
            &own->changes[(count - 1 - i) % GW_BACKEND_CHANGES_MAX];
        cJSON *object = gw_json_append(list);

        is_whole =
            object != NULL &&
            gw_json_add_time(object, "time", change->wall_ms) &&
            cJSON_AddStringToObject(object, "state", change->state) != NULL &&
            cJSON_AddStringToObject(object, "reason", change->reason) != NULL;
    }
    return is_whole && add_start(own, is_own, one, backend);
}
