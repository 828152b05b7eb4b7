/* SPDX-License-Identifier: MIT */
/* What a handshake is placed by. */
#include "gateway/balance.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/socket.h>

static struct gw_pool_config pool;
static struct gw_head head;
static const struct gw_peer peer = {AF_INET, {192, 0, 2, 1}};
static const struct gw_peer other = {AF_INET, {192, 0, 2, 2}};

static void look_at(enum gw_hash_source source, const char *name)
{
    pool.hash_key.source = source;
    snprintf(pool.hash_key.name, sizeof(pool.hash_key.name), "%s", name);
}

static void add(const char *name, const char *value)
{
    struct gw_field *field = &head.fields[head.field_count++];
    *field = (struct gw_field){.name = eio_span_of(name),
                               .value = eio_span_of(value)};
}

static uint64_t hash(const struct gw_peer *client)
{
    return gw_balance_hash(&pool, &head, client);
}

/* The key is in the head: the client does not matter. */
static bool is_found(void)
{
    return hash(&peer) == hash(&other);
}

static void use(const char *name, const char *value)
{
    head.field_count = 0;
    add("Host", "example.com");
    if (name != NULL)
        add(name, value);
}

Test(balance_key, is_the_address)
{
    struct gw_peer mapped = {
        AF_INET6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}};
    struct gw_peer v6 = {AF_INET6, {192, 0, 2, 1}};
    struct gw_peer unknown = {AF_UNIX, {0}};
    use("cookie", "a=b");
    cr_assert_eq(hash(&peer), hash(&peer));
    cr_assert_neq(hash(&peer), hash(&other));
    cr_assert_eq(hash(&peer), hash(&mapped));
    cr_assert_neq(hash(&peer), hash(&v6));
    cr_assert_neq(hash(&peer), hash(&unknown));
    v6.addr[15] = 1; /* not the network, the address */
    cr_assert_neq(hash(&v6), hash(&(struct gw_peer){AF_INET6, {192, 0, 2, 1}}));
}

/* Replicas of other builds and machines must agree on it. */
Test(balance_key, is_known)
{
    use(NULL, NULL);
    cr_assert_eq(hash(&peer), 0x65fc539188d14019ULL);
    look_at(GW_HASH_HEADER, "x-user");
    use("x-user", "alice");
    cr_assert_eq(hash(&peer), 0xc85ab78c9fcb39a5ULL);
}

Test(balance_key, is_a_header)
{
    look_at(GW_HASH_HEADER, "x-user");
    use("X-User", "alice");
    cr_assert(is_found());
    uint64_t alice = hash(&peer);
    add("X-User", "bob"); /* the first one counts */
    cr_assert_eq(hash(&peer), alice);
    use("x-user", "Alice");
    cr_assert_neq(hash(&peer), alice);
    use("x-user", "");
    cr_assert_not(is_found());
    add("x-user", "alice");
    cr_assert_eq(hash(&peer), alice);
    use("x-users", "alice");
    cr_assert_not(is_found());
    use(NULL, NULL);
    cr_assert_not(is_found());
}

Test(balance_key, is_a_cookie)
{
    static const char *const with[] = {
        "sid=alice",        "a=b; sid=alice",        "sid=alice; a=b",
        "a=b;sid=alice;",   " ;; sid=alice ;c",      "sid=; sid=alice",
        "asid=x;sid=alice", "sid=alice; sid=bob",    "sidx=1; sid=alice",
        "x=\"y; sid=alice", "=;sid=alice;=sid=wrong"};
    static const char *const without[] = {"",
                                          ";",
                                          "sid",
                                          "sid=",
                                          "sid =alice",
                                          "SID=alice",
                                          "asid=alice",
                                          "a=sid=alice",
                                          "a=b sid=alice",
                                          "a=b, sid=alice",
                                          "sid;=alice"};
    look_at(GW_HASH_COOKIE, "sid");
    use("cookie", "sid=alice");
    cr_assert(is_found());
    uint64_t alice = hash(&peer);
    for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++) {
        use("Cookie", with[i]);
        cr_assert_eq(hash(&peer), alice, "%s", with[i]);
        use("cookie", "a=b; c=d");
        add("cookie", with[i]);
        cr_assert_eq(hash(&peer), alice, "second: %s", with[i]);
    }
    for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
        use("cookie", without[i]);
        cr_assert_not(is_found(), "%s", without[i]);
    }
    use("cookies", "sid=alice");
    cr_assert_not(is_found());
}

Test(balance_key, is_a_parameter_of_the_query)
{
    look_at(GW_HASH_QUERY, "user");
    use("cookie", "user=no");
    head.query = eio_span_of("user=alice");
    cr_assert(is_found());
    uint64_t alice = hash(&peer);
    head.query = eio_span_of("EIO=4&transport=polling&user=alice&user=bob");
    cr_assert_eq(hash(&peer), alice);
    head.query = eio_span_of("EIO=4&user=&user=alice");
    cr_assert_eq(hash(&peer), alice);
    head.query = eio_span_of("user=al%69ce"); /* as it is written */
    cr_assert(is_found());
    cr_assert_neq(hash(&peer), alice);
    head.query = eio_span_of("xuser=alice&user&users=alice&EIO=4&");
    cr_assert_not(is_found());
    head.query = (struct eio_span){NULL, 0};
    cr_assert_not(is_found());
}

/* The same bytes as a value are another key than as an address. */
Test(balance_key, is_of_its_kind)
{
    static const struct gw_peer letters = {AF_INET, {'a', 'b', 'c', 'd'}};
    use("x-user", "abcd");
    uint64_t address = hash(&letters);
    look_at(GW_HASH_HEADER, "x-user");
    cr_assert_neq(hash(&peer), address);
}
