/* SPDX-License-Identifier: MIT */
/* What the checks mean, in plain words: websockets. */
#include "gateway/doctor_verdict.h"

#include <stdio.h>
#include <string.h>

static const struct doctor_words elsewhere = {
    .code = "upgrade-elsewhere",
    .is_error = true,
    .title = "Upgrades do not find their session, though polls do",
    .cause = "Polls and websockets are routed by different rules: by two "
             "pools, two locations, or a rule on the Upgrade field.",
    .advice = "Give both the same rule, by session id. Until then clients stay "
              "on polling for ever, and do not say so.",
};

static const struct doctor_words ip_hash = {
    .code = "ip-hash",
    .is_error = true,
    .title = "Upgrades are lost when the client's address changes",
    .cause = "For websockets the server is chosen by a hash of the client's "
             "address.",
    .advice = "Route websockets by session id, too.",
};

static const struct doctor_words stripped = {
    .code = "upgrade-stripped",
    .is_error = true,
    .title = "The Upgrade field is lost on the way",
    .cause = "The proxy does not pass the fields Upgrade and Connection on, as "
             "nginx does not by default: the server takes the upgrade for a "
             "poll.",
    .advice = "Pass them on, in nginx by `proxy_http_version 1.1; "
              "proxy_set_header Upgrade $http_upgrade; proxy_set_header "
              "Connection \"upgrade\";`. Until then clients stay on polling "
              "for ever, and do not say so.",
};

static const struct doctor_words probe_lost = {
    .code = "probe-lost",
    .is_error = true,
    .title = "Websockets open, but nothing passes on them",
    .cause = "Something on the way holds frames back, such as a buffer or an "
             "inspecting firewall.",
    .advice = "Turn buffering and inspection off for this path.",
};

static const struct doctor_words closed = {
    .code = "websocket-closed",
    .is_error = true,
    .title = "Websockets open, and are closed at once",
    .cause = "Something on the way does not know websocket frames, or has a "
             "very short timeout for tunnels; or the server itself ends them.",
    .advice = "See the logs there. Until then clients fall back to polling, or "
              "start anew in a loop.",
};

static const struct doctor_words blocked = {
    .code = "websocket-blocked",
    .is_error = true,
    .title = "Websockets do not pass",
    .cause = "Something on the way refuses or drops them, with a session and "
             "without one.",
    .advice = "Allow websockets there. Until then clients stay on polling.",
};

static const struct doctor_words upgrade_fails = {
    .code = "upgrade-fails",
    .is_error = true,
    .title = "Upgrades fail, though websockets pass",
    .cause = "A websocket without polling before it works, one that continues "
             "a session does not, and not for want of the session.",
    .advice = "See the log of what stands there, and of the server.",
};

static const struct doctor_words direct_fails = {
    .code = "direct-fails",
    .is_error = true,
    .title = "Websockets without polling before them fail",
    .cause = "Upgrades work. The rule for requests without a session id may be "
             "another one, or a server is down.",
    .advice = "See the log of what stands there. Clients with transports: "
              "[\"websocket\"] cannot connect.",
};

static unsigned failed_of(const struct doctor_check *check)
{
    return check->tried - check->good - check->unknown;
}

static bool is_good(const struct doctor_check *check)
{
    return check->good == check->tried;
}

/* Why those of `check` fail that found their session. */
static void judge_failures(const struct doctor_check *check,
                           const struct doctor_check *direct,
                           struct doctor_findings *out)
{
    const struct doctor_step *last = &check->last;
    const struct doctor_words *words = &upgrade_fails;
    if (check->stripped == 0 && direct->stripped > 0) {
        check = direct;
        last = &direct->last;
    }
    if (check->stripped > 0)
        words = &stripped;
    else if (last->fate == DOCTOR_NO_PROBE)
        words = &probe_lost;
    else if (last->fate == DOCTOR_DROPPED)
        words = &closed;
    else if (!is_good(direct))
        words = &blocked;
    doctor_find(out, words, "%u of %u websockets failed, the last one: %s%s",
                failed_of(check), check->tried, last->text,
                words == &stripped ? " (an answer as to a poll)" : "");
    if (words == &upgrade_fails && direct->tried > 0) {
        struct doctor_finding *one = &out->list[out->count - 1];
        size_t used = strlen(one->text);
        snprintf(one->text + used, sizeof(one->text) - used,
                 ". Of those without polling %u of %u worked.", direct->good,
                 direct->tried);
    }
}

static void judge_strays(const struct doctor_report *report,
                         struct doctor_findings *out)
{
    const struct doctor_check *upgrade = &report->checks[DOCTOR_UPGRADE];
    const struct doctor_check *changed =
        &report->checks[DOCTOR_UPGRADE_CHANGED];
    if (upgrade->unknown > 0)
        doctor_find(out, &elsewhere,
                    "%u of %u upgrades to websocket came to a server that does "
                    "not know their session (%s); polls found it.",
                    upgrade->unknown, upgrade->tried, upgrade->denied.text);
    else if (changed->unknown > 0)
        doctor_find(out, &ip_hash,
                    "From other addresses %u of %u upgrades to websocket came "
                    "to a server that does not know their session (%s); from "
                    "that of the handshake none of %u.",
                    changed->unknown, changed->tried, changed->denied.text,
                    upgrade->tried);
}

void doctor_judge_websockets(const struct doctor_report *report,
                             struct doctor_findings *out)
{
    const struct doctor_check *upgrade = &report->checks[DOCTOR_UPGRADE];
    const struct doctor_check *changed =
        &report->checks[DOCTOR_UPGRADE_CHANGED];
    const struct doctor_check *direct = &report->checks[DOCTOR_DIRECT];
    bool has_polls = report->has_polls;
    if (has_polls && !report->open.upgrades_websocket)
        return; /* what is not offered is not missed */
    if (report->checks[DOCTOR_NEW].unknown == 0 &&
        report->checks[DOCTOR_CHANGED].unknown == 0 &&
        report->checks[DOCTOR_AT_ONCE].unknown == 0)
        judge_strays(report, out);
    if (failed_of(upgrade) > 0 || direct->stripped > 0)
        judge_failures(upgrade, direct, out);
    else if (failed_of(changed) > 0)
        judge_failures(changed, direct, out);
    else if (!is_good(direct) && !has_polls)
        judge_failures(direct, direct, out);
    else if (!is_good(direct))
        doctor_find(out, &direct_fails, "%u of %u failed, the last one: %s",
                    failed_of(direct), direct->tried, direct->last.text);
}
