/* SPDX-License-Identifier: MIT */
/* The commands of `sidgate ctl` that are one question with a short answer. */
#include "gateway/ctl_call.h"
#include "gateway/ctl_table.h"
#include "gateway/ctl_text.h"

#include <string.h>

/* The path of a command with its operand and all of its flags. */
static bool make_path(const struct gw_ctl_call *call, char *path)
{
    const struct gw_ctl_command *command = call->command;

    path[0] = '\0';
    if (!gw_ctl_path_add(path, command->prefix, false) ||
        (call->operand != NULL &&
         (!gw_ctl_path_add(path, call->operand, true) ||
          !gw_ctl_path_add(path, command->suffix, false))))
        return false;
    for (size_t i = GW_CTL_OWN; i < GW_CTL_FLAG_COUNT; i++)
        if (!gw_ctl_path_set(path, gw_ctl_flags[i].name, call->values[i]))
            return false;
    return true;
}

/* As gw_ctl_fetch. With --json the answer is printed. */
static int fetch(struct gw_ctl_call *call, bool is_post, const char *path,
                 cJSON **root)
{
    int code = gw_ctl_fetch(call, is_post, path, root);

    if (code == 0 && gw_ctl_is_given(call, GW_CTL_JSON))
        gw_ctl_print_answer(call);
    return code;
}

static int fetch_plain(struct gw_ctl_call *call, cJSON **root)
{
    char path[GW_CTL_PATH_MAX];

    *root = NULL;
    return make_path(call, path)
               ? fetch(call, call->command->is_post, path, root)
               : gw_ctl_fail("the argument is too long", GW_CTL_UNASKED);
}

int gw_ctl_run_plain(struct gw_ctl_call *call)
{
    cJSON *root = NULL;
    int code = fetch_plain(call, &root);

    cJSON_Delete(root);
    if (code != 0 || gw_ctl_is_given(call, GW_CTL_JSON))
        return code;
    if (call->operand != NULL) {
        gw_ctl_print(call->operand, stdout);
        fputc(' ', stdout);
    }
    puts(call->command->done);
    return 0;
}

/* The operand may be a session id, which is not told again. */
int gw_ctl_run_kick(struct gw_ctl_call *call)
{
    cJSON *root = NULL;
    int code = fetch_plain(call, &root);
    double gateways = gw_ctl_number(root, "gateways");

    cJSON_Delete(root);
    if (code != 0 || gw_ctl_is_given(call, GW_CTL_JSON))
        return code;
    if (gateways >= 1 && gateways <= 1e6)
        printf("%s (%.0f %s told)\n", call->command->done, gateways,
               gateways == 1 ? "gateway was" : "gateways were");
    else
        puts(call->command->done);
    return 0;
}

/* It is JSON for people, too. */
int gw_ctl_run_config(struct gw_ctl_call *call)
{
    cJSON *root = NULL;
    int code = gw_ctl_fetch(call, false, call->command->prefix, &root);
    bool is_object = cJSON_IsObject(root);

    cJSON_Delete(root);
    if (code != 0)
        return code;
    if (!is_object)
        return gw_ctl_fail("what came is no configuration", GW_CTL_UNASKED);
    gw_ctl_print_answer(call);
    return 0;
}

/* Without an operand it is a question. */
int gw_ctl_run_log_level(struct gw_ctl_call *call)
{
    char path[GW_CTL_PATH_MAX] = "/api/v1/log";
    cJSON *root = NULL;

    if (!gw_ctl_path_set(path, "level", call->operand))
        return gw_ctl_fail("the argument is too long", GW_CTL_UNASKED);
    int code = fetch(call, call->operand != NULL, path, &root);
    const char *level =
        call->operand != NULL ? call->operand : gw_ctl_text(root, "level");
    if (code == 0 && level == NULL)
        code = gw_ctl_fail("what came is no log level", GW_CTL_UNASKED);
    if (code == 0 && !gw_ctl_is_given(call, GW_CTL_JSON)) {
        gw_ctl_print(level, stdout);
        fputc('\n', stdout);
    }
    cJSON_Delete(root);
    return code;
}
