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

static bool keep_token(const struct gw_admin_guard *guard, const char *token,
                       struct gw_admin_secret *secret)
{
    secret->is_set = token[0] != '\0';
    return !secret->is_set || digest_of(guard, token, secret->digest);
}

bool gw_admin_guard_init(struct gw_admin_guard *guard,
                         const struct gw_address *address,
                         const struct gw_admin_tokens *tokens)
{
    size_t len = strlen(address->text);

    *guard = (struct gw_admin_guard){.is_unix = gw_unix_is(address)};
    snprintf(guard->name, sizeof(guard->name), "%.*s",
             (int)host_length(address->text, len), address->text);
    return RAND_bytes(guard->key, sizeof(guard->key)) == 1 &&
           keep_token(guard, tokens->full, &guard->full) &&
           keep_token(guard, tokens->read, &guard->read);
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

/* The token behind "Bearer ", or NULL. */
static const char *token_in(const char *authorization)
{
    static const char scheme[] = "bearer ";

    if (strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
        return NULL;
    authorization += sizeof(scheme) - 1;
    while (*authorization == ' ')
        authorization++;
    return authorization;
}

static bool is_secret(const struct gw_admin_secret *secret,
                      const unsigned char digest[GW_ADMIN_DIGEST])
{
    return secret->is_set &&
           CRYPTO_memcmp(digest, secret->digest, GW_ADMIN_DIGEST) == 0;
}

/* Takes as long for any wrong token of a length. */
static enum gw_admin_access access_of(const struct gw_admin_guard *guard,
                                      const struct gw_admin_request *request)
{
    unsigned char digest[GW_ADMIN_DIGEST];
    const char *token = request->authorization != NULL
                            ? token_in(request->authorization)
                            : request->bearer;

    if (!guard->full.is_set && !guard->read.is_set)
        return GW_ADMIN_OPEN;
    if (token == NULL || !digest_of(guard, token, digest))
        return GW_ADMIN_NOBODY;
    bool is_full = is_secret(&guard->full, digest);
    bool is_reader = is_secret(&guard->read, digest);
    return is_full ? GW_ADMIN_FULL
                   : (is_reader ? GW_ADMIN_READER : GW_ADMIN_NOBODY);
}

enum gw_admin_verdict
gw_admin_guard_judge(const struct gw_admin_guard *guard,
                     const struct gw_admin_request *request,
                     enum gw_admin_kind kind, enum gw_admin_access *access)
{
    bool is_read = request->method == GW_METHOD_READ;
    /* What changes something, or keeps telling, is not left to what may stand
     * before a unix socket. */
    bool is_local = guard->is_unix && is_read && kind != GW_ADMIN_LIVE;
    bool is_link = kind == GW_ADMIN_PAGE && is_read;

    *access = access_of(guard, request);
    if (!is_local && !is_link && !is_same_site(request))
        return GW_ADMIN_CROSS_SITE;
    if (!guard->is_unix && *access == GW_ADMIN_OPEN &&
        !is_own_host(guard, request->host))
        return GW_ADMIN_WRONG_HOST;
    if (kind == GW_ADMIN_HEALTH || kind == GW_ADMIN_PAGE)
        return GW_ADMIN_LET_IN;
    if (*access == GW_ADMIN_NOBODY)
        return GW_ADMIN_WRONG_TOKEN;
    return *access == GW_ADMIN_READER && request->method == GW_METHOD_POST
               ? GW_ADMIN_READ_ONLY
               : GW_ADMIN_LET_IN;
}
