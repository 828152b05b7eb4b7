/* SPDX-License-Identifier: MIT */
/* `sidgate ctl backends`: the backends as a table. */
#include "gateway/ctl_call.h"
#include "gateway/ctl_table.h"

static const struct gw_ctl_column columns[] = {
    {"ID", "id", gw_ctl_put_text, false},
    {"POOL", "pool", gw_ctl_put_text, false},
    {"ADDRESS", "address", gw_ctl_put_text, false},
    {"STATE", "state", gw_ctl_put_text, false},
    {"SESSIONS", "sessions", gw_ctl_put_count, true},
    {"WEBSOCKET", "sessions_websocket", gw_ctl_put_count, true},
    {"ELSEWHERE", "sessions_elsewhere", gw_ctl_put_count, true},
    {"REQUESTS", "requests_total", gw_ctl_put_count, true},
    {"ERRORS", "errors_total", gw_ctl_put_count, true},
    {"UPGRADED", "upgrade_successes", gw_ctl_put_upgraded, true},
    {"WEIGHT", "weight", gw_ctl_put_count, true},
    {"MAX", "max_sessions", gw_ctl_put_limit, true},
    {"SOURCE", "source", gw_ctl_put_text, false},
    {"DRAIN", "drain", gw_ctl_put_drain, false},
    {"REASON", "reason", gw_ctl_put_text, false},
};

int gw_ctl_run_backends(struct gw_ctl_call *call)
{
    cJSON *root = NULL;
    int code = gw_ctl_fetch(call, false, call->command->prefix, &root);
    const cJSON *list = gw_ctl_member(root, "backends");

    if (code != 0)
        return code;
    if (!cJSON_IsArray(list))
        code = gw_ctl_fail("what came is no list of backends", GW_CTL_UNASKED);
    else if (gw_ctl_is_given(call, GW_CTL_JSON))
        gw_ctl_print_answer(call);
    else
        gw_ctl_table_print(columns, sizeof(columns) / sizeof(columns[0]), list,
                           stdout);
    cJSON_Delete(root);
    return code;
}
