/* SPDX-License-Identifier: MIT */
/* `sidgate ctl status`: a gateway at a glance. */
#include "gateway/ctl_call.h"
#include "gateway/ctl_frame.h"
#include "gateway/ctl_table.h"
#include "gateway/ctl_units.h"

#include <string.h>

/* Room for one number of several in a line. */
struct unit {
    char text[GW_CTL_UNIT_MAX];
};

static struct unit make(void (*put)(double value, char *out),
                        const cJSON *object, const char *key)
{
    struct unit unit;

    put(gw_ctl_number(object, key), unit.text);
    return unit;
}

#define COUNT(object, key)   make(gw_ctl_count, object, key).text
#define RATE(object, key)    make(gw_ctl_rate, object, key).text
#define BYTES(object, key)   make(gw_ctl_bytes, object, key).text
#define SECONDS(object, key) make(gw_ctl_seconds, object, key).text
#define MS(object, key)      make(gw_ctl_ms, object, key).text
#define SHARE(object, key)   make(gw_ctl_share, object, key).text

static const char *text(const cJSON *object, const char *key)
{
    const char *value = gw_ctl_text(object, key);

    return value != NULL ? value : "-";
}

static void add_process(struct gw_ctl_frame *frame, const cJSON *status)
{
    const char *phase = text(status, "phase");
    bool is_running = strcmp(phase, "running") == 0;

    gw_ctl_frame_add(
        frame, is_running ? GW_CTL_TITLE : GW_CTL_WARN,
        "gateway     %.60s, %.20s for %s, %.20s, pid %.0f, log %.10s%s",
        text(status, "gateway"), phase, SECONDS(status, "uptime_s"),
        text(status, "version"),
        gw_ctl_number(status, "pid") > 0 ? gw_ctl_number(status, "pid") : 0,
        text(status, "log_level"),
        strcmp(text(status, "access"), "read") == 0
            ? " (this token may only read)"
            : "");
}

static void add_store(struct gw_ctl_frame *frame, const cJSON *status)
{
    const cJSON *store = gw_ctl_member(status, "store");
    const char *state = text(store, "state");
    enum gw_ctl_style style = strcmp(state, "up") == 0     ? GW_CTL_PLAIN
                              : strcmp(state, "down") == 0 ? GW_CTL_BAD
                                                           : GW_CTL_WARN;

    if (gw_ctl_number(store, "connections") > 0)
        gw_ctl_frame_add(
            frame, style, "store       %.20s is %.20s, %s of %s connections up",
            text(store, "kind"), state, COUNT(store, "connections_up"),
            COUNT(store, "connections"));
    else
        gw_ctl_frame_add(frame, style, "store       %.20s is %.20s",
                         text(store, "kind"), state);
}

static void add_sessions(struct gw_ctl_frame *frame, const cJSON *now)
{
    gw_ctl_frame_add(
        frame, GW_CTL_PLAIN,
        "sessions    %s here: %s polling, %s websocket; %s elsewhere; "
        "%s ended/s",
        COUNT(now, "sessions"), COUNT(now, "sessions_polling"),
        COUNT(now, "sessions_websocket"), COUNT(now, "sessions_elsewhere"),
        RATE(now, "ended_per_s"));
    gw_ctl_frame_add(frame, GW_CTL_PLAIN,
                     "traffic     %s handshakes/s, %s requests/s, in %s/s, "
                     "out %s/s",
                     RATE(now, "handshakes_per_s"), RATE(now, "requests_per_s"),
                     BYTES(now, "bytes_in_per_s"),
                     BYTES(now, "bytes_out_per_s"));
    gw_ctl_frame_add(frame, GW_CTL_PLAIN,
                     "connections %s, and %s tunnels; handshakes: half in %s, "
                     "99 %% in %s",
                     COUNT(now, "connections"), COUNT(now, "tunnels"),
                     MS(now, "handshake_p50_ms"), MS(now, "handshake_p99_ms"));
}

static void add_affinity(struct gw_ctl_frame *frame, const cJSON *now,
                         const cJSON *totals)
{
    double misroutes = gw_ctl_number(now, "misroutes_per_s");
    enum gw_ctl_style style = misroutes > 0    ? GW_CTL_BAD
                              : misroutes == 0 ? GW_CTL_GOOD
                                               : GW_CTL_WARN;

    gw_ctl_frame_add(
        frame, style,
        "affinity    %s: misroutes %s/s (%s), unknown sids %s/s (%s), "
        "recoveries %s/s (%s)",
        misroutes > 0    ? "BROKEN"
        : misroutes == 0 ? "good"
                         : "not told",
        RATE(now, "misroutes_per_s"), COUNT(totals, "misroutes"),
        RATE(now, "unknown_sid_per_s"), COUNT(totals, "unknown_sid"),
        RATE(now, "recoveries_per_s"), COUNT(totals, "recoveries"));
}

static void add_upgrades(struct gw_ctl_frame *frame, const cJSON *now,
                         const cJSON *totals)
{
    const cJSON *failed = gw_ctl_member(totals, "upgrade_failures");
    bool is_bad = gw_ctl_number(now, "upgrade_success") < 0.9;

    gw_ctl_frame_add(frame, is_bad ? GW_CTL_WARN : GW_CTL_PLAIN,
                     "upgrades    %s/s, %s succeed; %s of %s in all",
                     RATE(now, "upgrades_per_s"), SHARE(now, "upgrade_success"),
                     COUNT(totals, "upgrade_successes"),
                     COUNT(totals, "upgrade_attempts"));
    gw_ctl_frame_add(frame, is_bad ? GW_CTL_WARN : GW_CTL_PLAIN,
                     "  failed    refused %s, unreachable %s, stripped %s, "
                     "probe %s, closed %s",
                     COUNT(failed, "refused"), COUNT(failed, "unreachable"),
                     COUNT(failed, "stripped"), COUNT(failed, "probe"),
                     COUNT(failed, "closed"));
}

void gw_ctl_frame_status(struct gw_ctl_frame *frame, const cJSON *status)
{
    const cJSON *now = gw_ctl_member(status, "now");
    const cJSON *totals = gw_ctl_member(status, "totals");

    add_process(frame, status);
    add_store(frame, status);
    add_affinity(frame, now, totals);
    add_upgrades(frame, now, totals);
    add_sessions(frame, now);
}

static void put_self(const cJSON *row, const char *key,
                     char out[GW_CTL_CELL_MAX])
{
    bool is_self = cJSON_IsTrue(gw_ctl_member(row, key));

    snprintf(out, GW_CTL_CELL_MAX, "%s", is_self ? "this one" : "-");
}

static const struct gw_ctl_column columns[] = {
    {"REPLICA", "id", gw_ctl_put_text, false},
    {"SESSIONS", "sessions", gw_ctl_put_count, true},
    {"HEARD", "heard_s", gw_ctl_put_seconds, true},
    {"SELF", "is_self", put_self, false},
};

static void print_replicas(const cJSON *status)
{
    gw_ctl_table_print(columns, sizeof(columns) / sizeof(columns[0]),
                       gw_ctl_member(status, "replicas"), stdout);
}

/* 0 with the status in `*root`, or the code to exit with. With --json it is
 * printed. */
static int fetch(struct gw_ctl_call *call, cJSON **root)
{
    int code = gw_ctl_fetch(call, false, call->command->prefix, root);

    if (code != 0)
        return code;
    if (!cJSON_IsObject(gw_ctl_member(*root, "now")) ||
        !cJSON_IsArray(gw_ctl_member(*root, "replicas"))) {
        cJSON_Delete(*root);
        return gw_ctl_fail("what came is no status", GW_CTL_UNASKED);
    }
    if (gw_ctl_is_given(call, GW_CTL_JSON))
        gw_ctl_print_answer(call);
    return 0;
}

int gw_ctl_run_status(struct gw_ctl_call *call)
{
    static struct gw_ctl_frame frame;
    const struct gw_ctl_screen screen = {0};
    cJSON *root = NULL;
    int code = fetch(call, &root);

    if (code != 0)
        return code;
    if (!gw_ctl_is_given(call, GW_CTL_JSON)) {
        gw_ctl_frame_status(&frame, root);
        gw_ctl_frame_draw(&frame, &screen, stdout);
        fputc('\n', stdout);
        print_replicas(root);
    }
    cJSON_Delete(root);
    return 0;
}

int gw_ctl_run_replicas(struct gw_ctl_call *call)
{
    cJSON *root = NULL;
    int code = fetch(call, &root);

    if (code != 0)
        return code;
    if (!gw_ctl_is_given(call, GW_CTL_JSON))
        print_replicas(root);
    cJSON_Delete(root);
    return 0;
}
