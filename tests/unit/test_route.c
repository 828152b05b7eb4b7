/* SPDX-License-Identifier: MIT */
/* What a request is, from its head. */
#include "gateway/route.h"

#include "tests/unit/head_fixture.h"

static struct gw_config config = {
    .pools = {{.name = "default",
               .paths = {"/socket.io/", "/engine.io"},
               .path_count = 2,
               .prefix = "/"}},
    .pool_count = 1,
};

static enum gw_route route_to(const char *line, struct eio_query *query,
                              uint8_t *pool)
{
    char text[1024];
    int len =
        snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: h\r\n\r\n", line);
    cr_assert_lt((size_t)len, sizeof(text));
    struct parsed *parsed = parse((struct eio_span){text, (size_t)len}, true);
    cr_assert_eq(parsed->status, 0, "%s", line);
    enum gw_route result = gw_route_of(&config, &parsed->head, query, pool);
    parsed_free(parsed);
    return result;
}

static enum gw_route route(const char *line, struct eio_query *query)
{
    uint8_t pool = 0xa5;
    enum gw_route result = route_to(line, query, &pool);
    cr_expect_eq(pool, 0, "%s: pool %u", line, pool);
    return result;
}

static const struct {
    const char *line;
    enum gw_route route;
    const char *sid;
} cases[] = {
    {"OPTIONS *", GW_ROUTE_LOCAL, ""},
    /* not Engine.IO */
    {"GET /", GW_ROUTE_PLAIN, ""},
    {"GET /?EIO=4&transport=polling&sid=a", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io?EIO=4&sid=a", GW_ROUTE_PLAIN, ""},
    {"GET /Socket.io/?EIO=4&sid=a", GW_ROUTE_PLAIN, ""},
    {"GET /x/socket.io/?EIO=4&sid=a", GW_ROUTE_PLAIN, ""},
    {"GET //socket.io/?EIO=4&sid=a", GW_ROUTE_PLAIN, ""},
    {"GET /?/socket.io/?sid=a", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io/socket.io.js", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io/", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io/?", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io/?t=1", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io/?sid=", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io/?eio=4", GW_ROUTE_PLAIN, ""},
    /* only a GET begins a session */
    {"POST /socket.io/?EIO=4&transport=polling", GW_ROUTE_PLAIN, ""},
    {"HEAD /socket.io/?EIO=4&transport=polling", GW_ROUTE_PLAIN, ""},
    {"OPTIONS /socket.io/?EIO=4&transport=polling", GW_ROUTE_PLAIN, ""},
    /* handshakes */
    {"GET /socket.io/?EIO=4&transport=polling", GW_ROUTE_HANDSHAKE, ""},
    {"GET /socket.io/?EIO=3&transport=websocket", GW_ROUTE_HANDSHAKE, ""},
    {"GET /socket.io/?EIO", GW_ROUTE_HANDSHAKE, ""},
    {"GET /socket.io/?transport=x", GW_ROUTE_HANDSHAKE, ""},
    {"GET /socket.io/?%45IO=4", GW_ROUTE_HANDSHAKE, ""},
    {"GET /socket.io/?EIO=4&sid=", GW_ROUTE_HANDSHAKE, ""},
    {"GET /socket.io/more?EIO=4", GW_ROUTE_HANDSHAKE, ""},
    {"GET /engine.io?EIO=4", GW_ROUTE_HANDSHAKE, ""},
    {"GET /engine.io/?EIO=4", GW_ROUTE_HANDSHAKE, ""},
    {"GET http://h/socket.io/?EIO=4", GW_ROUTE_HANDSHAKE, ""},
    /* some servers decode the path */
    {"GET /socket%2eio/?EIO=4", GW_ROUTE_HANDSHAKE, ""},
    {"GET /%73OCKET.io/?EIO=4", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io%2F?EIO=4&sid=ab", GW_ROUTE_SESSION, "ab"},
    {"GET /socket.io%2?EIO=4", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io%?EIO=4", GW_ROUTE_PLAIN, ""},
    {"GET /socket.io%252f?EIO=4", GW_ROUTE_PLAIN, ""},
    /* sessions, whatever the method */
    {"GET /socket.io/?EIO=4&transport=polling&sid=ab", GW_ROUTE_SESSION, "ab"},
    {"POST /socket.io/?sid=ab", GW_ROUTE_SESSION, "ab"},
    {"PUT /socket.io/?s%69d=%61b", GW_ROUTE_SESSION, "ab"},
    {"OPTIONS /socket.io/?EIO=4&sid=ab", GW_ROUTE_SESSION, "ab"},
    {"HEAD /engine.io/x?sid=ab", GW_ROUTE_SESSION, "ab"},
    /* sids that nobody may have */
    {"GET /socket.io/?EIO=4&sid=a&sid=b", GW_ROUTE_BAD_SID, ""},
    {"GET /socket.io/?EIO=4&sid=a&s%69d=a", GW_ROUTE_BAD_SID, ""},
    {"POST /socket.io/?sid=%0a", GW_ROUTE_BAD_SID, ""},
    {"OPTIONS /socket.io/?sid=%zz", GW_ROUTE_BAD_SID, ""},
    {"GET /?sid=a&sid=b", GW_ROUTE_PLAIN, ""},
};

Test(route, tells_requests_apart)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct eio_query query;
        memset(&query, 0xa5, sizeof(query));
        enum gw_route result = route(cases[i].line, &query);
        cr_assert_eq(result, cases[i].route, "%s: %d", cases[i].line, result);
        cr_assert_eq(query.sid.len, strlen(cases[i].sid), "%s", cases[i].line);
        cr_assert_eq(memcmp(query.sid.bytes, cases[i].sid, query.sid.len), 0);
    }
}

/* Nothing of the memory's former content is taken for a parameter. */
Test(route, writes_the_whole_query)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct eio_query query;
        memset(&query, 1, sizeof(query)); /* every bool is true */
        enum gw_route result = route(cases[i].line, &query);
        if (result != GW_ROUTE_PLAIN && result != GW_ROUTE_LOCAL)
            continue;
        cr_assert_not(query.has_jsonp, "%s", cases[i].line);
        cr_assert_not(query.has_b64, "%s", cases[i].line);
        cr_assert_leq(query.eio, 99, "%s", cases[i].line);
        cr_assert_leq(query.transport, EIO_TRANSPORT_OTHER, "%s",
                      cases[i].line);
    }
}

Test(route, reads_the_query_of_engine_io)
{
    struct eio_query query;

    memset(&query, 0xa5, sizeof(query));
    cr_assert_eq(route("GET /socket.io/?EIO=3&transport=polling&j=7", &query),
                 GW_ROUTE_HANDSHAKE);
    cr_assert_eq(query.eio, 3);
    cr_assert_eq(query.transport, EIO_TRANSPORT_POLLING);
    cr_assert(query.has_jsonp);
    cr_assert_eq(query.jsonp, 7);
    cr_assert_not(query.has_b64);
}

Test(route, bounds_the_sid)
{
    char line[512] = "GET /socket.io/?sid=";
    size_t len = strlen(line);
    struct eio_query query;

    memset(line + len, 'a', EIO_SID_MAX);
    cr_assert_eq(route(line, &query), GW_ROUTE_SESSION);
    cr_assert_eq(query.sid.len, EIO_SID_MAX);
    line[len + EIO_SID_MAX] = 'a';
    cr_assert_eq(route(line, &query), GW_ROUTE_BAD_SID);
    cr_assert_eq(query.sid.len, 0);
}

Test(route, names_the_pool)
{
    static const struct {
        const char *line;
        enum gw_route route;
        uint8_t pool;
    } rows[] = {
        {"GET /socket.io/?EIO=4", GW_ROUTE_HANDSHAKE, 0},
        {"GET /v2/socket.io/?EIO=4", GW_ROUTE_HANDSHAKE, 1},
        {"POST /v2/socket.io/?sid=ab", GW_ROUTE_SESSION, 1},
        {"GET /v2/socket.io/?sid=%0a", GW_ROUTE_BAD_SID, 1},
        {"GET /v2/socket.io/", GW_ROUTE_PLAIN, 1},
        {"GET /v2/x?sid=ab", GW_ROUTE_PLAIN, 1},
        {"GET /v2", GW_ROUTE_NOWHERE, 0},
        {"GET /x", GW_ROUTE_NOWHERE, 0},
        {"GET /x?EIO=4&sid=%0a", GW_ROUTE_NOWHERE, 0},
        {"OPTIONS *", GW_ROUTE_LOCAL, 0},
    };
    struct eio_query query;

    config.pools[0].prefix[0] = '\0';
    config.pools[1] = (struct gw_pool_config){.name = "v2",
                                              .paths = {"/v2/socket.io/"},
                                              .path_count = 1,
                                              .prefix = "/v2/"};
    config.pool_count = 2;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t pool = 0xa5;
        enum gw_route result = route_to(rows[i].line, &query, &pool);
        cr_expect_eq(result, rows[i].route, "%s: %d", rows[i].line, result);
        cr_expect_eq(pool, rows[i].pool, "%s: pool %u", rows[i].line, pool);
    }
}

/* Wherever it is asked, and whoever's path that is. */
Test(route, answers_health_only_where_it_is_wanted)
{
    static const struct {
        const char *line;
        enum gw_route route;
    } rows[] = {
        {"GET /healthz", GW_ROUTE_HEALTHZ},   {"GET /readyz", GW_ROUTE_READYZ},
        {"HEAD /healthz", GW_ROUTE_HEALTHZ},  {"HEAD /readyz", GW_ROUTE_READYZ},
        {"GET /healthz?x", GW_ROUTE_HEALTHZ}, {"POST /healthz", GW_ROUTE_PLAIN},
        {"GET /healthz/", GW_ROUTE_PLAIN},    {"GET /readyzz", GW_ROUTE_PLAIN},
    };
    struct eio_query query;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        config.serve_health = false;
        cr_expect_eq(route(rows[i].line, &query), GW_ROUTE_PLAIN, "%s",
                     rows[i].line);
        config.serve_health = true;
        cr_expect_eq(route(rows[i].line, &query), rows[i].route, "%s",
                     rows[i].line);
    }
}
