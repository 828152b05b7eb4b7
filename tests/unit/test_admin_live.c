/* SPDX-License-Identifier: MIT */
/* Pages that watch, over real websockets. */
#include "admin_fixture.h"

#include "gateway/admin_private.h"

#include <sys/un.h>

#define UPGRADE                                                                \
    "Host: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"     \
    "Sec-WebSocket-Version: 13\r\n"                                            \
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
#define LINE    "GET /api/v1/live HTTP/1.1\r\n"
#define OFFER   "Sec-WebSocket-Protocol: sidgate-live"
#define END     "\r\n\r\n"
#define GOOD    LINE UPGRADE OFFER END
#define TOKEN   "correct-horse-battery-staple"
#define TOKEN64 "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ"
#define READ    "a-token-that-only-reads"
#define READ64  "YS10b2tlbi10aGF0LW9ubHktcmVhZHM"

/* What one watcher gets, read as it comes. */
struct watcher {
    int fd;
    size_t len;
    char bytes[400000];
};

static struct watcher one;

static void turn(struct watcher *watcher)
{
    ssize_t got;

    uv_run(&loop, UV_RUN_NOWAIT);
    poll(NULL, 0, 1);
    if (watcher == NULL)
        return;
    got = recv(watcher->fd, watcher->bytes + watcher->len,
               sizeof(watcher->bytes) - 1 - watcher->len, MSG_DONTWAIT);
    if (got > 0)
        watcher->len += (size_t)got;
    watcher->bytes[watcher->len] = '\0';
}

static void turn_for(struct watcher *watcher, uint64_t ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000ULL;

    while (uv_hrtime() < end)
        turn(watcher);
}

/* Whether these bytes come within some seconds. */
static bool comes(struct watcher *watcher, const char *bytes, size_t len)
{
    uint64_t end = uv_hrtime() + PATIENCE_S * 1000000000ULL;

    while (uv_hrtime() < end) {
        if (memmem(watcher->bytes, watcher->len, bytes, len) != NULL)
            return true;
        turn(watcher);
    }
    return false;
}

static void open_watcher(struct watcher *watcher, const char *request)
{
    *watcher = (struct watcher){.fd = connect_plain()};
    send_text(watcher->fd, request);
    cr_assert(comes(watcher, END, 4), "no head: %s", watcher->bytes);
}

static void expect_open(struct watcher *watcher, const char *request)
{
    open_watcher(watcher, request);
    cr_assert_eq(strncmp(watcher->bytes, "HTTP/1.1 101 ", 13), 0, "%s",
                 watcher->bytes);
    cr_expect_not_null(
        strstr(watcher->bytes, "Sec-WebSocket-Protocol: sidgate-live\r\n"));
    cr_expect_null(strcasestr(watcher->bytes, "bearer"));
    cr_expect_null(strcasestr(watcher->bytes, "extensions"));
}

/* A text frame of 40 bytes begins like this. */
static bool has_message(struct watcher *watcher, const char *begin)
{
    char frame[32];

    snprintf(frame, sizeof(frame), "\x81\x28%s", begin);
    return comes(watcher, frame, strlen(frame));
}

Test(admin_live, messages_come)
{
    open_admin();
    expect_open(&one, GOOD);
    cr_expect(has_message(&one, "first 0"));
    uint64_t begun = uv_hrtime();
    cr_expect(has_message(&one, "next 1"));
    cr_expect(has_message(&one, "next 2"));
    cr_expect_geq(uv_hrtime() - begun, 1500000000ULL);
    cr_expect(live_may_write);
    close(one.fd);
    close_admin();
}

Test(admin_live, no_timer_without_watchers)
{
    open_admin();
    cr_expect_not(uv_is_active((uv_handle_t *)&admin->live));
    expect_open(&one, GOOD);
    cr_expect(has_message(&one, "first 0"));
    cr_expect(uv_is_active((uv_handle_t *)&admin->live));
    close(one.fd);
    turn_for(NULL, 2500);
    cr_expect_not(uv_is_active((uv_handle_t *)&admin->live));
    cr_expect_not(uv_is_active((uv_handle_t *)&admin->ticker));
    unsigned count = live_count;
    turn_for(NULL, 1200);
    cr_expect_eq(live_count, count);
    close_admin();
}

static const struct {
    const char *head;
    bool may_write;
} let_in[] = {
    {LINE UPGRADE OFFER ", bearer." TOKEN64 END, true},
    {LINE UPGRADE OFFER ", bearer." READ64 END, false},
    {LINE UPGRADE "Sec-WebSocket-Protocol: bearer." READ64 "\r\n" OFFER END,
     false},
    {LINE UPGRADE OFFER "\r\nAuthorization: Bearer " TOKEN END, true},
    {LINE UPGRADE OFFER "\r\nAuthorization: Bearer " READ END, false},
    {LINE UPGRADE OFFER ", bearer." TOKEN64 "\r\nOrigin: http://x" END, true},
    {"GET /api/v1/live?a=b HTTP/1.1\r\n" UPGRADE OFFER ", bearer." TOKEN64 END,
     true},
};

Test(admin_live, tokens)
{
    tokens = (struct gw_admin_tokens){TOKEN, READ};
    open_admin();
    for (size_t i = 0; i < sizeof(let_in) / sizeof(let_in[0]); i++) {
        expect_open(&one, let_in[i].head);
        cr_expect(has_message(&one, "first 0"), "%zu", i);
        cr_expect_eq(live_may_write, let_in[i].may_write, "%zu", i);
        close(one.fd);
        turn_for(NULL, 20);
    }
    close_admin();
}

/* lws itself has room for 127 bytes of subprotocols. */
Test(admin_live, the_longest_token)
{
    static const char digits[] = "eHh4";
    static char token[STORE_SECRET_MAX];
    static char request[4000];
    char encoded[700] = "";
    size_t used = 0;

    memset(token, 'x', 510);
    for (; used < 680; used += 4)
        memcpy(encoded + used, digits, 5);
    tokens.full = token;
    open_admin();
    snprintf(request, sizeof(request), LINE UPGRADE OFFER ", bearer.%s" END,
             encoded);
    expect_open(&one, request);
    cr_expect(has_message(&one, "first 0"));
    close(one.fd);
    close_admin();
}

static const struct {
    const char *head;
    const char *status;
} refused[] = {
    {LINE UPGRADE OFFER END, "401"},
    {LINE UPGRADE OFFER ", bearer." END, "401"},
    {LINE UPGRADE OFFER ", bearer." TOKEN64 "x" END, "401"},
    {LINE UPGRADE OFFER ", bearer." TOKEN END, "401"},
    {LINE UPGRADE OFFER ", bearer." TOKEN64 ", bearer." TOKEN64 END, "401"},
    {LINE UPGRADE OFFER ", bearer." TOKEN64 "\r\nAuthorization: Bearer x" END,
     "401"},
    {LINE UPGRADE OFFER "\r\nAuthorization: Basic " TOKEN END, "401"},
    {LINE UPGRADE OFFER ", bearer." TOKEN64 "\r\nOrigin: http://evil" END,
     "403"},
    {LINE UPGRADE OFFER ", bearer." TOKEN64 "\r\nOrigin: null" END, "403"},
    {LINE UPGRADE OFFER ", bearer." TOKEN64
                        "\r\nSec-Fetch-Site: cross-site" END,
     "403"},
    {LINE UPGRADE "Sec-WebSocket-Protocol: bearer." TOKEN64 END, "400"},
    {LINE UPGRADE "Sec-WebSocket-Protocol: http, bearer." TOKEN64 END, "400"},
    {LINE UPGRADE OFFER ", bearer." TOKEN64 "\r\nContent-Length: 3" END "abc",
     "400"},
    {LINE "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          "Sec-WebSocket-Version: 8\r\n"
          "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" OFFER
          ", bearer." TOKEN64 END,
     "400"},
    {LINE "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          "Sec-WebSocket-Version: 13\r\n" OFFER ", bearer." TOKEN64 END,
     "400"},
    {LINE "Host: x\r\nAuthorization: Bearer " TOKEN END, "426"},
    {"POST /api/v1/live HTTP/1.1\r\n" UPGRADE OFFER
     "\r\nAuthorization: Bearer " TOKEN END,
     "405"},
    {"GET /api/v1/live/ HTTP/1.1\r\n" UPGRADE OFFER
     "\r\nAuthorization: Bearer " TOKEN END,
     "404"},
};

Test(admin_live, refused)
{
    tokens = (struct gw_admin_tokens){TOKEN, READ};
    open_admin();
    size_t before = count_fds();
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        size_t len;
        char *bytes = exchange(refused[i].head, &len);

        cr_assert_geq(len, 12, "%zu", i);
        cr_expect_eq(strncmp(bytes + 9, refused[i].status, 3), 0, "%zu: %s", i,
                     bytes);
        cr_expect_not_null(strstr(bytes, "\r\n\r\n{\"error\":\""), "%s", bytes);
        cr_expect_not_null(strstr(bytes, "x-content-type-options: nosniff"));
        cr_expect_null(strstr(bytes, TOKEN64));
        free(bytes);
    }
    wait_for_fds(before);
    cr_expect_eq(live_count, 0);
    close_admin();
}

/* Names bound to this address, where no token is asked for. */
Test(admin_live, other_hosts)
{
    open_admin();
    expect_answer(LINE "Host: evil.example\r\nConnection: Upgrade\r\n"
                       "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" OFFER
                       "\r\nOrigin: http://evil.example" END,
                  "HTTP/1.0 403 ", "Host");
    close_admin();
}

/* lws wants "upgrade" in Connection. */
Test(admin_live, half_an_upgrade)
{
    size_t len;

    open_admin();
    char *bytes = exchange(
        LINE "Host: x\r\nConnection: close\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" OFFER END,
        &len);
    cr_expect_null(strstr(bytes, " 101 "));
    free(bytes);
    cr_expect_eq(live_count, 0);
    close_admin();
}

Test(admin_live, so_many_and_no_more)
{
    struct watcher *many = calloc(GW_ADMIN_LIVE_MAX, sizeof(*many));

    cr_assert_not_null(many);
    open_admin();
    for (size_t i = 0; i < GW_ADMIN_LIVE_MAX; i++)
        expect_open(&many[i], GOOD);
    expect_answer(GOOD, "HTTP/1.0 503 ",
                  "{\"error\":\"too many pages watch\"}");
    close(many[3].fd);
    turn_for(NULL, 50);
    expect_open(&many[3], GOOD);
    /* Others get their answers all the same, and take no watcher's place. */
    int fds[70];
    for (size_t i = 0; i < 70; i++) {
        fds[i] = connect_plain();
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    expect_answer("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ",
                  "ok");
    for (size_t i = 0; i < 70; i++)
        close(fds[i]);
    for (size_t i = 0; i < GW_ADMIN_LIVE_MAX; i++) {
        cr_expect(has_message(&many[i], "next "), "%zu", i);
        close(many[i].fd);
    }
    free(many);
    close_admin();
}

Test(admin_live, large_messages_come_whole)
{
    size_t text = 0;

    live_len = 300000;
    open_admin();
    expect_open(&one, GOOD);
    uint64_t end = uv_hrtime() + PATIENCE_S * 1000000000ULL;
    while (one.len < live_len && uv_hrtime() < end)
        turn(&one);
    turn_for(&one, 100);
    for (size_t i = 0; i < one.len; i++)
        text += one.bytes[i] == 'm';
    cr_expect_geq(text, live_len - 10);
    close(one.fd);
    close_admin();
}

Test(admin_live, slow_watchers_get_no_more_and_are_cut)
{
    live_len = 1000000;
    open_admin();
    admin->stall_ms = 1500;
    size_t before = count_fds();
    expect_open(&one, GOOD);
    turn_for(NULL, 1000);
    unsigned count = live_count;
    /* The kernel holds some; no message is made while one is not taken. */
    cr_expect_leq(count, 8);
    turn_for(NULL, 500);
    wait_for_fds(before + 1);
    cr_expect_leq(live_count, count + 4);
    close(one.fd);
    close_admin();
}

static void send_frame(int fd, unsigned char first, size_t len)
{
    unsigned char frame[8 + 4096] = {first, 0xfe, (unsigned char)(len >> 8),
                                     (unsigned char)len};

    cr_assert_leq(len, 4096);
    if (len < 126) {
        frame[1] = (unsigned char)(0x80 | len);
        cr_assert_eq(send(fd, frame, 6 + len, MSG_NOSIGNAL),
                     (ssize_t)(6 + len));
    } else {
        cr_assert_eq(send(fd, frame, 8 + len, MSG_NOSIGNAL),
                     (ssize_t)(8 + len));
    }
}

Test(admin_live, input_is_bounded)
{
    open_admin();
    for (int way = 0; way < 2; way++) {
        expect_open(&one, GOOD);
        if (way == 0) {
            send_frame(one.fd, 0x81, 3000);
            turn_for(&one, 50);
            send_frame(one.fd, 0x82, 3000);
        } else {
            for (int i = 0; i < 1000; i++)
                send_frame(one.fd, 0x81, 0);
        }
        cr_expect(comes(&one, "\x88\x02\x03\xf0", 4), "1008");
        close(one.fd);
    }
    close_admin();
}

Test(admin_live, pings_are_answered)
{
    open_admin();
    expect_open(&one, GOOD);
    send_frame(one.fd, 0x89, 5);
    cr_expect(comes(&one, "\x8a\x05", 2));
    send_frame(one.fd, 0x81, 10);
    cr_expect(has_message(&one, "next 1"));
    close(one.fd);
    close_admin();
}

Test(admin_live, broken_frames_end_it)
{
    static const char *const frames[] = {
        "\x83\x80\x01\x01\x01\x01", "\xf1\x80\x01\x01\x01\x01",
        "\x80\x80\x01\x01\x01\x01", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        "\x89\xfe\x01\x01\x01\x01"};

    open_admin();
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        size_t len;

        expect_open(&one, GOOD);
        send_text(one.fd, frames[i]);
        shutdown(one.fd, SHUT_WR);
        free(read_all(one.fd, &len));
    }
    close_admin();
}

Test(admin_live, closes_are_answered)
{
    size_t len;

    open_admin();
    expect_open(&one, GOOD);
    cr_assert_eq(send(one.fd, "\x88\x82\0\0\0\0\x03\xe8", 8, MSG_NOSIGNAL), 8);
    cr_expect(comes(&one, "\x88\x02\x03\xe8", 4));
    free(read_all(one.fd, &len));
    close_admin();
}

/* Pages turn to the process that has taken over. */
Test(admin_live, hand_over_ends_them)
{
    size_t len;

    open_admin();
    expect_open(&one, GOOD);
    int late = connect_plain();
    turn_for(&one, 50);
    gw_admin_hand_over(admin);
    cr_expect(comes(&one, "\x88\x02\x03\xe9", 4), "1001");
    send_text(late, GOOD);
    char *bytes = read_all(late, &len);
    cr_expect_eq(strncmp(bytes, "HTTP/1.0 503 ", 13), 0, "%s", bytes);
    free(bytes);
    close(one.fd);
    gw_admin_resume(admin);
    expect_open(&one, GOOD);
    cr_expect(has_message(&one, "first 0"));
    close(one.fd);
    close_admin();
}

/* One that reads nothing holds nobody up. */
Test(admin_live, hand_over_with_a_slow_one)
{
    live_len = 5000000;
    open_admin();
    size_t before = count_fds();
    expect_open(&one, GOOD);
    turn_for(NULL, 200);
    gw_admin_hand_over(admin);
    wait_for_fds(before + 1);
    close(one.fd);
    close_admin();
}

Test(admin_live, the_end_is_told)
{
    open_admin();
    expect_open(&one, GOOD);
    cr_expect(has_message(&one, "first 0"));
    close_admin();
    ssize_t got;
    while ((got = recv(one.fd, one.bytes + one.len, 1000, MSG_DONTWAIT)) > 0)
        one.len += (size_t)got;
    cr_expect_not_null(memmem(one.bytes, one.len, "\x88\x02\x03\xe9", 4));
    close(one.fd);
}

Test(admin_live, ends_in_every_state)
{
    for (int i = 0; i < 6; i++) {
        int fds[3];

        open_admin();
        live_len = 40 + (size_t)i * 500000;
        for (size_t j = 0; j < 3; j++) {
            fds[j] = connect_plain();
            send_text(fds[j], j == 0 ? LINE : GOOD);
        }
        for (int turns = 0; turns < i * 2; turns++)
            uv_run(&loop, UV_RUN_NOWAIT);
        if (i % 2 == 0)
            close(fds[2]);
        close_admin();
        close(fds[0]);
        close(fds[1]);
        if (i % 2 != 0)
            close(fds[2]);
    }
}
