/* SPDX-License-Identifier: MIT */
/* A client of fake nodes, for one test program: all that it tells goes into one
 * text, such as "up; a=7001; ". */
#ifndef SIDGATE_TESTS_UNIT_CLUSTER_FIXTURE_H
#define SIDGATE_TESTS_UNIT_CLUSTER_FIXTURE_H

#include "store/client.h"
#include "tests/unit/fake_nodes.h"

#include <hiredis/hiredis.h>

static struct store_client *client;
static char told[65536];

/* A callback frees the client when told's end is this. */
static const char *free_at;

static const char *const scripts[] = {"return 1"};

/* The argument of a callback. */
static inline void *named(const char *name)
{
    return (void *)(uintptr_t)name;
}

/* ---- what the client tells ---- */

__attribute__((format(printf, 1, 2))) static inline void tell(const char *form,
                                                              ...)
{
    size_t len = strlen(told);
    va_list args;

    va_start(args, form);
    vsnprintf(told + len, sizeof(told) - len, form, args);
    va_end(args);
    len = strlen(told);
    if (free_at != NULL && client != NULL && strlen(free_at) <= len &&
        strcmp(told + len - strlen(free_at), free_at) == 0) {
        store_client_free(client);
        client = NULL;
    }
}

static inline void on_state(void *arg, bool is_up, const char *why)
{
    cr_expect_eq(is_up, why == NULL);
    if (is_up)
        tell("%sup; ", (const char *)arg);
    else
        tell("%sdown(%s); ", (const char *)arg, why);
}

static inline void on_error(void *arg, const char *text)
{
    (void)arg;
    tell("error(%s); ", text);
}

static inline void on_suspect(void *arg, const struct store_slots *slots)
{
    char text[256] = "";
    size_t len = 0;

    (void)arg;
    for (unsigned i = 0; i < STORE_SLOTS; i++) {
        if (!store_slots_has(slots, (uint16_t)i))
            continue;
        unsigned last = i;
        while (last + 1 < STORE_SLOTS &&
               store_slots_has(slots, (uint16_t)(last + 1)))
            last++;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u-%u",
                                len > 0 ? " " : "", i, last);
        cr_assert_lt(len, sizeof(text));
        i = last;
    }
    tell("suspect(%s); ", text);
}

static inline void on_message(void *arg, const char *bytes, size_t len)
{
    (void)arg;
    tell("message(%.*s); ", (int)len, bytes);
}

static inline void on_done(void *arg, const struct redisReply *reply)
{
    const char *name = arg;

    if (reply == NULL)
        tell("%s=-; ", name);
    else if (reply->type == REDIS_REPLY_INTEGER)
        tell("%s=%lld; ", name, reply->integer);
    else
        tell("%s=%s; ", name, reply->str);
}

/* What was told since the last call of this. */
#define expect_told(text)                                                      \
    do {                                                                       \
        cr_expect_str_eq(told, text, "told: %s", told);                        \
        told[0] = '\0';                                                        \
    } while (0)

/* ---- the client ---- */

#define THREE "0-4999:7001 5000-9999:7002 10000-16383:7003"

static inline void begin_kind(enum store_kind kind, unsigned host_count,
                              const unsigned *ports)
{
    static struct store_url url;
    const struct store_client_options options = {
        .loop = &net.loop.base,
        .url = &url,
        .timeout_ms = 250,
        .scripts = scripts,
        .script_count = 1,
        .on_state = on_state,
        .on_error = on_error,
        .on_suspect = on_suspect,
        .arg = named(""),
    };

    fake_net_init(&net);
    told[0] = '\0';
    free_at = NULL;
    url = (struct store_url){.kind = kind, .host_count = host_count};
    snprintf(url.master, sizeof(url.master), "main");
    for (unsigned i = 0; i < host_count; i++) {
        snprintf(url.hosts[i].host, sizeof(url.hosts[i].host), "127.0.0.1");
        url.hosts[i].port = (uint16_t)ports[i];
    }
    client = store_client_new(&options);
    cr_assert_not_null(client);
    /* It keeps its own. */
    url = (struct store_url){0};
}

static inline void begin_client(const char *map, unsigned seed_count,
                                const unsigned *seeds)
{
    set_map(map);
    begin_kind(STORE_KIND_CLUSTER, seed_count, seeds);
}

/* UP with this map, which its seed 7001 gave; no other link is open. */
static inline void open_cluster(const char *map)
{
    begin_client(map, 1, (const unsigned[]){7001});
    pass(2);
    expect_told("up; ");
}

static inline void close_cluster(void)
{
    store_client_free(client);
    client = NULL;
    fake_net_fini(&net);
    for (unsigned i = 0; i < NODES; i++)
        free(nodes[i].map);
}

/* A key of this slot; it lives on. */
static inline const char *key_of(unsigned slot)
{
    static char keys[64][16];
    static unsigned count;
    char *key = keys[count++ % 64];

    for (unsigned i = 0;; i++) {
        snprintf(key, sizeof(keys[0]), "k%u", i);
        if (store_slot_of(key, strlen(key)) == slot)
            return key;
    }
}

static inline struct store_call *call_key(const char *name, const char *key)
{
    const char *argv[] = {"GET", key};
    const size_t lens[] = {3, strlen(key)};

    return store_client_send(client, 2, argv, lens, on_done, named(name));
}

/* A channel on a connection of its own; what it tells begins with "ch-". */
static inline void subscribe(const char *name)
{
    const struct store_channel channel = {.name = name,
                                          .on_state = on_state,
                                          .on_message = on_message,
                                          .arg = named("ch-")};

    cr_assert(store_client_subscribe(client, &channel));
}

static inline struct store_call *call(const char *name, unsigned slot)
{
    return call_key(name, key_of(slot));
}

static inline struct store_call *call_script(const char *name, unsigned slot)
{
    const char *argv[] = {key_of(slot), "x"};
    const size_t lens[] = {strlen(argv[0]), 1};

    return store_client_eval(client, 0, 2, argv, lens, on_done, named(name));
}

#endif
