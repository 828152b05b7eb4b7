/* SPDX-License-Identifier: MIT */
/* Reads CLUSTER SLOTS and redirections. */
#include "store/cluster_map.h"
#include "store/slots.h"
#include "store/url.h"

#include <hiredis/hiredis.h>
#include <string.h>

/* FNV-1a; 0 is nobody's. */
static uint32_t number_of(const char *id, size_t len)
{
    uint32_t hash = 2166136261;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)id[i]) * 16777619;
    return hash != 0 ? hash : 1;
}

static bool set_address(struct store_address *out, const char *host, size_t len,
                        long long port, const struct store_address *from)
{
    *out = (struct store_address){.is_tls = from->is_tls};
    if (port < 1 || port > 65535)
        return false;
    out->port = (uint16_t)port;
    /* A node that does not know its own address names none. */
    if (len == 0 || (len == 1 && host[0] == '?')) {
        memcpy(out->host, from->host, sizeof(out->host));
        return true;
    }
    if (!store_host_is_plain(host, len))
        return false;
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    return true;
}

/* ---- CLUSTER SLOTS ---- */

static bool is_integer(const redisReply *reply, long long most)
{
    return reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0 &&
           reply->integer <= most;
}

static bool is_string(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING;
}

/* {host, port, id, ...}; the host may be nil. */
static bool read_master(const redisReply *master,
                        const struct store_address *from,
                        struct store_cluster_range *range)
{
    if (master->type != REDIS_REPLY_ARRAY || master->elements < 3)
        return false;
    const redisReply *host = master->element[0];
    const redisReply *port = master->element[1];
    const redisReply *id = master->element[2];
    const bool has_host = is_string(host);
    if ((!has_host && host->type != REDIS_REPLY_NIL) ||
        !is_integer(port, 65535) || !is_string(id) || id->len == 0)
        return false;
    range->number = number_of(id->str, id->len);
    if (port->integer == 0) {
        range->address = (struct store_address){0};
        return true;
    }
    return set_address(&range->address, has_host ? host->str : "",
                       has_host ? host->len : 0, port->integer, from);
}

bool store_cluster_range_read(const redisReply *reply, size_t i,
                              const struct store_address *from,
                              struct store_cluster_range *range)
{
    const redisReply *one = reply->element[i];

    if (one->type != REDIS_REPLY_ARRAY || one->elements < 3 ||
        !is_integer(one->element[0], STORE_SLOTS - 1) ||
        !is_integer(one->element[1], STORE_SLOTS - 1) ||
        one->element[0]->integer > one->element[1]->integer)
        return false;
    range->first = (uint16_t)one->element[0]->integer;
    range->last = (uint16_t)one->element[1]->integer;
    return read_master(one->element[2], from, range);
}

int store_cluster_ranges(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY ||
        reply->elements > STORE_CLUSTER_RANGES_MAX)
        return -1;
    return (int)reply->elements;
}

/* ---- redirections ---- */

/* A decimal number of at most five digits, with *at behind it; -1: none. */
static long read_number(const char **at)
{
    long value = 0;
    int digits = 0;

    for (; **at >= '0' && **at <= '9' && digits < 6; (*at)++, digits++)
        value = value * 10 + (**at - '0');
    return digits > 0 && digits < 6 ? value : -1;
}

bool store_cluster_redirection(const char *text,
                               const struct store_address *from, uint16_t *slot,
                               struct store_address *to)
{
    const char *at = strchr(text, ' ');

    if (at == NULL)
        return false;
    at++;
    const long number = read_number(&at);
    if (number < 0 || number >= STORE_SLOTS || *at != ' ')
        return false;
    const char *host = at + 1;
    const char *colon = strrchr(host, ':');
    if (colon == NULL)
        return false;
    const char *rest = colon + 1;
    const long port = read_number(&rest);
    *slot = (uint16_t)number;
    return *rest == '\0' &&
           set_address(to, host, (size_t)(colon - host), port, from);
}
