/* SPDX-License-Identifier: MIT */
/* What the checks mean, in plain words: sessions and silence. */
#include "gateway/doctor_verdict.h"

#include <stdarg.h>
#include <stdio.h>

void doctor_find(struct doctor_findings *out, const struct doctor_words *words,
                 const char *format, ...)
{
    va_list args;
    if (out->count == DOCTOR_FINDINGS_MAX)
        return;
    struct doctor_finding *one = &out->list[out->count++];
    one->words = words;
    va_start(args, format);
    vsnprintf(one->text, sizeof(one->text), format, args);
    va_end(args);
}

/* ---- handshakes ---- */

static const struct doctor_words not_engine_io = {
    .code = "not-engine-io",
    .is_error = true,
    .title = "This is no Engine.IO server",
    .cause = "The path is another one (Socket.IO's default is /socket.io/), or "
             "the address is that of another site, or the answer is a redirect "
             "or an error page of what stands before the servers.",
    .advice = "Give the URL that clients use, with its path.",
};

static const struct doctor_words other_version = {
    .code = "other-version",
    .is_error = true,
    .title = "The server does not speak this version of Engine.IO",
    .cause = "Socket.IO 2 speaks version 3, Socket.IO 3 and 4 speak version 4.",
    .advice = "Try --eio 3, or --eio 4 where that was given.",
};

static const struct doctor_words handshake_fails = {
    .code = "handshake-fails",
    .is_error = true,
    .title = "Sessions cannot be opened, or not always",
    .cause = "A server behind it is down or slow, or there are limits on the "
             "way.",
    .advice = "See the log of what stands there.",
};

static const struct doctor_words handshake_cached = {
    .code = "handshake-cached",
    .is_error = true,
    .title = "One answer to a handshake is given to several clients",
    .cause = "Something on the way caches answers; so clients share sessions.",
    .advice = "Exclude the path from all caches, and from rewriting of "
              "queries.",
};

static const struct doctor_words websocket_only = {
    .code = "websocket-only",
    .title = "The server takes websockets alone",
    .cause = "Its transports leave out polling. A session is then one "
             "connection, and needs nothing to keep it at its server.",
    .advice = "Nothing, if that is meant: clients whose networks do not pass "
              "websockets have no other way.",
};

static void judge_handshake(const struct doctor_report *report,
                            struct doctor_findings *out)
{
    const struct doctor_check *check = &report->checks[DOCTOR_HANDSHAKE];
    const struct doctor_words *words = &handshake_fails;
    if (report->repeated > 0)
        doctor_find(out, &handshake_cached,
                    "%u of %u handshakes were answered with the session of an "
                    "earlier one.",
                    report->repeated, check->tried);
    if (check->good == check->tried || check->last.fate == DOCTOR_NO_POLLS)
        return;
    if (check->last.fate == DOCTOR_NO_VERSION)
        words = &other_version;
    else if (check->good == 0 && (check->last.fate == DOCTOR_NOT_EIO ||
                                  check->last.fate == DOCTOR_REFUSED))
        words = &not_engine_io;
    doctor_find(out, words,
                "%u of %u handshakes were not answered with a session, the "
                "last one: %s",
                check->tried - check->good, check->tried, check->last.text);
}

/* ---- affinity ---- */

static const struct doctor_words no_affinity = {
    .code = "no-affinity",
    .is_error = true,
    .title = "Sessions do not stay with their servers",
    .cause = "Each request goes to any server, in turn or by chance (round "
             "robin without stickiness); but only the server that opened a "
             "session knows it.",
    .advice = "Send each request to the server that holds its session: with "
              "sidgate, or with HAProxy's stick table on the sid if there is "
              "one HAProxy. Until then clients fail, start anew in a loop, or "
              "stay on polling.",
};

static const struct doctor_words by_connection = {
    .code = "by-connection",
    .is_error = true,
    .title = "Sessions stay with their servers only on one connection",
    .cause = "A server is chosen for each connection, not for each session, as "
             "balancers of layer 4 do. A test over one kept connection shows "
             "nothing of it; clients open several.",
    .advice = "Route by session id: put sidgate behind the balancer, or use "
              "one that reads HTTP and knows the sid.",
};

static const struct doctor_words partly = {
    .code = "partly",
    .is_error = true,
    .title = "Some requests do not find their session",
    .cause = "More are right than chance would have it. It looks like several "
             "balancers of which each knows only the sessions that it opened "
             "itself, or like a server that fails or restarts.",
    .advice = "Let all balancers share one table, as sidgates with a Redis do; "
              "see whether a server is restarting.",
};

static const struct doctor_words cookie_only = {
    .code = "cookie-only",
    .is_error = true,
    .title = "Sessions stay with their servers only by a cookie",
    .cause = "The balancer is sticky by a cookie of its own. Native clients do "
             "not send it back, nor do pages of other sites (CORS) whose "
             "clients are not told to (withCredentials), and browsers drop "
             "cookies of third parties.",
    .advice = "Route by session id instead.",
};

static const struct doctor_words ip_hash = {
    .code = "ip-hash",
    .is_error = true,
    .title = "Sessions are lost when the client's address changes",
    .cause = "The server is chosen by a hash of the client's address. Phones "
             "change networks, some providers and proxies change addresses "
             "from one connection to the next, and all clients behind one NAT "
             "land on one server.",
    .advice = "Route by session id instead.",
};

static const struct doctor_words late = {
    .code = "late",
    .is_error = true,
    .title = "Sessions are known too late",
    .cause = "The first requests of a client come before the balancer knows "
             "whose its session is: several balancers share what they learn, "
             "but only after the client heard of it.",
    .advice = "Use one that writes the session down before its client hears of "
              "it, as sidgate does.",
};

/* Of all requests that any server may get, those that came to the right one. */
struct spread {
    unsigned right;
    unsigned all;
};

/* The upgrades of a session come in the same order each time, and say little of
 * how many servers there are. */
static struct spread spread_of(const struct doctor_report *report,
                               bool has_upgrades)
{
    static const enum doctor_check_name names[] = {
        DOCTOR_NEW, DOCTOR_CHANGED, DOCTOR_UPGRADE, DOCTOR_UPGRADE_CHANGED};
    struct spread spread = {.right = 0};
    for (size_t i = 0; i < (has_upgrades ? 4 : 2); i++) {
        const struct doctor_check *check = &report->checks[names[i]];
        spread.right += check->good;
        spread.all += check->good + check->unknown;
    }
    return spread;
}

/* One of n servers is the right one, if requests are spread over all. */
static void guess(const struct doctor_report *report, char out[96])
{
    struct spread spread = spread_of(report, false);
    unsigned right = spread.right;
    unsigned servers = right == 0 ? 0 : (spread.all + right / 2) / right;
    out[0] = '\0';
    if (servers == 0)
        snprintf(out, 96, " Not one was right.");
    else if (servers > 1)
        snprintf(out, 96,
                 " In all 1 in %u is right: that looks like about %u servers.",
                 servers, servers);
}

/* So often that it is no chance between two servers: rather two balancers that
 * learn, before three, where two of three are right. */
static bool is_mostly_right(const struct doctor_report *report)
{
    struct spread spread = spread_of(report, true);
    return spread.right * 12 > spread.all * 7;
}

static void find_strays(const struct doctor_report *report,
                        const struct doctor_words *words,
                        struct doctor_findings *out)
{
    const struct doctor_check *check = &report->checks[DOCTOR_NEW];
    const struct doctor_check *kept = &report->checks[DOCTOR_KEPT];
    char servers[96] = "";
    char same[128] = "";
    if (words != &partly)
        guess(report, servers);
    if (kept->tried > 0 && kept->unknown == 0)
        snprintf(same, sizeof(same),
                 " On the connection of the handshake none of %u did.",
                 kept->tried);
    doctor_find(out, words,
                "%u of %u requests on new connections, of sessions that had "
                "just been opened, came to a server that does not know their "
                "session (%s).%s%s",
                check->unknown, check->tried, check->denied.text, servers,
                same);
}

static void judge_strays(const struct doctor_report *report,
                         struct doctor_findings *out)
{
    const struct doctor_check *plain = &report->checks[DOCTOR_NEW];
    const struct doctor_check *cookie = &report->checks[DOCTOR_COOKIE];
    const struct doctor_check *kept = &report->checks[DOCTOR_KEPT];
    if (cookie->good > 0 && cookie->unknown == 0)
        doctor_find(out, &cookie_only,
                    "Without cookies %u of %u requests came to a server that "
                    "does not know their session (%s); with those that the "
                    "handshake set, none of %u.",
                    plain->unknown, plain->tried, plain->denied.text,
                    cookie->tried);
    else if (plain->mixed == 0 && plain->lost == 0 && plain->late > 1)
        doctor_find(out, &late,
                    "%u of %u sessions were unknown at first (%s), up to %lld "
                    "ms behind their handshake, and known from then on.",
                    plain->late, plain->late + plain->whole, plain->denied.text,
                    (long long)plain->late_ms);
    else if (is_mostly_right(report))
        find_strays(report, &partly, out);
    else if (kept->good > 0 && kept->unknown == 0)
        find_strays(report, &by_connection, out);
    else
        find_strays(report, &no_affinity, out);
}

static void judge_affinity(const struct doctor_report *report,
                           struct doctor_findings *out)
{
    const struct doctor_check *plain = &report->checks[DOCTOR_NEW];
    const struct doctor_check *changed = &report->checks[DOCTOR_CHANGED];
    const struct doctor_check *at_once = &report->checks[DOCTOR_AT_ONCE];
    if (plain->unknown > 0)
        judge_strays(report, out);
    else if (changed->unknown > 0)
        doctor_find(out, &ip_hash,
                    "From other addresses%s %u of %u requests came to a server "
                    "that does not know their session (%s); from that of the "
                    "handshake none of %u.",
                    report->doctor->pretends
                        ? " (as X-Forwarded-For has it: that is what changed)"
                        : "",
                    changed->unknown, changed->tried, changed->denied.text,
                    plain->tried);
    else if (at_once->unknown > 0)
        doctor_find(out, &late,
                    "%u of %u requests that were sent in the very moment of "
                    "the handshake's answer came to a server that does not "
                    "know their session (%s), though later ones are right.",
                    at_once->unknown, at_once->tried, at_once->denied.text);
}

static const struct doctor_words requests_fail = {
    .code = "requests-fail",
    .is_error = true,
    .title = "Some requests fail for another reason",
    .cause = "A limit on the way (429, 503), a server that is down or slow "
             "(502, 504, no answer), or something that inspects requests "
             "(403).",
    .advice = "See the log of what stands there; try --sessions 5 if it limits "
              "rates.",
};

/* Requests that failed for other reasons than a session's server. */
static void judge_polling(const struct doctor_report *report,
                          struct doctor_findings *out)
{
    static const enum doctor_check_name names[] = {
        DOCTOR_NEW, DOCTOR_KEPT, DOCTOR_COOKIE, DOCTOR_CHANGED, DOCTOR_AT_ONCE};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct doctor_check *check = &report->checks[names[i]];
        unsigned failed = check->tried - check->good - check->unknown;
        if (failed == 0)
            continue;
        doctor_find(out, &requests_fail,
                    "%u of %u requests of sessions failed, the last one: %s",
                    failed, check->tried, check->last.text);
        return;
    }
}

/* ---- silence ---- */

static const struct doctor_words idle_timeout = {
    .code = "idle-timeout",
    .is_error = true,
    .title = "Quiet sessions are cut",
    .cause = "An idle timeout stands before the servers, shorter than "
             "pingInterval. Clients lose their session whenever they are quiet "
             "for so long, and start anew.",
    .advice = "Set timeouts well above pingInterval + pingTimeout: in nginx "
              "proxy_read_timeout and proxy_send_timeout, in HAProxy timeout "
              "client, server and tunnel, in Envoy stream_idle_timeout and the "
              "route's timeout, in ingress-nginx the annotations "
              "proxy-read-timeout and proxy-send-timeout.",
};

static const struct doctor_words idle_unproven = {
    .code = "idle-unproven",
    .title = "It is not known whether quiet sessions last",
    .cause = "Silence was not looked at for as long as pingInterval.",
    .advice = "Give it more time: --timeout 120.",
};

static void judge_idle(const struct doctor_report *report,
                       struct doctor_findings *out)
{
    const struct doctor_check *poll = &report->checks[DOCTOR_IDLE_POLL];
    const struct doctor_check *websocket =
        &report->checks[DOCTOR_IDLE_WEBSOCKET];
    bool is_poll_cut = poll->good < poll->tried;
    bool is_websocket_cut = websocket->good < websocket->tried;
    double interval_s = report->open.ping_interval_ms / 1000.0;
    if (is_poll_cut && is_websocket_cut)
        doctor_find(out, &idle_timeout,
                    "A held poll was cut after %.1f s (%s), and a silent "
                    "websocket after %.1f s. pingInterval is %.1f s: only then "
                    "does the server say something of itself.",
                    (double)poll->cut_ms / 1000, poll->last.text,
                    (double)websocket->cut_ms / 1000, interval_s);
    else if (is_poll_cut || is_websocket_cut)
        doctor_find(out, &idle_timeout,
                    "A silent %s was cut after %.1f s (%s). pingInterval is "
                    "%.1f s: only then does the server say something of "
                    "itself.",
                    is_poll_cut ? "poll" : "websocket",
                    (double)(is_poll_cut ? poll : websocket)->cut_ms / 1000,
                    (is_poll_cut ? poll : websocket)->last.text, interval_s);
}

/* ---- notes ---- */

static const struct doctor_words no_upgrade_offered = {
    .code = "no-upgrade-offered",
    .title = "The server offers no upgrade to websocket",
    .cause = "Its transports leave out websocket, or it allows no upgrades.",
    .advice = "Nothing, if that is meant.",
};

static const struct doctor_words address_pretended = {
    .code = "address-pretended",
    .title = "It is not proven that the client's address may change",
    .cause = "This machine was not given several addresses to come from.",
    .advice = "Name local addresses with --source, more than once, to change "
              "it in truth.",
};

static const struct doctor_words several_addresses = {
    .code = "several-addresses",
    .title = "One address of several was looked at",
    .cause = "Clients may take another one for each connection: balancers "
             "there have to know one another's sessions.",
    .advice = "Try it at a name or address that balances over all of them.",
};

static const struct doctor_words time_was_up = {
    .code = "time-was-up",
    .title = "Not everything was tried",
    .cause = "It is far or slow.",
    .advice = "Give it more time (--timeout 120), or less to do (--sessions "
              "5).",
};

static const struct doctor_words too_little = {
    .code = "too-little",
    .is_error = true,
    .title = "Too little was tried to say that all is well",
    .cause = "It is far or slow, or does not answer requests of sessions at "
             "all.",
    .advice = "Give it more time (--timeout 120), or less to do (--sessions "
              "5).",
};

static void judge_time(const struct doctor_report *report,
                       struct doctor_findings *out)
{
    bool has_tried = report->checks[DOCTOR_NEW].tried > 0 &&
                     (report->checks[DOCTOR_UPGRADE].tried > 0 ||
                      !report->open.upgrades_websocket);
    if (report->is_cut_short && report->has_polls && !has_tried)
        doctor_find(out, &too_little,
                    "Time was up after %.1f s; %u requests and %u upgrades of "
                    "sessions had been answered by then.",
                    (double)report->took_ms / 1000,
                    report->checks[DOCTOR_NEW].tried,
                    report->checks[DOCTOR_UPGRADE].tried);
}

static bool is_silence_unproven(const struct doctor_report *report)
{
    const int64_t enough_ms = (int64_t)report->open.ping_interval_ms * 9 / 10;
    for (int i = DOCTOR_IDLE_POLL; i <= DOCTOR_IDLE_WEBSOCKET; i++) {
        const struct doctor_check *check = &report->checks[i];
        if (check->good > 0 && check->lived_ms < enough_ms)
            return true;
    }
    return false;
}

static void add_notes(const struct doctor_report *report,
                      struct doctor_findings *out)
{
    const struct doctor *doctor = report->doctor;
    const struct doctor_check *changed = &report->checks[DOCTOR_CHANGED];
    if (report->checks[DOCTOR_HANDSHAKE].last.fate == DOCTOR_NO_POLLS)
        doctor_find(out, &websocket_only,
                    "It refuses to open a session by polling (%s).",
                    report->checks[DOCTOR_HANDSHAKE].last.text);
    if (report->has_polls && !report->open.upgrades_websocket)
        doctor_find(out, &no_upgrade_offered,
                    "The handshake's answer does not name websocket among its "
                    "upgrades.");
    if (doctor->pretends && changed->tried > 0 && changed->unknown == 0)
        doctor_find(out, &address_pretended,
                    "The address cannot be changed from here: another one was "
                    "told in X-Forwarded-For, which the balancer may not "
                    "believe.");
    if (doctor->address_count > 1)
        doctor_find(out, &several_addresses, "The name has %u addresses.",
                    doctor->address_count);
    if (report->is_cut_short)
        doctor_find(out, &time_was_up, "Time was up after %.1f s.",
                    (double)report->took_ms / 1000);
    if (is_silence_unproven(report))
        doctor_find(out, &idle_unproven,
                    "pingInterval is %.1f s; it ended sooner.",
                    report->open.ping_interval_ms / 1000.0);
}

unsigned doctor_judge(const struct doctor_report *report,
                      struct doctor_finding findings[DOCTOR_FINDINGS_MAX])
{
    struct doctor_findings out = {.list = findings};
    judge_handshake(report, &out);
    judge_affinity(report, &out);
    judge_polling(report, &out);
    doctor_judge_websockets(report, &out);
    judge_idle(report, &out);
    judge_time(report, &out);
    add_notes(report, &out);
    return out.count;
}
