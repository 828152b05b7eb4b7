/* SPDX-License-Identifier: MIT */
/* Fuzzes the sid that a handshake names: each line is a field, its name ends
 * at the first colon. What is found stands in one of the values. */
#include "gateway/hint.h"

#include <stdlib.h>

enum { FIELDS_MAX = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

/* In memory of its own, so that a byte too far is noticed. */
static struct eio_span copy_of(struct eio_span span)
{
    char *bytes = malloc(span.len > 0 ? span.len : 1);
    require(bytes != NULL);
    if (span.len > 0)
        memcpy(bytes, span.ptr, span.len);
    return (struct eio_span){bytes, span.len};
}

static void add_field(struct gw_head *head, struct eio_span line)
{
    const char *colon = line.len > 0 ? memchr(line.ptr, ':', line.len) : NULL;
    size_t name_len = colon != NULL ? (size_t)(colon - line.ptr) : line.len;
    size_t skip = colon != NULL ? name_len + 1 : line.len;
    struct gw_field *field = &head->fields[head->field_count++];
    field->name = copy_of((struct eio_span){line.ptr, name_len});
    field->value = copy_of((struct eio_span){line.ptr + skip, line.len - skip});
}

static bool stands_in(struct eio_span value, const struct eio_sid *sid)
{
    return value.len >= sid->len &&
           memmem(value.ptr, value.len, sid->bytes, sid->len) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gw_head head;
    struct eio_sid sid = {0};
    struct eio_span rest = {(const char *)data, size};
    bool is_there = false;

    head.field_count = 0;
    while (rest.len > 0 && head.field_count < FIELDS_MAX) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end != NULL ? (size_t)(end - rest.ptr) : rest.len;
        add_field(&head, (struct eio_span){rest.ptr, len});
        len += end != NULL;
        rest = (struct eio_span){rest.ptr + len, rest.len - len};
    }
    bool is_found = gw_hint_find(&head, &sid);
    require(is_found == (sid.len > 0) && sid.len <= EIO_SID_MAX);
    for (size_t i = 0; i < head.field_count; i++) {
        is_there = is_there || stands_in(head.fields[i].value, &sid);
        free((char *)(uintptr_t)head.fields[i].name.ptr);
        free((char *)(uintptr_t)head.fields[i].value.ptr);
    }
    require(!is_found || is_there);
    return 0;
}
