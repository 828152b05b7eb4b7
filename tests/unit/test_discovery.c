/* SPDX-License-Identifier: MIT */
/* Backends by name: addresses that come and go, and servers that fail. */
#include "tests/unit/discovery_fixture.h"

#include <netinet/in.h>

#define ASKED "app.test"

/* ---- who is there ---- */

Test(discovery, addresses_are_backends)
{
    dns_server_add(dns, ASKED, "127.0.0.2");
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(dns, ASKED, "2001:db8::1");
    want(config, NAME, PORT)->backend.weight = 7;
    begin();
    cr_expect_not(gw_discovery_is_settled(discovery));
    expect_live("127.0.0.1:3001 127.0.0.2:3001 [2001:db8::1]:3001 ");
    cr_expect(gw_discovery_is_settled(discovery));
    cr_expect_eq(changes, 1);

    const struct gw_backend *one = backend("127.0.0.2:3001");
    struct sockaddr_in v4;
    cr_expect_eq(one->source, GW_SOURCE_DISCOVERY);
    cr_expect_eq(one->discovery, 0);
    cr_expect_eq(atomic_load(&one->fresh_since_ms), 0, "slow at the start");
    cr_expect_eq(atomic_load(&one->weight), 7);
    cr_expect_str_eq(one->config->address.text, "127.0.0.2:3001");
    cr_assert_eq(one->config->address.addr_len, sizeof(v4));
    memcpy(&v4, &one->config->address.addr, sizeof(v4));
    cr_expect_eq(ntohs(v4.sin_port), PORT);
    cr_expect_eq(ntohl(v4.sin_addr.s_addr), 0x7f000002);

    const struct sockaddr_storage *addr =
        &backend("[2001:db8::1]:3001")->config->address.addr;
    struct sockaddr_in6 v6;
    memcpy(&v6, addr, sizeof(v6));
    cr_expect_eq(addr->ss_family, AF_INET6);
    cr_expect_eq(ntohs(v6.sin6_port), PORT);
}

Test(discovery, they_appear_vanish_and_reappear)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 ");
    struct gw_backend *first = backend("127.0.0.1:3001");

    dns_server_add(dns, ASKED, "127.0.0.2");
    expect_live("127.0.0.1:3001 127.0.0.2:3001 ");
    cr_expect_neq(atomic_load(&backend("127.0.0.2:3001")->fresh_since_ms), 0);
    cr_expect_eq(atomic_load(&first->fresh_since_ms), 0);

    dns_server_clear(dns);
    dns_server_add(dns, ASKED, "127.0.0.2");
    expect_live("127.0.0.2:3001 ");
    cr_expect_eq(atomic_load(&first->state), GW_BACKEND_REMOVED);

    dns_server_add(dns, ASKED, "127.0.0.1");
    expect_live("127.0.0.1:3001 127.0.0.2:3001 ");
    cr_expect_eq(backend("127.0.0.1:3001"), first);
    cr_expect_neq(atomic_load(&first->fresh_since_ms), 0);
    cr_expect_eq(changes, 4);
    /* and no change is no change */
    let_ask(ASKED, DNS_A, 3);
    cr_expect_eq(changes, 4);
}

Test(discovery, an_empty_name_fills)
{
    want(config, NAME, PORT);
    begin();
    cr_assert(until(is_settled_now, NULL));
    cr_expect_str_eq(live(), "");
    dns_server_add(dns, ASKED, "127.0.0.1");
    expect_live("127.0.0.1:3001 ");
    cr_expect_neq(atomic_load(&backend("127.0.0.1:3001")->fresh_since_ms), 0);
}

Test(discovery, another_pools_ids_begin_with_its_name)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    want(config, NAME, PORT)->backend.pool = 1;
    begin();
    expect_live("v2/127.0.0.1:3001 ");
    cr_expect_eq(backend("v2/127.0.0.1:3001")->config->pool, 1);
}

Test(discovery, addresses_of_nobody_are_refused)
{
    static const char *const odd[] = {"0.0.0.0",         "0.1.2.3", "224.0.0.1",
                                      "255.255.255.255", "::",      "ff02::1",
                                      "fe80::1"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        dns_server_add(dns, ASKED, odd[i]);
    dns_server_add(dns, ASKED, "10.1.2.3");
    want(config, NAME, PORT);
    begin();
    expect_live("10.1.2.3:3001 ");
    let_ask(ASKED, DNS_AAAA, 2);
    cr_expect_str_eq(live(), "10.1.2.3:3001 ");
}

static void add_many(unsigned count)
{
    char address[32];
    for (unsigned i = 0; i < count; i++) {
        snprintf(address, sizeof(address), "10.0.%u.%u", i / 200, i % 200 + 1);
        dns_server_add(dns, ASKED, address);
    }
}

static size_t live_count(void)
{
    size_t count = 0;
    for (size_t i = 0; i < gw_backends_used(backends); i++)
        count += gw_backend_is_live(&backends->list[i]);
    return count;
}

static bool has_live(const void *arg)
{
    return live_count() == *(const size_t *)arg;
}

Test(discovery, a_long_answer_comes_over_tcp)
{
    size_t all = 100;
    add_many(100);
    want(config, NAME, PORT);
    begin();
    cr_assert(until(has_live, &all), "%zu", live_count());
    cr_expect_gt(dns_server_count_tcp(dns), 0);
}

Test(discovery, a_truncated_answer_is_not_believed)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(dns, ASKED, "127.0.0.2");
    dns_server_set_mode(dns, ASKED, 0, DNS_TRUNCATES);
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 127.0.0.2:3001 ");
    cr_expect_gt(dns_server_count_tcp(dns), 0);
}

/* Those that are left out are always the same. */
Test(discovery, too_many_are_cut)
{
    size_t most = 128;
    add_many(300);
    want(config, NAME, PORT);
    begin();
    cr_assert(until(has_live, &most), "%zu", live_count());
    let_ask(ASKED, DNS_A, 3);
    cr_expect_eq(live_count(), most);
    cr_expect_eq(changes, 1);
}

/* ---- who is not there ---- */

Test(discovery, an_empty_answer_is_believed_the_third_time)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 ");
    dns_server_clear(dns);
    unsigned before = dns_server_count(dns, ASKED, DNS_A);
    expect_live("");
    cr_expect_geq(dns_server_count(dns, ASKED, DNS_A), before + 3);
    dns_server_add(dns, ASKED, "127.0.0.1");
    expect_live("127.0.0.1:3001 ");
}

/* Two that say so, one that does not, and two again. */
Test(discovery, fewer_than_three_in_a_row_are_not_believed)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    want(config, NAME, PORT);
    config->discover_interval_ms = 300;
    begin();
    expect_live("127.0.0.1:3001 ");
    for (int i = 0; i < 3; i++) {
        dns_server_clear(dns);
        let_ask(ASKED, DNS_A, 2);
        dns_server_add(dns, ASKED, "127.0.0.1");
        let_ask(ASKED, DNS_A, 2);
        cr_assert_str_eq(live(), "127.0.0.1:3001 ");
    }
    cr_expect_eq(changes, 1);
}

static const enum dns_mode failures[] = {DNS_SERVFAIL, DNS_REFUSED, DNS_JUNK,
                                         DNS_CUT};

Test(discovery, failures_change_nothing)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(dns, ASKED, "127.0.0.2");
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 127.0.0.2:3001 ");
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        dns_server_set_mode(dns, ASKED, 0, failures[i]);
        let_ask(ASKED, DNS_A, failures[i] == DNS_JUNK ? 30 : 10);
        cr_assert_str_eq(live(), "127.0.0.1:3001 127.0.0.2:3001 ", "mode %d",
                         (int)failures[i]);
        dns_server_set_mode(dns, ASKED, 0, DNS_ANSWERS);
        let_ask(ASKED, DNS_A, 2);
    }
    cr_expect_eq(changes, 1);
    dns_server_add(dns, ASKED, "127.0.0.3");
    expect_live("127.0.0.1:3001 127.0.0.2:3001 127.0.0.3:3001 ");
}

/* One failure between them, and they are not in a row. */
Test(discovery, a_failure_is_no_empty_answer)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 ");
    /* A fails, and AAAA says that there is nothing. */
    dns_server_set_mode(dns, ASKED, DNS_A, DNS_SERVFAIL);
    let_ask(ASKED, DNS_AAAA, 8);
    cr_expect_str_eq(live(), "127.0.0.1:3001 ");
    cr_expect_eq(changes, 1);
}

Test(discovery, a_family_that_fails_keeps_what_it_had)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(dns, ASKED, "2001:db8::1");
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 [2001:db8::1]:3001 ");
    dns_server_clear(dns);
    dns_server_set_mode(dns, ASKED, DNS_AAAA, DNS_SERVFAIL);
    dns_server_add(dns, ASKED, "127.0.0.2");
    expect_live("127.0.0.2:3001 [2001:db8::1]:3001 ");
    let_ask(ASKED, DNS_AAAA, 4);
    expect_live("127.0.0.2:3001 [2001:db8::1]:3001 ");
    dns_server_set_mode(dns, ASKED, DNS_AAAA, DNS_ANSWERS);
    expect_live("127.0.0.2:3001 ");
}

/* What has come by the deadline counts. */
Test(discovery, a_family_without_any_answer_is_not_waited_for)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_set_mode(dns, ASKED, DNS_AAAA, DNS_SILENT);
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 ");
}

Test(discovery, silence_changes_nothing)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 ");
    dns_server_set_mode(dns, ASKED, 0, DNS_SILENT);
    let_ask(ASKED, DNS_A, 8);
    cr_expect_str_eq(live(), "127.0.0.1:3001 ");
    dns_server_set_mode(dns, ASKED, 0, DNS_ANSWERS);
    dns_server_add(dns, ASKED, "127.0.0.2");
    expect_live("127.0.0.1:3001 127.0.0.2:3001 ");
}

Test(discovery, a_server_that_is_not_there_is_a_failure)
{
    config->dns_servers[1] = config->dns_servers[0];
    config->dns_server_count = 2;
    /* A port that nobody has: that of a server that is gone. */
    struct dns_server *other = dns_server_start();
    config->dns_servers[0] = dns_server_address(other);
    dns_server_stop(other);
    dns_server_add(dns, ASKED, "127.0.0.1");
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 ");
}

/* ---- who is another's ---- */

static void configure_backend(const char *id)
{
    struct gw_backend_config *one = &config->backends[config->backend_count++];
    snprintf(one->id, sizeof(one->id), "%s", id);
    one->weight = 5;
    snprintf(one->address.text, sizeof(one->address.text), "127.0.0.9:1");
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(1)};
    v4.sin_addr.s_addr = htonl(0x7f000009);
    memcpy(&one->address.addr, &v4, sizeof(v4));
    one->address.addr_len = sizeof(v4);
}

Test(discovery, the_configurations_own_are_left_alone)
{
    configure_backend("127.0.0.1:3001");
    configure_backend("n1");
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(dns, ASKED, "127.0.0.2");
    want(config, NAME, PORT);
    begin();
    expect_live("127.0.0.1:3001 127.0.0.2:3001 n1 ");
    const struct gw_backend *one = backend("127.0.0.1:3001");
    cr_expect_str_eq(one->config->address.text, "127.0.0.9:1");
    cr_expect_eq(atomic_load(&one->weight), 5);
    cr_expect_eq(one->source, GW_SOURCE_CONFIG);
    dns_server_clear(dns);
    expect_live("127.0.0.1:3001 n1 ");
}

Test(discovery, two_names_do_not_take_from_each_other)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(dns, ASKED, "127.0.0.2");
    dns_server_add(dns, "other.test", "127.0.0.2");
    dns_server_add(dns, "other.test", "127.0.0.3");
    want(config, NAME, PORT);
    want(config, "other.test.", PORT);
    begin();
    expect_live("127.0.0.1:3001 127.0.0.2:3001 127.0.0.3:3001 ");
    let_ask(ASKED, DNS_A, 3);
    let_ask("other.test", DNS_A, 3);
    cr_expect_str_eq(live(), "127.0.0.1:3001 127.0.0.2:3001 127.0.0.3:3001 ");
    dns_server_clear(dns);
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(dns, "other.test", "127.0.0.2");
    expect_live("127.0.0.1:3001 127.0.0.2:3001 ");
}

/* ---- the configuration changes ---- */

static void reconfigure(struct gw_config *next)
{
    struct gw_config *old = config;
    config = next;
    free(old); /* nothing of it is needed */
    gw_discovery_configure(discovery, next);
}

Test(discovery, a_name_that_is_gone_lets_its_backends_go)
{
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(dns, "other.test", "127.0.0.2");
    dns_server_add(dns, "third.test", "127.0.0.3");
    want(config, NAME, PORT);
    want(config, "other.test.", PORT);
    begin();
    expect_live("127.0.0.1:3001 127.0.0.2:3001 ");
    cr_expect_eq(backend("127.0.0.2:3001")->discovery, 1);

    struct gw_config *next = new_config();
    want(next, "other.test.", PORT);
    reconfigure(next);
    cr_expect_str_eq(live(), "127.0.0.2:3001 ");
    cr_expect_eq(backend("127.0.0.2:3001")->discovery, 0);

    next = new_config();
    want(next, "third.test.", PORT);
    want(next, "other.test.", PORT);
    reconfigure(next);
    cr_expect_str_eq(live(), "127.0.0.2:3001 ");
    expect_live("127.0.0.2:3001 127.0.0.3:3001 ");
    cr_expect_eq(backend("127.0.0.2:3001")->discovery, 1);
    cr_expect_neq(atomic_load(&backend("127.0.0.3:3001")->fresh_since_ms), 0);

    /* and what was renumbered still goes by its own name */
    dns_server_clear(dns);
    dns_server_add(dns, "third.test", "127.0.0.3");
    expect_live("127.0.0.3:3001 ");
    reconfigure(new_config());
    cr_expect_str_eq(live(), "");
}

Test(discovery, another_server_is_asked_at_once)
{
    struct dns_server *other = dns_server_start();
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(other, ASKED, "127.0.0.2");
    want(config, NAME, PORT);
    config->discover_interval_ms = 3600000;
    begin();
    expect_live("127.0.0.1:3001 ");
    struct gw_config *next = new_config();
    next->dns_servers[0] = dns_server_address(other);
    next->discover_interval_ms = 3600000;
    want(next, NAME, PORT);
    reconfigure(next);
    expect_live("127.0.0.2:3001 ");
    dns_server_stop(other);
}

/* ---- the system's way ---- */

Test(discovery, search_domains_are_tried_in_turn)
{
    setenv("LOCALDOMAIN", "none.test fails.test here.test after.test", 1);
    setenv("RES_OPTIONS", "ndots:2", 1);
    dns_server_set_mode(dns, "app.fails.test", 0, DNS_SERVFAIL);
    dns_server_add(dns, "app.here.test", "127.0.0.1");
    dns_server_add(dns, "app.after.test", "127.0.0.2");
    want(config, "app", PORT);
    begin();
    expect_live("127.0.0.1:3001 ");
    cr_expect_eq(dns_server_count(dns, "app", 0), 0);
    /* The next domain's name is another one. */
    dns_server_set_mode(dns, "app.here.test", 0, DNS_SERVFAIL);
    let_ask("app.here.test", DNS_A, 4);
    cr_expect_str_eq(live(), "127.0.0.1:3001 ");
    cr_expect_eq(dns_server_count(dns, "app.after.test", 0), 0);
}

Test(discovery, a_name_with_dots_is_tried_as_it_is_first)
{
    setenv("LOCALDOMAIN", "here.test .", 1);
    dns_server_add(dns, ASKED, "127.0.0.1");
    dns_server_add(dns, "app.test.here.test", "127.0.0.2");
    want(config, ASKED, PORT);
    begin();
    expect_live("127.0.0.1:3001 ");
    cr_expect_eq(dns_server_count(dns, "app.test.here.test", 0), 0);
}

Test(discovery, the_hosts_file_counts_for_the_systems_servers)
{
    config->dns_server_count = 0;
    want(config, "localhost", PORT);
    begin();
    cr_assert(until(is_settled_now, NULL));
    cr_expect_not_null(strstr(live(), "127.0.0.1:3001 "), "'%s'", live());
}

/* ---- the end ---- */

Test(discovery, may_end_at_once)
{
    want(config, NAME, PORT);
    begin();
}

Test(discovery, may_end_within_a_lookup)
{
    dns_server_set_mode(dns, ASKED, 0, DNS_SILENT);
    want(config, NAME, PORT);
    want(config, "_app._tcp.test.", 0);
    begin();
    let_ask(ASKED, DNS_A, 1);
    struct gw_config *next = new_config();
    want(next, NAME, PORT);
    reconfigure(next);
    let_ask(ASKED, DNS_A, 1);
}

Test(discovery, may_have_nothing_to_do)
{
    begin();
    cr_expect(gw_discovery_is_settled(discovery));
}
