/* SPDX-License-Identifier: MIT */
/* The end of a session. */
#include "gateway/session_end.h"
#include "eio/sid.h"
#include "gateway/access_log.h"
#include "gateway/server.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

const char *const gw_end_names[GW_END_COUNT] = {
    [GW_END_CLIENT] = "client",   [GW_END_BACKEND] = "backend",
    [GW_END_DENIED] = "denied",   [GW_END_UNREACHABLE] = "unreachable",
    [GW_END_EXPIRED] = "expired", [GW_END_KICKED] = "kicked",
    [GW_END_DRAINED] = "drained", [GW_END_SHUTDOWN] = "shutdown",
    [GW_END_LIMIT] = "limit",     [GW_END_REPLACED] = "replaced",
};

struct gw_ends {
    _Atomic uint64_t counts[GW_END_COUNT];
    pthread_mutex_t lock;
    size_t total; /* how many there have been */
    struct gw_ended list[GW_ENDS_MAX];
};

struct gw_ends *gw_ends_new(void)
{
    struct gw_ends *ends = calloc(1, sizeof(*ends));
    if (ends != NULL)
        pthread_mutex_init(&ends->lock, NULL);
    return ends;
}

void gw_ends_free(struct gw_ends *ends)
{
    if (ends == NULL)
        return;
    pthread_mutex_destroy(&ends->lock);
    free(ends);
}

/* The nth last one; below kept(). */
static const struct gw_ended *nth_last(const struct gw_ends *ends, size_t n)
{
    return &ends->list[(ends->total - 1 - n) % GW_ENDS_MAX];
}

static size_t kept(const struct gw_ends *ends)
{
    return ends->total < GW_ENDS_MAX ? ends->total : GW_ENDS_MAX;
}

size_t gw_ends_list(struct gw_ends *ends, size_t skip, size_t max,
                    struct gw_ended *out)
{
    size_t count = 0;
    pthread_mutex_lock(&ends->lock);
    for (size_t n = skip; n < kept(ends) && count < max; n++)
        out[count++] = *nth_last(ends, n);
    pthread_mutex_unlock(&ends->lock);
    return count;
}

bool gw_ends_find(struct gw_ends *ends, const char *id, struct gw_ended *out)
{
    bool is_found = false;
    pthread_mutex_lock(&ends->lock);
    for (size_t n = 0; n < kept(ends) && !is_found; n++) {
        const struct gw_ended *one = nth_last(ends, n);
        is_found = strcmp(one->id, id) == 0;
        if (is_found)
            *out = *one;
    }
    pthread_mutex_unlock(&ends->lock);
    return is_found;
}

uint64_t gw_ends_count(const struct gw_ends *ends, enum gw_end cause)
{
    return atomic_load_explicit(&ends->counts[cause], memory_order_relaxed);
}

static void mask(struct store_key key, char out[EIO_SID_MASK_MAX])
{
    struct eio_sid sid = {.len = (uint16_t)key.len};
    memcpy(sid.bytes, key.ptr, key.len);
    eio_sid_mask(&sid, out);
}

void gw_session_ended(struct gw_server *server, struct store_key sid,
                      const struct store_record *record,
                      const struct store_traffic *traffic, enum gw_end cause)
{
    struct gw_ends *ends = server->ends;
    struct gw_ended ended = {.record = *record,
                             .traffic = *traffic,
                             .ended_ms = gw_wall_ms(),
                             .cause = (uint8_t)cause};
    /* What it says of the hash no reload can change. */
    gw_session_id(server->boot, sid, ended.id);
    mask(sid, ended.sid);
    atomic_fetch_add_explicit(&ends->counts[cause], 1, memory_order_relaxed);
    pthread_mutex_lock(&ends->lock);
    ends->list[ends->total++ % GW_ENDS_MAX] = ended;
    pthread_mutex_unlock(&ends->lock);
    gw_access_log_session(server->access_log, &ended);
}
