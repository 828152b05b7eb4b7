/* SPDX-License-Identifier: MIT */
/* Backends by SRV records: ids, weights and addresses of their targets. */
#include "tests/unit/discovery_fixture.h"

#define SERVICE "_app._tcp.test"

static void add_weighted(const char *target, uint16_t port, uint16_t weight)
{
    dns_server_add_srv(dns, SERVICE, target, port,
                       (const uint16_t[]){10, weight});
}

static void add(const char *target, uint16_t port)
{
    add_weighted(target, port, 0);
}

static void start(void)
{
    want(config, SERVICE ".", 0);
    begin();
}

static const char *address_of(const char *id)
{
    return backend(id)->config->address.text;
}

Test(discovery, targets_are_backends)
{
    add("WEB-1.Test", 3001);
    add("web_2.test", 3002);
    dns_server_add(dns, "web-1.test", "127.0.0.1");
    dns_server_add(dns, "web_2.test", "2001:db8::2");
    start();
    expect_live("web-1.test web_2.test ");
    cr_expect_str_eq(address_of("web-1.test"), "127.0.0.1:3001");
    cr_expect_str_eq(address_of("web_2.test"), "[2001:db8::2]:3002");
    cr_expect_eq(atomic_load(&backend("web-1.test")->weight), 1);
    cr_expect_eq(changes, 1);
    let_ask(SERVICE, DNS_SRV, 3);
    cr_expect_eq(changes, 1);
}

Test(discovery, the_same_target_twice_has_its_port_in_its_id)
{
    add("web.test", 3001);
    add("web.test", 3002);
    add("web.test", 3002);
    add("alone.test", 3001);
    dns_server_add(dns, "web.test", "127.0.0.1");
    dns_server_add(dns, "alone.test", "127.0.0.2");
    start();
    expect_live("alone.test web.test:3001 web.test:3002 ");
    cr_expect_str_eq(address_of("web.test:3002"), "127.0.0.1:3002");
}

static uint32_t weight_of(const char *id)
{
    return atomic_load(&backend(id)->weight);
}

Test(discovery, weights_are_kept_and_made_to_fit)
{
    dns_server_add(dns, "a.test", "127.0.0.1");
    dns_server_add(dns, "b.test", "127.0.0.2");
    dns_server_add(dns, "c.test", "127.0.0.3");
    add_weighted("a.test", 1, 0);
    add_weighted("b.test", 1, 20);
    add_weighted("c.test", 1, 256);
    start();
    expect_live("a.test b.test c.test ");
    cr_expect_eq(weight_of("a.test"), 1);
    cr_expect_eq(weight_of("b.test"), 20);
    cr_expect_eq(weight_of("c.test"), 256);

    dns_server_clear(dns);
    dns_server_add(dns, "a.test", "127.0.0.1");
    dns_server_add(dns, "b.test", "127.0.0.2");
    add_weighted("a.test", 1, 65535);
    add_weighted("b.test", 1, 32768);
    expect_live("a.test b.test ");
    cr_expect_eq(weight_of("a.test"), 256);
    cr_expect_eq(weight_of("b.test"), 128);
}

Test(discovery, only_the_best_priority_is_used)
{
    dns_server_add_srv(dns, SERVICE, "a.test", 1, (const uint16_t[]){20, 1});
    dns_server_add_srv(dns, SERVICE, "b.test", 1, (const uint16_t[]){10, 1});
    dns_server_add_srv(dns, SERVICE, "c.test", 1, (const uint16_t[]){30, 1});
    dns_server_add(dns, "a.test", "127.0.0.1");
    dns_server_add(dns, "b.test", "127.0.0.2");
    dns_server_add(dns, "c.test", "127.0.0.3");
    start();
    expect_live("b.test ");
    cr_expect_eq(dns_server_count(dns, "a.test", 0), 0);
}

static bool is_at(const void *arg)
{
    const char *const *both = arg;
    const struct gw_backend *one = gw_backend_find(backends, both[0]);
    return one != NULL && gw_backend_is_live(one) &&
           strcmp(one->config->address.text, both[1]) == 0;
}

/* A restarted pod. */
Test(discovery, a_target_moves_to_another_address)
{
    add("web.test", 3001);
    dns_server_add(dns, "web.test", "127.0.0.2");
    start();
    expect_live("web.test ");
    dns_server_clear(dns);
    add("web.test", 3001);
    dns_server_add(dns, "web.test", "127.0.0.1");
    cr_assert(
        until(is_at, (const char *const[]){"web.test", "127.0.0.1:3001"}));
    cr_expect_str_eq(live(), "web.test ");
    cr_expect_eq(changes, 2);
}

Test(discovery, a_target_with_many_addresses_stays_at_its_own)
{
    add("web.test", 3001);
    dns_server_add(dns, "web.test", "127.0.0.5");
    start();
    expect_live("web.test ");
    dns_server_clear(dns);
    add("web.test", 3001);
    dns_server_add(dns, "web.test", "127.0.0.1");
    dns_server_add(dns, "web.test", "127.0.0.5");
    let_ask("web.test", DNS_A, 3);
    cr_expect_str_eq(address_of("web.test"), "127.0.0.5:3001");
    cr_expect_eq(changes, 1);
}

Test(discovery, a_target_that_cannot_be_looked_up_stays)
{
    add("old.test", 3001);
    dns_server_add(dns, "old.test", "127.0.0.1");
    start();
    expect_live("old.test ");
    add("new.test", 3001);
    add("next.test", 3001);
    dns_server_add(dns, "next.test", "127.0.0.3");
    dns_server_set_mode(dns, "old.test", 0, DNS_SERVFAIL);
    dns_server_set_mode(dns, "new.test", 0, DNS_SILENT);
    expect_live("next.test old.test ");
    /* without an address it is not there */
    dns_server_clear(dns);
    add("old.test", 3001);
    add("next.test", 3001);
    dns_server_add(dns, "next.test", "127.0.0.3");
    expect_live("next.test ");
}

Test(discovery, records_that_fail_change_nothing)
{
    add("web.test", 3001);
    dns_server_add(dns, "web.test", "127.0.0.1");
    start();
    expect_live("web.test ");
    dns_server_set_mode(dns, SERVICE, 0, DNS_SERVFAIL);
    let_ask(SERVICE, DNS_SRV, 8);
    cr_expect_str_eq(live(), "web.test ");
    dns_server_set_mode(dns, SERVICE, 0, DNS_JUNK);
    let_ask(SERVICE, DNS_SRV, 40);
    cr_expect_str_eq(live(), "web.test ");
    dns_server_set_mode(dns, SERVICE, 0, DNS_CUT);
    let_ask(SERVICE, DNS_SRV, 10);
    cr_expect_str_eq(live(), "web.test ");
    cr_expect_eq(changes, 1);
    dns_server_clear(dns);
    expect_live("");
}

#define LONG "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"

/* Nobody is asked for them either. */
Test(discovery, odd_names_are_refused)
{
    static const char *const odd[] = {
        "a b.test",   "a/b.test", "a\"b.test", "a\nb.test",     "a\\b.test",
        "a\xe9.test", "a=b.test", "a,b.test",  "<script>.test", "a:1.test"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        add(odd[i], 3001);
        dns_server_add(dns, odd[i], "127.0.0.2");
    }
    add(LONG "." LONG, 3001);
    dns_server_add(dns, LONG "." LONG, "127.0.0.2");
    add(LONG "." LONG "." LONG "." LONG "." LONG, 3001);
    add("", 3001);
    add("zero.test", 0);
    dns_server_add(dns, "zero.test", "127.0.0.2");
    add("good.test", 3001);
    dns_server_add(dns, "good.test", "127.0.0.1");
    start();
    expect_live("good.test ");
    let_ask(SERVICE, DNS_SRV, 3);
    cr_expect_str_eq(live(), "good.test ");
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        cr_expect_eq(dns_server_count(dns, odd[i], 0), 0, "%s", odd[i]);
}

/* Just as long as an id may be, and one more. */
Test(discovery, the_longest_name)
{
    static const char fits[] = LONG ".abcdefghij";
    static const char not [] = LONG ".abcdefghijk";
    char ids[GW_BACKEND_ID_MAX + 1];
    cr_assert_eq(strlen(fits), GW_BACKEND_ID_MAX - 1);
    add(fits, 3001);
    add(not, 3001);
    dns_server_add(dns, fits, "127.0.0.1");
    dns_server_add(dns, not, "127.0.0.2");
    snprintf(ids, sizeof(ids), "%s ", fits);
    start();
    expect_live(ids);
}

Test(discovery, many_targets_are_cut)
{
    char name[32];
    char address[32];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "web-%03u.test", i);
        snprintf(address, sizeof(address), "10.0.0.%u", i + 1);
        add(name, 3001);
        dns_server_add(dns, name, address);
    }
    start();
    cr_assert(until(is_settled_now, NULL));
    size_t count = 0;
    for (size_t i = 0; i < gw_backends_used(backends); i++)
        count += gw_backend_is_live(&backends->list[i]);
    cr_expect_eq(count, 128);
    cr_expect_not_null(strstr(live(), "web-000.test "));
    cr_expect_not_null(strstr(live(), "web-127.test "));
    cr_expect_null(gw_backend_find(backends, "web-128.test"));
}

Test(discovery, a_service_without_a_server)
{
    add("", 0);
    start();
    cr_assert(until(is_settled_now, NULL));
    let_ask(SERVICE, DNS_SRV, 4);
    cr_expect_str_eq(live(), "");
}

Test(discovery, a_target_of_the_configuration_is_left_alone)
{
    struct gw_backend_config *one = &config->backends[config->backend_count++];
    snprintf(one->id, sizeof(one->id), "web.test");
    snprintf(one->address.text, sizeof(one->address.text), "127.0.0.9:1");
    one->weight = 9;
    add("web.test", 3001);
    add("more.test", 3001);
    dns_server_add(dns, "web.test", "127.0.0.1");
    dns_server_add(dns, "more.test", "127.0.0.2");
    start();
    expect_live("more.test web.test ");
    cr_expect_str_eq(address_of("web.test"), "127.0.0.9:1");
    dns_server_clear(dns);
    expect_live("web.test ");
}

Test(discovery, may_end_among_targets)
{
    add("web.test", 3001);
    add("more.test", 3001);
    dns_server_add(dns, "web.test", "127.0.0.1");
    dns_server_set_mode(dns, "more.test", 0, DNS_SILENT);
    start();
    let_ask("more.test", DNS_A, 1);
}
