/* SPDX-License-Identifier: MIT */
/* Engine.IO errors, our own and those of servers. */
#include "eio/error.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>

static bool is_unknown(int status, const char *text, bool is_netty)
{
    struct guard guard = guard_copy(text, strlen(text));
    struct eio_span body = {guard.bytes, guard.len};
    bool result = eio_is_unknown_sid(status, body, is_netty);

    guard_free(&guard);
    return result;
}

static enum eio_probe_verdict probe(int status, const char *text)
{
    struct guard guard = guard_copy(text, strlen(text));
    struct eio_span body = {guard.bytes, guard.len};
    enum eio_probe_verdict verdict = eio_probe_verdict(status, body);

    guard_free(&guard);
    return verdict;
}

Test(eio_error, texts_are_those_of_the_servers)
{
    cr_assert_str_eq(eio_error_message(EIO_ERROR_UNKNOWN_TRANSPORT),
                     "Transport unknown");
    cr_assert_str_eq(eio_error_message(EIO_ERROR_UNKNOWN_SID),
                     "Session ID unknown");
    cr_assert_str_eq(eio_error_json(EIO_ERROR_UNKNOWN_SID),
                     "{\"code\":1,\"message\":\"Session ID unknown\"}");
    cr_assert_str_eq(eio_error_json(EIO_ERROR_BAD_HANDSHAKE_METHOD),
                     "{\"code\":2,\"message\":\"Bad handshake method\"}");
    cr_assert_str_eq(eio_error_json(EIO_ERROR_BAD_REQUEST),
                     "{\"code\":3,\"message\":\"Bad request\"}");
    cr_assert_str_eq(eio_error_message(EIO_ERROR_FORBIDDEN), "Forbidden");
    cr_assert_str_eq(
        eio_error_json(EIO_ERROR_UNSUPPORTED_VERSION),
        "{\"code\":5,\"message\":\"Unsupported protocol version\"}");
}

static const char *const unknown[] = {
    "{\"code\":1,\"message\":\"Session ID unknown\"}",
    "{\"message\":\"Session ID unknown\",\"code\":1}",
    " { \"code\" : 1 , \"message\":\"x\"}",
    "{\"code\":\"1\",\"message\":\"Session ID unknown\"}",
    "{\"code\":1}",
    "{\"message\":\"\\\"\",\"code\":1}",
    "{\"message\":\"\\\\\",\"code\":1}",
    "{\"context\":{\"code\":3,\"a\":[1]},\"code\":1}",
    "\"Invalid session abc\"",
    "Invalid session abc",
    "invalid sid value: abc\n",
    "Session ID unknown",
};

static const char *const other[] = {
    "",
    "{}",
    "{",
    "{\"code\":1",
    "{\"code\":\"1",
    "{\"code\":3,\"message\":\"Bad request\"}",
    "{\"code\":10,\"message\":\"x\"}",
    "{\"code\":1.5}",
    "{\"code\":-1}",
    "{\"code\":null}",
    "{\"code\":\"1x\"}",
    "{\"code\"",
    "{\"code\":",
    "{\"message\":\"\\\"code\\\":1,\",\"code\":3}",
    "{\"message\":\"code\",\"x\":1}",
    "{\"context\":{\"code\":1},\"code\":3}",
    "{\"Code\":1}",
    "[{\"code\":1}]",
    "\"code\":1",
    "<html>Session ID unknown",
    "Session ID",
    "\"Invalid",
    "{\"message\":\"no end of a string \\",
};

Test(eio_error, unknown_sid_is_recognised)
{
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        cr_assert(is_unknown(400, unknown[i], false), "%s", unknown[i]);
        cr_assert_not(is_unknown(200, unknown[i], false), "%s", unknown[i]);
        cr_assert_not(is_unknown(403, unknown[i], true), "%s", unknown[i]);
        cr_assert_not(is_unknown(500, unknown[i], true), "%s", unknown[i]);
    }
}

Test(eio_error, other_answers_are_not_taken_for_unknown_sid)
{
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        cr_assert_not(is_unknown(400, other[i], true), "%s", other[i]);
    }
}

Test(eio_error, netty_says_it_with_an_empty_500)
{
    cr_assert(is_unknown(500, "", true));
    cr_assert_not(is_unknown(500, "", false));
    cr_assert_not(is_unknown(500, "x", true));
    cr_assert_not(is_unknown(502, "", true));
}

Test(eio_error, only_the_first_512_bytes_are_looked_at)
{
    char text[700];

    memset(text, ' ', sizeof text);
    memcpy(text + 600, "{\"code\":1}", 11);
    cr_assert_not(is_unknown(400, text, false));
    memset(text, ' ', sizeof text);
    memcpy(text + 500, "{\"code\":1}", 11);
    cr_assert(is_unknown(400, text, false));
}

Test(eio_error, probe_verdicts)
{
    cr_assert_eq(probe(500, ""), EIO_PROBE_OWNS);
    cr_assert_eq(probe(400, "{\"code\":3,\"message\":\"Bad request\"}"),
                 EIO_PROBE_OWNS);
    cr_assert_eq(probe(400, "{\"code\":1,\"message\":\"Session ID unknown\"}"),
                 EIO_PROBE_DENIES);
    cr_assert_eq(probe(500, "oops"), EIO_PROBE_UNCLEAR);
    cr_assert_eq(probe(400, ""), EIO_PROBE_UNCLEAR);
    cr_assert_eq(probe(400, "Bad Request"), EIO_PROBE_UNCLEAR);
    cr_assert_eq(probe(400, "{\"code\":5}"), EIO_PROBE_UNCLEAR);
    cr_assert_eq(probe(403, "{\"code\":1}"), EIO_PROBE_UNCLEAR);
    cr_assert_eq(probe(200, "{\"code\":1}"), EIO_PROBE_UNCLEAR);
    cr_assert_eq(probe(405, ""), EIO_PROBE_UNCLEAR);
    cr_assert_eq(probe(502, ""), EIO_PROBE_UNCLEAR);
}
