/* SPDX-License-Identifier: MIT */
/* Reading, writing and closing one socket, and what its owner hears. */
#include "tests/unit/stream_fixture.h"

Test(stream, closes_what_it_cannot_take)
{
    int ends[2];
    struct gw_worker *broken = calloc(1, sizeof(*broken));

    cr_assert_not_null(broken);
    broken->epoll_fd = -1;
    connect_pair(ends);
    cr_assert_null(gw_stream_new(broken, ends[0], count_event, NULL));
    cr_assert_eq(fcntl(ends[0], F_GETFD), -1);
    close(ends[1]);
    free(broken);
}

Test(stream, takes_a_short_read_for_the_last)
{
    begin();
    send_peer("abc");
    turn();
    cr_assert(stream->is_readable);
    cr_assert_eq(events, 2);
    check_read(64, "abc");
    cr_assert_not(stream->is_readable);
    cr_assert_eq(read_some(), GW_READ_EMPTY);
    /* what comes later raises a new edge */
    send_peer("de");
    turn();
    cr_assert(stream->is_readable);
    check_read(64, "de");
    end();
}

Test(stream, stays_readable_while_the_buffer_was_full)
{
    begin();
    send_peer("abcdef");
    turn();
    check_read(3, "abc");
    cr_assert(stream->is_readable);
    check_read(3, "def");
    cr_assert(stream->is_readable, "it cannot know yet");
    cr_assert_eq(read_some(), GW_READ_EMPTY);
    cr_assert_not(stream->is_readable);
    end();
}

Test(stream, may_be_left_unread_for_long)
{
    begin();
    send_peer("abc");
    turn();
    cr_assert_not(has_event(), "no second edge for the same bytes");
    cr_assert(stream->is_readable);
    check_read(64, "abc");
    end();
}

/* The one case in which a short read is not the last: no edge follows. */
Test(stream, reads_on_to_a_fin_that_came_with_the_bytes)
{
    begin();
    send_peer("abc");
    shutdown(peer, SHUT_WR);
    turn();
    cr_assert(stream->has_rdhup);
    check_read(64, "abc");
    cr_assert(stream->is_readable);
    cr_assert_not(stream->is_eof);
    cr_assert_eq(read_some(), 0);
    cr_assert(stream->is_eof);
    cr_assert_not(stream->is_readable);
    cr_assert_eq(read_some(), 0);
    cr_assert_not(stream->is_reset);
    end();
}

Test(stream, hears_of_a_fin_that_came_before_the_read)
{
    begin();
    send_peer("abc");
    turn();
    shutdown(peer, SHUT_WR);
    check_read(64, "abc");
    turn();
    cr_assert(stream->has_rdhup);
    cr_assert(stream->is_readable);
    cr_assert_eq(read_some(), 0);
    cr_assert(stream->is_eof);
    end();
}

Test(stream, writes_on_after_the_peers_fin)
{
    begin();
    shutdown(peer, SHUT_WR);
    turn();
    cr_assert_eq(read_some(), 0);
    gw_stream_write(stream, "still here", 10);
    cr_assert_eq(gw_stream_unsent(stream), 0);
    check_peer("still here");
    end();
}

enum { MUCH = 8 << 20 };

static char *much(void)
{
    char *bytes = malloc(MUCH);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < MUCH; i++)
        bytes[i] = (char)(i * 7 + (i >> 9));
    return bytes;
}

/* Reads until `len` bytes have come, turning the worker where none are there;
 * they must be the pattern's. */
static void drain_peer(const char *pattern, size_t len)
{
    static char bytes[65536];
    size_t got = 0;
    while (got < len) {
        ssize_t n = recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n < 0) {
            cr_assert_eq(errno, EAGAIN);
            turn();
            continue;
        }
        cr_assert_gt(n, 0);
        cr_assert_leq(got + (size_t)n, len);
        cr_assert_eq(memcmp(bytes, pattern + got, (size_t)n), 0, "at %zu", got);
        got += (size_t)n;
    }
}

Test(stream, keeps_what_the_kernel_does_not_take)
{
    char *bytes = much();
    begin();
    gw_stream_write(stream, bytes, MUCH / 2);
    cr_assert_gt(gw_stream_unsent(stream), 0);
    cr_assert_not(stream->is_writable);
    size_t unsent = gw_stream_unsent(stream);
    gw_stream_write(stream, bytes + MUCH / 2, MUCH / 2);
    cr_assert_eq(gw_stream_unsent(stream), unsent + MUCH / 2, "in order");
    events = 0;
    drain_peer(bytes, MUCH);
    cr_assert_eq(gw_stream_unsent(stream), 0);
    cr_assert_null(stream->out);
    cr_assert_gt(events, 0, "its owner hears that it went out");
    check_peer_waits();
    end();
    free(bytes);
}

Test(stream, sends_pieces_in_order_wherever_the_kernel_stops)
{
    char *bytes = much();
    begin();
    struct iovec pieces[] = {
        {bytes, 5},
        {bytes + 5, 0},
        {bytes + 5, MUCH / 2},
        {bytes + 5 + MUCH / 2, MUCH / 2 - 1000},
        {bytes + MUCH - 995, 995},
        {bytes, 0},
    };
    gw_stream_writev(stream, pieces, 6);
    cr_assert_gt(gw_stream_unsent(stream), 0);
    drain_peer(bytes, MUCH);
    cr_assert_eq(gw_stream_unsent(stream), 0);
    end();
    free(bytes);
}

Test(stream, sends_its_fin_behind_what_is_unsent)
{
    char *bytes = much();
    begin();
    gw_stream_write(stream, bytes, MUCH);
    gw_stream_shutdown(stream);
    gw_stream_shutdown(stream);
    cr_assert(stream->is_shut);
    cr_assert_not(stream->is_fin_sent);
    drain_peer(bytes, MUCH);
    cr_assert(stream->is_fin_sent);
    check_peer_eof();
    /* the other direction stays open */
    send_peer("abc");
    turn();
    check_read(64, "abc");
    end();
    free(bytes);
}

Test(stream, holds_back_while_corked)
{
    begin();
    stream->is_corked = true;
    gw_stream_write(stream, "ab", 2);
    gw_stream_write(stream, "cd", 2);
    gw_stream_shutdown(stream);
    gw_stream_flush(stream);
    gw_stream_notify(stream, EPOLLOUT);
    cr_assert_eq(gw_stream_unsent(stream), 4);
    check_peer_waits();
    gw_stream_uncork(stream);
    cr_assert_eq(gw_stream_unsent(stream), 0);
    check_peer("abcd");
    check_peer_eof();
    end();
}

Test(stream, writes_nothing_when_there_is_nothing)
{
    begin();
    gw_stream_write(stream, "", 0);
    gw_stream_write(stream, NULL, 0);
    gw_stream_flush(stream);
    gw_stream_uncork(stream);
    cr_assert_null(stream->out);
    check_peer_waits();
    end();
}

/* What came before a reset was sent for good, and is read. */
Test(stream, reads_what_came_before_a_reset)
{
    begin();
    send_peer("abc");
    reset_by_peer();
    events = 0;
    while (!stream->is_reset)
        turn();
    cr_assert_gt(events, 0);
    cr_assert(stream->is_readable);
    check_read(64, "abc");
    cr_assert_eq(read_some(), GW_READ_BROKEN);
    cr_assert(stream->is_broken);
    cr_assert_eq(read_some(), GW_READ_BROKEN);
    cr_assert_not(stream->is_eof);
    end();
}

Test(stream, drops_what_is_unsent_on_a_reset)
{
    char *bytes = much();
    begin();
    gw_stream_write(stream, bytes, MUCH);
    cr_assert_gt(gw_stream_unsent(stream), 0);
    reset_by_peer();
    while (!stream->is_reset)
        turn();
    cr_assert_eq(gw_stream_unsent(stream), 0);
    gw_stream_write(stream, bytes, MUCH);
    gw_stream_shutdown(stream);
    gw_stream_uncork(stream);
    cr_assert_eq(gw_stream_unsent(stream), 0);
    end();
    free(bytes);
}

/* Its owner is not called from within the write, but in this turn's end or
 * in the next turn. */
Test(stream, tells_of_a_write_that_failed)
{
    begin();
    reset_by_peer();
    events = 0;
    for (int i = 0; i < 3; i++)
        gw_stream_write(stream, "abc", 3);
    cr_assert(stream->is_reset);
    cr_assert_eq(events, 0);
    cr_assert_eq(worker->ready, stream);
    cr_assert_eq(gw_stream_unsent(stream), 0);
    turn();
    cr_assert_gt(events, 0);
    end();
}

/* The write takes the error away from the socket, which then reads as if its
 * peer had ended well; an answer that lasts until EOF would pass for whole. */
Test(stream, reads_no_good_end_once_a_write_met_a_reset)
{
    begin();
    send_peer("abc");
    turn();
    reset_by_peer();
    gw_stream_write(stream, "d", 1);
    cr_assert(stream->is_reset);
    check_read(64, "abc");
    turn();
    cr_assert_eq(read_some(), GW_READ_BROKEN);
    cr_assert_not(stream->is_eof);
    end();
}

Test(stream, is_called_again_once)
{
    begin();
    events = 0;
    gw_stream_again(stream);
    gw_stream_again(stream);
    turn();
    cr_assert_eq(events, 1);
    cr_assert_null(worker->ready);
    end();
}

static void close_it(struct gw_stream *which)
{
    struct gw_stream *mine = which;
    events++;
    gw_stream_close(&mine, false);
    cr_assert_null(mine);
    cr_assert_eq(which->fd, -1, "the memory lives until the turn's end");
    stream = NULL;
}

Test(stream, may_be_closed_by_its_own_event)
{
    begin();
    stream->on_event = close_it;
    send_peer("abc");
    events = 0;
    turn();
    cr_assert_eq(events, 1);
    cr_assert_null(worker->garbage);
    end();
}

Test(stream, is_not_called_once_it_is_closed)
{
    struct gw_stream *closed;

    begin();
    events = 0;
    gw_stream_again(stream);
    closed = stream;
    gw_stream_write(stream, "abc", 3);
    gw_stream_close(&stream, false);
    gw_stream_notify(closed, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLERR);
    gw_stream_again(closed);
    turn();
    cr_assert_eq(events, 0);
    cr_assert_null(worker->ready);
    cr_assert_null(worker->garbage);
    check_peer("abc");
    check_peer_eof();
    gw_stream_close(&stream, false);
    end();
}

Test(stream, resets_its_peer)
{
    char byte;
    begin();
    gw_stream_close(&stream, true);
    cr_assert_eq(recv(peer, &byte, 1, 0), -1);
    cr_assert_eq(errno, ECONNRESET);
    end();
}
