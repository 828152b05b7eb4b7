/* SPDX-License-Identifier: MIT */
/*
 * The operator plane's HTTP server.
 *
 * libwebsockets parses and writes; listening and accepting are done by us, so
 * that a failure to bind has its reason, port 0 can be asked for, and the
 * number of connections is bounded: when all places are taken, the oldest
 * connection gives way. Each connection lives for one request, and for
 * LIFE_MS at most, whatever its peer does or leaves undone.
 */
#include "gateway/admin.h"

#include "gateway/admin_answer.h"
#include "gateway/admin_listen.h"
#include "gateway/log.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    CONN_MAX = 64,
    LIFE_MS = 10000,
    TICK_MS = 500,
    HEAD_BYTES_MAX = 4096, /* of a request's header values */
    PIECE_BYTES = 8192,    /* of a body, written at a time */
    VALUE_BYTES = 128,     /* of a field's value, at least */
    DROPS_MAX = 8,         /* pieces of unwanted input that are read away */
    ERROR_SIZE = 256,      /* of the caller's buffer */
};

struct conn {
    bool is_taken;
    struct lws *wsi;
    uint64_t born_ms;
    char *body; /* of the answer; malloc'd */
    size_t len;
    size_t sent;
    size_t sent_at_tick; /* what `sent` was at the last tick */
};

struct gw_admin {
    uv_loop_t *loop;
    struct gw_admin_hooks hooks;
    struct gw_admin_guard guard;
    struct gw_admin_listener socket;
    struct lws_context *context; /* lws sets it to NULL when it is gone */
    struct lws_vhost *vhost;
    uv_poll_t listener; /* of the socket */
    uv_timer_t ticker;
    bool has_handles;
    struct conn *adopting; /* the place of the connection under adoption */
    struct conn conns[CONN_MAX];
};

static struct conn *conn_of(struct gw_admin *admin, const struct lws *wsi)
{
    for (size_t i = 0; i < CONN_MAX; i++) {
        if (admin->conns[i].is_taken && admin->conns[i].wsi == wsi)
            return &admin->conns[i];
    }
    return NULL;
}

static void conn_release(struct conn *conn)
{
    free(conn->body);
    *conn = (struct conn){0};
}

/* Answers */

struct field {
    enum lws_token_indexes name;
    const char *value;
};

/* True on success. */
static bool put_head(struct lws *wsi, const struct gw_admin_answer *answer)
{
    unsigned char buffer[LWS_PRE + 512];
    unsigned char *start = buffer + LWS_PRE;
    unsigned char *at = start;
    unsigned char *end = buffer + sizeof(buffer) - 1;
    const struct field fields[] = {
        {WSI_TOKEN_HTTP_CONTENT_TYPE, answer->type},
        {WSI_TOKEN_HTTP_CACHE_CONTROL, "no-store"},
        {WSI_TOKEN_CONNECTION, "close"},
        {WSI_TOKEN_HTTP_ALLOW, answer->status == 405 ? "GET, HEAD" : NULL},
        {WSI_TOKEN_HTTP_WWW_AUTHENTICATE,
         answer->status == 401 ? "Bearer" : NULL},
    };

    if (lws_add_http_header_status(wsi, answer->status, &at, end) ||
        lws_add_http_header_content_length(wsi, answer->len, &at, end))
        return false;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].value != NULL &&
            lws_add_http_header_by_token(
                wsi, fields[i].name, (const unsigned char *)fields[i].value,
                (int)strlen(fields[i].value), &at, end))
            return false;
    }
    return lws_finalize_write_http_header(wsi, start, &at, end) == 0;
}

/* The values of a request's fields; lws joins those of one name by commas. */
struct values {
    char host[GW_ADDRESS_MAX + VALUE_BYTES];
    char origin[GW_ADDRESS_MAX + VALUE_BYTES];
    char fetch_site[VALUE_BYTES];
    char authorization[STORE_SECRET_MAX + VALUE_BYTES];
};

/* NULL when there is none. One that is too long for `out` is as good as any
 * that is not wanted. */
static const char *read_field(struct lws *wsi, enum lws_token_indexes name,
                              char *out, int size)
{
    if (lws_hdr_total_length(wsi, name) <= 0)
        return NULL;
    if (lws_hdr_copy(wsi, out, size, name) < 0)
        snprintf(out, (size_t)size, "?");
    return out;
}

static const char *read_fetch_site(struct lws *wsi, char *out, int size)
{
    static const char name[] = "sec-fetch-site:";
    int name_len = (int)sizeof(name) - 1;

    if (lws_hdr_custom_length(wsi, name, name_len) < 0)
        return NULL;
    if (lws_hdr_custom_copy(wsi, out, size, name, name_len) < 0)
        snprintf(out, (size_t)size, "?");
    return out;
}

/* Returns what the lws callback returns: -1 to close. */
static int answer_request(struct gw_admin *admin, struct conn *conn)
{
    struct lws *wsi = conn->wsi;
    struct values values;
    char *path = NULL;
    int len = 0;
    int method = lws_http_get_uri_and_method(wsi, &path, &len);

    if (conn->body != NULL || method < 0 || path == NULL)
        return -1;

    bool is_head = method == LWSHUMETH_HEAD;
    const struct gw_admin_request request = {
        .is_read = is_head || method == LWSHUMETH_GET,
        .path = path,
        .len = (size_t)len,
        .host =
            read_field(wsi, WSI_TOKEN_HOST, values.host, sizeof(values.host)),
        .origin = read_field(wsi, WSI_TOKEN_ORIGIN, values.origin,
                             sizeof(values.origin)),
        .fetch_site =
            read_fetch_site(wsi, values.fetch_site, sizeof(values.fetch_site)),
        .authorization =
            read_field(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, values.authorization,
                       sizeof(values.authorization)),
    };
    struct gw_admin_answer answer =
        gw_admin_answer(&admin->hooks, &admin->guard, &request);
    conn->body = answer.body;
    conn->len = answer.len;
    conn->sent = is_head ? answer.len : 0;
    conn->sent_at_tick = SIZE_MAX;
    if (!put_head(wsi, &answer))
        return -1;
    lws_callback_on_writable(wsi);
    return 0;
}

/* Reads away what came behind the request, such as a body: closing a socket
 * with unread input would make the kernel drop the answer. */
static void drop_input(const struct conn *conn)
{
    char buffer[PIECE_BYTES];

    for (int i = 0; i < DROPS_MAX; i++) {
        if (recv(lws_get_socket_fd(conn->wsi), buffer, sizeof(buffer),
                 MSG_DONTWAIT) <= 0)
            return;
    }
}

/* Called when lws has passed on all that it was given before. */
static int send_piece(struct conn *conn)
{
    unsigned char buffer[LWS_PRE + PIECE_BYTES];
    size_t piece = conn->len - conn->sent;

    if (piece == 0) {
        drop_input(conn);
        return -1;
    }
    if (piece > PIECE_BYTES)
        piece = PIECE_BYTES;
    memcpy(buffer + LWS_PRE, conn->body + conn->sent, piece);
    conn->sent += piece;
    if (lws_write(conn->wsi, buffer + LWS_PRE, piece,
                  conn->sent == conn->len ? LWS_WRITE_HTTP_FINAL
                                          : LWS_WRITE_HTTP) < (int)piece)
        return -1;
    lws_callback_on_writable(conn->wsi);
    return 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason,
                    void *user, void *in, size_t len)
{
    struct gw_admin *admin = lws_context_user(lws_get_context(wsi));
    struct conn *conn = admin != NULL ? conn_of(admin, wsi) : NULL;

    (void)user;
    (void)in;
    (void)len;
    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE:
        if (admin != NULL && admin->adopting != NULL)
            admin->adopting->wsi = wsi;
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        if (conn != NULL)
            conn_release(conn);
        return 0;
    case LWS_CALLBACK_HTTP:
        return conn != NULL ? answer_request(admin, conn) : -1;
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return conn != NULL && conn->body != NULL ? send_piece(conn) : -1;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_RAW_ADOPT:
    case LWS_CALLBACK_RAW_RX:
        /* Plain HTTP is all there is. */
        return -1;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "http", .callback = on_event},
    {.name = NULL},
};

/* Connections */

static void conn_kill(struct conn *conn)
{
    lws_set_timeout(conn->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

/* A free place, or NULL; then the oldest connection is being closed, and its
 * place becomes free at the end of this turn of the loop. */
static struct conn *conn_find_place(struct gw_admin *admin)
{
    struct conn *oldest = &admin->conns[0];

    for (size_t i = 0; i < CONN_MAX; i++) {
        if (!admin->conns[i].is_taken)
            return &admin->conns[i];
        if (admin->conns[i].born_ms < oldest->born_ms)
            oldest = &admin->conns[i];
    }
    if (oldest->wsi != NULL)
        conn_kill(oldest);
    return NULL;
}

static void on_tick(uv_timer_t *timer);
static void on_client(uv_poll_t *poll, int status, int events);

static void tick_start(struct gw_admin *admin)
{
    if (!uv_is_active((uv_handle_t *)&admin->ticker))
        uv_timer_start(&admin->ticker, on_tick, TICK_MS, TICK_MS);
}

/* While an answer is under way lws leaves input where it is and wakes up for
 * it all the time, so a peer that sent more than its request, or closed its
 * side, must at least read on. */
static bool is_spinning(struct conn *conn)
{
    bool is_stalled = conn->body != NULL && conn->sent_at_tick == conn->sent;
    char byte;

    conn->sent_at_tick = conn->sent;
    return is_stalled && recv(lws_get_socket_fd(conn->wsi), &byte, 1,
                              MSG_PEEK | MSG_DONTWAIT) >= 0;
}

static void on_tick(uv_timer_t *timer)
{
    struct gw_admin *admin = timer->data;
    uint64_t now_ms = uv_now(admin->loop);
    bool is_idle = gw_admin_keep_reserve(&admin->socket);

    for (size_t i = 0; i < CONN_MAX; i++) {
        struct conn *conn = &admin->conns[i];

        if (!conn->is_taken)
            continue;
        is_idle = false;
        if (conn->wsi != NULL &&
            (now_ms - conn->born_ms >= LIFE_MS || is_spinning(conn)))
            conn_kill(conn);
    }
    /* It stands still after a want of descriptors. */
    if (!uv_is_active((uv_handle_t *)&admin->listener))
        uv_poll_start(&admin->listener, UV_READABLE, on_client);
    if (is_idle)
        uv_timer_stop(timer);
}

static void adopt(struct gw_admin *admin, struct conn *conn, int fd)
{
    *conn = (struct conn){.is_taken = true, .born_ms = uv_now(admin->loop)};
    admin->adopting = conn;
    const struct lws *wsi = lws_adopt_socket_vhost(admin->vhost, fd);
    admin->adopting = NULL;
    /* lws has closed the socket. Where it had made a wsi before, the place is
     * released when that is destroyed. */
    if (wsi == NULL && conn->wsi == NULL)
        conn_release(conn);
    tick_start(admin);
}

static void on_client(uv_poll_t *poll, int status, int events)
{
    struct gw_admin *admin = poll->data;
    struct conn *conn;

    (void)status;
    (void)events;
    while ((conn = conn_find_place(admin)) != NULL) {
        int fd = gw_admin_accept(&admin->socket);

        if (fd >= 0) {
            adopt(admin, conn, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            gw_log(GW_LOG_WARNING, "admin_accept_error", "reason",
                   strerror(errno));
            uv_poll_stop(poll);
            tick_start(admin);
        }
        return;
    }
}

/* Opening and closing */

static bool open_lws(struct gw_admin *admin, char *error)
{
    void *loops[1] = {admin->loop};
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .foreign_loops = loops,
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .vhost_name = "admin",
        .user = admin,
        .pcontext = &admin->context,
        /* One closing and one new connection can overlap in a place. Without
         * this limit lws reserves tables for all descriptors that the process
         * may ever open. */
        .fd_limit_per_thread = 2 * CONN_MAX,
        .max_http_header_data = HEAD_BYTES_MAX,
        .max_http_header_pool = CONN_MAX,
        .timeout_secs = LIFE_MS / 1000,
        .keepalive_timeout = LIFE_MS / 1000,
    };

    /* lws would write to standard error in a form of its own. */
    lws_set_log_level(0, NULL);
    admin->context = lws_create_context(&info);
    if (admin->context != NULL)
        admin->vhost = lws_create_vhost(admin->context, &info);
    if (admin->vhost == NULL)
        snprintf(error, ERROR_SIZE, "admin: libwebsockets cannot start");
    return admin->vhost != NULL;
}

static bool open_handles(struct gw_admin *admin, char *error)
{
    int status = uv_poll_init(admin->loop, &admin->listener, admin->socket.fd);

    if (status == 0) {
        uv_timer_init(admin->loop, &admin->ticker);
        admin->has_handles = true;
        admin->listener.data = admin;
        admin->ticker.data = admin;
        status = uv_poll_start(&admin->listener, UV_READABLE, on_client);
    }
    if (status != 0)
        snprintf(error, ERROR_SIZE, "admin: %s", uv_strerror(status));
    return status == 0;
}

struct gw_admin *gw_admin_open(uv_loop_t *loop,
                               const struct gw_address *address,
                               const char *token,
                               const struct gw_admin_hooks *hooks, char *error)
{
    struct gw_admin *admin = calloc(1, sizeof(*admin));

    if (admin == NULL) {
        snprintf(error, ERROR_SIZE, "admin: out of memory");
        return NULL;
    }
    admin->loop = loop;
    admin->hooks = *hooks;
    admin->socket.fd = -1;
    admin->socket.reserve_fd = -1;
    if (!gw_admin_guard_init(&admin->guard, address, token)) {
        snprintf(error, ERROR_SIZE, "admin: no random numbers can be had");
        goto fail;
    }
    if (gw_admin_listen(&admin->socket, address, error) == 0 &&
        open_lws(admin, error) && open_handles(admin, error))
        return admin;
fail:
    gw_admin_close(admin);
    return NULL;
}

int gw_admin_port(const struct gw_admin *admin)
{
    return admin->socket.port;
}

static void count_closing(uv_handle_t *handle, void *arg)
{
    size_t *count = arg;

    if (uv_is_closing(handle))
        (*count)++;
}

/* Turns the loop until every handle that is being closed is gone. */
static void finish_closing(uv_loop_t *loop)
{
    size_t closing;

    do {
        uv_run(loop, UV_RUN_NOWAIT);
        closing = 0;
        uv_walk(loop, count_closing, &closing);
    } while (closing > 0);
}

void gw_admin_close(struct gw_admin *admin)
{
    if (admin == NULL)
        return;
    if (admin->has_handles) {
        uv_close((uv_handle_t *)&admin->listener, NULL);
        uv_close((uv_handle_t *)&admin->ticker, NULL);
    }
    /* The first call starts the closing of all that lws has in the loop, which
     * takes turns of the loop: connections first, then lws's own handles. Only
     * a second call after that frees the context. */
    if (admin->context != NULL)
        lws_context_destroy(admin->context);
    finish_closing(admin->loop);
    if (admin->context != NULL)
        lws_context_destroy(admin->context);
    gw_admin_unlisten(&admin->socket);
    for (size_t i = 0; i < CONN_MAX; i++)
        conn_release(&admin->conns[i]);
    free(admin);
}
