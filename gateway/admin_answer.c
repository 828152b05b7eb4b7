/* SPDX-License-Identifier: MIT */
/*
 * The pages of the operator plane.
 */
#include "gateway/admin_answer.h"

#include "gateway/admin_page.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char api_path[] = "/api/";
static const char reading[] = "GET, HEAD";

struct gw_admin_answer gw_admin_answer_text(unsigned status, const char *body)
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
    return gw_admin_answer_text(200, "ok\n");
}

static struct gw_admin_answer readyz(const struct gw_admin_hooks *hooks)
{
    if (hooks->is_ready(hooks->arg))
        return gw_admin_answer_text(200, "ready\n");
    return gw_admin_answer_text(503, "draining\n");
}

static struct gw_admin_answer metrics(const struct gw_admin_hooks *hooks)
{
    struct gw_admin_answer answer = {
        .status = 200,
        .type = "text/plain; version=0.0.4; charset=utf-8",
    };

    answer.body = hooks->metrics(hooks->arg, &answer.len);
    return answer.body != NULL ? answer
                               : gw_admin_answer_text(503, "out of memory\n");
}

static const struct page {
    const char *path;
    struct gw_admin_answer (*render)(const struct gw_admin_hooks *hooks);
    enum gw_admin_kind kind;
} pages[] = {
    {"/healthz", healthz, GW_ADMIN_HEALTH},
    {"/readyz", readyz, GW_ADMIN_HEALTH},
    {"/metrics", metrics, GW_ADMIN_GUARDED},
};

static const struct {
    unsigned status;
    const char *body;
} refusals[] = {
    [GW_ADMIN_CROSS_SITE] = {403, "a page of another site may not ask\n"},
    [GW_ADMIN_WRONG_HOST] = {403, "this Host is not that of the listener\n"},
    [GW_ADMIN_WRONG_TOKEN] = {401, "a bearer token is needed\n"},
    [GW_ADMIN_READ_ONLY] = {403, "this token may only read\n"},
};

static const struct page *find_page(const char *path)
{
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
        if (strcmp(pages[i].path, path) == 0)
            return &pages[i];
    return NULL;
}

static struct gw_admin_answer not_allowed(void)
{
    struct gw_admin_answer answer =
        gw_admin_answer_text(405, "method not allowed\n");

    answer.allow = reading;
    return answer;
}

static struct gw_admin_answer answer_page(const struct gw_admin_hooks *hooks,
                                          const struct page *page,
                                          enum gw_method method)
{
    if (page == NULL)
        return gw_admin_answer_text(404, "not found\n");
    return method == GW_METHOD_READ ? page->render(hooks) : not_allowed();
}

/* A file of the live page. Whoever has it already is told so. */
static struct gw_admin_answer answer_file(const struct gw_admin_file *file,
                                          const struct gw_admin_request *asked)
{
    struct gw_admin_answer answer = {
        .status = 200, .type = gw_admin_page_type(file), .etag = file->etag};

    if (asked->method != GW_METHOD_READ)
        return not_allowed();
    if (asked->if_none_match != NULL &&
        strstr(asked->if_none_match, file->etag) != NULL) {
        answer.status = 304;
        return answer;
    }
    answer.body = malloc(file->len + 1);
    if (answer.body == NULL)
        return gw_admin_answer_text(503, "out of memory\n");
    memcpy(answer.body, file->bytes, file->len);
    answer.len = file->len;
    return answer;
}

/* The API */

/* {"ok":true}, or {"error":"..."}. NULL when memory is short. */
static char *render_outcome(const char *error)
{
    cJSON *root = cJSON_CreateObject();
    char *body = NULL;

    if (root != NULL && (error[0] == '\0' ? cJSON_AddTrueToObject(root, "ok")
                                          : cJSON_AddStringToObject(
                                                root, "error", error)) != NULL)
        body = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return body;
}

struct gw_admin_answer gw_admin_answer_json(struct gw_outcome *outcome)
{
    struct gw_admin_answer answer = {
        .status = outcome->status,
        .type = "application/json",
        .allow = outcome->allow,
        .body = outcome->body,
    };

    if (answer.body == NULL)
        answer.body = render_outcome(outcome->error);
    if (answer.body == NULL)
        answer.status = 503;
    else
        answer.len = strlen(answer.body);
    return answer;
}

struct gw_admin_answer gw_admin_answer_error(unsigned status, const char *line)
{
    struct gw_outcome outcome = {.body = NULL};

    gw_outcome_refuse(&outcome, status, "%.*s", (int)strcspn(line, "\n"), line);
    return gw_admin_answer_json(&outcome);
}

/* Plain requests for what is a websocket. */
static struct gw_admin_answer
explain_live(const struct gw_admin_request *request)
{
    struct gw_admin_answer answer;

    if (request->method == GW_METHOD_READ)
        return gw_admin_answer_error(426, "this is a websocket");
    answer = gw_admin_answer_error(405, "method not allowed");
    answer.allow = "GET";
    return answer;
}

static bool is_live(const struct gw_admin_request *request)
{
    return strcmp(request->path, GW_ADMIN_LIVE_PATH) == 0;
}

static struct gw_admin_answer answer_api(const struct gw_admin_hooks *hooks,
                                         const struct gw_admin_request *request,
                                         enum gw_admin_access access,
                                         struct gw_admin_action *action)
{
    struct gw_command command;
    struct gw_outcome outcome = {.status = 0};

    if (is_live(request))
        return explain_live(request);
    if (!gw_command_read(request->method, request->path, request->query,
                         &command, &outcome)) {
        action->name = "unknown";
        gw_admin_action_fault(action, outcome.error);
        return gw_admin_answer_json(&outcome);
    }
    gw_admin_action_of(&command, action);
    snprintf(command.who, sizeof(command.who), "%s", action->who);
    command.may_write = access != GW_ADMIN_READER;
    command.ticket = request->ticket;
    hooks->command(hooks->arg, &command, &outcome);
    if (outcome.is_pending)
        return (struct gw_admin_answer){.is_pending = true};
    gw_admin_action_fault(action, outcome.error);
    return gw_admin_answer_json(&outcome);
}

static struct gw_admin_answer refuse(struct gw_admin_desk *desk,
                                     const struct gw_admin_request *request,
                                     enum gw_admin_verdict verdict,
                                     struct gw_admin_action *action)
{
    struct gw_command command;
    struct gw_outcome outcome;

    if (request->method == GW_METHOD_POST) {
        if (gw_command_read(request->method, request->path, request->query,
                            &command, &outcome))
            gw_admin_action_of(&command, action);
        gw_admin_action_refused(action, refusals[verdict].status,
                                &desk->refusals, request->now_ms);
    }
    action->name = NULL;
    if (strncmp(request->path, api_path, sizeof(api_path) - 1) == 0)
        return gw_admin_answer_error(refusals[verdict].status,
                                     refusals[verdict].body);
    return gw_admin_answer_text(refusals[verdict].status,
                                refusals[verdict].body);
}

static enum gw_admin_kind kind_of(const struct page *page,
                                  const struct gw_admin_file *file)
{
    if (file != NULL)
        return GW_ADMIN_PAGE;
    return page != NULL ? page->kind : GW_ADMIN_GUARDED;
}

struct gw_admin_answer gw_admin_answer(struct gw_admin_desk *desk,
                                       const struct gw_admin_request *request,
                                       struct gw_admin_action *action)
{
    bool is_api = strncmp(request->path, api_path, sizeof(api_path) - 1) == 0;
    const struct page *page = find_page(request->path);
    const struct gw_admin_file *file = gw_admin_page_find(request->path);
    enum gw_admin_access access;
    enum gw_admin_verdict verdict = gw_admin_guard_judge(
        &desk->guard, request, kind_of(page, file), &access);
    struct gw_admin_answer answer;

    *action = (struct gw_admin_action){.name = NULL};
    gw_admin_who(access, request->peer, action->who);
    if (verdict != GW_ADMIN_LET_IN)
        return refuse(desk, request, verdict, action);
    if (file != NULL)
        return answer_file(file, request);
    if (!is_api)
        return answer_page(&desk->hooks, page, request->method);
    answer = answer_api(&desk->hooks, request, access, action);
    if (request->method != GW_METHOD_POST)
        action->name = NULL;
    if (!answer.is_pending) {
        gw_admin_action_log(action, answer.status);
        action->name = NULL;
    }
    return answer;
}

bool gw_admin_answer_live(struct gw_admin_desk *desk,
                          const struct gw_admin_request *request,
                          bool *may_write, struct gw_admin_answer *refusal)
{
    struct gw_admin_action action = {.name = NULL};
    enum gw_admin_access access;
    enum gw_admin_verdict verdict =
        gw_admin_guard_judge(&desk->guard, request, GW_ADMIN_LIVE, &access);

    gw_admin_who(access, request->peer, action.who);
    *may_write = access != GW_ADMIN_READER;
    if (verdict != GW_ADMIN_LET_IN)
        *refusal = refuse(desk, request, verdict, &action);
    else if (!is_live(request))
        *refusal = gw_admin_answer_error(404, "not found");
    else if (request->method != GW_METHOD_READ)
        *refusal = explain_live(request);
    else
        return true;
    return false;
}
