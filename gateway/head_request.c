/* SPDX-License-Identifier: MIT */
/* What a request head must be before sidgate acts on it. */
#include "gateway/grammar.h"
#include "gateway/head.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <strings.h>

/* An IPv6 address in brackets: its length with them, or 0. */
static size_t bracketed_len(struct eio_span host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;
    const char *end = memchr(host.ptr, ']', host.len);
    size_t len = end != NULL ? (size_t)(end - host.ptr) : 0;
    if (len < 2 || len - 1 >= sizeof(text))
        return 0;
    memcpy(text, host.ptr + 1, len - 1);
    text[len - 1] = '\0';
    return inet_pton(AF_INET6, text, &addr) == 1 ? len + 1 : 0;
}

/* A Host, or the authority of an absolute target: no user information, no
 * path, no escapes, nothing that a backend could read as something else. */
static bool is_authority(struct eio_span host)
{
    static const char allowed[] = "-._~!$&'()*+;=";
    size_t len = 0;
    if (host.len == 0 || host.len > 255)
        return false;
    if (host.ptr[0] == '[')
        len = bracketed_len(host);
    else
        while (len < host.len && host.ptr[len] != '\0' &&
               (gw_is_alnum(host.ptr[len]) ||
                strchr(allowed, host.ptr[len]) != NULL))
            len++;
    if (len == 0 || len == host.len)
        return len > 0;
    struct eio_span port = {host.ptr + len + 1, host.len - len - 1};
    /* An empty one is legal (RFC 3986 3.2.3). */
    return host.ptr[len] == ':' && (port.len == 0 || gw_is_port(port));
}

static bool is_visible(struct eio_span target)
{
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.ptr[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return false;
    }
    return target.len > 0;
}

/* http://authority/path becomes /path, if the authority is the Host's. */
static bool to_origin_form(struct gw_head *head)
{
    struct eio_span *target = &head->target;
    size_t scheme = 0;
    if (target->len > 7 && strncasecmp(target->ptr, "http://", 7) == 0)
        scheme = 7;
    else if (target->len > 8 && strncasecmp(target->ptr, "https://", 8) == 0)
        scheme = 8;
    else
        return false;
    struct eio_span rest = {target->ptr + scheme, target->len - scheme};
    size_t len = 0;
    while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?')
        len++;
    struct eio_span authority = {rest.ptr, len};
    if (!is_authority(authority) ||
        !gw_span_equal_nocase(authority, head->host))
        return false;
    if (len == rest.len)
        *target = eio_span_of("/");
    else if (rest.ptr[len] == '/')
        *target = (struct eio_span){rest.ptr + len, rest.len - len};
    else
        return false; /* http://host?query: rare, and read in two ways */
    return true;
}

static int check_target(struct gw_head *head)
{
    struct eio_span *target = &head->target;
    if (!is_visible(*target))
        return 400;
    if (target->len == 1 && target->ptr[0] == '*')
        return head->is_options ? 0 : 400;
    if (target->ptr[0] != '/' && !to_origin_form(head))
        return 400;
    const char *mark = memchr(target->ptr, '?', target->len);
    size_t len = mark != NULL ? (size_t)(mark - target->ptr) : target->len;
    head->path = (struct eio_span){target->ptr, len};
    if (mark != NULL)
        head->query = (struct eio_span){mark + 1, target->len - len - 1};
    return 0;
}

static int check_host(struct gw_head *head)
{
    int count = 0;
    for (size_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].kind != GW_FIELD_HOST)
            continue;
        head->host = head->fields[i].value;
        count++;
        if (head->host.len > 0 && !is_authority(head->host))
            return 400;
    }
    if (count > 1 || (head->host.len == 0 && head->minor > 0))
        return 400;
    return 0;
}

/* 16 bytes in base64: 22 characters and "==". */
static bool is_ws_key(struct eio_span key)
{
    if (key.len != 24 || key.ptr[22] != '=' || key.ptr[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.ptr[i];
        if (!gw_is_alnum(c) && c != '+' && c != '/')
            return false;
    }
    return true;
}

struct ws_fields {
    int upgrades;
    int keys;
    int versions;
    bool is_websocket; /* the only Upgrade token */
    struct eio_span version;
};

static void read_ws_field(struct gw_head *head, const struct gw_field *field,
                          struct ws_fields *ws)
{
    switch (field->kind) {
    case GW_FIELD_UPGRADE:
        ws->upgrades++;
        ws->is_websocket = gw_span_is(field->value, "websocket");
        break;
    case GW_FIELD_WS_KEY:
        ws->keys++;
        head->ws_key = field->value;
        break;
    case GW_FIELD_WS_VERSION:
        ws->versions++;
        ws->version = field->value;
        break;
    case GW_FIELD_ORIGIN:
        head->origin = field->value;
        head->origin_count++;
        break;
    case GW_FIELD_EXPECT:
        head->expects_continue |= gw_span_is(field->value, "100-continue");
        break;
    default:
        break;
    }
}

/* A request that asks for another protocol goes on as a plain one, without
 * its Upgrade field; one that asks for a websocket must be right. */
static int check_websocket(struct gw_head *head)
{
    struct ws_fields ws = {0};
    for (size_t i = 0; i < head->field_count; i++)
        read_ws_field(head, &head->fields[i], &ws);
    if (head->minor == 0)
        head->expects_continue = false;
    if (!head->says_upgrade || ws.upgrades != 1 || !ws.is_websocket ||
        head->minor == 0)
        return 0;
    if (!head->is_get || head->is_chunked || head->content_length > 0)
        return 400;
    if (ws.versions != 1 || !gw_span_is(ws.version, "13"))
        return ws.versions > 1 ? 400 : 426;
    if (ws.keys != 1 || !is_ws_key(head->ws_key))
        return 400;
    head->is_websocket = true;
    return 0;
}

/* llhttp forgives white space that other parsers read otherwise: method,
 * target and version must stand one space apart and fill the line. */
static int check_request_line(struct eio_span bytes)
{
    const char *end = memchr(bytes.ptr, '\r', bytes.len);
    size_t len = end != NULL ? (size_t)(end - bytes.ptr) : 0;
    const char *first = memchr(bytes.ptr, ' ', len);
    const char *last = memrchr(bytes.ptr, ' ', len);
    if (len == 0 || first == NULL || first == last || first == bytes.ptr)
        return 400;
    if (memchr(first + 1, ' ', (size_t)(last - first - 1)) != NULL ||
        last == first + 1)
        return 400;
    const char *version = last + 1;
    size_t version_len = (size_t)(end - version);
    if (version_len != 8 || memcmp(version, "HTTP/", 5) != 0 ||
        version[6] != '.' || gw_hex_digit(version[5]) < 0 ||
        gw_hex_digit(version[7]) < 0)
        return 400;
    for (const char *c = bytes.ptr; c < first; c++)
        if (!gw_is_token_char(*c))
            return 400;
    return version[5] != '1' || version[7] > '1' ? 505 : 0;
}

int gw_head_parse_request(struct eio_span bytes, struct gw_head *head)
{
    head->minor = 1; /* where the line does not tell */
    int status = check_request_line(bytes);
    if (status == 0)
        status = gw_head_run(bytes, true, head);
    if (status == 0)
        status = gw_head_check_common(head);
    if (status == 0)
        status = check_host(head);
    if (status != 0)
        return status;
    if (gw_span_is(head->method, "CONNECT") ||
        gw_span_is(head->method, "TRACE"))
        return 405;
    status = check_target(head);
    return status != 0 ? status : check_websocket(head);
}

void gw_ws_accept(struct eio_span key, char out[29])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char joined[24 + sizeof(guid)];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    out[0] = '\0';
    if (key.len != 24)
        return;
    memcpy(joined, key.ptr, 24);
    memcpy(joined + 24, guid, sizeof(guid) - 1);
    if (EVP_Digest(joined, 24 + sizeof(guid) - 1, digest, &len, EVP_sha1(),
                   NULL) == 1)
        EVP_EncodeBlock((unsigned char *)out, digest, (int)len);
}
