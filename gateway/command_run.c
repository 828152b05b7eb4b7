/* SPDX-License-Identifier: MIT */
/* What an operator asks for: who does it. */
#include "gateway/api.h"
#include "gateway/sessions.h"
#include "gateway/upgrade.h"

#include <string.h>

static void run_reload(struct gw_control *control,
                       const struct gw_command *command,
                       struct gw_outcome *outcome)
{
    char error[512] = "";

    (void)command;
    if (!gw_control_reload(control, error))
        gw_outcome_refuse(outcome, 409, "%s", error);
}

static void run_upgrade(struct gw_control *control,
                        const struct gw_command *command,
                        struct gw_outcome *outcome)
{
    char error[512] = "";

    (void)command;
    if (gw_upgrade_begin(control, error))
        outcome->status = 202;
    else
        gw_outcome_refuse(outcome, 409, "%s", error);
}

static void run_upgrade_state(struct gw_control *control,
                              const struct gw_command *command,
                              struct gw_outcome *outcome)
{
    char json[GW_COMMAND_TEXT_MAX] = "{}";

    (void)command;
    gw_upgrade_state(control, json, sizeof(json));
    outcome->body = strdup(json);
    if (outcome->body == NULL)
        gw_outcome_refuse(outcome, 500, "out of memory");
}

static void run_sessions(struct gw_control *control,
                         const struct gw_command *command,
                         struct gw_outcome *outcome)
{
    gw_sessions_run(control->sessions, command, outcome);
}

static gw_api_fn *const actions[] = {
    [GW_VERB_STATUS] = gw_api_status,
    [GW_VERB_HISTORY] = gw_api_history,
    [GW_VERB_EVENTS] = gw_api_events,
    [GW_VERB_BACKENDS] = gw_api_backends,
    [GW_VERB_ADD] = gw_api_add,
    [GW_VERB_DRAIN] = gw_api_drain,
    [GW_VERB_UNDRAIN] = gw_api_undrain,
    [GW_VERB_REMOVE] = gw_api_remove,
    [GW_VERB_SESSIONS] = run_sessions,
    [GW_VERB_SESSION] = run_sessions,
    [GW_VERB_KICK] = run_sessions,
    [GW_VERB_CONFIG] = gw_api_config,
    [GW_VERB_LOG] = gw_api_log,
    [GW_VERB_SET_LOG] = gw_api_set_log,
    [GW_VERB_RELOAD] = run_reload,
    [GW_VERB_UPGRADE] = run_upgrade,
    [GW_VERB_UPGRADE_STATE] = run_upgrade_state,
};

void gw_command_run(struct gw_control *control,
                    const struct gw_command *command,
                    struct gw_outcome *outcome)
{
    *outcome = (struct gw_outcome){0};
    if (actions[command->verb] == NULL) {
        gw_outcome_refuse(outcome, 404, "not found");
        return;
    }
    actions[command->verb](control, command, outcome);
    if (outcome->status == 0)
        outcome->status = 200;
}
