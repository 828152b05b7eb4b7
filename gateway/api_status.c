/* SPDX-License-Identifier: MIT */
/* The API: how the process and its replicas are, now and before. */
#include "gateway/api.h"

#include "gateway/history.h"
#include "gateway/json.h"
#include "gateway/log.h"
#include "gateway/metrics.h"
#include "gateway/replica.h"
#include "gateway/tally.h"

#include <stddef.h>
#include <unistd.h>

static const char *const phases[] = {
    [GW_PHASE_RUNNING] = "running", [GW_PHASE_HANDED] = "handed_over",
    [GW_PHASE_DELAY] = "delay",     [GW_PHASE_DRAINING] = "draining",
    [GW_PHASE_STOPPED] = "stopped",
};

void gw_api_finish(struct gw_outcome *outcome, cJSON *root, bool is_whole)
{
    outcome->body = gw_json_finish(root, is_whole);
    if (outcome->body == NULL)
        gw_outcome_refuse(outcome, 500, "out of memory");
}

static bool add_process(const struct gw_server *server, bool may_write,
                        cJSON *status)
{
    int64_t started_ms = server->started_s * 1000;
    int level = atomic_load(&gw_log_level_now);
    const struct {
        const char *name;
        const char *text;
    } texts[] = {
        {"gateway", server->gateway_id},
        {"name", server->config->gateway_name},
        {"version", SIDGATE_VERSION},
        {"phase", phases[atomic_load(&server->phase)]},
        {"log_level", gw_log_level_text((enum gw_log_level)level)},
        {"access", may_write ? "full" : "read"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (cJSON_AddStringToObject(status, texts[i].name, texts[i].text) ==
            NULL)
            return false;
    return gw_json_add_count(status, "pid", getpid()) &&
           gw_json_add_count(status, "workers", server->worker_count) &&
           gw_json_add_time(status, "started", started_ms) &&
           gw_json_add_number(status, "uptime_s",
                              (double)(gw_wall_ms() - started_ms) / 1000);
}

/* Each worker has a connection of its own to a shared store. */
static bool add_store(const struct gw_server *server, cJSON *status)
{
    cJSON *store = cJSON_AddObjectToObject(status, "store");
    long long all = server->is_shared ? server->worker_count : 0;
    long long up = 0;
    const char *state = "up";

    if (server->is_shared)
        up = (long long)gw_tally_sum(server,
                                     offsetof(struct gw_metrics, store_up));
    if (up < all)
        state = up > 0 ? "partly" : "down";
    return store != NULL &&
           cJSON_AddStringToObject(
               store, "kind", server->is_shared ? "redis" : "memory") != NULL &&
           cJSON_AddStringToObject(store, "state", state) != NULL &&
           gw_json_add_count(store, "connections_up", up) &&
           gw_json_add_count(store, "connections", all);
}

static bool add_replica(cJSON *list, const char *id, long long sessions,
                        cJSON **out)
{
    *out = gw_json_append(list);
    return *out != NULL && cJSON_AddStringToObject(*out, "id", id) != NULL &&
           gw_json_add_count(*out, "sessions", sessions);
}

static bool add_replicas(const struct gw_server *server, cJSON *status)
{
    struct gw_replica_other others[GW_REPLICA_OTHERS_MAX];
    size_t count = gw_replica_others(server, others);
    int64_t now_ms = gw_now_ms();
    cJSON *list = cJSON_AddArrayToObject(status, "replicas");
    cJSON *one = NULL;

    if (list == NULL ||
        !add_replica(list, server->gateway_id, gw_tally_sessions(server).all,
                     &one) ||
        cJSON_AddTrueToObject(one, "is_self") == NULL ||
        cJSON_AddNullToObject(one, "heard_s") == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        double age_s = (double)(now_ms - others[i].heard_ms) / 1000;

        if (!add_replica(list, others[i].id, others[i].sessions, &one) ||
            cJSON_AddFalseToObject(one, "is_self") == NULL ||
            !gw_json_add_number(one, "heard_s", age_s > 0 ? age_s : 0))
            return false;
    }
    return true;
}

bool gw_api_add_status(struct gw_control *control, bool may_write,
                       cJSON *status)
{
    const struct gw_server *server = control->server;

    return add_process(server, may_write, status) &&
           add_store(server, status) &&
           gw_history_add_now(control->history, status) &&
           gw_history_add_totals(control->history, status) &&
           add_replicas(server, status);
}

void gw_api_status(struct gw_control *control, const struct gw_command *command,
                   struct gw_outcome *outcome)
{
    cJSON *root = cJSON_CreateObject();

    gw_api_finish(outcome, root,
                  root != NULL &&
                      gw_api_add_status(control, command->may_write, root));
}

void gw_api_history(struct gw_control *control,
                    const struct gw_command *command,
                    struct gw_outcome *outcome)
{
    cJSON *root = cJSON_CreateObject();

    (void)command;
    gw_api_finish(outcome, root,
                  root != NULL &&
                      gw_history_add_points(control->history, root));
}
