/* SPDX-License-Identifier: MIT */
/* What is tried: the same few steps of a session in different ways. */
#include "gateway/doctor_private.h"

#include "gateway/server.h"

enum {
    FOLLOW_UPS = 3, /* at least, in each session */
    FOLLOW_UPS_MORE = 4,
    UNASKED_MS = 300,
};

/* ---- polling ---- */

/* Never the first address, which is that of handshakes. */
static unsigned other_source(const struct doctor *doctor, unsigned n)
{
    return doctor->source_count > 1 ? 1 + n % (doctor->source_count - 1)
                                    : 1 + n;
}

/* A packet that has an answer until it was taken, then a poll for it, then
 * packets that only say that the client lives. */
static struct doctor_step follow_up(struct doctor_hand *hand,
                                    const struct doctor_session *session,
                                    const struct doctor_way *way, unsigned good)
{
    const struct doctor *doctor = hand->doctor;
    if (good == 1)
        return doctor_poll(hand, session, way, DOCTOR_HELD_MS);
    return doctor_post(hand, session, way,
                       good == 0 ? doctor_hello(doctor) : doctor_beat(doctor));
}

static void follow_ups(struct doctor_run *run, struct doctor_hand *hand,
                       enum doctor_check_name name,
                       const struct doctor_session *session,
                       struct doctor_way way, unsigned count)
{
    struct doctor_course course = {.good = 0};
    unsigned first = way.source;
    for (unsigned i = 0; i < count; i++) {
        if (name == DOCTOR_CHANGED)
            way.source = other_source(hand->doctor, first + i);
        struct doctor_step step = follow_up(hand, session, &way, course.good);
        doctor_note(run, name, &step);
        if (step.fate == DOCTOR_UNKNOWN_SID) {
            course.unknown++;
            course.is_mixed = course.is_mixed || course.good > 0;
            course.late_ms = gw_now_ms() - session->opened_ms;
        } else if (step.fate != DOCTOR_OK || step.is_held) {
            break; /* with its poll closed the session is over */
        }
        course.good += step.fate == DOCTOR_OK;
    }
    doctor_note_course(run, name, &course);
}

/* Each number of requests in its turn: else servers that are taken in turn
 * would show the same picture in each session. */
void doctor_try_follow_ups(struct doctor_run *run, struct doctor_hand *hand,
                           enum doctor_check_name name, unsigned i)
{
    struct doctor_session session;
    const struct doctor_way first = {.source = 0};
    const struct doctor_way then = {
        .source =
            name == DOCTOR_CHANGED ? i * (FOLLOW_UPS + FOLLOW_UPS_MORE) : 0,
        .with_cookies = name == DOCTOR_COOKIE};
    if (!doctor_open(run, hand, &session, &first))
        return;
    follow_ups(run, hand, name, &session, then,
               FOLLOW_UPS + i % FOLLOW_UPS_MORE);
    doctor_leave(hand, &session);
}

void doctor_try_kept(struct doctor_run *run, struct doctor_hand *hand,
                     enum doctor_check_name name, unsigned i)
{
    struct doctor_session session;
    const struct doctor_way way = {.kept = &hand->kept};
    if (doctor_open(run, hand, &session, &way)) {
        follow_ups(run, hand, name, &session, way,
                   FOLLOW_UPS + i % FOLLOW_UPS_MORE);
        doctor_leave(hand, &session);
    }
    doctor_close(&hand->kept);
}

/* The poll on the connection beside: whether it found its session. Else it may
 * fail: one that has nothing to wait for is cut, one that comes behind the end
 * of an upgrade is refused. */
static void note_parallel(struct doctor_run *run, struct doctor_hand *hand,
                          enum doctor_check_name name,
                          const struct doctor_session *session, bool has_answer)
{
    const struct doctor_way way = {.kept = &hand->side};
    struct doctor_step step = doctor_poll_end(
        hand, session, &way, has_answer ? DOCTOR_HELD_MS : UNASKED_MS);
    /* It may come by a longer way than the upgrade. */
    bool is_late = name == DOCTOR_UPGRADE_CHANGED &&
                   step.fate == DOCTOR_REFUSED && step.status == 400;
    if (step.fate == DOCTOR_OK || step.fate == DOCTOR_UNKNOWN_SID ||
        (has_answer && !is_late))
        doctor_note(run, name, &step);
}

/* A poll and a POST go out on connections that are open already, in the moment
 * in which the session's id is known. */
void doctor_try_at_once(struct doctor_run *run, struct doctor_hand *hand,
                        enum doctor_check_name name, unsigned i)
{
    char error[DOCTOR_TEXT_MAX];
    struct doctor_session session;
    const struct doctor_way first = {.source = 0};
    const struct doctor_way post = {.kept = &hand->kept};
    const struct doctor_way poll = {.kept = &hand->side};
    (void)i;
    if (doctor_connect(hand->doctor, &hand->kept, 0, error) &&
        doctor_connect(hand->doctor, &hand->side, 0, error) &&
        doctor_open(run, hand, &session, &first)) {
        bool is_sent = doctor_poll_begin(hand, &session, &poll);
        struct doctor_step step =
            doctor_post(hand, &session, &post, doctor_hello(hand->doctor));
        doctor_note(run, name, &step);
        if (is_sent)
            note_parallel(run, hand, name, &session, step.fate == DOCTOR_OK);
        doctor_leave(hand, &session);
    }
    doctor_close(&hand->kept);
    doctor_close(&hand->side);
}

/* ---- websockets ---- */

void doctor_end_websocket(struct doctor_conn *conn)
{
    if (conn->fd >= 0)
        doctor_say(conn, "1");
    doctor_close(conn);
}

void doctor_try_direct(struct doctor_run *run, struct doctor_hand *hand,
                       enum doctor_check_name name, unsigned i)
{
    const struct doctor_way way = {.source = 0};
    (void)i;
    struct doctor_step step = doctor_upgrade(hand, NULL, &way, &hand->kept);
    doctor_note(run, name, &step);
    doctor_end_websocket(&hand->kept);
}

void doctor_try_upgrade(struct doctor_run *run, struct doctor_hand *hand,
                        enum doctor_check_name name, unsigned i)
{
    struct doctor_session session;
    const struct doctor_way way = {.source = 0};
    (void)i;
    if (!doctor_open(run, hand, &session, &way))
        return;
    struct doctor_step step = doctor_upgrade(hand, &session, &way, &hand->kept);
    if (!doctor_note(run, name, &step))
        doctor_leave(hand, &session);
    doctor_end_websocket(&hand->kept);
}

/* As a client on the move does it: its poll is held on a connection from one
 * address, and the upgrade comes from another one. The poll is let go then. */
void doctor_try_upgrade_changed(struct doctor_run *run,
                                struct doctor_hand *hand,
                                enum doctor_check_name name, unsigned i)
{
    char error[DOCTOR_TEXT_MAX];
    struct doctor_session session;
    const struct doctor_way poll = {.kept = &hand->side};
    const struct doctor_way then = {.source = other_source(hand->doctor, i)};
    if (doctor_connect(hand->doctor, &hand->side, 0, error) &&
        doctor_open(run, hand, &session, &(struct doctor_way){.source = 0})) {
        bool is_sent = doctor_poll_begin(hand, &session, &poll);
        struct doctor_step step =
            doctor_upgrade(hand, &session, &then, &hand->kept);
        bool is_good = doctor_note(run, name, &step);
        if (is_good && is_sent)
            note_parallel(run, hand, name, &session, true);
        doctor_end_websocket(&hand->kept);
        doctor_close(&hand->side);
        if (!is_good)
            doctor_leave(hand, &session);
    }
    doctor_close(&hand->side);
}
