/* SPDX-License-Identifier: MIT */
/* The memory map behind the interface that all stores have. */
#include "store/memory_private.h"

#include <stdlib.h>

struct client {
    struct store store;
    struct store_memory *memory;
};

static struct store_memory *memory_of(struct store *store)
{
    return ((struct client *)(void *)store)->memory;
}

static void finish(struct store_request *request,
                   const struct store_memory_outcome *outcome)
{
    bool has_record = outcome->life_ms > 0;

    request->pending = NULL;
    request->done(request, outcome->status,
                  has_record ? &outcome->record : NULL, outcome->life_ms);
}

static void memory_put(struct store *store, struct store_request *request,
                       struct store_key key, const struct store_record *record,
                       const char *replaces, int64_t life_ms)
{
    struct store_memory_outcome outcome;
    struct store_memory_put put = {
        .key = key,
        .record = record,
        .replaces = replaces,
        .life_ms = life_ms,
    };

    store_memory_bind(memory_of(store), &put, &outcome);
    finish(request, &outcome);
}

static void memory_get(struct store *store, struct store_request *request,
                       struct store_key key)
{
    struct store_memory_outcome outcome = {.status = STORE_NOT_FOUND};

    if (store_memory_find(memory_of(store), key, &outcome.record,
                          &outcome.life_ms))
        outcome.status = STORE_OK;
    finish(request, &outcome);
}

static void memory_touch(struct store *store, struct store_request *request,
                         struct store_key key,
                         const struct store_record *record, int64_t life_ms)
{
    struct store_memory_outcome outcome;

    store_memory_refresh(memory_of(store), key, record, life_ms, &outcome);
    finish(request, &outcome);
}

static void memory_remove(struct store *store, struct store_request *request,
                          struct store_key key, const char *backend,
                          const char *gateway)
{
    struct store_memory_outcome outcome;

    (void)gateway; /* there is one alone */
    store_memory_unbind(memory_of(store), key, backend != NULL ? backend : "",
                        &outcome);
    /* Whoever asked has no use for what it was. */
    if (outcome.status == STORE_OK)
        outcome.life_ms = 0;
    finish(request, &outcome);
}

/* Every call has completed when it returns: there is nothing to cancel. */
static void memory_cancel(struct store *store, struct store_request *request)
{
    (void)store;
    (void)request;
}

static void memory_close(struct store *store)
{
    free(store);
}

static const struct store_ops memory_ops = {
    .name = "memory",
    .put = memory_put,
    .get = memory_get,
    .touch = memory_touch,
    .remove = memory_remove,
    .cancel = memory_cancel,
    .close = memory_close,
};

struct store *store_memory_client(struct store_memory *memory)
{
    struct client *client = malloc(sizeof(*client));

    if (client == NULL)
        return NULL;
    client->store.ops = &memory_ops;
    client->memory = memory;
    return &client->store;
}
