/* SPDX-License-Identifier: MIT */
/* What an operator asks for: the reading of methods and paths. */
#include "gateway/command.h"

#include "gateway/command_query.h"
#include "gateway/grammar.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum about {
    ABOUT_ALL,
    ABOUT_BACKEND,
    ABOUT_SESSION,
};

/* At '*' stands an id. Of two that fit, the first one does. */
static const struct route {
    const char *path;
    enum about about;
    enum gw_verb read;
    enum gw_verb post;
} routes[] = {
    {"/api/v1/status", ABOUT_ALL, GW_VERB_STATUS, GW_VERB_NONE},
    {"/api/v1/history", ABOUT_ALL, GW_VERB_HISTORY, GW_VERB_NONE},
    {"/api/v1/events", ABOUT_ALL, GW_VERB_EVENTS, GW_VERB_NONE},
    {"/api/v1/backends", ABOUT_ALL, GW_VERB_BACKENDS, GW_VERB_ADD},
    {"/api/v1/backends/*/drain", ABOUT_BACKEND, GW_VERB_NONE, GW_VERB_DRAIN},
    {"/api/v1/backends/*/undrain", ABOUT_BACKEND, GW_VERB_NONE,
     GW_VERB_UNDRAIN},
    {"/api/v1/backends/*/remove", ABOUT_BACKEND, GW_VERB_NONE, GW_VERB_REMOVE},
    {"/api/v1/sessions", ABOUT_ALL, GW_VERB_SESSIONS, GW_VERB_NONE},
    {"/api/v1/sessions/*/kick", ABOUT_SESSION, GW_VERB_NONE, GW_VERB_KICK},
    {"/api/v1/sessions/*", ABOUT_SESSION, GW_VERB_SESSION, GW_VERB_NONE},
    {"/api/v1/config", ABOUT_ALL, GW_VERB_CONFIG, GW_VERB_NONE},
    {"/api/v1/log", ABOUT_ALL, GW_VERB_LOG, GW_VERB_SET_LOG},
    {"/api/v1/reload", ABOUT_ALL, GW_VERB_NONE, GW_VERB_RELOAD},
    {"/api/v1/upgrade", ABOUT_ALL, GW_VERB_UPGRADE_STATE, GW_VERB_UPGRADE},
};

void gw_outcome_refuse(struct gw_outcome *outcome, unsigned status,
                       const char *format, ...)
{
    va_list args;

    outcome->status = status;
    va_start(args, format);
    vsnprintf(outcome->error, sizeof(outcome->error), format, args);
    va_end(args);
}

/* Fills *id with what stands at the route's '*'. */
static bool fits(const struct route *route, const char *path,
                 struct eio_span *id)
{
    const char *star = strchr(route->path, '*');
    size_t len = strlen(path);

    if (star == NULL)
        return strcmp(route->path, path) == 0;
    size_t before = (size_t)(star - route->path);
    size_t behind = strlen(star + 1);
    if (len <= before + behind || strncmp(path, route->path, before) != 0 ||
        strcmp(path + len - behind, star + 1) != 0)
        return false;
    *id = (struct eio_span){path + before, len - before - behind};
    return true;
}

static const struct route *find_route(const char *path, struct eio_span *id)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        if (fits(&routes[i], path, id))
            return &routes[i];
    return NULL;
}

static bool is_backend_id(const char *id)
{
    for (const char *at = id; *at != '\0'; at++)
        if (!gw_is_alnum(*at) && strchr("._:[]-/", *at) == NULL)
            return false;
    return id[0] != '\0';
}

static bool read_id(enum about about, struct eio_span id,
                    struct gw_command *command, struct gw_outcome *outcome)
{
    size_t len = sizeof(command->id) - 1;

    if (about == ABOUT_BACKEND) {
        if (gw_command_decode(id, GW_DECODE_VISIBLE, command->id, &len) &&
            is_backend_id(command->id))
            return true;
        gw_outcome_refuse(outcome, 400, "this is not the id of a backend");
        return false;
    }
    len = sizeof(command->session.bytes);
    if (about == ABOUT_SESSION &&
        !gw_command_decode(id, GW_DECODE_ANY, command->session.bytes, &len)) {
        gw_outcome_refuse(outcome, 400, "this is not the id of a session");
        return false;
    }
    command->session.len = about == ABOUT_SESSION ? (uint16_t)len : 0;
    return true;
}

static const char *methods(const struct route *route)
{
    if (route->read == GW_VERB_NONE)
        return "POST";
    return route->post == GW_VERB_NONE ? "GET, HEAD" : "GET, HEAD, POST";
}

bool gw_command_read(enum gw_method method, const char *path, const char *query,
                     struct gw_command *command, struct gw_outcome *outcome)
{
    struct eio_span id = {0};
    const struct route *route = find_route(path, &id);

    *command = (struct gw_command){
        .rate = -1,
        .timeout_ms = -1,
        .after = -1,
        .level = -1,
        .limit = GW_EVENTS_LIMIT,
        .filter = {.transport = -1, .limit = GW_SESSIONS_LIMIT}};
    *outcome = (struct gw_outcome){0};
    if (route == NULL) {
        gw_outcome_refuse(outcome, 404, "not found");
        return false;
    }
    if (method == GW_METHOD_READ)
        command->verb = route->read;
    else if (method == GW_METHOD_POST)
        command->verb = route->post;
    if (command->verb == GW_VERB_NONE) {
        gw_outcome_refuse(outcome, 405, "method not allowed");
        outcome->allow = methods(route);
        return false;
    }
    return read_id(route->about, id, command, outcome) &&
           gw_command_read_query(query != NULL ? query : "", command, outcome);
}
