/* SPDX-License-Identifier: MIT */
/* Commands in Redis' form, and those that wait for a reply. */
#include "store/call.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- commands as bytes ---- */

void store_bytes_append(struct store_bytes *bytes, const void *data, size_t len)
{
    size_t need = bytes->len + len;

    if (need > bytes->size) {
        size_t size = need < 512 ? 1024 : need * 2;
        char *ptr = realloc(bytes->ptr, size);
        if (ptr == NULL) {
            bytes->is_short = true;
            return;
        }
        bytes->ptr = ptr;
        bytes->size = size;
    }
    if (len > 0)
        memcpy(bytes->ptr + bytes->len, data, len);
    bytes->len = need;
}

static void append_count(struct store_bytes *bytes, char kind, size_t count)
{
    char text[32];

    store_bytes_append(
        bytes, text,
        (size_t)snprintf(text, sizeof(text), "%c%zu\r\n", kind, count));
}

void store_bytes_head(struct store_bytes *bytes, int argc)
{
    append_count(bytes, '*', (size_t)argc);
}

void store_bytes_arg(struct store_bytes *bytes, const char *arg, size_t len)
{
    append_count(bytes, '$', len);
    store_bytes_append(bytes, arg, len);
    store_bytes_append(bytes, "\r\n", 2);
}

void store_bytes_command(struct store_bytes *bytes, int argc,
                         const char *const *argv)
{
    store_bytes_head(bytes, argc);
    for (int i = 0; i < argc; i++)
        store_bytes_arg(bytes, argv[i], strlen(argv[i]));
}

/* ---- calls ---- */

static void encode(struct store_bytes *bytes, int script, int argc,
                   const char **argv, const size_t *lens)
{
    if (script >= 0)
        store_bytes_arg(bytes, "1", 1); /* keys */
    for (int i = 0; i < argc; i++)
        store_bytes_arg(bytes, argv[i], lens[i]);
}

static size_t arg_len(size_t len)
{
    char text[32];

    return (size_t)snprintf(text, sizeof(text), "$%zu\r\n", len) + len + 2;
}

struct store_call *store_call_new(int script, int argc, const char **argv,
                                  const size_t *lens, store_reply_fn done,
                                  void *arg)
{
    size_t len = script >= 0 ? arg_len(1) : 0;

    for (int i = 0; i < argc; i++)
        len += arg_len(lens[i]);
    struct store_call *call = malloc(sizeof(*call) + len);
    if (call == NULL)
        return NULL;
    *call = (struct store_call){
        .done = done,
        .arg = arg,
        .route.node = STORE_ROUTE_BY_SLOT,
        .script = script,
        .argc = argc + (script >= 0 ? 1 : 0),
        .len = len,
    };
    /* Just as much as it needs: these bytes never grow. */
    struct store_bytes bytes = {.ptr = call->args, .size = len};
    encode(&bytes, script, argc, argv, lens);
    return call;
}

void store_call_finish(struct store_call *call, const redisReply *reply)
{
    store_reply_fn done = call->done;

    call->done = NULL;
    if (done != NULL)
        done(call->arg, reply);
}

void store_call_end(struct store_call *call, const redisReply *reply)
{
    store_call_finish(call, reply);
    free(call);
}
