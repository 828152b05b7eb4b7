/* SPDX-License-Identifier: MIT */
/* The targets of SRV records, and their addresses. */
#include "gateway/discovery_targets.h"

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    AT_A_TIME = 16, /* questions under way */
    LIST_MAX = 256, /* addresses of a target that are looked at */
};

/* ---- addresses ---- */

static int compare_peers(const void *left, const void *right)
{
    const struct gw_peer *a = left;
    const struct gw_peer *b = right;
    if (a->family != b->family)
        return a->family == AF_INET ? -1 : 1;
    return memcmp(a->addr, b->addr, a->family == AF_INET ? 4 : 16);
}

size_t gw_peers_sort(struct gw_peer *peers, size_t count)
{
    size_t kept = 0;
    qsort(peers, count, sizeof(*peers), compare_peers);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || compare_peers(&peers[kept - 1], &peers[i]) != 0)
            peers[kept++] = peers[i];
    return kept;
}

bool gw_peer_is_server(const struct gw_peer *peer)
{
    static const uint8_t nobody[16];
    const uint8_t *addr = peer->addr;
    if (peer->family == AF_INET)
        return addr[0] != 0 && addr[0] < 224;
    bool is_link = addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80;
    return memcmp(addr, nobody, sizeof(nobody)) != 0 && addr[0] != 0xff &&
           !is_link;
}

/* ---- records ---- */

static int compare_records(const void *left, const void *right)
{
    const struct ares_srv_reply *const *a = left;
    const struct ares_srv_reply *const *b = right;
    int order = strcmp((*a)->host, (*b)->host);
    if (order != 0)
        return order;
    if ((*a)->port != (*b)->port)
        return (*a)->port < (*b)->port ? -1 : 1;
    return (int)(*b)->weight - (int)(*a)->weight;
}

/* In lower case, without final dot. */
static void normalise(char *host)
{
    size_t len = strlen(host);
    if (len > 0 && host[len - 1] == '.')
        host[len - 1] = '\0';
    for (; *host != '\0'; host++)
        if (*host >= 'A' && *host <= 'Z')
            *host = (char)(*host - 'A' + 'a');
}

static bool is_plain_name(const char *host)
{
    return host[strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789._-")] ==
           '\0';
}

static void take_record(struct gw_lookup_result *result,
                        const struct ares_srv_reply *record)
{
    struct gw_found *found = &result->list[result->count++];
    int need =
        snprintf(found->target, sizeof(found->target), "%s", record->host);
    found->port = record->port;
    found->weight = record->weight;
    if (need >= (int)sizeof(found->target))
        found->refused = "the name is too long";
    else if (!is_plain_name(record->host))
        found->refused = "the name has odd bytes";
    else if (record->port == 0)
        found->refused = "port 0";
}

/* `list` are pointers to the records, of which there is one at least. The name
 * "." says that there is no server. */
static void take_best(struct gw_lookup_result *result,
                      struct ares_srv_reply **list, size_t count)
{
    unsigned best = UINT16_MAX;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i]->priority < best)
            best = list[i]->priority;
    for (size_t i = 0; i < count; i++) {
        if (list[i]->priority != best)
            continue;
        normalise(list[i]->host);
        if (list[i]->host[0] != '\0')
            list[kept++] = list[i];
    }
    qsort(list, kept, sizeof(struct ares_srv_reply *), compare_records);
    for (size_t i = 0; i < kept; i++) {
        if (i > 0 && list[i]->port == list[i - 1]->port &&
            strcmp(list[i]->host, list[i - 1]->host) == 0)
            continue;
        if (result->count == GW_FOUND_MAX) {
            result->is_cut = true;
            break;
        }
        take_record(result, list[i]);
    }
}

int gw_targets_take(struct gw_lookup_result *result, const unsigned char *bytes,
                    int len)
{
    struct ares_srv_reply *records = NULL;
    size_t count = 0;
    int status = ares_parse_srv_reply(bytes, len, &records);
    if (status != ARES_SUCCESS)
        return status;
    for (struct ares_srv_reply *one = records; one != NULL; one = one->next)
        count++;
    struct ares_srv_reply **list = calloc(count + 1, sizeof(*list));
    if (list != NULL) {
        count = 0;
        for (struct ares_srv_reply *one = records; one != NULL; one = one->next)
            list[count++] = one;
        take_best(result, list, count);
    }
    status = list != NULL ? ARES_SUCCESS : ARES_ENOMEM;
    free(list);
    ares_free_data(records);
    return status;
}

/* ---- their addresses ---- */

struct target {
    struct gw_targets *targets;
    struct gw_found *found;
    int type;
    bool is_under_way;
};

struct gw_targets {
    struct gw_targets_setup setup;
    struct target list[GW_FOUND_MAX];
    unsigned next;
    unsigned under_way;
    bool is_asked;
    bool is_left;
    struct gw_peer peers[LIST_MAX];
    size_t peer_count;
};

struct gw_targets *gw_targets_new(const struct gw_targets_setup *setup)
{
    struct gw_targets *targets = calloc(1, sizeof(*targets));
    if (targets != NULL)
        targets->setup = *setup;
    return targets;
}

static void add_peer(void *arg, const struct gw_peer *peer)
{
    struct gw_targets *targets = arg;
    if (targets->peer_count < LIST_MAX && gw_peer_is_server(peer))
        targets->peers[targets->peer_count++] = *peer;
}

/* Gives what has been collected to the target. */
static bool take_peers(struct gw_targets *targets, struct gw_found *found)
{
    size_t count = gw_peers_sort(targets->peers, targets->peer_count);
    targets->peer_count = 0;
    for (size_t i = 0; i < count && i < GW_FOUND_ADDRESS_MAX; i++)
        found->addresses[found->count++] = targets->peers[i];
    return found->count > 0;
}

static int read_peers(struct gw_targets *targets, int type,
                      const unsigned char *bytes, int len)
{
    struct ares_addrttl v4[LIST_MAX];
    struct ares_addr6ttl v6[LIST_MAX];
    bool is_v4 = type == ns_t_a;
    int count = LIST_MAX;
    int status = is_v4 ? ares_parse_a_reply(bytes, len, NULL, v4, &count)
                       : ares_parse_aaaa_reply(bytes, len, NULL, v6, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct gw_peer peer = {.family = is_v4 ? AF_INET : AF_INET6};
        if (is_v4)
            memcpy(peer.addr, &v4[i].ipaddr, sizeof(v4[i].ipaddr));
        else
            memcpy(peer.addr, &v6[i].ip6addr, sizeof(peer.addr));
        add_peer(targets, &peer);
    }
    return status;
}

static void fail(struct target *target, int status)
{
    struct gw_lookup_result *result = target->targets->setup.result;
    target->found->is_unknown = true;
    snprintf(result->why, sizeof(result->why), "%s of %s: %s",
             target->type == ns_t_a ? "A" : "AAAA", target->found->target,
             ares_strerror(status));
}

static void ask_one(struct target *target, int type);
static void go_on(struct gw_targets *targets);

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes,
                      int len)
{
    struct target *target = arg;
    struct gw_targets *targets = target->targets;
    (void)timeouts;
    if (targets->is_left)
        return;
    targets->under_way--;
    target->is_under_way = false;
    if (status == ARES_SUCCESS)
        status = read_peers(targets, target->type, bytes, len);
    bool is_denied = status == ARES_ENODATA || status == ARES_ENOTFOUND;
    if (take_peers(targets, target->found))
        go_on(targets);
    else if (status != ARES_SUCCESS && !is_denied) {
        fail(target, status);
        go_on(targets);
    } else if (target->type == ns_t_a)
        ask_one(target, ns_t_aaaa);
    else
        go_on(targets);
}

static void ask_one(struct target *target, int type)
{
    struct gw_targets *targets = target->targets;
    target->type = type;
    target->is_under_way = true;
    targets->under_way++;
    ares_query(gw_dns_channel(targets->setup.dns), target->found->target,
               ns_c_in, type, on_answer, target);
}

static void begin(struct gw_targets *targets, unsigned index)
{
    struct target *target = &targets->list[index];
    struct gw_found *found = &targets->setup.result->list[index];
    target->targets = targets;
    target->found = found;
    if (found->refused != NULL)
        return;
    if (targets->setup.uses_hosts)
        gw_dns_hosts(found->target, add_peer, targets);
    if (!take_peers(targets, found))
        ask_one(target, ns_t_a);
}

static void go_on(struct gw_targets *targets)
{
    unsigned count = targets->setup.result->count;
    while (targets->next < count && targets->under_way < AT_A_TIME)
        begin(targets, targets->next++);
    if (targets->next == count && targets->under_way == 0)
        targets->setup.done(targets->setup.arg);
}

void gw_targets_ask(struct gw_targets *targets)
{
    targets->is_asked = true;
    go_on(targets);
}

bool gw_targets_give_up(struct gw_targets *targets)
{
    unsigned count = targets->setup.result->count;
    if (!targets->is_asked)
        return false;
    for (unsigned i = 0; i < targets->next; i++)
        if (targets->list[i].is_under_way)
            fail(&targets->list[i], ARES_ETIMEOUT);
    for (unsigned i = targets->next; i < count; i++) {
        struct target rest = {.targets = targets,
                              .found = &targets->setup.result->list[i],
                              .type = ns_t_a};
        if (rest.found->refused == NULL)
            fail(&rest, ARES_ETIMEOUT);
    }
    return true;
}

void gw_targets_leave(struct gw_targets *targets)
{
    if (targets != NULL)
        targets->is_left = true;
}

void gw_targets_free(struct gw_targets *targets)
{
    free(targets);
}
