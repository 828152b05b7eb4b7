/* SPDX-License-Identifier: MIT */
/* One session as a client has it: its requests, and what became of each. */
#include "gateway/doctor_private.h"

#include "eio/error.h"
#include "gateway/head.h"
#include "gateway/server.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    REQUEST_MAX = 8192,
    BODY_SHOWN = 120,
    LEAVE_TRIES = 8,
    LEAVE_MS = 1000,
    SETTLE_MS = 400, /* in which a websocket that is no good is closed */
    FRAMES_MAX = 16, /* that may come before the one that is awaited */
};

static const char key[] = "c2lkZ2F0ZSBkb2N0b3IhIQ==";

static struct doctor_step step_of(enum doctor_fate fate, const char *text)
{
    struct doctor_step step = {.fate = fate};
    snprintf(step.text, sizeof(step.text), "%s", text);
    return step;
}

static int64_t sooner(const struct doctor_hand *hand, int64_t ms)
{
    int64_t until_ms = gw_now_ms() + ms;
    return until_ms < hand->until_ms ? until_ms : hand->until_ms;
}

const char *doctor_hello(const struct doctor *doctor)
{
    return doctor->eio == 3 ? "2" : "40";
}

/* From version 4 on the server pings. */
const char *doctor_beat(const struct doctor *doctor)
{
    return doctor->eio == 3 ? "2" : "3";
}

/* ---- what came ---- */

/* A sid is a secret, and a page may echo it. */
static void hide(char *text, const struct eio_sid *sid)
{
    size_t len = strlen(text);
    for (char *at = text; sid->len > 0 && at + sid->len <= text + len; at++)
        if (memcmp(at, sid->bytes, sid->len) == 0)
            memset(at, '*', sid->len);
}

/* The first line of a body, without what a terminal might obey. */
static void note_body(struct doctor_step *step,
                      const struct doctor_answer *answer,
                      const struct doctor_session *session)
{
    char body[DOCTOR_TEXT_MAX];
    snprintf(body, sizeof(body), "%.*s", (int)strcspn(answer->body, "\r\n"),
             answer->body);
    if (session != NULL)
        hide(body, &session->open.sid);
    for (char *at = body; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
    snprintf(step->text, sizeof(step->text), "%d%s%.*s", answer->status,
             body[0] != '\0' ? " " : "", BODY_SHOWN, body);
    step->status = answer->status;
}

static bool says(const struct doctor_answer *answer, const char *word)
{
    return strcasestr(answer->body, word) != NULL;
}

/* In the words of Socket.IO on Node.js, of python-engineio and of others. */
static bool is_unknown_sid(const struct doctor_answer *answer)
{
    const struct eio_span body = {answer->body, answer->len};
    return eio_is_unknown_sid(answer->status, body, false) ||
           (answer->status >= 400 && answer->status < 500 &&
            (says(answer, "session id unknown") ||
             says(answer, "invalid session") || says(answer, "unknown sid")));
}

static struct doctor_step judge(enum doctor_io io,
                                const struct doctor_answer *answer,
                                const struct doctor_session *session)
{
    struct doctor_step step = {.fate = DOCTOR_OK};
    switch (io) {
    case DOCTOR_IO_TIMEOUT:
        return step_of(DOCTOR_SILENT, "no answer");
    case DOCTOR_IO_CLOSED:
        return step_of(DOCTOR_CUT, "closed without a whole answer");
    case DOCTOR_IO_JUNK:
        return step_of(DOCTOR_CUT, "what came is no HTTP/1.1");
    case DOCTOR_IO_OK:
        break;
    }
    note_body(&step, answer, session);
    if (is_unknown_sid(answer))
        step.fate = DOCTOR_UNKNOWN_SID;
    else if (answer->status != 200)
        step.fate = DOCTOR_REFUSED;
    return step;
}

/* ---- requests ---- */

/* A request line, and the fields that all have. The length; 0 when it does not
 * fit. */
static size_t write_head(const struct doctor *doctor, char *out,
                         const char *method, const char *transport,
                         const struct doctor_session *session,
                         const struct doctor_way *way)
{
    char sid[3 * EIO_SID_MAX + 1] = "";
    char pretended[64] = "";
    if (session != NULL)
        sid[eio_sid_percent_encode(&session->open.sid, sid)] = '\0';
    /* The range of addresses that is set apart for measurements. */
    if (doctor->pretends && way->source > 0)
        snprintf(pretended, sizeof(pretended),
                 "X-Forwarded-For: 198.%u.%u.%u\r\n", 18 + way->source % 2,
                 way->source * 101 % 251, 1 + way->source % 250);
    bool has_cookies =
        way->with_cookies && session != NULL && session->cookies[0] != '\0';
    int len = snprintf(
        out, REQUEST_MAX,
        "%s %s?EIO=%u&transport=%s%s%s HTTP/1.1\r\nHost: %s\r\n%s%s%s%s%s",
        method, doctor->path, doctor->eio, transport,
        session != NULL ? "&sid=" : "", sid, doctor->authority, doctor->heads,
        pretended, has_cookies ? "Cookie: " : "",
        has_cookies ? session->cookies : "", has_cookies ? "\r\n" : "");
    return len > 0 && len < REQUEST_MAX ? (size_t)len : 0;
}

/* Sends a request and reads its answer, on its way's connection. */
static struct doctor_step ask(struct doctor_hand *hand,
                              const struct doctor_session *session,
                              const struct doctor_way *way, const char *request,
                              int64_t ms)
{
    struct doctor_conn *conn = way->kept != NULL ? way->kept : &hand->own;
    char error[DOCTOR_TEXT_MAX] = "";
    if ((way->kept == NULL || conn->fd < 0) &&
        !doctor_connect(hand->doctor, conn, way->source, error))
        return step_of(DOCTOR_NO_CONNECTION, error);
    enum doctor_io io = DOCTOR_IO_CLOSED;
    if (doctor_send(conn, request, strlen(request)))
        io = doctor_receive(conn, &hand->answer, sooner(hand, ms));
    if (way->kept == NULL || io != DOCTOR_IO_OK || !hand->answer.keeps_alive)
        doctor_close(conn);
    return judge(io, &hand->answer, session);
}

/* What the server itself says of a handshake that it does not take. */
static enum doctor_fate fate_of_handshake(const struct doctor_answer *answer)
{
    if (answer->status == 400 && says(answer, "\"code\":0,"))
        return DOCTOR_NO_POLLS;
    if (answer->status == 400 &&
        (says(answer, "\"code\":5,") || says(answer, "unsupported version of")))
        return DOCTOR_NO_VERSION;
    return DOCTOR_REFUSED;
}

struct doctor_step doctor_handshake(struct doctor_hand *hand,
                                    struct doctor_session *session,
                                    const struct doctor_way *way)
{
    char request[REQUEST_MAX + 2];
    const struct doctor_answer *answer = &hand->answer;
    memset(session, 0, sizeof(*session));
    session->source = way->source;
    size_t len = write_head(hand->doctor, request, "GET", "polling", NULL, way);
    if (len == 0)
        return step_of(DOCTOR_REFUSED, "the request is too long");
    memcpy(request + len, "\r\n", 3);
    struct doctor_step step =
        ask(hand, NULL, way, request, 2 * (int64_t)DOCTOR_ANSWER_MS);
    session->opened_ms = gw_now_ms();
    if (step.fate == DOCTOR_REFUSED)
        step.fate = fate_of_handshake(answer);
    if (step.fate != DOCTOR_OK)
        return step;
    snprintf(session->cookies, sizeof(session->cookies), "%s", answer->cookies);
    if (eio_open_find((struct eio_span){answer->body, answer->len}, true,
                      &session->open) != EIO_DONE)
        step.fate = DOCTOR_NOT_EIO;
    return step;
}

/* In the framing of the session's protocol. */
static void write_packet(const struct doctor *doctor, const char *packet,
                         char out[64])
{
    if (doctor->eio == 3)
        snprintf(out, 64, "%zu:%s", strlen(packet), packet);
    else
        snprintf(out, 64, "%s", packet);
}

static struct doctor_step post(struct doctor_hand *hand,
                               const struct doctor_session *session,
                               const struct doctor_way *way, const char *packet,
                               int64_t ms)
{
    char request[REQUEST_MAX + 256];
    char body[64];
    size_t len =
        write_head(hand->doctor, request, "POST", "polling", session, way);
    if (len == 0)
        return step_of(DOCTOR_REFUSED, "the request is too long");
    write_packet(hand->doctor, packet, body);
    snprintf(request + len, sizeof(request) - len,
             "Content-Type: text/plain;charset=UTF-8\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    return ask(hand, session, way, request, ms);
}

struct doctor_step doctor_post(struct doctor_hand *hand,
                               const struct doctor_session *session,
                               const struct doctor_way *way, const char *packet)
{
    return post(hand, session, way, packet, DOCTOR_ANSWER_MS);
}

static bool write_poll(struct doctor_hand *hand, char *request,
                       const struct doctor_session *session,
                       const struct doctor_way *way)
{
    size_t len =
        write_head(hand->doctor, request, "GET", "polling", session, way);
    memcpy(request + len, "\r\n", 3);
    return len > 0;
}

static struct doctor_step as_held(struct doctor_step step)
{
    if (step.fate == DOCTOR_SILENT) {
        step.fate = DOCTOR_OK;
        step.is_held = true;
    }
    return step;
}

struct doctor_step doctor_poll(struct doctor_hand *hand,
                               const struct doctor_session *session,
                               const struct doctor_way *way, int64_t ms)
{
    char request[REQUEST_MAX + 3];
    if (!write_poll(hand, request, session, way))
        return step_of(DOCTOR_REFUSED, "the request is too long");
    return as_held(ask(hand, session, way, request, ms));
}

bool doctor_poll_begin(struct doctor_hand *hand,
                       const struct doctor_session *session,
                       const struct doctor_way *way)
{
    char request[REQUEST_MAX + 3];
    return write_poll(hand, request, session, way) &&
           doctor_send(way->kept, request, strlen(request));
}

struct doctor_step doctor_poll_end(struct doctor_hand *hand,
                                   const struct doctor_session *session,
                                   const struct doctor_way *way, int64_t ms)
{
    enum doctor_io io =
        doctor_receive(way->kept, &hand->answer, sooner(hand, ms));
    return as_held(judge(io, &hand->answer, session));
}

void doctor_leave(struct doctor_hand *hand,
                  const struct doctor_session *session)
{
    const struct doctor_way way = {.source = session->source,
                                   .with_cookies = true};
    for (int i = 0; i < LEAVE_TRIES; i++)
        if (post(hand, session, &way, "1", LEAVE_MS).fate != DOCTOR_UNKNOWN_SID)
            return;
}

/* ---- websockets ---- */

/* The answer to a request without its Upgrade field is that to a poll of a
 * transport which it cannot be. */
static struct doctor_step judge_upgrade(enum doctor_io io,
                                        const struct doctor_answer *answer,
                                        const struct doctor_session *session)
{
    char accept[29];
    struct doctor_step step = judge(io, answer, session);
    if (io != DOCTOR_IO_OK || step.fate == DOCTOR_UNKNOWN_SID)
        return step;
    if (answer->is_upgrade) {
        gw_ws_accept(eio_span_of(key), accept);
        return strcmp(answer->accept, accept) == 0
                   ? step_of(DOCTOR_OK, "")
                   : step_of(DOCTOR_REFUSED,
                             "101 with another Sec-WebSocket-Accept");
    }
    bool is_stripped = answer->status == 200 || answer->status == 426 ||
                       (answer->status == 400 && (says(answer, "\"code\":3,") ||
                                                  says(answer, "upgrade")));
    step.fate = is_stripped ? DOCTOR_STRIPPED : DOCTOR_REFUSED;
    return step;
}

/* Waits for a text that begins so, past others. */
static struct doctor_step await_text(struct doctor_hand *hand,
                                     struct doctor_conn *conn, const char *text,
                                     int64_t ms)
{
    char *said = hand->said;
    int64_t until_ms = sooner(hand, ms);
    for (int i = 0; i < FRAMES_MAX; i++) {
        enum doctor_io io =
            doctor_frame(conn, said, sizeof(hand->said), until_ms);
        if (io == DOCTOR_IO_TIMEOUT)
            break;
        if (io != DOCTOR_IO_OK)
            return step_of(DOCTOR_DROPPED, "the websocket was closed");
        if (strncmp(said, text, strlen(text)) == 0)
            return step_of(DOCTOR_OK, "");
    }
    return step_of(DOCTOR_NO_PROBE, "the websocket is open, but silent");
}

/* Whether it lasts is seen by the answer to a word, or by its silence: who is
 * no Socket.IO has no answer. */
static struct doctor_step settle(struct doctor_hand *hand,
                                 struct doctor_conn *conn)
{
    bool is_old = hand->doctor->eio == 3;
    if (!doctor_say(conn, doctor_hello(hand->doctor)))
        return step_of(DOCTOR_DROPPED, "the websocket was closed at once");
    struct doctor_step step =
        await_text(hand, conn, is_old ? "3" : "4", SETTLE_MS);
    if (step.fate == DOCTOR_DROPPED)
        return step_of(DOCTOR_DROPPED, "the websocket was closed at once");
    return step_of(DOCTOR_OK, "");
}

static struct doctor_step probe(struct doctor_hand *hand,
                                struct doctor_conn *conn)
{
    if (!doctor_say(conn, "2probe"))
        return step_of(DOCTOR_DROPPED, "the websocket was closed");
    struct doctor_step step =
        await_text(hand, conn, "3probe", DOCTOR_ANSWER_MS);
    if (step.fate == DOCTOR_OK && !doctor_say(conn, "5"))
        return step_of(DOCTOR_DROPPED, "the websocket was closed");
    return step;
}

static struct doctor_step hear_open(struct doctor_hand *hand,
                                    struct doctor_conn *conn)
{
    struct doctor_step step = await_text(hand, conn, "0{", DOCTOR_ANSWER_MS);
    if (step.fate == DOCTOR_OK &&
        eio_open_parse(eio_span_of(hand->said), &hand->open) != EIO_DONE)
        return step_of(DOCTOR_NOT_EIO, "what came first is no open packet");
    return step;
}

struct doctor_step doctor_upgrade(struct doctor_hand *hand,
                                  const struct doctor_session *session,
                                  const struct doctor_way *way,
                                  struct doctor_conn *conn)
{
    char request[REQUEST_MAX + 256];
    char error[DOCTOR_TEXT_MAX] = "";
    enum doctor_io io = DOCTOR_IO_CLOSED;
    conn->fd = -1;
    size_t len =
        write_head(hand->doctor, request, "GET", "websocket", session, way);
    if (len == 0)
        return step_of(DOCTOR_REFUSED, "the request is too long");
    snprintf(request + len, sizeof(request) - len,
             "Upgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
             key);
    if (!doctor_connect(hand->doctor, conn, way->source, error))
        return step_of(DOCTOR_NO_CONNECTION, error);
    if (doctor_send(conn, request, strlen(request)))
        io =
            doctor_receive(conn, &hand->answer, sooner(hand, DOCTOR_ANSWER_MS));
    struct doctor_step step = judge_upgrade(io, &hand->answer, session);
    if (step.fate == DOCTOR_OK)
        step = session != NULL ? probe(hand, conn) : hear_open(hand, conn);
    if (step.fate == DOCTOR_OK)
        step = settle(hand, conn);
    if (step.fate != DOCTOR_OK)
        doctor_close(conn);
    return step;
}
