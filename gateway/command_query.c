/* SPDX-License-Identifier: MIT */
/* What an operator asks for: the reading of parameters. */
#include "gateway/command_query.h"

#include "gateway/grammar.h"
#include "gateway/log.h"
#include "gateway/options.h"

#include <stdio.h>
#include <string.h>

enum {
    RATE_MAX = 1000000,
    TIMEOUT_MS_MAX = 86400000,
    NAME_MAX_BYTES = 16, /* of a parameter, with its NUL */
};

static const int64_t after_max = 999999999999999;

static bool may_come(enum gw_decode what, char c)
{
    if (what == GW_DECODE_VISIBLE)
        return c > ' ' && c <= '~';
    return what == GW_DECODE_ANY || ((unsigned char)c >= ' ' && c != 0x7f);
}

bool gw_command_decode(struct eio_span from, enum gw_decode what, char *out,
                       size_t *len)
{
    size_t used = 0;

    for (size_t i = 0; i < from.len; i++) {
        char c = from.ptr[i];

        if (c == '%') {
            int high = i + 2 < from.len ? gw_hex_digit(from.ptr[i + 1]) : -1;
            int low = i + 2 < from.len ? gw_hex_digit(from.ptr[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (!may_come(what, c) || used == *len)
            return false;
        out[used++] = c;
    }
    if (what != GW_DECODE_ANY)
        out[used] = '\0';
    *len = used;
    return true;
}

/* ---- values ---- */

static bool set_text(char *out, size_t size, const char *value)
{
    if (value[0] == '\0' || strlen(value) >= size)
        return false;
    snprintf(out, size, "%s", value);
    return true;
}

static bool set_number(const char *value, int64_t max, int64_t *out)
{
    int64_t number = 0;

    if (*value == '\0')
        return false;
    for (; *value != '\0'; value++) {
        if (*value < '0' || *value > '9')
            return false;
        number = number * 10 + (*value - '0');
        if (number > max)
            return false;
    }
    *out = number;
    return true;
}

static bool set_limit(const char *value, int64_t max, unsigned *out)
{
    int64_t limit = 0;

    if (!set_number(value, max, &limit) || limit == 0)
        return false;
    *out = (unsigned)limit;
    return true;
}

static bool set_spec(struct gw_command *command, const char *value)
{
    return set_text(command->spec, sizeof(command->spec), value);
}

static bool set_pool(struct gw_command *command, const char *value)
{
    return set_text(command->pool, sizeof(command->pool), value);
}

static bool set_rate(struct gw_command *command, const char *value)
{
    return set_number(value, RATE_MAX, &command->rate);
}

static bool set_timeout(struct gw_command *command, const char *value)
{
    return gw_options_parse_time(value, &command->timeout_ms) &&
           command->timeout_ms <= TIMEOUT_MS_MAX;
}

static bool set_after(struct gw_command *command, const char *value)
{
    return set_number(value, after_max, &command->after);
}

static bool set_events_limit(struct gw_command *command, const char *value)
{
    return set_limit(value, GW_EVENTS_LIMIT_MAX, &command->limit);
}

static bool set_level(struct gw_command *command, const char *value)
{
    for (int level = GW_LOG_ERROR; level <= GW_LOG_DEBUG; level++)
        if (strcmp(value, gw_log_level_text((enum gw_log_level)level)) == 0)
            command->level = level;
    return command->level >= 0;
}

static bool set_backend(struct gw_command *command, const char *value)
{
    struct gw_session_filter *filter = &command->filter;

    return set_text(filter->backend, sizeof(filter->backend), value);
}

static bool set_client(struct gw_command *command, const char *value)
{
    struct gw_session_filter *filter = &command->filter;

    return set_text(filter->client, sizeof(filter->client), value);
}

static bool set_gateway(struct gw_command *command, const char *value)
{
    struct gw_session_filter *filter = &command->filter;

    return set_text(filter->gateway, sizeof(filter->gateway), value);
}

/* What an empty field of a form asks for is all. */
static bool set_search(struct gw_command *command, const char *value)
{
    struct gw_session_filter *filter = &command->filter;

    return value[0] == '\0' ||
           set_text(filter->search, sizeof(filter->search), value);
}

static bool set_cursor(struct gw_command *command, const char *value)
{
    struct gw_session_filter *filter = &command->filter;

    return set_text(filter->cursor, sizeof(filter->cursor), value);
}

static bool set_transport(struct gw_command *command, const char *value)
{
    if (strcmp(value, "polling") == 0)
        command->filter.transport = STORE_TRANSPORT_POLLING;
    else if (strcmp(value, "websocket") == 0)
        command->filter.transport = STORE_TRANSPORT_WEBSOCKET;
    return command->filter.transport >= 0;
}

static bool set_ended(struct gw_command *command, const char *value)
{
    command->filter.ended = strcmp(value, "true") == 0;
    return command->filter.ended || strcmp(value, "false") == 0;
}

static bool set_sessions_limit(struct gw_command *command, const char *value)
{
    return set_limit(value, GW_SESSIONS_LIMIT_MAX, &command->filter.limit);
}

/* ---- their names ---- */

static const struct parameter {
    const char *name;
    enum gw_verb verb; /* that it is for */
    bool (*set)(struct gw_command *command, const char *value);
    const char *wants; /* what its value must be */
    bool is_needed;
    bool is_text; /* may have spaces and bytes beyond ASCII */
} parameters[] = {
    {"spec", GW_VERB_ADD, set_spec, "a backend as --backend takes it", true,
     false},
    {"pool", GW_VERB_ADD, set_pool, "the name of a pool", false, false},
    {"rate", GW_VERB_DRAIN, set_rate, "a whole number, from 0 to 1000000",
     false, false},
    {"timeout", GW_VERB_DRAIN, set_timeout,
     "a time such as 250ms, 10s or 2m, from 0 to 24h", false, false},
    {"after", GW_VERB_EVENTS, set_after, "the seq of an event", false, false},
    {"limit", GW_VERB_EVENTS, set_events_limit, "a whole number, from 1 to 500",
     false, false},
    {"level", GW_VERB_EVENTS, set_level, "error, warning, info or debug", false,
     false},
    {"level", GW_VERB_SET_LOG, set_level, "error, warning, info or debug", true,
     false},
    {"backend", GW_VERB_SESSIONS, set_backend, "the id of a backend", false,
     false},
    {"client", GW_VERB_SESSIONS, set_client,
     "an address, or what one begins with", false, false},
    {"transport", GW_VERB_SESSIONS, set_transport, "polling or websocket",
     false, false},
    {"gateway", GW_VERB_SESSIONS, set_gateway, "the id of a replica", false,
     false},
    {"search", GW_VERB_SESSIONS, set_search, "a text of at most 127 bytes",
     false, true},
    {"ended", GW_VERB_SESSIONS, set_ended, "true or false", false, false},
    {"limit", GW_VERB_SESSIONS, set_sessions_limit,
     "a whole number, from 1 to 1000", false, false},
    {"cursor", GW_VERB_SESSIONS, set_cursor, "one that this gateway gave",
     false, false},
};

_Static_assert((int)GW_EVENTS_LIMIT_MAX == 500 &&
                   (int)GW_SESSIONS_LIMIT_MAX == 1000 &&
                   (int)GW_SEARCH_MAX == 128,
               "the texts above say so");

enum { PARAMETER_COUNT = sizeof(parameters) / sizeof(parameters[0]) };

/* PARAMETER_COUNT when there is none of this name for the verb. */
static size_t find_parameter(enum gw_verb verb, const char *name)
{
    size_t i = 0;

    while (i < PARAMETER_COUNT && (parameters[i].verb != verb ||
                                   strcmp(parameters[i].name, name) != 0))
        i++;
    return i;
}

static bool set_value(const struct parameter *parameter, struct eio_span text,
                      struct gw_command *command)
{
    char value[GW_COMMAND_TEXT_MAX];
    size_t len = sizeof(value) - 1;

    return gw_command_decode(
               text, parameter->is_text ? GW_DECODE_TEXT : GW_DECODE_VISIBLE,
               value, &len) &&
           parameter->set(command, value);
}

/* One "name=value". `seen` has a bit for each parameter. */
static bool read_parameter(struct gw_command *command, struct eio_span text,
                           unsigned *seen, struct gw_outcome *outcome)
{
    const char *equals = memchr(text.ptr, '=', text.len);
    size_t name_len = equals != NULL ? (size_t)(equals - text.ptr) : text.len;
    size_t skip = equals != NULL ? name_len + 1 : text.len;
    char name[NAME_MAX_BYTES] = "";
    size_t len = sizeof(name) - 1;
    bool is_name = gw_command_decode((struct eio_span){text.ptr, name_len},
                                     GW_DECODE_VISIBLE, name, &len);
    size_t at = is_name ? find_parameter(command->verb, name) : PARAMETER_COUNT;

    if (at == PARAMETER_COUNT)
        gw_outcome_refuse(outcome, 400, "unknown parameter %s",
                          is_name ? name : "");
    else if ((*seen & (1U << at)) != 0)
        gw_outcome_refuse(outcome, 400, "%s is given more than once", name);
    else if (!set_value(&parameters[at],
                        (struct eio_span){text.ptr + skip, text.len - skip},
                        command))
        gw_outcome_refuse(outcome, 400, "%s is not %s", name,
                          parameters[at].wants);
    if (outcome->status != 0)
        return false;
    *seen |= 1U << at;
    return true;
}

static bool has_needed(const struct gw_command *command, unsigned seen,
                       struct gw_outcome *outcome)
{
    for (size_t i = 0; i < PARAMETER_COUNT; i++) {
        if (parameters[i].verb != command->verb || !parameters[i].is_needed ||
            (seen & (1U << i)) != 0)
            continue;
        gw_outcome_refuse(outcome, 400, "%s is missing", parameters[i].name);
        return false;
    }
    return true;
}

bool gw_command_read_query(const char *query, struct gw_command *command,
                           struct gw_outcome *outcome)
{
    unsigned seen = 0;

    while (*query != '\0') {
        size_t len = strcspn(query, "&");

        if (len > 0 && !read_parameter(command, (struct eio_span){query, len},
                                       &seen, outcome))
            return false;
        query += len;
        query += *query == '&';
    }
    return has_needed(command, seen, outcome);
}
