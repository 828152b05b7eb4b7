/* SPDX-License-Identifier: MIT */
/* Sessions that were not heard of. */
#include "gateway/expiry.h"
#include "gateway/errand.h"
#include "gateway/session_end.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAITING_MAX = 1024,
    PER_STEP = 64, /* of a worker */
};

struct gw_expiries {
    pthread_mutex_t lock;
    size_t first;
    size_t count;
    struct store_memory_item list[WAITING_MAX];
};

struct gw_expiries *gw_expiries_new(void)
{
    struct gw_expiries *expiries = calloc(1, sizeof(*expiries));
    if (expiries != NULL)
        pthread_mutex_init(&expiries->lock, NULL);
    return expiries;
}

void gw_expiries_free(struct gw_expiries *expiries)
{
    if (expiries == NULL)
        return;
    pthread_mutex_destroy(&expiries->lock);
    free(expiries);
}

static bool put(struct gw_expiries *expiries, struct store_key key,
                const struct store_record *record,
                const struct store_traffic *traffic)
{
    pthread_mutex_lock(&expiries->lock);
    bool has_room = expiries->count < WAITING_MAX;
    if (has_room) {
        size_t at = (expiries->first + expiries->count++) % WAITING_MAX;
        struct store_memory_item *item = &expiries->list[at];
        memcpy(item->key, key.ptr, key.len);
        item->key_len = key.len;
        item->record = *record;
        item->traffic = *traffic;
    }
    pthread_mutex_unlock(&expiries->lock);
    return has_room;
}

static bool take(struct gw_expiries *expiries, struct store_memory_item *item)
{
    pthread_mutex_lock(&expiries->lock);
    bool has_one = expiries->count > 0;
    if (has_one) {
        *item = expiries->list[expiries->first];
        expiries->first = (expiries->first + 1) % WAITING_MAX;
        expiries->count--;
    }
    pthread_mutex_unlock(&expiries->lock);
    return has_one;
}

void gw_expiry_note(struct gw_server *server, struct store_key key,
                    const struct store_record *record,
                    const struct store_traffic *traffic)
{
    if (!server->is_shared || !put(server->expiries, key, record, traffic))
        gw_session_ended(server, key, record, traffic, GW_END_EXPIRED);
}

void gw_expiries_step(struct gw_worker *worker)
{
    struct store_memory_item item;
    if (!worker->server->is_shared)
        return;
    for (int i = 0; i < PER_STEP && take(worker->server->expiries, &item); i++)
        gw_errand_ask_expired(worker, &item);
}
