/* SPDX-License-Identifier: MIT */
/* sidgate's own answers, read back as a client would. */
#include "gateway/head_write.h"
#include "tests/unit/head_fixture.h"

enum { ROOM = 1024 }; /* promised to be enough, beside the origin */

struct answer {
    struct parsed *parsed;
    struct eio_span body;
    char bytes[ROOM + 256];
    size_t len;
};

static struct answer *write_reply(const struct gw_own_reply *reply)
{
    static const struct gw_config limits = {.max_request_line_bytes = ROOM,
                                            .max_head_bytes = ROOM + 256,
                                            .max_head_fields = 100};
    struct answer *answer = calloc(1, sizeof(*answer));
    struct gw_scan scan = {0};
    size_t head_len = 0;

    cr_assert_not_null(answer);
    answer->len =
        gw_own_reply_write(reply, answer->bytes, ROOM + reply->origin.len);
    cr_assert_gt(answer->len, 0, "%d", reply->status);
    struct eio_span bytes = {answer->bytes, answer->len};
    cr_assert_eq(gw_head_scan(&scan, bytes, &limits, &head_len), 0);
    cr_assert_gt(head_len, 0);
    answer->parsed = parse((struct eio_span){bytes.ptr, head_len}, false);
    cr_assert_eq(answer->parsed->status, 0, "%d", reply->status);
    answer->body =
        (struct eio_span){bytes.ptr + head_len, bytes.len - head_len};
    return answer;
}

static void answer_free(struct answer *answer)
{
    parsed_free(answer->parsed);
    free(answer);
}

/* The value of the only field of this name; NULL where there is none. */
static struct eio_span field(const struct answer *answer, const char *name)
{
    struct eio_span value = {NULL, 0};
    const struct gw_head *head = &answer->parsed->head;

    for (size_t i = 0; i < head->field_count; i++) {
        if (!gw_span_is(head->fields[i].name, name))
            continue;
        cr_assert_null(value.ptr, "%s twice", name);
        value = head->fields[i].value;
    }
    return value;
}

static const int statuses[] = {200, 400, 405, 408, 413, 414, 426, 431,
                               500, 501, 502, 503, 504, 505, 418};

Test(own_reply, is_framed_dated_and_never_stored)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        struct gw_own_reply reply = {.status = statuses[i]};
        struct answer *answer = write_reply(&reply);
        const struct gw_head *head = &answer->parsed->head;
        cr_assert_eq(head->status, statuses[i]);
        cr_assert_gt(head->reason.len, 0);
        cr_assert_eq(head->content_length, (int64_t)answer->body.len);
        cr_assert_eq(answer->body.len == 0, statuses[i] == 200);
        cr_assert(head->has_date);
        cr_assert_not(head->says_close);
        check_span(field(answer, "cache-control"), "no-store");
        cr_assert_null(field(answer, "access-control-allow-origin").ptr);
        answer_free(answer);
    }
}

Test(own_reply, to_head_has_the_length_alone)
{
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        struct gw_own_reply reply = {.status = statuses[i]};
        struct answer *get = write_reply(&reply);
        reply.is_head = true;
        struct answer *head = write_reply(&reply);
        cr_assert_eq(head->body.len, 0);
        cr_assert_eq(head->parsed->head.content_length, (int64_t)get->body.len);
        answer_free(get);
        answer_free(head);
    }
}

Test(own_reply, says_what_becomes_of_the_connection)
{
    struct gw_own_reply reply = {.status = 400, .closes = true};
    struct answer *answer = write_reply(&reply);
    check_span(field(answer, "connection"), "close");
    answer_free(answer);

    reply = (struct gw_own_reply){.status = 400, .keeps_alive_1_0 = true};
    answer = write_reply(&reply);
    check_span(field(answer, "connection"), "keep-alive");
    answer_free(answer);

    reply = (struct gw_own_reply){.status = 426, .closes = true};
    answer = write_reply(&reply);
    cr_assert(answer->parsed->head.says_close);
    cr_assert(answer->parsed->head.says_upgrade);
    check_span(field(answer, "upgrade"), "websocket");
    check_span(field(answer, "sec-websocket-version"), "13");
    answer_free(answer);

    reply = (struct gw_own_reply){.status = 405};
    answer = write_reply(&reply);
    cr_assert_not_null(field(answer, "allow").ptr);
    answer_free(answer);
}

Test(own_reply, is_an_engine_io_error)
{
    for (int error = 0; error <= EIO_ERROR_UNSUPPORTED_VERSION; error++) {
        struct gw_own_reply reply = {.status = 400,
                                     .is_eio = true,
                                     .error = (enum eio_error)error,
                                     .origin = eio_span_of("http://o:1")};
        struct answer *answer = write_reply(&reply);
        check_span(answer->body, eio_error_json(reply.error));
        check_span(field(answer, "content-type"), "application/json");
        check_span(field(answer, "access-control-allow-origin"), "http://o:1");
        check_span(field(answer, "access-control-allow-credentials"), "true");
        check_span(field(answer, "vary"), "Origin");
        answer_free(answer);

        reply.origin.len = 0;
        reply.is_upgrade = true;
        reply.closes = true;
        answer = write_reply(&reply);
        check_span(answer->body, eio_error_message(reply.error));
        check_span(field(answer, "access-control-allow-origin"), "*");
        cr_assert_null(field(answer, "access-control-allow-credentials").ptr);
        cr_assert(answer->parsed->head.says_close);
        answer_free(answer);
    }
}

Test(own_reply, gives_nothing_where_it_does_not_fit)
{
    static const struct gw_own_reply replies[] = {
        {.status = 200},
        {.status = 426, .closes = true},
        {.status = 400, .is_eio = true, .error = EIO_ERROR_UNKNOWN_SID},
    };
    char nothing[ROOM] = "";

    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        struct answer *answer = write_reply(&replies[i]);
        for (size_t room = 0; room <= answer->len; room++) {
            struct guard guard = guard_copy(nothing, room);
            size_t len = gw_own_reply_write(&replies[i], guard.bytes, room);
            cr_assert_eq(len, room == answer->len ? room : 0, "%zu, room %zu",
                         i, room);
            guard_free(&guard);
        }
        answer_free(answer);
    }
}
