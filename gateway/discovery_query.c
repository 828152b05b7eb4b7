/* SPDX-License-Identifier: MIT */
/*
 * One lookup: the name in each search domain, until there is something.
 *
 * A and AAAA are asked for separately, so that what one of them cannot say
 * is known from what it denies.
 */
#include "gateway/discovery_query.h"
#include "gateway/discovery_targets.h"

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DOMAIN_MAX = 16,
    RECORD_MAX = 4096, /* more do not fit into an answer */
    PARTS = 2,
};

/* One question: A or SRV, and AAAA. */
struct part {
    struct gw_lookup *lookup;
    int type;
    bool is_asked;
    int status; /* of c-ares */
};

struct gw_lookup {
    struct gw_lookup_setup setup;
    struct gw_dns *dns;
    struct gw_targets *targets;
    char names[DOMAIN_MAX + 1][GW_HOST_MAX];
    unsigned name_count;
    unsigned at;
    struct part parts[PARTS];
    unsigned pending;
    struct gw_peer *peers;
    size_t peer_count;
    bool has_failed; /* in some domain */
    bool is_over;    /* the result stands */
    bool is_gone;    /* c-ares is being told to forget it */
    struct gw_lookup_result result;
};

/* ---- the names to ask for ---- */

static void add_name(struct gw_lookup *lookup, const char *name,
                     const char *domain)
{
    size_t len = strlen(domain);
    if (lookup->name_count > DOMAIN_MAX)
        return;
    while (len > 0 && domain[len - 1] == '.')
        len--;
    int need = snprintf(lookup->names[lookup->name_count], GW_HOST_MAX,
                        "%s%s%.*s", name, len > 0 ? "." : "", (int)len, domain);
    if (need > 0 && need < GW_HOST_MAX)
        lookup->name_count++;
}

static int dots_of(const char *name)
{
    int dots = 0;
    for (; *name != '\0'; name++)
        dots += *name == '.';
    return dots;
}

/* One with enough dots is tried as it is first, others at last; one that ends
 * with a dot is tried nowhere else. */
static void list_names(struct gw_lookup *lookup)
{
    char name[GW_HOST_MAX];
    struct ares_options options = {0};
    int mask = 0;
    snprintf(name, sizeof(name), "%s", lookup->setup.name->name);
    size_t len = strlen(name);
    if (len > 0 && name[len - 1] == '.') {
        name[len - 1] = '\0';
        add_name(lookup, name, "");
        return;
    }
    if (ares_save_options(gw_dns_channel(lookup->dns), &options, &mask) !=
        ARES_SUCCESS) {
        add_name(lookup, name, "");
        return;
    }
    bool is_first = dots_of(name) >= options.ndots;
    if (is_first)
        add_name(lookup, name, "");
    for (int i = 0; i < options.ndomains; i++)
        if (strspn(options.domains[i], ".") < strlen(options.domains[i]) &&
            lookup->name_count < DOMAIN_MAX)
            add_name(lookup, name, options.domains[i]);
    if (!is_first)
        add_name(lookup, name, "");
    ares_destroy_options(&options);
}

/* ---- addresses ---- */

static void add_peer(void *arg, const struct gw_peer *peer)
{
    struct gw_lookup *lookup = arg;
    if (lookup->peer_count < (size_t)RECORD_MAX * PARTS)
        lookup->peers[lookup->peer_count++] = *peer;
}

static const char *type_text(int type)
{
    return type == ns_t_srv ? "SRV" : type == ns_t_a ? "A" : "AAAA";
}

static void note_failure(struct gw_lookup *lookup, const struct part *part)
{
    lookup->has_failed = true;
    snprintf(lookup->result.why, sizeof(lookup->result.why), "%s of %s: %s",
             type_text(part->type), lookup->names[lookup->at],
             ares_strerror(part->status));
}

static bool is_denied(int status)
{
    return status == ARES_ENODATA || status == ARES_ENOTFOUND;
}

/* Sorted and each once; as many as there may be. */
static void list_peers(struct gw_lookup *lookup)
{
    struct gw_lookup_result *result = &lookup->result;
    size_t count = gw_peers_sort(lookup->peers, lookup->peer_count);
    result->is_cut = count > GW_FOUND_MAX;
    for (size_t i = 0; i < count && i < GW_FOUND_MAX; i++) {
        struct gw_found *found = &result->list[result->count++];
        found->port = lookup->setup.name->port;
        found->weight = 1;
        found->addresses[0] = lookup->peers[i];
        found->count = 1;
        if (!gw_peer_is_server(&lookup->peers[i]))
            found->refused = "not the address of a server";
    }
    result->status = GW_LOOKUP_FOUND;
    lookup->is_over = true;
}

/* ---- one domain after the other ---- */

static void ask(struct gw_lookup *lookup);

static void conclude_nothing(struct gw_lookup *lookup)
{
    lookup->result.status =
        lookup->has_failed ? GW_LOOKUP_FAILED : GW_LOOKUP_EMPTY;
    lookup->is_over = true;
}

static void on_targets(void *arg)
{
    struct gw_lookup *lookup = arg;
    lookup->is_over = true;
}

static void take_found(struct gw_lookup *lookup)
{
    struct gw_lookup_result *result = &lookup->result;
    result->domain = lookup->at + 1;
    result->why[0] = '\0';
    for (unsigned i = 0; i < PARTS; i++) {
        struct part *part = &lookup->parts[i];
        bool is_unknown = part->is_asked && part->status != ARES_SUCCESS &&
                          !is_denied(part->status);
        if (is_unknown)
            note_failure(lookup, part);
        if (part->type == ns_t_a)
            result->is_v4_unknown = is_unknown;
        else if (part->type == ns_t_aaaa)
            result->is_v6_unknown = is_unknown;
    }
    if (lookup->peer_count > 0)
        list_peers(lookup);
    else
        gw_targets_ask(lookup->targets);
}

static bool note_failures(struct gw_lookup *lookup)
{
    bool is_failed = false;
    for (unsigned i = 0; i < PARTS; i++) {
        const struct part *part = &lookup->parts[i];
        if (!part->is_asked || part->status == ARES_SUCCESS ||
            is_denied(part->status))
            continue;
        note_failure(lookup, part);
        is_failed = true;
    }
    return is_failed;
}

/* All questions about one name are answered. */
static void judge(struct gw_lookup *lookup)
{
    if (lookup->peer_count > 0 || lookup->result.count > 0) {
        take_found(lookup);
        return;
    }
    bool is_failed = note_failures(lookup);
    bool is_last = lookup->at + 1 == lookup->name_count ||
                   (is_failed && lookup->at + 1 == lookup->setup.domain);
    if (is_last) {
        conclude_nothing(lookup);
        return;
    }
    lookup->at++;
    ask(lookup);
}

static int take_v4(struct gw_lookup *lookup, const unsigned char *bytes,
                   int len)
{
    int count = RECORD_MAX;
    struct ares_addrttl *list = calloc(RECORD_MAX, sizeof(*list));
    if (list == NULL)
        return ARES_ENOMEM;
    int status = ares_parse_a_reply(bytes, len, NULL, list, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct gw_peer peer = {.family = AF_INET};
        memcpy(peer.addr, &list[i].ipaddr, sizeof(list[i].ipaddr));
        add_peer(lookup, &peer);
    }
    free(list);
    return status;
}

static int take_v6(struct gw_lookup *lookup, const unsigned char *bytes,
                   int len)
{
    int count = RECORD_MAX;
    struct ares_addr6ttl *list = calloc(RECORD_MAX, sizeof(*list));
    if (list == NULL)
        return ARES_ENOMEM;
    int status = ares_parse_aaaa_reply(bytes, len, NULL, list, &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
        struct gw_peer peer = {.family = AF_INET6};
        memcpy(peer.addr, &list[i].ip6addr, sizeof(peer.addr));
        add_peer(lookup, &peer);
    }
    free(list);
    return status;
}

static int take(struct part *part, const unsigned char *bytes, int len)
{
    if (part->type == ns_t_a)
        return take_v4(part->lookup, bytes, len);
    if (part->type == ns_t_aaaa)
        return take_v6(part->lookup, bytes, len);
    return gw_targets_take(&part->lookup->result, bytes, len);
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes,
                      int len)
{
    struct part *part = arg;
    struct gw_lookup *lookup = part->lookup;
    (void)timeouts;
    if (lookup->is_gone)
        return;
    part->status = status == ARES_SUCCESS ? take(part, bytes, len) : status;
    if (--lookup->pending == 0)
        judge(lookup);
}

/* May be answered before it returns. */
static void ask(struct gw_lookup *lookup)
{
    ares_channel channel = gw_dns_channel(lookup->dns);
    bool is_srv = lookup->setup.name->is_srv;
    unsigned count = is_srv ? 1 : PARTS;
    const char *name = lookup->names[lookup->at];
    lookup->pending = count;
    for (unsigned i = 0; i < count; i++) {
        struct part *part = &lookup->parts[i];
        part->lookup = lookup;
        part->type = is_srv ? ns_t_srv : i == 0 ? ns_t_a : ns_t_aaaa;
        part->is_asked = true;
        part->status = ARES_ETIMEOUT;
    }
    for (unsigned i = 0; i < count; i++)
        ares_query(channel, name, ns_c_in, lookup->parts[i].type, on_answer,
                   &lookup->parts[i]);
}

/* ---- its life ---- */

static void release(struct gw_lookup *lookup)
{
    lookup->is_gone = true;
    gw_targets_leave(lookup->targets);
    gw_dns_close(&lookup->dns);
    gw_targets_free(lookup->targets);
    free(lookup->peers);
    free(lookup);
}

/* What has come by now counts. */
static void conclude_late(struct gw_lookup *lookup)
{
    if (gw_targets_give_up(lookup->targets)) {
        lookup->is_over = true;
        return;
    }
    if (lookup->peer_count > 0) {
        take_found(lookup);
        return;
    }
    note_failures(lookup);
    conclude_nothing(lookup);
}

static void on_turn(void *arg, bool is_late)
{
    struct gw_lookup *lookup = arg;
    if (!lookup->is_over && is_late)
        conclude_late(lookup);
    if (!lookup->is_over)
        return;
    lookup->is_gone = true;
    gw_targets_leave(lookup->targets);
    gw_dns_close(&lookup->dns);
    lookup->setup.done(lookup->setup.arg, &lookup->result);
    release(lookup);
}

/* What needs no server: an address, a line of the hosts file. */
static bool is_known(struct gw_lookup *lookup)
{
    const struct gw_discover_config *name = lookup->setup.name;
    const char *text = name->name;
    struct gw_peer peer;
    if (name->is_srv)
        return false;
    if (gw_peer_parse((struct eio_span){text, strlen(text)}, &peer))
        add_peer(lookup, &peer);
    else if (lookup->setup.config->dns_server_count == 0)
        gw_dns_hosts(text, add_peer, lookup);
    if (lookup->peer_count == 0)
        return false;
    list_peers(lookup);
    return true;
}

static bool allocate(struct gw_lookup *lookup)
{
    lookup->peers =
        calloc((size_t)RECORD_MAX * PARTS, sizeof(lookup->peers[0]));
    struct gw_targets_setup setup = {
        .dns = lookup->dns,
        .result = &lookup->result,
        .uses_hosts = lookup->setup.config->dns_server_count == 0,
        .done = on_targets,
        .arg = lookup,
    };
    lookup->targets = gw_targets_new(&setup);
    return lookup->peers != NULL && lookup->targets != NULL;
}

struct gw_lookup *gw_lookup_start(const struct gw_lookup_setup *setup,
                                  const char **why)
{
    struct gw_lookup *lookup = calloc(1, sizeof(*lookup));
    *why = ares_strerror(ARES_ENOMEM);
    if (lookup == NULL)
        return NULL;
    lookup->setup = *setup;
    struct gw_dns_setup dns = {.loop = setup->loop,
                               .config = setup->config,
                               .limit_ms = setup->limit_ms,
                               .open = setup->open,
                               .on_turn = on_turn,
                               .arg = lookup};
    lookup->dns = gw_dns_open(&dns, why);
    if (lookup->dns == NULL || !allocate(lookup)) {
        release(lookup);
        return NULL;
    }
    if (is_known(lookup))
        return lookup;
    list_names(lookup);
    if (lookup->name_count > 0)
        ask(lookup);
    else
        conclude_nothing(lookup);
    return lookup;
}

void gw_lookup_cancel(struct gw_lookup **which)
{
    struct gw_lookup *lookup = *which;
    *which = NULL;
    if (lookup != NULL)
        release(lookup);
}
