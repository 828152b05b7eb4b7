/* SPDX-License-Identifier: MIT */
/* A head's fields, by llhttp, and the checks both directions share. */
#include "gateway/head.h"

#include <llhttp.h>
#include <strings.h>

struct parse {
    struct gw_head *head;
    struct eio_span name;
    struct eio_span value;
    struct eio_span url;
    struct eio_span reason;
    bool is_complete;
    bool is_overfull;
};

#define NAME(text) text, sizeof(text) - 1

static const struct {
    const char *name;
    size_t len;
    enum gw_field_kind kind;
} known_fields[] = {
    {NAME("accept-encoding"), GW_FIELD_ACCEPT_ENCODING},
    {NAME("connection"), GW_FIELD_CONNECTION},
    {NAME("content-encoding"), GW_FIELD_CONTENT_ENCODING},
    {NAME("content-length"), GW_FIELD_CONTENT_LENGTH},
    {NAME("date"), GW_FIELD_DATE},
    {NAME("expect"), GW_FIELD_EXPECT},
    {NAME("forwarded"), GW_FIELD_FORWARDING},
    {NAME("host"), GW_FIELD_HOST},
    {NAME("http2-settings"), GW_FIELD_HOP},
    {NAME("keep-alive"), GW_FIELD_KEEP_ALIVE},
    {NAME("origin"), GW_FIELD_ORIGIN},
    {NAME("proxy-authenticate"), GW_FIELD_HOP},
    {NAME("proxy-authorization"), GW_FIELD_HOP},
    {NAME("proxy-connection"), GW_FIELD_HOP},
    {NAME("sec-websocket-accept"), GW_FIELD_WS_ACCEPT},
    {NAME("sec-websocket-key"), GW_FIELD_WS_KEY},
    {NAME("sec-websocket-version"), GW_FIELD_WS_VERSION},
    {NAME("te"), GW_FIELD_HOP},
    {NAME("trailer"), GW_FIELD_HOP},
    {NAME("transfer-encoding"), GW_FIELD_TRANSFER_ENCODING},
    {NAME("upgrade"), GW_FIELD_UPGRADE},
    {NAME("x-real-ip"), GW_FIELD_FORWARDING},
};

static enum gw_field_kind kind_of_plain(struct eio_span name)
{
    size_t count = sizeof(known_fields) / sizeof(known_fields[0]);
    int first = name.len > 0 ? name.ptr[0] | 0x20 : 0;
    if (first == 'x' && name.len > 12 &&
        strncasecmp(name.ptr, "x-forwarded-", 12) == 0)
        return GW_FIELD_FORWARDING;
    for (size_t i = 0; i < count; i++) {
        if (known_fields[i].len == name.len &&
            known_fields[i].name[0] == first &&
            strncasecmp(known_fields[i].name, name.ptr, name.len) == 0)
            return known_fields[i].kind;
    }
    return GW_FIELD_OTHER;
}

/* Servers that hand fields on as variables take '_' for '-': what would be one
 * of those that count here is not passed on. */
static enum gw_field_kind kind_of(struct eio_span name)
{
    char plain[24];
    size_t len = name.len < sizeof(plain) ? name.len : sizeof(plain);
    if (memchr(name.ptr, '_', name.len) == NULL)
        return kind_of_plain(name);
    for (size_t i = 0; i < len; i++)
        plain[i] = (char)(name.ptr[i] == '_' ? '-' : name.ptr[i]);
    return kind_of_plain((struct eio_span){plain, len}) == GW_FIELD_OTHER
               ? GW_FIELD_OTHER
               : GW_FIELD_HOP;
}

bool gw_span_is(struct eio_span span, const char *text)
{
    return strlen(text) == span.len &&
           strncasecmp(span.ptr, text, span.len) == 0;
}

bool gw_span_equal(struct eio_span a, struct eio_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool gw_span_equal_nocase(struct eio_span a, struct eio_span b)
{
    return a.len == b.len &&
           (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct eio_span trim(struct eio_span span)
{
    while (span.len > 0 && is_blank(span.ptr[0])) {
        span.ptr++;
        span.len--;
    }
    while (span.len > 0 && is_blank(span.ptr[span.len - 1]))
        span.len--;
    return span;
}

bool gw_list_next(struct eio_span *list, struct eio_span *element)
{
    while (list->len > 0) {
        const char *comma = memchr(list->ptr, ',', list->len);
        size_t len = comma != NULL ? (size_t)(comma - list->ptr) : list->len;
        *element = trim((struct eio_span){list->ptr, len});
        size_t skip = comma != NULL ? len + 1 : len;
        list->ptr += skip;
        list->len -= skip;
        if (element->len > 0)
            return true;
    }
    return false;
}

/* llhttp gives a span in one piece here, since it sees the whole head at
 * once; a second piece is joined to the first all the same. */
static void join(struct eio_span *span, const char *at, size_t len)
{
    if (span->ptr == NULL)
        span->ptr = at;
    span->len = (size_t)(at + len - span->ptr);
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;
    join(&parse->url, at, len);
    return 0;
}

static int on_status(llhttp_t *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;
    join(&parse->reason, at, len);
    return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;
    join(&parse->name, at, len);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct parse *parse = parser->data;
    join(&parse->value, at, len);
    return 0;
}

static int on_value_complete(llhttp_t *parser)
{
    struct parse *parse = parser->data;
    struct gw_head *head = parse->head;
    if (head->field_count == GW_FIELDS_MAX) {
        parse->is_overfull = true;
        return -1;
    }
    struct gw_field *field = &head->fields[head->field_count++];
    field->name = parse->name;
    field->value = trim(parse->value);
    field->kind = kind_of(parse->name);
    field->is_dropped = false;
    parse->name = (struct eio_span){NULL, 0};
    parse->value = (struct eio_span){NULL, 0};
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct parse *parse = parser->data;
    parse->is_complete = true;
    return 1; /* the body is body.c's */
}

static const llhttp_settings_t *settings(void)
{
    static const llhttp_settings_t all = {
        .on_url = on_url,
        .on_status = on_status,
        .on_header_field = on_name,
        .on_header_value = on_value,
        .on_header_value_complete = on_value_complete,
        .on_headers_complete = on_headers_complete,
    };
    return &all;
}

static void take_result(const llhttp_t *parser, const struct parse *parse,
                        bool is_request)
{
    struct gw_head *head = parse->head;
    head->minor = parser->http_minor;
    head->target = parse->url;
    head->reason = parse->reason;
    if (!is_request) {
        head->status = parser->status_code;
        return;
    }
    llhttp_method_t method = (llhttp_method_t)parser->method;
    head->method = eio_span_of(llhttp_method_name(method));
    head->is_get = method == HTTP_GET;
    head->is_head = method == HTTP_HEAD;
    head->is_post = method == HTTP_POST;
    head->is_options = method == HTTP_OPTIONS;
}

int gw_head_run(struct eio_span bytes, bool is_request, struct gw_head *head)
{
    llhttp_t parser;
    struct parse parse = {.head = head};
    memset((char *)head + offsetof(struct gw_head, field_count), 0,
           sizeof(*head) - offsetof(struct gw_head, field_count));
    head->size = bytes.len;
    head->content_length = -1;
    head->keep_alive_s = -1;
    llhttp_init(&parser, is_request ? HTTP_REQUEST : HTTP_RESPONSE,
                (llhttp_settings_t *)(uintptr_t)settings());
    parser.data = &parse;
    llhttp_errno_t error = llhttp_execute(&parser, bytes.ptr, bytes.len);
    if (parse.is_overfull)
        return 431;
    if (error != HPE_OK && error != HPE_PAUSED_UPGRADE)
        return error == HPE_INVALID_METHOD ? 501 : 400;
    if (!parse.is_complete)
        return 400;
    if (parser.http_major != 1)
        return 505;
    take_result(&parser, &parse, is_request);
    return 0;
}

/* Digits alone, at most 18 of them: no sign, no list, no overflow. */
static int64_t parse_length(struct eio_span value)
{
    int64_t length = 0;
    if (value.len == 0 || value.len > 18)
        return -1;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return -1;
        length = length * 10 + (value.ptr[i] - '0');
    }
    return length;
}

/* Connection cannot take away what frames the message, says where it goes or
 * makes an upgrade valid. */
static bool is_protected(enum gw_field_kind kind)
{
    return kind == GW_FIELD_HOST || kind == GW_FIELD_CONTENT_LENGTH ||
           kind == GW_FIELD_TRANSFER_ENCODING || kind == GW_FIELD_WS_KEY ||
           kind == GW_FIELD_WS_VERSION;
}

static void drop_listed(struct gw_head *head, struct eio_span name)
{
    for (size_t i = 0; i < head->field_count; i++) {
        struct gw_field *field = &head->fields[i];
        if (!is_protected(field->kind) &&
            gw_span_equal_nocase(field->name, name))
            field->is_dropped = true;
    }
}

static void read_connection(struct gw_head *head, struct eio_span list)
{
    struct eio_span option;
    while (gw_list_next(&list, &option)) {
        if (gw_span_is(option, "close"))
            head->says_close = true;
        else if (gw_span_is(option, "keep-alive"))
            head->says_keep_alive = true;
        else if (gw_span_is(option, "upgrade"))
            head->says_upgrade = true;
        else
            drop_listed(head, option);
    }
}

int gw_head_check_common(struct gw_head *head)
{
    bool has_coding = false;
    for (size_t i = 0; i < head->field_count; i++) {
        struct gw_field *field = &head->fields[i];
        if (field->name.len == 0)
            return 400; /* llhttp lets it pass in responses */
        switch (field->kind) {
        case GW_FIELD_CONTENT_LENGTH:
            if (head->content_length >= 0)
                return 400; /* a second one, even if equal */
            head->content_length = parse_length(field->value);
            if (head->content_length < 0)
                return 400;
            break;
        case GW_FIELD_TRANSFER_ENCODING:
            if (has_coding || head->minor == 0)
                return 400;
            has_coding = true;
            if (!gw_span_is(field->value, "chunked"))
                return 501;
            head->is_chunked = true;
            break;
        case GW_FIELD_CONNECTION:
            read_connection(head, field->value);
            break;
        default:
            break;
        }
    }
    return head->is_chunked && head->content_length >= 0 ? 400 : 0;
}
