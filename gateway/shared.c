/* SPDX-License-Identifier: MIT */
/* What this process knows of the store that it shares with others. */
#include "gateway/shared.h"
#include "gateway/log.h"
#include "gateway/replica.h"
#include "gateway/worker.h"
#include "store/redis.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct gw_shared {
    atomic_uchar round;
    atomic_int loss; /* enum gw_loss */
    atomic_bool has_unwritten;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t told;
    bool has_told[64]; /* whether each worker's link is up, or not */
    unsigned told_count;
    bool is_up[64]; /* each worker's link */
    unsigned up_count;
    unsigned worker_count;
    bool is_told_up; /* what the log said last */
    char why[160];   /* likewise, when it is down */
    char where[256];
};

struct gw_shared *gw_shared_new(const struct gw_config *config)
{
    struct gw_shared *shared = calloc(1, sizeof(*shared));
    if (shared == NULL)
        return NULL;
    atomic_init(&shared->round, 1);
    pthread_mutex_init(&shared->lock, NULL);
    pthread_cond_init(&shared->told, NULL);
    shared->worker_count = config->workers;
    store_url_masked(config->store_url, shared->where, sizeof(shared->where));
    return shared;
}

void gw_shared_free(struct gw_shared *shared)
{
    if (shared == NULL)
        return;
    pthread_cond_destroy(&shared->told);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
}

void gw_shared_settle(struct gw_shared *shared)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    pthread_mutex_lock(&shared->lock);
    while (shared->told_count < shared->worker_count &&
           pthread_cond_timedwait(&shared->told, &shared->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&shared->lock);
}

void gw_shared_told(struct gw_shared *shared, unsigned index)
{
    pthread_mutex_lock(&shared->lock);
    if (!shared->has_told[index])
        shared->told_count++;
    shared->has_told[index] = true;
    pthread_cond_signal(&shared->told);
    pthread_mutex_unlock(&shared->lock);
}

/* ---- rounds ---- */

uint8_t gw_shared_round(const struct gw_shared *shared)
{
    return atomic_load_explicit(&shared->round, memory_order_relaxed);
}

void gw_shared_next_round(struct gw_shared *shared)
{
    unsigned char round = gw_shared_round(shared);
    atomic_store_explicit(&shared->round,
                          (unsigned char)(round == 255 ? 1 : round + 1),
                          memory_order_relaxed);
}

void gw_shared_note_loss(struct gw_shared *shared, enum gw_loss loss)
{
    int none = GW_LOSS_NONE;
    if (loss == GW_LOSS_OF_ALL)
        atomic_store_explicit(&shared->loss, (int)loss, memory_order_relaxed);
    else
        atomic_compare_exchange_strong(&shared->loss, &none, (int)loss);
}

void gw_shared_note_unwritten(struct gw_shared *shared)
{
    atomic_store_explicit(&shared->has_unwritten, true, memory_order_relaxed);
}

enum gw_loss gw_shared_take_loss(struct gw_shared *shared)
{
    return (enum gw_loss)atomic_exchange_explicit(
        &shared->loss, (int)GW_LOSS_NONE, memory_order_relaxed);
}

bool gw_shared_take_unwritten(struct gw_shared *shared)
{
    return atomic_exchange_explicit(&shared->has_unwritten, false,
                                    memory_order_relaxed);
}

/* ---- the links' state ---- */

/* All workers have the same to say: the first of them says it. */
static void tell(struct gw_shared *shared, unsigned index, bool is_up,
                 const char *why)
{
    if (shared->is_up[index] != is_up) {
        shared->is_up[index] = is_up;
        shared->up_count += is_up ? 1 : (unsigned)-1;
    }
    if (is_up) {
        if (shared->up_count < shared->worker_count || shared->is_told_up)
            return;
        shared->is_told_up = true;
        shared->why[0] = '\0';
        gw_log(GW_LOG_INFO, "store_up", "store", shared->where);
        return;
    }
    if (!shared->is_told_up && strncmp(shared->why, why, 100) == 0)
        return;
    shared->is_told_up = false;
    snprintf(shared->why, sizeof(shared->why), "%s", why);
    gw_log(GW_LOG_ERROR, "store_down", "store", shared->where, "why", why);
}

static void on_state(void *arg, bool is_up, const char *why)
{
    struct gw_worker *worker = arg;
    struct gw_shared *shared = worker->server->shared;
    atomic_store_explicit(&worker->metrics.store_up, is_up,
                          memory_order_relaxed);
    pthread_mutex_lock(&shared->lock);
    tell(shared, worker->index, is_up, why);
    pthread_mutex_unlock(&shared->lock);
    if (is_up)
        gw_replica_on_link(worker->replica);
    if (!is_up || worker->replica == NULL)
        gw_shared_told(shared, worker->index);
}

static void on_error(void *arg, const char *text)
{
    (void)arg;
    gw_log(GW_LOG_ERROR, "store_error", "why", text);
}

/* ---- hashed sids ---- */

static void hash_key(void *arg, struct store_key key,
                     char out[STORE_HASHED_LEN])
{
    const struct gw_config *config = arg;
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned int sum_len = 0;
    memset(sum, 0, sizeof(sum));
    HMAC(EVP_sha256(), config->hash_secret, (int)config->hash_secret_len,
         (const unsigned char *)key.ptr, key.len, sum, &sum_len);
    for (size_t i = 0; i < 32; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
}

bool gw_shared_is_copy(const struct gw_server *server,
                       const struct store_record *record)
{
    return record->transport != STORE_TRANSPORT_WEBSOCKET ||
           strcmp(record->gateway, server->gateway_id) != 0;
}

bool gw_shared_is_sid(const struct gw_config *config, struct eio_span sid,
                      const struct eio_sid *named)
{
    char hashed[STORE_HASHED_LEN];
    if (sid.len == named->len && memcmp(sid.ptr, named->bytes, sid.len) == 0)
        return true;
    if (config->hash_secret_len == 0 || named->len != STORE_HASHED_LEN)
        return false;
    hash_key((void *)(uintptr_t)config, (struct store_key){sid.ptr, sid.len},
             hashed);
    return memcmp(hashed, named->bytes, STORE_HASHED_LEN) == 0;
}

struct store *gw_shared_open(struct gw_worker *worker)
{
    const struct gw_config *config = worker->config;
    struct store_redis_options options = {
        .loop = worker->loop,
        .url = &config->store,
        .password =
            config->store_password[0] != '\0' ? config->store_password : NULL,
        .prefix = config->store_prefix,
        .name = worker->server->gateway_id,
        .timeout_ms = config->store_timeout_ms,
        .hash = config->hash_secret_len > 0 ? hash_key : NULL,
        .hash_arg = (void *)(uintptr_t)config,
        .on_state = on_state,
        .on_error = on_error,
        .arg = worker,
    };
    return store_redis_new(&options);
}
