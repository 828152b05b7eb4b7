/* SPDX-License-Identifier: MIT */
/*
 * Pages that watch: a websocket each, over which about one message a second
 * goes. A message is made when the one before has been taken, so that a slow
 * watcher holds one at most, and never an old one.
 */
#include "gateway/admin_private.h"

#include "gateway/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    INPUT_MAX = 4096,
    FRAME_BYTES = 6,      /* of a frame's head: many empty ones are input too */
    KEY_LEN = 24,         /* of Sec-WebSocket-Key */
    SEND_BUFFER = 131072, /* in the kernel; it would grow to megabytes */
    END_MS = 2000,        /* for a watcher to take its end */
};

static size_t count_watchers(const struct gw_admin *admin)
{
    size_t count = 0;

    for (size_t i = 0; i < GW_ADMIN_CONN_MAX; i++)
        count += admin->conns[i].state == GW_ADMIN_WATCH &&
                 !admin->conns[i].is_ending;
    return count;
}

/* ---- opening ---- */

static bool has_field(struct lws *wsi, enum lws_token_indexes name,
                      size_t min_len, const char *value)
{
    char text[64];
    int len = lws_hdr_copy(wsi, text, sizeof(text), name);

    return len >= 0 && (size_t)len >= min_len &&
           (value == NULL || strcmp(text, value) == 0);
}

/* Why it cannot be opened though it is allowed; a status of 0: it can. */
static struct gw_admin_answer find_fault(const struct gw_admin_conn *conn)
{
    struct lws *wsi = conn->wsi;

    if (!has_field(wsi, WSI_TOKEN_VERSION, 1, "13") ||
        !has_field(wsi, WSI_TOKEN_KEY, KEY_LEN, NULL) ||
        !has_field(wsi, WSI_TOKEN_HOST, 1, NULL) || conn->has_body)
        return gw_admin_answer_error(400, "this is no websocket's handshake");
    if (!conn->offers_live)
        return gw_admin_answer_error(
            400, "the subprotocol " GW_ADMIN_LIVE_PROTOCOL " is not offered");
    if (conn->admin->is_handed_over)
        return gw_admin_answer_error(503, "another process has taken over");
    if (count_watchers(conn->admin) >= GW_ADMIN_LIVE_MAX)
        return gw_admin_answer_error(503, "too many pages watch");
    return (struct gw_admin_answer){.status = 0};
}

static int confirm(struct gw_admin_conn *conn)
{
    const int size = SEND_BUFFER;
    struct gw_admin_text text;
    struct gw_admin_request request;
    struct gw_admin_answer refusal = {.status = 0};

    if (!gw_admin_request_is_right(conn->wsi))
        refusal = gw_admin_answer_error(400, "bad request");
    else if (!gw_admin_http_read(conn, &text, &request))
        return -1;
    else if (gw_admin_answer_live(&conn->admin->desk, &request,
                                  &conn->may_write, &refusal))
        refusal = find_fault(conn);
    if (refusal.status != 0) {
        gw_admin_http_refuse(conn, refusal);
        return -1;
    }
    conn->state = GW_ADMIN_WATCH;
    conn->moved_ms = uv_now(conn->admin->loop);
    if (setsockopt(lws_get_socket_fd(conn->wsi), SOL_SOCKET, SO_SNDBUF, &size,
                   sizeof(size)) != 0)
        gw_log(GW_LOG_DEBUG, "admin_accept_error", "reason", "SO_SNDBUF");
    return 0;
}

/* ---- messages ---- */

static void want(struct gw_admin_conn *conn)
{
    if (conn->is_due)
        return;
    conn->is_due = true;
    if (conn->body == NULL)
        conn->moved_ms = uv_now(conn->admin->loop);
    lws_callback_on_writable(conn->wsi);
}

static void on_second(uv_timer_t *timer)
{
    struct gw_admin *admin = timer->data;

    for (size_t i = 0; i < GW_ADMIN_CONN_MAX; i++) {
        struct gw_admin_conn *conn = &admin->conns[i];

        if (conn->state == GW_ADMIN_WATCH && conn->is_open && !conn->is_ending)
            want(conn);
    }
    if (count_watchers(admin) == 0)
        uv_timer_stop(timer);
}

static int begin(struct gw_admin_conn *conn)
{
    struct gw_admin *admin = conn->admin;

    conn->is_open = true;
    want(conn);
    if (!uv_is_active((uv_handle_t *)&admin->live))
        uv_timer_start(&admin->live, on_second, GW_ADMIN_LIVE_MS,
                       GW_ADMIN_LIVE_MS);
    return 0;
}

static void make_message(struct gw_admin_conn *conn)
{
    const struct gw_admin_hooks *hooks = &conn->admin->desk.hooks;

    conn->is_due = false;
    conn->body = hooks->live(hooks->arg, &conn->seen, conn->may_write);
    conn->len = conn->body != NULL ? strlen(conn->body) : 0;
    conn->sent = 0;
}

/* Called when lws has passed on all that it was given before. */
static int send_piece(struct gw_admin_conn *conn)
{
    unsigned char buffer[LWS_PRE + GW_ADMIN_PIECE];
    size_t piece = conn->len - conn->sent;
    unsigned how = conn->sent == 0 ? LWS_WRITE_TEXT : LWS_WRITE_CONTINUATION;

    if (piece > GW_ADMIN_PIECE) {
        piece = GW_ADMIN_PIECE;
        how |= LWS_WRITE_NO_FIN;
    }
    memcpy(buffer + LWS_PRE, conn->body + conn->sent, piece);
    conn->sent += piece;
    if (lws_write(conn->wsi, buffer + LWS_PRE, piece,
                  (enum lws_write_protocol)how) < (int)piece)
        return -1;
    lws_callback_on_writable(conn->wsi);
    return 0;
}

static int on_writable(struct gw_admin_conn *conn)
{
    if (conn->is_ending)
        return 0;
    conn->moved_ms = uv_now(conn->admin->loop);
    if (conn->body != NULL && conn->sent == conn->len) {
        free(conn->body);
        conn->body = NULL;
    }
    if (conn->body == NULL && conn->is_due)
        make_message(conn);
    return conn->body != NULL ? send_piece(conn) : 0;
}

/* It has nothing to say. */
static int on_input(struct gw_admin_conn *conn, size_t len)
{
    conn->input += len + FRAME_BYTES;
    if (conn->input <= INPUT_MAX)
        return 0;
    lws_close_reason(conn->wsi, LWS_CLOSE_STATUS_POLICY_VIOLATION, NULL, 0);
    return -1;
}

int gw_admin_live_event(struct gw_admin_conn *conn,
                        enum lws_callback_reasons reason, size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        return confirm(conn);
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return conn->state == GW_ADMIN_WATCH ? 0 : -1;
    case LWS_CALLBACK_ESTABLISHED:
        return begin(conn);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return on_writable(conn);
    case LWS_CALLBACK_RECEIVE:
        return on_input(conn, len);
    default:
        return 0;
    }
}

/* ---- the end ---- */

bool gw_admin_live_is_stuck(const struct gw_admin_conn *conn, uint64_t now_ms)
{
    uint64_t idle_ms = now_ms - conn->moved_ms;

    if (conn->is_ending)
        return idle_ms >= END_MS;
    return (conn->body != NULL || conn->is_due || !conn->is_open) &&
           idle_ms >= conn->admin->stall_ms;
}

/* Not from within a callback: there lws 4.1.6 forgets to send the frame. Where
 * it still has bytes to pass on it sends none. */
static void end(struct gw_admin_conn *conn)
{
    conn->is_ending = true;
    conn->moved_ms = uv_now(conn->admin->loop);
    if (!conn->is_open) {
        gw_admin_conn_kill(conn);
        return;
    }
    lws_close_reason(conn->wsi, LWS_CLOSE_STATUS_GOINGAWAY, NULL, 0);
    lws_set_timeout(conn->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

void gw_admin_live_end(struct gw_admin *admin)
{
    for (size_t i = 0; i < GW_ADMIN_CONN_MAX; i++) {
        struct gw_admin_conn *conn = &admin->conns[i];

        if (conn->state == GW_ADMIN_WATCH && !conn->is_ending)
            end(conn);
    }
}
