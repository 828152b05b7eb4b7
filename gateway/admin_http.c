/* SPDX-License-Identifier: MIT */
/* Operators' requests and their answers, as libwebsockets reads and writes
 * them: one request a connection. */
#include "gateway/admin_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    DROPS_MAX = 8, /* pieces of unwanted input that are read away */
};

struct field {
    const char *name; /* with its colon */
    const char *value;
};

/* The page loads nothing that is not its own, and stands in no other page. */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

/* ---- answers ---- */

/* True on success. */
static bool put_head(struct lws *wsi, const struct gw_admin_answer *answer)
{
    unsigned char buffer[LWS_PRE + 1024];
    unsigned char *start = buffer + LWS_PRE;
    unsigned char *at = start;
    unsigned char *end = buffer + sizeof(buffer) - 1;
    bool is_page = answer->etag != NULL;
    const struct field fields[] = {
        {"content-type:", answer->type},
        {"cache-control:", is_page ? "no-cache" : "no-store"},
        {"connection:", "close"},
        {"allow:", answer->allow},
        {"www-authenticate:", answer->status == 401 ? "Bearer" : NULL},
        {"upgrade:", answer->status == 426 ? "websocket" : NULL},
        {"etag:", answer->etag},
        {"content-security-policy:", is_page ? policy : NULL},
        {"referrer-policy:", is_page ? "no-referrer" : NULL},
        {"cross-origin-resource-policy:", is_page ? "same-origin" : NULL},
    };

    if (lws_add_http_header_status(wsi, answer->status, &at, end))
        return false;
    if (answer->status != 304 &&
        lws_add_http_header_content_length(wsi, answer->len, &at, end))
        return false;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].value != NULL &&
            lws_add_http_header_by_name(wsi,
                                        (const unsigned char *)fields[i].name,
                                        (const unsigned char *)fields[i].value,
                                        (int)strlen(fields[i].value), &at, end))
            return false;
    }
    return lws_finalize_write_http_header(wsi, start, &at, end) == 0;
}

/* Returns what the lws callback returns: -1 to close. */
static int start_answer(struct gw_admin_conn *conn,
                        struct gw_admin_answer answer)
{
    conn->body = answer.body;
    conn->len = answer.len;
    conn->sent = conn->is_head ? answer.len : 0;
    conn->sent_at_tick = SIZE_MAX;
    conn->is_answered = true;
    if (!put_head(conn->wsi, &answer))
        return -1;
    lws_callback_on_writable(conn->wsi);
    return 0;
}

void gw_admin_http_refuse(struct gw_admin_conn *conn,
                          struct gw_admin_answer answer)
{
    unsigned char buffer[LWS_PRE + 1024];
    size_t len = answer.len < sizeof(buffer) - LWS_PRE ? answer.len : 0;

    answer.len = len;
    if (put_head(conn->wsi, &answer) && len > 0) {
        memcpy(buffer + LWS_PRE, answer.body, len);
        /* Whether it gets there or not, the connection ends. */
        int written =
            lws_write(conn->wsi, buffer + LWS_PRE, len, LWS_WRITE_HTTP_FINAL);
        (void)written;
    }
    free(answer.body);
    gw_admin_http_drop(conn);
}

bool gw_admin_http_read(struct gw_admin_conn *conn, struct gw_admin_text *text,
                        struct gw_admin_request *request)
{
    if (!gw_admin_request_read(conn->wsi, text, request, &conn->is_head))
        return false;
    request->bearer = conn->bearer;
    request->peer = conn->peer;
    request->now_ms = (int64_t)uv_now(conn->admin->loop);
    request->ticket = (struct gw_ticket){
        .place = (unsigned)(conn - conn->admin->conns),
        .serial = conn->serial,
    };
    return true;
}

/* ---- answers that come later ---- */

static int finish_pending(struct gw_admin_conn *conn,
                          struct gw_admin_answer answer)
{
    conn->is_pending = false;
    gw_admin_action_log(&conn->action, answer.status);
    conn->action.name = NULL;
    /* It would not write either. */
    lws_rx_flow_control(conn->wsi, 1);
    return start_answer(conn, answer);
}

/* Until then nothing more is read: lws would take it for another request. */
static int await_answer(struct gw_admin_conn *conn)
{
    if (conn->has_early) {
        conn->has_early = false;
        return finish_pending(conn, conn->early);
    }
    conn->born_ms = uv_now(conn->admin->loop);
    lws_rx_flow_control(conn->wsi, 0);
    return 0;
}

void gw_admin_complete(struct gw_admin *admin, struct gw_ticket ticket,
                       struct gw_outcome *outcome)
{
    struct gw_admin_conn *conn =
        ticket.place < GW_ADMIN_CONN_MAX ? &admin->conns[ticket.place] : NULL;
    struct gw_admin_answer answer = gw_admin_answer_json(outcome);

    outcome->body = NULL;
    if (conn == NULL || conn->serial != ticket.serial || !conn->is_pending ||
        conn->has_early) {
        free(answer.body);
        return;
    }
    gw_admin_action_fault(&conn->action, outcome->error);
    if (conn->is_asking) {
        conn->early = answer;
        conn->has_early = true;
    } else if (finish_pending(conn, answer) != 0) {
        gw_admin_conn_kill(conn);
    }
}

/* ---- requests ---- */

static int answer_request(struct gw_admin_conn *conn)
{
    struct gw_admin_text text;
    struct gw_admin_request request;
    struct gw_admin_answer answer;

    if (conn->is_answered || conn->is_pending ||
        !gw_admin_http_read(conn, &text, &request))
        return -1;
    conn->is_asking = true;
    conn->is_pending = true;
    answer = gw_admin_answer(&conn->admin->desk, &request, &conn->action);
    conn->is_asking = false;
    if (answer.is_pending)
        return await_answer(conn);
    conn->is_pending = false;
    return start_answer(conn, answer);
}

static int take_request(struct gw_admin_conn *conn)
{
    if (!gw_admin_request_is_right(conn->wsi))
        conn->fault = 400;
    if (conn->fault == 0)
        return answer_request(conn);
    return start_answer(conn, conn->fault == 413
                                  ? gw_admin_answer_text(413, "too large\n")
                                  : gw_admin_answer_text(400, "bad request\n"));
}

void gw_admin_http_drop(const struct gw_admin_conn *conn)
{
    char buffer[GW_ADMIN_PIECE];

    for (int i = 0; i < DROPS_MAX; i++) {
        if (recv(lws_get_socket_fd(conn->wsi), buffer, sizeof(buffer),
                 MSG_DONTWAIT) <= 0)
            return;
    }
}

/* Called when lws has passed on all that it was given before. */
static int send_piece(struct gw_admin_conn *conn)
{
    unsigned char buffer[LWS_PRE + GW_ADMIN_PIECE];
    size_t piece = conn->len - conn->sent;

    if (piece == 0) {
        gw_admin_http_drop(conn);
        return -1;
    }
    if (piece > GW_ADMIN_PIECE)
        piece = GW_ADMIN_PIECE;
    memcpy(buffer + LWS_PRE, conn->body + conn->sent, piece);
    conn->sent += piece;
    if (lws_write(conn->wsi, buffer + LWS_PRE, piece,
                  conn->sent == conn->len ? LWS_WRITE_HTTP_FINAL
                                          : LWS_WRITE_HTTP) < (int)piece)
        return -1;
    lws_callback_on_writable(conn->wsi);
    return 0;
}

int gw_admin_http_event(struct gw_admin_conn *conn,
                        enum lws_callback_reasons reason)
{
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return take_request(conn);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return conn->is_answered ? send_piece(conn) : -1;
    default:
        return -1;
    }
}
