/* SPDX-License-Identifier: MIT */
/*
 * The pages of the operator plane.
 */
#include "gateway/admin_answer.h"

#include <stdlib.h>
#include <string.h>

static struct gw_admin_answer text(unsigned status, const char *body)
{
    struct gw_admin_answer answer = {
        .status = status,
        .type = "text/plain; charset=utf-8",
        .body = strdup(body),
    };

    if (answer.body == NULL)
        answer.status = 503;
    else
        answer.len = strlen(body);
    return answer;
}

static struct gw_admin_answer healthz(const struct gw_admin_hooks *hooks)
{
    (void)hooks;
    return text(200, "ok\n");
}

static struct gw_admin_answer readyz(const struct gw_admin_hooks *hooks)
{
    if (hooks->is_ready(hooks->arg))
        return text(200, "ready\n");
    return text(503, "draining\n");
}

static struct gw_admin_answer metrics(const struct gw_admin_hooks *hooks)
{
    struct gw_admin_answer answer = {
        .status = 200,
        .type = "text/plain; version=0.0.4; charset=utf-8",
    };

    answer.body = hooks->metrics(hooks->arg, &answer.len);
    return answer.body != NULL ? answer : text(503, "out of memory\n");
}

static const struct {
    const char *path;
    struct gw_admin_answer (*render)(const struct gw_admin_hooks *hooks);
} pages[] = {
    {"/healthz", healthz},
    {"/readyz", readyz},
    {"/metrics", metrics},
};

struct gw_admin_answer gw_admin_answer(const struct gw_admin_hooks *hooks,
                                       bool is_read, const char *path,
                                       size_t len)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (strlen(pages[i].path) != len ||
            memcmp(pages[i].path, path, len) != 0)
            continue;
        return is_read ? pages[i].render(hooks)
                       : text(405, "method not allowed\n");
    }
    return text(404, "not found\n");
}
