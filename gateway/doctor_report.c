/* SPDX-License-Identifier: MIT */
/* The report, for people and for programs. */
#include "gateway/doctor_private.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 78 };

static const struct {
    const char *name;
    const char *text;
} names[DOCTOR_CHECKS] = {
    [DOCTOR_HANDSHAKE] = {"handshake", "handshakes"},
    [DOCTOR_KEPT] = {"kept", "requests on the handshake's connection"},
    [DOCTOR_NEW] = {"new", "requests on new connections"},
    [DOCTOR_COOKIE] = {"cookie", "the same, cookies sent back"},
    [DOCTOR_CHANGED] = {"changed", "the same, from another address"},
    [DOCTOR_AT_ONCE] = {"at-once", "requests in the moment of the handshake"},
    [DOCTOR_DIRECT] = {"direct", "websockets without polling before"},
    [DOCTOR_UPGRADE] = {"upgrade", "upgrades to websocket"},
    [DOCTOR_UPGRADE_CHANGED] = {"upgrade-changed",
                                "upgrades from another address"},
    [DOCTOR_IDLE_POLL] = {"idle-poll", "silent poll kept"},
    [DOCTOR_IDLE_WEBSOCKET] = {"idle-websocket", "silent websocket kept"},
};

/* Words into lines, behind a label; the next ones are indented as far. */
static void print_wrapped(const char *label, const char *text, FILE *out)
{
    size_t indent = strlen(label);
    size_t at = (size_t)fprintf(out, "%s", label);
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (at > indent && at + 1 + len > WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            fputc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", (int)len, text);
        at += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static unsigned count_errors(const struct doctor_finding *findings,
                             unsigned count)
{
    unsigned errors = 0;
    for (unsigned i = 0; i < count; i++)
        errors += findings[i].words->is_error;
    return errors;
}

/* The names of cookies, whose values may be secrets. */
static void name_cookies(const char *cookies, char *out, size_t cap)
{
    size_t used = 0;
    out[0] = '\0';
    while (*cookies != '\0' && used + 1 < cap) {
        size_t len = strcspn(cookies, "=;");
        int added = snprintf(out + used, cap - used, "%s%.*s",
                             used > 0 ? ", " : "", (int)len, cookies);
        used += added > 0 ? (size_t)added : 0;
        cookies += strcspn(cookies, ";");
        cookies += strspn(cookies, "; ");
    }
    for (char *at = out; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
}

static void write_url(const struct doctor *doctor, char *out, size_t cap)
{
    snprintf(out, cap, "%s://%s%s", doctor->is_tls ? "https" : "http",
             doctor->authority, doctor->path);
}

static void print_head(const struct doctor_report *report, FILE *out)
{
    const struct doctor *doctor = report->doctor;
    const struct eio_open *open = &report->open;
    char names_of[DOCTOR_COOKIES_MAX];
    char text[DOCTOR_COOKIES_MAX + DOCTOR_TEXT_MAX];
    write_url(doctor, text, sizeof(text));
    fprintf(out, "%s\n", text);
    if (open->sid.len == 0)
        return;
    name_cookies(report->cookies, names_of, sizeof(names_of));
    snprintf(text, sizeof(text),
             "Engine.IO %u, pingInterval %.1f s, pingTimeout %.1f s, "
             "maxPayload %u%s%s%s",
             doctor->eio, open->ping_interval_ms / 1000.0,
             open->ping_timeout_ms / 1000.0, open->max_payload_bytes,
             open->upgrades_websocket ? ", upgrades to websocket" : "",
             names_of[0] != '\0' ? "; sets cookies: " : "", names_of);
    print_wrapped("", text, out);
}

static void print_checks(const struct doctor_report *report, FILE *out)
{
    fprintf(out, "What was tried%*sgood\n", 30, "");
    for (int i = 0; i < DOCTOR_CHECKS; i++) {
        const struct doctor_check *check = &report->checks[i];
        unsigned failed = check->tried - check->good - check->unknown;
        if (check->tried == 0)
            continue;
        fprintf(out, "  %-40s  %u of %u", names[i].text, check->good,
                check->tried);
        if (check->unknown > 0)
            fprintf(out, ", %u unknown to the server", check->unknown);
        if (failed > 0 && check->cut_ms == 0)
            fprintf(out, ", %u failed otherwise", failed);
        if (check->cut_ms > 0)
            fprintf(out, ", cut after %.1f s", (double)check->cut_ms / 1000);
        fputc('\n', out);
    }
    fprintf(out, "It took %.1f s.\n", (double)report->took_ms / 1000);
}

static void print_finding(const struct doctor_finding *finding, unsigned number,
                          FILE *out)
{
    const struct doctor_words *words = finding->words;
    if (words->is_error)
        fprintf(out, "%u. %s [%s]\n", number, words->title, words->code);
    else
        fprintf(out, "Note: %s [%s]\n", words->title, words->code);
    print_wrapped("   Seen:   ", finding->text, out);
    print_wrapped("   Cause:  ", words->cause, out);
    print_wrapped("   Do:     ", words->advice, out);
    fputc('\n', out);
}

void doctor_print(const struct doctor_report *report,
                  const struct doctor_finding *findings, unsigned count,
                  FILE *out)
{
    unsigned errors = count_errors(findings, count);
    print_head(report, out);
    if (errors > 0)
        fprintf(out, "\nSomething is wrong there: %u finding%s.\n\n", errors,
                errors > 1 ? "s" : "");
    else
        fprintf(out, "\nAll is well there%s.\n\n",
                report->has_polls ? ": sessions stay with their servers" : "");
    for (unsigned i = 0; i < count; i++)
        print_finding(&findings[i], i + 1, out);
    print_checks(report, out);
}

/* ---- JSON ---- */

static bool add_finding(cJSON *list, const struct doctor_finding *finding)
{
    cJSON *object = cJSON_CreateObject();
    if (object == NULL || !cJSON_AddItemToArray(list, object)) {
        cJSON_Delete(object);
        return false;
    }
    const struct doctor_words *words = finding->words;
    return cJSON_AddStringToObject(object, "code", words->code) &&
           cJSON_AddStringToObject(object, "severity",
                                   words->is_error ? "error" : "note") &&
           cJSON_AddStringToObject(object, "title", words->title) &&
           cJSON_AddStringToObject(object, "text", finding->text) &&
           cJSON_AddStringToObject(object, "cause", words->cause) &&
           cJSON_AddStringToObject(object, "advice", words->advice);
}

static bool add_check(cJSON *list, const char *name,
                      const struct doctor_check *check)
{
    cJSON *object = cJSON_CreateObject();
    if (object == NULL || !cJSON_AddItemToArray(list, object)) {
        cJSON_Delete(object);
        return false;
    }
    return cJSON_AddStringToObject(object, "name", name) &&
           cJSON_AddNumberToObject(object, "tried", check->tried) &&
           cJSON_AddNumberToObject(object, "good", check->good) &&
           cJSON_AddNumberToObject(object, "unknown", check->unknown) &&
           cJSON_AddStringToObject(object, "note",
                                   check->last.text[0] != '\0'
                                       ? check->last.text
                                       : check->denied.text) &&
           (check->cut_ms == 0 ||
            cJSON_AddNumberToObject(object, "cut_ms", (double)check->cut_ms));
}

static bool fill(cJSON *root, const struct doctor_report *report,
                 const struct doctor_finding *findings, unsigned count)
{
    const struct doctor *doctor = report->doctor;
    char text[DOCTOR_COOKIES_MAX];
    bool is_whole = cJSON_AddBoolToObject(
                        root, "ok", count_errors(findings, count) == 0) != NULL;
    write_url(doctor, text, sizeof(text));
    is_whole = is_whole && cJSON_AddStringToObject(root, "url", text);
    name_cookies(report->cookies, text, sizeof(text));
    is_whole =
        is_whole && cJSON_AddStringToObject(root, "cookies", text) &&
        cJSON_AddNumberToObject(root, "eio", doctor->eio) &&
        cJSON_AddNumberToObject(root, "took_ms", (double)report->took_ms) &&
        cJSON_AddNumberToObject(root, "ping_interval_ms",
                                report->open.ping_interval_ms) &&
        cJSON_AddNumberToObject(root, "ping_timeout_ms",
                                report->open.ping_timeout_ms);
    cJSON *list = is_whole ? cJSON_AddArrayToObject(root, "findings") : NULL;
    is_whole = list != NULL;
    for (unsigned i = 0; is_whole && i < count; i++)
        is_whole = add_finding(list, &findings[i]);
    list = is_whole ? cJSON_AddArrayToObject(root, "checks") : NULL;
    is_whole = list != NULL;
    for (int i = 0; is_whole && i < DOCTOR_CHECKS; i++)
        if (report->checks[i].tried > 0)
            is_whole = add_check(list, names[i].name, &report->checks[i]);
    return is_whole;
}

bool doctor_print_json(const struct doctor_report *report,
                       const struct doctor_finding *findings, unsigned count,
                       FILE *out)
{
    cJSON *root = cJSON_CreateObject();
    char *text = NULL;
    if (root != NULL && fill(root, report, findings, count))
        text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    if (text == NULL)
        return false;
    fprintf(out, "%s\n", text);
    free(text);
    return true;
}
