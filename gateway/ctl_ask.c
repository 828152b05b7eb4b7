/* SPDX-License-Identifier: MIT */
/* What `sidgate ctl` asks, and the first look at the answer. */
#include "gateway/ctl_call.h"
#include "gateway/ctl_text.h"
#include "gateway/grammar.h"

#include <stdlib.h>
#include <string.h>

int gw_ctl_fail(const char *text, int code)
{
    fflush(stdout);
    fputs("sidgate ctl: ", stderr);
    gw_ctl_print(text, stderr);
    fputc('\n', stderr);
    return code;
}

bool gw_ctl_path_add(char *path, const char *text, bool is_value)
{
    size_t used = strlen(path);

    for (; *text != '\0'; text++) {
        bool is_plain =
            !is_value || gw_is_alnum(*text) || strchr("._-:,", *text) != NULL;

        if (used + 4 > GW_CTL_PATH_MAX)
            return false;
        used +=
            (size_t)snprintf(path + used, GW_CTL_PATH_MAX - used,
                             is_plain ? "%c" : "%%%02X", (unsigned char)*text);
    }
    return true;
}

bool gw_ctl_path_set(char *path, const char *name, const char *value)
{
    return value == NULL ||
           (gw_ctl_path_add(path, strchr(path, '?') != NULL ? "&" : "?",
                            false) &&
            gw_ctl_path_add(path, name, false) &&
            gw_ctl_path_add(path, "=", false) &&
            gw_ctl_path_add(path, value, true));
}

/* Nothing may stand behind the JSON. */
static cJSON *parse(const struct gw_ctl_answer *answer)
{
    if (answer->body == NULL || strlen(answer->body) != answer->len)
        return NULL;
    return cJSON_ParseWithLengthOpts(answer->body, answer->len + 1, NULL, true);
}

static int refused(struct gw_ctl_call *call, const cJSON *root)
{
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");

    if (cJSON_IsString(error))
        snprintf(call->error, sizeof(call->error), "%s", error->valuestring);
    else
        snprintf(call->error, sizeof(call->error),
                 "the gateway answers with status %u", call->answer.status);
    return GW_CTL_REFUSED;
}

int gw_ctl_try(struct gw_ctl_call *call, bool is_post, const char *path,
               cJSON **root)
{
    *root = NULL;
    free(call->answer.body);
    call->answer.body = NULL;
    if (!gw_ctl_ask(&call->target, is_post, path, &call->answer, call->error))
        return GW_CTL_UNASKED;
    *root = parse(&call->answer);
    int code = 0;
    if (call->answer.status != 200 && call->answer.status != 202) {
        code = refused(call, *root);
    } else if (*root == NULL) {
        snprintf(call->error, sizeof(call->error), "what came is not JSON");
        code = GW_CTL_UNASKED;
    }
    if (*root == NULL)
        call->answer.len = 0; /* nothing to show to a program */
    if (code != 0) {
        cJSON_Delete(*root);
        *root = NULL;
    }
    return code;
}

int gw_ctl_fetch(struct gw_ctl_call *call, bool is_post, const char *path,
                 cJSON **root)
{
    int code = gw_ctl_try(call, is_post, path, root);

    if (code == GW_CTL_REFUSED && gw_ctl_is_given(call, GW_CTL_JSON) &&
        call->answer.len > 0)
        gw_ctl_print_answer(call);
    return code == 0 ? 0 : gw_ctl_fail(call->error, code);
}

void gw_ctl_print_answer(const struct gw_ctl_call *call)
{
    const struct gw_ctl_answer *answer = &call->answer;

    gw_ctl_print_json(answer->body, answer->len, stdout);
    if (answer->len == 0 || answer->body[answer->len - 1] != '\n')
        fputc('\n', stdout);
}
