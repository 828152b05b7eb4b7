/* SPDX-License-Identifier: MIT */
/* What `sidgate doctor` understands, and what it makes of it. */
#include "gateway/doctor_private.h"
#include "gateway/server.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
    const char *url;
    const char *host;
    const char *port;
    const char *path;
    bool is_tls;
} urls[] = {
    {"http://example.com", "example.com", "80", "/socket.io/", false},
    {"http://example.com/", "example.com", "80", "/socket.io/", false},
    {"HTTPS://example.com:8443/v2/socket.io/?a=b", "example.com", "8443",
     "/v2/socket.io/", true},
    {"ws://[::1]:81/x#y", "::1", "81", "/x", false},
    {"wss://[2001:db8::1]", "2001:db8::1", "443", "/socket.io/", true},
};

Test(doctor, reads_urls)
{
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct doctor doctor = {.eio = 4};

        cr_assert(doctor_set_url(&doctor, urls[i].url), "%s", urls[i].url);
        cr_expect_str_eq(doctor.host, urls[i].host);
        cr_expect_str_eq(doctor.port, urls[i].port);
        cr_expect_str_eq(doctor.path, urls[i].path);
        cr_expect_eq(doctor.is_tls, urls[i].is_tls);
    }
}

Test(doctor, refuses_what_is_no_url)
{
    static const char *const wrong[] = {
        "",          "example.com",        "ftp://x",      "http://",
        "http://:1", "http://x:",          "http://x:a",   "http://x:123456",
        "http:///p", "http://u@x/",        "http://x/a b", "http://x/\r\n",
        "http://[]", "http://x/\x80utf-8",
    };
    char long_url[600] = "http://x/";
    struct doctor doctor;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_expect_not(doctor_set_url(&doctor, wrong[i]), "%s", wrong[i]);
    memset(long_url + 9, 'a', sizeof(long_url) - 10);
    cr_expect_not(doctor_set_url(&doctor, long_url));
}

/* ---- what comes over the wire ---- */

static struct doctor_conn conn;
static struct doctor_answer answer;
static int peer;

enum { SOON_MS = 5000, NEVER_MS = 30 };

/* What does not come is not waited for long. */
static int64_t until(bool is_whole)
{
    return gw_now_ms() + (is_whole ? SOON_MS : NEVER_MS);
}

static void connect_pair(void)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    conn = (struct doctor_conn){.fd = fds[0]};
    peer = fds[1];
}

static void say(const char *text, size_t len, bool closes)
{
    cr_assert_eq(write(peer, text, len), (ssize_t)len);
    if (closes)
        close(peer);
}

static enum doctor_io hear(const char *text, bool closes)
{
    bool is_whole = closes || strstr(text, "\r\n\r\n") != NULL;

    connect_pair();
    say(text, strlen(text), closes);
    enum doctor_io io = doctor_receive(&conn, &answer, until(is_whole));
    doctor_close(&conn);
    if (!closes)
        close(peer);
    return io;
}

Test(doctor, reads_answers)
{
    cr_expect_eq(hear("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
                 DOCTOR_IO_OK);
    cr_expect_eq(answer.status, 200);
    cr_expect_str_eq(answer.body, "ok");
    cr_expect(answer.keeps_alive);
    cr_expect_eq(hear("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 400 no\r\n"
                      "Set-Cookie: a=b; Path=/\r\nset-cookie: c=d\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                      false),
                 DOCTOR_IO_OK);
    cr_expect_eq(answer.status, 400);
    cr_expect_str_eq(answer.body, "x");
    cr_expect_str_eq(answer.cookies, "a=b; c=d");
    cr_expect_eq(hear("HTTP/1.0 200 OK\r\n\r\nto the end", true), DOCTOR_IO_OK);
    cr_expect_str_eq(answer.body, "to the end");
}

Test(doctor, tells_what_is_no_answer)
{
    cr_expect_eq(hear("SSH-2.0-OpenSSH\r\n", false), DOCTOR_IO_JUNK);
    cr_expect_eq(hear("", true), DOCTOR_IO_CLOSED);
    cr_expect_eq(hear("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", true),
                 DOCTOR_IO_CLOSED);
    cr_expect_eq(hear("HTTP/1.1 200 OK\r\n", false), DOCTOR_IO_TIMEOUT);
}

Test(doctor, a_body_has_its_bound)
{
    static char text[3 * DOCTOR_BODY_MAX];
    size_t head =
        (size_t)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n\r\n");

    memset(text + head, 'x', sizeof(text) - head);
    connect_pair();
    say(text, sizeof(text), true);
    cr_expect_eq(doctor_receive(&conn, &answer, until(true)), DOCTOR_IO_OK);
    cr_expect_eq(answer.len, sizeof(answer.body) - 1);
    doctor_close(&conn);
}

static enum doctor_io frame(const char *bytes, size_t len, char *out,
                            size_t cap)
{
    connect_pair();
    say(bytes, len, false);
    enum doctor_io io = doctor_frame(&conn, out, cap, until(len != 3));
    doctor_close(&conn);
    close(peer);
    return io;
}

Test(doctor, reads_frames)
{
    char text[8];

    cr_expect_eq(frame("\x89\x01p\x81\x06"
                       "3probe",
                       11, text, sizeof(text)),
                 DOCTOR_IO_OK);
    cr_expect_str_eq(text, "3probe");
    cr_expect_eq(frame("\x81\x09"
                       "too long!",
                       11, text, sizeof(text)),
                 DOCTOR_IO_OK);
    cr_expect_str_eq(text, "too lon");
    cr_expect_eq(frame("\x88\x00", 2, text, sizeof(text)), DOCTOR_IO_CLOSED);
    cr_expect_eq(frame("\x81\x05x", 3, text, sizeof(text)), DOCTOR_IO_TIMEOUT);
    /* One of 64 bits of length, or masked, or larger than the buffer. */
    cr_expect_eq(frame("\x81\x7f", 2, text, sizeof(text)), DOCTOR_IO_JUNK);
    cr_expect_eq(frame("\x81\x81", 2, text, sizeof(text)), DOCTOR_IO_JUNK);
    cr_expect_eq(frame("\x81\x7e\xff\xff", 4, text, sizeof(text)),
                 DOCTOR_IO_JUNK);
}

/* A server that never stops must not keep the doctor for ever. */
Test(doctor, endless_talk_ends_with_its_time)
{
    static const char ping[] = "\x89\x01p";
    char text[8];

    connect_pair();
    for (int i = 0; i < 100; i++)
        say(ping, sizeof(ping) - 1, i == 99);
    cr_expect_eq(doctor_frame(&conn, text, sizeof(text), gw_now_ms()),
                 DOCTOR_IO_TIMEOUT);
    doctor_close(&conn);
    connect_pair();
    for (int i = 0; i < 100; i++)
        say("HTTP/1.1 102 x\r\n\r\n", 18, i == 99);
    cr_expect_eq(doctor_receive(&conn, &answer, gw_now_ms()),
                 DOCTOR_IO_TIMEOUT);
    doctor_close(&conn);
}

/* ---- the verdict ---- */

static struct doctor asked;
static struct doctor_report report;
static struct doctor_finding findings[DOCTOR_FINDINGS_MAX];

static void set(enum doctor_check_name name, unsigned tried, unsigned unknown)
{
    report.checks[name] = (struct doctor_check){
        .tried = tried, .good = tried - unknown, .unknown = unknown};
}

static void begin(void)
{
    memset(&asked, 0, sizeof(asked));
    memset(&report, 0, sizeof(report));
    report.doctor = &asked;
    report.has_polls = true;
    report.open.upgrades_websocket = true;
    report.open.ping_interval_ms = 1000;
    for (int i = 0; i < DOCTOR_CHECKS; i++)
        if (i != DOCTOR_COOKIE)
            set((enum doctor_check_name)i, 10, 0);
    report.checks[DOCTOR_IDLE_POLL].lived_ms = 1000;
    report.checks[DOCTOR_IDLE_WEBSOCKET].lived_ms = 1000;
}

static void fail(enum doctor_check_name name, enum doctor_fate fate)
{
    report.checks[name].good = 0;
    report.checks[name].stripped = fate == DOCTOR_STRIPPED ? 10 : 0;
    report.checks[name].last.fate = fate;
    report.checks[name].cut_ms = 400;
}

static void expect(const char *codes)
{
    unsigned count = doctor_judge(&report, findings);
    char got[256] = "";

    for (unsigned i = 0; i < count; i++) {
        size_t used = strlen(got);
        snprintf(got + used, sizeof(got) - used, "%s%s ",
                 findings[i].words->is_error ? "" : "(note) ",
                 findings[i].words->code);
    }
    cr_expect_str_eq(got, codes);
}

static void expect_text(const char *text)
{
    cr_expect_neq(strstr(findings[0].text, text), NULL, "%s: %s", text,
                  findings[0].text);
}

Test(doctor, verdicts, .init = begin)
{
    expect("");
    set(DOCTOR_CHANGED, 10, 6);
    expect("ip-hash ");
    asked.pretends = true;
    expect("ip-hash ");
    expect_text("X-Forwarded-For");
    begin();
    set(DOCTOR_AT_ONCE, 10, 1);
    expect("late ");
    begin();
    set(DOCTOR_UPGRADE, 10, 4);
    expect("upgrade-elsewhere ");
    begin();
    set(DOCTOR_UPGRADE_CHANGED, 10, 4);
    expect("ip-hash ");
    begin();
    report.repeated = 3;
    expect("handshake-cached ");
}

/* By the share of right ones, and where they are. */
Test(doctor, verdicts_on_strays, .init = begin)
{
    const enum doctor_check_name spread[] = {
        DOCTOR_NEW, DOCTOR_CHANGED, DOCTOR_UPGRADE, DOCTOR_UPGRADE_CHANGED};

    for (size_t i = 0; i < 4; i++)
        set(spread[i], 30, 20);
    report.checks[DOCTOR_NEW].mixed = 5;
    set(DOCTOR_KEPT, 10, 6);
    expect("no-affinity ");
    expect_text("looks like about 3 servers");
    /* Half-way between two servers by chance and two balancers that learn. */
    for (size_t i = 0; i < 4; i++)
        set(spread[i], 30, 13);
    expect("no-affinity ");
    for (size_t i = 0; i < 4; i++)
        set(spread[i], 30, 12);
    expect("partly ");
    for (size_t i = 0; i < 4; i++)
        set(spread[i], 30, 20);
    set(DOCTOR_KEPT, 10, 0);
    expect("by-connection ");
    expect_text("none of 10");
    set(DOCTOR_COOKIE, 10, 0);
    expect("cookie-only ");
    set(DOCTOR_COOKIE, 10, 1);
    expect("by-connection ");
    for (size_t i = 0; i < 4; i++)
        set(spread[i], 30, 30);
    report.checks[DOCTOR_NEW].lost = 5;
    set(DOCTOR_KEPT, 10, 10);
    expect("no-affinity ");
    expect_text("Not one was right");
    for (size_t i = 0; i < 4; i++)
        set(spread[i], 30, 10);
    report.checks[DOCTOR_NEW].mixed = 1;
    report.checks[DOCTOR_NEW].late = 4;
    expect("partly ");
    report.checks[DOCTOR_NEW].mixed = 0;
    expect("late ");
}

Test(doctor, verdicts_on_websockets, .init = begin)
{
    fail(DOCTOR_UPGRADE, DOCTOR_STRIPPED);
    expect("upgrade-stripped ");
    begin();
    fail(DOCTOR_UPGRADE, DOCTOR_NO_PROBE);
    expect("probe-lost ");
    begin();
    fail(DOCTOR_UPGRADE, DOCTOR_DROPPED);
    expect("websocket-closed ");
    begin();
    fail(DOCTOR_UPGRADE, DOCTOR_REFUSED);
    expect("upgrade-fails ");
    fail(DOCTOR_DIRECT, DOCTOR_REFUSED);
    expect("websocket-blocked ");
    begin();
    fail(DOCTOR_DIRECT, DOCTOR_REFUSED);
    expect("direct-fails ");
    /* It is found where no session is found, too. */
    begin();
    set(DOCTOR_NEW, 10, 8);
    set(DOCTOR_KEPT, 10, 8);
    set(DOCTOR_UPGRADE, 10, 10);
    report.checks[DOCTOR_NEW].mixed = 5;
    fail(DOCTOR_DIRECT, DOCTOR_STRIPPED);
    expect("no-affinity upgrade-stripped ");
    /* What the server does not offer is not missed. */
    begin();
    fail(DOCTOR_UPGRADE, DOCTOR_REFUSED);
    report.open.upgrades_websocket = false;
    expect("(note) no-upgrade-offered ");
}

Test(doctor, verdicts_on_silence_and_time, .init = begin)
{
    fail(DOCTOR_IDLE_WEBSOCKET, DOCTOR_CUT);
    expect("idle-timeout ");
    expect_text("silent websocket was cut after 0.4 s");
    expect_text("pingInterval is 1.0 s");
    fail(DOCTOR_IDLE_POLL, DOCTOR_REFUSED);
    expect("idle-timeout ");
    expect_text("held poll was cut after 0.4 s");
    begin();
    report.checks[DOCTOR_IDLE_POLL].lived_ms = 500;
    expect("(note) idle-unproven ");
    begin();
    report.is_cut_short = true;
    expect("(note) time-was-up ");
    set(DOCTOR_NEW, 0, 0);
    expect("too-little (note) time-was-up ");
}

Test(doctor, verdicts_on_what_is_no_server, .init = begin)
{
    memset(report.checks, 0, sizeof(report.checks));
    report.open.upgrades_websocket = false;
    report.has_polls = false;
    set(DOCTOR_HANDSHAKE, 1, 0);
    fail(DOCTOR_HANDSHAKE, DOCTOR_NOT_EIO);
    expect("not-engine-io ");
    fail(DOCTOR_HANDSHAKE, DOCTOR_NO_VERSION);
    expect("other-version ");
    fail(DOCTOR_HANDSHAKE, DOCTOR_CUT);
    expect("handshake-fails ");
    fail(DOCTOR_HANDSHAKE, DOCTOR_NO_POLLS);
    set(DOCTOR_DIRECT, 5, 0);
    expect("(note) websocket-only ");
    fail(DOCTOR_DIRECT, DOCTOR_REFUSED);
    expect("websocket-blocked (note) websocket-only ");
}
