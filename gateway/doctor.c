/* SPDX-License-Identifier: MIT */
/* `sidgate doctor`: its command line. */
#include "gateway/doctor.h"

#include "gateway/doctor_private.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SESSIONS = 20, SECONDS_MAX = 600, WRONG = 2 };

static const char usage[] =
    "usage: sidgate doctor [option ...] URL\n"
    "Plays a Socket.IO client, many times and from changing addresses, through "
    "whatever\n"
    "balancer is at URL, and says whether sessions stay with their servers "
    "there and\n"
    "what breaks them. A URL without a path means /socket.io/.\n\n"
    "  --sessions N      sessions of each kind (20; 200 at most)\n"
    "  --eio 3|4         version of Engine.IO: 3 is Socket.IO 2 (4)\n"
    "  --source ADDRESS  local address to come from; give several, and the "
    "address\n"
    "                    changes in truth. On loopback it does anyway\n"
    "  --header 'N: V'   a further field of each request; may be repeated\n"
    "  --insecure        accept any certificate\n"
    "  --idle SECONDS    how long silence must be allowed (pingInterval + 1)\n"
    "  --timeout SECONDS when to stop (pingInterval + pingTimeout, but 30 to "
    "60)\n"
    "  --no-idle         do not look at that, which takes longest\n"
    "  --json            the report for programs\n\n"
    "Exit code: 0 all is well, 1 something is not, 2 it could not be tried.\n"
    "At most four things are tried at a time. The sessions that it opens, "
    "about\n"
    "seven times N, it closes.\n";

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "sidgate doctor: %s%s; see --help\n", what, value);
    return WRONG;
}

/* Printable ASCII without blanks: it goes into requests. */
static bool is_plain(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

/* Takes "host", "host:port" or "[v6]:port" apart. */
static bool set_authority(struct doctor *doctor, const char *text, size_t len)
{
    const char *host = text;
    size_t host_len = len;
    const char *colon = memrchr(text, ':', len);
    if (len == 0 || len >= sizeof(doctor->authority) ||
        memchr(text, '@', len) != NULL)
        return false;
    snprintf(doctor->authority, sizeof(doctor->authority), "%.*s", (int)len,
             text);
    snprintf(doctor->port, sizeof(doctor->port), "%s",
             doctor->is_tls ? "443" : "80");
    if (colon != NULL &&
        memchr(colon, ']', len - (size_t)(colon - text)) == NULL) {
        size_t port_len = len - (size_t)(colon - text) - 1;
        if (port_len == 0 || port_len > 5 ||
            strspn(colon + 1, "0123456789") < port_len)
            return false;
        snprintf(doctor->port, sizeof(doctor->port), "%.*s", (int)port_len,
                 colon + 1);
        host_len = (size_t)(colon - text);
    }
    if (host_len > 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    }
    snprintf(doctor->host, sizeof(doctor->host), "%.*s", (int)host_len, host);
    return host_len > 0 && strpbrk(doctor->host, "[]") == NULL;
}

bool doctor_set_url(struct doctor *doctor, const char *url)
{
    static const char *const schemes[] = {"http://", "https://", "ws://",
                                          "wss://"};
    size_t i = 0;
    while (i < 4 && strncasecmp(url, schemes[i], strlen(schemes[i])) != 0)
        i++;
    if (i == 4 || !is_plain(url))
        return false;
    doctor->is_tls = i == 1 || i == 3;
    url += strlen(schemes[i]);
    size_t len = strcspn(url, "/?#");
    if (!set_authority(doctor, url, len))
        return false;
    url += len;
    len = strcspn(url, "?#");
    if (len >= sizeof(doctor->path))
        return false;
    snprintf(doctor->path, sizeof(doctor->path), "%.*s",
             len > 1 ? (int)len : 11, len > 1 ? url : "/socket.io/");
    return true;
}

static bool read_number(const char *text, unsigned most, unsigned *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' ||
        value < 1 || value > most)
        return false;
    *out = (unsigned)value;
    return true;
}

static bool add_header(struct doctor *doctor, const char *text)
{
    size_t used = strlen(doctor->heads);
    if (strchr(text, ':') == NULL || text[0] == ':' ||
        strpbrk(text, "\r\n") != NULL)
        return false;
    int len = snprintf(doctor->heads + used, sizeof(doctor->heads) - used,
                       "%s\r\n", text);
    return len > 0 && (size_t)len < sizeof(doctor->heads) - used;
}

static bool add_source(struct doctor *doctor, const char *text)
{
    if (doctor->source_count == DOCTOR_SOURCES_MAX ||
        strlen(text) >= DOCTOR_TEXT_MAX)
        return false;
    snprintf(doctor->sources[doctor->source_count++], DOCTOR_TEXT_MAX, "%s",
             text);
    return true;
}

/* 0, or what main() returns. */
static int set_option(struct doctor *doctor, int option, const char *value)
{
    switch (option) {
    case 'n':
        return read_number(value, DOCTOR_SESSIONS_MAX, &doctor->sessions)
                   ? 0
                   : wrong("--sessions is not a number from 1 to 200: ", value);
    case 'e':
        return read_number(value, 4, &doctor->eio) && doctor->eio >= 3
                   ? 0
                   : wrong("--eio is not 3 or 4: ", value);
    case 'i':
        return read_number(value, SECONDS_MAX, &doctor->idle_s)
                   ? 0
                   : wrong("--idle is not a number from 1 to 600: ", value);
    case 't':
        return read_number(value, SECONDS_MAX, &doctor->timeout_s)
                   ? 0
                   : wrong("--timeout is not a number from 1 to 600: ", value);
    case 's':
        return add_source(doctor, value) ? 0
                                         : wrong("too many sources: ", value);
    case 'h':
        return add_header(doctor, value)
                   ? 0
                   : wrong("--header is not 'Name: value': ", value);
    case 'k':
        doctor->is_insecure = true;
        return 0;
    case 'q':
        doctor->wants_idle = false;
        return 0;
    case 'j':
        doctor->is_json = true;
        return 0;
    default:
        return wrong("unknown option", "");
    }
}

static const struct option options[] = {
    {"sessions", required_argument, NULL, 'n'},
    {"eio", required_argument, NULL, 'e'},
    {"source", required_argument, NULL, 's'},
    {"header", required_argument, NULL, 'h'},
    {"idle", required_argument, NULL, 'i'},
    {"timeout", required_argument, NULL, 't'},
    {"insecure", no_argument, NULL, 'k'},
    {"no-idle", no_argument, NULL, 'q'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, '?' + 1},
    {NULL, 0, NULL, 0},
};

static int examine(struct doctor *doctor)
{
    static struct doctor_report report;
    struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
    char error[DOCTOR_TEXT_MAX] = "";
    if (!doctor_prepare(doctor, error)) {
        fprintf(stderr, "sidgate doctor: %s\n", error);
        return WRONG;
    }
    bool was_tried = doctor_examine(doctor, &report);
    unsigned count = doctor_judge(&report, findings);
    if (!was_tried &&
        report.checks[DOCTOR_HANDSHAKE].last.fate == DOCTOR_NO_CONNECTION) {
        fprintf(stderr, "sidgate doctor: %s\n",
                report.checks[DOCTOR_HANDSHAKE].last.text);
        return WRONG;
    }
    if (!doctor->is_json)
        doctor_print(&report, findings, count, stdout);
    else if (!doctor_print_json(&report, findings, count, stdout))
        return wrong("out of memory", "");
    fflush(stdout);
    return count > 0 && findings[0].words->is_error ? 1 : 0;
}

int gw_doctor(int argc, char **argv)
{
    static struct doctor doctor;
    doctor.sessions = SESSIONS;
    doctor.eio = 4;
    doctor.wants_idle = true;
    opterr = 0;
    for (;;) {
        int option = getopt_long(argc, argv, "", options, NULL);
        if (option == -1)
            break;
        if (option == '?' + 1) {
            fputs(usage, stdout);
            return 0;
        }
        if (option == '?')
            return wrong("unknown option, or one without its value: ",
                         argv[optind - 1]);
        int status = set_option(&doctor, option, optarg);
        if (status != 0)
            return status;
    }
    if (optind + 1 != argc)
        return wrong(optind == argc ? "the URL is missing"
                                    : "there is more than one URL",
                     "");
    if (!doctor_set_url(&doctor, argv[optind]))
        return wrong("this is not a URL of http, https, ws or wss: ",
                     argv[optind]);
    signal(SIGPIPE, SIG_IGN);
    int status = examine(&doctor);
    doctor_release(&doctor);
    return status;
}
