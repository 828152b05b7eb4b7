/* SPDX-License-Identifier: MIT */
/* What operators did, for the log. */
#include "gateway/admin_action.h"

#include "eio/sid.h"
#include "gateway/log.h"
#include "gateway/session_id.h"

#include <stdio.h>
#include <string.h>

enum { REFUSAL_MS = 1000 };

void gw_admin_who(enum gw_admin_access access, const char *peer,
                  char out[GW_WHO_MAX])
{
    static const char *const names[] = {
        [GW_ADMIN_NOBODY] = "nobody",
        [GW_ADMIN_OPEN] = "open",
        [GW_ADMIN_READER] = "read-token",
        [GW_ADMIN_FULL] = "token",
    };

    if (strncmp(peer, "uid=", 4) == 0)
        snprintf(out, GW_WHO_MAX, "%s", peer);
    else
        snprintf(out, GW_WHO_MAX, "%s@%s", names[access], peer);
}

/* NULL for what changes nothing. */
static const char *name_of(enum gw_verb verb)
{
    switch (verb) {
    case GW_VERB_ADD:
        return "add";
    case GW_VERB_DRAIN:
        return "drain";
    case GW_VERB_UNDRAIN:
        return "undrain";
    case GW_VERB_REMOVE:
        return "remove";
    case GW_VERB_KICK:
        return "kick";
    case GW_VERB_SET_LOG:
        return "log";
    case GW_VERB_RELOAD:
        return "reload";
    case GW_VERB_UPGRADE:
        return "upgrade";
    case GW_VERB_NONE:
    case GW_VERB_STATUS:
    case GW_VERB_HISTORY:
    case GW_VERB_EVENTS:
    case GW_VERB_BACKENDS:
    case GW_VERB_SESSIONS:
    case GW_VERB_SESSION:
    case GW_VERB_CONFIG:
    case GW_VERB_LOG:
    case GW_VERB_UPGRADE_STATE:
        break;
    }
    return NULL;
}

/* The sid itself opens the session, what stands for it does not. */
static void name_session(const struct eio_sid *sid, char *out, size_t size)
{
    char mask[EIO_SID_MASK_MAX];

    if (gw_session_id_is(sid->bytes, sid->len)) {
        snprintf(out, size, "%.*s", (int)sid->len, sid->bytes);
        return;
    }
    eio_sid_mask(sid, mask);
    snprintf(out, size, "%s", mask);
}

void gw_admin_action_of(const struct gw_command *command,
                        struct gw_admin_action *action)
{
    char *target = action->target;

    action->name = name_of(command->verb);
    target[0] = '\0';
    if (command->verb == GW_VERB_KICK)
        name_session(&command->session, target, sizeof(action->target));
    else if (command->verb == GW_VERB_SET_LOG)
        snprintf(target, sizeof(action->target), "%s",
                 gw_log_level_text((enum gw_log_level)command->level));
    else
        snprintf(target, sizeof(action->target), "%.*s",
                 (int)sizeof(action->target) - 1,
                 command->verb == GW_VERB_ADD ? command->spec : command->id);
}

void gw_admin_action_fault(struct gw_admin_action *action, const char *error)
{
    snprintf(action->error, sizeof(action->error), "%.*s",
             (int)sizeof(action->error) - 1, error);
}

void gw_admin_action_log(const struct gw_admin_action *action, unsigned status)
{
    if (action->name == NULL)
        return;
    if (action->error[0] == '\0')
        gw_log(GW_LOG_INFO, "operator_action", "action", action->name, "target",
               action->target, "status", gw_num(status).text, "who",
               action->who);
    else
        gw_log(GW_LOG_INFO, "operator_action", "action", action->name, "target",
               action->target, "status", gw_num(status).text, "who",
               action->who, "error", action->error);
}

void gw_admin_action_refused(const struct gw_admin_action *action,
                             unsigned status,
                             struct gw_admin_refusals *refusals, int64_t now_ms)
{
    if (refusals->has_told && now_ms - refusals->told_ms < REFUSAL_MS) {
        refusals->more++;
        return;
    }
    gw_log(GW_LOG_WARNING, "operator_action", "action",
           action->name != NULL ? action->name : "unknown", "target",
           action->target, "status", gw_num(status).text, "who", action->who,
           "untold", gw_num((int64_t)refusals->more).text);
    *refusals = (struct gw_admin_refusals){.has_told = true, .told_ms = now_ms};
}
