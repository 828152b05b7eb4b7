/* SPDX-License-Identifier: MIT */
/* The sid that a handshake names by a field or cookie called `io`. */
#include "gateway/hint.h"

#include "tests/unit/head_fixture.h"

#define SID  "0f8fad5b-d9cb-469f-a165-70867728950e"
#define X16  "xxxxxxxxxxxxxxxx"
#define X64  X16 X16 X16 X16
#define X256 X64 X64 X64 X64

static const struct {
    const char *fields;
    const char *sid; /* NULL: none */
} cases[] = {
    {"", NULL},
    {"Cookie: \r\n", NULL},
    {"X-Other: io=" SID "\r\n", NULL},
    /* the field */
    {"io: " SID "\r\n", SID},
    {"IO: " SID "\r\n", SID},
    {"Io:" SID "\r\n", SID},
    {"io: a b\r\n", "a b"},
    {"io:\t" SID " \t\r\n", SID},
    {"ioo: " SID "\r\n", NULL},
    {"i: " SID "\r\n", NULL},
    {"X-io: " SID "\r\n", NULL},
    {"io: 7\r\n", "7"},
    {"io: " X256 "\r\n", X256},
    {"io: " X256 "x\r\n", NULL},
    /* the cookie */
    {"Cookie: io=" SID "\r\n", SID},
    {"cookie: io=" SID "\r\n", SID},
    {"COOKIE: io=" SID ";\r\n", SID},
    {"Cookie: io=" SID "; \r\n", SID},
    {"Cookie: io=" SID " ; a=b\r\n", SID},
    {"Cookie: a=b; io=" SID "\r\n", SID},
    {"Cookie: a=b;io=" SID "\r\n", SID},
    {"Cookie: a=b;  ;;; io=" SID "; c=d\r\n", SID},
    {"Cookie: ;io=" SID "\r\n", SID},
    {"Cookie: a; io=" SID "\r\n", SID},
    {"Cookie: =; =x; io=" SID "\r\n", SID},
    {"Cookie: a=io=no; io=" SID "\r\n", SID},
    {"Cookie: a=\"x y\"; io=" SID "\r\n", SID},
    {"Cookie: io=7\r\n", "7"},
    {"Cookie: io=a=b\r\n", "a=b"},
    {"Cookie: io=" X256 "\r\n", X256},
    {"Cookie: a=" X256 X256 "; io=" SID "\r\n", SID},
    /* the first one counts */
    {"Cookie: io=one; io=two\r\n", "one"},
    {"Cookie: io=one\r\nCookie: io=two\r\n", "one"},
    {"io: one\r\nio: two\r\n", "one"},
    /* several fields */
    {"Cookie: a=b\r\nCookie: io=" SID "\r\n", SID},
    {"Cookie: \r\nX: y\r\nCookie: io=" SID "\r\n", SID},
    /* the field goes before the cookie, wherever it stands */
    {"Cookie: io=two\r\nio: one\r\n", "one"},
    {"io: one\r\nCookie: io=two\r\n", "one"},
    /* cookies of other names */
    {"Cookie: xio=" SID "\r\n", NULL},
    {"Cookie: a=b; xio=" SID "\r\n", NULL},
    {"Cookie: io2=" SID "\r\n", NULL},
    {"Cookie: io =" SID "\r\n", NULL},
    {"Cookie: IO=" SID "\r\n", NULL},
    {"Cookie: a=b, io=" SID "\r\n", NULL},
    {"Cookie: a=bio=" SID "\r\n", NULL},
    {"Set-Cookie: io=" SID "\r\n", NULL},
    {"Cookie2: io=" SID "\r\n", NULL},
    /* no value, or none that a sid could have */
    {"Cookie: io\r\n", NULL},
    {"Cookie: io=\r\n", NULL},
    {"Cookie: io=;\r\n", NULL},
    {"Cookie: io=  ; a=b\r\n", NULL},
    {"Cookie: i\r\n", NULL},
    {"Cookie: ;\r\n", NULL},
    {"Cookie: ;;;;   ;\r\n", NULL},
    {"Cookie: =\r\n", NULL},
    {"Cookie: io=" X256 "x\r\n", NULL},
    {"Cookie: io=" X256 X256 X256 "\r\n", NULL},
};

static struct parsed *parse_fields(const char *fields)
{
    char text[2048];
    int len =
        snprintf(text, sizeof(text),
                 "GET /socket.io/?EIO=4 HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
    cr_assert_lt((size_t)len, sizeof(text));
    struct parsed *parsed = parse((struct eio_span){text, (size_t)len}, true);
    cr_assert_eq(parsed->status, 0, "%s", fields);
    return parsed;
}

Test(hint, is_found_in_all_odd_forms)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct parsed *parsed = parse_fields(cases[i].fields);
        struct eio_sid sid = {0};
        bool has = gw_hint_find(&parsed->head, &sid);
        cr_expect_eq(has, cases[i].sid != NULL, "%s", cases[i].fields);
        const char *wanted = cases[i].sid != NULL ? cases[i].sid : "";
        /* What was not found leaves the sid as it was: empty. */
        cr_expect_eq(sid.len, strlen(wanted), "%s: %u bytes", cases[i].fields,
                     sid.len);
        cr_expect_eq(memcmp(sid.bytes, wanted, strlen(wanted)), 0, "%s",
                     cases[i].fields);
        parsed_free(parsed);
    }
}

/* The value of a cookie field that ends at an unreadable page. */
Test(hint, reads_no_byte_too_far)
{
    static const char full[] = "a=b; ;io=" SID " ; c";

    for (size_t len = 0; len < sizeof(full); len++) {
        struct guard guard = guard_copy(full, len);
        struct gw_head *head = calloc(1, sizeof(*head));
        struct eio_sid sid = {0};
        cr_assert_not_null(head);
        head->fields[0].name = eio_span_of("Cookie");
        head->fields[0].value = (struct eio_span){guard.bytes, len};
        head->field_count = 1;
        size_t start = strlen("a=b; ;io=");
        size_t want = len > start ? len - start : 0;
        if (want > strlen(SID))
            want = strlen(SID);
        cr_expect_eq(gw_hint_find(head, &sid), want > 0, "%zu", len);
        cr_expect_eq(sid.len, want, "%zu: %u", len, sid.len);
        free(head);
        guard_free(&guard);
    }
}
