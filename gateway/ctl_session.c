/* SPDX-License-Identifier: MIT */
/* `sidgate ctl session`: all that is known of one. */
#include "gateway/ctl_call.h"
#include "gateway/ctl_table.h"

static const struct row {
    const char *title;
    const char *key;
    gw_ctl_cell_fn put;
} rows[] = {
    {"id", "id", gw_ctl_put_text},
    {"sid", "sid", gw_ctl_put_text},
    {"state", "state", gw_ctl_put_text},
    {"cause of its end", "cause", gw_ctl_put_text},
    {"backend", "backend", gw_ctl_put_text},
    {"transport", "transport", gw_ctl_put_text},
    {"Engine.IO version", "eio", gw_ctl_put_count},
    {"client", "client", gw_ctl_put_text},
    {"gateway", "gateway", gw_ctl_put_text},
    {"created", "created", gw_ctl_put_text},
    {"age", "age_s", gw_ctl_put_seconds},
    {"last seen", "seen", gw_ctl_put_text},
    {"idle for", "idle_s", gw_ctl_put_seconds},
    {"expires in", "expires_s", gw_ctl_put_seconds},
    {"ended", "ended", gw_ctl_put_text},
    {"lasted", "duration_s", gw_ctl_put_seconds},
    {"ping interval", "ping_interval_ms", gw_ctl_put_ms},
    {"ping timeout", "ping_timeout_ms", gw_ctl_put_ms},
    {"requests here", "requests", gw_ctl_put_count},
    {"bytes from client", "bytes_in", gw_ctl_put_bytes},
    {"bytes to client", "bytes_out", gw_ctl_put_bytes},
};

/* What the gateway does not speak of is left out. */
static void print_session(const cJSON *session)
{
    char cell[GW_CTL_CELL_MAX];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (gw_ctl_member(session, rows[i].key) == NULL)
            continue;
        rows[i].put(session, rows[i].key, cell);
        printf("%-18s %s\n", rows[i].title, cell);
    }
}

int gw_ctl_run_session(struct gw_ctl_call *call)
{
    char path[GW_CTL_PATH_MAX] = "";
    cJSON *root = NULL;

    if (!gw_ctl_path_add(path, call->command->prefix, false) ||
        !gw_ctl_path_add(path, call->operand, true))
        return gw_ctl_fail("the argument is too long", GW_CTL_UNASKED);
    int code = gw_ctl_fetch(call, false, path, &root);
    const cJSON *session = gw_ctl_member(root, "session");
    if (code == 0 && !cJSON_IsObject(session))
        code = gw_ctl_fail("what came is no session", GW_CTL_UNASKED);
    else if (code == 0 && gw_ctl_is_given(call, GW_CTL_JSON))
        gw_ctl_print_answer(call);
    else if (code == 0)
        print_session(session);
    cJSON_Delete(root);
    return code;
}
