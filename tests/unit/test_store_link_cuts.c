/* SPDX-License-Identifier: MIT */
/* One good session with its bytes cut, and ended, everywhere. */
#include "tests/unit/link_fixture.h"

static const char replies[] =
    "+OK\r\n$4\r\na\r\nb\r\n:12\r\n*3\r\n$1\r\nx\r\n*1\r\n:1\r\n$-1\r\n"
    "-NOSCRIPT x\r\n-ERR e\r\n*-1\r\n$0\r\n\r\n";
static const char replies_told[] =
    "up; 1=OK; 2=a\r\nb; 3=12; 4=[3]; error(ERR e); 6=ERR e; 7=nil; 5=; ";

static void send_seven(void)
{
    static const char *const names[] = {"1", "2", "3", "4"};

    for (size_t i = 0; i < 4; i++)
        call_get(names[i]);
    call_script(0, "5");
    call_get("6");
    call_get("7");
}

static void feed(size_t from, size_t to)
{
    static const size_t setup_len = sizeof(GOOD_SETUP) - 1;

    for (size_t at = from; at < to; at++) {
        size_t len = at < setup_len ? setup_len : sizeof(replies) - 1;
        const char *bytes = at < setup_len ? GOOD_SETUP : replies;
        size_t start = at < setup_len ? at : at - setup_len;
        size_t part = to - at < len - start ? to - at : len - start;
        fake_loop_bytes(&fake, bytes + start, part);
        if (start + part == setup_len && bytes != replies)
            send_seven();
        at += part - 1;
    }
}

Test(store_link_cuts, pieces_do_not_matter)
{
    size_t len = sizeof(GOOD_SETUP) + sizeof(replies) - 2;

    for (size_t cut = 0; cut <= len; cut++) {
        begin_link(&base_options);
        feed(0, cut);
        feed(cut, len);
        expect_told(replies_told);
        close_link();
    }
    begin_link(&base_options);
    for (size_t at = 0; at < len; at++)
        feed(at, at + 1);
    expect_told(replies_told);
    close_link();
}

Test(store_link_cuts, may_end_at_every_byte)
{
    size_t len = sizeof(GOOD_SETUP) + sizeof(replies) - 2;

    for (size_t cut = 0; cut <= len; cut++) {
        begin_link(&base_options);
        feed(0, cut);
        bool was_up = told[0] != '\0';
        fake_loop_end(&fake, "gone");
        cr_expect_not_null(strstr(told, "down(gone); "));
        /* each of the seven is told once, one way or the other */
        for (char name = '1'; was_up && name <= '7'; name++) {
            char needle[] = {' ', name, '=', '\0'};
            char *at = strstr(told, needle);
            cr_assert_not_null(at, "cut %zu: %c", cut, name);
            cr_expect_null(strstr(at + 1, needle));
        }
        close_link();
        begin_link(&base_options);
        feed(0, cut);
        close_link();
    }
}
