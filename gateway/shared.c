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

enum { ERRORS_PER_SECOND = 8 }; /* in the log, of each worker */

struct gw_shared {
    atomic_uchar round;
    atomic_int gone; /* a slot, or -1 */
    atomic_bool has_unwritten;
    pthread_mutex_t lock; /* of what follows */
    enum gw_loss loss;
    struct store_slots lost;
    pthread_cond_t told;
    bool has_told[64]; /* whether each worker's link is up, or not */
    unsigned told_count;
    bool is_up[64]; /* each worker's link */
    unsigned up_count;
    unsigned worker_count;
    bool is_told_up; /* what the log said last */
    char why[160];   /* likewise, when it is down */
    char where[256];
    /* Each worker's own: errors in the log since then. */
    struct {
        int64_t since_ms;
        unsigned count;
    } errors[64];
};

struct gw_shared *gw_shared_new(const struct gw_config *config)
{
    struct gw_shared *shared = calloc(1, sizeof(*shared));
    if (shared == NULL)
        return NULL;
    atomic_init(&shared->round, 1);
    atomic_init(&shared->gone, -1);
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

void gw_shared_note_loss(struct gw_shared *shared, enum gw_loss loss,
                         const struct store_slots *slots)
{
    pthread_mutex_lock(&shared->lock);
    if (loss > shared->loss)
        shared->loss = loss;
    store_slots_merge(&shared->lost, slots);
    pthread_mutex_unlock(&shared->lock);
}

void gw_shared_note_gone(struct gw_shared *shared, uint16_t slot)
{
    atomic_store_explicit(&shared->gone, (int)slot, memory_order_relaxed);
}

void gw_shared_note_unwritten(struct gw_shared *shared)
{
    atomic_store_explicit(&shared->has_unwritten, true, memory_order_relaxed);
}

enum gw_loss gw_shared_take_loss(struct gw_shared *shared,
                                 struct store_slots *slots)
{
    pthread_mutex_lock(&shared->lock);
    enum gw_loss loss = shared->loss;
    *slots = shared->lost;
    shared->loss = GW_LOSS_NONE;
    shared->lost = (struct store_slots){{0}};
    pthread_mutex_unlock(&shared->lock);
    return loss;
}

int gw_shared_take_gone(struct gw_shared *shared)
{
    return atomic_exchange_explicit(&shared->gone, -1, memory_order_relaxed);
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

static void on_suspect(void *arg, const struct store_slots *slots)
{
    struct gw_worker *worker = arg;
    gw_shared_note_loss(worker->server->shared, GW_LOSS_SUSPECTED, slots);
    gw_replica_on_suspect(worker->replica, slots);
}

/* A link tells once a second at most; but a cluster may have a thousand. */
static void on_error(void *arg, const char *text)
{
    const struct gw_worker *worker = arg;
    struct gw_shared *shared = worker->server->shared;
    if (worker->now_ms - shared->errors[worker->index].since_ms >= 1000) {
        shared->errors[worker->index].since_ms = worker->now_ms;
        shared->errors[worker->index].count = 0;
    }
    if (shared->errors[worker->index].count++ < ERRORS_PER_SECOND)
        gw_log(GW_LOG_ERROR, "store_error", "why", text);
}

_Static_assert((int)GW_STORE_PUT == (int)STORE_OP_PUT &&
                   (int)GW_STORE_GET == (int)STORE_OP_GET &&
                   (int)GW_STORE_TOUCH == (int)STORE_OP_TOUCH &&
                   (int)GW_STORE_REMOVE == (int)STORE_OP_REMOVE,
               "on_timed");

static void on_timed(void *arg, enum store_op op, int64_t us)
{
    struct gw_worker *worker = arg;
    gw_histogram_add(&worker->metrics.store_us[op], us);
}

/* ---- hashed sids ---- */

void gw_shared_hash(const struct gw_config *config, struct store_key key,
                    char out[STORE_HASHED_LEN])
{
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

static void hash_key(void *arg, struct store_key key,
                     char out[STORE_HASHED_LEN])
{
    gw_shared_hash(arg, key, out);
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
    gw_shared_hash(config, (struct store_key){sid.ptr, sid.len}, hashed);
    return memcmp(hashed, named->bytes, STORE_HASHED_LEN) == 0;
}

struct store *gw_shared_open(struct gw_worker *worker)
{
    const struct gw_config *config = worker->server->boot;
    struct store_redis_options options = {
        .loop = worker->loop,
        .url = &config->store,
        .password =
            config->store_password[0] != '\0' ? config->store_password : NULL,
        .sentinel_user = config->sentinel_user,
        .sentinel_password = config->sentinel_password,
        .prefix = config->store_prefix,
        .name = worker->server->gateway_id,
        .timeout_ms = config->store_timeout_ms,
        .hash = config->hash_secret_len > 0 ? hash_key : NULL,
        .hash_arg = (void *)(uintptr_t)config,
        .on_state = on_state,
        .on_error = on_error,
        /* Each worker would say the same. */
        .on_suspect = worker->index == 0 ? on_suspect : NULL,
        .on_timed = on_timed,
        .arg = worker,
    };
    return store_redis_new(&options);
}
