/* SPDX-License-Identifier: MIT */
/* One run: a few things at a time, until all are done or time is up. */
#include "gateway/doctor_private.h"

#include "gateway/server.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORKERS = 4,
    DIRECT_TRIES = 5,
    SILENT_MAX = 3, /* in turn; then a check is given up */
    IDLE_MARGIN_MS = 1000,
    TIMEOUT_MIN_MS = 30000,
    TIMEOUT_MAX_MS = 60000,
};

struct job {
    doctor_try_fn run;
    enum doctor_check_name name;
    unsigned count;
};

struct doctor_run {
    const struct doctor *doctor;
    struct doctor_report *report;
    int64_t until_ms;
    int64_t idle_ms;
    pthread_mutex_t lock; /* of the report, and of what follows */
    struct job jobs[DOCTOR_CHECKS];
    size_t job_count;
    size_t job;
    unsigned next;                          /* of that job */
    uint64_t sids[DOCTOR_SESSIONS_MAX * 8]; /* hashes of those so far */
    size_t sid_count;
};

/* ---- notes ---- */

static struct doctor_check *check_of(struct doctor_run *run,
                                     enum doctor_check_name name)
{
    return &run->report->checks[name];
}

static void add_step(struct doctor_check *check, const struct doctor_step *step)
{
    bool is_silent =
        step->fate == DOCTOR_SILENT || step->fate == DOCTOR_NO_CONNECTION;
    check->tried++;
    check->good += step->fate == DOCTOR_OK;
    check->unknown += step->fate == DOCTOR_UNKNOWN_SID;
    check->stripped += step->fate == DOCTOR_STRIPPED;
    check->silent_in_turn = is_silent ? check->silent_in_turn + 1 : 0;
    if (step->fate == DOCTOR_UNKNOWN_SID)
        check->denied = *step;
    else if (step->fate != DOCTOR_OK)
        check->last = *step;
}

bool doctor_note(struct doctor_run *run, enum doctor_check_name name,
                 const struct doctor_step *step)
{
    /* Who was not waited for has not failed. */
    bool was_awaited =
        step->fate != DOCTOR_SILENT || gw_now_ms() < run->until_ms;
    pthread_mutex_lock(&run->lock);
    if (was_awaited)
        add_step(check_of(run, name), step);
    else
        run->report->is_cut_short = true;
    pthread_mutex_unlock(&run->lock);
    return step->fate == DOCTOR_OK;
}

void doctor_note_life(struct doctor_run *run, enum doctor_check_name name,
                      const struct doctor_step *step, int64_t ms)
{
    doctor_note(run, name, step);
    if (step->fate == DOCTOR_OK)
        check_of(run, name)->lived_ms = ms;
    else
        check_of(run, name)->cut_ms = ms;
}

/* FNV-1a: enough to see that one comes again. */
static uint64_t hash(const struct eio_sid *sid)
{
    uint64_t value = 14695981039346656037U;
    for (size_t i = 0; i < sid->len; i++)
        value = (value ^ (unsigned char)sid->bytes[i]) * 1099511628211U;
    return value;
}

static void note_sid(struct doctor_run *run, const struct eio_sid *sid)
{
    uint64_t value = hash(sid);
    pthread_mutex_lock(&run->lock);
    for (size_t i = 0; i < run->sid_count; i++)
        if (run->sids[i] == value) {
            run->report->repeated++;
            break;
        }
    if (run->sid_count < sizeof(run->sids) / sizeof(run->sids[0]))
        run->sids[run->sid_count++] = value;
    pthread_mutex_unlock(&run->lock);
}

bool doctor_open(struct doctor_run *run, struct doctor_hand *hand,
                 struct doctor_session *session, const struct doctor_way *way)
{
    struct doctor_step step = doctor_handshake(hand, session, way);
    if (step.fate == DOCTOR_OK)
        note_sid(run, &session->open.sid);
    return doctor_note(run, DOCTOR_HANDSHAKE, &step);
}

void doctor_note_course(struct doctor_run *run, enum doctor_check_name name,
                        const struct doctor_course *course)
{
    struct doctor_check *check = check_of(run, name);
    pthread_mutex_lock(&run->lock);
    if (course->unknown == 0)
        check->whole++;
    else if (course->is_mixed)
        check->mixed++;
    else if (course->good < 2)
        check->lost++;
    else
        check->late++;
    if (course->late_ms > check->late_ms)
        check->late_ms = course->late_ms;
    pthread_mutex_unlock(&run->lock);
}

/* ---- threads ---- */

static struct doctor_hand *hand_new(const struct doctor_run *run)
{
    struct doctor_hand *hand = calloc(1, sizeof(*hand));
    if (hand == NULL)
        return NULL;
    hand->doctor = run->doctor;
    hand->until_ms = run->until_ms;
    hand->own.fd = -1;
    hand->kept.fd = -1;
    hand->side.fd = -1;
    return hand;
}

static bool is_given_up(const struct doctor_check *check)
{
    return check->silent_in_turn >= SILENT_MAX;
}

/* The next thing to do. False: there is none, or no time. */
static bool take(struct doctor_run *run, struct job *job, unsigned *i)
{
    bool is_taken = false;
    pthread_mutex_lock(&run->lock);
    while (run->job < run->job_count &&
           (run->next >= run->jobs[run->job].count ||
            is_given_up(check_of(run, run->jobs[run->job].name)) ||
            is_given_up(check_of(run, DOCTOR_HANDSHAKE)))) {
        run->job++;
        run->next = 0;
    }
    if (run->job < run->job_count && gw_now_ms() >= run->until_ms) {
        run->report->is_cut_short = true;
    } else if (run->job < run->job_count) {
        *job = run->jobs[run->job];
        *i = run->next++;
        is_taken = true;
    }
    pthread_mutex_unlock(&run->lock);
    return is_taken;
}

static void *work(void *arg)
{
    struct doctor_run *run = arg;
    struct doctor_hand *hand = hand_new(run);
    struct job job;
    unsigned i = 0;
    while (hand != NULL && take(run, &job, &i))
        job.run(run, hand, job.name, i);
    free(hand);
    return NULL;
}

static void *sit_by_poll(void *arg)
{
    struct doctor_run *run = arg;
    struct doctor_hand *hand = hand_new(run);
    if (hand != NULL)
        doctor_idle_poll(run, hand, run->idle_ms);
    free(hand);
    return NULL;
}

static void *sit_by_websocket(void *arg)
{
    struct doctor_run *run = arg;
    struct doctor_hand *hand = hand_new(run);
    if (hand != NULL)
        doctor_idle_websocket(run, hand, run->idle_ms);
    free(hand);
    return NULL;
}

/* Silence takes longest: it is begun first, beside all else. */
static void run_all(struct doctor_run *run)
{
    pthread_t threads[WORKERS + 2];
    size_t count = 0;
    if (run->idle_ms > 0 && run->report->has_polls)
        count += pthread_create(&threads[count], NULL, sit_by_poll, run) == 0;
    if (run->idle_ms > 0)
        count +=
            pthread_create(&threads[count], NULL, sit_by_websocket, run) == 0;
    for (int i = 1; i < WORKERS; i++)
        count += pthread_create(&threads[count], NULL, work, run) == 0;
    work(run);
    while (count > 0)
        pthread_join(threads[--count], NULL);
}

/* ---- all of it ---- */

/* As long as a server needs to say something of itself, and a little more. */
static int64_t idle_ms(const struct doctor *doctor, const struct eio_open *open)
{
    if (!doctor->wants_idle)
        return 0;
    return doctor->idle_s > 0 ? (int64_t)doctor->idle_s * 1000
                              : open->ping_interval_ms + IDLE_MARGIN_MS;
}

static int64_t timeout_ms(const struct doctor *doctor,
                          const struct eio_open *open)
{
    int64_t ms = (int64_t)open->ping_interval_ms + open->ping_timeout_ms;
    if (doctor->timeout_s > 0)
        return (int64_t)doctor->timeout_s * 1000;
    if (ms < TIMEOUT_MIN_MS)
        return TIMEOUT_MIN_MS;
    return ms < TIMEOUT_MAX_MS ? ms : TIMEOUT_MAX_MS;
}

static void add_job(struct doctor_run *run, struct job job)
{
    if (job.count > 0)
        run->jobs[run->job_count++] = job;
}

static void plan(struct doctor_run *run)
{
    unsigned n = run->doctor->sessions;
    const struct doctor_report *report = run->report;
    unsigned polls = report->has_polls ? n : 0;
    unsigned cookies = report->cookies[0] != '\0' ? polls : 0;
    unsigned upgrades = report->open.upgrades_websocket ? polls : 0;
    add_job(run, (struct job){doctor_try_follow_ups, DOCTOR_NEW, polls});
    add_job(run, (struct job){doctor_try_direct, DOCTOR_DIRECT,
                              n < DIRECT_TRIES ? n : DIRECT_TRIES});
    add_job(run, (struct job){doctor_try_upgrade, DOCTOR_UPGRADE, upgrades});
    add_job(run, (struct job){doctor_try_follow_ups, DOCTOR_CHANGED, polls});
    add_job(run, (struct job){doctor_try_follow_ups, DOCTOR_COOKIE, cookies});
    add_job(run, (struct job){doctor_try_kept, DOCTOR_KEPT, (polls + 1) / 2});
    add_job(run, (struct job){doctor_try_at_once, DOCTOR_AT_ONCE, polls});
    add_job(run, (struct job){doctor_try_upgrade_changed,
                              DOCTOR_UPGRADE_CHANGED, upgrades});
}

/* What a server that takes websockets alone says of itself. */
static bool open_first_websocket(struct doctor_run *run,
                                 struct doctor_hand *hand)
{
    const struct doctor_way way = {.source = 0};
    struct doctor_step step = doctor_upgrade(hand, NULL, &way, &hand->kept);
    doctor_note(run, DOCTOR_DIRECT, &step);
    doctor_end_websocket(&hand->kept);
    run->report->open = hand->open;
    return step.fate == DOCTOR_OK;
}

/* The first session tells what there is to try. */
static bool open_first(struct doctor_run *run)
{
    struct doctor_session first;
    const struct doctor_way way = {.source = 0};
    struct doctor_hand *hand = hand_new(run);
    struct doctor_report *report = run->report;
    if (hand == NULL)
        return false;
    report->has_polls = doctor_open(run, hand, &first, &way);
    bool is_open = report->has_polls;
    if (is_open) {
        report->open = first.open;
        memcpy(report->cookies, first.cookies, sizeof(report->cookies));
        doctor_leave(hand, &first);
    } else if (check_of(run, DOCTOR_HANDSHAKE)->last.fate == DOCTOR_NO_POLLS) {
        is_open = open_first_websocket(run, hand);
    }
    free(hand);
    return is_open;
}

bool doctor_examine(struct doctor *doctor, struct doctor_report *report)
{
    static struct doctor_run run;
    int64_t began_ms = gw_now_ms();
    run = (struct doctor_run){.doctor = doctor,
                              .report = report,
                              .until_ms = began_ms + TIMEOUT_MAX_MS};
    *report = (struct doctor_report){.doctor = doctor};
    doctor->pretends = !doctor->is_loopback && doctor->source_count < 2;
    pthread_mutex_init(&run.lock, NULL);
    bool is_open = open_first(&run);
    if (is_open) {
        run.until_ms = began_ms + timeout_ms(doctor, &report->open);
        run.idle_ms = idle_ms(doctor, &report->open);
        plan(&run);
        run_all(&run);
    }
    pthread_mutex_destroy(&run.lock);
    report->took_ms = gw_now_ms() - began_ms;
    return is_open;
}
