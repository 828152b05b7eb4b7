/* SPDX-License-Identifier: MIT */
/* The lines of the access log. */
#include "gateway/access_line.h"
#include "gateway/log_text.h"

#include <inttypes.h>
#include <stdio.h>

enum { NUMBER_MAX = 32 };

static struct gw_log_text begin(char out[GW_ACCESS_LINE_MAX], bool is_json,
                                int64_t time_ms, const char *event)
{
    struct gw_log_text line = {
        .bytes = out,
        .max = GW_ACCESS_LINE_MAX - GW_LOG_TEXT_END_MAX,
        .value_max = GW_ACCESS_LINE_MAX,
        .is_json = is_json,
    };
    char time[GW_LOG_TIME_MAX];

    if (is_json)
        gw_log_text_put(&line, "{");
    gw_log_time(time_ms, time);
    gw_log_text_pair(&line, "time", eio_span_of(time), false);
    gw_log_text_pair(&line, "event", eio_span_of(event), false);
    return line;
}

static void put_text(struct gw_log_text *line, const char *key,
                     const char *value)
{
    if (value != NULL && value[0] != '\0')
        gw_log_text_pair(line, key, eio_span_of(value), false);
}

static void put_span(struct gw_log_text *line, const char *key,
                     struct eio_span value, size_t max)
{
    bool is_cut = value.len > max;

    if (is_cut)
        value.len = max;
    if (value.len > 0)
        gw_log_text_pair(line, key, value, is_cut);
}

static void put_number(struct gw_log_text *line, const char *key,
                       uint64_t value)
{
    char text[NUMBER_MAX];

    snprintf(text, sizeof(text), "%" PRIu64, value);
    gw_log_text_plain(line, key, text);
}

/* Thousandths of the unit that the key names. */
static void put_thousandths(struct gw_log_text *line, const char *key,
                            int64_t value)
{
    char text[NUMBER_MAX];

    if (value < 0)
        return;
    snprintf(text, sizeof(text), "%" PRId64 ".%03d", value / 1000,
             (int)(value % 1000));
    gw_log_text_plain(line, key, text);
}

static void put_session(struct gw_log_text *line,
                        const struct gw_access_request *request)
{
    put_text(line, "session", request->session);
    put_text(line, "sid", request->sid);
    if (request->eio != 0)
        put_number(line, "eio", request->eio);
    put_text(line, "transport", request->transport);
}

size_t gw_access_line_request(const struct gw_access_request *request,
                              bool is_json, char out[GW_ACCESS_LINE_MAX])
{
    struct gw_log_text line = begin(out, is_json, request->time_ms, "request");

    put_text(&line, "client", request->client);
    put_span(&line, "method", request->method, GW_ACCESS_AGENT_MAX);
    put_span(&line, "path", request->path, GW_ACCESS_PATH_MAX);
    put_text(&line, "kind", request->kind);
    put_number(&line, "status", request->status);
    put_session(&line, request);
    put_text(&line, "backend", request->backend);
    put_text(&line, "route", request->route);
    if (request->is_own)
        gw_log_text_plain(&line, "own", "true");
    if (request->in_bytes > 0)
        put_number(&line, "bytes_in", request->in_bytes);
    put_number(&line, "bytes_out", request->out_bytes);
    put_thousandths(&line, "duration_ms", request->duration_us);
    put_thousandths(&line, "first_byte_ms", request->first_us);
    put_text(&line, "end", request->end);
    put_number(&line, "worker", request->worker);
    gw_log_text_plain(&line, "tls", request->is_tls ? "true" : "false");
    put_text(&line, "protocol", request->protocol);
    put_span(&line, "request_id", request->request_id, GW_ACCESS_AGENT_MAX);
    put_span(&line, "traceparent", request->traceparent, GW_ACCESS_AGENT_MAX);
    put_span(&line, "host", request->host, GW_ACCESS_HOST_MAX);
    put_span(&line, "user_agent", request->user_agent, GW_ACCESS_AGENT_MAX);
    gw_log_text_end(&line);
    return line.len;
}

size_t gw_access_line_session(const struct gw_ended *ended, bool is_json,
                              char out[GW_ACCESS_LINE_MAX])
{
    const struct store_record *record = &ended->record;
    struct gw_log_text line =
        begin(out, is_json, ended->ended_ms, "session_end");
    /* Another gateway wrote the record, by its own clock. */
    bool is_sane =
        record->created_ms > 0 && record->created_ms < ended->ended_ms;
    int64_t lived_ms = is_sane ? ended->ended_ms - record->created_ms : 0;
    char created[GW_LOG_TIME_MAX];

    put_text(&line, "session", ended->id);
    put_text(&line, "sid", ended->sid);
    put_text(&line, "cause", gw_end_names[ended->cause]);
    put_text(&line, "backend", record->backend);
    put_text(&line, "client", record->client);
    if (record->eio != 0)
        put_number(&line, "eio", record->eio);
    put_text(&line, "transport",
             record->transport == STORE_TRANSPORT_WEBSOCKET ? "websocket"
                                                            : "polling");
    gw_log_time(record->created_ms, created);
    put_text(&line, "created", created);
    put_thousandths(&line, "duration_s", lived_ms);
    put_number(&line, "requests", ended->traffic.requests);
    put_number(&line, "bytes_in", ended->traffic.in_bytes);
    put_number(&line, "bytes_out", ended->traffic.out_bytes);
    put_text(&line, "gateway", record->gateway);
    gw_log_text_end(&line);
    return line.len;
}
