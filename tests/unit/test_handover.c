/* SPDX-License-Identifier: MIT */
/* Messages between the two processes of an upgrade. */
#include "gateway/handover.h"
#include "gateway/server.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

static int ends[2] = {-1, -1};
static char buffer[GW_MESSAGE_MAX + 1];
static char big[GW_MESSAGE_MAX + 1];

static void setup(void)
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends),
                 0);
}

static void teardown(void)
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

TestSuite(handover, .init = setup, .fini = teardown);

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -1; /* its own */
    cr_assert_not_null(dir);
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir))
        count += one->d_name[0] != '.';
    closedir(dir);
    return count;
}

static int64_t soon(void)
{
    return gw_now_ms() + PATIENCE_MS;
}

static struct gw_unpack unpack_of(const struct gw_pack *pack)
{
    return (struct gw_unpack){pack->bytes, pack->bytes + pack->len, false};
}

/* ---- bytes ---- */

Test(handover, what_is_written_is_read)
{
    struct gw_pack pack = {0};
    char raw[5];
    char text[16];

    gw_pack_number(&pack, 0);
    gw_pack_number(&pack, UINT64_MAX);
    gw_pack_raw(&pack, "ra\0w!", 5);
    gw_pack_span(&pack, "sp\0an", 5);
    gw_pack_span(&pack, NULL, 0);
    gw_pack_text(&pack, "text");
    gw_pack_text(&pack, "");
    gw_pack_span(&pack, big, sizeof(big));
    gw_pack_number(&pack, 77);
    cr_assert_not(pack.has_failed);
    struct gw_unpack unpack = unpack_of(&pack);
    cr_expect_eq(gw_unpack_number(&unpack), 0);
    cr_expect_eq(gw_unpack_number(&unpack), UINT64_MAX);
    gw_unpack_raw(&unpack, raw, 5);
    cr_expect_eq(memcmp(raw, "ra\0w!", 5), 0);
    struct eio_span span = gw_unpack_span(&unpack);
    cr_expect(span.len == 5 && memcmp(span.ptr, "sp\0an", 5) == 0);
    cr_expect_eq(gw_unpack_span(&unpack).len, 0);
    gw_unpack_text(&unpack, text, 5); /* it fits exactly */
    cr_expect_str_eq(text, "text");
    gw_unpack_text(&unpack, text, 1);
    cr_expect_str_eq(text, "");
    cr_expect_eq(gw_unpack_span(&unpack).len, sizeof(big));
    cr_expect_eq(gw_unpack_number(&unpack), 77);
    cr_expect_not(unpack.has_failed);
    cr_expect(unpack.at == unpack.end);
    gw_pack_free(&pack);
    cr_expect(pack.bytes == NULL && pack.len == 0 && pack.cap == 0);
}

/* From any length on, all that is read is empty. */
Test(handover, short_ones_are_read_as_nothing)
{
    struct gw_pack pack = {0};

    gw_pack_number(&pack, 5);
    gw_pack_text(&pack, "text");
    gw_pack_raw(&pack, "raw", 3);
    for (size_t len = 0; len < pack.len; len++) {
        struct guard guard = guard_copy(pack.bytes, len);
        struct gw_unpack unpack = {guard.bytes, guard.bytes + len, false};
        char text[8] = "xxxxxxx";
        char raw[3] = "xx";
        uint64_t number = gw_unpack_number(&unpack);
        gw_unpack_text(&unpack, text, sizeof(text));
        gw_unpack_raw(&unpack, raw, sizeof(raw));
        cr_expect(unpack.has_failed, "%zu", len);
        cr_expect_eq(number, len < 8 ? 0 : 5, "%zu", len);
        cr_expect_str_eq(text, len < 8 + 8 + 4 ? "" : "text");
        cr_expect_eq(memcmp(raw, "\0\0\0", 3), 0);
        cr_expect_eq(gw_unpack_number(&unpack), 0, "and it stays so");
        cr_expect_eq(gw_unpack_span(&unpack).len, 0);
        guard_free(&guard);
    }
    gw_pack_free(&pack);
}

Test(handover, lengths_that_lie)
{
    static const uint64_t lens[] = {5,         1 << 20,        UINT32_MAX,
                                    INT64_MAX, UINT64_MAX - 7, UINT64_MAX};

    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct gw_pack pack = {0};
        char text[64] = "x";
        gw_pack_number(&pack, lens[i]);
        gw_pack_raw(&pack, "four", 4);
        struct guard guard = guard_copy(pack.bytes, pack.len);
        struct gw_unpack unpack = {guard.bytes, guard.bytes + guard.len, false};
        cr_expect_eq(gw_unpack_span(&unpack).len, 0);
        cr_expect(unpack.has_failed);
        unpack =
            (struct gw_unpack){guard.bytes, guard.bytes + guard.len, false};
        gw_unpack_text(&unpack, text, sizeof(text));
        cr_expect(unpack.has_failed);
        cr_expect_str_eq(text, "");
        guard_free(&guard);
        gw_pack_free(&pack);
    }
}

Test(handover, texts_that_are_none)
{
    static const struct {
        const char *bytes;
        size_t len, cap;
        bool is_good;
    } rows[] = {
        {"abc", 3, 4, true},   {"abc", 3, 3, false},   {"abc", 3, 1, false},
        {"a\0c", 3, 8, false}, {"abc\0", 4, 8, false}, {"", 0, 1, true},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gw_pack pack = {0};
        char *text = malloc(rows[i].cap);
        gw_pack_span(&pack, rows[i].bytes, rows[i].len);
        struct gw_unpack unpack = unpack_of(&pack);
        gw_unpack_text(&unpack, text, rows[i].cap);
        cr_expect_eq(unpack.has_failed, !rows[i].is_good, "row %zu", i);
        cr_expect_str_eq(text, rows[i].is_good ? rows[i].bytes : "");
        free(text);
        gw_pack_free(&pack);
    }
}

/* ---- messages ---- */

static bool is_one_file(int a, int b)
{
    off_t at = lseek(a, 0, SEEK_CUR) + 5;
    lseek(a, at, SEEK_SET);
    return lseek(b, 0, SEEK_CUR) == at;
}

Test(handover, a_message_with_descriptors)
{
    FILE *files[2] = {tmpfile(), tmpfile()};
    struct gw_message message = {.type = GW_MESSAGE_TUNNEL,
                                 .bytes = "bytes",
                                 .len = 5,
                                 .fds = {fileno(files[0]), fileno(files[1])},
                                 .fd_count = 2};
    struct gw_message got;
    int before = count_fds();

    cr_assert_eq(gw_message_send(ends[0], &message), GW_SENT);
    message.fd_count = 1;
    message.type = GW_MESSAGE_CONNECTION;
    cr_assert_eq(gw_message_send(ends[0], &message), GW_SENT);
    cr_expect_eq(count_fds(), before, "they stay the sender's");
    cr_assert_eq(gw_message_receive(ends[1], &got, buffer), GW_RECEIVED);
    cr_expect_eq(got.type, GW_MESSAGE_TUNNEL);
    cr_expect(got.len == 5 && memcmp(got.bytes, "bytes", 5) == 0);
    cr_assert_eq(got.fd_count, 2);
    cr_expect(is_one_file(fileno(files[0]), got.fds[0]));
    cr_expect(is_one_file(fileno(files[1]), got.fds[1]));
    for (size_t i = 0; i < 2; i++)
        cr_expect_neq(fcntl(got.fds[i], F_GETFD) & FD_CLOEXEC, 0);
    gw_message_close_fds(&got);
    cr_expect_eq(got.fd_count, 0);
    cr_assert_eq(gw_message_receive(ends[1], &got, buffer), GW_RECEIVED);
    cr_expect_eq(got.type, GW_MESSAGE_CONNECTION);
    cr_expect_eq(got.fd_count, 1);
    gw_message_close_fds(&got);
    cr_expect_eq(count_fds(), before);
    cr_assert_eq(gw_message_receive(ends[1], &got, buffer),
                 GW_RECEIVED_NOTHING);
    fclose(files[0]);
    fclose(files[1]);
}

Test(handover, messages_stay_apart)
{
    struct gw_message got;

    cr_assert(gw_message_say(ends[0], GW_MESSAGE_ALL, NULL, 0, soon()));
    cr_assert(gw_message_say(ends[0], GW_MESSAGE_FAILED, "why", 3, soon()));
    cr_assert(gw_message_say(ends[0], GW_MESSAGE_SESSION, big, GW_MESSAGE_MAX,
                             soon()));
    cr_assert(gw_message_await(ends[1], &got, buffer, soon()));
    cr_expect(got.type == GW_MESSAGE_ALL && got.len == 0 && got.fd_count == 0);
    cr_assert(gw_message_await(ends[1], &got, buffer, soon()));
    cr_expect_eq(got.type, GW_MESSAGE_FAILED);
    cr_expect(got.len == 3 && memcmp(got.bytes, "why", 3) == 0);
    cr_assert(gw_message_await(ends[1], &got, buffer, soon()));
    cr_expect(got.type == GW_MESSAGE_SESSION && got.len == GW_MESSAGE_MAX);
}

Test(handover, one_that_is_too_long_is_the_end)
{
    struct gw_message message = {.type = GW_MESSAGE_TUNNEL,
                                 .bytes = big,
                                 .len = GW_MESSAGE_MAX + 1,
                                 .fds = {ends[0]},
                                 .fd_count = 1};
    struct gw_message got;
    int before = count_fds();

    cr_assert_eq(gw_message_send(ends[0], &message), GW_SENT);
    cr_expect_eq(gw_message_receive(ends[1], &got, buffer), GW_RECEIVED_END);
    cr_expect_eq(got.fd_count, 0);
    cr_expect_eq(count_fds(), before);
    /* And one that no socket takes is told apart from one that has to wait. */
    char *huge = calloc(1, 64 << 20);
    message.bytes = huge;
    message.len = 64 << 20;
    cr_expect_eq(gw_message_send(ends[0], &message), GW_SENT_NEVER);
    cr_expect_not(gw_message_send_by(ends[0], &message, soon()));
    free(huge);
}

/* Not from sidgate: with more descriptors than a message has, or with nothing
 * but them. */
static void send_strange(size_t len, size_t count)
{
    char control[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct iovec piece = {big, len};
    struct msghdr head = {.msg_iov = &piece,
                          .msg_iovlen = 1,
                          .msg_control = control,
                          .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *part = CMSG_FIRSTHDR(&head);
    int fds[8];

    for (size_t i = 0; i < count; i++)
        fds[i] = ends[0];
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(part), fds, count * sizeof(int));
    cr_assert_geq(sendmsg(ends[0], &head, 0), 0);
}

Test(handover, strange_ones_leave_no_descriptor)
{
    struct gw_message got;
    int before = count_fds();

    for (size_t count = 3; count <= 8; count++) {
        send_strange(10, count);
        cr_expect_eq(gw_message_receive(ends[1], &got, buffer),
                     GW_RECEIVED_END);
        cr_expect_eq(got.fd_count, 0);
        cr_expect_eq(count_fds(), before, "%zu", count);
    }
    for (size_t count = 1; count <= 2; count++) {
        send_strange(0, count);
        cr_expect_eq(gw_message_receive(ends[1], &got, buffer),
                     GW_RECEIVED_END);
        cr_expect_eq(count_fds(), before, "%zu", count);
    }
}

/* ---- the other end ---- */

Test(handover, the_other_end_is_gone)
{
    struct gw_message message = {.type = GW_MESSAGE_ALL};
    struct gw_message got;

    cr_assert_eq(gw_message_send(ends[0], &message), GW_SENT);
    close(ends[0]);
    ends[0] = -1;
    cr_expect_eq(gw_message_receive(ends[1], &got, buffer), GW_RECEIVED,
                 "what it said before is heard");
    cr_expect_eq(gw_message_receive(ends[1], &got, buffer), GW_RECEIVED_END);
    cr_expect_not(gw_message_await(ends[1], &got, buffer, soon()));
    cr_expect_eq(gw_message_send(ends[1], &message), GW_SENT_NEVER);
    cr_expect_not(gw_message_send_by(ends[1], &message, soon()));
}

Test(handover, the_other_end_takes_nothing)
{
    struct gw_message message = {
        .type = GW_MESSAGE_SESSION, .bytes = big, .len = 50000};
    struct gw_message got;
    size_t sent = 0;

    while (gw_message_send(ends[0], &message) == GW_SENT)
        sent++;
    cr_assert_gt(sent, 0);
    cr_expect_eq(gw_message_send(ends[0], &message), GW_SENT_NOT_NOW);
    int64_t began_ms = gw_now_ms();
    cr_expect_not(gw_message_send_by(ends[0], &message, began_ms + 30));
    cr_expect_geq(gw_now_ms(), began_ms + 30);
    for (size_t i = 0; i < sent; i++)
        cr_expect_eq(gw_message_receive(ends[1], &got, buffer), GW_RECEIVED);
    cr_expect_eq(gw_message_receive(ends[1], &got, buffer),
                 GW_RECEIVED_NOTHING);
    began_ms = gw_now_ms();
    cr_expect_not(gw_message_await(ends[1], &got, buffer, began_ms + 30));
    cr_expect_geq(gw_now_ms(), began_ms + 30);
}

enum { MANY = 200 };

static void *take_many(void *arg)
{
    char *own = malloc(GW_MESSAGE_MAX + 1);
    struct gw_message got;
    size_t *count = arg;

    while (*count < MANY && gw_message_await(ends[1], &got, own, soon()) &&
           got.len == 1000 + *count && got.fd_count == 2) {
        gw_message_close_fds(&got);
        ++*count;
    }
    free(own);
    return NULL;
}

/* More than the socket holds: the sender waits for the reader. */
Test(handover, many_with_descriptors)
{
    struct gw_message message = {.type = GW_MESSAGE_TUNNEL,
                                 .bytes = big,
                                 .fds = {ends[0], ends[1]},
                                 .fd_count = 2};
    pthread_t thread;
    size_t count = 0;
    int before = count_fds();

    cr_assert_eq(pthread_create(&thread, NULL, take_many, &count), 0);
    for (size_t i = 0; i < MANY; i++) {
        message.len = 1000 + i;
        cr_assert(gw_message_send_by(ends[0], &message, soon()), "%zu", i);
    }
    pthread_join(thread, NULL);
    cr_expect_eq(count, MANY);
    cr_expect_eq(count_fds(), before);
}

/* ---- bundles ---- */

static void bundle_add(struct gw_bundle *bundle, uint8_t type, const char *text,
                       size_t fd_count)
{
    struct gw_message message = {
        .type = type, .fds = {100 + type, 200 + type}, .fd_count = fd_count};
    struct gw_pack body = {0};

    gw_pack_raw(&body, text, strlen(text));
    gw_bundle_add(bundle, &message, &body);
    cr_expect_eq(body.len, 0);
    gw_pack_free(&body);
}

static void expect_next(const struct gw_bundle *bundle, size_t *at,
                        uint8_t type, const char *text, size_t fd_count)
{
    struct gw_message message;

    cr_assert(gw_bundle_next(bundle, at, &message));
    cr_expect_eq(message.type, type);
    cr_expect(message.len == strlen(text) &&
              memcmp(message.bytes, text, message.len) == 0);
    cr_assert_eq(message.fd_count, fd_count);
    for (size_t i = 0; i < fd_count; i++)
        cr_expect_eq(message.fds[i], (int)(100 + 100 * i + type));
}

Test(handover, a_bundle_keeps_the_order)
{
    struct gw_bundle bundle = {0};
    struct gw_message message;
    size_t at = 0;

    cr_expect_not(gw_bundle_next(&bundle, &at, &message));
    bundle_add(&bundle, 1, "first", 2);
    bundle_add(&bundle, 2, "", 0);
    bundle_add(&bundle, 3, "a third one", 1);
    cr_expect_eq(bundle.count, 3);
    expect_next(&bundle, &at, 1, "first", 2);
    expect_next(&bundle, &at, 2, "", 0);
    expect_next(&bundle, &at, 3, "a third one", 1);
    cr_expect_not(gw_bundle_next(&bundle, &at, &message));
    at = 0;
    expect_next(&bundle, &at, 1, "first", 2);
    gw_bundle_free(&bundle);
    cr_expect_eq(bundle.count, 0);
    at = 0;
    cr_expect_not(gw_bundle_next(&bundle, &at, &message));
}

/* What could not be packed whole must not be sent. */
Test(handover, a_bundle_remembers_that_memory_was_short)
{
    struct gw_bundle bundle = {0};
    struct gw_message message = {.type = 1};
    struct gw_pack body = {.has_failed = true};

    gw_bundle_add(&bundle, &message, &body);
    cr_expect(bundle.pack.has_failed);
    gw_bundle_free(&bundle);
}

Test(handover, a_bundle_with_copies_of_its_descriptors)
{
    struct gw_bundle bundle = {0};
    struct gw_pack body = {0};
    struct gw_message message = {
        .type = 1, .fds = {ends[0], ends[1]}, .fd_count = 2};
    size_t at = 0;
    int before = count_fds();

    gw_bundle_add(&bundle, &message, &body);
    message.fd_count = 0;
    gw_bundle_add(&bundle, &message, &body);
    message.fd_count = 1;
    gw_bundle_add(&bundle, &message, &body);
    cr_assert(gw_bundle_copy_fds(&bundle));
    cr_expect_eq(count_fds(), before + 3);
    cr_assert(gw_bundle_next(&bundle, &at, &message));
    for (size_t i = 0; i < 2; i++) {
        cr_expect(message.fds[i] != ends[0] && message.fds[i] != ends[1]);
        cr_expect_neq(fcntl(message.fds[i], F_GETFD) & FD_CLOEXEC, 0);
    }
    gw_message_close_fds(&message);
    gw_bundle_close_fds(&bundle, at);
    cr_expect_eq(count_fds(), before);
    gw_bundle_free(&bundle);
}

/* As when the process has no more of them. */
Test(handover, copies_that_cannot_be_made)
{
    struct gw_bundle bundle = {0};
    struct gw_pack body = {0};
    struct gw_message message = {
        .type = 1, .fds = {ends[0], ends[1]}, .fd_count = 2};
    int before = count_fds();

    gw_bundle_add(&bundle, &message, &body);
    message.fds[1] = 1 << 20;
    gw_bundle_add(&bundle, &message, &body);
    cr_expect_not(gw_bundle_copy_fds(&bundle));
    cr_expect_eq(count_fds(), before);
    gw_bundle_free(&bundle);
}
