/* SPDX-License-Identifier: MIT */
/* Heads written anew, from what was parsed. */
#include "gateway/head_write.h"

#include <netinet/in.h>
#include <stdio.h>
#include <time.h>

/* Bounded output: once something did not fit, nothing more is written and
 * the result counts for nothing. */
struct out {
    char *base;
    size_t len;
    size_t cap;
    bool is_full;
};

static void put(struct out *out, const char *bytes, size_t len)
{
    if (out->is_full || len > out->cap - out->len) {
        out->is_full = true;
        return;
    }
    if (len > 0)
        memcpy(out->base + out->len, bytes, len);
    out->len += len;
}

static void put_text(struct out *out, const char *text)
{
    put(out, text, strlen(text));
}

static void put_span(struct out *out, struct eio_span span)
{
    put(out, span.ptr, span.len);
}

static void put_field(struct out *out, struct eio_span name,
                      struct eio_span value)
{
    put_span(out, name);
    put(out, ": ", 2);
    put_span(out, value);
    put(out, "\r\n", 2);
}

static struct gw_place placed(const struct out *out, size_t before, size_t skip,
                              size_t len)
{
    return (struct gw_place){.at = out->is_full ? 0 : (uint32_t)(before + skip),
                             .len = out->is_full ? 0 : (uint32_t)len};
}

static void put_peer(struct out *out, const struct gw_peer *peer)
{
    char address[INET6_ADDRSTRLEN];
    gw_peer_text(peer, address, sizeof(address));
    put_text(out, address);
}

/* The client, then the proxies between it and us. */
static void put_forwarded(struct out *out, const struct gw_head *head,
                          const struct gw_client *client)
{
    struct eio_span host = client->host.len > 0 ? client->host : head->host;
    if (client->peer.family != AF_UNIX) {
        put_text(out, "X-Forwarded-For: ");
        put_peer(out, &client->peer);
        for (size_t i = 0; i < client->hop_count; i++) {
            if (client->hops[i].family == AF_UNIX)
                continue;
            put(out, ", ", 2);
            put_peer(out, &client->hops[i]);
        }
        put(out, "\r\n", 2);
    }
    put_text(out, client->is_tls ? "X-Forwarded-Proto: https\r\n"
                                 : "X-Forwarded-Proto: http\r\n");
    if (host.len > 0)
        put_field(out, eio_span_of("X-Forwarded-Host"), host);
    put_text(out, head->minor == 0 ? "Via: 1.0 sidgate\r\n"
                                   : "Via: 1.1 sidgate\r\n");
}

static bool is_request_id(const struct gw_field *field)
{
    return gw_span_is(field->name, "x-request-id");
}

static bool is_passed_up(const struct gw_field *field,
                         const struct gw_request_form *form)
{
    switch (field->kind) {
    case GW_FIELD_CONNECTION:
    case GW_FIELD_CONTENT_LENGTH:
    case GW_FIELD_EXPECT:
    case GW_FIELD_FORWARDING:
    case GW_FIELD_HOP:
    case GW_FIELD_HOST:
    case GW_FIELD_KEEP_ALIVE:
    case GW_FIELD_TRANSFER_ENCODING:
    case GW_FIELD_UPGRADE:
        return false;
    case GW_FIELD_ACCEPT_ENCODING:
        return !form->wants_identity && !field->is_dropped;
    default:
        return !field->is_dropped &&
               (form->request_id.len == 0 || !is_request_id(field));
    }
}

size_t gw_request_write(const struct gw_head *head,
                        const struct gw_client *client,
                        const struct gw_request_form *form,
                        struct gw_request_places *places, struct eio_span room)
{
    struct out out = {.base = (char *)(uintptr_t)room.ptr, .cap = room.len};
    memset(places, 0, sizeof(*places));
    put_span(&out, head->method);
    put(&out, " ", 1);
    places->path = placed(&out, out.len, 0, head->path.len);
    put_span(&out, head->target);
    put_text(&out, " HTTP/1.1\r\n");
    size_t before = out.len;
    put_field(&out, eio_span_of("Host"), head->host);
    places->host = placed(&out, before, 6, head->host.len);
    for (size_t i = 0; i < head->field_count; i++) {
        const struct gw_field *field = &head->fields[i];
        if (!is_passed_up(field, form))
            continue;
        before = out.len;
        put_field(&out, field->name, field->value);
        if (field->kind == GW_FIELD_ORIGIN)
            places->origin =
                placed(&out, before, field->name.len + 2, field->value.len);
    }
    if (form->wants_identity)
        put_text(&out, "Accept-Encoding: identity\r\n");
    if (form->request_id.len > 0)
        put_field(&out, eio_span_of("X-Request-Id"), form->request_id);
    put_forwarded(&out, head, client);
    if (head->is_websocket)
        put_text(&out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    return out.is_full ? 0 : out.len;
}

static size_t put_number(char *out, uint64_t value, unsigned base)
{
    char digits[24];
    size_t n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

size_t gw_framing_write(const struct gw_framing *framing,
                        char out[GW_FRAMING_MAX])
{
    static const char chunked[] = "Transfer-Encoding: chunked\r\n\r\n";
    size_t len = 0;
    if (framing->is_chunked) {
        memcpy(out, chunked, sizeof(chunked) - 1);
        return sizeof(chunked) - 1;
    }
    if (framing->content_length >= 0) {
        memcpy(out, "Content-Length: ", 16);
        len = 16 + put_number(out + 16, (uint64_t)framing->content_length, 10);
        memcpy(out + len, "\r\n", 2);
        len += 2;
    }
    memcpy(out + len, "\r\n", 2);
    return len + 2;
}

size_t gw_chunk_head(size_t len, char out[GW_CHUNK_HEAD_MAX])
{
    size_t n = put_number(out, len, 16);
    memcpy(out + n, "\r\n", 2);
    return n + 2;
}

static void put_date(struct out *out)
{
    static _Thread_local char text[64];
    static _Thread_local time_t made;
    time_t now = time(NULL);
    if (now != made) {
        struct tm tm;
        gmtime_r(&now, &tm);
        if (strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n",
                     &tm) == 0)
            text[0] = '\0';
        made = now;
    }
    put_text(out, text);
}

static bool is_passed_down(const struct gw_field *field)
{
    switch (field->kind) {
    case GW_FIELD_CONNECTION:
    case GW_FIELD_CONTENT_LENGTH:
    case GW_FIELD_HOP:
    case GW_FIELD_KEEP_ALIVE:
    case GW_FIELD_TRANSFER_ENCODING:
    case GW_FIELD_UPGRADE:
        return false;
    default:
        return !field->is_dropped;
    }
}

static void put_status_line(struct out *out, int status, struct eio_span reason)
{
    char line[16];
    memcpy(line, "HTTP/1.1 ", 9);
    put_number(line + 9, (uint64_t)status, 10);
    line[12] = ' ';
    put(out, line, 13);
    put_span(out, reason);
    put(out, "\r\n", 2);
}

static void put_connection(struct out *out, const struct gw_reply_form *form)
{
    if (form->is_switch)
        put_text(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    else if (form->closes)
        put_text(out, "Connection: close\r\n");
    else if (form->keeps_alive_1_0)
        put_text(out, "Connection: keep-alive\r\n");
}

size_t gw_response_write(const struct gw_head *head,
                         const struct gw_reply_form *form, struct eio_span room)
{
    struct out out = {.base = (char *)(uintptr_t)room.ptr, .cap = room.len};
    char framing[GW_FRAMING_MAX];
    put_status_line(&out, head->status, head->reason);
    for (size_t i = 0; i < head->field_count; i++)
        if (is_passed_down(&head->fields[i]))
            put_field(&out, head->fields[i].name, head->fields[i].value);
    if (!head->has_date && head->status >= 200)
        put_date(&out);
    put_connection(&out, form);
    put(&out, framing, gw_framing_write(&form->framing, framing));
    return out.is_full ? 0 : out.len;
}

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 308:
        return "Permanent Redirect";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Error";
    }
}

/* Lets a page of another origin read the error: without it a browser shows
 * its script a network failure only. */
static void put_cors(struct out *out, struct eio_span origin)
{
    /* No browser's is longer than any that can be allowed. */
    if (origin.len > 0 && origin.len < GW_ORIGIN_MAX) {
        put_field(out, eio_span_of("Access-Control-Allow-Origin"), origin);
        put_text(out, "Access-Control-Allow-Credentials: true\r\n"
                      "Vary: Origin\r\n");
    } else {
        put_text(out, "Access-Control-Allow-Origin: *\r\n");
    }
}

/* What the reply says: its type and its text. */
static struct eio_span own_body(const struct gw_own_reply *reply, char *plain,
                                size_t cap, const char **type)
{
    *type = "text/plain; charset=utf-8";
    if (reply->is_close_packet)
        return reply->body;
    if (reply->is_eio && reply->is_upgrade) {
        *type = "text/html";
        return eio_span_of(eio_error_message(reply->error));
    }
    if (reply->is_eio) {
        *type = "application/json";
        return eio_span_of(eio_error_json(reply->error));
    }
    plain[0] = '\0';
    if (reply->says_ok && reply->status == 200)
        return eio_span_of("ok\n");
    if (reply->status != 200)
        snprintf(plain, cap, "%d %s\n", reply->status,
                 reason_of(reply->status));
    return eio_span_of(plain);
}

static void put_location(struct out *out, const struct gw_own_reply *reply)
{
    struct eio_span host = reply->host;
    size_t len = host.len;
    char port[24];
    /* Without its port; the colons of a v6 address stand in brackets. */
    while (len > 0 && host.ptr[len - 1] != ':' && host.ptr[len - 1] != ']')
        len--;
    if (len > 0 && host.ptr[len - 1] == ':')
        host.len = len - 1;
    put_text(out, "Location: https://");
    put_span(out, host);
    if (reply->https_port != 443) {
        put(out, ":", 1);
        put(out, port, put_number(port, reply->https_port, 10));
    }
    put_span(out, reply->target);
    put(out, "\r\n", 2);
}

size_t gw_own_reply_write(const struct gw_own_reply *reply, char *bytes,
                          size_t cap)
{
    static const char allow[] =
        "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n";
    struct out out = {.base = bytes, .cap = cap};
    char plain[64];
    char framing[GW_FRAMING_MAX];
    const char *type;
    struct eio_span body = own_body(reply, plain, sizeof(plain), &type);
    put_status_line(&out, reply->status, eio_span_of(reason_of(reply->status)));
    if (reply->status == 426)
        put_text(&out, "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\n");
    if (reply->status == 405 || body.len == 0)
        put_text(&out, allow);
    if (body.len > 0)
        put_field(&out, eio_span_of("Content-Type"), eio_span_of(type));
    put_text(&out, "Cache-Control: no-store\r\n");
    if (reply->https_port != 0)
        put_location(&out, reply);
    if (reply->retry_s > 0) {
        char seconds[24];
        put_field(&out, eio_span_of("Retry-After"),
                  (struct eio_span){seconds,
                                    put_number(seconds, reply->retry_s, 10)});
    }
    /* A page of a forbidden origin is not to read why. */
    if (reply->status != 403 &&
        (reply->is_eio || reply->is_close_packet || reply->origin.len > 0))
        put_cors(&out, reply->origin);
    put_date(&out);
    struct gw_reply_form form = {.closes = reply->closes,
                                 .keeps_alive_1_0 = reply->keeps_alive_1_0};
    put_connection(&out, &form);
    form.framing.content_length = (int64_t)body.len;
    put(&out, framing, gw_framing_write(&form.framing, framing));
    if (!reply->is_head)
        put_span(&out, body);
    return out.is_full ? 0 : out.len;
}
