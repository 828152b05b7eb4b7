/* SPDX-License-Identifier: MIT */
/* Who may ask the operator plane what. */
#include "gateway/admin_guard.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define TOKEN "correct-horse-battery"

#define READ_TOKEN "battery-staple-horse"

static struct gw_admin_guard guard_with(const char *address,
                                        const struct gw_admin_tokens *tokens)
{
    struct gw_admin_guard guard;
    struct gw_address at = {.addr_len = 1};

    snprintf(at.text, sizeof(at.text), "%s", address);
    at.addr.ss_family = strncmp(address, "unix:", 5) == 0 ? AF_UNIX : AF_INET;
    cr_assert(gw_admin_guard_init(&guard, &at, tokens));
    return guard;
}

static struct gw_admin_guard guard_of(const char *address, const char *token)
{
    const struct gw_admin_tokens tokens = {.full = token, .read = ""};

    return guard_with(address, &tokens);
}

static struct gw_admin_request metrics(void)
{
    return (struct gw_admin_request){
        .method = GW_METHOD_READ, .path = "/metrics", .host = "localhost"};
}

static enum gw_admin_access access_now;

static enum gw_admin_verdict judge(const struct gw_admin_guard *guard,
                                   const struct gw_admin_request *request,
                                   bool is_open)
{
    return gw_admin_guard_judge(guard, request,
                                is_open ? GW_ADMIN_HEALTH : GW_ADMIN_GUARDED,
                                &access_now);
}

static const struct {
    const char *host;
    bool is_own;
} hosts[] = {
    {NULL, true}, /* HTTP/1.0 */
    {"127.0.0.1", true},
    {"127.0.0.1:9180", true},
    {"10.0.0.7:9180", true}, /* a kubelet's */
    {"[::1]", true},
    {"[::1]:9180", true},
    {"[2001:db8::1]:80", true},
    {"localhost", true},
    {"localhost:9180", true},
    {"LocalHost", true},
    {"localhost.", true},
    {"ops.internal", true},
    {"OPS.internal:9180", true},
    {"ops.internal.", true},
    {"", false},
    {".", false},
    {"evil.example", false},
    {"evil.example:9180", false},
    {"localhost.evil.example", false},
    {"evil.localhost", false},
    {"127.0.0.1.evil.example", false},
    {"127.0.0.1:9180:9180", false},
    {"127.0.0.1:x", false},
    {"[::1", false},
    {"[::1]evil", false},
    {"localhost:", true}, /* an empty port is none */
    {"localhost:80x", false},
    {"localhost,evil.example", false},
    {"evil.example,localhost", false},
    {"user@localhost", false},
    {"ops.internal.evil.example", false},
    {"xops.internal", false},
    {"ops.interna", false},
    {" localhost", false},
};

Test(admin_guard, hosts_without_a_token)
{
    struct gw_admin_guard guard = guard_of("ops.internal:9180", "");

    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct gw_admin_request request = metrics();

        request.host = hosts[i].host;
        cr_expect_eq(judge(&guard, &request, false),
                     hosts[i].is_own ? GW_ADMIN_LET_IN : GW_ADMIN_WRONG_HOST,
                     "%s", hosts[i].host);
        cr_expect_eq(judge(&guard, &request, true),
                     hosts[i].is_own ? GW_ADMIN_LET_IN : GW_ADMIN_WRONG_HOST,
                     "%s for a page that needs no token", hosts[i].host);
    }
}

/* What knows the token is no page of a stranger. */
Test(admin_guard, any_host_with_a_token)
{
    struct gw_admin_guard guard = guard_of("0.0.0.0:9180", TOKEN);

    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct gw_admin_request request = metrics();

        request.host = hosts[i].host;
        cr_expect_eq(judge(&guard, &request, true), GW_ADMIN_LET_IN, "%s",
                     hosts[i].host);
        cr_expect_eq(judge(&guard, &request, false), GW_ADMIN_WRONG_TOKEN, "%s",
                     hosts[i].host);
        request.authorization = "Bearer " TOKEN;
        cr_expect_eq(judge(&guard, &request, false), GW_ADMIN_LET_IN, "%s",
                     hosts[i].host);
    }
}

static const struct {
    const char *authorization;
    bool is_right;
} tokens[] = {
    {"Bearer " TOKEN, true},
    {"bearer " TOKEN, true},
    {"BEARER   " TOKEN, true},
    {NULL, false},
    {"", false},
    {"?", false},
    {"Bearer", false},
    {"Bearer ", false},
    {TOKEN, false},
    {"Basic " TOKEN, false},
    {"Bearer:" TOKEN, false},
    {"Bearer\t" TOKEN, false},
    {"Bearer " TOKEN " ", false},
    {"Bearer " TOKEN "x", false},
    {"Bearer " TOKEN ",Bearer " TOKEN, false},
    {"Bearer wrong,Bearer " TOKEN, false},
    {"Bearer correct-horse-batter", false},
    {"Bearer correct-horse-batterz", false},
    {"Bearer Correct-horse-battery", false},
    {" Bearer " TOKEN, false},
};

Test(admin_guard, tokens)
{
    static const char *const addresses[] = {"0.0.0.0:9180", "unix:/run/s"};

    for (size_t i = 0; i < 2 * sizeof(tokens) / sizeof(tokens[0]); i++) {
        struct gw_admin_guard guard = guard_of(addresses[i % 2], TOKEN);
        struct gw_admin_request request = metrics();

        request.authorization = tokens[i / 2].authorization;
        cr_expect_eq(judge(&guard, &request, false),
                     tokens[i / 2].is_right ? GW_ADMIN_LET_IN
                                            : GW_ADMIN_WRONG_TOKEN,
                     "%s at %s", request.authorization, addresses[i % 2]);
        cr_expect_eq(judge(&guard, &request, true), GW_ADMIN_LET_IN);
    }
}

/* A guard keeps no token, and no two guards the same digest of it. */
Test(admin_guard, token_is_not_kept)
{
    struct gw_admin_guard one = guard_of("0.0.0.0:9180", TOKEN);
    struct gw_admin_guard two = guard_of("0.0.0.0:9180", TOKEN);

    cr_expect_null(memmem(&one, sizeof(one), TOKEN, strlen(TOKEN)));
    cr_expect_neq(memcmp(one.full.digest, two.full.digest, GW_ADMIN_DIGEST), 0);
}

static const struct {
    const char *host;
    const char *origin;
    const char *fetch_site;
    bool is_same;
} sites[] = {
    {"localhost:9180", NULL, NULL, true},
    {"localhost:9180", NULL, "same-origin", true},
    {"localhost:9180", NULL, "none", true},
    {"localhost:9180", NULL, "None", true},
    {"localhost:9180", "http://localhost:9180", NULL, true},
    {"localhost:9180", "HTTP://LOCALHOST:9180", "same-origin", true},
    {"localhost", "http://localhost", NULL, true},
    {"localhost:80", "http://localhost", NULL, true},
    {"localhost", "http://localhost:80", NULL, true},
    {"127.0.0.1", "https://127.0.0.1:443", NULL, true},
    {"[::1]:9180", "http://[::1]:9180", NULL, true},
    {"[::1]", "http://[::1]:80", NULL, true},
    {"localhost:9180", NULL, "cross-site", false},
    {"localhost:9180", NULL, "same-site", false},
    {"localhost:9180", NULL, "", false},
    {"localhost:9180", NULL, "?", false},
    {"localhost:9180", NULL, "none, cross-site", false},
    {"localhost:9180", "http://localhost:9180", "cross-site", false},
    {"localhost:9180", "http://localhost:9180", "same-site", false},
    {"localhost:9180", "null", NULL, false},
    {"localhost:9180", "", NULL, false},
    {"localhost:9180", "?", NULL, false},
    {"localhost:9180", "http://", NULL, false},
    {"localhost:9180", "http://localhost", NULL, false},
    {"localhost:9180", "http://localhost:3000", NULL, false},
    {"localhost:9180", "http://127.0.0.1:9180", NULL, false},
    {"localhost:9180", "http://evil.example", NULL, false},
    {"localhost:9180", "http://evil.example", "same-origin", false},
    {"localhost:9180", "http://localhost:9180.evil.example", NULL, false},
    {"localhost:9180", "http://evil.example/http://localhost:9180", NULL,
     false},
    {"localhost:9180", "http://localhost:9180,http://evil.example", NULL,
     false},
    {"localhost:9180", "http://user@localhost:9180", NULL, false},
    {"localhost:9180", "ftp://localhost:9180", NULL, false},
    {"localhost:9180", "localhost:9180", NULL, false},
    {"localhost:443", "http://localhost", NULL, false},
    {"localhost", "https://localhost:80", NULL, false},
    {NULL, "http://localhost:9180", NULL, false},
    {NULL, "http://", NULL, false},
};

Test(admin_guard, sites)
{
    struct gw_admin_guard bare = guard_of("127.0.0.1:9180", "");
    struct gw_admin_guard token = guard_of("127.0.0.1:9180", TOKEN);
    struct gw_admin_guard local = guard_of("unix:/run/sidgate.sock", "");

    for (size_t i = 0; i < sizeof(sites) / sizeof(sites[0]); i++) {
        struct gw_admin_request request = metrics();
        enum gw_admin_verdict want =
            sites[i].is_same ? GW_ADMIN_LET_IN : GW_ADMIN_CROSS_SITE;

        request.host = sites[i].host;
        request.origin = sites[i].origin;
        request.fetch_site = sites[i].fetch_site;
        request.authorization = "Bearer " TOKEN;
        cr_expect_eq(judge(&bare, &request, false), want, "%s, %s, %s",
                     request.host, request.origin, request.fetch_site);
        cr_expect_eq(judge(&token, &request, false), want, "%s, %s, %s",
                     request.host, request.origin, request.fetch_site);
        cr_expect_eq(judge(&bare, &request, true), want);
        cr_expect_eq(judge(&local, &request, false), GW_ADMIN_LET_IN);
        /* What changes something is for nobody's page, wherever it came. */
        request.method = GW_METHOD_POST;
        cr_expect_eq(judge(&local, &request, false), want);
        cr_expect_eq(judge(&bare, &request, false), want);
    }
}

/* What one with this token is let do, on a guard with these two. */
static const struct {
    struct gw_admin_tokens tokens;
    const char *token; /* NULL: none */
    enum gw_admin_access access;
    enum gw_admin_verdict read;
    enum gw_admin_verdict post;
} two_tokens[] = {
    {{TOKEN, READ_TOKEN},
     TOKEN,
     GW_ADMIN_FULL,
     GW_ADMIN_LET_IN,
     GW_ADMIN_LET_IN},
    {{TOKEN, READ_TOKEN},
     READ_TOKEN,
     GW_ADMIN_READER,
     GW_ADMIN_LET_IN,
     GW_ADMIN_READ_ONLY},
    {{TOKEN, READ_TOKEN},
     NULL,
     GW_ADMIN_NOBODY,
     GW_ADMIN_WRONG_TOKEN,
     GW_ADMIN_WRONG_TOKEN},
    {{TOKEN, READ_TOKEN},
     "",
     GW_ADMIN_NOBODY,
     GW_ADMIN_WRONG_TOKEN,
     GW_ADMIN_WRONG_TOKEN},
    {{TOKEN, READ_TOKEN},
     "another-wrong-token",
     GW_ADMIN_NOBODY,
     GW_ADMIN_WRONG_TOKEN,
     GW_ADMIN_WRONG_TOKEN},
    /* With a read token alone nobody may change anything. */
    {{"", READ_TOKEN},
     READ_TOKEN,
     GW_ADMIN_READER,
     GW_ADMIN_LET_IN,
     GW_ADMIN_READ_ONLY},
    {{"", READ_TOKEN},
     NULL,
     GW_ADMIN_NOBODY,
     GW_ADMIN_WRONG_TOKEN,
     GW_ADMIN_WRONG_TOKEN},
    {{"", READ_TOKEN},
     "",
     GW_ADMIN_NOBODY,
     GW_ADMIN_WRONG_TOKEN,
     GW_ADMIN_WRONG_TOKEN},
    {{TOKEN, ""},
     READ_TOKEN,
     GW_ADMIN_NOBODY,
     GW_ADMIN_WRONG_TOKEN,
     GW_ADMIN_WRONG_TOKEN},
    {{"", ""}, NULL, GW_ADMIN_OPEN, GW_ADMIN_LET_IN, GW_ADMIN_LET_IN},
    {{"", ""}, TOKEN, GW_ADMIN_OPEN, GW_ADMIN_LET_IN, GW_ADMIN_LET_IN},
};

Test(admin_guard, read_tokens)
{
    static const char *const addresses[] = {"127.0.0.1:9180", "unix:/run/s"};

    for (size_t i = 0; i < sizeof(two_tokens) / sizeof(two_tokens[0]); i++) {
        char field[64];
        struct gw_admin_guard guard =
            guard_with(addresses[i % 2], &two_tokens[i].tokens);
        struct gw_admin_request request = metrics();

        snprintf(field, sizeof(field), "Bearer %s",
                 two_tokens[i].token != NULL ? two_tokens[i].token : "");
        for (int way = 0; way < 2; way++) {
            request.authorization =
                way == 0 && two_tokens[i].token != NULL ? field : NULL;
            request.bearer = way == 1 ? two_tokens[i].token : NULL;
            request.method = GW_METHOD_READ;
            cr_expect_eq(judge(&guard, &request, false), two_tokens[i].read,
                         "read %zu", i);
            cr_expect_eq(access_now, two_tokens[i].access, "access %zu", i);
            request.method = GW_METHOD_POST;
            cr_expect_eq(judge(&guard, &request, false), two_tokens[i].post,
                         "post %zu", i);
        }
    }
}

Test(admin_guard, a_field_comes_before_a_subprotocol)
{
    struct gw_admin_guard guard = guard_of("127.0.0.1:9180", TOKEN);
    struct gw_admin_request request = metrics();

    request.authorization = "Bearer wrong";
    request.bearer = TOKEN;
    cr_expect_eq(judge(&guard, &request, false), GW_ADMIN_WRONG_TOKEN);
}

/* Any site may link to the page, none may open its websocket. */
Test(admin_guard, kinds)
{
    struct gw_admin_guard local = guard_of("unix:/run/s", "");
    struct gw_admin_guard bare = guard_of("127.0.0.1:9180", "");
    struct gw_admin_guard token = guard_of("127.0.0.1:9180", TOKEN);
    struct gw_admin_request request = metrics();
    enum gw_admin_access access;

    request.fetch_site = "cross-site";
    cr_expect_eq(gw_admin_guard_judge(&token, &request, GW_ADMIN_PAGE, &access),
                 GW_ADMIN_LET_IN);
    cr_expect_eq(
        gw_admin_guard_judge(&bare, &request, GW_ADMIN_HEALTH, &access),
        GW_ADMIN_CROSS_SITE);
    cr_expect_eq(gw_admin_guard_judge(&local, &request, GW_ADMIN_LIVE, &access),
                 GW_ADMIN_CROSS_SITE);
    cr_expect_eq(
        gw_admin_guard_judge(&local, &request, GW_ADMIN_GUARDED, &access),
        GW_ADMIN_LET_IN);
    request.fetch_site = NULL;
    request.host = "evil.example";
    cr_expect_eq(gw_admin_guard_judge(&bare, &request, GW_ADMIN_PAGE, &access),
                 GW_ADMIN_WRONG_HOST);
    cr_expect_eq(gw_admin_guard_judge(&bare, &request, GW_ADMIN_LIVE, &access),
                 GW_ADMIN_WRONG_HOST);
    cr_expect_eq(gw_admin_guard_judge(&token, &request, GW_ADMIN_LIVE, &access),
                 GW_ADMIN_WRONG_TOKEN);
}
