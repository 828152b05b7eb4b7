/* SPDX-License-Identifier: MIT */
/* What a backend's response head must be before a client sees it. */
#include "gateway/head.h"

#include <strings.h>

/* The timeout of "Keep-Alive: timeout=5, max=100"; -1 without one. */
static int keep_alive_timeout(struct eio_span list)
{
    struct eio_span item;
    while (gw_list_next(&list, &item)) {
        if (item.len < 9 || item.len > 13 ||
            strncasecmp(item.ptr, "timeout=", 8) != 0)
            continue;
        int seconds = 0;
        for (size_t i = 8; i < item.len; i++) {
            if (item.ptr[i] < '0' || item.ptr[i] > '9')
                return -1;
            seconds = seconds * 10 + (item.ptr[i] - '0');
        }
        return seconds;
    }
    return -1;
}

static bool is_clean(struct eio_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

struct counts {
    int upgrades;
    int accepts;
};

static void read_field(struct gw_head *head, const struct gw_field *field,
                       struct counts *counts)
{
    switch (field->kind) {
    case GW_FIELD_UPGRADE:
        counts->upgrades++;
        head->upgrades_websocket = gw_span_is(field->value, "websocket");
        break;
    case GW_FIELD_WS_ACCEPT:
        counts->accepts++;
        head->ws_accept = field->value;
        break;
    case GW_FIELD_CONTENT_ENCODING:
        head->content_encoding = field->value;
        break;
    case GW_FIELD_DATE:
        head->has_date = true;
        break;
    case GW_FIELD_KEEP_ALIVE:
        head->keep_alive_s = keep_alive_timeout(field->value);
        break;
    default:
        break;
    }
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.x NNN", and a space or the line's end behind it: llhttp takes other
 * separators and more digits too, and skips empty lines before, which no
 * backend sends. */
static bool has_status_line(struct eio_span bytes)
{
    const char *at = bytes.ptr;
    return bytes.len > 12 && memcmp(at, "HTTP/1.", 7) == 0 &&
           (at[7] == '0' || at[7] == '1') && at[8] == ' ' && is_digit(at[9]) &&
           is_digit(at[10]) && is_digit(at[11]) &&
           (at[12] == ' ' || at[12] == '\r');
}

int gw_head_parse_response(struct eio_span bytes, struct gw_head *head)
{
    struct counts counts = {0};
    if (!has_status_line(bytes))
        return -1;
    if (gw_head_run(bytes, false, head) != 0 || gw_head_check_common(head) != 0)
        return -1;
    if (head->status < 100 || head->status > 599 || !is_clean(head->reason))
        return -1;
    for (size_t i = 0; i < head->field_count; i++)
        read_field(head, &head->fields[i], &counts);
    head->upgrades_websocket = head->upgrades_websocket &&
                               counts.upgrades == 1 && counts.accepts == 1 &&
                               head->says_upgrade;
    return 0;
}
