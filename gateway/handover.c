/* SPDX-License-Identifier: MIT */
/* How the two processes of an upgrade talk. */
#include "gateway/handover.h"
#include "gateway/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- writing ---- */

void gw_pack_free(struct gw_pack *pack)
{
    free(pack->bytes);
    *pack = (struct gw_pack){0};
}

void gw_pack_raw(struct gw_pack *pack, const void *bytes, size_t len)
{
    if (pack->has_failed || len == 0)
        return;
    if (pack->cap - pack->len < len) {
        size_t cap = pack->cap > 0 ? pack->cap : 512;
        while (cap - pack->len < len)
            cap *= 2;
        char *grown = realloc(pack->bytes, cap);
        if (grown == NULL) {
            pack->has_failed = true;
            return;
        }
        pack->bytes = grown;
        pack->cap = cap;
    }
    memcpy(pack->bytes + pack->len, bytes, len);
    pack->len += len;
}

void gw_pack_number(struct gw_pack *pack, uint64_t value)
{
    gw_pack_raw(pack, &value, sizeof(value));
}

void gw_pack_span(struct gw_pack *pack, const void *bytes, size_t len)
{
    gw_pack_number(pack, len);
    gw_pack_raw(pack, bytes, len);
}

void gw_pack_text(struct gw_pack *pack, const char *text)
{
    gw_pack_span(pack, text, strlen(text));
}

/* ---- reading ---- */

void gw_unpack_raw(struct gw_unpack *unpack, void *out, size_t len)
{
    if (unpack->has_failed || (size_t)(unpack->end - unpack->at) < len) {
        unpack->has_failed = true;
        memset(out, 0, len);
        return;
    }
    memcpy(out, unpack->at, len);
    unpack->at += len;
}

uint64_t gw_unpack_number(struct gw_unpack *unpack)
{
    uint64_t value;
    gw_unpack_raw(unpack, &value, sizeof(value));
    return value;
}

struct eio_span gw_unpack_span(struct gw_unpack *unpack)
{
    uint64_t len = gw_unpack_number(unpack);
    if (unpack->has_failed || (uint64_t)(unpack->end - unpack->at) < len) {
        unpack->has_failed = true;
        return (struct eio_span){"", 0};
    }
    struct eio_span span = {unpack->at, (size_t)len};
    unpack->at += len;
    return span;
}

void gw_unpack_text(struct gw_unpack *unpack, char *out, size_t cap)
{
    struct eio_span span = gw_unpack_span(unpack);
    if (span.len >= cap || memchr(span.ptr, '\0', span.len) != NULL) {
        unpack->has_failed = true;
        span.len = 0;
    }
    memcpy(out, span.ptr, span.len);
    out[span.len] = '\0';
}

/* ---- sending ---- */

union control {
    char bytes[CMSG_SPACE(GW_MESSAGE_FDS * sizeof(int))];
    struct cmsghdr align;
};

static void put_fds(struct msghdr *head, union control *control,
                    const struct gw_message *message)
{
    size_t len = message->fd_count * sizeof(int);
    if (len == 0)
        return;
    memset(control, 0, sizeof(*control));
    head->msg_control = control->bytes;
    head->msg_controllen = CMSG_SPACE(len);
    struct cmsghdr *part = CMSG_FIRSTHDR(head);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(part), message->fds, len);
}

enum gw_sent gw_message_send(int fd, const struct gw_message *message)
{
    union control control;
    char type = (char)message->type;
    struct iovec pieces[2] = {
        {&type, 1}, {(void *)(uintptr_t)message->bytes, message->len}};
    struct msghdr head = {.msg_iov = pieces, .msg_iovlen = 2};
    put_fds(&head, &control, message);
    for (;;) {
        if (sendmsg(fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return GW_SENT;
        if (errno == EINTR)
            continue;
        /* ETOOMANYREFS: so many descriptors are on their way already. */
        return errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS
                   ? GW_SENT_NOT_NOW
                   : GW_SENT_NEVER;
    }
}

static int wait_ms(int64_t until_ms)
{
    int64_t left = until_ms - gw_now_ms();
    if (left <= 0)
        return 0;
    return left < 1000 ? (int)left : 1000;
}

bool gw_message_send_by(int fd, const struct gw_message *message,
                        int64_t until_ms)
{
    for (;;) {
        enum gw_sent sent = gw_message_send(fd, message);
        if (sent != GW_SENT_NOT_NOW)
            return sent == GW_SENT;
        if (gw_now_ms() >= until_ms)
            return false;
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        /* Writable, and yet too many on their way: then a moment is given. */
        if (poll(&wait, 1, wait_ms(until_ms)) > 0)
            poll(NULL, 0, 1);
    }
}

bool gw_message_say(int fd, enum gw_message_type type, const char *bytes,
                    size_t len, int64_t until_ms)
{
    struct gw_message message = {
        .type = (uint8_t)type, .bytes = bytes, .len = len};
    return gw_message_send_by(fd, &message, until_ms);
}

static void take_fds(struct msghdr *head, struct gw_message *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(head); part != NULL;
         part = CMSG_NXTHDR(head, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (count > GW_MESSAGE_FDS)
            count = GW_MESSAGE_FDS;
        memcpy(message->fds, CMSG_DATA(part), count * sizeof(int));
        message->fd_count = count;
    }
}

enum gw_received gw_message_receive(int fd, struct gw_message *message,
                                    char *buffer)
{
    union control control;
    struct iovec piece = {buffer, GW_MESSAGE_MAX + 1};
    struct msghdr head = {.msg_iov = &piece,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof(control.bytes)};
    ssize_t n;
    memset(message, 0, sizeof(*message));
    do
        n = recvmsg(fd, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? GW_RECEIVED_NOTHING : GW_RECEIVED_END;
    take_fds(&head, message);
    /* Cut: out of descriptors here, or longer than any should be. */
    if (n == 0 || (head.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        gw_message_close_fds(message);
        return GW_RECEIVED_END;
    }
    message->type = (uint8_t)buffer[0];
    message->bytes = buffer + 1;
    message->len = (size_t)n - 1;
    return GW_RECEIVED;
}

bool gw_message_await(int fd, struct gw_message *message, char *buffer,
                      int64_t until_ms)
{
    for (;;) {
        enum gw_received got = gw_message_receive(fd, message, buffer);
        if (got != GW_RECEIVED_NOTHING)
            return got == GW_RECEIVED;
        if (gw_now_ms() >= until_ms)
            return false;
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        poll(&wait, 1, wait_ms(until_ms));
    }
}

void gw_message_close_fds(struct gw_message *message)
{
    for (size_t i = 0; i < message->fd_count; i++)
        close(message->fds[i]);
    message->fd_count = 0;
}

/* ---- many messages ---- */

struct bundle_head {
    size_t len;
    size_t fd_count;
    int fds[GW_MESSAGE_FDS];
    uint8_t type;
};

void gw_bundle_add(struct gw_bundle *bundle, const struct gw_message *message,
                   struct gw_pack *body)
{
    struct bundle_head head;
    memset(&head, 0, sizeof(head));
    head.len = body->len;
    head.fd_count = message->fd_count;
    head.type = message->type;
    memcpy(head.fds, message->fds, sizeof(head.fds));
    gw_pack_raw(&bundle->pack, &head, sizeof(head));
    gw_pack_raw(&bundle->pack, body->bytes, body->len);
    if (body->has_failed)
        bundle->pack.has_failed = true;
    bundle->count++;
    body->len = 0;
}

bool gw_bundle_next(const struct gw_bundle *bundle, size_t *at,
                    struct gw_message *message)
{
    struct bundle_head head;
    if (bundle->pack.len - *at < sizeof(head))
        return false;
    memcpy(&head, bundle->pack.bytes + *at, sizeof(head));
    *at += sizeof(head);
    *message = (struct gw_message){.type = head.type,
                                   .bytes = bundle->pack.bytes + *at,
                                   .len = head.len,
                                   .fd_count = head.fd_count};
    memcpy(message->fds, head.fds, sizeof(head.fds));
    *at += head.len;
    return true;
}

void gw_bundle_close_fds(const struct gw_bundle *bundle, size_t at)
{
    struct gw_message message;
    while (gw_bundle_next(bundle, &at, &message))
        gw_message_close_fds(&message);
}

static bool copy_fds(struct bundle_head *head)
{
    for (size_t i = 0; i < head->fd_count; i++) {
        int fd = fcntl(head->fds[i], F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            while (i > 0)
                close(head->fds[--i]);
            return false;
        }
        head->fds[i] = fd;
    }
    return true;
}

bool gw_bundle_copy_fds(struct gw_bundle *bundle)
{
    struct bundle_head head;
    struct gw_message message;
    size_t next = 0;
    for (size_t at = 0; gw_bundle_next(bundle, &next, &message); at = next) {
        memcpy(&head, bundle->pack.bytes + at, sizeof(head));
        if (!copy_fds(&head)) {
            struct gw_bundle copied = {
                .pack = {.bytes = bundle->pack.bytes, .len = at}};
            gw_bundle_close_fds(&copied, 0);
            return false;
        }
        memcpy(bundle->pack.bytes + at, &head, sizeof(head));
    }
    return true;
}

void gw_bundle_free(struct gw_bundle *bundle)
{
    gw_pack_free(&bundle->pack);
    bundle->count = 0;
}
