/* SPDX-License-Identifier: MIT */
/* Discovery on a loop of its own, before a DNS server on loopback. */
#ifndef SIDGATE_TESTS_UNIT_DISCOVERY_FIXTURE_H
#define SIDGATE_TESTS_UNIT_DISCOVERY_FIXTURE_H

#include "gateway/discovery.h"
#include "tests/unit/dns_server.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_MS = 15000, INTERVAL_MS = 100, PORT = 3001 };

#define NAME "app.test."

static uv_loop_t loop;
static struct dns_server *dns;
static struct gw_config *config;
static struct gw_backends *backends;
static struct gw_discovery *discovery;
static unsigned changes;

static void on_change(void *arg)
{
    cr_expect_eq(arg, &changes);
    changes++;
}

static struct gw_discover_config *want(struct gw_config *in, const char *name,
                                       uint16_t port)
{
    struct gw_discover_config *one = &in->discover[in->discover_count++];
    snprintf(one->name, sizeof(one->name), "%s", name);
    one->port = port;
    one->is_srv = port == 0;
    one->backend.weight = 1;
    return one;
}

static struct gw_config *new_config(void)
{
    struct gw_config *made = calloc(1, sizeof(*made));
    cr_assert_not_null(made);
    made->pool_count = 2;
    snprintf(made->pools[0].name, GW_POOL_NAME_MAX, "default");
    snprintf(made->pools[1].name, GW_POOL_NAME_MAX, "v2");
    made->dns_servers[0] = dns_server_address(dns);
    made->dns_server_count = 1;
    made->discover_interval_ms = INTERVAL_MS;
    return made;
}

static void set_up(void)
{
    dns = dns_server_start();
    cr_assert_eq(uv_loop_init(&loop), 0);
    config = new_config();
}

/* The backends know the configuration's own by now. */
static void begin(void)
{
    char error[256] = "";
    backends = gw_backends_new(config);
    cr_assert_not_null(backends);
    discovery =
        gw_discovery_new(&loop, backends, config, on_change, &changes, error);
    cr_assert_not_null(discovery, "%s", error);
}

static void tear_down(void)
{
    gw_discovery_free(discovery);
    cr_expect_eq(uv_loop_close(&loop), 0, "a handle was left");
    gw_backends_free(backends);
    free(config);
    dns_server_stop(dns);
}

static void on_limit(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

typedef bool (*condition_fn)(const void *arg);

static bool until(condition_fn is_true, const void *arg)
{
    uv_timer_t timer;
    bool is_late = false;
    uv_timer_init(&loop, &timer);
    timer.data = &is_late;
    uv_timer_start(&timer, on_limit, LIMIT_MS, 0);
    while (!is_late && !is_true(arg))
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return !is_late;
}

/* Those that are live, sorted and with a space behind each. */
static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *live(void)
{
    static char text[GW_BACKEND_COUNT_MAX * (GW_BACKEND_ID_MAX + 1)];
    const char *ids[GW_BACKEND_COUNT_MAX];
    size_t count = 0;
    size_t len = 0;
    for (size_t i = 0; i < gw_backends_used(backends); i++)
        if (gw_backend_is_live(&backends->list[i]))
            ids[count++] = backends->list[i].config->id;
    qsort(ids, count, sizeof(ids[0]), compare_ids);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s ", ids[i]);
    return text;
}

static bool is_live_now(const void *arg)
{
    return strcmp(live(), arg) == 0;
}

static void expect_live(const char *ids)
{
    cr_assert(until(is_live_now, ids), "'%s' instead of '%s'", live(), ids);
}

struct asked {
    const char *name;
    uint16_t type;
    unsigned count;
};

static bool is_asked(const void *arg)
{
    const struct asked *asked = arg;
    return dns_server_count(dns, asked->name, asked->type) >= asked->count;
}

/* Until so many further questions have come, one of which may have been
 * answered before what the test changed. */
static void let_ask(const char *name, uint16_t type, unsigned more)
{
    struct asked asked = {name, type, 0};
    asked.count = dns_server_count(dns, name, type) + more;
    cr_assert(until(is_asked, &asked), "%s is not asked for", name);
}

static bool is_settled_now(const void *arg)
{
    (void)arg;
    return gw_discovery_is_settled(discovery);
}

static struct gw_backend *backend(const char *id)
{
    struct gw_backend *one = gw_backend_find(backends, id);
    cr_assert_not_null(one, "no %s among '%s'", id, live());
    return one;
}

TestSuite(discovery, .init = set_up, .fini = tear_down);

#endif
