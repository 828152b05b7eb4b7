/* SPDX-License-Identifier: MIT */
/*
 * The heads of operators' requests, before libwebsockets reads them.
 *
 * A browser can send a token for a websocket in a subprotocol alone, and lws
 * 4.1.6 hangs up where all subprotocols have more than 127 bytes. So heads are
 * read here, and what is offered is taken out. lws also hangs up on upgrades
 * that are not served, where HTTP would have them overlooked: those go as well.
 * And where a head is given to lws like this, it takes it for the body as well,
 * so bodies are read here, too, and dropped: they mean nothing. All else of a
 * head is left to lws.
 */
#include "gateway/admin_private.h"

#include "eio/span.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* lws takes no head of that size: it is to say so. */
enum {
    FRONT_MAX = 16384,
    BODY_BYTES_MAX = 65536, /* of a request's body, which is dropped */
    LENGTH_DIGITS = 18,
};

struct gw_admin_front {
    uv_poll_t poll;
    struct gw_admin_conn *conn; /* NULL: closed */
    int fd;
    int64_t body_left; /* once the head is there */
    bool has_head;
    size_t len;
    char bytes[FRONT_MAX + GW_ADMIN_HEAD_MORE];
};

/* ---- the text of a head ---- */

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

/* Reads base64url without padding as a text into `out`, which has room for
 * `len` bytes and a NUL; "" when it is none. */
static void decode_token(const char *text, size_t len, char *out)
{
    unsigned bits = 0;
    unsigned count = 0;
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text[i]);

        if (digit < 0) {
            used = 0;
            break;
        }
        bits = (bits << 6 | (unsigned)digit) & 0xffff;
        count += 6;
        if (count < 8)
            continue;
        count -= 8;
        out[used++] = (char)(bits >> count & 0xff);
    }
    if (len % 4 == 1 || memchr(out, '\0', used) != NULL)
        used = 0;
    out[used] = '\0';
}

static void take_bearer(const char *text, size_t len,
                        struct gw_admin_offer *offer)
{
    /* Of two, neither can be meant. */
    if (offer->bearer != NULL) {
        offer->bearer[0] = '\0';
        return;
    }
    offer->bearer = malloc(len + 1);
    if (offer->bearer != NULL)
        decode_token(text, len, offer->bearer);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* One subprotocol. */
static void take_offer(const char *text, size_t len,
                       struct gw_admin_offer *offer)
{
    static const char live[] = GW_ADMIN_LIVE_PROTOCOL;
    static const char bearer[] = "bearer.";

    while (len > 0 && is_blank(*text)) {
        text++;
        len--;
    }
    while (len > 0 && is_blank(text[len - 1]))
        len--;
    if (len == sizeof(live) - 1 && memcmp(text, live, len) == 0)
        offer->offers_live = true;
    else if (len >= sizeof(bearer) - 1 &&
             memcmp(text, bearer, sizeof(bearer) - 1) == 0)
        take_bearer(text + sizeof(bearer) - 1, len - (sizeof(bearer) - 1),
                    offer);
}

static void take_offers(const char *value, size_t len,
                        struct gw_admin_offer *offer)
{
    const char *end = value + len;

    while (value <= end) {
        const char *comma = memchr(value, ',', (size_t)(end - value));
        const char *stop = comma != NULL ? comma : end;

        take_offer(value, (size_t)(stop - value), offer);
        value = stop + 1;
    }
}

/* The value of a line that has the field, or NULL. `name` ends with ':'. */
static const char *field_in(const char *line, size_t len, const char *name)
{
    size_t name_len = strlen(name);

    return len >= name_len && strncasecmp(line, name, name_len) == 0
               ? line + name_len
               : NULL;
}

/* Whether the request is one for our websocket, as far as its line goes. */
static bool is_for_live(const char *line, size_t len)
{
    static const char begin[] = "GET " GW_ADMIN_LIVE_PATH;
    size_t begin_len = sizeof(begin) - 1;

    return len > begin_len && memcmp(line, begin, begin_len) == 0 &&
           (line[begin_len] == ' ' || line[begin_len] == '?');
}

static bool is_websocket(const char *value, size_t len)
{
    static const char name[] = "websocket";

    while (len > 0 && is_blank(*value)) {
        value++;
        len--;
    }
    while (len > 0 && is_blank(value[len - 1]))
        len--;
    return len == sizeof(name) - 1 && strncasecmp(value, name, len) == 0;
}

/* -1 for what is no number. */
static int64_t read_length(const char *value, size_t len)
{
    int64_t number = 0;

    while (len > 0 && is_blank(*value)) {
        value++;
        len--;
    }
    while (len > 0 && is_blank(value[len - 1]))
        len--;
    if (len == 0 || len > LENGTH_DIGITS)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9')
            return -1;
        number = number * 10 + (value[i] - '0');
    }
    return number;
}

struct rewrite {
    struct gw_admin_offer *offer;
    char *out;
    size_t used;
    bool is_live; /* the request is for the websocket */
    bool has_length;
};

static void put(struct rewrite *to, const char *bytes, size_t len)
{
    memcpy(to->out + to->used, bytes, len);
    to->used += len;
}

static void rewrite_field(struct rewrite *to, const char *line, size_t len)
{
    static const char ours[] =
        "Sec-WebSocket-Protocol: " GW_ADMIN_LIVE_PROTOCOL "\r\n";
    struct gw_admin_offer *offer = to->offer;
    const char *end = line + len;
    const char *offers = field_in(line, len, "sec-websocket-protocol:");
    const char *upgrade = field_in(line, len, "upgrade:");
    const char *length = field_in(line, len, "content-length:");
    bool had_live = offer->offers_live;

    if (offers != NULL) {
        take_offers(offers, (size_t)(end - offers), offer);
        if (offer->offers_live && !had_live)
            put(to, ours, sizeof(ours) - 1);
    } else if (length != NULL) {
        /* Of two, neither can be meant. */
        offer->body_len =
            to->has_length ? -1 : read_length(length, (size_t)(end - length));
        to->has_length = true;
    } else if (upgrade == NULL ||
               (to->is_live &&
                is_websocket(upgrade, (size_t)(end - upgrade)))) {
        put(to, line, len);
    }
}

size_t gw_admin_head_rewrite(const char *head, size_t len, char *out,
                             struct gw_admin_offer *offer)
{
    static const char no_body[] = "Content-Length: 0\r\n";
    struct rewrite to = {.offer = offer, .out = out};
    const char *end = head + len;

    *offer = (struct gw_admin_offer){.bearer = NULL};
    for (const char *line = head; line < end;) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));
        size_t line_len = (size_t)((feed != NULL ? feed + 1 : end) - line);

        if (line != head) {
            rewrite_field(&to, line, line_len);
        } else {
            to.is_live = is_for_live(line, line_len);
            put(&to, line, line_len);
            if (feed != NULL)
                put(&to, no_body, sizeof(no_body) - 1);
        }
        line += line_len;
    }
    return to.used;
}

/* How many of the bytes are the head, its empty line included; 0: not all of it
 * is there. What was looked at before is `from` bytes. */
static size_t head_length(const char *bytes, size_t len, size_t from)
{
    for (size_t i = from > 3 ? from - 3 : 0; i < len; i++) {
        size_t next = i + 1;

        if (bytes[i] != '\n')
            continue;
        if (next < len && bytes[next] == '\r')
            next++;
        if (next < len && bytes[next] == '\n')
            return next + 1;
    }
    return 0;
}

/* ---- the socket ---- */

static void free_front(uv_handle_t *handle)
{
    struct gw_admin_front *front = handle->data;

    explicit_bzero(front->bytes, front->len);
    free(front);
}

/* The descriptor is open still. */
static int detach(struct gw_admin_conn *conn)
{
    struct gw_admin_front *front = conn->front;

    conn->front = NULL;
    front->conn = NULL;
    uv_close((uv_handle_t *)&front->poll, free_front);
    return front->fd;
}

void gw_admin_front_close(struct gw_admin_conn *conn)
{
    close(detach(conn));
    gw_admin_conn_release(conn);
}

static void pass_on(struct gw_admin_front *front)
{
    struct gw_admin_conn *conn = front->conn;

    gw_admin_adopt(conn, detach(conn), front->bytes, front->len);
}

/* The head is there, or too much of it. */
static void end_head(struct gw_admin_front *front)
{
    static char head[FRONT_MAX];
    struct gw_admin_conn *conn = front->conn;
    struct gw_admin_offer offer;
    size_t len = front->len;

    memcpy(head, front->bytes, len);
    front->len = gw_admin_head_rewrite(head, len, front->bytes, &offer);
    explicit_bzero(head, len);
    front->has_head = true;
    conn->offers_live = offer.offers_live;
    conn->bearer = offer.bearer;
    conn->has_body = offer.body_len != 0;
    if (offer.body_len < 0)
        conn->fault = 400;
    else if (offer.body_len > BODY_BYTES_MAX)
        conn->fault = 413;
    else
        front->body_left = offer.body_len;
    if (front->body_left == 0)
        pass_on(front);
}

/* Takes the bytes of the head alone. False when there are none any more. */
static bool read_head(struct gw_admin_front *front)
{
    char *to = front->bytes + front->len;
    ssize_t got =
        recv(front->fd, to, FRONT_MAX - front->len, MSG_PEEK | MSG_DONTWAIT);

    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    size_t all = front->len + (size_t)got;
    size_t end = head_length(front->bytes, all, front->len);
    size_t take = (end > 0 ? end : all) - front->len;

    if (recv(front->fd, to, take, MSG_DONTWAIT) != (ssize_t)take)
        return false;
    front->len += take;
    if (end > 0 || front->len == FRONT_MAX)
        end_head(front);
    return true;
}

static bool read_body(struct gw_admin_front *front)
{
    char dropped[GW_ADMIN_PIECE];
    size_t size = (size_t)front->body_left < sizeof(dropped)
                      ? (size_t)front->body_left
                      : sizeof(dropped);
    ssize_t got = recv(front->fd, dropped, size, MSG_DONTWAIT);

    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    front->body_left -= got;
    if (front->body_left == 0)
        pass_on(front);
    return true;
}

static void on_input(uv_poll_t *poll, int status, int events)
{
    struct gw_admin_front *front = poll->data;

    (void)events;
    /* After an error libuv says no more of this socket. */
    if (status != 0 || !(front->has_head ? read_body(front) : read_head(front)))
        gw_admin_front_close(front->conn);
}

bool gw_admin_front_open(struct gw_admin_conn *conn, int fd)
{
    struct gw_admin_front *front = malloc(sizeof(*front));

    if (front == NULL) {
        close(fd);
        return false;
    }
    front->conn = conn;
    front->fd = fd;
    front->body_left = 0;
    front->has_head = false;
    front->len = 0;
    if (uv_poll_init(conn->admin->loop, &front->poll, fd) != 0) {
        close(fd);
        free(front);
        return false;
    }
    front->poll.data = front;
    conn->front = front;
    uv_poll_start(&front->poll, UV_READABLE, on_input);
    return true;
}
