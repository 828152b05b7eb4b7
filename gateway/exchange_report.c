/* SPDX-License-Identifier: MIT */
/* What is told of a request when it is over. */
#include "gateway/exchange_report.h"
#include "gateway/access_line.h"
#include "gateway/access_log.h"
#include "gateway/exchange.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    TRACEPARENT_LEN = 55,
    METHOD_MAX = 32,
    ID_BYTES = 16, /* of a request id of our own */
    POOL_BYTES = 64 * ID_BYTES,
};

/* One byte of each is kept beyond its limit, so that its line can say that it
 * was cut. */
enum kept {
    KEPT_METHOD,
    KEPT_PATH,
    KEPT_HOST,
    KEPT_AGENT,
    KEPT_ID,
    KEPT_TRACE,
    KEPT_COUNT,
};

static const uint16_t kept_max[KEPT_COUNT] = {
    [KEPT_METHOD] = METHOD_MAX,
    [KEPT_PATH] = GW_ACCESS_PATH_MAX + 1,
    [KEPT_HOST] = GW_ACCESS_HOST_MAX + 1,
    [KEPT_AGENT] = GW_ACCESS_AGENT_MAX + 1,
    [KEPT_ID] = GW_REQUEST_ID_MAX,
    [KEPT_TRACE] = TRACEPARENT_LEN,
};

struct gw_report_text {
    uint16_t len[KEPT_COUNT];
    char bytes[]; /* one behind the other */
};

static const struct gw_access_log *log_of(const struct gw_worker *worker)
{
    return worker->server->access_log;
}

/* ---- the fields that matter ---- */

bool gw_is_request_id(struct eio_span value)
{
    if (value.len == 0 || value.len > GW_REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\')
            return false;
    }
    return true;
}

/* Lower-case hex digits, not all of them '0' unless that may be. */
static bool is_hex(const char *at, size_t len, bool may_be_zero)
{
    bool is_zero = true;
    for (size_t i = 0; i < len; i++) {
        bool is_digit = at[i] >= '0' && at[i] <= '9';
        if (!is_digit && !(at[i] >= 'a' && at[i] <= 'f'))
            return false;
        is_zero = is_zero && at[i] == '0';
    }
    return may_be_zero || !is_zero;
}

bool gw_is_traceparent(struct eio_span value)
{
    const char *at = value.ptr;
    if (value.len < TRACEPARENT_LEN || at[2] != '-' || at[35] != '-' ||
        at[52] != '-' || !is_hex(at, 2, true) || !is_hex(at + 3, 32, false) ||
        !is_hex(at + 36, 16, false) || !is_hex(at + 53, 2, true))
        return false;
    if (memcmp(at, "ff", 2) == 0)
        return false;
    /* What later versions add stands behind another dash. */
    return value.len == TRACEPARENT_LEN ||
           (memcmp(at, "00", 2) != 0 && at[TRACEPARENT_LEN] == '-');
}

struct found {
    struct eio_span value;
    unsigned count;
};

static void look_at(const struct gw_field *field, const char *name,
                    struct found *found)
{
    if (!gw_span_is(field->name, name) || field->is_dropped)
        return;
    found->value = field->value;
    found->count++;
}

/* Random bytes in hex; the kernel is asked for those of many ids at once. */
static bool make_id(char out[2 * ID_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    static _Thread_local unsigned char pool[POOL_BYTES];
    static _Thread_local size_t left;
    if (left == 0 && getrandom(pool, sizeof(pool), 0) != sizeof(pool))
        return false;
    left = left == 0 ? sizeof(pool) - ID_BYTES : left - ID_BYTES;
    for (size_t i = 0; i < ID_BYTES; i++) {
        out[2 * i] = digits[pool[left + i] >> 4];
        out[2 * i + 1] = digits[pool[left + i] & 15];
    }
    return true;
}

/* NULL when memory is short: the line does without. */
static struct gw_report_text *keep(const struct eio_span spans[KEPT_COUNT])
{
    struct gw_report_text *text;
    uint16_t len[KEPT_COUNT];
    size_t size = 0;
    for (int i = 0; i < KEPT_COUNT; i++) {
        len[i] =
            spans[i].len < kept_max[i] ? (uint16_t)spans[i].len : kept_max[i];
        size += len[i];
    }
    text = malloc(sizeof(*text) + size);
    if (text == NULL)
        return NULL;
    memcpy(text->len, len, sizeof(len));
    char *at = text->bytes;
    for (int i = 0; i < KEPT_COUNT; i++) {
        if (len[i] > 0)
            memcpy(at, spans[i].ptr, len[i]);
        at += len[i];
    }
    return text;
}

static struct gw_report_text *note_text(const struct gw_head *head)
{
    struct found agent = {0};
    struct found id = {0};
    struct found trace = {0};
    char own_id[2 * ID_BYTES];
    for (size_t i = 0; i < head->field_count; i++) {
        const struct gw_field *field = &head->fields[i];
        if (field->kind != GW_FIELD_OTHER)
            continue;
        look_at(field, "user-agent", &agent);
        look_at(field, "x-request-id", &id);
        look_at(field, "traceparent", &trace);
    }
    if (id.count != 1 || !gw_is_request_id(id.value)) {
        id.value = (struct eio_span){own_id, sizeof(own_id)};
        if (!make_id(own_id))
            id.value.len = 0;
    }
    if (trace.count != 1 || !gw_is_traceparent(trace.value))
        trace.value.len = 0;
    const struct eio_span spans[KEPT_COUNT] = {
        [KEPT_METHOD] = head->method, [KEPT_PATH] = head->path,
        [KEPT_HOST] = head->host,     [KEPT_AGENT] = agent.value,
        [KEPT_ID] = id.value,         [KEPT_TRACE] = trace.value,
    };
    return keep(spans);
}

static struct eio_span kept(const struct gw_report_text *text, enum kept which)
{
    struct eio_span span = {NULL, 0};
    if (text == NULL)
        return span;
    span.ptr = text->bytes;
    for (int i = 0; i < (int)which; i++)
        span.ptr += text->len[i];
    span.len = text->len[which];
    return span;
}

struct eio_span gw_report_request_id(const struct gw_exchange *exchange)
{
    return kept(exchange->report.text, KEPT_ID);
}

/* ---- the way of a request ---- */

static enum gw_request_kind kind_of(const struct gw_exchange *exchange)
{
    if (exchange->route == GW_ROUTE_HANDSHAKE)
        return GW_REQUEST_HANDSHAKE;
    if (exchange->route != GW_ROUTE_SESSION)
        return GW_REQUEST_OTHER;
    if (exchange->is_websocket)
        return GW_REQUEST_UPGRADE;
    if (exchange->is_get)
        return GW_REQUEST_POLL;
    return exchange->is_post ? GW_REQUEST_POST : GW_REQUEST_OTHER;
}

static bool is_chosen(struct gw_worker *worker)
{
    uint32_t of = worker->config->access_log_sample;
    return of <= 1 || gw_worker_random(worker) % of == 0;
}

void gw_report_begin(struct gw_exchange *exchange, const struct gw_head *head)
{
    struct gw_report *report = &exchange->report;
    struct gw_worker *worker = exchange->worker;
    report->begin_us = worker->now_us;
    report->in_bytes = head->size;
    report->kind = (uint8_t)kind_of(exchange);
    if (!gw_access_log_is_on(log_of(worker)))
        return;
    report->is_sampled = is_chosen(worker);
    /* Also of one whose line may not be written: its backend is told its id,
     * and an error has a line always. */
    report->text = note_text(head);
}

void gw_report_status(struct gw_exchange *exchange, int status, bool is_own)
{
    struct gw_report *report = &exchange->report;
    report->status = (uint16_t)status;
    report->is_own = is_own;
    report->first_us = exchange->worker->now_us;
}

void gw_report_again(struct gw_exchange *exchange)
{
    exchange->report.status = 0;
    exchange->report.first_us = 0;
    exchange->report.out_bytes = 0;
}

void gw_report_bound(struct gw_exchange *exchange, const struct eio_sid *sid)
{
    exchange->query.sid = *sid;
    exchange->report.is_bound = true;
}

static bool has_session(const struct gw_exchange *exchange)
{
    return exchange->query.sid.len > 0 &&
           (exchange->route == GW_ROUTE_SESSION || exchange->report.is_bound);
}

void gw_report_settle(struct gw_exchange *exchange)
{
    struct gw_report *report = &exchange->report;
    const struct eio_sid *sid = &exchange->query.sid;
    const struct store_traffic more = {
        .in_bytes = report->in_bytes,
        .out_bytes = report->out_bytes,
        .requests = 1,
    };
    /* Who was never found has no account. */
    if (report->is_settled || !has_session(exchange) ||
        exchange->backend == NULL)
        return;
    report->is_settled = true;
    store_memory_account(exchange->worker->server->memory,
                         (struct store_key){sid->bytes, sid->len}, &more,
                         gw_wall_ms());
}

/* ---- its line ---- */

static const char *route_text(const struct gw_exchange *exchange)
{
    if (exchange->backend == NULL)
        return "none";
    switch (exchange->route) {
    case GW_ROUTE_SESSION:
        return gw_owner_sources[exchange->session.source];
    case GW_ROUTE_HANDSHAKE:
        return "new";
    default:
        return "any";
    }
}

static const char *end_text(const struct gw_exchange *exchange)
{
    const struct gw_report *report = &exchange->report;
    if (report->is_aborted)
        return "aborted";
    if (report->is_own || report->status == 101)
        return NULL;
    return report->status == 0 || !exchange->response.is_done ? "cut" : NULL;
}

/* What of it is known without its session. */
static struct gw_access_request request_of(const struct gw_exchange *exchange)
{
    const struct gw_report *report = &exchange->report;
    const struct gw_report_text *text = report->text;
    return (struct gw_access_request){
        .time_ms = gw_wall_ms(),
        .method = kept(text, KEPT_METHOD),
        .path = kept(text, KEPT_PATH),
        .host = kept(text, KEPT_HOST),
        .user_agent = kept(text, KEPT_AGENT),
        .request_id = kept(text, KEPT_ID),
        .traceparent = kept(text, KEPT_TRACE),
        .kind = gw_request_kind_names[report->kind],
        .backend =
            exchange->backend != NULL ? exchange->backend->config->id : NULL,
        .route = route_text(exchange),
        .protocol = exchange->minor > 0 ? "HTTP/1.1" : "HTTP/1.0",
        .end = end_text(exchange),
        .in_bytes = report->in_bytes,
        .out_bytes = report->out_bytes,
        .duration_us = exchange->worker->now_us - report->begin_us,
        .first_us =
            report->first_us != 0 ? report->first_us - report->begin_us : -1,
        .status = report->status,
        .worker = exchange->worker->index,
        .is_own = report->is_own,
        .is_tls = exchange->conn->is_tls,
    };
}

static void write_line(const struct gw_worker *worker,
                       const struct gw_access_request *request)
{
    struct gw_access_log *log = worker->server->access_log;
    char line[GW_ACCESS_LINE_MAX];
    bool is_json = gw_access_log_format(log) == GW_LOG_JSON;
    gw_access_log_put(log, line,
                      gw_access_line_request(request, is_json, line));
}

static void tell(const struct gw_exchange *exchange)
{
    struct gw_worker *worker = exchange->worker;
    const struct eio_sid *sid = &exchange->query.sid;
    struct gw_access_request request = request_of(exchange);
    char client[INET6_ADDRSTRLEN];
    char session[GW_SESSION_ID_MAX];
    char mask[EIO_SID_MASK_MAX];
    gw_peer_text(&exchange->peer, client, sizeof(client));
    request.client = client;
    if (has_session(exchange)) {
        gw_session_id(worker->config, (struct store_key){sid->bytes, sid->len},
                      session);
        eio_sid_mask(sid, mask);
        request.session = session;
        request.sid = mask;
    }
    if (exchange->report.kind != GW_REQUEST_OTHER) {
        request.eio = (unsigned)exchange->query.eio;
        request.transport = exchange->is_websocket ? "websocket" : "polling";
    }
    write_line(worker, &request);
}

/* What it did not take it was not given. */
static void subtract_unsent(struct gw_exchange *exchange)
{
    size_t unsent = gw_stream_unsent(exchange->conn->stream);
    uint64_t given = exchange->report.out_bytes;
    exchange->report.out_bytes = given > unsent ? given - unsent : 0;
}

void gw_report_end(struct gw_exchange *exchange)
{
    struct gw_report *report = &exchange->report;
    struct gw_worker *worker = exchange->worker;
    if (report->is_aborted)
        subtract_unsent(exchange);
    else if (report->status != 0)
        gw_histogram_add(&worker->metrics.request_us[report->kind],
                         worker->now_us - report->begin_us);
    gw_report_settle(exchange);
    if (gw_access_log_is_on(log_of(worker)) &&
        (report->is_sampled || report->status >= 500))
        tell(exchange);
    free(report->text);
    report->text = NULL;
}

static void tell_refused(const struct gw_conn *conn,
                         const struct gw_own_reply *reply, size_t len)
{
    struct gw_worker *worker = conn->worker;
    const struct gw_head *head = &worker->head;
    struct gw_access_request request = {
        .status = (unsigned)reply->status,
        .route = "none",
        .out_bytes = len,
        .duration_us = -1,
        .first_us = -1,
        .worker = worker->index,
        .is_own = true,
        .is_tls = conn->is_tls,
    };
    char client[INET6_ADDRSTRLEN];
    if (!gw_access_log_is_on(log_of(worker)) ||
        (reply->status < 500 && !is_chosen(worker)))
        return;
    gw_peer_text(&conn->peer, client, sizeof(client));
    request.client = client;
    request.time_ms = gw_wall_ms();
    if (reply->https_port != 0) {
        request.method = head->method;
        request.path = head->path;
        request.host = head->host;
        request.in_bytes = head->size;
    }
    write_line(worker, &request);
}

void gw_report_reply(struct gw_conn *conn, const struct gw_own_reply *reply,
                     size_t len)
{
    gw_count_add(&conn->worker->metrics.bytes_to_clients, len);
    if (conn->exchange != NULL)
        conn->exchange->report.out_bytes += len;
    else
        tell_refused(conn, reply, len);
}
