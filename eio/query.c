/* SPDX-License-Identifier: MIT */
/* The query parser. It runs for every request, so a name is compared as it
 * stands first, and decoded only where it has an escape. */
#include "eio/query.h"

#include "eio/hex.h"

enum { SHORT_MAX = 9 }; /* the longest name or value that is compared */

enum param {
    PARAM_OTHER,
    PARAM_B64,
    PARAM_EIO,
    PARAM_JSONP,
    PARAM_SID,
    PARAM_TRANSPORT,
};

/* Takes the next decoded byte off a text that is not empty. A broken escape
 * gives -1, and only its '%' is taken. */
static int take_byte(struct eio_span *text)
{
    unsigned char c = (unsigned char)text->ptr[0];

    text->ptr++;
    text->len--;
    if (c == '+') {
        return ' ';
    }
    if (c != '%') {
        return c;
    }
    if (text->len < 2) {
        return -1;
    }
    int high = eio_hex_value((unsigned char)text->ptr[0]);
    int low = eio_hex_value((unsigned char)text->ptr[1]);
    if (high < 0 || low < 0) {
        return -1;
    }
    text->ptr += 2;
    text->len -= 2;
    return high << 4 | low;
}

/* Decodes a short text into `room`. One that does not fit or has a broken
 * escape comes back empty: it equals nothing that is looked for. */
static struct eio_span decode_short(struct eio_span text, char room[SHORT_MAX])
{
    size_t len = 0;

    while (text.len > 0) {
        int c = take_byte(&text);
        if (c < 0 || len == SHORT_MAX) {
            return (struct eio_span){room, 0};
        }
        room[len++] = (char)c;
    }
    return (struct eio_span){room, len};
}

static bool is_text(struct eio_span span, const char *text, size_t len)
{
    return span.len == len && memcmp(span.ptr, text, len) == 0;
}

static enum param plain_name(struct eio_span name)
{
    switch (name.len) {
    case 1:
        return name.ptr[0] == 'j' ? PARAM_JSONP : PARAM_OTHER;
    case 3:
        if (memcmp(name.ptr, "sid", 3) == 0) {
            return PARAM_SID;
        }
        if (memcmp(name.ptr, "EIO", 3) == 0) {
            return PARAM_EIO;
        }
        return memcmp(name.ptr, "b64", 3) == 0 ? PARAM_B64 : PARAM_OTHER;
    case 9:
        return memcmp(name.ptr, "transport", 9) == 0 ? PARAM_TRANSPORT
                                                     : PARAM_OTHER;
    default:
        return PARAM_OTHER;
    }
}

static enum param find_name(struct eio_span name)
{
    enum param param = plain_name(name);

    if (param != PARAM_OTHER || name.len < 3 ||
        memchr(name.ptr, '%', name.len) == NULL) {
        return param;
    }
    char room[SHORT_MAX];
    return plain_name(decode_short(name, room));
}

/* Copies what stands for itself; every character of a usual sid does. */
static size_t copy_plain(struct eio_span value, char *out)
{
    size_t max = value.len < EIO_SID_MAX ? value.len : EIO_SID_MAX;
    size_t len = 0;

    while (len < max && value.ptr[len] > '+' && value.ptr[len] < 0x7f) {
        out[len] = value.ptr[len];
        len++;
    }
    return len;
}

static enum eio_query_status read_sid(struct eio_span value,
                                      struct eio_sid *sid)
{
    size_t len = copy_plain(value, sid->bytes);

    value = (struct eio_span){value.ptr + len, value.len - len};
    while (value.len > 0) {
        int c = take_byte(&value);
        /* A broken escape is below 0x20, too. */
        if (c < 0x20 || c == 0x7f || len == EIO_SID_MAX) {
            return EIO_QUERY_BAD_SID;
        }
        sid->bytes[len++] = (char)c;
    }
    sid->len = (uint16_t)len;
    return EIO_QUERY_OK;
}

static int read_eio(struct eio_span value)
{
    char room[SHORT_MAX];
    struct eio_span text = decode_short(value, room);
    int number = 0;

    if (text.len > 2) {
        return 0;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return 0;
        }
        number = number * 10 + (text.ptr[i] - '0');
    }
    return number;
}

static enum eio_transport plain_transport(struct eio_span text)
{
    if (is_text(text, "polling", 7)) {
        return EIO_TRANSPORT_POLLING;
    }
    if (is_text(text, "websocket", 9)) {
        return EIO_TRANSPORT_WEBSOCKET;
    }
    return EIO_TRANSPORT_OTHER;
}

static enum eio_transport read_transport(struct eio_span value)
{
    enum eio_transport transport = plain_transport(value);

    if (transport != EIO_TRANSPORT_OTHER) {
        return transport;
    }
    char room[SHORT_MAX];
    return plain_transport(decode_short(value, room));
}

/* The server drops all but the digits and puts them into a script; an index
 * too large for 32 bits is no client's and becomes the largest. */
static uint32_t read_jsonp(struct eio_span value)
{
    uint64_t number = 0;

    while (value.len > 0) {
        int c = take_byte(&value);
        if (c < '0' || c > '9') {
            continue;
        }
        number = number * 10 + (unsigned)(c - '0');
        if (number > UINT32_MAX) {
            number = UINT32_MAX;
        }
    }
    return (uint32_t)number;
}

/* Reads one of the parameters that cannot fail; the first of a name counts. */
static void read_other(enum param param, struct eio_span value,
                       struct eio_query *out)
{
    switch (param) {
    case PARAM_B64:
        out->has_b64 = true;
        return;
    case PARAM_EIO:
        if (!out->has_eio) {
            out->has_eio = true;
            out->eio = read_eio(value);
        }
        return;
    case PARAM_JSONP:
        if (!out->has_jsonp) {
            out->has_jsonp = true;
            out->jsonp = read_jsonp(value);
        }
        return;
    case PARAM_TRANSPORT:
        if (!out->has_transport) {
            out->has_transport = true;
            out->transport = read_transport(value);
        }
        return;
    case PARAM_SID:
    case PARAM_OTHER:
        return;
    }
}

/* Takes the next parameter off a query that is not empty. */
static struct eio_span take_param(struct eio_span *query)
{
    const char *end = memchr(query->ptr, '&', query->len);
    struct eio_span param = *query;

    if (end == NULL) {
        *query = (struct eio_span){NULL, 0};
        return param;
    }
    param.len = (size_t)(end - query->ptr);
    query->ptr = end + 1;
    query->len -= param.len + 1;
    return param;
}

enum eio_query_status eio_query_parse(struct eio_span query,
                                      struct eio_query *out)
{
    enum eio_query_status status = EIO_QUERY_OK;
    bool has_sid = false;

    memset(out, 0, sizeof *out);
    while (query.len > 0) {
        struct eio_span name = take_param(&query);
        if (name.len == 0) {
            continue;
        }
        struct eio_span value = {name.ptr + name.len, 0};
        const char *equals = memchr(name.ptr, '=', name.len);
        if (equals != NULL) {
            size_t name_len = (size_t)(equals - name.ptr);
            value = (struct eio_span){equals + 1, name.len - name_len - 1};
            name.len = name_len;
        }
        enum param param = find_name(name);
        if (param != PARAM_SID) {
            read_other(param, value, out);
        } else if (has_sid) {
            status = EIO_QUERY_DUPLICATE_SID;
        } else {
            has_sid = true;
            status = read_sid(value, &out->sid);
        }
    }
    if (status != EIO_QUERY_OK) {
        out->sid.len = 0;
    }
    return status;
}
