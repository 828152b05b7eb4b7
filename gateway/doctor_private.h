/* SPDX-License-Identifier: MIT */
/* The parts of `sidgate doctor`. Not for others. */
#ifndef SIDGATE_GATEWAY_DOCTOR_PRIVATE_H
#define SIDGATE_GATEWAY_DOCTOR_PRIVATE_H

#include "eio/open.h"
#include "eio/sid.h"

#include <netdb.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    DOCTOR_TEXT_MAX = 256,
    DOCTOR_COOKIES_MAX = 1024,
    DOCTOR_BODY_MAX = 65536,
    DOCTOR_FRAME_MAX = 4096,
    DOCTOR_HEADS_MAX = 2048, /* of the user's own fields */
    DOCTOR_SOURCES_MAX = 16,
    DOCTOR_SESSIONS_MAX = 200,
    DOCTOR_ANSWER_MS = 5000, /* for whatever must come at once */
    DOCTOR_HELD_MS = 1000,   /* a poll that is held so long is at its server */
};

/* What the command line says. */
struct doctor {
    bool is_tls;
    char host[DOCTOR_TEXT_MAX];
    char authority[DOCTOR_TEXT_MAX]; /* for the Host field */
    char port[8];
    char path[DOCTOR_TEXT_MAX];
    unsigned eio;
    unsigned sessions;
    unsigned idle_s;    /* 0: as long as the server's times ask for */
    unsigned timeout_s; /* of everything; 0: likewise */
    bool wants_idle;
    bool is_insecure;
    bool is_json;
    char heads[DOCTOR_HEADS_MAX]; /* lines */
    char sources[DOCTOR_SOURCES_MAX][DOCTOR_TEXT_MAX];
    unsigned source_count;

    /* What follows from it. */
    const struct addrinfo *to; /* the first that took a connection */
    struct addrinfo *found;
    unsigned address_count; /* that the name has */
    SSL_CTX *tls;
    bool is_loopback;
    bool pretends; /* other addresses are told by a field alone */
};

/* doctor.c. False when it is no URL that is understood. */
bool doctor_set_url(struct doctor *doctor, const char *url);

/* ---- doctor_client.c: connections ---- */

struct doctor_conn {
    int fd; /* -1: there is none */
    SSL *ssl;
    size_t len; /* read and not yet used */
    char in[DOCTOR_BODY_MAX];
};

struct doctor_answer {
    int status;
    bool is_whole;
    bool keeps_alive;
    bool is_upgrade; /* a 101 to websocket */
    size_t len;      /* of the body */
    char body[DOCTOR_BODY_MAX];
    char cookies[DOCTOR_COOKIES_MAX]; /* as a Cookie field has them */
    char accept[32];                  /* Sec-WebSocket-Accept */
};

/* What one thread works with. Nothing is waited for beyond `until_ms`. */
struct doctor_hand {
    const struct doctor *doctor;
    int64_t until_ms;
    struct doctor_conn own; /* for one request */
    struct doctor_conn kept;
    struct doctor_conn side; /* beside the former */
    struct doctor_answer answer;
    char said[DOCTOR_FRAME_MAX]; /* on a websocket, the last time */
    struct eio_open open;        /* of the last websocket without a sid */
};

enum doctor_io {
    DOCTOR_IO_OK,
    DOCTOR_IO_TIMEOUT,
    DOCTOR_IO_CLOSED, /* before the answer was whole */
    DOCTOR_IO_JUNK,   /* it is no HTTP, or too long */
};

/* Looks the host up, and reads what TLS needs. False with one line. */
bool doctor_prepare(struct doctor *doctor, char error[DOCTOR_TEXT_MAX]);
void doctor_release(struct doctor *doctor);

/* From the nth source; 0 is whatever the system chooses. False with one
 * line. */
bool doctor_connect(const struct doctor *doctor, struct doctor_conn *conn,
                    unsigned source, char error[DOCTOR_TEXT_MAX]);
void doctor_close(struct doctor_conn *conn);

bool doctor_send(struct doctor_conn *conn, const char *bytes, size_t len);

/* Reads more behind conn->in's bytes, or takes the first `len` of them away. */
enum doctor_io doctor_read(struct doctor_conn *conn, int64_t until_ms);
void doctor_use(struct doctor_conn *conn, size_t len);

/* ---- doctor_http.c: answers and frames ---- */

/* Reads an answer, until `until_ms`. */
enum doctor_io doctor_receive(struct doctor_conn *conn,
                              struct doctor_answer *answer, int64_t until_ms);

/* The payload of the next text frame, with a NUL behind it; a long one is cut.
 * Pings of the protocol are answered, other frames passed over. */
enum doctor_io doctor_frame(struct doctor_conn *conn, char *out, size_t cap,
                            int64_t until_ms);
bool doctor_say(struct doctor_conn *conn, const char *text);

/* ---- doctor_session.c: one session ---- */

/* What became of a step. */
enum doctor_fate {
    DOCTOR_OK,
    DOCTOR_UNKNOWN_SID,
    DOCTOR_REFUSED,  /* another status than the right one */
    DOCTOR_STRIPPED, /* answered as if no websocket had been asked for */
    DOCTOR_NO_PROBE, /* the websocket is open, but the probe has no answer */
    DOCTOR_CUT,      /* closed */
    DOCTOR_DROPPED,  /* a websocket that was open */
    DOCTOR_SILENT,   /* no answer in time */
    DOCTOR_NO_CONNECTION,
    DOCTOR_NOT_EIO,    /* it is HTTP, but no open packet came */
    DOCTOR_NO_POLLS,   /* an Engine.IO server that takes websockets alone */
    DOCTOR_NO_VERSION, /* one that does not speak this version */
};

struct doctor_step {
    enum doctor_fate fate;
    int status;
    bool is_held;               /* a poll that was not answered, as is right */
    char text[DOCTOR_TEXT_MAX]; /* what came, for the report; without a sid */
};

struct doctor_session {
    struct eio_open open;
    unsigned source; /* of its handshake */
    int64_t opened_ms;
    char cookies[DOCTOR_COOKIES_MAX];
};

/* How a request is sent. */
struct doctor_way {
    unsigned source;
    bool with_cookies;
    struct doctor_conn *kept; /* NULL: on a connection of its own */
};

struct doctor_step doctor_handshake(struct doctor_hand *hand,
                                    struct doctor_session *session,
                                    const struct doctor_way *way);
struct doctor_step doctor_post(struct doctor_hand *hand,
                               const struct doctor_session *session,
                               const struct doctor_way *way,
                               const char *packet);

/* Who knows the session answers it, or holds it: that is as good. It lasts `ms`
 * at most. A server ends a session whose held poll was closed. */
struct doctor_step doctor_poll(struct doctor_hand *hand,
                               const struct doctor_session *session,
                               const struct doctor_way *way, int64_t ms);

/* The same in two halves, on way->kept, which is open. */
bool doctor_poll_begin(struct doctor_hand *hand,
                       const struct doctor_session *session,
                       const struct doctor_way *way);
struct doctor_step doctor_poll_end(struct doctor_hand *hand,
                                   const struct doctor_session *session,
                                   const struct doctor_way *way, int64_t ms);

/* From the request for a websocket to "5", and a word after it; what is open
 * stands in `conn`, for doctor_close. session NULL: without a sid, up to its
 * open packet. */
struct doctor_step doctor_upgrade(struct doctor_hand *hand,
                                  const struct doctor_session *session,
                                  const struct doctor_way *way,
                                  struct doctor_conn *conn);

/* Tells the server that the session is over; more than once, where each request
 * goes to another server. */
void doctor_leave(struct doctor_hand *hand,
                  const struct doctor_session *session);

/* The packet that begins a session, to which Socket.IO has an answer. */
const char *doctor_hello(const struct doctor *doctor);

/* The packet of a client that only says that it lives. */
const char *doctor_beat(const struct doctor *doctor);

/* ---- doctor_run.c: one run of all checks ---- */

enum doctor_check_name {
    DOCTOR_HANDSHAKE,
    DOCTOR_KEPT,    /* follow-ups on the handshake's own connection */
    DOCTOR_NEW,     /* on connections of their own */
    DOCTOR_COOKIE,  /* and with the cookies that were set */
    DOCTOR_CHANGED, /* and from another address */
    DOCTOR_AT_ONCE, /* in the moment of the handshake's answer */
    DOCTOR_DIRECT,  /* a websocket without polling */
    DOCTOR_UPGRADE,
    DOCTOR_UPGRADE_CHANGED, /* from another address, while a poll is held */
    DOCTOR_IDLE_POLL,
    DOCTOR_IDLE_WEBSOCKET,
    DOCTOR_CHECKS,
};

struct doctor_check {
    unsigned tried;
    unsigned good;
    unsigned unknown; /* answered with "Session ID unknown" */
    unsigned stripped;
    unsigned silent_in_turn;
    struct doctor_step denied; /* the last one that was unknown */
    struct doctor_step last;   /* the last one that failed otherwise */

    /* Sessions, by how their follow-ups fared. */
    unsigned whole; /* all were right */
    unsigned late;  /* none was unknown any more behind the first right one */
    unsigned mixed;
    unsigned lost;   /* none was right */
    int64_t late_ms; /* how long after its handshake one was unknown */

    /* Of the idle ones. */
    int64_t cut_ms;
    int64_t lived_ms;
};

struct doctor_report {
    const struct doctor *doctor;
    struct eio_open open; /* of the first session */
    bool has_polls;       /* else the server takes websockets alone */
    char cookies[DOCTOR_COOKIES_MAX];
    unsigned repeated; /* handshakes that gave the session of another one */
    bool is_cut_short; /* time was up */
    int64_t took_ms;
    struct doctor_check checks[DOCTOR_CHECKS];
};

/* One run, which several threads share. */
struct doctor_run;

/* What came of a step goes into the report. Whether it was right. */
bool doctor_note(struct doctor_run *run, enum doctor_check_name name,
                 const struct doctor_step *step);
void doctor_note_life(struct doctor_run *run, enum doctor_check_name name,
                      const struct doctor_step *step, int64_t ms);

/* How the follow-ups of one session fared, in their order. */
struct doctor_course {
    unsigned good;
    unsigned unknown;
    bool is_mixed; /* an unknown one behind a right one */
    int64_t late_ms;
};

void doctor_note_course(struct doctor_run *run, enum doctor_check_name name,
                        const struct doctor_course *course);

/* Opens a session, and notes it. */
bool doctor_open(struct doctor_run *run, struct doctor_hand *hand,
                 struct doctor_session *session, const struct doctor_way *way);

/* False when no session could be opened at all: the handshake's check says
 * why. */
bool doctor_examine(struct doctor *doctor, struct doctor_report *report);

/* ---- doctor_checks.c: what is tried ---- */

/* Tries it the ith time, with a session of its own. */
typedef void (*doctor_try_fn)(struct doctor_run *run, struct doctor_hand *hand,
                              enum doctor_check_name name, unsigned i);

void doctor_try_follow_ups(struct doctor_run *run, struct doctor_hand *hand,
                           enum doctor_check_name name, unsigned i);
void doctor_try_kept(struct doctor_run *run, struct doctor_hand *hand,
                     enum doctor_check_name name, unsigned i);
void doctor_try_at_once(struct doctor_run *run, struct doctor_hand *hand,
                        enum doctor_check_name name, unsigned i);
void doctor_try_direct(struct doctor_run *run, struct doctor_hand *hand,
                       enum doctor_check_name name, unsigned i);
void doctor_try_upgrade(struct doctor_run *run, struct doctor_hand *hand,
                        enum doctor_check_name name, unsigned i);
void doctor_try_upgrade_changed(struct doctor_run *run,
                                struct doctor_hand *hand,
                                enum doctor_check_name name, unsigned i);

/* Says that the session is over, and closes. */
void doctor_end_websocket(struct doctor_conn *conn);

/* ---- doctor_idle.c: silence ---- */

/* Each lasts about `ms`, if nothing cuts it. */
void doctor_idle_poll(struct doctor_run *run, struct doctor_hand *hand,
                      int64_t ms);
void doctor_idle_websocket(struct doctor_run *run, struct doctor_hand *hand,
                           int64_t ms);

/* ---- doctor_verdict.c: what it means ---- */

enum { DOCTOR_FINDINGS_MAX = 12 };

/* What is always said of one kind. */
struct doctor_words {
    const char *code;
    bool is_error; /* else a note */
    const char *title;
    const char *cause;
    const char *advice;
};

struct doctor_finding {
    const struct doctor_words *words;
    char text[768]; /* what was seen */
};

/* The findings, the most important first; how many. */
unsigned doctor_judge(const struct doctor_report *report,
                      struct doctor_finding findings[DOCTOR_FINDINGS_MAX]);

/* ---- doctor_report.c ---- */

void doctor_print(const struct doctor_report *report,
                  const struct doctor_finding *findings, unsigned count,
                  FILE *out);
bool doctor_print_json(const struct doctor_report *report,
                       const struct doctor_finding *findings, unsigned count,
                       FILE *out);

#endif
