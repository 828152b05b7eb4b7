/* SPDX-License-Identifier: MIT */
/* The reading of what an operator asks of sessions, events and the log. */
#include "gateway/command.h"

#include "gateway/log.h"

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

static bool get(const char *path, const char *query)
{
    return read_as(GW_METHOD_READ, path, query);
}

static void expect_session(const char *want, size_t len)
{
    cr_expect_eq(command.session.len, len, "%u", command.session.len);
    cr_expect_arr_eq(command.session.bytes, want, len);
}

Test(command_query, sids)
{
    static const char all[] = "\x00/%?#&=\x01 \x7f\xff";

    cr_assert(get("/api/v1/sessions/abc-_.~", ""));
    cr_expect_eq(command.verb, GW_VERB_SESSION);
    expect_session("abc-_.~", 7);
    cr_assert(get("/api/v1/sessions/%00%2F%25%3f%23&=%01%20%7F%fF", ""));
    expect_session(all, sizeof(all) - 1);
    cr_assert(get("/api/v1/sessions/a/b", ""));
    expect_session("a/b", 3);
    cr_assert(get("/api/v1/sessions/kick", ""));
    cr_expect_eq(command.verb, GW_VERB_SESSION);
    expect_session("kick", 4);
    cr_assert(read_as(GW_METHOD_POST, "/api/v1/sessions/%2Fx/kick", ""));
    cr_expect_eq(command.verb, GW_VERB_KICK);
    expect_session("/x", 2);
    cr_assert(read_as(GW_METHOD_POST, "/api/v1/sessions/kick/kick", ""));
    expect_session("kick", 4);
}

Test(command_query, no_sids)
{
    static const char *const paths[] = {
        "/api/v1/sessions/%",   "/api/v1/sessions/%2",  "/api/v1/sessions/%g0",
        "/api/v1/sessions/a%0", "/api/v1/sessions/%-1",
    };

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        cr_expect_not(get(paths[i], ""), "%s", paths[i]);
        cr_expect_eq(outcome.status, 400);
        cr_expect_str_eq(outcome.error, "this is not the id of a session");
    }
    cr_expect_not(get("/api/v1/sessions/x", "y=1"));
    cr_expect_str_eq(outcome.error, "unknown parameter y");
}

/* The longest sid, and one more. */
Test(command_query, long_sids)
{
    char path[32 + 3 * (EIO_SID_MAX + 1)] = "/api/v1/sessions/";
    size_t used = strlen(path);

    for (size_t len = 1; len <= EIO_SID_MAX + 1; len++) {
        used += (size_t)snprintf(path + used, sizeof(path) - used, "%s",
                                 len % 2 == 0 ? "%fe" : "s");
        cr_expect_eq(get(path, ""), len <= EIO_SID_MAX, "%zu", len);
        if (len <= EIO_SID_MAX)
            cr_expect_eq(command.session.len, len);
    }
}

Test(command_query, filter_defaults)
{
    const struct gw_session_filter *filter = &command.filter;

    cr_assert(get("/api/v1/sessions", "search="));
    cr_expect_str_empty(filter->backend);
    cr_expect_str_empty(filter->client);
    cr_expect_str_empty(filter->gateway);
    cr_expect_str_empty(filter->search);
    cr_expect_str_empty(filter->cursor);
    cr_expect_eq(filter->transport, -1);
    cr_expect_eq(filter->limit, 50);
    cr_expect_not(filter->ended);
}

Test(command_query, filters)
{
    const struct gw_session_filter *filter = &command.filter;

    cr_assert(get("/api/v1/sessions",
                  "backend=blue%2Fn1&client=10.0.&transport=websocket&"
                  "gateway=gw-a.3f&search=a%20%26%C3%A4&ended=true&limit=1000&"
                  "cursor=x.12-y"),
              "%s", outcome.error);
    cr_expect_str_eq(filter->backend, "blue/n1");
    cr_expect_str_eq(filter->client, "10.0.");
    cr_expect_eq(filter->transport, STORE_TRANSPORT_WEBSOCKET);
    cr_expect_str_eq(filter->gateway, "gw-a.3f");
    cr_expect_str_eq(filter->search, "a &\xc3\xa4");
    cr_expect(filter->ended);
    cr_expect_eq(filter->limit, 1000);
    cr_expect_str_eq(filter->cursor, "x.12-y");
    cr_assert(get("/api/v1/sessions", "transport=polling&ended=false&limit=1"));
    cr_expect_eq(filter->transport, STORE_TRANSPORT_POLLING);
    cr_expect_not(filter->ended);
    cr_expect_eq(filter->limit, 1);
}

Test(command_query, events)
{
    cr_assert(get("/api/v1/events", ""));
    cr_expect_eq(command.after, -1);
    cr_expect_eq(command.limit, 100);
    cr_expect_eq(command.level, -1);
    cr_assert(get("/api/v1/events", "after=0&limit=500&level=warning"));
    cr_expect_eq(command.after, 0);
    cr_expect_eq(command.limit, 500);
    cr_expect_eq(command.level, GW_LOG_WARNING);
    cr_assert(get("/api/v1/events", "after=999999999999999"));
    cr_expect_eq(command.after, 999999999999999);
}

Test(command_query, log_level)
{
    static const char *const words[] = {"error", "warning", "info", "debug"};

    for (int level = GW_LOG_ERROR; level <= GW_LOG_DEBUG; level++) {
        char query[32];

        snprintf(query, sizeof(query), "level=%s", words[level]);
        cr_assert(read_as(GW_METHOD_POST, "/api/v1/log", query));
        cr_expect_eq(command.verb, GW_VERB_SET_LOG);
        cr_expect_eq(command.level, level);
    }
}

static const struct {
    const char *path;
    const char *query;
    const char *error;
} bad[] = {
    {"events", "after=", "after is not the seq of an event"},
    {"events", "after=-1", "after is not the seq of an event"},
    {"events", "after=1000000000000000", "after is not the seq of an event"},
    {"events", "after=99999999999999999999",
     "after is not the seq of an event"},
    {"events", "limit=0", "limit is not a whole number, from 1 to 500"},
    {"events", "limit=501", "limit is not a whole number, from 1 to 500"},
    {"events", "limit=1x", "limit is not a whole number, from 1 to 500"},
    {"events", "level=", "level is not error, warning, info or debug"},
    {"events", "level=Info", "level is not error, warning, info or debug"},
    {"events", "level=2", "level is not error, warning, info or debug"},
    {"events", "level=info&level=info", "level is given more than once"},
    {"events", "backend=n1", "unknown parameter backend"},
    {"log", "level=info", "unknown parameter level"},
    {"sessions", "limit=0", "limit is not a whole number, from 1 to 1000"},
    {"sessions", "limit=1001", "limit is not a whole number, from 1 to 1000"},
    {"sessions", "limit=", "limit is not a whole number, from 1 to 1000"},
    {"sessions", "transport=ws", "transport is not polling or websocket"},
    {"sessions", "transport=", "transport is not polling or websocket"},
    {"sessions", "ended", "ended is not true or false"},
    {"sessions", "ended=1", "ended is not true or false"},
    {"sessions", "backend=", "backend is not the id of a backend"},
    {"sessions",
     "client=", "client is not an address, or what one begins with"},
    {"sessions", "client=%20",
     "client is not an address, or what one begins with"},
    {"sessions", "gateway=", "gateway is not the id of a replica"},
    {"sessions", "search=%00", "search is not a text of at most 127 bytes"},
    {"sessions", "search=a%0ab", "search is not a text of at most 127 bytes"},
    {"sessions", "search=%7f", "search is not a text of at most 127 bytes"},
    {"sessions", "search=%", "search is not a text of at most 127 bytes"},
    {"sessions", "cursor=", "cursor is not one that this gateway gave"},
    {"sessions", "cursor=a%20b", "cursor is not one that this gateway gave"},
    {"sessions", "after=1", "unknown parameter after"},
    {"sessions", "search=a&search=b", "search is given more than once"},
    {"status", "x", "unknown parameter x"},
};

Test(command_query, bad)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char path[64];

        snprintf(path, sizeof(path), "/api/v1/%s", bad[i].path);
        cr_expect_not(get(path, bad[i].query), "%s", bad[i].query);
        cr_expect_eq(outcome.status, 400);
        cr_expect_str_eq(outcome.error, bad[i].error, "%s: %s", bad[i].query,
                         outcome.error);
    }
    cr_expect_not(read_as(GW_METHOD_POST, "/api/v1/log", ""));
    cr_expect_str_eq(outcome.error, "level is missing");
}

static const struct {
    const char *name;
    size_t size; /* with its NUL */
} texts[] = {
    {"backend", GW_BACKEND_ID_MAX}, {"client", STORE_CLIENT_MAX},
    {"gateway", STORE_GATEWAY_MAX}, {"search", GW_SEARCH_MAX},
    {"cursor", GW_CURSOR_MAX},
};

/* The longest that fit, and one more. */
Test(command_query, lengths)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char query[512] = "";
        size_t start =
            (size_t)snprintf(query, sizeof(query), "%s=", texts[i].name);

        memset(query + start, 'a', texts[i].size - 1);
        cr_expect(get("/api/v1/sessions", query), "%s", texts[i].name);
        query[start + texts[i].size - 1] = 'a';
        cr_expect_not(get("/api/v1/sessions", query), "%s", texts[i].name);
    }
}
