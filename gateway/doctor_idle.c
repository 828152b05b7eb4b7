/* SPDX-License-Identifier: MIT */
/* Silence: what a quiet session's poll and websocket live through. */
#include "gateway/doctor_private.h"

#include "gateway/server.h"

#include <string.h>

enum {
    TRIES = 12,     /* to reach a session's server at all */
    EARLY_MAX = 4,  /* answers of a server that has something to say */
    EARLY_MS = 500, /* what comes sooner says nothing of silence */
};

static const struct doctor_way plain = {.source = 0};

/* A session whose poll, once it is held, lasts until its server pings. Where
 * sessions are not kept at their servers it takes some tries. */
void doctor_idle_poll(struct doctor_run *run, struct doctor_hand *hand,
                      int64_t ms)
{
    struct doctor_session session;
    if (doctor_handshake(hand, &session, &plain).fate != DOCTOR_OK)
        return; /* others tell */
    unsigned early = 0;
    for (unsigned i = 0; i < TRIES && early < EARLY_MAX; i++) {
        int64_t began_ms = gw_now_ms();
        struct doctor_step step = doctor_poll(hand, &session, &plain, ms);
        int64_t lived_ms = gw_now_ms() - began_ms;
        if (step.fate == DOCTOR_UNKNOWN_SID ||
            step.fate == DOCTOR_NO_CONNECTION)
            continue;
        if (step.fate == DOCTOR_OK && !step.is_held && lived_ms < EARLY_MS) {
            early++;
            continue;
        }
        if (step.fate == DOCTOR_OK || lived_ms >= EARLY_MS)
            doctor_note_life(run, DOCTOR_IDLE_POLL, &step, lived_ms);
        break; /* what fails at once is no matter of silence */
    }
    doctor_leave(hand, &session);
}

/* Directly, since that needs nothing to be kept; else by an upgrade. */
static bool open_websocket(struct doctor_hand *hand)
{
    struct doctor_session session;
    if (doctor_upgrade(hand, NULL, &plain, &hand->kept).fate == DOCTOR_OK)
        return true;
    for (unsigned i = 0; i < TRIES; i++) {
        if (doctor_handshake(hand, &session, &plain).fate != DOCTOR_OK ||
            !session.open.upgrades_websocket)
            return false;
        struct doctor_step step =
            doctor_upgrade(hand, &session, &plain, &hand->kept);
        if (step.fate == DOCTOR_OK)
            return true;
        doctor_leave(hand, &session);
        if (step.fate != DOCTOR_UNKNOWN_SID)
            return false;
    }
    return false;
}

/* Nothing is said on it but what answers a ping. Gives the longest silence, or
 * where it was cut the last one. */
static enum doctor_io sit(struct doctor_hand *hand, int64_t until_ms,
                          int64_t *silent_ms)
{
    int64_t longest_ms = 0;
    for (;;) {
        int64_t said_ms = gw_now_ms();
        enum doctor_io io =
            doctor_frame(&hand->kept, hand->said, sizeof(hand->said), until_ms);
        *silent_ms = gw_now_ms() - said_ms;
        if (*silent_ms > longest_ms)
            longest_ms = *silent_ms;
        if (io == DOCTOR_IO_TIMEOUT)
            *silent_ms = longest_ms;
        if (io != DOCTOR_IO_OK)
            return io;
        if (strcmp(hand->said, "2") == 0)
            doctor_say(&hand->kept, "3");
    }
}

void doctor_idle_websocket(struct doctor_run *run, struct doctor_hand *hand,
                           int64_t ms)
{
    if (!open_websocket(hand))
        return;
    int64_t silent_ms = 0;
    int64_t until_ms = gw_now_ms() + ms;
    if (until_ms > hand->until_ms)
        until_ms = hand->until_ms;
    struct doctor_step step = {.fate = DOCTOR_OK};
    if (sit(hand, until_ms, &silent_ms) != DOCTOR_IO_TIMEOUT) {
        step.fate = DOCTOR_CUT;
        snprintf(step.text, sizeof(step.text), "the websocket was closed");
    }
    doctor_note_life(run, DOCTOR_IDLE_WEBSOCKET, &step, silent_ms);
    doctor_end_websocket(&hand->kept);
}
