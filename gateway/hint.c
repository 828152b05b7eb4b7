/* SPDX-License-Identifier: MIT */
/* The session id that a client of netty-socketio comes back with. */
#include "gateway/hint.h"

#include <string.h>
#include <strings.h>

static bool has_name(const struct gw_field *field, const char *name)
{
    return field->name.len == strlen(name) &&
           strncasecmp(field->name.ptr, name, field->name.len) == 0;
}

static bool take(struct eio_span value, struct eio_sid *out)
{
    if (value.len == 0 || value.len > EIO_SID_MAX)
        return false;
    memcpy(out->bytes, value.ptr, value.len);
    out->len = (uint16_t)value.len;
    return true;
}

static bool find_cookie(struct eio_span cookies, struct eio_sid *out)
{
    const char *at = cookies.ptr;
    const char *end = cookies.ptr + cookies.len;
    while (at < end) {
        while (at < end && (*at == ' ' || *at == ';'))
            at++;
        const char *stop = memchr(at, ';', (size_t)(end - at));
        if (stop == NULL)
            stop = end;
        if (stop - at > 3 && memcmp(at, "io=", 3) == 0) {
            while (stop[-1] == ' ')
                stop--;
            return take((struct eio_span){at + 3, (size_t)(stop - at - 3)},
                        out);
        }
        at = stop;
    }
    return false;
}

bool gw_hint_find(const struct gw_head *head, struct eio_sid *out)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (has_name(&head->fields[i], "io"))
            return take(head->fields[i].value, out);
    for (size_t i = 0; i < head->field_count; i++)
        if (has_name(&head->fields[i], "cookie") &&
            find_cookie(head->fields[i].value, out))
            return true;
    return false;
}
