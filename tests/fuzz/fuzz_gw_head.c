/* SPDX-License-Identifier: MIT */
/* Fuzzes message heads: found the same in pieces as whole; and what is
 * accepted and written anew is one head that says the same. The first byte's
 * bits choose the kind of message and how it is written. */
#include "gateway/head_write.h"

#include <stdlib.h>
#include <sys/socket.h>

enum { OUT_MAX = 1 << 16 };

enum {
    CHOOSE_RESPONSE = 1,
    CHOOSE_IDENTITY = 2,
    CHOOSE_V6 = 4,
    CHOOSE_CLOSE = 8,
    CHOOSE_KEEP = 16,
    CHOOSE_SWITCH = 32,
};

static const struct gw_config limits = {
    .max_request_line_bytes = 8192,
    .max_head_bytes = 16384,
    .max_head_fields = 100,
};

/* For what sidgate wrote: its own fields come on top. */
static const struct gw_config out_limits = {
    .max_request_line_bytes = 2 * 8192,
    .max_head_bytes = OUT_MAX,
    .max_head_fields = 120,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

static bool is_same(struct eio_span a, struct eio_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The length of the head, 0 where there is none. */
static size_t find_head(struct eio_span bytes)
{
    struct gw_scan whole = {0};
    struct gw_scan pieces = {0};
    size_t head_len = 0;
    size_t len = 0;
    int again = 0;

    int status = gw_head_scan(&whole, bytes, &limits, &head_len);
    for (size_t n = 0; n <= bytes.len && again == 0 && len == 0; n++)
        again = gw_head_scan(&pieces, (struct eio_span){bytes.ptr, n}, &limits,
                             &len);
    require((status == 0) == (again == 0));
    require(len == head_len && head_len <= bytes.len);
    return status == 0 ? head_len : 0;
}

/* Lines that end in CRLF, no other control bytes but tabs; their number. */
static size_t count_lines(struct eio_span bytes)
{
    size_t lines = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        if (c == '\r') {
            require(i + 1 < bytes.len && bytes.ptr[i + 1] == '\n');
            lines++;
        } else if (c == '\n') {
            require(i > 0 && bytes.ptr[i - 1] == '\r');
        } else {
            require(c == '\t' || (c >= 0x20 && c != 0x7f));
        }
    }
    return lines;
}

/* What sidgate wrote is one head, whole, and reads back. */
static void parse_again(struct eio_span out, bool is_request,
                        struct gw_head *again)
{
    struct gw_scan scan = {0};
    size_t head_len = 0;

    require(gw_head_scan(&scan, out, &out_limits, &head_len) == 0);
    require(head_len == out.len);
    int status = is_request ? gw_head_parse_request(out, again)
                            : gw_head_parse_response(out, again);
    require(status == 0);
    require(count_lines(out) == again->field_count + 2);
}

/* Fields without a meaning of their own all pass, unless Connection names
 * them, and in their order. */
static void check_others(const struct gw_head *head,
                         const struct gw_head *again)
{
    size_t at = 0;
    for (size_t i = 0; i < head->field_count; i++) {
        const struct gw_field *field = &head->fields[i];
        if (field->kind != GW_FIELD_OTHER || field->is_dropped)
            continue;
        while (at < again->field_count &&
               !(is_same(again->fields[at].name, field->name) &&
                 is_same(again->fields[at].value, field->value)))
            at++;
        require(at < again->field_count);
        at++;
    }
}

/* At most one of each kind that frames the message or says where it goes. */
static void check_kinds(const struct gw_head *again, bool is_switch)
{
    size_t counts[GW_FIELD_HOP + 1] = {0};
    for (size_t i = 0; i < again->field_count; i++)
        counts[again->fields[i].kind]++;
    require(counts[GW_FIELD_CONTENT_LENGTH] <= 1);
    require(counts[GW_FIELD_TRANSFER_ENCODING] <= 1);
    require(counts[GW_FIELD_CONNECTION] <= 1);
    require(counts[GW_FIELD_UPGRADE] == is_switch);
    require(counts[GW_FIELD_HOP] == 0 && counts[GW_FIELD_KEEP_ALIVE] == 0);
}

/* Connection may name the fields of the handshake and so take them away; the
 * backend then refuses it. */
static bool has_lost_key(const struct gw_head *head)
{
    for (size_t i = 0; i < head->field_count; i++)
        if ((head->fields[i].kind == GW_FIELD_WS_KEY ||
             head->fields[i].kind == GW_FIELD_WS_VERSION) &&
            head->fields[i].is_dropped)
            return head->is_websocket;
    return false;
}

static void check_places(const struct gw_head *head,
                         const struct gw_request_places *places,
                         const char *out)
{
    struct eio_span path = {out + places->path.at, places->path.len};
    struct eio_span host = {out + places->host.at, places->host.len};
    struct eio_span origin = {out + places->origin.at, places->origin.len};

    require(is_same(path, head->path));
    require(is_same(host, head->host));
    require(origin.len == 0 || is_same(origin, head->origin));
}

static void check_request(const struct gw_head *head, uint8_t choice)
{
    static struct gw_head again;
    static char bytes[OUT_MAX];
    struct gw_request_places places;
    struct gw_client client = {
        .peer = {.family = choice & CHOOSE_V6 ? AF_INET6 : AF_INET,
                 .addr = {10, 1, 2}}};
    struct gw_framing framing = {.content_length = head->content_length,
                                 .is_chunked = head->is_chunked};

    const struct gw_request_form form = {.wants_identity =
                                             (choice & CHOOSE_IDENTITY) != 0};
    size_t len = gw_request_write(head, &client, &form, &places,
                                  (struct eio_span){bytes, OUT_MAX});
    require(len > 0 && len < OUT_MAX - GW_FRAMING_MAX);
    check_places(head, &places, bytes);
    len += gw_framing_write(&framing, bytes + len);
    struct eio_span out = {bytes, len};
    count_lines(out);
    if (has_lost_key(head) || head->host.len == 0)
        return;
    parse_again(out, true, &again);
    require(again.minor == 1);
    require(is_same(again.method, head->method));
    require(is_same(again.target, head->target));
    require(is_same(again.path, head->path));
    require(is_same(again.query, head->query));
    require(is_same(again.host, head->host));
    require(again.content_length == head->content_length);
    require(again.is_chunked == head->is_chunked);
    require(again.is_websocket == head->is_websocket);
    require(!again.expects_continue && !again.says_close);
    check_others(head, &again);
    check_kinds(&again, head->is_websocket);
}

static void check_response(const struct gw_head *head, uint8_t choice)
{
    static struct gw_head again;
    static char bytes[OUT_MAX];
    struct gw_reply_form form = {
        .framing = {.content_length = head->content_length,
                    .is_chunked = head->is_chunked},
        .closes = choice & CHOOSE_CLOSE,
        .keeps_alive_1_0 = choice & CHOOSE_KEEP,
        .is_switch = choice & CHOOSE_SWITCH,
    };

    size_t len =
        gw_response_write(head, &form, (struct eio_span){bytes, OUT_MAX});
    require(len > 0);
    parse_again((struct eio_span){bytes, len}, false, &again);
    require(again.minor == 1);
    require(again.status == head->status);
    require(is_same(again.reason, head->reason));
    require(again.content_length == head->content_length);
    require(again.is_chunked == head->is_chunked);
    require(again.says_close == (form.closes && !form.is_switch));
    require(again.says_upgrade == form.is_switch);
    check_others(head, &again);
    check_kinds(&again, form.is_switch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gw_head head;

    if (size == 0)
        return 0;
    bool is_request = !(data[0] & CHOOSE_RESPONSE);
    struct eio_span bytes = {(const char *)data + 1, size - 1};
    bytes.len = find_head(bytes);
    if (bytes.len == 0)
        return 0;
    int status = is_request ? gw_head_parse_request(bytes, &head)
                            : gw_head_parse_response(bytes, &head);
    if (status != 0) {
        require(is_request ? status >= 400 && status <= 505 : status == -1);
        return 0;
    }
    require(head.field_count <= limits.max_head_fields);
    if (is_request)
        check_request(&head, data[0]);
    else
        check_response(&head, data[0]);
    return 0;
}
