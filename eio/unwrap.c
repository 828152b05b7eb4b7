/* SPDX-License-Identifier: MIT */
/* JSONP: a JavaScript call with one string, or a form with one field. */
#include "eio/unwrap.h"

#include "eio/hex.h"

enum {
    AT_FIRST,
    IN_NAME,
    IN_INDEX,
    AT_PARENTHESIS,
    AT_QUOTE,
    IN_STRING,
    AT_ESCAPE,
    IN_HEX,
    AT_CLOSE,
    CLOSED,
    AT_EQUALS,
    IN_FORM,
    IN_PERCENT,
    AFTER_FORM,
    SINGLE_QUOTED = 0x80, /* a bit beside the state */
    AFTER_BACKSLASH = 0x80,
};

static const char call_name[] = "___eio[";

static enum eio_unwrap_result move_to(struct eio_unwrap *unwrap, unsigned state)
{
    unwrap->state = (uint8_t)(state | (unwrap->state & SINGLE_QUOTED));
    return EIO_UNWRAP_NOTHING;
}

static enum eio_unwrap_result expect(struct eio_unwrap *unwrap, bool is_right,
                                     unsigned next)
{
    return is_right ? move_to(unwrap, next) : EIO_UNWRAP_BAD;
}

static enum eio_unwrap_result take_first(struct eio_unwrap *unwrap,
                                         unsigned char byte)
{
    if (byte == 'd') {
        return move_to(unwrap, AT_EQUALS);
    }
    unwrap->count = 1;
    return expect(unwrap, byte == (unsigned char)call_name[0], IN_NAME);
}

static enum eio_unwrap_result take_name(struct eio_unwrap *unwrap,
                                        unsigned char byte)
{
    if (byte != (unsigned char)call_name[unwrap->count]) {
        return EIO_UNWRAP_BAD;
    }
    unwrap->count++;
    if (call_name[unwrap->count] == '\0') {
        return move_to(unwrap, IN_INDEX);
    }
    return EIO_UNWRAP_NOTHING;
}

static enum eio_unwrap_result take_quote(struct eio_unwrap *unwrap,
                                         unsigned char byte)
{
    if (byte == '\'') {
        unwrap->state |= SINGLE_QUOTED;
    }
    return expect(unwrap, byte == '"' || byte == '\'', IN_STRING);
}

static enum eio_unwrap_result give_byte(struct eio_unwrap *unwrap,
                                        unsigned value)
{
    unwrap->value = (uint16_t)value;
    return EIO_UNWRAP_BYTE;
}

/* Control bytes may stand raw in a JavaScript string (python-engineio leaves
 * its separators so), but for the ends of a line. */
static enum eio_unwrap_result take_string(struct eio_unwrap *unwrap,
                                          unsigned char byte)
{
    unsigned char quote = unwrap->state & SINGLE_QUOTED ? '\'' : '"';

    if (byte == '\n' || byte == '\r') {
        return EIO_UNWRAP_BAD;
    }
    if (byte == '\\') {
        return move_to(unwrap, AT_ESCAPE);
    }
    if (byte == quote) {
        move_to(unwrap, AT_CLOSE);
        return EIO_UNWRAP_END;
    }
    return give_byte(unwrap, byte);
}

static enum eio_unwrap_result take_escape(struct eio_unwrap *unwrap,
                                          unsigned char byte)
{
    static const char names[] = "bfnrtv0";
    static const char values[] = "\b\f\n\r\t\v";

    unwrap->value = 0;
    if (byte == 'u' || byte == 'x') {
        unwrap->count = byte == 'u' ? 4 : 2;
        return move_to(unwrap, IN_HEX);
    }
    if (byte == '\n' || byte == '\r') {
        return EIO_UNWRAP_BAD;
    }
    move_to(unwrap, IN_STRING);
    const char *name = byte ? strchr(names, byte) : NULL;
    return give_byte(unwrap, name ? (unsigned char)values[name - names] : byte);
}

/* Adds a digit to unwrap->value. */
static bool add_hex(struct eio_unwrap *unwrap, unsigned char byte)
{
    int digit = eio_hex_value(byte);

    unwrap->value = (uint16_t)(unwrap->value << 4 | (digit & 15));
    return digit >= 0;
}

static enum eio_unwrap_result take_hex(struct eio_unwrap *unwrap,
                                       unsigned char byte)
{
    if (!add_hex(unwrap, byte)) {
        return EIO_UNWRAP_BAD;
    }
    unwrap->count--;
    if (unwrap->count > 0) {
        return EIO_UNWRAP_NOTHING;
    }
    move_to(unwrap, IN_STRING);
    return EIO_UNWRAP_UNIT;
}

/* The client writes a line's end as a backslash and an n, after it counted
 * the packet's length; and one more backslash before such a pair that was in
 * the text already. Either way, an n after a backslash does not count. */
static enum eio_unwrap_result give_form_byte(struct eio_unwrap *unwrap,
                                             unsigned value)
{
    bool is_uncounted = value == 'n' && (unwrap->count & AFTER_BACKSLASH);

    unwrap->count = value == '\\' ? AFTER_BACKSLASH : 0;
    unwrap->state = IN_FORM;
    return is_uncounted ? EIO_UNWRAP_NOTHING : give_byte(unwrap, value);
}

static enum eio_unwrap_result take_form(struct eio_unwrap *unwrap,
                                        unsigned char byte)
{
    switch (byte) {
    case '&':
        move_to(unwrap, AFTER_FORM);
        return EIO_UNWRAP_END;
    case '%':
        unwrap->value = 0;
        return move_to(unwrap, IN_PERCENT);
    case '+':
        return give_form_byte(unwrap, ' ');
    default:
        return give_form_byte(unwrap, byte);
    }
}

static enum eio_unwrap_result take_percent(struct eio_unwrap *unwrap,
                                           unsigned char byte)
{
    if (!add_hex(unwrap, byte)) {
        return EIO_UNWRAP_BAD;
    }
    unwrap->count ^= 1;
    return unwrap->count & 1 ? EIO_UNWRAP_NOTHING
                             : give_form_byte(unwrap, unwrap->value);
}

static bool is_after_call(unsigned char byte)
{
    return byte == ';' || byte == ' ' || byte == '\r' || byte == '\n';
}

enum eio_unwrap_result eio_unwrap_byte(struct eio_unwrap *unwrap,
                                       unsigned char byte)
{
    switch (unwrap->state & ~SINGLE_QUOTED) {
    case AT_FIRST:
        return take_first(unwrap, byte);
    case IN_NAME:
        return take_name(unwrap, byte);
    case IN_INDEX:
        if (byte >= '0' && byte <= '9') {
            return EIO_UNWRAP_NOTHING;
        }
        return expect(unwrap, byte == ']', AT_PARENTHESIS);
    case AT_PARENTHESIS:
        return expect(unwrap, byte == '(', AT_QUOTE);
    case AT_QUOTE:
        return take_quote(unwrap, byte);
    case IN_STRING:
        return take_string(unwrap, byte);
    case AT_ESCAPE:
        return take_escape(unwrap, byte);
    case IN_HEX:
        return take_hex(unwrap, byte);
    case AT_CLOSE:
        return expect(unwrap, byte == ')', CLOSED);
    case CLOSED:
        return expect(unwrap, is_after_call(byte), CLOSED);
    case AT_EQUALS:
        return expect(unwrap, byte == '=', IN_FORM);
    case IN_FORM:
        return take_form(unwrap, byte);
    case IN_PERCENT:
        return take_percent(unwrap, byte);
    default: /* the form's other fields */
        return EIO_UNWRAP_NOTHING;
    }
}

static bool is_plain(char c)
{
    return c >= ' ' && c < 0x7f && c != '\\' && c != '"' && c != '\'' &&
           c != '%' && c != '&' && c != '+';
}

size_t eio_unwrap_plain(const struct eio_unwrap *unwrap, struct eio_span bytes)
{
    unsigned state = unwrap->state & ~SINGLE_QUOTED;
    bool is_inside =
        state == IN_STRING || (state == IN_FORM && unwrap->count == 0);
    size_t count = 0;

    while (is_inside && count < bytes.len && is_plain(bytes.ptr[count])) {
        count++;
    }
    return count;
}

bool eio_unwrap_is_closed(const struct eio_unwrap *unwrap)
{
    return (unwrap->state & ~SINGLE_QUOTED) == CLOSED;
}
