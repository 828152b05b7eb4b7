/* SPDX-License-Identifier: MIT */
/* Finds the open packet in what a server answers to a handshake.
 *
 * A body is looked at again from its start each time it has grown: there are
 * few of them, they mostly come in one piece, and no state is kept so. What
 * cannot become an open packet any more is BAD at once, so that ordinary
 * answers are not held back. */
#include "eio/open.h"

#include "eio/open_json.h"
#include "eio/unwrap.h"

enum { SEPARATOR = 0x1e, LENGTH_END = 0xff };

/* The packet that a V3 length announces. */
struct announced {
    size_t head;   /* bytes of the length and its marks */
    size_t length; /* UTF-16 units; bytes if is_binary */
    bool is_binary;
};

static struct eio_span from(struct eio_span span, size_t at)
{
    return (struct eio_span){span.ptr + at, span.len - at};
}

static bool is_blank(struct eio_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            return false;
        }
    }
    return true;
}

/* One packet without framing, or the first bytes of one. DONE as soon as its
 * object has ended. */
static enum eio_result check_packet(struct eio_span packet,
                                    struct eio_span *json)
{
    if (packet.len == 0) {
        return EIO_MORE;
    }
    if (packet.ptr[0] != '0') {
        return EIO_BAD;
    }
    enum eio_result result = eio_open_json_measure(from(packet, 1), json);
    if (result == EIO_DONE && !is_blank(from(packet, 1 + json->len))) {
        return EIO_BAD;
    }
    return result;
}

static enum eio_result read_json(struct eio_span json, enum eio_framing framing,
                                 struct eio_open *out)
{
    if (!eio_open_json_read(json, out)) {
        return EIO_BAD;
    }
    out->framing = framing;
    return EIO_DONE;
}

static enum eio_result find_v4(struct eio_span body, struct eio_open *out)
{
    const char *end = memchr(body.ptr, SEPARATOR, body.len);
    struct eio_span packet = body;
    struct eio_span json;

    if (end != NULL) {
        packet.len = (size_t)(end - body.ptr);
    }
    enum eio_result result = check_packet(packet, &json);
    if (result == EIO_MORE && end != NULL) {
        return EIO_BAD;
    }
    return result == EIO_DONE ? read_json(json, EIO_FRAMING_V4, out) : result;
}

/* The number of bytes that the first `units` UTF-16 units of UTF-8 take, the
 * whole last character included. MORE if the text is shorter, BAD if the
 * number ends within a character. */
static enum eio_result measure_units(struct eio_span text, size_t units,
                                     size_t *len)
{
    size_t at = 0;

    while (at < text.len) {
        unsigned char c = (unsigned char)text.ptr[at];
        size_t count = c >= 0xf0 ? 2 : 1;
        if ((c & 0xc0) == 0x80) {
            count = 0;
        } else if (units == 0) {
            break;
        }
        if (count > units) {
            return EIO_BAD;
        }
        units -= count;
        at++;
    }
    *len = at;
    return units == 0 ? EIO_DONE : EIO_MORE;
}

static enum eio_result measure_packet(struct eio_span text,
                                      const struct announced *packet,
                                      size_t *len)
{
    if (!packet->is_binary) {
        return measure_units(text, packet->length, len);
    }
    *len = packet->length < text.len ? packet->length : text.len;
    return packet->length <= text.len ? EIO_DONE : EIO_MORE;
}

/* What stands behind a packet must be the start of another one's length. */
static bool is_v3_start(struct eio_span rest, bool is_binary)
{
    if (rest.len == 0) {
        return true;
    }
    char c = rest.ptr[0];
    return is_binary ? c == 0 || c == 1 : c >= '1' && c <= '9';
}

static enum eio_result find_announced(struct eio_span body,
                                      const struct announced *announced,
                                      struct eio_open *out)
{
    struct eio_span packet = from(body, announced->head);
    struct eio_span json;
    size_t len = 0;

    enum eio_result whole = measure_packet(packet, announced, &len);
    if (whole == EIO_BAD) {
        return EIO_BAD;
    }
    struct eio_span rest = from(packet, len);
    packet.len = len;
    enum eio_result result = check_packet(packet, &json);
    if (result == EIO_BAD || whole == EIO_MORE) {
        return result == EIO_BAD ? EIO_BAD : EIO_MORE;
    }
    if (result == EIO_MORE || !is_v3_start(rest, announced->is_binary)) {
        return EIO_BAD;
    }
    return read_json(json,
                     announced->is_binary ? EIO_FRAMING_V3_BINARY
                                          : EIO_FRAMING_V3_STRING,
                     out);
}

/* Reads the length at `announced->head`, which is moved behind its end mark.
 * MORE if that is not there yet. */
static enum eio_result read_length(struct eio_span body,
                                   struct announced *announced)
{
    unsigned char zero = announced->is_binary ? 0 : '0';
    unsigned char end = announced->is_binary ? LENGTH_END : ':';

    while (announced->head < body.len) {
        unsigned char c = (unsigned char)body.ptr[announced->head];
        announced->head++;
        if (c == end) {
            return announced->length > 0 ? EIO_DONE : EIO_BAD;
        }
        if (c < zero || c > zero + 9) {
            return EIO_BAD;
        }
        announced->length = announced->length * 10 + (c - zero);
        if (announced->length == 0 || announced->length > EIO_OPEN_PREFIX_MAX) {
            return EIO_BAD;
        }
    }
    return EIO_MORE;
}

static enum eio_result find_v3(struct eio_span body, bool is_binary,
                               struct eio_open *out)
{
    struct announced announced = {
        .head = is_binary ? 1 : 0, /* the mark of a string packet */
        .is_binary = is_binary,
    };
    enum eio_result result = read_length(body, &announced);

    return result == EIO_DONE ? find_announced(body, &announced, out) : result;
}

static enum eio_result find_plain(struct eio_span body, struct eio_open *out)
{
    if (body.len == 0) {
        return EIO_MORE;
    }
    switch (body.ptr[0]) {
    case '0':
        return find_v4(body, out);
    case 0:
        return find_v3(body, true, out);
    default:
        return find_v3(body, false, out);
    }
}

/* Text that comes out of a JavaScript string. Surrogates come one by one: a
 * high one waits here for its other half. */
struct js_text {
    size_t len;
    unsigned high;
    char bytes[EIO_OPEN_PREFIX_MAX];
};

enum { NO_CHARACTER = 0xfffd }; /* U+FFFD stands for half a pair */

static void add_bytes(struct js_text *text, const unsigned char *bytes,
                      size_t count)
{
    /* Never too long: every escape is longer than what it stands for. */
    if (count <= sizeof text->bytes - text->len) {
        memcpy(text->bytes + text->len, bytes, count);
        text->len += count;
    }
}

static void add_code_point(struct js_text *text, unsigned code)
{
    unsigned char bytes[4];
    size_t count = 0;

    if (code < 0x80) {
        bytes[count++] = (unsigned char)code;
    } else if (code < 0x800) {
        bytes[count++] = (unsigned char)(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        bytes[count++] = (unsigned char)(0xe0 | code >> 12);
    } else {
        bytes[count++] = (unsigned char)(0xf0 | code >> 18);
        bytes[count++] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
    }
    if (code >= 0x800) {
        bytes[count++] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
    }
    if (code >= 0x80) {
        bytes[count++] = (unsigned char)(0x80 | (code & 0x3f));
    }
    add_bytes(text, bytes, count);
}

static void flush_high(struct js_text *text)
{
    if (text->high != 0) {
        text->high = 0;
        add_code_point(text, NO_CHARACTER);
    }
}

static void add_unit(struct js_text *text, unsigned unit)
{
    bool is_low = (unit & 0xfc00) == 0xdc00;

    if (is_low && text->high != 0) {
        unsigned high = text->high & 0x3ff;
        text->high = 0;
        add_code_point(text, 0x10000 + (high << 10 | (unit & 0x3ff)));
        return;
    }
    flush_high(text);
    if ((unit & 0xfc00) == 0xd800) {
        text->high = unit;
        return;
    }
    add_code_point(text, is_low ? NO_CHARACTER : unit);
}

/* Takes the wrap off. DONE: the call is whole, MORE: it may go on. */
static enum eio_result unwrap_text(struct eio_span body, struct js_text *text,
                                   bool *has_ended)
{
    struct eio_unwrap unwrap = {.state = 0};

    for (size_t i = 0; i < body.len; i++) {
        unsigned char byte;
        switch (eio_unwrap_byte(&unwrap, (unsigned char)body.ptr[i])) {
        case EIO_UNWRAP_NOTHING:
            break;
        case EIO_UNWRAP_BYTE:
            byte = (unsigned char)unwrap.value;
            flush_high(text);
            add_bytes(text, &byte, 1);
            break;
        case EIO_UNWRAP_UNIT:
            add_unit(text, unwrap.value);
            break;
        case EIO_UNWRAP_END:
            flush_high(text);
            *has_ended = true;
            break;
        case EIO_UNWRAP_BAD:
            return EIO_BAD;
        }
    }
    return eio_unwrap_is_closed(&unwrap) ? EIO_DONE : EIO_MORE;
}

static enum eio_result find_jsonp(struct eio_span body, bool is_whole,
                                  struct eio_open *out)
{
    struct js_text text;
    bool has_ended = false;

    text.len = 0;
    text.high = 0;
    enum eio_result call = unwrap_text(body, &text, &has_ended);
    if (call == EIO_BAD || (call == EIO_MORE && is_whole)) {
        return EIO_BAD;
    }
    /* There is no binary payload in a string. */
    if (text.len > 0 && text.bytes[0] == 0) {
        return EIO_BAD;
    }
    enum eio_result result =
        find_plain((struct eio_span){text.bytes, text.len}, out);
    if (result == EIO_DONE) {
        out->framing = out->framing == EIO_FRAMING_V4 ? EIO_FRAMING_JSONP_V4
                                                      : EIO_FRAMING_JSONP_V3;
    }
    return result == EIO_MORE && has_ended ? EIO_BAD : result;
}

enum eio_result eio_open_find(struct eio_span body, bool is_whole,
                              struct eio_open *out)
{
    bool is_all_we_see = is_whole;

    if (body.len >= EIO_OPEN_PREFIX_MAX) {
        is_whole = is_whole && body.len == EIO_OPEN_PREFIX_MAX;
        is_all_we_see = true;
        body.len = EIO_OPEN_PREFIX_MAX;
    }
    bool is_jsonp = body.len > 0 && body.ptr[0] == '_';
    enum eio_result result =
        is_jsonp ? find_jsonp(body, is_whole, out) : find_plain(body, out);
    return result == EIO_MORE && is_all_we_see ? EIO_BAD : result;
}

enum eio_result eio_open_parse(struct eio_span packet, struct eio_open *out)
{
    struct eio_span json;

    if (packet.len > EIO_OPEN_PREFIX_MAX ||
        check_packet(packet, &json) != EIO_DONE) {
        return EIO_BAD;
    }
    return read_json(json, EIO_FRAMING_UNKNOWN, out);
}
