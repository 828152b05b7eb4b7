/* SPDX-License-Identifier: MIT */
/* What sidgate may send, read by the letter. */
#include "tests/fuzz/request_check.h"

#include <stdlib.h>
#include <strings.h>

static struct eio_span line_of(struct eio_span *rest)
{
    const char *end = memchr(rest->ptr, '\r', rest->len);
    harness_require(end != NULL);
    struct eio_span line = {rest->ptr, (size_t)(end - rest->ptr)};
    rest->ptr += line.len + 2;
    rest->len -= line.len + 2;
    return line;
}

static bool starts(struct eio_span span, const char *text)
{
    size_t len = strlen(text);
    return span.len >= len && memcmp(span.ptr, text, len) == 0;
}

static bool is_field(struct eio_span line, const char *name)
{
    size_t len = strlen(name);
    return line.len > len && line.ptr[len] == ':' &&
           strncasecmp(line.ptr, name, len) == 0;
}

static struct eio_span value_of(struct eio_span line)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    harness_require(colon != NULL && colon > line.ptr);
    harness_require(colon + 1 < line.ptr + line.len && colon[1] == ' ');
    return (struct eio_span){colon + 2,
                             (size_t)(line.ptr + line.len - colon - 2)};
}

/* The head's length with its empty line; 0: not whole. No line may end but by
 * CRLF, and no control byte is in it. */
static size_t head_len(struct eio_span bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        if (c == '\n') {
            harness_require(i > 0 && bytes.ptr[i - 1] == '\r');
            if (i >= 3 && bytes.ptr[i - 2] == '\n')
                return i + 1;
        } else if (c == '\r') {
            harness_require(i + 1 == bytes.len || bytes.ptr[i + 1] == '\n');
        } else {
            harness_require(c == '\t' || (c >= 0x20 && c != 0x7f));
        }
    }
    return 0;
}

struct eio_span request_field(struct eio_span head, const char *name)
{
    struct eio_span found = {NULL, 0};
    unsigned count = 0;
    line_of(&head);
    while (head.len > 2) {
        struct eio_span line = line_of(&head);
        if (!is_field(line, name))
            continue;
        found = value_of(line);
        count++;
    }
    harness_require(count <= 1);
    return found;
}

static unsigned long number_of(struct eio_span text, int base)
{
    char digits[24];
    char *end;
    harness_require(text.len > 0 && text.len < sizeof(digits));
    memcpy(digits, text.ptr, text.len);
    digits[text.len] = '\0';
    unsigned long value = strtoul(digits, &end, base);
    harness_require(*end == '\0');
    return value;
}

/* The length of a chunked body as sidgate writes it; 0: not whole. */
static size_t chunked_len(struct eio_span bytes)
{
    struct eio_span rest = bytes;
    for (;;) {
        const char *end = memmem(rest.ptr, rest.len, "\r\n", 2);
        if (end == NULL)
            return 0;
        size_t size = number_of(line_of(&rest), 16);
        if (size + 2 > rest.len)
            return 0;
        harness_require(memcmp(rest.ptr + size, "\r\n", 2) == 0);
        rest.ptr += size + 2;
        rest.len -= size + 2;
        if (size == 0)
            return (size_t)(rest.ptr - bytes.ptr);
    }
}

/* What frames the body, from a head; `*is_chunked` or a length, -1: none. */
static long framing_of(struct eio_span head, bool *is_chunked)
{
    struct eio_span length = request_field(head, "content-length");
    struct eio_span coding = request_field(head, "transfer-encoding");
    harness_require(length.ptr == NULL || coding.ptr == NULL);
    *is_chunked = coding.ptr != NULL;
    harness_require(!*is_chunked ||
                    (coding.len == 7 && memcmp(coding.ptr, "chunked", 7) == 0));
    return length.ptr != NULL ? (long)number_of(length, 10) : -1;
}

static void check_line(struct eio_span line)
{
    const char *first = memchr(line.ptr, ' ', line.len);
    const char *last = memrchr(line.ptr, ' ', line.len);
    harness_require(first != NULL && last != first && first > line.ptr);
    harness_require(memchr(first + 1, ' ', (size_t)(last - first - 1)) == NULL);
    harness_require(first[1] == '/');
    harness_require(line.ptr + line.len - last == 9 &&
                    memcmp(last, " HTTP/1.1", 9) == 0);
    harness_require(!starts(line, "CONNECT ") && !starts(line, "TRACE "));
}

bool request_is_anybodys;

/* The last Via is sidgate's, and so is all that is said of the client. */
static void check_own_fields(struct eio_span head)
{
    static const char *const never[] = {
        "keep-alive",       "te",
        "trailer",          "expect",
        "proxy-connection", "proxy-authorization",
        "forwarded",        "x-real-ip",
        "http2-settings"};
    struct eio_span rest = head;
    struct eio_span via = {NULL, 0};
    line_of(&rest);
    while (rest.len > 2) {
        struct eio_span line = line_of(&rest);
        value_of(line);
        if (is_field(line, "via"))
            via = value_of(line);
    }
    harness_require(via.len == 11 && (memcmp(via.ptr, "1.1 sidgate", 11) == 0 ||
                                      memcmp(via.ptr, "1.0 sidgate", 11) == 0));
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        harness_require(request_field(head, never[i]).ptr == NULL);
    harness_require(request_field(head, "host").ptr != NULL);
    harness_require(request_field(head, "x-forwarded-proto").len == 4);
    struct eio_span from = request_field(head, "x-forwarded-for");
    harness_require(request_is_anybodys ||
                    (from.len == 9 && memcmp(from.ptr, "127.0.0.1", 9) == 0));
}

size_t request_check(struct eio_span bytes, struct harness_request *request)
{
    bool is_chunked;
    size_t len = head_len(bytes);
    if (len == 0)
        return 0;
    struct eio_span head = {bytes.ptr, len};
    struct eio_span rest = head;
    struct eio_span line = line_of(&rest);
    check_line(line);
    check_own_fields(head);
    struct eio_span upgrade = request_field(head, "upgrade");
    struct eio_span connection = request_field(head, "connection");
    harness_require((upgrade.ptr == NULL) ==
                    (connection.ptr == NULL || connection.len == 5));
    *request = (struct harness_request){
        .head = head,
        .is_head_method = starts(line, "HEAD "),
        .is_websocket = upgrade.ptr != NULL,
        .is_handshake = starts(line, "GET /socket.io/?") &&
                        memmem(line.ptr, line.len, "sid=", 4) == NULL,
    };
    long length = framing_of(head, &is_chunked);
    struct eio_span body = {bytes.ptr + len, bytes.len - len};
    if (is_chunked) {
        size_t more = body.len > 0 ? chunked_len(body) : 0;
        return more > 0 ? len + more : 0;
    }
    if (length > 0)
        return (size_t)length <= body.len ? len + (size_t)length : 0;
    return len;
}

/* The length of the response at the start of `bytes`; 0: cut. */
static size_t response_len(struct eio_span bytes, bool is_head, int *status)
{
    bool is_chunked;
    size_t len = head_len(bytes);
    size_t seen = bytes.len < 9 ? bytes.len : 9;
    harness_require(memcmp(bytes.ptr, "HTTP/1.1 ", seen) == 0);
    if (len == 0)
        return 0;
    struct eio_span head = {bytes.ptr, len};
    harness_require(len > 13 && bytes.ptr[12] == ' ');
    *status = (int)number_of((struct eio_span){bytes.ptr + 9, 3}, 10);
    harness_require(*status >= 100 && *status <= 599);
    long length = framing_of(head, &is_chunked);
    if (*status < 200 || *status == 204)
        harness_require(length < 0 && !is_chunked);
    if (is_head || *status < 200 || *status == 204 || *status == 304)
        return len;
    struct eio_span body = {bytes.ptr + len, bytes.len - len};
    if (is_chunked) {
        size_t more = body.len > 0 ? chunked_len(body) : 0;
        return more > 0 ? len + more : 0;
    }
    if (length < 0) /* to the end, for old clients */
        return bytes.len;
    return (size_t)length <= body.len ? len + (size_t)length : 0;
}

unsigned response_check(struct eio_span bytes, const bool *is_head,
                        unsigned count)
{
    unsigned done = 0;
    while (bytes.len > 0) {
        int status = 0;
        harness_require(done < count);
        size_t len = response_len(bytes, is_head[done], &status);
        if (len == 0 || status == 101)
            return done + (status == 101);
        bytes.ptr += len;
        bytes.len -= len;
        if (status >= 200)
            done++;
    }
    return done;
}
