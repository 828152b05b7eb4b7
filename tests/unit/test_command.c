/* SPDX-License-Identifier: MIT */
/* The reading of what an operator asks for. */
#include "gateway/command.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct gw_command command;
static struct gw_outcome outcome;

static bool read_as(enum gw_method method, const char *path, const char *query)
{
    memset(&command, 0xaa, sizeof(command));
    memset(&outcome, 0xaa, sizeof(outcome));
    return gw_command_read(method, path, query, &command, &outcome);
}

static const struct {
    enum gw_method method;
    const char *path;
    const char *query;
    struct gw_command want;
} good[] = {
    {GW_METHOD_READ, "/api/v1/backends", NULL, {.verb = GW_VERB_BACKENDS}},
    {GW_METHOD_READ, "/api/v1/backends", "&&", {.verb = GW_VERB_BACKENDS}},
    {GW_METHOD_READ, "/api/v1/status", "", {.verb = GW_VERB_STATUS}},
    {GW_METHOD_READ, "/api/v1/history", NULL, {.verb = GW_VERB_HISTORY}},
    {GW_METHOD_READ, "/api/v1/events", "", {.verb = GW_VERB_EVENTS}},
    {GW_METHOD_READ, "/api/v1/sessions", "", {.verb = GW_VERB_SESSIONS}},
    {GW_METHOD_READ, "/api/v1/config", "", {.verb = GW_VERB_CONFIG}},
    {GW_METHOD_READ, "/api/v1/log", "", {.verb = GW_VERB_LOG}},
    {GW_METHOD_READ, "/api/v1/upgrade", "", {.verb = GW_VERB_UPGRADE_STATE}},
    {GW_METHOD_POST, "/api/v1/upgrade", "", {.verb = GW_VERB_UPGRADE}},
    {GW_METHOD_POST, "/api/v1/reload", "", {.verb = GW_VERB_RELOAD}},
    {GW_METHOD_POST,
     "/api/v1/backends",
     "spec=n1=[::1]:80,weight=2",
     {.verb = GW_VERB_ADD, .spec = "n1=[::1]:80,weight=2"}},
    {GW_METHOD_POST,
     "/api/v1/backends",
     "pool=blue&spec=n1%3D10.0.0.1%3a80%2Cname%3Dx%26y",
     {.verb = GW_VERB_ADD, .pool = "blue", .spec = "n1=10.0.0.1:80,name=x&y"}},
    {GW_METHOD_POST,
     "/api/v1/backends/n1/drain",
     "",
     {.verb = GW_VERB_DRAIN, .id = "n1"}},
    {GW_METHOD_POST,
     "/api/v1/backends/n1/drain",
     "rate=20&timeout=2m",
     {.verb = GW_VERB_DRAIN, .id = "n1", .rate = 20, .timeout_ms = 120000}},
    {GW_METHOD_POST,
     "/api/v1/backends/n1/drain",
     "timeout=1500&&rate=0&",
     {.verb = GW_VERB_DRAIN, .id = "n1", .timeout_ms = 1500}},
    {GW_METHOD_POST,
     "/api/v1/backends/n1/drain",
     "rate=1000000&timeout=24h",
     {.verb = GW_VERB_DRAIN,
      .id = "n1",
      .rate = 1000000,
      .timeout_ms = 86400000}},
    {GW_METHOD_POST,
     "/api/v1/backends/10.0.0.1:80/undrain",
     "",
     {.verb = GW_VERB_UNDRAIN, .id = "10.0.0.1:80"}},
    {GW_METHOD_POST,
     "/api/v1/backends/blue%2F%5b::1%5D:80/remove",
     "",
     {.verb = GW_VERB_REMOVE, .id = "blue/[::1]:80"}},
    {GW_METHOD_POST,
     "/api/v1/backends/blue/n1/remove",
     "",
     {.verb = GW_VERB_REMOVE, .id = "blue/n1"}},
    {GW_METHOD_POST,
     "/api/v1/backends/drain/drain",
     "",
     {.verb = GW_VERB_DRAIN, .id = "drain"}},
};

Test(command, good)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        const struct gw_command *want = &good[i].want;
        const char *query = good[i].query != NULL ? good[i].query : "";

        cr_assert(read_as(good[i].method, good[i].path, good[i].query),
                  "%s?%s: %s", good[i].path, query, outcome.error);
        cr_expect_eq(command.verb, want->verb, "%s", good[i].path);
        cr_expect_str_eq(command.id, want->id);
        cr_expect_str_eq(command.spec, want->spec);
        cr_expect_str_eq(command.pool, want->pool);
        cr_expect_eq(command.rate,
                     strstr(query, "rate=") != NULL ? want->rate : -1, "%s",
                     query);
        cr_expect_eq(command.timeout_ms,
                     strstr(query, "timeout=") != NULL ? want->timeout_ms : -1,
                     "%s", query);
        cr_expect_eq(outcome.status, 0);
        cr_expect_str_empty(outcome.error);
        cr_expect_null(outcome.body);
    }
}

static const struct {
    enum gw_method method;
    const char *path;
    const char *query;
    unsigned status;
    const char *error; /* or the methods that are allowed */
} bad[] = {
    {GW_METHOD_READ, "", "", 404, "not found"},
    {GW_METHOD_READ, "/", "", 404, "not found"},
    {GW_METHOD_READ, "/api", "", 404, "not found"},
    {GW_METHOD_READ, "/api/backends", "", 404, "not found"},
    {GW_METHOD_READ, "/api/v2/backends", "", 404, "not found"},
    {GW_METHOD_READ, "/api/v1", "", 404, "not found"},
    {GW_METHOD_READ, "/api/v1/", "", 404, "not found"},
    {GW_METHOD_READ, "/api/v1/live", "", 404, "not found"},
    {GW_METHOD_READ, "/api/v1/sessions/", "", 404, "not found"},
    {GW_METHOD_READ, "/api/v1/backends/*/drain", "", 405, "POST"},
    {GW_METHOD_POST, "/api/v1/status", "", 405, "GET, HEAD"},
    {GW_METHOD_POST, "/api/v1/history", "", 405, "GET, HEAD"},
    {GW_METHOD_POST, "/api/v1/events", "", 405, "GET, HEAD"},
    {GW_METHOD_POST, "/api/v1/config", "", 405, "GET, HEAD"},
    {GW_METHOD_POST, "/api/v1/sessions", "", 405, "GET, HEAD"},
    {GW_METHOD_POST, "/api/v1/sessions/x", "", 405, "GET, HEAD"},
    {GW_METHOD_POST, "/api/v1/sessions/kick", "", 405, "GET, HEAD"},
    {GW_METHOD_READ, "/api/v1/sessions/x/kick", "", 405, "POST"},
    {GW_METHOD_OTHER, "/api/v1/log", "", 405, "GET, HEAD, POST"},
    {GW_METHOD_READ, "/api/v1/backend", "", 404, "not found"},
    {GW_METHOD_READ, "/api/v1/backends/", "", 404, "not found"},
    {GW_METHOD_READ, "/api/v1/backendsx", "", 404, "not found"},
    {GW_METHOD_READ, "/api/v1/backends/n1", "", 404, "not found"},
    {GW_METHOD_POST, "/api/v1/backends/drain", "", 404, "not found"},
    {GW_METHOD_POST, "/api/v1/backends//drain", "", 404, "not found"},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain/", "", 404, "not found"},
    {GW_METHOD_POST, "/api/v1/backends/n1/kill", "", 404, "not found"},
    {GW_METHOD_POST, "/api/v1/n1/drain", "", 404, "not found"},
    {GW_METHOD_POST, "/drain", "", 404, "not found"},
    {GW_METHOD_POST, "/api/v1/reload/", "", 404, "not found"},
    {GW_METHOD_OTHER, "/api/v1/backends", "", 405, "GET, HEAD, POST"},
    {GW_METHOD_OTHER, "/api/v1/upgrade", "", 405, "GET, HEAD, POST"},
    {GW_METHOD_READ, "/api/v1/reload", "", 405, "POST"},
    {GW_METHOD_READ, "/api/v1/backends/n1/drain", "", 405, "POST"},
    {GW_METHOD_READ, "/api/v1/backends/n1/undrain", "", 405, "POST"},
    {GW_METHOD_OTHER, "/api/v1/backends/n1/remove", "", 405, "POST"},
    {GW_METHOD_POST, "/api/v1/backends/n%/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n%3/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n%zz/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n%001/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n%0a1/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n%201/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n%22/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/%c3%a4/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n%252F/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n*/drain", "", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n,m/drain", "", 400, NULL},
    {GW_METHOD_POST,
     "/api/v1/backends/"
     "1234567890123456789012345678901234567890123456789012345678901234/drain",
     "", 400, NULL},
    {GW_METHOD_READ, "/api/v1/backends", "x=1", 400, "unknown parameter x"},
    {GW_METHOD_READ, "/api/v1/backends", "spec=x", 400,
     "unknown parameter spec"},
    {GW_METHOD_POST, "/api/v1/reload", "force", 400, "unknown parameter force"},
    {GW_METHOD_POST, "/api/v1/reload", "=", 400, "unknown parameter "},
    {GW_METHOD_POST, "/api/v1/reload", "a%0ab=1", 400, "unknown parameter "},
    {GW_METHOD_POST, "/api/v1/reload", "muchmuchmuchlonger=1", 400,
     "unknown parameter "},
    {GW_METHOD_POST, "/api/v1/backends", "", 400, "spec is missing"},
    {GW_METHOD_POST, "/api/v1/backends", "pool=blue", 400, "spec is missing"},
    {GW_METHOD_POST, "/api/v1/backends", "spec=", 400,
     "spec is not a backend as --backend takes it"},
    {GW_METHOD_POST, "/api/v1/backends", "spec", 400,
     "spec is not a backend as --backend takes it"},
    {GW_METHOD_POST, "/api/v1/backends", "spec=a%20b", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends", "spec=a%0", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends", "spec=a&spec=b", 400,
     "spec is given more than once"},
    {GW_METHOD_POST, "/api/v1/backends", "spec=a&pool=", 400,
     "pool is not the name of a pool"},
    {GW_METHOD_POST, "/api/v1/backends",
     "spec=a&pool=12345678901234567890123456789012", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends", "spec=a&rate=1", 400,
     "unknown parameter rate"},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "rate=", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "rate=-1", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "rate=1.5", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "rate=0x10", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "rate=1000001", 400,
     "rate is not a whole number, from 0 to 1000000"},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "rate=99999999999999999999",
     400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "rate=1&rate=2", 400,
     "rate is given more than once"},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "timeout=5y", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "timeout=s", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "timeout=25h", 400, NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "timeout=86400000h", 400,
     NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/drain", "timeout=86400001", 400,
     NULL},
    {GW_METHOD_POST, "/api/v1/backends/n1/undrain", "rate=1", 400,
     "unknown parameter rate"},
};

Test(command, bad)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_not(read_as(bad[i].method, bad[i].path, bad[i].query),
                      "%s?%s", bad[i].path, bad[i].query);
        cr_expect_eq(outcome.status, bad[i].status, "%s?%s: %u", bad[i].path,
                     bad[i].query, outcome.status);
        cr_expect_null(outcome.body);
        cr_expect_str_not_empty(outcome.error);
        if (bad[i].status == 405)
            cr_expect_str_eq(outcome.allow, bad[i].error, "%s", bad[i].path);
        else
            cr_expect_null(outcome.allow);
        if (bad[i].status != 405 && bad[i].error != NULL)
            cr_expect_str_eq(outcome.error, bad[i].error, "%s?%s", bad[i].path,
                             bad[i].query);
    }
}

/* The longest that fit, and one more. */
Test(command, lengths)
{
    char query[2 * GW_COMMAND_TEXT_MAX] = "spec=";

    for (size_t len = GW_COMMAND_TEXT_MAX - 1; len <= GW_COMMAND_TEXT_MAX;
         len++) {
        memset(query + 5, 'a', len);
        query[5 + len] = '\0';
        cr_expect_eq(read_as(GW_METHOD_POST, "/api/v1/backends", query),
                     len < GW_COMMAND_TEXT_MAX, "%zu", len);
    }
    cr_expect(read_as(
        GW_METHOD_POST,
        "/api/v1/backends/"
        "123456789012345678901234567890123456789012345678901234567890123/drain",
        ""));
    cr_expect_eq(strlen(command.id), GW_BACKEND_ID_MAX - 1);
}

Test(command, refusal_is_cut)
{
    char line[2 * sizeof(outcome.error)];

    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    gw_outcome_refuse(&outcome, 409, "%s", line);
    cr_expect_eq(outcome.status, 409);
    cr_expect_eq(strlen(outcome.error), sizeof(outcome.error) - 1);
}
