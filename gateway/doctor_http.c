/* SPDX-License-Identifier: MIT */
/* HTTP answers, by llhttp, and websocket frames. */
#include "gateway/doctor_private.h"

#include "gateway/server.h"

#include <llhttp.h>
#include <string.h>
#include <strings.h>

enum {
    FINAL_TEXT = 0x81,
    FINAL_PING = 0x89,
    FINAL_PONG = 0x8a,
    OPCODE_CLOSE = 8,
    OPCODE_BITS = 0x0f,
    MASKED = 0x80,
    FRAME_HEAD_MAX = 14,
    SAY_MAX = 125,
};

/* ---- answers ---- */

struct reading {
    struct doctor_answer *answer;
    char name[32];
    char value[512];
    bool is_done;
};

static void append(char *out, size_t cap, const char *at, size_t len)
{
    size_t used = strlen(out);
    size_t take = len < cap - used - 1 ? len : cap - used - 1;
    memcpy(out + used, at, take);
    out[used + take] = '\0';
}

static int on_name(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    append(reading->name, sizeof(reading->name), at, len);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    append(reading->value, sizeof(reading->value), at, len);
    return 0;
}

static int on_field(llhttp_t *parser)
{
    struct reading *reading = parser->data;
    struct doctor_answer *answer = reading->answer;
    if (strcasecmp(reading->name, "set-cookie") == 0) {
        size_t len = strcspn(reading->value, ";");
        if (answer->cookies[0] != '\0')
            append(answer->cookies, sizeof(answer->cookies), "; ", 2);
        append(answer->cookies, sizeof(answer->cookies), reading->value, len);
    } else if (strcasecmp(reading->name, "sec-websocket-accept") == 0) {
        append(answer->accept, sizeof(answer->accept), reading->value,
               strlen(reading->value));
    }
    reading->name[0] = '\0';
    reading->value[0] = '\0';
    return 0;
}

static int on_head(llhttp_t *parser)
{
    struct reading *reading = parser->data;
    reading->answer->status = parser->status_code;
    reading->answer->is_upgrade = parser->status_code == 101;
    return 0;
}

/* What is longer than the room is dropped. */
static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;
    struct doctor_answer *answer = reading->answer;
    size_t room = sizeof(answer->body) - 1 - answer->len;
    size_t take = len < room ? len : room;
    memcpy(answer->body + answer->len, at, take);
    answer->len += take;
    answer->body[answer->len] = '\0';
    return 0;
}

static int on_whole(llhttp_t *parser)
{
    struct reading *reading = parser->data;
    /* After 100 Continue and the like the real one comes. */
    if (parser->status_code < 200 && parser->status_code != 101)
        return 0;
    reading->is_done = true;
    reading->answer->is_whole = true;
    reading->answer->keeps_alive = llhttp_should_keep_alive(parser) != 0;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_field,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_whole,
};

/* Feeds what is there. False: it is no HTTP. */
static bool feed(llhttp_t *parser, struct doctor_conn *conn)
{
    const struct reading *reading = parser->data;
    llhttp_errno_t result = llhttp_execute(parser, conn->in, conn->len);
    size_t used = conn->len;
    if (result == HPE_PAUSED || result == HPE_PAUSED_UPGRADE)
        used = (size_t)(llhttp_get_error_pos(parser) - conn->in);
    doctor_use(conn, used);
    return result == HPE_OK || reading->is_done || result == HPE_PAUSED_UPGRADE;
}

enum doctor_io doctor_receive(struct doctor_conn *conn,
                              struct doctor_answer *answer, int64_t until_ms)
{
    struct reading reading = {.answer = answer};
    llhttp_t parser;
    llhttp_init(&parser, HTTP_RESPONSE, &settings);
    parser.data = &reading;
    memset(answer, 0, offsetof(struct doctor_answer, body));
    answer->body[0] = '\0';
    answer->cookies[0] = '\0';
    answer->accept[0] = '\0';
    for (;;) {
        if (conn->len > 0 && !feed(&parser, conn))
            return DOCTOR_IO_JUNK;
        if (reading.is_done || answer->is_upgrade)
            return DOCTOR_IO_OK;
        enum doctor_io io = doctor_read(conn, until_ms);
        if (io == DOCTOR_IO_CLOSED && answer->status != 0 &&
            llhttp_finish(&parser) == HPE_PAUSED)
            return DOCTOR_IO_OK;
        if (io != DOCTOR_IO_OK)
            return io;
    }
}

/* ---- frames ---- */

static bool send_frame(struct doctor_conn *conn, int first, const char *payload,
                       size_t len)
{
    char frame[6 + SAY_MAX] = {(char)first, (char)(MASKED | len)};
    /* A mask of zeros leaves the bytes as they are. */
    if (len > SAY_MAX)
        return false;
    memcpy(frame + 6, payload, len);
    return doctor_send(conn, frame, 6 + len);
}

bool doctor_say(struct doctor_conn *conn, const char *text)
{
    return send_frame(conn, FINAL_TEXT, text, strlen(text));
}

static enum doctor_io need(struct doctor_conn *conn, size_t len,
                           int64_t until_ms)
{
    while (conn->len < len) {
        enum doctor_io io = doctor_read(conn, until_ms);
        if (io != DOCTOR_IO_OK)
            return io;
    }
    return DOCTOR_IO_OK;
}

/* The head of a frame whose payload fits into the buffer. */
static enum doctor_io read_head(struct doctor_conn *conn, size_t *head,
                                size_t *payload, int64_t until_ms)
{
    enum doctor_io io = need(conn, 2, until_ms);
    if (io != DOCTOR_IO_OK)
        return io;
    const unsigned char *in = (const unsigned char *)conn->in;
    *payload = in[1] & 0x7f;
    *head = 2;
    if (*payload == 127 || (in[1] & MASKED) != 0)
        return DOCTOR_IO_JUNK;
    if (*payload == 126) {
        *head = 4;
        io = need(conn, *head, until_ms);
        if (io != DOCTOR_IO_OK)
            return io;
        *payload = (size_t)in[2] << 8 | in[3];
    }
    if (*payload > sizeof(conn->in) - FRAME_HEAD_MAX)
        return DOCTOR_IO_JUNK;
    return need(conn, *head + *payload, until_ms);
}

enum doctor_io doctor_frame(struct doctor_conn *conn, char *out, size_t cap,
                            int64_t until_ms)
{
    for (;;) {
        size_t head = 0;
        size_t len = 0;
        enum doctor_io io = read_head(conn, &head, &len, until_ms);
        if (io != DOCTOR_IO_OK)
            return io;
        unsigned char first = (unsigned char)conn->in[0];
        size_t take = len < cap - 1 ? len : cap - 1;
        memcpy(out, conn->in + head, take);
        out[take] = '\0';
        doctor_use(conn, head + len);
        if (first == FINAL_TEXT)
            return DOCTOR_IO_OK;
        if ((first & OPCODE_BITS) == OPCODE_CLOSE)
            return DOCTOR_IO_CLOSED;
        if (first == FINAL_PING && len <= SAY_MAX && take == len)
            send_frame(conn, FINAL_PONG, out, len);
    }
}
