/* SPDX-License-Identifier: MIT */
/* The API: the list of backends, and what changes them. */
#include "gateway/api.h"

#include "gateway/backend_state.h"
#include "gateway/history.h"
#include "gateway/json.h"
#include "gateway/metrics.h"
#include "gateway/options.h"
#include "gateway/tally.h"
#include "gateway/tls.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* The list */

static const char *source_name(const struct gw_backend *backend)
{
    switch (backend->source) {
    case GW_SOURCE_DISCOVERY:
        return "discovery";
    case GW_SOURCE_OPERATOR:
        return "operator";
    case GW_SOURCE_CONFIG:
        break;
    }
    return "config";
}

static bool add_drain(cJSON *object, const struct gw_backend *backend,
                      int64_t now_ms)
{
    int64_t deadline_ms = backend->drain_deadline_ms;
    int64_t since_ms =
        backend->drain_since_ms != 0 ? backend->drain_since_ms : now_ms;

    /* One that is removed is drained, too. */
    if (atomic_load(&backend->drains) == 0 && gw_backend_is_live(backend))
        return cJSON_AddNullToObject(object, "drain") != NULL;
    cJSON *drain = cJSON_AddObjectToObject(object, "drain");
    if (drain == NULL ||
        !gw_json_add_count(drain, "rate", backend->drain_rate) ||
        !gw_json_add_count(drain, "closed",
                           atomic_load(&backend->drain_closed)) ||
        !gw_json_add_number(drain, "since_s",
                            (double)(now_ms - since_ms) / 1000))
        return false;
    if (deadline_ms == 0)
        return cJSON_AddNullToObject(drain, "deadline_s") != NULL;
    return gw_json_add_count(drain, "deadline_s",
                             (deadline_ms - now_ms + 999) / 1000);
}

static bool add_condition(cJSON *object, const struct gw_config *config,
                          const struct gw_backend *backend, int64_t now_ms)
{
    struct gw_backend_condition condition;

    gw_backend_describe(config, backend, now_ms, &condition);
    return cJSON_AddStringToObject(object, "state", condition.state) != NULL &&
           cJSON_AddStringToObject(object, "reason", condition.reason) != NULL;
}

static bool add_sessions(cJSON *object, const struct gw_pool_config *pool,
                         const struct gw_backend *backend)
{
    unsigned max = atomic_load(&backend->max_sessions);
    long long all = atomic_load(&backend->sessions);
    long long websockets = atomic_load(&backend->websockets);

    if (websockets > all)
        websockets = all;
    return gw_json_add_count(object, "max_sessions",
                             max > 0 ? max : pool->max_sessions) &&
           gw_json_add_count(object, "sessions", all) &&
           gw_json_add_count(object, "sessions_polling", all - websockets) &&
           gw_json_add_count(object, "sessions_websocket", websockets) &&
           gw_json_add_count(object, "handshakes",
                             atomic_load(&backend->handshakes)) &&
           gw_json_add_count(object, "sessions_elsewhere",
                             atomic_load(&backend->elsewhere));
}

/* What went there since it is in the list. */
static bool add_totals(cJSON *object, const struct gw_server *server,
                       unsigned place)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        {"requests_total", offsetof(struct gw_backend_metrics, b_requests)},
        {"upgrade_attempts",
         offsetof(struct gw_backend_metrics, b_upgrade_attempts)},
        {"upgrade_successes",
         offsetof(struct gw_backend_metrics, b_upgrade_successes)},
    };
    uint64_t errors =
        gw_tally_sum_of(server, place,
                        offsetof(struct gw_backend_metrics, b_connect_errors)) +
        gw_tally_sum_of(server, place,
                        offsetof(struct gw_backend_metrics, b_bad_responses));

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (!gw_json_add_count(
                object, fields[i].name,
                (long long)gw_tally_sum_of(server, place, fields[i].offset)))
            return false;
    return gw_json_add_count(object, "errors_total", (long long)errors);
}

static bool add_backend(cJSON *object, const struct gw_control *control,
                        const struct gw_backend *backend, int64_t now_ms)
{
    const struct gw_server *server = control->server;
    const struct gw_backend_config *own = backend->config;
    const struct gw_pool_config *pool = &server->config->pools[own->pool];

    return object != NULL &&
           cJSON_AddStringToObject(object, "id", own->id) != NULL &&
           cJSON_AddStringToObject(object, "pool", pool->name) != NULL &&
           cJSON_AddStringToObject(object, "address", own->address.text) !=
               NULL &&
           add_condition(object, server->config, backend, now_ms) &&
           gw_json_add_count(object, "weight", atomic_load(&backend->weight)) &&
           add_sessions(object, pool, backend) &&
           cJSON_AddStringToObject(object, "source", source_name(backend)) !=
               NULL &&
           add_drain(object, backend, now_ms) &&
           add_totals(object, server, backend->index) &&
           gw_history_add_backend(control->history, backend->index, object);
}

bool gw_api_add_backends(const struct gw_control *control, cJSON *root)
{
    const struct gw_backends *backends = control->server->backends;
    size_t used = gw_backends_used(backends);
    int64_t now_ms = gw_now_ms();
    cJSON *list = cJSON_AddArrayToObject(root, "backends");
    bool is_whole = list != NULL;

    for (size_t i = 0; is_whole && i < used; i++)
        if (gw_backend_is_known(&backends->list[i]))
            is_whole = add_backend(gw_json_append(list), control,
                                   &backends->list[i], now_ms);
    return is_whole;
}

void gw_api_backends(struct gw_control *control,
                     const struct gw_command *command,
                     struct gw_outcome *outcome)
{
    cJSON *root = cJSON_CreateObject();

    (void)command;
    gw_api_finish(
        outcome, root,
        root != NULL &&
            cJSON_AddStringToObject(root, "gateway",
                                    control->server->gateway_id) != NULL &&
            cJSON_AddStringToObject(root, "version", SIDGATE_VERSION) != NULL &&
            gw_json_add_count(root, "pid", getpid()) &&
            gw_api_add_backends(control, root));
}

/* Backends that come and go */

/* The index of a pool, or -1. */
static int find_pool(const struct gw_config *config, const char *name)
{
    if (name[0] == '\0')
        return 0;
    for (size_t i = 0; i < config->pool_count; i++)
        if (!config->pools[i].is_removed &&
            strcmp(config->pools[i].name, name) == 0)
            return (int)i;
    return -1;
}

void gw_api_add(struct gw_control *control, const struct gw_command *command,
                struct gw_outcome *outcome)
{
    const struct gw_config *config = control->server->config;
    struct gw_backends *backends = control->server->backends;
    enum gw_backend_source source = GW_SOURCE_OPERATOR;
    struct gw_backend_config backend = {.id = ""};
    char error[GW_OPTIONS_ERROR_MAX] = "";
    int pool = find_pool(config, command->pool);

    if (pool < 0) {
        gw_outcome_refuse(outcome, 404, "there is no pool %s", command->pool);
        return;
    }
    if (gw_options_parse_backend(command->spec, &backend, error) != 0) {
        gw_outcome_refuse(outcome, 400, "%s", error);
        return;
    }
    backend.pool = (uint8_t)pool;
    if (pool > 0 && !gw_options_qualify(command->pool, backend.id)) {
        gw_outcome_refuse(outcome, 400, "the id %s is too long for pool %s",
                          backend.id, command->pool);
        return;
    }
    if (backend.is_tls && !gw_tls_can_connect(control->server->tls, &backend)) {
        gw_outcome_refuse(outcome, 409,
                          "no configured backend speaks TLS like it, so it "
                          "cannot be reached: add it there and reload");
        return;
    }
    /* One that is there already is whose it was. */
    const struct gw_backend *known = gw_backend_find(backends, backend.id);
    if (known != NULL && gw_backend_is_live(known))
        source = known->source;
    if (gw_backends_add(backends, &backend, source,
                        config->pools[pool].slow_start_ms > 0, error) == NULL)
        gw_outcome_refuse(outcome, 409, "%s", error);
}

static struct gw_backend *find(struct gw_control *control,
                               const struct gw_command *command,
                               struct gw_outcome *outcome)
{
    struct gw_backend *backend =
        gw_backend_find(control->server->backends, command->id);

    if (backend == NULL)
        gw_outcome_refuse(outcome, 404, "there is no backend %s", command->id);
    return backend;
}

static bool is_last_of_pool(struct gw_backends *backends,
                            const struct gw_backend *backend)
{
    size_t used = gw_backends_used(backends);

    for (size_t i = 0; i < used; i++) {
        const struct gw_backend *one = &backends->list[i];

        if (one != backend && gw_backend_is_live(one) &&
            one->config->pool == backend->config->pool)
            return false;
    }
    return true;
}

void gw_api_remove(struct gw_control *control, const struct gw_command *command,
                   struct gw_outcome *outcome)
{
    const struct gw_config *config = control->server->config;
    struct gw_backend *backend = find(control, command, outcome);

    if (backend == NULL || !gw_backend_is_live(backend))
        return;
    if (backend->source == GW_SOURCE_DISCOVERY)
        gw_outcome_refuse(outcome, 409,
                          "%s would come back with the next lookup of its "
                          "name; drain it instead",
                          command->id);
    else if (is_last_of_pool(control->server->backends, backend))
        gw_outcome_refuse(outcome, 409, "%s is the last backend of pool %s",
                          command->id,
                          config->pools[backend->config->pool].name);
    else
        gw_backend_remove(control->server->backends, backend, gw_now_ms());
}

/* Drains */

void gw_api_drain(struct gw_control *control, const struct gw_command *command,
                  struct gw_outcome *outcome)
{
    struct gw_backend *backend = find(control, command, outcome);

    if (backend != NULL)
        gw_drain_begin(control, backend, command->rate, command->timeout_ms);
}

void gw_api_undrain(struct gw_control *control,
                    const struct gw_command *command,
                    struct gw_outcome *outcome)
{
    struct gw_backend *backend = find(control, command, outcome);

    if (backend == NULL)
        return;
    gw_drain_end(control, backend);
    if ((atomic_load(&backend->drains) & GW_DRAIN_CONFIG) != 0)
        gw_outcome_refuse(outcome, 409,
                          "the configuration drains %s; change that and reload",
                          command->id);
}
