/* SPDX-License-Identifier: MIT */
/* Which pool a request is for. */
#include "gateway/pool.h"

#include "tests/unit/head_fixture.h"

static struct gw_config config;

static struct gw_pool_config *add_pool(const char *name, const char *path)
{
    struct gw_pool_config *pool = &config.pools[config.pool_count++];
    *pool = (struct gw_pool_config){.path_count = 1};
    snprintf(pool->name, sizeof(pool->name), "%s", name);
    snprintf(pool->paths[0], sizeof(pool->paths[0]), "%s", path);
    return pool;
}

static void add_host(struct gw_pool_config *pool, const char *host)
{
    snprintf(pool->hosts[pool->host_count++], GW_HOST_MAX, "%s", host);
}

static struct gw_pool_config *add_tenant(const char *host)
{
    struct gw_pool_config *pool = add_pool(host, "/socket.io/");
    snprintf(pool->prefix, sizeof(pool->prefix), "/");
    add_host(pool, host);
    return pool;
}

static struct parsed *request(const char *host, const char *path,
                              const char *fields)
{
    char text[1024];
    int len =
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n",
                 path, host, fields);
    cr_assert_lt((size_t)len, sizeof(text));
    struct parsed *parsed = parse((struct eio_span){text, (size_t)len}, true);
    cr_assert_eq(parsed->status, 0, "%s", text);
    return parsed;
}

enum { NONE = -1 };

/* The pool's index, or NONE. */
static int find(const char *host, const char *path, bool *is_eio)
{
    struct parsed *parsed = request(host, path, "");
    uint8_t pool = 0xa5;
    *is_eio = true;
    bool is_found = gw_pool_find(&config, &parsed->head, &pool, is_eio);
    cr_expect(is_found || !*is_eio);
    parsed_free(parsed);
    return is_found ? pool : NONE;
}

static void expect_pool(const char *host, const char *path, int wanted)
{
    bool is_eio;
    int pool = find(host, path, &is_eio);
    cr_expect_eq(pool, wanted, "%s %s: %d", host, path, pool);
}

Test(pool, hosts)
{
    static const struct {
        const char *host;
        int pool;
    } rows[] = {
        {"a.example", 1},
        {"A.eXample", 1},
        {"a.example:8080", 1},
        {"a.example.", 1},
        {"a.example.:443", 1},
        {"a.example:", 1},
        {"b.example", 0},
        {"xa.example", 0},
        {"a.example.org", 0},
        {"a.exampl", 0},
        /* everything below, however deep, but not the domain itself */
        {"x.wild.example", 2},
        {"y.x.wild.example", 2},
        {"X.WILD.example:1", 2},
        {"x.wild.example.", 2},
        {"wild.example", 0},
        {"xwild.example", 0},
        {".wild.example", 0},
        /* the more exact wins, wherever it stands */
        {"deep.wild.example", 2},
        {"x.deep.wild.example", 3},
        {"own.deep.wild.example", 4},
        /* addresses */
        {"127.0.0.1:80", 5},
        {"127.0.0.1", 5},
        {"[::1]:80", 6},
        {"[::1]", 6},
        {"[::2]", 0},
    };

    add_pool("default", "/socket.io/");
    add_tenant("a.example");
    add_tenant("*.wild.example");
    add_tenant("*.deep.wild.example");
    add_tenant("own.deep.wild.example");
    add_tenant("127.0.0.1");
    add_tenant("[::1]");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_pool(rows[i].host, "/socket.io/?EIO=4", rows[i].pool);
}

Test(pool, of_several_hosts_the_best_counts)
{
    struct gw_pool_config *both;

    add_tenant("*.example");
    both = add_tenant("*.com");
    add_host(both, "a.example");
    add_host(both, "b.example");
    expect_pool("a.example", "/", 1);
    expect_pool("b.example", "/", 1);
    expect_pool("c.example", "/", 0);
    expect_pool("c.com", "/", 1);
    expect_pool("com", "/", NONE);
}

/* The host decides before the path does; but only where both fit. */
Test(pool, the_path_must_fit_too)
{
    struct gw_pool_config *own;

    add_pool("default", "/socket.io/chat/");
    own = add_pool("own", "/socket.io/");
    add_host(own, "a.example");
    expect_pool("a.example", "/socket.io/chat/", 1);
    expect_pool("b.example", "/socket.io/chat/", 0);
    expect_pool("b.example", "/socket.io/", NONE);
    snprintf(own->paths[0], sizeof(own->paths[0]), "/other/");
    expect_pool("a.example", "/socket.io/chat/", 0);
}

Test(pool, the_longest_path)
{
    static const struct {
        const char *path;
        int pool;
        bool is_eio;
    } rows[] = {
        {"/socket.io/", 0, true},
        {"/socket.io/x?EIO=4", 0, true},
        {"/v2/socket.io/", 1, true},
        {"/v2/socket.io/adm", 1, true},
        {"/v2/socket.io/adm/", 2, true},
        {"/v2/engine.io/", 1, true},
        {"/v2/", 1, false},
        {"/v2/x", 1, false},
        {"/v2", 0, false},
        {"/", 0, false},
        {"/v2/admin/x", 2, false},
        {"/x/v2/socket.io/", 0, false},
    };
    struct gw_pool_config *pool;

    pool = add_pool("default", "/socket.io/");
    snprintf(pool->prefix, sizeof(pool->prefix), "/");
    pool = add_pool("v2", "/v2/socket.io/");
    snprintf(pool->paths[pool->path_count++], GW_PATH_MAX, "/v2/engine.io/");
    snprintf(pool->prefix, sizeof(pool->prefix), "/v2/");
    pool = add_pool("admin", "/v2/socket.io/adm/");
    snprintf(pool->prefix, sizeof(pool->prefix), "/v2/admin/");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool is_eio;
        int found = find("h", rows[i].path, &is_eio);
        cr_expect_eq(found, rows[i].pool, "%s: %d", rows[i].path, found);
        cr_expect_eq(is_eio, rows[i].is_eio, "%s", rows[i].path);
    }
}

/* Of two that fit as well the first is taken, always the same one. */
Test(pool, equal_ones_in_their_order)
{
    add_pool("one", "/socket.io/");
    add_pool("two", "/socket.io/");
    expect_pool("h", "/socket.io/", 0);
}

Test(pool, without_a_prefix_there_is_nowhere_to_go)
{
    add_pool("default", "/socket.io/");
    expect_pool("h", "/socket.io/", 0);
    expect_pool("h", "/", NONE);
    expect_pool("h", "/socket.io", NONE);
    config.pool_count = 0;
    expect_pool("h", "/socket.io/", NONE);
}

Test(pool, removed_ones_come_last)
{
    struct gw_pool_config *gone;

    add_tenant("*.example");
    gone = add_tenant("a.example");
    gone->is_removed = true;
    expect_pool("a.example", "/socket.io/", 0);
    /* Its clients are still let to their sessions where no other pool is. */
    add_host(gone, "b.org");
    expect_pool("b.org", "/socket.io/", 1);
    gone->is_removed = false;
    expect_pool("a.example", "/socket.io/", 1);
}

static const struct {
    const char *path;
    bool is_eio;
} encoded[] = {
    {"/socket.io/", true},      {"/socket%2eio/", true},
    {"/socket%2Eio%2f", true},  {"%2fsocket.io/", true},
    {"/%73ocket.io/", true},    {"/%53ocket.io/", false},
    {"/socket.io%2", false},    {"/socket.io%", false},
    {"/socket.io%252f", false}, {"/socket.io%zz/", false},
    {"/socket.io/%", true},     {"/socket%00.io/", false},
    {"/socket.io%2F%zz", true},
};

Test(pool, encoded_paths)
{
    add_pool("default", "/socket.io/");
    for (size_t i = 0; i < sizeof(encoded) / sizeof(encoded[0]); i++) {
        struct guard guard =
            guard_copy(encoded[i].path, strlen(encoded[i].path));
        struct eio_span path = {guard.bytes, guard.len};
        cr_expect_eq(gw_pool_is_eio(&config, path), encoded[i].is_eio, "%s",
                     encoded[i].path);
        guard_free(&guard);
    }
    /* The path's own "%" stands for itself. */
    snprintf(config.pools[0].paths[0], GW_PATH_MAX, "/a%%2fb/");
    expect_pool("h", "/a%2fb/", 0);
    expect_pool("h", "/a%252fb/", 0);
    expect_pool("h", "/a/b/", NONE);
}

Test(pool, a_prefix_is_decoded_too)
{
    snprintf(add_pool("default", "/socket.io/")->prefix, GW_PATH_MAX, "/app/");
    expect_pool("h", "/%61pp/x", 0);
    expect_pool("h", "/app%2Fx", 0);
    expect_pool("h", "/App/x", NONE);
    cr_expect_not(gw_pool_is_eio(&config, eio_span_of("/app/")));
}

/* ---- canary ---- */

static void set_canary(struct gw_pool_config *pool, uint8_t index,
                       uint32_t percent, const char *header, const char *value)
{
    pool->canary = (struct gw_canary){.index = index, .percent = percent};
    snprintf(pool->canary.pool, GW_POOL_NAME_MAX, "%s",
             config.pools[index].name);
    snprintf(pool->canary.header, GW_FIELD_MAX, "%s", header);
    snprintf(pool->canary.value, GW_FIELD_MAX, "%s", value);
}

static int target(const char *fields, uint32_t chance)
{
    struct parsed *parsed = request("h", "/socket.io/?EIO=4", fields);
    uint8_t pool = gw_pool_target(&config, 0, &parsed->head, chance);
    parsed_free(parsed);
    return pool;
}

Test(pool, without_a_canary_a_pool_keeps_its_handshakes)
{
    add_pool("default", "/socket.io/");
    add_pool("next", "/socket.io/");
    for (uint32_t chance = 0; chance < 100; chance++)
        cr_expect_eq(target("x-canary: 1\r\n", chance), 0);
    cr_expect_eq(target("", UINT32_MAX), 0);
}

Test(pool, a_canary_by_percent)
{
    static const uint32_t percents[] = {0, 1, 10, 50, 99, 100};

    add_pool("default", "/socket.io/");
    add_pool("other", "/socket.io/");
    add_pool("next", "/socket.io/");
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
        uint32_t count = 0;
        set_canary(&config.pools[0], 2, percents[i], "", "");
        for (uint32_t chance = 0; chance < 1000; chance++)
            count += target("", 4294966000u + chance) == 2;
        cr_expect_eq(count, 10 * percents[i], "%u", count);
    }
}

Test(pool, a_canary_by_header)
{
    static const struct {
        const char *fields;
        int pool;
    } rows[] = {
        {"x-canary: yes\r\n", 1},
        {"X-Canary:  yes \r\n", 1},
        {"x-canary: no\r\nx-canary: yes\r\n", 1},
        {"x-canary: Yes\r\n", 0},
        {"x-canary: yes, yes\r\n", 0},
        {"x-canary: yes!\r\n", 0},
        {"x-canary:\r\n", 0},
        {"x-canary2: yes\r\n", 0},
        {"x-canar: yes\r\n", 0},
        {"", 0},
    };

    add_pool("default", "/socket.io/");
    add_pool("next", "/socket.io/");
    set_canary(&config.pools[0], 1, 0, "x-canary", "yes");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(target(rows[i].fields, 0), rows[i].pool, "%s",
                     rows[i].fields);
    /* And the share besides. */
    set_canary(&config.pools[0], 1, 30, "x-canary", "yes");
    cr_expect_eq(target("x-canary: yes\r\n", 99), 1);
    cr_expect_eq(target("x-canary: no\r\n", 29), 1);
    cr_expect_eq(target("x-canary: no\r\n", 30), 0);
}

Test(pool, sessions_are_the_pools_and_its_canarys)
{
    struct gw_backend backend = {.own.pool = 1};

    backend.config = &backend.own;
    add_pool("default", "/socket.io/");
    add_pool("next", "/socket.io/");
    add_pool("other", "/other/");
    cr_expect_not(gw_pool_has(&config, 0, &backend));
    cr_expect(gw_pool_has(&config, 1, &backend));
    set_canary(&config.pools[0], 1, 0, "", "");
    cr_expect(gw_pool_has(&config, 0, &backend));
    cr_expect_not(gw_pool_has(&config, 2, &backend));
    /* Not the other way round. */
    backend.own.pool = 0;
    cr_expect(gw_pool_has(&config, 0, &backend));
    cr_expect_not(gw_pool_has(&config, 1, &backend));
}
