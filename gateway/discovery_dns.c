/* SPDX-License-Identifier: MIT */
/* c-ares on the libuv loop. */
#include "gateway/discovery_dns.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
    TRIES = 3,
    SYSTEM_SERVERS = 2, /* how many there may well be */
    TRY_MS_MIN = 20,
    BUFFER_BYTES = 65536, /* for the answers of a burst */
};

/* A socket of c-ares. */
struct poll {
    uv_poll_t handle;
    struct gw_dns *dns;
    unsigned *open;
    int fd;
    struct poll *next;
};

struct gw_dns {
    uv_timer_t timer;
    struct gw_dns_setup setup;
    ares_channel channel;
    struct poll *polls;
    uint64_t deadline_ms; /* by the loop's clock */
};

/* ---- sockets ---- */

static void turn(struct gw_dns *dns);

static void on_poll_closed(uv_handle_t *handle)
{
    struct poll *poll = handle->data;
    (*poll->open)--;
    free(poll);
}

static void close_poll(struct poll **at)
{
    struct poll *poll = *at;
    *at = poll->next;
    uv_poll_stop(&poll->handle);
    uv_close((uv_handle_t *)&poll->handle, on_poll_closed);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct poll *poll = handle->data;
    struct gw_dns *dns = poll->dns;
    bool reads = status < 0 || (events & UV_READABLE) != 0;
    bool writes = status < 0 || (events & UV_WRITABLE) != 0;
    ares_process_fd(dns->channel, reads ? poll->fd : ARES_SOCKET_BAD,
                    writes ? poll->fd : ARES_SOCKET_BAD);
    turn(dns);
}

static struct poll *new_poll(struct gw_dns *dns, int fd)
{
    struct poll *poll = calloc(1, sizeof(*poll));
    if (poll == NULL)
        return NULL;
    if (uv_poll_init(dns->setup.loop, &poll->handle, fd) != 0) {
        free(poll);
        return NULL;
    }
    poll->handle.data = poll;
    poll->dns = dns;
    poll->open = dns->setup.open;
    poll->fd = fd;
    poll->next = dns->polls;
    dns->polls = poll;
    (*poll->open)++;
    return poll;
}

/* Told with neither before c-ares closes it. A socket that cannot be watched
 * is the deadline's. */
static void on_socket(void *arg, ares_socket_t fd, int reads, int writes)
{
    struct gw_dns *dns = arg;
    struct poll **at = &dns->polls;
    while (*at != NULL && (*at)->fd != fd)
        at = &(*at)->next;
    struct poll *poll = *at;
    if (!reads && !writes) {
        if (poll != NULL)
            close_poll(at);
        return;
    }
    if (poll == NULL)
        poll = new_poll(dns, fd);
    if (poll != NULL)
        uv_poll_start(&poll->handle,
                      (reads ? UV_READABLE : 0) | (writes ? UV_WRITABLE : 0),
                      on_poll);
}

/* ---- time ---- */

static void on_timer(uv_timer_t *timer)
{
    struct gw_dns *dns = timer->data;
    ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    turn(dns);
}

static void arm(struct gw_dns *dns, uint64_t now_ms)
{
    uint64_t rest_ms = dns->deadline_ms - now_ms;
    struct timeval most = {.tv_sec = (time_t)(rest_ms / 1000),
                           .tv_usec = (suseconds_t)(rest_ms % 1000 * 1000)};
    struct timeval space;
    const struct timeval *next = ares_timeout(dns->channel, &most, &space);
    uint64_t wait_ms =
        (uint64_t)next->tv_sec * 1000 + (uint64_t)(next->tv_usec + 999) / 1000;
    uv_timer_start(&dns->timer, on_timer, wait_ms > 0 ? wait_ms : 1, 0);
}

/* The channel may be gone after it. */
static void turn(struct gw_dns *dns)
{
    uint64_t now_ms = uv_now(dns->setup.loop);
    bool is_late = now_ms >= dns->deadline_ms;
    if (!is_late)
        arm(dns, now_ms);
    dns->setup.on_turn(dns->setup.arg, is_late);
}

/* ---- the channel ---- */

static void set_address(struct ares_addr_port_node *node,
                        const struct gw_address *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    node->family = address->addr.ss_family;
    if (node->family == AF_INET) {
        memcpy(&v4, &address->addr, sizeof(v4));
        node->addr.addr4 = v4.sin_addr;
        node->udp_port = ntohs(v4.sin_port);
    } else {
        memcpy(&v6, &address->addr, sizeof(v6));
        memcpy(&node->addr.addr6, &v6.sin6_addr, sizeof(node->addr.addr6));
        node->udp_port = ntohs(v6.sin6_port);
    }
    node->tcp_port = node->udp_port;
}

static int set_servers(struct gw_dns *dns)
{
    const struct gw_config *config = dns->setup.config;
    struct ares_addr_port_node nodes[GW_DNS_SERVER_COUNT_MAX];
    size_t count = config->dns_server_count;
    if (count == 0)
        return ARES_SUCCESS;
    memset(nodes, 0, sizeof(nodes));
    for (size_t i = 0; i < count; i++) {
        set_address(&nodes[i], &config->dns_servers[i]);
        nodes[i].next = i + 1 < count ? &nodes[i + 1] : NULL;
    }
    return ares_set_servers_ports(dns->channel, nodes);
}

/* Within the deadline each server is asked at least once. */
static int open_channel(struct gw_dns *dns)
{
    size_t count = dns->setup.config->dns_server_count;
    unsigned servers = count > 0 ? (unsigned)count : SYSTEM_SERVERS;
    unsigned try_ms = dns->setup.limit_ms / (TRIES * servers);
    struct ares_options options = {
        .timeout = (int)(try_ms > TRY_MS_MIN ? try_ms : TRY_MS_MIN),
        .tries = TRIES,
        .socket_receive_buffer_size = BUFFER_BYTES,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = dns,
    };
    int status =
        ares_init_options(&dns->channel, &options,
                          ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                              ARES_OPT_SOCK_RCVBUF | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS)
        return status;
    status = set_servers(dns);
    if (status != ARES_SUCCESS)
        ares_destroy(dns->channel);
    return status;
}

struct gw_dns *gw_dns_open(const struct gw_dns_setup *setup, const char **why)
{
    struct gw_dns *dns = calloc(1, sizeof(*dns));
    if (dns == NULL) {
        *why = ares_strerror(ARES_ENOMEM);
        return NULL;
    }
    dns->setup = *setup;
    int status = open_channel(dns);
    dns->setup.config = NULL;
    if (status != ARES_SUCCESS) {
        *why = ares_strerror(status);
        free(dns);
        return NULL;
    }
    uv_update_time(setup->loop);
    uv_timer_init(setup->loop, &dns->timer);
    dns->timer.data = dns;
    (*setup->open)++;
    dns->deadline_ms = uv_now(setup->loop) + setup->limit_ms;
    uv_timer_start(&dns->timer, on_timer, 0, 0);
    return dns;
}

ares_channel gw_dns_channel(struct gw_dns *dns)
{
    return dns->channel;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct gw_dns *dns = handle->data;
    (*dns->setup.open)--;
    free(dns);
}

void gw_dns_close(struct gw_dns **which)
{
    struct gw_dns *dns = *which;
    *which = NULL;
    if (dns == NULL)
        return;
    ares_destroy(dns->channel);
    while (dns->polls != NULL)
        close_poll(&dns->polls);
    uv_close((uv_handle_t *)&dns->timer, on_timer_closed);
}

/* ---- the hosts file ---- */

struct hosts {
    gw_dns_host_fn found;
    void *arg;
};

static void on_hosts(void *arg, int status, int timeouts,
                     struct ares_addrinfo *list)
{
    const struct hosts *hosts = arg;
    (void)timeouts;
    if (status != ARES_SUCCESS || list == NULL)
        return;
    for (const struct ares_addrinfo_node *node = list->nodes; node != NULL;
         node = node->ai_next) {
        struct sockaddr_storage addr = {0};
        struct gw_peer peer;
        if (node->ai_addrlen > sizeof(addr))
            continue;
        memcpy(&addr, node->ai_addr, node->ai_addrlen);
        gw_peer_from_sockaddr(&peer, &addr);
        hosts->found(hosts->arg, &peer);
    }
    ares_freeaddrinfo(list);
}

void gw_dns_hosts(const char *name, gw_dns_host_fn found, void *arg)
{
    char files[] = "f";
    struct ares_options options = {.lookups = files};
    const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
                                              .ai_socktype = SOCK_STREAM,
                                              .ai_flags = ARES_AI_NOSORT};
    struct hosts hosts = {.found = found, .arg = arg};
    ares_channel channel;
    if (ares_init_options(&channel, &options, ARES_OPT_LOOKUPS) != ARES_SUCCESS)
        return;
    ares_getaddrinfo(channel, name, NULL, &hints, on_hosts, &hosts);
    ares_destroy(channel);
}
