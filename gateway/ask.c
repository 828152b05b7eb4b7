/* SPDX-License-Identifier: MIT */
/* One inert question to one backend: do you hold this sid? */
#include "eio/error.h"
#include "gateway/body.h"
#include "gateway/recovery.h"
#include "gateway/upstream.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BODY_MAX = 512,
    REQUEST_MAX = 2048,
};

struct gw_ask {
    struct gw_grave grave;
    struct gw_worker *worker;
    struct gw_backend *backend;
    struct gw_upstream *up;
    gw_ask_fn done;
    void *arg;
    struct gw_timer timer;
    struct gw_body body;
    int status; /* 0 until the head is here */
    size_t body_len;
    size_t request_len;
    char text[BODY_MAX];
    char request[]; /* request_len bytes */
};

void gw_ask_cancel(struct gw_ask **which)
{
    struct gw_ask *ask = *which;
    *which = NULL;
    if (ask == NULL)
        return;
    gw_timer_stop(&ask->worker->wheel, &ask->timer);
    gw_upstream_close(&ask->up, false);
    gw_worker_bury_object(ask->worker, &ask->grave);
}

static void finish(struct gw_ask *ask, enum gw_answer answer)
{
    gw_ask_fn done = ask->done;
    void *arg = ask->arg;
    struct gw_backend *backend = ask->backend;
    gw_ask_cancel(&ask);
    done(arg, backend, answer);
}

static void on_timeout(struct gw_timer *timer)
{
    finish(GW_CONTAINER(timer, struct gw_ask, timer), GW_ANSWER_SILENT);
}

static void on_refused(struct gw_timer *timer)
{
    finish(GW_CONTAINER(timer, struct gw_ask, timer), GW_ANSWER_DEAD);
}

static void judge(struct gw_ask *ask)
{
    struct eio_span body = {ask->text, ask->body_len};
    switch (eio_probe_verdict(ask->status, body)) {
    case EIO_PROBE_OWNS:
        finish(ask, GW_ANSWER_OWNS);
        return;
    case EIO_PROBE_DENIES:
        finish(ask, GW_ANSWER_DENIES);
        return;
    case EIO_PROBE_UNCLEAR:
        finish(ask, ask->status >= 500 ? GW_ANSWER_SILENT : GW_ANSWER_UNCLEAR);
        return;
    }
}

/* Takes the head off `up->in`, once it is there. False: the ask has ended. */
static bool take_head(struct gw_ask *ask)
{
    struct gw_upstream *up = ask->up;
    struct gw_head *head = &ask->worker->head;
    struct eio_span bytes = {gw_buf_ptr(up->in), gw_buf_len(up->in)};
    size_t head_len = 0;
    if (gw_head_scan(&up->scan, bytes, ask->worker->config, &head_len) != 0 ||
        (head_len > 0 &&
         gw_head_parse_response((struct eio_span){bytes.ptr, head_len}, head) !=
             0)) {
        finish(ask, GW_ANSWER_UNCLEAR);
        return false;
    }
    if (head_len == 0)
        return true;
    enum gw_body_kind kind = GW_BODY_UNTIL_EOF;
    if (head->is_chunked)
        kind = GW_BODY_CHUNKED;
    else if (head->content_length >= 0)
        kind = GW_BODY_LENGTH;
    if (head->status < 200) {
        finish(ask, GW_ANSWER_UNCLEAR);
        return false;
    }
    gw_body_init(&ask->body, kind, (uint64_t)head->content_length);
    ask->status = head->status;
    gw_buf_take(&up->in, head_len);
    return true;
}

static void take_body(struct gw_ask *ask)
{
    struct gw_buf *in = ask->up->in;
    if (in != NULL) {
        size_t consumed;
        ptrdiff_t n = gw_body_decode(&ask->body, gw_buf_ptr(in), gw_buf_len(in),
                                     &consumed);
        if (n < 0) {
            finish(ask, GW_ANSWER_UNCLEAR);
            return;
        }
        size_t room = BODY_MAX - ask->body_len;
        size_t take = (size_t)n < room ? (size_t)n : room;
        memcpy(ask->text + ask->body_len, gw_buf_ptr(in), take);
        ask->body_len += take;
        gw_buf_free(&ask->up->in);
    }
    if (ask->body.is_done || ask->body_len == BODY_MAX)
        judge(ask);
}

static void on_event(struct gw_upstream *up, void *arg)
{
    struct gw_ask *ask = arg;
    char *buffer = ask->worker->read_buffer;
    while (ask->up != NULL && up->stream->is_readable) {
        ssize_t n = gw_stream_read(up->stream, buffer, GW_READ_BUFFER_BYTES);
        if (n == GW_READ_EMPTY)
            return;
        if (n <= 0) {
            if (n == 0 && ask->status != 0 && gw_body_end(&ask->body))
                judge(ask);
            else
                finish(ask, GW_ANSWER_SILENT);
            return;
        }
        if (!gw_buf_append(&up->in, buffer, (size_t)n)) {
            finish(ask, GW_ANSWER_UNCLEAR);
            return;
        }
        if (ask->status == 0 && !take_head(ask))
            return;
        if (ask->status != 0)
            take_body(ask);
    }
}

static void on_connected(struct gw_upstream *up, void *arg)
{
    struct gw_ask *ask = arg;
    gw_count(&ask->worker->metrics.recovery_probes);
    gw_stream_write(up->stream, ask->request, ask->request_len);
}

static void on_connect_failed(struct gw_upstream *up, void *arg,
                              enum gw_connect_failure why)
{
    struct gw_ask *ask = arg;
    (void)up;
    ask->up = NULL;
    finish(ask, why == GW_CONNECT_REFUSED ? GW_ANSWER_DEAD : GW_ANSWER_SILENT);
}

static const struct gw_upstream_user ask_user = {
    .on_connected = on_connected,
    .on_connect_failed = on_connect_failed,
    .on_event = on_event,
};

static size_t write_request(const struct gw_lookup_about *about, char *out)
{
    char sid[3 * EIO_SID_MAX];
    size_t sid_len = eio_sid_percent_encode(about->sid, sid);
    int n = snprintf(out, REQUEST_MAX,
                     "PUT %.*s?EIO=4&transport=polling&sid=%.*s HTTP/1.1\r\n"
                     "Host: %.*s\r\nContent-Length: 0\r\nConnection: close\r\n"
                     "User-Agent: sidgate\r\nVia: 1.1 sidgate\r\n\r\n",
                     (int)about->path.len, about->path.ptr, (int)sid_len, sid,
                     (int)about->host.len, about->host.ptr);
    return n > 0 && n < REQUEST_MAX ? (size_t)n : 0;
}

struct gw_ask *gw_ask_start(struct gw_worker *worker,
                            struct gw_backend *backend,
                            const struct gw_lookup_about *about,
                            int64_t timeout_ms, gw_ask_fn done, void *arg)
{
    char request[REQUEST_MAX];
    enum gw_connect_failure why;
    size_t len = write_request(about, request);
    if (len == 0)
        return NULL;
    struct gw_ask *ask = calloc(1, sizeof(*ask) + len);
    if (ask == NULL)
        return NULL;
    ask->worker = worker;
    ask->backend = backend;
    ask->done = done;
    ask->arg = arg;
    memcpy(ask->request, request, len);
    ask->request_len = len;
    ask->up = gw_upstream_connect(worker, backend, &ask_user, ask, &why);
    if (ask->up == NULL && why != GW_CONNECT_REFUSED) {
        free(ask);
        return NULL;
    }
    if (ask->up != NULL)
        ask->up->patience_ms = timeout_ms;
    gw_worker_timer(worker, &ask->timer, ask->up != NULL ? timeout_ms : 0,
                    ask->up != NULL ? on_timeout : on_refused);
    if (ask->up != NULL && ask->up->is_connected)
        on_connected(ask->up, ask);
    return ask;
}
