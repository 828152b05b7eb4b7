/* SPDX-License-Identifier: MIT */
/* `sidgate ctl upgrade`: begins it, and waits for its end. */
#include "gateway/ctl_call.h"
#include "gateway/server.h"

#include <poll.h>
#include <string.h>

enum {
    UPGRADE_MS = 90000, /* that it may take */
    POLL_MS = 100,
};

static const char path[] = "/api/v1/upgrade";

/* What the gateway says of an upgrade. */
struct state {
    char name[16];
    char error[GW_OPTIONS_ERROR_MAX - 32];
    long pid;
};

/* 0, or the code to exit with and the reason in call->error. */
static int ask_state(struct gw_ctl_call *call, struct state *state)
{
    cJSON *root = NULL;
    int code = gw_ctl_try(call, false, path, &root);

    *state = (struct state){.name = ""};
    if (code != 0)
        return code;
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(root, "state");
    const cJSON *pid = cJSON_GetObjectItemCaseSensitive(root, "pid");
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
    if (cJSON_IsString(name) && cJSON_IsNumber(pid)) {
        snprintf(state->name, sizeof(state->name), "%s", name->valuestring);
        state->pid = pid->valueint;
        if (cJSON_IsString(error))
            snprintf(state->error, sizeof(state->error), "%s",
                     error->valuestring);
    } else {
        snprintf(call->error, sizeof(call->error),
                 "what came is no state of an upgrade");
        code = GW_CTL_UNASKED;
    }
    cJSON_Delete(root);
    return code;
}

static int say_upgraded(const struct gw_ctl_call *call, long old_pid,
                        long new_pid, int64_t ms)
{
    if (gw_ctl_is_given(call, GW_CTL_JSON))
        gw_ctl_print_answer(call);
    else
        printf("upgraded: pid %ld -> %ld in %lld ms\n", old_pid, new_pid,
               (long long)ms);
    return 0;
}

/* Until another process says that it is the gateway, or the old one that it
 * failed. In between, a connection may meet the one that leaves. */
static int await_upgrade(struct gw_ctl_call *call, long old_pid,
                         int64_t start_ms)
{
    struct state state;

    while (gw_now_ms() - start_ms < UPGRADE_MS) {
        bool is_told = ask_state(call, &state) == 0;

        if (is_told && state.pid != old_pid && strcmp(state.name, "done") == 0)
            return say_upgraded(call, old_pid, state.pid,
                                gw_now_ms() - start_ms);
        if (is_told && strcmp(state.name, "failed") == 0) {
            snprintf(call->error, sizeof(call->error), "the upgrade failed: %s",
                     state.error);
            return gw_ctl_fail(call->error, GW_CTL_REFUSED);
        }
        poll(NULL, 0, POLL_MS);
    }
    return gw_ctl_fail("the upgrade is not over after 90 s", GW_CTL_REFUSED);
}

int gw_ctl_run_upgrade(struct gw_ctl_call *call)
{
    int64_t start_ms = gw_now_ms();
    struct state before;
    cJSON *root = NULL;
    int code = ask_state(call, &before);

    if (code != 0)
        return gw_ctl_fail(call->error, code);
    code = gw_ctl_fetch(call, true, path, &root);
    cJSON_Delete(root);
    return code != 0 ? code : await_upgrade(call, before.pid, start_ms);
}
