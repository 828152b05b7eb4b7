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

static const struct page {
    const char *path;
    struct gw_admin_answer (*render)(const struct gw_admin_hooks *hooks);
    bool is_open; /* kubelets and balancers have no token */
} pages[] = {
    {"/healthz", healthz, true},
    {"/readyz", readyz, true},
    {"/metrics", metrics, false},
};

static const struct {
    unsigned status;
    const char *body;
} refusals[] = {
    [GW_ADMIN_CROSS_SITE] = {403, "a page of another site may not ask\n"},
    [GW_ADMIN_WRONG_HOST] = {403, "this Host is not that of the listener\n"},
    [GW_ADMIN_WRONG_TOKEN] = {401, "a bearer token is needed\n"},
};

static const struct page *find_page(const struct gw_admin_request *request)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (strlen(pages[i].path) == request->len &&
            memcmp(pages[i].path, request->path, request->len) == 0)
            return &pages[i];
    }
    return NULL;
}

struct gw_admin_answer gw_admin_answer(const struct gw_admin_hooks *hooks,
                                       const struct gw_admin_guard *guard,
                                       const struct gw_admin_request *request)
{
    const struct page *page = find_page(request);
    enum gw_admin_verdict verdict =
        gw_admin_guard_judge(guard, request, page != NULL && page->is_open);

    if (verdict != GW_ADMIN_LET_IN)
        return text(refusals[verdict].status, refusals[verdict].body);
    if (page == NULL)
        return text(404, "not found\n");
    return request->is_read ? page->render(hooks)
                            : text(405, "method not allowed\n");
}
