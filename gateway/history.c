/* SPDX-License-Identifier: MIT */
/*
 * What the counters said in the last 15 minutes.
 *
 * They are read once a second. Rates are the difference of two readings that
 * lie 5 s apart, shares and quantiles of two that lie a minute apart. Every 5 s
 * what is known then becomes a point.
 */
#include "gateway/history.h"

#include "gateway/backend_history.h"
#include "gateway/json.h"
#include "gateway/metrics.h"
#include "gateway/tally.h"
#include "gateway/worker.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

enum {
    READING_MS = 1000,
    READINGS = GW_HISTORY_WINDOW_MS / READING_MS + 4,
    BUCKETS = GW_HISTOGRAM_BOUNDS + 1,
};

/* All counters at one moment. */
struct reading {
    int64_t at_ms; /* monotonic */
    uint64_t ended;
    uint64_t tally[GW_TALLY_FIELDS];
    uint64_t handshake_us[BUCKETS];
};

/* What is made of readings. NAN: nothing happened. */
struct figures {
    double handshakes;
    double requests;
    double upgrades;
    double misroutes;
    double unknown_sid;
    double recoveries;
    double ended;
    double bytes_in;
    double bytes_out;
    double upgrade_success;
    double p50_ms;
    double p99_ms;
};

struct point {
    int64_t wall_ms;
    struct figures figures;
    struct gw_tally_sessions sessions;
};

struct gw_history {
    struct gw_server *server;
    struct gw_tally_places places;
    struct reading readings[READINGS];
    uint64_t reading_count; /* so far */
    int64_t next_reading_ms;
    struct point points[GW_HISTORY_POINTS];
    int64_t point_count; /* so far */
    int64_t next_point_ms;
    struct gw_backend_history *backends;
};

/* ---- readings ---- */

static void take_reading(struct gw_history *history, int64_t now_ms)
{
    struct reading *reading =
        &history->readings[history->reading_count++ % READINGS];
    size_t base = offsetof(struct gw_metrics, request_us[GW_REQUEST_HANDSHAKE]);

    reading->at_ms = now_ms;
    reading->ended = gw_tally_ended(history->server);
    gw_tally_read(&history->places, history->server, reading->tally);
    for (size_t i = 0; i < BUCKETS; i++)
        reading->handshake_us[i] =
            gw_tally_sum(history->server, base + i * sizeof(gw_counter));
}

_Static_assert(offsetof(struct gw_histogram, buckets) == 0,
               "a histogram begins with its buckets");

static const struct reading *newest(const struct gw_history *history)
{
    return &history->readings[(history->reading_count - 1) % READINGS];
}

/* The last one that is as old, or else the oldest there is. */
static const struct reading *before(const struct gw_history *history,
                                    int64_t age_ms)
{
    uint64_t count = history->reading_count;
    int64_t at_ms = newest(history)->at_ms - age_ms;
    const struct reading *found = newest(history);

    for (uint64_t back = 1; back < READINGS && back < count; back++) {
        if (found->at_ms <= at_ms)
            break;
        found = &history->readings[(count - 1 - back) % READINGS];
    }
    return found;
}

/* ---- figures ---- */

static double growth(uint64_t now, uint64_t then)
{
    return now > then ? (double)(now - then) : 0;
}

static double success(const struct reading *now, const struct reading *then)
{
    double good =
        growth(now->tally[GW_TALLY_SUCCESSES], then->tally[GW_TALLY_SUCCESSES]);
    double all = good;

    for (int i = GW_TALLY_REFUSED; i <= GW_TALLY_CLOSED; i++)
        all += growth(now->tally[i], then->tally[i]);
    return all > 0 ? good / all : NAN;
}

/* In ms: as if the values of a bucket were spread over it evenly. */
static double quantile(const struct reading *now, const struct reading *then,
                       double share)
{
    double counts[BUCKETS];
    double all = 0;
    double below_us = 0;

    for (size_t i = 0; i < BUCKETS; i++) {
        counts[i] = growth(now->handshake_us[i], then->handshake_us[i]);
        all += counts[i];
    }
    if (all <= 0)
        return NAN;
    double rank = all * share;
    for (size_t i = 0; i < GW_HISTOGRAM_BOUNDS; i++) {
        double bound_us = gw_histogram_bounds_us[i];

        if (counts[i] > 0 && rank <= counts[i])
            return (below_us + (bound_us - below_us) * rank / counts[i]) / 1000;
        rank -= counts[i];
        below_us = bound_us;
    }
    return below_us / 1000;
}

static struct figures work_out(const struct gw_history *history)
{
    const struct reading *now = newest(history);
    const struct reading *then = before(history, GW_HISTORY_STEP_MS);
    const struct reading *long_ago = before(history, GW_HISTORY_WINDOW_MS);
    double rates[GW_TALLY_FIELDS];
    double seconds = (double)(now->at_ms - then->at_ms) / 1000;

    if (seconds <= 0)
        seconds = 1;
    for (size_t i = 0; i < GW_TALLY_FIELDS; i++)
        rates[i] = growth(now->tally[i], then->tally[i]) / seconds;
    return (struct figures){
        .handshakes = rates[GW_TALLY_HANDSHAKES],
        .requests = rates[GW_TALLY_REQUESTS],
        .upgrades = rates[GW_TALLY_ATTEMPTS],
        .misroutes = rates[GW_TALLY_MISROUTES],
        .unknown_sid = rates[GW_TALLY_UNKNOWN_SID],
        .recoveries = rates[GW_TALLY_RECOVERIES],
        .ended = growth(now->ended, then->ended) / seconds,
        .bytes_in = rates[GW_TALLY_BYTES_IN],
        .bytes_out = rates[GW_TALLY_BYTES_OUT],
        .upgrade_success = success(now, long_ago),
        .p50_ms = quantile(now, long_ago, 0.5),
        .p99_ms = quantile(now, long_ago, 0.99),
    };
}

/* ---- its life ---- */

static void take_point(struct gw_history *history, int64_t wall_ms)
{
    history->points[history->point_count++ % GW_HISTORY_POINTS] =
        (struct point){
            .wall_ms = wall_ms,
            .figures = work_out(history),
            .sessions = gw_tally_sessions(history->server),
        };
}

/* The next time of something that is done every `every_ms`; what was missed is
 * not made up for. */
static int64_t next(int64_t was_ms, int64_t every_ms, int64_t now_ms)
{
    return was_ms + every_ms > now_ms ? was_ms + every_ms : now_ms + every_ms;
}

void gw_history_step(struct gw_history *history, int64_t now_ms,
                     int64_t wall_ms)
{
    gw_backend_history_step(history->backends, history->server, now_ms,
                            wall_ms);
    if (now_ms < history->next_reading_ms)
        return;
    history->next_reading_ms =
        next(history->next_reading_ms, READING_MS, now_ms);
    take_reading(history, now_ms);
    if (history->reading_count == 1)
        history->next_point_ms = now_ms + GW_HISTORY_STEP_MS;
    if (now_ms < history->next_point_ms)
        return;
    history->next_point_ms =
        next(history->next_point_ms, GW_HISTORY_STEP_MS, now_ms);
    take_point(history, wall_ms);
}

void gw_history_tick(struct gw_history *history)
{
    gw_history_step(history, gw_now_ms(), gw_wall_ms());
}

struct gw_history *gw_history_new(struct gw_server *server)
{
    struct gw_history *history = calloc(1, sizeof(*history));

    if (history == NULL)
        return NULL;
    history->server = server;
    history->backends = gw_backend_history_new();
    if (history->backends == NULL) {
        free(history);
        return NULL;
    }
    gw_history_tick(history);
    return history;
}

void gw_history_free(struct gw_history *history)
{
    if (history == NULL)
        return;
    gw_backend_history_free(history->backends);
    free(history);
}

/* ---- as JSON ---- */

static bool add_rates(cJSON *object, const struct figures *figures)
{
    return gw_json_add_number(object, "handshakes_per_s",
                              figures->handshakes) &&
           gw_json_add_number(object, "requests_per_s", figures->requests) &&
           gw_json_add_number(object, "misroutes_per_s", figures->misroutes) &&
           gw_json_add_number(object, "ended_per_s", figures->ended) &&
           gw_json_add_number(object, "upgrade_success",
                              figures->upgrade_success) &&
           gw_json_add_number(object, "handshake_p50_ms", figures->p50_ms) &&
           gw_json_add_number(object, "handshake_p99_ms", figures->p99_ms);
}

/* What is there now, rather than how much of it comes. */
static bool add_levels(cJSON *object, const struct gw_server *server)
{
    struct gw_tally_sessions sessions = gw_tally_sessions(server);
    uint64_t connections =
        gw_tally_sum(server, offsetof(struct gw_metrics, connections));
    uint64_t tunnels =
        gw_tally_sum(server, offsetof(struct gw_metrics, tunnels));

    return gw_json_add_count(object, "connections", (long long)connections) &&
           gw_json_add_count(object, "tunnels", (long long)tunnels) &&
           gw_json_add_count(object, "sessions", sessions.all) &&
           gw_json_add_count(object, "sessions_polling",
                             sessions.all - sessions.websockets) &&
           gw_json_add_count(object, "sessions_websocket",
                             sessions.websockets) &&
           gw_json_add_count(object, "sessions_elsewhere", sessions.elsewhere);
}

bool gw_history_add_now(const struct gw_history *history, cJSON *status)
{
    struct figures figures = work_out(history);
    cJSON *now = cJSON_AddObjectToObject(status, "now");

    return now != NULL && add_rates(now, &figures) &&
           gw_json_add_number(now, "upgrades_per_s", figures.upgrades) &&
           gw_json_add_number(now, "unknown_sid_per_s", figures.unknown_sid) &&
           gw_json_add_number(now, "recoveries_per_s", figures.recoveries) &&
           gw_json_add_number(now, "bytes_in_per_s", figures.bytes_in) &&
           gw_json_add_number(now, "bytes_out_per_s", figures.bytes_out) &&
           add_levels(now, history->server);
}

static bool add_failures(cJSON *totals, const uint64_t tally[GW_TALLY_FIELDS])
{
    static const char *const names[] = {"refused", "unreachable", "stripped",
                                        "probe", "closed"};
    cJSON *object = cJSON_AddObjectToObject(totals, "upgrade_failures");

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (object == NULL ||
            !gw_json_add_count(object, names[i],
                               (long long)tally[GW_TALLY_REFUSED + i]))
            return false;
    return true;
}

bool gw_history_add_totals(struct gw_history *history, cJSON *status)
{
    static const struct {
        const char *name;
        enum gw_tally_field field;
    } fields[] = {
        {"handshakes", GW_TALLY_HANDSHAKES},
        {"requests", GW_TALLY_REQUESTS},
        {"sessions_begun", GW_TALLY_BEGUN},
        {"upgrade_attempts", GW_TALLY_ATTEMPTS},
        {"upgrade_successes", GW_TALLY_SUCCESSES},
        {"misroutes", GW_TALLY_MISROUTES},
        {"unknown_sid", GW_TALLY_UNKNOWN_SID},
        {"recoveries", GW_TALLY_RECOVERIES},
    };
    uint64_t tally[GW_TALLY_FIELDS];
    cJSON *totals = cJSON_AddObjectToObject(status, "totals");

    if (totals == NULL)
        return false;
    gw_tally_read(&history->places, history->server, tally);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (!gw_json_add_count(totals, fields[i].name,
                               (long long)tally[fields[i].field]))
            return false;
    return gw_json_add_count(totals, "sessions_ended",
                             (long long)gw_tally_ended(history->server)) &&
           add_failures(totals, tally);
}

static bool fill_point(cJSON *object, const struct point *point)
{
    return object != NULL && gw_json_add_time(object, "time", point->wall_ms) &&
           add_rates(object, &point->figures) &&
           gw_json_add_number(object, "bytes_per_s",
                              point->figures.bytes_in +
                                  point->figures.bytes_out) &&
           gw_json_add_count(object, "sessions", point->sessions.all) &&
           gw_json_add_count(object, "sessions_websocket",
                             point->sessions.websockets);
}

bool gw_history_add_points(const struct gw_history *history, cJSON *root)
{
    int64_t count = history->point_count;
    int64_t i = count > GW_HISTORY_POINTS ? count - GW_HISTORY_POINTS : 0;
    bool is_whole =
        gw_json_add_count(root, "step_s", GW_HISTORY_STEP_MS / 1000);
    cJSON *points = cJSON_AddArrayToObject(root, "points");

    is_whole = is_whole && points != NULL;
    for (; is_whole && i < count; i++)
        is_whole = fill_point(gw_json_append(points),
                              &history->points[i % GW_HISTORY_POINTS]);
    return is_whole;
}

bool gw_history_add_backend(const struct gw_history *history, unsigned place,
                            cJSON *backend)
{
    return gw_backend_history_add(history->backends, history->server, place,
                                  backend);
}

int64_t gw_history_last(const struct gw_history *history)
{
    return history->point_count;
}

bool gw_history_add_point(const struct gw_history *history, int64_t number,
                          cJSON *root)
{
    int64_t i = number - 1;

    if (i < 0 || i >= history->point_count ||
        i < history->point_count - GW_HISTORY_POINTS)
        return true;
    return fill_point(cJSON_AddObjectToObject(root, "point"),
                      &history->points[i % GW_HISTORY_POINTS]);
}
