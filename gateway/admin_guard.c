/* SPDX-License-Identifier: MIT */
/*
 * Who may ask the operator plane what.
 *
 * A browser on the operator's machine runs pages of strangers, and reaches
 * listeners that strangers do not. It says whose page asks in Origin or
 * Sec-Fetch-Site; and a stranger's name that was bound to this address shows
 * in Host.
 */
#include "gateway/admin_guard.h"

#include "gateway/peer.h"
#include "gateway/unix_socket.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool digest_of(const struct gw_admin_guard *guard, const char *text,
                      unsigned char *out)
{
    unsigned len = 0;

    return HMAC(EVP_sha256(), guard->key, sizeof(guard->key),
                (const unsigned char *)text, strlen(text), out, &len) != NULL &&
           len == GW_ADMIN_DIGEST;
}

/* The length of an authority's host: all but ":port". */
static size_t host_length(const char *authority, size_t len)
{
    size_t digits = 0;

    while (digits < len && authority[len - digits - 1] >= '0' &&
           authority[len - digits - 1] <= '9')
        digits++;
    if (digits == len || authority[len - digits - 1] != ':')
        return len;
    size_t host = len - digits - 1;
    /* What remains of an IPv6 address is in brackets. */
    return memchr(authority, ':', host) == NULL || authority[host - 1] == ']'
               ? host
               : len;
}

bool gw_admin_guard_init(struct gw_admin_guard *guard,
                         const struct gw_address *address, const char *token)
{
    size_t len = strlen(address->text);

    *guard = (struct gw_admin_guard){
        .is_unix = gw_unix_is(address),
        .has_token = token[0] != '\0',
    };
    snprintf(guard->name, sizeof(guard->name), "%.*s",
             (int)host_length(address->text, len), address->text);
    if (!guard->has_token)
        return true;
    return RAND_bytes(guard->key, sizeof(guard->key)) == 1 &&
           digest_of(guard, token, guard->digest);
}

static bool is_name(const char *host, size_t len, const char *name)
{
    return strlen(name) == len && strncasecmp(host, name, len) == 0;
}

/* A name that no stranger can have: an address, localhost, or the listener's
 * own. A browser always sends one; HTTP/1.0 needs none. */
static bool is_own_host(const struct gw_admin_guard *guard, const char *host)
{
    struct gw_peer peer;

    if (host == NULL)
        return true;
    if (gw_peer_parse(eio_span_of(host), &peer))
        return true;
    size_t len = host_length(host, strlen(host));
    /* A dot behind a name makes it no other. */
    if (len > 1 && host[len - 1] == '.')
        len--;
    return is_name(host, len, "localhost") || is_name(host, len, guard->name);
}

/* Without the port that the scheme stands for. */
static size_t authority_length(const char *authority, const char *port)
{
    size_t len = strlen(authority);
    size_t host = host_length(authority, len);

    return host < len && strcmp(authority + host + 1, port) == 0 ? host : len;
}

static bool is_same_authority(const char *origin, const char *scheme,
                              const char *port, const char *host)
{
    size_t skipped = strlen(scheme);

    if (strncasecmp(origin, scheme, skipped) != 0)
        return false;
    origin += skipped;
    size_t len = authority_length(origin, port);
    return len > 0 && len == authority_length(host, port) &&
           strncasecmp(origin, host, len) == 0;
}

static bool is_same_site(const struct gw_admin_request *request)
{
    const char *origin = request->origin;
    const char *host = request->host != NULL ? request->host : "";
    const char *fetch = request->fetch_site;

    if (origin != NULL && !is_same_authority(origin, "http://", "80", host) &&
        !is_same_authority(origin, "https://", "443", host))
        return false;
    return fetch == NULL || strcasecmp(fetch, "same-origin") == 0 ||
           strcasecmp(fetch, "none") == 0;
}

/* Takes as long for any wrong token of a length. */
static bool is_right_token(const struct gw_admin_guard *guard,
                           const char *authorization)
{
    static const char scheme[] = "bearer ";
    unsigned char digest[GW_ADMIN_DIGEST];

    if (authorization == NULL ||
        strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
        return false;
    authorization += sizeof(scheme) - 1;
    while (*authorization == ' ')
        authorization++;
    return digest_of(guard, authorization, digest) &&
           CRYPTO_memcmp(digest, guard->digest, sizeof(digest)) == 0;
}

enum gw_admin_verdict
gw_admin_guard_judge(const struct gw_admin_guard *guard,
                     const struct gw_admin_request *request, bool is_open)
{
    if (!guard->is_unix && !is_same_site(request))
        return GW_ADMIN_CROSS_SITE;
    if (!guard->is_unix && !guard->has_token &&
        !is_own_host(guard, request->host))
        return GW_ADMIN_WRONG_HOST;
    if (guard->has_token && !is_open &&
        !is_right_token(guard, request->authorization))
        return GW_ADMIN_WRONG_TOKEN;
    return GW_ADMIN_LET_IN;
}
