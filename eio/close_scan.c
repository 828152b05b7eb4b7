/* SPDX-License-Identifier: MIT */
/* Looks for a close packet in payloads that pass by.
 *
 * Bodies go through in pieces of any size. What is inside a packet is skipped
 * in bulk (take_bulk, take_wrapped_bulk); the few bytes around packets go one
 * by one through take_unit, those of JSONP after its wrap is taken off. */
#include "eio/payload.h"
#include "eio/unwrap.h"

enum {
    AT_FIRST, /* nothing seen yet */
    IN_GUESS, /* digits only: a packet of V4, or a length of V3 */
    AT_GUESS, /* digits and a colon: likewise */
    V4_START, /* before a packet */
    V4_CLOSE, /* behind "1" at the start of a packet */
    V4_BODY,  /* within a packet */
    V3_LENGTH,
    V3_START,
    V3_BODY,
    BINARY_KIND,
    BINARY_LENGTH,
    BINARY_START,
    BINARY_BODY,
    OVER, /* found, or not a payload that we know */
};

enum { SEPARATOR = 0x1e, CLOSE_TYPE = '1', DIGITS_MAX = 10, LENGTH_END = 0xff };

/* How many UTF-16 units a byte of UTF-8 stands for: a character counts at its
 * first byte, one of four bytes twice. */
static unsigned units_of(unsigned char byte)
{
    if ((byte & 0xc0) == 0x80) {
        return 0;
    }
    return byte >= 0xf0 ? 2 : 1;
}

static void give_up(struct eio_close_scan *scan)
{
    scan->state = OVER;
    scan->found = false;
}

static void set_found(struct eio_close_scan *scan)
{
    scan->state = OVER;
    scan->found = true;
}

static void set_framing(struct eio_close_scan *scan, enum eio_framing plain,
                        enum eio_framing wrapped)
{
    scan->framing = (uint8_t)(scan->unwrap.state == 0 ? plain : wrapped);
}

static bool is_digit(unsigned value)
{
    return value >= '0' && value <= '9';
}

/* Adds a digit's value to a length. Too many are no length. */
static bool add_digit(struct eio_close_scan *scan, unsigned digit)
{
    scan->left = scan->left * 10 + digit;
    scan->digits++;
    return scan->digits <= DIGITS_MAX;
}

static void expect_length(struct eio_close_scan *scan, uint8_t state)
{
    scan->state = state;
    scan->left = 0;
    scan->digits = 0;
}

static void take_v4(struct eio_close_scan *scan, unsigned value)
{
    if (scan->framing == EIO_FRAMING_UNKNOWN) {
        set_framing(scan, EIO_FRAMING_V4, EIO_FRAMING_JSONP_V4);
    }
    if (value == SEPARATOR) {
        scan->state = scan->found ? OVER : V4_START;
        return;
    }
    scan->found = scan->state == V4_START && value == CLOSE_TYPE;
    scan->state = scan->found ? V4_CLOSE : V4_BODY;
}

/* Within a packet of V3, in units or in bytes. */
static void take_counted(struct eio_close_scan *scan, unsigned units,
                         bool is_binary)
{
    if (units > scan->left) {
        give_up(scan);
        return;
    }
    scan->left -= units;
    scan->state = is_binary ? BINARY_BODY : V3_BODY;
    if (scan->left == 0) {
        expect_length(scan, is_binary ? BINARY_KIND : V3_LENGTH);
    }
}

static void take_packet_start(struct eio_close_scan *scan, unsigned value,
                              unsigned units)
{
    if (scan->left == 1 && value == CLOSE_TYPE) {
        set_found(scan);
        return;
    }
    take_counted(scan, units, scan->state == BINARY_START);
}

static void take_first(struct eio_close_scan *scan, unsigned value)
{
    if (scan->framing != EIO_FRAMING_UNKNOWN) { /* the caller knows it is V4 */
        set_framing(scan, EIO_FRAMING_V4, EIO_FRAMING_JSONP_V4);
        scan->state = V4_START;
        take_v4(scan, value);
    } else if (is_digit(value)) {
        scan->state = IN_GUESS;
        scan->found = value == CLOSE_TYPE;
        add_digit(scan, value - '0');
    } else if (value == 'b') {
        take_v4(scan, value);
    } else if (value <= 1 && scan->unwrap.state == 0) {
        scan->framing = EIO_FRAMING_V3_BINARY;
        expect_length(scan, BINARY_LENGTH);
    } else {
        give_up(scan);
    }
}

static void take_guess(struct eio_close_scan *scan, unsigned value)
{
    bool is_length = is_digit(value) && add_digit(scan, value - '0');

    if (is_length || value == ':') {
        scan->found = false;
        scan->state = is_length ? IN_GUESS : AT_GUESS;
        return;
    }
    take_v4(scan, value);
}

/* A colon after digits is a length's end, unless what follows is no packet's
 * type: then it was a V4 message that looks like one. */
static void settle_guess(struct eio_close_scan *scan, unsigned value)
{
    bool is_type = (value >= '0' && value <= '6') || value == 'b';

    if (!is_type || scan->left == 0) {
        take_v4(scan, value);
        return;
    }
    set_framing(scan, EIO_FRAMING_V3_STRING, EIO_FRAMING_JSONP_V3);
    scan->state = V3_START;
    take_packet_start(scan, value, 1);
}

static void take_v3_length(struct eio_close_scan *scan, unsigned value,
                           unsigned units)
{
    if (units == 0 && scan->digits == 0) {
        return; /* the rest of the last packet's last character */
    }
    if (value == ':' && scan->left > 0) {
        scan->state = V3_START;
    } else if (!is_digit(value) || !add_digit(scan, value - '0')) {
        give_up(scan);
    }
}

static void take_binary_length(struct eio_close_scan *scan, unsigned value)
{
    if (value == LENGTH_END && scan->left > 0) {
        scan->state = BINARY_START;
    } else if (value > 9 || !add_digit(scan, value)) {
        give_up(scan);
    }
}

static void take_unit(struct eio_close_scan *scan, unsigned value,
                      unsigned units)
{
    switch (scan->state) {
    case AT_FIRST:
        take_first(scan, value);
        return;
    case IN_GUESS:
        take_guess(scan, value);
        return;
    case AT_GUESS:
        settle_guess(scan, value);
        return;
    case V3_LENGTH:
        take_v3_length(scan, value, units);
        return;
    case V3_START:
        take_packet_start(scan, value, units);
        return;
    case V3_BODY:
        take_counted(scan, units, false);
        return;
    case BINARY_KIND:
        scan->state = BINARY_LENGTH;
        if (value > 1) {
            give_up(scan);
        }
        return;
    case BINARY_LENGTH:
        take_binary_length(scan, value);
        return;
    case BINARY_START:
        take_packet_start(scan, value, 1);
        return;
    case BINARY_BODY:
        take_counted(scan, 1, true);
        return;
    default:
        take_v4(scan, value);
        return;
    }
}

static void take_wrapped(struct eio_close_scan *scan, unsigned char byte)
{
    switch (eio_unwrap_byte(&scan->unwrap, byte)) {
    case EIO_UNWRAP_NOTHING:
        return;
    case EIO_UNWRAP_BYTE:
        take_unit(scan, scan->unwrap.value,
                  units_of((unsigned char)scan->unwrap.value));
        return;
    case EIO_UNWRAP_UNIT:
        take_unit(scan, scan->unwrap.value, 1);
        return;
    case EIO_UNWRAP_END:
        scan->state = OVER;
        return;
    case EIO_UNWRAP_BAD:
        give_up(scan);
        return;
    }
}

/* How many of the bytes are whole words of ASCII and fit in `left` units. */
static size_t ascii_words(const char *bytes, size_t len, uint64_t left)
{
    size_t done = 0;
    uint64_t word = 0;

    while (len - done >= sizeof word && left - done >= sizeof word) {
        memcpy(&word, bytes + done, sizeof word);
        if (word & UINT64_C(0x8080808080808080)) {
            break;
        }
        done += sizeof word;
    }
    return done;
}

/* Skips what is certainly inside the current packet; often nothing. */
static size_t take_bulk(struct eio_close_scan *scan, const char *bytes,
                        size_t len)
{
    if (scan->state == V4_BODY) {
        const char *end = memchr(bytes, SEPARATOR, len);
        return end == NULL ? len : (size_t)(end - bytes);
    }
    /* The last unit is left to take_unit, which ends the packet. */
    if (scan->state == V3_BODY && scan->left > 1) {
        size_t count = ascii_words(bytes, len, scan->left - 1);
        scan->left -= count;
        return count;
    }
    if (scan->state == BINARY_BODY && scan->left > 1) {
        uint64_t most = scan->left - 1;
        size_t count = most < len ? (size_t)most : len;
        scan->left -= count;
        return count;
    }
    return 0;
}

/* The same within JSONP. */
static size_t take_wrapped_bulk(struct eio_close_scan *scan, const char *bytes,
                                size_t len)
{
    bool is_counted = scan->state == V3_BODY;

    if (!is_counted && scan->state != V4_BODY) {
        return 0;
    }
    if (is_counted && scan->left - 1 < len) {
        len = (size_t)(scan->left - 1);
    }
    size_t count =
        eio_unwrap_plain(&scan->unwrap, (struct eio_span){bytes, len});
    if (is_counted) {
        scan->left -= count;
    }
    return count;
}

/* Takes at least one of the bytes (there is one). Returns how many. */
static size_t take_some(struct eio_close_scan *scan, const char *bytes,
                        size_t len)
{
    unsigned char byte = (unsigned char)*bytes;
    bool is_wrap = scan->state == AT_FIRST && (byte == '_' || byte == 'd');
    bool is_wrapped = is_wrap || scan->unwrap.state != 0;
    size_t count = is_wrapped ? take_wrapped_bulk(scan, bytes, len)
                              : take_bulk(scan, bytes, len);

    if (count > 0) {
        return count;
    }
    if (is_wrapped) {
        take_wrapped(scan, byte);
    } else {
        take_unit(scan, byte, units_of(byte));
    }
    return 1;
}

void eio_close_scan_feed(struct eio_close_scan *scan, struct eio_span piece)
{
    const char *at = piece.ptr;
    size_t left = piece.len;

    while (left > 0 && scan->state != OVER) {
        size_t count = take_some(scan, at, left);
        at += count;
        left -= count;
    }
}
