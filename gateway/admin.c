/* SPDX-License-Identifier: MIT */
/*
 * The operator plane's HTTP server.
 *
 * libwebsockets parses and writes; listening and accepting are done by us, so
 * that a failure to bind has its reason, port 0 can be asked for, and the
 * number of connections is bounded: when all places are taken, the oldest
 * connection gives way. Each connection lives for one request, and for
 * GW_ADMIN_LIFE_MS at most, whatever its peer does or leaves undone; or it is
 * one of few websockets.
 */
#include "gateway/admin_private.h"

#include "gateway/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TICK_MS = 500,
    END_TURNS = 16,    /* of the loop, for watchers to hear of the end */
    INPUT_BYTES = 512, /* of a websocket's input, read at a time */
    ERROR_SIZE = 256,  /* of the caller's buffer */
    ACCEPTS_MAX = 64,  /* in one turn of the loop: whoever connects without end
                          is not to have all of it */
};

static struct gw_admin_conn *conn_of(struct gw_admin *admin,
                                     const struct lws *wsi)
{
    for (size_t i = 0; i < GW_ADMIN_CONN_MAX; i++) {
        if (admin->conns[i].state != GW_ADMIN_FREE &&
            admin->conns[i].wsi == wsi)
            return &admin->conns[i];
    }
    return NULL;
}

void gw_admin_conn_release(struct gw_admin_conn *conn)
{
    struct gw_admin *admin = conn->admin;

    if (conn->is_pending)
        gw_admin_action_log(&conn->action, 0);
    if (conn->has_early)
        free(conn->early.body);
    if (conn->bearer != NULL)
        explicit_bzero(conn->bearer, strlen(conn->bearer));
    free(conn->bearer);
    free(conn->body);
    *conn = (struct gw_admin_conn){.admin = admin};
}

int gw_admin_on_event(struct lws *wsi, enum lws_callback_reasons reason,
                      void *user, void *in, size_t len)
{
    struct gw_admin *admin = lws_context_user(lws_get_context(wsi));
    struct gw_admin_conn *conn = admin != NULL ? conn_of(admin, wsi) : NULL;

    (void)user;
    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE:
        if (admin != NULL && admin->adopting != NULL)
            admin->adopting->wsi = wsi;
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        if (conn != NULL)
            gw_admin_conn_release(conn);
        return 0;
    case LWS_CALLBACK_HTTP:
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return conn != NULL && !admin->is_closing
                   ? gw_admin_http_event(conn, reason)
                   : -1;
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        if (conn == NULL || admin->is_closing ||
            strcasecmp(in, "websocket") != 0)
            return -1;
        return gw_admin_live_event(conn, reason, len);
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
    case LWS_CALLBACK_ESTABLISHED:
    case LWS_CALLBACK_SERVER_WRITEABLE:
    case LWS_CALLBACK_RECEIVE:
        return conn != NULL ? gw_admin_live_event(conn, reason, len) : -1;
    case LWS_CALLBACK_RAW_ADOPT:
    case LWS_CALLBACK_RAW_RX:
        return -1;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "http", .callback = gw_admin_on_event},
    {.name = GW_ADMIN_LIVE_PROTOCOL,
     .callback = gw_admin_on_event,
     .rx_buffer_size = INPUT_BYTES},
    {.name = NULL},
};

/* In lws' own answers too. */
static const struct lws_protocol_vhost_options fixed_fields = {
    .name = "x-content-type-options:", .value = "nosniff"};

/* Connections */

/* lws closes what times out at once; what is closed otherwise it would keep for
 * as long as it has bytes to pass on. */
void gw_admin_conn_kill(struct gw_admin_conn *conn)
{
    if (conn->state == GW_ADMIN_HEAD) {
        gw_admin_front_close(conn);
    } else if (conn->wsi != NULL) {
        lws_set_timeout(conn->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
        lws_cancel_service_pt(conn->wsi);
    }
}

/* A free place, or NULL; then the oldest connection that watches nothing is
 * being closed, and its place becomes free within few turns of the loop. */
static struct gw_admin_conn *conn_find_place(struct gw_admin *admin)
{
    struct gw_admin_conn *oldest = NULL;

    for (size_t i = 0; i < GW_ADMIN_CONN_MAX; i++) {
        struct gw_admin_conn *conn = &admin->conns[i];

        if (conn->state == GW_ADMIN_FREE)
            return conn;
        if (conn->state != GW_ADMIN_WATCH &&
            (oldest == NULL || conn->born_ms < oldest->born_ms))
            oldest = conn;
    }
    if (oldest == NULL)
        return NULL;
    gw_admin_conn_kill(oldest);
    return oldest->state == GW_ADMIN_FREE ? oldest : NULL;
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
static bool is_spinning(struct gw_admin_conn *conn)
{
    bool is_stalled = conn->is_answered && conn->sent_at_tick == conn->sent;
    char byte;

    conn->sent_at_tick = conn->sent;
    return is_stalled && recv(lws_get_socket_fd(conn->wsi), &byte, 1,
                              MSG_PEEK | MSG_DONTWAIT) >= 0;
}

static bool is_over(struct gw_admin_conn *conn, uint64_t now_ms)
{
    switch (conn->state) {
    case GW_ADMIN_FREE:
        return false;
    case GW_ADMIN_WATCH:
        return gw_admin_live_is_stuck(conn, now_ms);
    case GW_ADMIN_HEAD:
        return now_ms - conn->born_ms >= conn->admin->life_ms;
    case GW_ADMIN_HTTP:
        break;
    }
    return conn->wsi != NULL &&
           (now_ms - conn->born_ms >= conn->admin->life_ms ||
            is_spinning(conn));
}

static void on_tick(uv_timer_t *timer)
{
    struct gw_admin *admin = timer->data;
    uint64_t now_ms = uv_now(admin->loop);
    bool is_idle = gw_admin_keep_reserve(&admin->socket);

    for (size_t i = 0; i < GW_ADMIN_CONN_MAX; i++) {
        struct gw_admin_conn *conn = &admin->conns[i];

        if (conn->state == GW_ADMIN_FREE)
            continue;
        is_idle = false;
        if (is_over(conn, now_ms))
            gw_admin_conn_kill(conn);
    }
    /* It stands still after a want of descriptors. */
    if (!admin->is_handed_over &&
        !uv_is_active((uv_handle_t *)&admin->listener))
        uv_poll_start(&admin->listener, UV_READABLE, on_client);
    if (is_idle)
        uv_timer_stop(timer);
}

void gw_admin_adopt(struct gw_admin_conn *conn, int fd, const char *head,
                    size_t len)
{
    struct gw_admin *admin = conn->admin;
    uint64_t serial = conn->serial;

    conn->state = GW_ADMIN_HTTP;
    admin->adopting = conn;
    const struct lws *wsi =
        lws_adopt_socket_vhost_readbuf(admin->vhost, fd, head, len);
    admin->adopting = NULL;
    /* lws has closed the socket. Where it had made a wsi before, the place is
     * released when that is destroyed. */
    if (wsi == NULL && conn->wsi == NULL && conn->serial == serial)
        gw_admin_conn_release(conn);
}

/* "127.0.0.1:5555", "[::1]:5555", or "uid=1000" of a unix socket's peer. */
static void name_peer(int fd, char out[GW_ADMIN_PEER_MAX])
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);
    char ip[INET6_ADDRSTRLEN] = "?";

    snprintf(out, GW_ADMIN_PEER_MAX, "?");
    if (getpeername(fd, (struct sockaddr *)&addr, &len) != 0)
        return;
    if (addr.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&addr;

        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof(ip));
        snprintf(out, GW_ADMIN_PEER_MAX, "%s:%u", ip,
                 (unsigned)ntohs(in->sin_port));
    } else if (addr.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&addr;

        inet_ntop(AF_INET6, &in6->sin6_addr, ip, sizeof(ip));
        snprintf(out, GW_ADMIN_PEER_MAX, "[%s]:%u", ip,
                 (unsigned)ntohs(in6->sin6_port));
    } else {
        struct ucred peer;

        len = sizeof(peer);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
            snprintf(out, GW_ADMIN_PEER_MAX, "uid=%u", (unsigned)peer.uid);
    }
}

static void begin(struct gw_admin_conn *conn, int fd)
{
    struct gw_admin *admin = conn->admin;

    *conn = (struct gw_admin_conn){.admin = admin,
                                   .state = GW_ADMIN_HEAD,
                                   .serial = ++admin->serial,
                                   .born_ms = uv_now(admin->loop)};
    name_peer(fd, conn->peer);
    if (gw_admin_front_open(conn, fd))
        tick_start(admin);
    else
        gw_admin_conn_release(conn);
}

static void on_client(uv_poll_t *poll, int status, int events)
{
    struct gw_admin *admin = poll->data;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct gw_admin_conn *conn = conn_find_place(admin);

        if (conn == NULL)
            return;
        int fd = gw_admin_accept(&admin->socket);

        if (fd >= 0) {
            begin(conn, fd);
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
        .fd_limit_per_thread = 2 * GW_ADMIN_CONN_MAX,
        .max_http_header_data = GW_ADMIN_HEAD_MAX,
        .max_http_header_pool = GW_ADMIN_CONN_MAX,
        .timeout_secs = GW_ADMIN_LIFE_MS / 1000,
        .keepalive_timeout = GW_ADMIN_LIFE_MS / 1000,
        .headers = &fixed_fields,
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
        uv_timer_init(admin->loop, &admin->live);
        admin->has_handles = true;
        admin->listener.data = admin;
        admin->ticker.data = admin;
        admin->live.data = admin;
        status = uv_poll_start(&admin->listener, UV_READABLE, on_client);
    }
    if (status != 0)
        snprintf(error, ERROR_SIZE, "admin: %s", uv_strerror(status));
    return status == 0;
}

struct gw_admin *gw_admin_open(uv_loop_t *loop,
                               const struct gw_address *address,
                               const struct gw_admin_tokens *tokens,
                               const struct gw_admin_hooks *hooks,
                               int inherited_fd, char *error)
{
    struct gw_admin *admin = calloc(1, sizeof(*admin));
    int status;

    if (admin == NULL) {
        if (inherited_fd >= 0)
            close(inherited_fd);
        snprintf(error, ERROR_SIZE, "admin: out of memory");
        return NULL;
    }
    admin->loop = loop;
    admin->desk.hooks = *hooks;
    admin->life_ms = GW_ADMIN_LIFE_MS;
    admin->stall_ms = GW_ADMIN_STALL_MS;
    for (size_t i = 0; i < GW_ADMIN_CONN_MAX; i++)
        admin->conns[i].admin = admin;
    admin->socket.fd = -1;
    admin->socket.reserve_fd = -1;
    if (!gw_admin_guard_init(&admin->desk.guard, address, tokens)) {
        snprintf(error, ERROR_SIZE, "admin: no random numbers can be had");
        goto fail;
    }
    status =
        inherited_fd >= 0
            ? gw_admin_inherit(&admin->socket, address, inherited_fd, error)
            : gw_admin_listen(&admin->socket, address, error);
    inherited_fd = -1;
    if (status == 0 && open_lws(admin, error) && open_handles(admin, error))
        return admin;
fail:
    if (inherited_fd >= 0)
        close(inherited_fd);
    gw_admin_close(admin);
    return NULL;
}

int gw_admin_port(const struct gw_admin *admin)
{
    return admin->socket.port;
}

int gw_admin_fd(const struct gw_admin *admin)
{
    return admin->socket.fd;
}

void gw_admin_hand_over(struct gw_admin *admin)
{
    admin->is_handed_over = true;
    uv_poll_stop(&admin->listener);
    gw_admin_live_end(admin);
}

void gw_admin_resume(struct gw_admin *admin)
{
    admin->is_handed_over = false;
    uv_poll_start(&admin->listener, UV_READABLE, on_client);
}

void gw_admin_stop(struct gw_admin *admin)
{
    admin->is_closing = true;
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

/* Nothing comes in any more, and watchers hear why. */
static void close_gently(struct gw_admin *admin)
{
    admin->is_closing = true;
    uv_close((uv_handle_t *)&admin->listener, NULL);
    uv_close((uv_handle_t *)&admin->ticker, NULL);
    uv_close((uv_handle_t *)&admin->live, NULL);
    for (size_t i = 0; i < GW_ADMIN_CONN_MAX; i++)
        if (admin->conns[i].state == GW_ADMIN_HEAD)
            gw_admin_front_close(&admin->conns[i]);
    gw_admin_live_end(admin);
    for (int i = 0; i < END_TURNS; i++)
        uv_run(admin->loop, UV_RUN_NOWAIT);
}

void gw_admin_close(struct gw_admin *admin)
{
    if (admin == NULL)
        return;
    if (admin->has_handles)
        close_gently(admin);
    /* The first call starts the closing of all that lws has in the loop, which
     * takes turns of the loop: connections first, then lws's own handles. Only
     * a second call after that frees the context. */
    if (admin->context != NULL)
        lws_context_destroy(admin->context);
    finish_closing(admin->loop);
    if (admin->context != NULL)
        lws_context_destroy(admin->context);
    gw_admin_unlisten(&admin->socket, admin->is_handed_over);
    for (size_t i = 0; i < GW_ADMIN_CONN_MAX; i++)
        gw_admin_conn_release(&admin->conns[i]);
    free(admin);
}
