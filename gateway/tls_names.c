/* SPDX-License-Identifier: MIT */
/* Host names of certificates, and which certificate a client's server name
 * chooses. */
#include "gateway/tls_private.h"

#include <ctype.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_MAX = 256 }; /* a longer server name is none */

static int compare_names(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;

    return strcmp(*left, *right);
}

static void to_lower(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        text[i] = (char)tolower((unsigned char)text[i]);
}

/* Names that cannot be one, as those with a NUL, are left out. */
static bool names_add(struct gw_tls_names *names, const unsigned char *text,
                      size_t len)
{
    char **more;
    char *name;

    if (len == 0 || len >= HOST_MAX || memchr(text, '\0', len))
        return true;
    more = realloc(names->names, (names->count + 1) * sizeof(*more));
    if (!more)
        return false;
    names->names = more;
    name = strndup((const char *)text, len);
    if (!name)
        return false;
    to_lower(name, len);
    names->names[names->count++] = name;
    return true;
}

static bool add_alternatives(struct gw_tls_names *names,
                             const GENERAL_NAMES *alternatives)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(alternatives, i);

        if (name->type == GEN_DNS &&
            !names_add(names, ASN1_STRING_get0_data(name->d.dNSName),
                       (size_t)ASN1_STRING_length(name->d.dNSName)))
            return false;
    }
    return true;
}

static bool add_common_names(struct gw_tls_names *names, const X509 *cert)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    bool is_good = true;
    int at = -1;

    while (is_good && (at = X509_NAME_get_index_by_NID(subject, NID_commonName,
                                                       at)) >= 0) {
        unsigned char *text = NULL;
        int len = ASN1_STRING_to_UTF8(
            &text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));

        is_good = len < 0 || names_add(names, text, (size_t)len);
        OPENSSL_free(text);
    }
    return is_good;
}

static void sort_names(struct gw_tls_names *names)
{
    size_t kept = 0;

    if (names->count == 0)
        return;
    qsort(names->names, names->count, sizeof(*names->names), compare_names);
    for (size_t i = 1; i < names->count; i++) {
        if (!strcmp(names->names[i], names->names[kept]))
            free(names->names[i]);
        else
            names->names[++kept] = names->names[i];
    }
    names->count = kept + 1;
}

bool gw_tls_names_of(X509 *cert, struct gw_tls_names *names)
{
    GENERAL_NAMES *alternatives =
        X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool is_good;

    *names = (struct gw_tls_names){0};
    is_good = alternatives ? add_alternatives(names, alternatives)
                           : add_common_names(names, cert);
    GENERAL_NAMES_free(alternatives);
    sort_names(names);
    return is_good;
}

void gw_tls_names_fini(struct gw_tls_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = (struct gw_tls_names){0};
}

bool gw_tls_names_equal(const struct gw_tls_names *a,
                        const struct gw_tls_names *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->names[i], b->names[i]) != 0)
            return false;
    }
    return true;
}

/* --- the router ---------------------------------------------------------- */

struct route {
    char *name;
    SSL_CTX *ctx;
    size_t order; /* of the configuration */
};

struct gw_tls_router {
    struct route *routes;
    size_t count;
};

struct gw_tls_router *gw_tls_router_new(void)
{
    return calloc(1, sizeof(struct gw_tls_router));
}

static void route_fini(struct route *route)
{
    free(route->name);
    SSL_CTX_free(route->ctx);
}

void gw_tls_router_free(struct gw_tls_router *router)
{
    if (!router)
        return;
    for (size_t i = 0; i < router->count; i++)
        route_fini(&router->routes[i]);
    free(router->routes);
    free(router);
}

bool gw_tls_router_add(struct gw_tls_router *router,
                       const struct gw_tls_names *names, SSL_CTX *ctx)
{
    size_t count = router->count + names->count;
    struct route *more;

    if (names->count == 0)
        return true;
    more = realloc(router->routes, count * sizeof(*more));
    if (!more)
        return false;
    router->routes = more;
    for (size_t i = 0; i < names->count; i++) {
        struct route *route = &router->routes[router->count];

        route->name = strdup(names->names[i]);
        if (!route->name)
            return false;
        route->ctx = ctx;
        route->order = router->count++;
        if (ctx)
            SSL_CTX_up_ref(ctx);
    }
    return true;
}

static int compare_routes(const void *a, const void *b)
{
    const struct route *left = a;
    const struct route *right = b;
    int order = strcmp(left->name, right->name);

    if (order != 0)
        return order;
    return left->order < right->order ? -1 : left->order > right->order;
}

void gw_tls_router_sort(struct gw_tls_router *router)
{
    size_t kept = 0;

    if (router->count == 0)
        return;
    qsort(router->routes, router->count, sizeof(*router->routes),
          compare_routes);
    for (size_t i = 1; i < router->count; i++) {
        if (!strcmp(router->routes[i].name, router->routes[kept].name))
            route_fini(&router->routes[i]);
        else
            router->routes[++kept] = router->routes[i];
    }
    router->count = kept + 1;
}

static int compare_name(const void *name, const void *route)
{
    return strcmp(name, ((const struct route *)route)->name);
}

static const struct route *find(const struct gw_tls_router *router,
                                const char *name)
{
    if (router->count == 0)
        return NULL;
    return bsearch(name, router->routes, router->count, sizeof(*router->routes),
                   compare_name);
}

bool gw_tls_router_find(const struct gw_tls_router *router, const char *name,
                        SSL_CTX **ctx)
{
    char host[HOST_MAX];
    size_t len = strlen(name);
    const struct route *route;

    if (len > 0 && name[len - 1] == '.')
        len--;
    if (len == 0 || len >= sizeof(host))
        return false;
    memcpy(host, name, len);
    host[len] = '\0';
    to_lower(host, len);
    route = find(router, host);
    if (!route) {
        char *dot = strchr(host, '.');

        if (!dot || dot == host)
            return false;
        dot[-1] = '*';
        route = find(router, dot - 1);
    }
    if (!route)
        return false;
    *ctx = route->ctx;
    return true;
}
