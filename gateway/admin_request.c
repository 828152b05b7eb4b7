/* SPDX-License-Identifier: MIT */
/*
 * A request as libwebsockets has parsed it.
 *
 * lws takes the percent-encoding off, joins the path's segments and cuts the
 * query at its '&'. What it gives is encoded again, so that all that follows
 * has one form, and a value that holds '&' or '=' is no more than a value.
 */
#include "gateway/admin_request.h"

#include <stdio.h>
#include <string.h>

/* Appends the bytes, those that are not visible and those in `special`
 * encoded. `out` has room for three bytes for each and a NUL. */
static char *encode(char *out, const char *bytes, size_t len,
                    const char *special)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];

        if (c > ' ' && c < 0x7f && strchr(special, c) == NULL) {
            *out++ = (char)c;
            continue;
        }
        *out++ = '%';
        *out++ = digits[c >> 4];
        *out++ = digits[c & 15];
    }
    *out = '\0';
    return out;
}

/* lws gives an empty parameter, such as that of a lone '?', as "/". */
static bool is_empty(const char *part, int len)
{
    return len == 0 || (len == 1 && part[0] == '/');
}

/* Where a parameter's '=' stands is what lws has seen not encoded. */
static void read_query(struct lws *wsi, char *out)
{
    char part[GW_ADMIN_HEAD_MAX + 1];
    const char *start = out;
    int len;

    *out = '\0';
    for (int i = 0;
         (len = lws_hdr_copy_fragment(wsi, part, sizeof(part),
                                      WSI_TOKEN_HTTP_URI_ARGS, i)) >= 0;
         i++) {
        const char *equals = memchr(part, '=', (size_t)len);
        size_t name_len =
            equals != NULL ? (size_t)(equals - part) : (size_t)len;

        if (is_empty(part, len))
            continue;
        if (out != start)
            *out++ = '&';
        out = encode(out, part, name_len, "%&=#");
        if (equals == NULL)
            continue;
        *out++ = '=';
        out = encode(out, equals + 1, (size_t)len - name_len - 1, "%&#");
    }
}

/* NULL when there is none. One that is too long for `out` is as good as any
 * that is not wanted. */
static const char *read_field(struct lws *wsi, enum lws_token_indexes name,
                              char *out, int size)
{
    if (lws_hdr_total_length(wsi, name) <= 0)
        return NULL;
    if (lws_hdr_copy(wsi, out, size, name) < 0)
        snprintf(out, (size_t)size, "?");
    return out;
}

static const char *read_fetch_site(struct lws *wsi, char *out, int size)
{
    static const char name[] = "sec-fetch-site:";
    int name_len = (int)sizeof(name) - 1;

    if (lws_hdr_custom_length(wsi, name, name_len) < 0)
        return NULL;
    if (lws_hdr_custom_copy(wsi, out, size, name, name_len) < 0)
        snprintf(out, (size_t)size, "?");
    return out;
}

bool gw_admin_request_is_right(struct lws *wsi)
{
    char version[GW_ADMIN_VALUE_MAX];

    return read_field(wsi, WSI_TOKEN_HTTP, version, sizeof(version)) != NULL &&
           (strcmp(version, "HTTP/1.1") == 0 ||
            strcmp(version, "HTTP/1.0") == 0);
}

static enum gw_method method_of(int lws_method)
{
    switch (lws_method) {
    case LWSHUMETH_GET:
    case LWSHUMETH_HEAD:
        return GW_METHOD_READ;
    case LWSHUMETH_POST:
        return GW_METHOD_POST;
    default:
        return GW_METHOD_OTHER;
    }
}

bool gw_admin_request_read(struct lws *wsi, struct gw_admin_text *text,
                           struct gw_admin_request *request, bool *is_head)
{
    char *path = NULL;
    int len = 0;
    int method = lws_http_get_uri_and_method(wsi, &path, &len);

    if (method < 0 || path == NULL || len < 0 || len > GW_ADMIN_HEAD_MAX)
        return false;
    *is_head = method == LWSHUMETH_HEAD;
    encode(text->path, path, (size_t)len, "%?#");
    read_query(wsi, text->query);
    *request = (struct gw_admin_request){
        .method = method_of(method),
        .path = text->path,
        .query = text->query,
        .host = read_field(wsi, WSI_TOKEN_HOST, text->host, sizeof(text->host)),
        .origin = read_field(wsi, WSI_TOKEN_ORIGIN, text->origin,
                             sizeof(text->origin)),
        .fetch_site =
            read_fetch_site(wsi, text->fetch_site, sizeof(text->fetch_site)),
        .authorization =
            read_field(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, text->authorization,
                       sizeof(text->authorization)),
        .if_none_match =
            read_field(wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH, text->if_none_match,
                       sizeof(text->if_none_match)),
    };
    return true;
}
