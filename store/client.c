/* SPDX-License-Identifier: MIT */
/* Which kind of deployment it is, and what follows from that. */
#include "store/client.h"
#include "store/cluster.h"
#include "store/sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WHY_MAX = 256 };

struct store_client {
    struct store_client_options options; /* its strings are those below */
    struct store_url url;
    char *strings[4];
    struct store_link *link;         /* SINGLE; SENTINEL: once it is known */
    struct store_sentinel *sentinel; /* SENTINEL */
    struct store_address master;     /* that it named last */
    struct store_cluster *cluster;   /* CLUSTER */
    struct store_channel channel;    /* of `listener` */
    char *channel_name;              /* NULL: none */
    struct store_link *listener;     /* NULL while nobody knows where */

    /* As in a link: callbacks may free the client. */
    unsigned entered;
    bool is_freed;
};

static void enter(struct store_client *client)
{
    client->entered++;
}

static void leave(struct store_client *client)
{
    if (--client->entered == 0 && client->is_freed)
        free(client);
}

bool store_client_is_cluster(const struct store_client *client)
{
    return client->url.kind == STORE_KIND_CLUSTER;
}

/* ---- links ---- */

static void tell(const struct store_client *client, bool is_up, const char *why)
{
    if (client->options.on_state != NULL)
        client->options.on_state(client->options.arg, is_up, why);
}

/* Who is paged wants to know which of the servers it is. */
static void tell_of_master(const struct store_client *client, const char *why)
{
    char text[STORE_HOST_MAX + WHY_MAX];

    snprintf(text, sizeof(text), "%s:%u: %s", client->master.host,
             client->master.port, why);
    tell(client, false, text);
}

static void on_link_state(void *arg, bool is_up, const char *why)
{
    struct store_client *client = arg;

    if (client->sentinel != NULL)
        store_sentinel_settled(client->sentinel, is_up);
    if (client->sentinel != NULL && !is_up)
        tell_of_master(client, why);
    else
        tell(client, is_up, why);
}

static void on_link_error(void *arg, const char *text)
{
    const struct store_client *client = arg;

    if (client->options.on_error != NULL)
        client->options.on_error(client->options.arg, text);
}

static enum store_role role_of(const struct store_client *client)
{
    switch (client->url.kind) {
    case STORE_KIND_CLUSTER:
        return STORE_ROLE_CLUSTER;
    case STORE_KIND_SENTINEL:
        return STORE_ROLE_MASTER;
    default:
        return STORE_ROLE_SINGLE;
    }
}

static struct store_link_options
link_options(struct store_client *client, const struct store_address *address)
{
    return (struct store_link_options){
        .loop = client->options.loop,
        .address = *address,
        .role = role_of(client),
        .user = client->url.user,
        .password = client->options.password,
        .name = client->options.name,
        .db = client->url.db,
        .timeout_ms = client->options.timeout_ms,
        .arg = client,
    };
}

static struct store_link *open_link(struct store_client *client,
                                    const struct store_address *address)
{
    struct store_link_options options = link_options(client, address);

    options.scripts = client->options.scripts;
    options.script_count = client->options.script_count;
    options.on_state = on_link_state;
    options.on_error = on_link_error;
    return store_link_new(&options);
}

/* ---- the channel ---- */

static void on_listener_state(void *arg, bool is_up, const char *why)
{
    const struct store_client *client = arg;

    if (client->channel.on_state != NULL)
        client->channel.on_state(client->channel.arg, is_up, why);
}

static void on_message(void *arg, const char *bytes, size_t len)
{
    const struct store_client *client = arg;

    client->channel.on_message(client->channel.arg, bytes, len);
}

static void listen_at(struct store_client *client,
                      const struct store_address *address)
{
    struct store_link_options options = link_options(client, address);

    if (client->channel_name == NULL)
        return;
    if (client->listener != NULL) {
        store_link_set_address(client->listener, address);
        return;
    }
    options.channel = client->channel_name;
    options.on_state = on_listener_state;
    options.on_message = on_message;
    client->listener = store_link_new(&options);
}

/* Where, in a cluster. All replicas have the same node, so that PUBLISH there
 * tells how many they are. */
static bool channel_owner(const struct store_client *client,
                          struct store_address *address)
{
    const char *name = client->channel_name;

    return name != NULL &&
           store_cluster_owner(client->cluster,
                               store_slot_of(name, strlen(name)), address);
}

bool store_client_subscribe(struct store_client *client,
                            const struct store_channel *channel)
{
    struct store_address address;

    client->channel = *channel;
    client->channel.name = NULL;
    client->channel_name = strdup(channel->name);
    if (client->channel_name == NULL)
        return false;
    if (client->url.kind == STORE_KIND_SINGLE) {
        listen_at(client, &client->url.hosts[0]);
        return client->listener != NULL;
    }
    /* Else when it is known where; perhaps it is. */
    if (store_client_is_cluster(client) && channel_owner(client, &address))
        listen_at(client, &address);
    else if (client->link != NULL)
        listen_at(client, &client->master);
    return true;
}

/* ---- a master that Sentinels name ---- */

static void on_master(void *arg, const struct store_address *address)
{
    struct store_client *client = arg;

    enter(client);
    listen_at(client, address);
    if (!client->is_freed && client->link == NULL)
        client->link = open_link(client, address);
    else if (!client->is_freed)
        store_link_set_address(client->link, address); /* it names the old */
    client->master = *address;
    leave(client);
}

/* While there is a master, what it says counts; but nobody would tell of the
 * next one. */
static void on_lost(void *arg, const char *why)
{
    struct store_client *client = arg;

    if (store_client_is_up(client))
        on_link_error(client, why);
    else
        tell(client, false, why);
}

static bool open_sentinel(struct store_client *client)
{
    const struct store_sentinel_options options = {
        .loop = client->options.loop,
        .hosts = client->url.hosts,
        .host_count = client->url.host_count,
        .master = client->url.master,
        .user = client->options.sentinel_user,
        .password = client->options.sentinel_password,
        .name = client->options.name,
        .timeout_ms = client->options.timeout_ms,
        .on_master = on_master,
        .on_lost = on_lost,
        .arg = client,
    };

    client->sentinel = store_sentinel_new(&options);
    return client->sentinel != NULL;
}

/* ---- a cluster ---- */

static void on_map(void *arg)
{
    struct store_client *client = arg;
    struct store_address address;

    if (channel_owner(client, &address))
        listen_at(client, &address);
}

static bool open_cluster(struct store_client *client)
{
    const struct store_cluster_options options = {
        .client = client->options,
        .url = &client->url,
        .on_map = on_map,
        .arg = client,
    };

    client->cluster = store_cluster_new(&options);
    return client->cluster != NULL;
}

/* ---- life ---- */

/* The options' strings are replaced by copies. */
static bool copy_strings(struct store_client *client)
{
    struct store_client_options *options = &client->options;
    const char **from[] = {&options->password, &options->sentinel_user,
                           &options->sentinel_password, &options->name};

    if (options->password == NULL)
        options->password = client->url.password;
    for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
        client->strings[i] = strdup(*from[i] != NULL ? *from[i] : "");
        *from[i] = client->strings[i];
        if (client->strings[i] == NULL)
            return false;
    }
    return true;
}

static bool open_kind(struct store_client *client)
{
    switch (client->url.kind) {
    case STORE_KIND_SINGLE:
        client->link = open_link(client, &client->url.hosts[0]);
        return client->link != NULL;
    case STORE_KIND_SENTINEL:
        return open_sentinel(client);
    case STORE_KIND_CLUSTER:
        return open_cluster(client);
    case STORE_KIND_MEMORY:
        break;
    }
    return false;
}

struct store_client *
store_client_new(const struct store_client_options *options)
{
    struct store_client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    client->options = *options;
    client->url = *options->url;
    client->options.url = &client->url;
    if (copy_strings(client) && open_kind(client))
        return client;
    store_client_free(client);
    return NULL;
}

void store_client_free(struct store_client *client)
{
    if (client == NULL)
        return;
    enter(client);
    client->is_freed = true;
    store_sentinel_free(client->sentinel);
    store_cluster_free(client->cluster);
    store_link_free(client->link);
    store_link_free(client->listener);
    for (size_t i = 0; i < sizeof(client->strings) / sizeof(char *); i++)
        free(client->strings[i]);
    free(client->channel_name);
    leave(client);
}

/* ---- commands ---- */

bool store_client_is_up(const struct store_client *client)
{
    if (store_client_is_cluster(client))
        return store_cluster_is_up(client->cluster);
    return client->link != NULL && store_link_is_up(client->link);
}

const char *store_client_run_id(const struct store_client *client)
{
    return client->link != NULL ? store_link_run_id(client->link) : "";
}

void store_client_shard(const struct store_client *client, uint16_t slot,
                        struct store_slots *slots)
{
    if (store_client_is_cluster(client))
        store_cluster_shard(client->cluster, slot, slots);
    else
        store_slots_fill(slots);
}

struct store_call *store_client_send(struct store_client *client, int argc,
                                     const char **argv, const size_t *lens,
                                     store_reply_fn done, void *arg)
{
    if (store_client_is_cluster(client))
        return store_cluster_send(
            client->cluster, store_call_new(-1, argc, argv, lens, done, arg),
            store_slot_of(argv[1], lens[1]));
    if (client->link == NULL)
        return NULL;
    return store_link_send(client->link, argc, argv, lens, done, arg);
}

struct store_call *store_client_eval(struct store_client *client, size_t script,
                                     int argc, const char **argv,
                                     const size_t *lens, store_reply_fn done,
                                     void *arg)
{
    if (store_client_is_cluster(client))
        return store_cluster_send(
            client->cluster,
            store_call_new((int)script, argc, argv, lens, done, arg),
            store_slot_of(argv[0], lens[0]));
    if (client->link == NULL)
        return NULL;
    return store_link_eval(client->link, script, argc, argv, lens, done, arg);
}

bool store_client_node(const struct store_client *client, uint32_t *node)
{
    if (store_client_is_cluster(client))
        return store_cluster_node(client->cluster, node);
    return *node == 0;
}

struct store_call *store_client_send_to(struct store_client *client,
                                        uint32_t node, int argc,
                                        const char **argv, const size_t *lens,
                                        store_reply_fn done, void *arg)
{
    if (store_client_is_cluster(client))
        return store_cluster_send_to(
            client->cluster, store_call_new(-1, argc, argv, lens, done, arg),
            node);
    if (client->link == NULL || node != 0)
        return NULL;
    return store_link_send(client->link, argc, argv, lens, done, arg);
}
